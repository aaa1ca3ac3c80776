"""Stories of the documentation, as schedules: each is played on the default stage and told as a readable trace."""

from __future__ import annotations

from dataclasses import dataclass

from l3ha.base.time import MS, SECOND, Duration
from l3ha.sim.case import Case, Ending
from l3ha.sim.faults import Fault, Kind
from l3ha.sim.setting import Variant

DEFAULT = Variant()


@dataclass(frozen=True, slots=True)
class Story:
    """One scenario."""

    text: str
    faults: tuple[Fault, ...]
    phase: Duration
    ending: Ending = Ending.HEAL_ALL
    variant: Variant = DEFAULT


def _at(ms: int, kind: Kind, node: int = 0, place: str = "", value: int = 0, *, until: int | None = None) -> Fault:
    return Fault(ms * MS, None if until is None else until * MS, kind, node, place, value)


STORIES: dict[str, Story] = {
    "boot": Story("Both nodes start at once; nothing else happens.", (), 5 * SECOND),
    "silent-death": Story(
        "The active node loses power without a word; the routers keep its routes until the hold time.",
        (_at(1000, Kind.CRASH, 1),),
        12 * SECOND,
    ),
    "icl-cut": Story(
        "The dedicated link is cut: the witness paths remain.", (_at(1000, Kind.CUT, 0, "icl"),), 8 * SECOND
    ),
    "filtered": Story(
        "A filter eats every heartbeat while both nodes live: one silent takeover, and no second one.",
        (_at(1000, Kind.FILTER),),
        15 * SECOND,
    ),
    "planned-move": Story("The operator moves the group.", (_at(1000, Kind.FAILOVER, 1),), 5 * SECOND),
    "maintenance": Story(
        "The active node goes into maintenance, and comes back.",
        (_at(1000, Kind.MAINTENANCE, 1, until=6000),),
        8 * SECOND,
    ),
    "pause": Story(
        "The active agent is stopped for three seconds and goes on.",
        (_at(1000, Kind.FREEZE, 1, until=4000),),
        6 * SECOND,
    ),
    "agent-killed": Story("kill -9 of the active agent; BGP stays.", (_at(1000, Kind.KILL_AGENT, 1),), 6 * SECOND),
    "agent-restart": Story(
        "The active agent is restarted cleanly.", (_at(1000, Kind.RESTART, 1, until=1600),), 5 * SECOND
    ),
    "clean-stop": Story("The active agent is stopped for good.", (_at(1000, Kind.STOP, 1),), 6 * SECOND),
    "exabgp-killed": Story(
        "ExaBGP of the active node dies.", (_at(1000, Kind.KILL_EXABGP, 1, until=3000),), 8 * SECOND
    ),
    "speaker-killed": Story(
        "The speaker of the active node dies alone.", (_at(1000, Kind.KILL_HELPER, 1, until=1200),), 6 * SECOND
    ),
    "monitor": Story("The active node's uplink fails.", (_at(1000, Kind.MONITOR, 1, until=4000),), 8 * SECOND),
    "router-lost": Story(
        "One of the routers reboots.", (_at(1000, Kind.ROUTER_DOWN, 0, "r1", until=9000),), 12 * SECOND
    ),
    "link-lost": Story("The active node loses one of its links.", (_at(1000, Kind.LINK_DOWN, 1, "r1"),), 8 * SECOND),
    "one-way": Story("One direction of every path is lost.", (_at(1000, Kind.FILTER, value=1),), 10 * SECOND),
}
"""By name; the names are those of ``l3ha sim --scenario``."""


def case_of(story: Story, seed: int) -> Case:
    """The story as a case."""
    return Case(seed, story.variant, story.faults, story.phase, story.ending)
