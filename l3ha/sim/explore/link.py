"""One BGP session and what the router holds from it.

Both ends count silence by themselves; what one end has closed, the other learns as soon as a packet gets through (a
reset). Terms are relative to the node's own ``seen``, so that states repeat.
"""

from __future__ import annotations

from typing import NamedTuple

from l3ha.base.names import Level
from l3ha.sim.explore.shape import Shape

CLOSED = -1
"""Silence counter of an end that has no session."""

NOTHING = -1
"""Level of a route that is not there."""


class Link(NamedTuple):
    """State of one session after a tick."""

    level: int
    """Of the route in the router's table; NOTHING where there is none."""
    term: int
    flight: tuple[tuple[int, int, int], ...]
    """Updates under way: ticks left, level, term."""
    router: int
    """Ticks that the router has heard nothing; CLOSED."""
    node: int
    reconnect: int


DOWN = Link(NOTHING, 0, (), CLOSED, CLOSED, 0)


def step(
    link: Link, shape: Shape, *, delta: int, advert: tuple[int, int], through: bool, router: bool, node: bool
) -> Link:
    """One tick. ``through``: packets pass; ``router`` and ``node``: that end runs; ``delta``: growth of ``seen``."""
    if delta:
        link = link._replace(term=link.term - delta, flight=tuple((w, lv, t - delta) for w, lv, t in link.flight))
    if not router:
        link = link._replace(level=NOTHING, term=0, flight=(), router=CLOSED)
    after = _talk(link, shape, advert) if through and router and node else _silence(link, shape, node=node)
    return after if after.level == Level.HIGH else after._replace(term=0)


def _talk(link: Link, shape: Shape, advert: tuple[int, int]) -> Link:
    if link.router >= 0 and link.node >= 0:
        level, term = link.level, link.term
        last = link.flight[-1][1:] if link.flight else (level, term)
        flight = []
        for wait, lv, t in link.flight:
            if wait <= 1:
                level, term = lv, t
            else:
                flight.append((wait - 1, lv, t))
        if last != advert:
            flight.append((shape.bgp_delay, *advert))
        return Link(level, term, tuple(flight), 0, 0, 0)
    if link.router >= 0 or link.node >= 0:
        return DOWN
    if link.reconnect + 1 < shape.reconnect:
        return link._replace(reconnect=link.reconnect + 1)
    return Link(NOTHING, 0, ((shape.bgp_delay, *advert),), 0, 0, 0)


def _silence(link: Link, shape: Shape, *, node: bool) -> Link:
    link = link._replace(reconnect=0)
    if link.router >= 0:
        over = link.router + 1 >= shape.hold
        link = link._replace(level=NOTHING, term=0, flight=(), router=CLOSED) if over else link
        link = link if over else link._replace(router=link.router + 1)
    if node and link.node >= 0:
        link = link._replace(node=CLOSED if link.node + 1 >= shape.hold else link.node + 1)
    return link
