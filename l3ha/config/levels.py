"""Preference of one neighbor: defaults of every profile, and the laws that its numbers must keep (protocol §4)."""

from __future__ import annotations

from collections.abc import Iterator

from l3ha.base.settings import Preference, Profile
from l3ha.config.model import Levels
from l3ha.core.preference import MAX_TERM, RANKS

MOST = 2**32 - 1
ROOM = MAX_TERM * RANKS + RANKS - 1
"""Greatest ballot: what must fit above (MED: below) HIGH in 32 bits."""

MOST_PREPENDS = 30
"""Routers reject or truncate very long AS paths; nobody needs more to lose a comparison."""

DEFAULTS = {
    Profile.LOCAL_PREFERENCE: (50, 100, 1000),
    Profile.MED: (MOST, MOST - 1, 4294967000),
    Profile.COMMUNITY: (MOST, MOST - 1, 4294967000),
    Profile.PREPEND: (6, 3, 0),
}


def effective(written: Levels | None, *, ibgp: bool) -> Preference:
    """What is used when the file says this much."""
    given = written or Levels()
    usual = Profile.LOCAL_PREFERENCE if ibgp else Profile.MED
    profile = Profile(given.profile) if given.profile else usual
    low, medium, high = DEFAULTS[profile]
    communities = given.communities
    return Preference(
        profile=profile,
        low=low if given.low is None else given.low,
        medium=medium if given.medium is None else given.medium,
        high=high if given.high is None else given.high,
        communities=(communities[0], communities[1], communities[2]) if communities and len(communities) == 3 else None,
    )


def faults(written: Levels | None, *, ibgp: bool) -> Iterator[str]:
    """Everything wrong with a preference."""
    p = effective(written, ibgp=ibgp)
    yield from _session(p.profile, ibgp)
    yield from _order(p)
    yield from _communities(p.profile, written.communities if written else None)


def _session(profile: Profile, ibgp: bool) -> Iterator[str]:
    if profile is Profile.PREPEND and ibgp:
        yield "prepend on iBGP: the router discards a path with its own AS in it; use local-preference"
    if profile is Profile.LOCAL_PREFERENCE and not ibgp:
        yield "local-preference is not sent to an eBGP neighbor; use med, community or prepend"


def _order(p: Preference) -> Iterator[str]:
    rising = p.profile is Profile.LOCAL_PREFERENCE
    numbers = f"low is {p.low}, medium {p.medium}, high {p.high}"
    if rising and not p.low < p.medium < p.high:
        yield f"{numbers}; must be low < medium < high, because the greater local preference wins"
    if not rising and not p.low > p.medium > p.high:
        what = "shorter AS path" if p.profile is Profile.PREPEND else "smaller MED"
        yield f"{numbers}; must be low > medium > high, because the {what} wins"
    if rising and p.high + ROOM > MOST:
        yield f"high is {p.high}, must be at most {MOST - ROOM}: the term is added to it, in 32 bits"
    if p.profile in (Profile.MED, Profile.COMMUNITY) and p.high < ROOM:
        yield f"high is {p.high}, must be at least {ROOM}: the term is subtracted from it"
    if p.profile is Profile.PREPEND and p.low > MOST_PREPENDS:
        yield f"low is {p.low}, must be at most {MOST_PREPENDS}: routers refuse very long AS paths"


def _communities(profile: Profile, communities: list[str] | None) -> Iterator[str]:
    if profile is not Profile.COMMUNITY:
        if communities is not None:
            yield f"communities belong to the profile community, this is {profile}"
    elif communities is None:
        example = '["65010:50", "65010:100", "65010:200"]'
        yield f"communities are missing; write those of LOW, MEDIUM and HIGH, such as {example}"
    elif len(set(communities)) != 3 or len(communities) != 3:
        yield f"communities are {', '.join(communities)}; must be three different ones, of LOW, MEDIUM and HIGH"
