"""Every cell of the table of rules is noticed: deleted, the step that is named for it ends otherwise (protocol §5).

A cell is a rule in one of the states in which it acts. Rows are taken from the table and acting cells from the
exploration, so a new rule, or an old one in a new state, fails here until it has its step. What a whole row is for is
counted in ``test_explore``.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TypeAlias

import pytest

from l3ha.base.names import NodeId, SrgId, SrgState, Term
from l3ha.base.time import SECOND, Instant
from l3ha.core.events import Memory
from l3ha.core.facts import Facts, Rule
from l3ha.core.group import Grant
from l3ha.core.srg import ALONE, ANY, CONTACT, SrgMachine, Table
from l3ha.sim.explore.search import Search
from l3ha.sim.explore.shape import Shape
from l3ha.sim.explore.world import World
from tests.test_srg import CLAIM, GROUP, SILENT_PEER, T0, facts, peer
from tests.world import TIMERS

Cell: TypeAlias = tuple[Rule, SrgState]
Step: TypeAlias = tuple[Facts, dict[str, object]]

HOLD, ACTIVE, BACKUP, INELIGIBLE = SrgState.HOLD, SrgState.ACTIVE, SrgState.BACKUP, SrgState.INELIGIBLE

FAILED: Step = (facts(eligible=False), {})
ASKED: Step = (facts(CLAIM._replace(priority=250, reach=frozenset({"r1", "r2", "r3"}))), {})
LEFT: Step = (facts(peer(state=INELIGIBLE, grant=Term(6), grant_left=SECOND, seen=Term(6))), {})
BOUND: Step = (facts(SILENT_PEER, win=9), {"grant": Grant(Term(6), NodeId(2), T0 + SECOND)})
WON: Step = (facts(SILENT_PEER, win=2), {})
BLIND: Step = (facts(SILENT_PEER, unknown=99), {"srg": replace(GROUP, blind_after=SECOND)})

STEPS: dict[Cell, Step] = {
    (Rule.FAILED, HOLD): FAILED,
    (Rule.FAILED, ACTIVE): FAILED,
    (Rule.FAILED, BACKUP): FAILED,
    (Rule.RECOVERED, INELIGIBLE): (facts(SILENT_PEER), {}),
    (Rule.FOLLOW, HOLD): (facts(peer(state=ACTIVE)), {}),
    (Rule.ELECT, HOLD): (facts(win=2), {}),
    (Rule.SUCCEED, BACKUP): (facts(peer(state=HOLD)), {"_noactive_since": T0 - SECOND}),
    (Rule.GRANT, INELIGIBLE): (facts(CLAIM, eligible=False), {}),
    (Rule.GRANT, HOLD): ASKED,
    (Rule.GRANT, ACTIVE): ASKED,
    (Rule.GRANT, BACKUP): ASKED,
    (Rule.GRANTED, HOLD): LEFT,
    (Rule.GRANTED, ACTIVE): LEFT,
    (Rule.GRANTED, BACKUP): LEFT,
    (Rule.RECLAIM, ACTIVE): (facts(), {}),
    (Rule.DUEL, ACTIVE): (facts(peer(state=ACTIVE, confirmed=True, term=Term(9), seen=Term(9))), {}),
    (Rule.HANDOVER, ACTIVE): (facts(), {"confirmed": True, "_wanted": (None, "operator")}),
    (Rule.BOUND, HOLD): BOUND,
    (Rule.BOUND, ACTIVE): BOUND,
    (Rule.BOUND, BACKUP): BOUND,
    (Rule.HOLD_ON, ACTIVE): (facts(SILENT_PEER, win=2), {}),
    (Rule.OUTRANKED, ACTIVE): (facts(SILENT_PEER, lose=3), {}),
    (Rule.IN_THE_DARK, ACTIVE): (facts(SILENT_PEER, unknown=3), {"confirmed": True}),
    (Rule.WON, HOLD): WON,
    (Rule.WON, BACKUP): WON,
    (Rule.SILENCE, BACKUP): (facts(SILENT_PEER, witness_alive=True), {"_was_active": frozenset({NodeId(2)})}),
    (Rule.BLIND, HOLD): (facts(SILENT_PEER, unknown=2), {"srg": replace(GROUP, blind_after=2 * GROUP.probe_interval)}),
    (Rule.BLIND, BACKUP): BLIND,
    (Rule.SETTLE_DOWN, HOLD): (facts(SILENT_PEER, lose=3), {}),
}
"""Facts, and fields of the machine, with which the rule of this cell acts. *blind* in HOLD is needed only where
``blind_after`` is less than K_down intervals: else *settle down* leads to BACKUP first, where it acts at once.
"""

NOTHING_BELOW = {(Rule.BOUND, INELIGIBLE)}
"""*bound* keeps the lines below it from acting; in this state none of them does."""


class Cut(SrgMachine):
    """One cell is missing."""

    cell: Cell

    def _table(self, facts: Facts) -> Table:
        return tuple(row for row in super()._table(facts) if (row[0], self.state) != self.cell)


class Recorder(SrgMachine):
    """Tells which cells act."""

    cells: set[Cell]

    def _table(self, facts: Facts) -> Table:
        return tuple((name, self._watched(name, rule)) for name, rule in super()._table(facts))

    def _watched(self, name: Rule, rule):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
        def watched(machine: SrgMachine, facts: Facts, now: Instant) -> bool:
            state = machine.state
            acted: bool = rule(machine, facts, now)
            if acted:
                self.cells.add((name, state))
            return acted

        return watched


def recorder() -> type[Recorder]:
    return type("Recording", (Recorder,), {"cells": set()})


def outcome(kind: type[SrgMachine], state: SrgState, step: Step) -> tuple[object, ...]:
    """What the step makes of a machine that was put into the state by hand (its rules may be the missing ones)."""
    m = kind(GROUP, NodeId(1), TIMERS, Memory(SrgId(1), Term(5), Term(5)), T0 - 60 * SECOND)
    m.state, m.contact, m._eligible_since = state, True, T0 - 60 * SECOND
    known, fields = step
    vars(m).update(fields)
    m.step(known, T0)
    return m.state, m.confirmed, m.term, m.claim, m.grant, m.move


@pytest.mark.parametrize("cell", STEPS, ids=lambda c: f"{c[0]} in {c[1]}")
def test_a_deleted_cell_is_noticed(cell: Cell) -> None:
    kind = recorder()
    whole = outcome(kind, cell[1], STEPS[cell])
    assert cell in kind.cells, "the step is one of this cell"
    assert outcome(type("Less", (Cut,), {"cell": cell}), cell[1], STEPS[cell]) != whole


def test_every_row_and_every_cell_that_acts_has_its_step() -> None:
    assert {name for name, _ in ANY + CONTACT + ALONE} == {rule for rule, _ in STEPS}
    kind = recorder()
    Search(World(Shape(), kind)).run(1)
    assert kind.cells <= STEPS.keys() | NOTHING_BELOW
    assert len(kind.cells) >= 20
