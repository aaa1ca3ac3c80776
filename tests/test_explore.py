"""Every state of two real group machines that faults can lead to, and what becomes of it (protocol §9).

The figures below are those of the present rules. When a rule changes they change; what must not change is that the
lists of findings are empty.
"""

from __future__ import annotations

import pytest

from l3ha.base.names import NodeId
from l3ha.core.facts import Rule
from l3ha.core.srg import SrgMachine
from l3ha.sim.explore import machine as saved_form
from l3ha.sim.explore.ablation import ABLATIONS, Ablation
from l3ha.sim.explore.geometry import Geometry, accepted
from l3ha.sim.explore.judge import Ending, Judge, Verdicts
from l3ha.sim.explore.report import figures, findings
from l3ha.sim.explore.search import TICK, Search
from l3ha.sim.explore.shape import ALL, Fault, Shape
from l3ha.sim.explore.world import World

pytestmark = pytest.mark.background

TWIN = Fault.LIE_2 | Fault.SILENT_1 | Fault.ICL | Fault.HANG_B | Fault.AGENT_B | Fault.LINK_A2 | Fault.CUT_BA
TWIN |= Fault.FREEZE_B | Fault.MOVE_B
"""Left out of the everyday run of two faults: the same on the other side is in. ``--faults 2`` has all."""

Explored = tuple[Search, Judge, Verdicts]

GOOD = {Ending.ONE, Ending.ONE_AND_BACKUP}


def explore(
    faults: int,
    *,
    heals: bool = True,
    leave_out: int = 0,
    what: Ablation | None = None,
    shape: Shape | None = None,
    stay_only: bool = False,
) -> Explored:
    what = what or Ablation("")
    world = World(shape or Shape(), what.kind, what.cut, fencing=what.fencing, fold=what.fold)
    search = Search(world, [f for f in ALL if not f & leave_out])
    search.run(faults, heals=heals)
    judge = Judge(search)
    return search, judge, judge.all(heals=not stay_only)


def nothing_forbidden(found: Explored) -> None:
    search, judge, v = found
    print(*figures(search, v), sep="\n")
    assert not list(findings(search, judge, v))
    assert v.equal_high == 0
    assert set(v.heal) == {Ending.ONE_AND_BACKUP}
    assert v.slowest <= search.world.shape.recovery
    assert sum(v.explained.values()) == sum(n for ending, n in v.stay.items() if ending not in GOOD)


@pytest.fixture(scope="module")
def one_fault() -> Explored:
    return explore(1)


def test_one_fault_and_its_heal_anywhere_in_time(one_fault: Explored) -> None:
    nothing_forbidden(one_fault)
    v = one_fault[2]
    assert (v.states, v.dual_confirmed, v.rights, v.slowest, v.longest_enforced) == (6293, 0, 115, 11, 5)
    assert v.stay == {Ending.ONE_AND_BACKUP: 5510, Ending.ONE: 783}


@pytest.mark.timeout(1500)
def test_two_faults_anywhere_in_time() -> None:
    found = explore(2, heals=False, leave_out=int(TWIN))
    nothing_forbidden(found)
    v = found[2]
    assert (v.states, v.dual_confirmed, v.rights, v.slowest, v.longest_enforced) == (85917, 0, 1329, 13, 5)
    assert v.stay == {
        Ending.ONE: 33292,
        Ending.ONE_AND_BACKUP: 27782,
        Ending.NO_ROUTE: 7858,
        Ending.NOBODY: 6001,
        Ending.HOLE: 4808,
        Ending.STARVED: 3335,
        Ending.DUAL: 2841,
    }


@pytest.mark.parametrize(
    "shape",
    [
        Shape(detection=4),
        Shape(bgp_delay=3, settle=5),
        Shape(priorities=(100, 100)),
        Shape(priorities=(100, 200), ties=(0, 0)),
    ],
    ids=["slow detection", "slow BGP", "same priority", "the other node first"],
)
def test_other_timers_and_ties(shape: Shape) -> None:
    search = Search(World(shape))
    search.run(1)
    judge = Judge(search)
    nothing_forbidden((search, judge, judge.all()))


@pytest.mark.parametrize(
    "alphabet",
    [
        pytest.param(Fault.FILTER | Fault.CUT_AB | Fault.CUT_BA, id="silent takeover with a used number"),
        pytest.param(Fault.FILTER | Fault.FREEZE_B, id="frozen after a silent takeover"),
        pytest.param(Fault.FILTER | Fault.AGENT_A | Fault.AGENT_B, id="resumed while outranked"),
        pytest.param(Fault.ROUTER_1 | Fault.CRASH_B, id="a router and a crash"),
        pytest.param(Fault.MOVE_A | Fault.MOVE_B | Fault.FREEZE_A | Fault.LINK_B1, id="planned moves"),
    ],
)
def test_two_faults_of_a_kind_that_heal_one_by_one(alphabet: Fault) -> None:
    found = explore(2, leave_out=~int(alphabet))
    nothing_forbidden(found)


# --- a rule less ----------------------------------------------------------------------------------------------------

RISES = {
    "no grant": ("dual_confirmed", 100),
    "no term": ("equal_high", 300),
    "no heir": ("cycles", 200),
    "no succeed after T_noactive": ("unhealed", 80),
    "without recovered": ("unhealed", 200),
    "without follow": ("unhealed", 5000),
    "without elect": ("unhealed", 1500),
    "without succeed": ("unhealed", 80),
    "without grant": ("unhealed", 1500),
    "without granted": ("cycles", 4000),
    "without reclaim": ("unconfirmed", 90),
    "without duel": ("dual_too_long", 10),
    "without handover": ("unexplained", 140),
    "without hold on": ("unconfirmed", 250),
    "without outranked": ("unexplained", 150),
    "without won": ("unexplained", 500),
    "without silence": ("dark", 1900),
    "without failed": ("unexplained", 20),
}
"""What must rise, and by how much at least it was more, when one thing is taken away (one fault)."""


@pytest.mark.parametrize("name", RISES)
def test_a_rule_less_is_noticed(name: str, one_fault: Explored) -> None:
    what = next(a for a in ABLATIONS if a.name == name)
    count, least = RISES[name]
    whole, less = (_count(v, count) for v in (one_fault[2], explore(1, what=what)[2]))
    assert less >= least > whole


BLIND = Shape(blind_after=8)
F = Fault

RARE = {
    "hearing is contact": (F.CUT_AB | F.LINK_B2, 2, "unexplained", 0, 305),
    "no own-address probe": (F.SILENT_1 | F.SILENT_2 | F.CRASH_B, 3, Ending.NOBODY, 533, 1275),
    "no isolation": (F.LINK_A1 | F.LINK_A2 | F.ICL, 3, Ending.DUAL, 0, 7722),
    "no pause": (F.FREEZE_A, 1, "rights", 15, 22),
    "a grant ends with contact": (F.MONITOR_A | F.FILTER, 2, "rights", 30, 40),
    "bound counts nothing": (F.MOVE_A | F.FILTER, 2, "longest_enforced", 5, 8),
    "without bound": (F.MONITOR_A | F.FILTER, 2, "rights", 30, 40),
    "without in the dark": (F.LINK_A1 | F.SILENT_2 | F.FILTER, 3, "rights", 595, 1197),
    "without blind": (F.SILENT_1 | F.SILENT_2 | F.CRASH_A, 3, Ending.NOBODY, 0, 678),
    "without settle down": (F.HANG_A | F.LINK_B2, 2, "unexplained", 0, 421),
}
"""What one fault does not show: these faults, so many of them, a count with the whole machine and without."""


@pytest.mark.parametrize("name", RARE)
def test_a_rule_less_is_noticed_under_more_faults(name: str) -> None:
    alphabet, faults, count, *expected = RARE[name]
    what = next(a for a in ABLATIONS if a.name == name)
    shape = BLIND if name == "without blind" else Shape()
    heals = bool(alphabet & F.FREEZE_A)  # only what thaws has paused
    both = [
        explore(faults, heals=heals, leave_out=~int(alphabet), what=w, shape=shape, stay_only=True)[2]
        for w in (None, what)
    ]
    assert [_count(v, count) for v in both] == expected


def _count(v: Verdicts, name: str) -> int:
    if isinstance(name, Ending):
        return v.stay[name]
    value = getattr(v, name)
    return value if isinstance(value, int) else len(value)


def test_every_row_of_the_table_has_an_ablation() -> None:
    rows = {a.name for a in ABLATIONS if a.name.startswith("without ")}
    assert rows == {f"without {r}" for r in Rule if r not in (Rule.BOOT, Rule.PAUSE, Rule.RESUME)}
    assert {a.name for a in ABLATIONS} == RISES.keys() | RARE.keys(), "each is seen to matter"


# --- the explorer itself --------------------------------------------------------------------------------------------


def test_the_saved_form_is_the_machine(one_fault: Explored) -> None:
    """Loading a saved machine and saving it again changes nothing, for every machine that was ever reached."""
    shape = Shape()
    for me in (0, 1):
        for node in one_fault[0].world.nodes.values:
            if node.srg is None:
                continue
            m = saved_form.load(SrgMachine, node.srg, shape.srg(me), NodeId(me + 1), NodeId(2 - me), shape.timers, 100)
            assert saved_form.save(m, 100) == node.srg


def test_an_unknown_field_of_the_machine_is_an_error() -> None:
    shape = Shape()
    m = SrgMachine(shape.srg(0), NodeId(1), shape.timers, None, 0)
    saved_form.check_fields(m)
    vars(m)["_more"] = 1
    with pytest.raises(AssertionError, match="_more"):
        saved_form.check_fields(m)


def test_a_story_leads_to_its_state(one_fault: Explored) -> None:
    search = one_fault[0]
    world = search.world
    for i in range(0, search.reached, 97):
        state = world.boot()
        for number, action in search.story(i)[1:]:
            after = world.tick(state) if action == TICK else _acted(world, state, action)
            assert after == search.states[number]
            state = after


def _acted(world: World, state: tuple[int, ...], action: int) -> tuple[int, ...]:
    after = world.strike(state, action) if action > 0 else world.heal(state, -action)  # type: ignore[arg-type]
    assert after is not None
    return after


def test_nothing_broken_excuses_nothing() -> None:
    whole = Geometry.of(0, (True, True), (True, True))
    assert accepted(whole, (False, False), (0, 0)) is None
    assert accepted(whole, (True, True), (0, 0)) is None
    assert accepted(whole, (True, False), (0, 1)) is None


def test_an_unheard_node_is_excused_only_where_its_router_is_silent() -> None:
    def judged(faults: Fault) -> str | None:
        return accepted(Geometry.of(int(faults), (True, True), (True, True)), (True, False), (0, 1))

    assert judged(F.FILTER | F.LINK_A2 | F.SILENT_2) is not None
    assert judged(F.FILTER | F.LINK_A2) is None
    assert judged(F.LINK_A2 | F.SILENT_2) is None
    assert judged(F.FILTER | F.LINK_A2 | F.SILENT_1) is None


def test_a_router_that_does_not_follow_its_active_node_is_never_excused() -> None:
    g = Geometry.of(int(Fault.LINK_B1), (True, True), (True, True))
    assert accepted(g, (True, False), (1, 0)) is None
