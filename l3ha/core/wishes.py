"""What a wish says: a pure function of the settings, of every group's level and term, and of what a peer covers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeAlias

from l3ha.base.limits import FORGOTTEN_PER_SECOND
from l3ha.base.names import Level, SrgId, Term
from l3ha.base.settings import Bfd, FrrBfd, MonitorKind, Neighbor, Settings, Srg
from l3ha.core import preference
from l3ha.wire.wish import BfdWish, FrrWish, NeighborWish, RouteGroup, Wish

Levels: TypeAlias = Mapping[SrgId, tuple[Level, Term]]

NOTHING = (Level.LOW, Term(0))
"""Level and term of a group that is not among the levels."""

_SESSIONS = (MonitorKind.BGP, MonitorKind.BFD)
"""Many routers end BFD with BGP."""

_Families: TypeAlias = tuple[tuple[bool, tuple[str, ...]], ...]
"""(IPv6?, prefixes) of each family."""

_Group: TypeAlias = tuple[SrgId, _Families, int]
"""A group, its prefixes, and this node's rank in it."""


def make(
    s: Settings,
    agent: int,
    number: int,
    levels: Levels,
    covered: frozenset[str] = frozenset(),
    *,
    withdraw: bool = False,
) -> Wish:
    """The wish. ``covered``: routers that have the routes of all groups from a peer, too."""
    first = s.neighbors[0] if s.neighbors else None
    generation = ((first.local_asn if first else 0) & 0xFFFFFFFF, int(s.id))
    groups = [] if withdraw else _groups(s)
    neighbors = tuple(_neighbor(s, n, levels, groups, covered) for n in in_turn(s))
    return Wish(agent, number, s.timers.lease, s.speaker.lease_end, generation, neighbors)


def said(s: Settings, levels: Levels) -> tuple[tuple[Level, int], ...]:
    """What of the levels stands in a wish."""
    ids = [SrgId(0)] if s.node_group.routes else []
    told = [levels.get(srg, NOTHING) for srg in (*ids, *(g.id for g in s.srgs))]
    return tuple((level, int(term) if level is Level.HIGH else 0) for level, term in told)


def in_turn(s: Settings) -> tuple[Neighbor, ...]:
    """The neighbors, in the order in which they are told: one after the other, and each node begins elsewhere, so
    that where both nodes have something to say every router hears the first of it early."""
    nodes = sorted((s.id, *(p.id for p in s.peers)))
    start = nodes.index(s.id) * len(s.neighbors) // len(nodes)
    return s.neighbors[start:] + s.neighbors[:start]


def drops(s: Settings, n: Neighbor, routes: Iterable[RouteGroup], covered: frozenset[str]) -> bool:
    """Whether lowering all these at a neighbor is worth its session."""
    if n.router not in covered:
        return False
    count = sum(len(g.prefixes) for g in routes)
    return 0 < s.speaker.drop_from <= count and not why_kept(s, n, count)


def why_kept(s: Settings, n: Neighbor, routes: int) -> str:
    """Why the session to a neighbor with so many routes is never ended to lower them; empty where it may be.

    ExaBGP stands still while it forgets them, and must not miss a hold time meanwhile; of a router with several
    sessions a peer says only that it reaches it by one of them.
    """
    if s.node_group.routes:
        return "srg.0 has routes of its own, which no peer covers"
    if any(m.kind in _SESSIONS and m.subject == n.name for m in s.node_group.monitors):
        return "srg.0 watches it, and would take the end for a failure of the node"
    if any(other.router == n.router for other in s.neighbors if other is not n):
        return "its router has several sessions"
    shortest = min((other.hold_time for other in s.neighbors if other.hold_time), default=0)
    if shortest and routes > shortest * FORGOTTEN_PER_SECOND // 2:
        return f"ExaBGP would be busy with it for more than half a hold time of {shortest} s"
    return ""


def _neighbor(s: Settings, n: Neighbor, levels: Levels, groups: list[_Group], covered: frozenset[str]) -> NeighborWish:
    bfd = _bfd(n.local_address, n.bfd) if isinstance(n.bfd, Bfd) else None
    frr = _frr(n.local_address, n.bfd) if isinstance(n.bfd, FrrBfd) else None
    routes: list[RouteGroup] = []
    fallback: list[RouteGroup] = []
    for srg, families, rank in groups:
        level, term = levels.get(srg, NOTHING)
        routes += _routes(n, srg, level, term, rank, families)
        fallback += _routes(n, srg, Level.LOW, Term(0), rank, families)
    drop = drops(s, n, routes, covered)
    return NeighborWish(n.name, n.address, tuple(routes), tuple(fallback), bfd, frr, drop)


def _groups(s: Settings) -> list[_Group]:
    groups = [(SrgId(0), _families(s.node_group.routes), 0)] if s.node_group.routes else []
    return groups + [(g.id, _families(_told(g)), preference.rank_of(s.id, g.priorities)) for g in s.srgs]


def _bfd(local_address: str, bfd: Bfd) -> BfdWish:
    auth = bfd.auth
    return BfdWish(
        local_address=local_address,
        interface=bfd.interface,
        interval=bfd.interval,
        multiplier=bfd.multiplier,
        min_ttl=bfd.min_ttl,
        auth=None if auth is None else auth.type,
        key_id=0 if auth is None else auth.key_id,
        key="" if auth is None else auth.key.hex(),
    )


def _frr(local_address: str, bfd: FrrBfd) -> FrrWish:
    return FrrWish(bfd.vty_socket, bfd.poll, local_address, bfd.interface, bfd.vrf)


def _told(g: Srg) -> tuple[str, ...]:
    """The routes of a group, the floating addresses first: where there are thousands behind them, a node must not give
    up as outranked for as long as they are told."""
    return tuple(sorted(g.routes, key=lambda prefix: prefix not in g.floating))


def _families(prefixes: tuple[str, ...]) -> _Families:
    """Made once for all neighbors: there may be ten thousand."""
    return tuple((ipv6, tuple(p for p in prefixes if (":" in p) == ipv6)) for ipv6 in (False, True))


def _routes(n: Neighbor, srg: SrgId, level: Level, term: Term, rank: int, families: _Families) -> list[RouteGroup]:
    out: list[RouteGroup] = []
    for ipv6, family in families:
        a = preference.attributes(n, level, term, rank, ipv6=ipv6) if family else None
        if a is not None:
            out.append(RouteGroup(int(srg), level, int(term) if level is Level.HIGH else 0, a, family))
    return out
