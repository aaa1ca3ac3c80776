"""A failing node that a peer covers ends its sessions instead of lowering its routes one by one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from l3ha.base.limits import FORGOTTEN_PER_SECOND
from l3ha.base.names import NodeState, SrgId, SrgState, Term
from l3ha.base.settings import Monitor, MonitorKind, Settings
from l3ha.base.time import MS, SECOND
from l3ha.core import exchange, picture
from l3ha.core.ledger import CLEARING
from l3ha.core.routes import SpeakerLink
from l3ha.core.wishes import Levels
from l3ha.sim.faults import Fault, Kind
from l3ha.sim.setting import PREFIXES as PREFIXES_OF_STAGE
from l3ha.sim.setting import Variant
from l3ha.sim.world import World as Stage
from l3ha.wire.wish import Wish
from tests.test_engine import engine as engine_of
from tests.test_engine import pair
from tests.test_routes import ME, T0, report
from tests.test_speaker import ADDRESSES, HIGH, LOCAL_PREFERENCE, LOW, MEDIUM, World, group, ready, wanted, wish
from tests.virtual_exabgp import VirtualExabgp
from tests.world import settings

PREFIXES = [f"10.{i}.0.0/16" for i in range(120)]
FIRST = wish(1, group(HIGH, *PREFIXES, term=5))
DROP = wish(2, group(LOW, *PREFIXES), drop=True)
ONE, TWO = ADDRESSES


def verbs(world: World, since: int) -> list[tuple[str, str]]:
    return [(words[1], words[2]) for words in map(str.split, world.changes()[since:])]


# --- the speaker ------------------------------------------------------------------------------------------------------


def test_first_every_session_ends_then_their_routes_are_forgotten_then_they_are_told() -> None:
    world = ready(FIRST)
    before = len(world.changes())
    world.ask(DROP)
    for address in ADDRESSES:
        world.exabgp.carry_out()
        world.exabgp.bgp(address)
        world.listen()
    assert world.tables() == {}, "no route of it is left, and the sessions are down"
    world.work()
    assert world.tables() == wanted(DROP) and [n.confirmed for n in world.report().neighbors] == [2, 2]
    told = verbs(world, before)
    assert told[:4] == [(ONE, "teardown"), (TWO, "teardown"), (ONE, "clear"), (TWO, "clear")]
    assert told[4:] == [(ONE, "announce")] * 3 + [(TWO, "announce")] * 3


def test_a_session_that_is_back_before_its_routes_are_forgotten_ends_low_all_the_same() -> None:
    world = ready(FIRST)
    world.ask(DROP)
    world.exabgp.carry_out()
    world.exabgp.bgp(ONE)
    world.exabgp.bgp(ONE)
    assert set(world.tables()[ONE].values()) == {LOCAL_PREFERENCE[HIGH] + 5}, "ExaBGP tells again what it holds"
    world.work()
    assert world.tables() == wanted(DROP)


@pytest.mark.parametrize("answered", [True, False])
def test_the_session_may_end_before_the_answer_comes(answered: bool) -> None:
    world = ready(FIRST)
    before = len(world.changes())
    world.ask(DROP)
    world.exabgp.forget = [not answered]
    world.exabgp.carry_out()
    answer, world.exabgp.output[:] = world.exabgp.output[:], []
    world.exabgp.bgp(ONE)
    world.exabgp.output += answer
    world.listen()
    world.wait(exchange.PATIENCE)
    for _ in range(3):
        world.work()
        world.wait(exchange.MARKER_EVERY)
    assert (ONE, "clear") in verbs(world, before)
    world.settle()
    assert world.tables() == wanted(DROP)


def test_a_step_that_is_refused_leaves_the_plain_way() -> None:
    world = ready(FIRST)
    before = len(world.changes())
    world.exabgp.refuse = [True, True]
    world.ask(DROP)
    world.work()
    assert world.tables() == wanted(DROP)
    assert verbs(world, before)[:2] == [(ONE, "teardown"), (TWO, "teardown")]
    assert "clear" not in {verb for _, verb in verbs(world, before)}
    assert [log for log in world.logs if "refused to end the session" in log]


def test_an_older_exabgp_is_told_route_by_route(monkeypatch: pytest.MonkeyPatch) -> None:
    """4.2 ends of ``clear adj-rib out`` where the session is down."""
    say = VirtualExabgp._say
    monkeypatch.setattr(
        VirtualExabgp, "_say", lambda self, *lines: say(self, *(x.replace("5.0.15", "4.2.25") for x in lines))
    )
    world = ready(FIRST)
    before = len(world.changes())
    assert world.report().exabgp == "4.2.25"
    world.ask(DROP)
    world.work()
    assert {verb for _, verb in verbs(world, before)} == {"announce"} and world.tables() == wanted(DROP)


def test_no_session_ends_for_what_its_neighbor_holds_already() -> None:
    world = ready(wish(1, group(LOW, *PREFIXES)))
    before = len(world.changes())
    world.ask(DROP)
    world.work()
    assert verbs(world, before) == [] and world.report().neighbors[0].confirmed == 2


def test_another_wish_in_time_keeps_the_session_that_was_not_ended_yet() -> None:
    world = ready(FIRST)
    before = len(world.changes())
    world.ask(DROP)
    again = wish(3, group(HIGH, *PREFIXES, term=7))
    world.ask(again)
    world.work()
    assert verbs(world, before)[0] == (ONE, "teardown") and (TWO, "teardown") not in verbs(world, before)
    assert world.tables() == wanted(again)


def test_exabgp_may_take_its_time_to_forget() -> None:
    world = ready(FIRST)
    world.ask(DROP)
    for _ in range(2):
        world.exabgp.carry_out()
        world.listen()
        world.exabgp.bgp(ONE)
        world.exabgp.bgp(TWO)
    assert world.changes()[-1] == f"neighbor {ONE} clear adj-rib out", "and it does not answer yet"
    before = len(world.exabgp.commands)
    world.wait(exchange.PATIENCE + len(PREFIXES) * CLEARING - MS)
    assert len(world.exabgp.commands) == before and world.report().neighbors[0].error is None
    world.wait(2 * MS)
    assert world.exabgp.commands[before:] == ["show neighbor summary"]


# --- the agent: when it says so ---------------------------------------------------------------------------------------

SRG = SrgId(1)
UP: Levels = {SRG: (HIGH, Term(5)), SrgId(0): (MEDIUM, Term(0))}
DOWN: Levels = {SRG: (LOW, Term(0)), SrgId(0): (MEDIUM, Term(0))}
BOTH = frozenset({"r1", "r2"})


def dropping(
    s: Settings, covered: frozenset[str] = BOTH, first: Levels = UP, then: Levels = DOWN, *, withdraw: bool = False
) -> set[str]:
    """The neighbors whose session the second wish lets go."""
    x = SpeakerLink(s, 77, 1000 * SECOND)
    x.up(1000 * SECOND)
    earlier = x.tell(first, 1000 * SECOND, covered=lambda: covered)
    later = x.tell(then, 1001 * SECOND, covered=lambda: covered, withdraw=withdraw)
    assert isinstance(earlier, Wish) and isinstance(later, Wish)
    assert not any(n.drop for n in earlier.neighbors)
    return {n.name for n in later.neighbors if n.drop}


def many(least: int, hold_s: int = 9, routes: int = 0) -> Settings:
    """Settings with a threshold, a hold time of every neighbor, and this many routes beside."""
    s = settings(1)
    further = tuple(f"10.{i >> 8}.{i & 255}.0/24" for i in range(routes))
    return replace(
        s,
        speaker=replace(s.speaker, drop_from=least),
        neighbors=tuple(replace(n, hold_time=hold_s) for n in s.neighbors),
        srgs=tuple(replace(g, routes=(*g.routes, *further)) for g in s.srgs),
    )


def test_a_node_that_fails_for_all_its_groups_ends_the_sessions_that_a_peer_covers() -> None:
    held = len(settings(1).srgs[0].routes)
    assert dropping(many(held)) == {"r1", "r2"}
    assert dropping(many(held + 1)) == set(), "not for so few"
    assert dropping(many(0)) == set(), "never"
    assert dropping(many(1), frozenset({"r2"})) == {"r2"}, "only where the peer has them"
    assert dropping(many(1), frozenset()) == set()
    assert dropping(many(1), then={**DOWN, SRG: (MEDIUM, Term(0))}) == set(), "a backup does not fail"
    assert dropping(many(1), first={**UP, SRG: (MEDIUM, Term(0))}) == set(), "it had no traffic"
    assert dropping(many(1), withdraw=True) == set(), "a node that leaves has moved before"


def test_another_group_that_stays_keeps_the_session() -> None:
    s = many(1)
    second = replace(s.srgs[0], id=SrgId(2), routes=("192.0.2.0/24",), floating=())
    both = replace(s, srgs=(*s.srgs, second))
    up: Levels = {**UP, SrgId(2): (HIGH, Term(3))}
    assert dropping(both, first=up, then={**DOWN, SrgId(2): (HIGH, Term(3))}) == set()
    assert dropping(both, first=up, then={**DOWN, SrgId(2): (MEDIUM, Term(3))}) == set()
    assert dropping(both, first=up, then={**DOWN, SrgId(2): (LOW, Term(3))}) == {"r1", "r2"}


def test_routes_of_the_node_itself_keep_the_session() -> None:
    s = many(1)
    assert dropping(replace(s, node_group=replace(s.node_group, routes=("192.0.2.0/24",)))) == set()


def test_sessions_of_a_router_that_has_several_are_kept() -> None:
    """One for each family: a peer that reaches the router by one of them need not have told it the other's routes."""
    s = many(1)
    second = replace(s.neighbors[0], name="r1-6", address="2001:db8::1", local_address="2001:db8::2")
    assert second.router == "r1"
    assert dropping(replace(s, neighbors=(*s.neighbors, second))) == {"r2"}


@pytest.mark.parametrize("kind", MonitorKind)
def test_a_session_that_the_node_itself_is_judged_by_is_not_ended(kind: MonitorKind) -> None:
    """It would be ISOLATED for it, and shut interfaces down."""
    s = many(1)
    watch = (Monitor("m", kind, "r1", None, 100, 1, 1, SECOND),)
    watched = replace(s, node_group=replace(s.node_group, monitors=watch))
    assert dropping(watched) == ({"r2"} if kind in (MonitorKind.BGP, MonitorKind.BFD) else {"r1", "r2"})


def test_exabgp_must_not_miss_a_hold_time_while_it_forgets() -> None:
    held = len(settings(1).srgs[0].routes)
    most = 3 * FORGOTTEN_PER_SECOND // 2 - held
    assert dropping(many(1, 3, most)) == {"r1", "r2"}
    assert dropping(many(1, 3, most + 1)) == set()
    assert dropping(many(1, 0, most + 1)) == {"r1", "r2"}, "hold time 0: the session never expires"
    s = many(1, 3, most + 1)
    longer = replace(s, neighbors=(s.neighbors[0], replace(s.neighbors[1], hold_time=90)))
    assert dropping(longer) == set(), "one neighbor of both has the short one"


def test_what_a_peer_covers() -> None:
    engine = engine_of(pair())
    assert engine.srgs[SRG].state is SrgState.ACTIVE
    assert picture.covered(engine) == {"r1", "r2"}
    (peer,) = engine.peers.values()
    beat = peer.beat
    assert beat is not None
    (theirs,) = beat.srgs
    for other in (
        beat._replace(state=NodeState.HOLD),
        beat._replace(state=NodeState.ISOLATED),
        beat._replace(srgs=()),
        beat._replace(srgs=(theirs._replace(state=SrgState.INELIGIBLE),)),
        beat._replace(srgs=(theirs._replace(state=SrgState.HOLD),)),
        beat._replace(srgs=(theirs._replace(routes_digest=bytes(8)),)),
        beat._replace(reach=()),
    ):
        peer.beat = other
        assert picture.covered(engine) == set(), other
    peer.beat = beat._replace(reach=("r2",))
    assert picture.covered(engine) == {"r2"}
    peer.beat = beat._replace(srgs=(theirs._replace(state=SrgState.ACTIVE),))
    assert picture.covered(engine) == {"r1", "r2"}
    peer.contact = False
    assert picture.covered(engine) == set()


# --- all of it --------------------------------------------------------------------------------------------------------


def test_the_operator_is_told_why_a_session_ended() -> None:
    world = pair(lambda s: replace(s, speaker=replace(s.speaker, drop_from=1)))
    before = len(world.notes)
    world.uplink(1, False)
    world.run(SECOND)
    texts = [str(note[2]) for note in world.notes[before:]]
    assert sum("the peer has them, so BGP sessions may be ended for it: r1, r2" in text for text in texts) == 1


def test_an_end_of_our_own_is_no_alarm_and_the_next_one_is() -> None:
    x = SpeakerLink(many(1), ME, T0)
    x.up(T0)
    x.tell(UP, T0, covered=lambda: BOTH)
    x.receive(report(1, r2=False), T0)
    x.tell(DOWN, T0, covered=lambda: BOTH)
    told = []
    for r1, r2 in ((False, False), (True, True), (False, False)):
        told += [(n.text, n.alarm) for n in x.receive(report(2, r1=r1, r2=r2), T0)[0] if "session to r" in n.text]
    down = "BGP session to r1 is down"
    assert [one for one in told if down in one[0]] == [
        (f"{down}: ended for its routes to go at once", False),
        (down, True),
    ]
    assert ("BGP session to r2 is down", True) in told, "it was not up, so there was nothing to end"


def stage(drop_from: int) -> Stage:
    """n1 is active, n2 its backup, and the routers take their time."""
    world = Stage(7, Variant(drop_from=drop_from, bgp_delay=(50 * MS, 350 * MS)), trace=True)
    world.boot()
    world.run(20 * SECOND)
    assert [router.best() for router in world.routers.values()] == [1, 1]
    return world


@pytest.mark.parametrize("drop_from", [0, 1])
def test_the_traffic_of_a_failing_node_always_has_a_way(drop_from: int) -> None:
    world = stage(drop_from)
    world.begin(Fault(0, None, Kind.MONITOR, 1))
    begin, moved = world.clock.now, None
    while world.clock.now < begin + 8 * SECOND:
        world.run(MS)
        best = [router.best(prefix) for router in world.routers.values() for prefix in PREFIXES_OF_STAGE]
        assert None not in best
        if moved is None and best == [2] * 4:
            moved = world.clock.now - begin
    assert moved is not None and best == [2] * 4
    assert all(world.sessions[1, r].up and len(world.routers[r].routes[1]) == 2 for r in world.routers), "LOW again"
    ended = [line for line in world.lines or () if "session is ended" in line]
    assert len(ended) == (2 if drop_from else 0)
    if drop_from:
        assert moved < 50 * MS, "sooner than any router hears of a route"
