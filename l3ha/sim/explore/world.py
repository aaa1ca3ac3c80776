"""The whole explored world as a tuple of small integers, one tick of it, faults and heals.

Parts (nodes, links) are interned: a state is their numbers, and the step of a part is computed once for all states that
share it. So the real machine runs some ten thousand times while millions of states are visited.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, NamedTuple, TypeAlias, TypeVar

from l3ha.base.names import Level, SrgState, Term
from l3ha.core import preference
from l3ha.core.srg import SrgMachine
from l3ha.sim.explore import link as links
from l3ha.sim.explore.link import Link
from l3ha.sim.explore.node import Cut, Stepper
from l3ha.sim.explore.shape import IDS, MOVES, NODE_FAULTS, Fault, Shape, members
from l3ha.sim.explore.snapshot import NEVER, NOT_UP, SPEAKS, Heard, Mode, Node, Words, dead, forget, stop

T = TypeVar("T", bound=Hashable)

State: TypeAlias = tuple[int, int, int, int, int, int, int, int, int]
"""Node A, node B, links A1 A2 B1 B2, B's ``seen`` less A's, faults, ticks of two confirmed ACTIVE in contact."""

_CUT = (Fault.CUT_AB | Fault.FILTER, Fault.CUT_BA | Fault.FILTER)
_LINKS = ((Fault.LINK_A1, Fault.LINK_A2), (Fault.LINK_B1, Fault.LINK_B2))
_ROUTERS = (Fault.ROUTER_1, Fault.ROUTER_2)
_LIES = (Fault.LIE_1, Fault.LIE_2)
_SILENCES = (Fault.SILENT_1, Fault.SILENT_2)
_MONITORS = (Fault.MONITOR_A, Fault.MONITOR_B)
_MOVES = (int(Fault.MOVE_A), int(Fault.MOVE_B))
_MODES = tuple(
    dict(zip(map(int, members(faults)), (Mode.OFF, Mode.FROZEN, Mode.NO_AGENT, Mode.HUNG), strict=True))
    for faults in NODE_FAULTS
)
_ONE_WAY = int(Fault.CUT_AB | Fault.CUT_BA)
_FILTER = int(Fault.FILTER)


class Pool(Generic[T]):
    """Values by number, numbers by value."""

    def __init__(self) -> None:
        self.values: list[T] = []
        self._numbers: dict[T, int] = {}

    def __call__(self, value: T) -> int:
        """The number of a value, a new one where it is new."""
        number = self._numbers.setdefault(value, len(self.values))
        if number == len(self.values):
            self.values.append(value)
        return number


class Face(NamedTuple):
    """What others need to know of a node, decoded once per distinct node."""

    mode: Mode
    speaks: bool
    advert: tuple[int, int]
    words: int
    """Number of what was said in the last tick; -1: nothing."""
    echoed: tuple[int, ...]
    state: SrgState | None
    right: bool
    """ACTIVE and confirmed, running."""
    proved: bool
    """The same, in contact."""


class World:
    """Steps of the whole; see the module."""

    def __init__(
        self,
        shape: Shape,
        kind: type[SrgMachine] = SrgMachine,
        cut: Cut | None = None,
        *,
        fencing: bool = True,
        fold: int | None = None,
    ) -> None:
        """``fencing`` False: HIGH has no ballot. ``fold``: numbers of the nodes differ by no more than this; an ablated
        machine whose numbers grow without end then still has finitely many states."""
        self.shape = shape
        self.fold = fold
        self.fencing = fencing
        ranks = dict(zip(IDS, shape.priorities, strict=True))
        self._ranks = tuple(preference.rank_of(n, ranks) for n in IDS)
        self.steppers = tuple(Stepper(shape, me, kind, cut) for me in (0, 1))
        self.nodes: Pool[Node] = Pool()
        self.words: Pool[Words] = Pool()
        self.links: Pool[Link] = Pool()
        self.faces: list[Face] = []
        self.computed = 0
        """Steps of real machines (the rest was remembered)."""
        self._node_steps: dict[tuple[int, ...], tuple[int, int, tuple[str, ...]]] = {}
        self._link_steps: dict[tuple[int, ...], int] = {}
        self._choices: dict[tuple[int, int, int, int], int] = {}
        self._view: dict[int, _View] = {}

    # --- states -------------------------------------------------------------------------------------------------

    def boot(self) -> State:
        """Both nodes are just starting, all is well."""
        n = self._node(dead(0, Mode.START))
        down = self.links(links.DOWN)
        return (n, n, down, down, down, down, 0, 0, 0)

    def _node(self, node: Node) -> int:
        number = self.nodes(node)
        if number == len(self.faces):
            self.faces.append(self._face(node))
        return number

    def _face(self, n: Node) -> Face:
        running = n.mode is Mode.RUN and n.srg is not None
        state = n.srg[0] if n.srg is not None and n.mode not in (Mode.OFF, Mode.START) else None
        right = running and n.srg is not None and state is SrgState.ACTIVE and n.srg[1]
        echoed = tuple(e.newest + 1 if e.newest < NEVER else NEVER for e in n.ears)
        words = -1 if n.said is None else self.words(n.said)
        return Face(n.mode, n.mode in SPEAKS, n.advert, words, echoed, state, right, right and n.contact >= 0)

    def prefers(self, router: int, state: State) -> int:
        """The node that a router sends traffic to; -1: it has no route."""
        la, lb, off = state[2 + router], state[4 + router], state[6]
        key = (la, lb, off, router)
        choice = self._choices.get(key)
        if choice is None:
            choice = self._choices[key] = self._choose(self.links.values[la], self.links.values[lb], off, router)
        return choice

    def _choose(self, a: Link, b: Link, off: int, router: int) -> int:
        if a.level < 0 and b.level < 0:
            return -1
        if a.level != b.level:
            return 0 if a.level > b.level else 1
        if a.level == Level.HIGH and self._ballot(0, a.term) != self._ballot(1, b.term + off):
            return 0 if self._ballot(0, a.term) > self._ballot(1, b.term + off) else 1
        return self.shape.ties[router]

    def _ballot(self, node: int, term: int) -> int:
        """What the router compares; terms here are relative, so only their order means anything."""
        return preference.ballot(Term(term), self._ranks[node]) if self.fencing else 0

    def equal_high(self, router: int, state: State) -> bool:
        """Whether a router holds two HIGH routes that it cannot tell apart (S2)."""
        a, b = self.links.values[state[2 + router]], self.links.values[state[4 + router]]
        return self.two_high(router, state) and self._ballot(0, a.term) == self._ballot(1, b.term + state[6])

    def two_high(self, router: int, state: State) -> bool:
        """Whether a router holds HIGH routes of both nodes (only the ballot tells them apart)."""
        a, b = self.links.values[state[2 + router]], self.links.values[state[4 + router]]
        return a.level == b.level == Level.HIGH

    def same_term(self, router: int, state: State) -> bool:
        """Whether a router holds two HIGH routes of one term (then the rank decides)."""
        a, b = self.links.values[state[2 + router]], self.links.values[state[4 + router]]
        return a.level == b.level == Level.HIGH and a.term == b.term + state[6]

    def picture(self, s: State) -> str:
        """The state in a line."""
        nodes = [f"{name}={_portrait(self.nodes.values[n])}" for name, n in zip("AB", s[:2], strict=True)]
        choices = ["-AB"[1 + self.prefers(r, s)] for r in (0, 1)]
        return f"{nodes[0]} {nodes[1]} r1->{choices[0]} r2->{choices[1]}"

    # --- time -----------------------------------------------------------------------------------------------------

    def tick(self, s: State) -> State:
        """One tick under the faults of the state."""
        return self._advance(s)[0]

    def explain(self, s: State) -> tuple[State, tuple[str, ...], tuple[str, ...]]:
        """One tick, and the rules that acted on A and on B."""
        return self._advance(s)

    def _advance(self, s: State) -> tuple[State, tuple[str, ...], tuple[str, ...]]:
        a, b, a1, a2, b1, b2, off, faults, dual = s
        view = self._view.get(faults)
        if view is None:
            view = self._view[faults] = _view(faults)
        fa, fb = self.faces[a], self.faces[b]
        best1, best2 = self.prefers(0, s), self.prefers(1, s)
        choice = (best1 + 1, best2 + 1)
        na, da, said_a = self._hear(0, a, fb, off, (a1, a2), choice, view)
        nb, db, said_b = self._hear(1, b, fa, -off, (b1, b2), choice, view)
        fa, fb = self.faces[na], self.faces[nb]
        dual = min(dual + 1, self.shape.detection + 1) if fa.proved and fb.proved else 0
        after = (
            na,
            nb,
            self._link(a1, fa, da, view.through[0], view.alive[0]),
            self._link(a2, fa, da, view.through[1], view.alive[1]),
            self._link(b1, fb, db, view.through[2], view.alive[0]),
            self._link(b2, fb, db, view.through[3], view.alive[1]),
            self._apart(off + db - da),
            faults & ~MOVES,
            dual,
        )
        return after, said_a, said_b

    def _apart(self, off: int) -> int:
        return off if self.fold is None else max(-self.fold, min(self.fold, off))

    def _hear(
        self, me: int, n: int, other: Face, off: int, own: tuple[int, int], choice: tuple[int, int], view: _View
    ) -> tuple[int, int, tuple[str, ...]]:
        floating = view.floating[me][choice[0]][choice[1]]
        values = self.links.values
        sessions = (values[own[0]].node >= 0) | (values[own[1]].node >= 0) << 1
        starts = self.faces[n].mode is Mode.START or other.mode is Mode.START
        words = -1 if starts else other.words
        key = (n, me, words, off if words >= 0 else 0, *_mask(other.echoed, view.paths[me], words),
               view.own[me] | floating << 2 | sessions << 4 | view.bits[me])  # fmt: skip
        found = self._node_steps.get(key)
        if found is None:
            heard = Heard(
                words=None if words < 0 else self.words.values[words],
                offset=off,
                echoes=_mask(other.echoed, view.paths[me], words),
                own=view.own[me],
                floating=floating,
                sessions=sessions,
                monitor=bool(view.bits[me] & 64),
                move=bool(view.bits[me] & 128),
            )
            node, delta, names = self.steppers[me].step(self.nodes.values[n], heard)
            self.computed += 1
            found = self._node_steps[key] = (self._node(node), delta, names)
        return found

    def _link(self, number: int, face: Face, delta: int, through: bool, alive: bool) -> int:
        key = (number, delta, *face.advert, face.speaks | through << 1 | alive << 2)
        found = self._link_steps.get(key)
        if found is None:
            after = links.step(
                self.links.values[number],
                self.shape,
                delta=delta,
                advert=face.advert,
                through=through,
                router=alive,
                node=face.speaks,
            )
            found = self._link_steps[key] = self.links(after)
        return found

    # --- faults -----------------------------------------------------------------------------------------------------

    def strike(self, s: State, fault: int) -> State | None:
        """The state with one more fault, None where it says nothing new."""
        faults = s[7]
        if faults & fault:
            return None
        for me in (0, 1):
            if fault & _MOVES[me]:
                face = self.faces[s[me]]
                fits = face.mode is Mode.RUN and face.state is SrgState.ACTIVE and face.proved
                return (*s[:7], faults | fault, s[8]) if fits else None
            if fault & NODE_FAULTS[me]:
                return self._halt(s, me, fault)
        if fault & _ONE_WAY and faults & _FILTER:
            return None
        return (*s[:7], faults | fault, s[8])

    def _halt(self, s: State, me: int, fault: int) -> State | None:
        node = self.nodes.values[s[me]]
        if node.mode is not Mode.RUN:
            return None
        mode = _MODES[me][fault]
        parts = list(s)
        parts[me] = self._node(stop(node, mode, self.shape.lease))
        parts[7] |= fault
        if mode is Mode.OFF:
            for i in (2 + 2 * me, 3 + 2 * me):
                link = self.links.values[parts[i]]
                parts[i] = self.links(link._replace(node=links.CLOSED, flight=(), reconnect=0))
        return _state(parts)

    def heal(self, s: State, fault: int) -> State:
        """The state without this fault (or these)."""
        parts = list(s)
        parts[7] &= ~fault
        for me in (0, 1):
            if s[7] & fault & NODE_FAULTS[me]:
                node = self.nodes.values[s[me]]
                if node.mode in (Mode.FROZEN, Mode.HUNG):
                    parts[me] = self._node(node._replace(mode=Mode.RUN))
                else:
                    parts[me] = self._node(node._replace(mode=Mode.START))
                    parts[1 - me] = self._node(forget(self.nodes.values[parts[1 - me]]))
        return _state(parts)


class _View(NamedTuple):
    """What a set of faults means, decoded once."""

    alive: tuple[bool, bool]
    through: tuple[bool, bool, bool, bool]
    paths: tuple[int, int]
    """Paths on which each node can hear the other, as a bit mask."""
    own: tuple[int, int]
    floating: tuple[tuple[tuple[int, ...], ...], ...]
    """Per node, by the choice of both routers (plus one): the arbiters that answer its floating echo."""
    bits: tuple[int, int]


def _view(faults: int) -> _View:
    alive = (not faults & _ROUTERS[0], not faults & _ROUTERS[1])
    through = tuple(not faults & _LINKS[n][r] for n in (0, 1) for r in (0, 1))
    path = 0 if faults & Fault.ICL else 1
    for r in (0, 1):
        path |= (alive[r] and through[r] and through[2 + r]) << (1 + r)
    own = tuple(
        sum((alive[r] and through[2 * n + r] and not faults & _SILENCES[r]) << r for r in (0, 1)) for n in (0, 1)
    )
    floating = tuple(
        tuple(
            tuple(
                own[n] & sum((best == n or bool(faults & _LIES[r])) << r for r, best in enumerate((b1, b2)))
                for b2 in (-1, 0, 1)
            )
            for b1 in (-1, 0, 1)
        )
        for n in (0, 1)
    )
    bits = tuple((64 if faults & _MONITORS[n] else 0) | (128 if faults & _MOVES[n] else 0) for n in (0, 1))
    return _View(
        alive,
        (through[0], through[1], through[2], through[3]),
        (0 if faults & _CUT[1] else path, 0 if faults & _CUT[0] else path),
        (own[0], own[1]),
        floating,
        (bits[0], bits[1]),
    )


def _portrait(n: Node) -> str:
    if n.srg is None or n.mode is not Mode.RUN:
        return n.mode.name if n.srg is None else f"{n.srg[0]}/{n.mode.name}"
    right = "" if n.srg[0] is not SrgState.ACTIVE else " confirmed" if n.srg[1] else " unconfirmed"
    return f"{n.srg[0]}{right}{'' if n.contact >= 0 else ' alone'}"


def _mask(echoed: tuple[int, ...], paths: int, words: int) -> tuple[int, int, int]:
    if words < 0:
        return (NOT_UP, NOT_UP, NOT_UP)
    a, b, c = echoed
    return (a if paths & 1 else NOT_UP, b if paths & 2 else NOT_UP, c if paths & 4 else NOT_UP)


def _state(p: list[int]) -> State:
    return (p[0], p[1], p[2], p[3], p[4], p[5], p[6], p[7], p[8])
