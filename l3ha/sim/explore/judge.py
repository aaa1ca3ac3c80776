"""What becomes of a state: its ending, whether that is right, and if not, whether protocol §9 accepts it.

An ending is judged by what traffic sees: for every living router, whether the node it prefers is ACTIVE and reached.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum

from l3ha.base.names import SrgState
from l3ha.sim.explore.geometry import Geometry, accepted
from l3ha.sim.explore.search import UNKNOWN, Search
from l3ha.sim.explore.shape import Fault
from l3ha.sim.explore.snapshot import SPEAKS, Mode
from l3ha.sim.explore.world import Face, State, World

_ROUTERS = (int(Fault.ROUTER_1), int(Fault.ROUTER_2))
_MONITORS = (int(Fault.MONITOR_A), int(Fault.MONITOR_B))


class Ending(StrEnum):
    """Kinds of a fixpoint."""

    ONE_AND_BACKUP = "one ACTIVE, one BACKUP, every router follows"
    ONE = "one ACTIVE, every router follows"
    STARVED = "one ACTIVE, a router prefers the other node"
    HOLE = "one ACTIVE, a router prefers a node that cannot be reached"
    NO_ROUTE = "one ACTIVE, a router has no route"
    UNFIT = "one ACTIVE, and it is not eligible"
    DUAL = "two ACTIVE"
    NOBODY = "nobody ACTIVE"
    CYCLE = "no end"


@dataclass
class Verdicts:
    """Counts of everything that was judged."""

    states: int = 0
    dual_confirmed: int = 0
    """States in which two confirmed ACTIVE nodes have contact."""
    dual_too_long: list[int] = field(default_factory=list)
    """Of these: longer than T_det (S1)."""
    rights: int = 0
    """States in which two nodes are ACTIVE and confirmed, in contact or not."""
    equal_high: int = 0
    """States in which a router holds two HIGH routes that it cannot tell apart (S2)."""
    two_high: int = 0
    """States in which a router holds two HIGH routes: the ballot decides."""
    same_term: int = 0
    """Of these: of the same term, the rank decides."""
    stay: Counter[Ending] = field(default_factory=Counter)
    heal: Counter[Ending] = field(default_factory=Counter)
    unexplained: list[int] = field(default_factory=list)
    """States whose future under lasting faults ends badly without an accepted reason."""
    explained: Counter[str] = field(default_factory=Counter)
    unhealed: list[int] = field(default_factory=list)
    """States that do not end in one ACTIVE and one BACKUP although everything heals."""
    cycles: list[int] = field(default_factory=list)
    slowest: int = 0
    """Ticks from healing everything to the last change."""
    slowest_at: int = UNKNOWN
    slowest_stay: int = 0
    """The same under lasting faults."""
    dark: int = 0
    """States in which no router sends traffic to an ACTIVE node."""
    enforced: int = 0
    """States in which both nodes run and are ACTIVE."""
    longest_enforced: int = 0
    """Longest run of ticks of such states, where the faults do not keep both ACTIVE for good."""
    longest_enforced_at: int = UNKNOWN
    unconfirmed: int = 0
    """States that end in one ACTIVE node which cannot prove its right."""


class Judge:
    """Follows futures; remembers every end."""

    def __init__(self, search: Search) -> None:
        self.search = search
        self.world: World = search.world
        self._end: dict[int, int] = {}
        self._still: dict[int, int] = {}
        self._both: dict[int, int] = {}
        self._reasons: dict[int, str | None] = {}
        self._kinds: dict[int, Ending] = {}
        self._cyclic: set[int] = set()

    def all(self, *, heals: bool = True) -> Verdicts:
        """Judge every reached state in both futures; ``heals`` False: only in the one in which the faults stay."""
        v = Verdicts(states=self.search.reached)
        for i in range(self.search.reached):
            s = self.search.states[i]
            if s[8]:
                v.dual_confirmed += 1
                if s[8] > self.world.shape.detection:
                    v.dual_too_long.append(i)
            v.rights += self.world.faces[s[0]].right and self.world.faces[s[1]].right
            high = [r for r in (0, 1) if self.world.two_high(r, s)]
            v.two_high += bool(high)
            v.equal_high += any(self.world.equal_high(r, s) for r in high)
            v.same_term += any(self.world.same_term(r, s) for r in high)
            v.dark += not self._served(s)
            self._stays(i, v)
            if heals:
                self._heals(i, v)
        return v

    def _stays(self, i: int, v: Verdicts) -> None:
        ending = self.ending(i)
        v.stay[ending] += 1
        v.slowest_stay = max(v.slowest_stay, self._still[i])
        v.enforced += bool(self._both[i])
        if ending is not Ending.DUAL and self._both[i] > v.longest_enforced:
            v.longest_enforced, v.longest_enforced_at = self._both[i], i
        if len(self._active(self.search.states[self.end(i)])) == 1:
            v.unconfirmed += not self._confirmed(self.search.states[self.end(i)])
        if ending is Ending.CYCLE:
            v.cycles.append(i)
        elif ending not in (Ending.ONE, Ending.ONE_AND_BACKUP):
            why = self._accepted(self.end(i))
            if why is None:
                v.unexplained.append(i)
            else:
                v.explained[f"{ending}: {why}"] += 1

    def _heals(self, i: int, v: Verdicts) -> None:
        h = self.search.healed(i)
        ending = self.ending(h)
        v.heal[ending] += 1
        if ending is not Ending.ONE_AND_BACKUP:
            v.unhealed.append(i)
        elif self._still[h] > v.slowest:
            v.slowest, v.slowest_at = self._still[h], i

    def _accepted(self, end: int) -> str | None:
        if end not in self._reasons:
            self._reasons[end] = self._reason(end)
        return self._reasons[end]

    def _reason(self, end: int) -> str | None:
        s = self.search.states[end]
        faces = [self.world.faces[n] for n in s[:2]]
        g = Geometry.of(s[7], [f.mode is Mode.RUN for f in faces], [f.mode in SPEAKS for f in faces])
        active = [self._is_active(n) for n in s[:2]]
        return accepted(g, active, [self.world.prefers(r, s) for r in (0, 1)])

    # --- futures -----------------------------------------------------------------------------------------------

    def end(self, i: int) -> int:
        """The fixpoint that a state comes to (or a state of its cycle)."""
        if i not in self._end:
            self._resolve(i)
        return self._end[i]

    def settles(self, i: int) -> int:
        """Ticks to the last change that anybody could notice."""
        self.end(i)
        return self._still[i]

    def ending(self, i: int) -> Ending:
        """The kind of end of a state."""
        end = self.end(i)
        found = self._kinds.get(end)
        if found is None:
            found = Ending.CYCLE if end in self._cyclic else kind(self.search.states[end], self.world)
            self._kinds[end] = found
        return found

    def _resolve(self, i: int) -> None:
        path: list[int] = []
        place: dict[int, int] = {}
        while i not in self._end and i not in place:
            place[i] = len(path)
            path.append(i)
            i = self.search.after(i)
        if i in self._end:
            end, still, both = self._end[i], self._still[i], self._both[i]
        else:
            loop = path[place[i] :]
            end, still, both = min(loop), 0, 0
            if len(loop) > 1:
                self._cyclic.add(end)
        goal = self._look(end)
        for j in reversed(path):
            still = 0 if not still and self._look(j) == goal else still + 1
            both = both + 1 if len(self._active(self.search.states[j])) == 2 else 0
            self._end[j], self._still[j], self._both[j] = end, still, both

    def _active(self, s: State) -> list[int]:
        return [n for n in (0, 1) if self._is_active(s[n])]

    def _is_active(self, node: int) -> bool:
        face = self.world.faces[node]
        return _runs(face) and face.state is SrgState.ACTIVE

    def _confirmed(self, s: State) -> bool:
        nodes = [self.world.nodes.values[s[n]] for n in self._active(s)]
        return any(n.srg is not None and n.srg[1] for n in nodes)

    def _served(self, s: State) -> bool:
        chosen = (self.world.prefers(0, s), self.world.prefers(1, s))
        return any(c >= 0 and self._is_active(s[c]) for c in chosen)

    def _look(self, i: int) -> tuple[object, ...]:
        """What can be noticed from outside."""
        s = self.search.states[i]
        a, b = self.world.faces[s[0]], self.world.faces[s[1]]
        return (a.state, b.state, self.world.prefers(0, s), self.world.prefers(1, s))


def kind(s: State, world: World) -> Ending:
    """Which ending a fixpoint is."""
    faces = (world.faces[s[0]], world.faces[s[1]])
    active = [n for n in (0, 1) if _runs(faces[n]) and faces[n].state is SrgState.ACTIVE]
    if len(active) != 1:
        return Ending.DUAL if active else Ending.NOBODY
    if s[7] & _MONITORS[active[0]]:
        return Ending.UNFIT
    chosen = [world.prefers(r, s) for r in (0, 1) if not s[7] & _ROUTERS[r]]
    if any(c != active[0] for c in chosen if c >= 0):
        other = faces[1 - active[0]]
        return Ending.STARVED if _runs(other) else Ending.HOLE
    if -1 in chosen:
        return Ending.NO_ROUTE
    backup = faces[1 - active[0]].state is SrgState.BACKUP
    return Ending.ONE_AND_BACKUP if backup else Ending.ONE


def _runs(face: Face) -> bool:
    return face.mode is Mode.RUN


__all__ = ["Ending", "Judge", "Verdicts", "kind"]
