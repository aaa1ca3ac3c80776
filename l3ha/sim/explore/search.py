"""Every state that up to N faults, placed anywhere in time, can lead to; and the future of each.

Layer k holds what k faults reach and fewer do not. Inside a layer time passes, and any single fault may heal at any
time: heals cost nothing. Each state has one future under its own faults (``after``), and one in which everything heals
at that moment; both end in a fixpoint or in a cycle.
"""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Iterator, Sequence

from l3ha.sim.explore.shape import ALL, LASTING, Fault, describe, members
from l3ha.sim.explore.world import State, World

TICK = 0
"""Action: one tick passed. A positive action is the fault that struck, a negative one the fault that healed."""

UNKNOWN = -1


class Search:
    """The graph of reached states, by number."""

    def __init__(self, world: World, alphabet: Sequence[Fault] = ALL) -> None:
        self.world = world
        self.alphabet = tuple(int(f) for f in alphabet)
        self.states: list[State] = []
        self.numbers: dict[State, int] = {}
        self.next = array("i")
        """The state one tick later; UNKNOWN where nobody asked yet."""
        self.parent = array("i")
        self.action = array("i")
        self.reached = 0
        """States below this number were reached by faults; the rest only by healing everything."""
        self.layers: list[int] = []
        self._add(world.boot(), UNKNOWN, TICK)

    def run(self, faults: int, *, last_stays: bool = False, heals: bool = True) -> None:
        """Explore with up to this many faults.

        ``last_stays``: once the last fault has struck, single faults do not heal any more; ``heals`` False: none ever
        does (the future in which everything heals at once is judged in any case).
        """
        start = 0
        for layer in range(faults + 1):
            if layer:
                fresh = range(start, len(self.states))
                start = len(self.states)
                for i in fresh:
                    for fault in self.alphabet:
                        after = self.world.strike(self.states[i], fault)
                        if after is not None:
                            self._add(after, i, fault)
            self._close(start, heals=heals and not (last_stays and layer == faults > 0))
            self.layers.append(len(self.states) - start)
        self.reached = len(self.states)

    def _close(self, start: int, *, heals: bool) -> None:
        """Time passes and faults heal, until nothing new comes."""
        i = start
        while i < len(self.states):
            self.after(i)
            faults = self.states[i][7] & LASTING
            if heals and faults:
                for fault in members(faults):
                    self._add(self.world.heal(self.states[i], fault), i, -int(fault))
            i += 1

    def _add(self, state: State, parent: int, action: int) -> int:
        number = self.numbers.setdefault(state, len(self.states))
        if number == len(self.states):
            self.states.append(state)
            self.next.append(UNKNOWN)
            self.parent.append(parent)
            self.action.append(action)
        return number

    def after(self, i: int) -> int:
        """The state one tick later, under the same faults."""
        if self.next[i] == UNKNOWN:
            self.next[i] = self._add(self.world.tick(self.states[i]), i, TICK)
        return self.next[i]

    def healed(self, i: int) -> int:
        """The state in which everything heals now."""
        faults = self.states[i][7] & LASTING
        return self._add(self.world.heal(self.states[i], faults), i, -faults) if faults else i

    def chain(self, i: int) -> list[int]:
        """The future under the present faults: states up to (and with) the first one that comes again."""
        seen: dict[int, None] = {}
        while i not in seen:
            seen[i] = None
            i = self.after(i)
        return [*seen, i]

    # --- stories --------------------------------------------------------------------------------------------------

    def story(self, i: int) -> list[tuple[int, int]]:
        """How a state was reached: (state, action that led to it), from the boot on."""
        steps: deque[tuple[int, int]] = deque()
        while i != UNKNOWN:
            steps.appendleft((i, self.action[i]))
            i = self.parent[i]
        return list(steps)

    def tell(self, i: int, ticks: int = 0) -> Iterator[str]:
        """The story of a state for people, and so many ticks of its future."""
        clock = 0
        for number, action in self.story(i):
            if action != TICK:
                yield f"{clock:4}  {'+' if action > 0 else '-'} {describe(abs(action))}"
                continue
            parent = self.parent[number]
            if parent == UNKNOWN:
                continue
            clock += 1
            yield from self._tick(parent, clock)
        for _ in range(ticks):
            clock += 1
            yield from self._tick(i, clock)
            i = self.after(i)

    def _tick(self, i: int, clock: int) -> Iterator[str]:
        after, a, b = self.world.explain(self.states[i])
        for node, said in (("A", a), ("B", b)):
            for text in said:
                yield f"{clock:4}  {node}: {text}"
        before = self.world.picture(self.states[i])
        if self.world.picture(after) != before:
            yield f"{clock:4}     {self.world.picture(after)}"
