"""Endings that no rule can cure, recognised by what is broken, not by what happened (protocol §9).

Each accepted ending names the geometry that makes it unavoidable. An ending that no geometry explains is a finding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from l3ha.sim.explore.shape import Fault

_LINKS = ((Fault.LINK_A1, Fault.LINK_A2), (Fault.LINK_B1, Fault.LINK_B2))
_ROUTERS = (Fault.ROUTER_1, Fault.ROUTER_2)
_HEARTBEATS = Fault.CUT_AB | Fault.CUT_BA | Fault.FILTER
_LIES = Fault.LIE_1 | Fault.LIE_2
_SILENCES = (Fault.SILENT_1, Fault.SILENT_2)
_MONITORS = (Fault.MONITOR_A, Fault.MONITOR_B)


@dataclass(frozen=True, slots=True)
class Geometry:
    """What is broken for good."""

    faults: int
    speaks: tuple[frozenset[int], frozenset[int]]
    """Routers that each node's speaker has a session with."""
    able: tuple[bool, bool]
    """The node's agent runs, it is eligible and reaches a router."""
    contact: bool
    """Heartbeats pass in both directions."""
    partial: bool
    """Some link or router is down, or an arbiter lies or is silent: what the routers say depends on who asks."""

    @classmethod
    def of(cls, faults: int, runs: Sequence[bool], speakers: Sequence[bool]) -> Geometry:
        """``runs``: the agent of each node runs; ``speakers``: its speaker does."""
        reach = [
            frozenset(r for r in (0, 1) if speakers[n] and not faults & (_LINKS[n][r] | _ROUTERS[r])) for n in (0, 1)
        ]
        able = [runs[n] and bool(reach[n]) and not faults & _MONITORS[n] for n in (0, 1)]
        path = not faults & Fault.ICL or bool(reach[0] & reach[1])
        contact = all(runs) and path and not faults & _HEARTBEATS
        partial = any(len(x) < 2 for x in reach) or bool(faults & (_LIES | _SILENCES[0] | _SILENCES[1]))
        return cls(faults, (reach[0], reach[1]), (able[0], able[1]), contact, partial)

    @property
    def silent(self) -> frozenset[int]:
        """Routers that answer no echo."""
        return frozenset(r for r in (0, 1) if self.faults & _SILENCES[r])


def accepted(g: Geometry, active: Sequence[bool], chosen: Sequence[int]) -> str | None:
    """Why an ending that is not good is as good as it can be; None: it is not."""
    match sum(active):
        case 0:
            return _nobody(g)
        case 1:
            return _one(g, list(active).index(True), chosen)
        case _:
            return _two(g)


def _nobody(g: Geometry) -> str | None:
    if not any(g.able):
        return "no node could serve"
    askable = [g.speaks[n] - g.silent for n in (0, 1) if g.able[n]]
    if not any(askable) and not g.contact:
        return "every arbiter in reach is silent, and there is no peer to ask"
    return None


def _one(g: Geometry, active: int, chosen: Sequence[int]) -> str | None:
    other = 1 - active
    if g.faults & _MONITORS[active]:
        return None
    bad = [r for r in (0, 1) if chosen[r] != active and not g.faults & _ROUTERS[r]]
    if any(r in g.speaks[active] for r in bad):
        return None
    wanting = g.speaks[other].intersection(bad)
    if not g.able[other] or not wanting:
        return "a router that no able node reaches"
    if not g.contact and wanting <= g.silent:
        return "no heartbeats, and the router that only the other node reaches answers nobody"
    if g.contact and not g.speaks[other] > g.speaks[active]:
        return "crossed links: each node reaches what the other does not"
    return None


def _two(g: Geometry) -> str | None:
    if g.contact:
        return None
    if g.partial:
        return "no heartbeats, and a link or router down or an arbiter lying or silent"
    return None
