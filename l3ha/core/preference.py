"""Preference: HIGH, MEDIUM and LOW as BGP attributes (protocol §4).

Inside HIGH stands the *ballot*: the term first, then the node's rank, so that no two HIGH routes of a group are ever
equal and at every router, by itself, the newest claim beats every older one (fencing).
"""

from __future__ import annotations

from collections.abc import Mapping

from l3ha.base.names import Level, NodeId, Term
from l3ha.base.settings import Neighbor, Preference, Profile
from l3ha.wire.wish import Attributes

RANKS = 16
"""Room for ranks below one term; node ids end at 10."""

MAX_TERM = 10_000_000
"""Every profile that carries a ballot has room for this many terms in 32 bits (checked when the file is read)."""


def rank_of(node: NodeId, priorities: Mapping[NodeId, int]) -> int:
    """Place of a node in its group, 1 for the least: by priority, then by id (the higher id ranks higher)."""
    order = sorted(priorities, key=lambda n: (priorities[n], n))
    return order.index(node) + 1


def ballot(term: Term, rank: int) -> int:
    """The number inside HIGH; grows with the term, then with the rank."""
    return min(term, MAX_TERM) * RANKS + rank


def attributes(neighbor: Neighbor, level: Level, term: Term, rank: int, *, ipv6: bool) -> Attributes | None:
    """BGP attributes of one level towards one neighbor; None where no next hop of the family is known."""
    hop = _next_hop(neighbor, ipv6=ipv6)
    if hop is None:
        return None
    p = neighbor.preference
    vote = ballot(term, rank)
    match p.profile:
        case Profile.LOCAL_PREFERENCE:
            return Attributes(hop, local_preference=(p.low, p.medium, p.high + vote)[level])
        case Profile.MED:
            return Attributes(hop, med=(p.low, p.medium, p.high - vote)[level])
        case Profile.COMMUNITY:
            med = (p.low, p.medium, p.high - vote)[level]
            return Attributes(hop, med=med, communities=_community(p, level))
        case Profile.PREPEND:
            path = (neighbor.local_asn,) * (1 + (p.low, p.medium, p.high)[level])
            return Attributes(hop, as_path=path)


def describe(a: Attributes) -> str:
    """Attributes as an engineer writes them, for ``show routes``."""
    words = [f"next-hop {a.next_hop}"]
    if a.local_preference is not None:
        words.append(f"local-preference {a.local_preference}")
    if a.med is not None:
        words.append(f"med {a.med}")
    if a.as_path is not None:
        words.append("as-path " + " ".join(map(str, a.as_path)))
    if a.communities:
        words.append("community " + " ".join(a.communities))
    return ", ".join(words)


def _community(p: Preference, level: Level) -> tuple[str, ...]:
    return () if p.communities is None else (p.communities[level],)


def _next_hop(neighbor: Neighbor, *, ipv6: bool) -> str | None:
    if ipv6 == (":" in neighbor.local_address):
        return neighbor.next_hop
    return neighbor.next_hop6 if ipv6 else None
