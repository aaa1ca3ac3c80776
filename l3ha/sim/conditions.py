"""The state of the world's cables, powers and tempers, derived from the faults that are active."""

from __future__ import annotations

from collections.abc import Iterable

from l3ha.sim.faults import NOISES, Fault, Kind, Noise
from l3ha.sim.setting import NODES, ROUTERS

CLEAN = Noise()
_STOPS = frozenset({Kind.KILL_AGENT, Kind.STOP, Kind.RESTART})


class Conditions:
    """A picture of all active faults; made anew whenever one begins or ends."""

    def __init__(self, active: Iterable[Fault]) -> None:
        faults = tuple(active)
        self.faults = faults
        of = {kind: [f for f in faults if f.kind is kind] for kind in Kind}
        self.powered = {n: not _at(of[Kind.CRASH], n) for n in NODES}
        self.agent = {n: self.powered[n] and not any(_at(of[k], n) for k in _STOPS) for n in NODES}
        self.exabgp = {n: self.powered[n] and not _at(of[Kind.KILL_EXABGP], n) for n in NODES}
        self.helper = {n: self.exabgp[n] and not _at(of[Kind.KILL_HELPER], n) for n in NODES}
        self.node_frozen = {n: _at(of[Kind.FREEZE_NODE], n) for n in NODES}
        self.agent_frozen = {n: self.node_frozen[n] or _at(of[Kind.FREEZE], n) for n in NODES}
        self.temper = {
            n: frozenset(f.kind for f in faults if f.node == n and f.kind.value.startswith("exabgp")) for n in NODES
        }
        self.disk_full = {n: _at(of[Kind.DISK_FULL], n) for n in NODES}
        self.uplink = {n: not _at(of[Kind.MONITOR], n) for n in NODES}
        self.maintenance = {n: _at(of[Kind.MAINTENANCE], n) for n in NODES}
        self.router = {r: not any(f.place == r for f in of[Kind.ROUTER_DOWN]) for r in ROUTERS}
        self.acl = {f.place for f in of[Kind.ACL]}
        self.ecmp = {f.place for f in of[Kind.ECMP]}
        self.lie = {f.place: f.value for f in of[Kind.LIE]}
        self.echo_loss = {f.place: f.value for f in of[Kind.ECHO_LOSS]}
        self._down = {(f.node, f.place) for f in of[Kind.LINK_DOWN]}
        self._hole = {(f.node, f.place, w) for f in of[Kind.BLACKHOLE] for w in ((1, 2) if not f.value else (f.value,))}
        self._cut = {(f.place, n) for f in of[Kind.CUT] for n in (NODES if not f.value else (f.value,))}
        self._filter = {n for f in of[Kind.FILTER] for n in (NODES if not f.value else (f.value,))}
        self._passes = {(n, r, w): self._passable(n, r, w) for n in NODES for r in ROUTERS for w in (True, False)}
        self._carries = {(p, n): self._carriable(p, n) for n in NODES for p in ("icl", *ROUTERS)}
        self._noise = {f.place: NOISES[f.value] for f in of[Kind.NOISE]}

    def carrier(self, node: int, router: str) -> bool:
        """Whether both ends see a carrier (a machine without power gives none; a silent one does)."""
        return (node, router) not in self._down

    def passes(self, node: int, router: str, *, outward: bool) -> bool:
        """Whether a packet gets over the link between node and router, in one direction."""
        return self._passes[node, router, outward]

    def _passable(self, node: int, router: str, outward: bool) -> bool:
        return (
            self.powered[node]
            and self.router[router]
            and (node, router) not in self._down
            and (node, router, 1 if outward else 2) not in self._hole
        )

    def both_ways(self, node: int, router: str) -> bool:
        """Whether a conversation between node and router is possible."""
        return self.passes(node, router, outward=True) and self.passes(node, router, outward=False)

    def carries(self, path: str, source: int) -> bool:
        """Whether words of ``source`` get through a path at all."""
        return self._carries[path, source]

    def _carriable(self, path: str, source: int) -> bool:
        other = 3 - source
        if (path, source) in self._cut or source in self._filter or not (self.powered[source] and self.powered[other]):
            return False
        if path not in ROUTERS:
            return True
        return self.passes(source, path, outward=True) and self.passes(other, path, outward=False)

    def noise(self, path: str) -> Noise:
        """Quality of a path."""
        return self._noise.get(path, CLEAN)

    def touched(self, node: int, router: str) -> bool:
        """Whether a session between the two may be disturbed just now."""
        return (
            bool(self.temper[node])
            or not self.helper[node]
            or self.node_frozen[node]
            or not self.both_ways(node, router)
        )


def _at(faults: list[Fault], node: int) -> bool:
    return any(f.node == node for f in faults)
