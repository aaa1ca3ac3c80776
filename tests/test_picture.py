"""The picture that is decided on and spoken of: certain facts only, and the cautious one where there is none."""

from __future__ import annotations

from dataclasses import replace

import pytest

from l3ha.base.names import Intent, Level, NodeId, SrgId, SrgState, Term, Verdict
from l3ha.base.settings import Monitor, MonitorKind, NodeGroup, Settings
from l3ha.base.time import MS, SECOND
from l3ha.core import picture
from l3ha.core.events import (
    InterfaceChanged,
    NewSettings,
    RequestFailover,
    RequestMaintenance,
    RequestStop,
    SpeakerDown,
    SpeakerLine,
    SpeakerUp,
    Tick,
)
from l3ha.core.facts import Facts, PeerFacts
from l3ha.core.group import Grant
from l3ha.wire import wishline
from l3ha.wire.wish import Advertised, Goodbye
from tests.test_engine import ONE, Lone, engine, group, pair
from tests.world import TIMERS, World


def facts(world: World, node: int = 1) -> Facts:
    e = engine(world, node)
    return picture.facts(e, e.srgs[ONE].srg, world.now)


def other(world: World, node: int = 1) -> PeerFacts:
    (found,) = facts(world, node).peers
    return found


def monitor(name: str, interface: str, weight: int) -> Monitor:
    return Monitor(name, MonitorKind.INTERFACE, interface, None, weight, 1, 1, SECOND)


# --- a group --------------------------------------------------------------------------------------------------------


def test_what_the_active_node_and_its_backup_see() -> None:
    world = pair()
    mine, theirs = facts(world), facts(world, 2)
    assert mine.reach == theirs.reach == {"r1", "r2"} and mine.contact and not mine.lone and mine.peer_ever_heard
    assert mine.eligible and mine.ready and mine.ineligible_why == "" and not mine.witness_alive
    assert mine.win >= 8 and (mine.part, mine.lose, mine.unknown) == (0, 0, 0)
    assert theirs.lose >= 8 and (theirs.win, theirs.part, theirs.unknown) == (0, 0, 0)
    assert mine.acked_term == world.term(1) and world.start < mine.acked_at < world.now
    assert mine.floating_sent is not None and world.now - 200 * MS <= mine.floating_sent <= world.now
    assert mine.floating_any is not None and mine.floating_any >= mine.floating_sent
    assert theirs.acked_term == -1 and theirs.floating_sent is None and theirs.floating_any is None
    peer = other(world, 2)
    assert (peer.id, peer.name, peer.state, peer.confirmed) == (1, "n1", SrgState.ACTIVE, True)
    assert (peer.term, peer.seen, peer.claim, peer.grant) == (world.term(1), world.term(1), None, None)
    assert peer.contact and peer.heard and peer.reach == {"r1", "r2"} and 0 < peer.age <= 210 * MS
    assert peer.eligible and peer.ready and peer.verified and peer.winning and peer.informed and not peer.wants
    assert peer.priority == 200 and peer.same_routes and world.start < peer.contact_since < world.now
    backup = other(world)
    assert not (backup.verified or backup.winning or backup.confirmed) and backup.informed and backup.priority == 100


def test_a_promise_to_somebody_else_is_none_to_us() -> None:
    world = pair()
    machine = engine(world, 2).srgs[ONE]
    for to, expected in ((NodeId(1), Term(99)), (NodeId(3), None)):
        machine.grant = Grant(Term(99), to, world.now + SECOND)
        world.run(210 * MS)
        assert other(world).grant == expected
        assert 500 * MS < other(world).grant_left < SECOND
    words = picture.words(engine(world, 2), world.now + 60 * SECOND)
    assert words.srgs[0].grant_left == 0, "over is not less than nothing"
    machine.grant = None
    (said,) = picture.words(engine(world, 2), world.now).srgs
    assert (said.grant, said.grant_to, said.grant_left) == (None, None, 0)


def test_a_group_that_the_peer_does_not_know_has_no_peer() -> None:
    world = pair()
    second = replace(engine(world).settings.srgs[0], id=SrgId(2), arbiters=())
    world.feed(1, NewSettings(replace(engine(world).settings, srgs=(second,))))
    world.run(300 * MS)
    assert picture.facts(engine(world), second, world.now).peers == ()
    assert facts(world, 2).peers == (), "and the other way round"
    lone = Lone()
    assert picture.facts(lone.engine, lone.engine.srgs[ONE].srg, lone.now).peers == ()
    assert not picture.facts(lone.engine, lone.engine.srgs[ONE].srg, lone.now).peer_ever_heard


def test_other_routes_of_the_same_group_are_told() -> None:
    world = World()
    world.nodes[2].settings = group(routes=("203.0.113.0/25",))(world.nodes[2].settings)
    world.both()
    world.until(lambda: world.states() == ("ACTIVE", "BACKUP"), 5 * SECOND)
    assert not other(world).same_routes and not other(world, 2).same_routes


def test_ready_is_more_than_eligible() -> None:
    world = pair(group(monitors=(monitor("up", "eth1", 100), monitor("new", "eth8", 100))))
    assert facts(world).eligible and not facts(world).ready, "a monitor was not judged yet"
    world.feed(1, InterfaceChanged("eth8", True, "carrier"))
    world.feed(2, InterfaceChanged("eth8", True, "carrier"))
    assert facts(world).ready
    for router in ("r1", "r2"):
        world.link(2, router, False)
    assert facts(world, 2).eligible and not facts(world, 2).ready and facts(world, 2).reach == frozenset()
    assert not engine(world, 2).speaker.all_up()
    world = pair()
    world.feed(1, InterfaceChanged("eth1", False, "no carrier"))
    assert not engine(world).speaker.synced(), "its wish has just changed"
    assert not facts(world).ready and not facts(world).eligible


def test_answers_of_every_router_that_answers_us_are_wanted() -> None:
    world = pair()
    before = facts(world).floating_any
    world.routers["r1"].routes[2] = 1 << 31
    world.run(SECOND)
    mine = facts(world)
    assert mine.floating_sent is not None and mine.floating_any is not None and before is not None
    assert mine.floating_sent <= before < mine.floating_any, "r1 has not answered since"
    e = engine(world)
    del world.routers["r1"].routes[1]
    arbiter = e.srgs[ONE].srg.arbiters[0]
    e.echoes[arbiter.floating].answered_sent = None
    assert facts(world).floating_sent is None and facts(world).floating_any is not None
    world.routers["r1"].alive = False
    world.run(SECOND)
    assert facts(world).floating_sent is not None, "a router that does not even answer us is not asked"


# --- why not --------------------------------------------------------------------------------------------------------


def why(world: World, node: int = 1) -> str:
    return picture.ineligible(engine(world, node), ONE, world.now)


def test_every_reason_is_said_and_coded() -> None:
    world = pair()
    e = engine(world, 2)
    assert why(world, 2) == "" and picture.failure_events(e, ONE, world.now) == ()
    world.feed(2, InterfaceChanged("eth1", False, "no carrier"))
    assert why(world, 2) == "monitors failed: uplink" and picture.failure_events(e, ONE, world.now) == ("IF",)
    assert facts(world, 2).ineligible_why == "monitors failed: uplink"
    world.feed(2, RequestMaintenance(1, True))
    assert why(world, 2) == "the node is OFFLINE"
    assert picture.failure_events(e, ONE, world.now) == ("IF", "NM")
    world.feed(2, SpeakerLine(wishline.encode(Goodbye("x")).rstrip(b"\n")))
    world.feed(2, SpeakerDown())
    world.feed(2, RequestMaintenance(2, False))
    world.feed(2, InterfaceChanged("eth1", True, "carrier"))
    assert why(world, 2) == "the speaker is gone" and picture.failure_events(e, ONE, world.now) == ("CP",)
    world.feed(2, RequestStop(Intent.LEAVING, 0))
    assert why(world, 2) == "the agent is leaving"


def test_the_sum_of_weights_decides_and_only_what_failed_is_named() -> None:
    watches = (monitor("a", "eth1", 60), monitor("b", "eth2", 40), monitor("c", "eth3", 100))
    world = pair(group(monitors=watches))
    world.feed(2, InterfaceChanged("eth3", True, "carrier"))
    world.feed(2, InterfaceChanged("eth1", False, "no carrier"))
    assert why(world, 2) == ""
    assert picture.failure_events(engine(world, 2), ONE, world.now) == ()
    world.feed(2, InterfaceChanged("eth2", False, "no carrier"))
    assert why(world, 2) == "monitors failed: a, b"


def test_a_group_without_monitors_cannot_be_overweight() -> None:
    world = pair(group(monitors=(), threshold=0))
    assert why(world) == "" and facts(world).ready


def node_group(s: Settings) -> Settings:
    return replace(s, node_group=NodeGroup((), (monitor("core", "eth9", 100),), 100, (), None))


def test_what_the_node_is_decided_on() -> None:
    world = pair(node_group)
    told = picture.node_facts(engine(world))
    assert told.speaker and told.sessions_up and told.contact and told.reach and told.occupied
    assert (told.judged, told.alone, told.failed_weight) == (False, False, 0)
    backup = picture.node_facts(engine(world, 2))
    assert not backup.occupied and picture.failure_events(engine(world, 2), SrgId(0), world.now) == ()
    world.feed(2, InterfaceChanged("eth9", False, "no carrier"))
    backup = picture.node_facts(engine(world, 2))
    assert backup.judged and backup.failed_weight == 100
    assert picture.failure_events(engine(world, 2), SrgId(0), world.now) == ("IF", "NM")
    assert why(world, 2) == "the node is ISOLATED"
    lone = Lone(lambda s: replace(s, peers=()))
    told = picture.node_facts(lone.engine)
    assert told.alone and not (told.speaker or told.sessions_up or told.contact or told.reach or told.occupied)
    assert picture.facts(lone.engine, lone.engine.srgs[ONE].srg, lone.now).lone


def test_a_node_that_covers_a_move_is_occupied_still() -> None:
    world = pair()
    world.feed(1, RequestFailover(1, ONE, None))
    world.until(lambda: world.state(1) == "BACKUP", SECOND)
    assert engine(world).srgs[ONE].draining and picture.node_facts(engine(world)).occupied
    world.run(2 * SECOND)
    assert not picture.node_facts(engine(world)).occupied


# --- witnesses ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answering", "alive"), [({"r1", "r2"}, True), ({"r1"}, False), ({"r2"}, True), (set[str](), False)]
)
def test_a_witness_is_a_router_of_the_last_contact_that_answers_now(answering: set[str], alive: bool) -> None:
    world = pair()
    world.cut.add("r1")
    world.run(2 * TIMERS.detection)
    assert not facts(world, 2).witness_alive, "in contact there is no end of it"
    world.cut.update({"icl", "r2"})
    world.nodes[1].alive = False
    for router in {"r1", "r2"} - answering:
        world.routers[router].alive = False
    world.until(lambda: not facts(world, 2).contact, SECOND)
    assert engine(world, 2).peers[NodeId(1)].witnesses == {"r2"}
    assert facts(world, 2).witness_alive is alive


def test_without_witness_paths_there_is_no_witness() -> None:
    world = pair(witness=False)
    world.silence(1)
    world.until(lambda: not facts(world, 2).contact, SECOND)
    assert not facts(world, 2).witness_alive
    peer = other(world, 2)
    assert not peer.contact and peer.contact_since == world.now, "since never: the cautious moment"


# --- what is said ---------------------------------------------------------------------------------------------------


def test_words_are_the_whole_truth_in_one_order() -> None:
    world = pair(lambda s: replace(s, sections={"srg.1": b"efgh", "cluster": b"abcd"}))
    e = engine(world)
    said = picture.words(e, world.now)
    assert (said.cluster, said.node, said.incarnation, said.digest) == ("test", 1, e.incarnation, bytes(8))
    assert said.sections == (("cluster", b"abcd"), ("srg.1", b"efgh")) and said.reach == ("r1", "r2")
    assert said.known == ((1, "r1"), (1, "r2")) and (said.intent, said.grace) == (Intent.RUNNING, 0)
    assert (said.path, said.sequence, said.echo, said.echo_age) == ("", 0, 0, 0), "each path puts its own to it"
    (mine,) = said.srgs
    assert (mine.id, mine.state, mine.confirmed, mine.verified) == (1, SrgState.ACTIVE, True, True)
    assert (mine.verdict, mine.winning, mine.priority, mine.wants) == (Verdict.WIN, True, 200, False)
    assert (mine.eligible, mine.ready, mine.claim, mine.routes_digest) == (True, True, None, e.digests[ONE])
    (theirs,) = picture.words(engine(world, 2), world.now).srgs
    assert (theirs.verified, theirs.winning, theirs.verdict) == (False, False, Verdict.LOSE)
    engine(world, 2).srgs[ONE].verified = True
    (theirs,) = picture.words(engine(world, 2), world.now).srgs
    assert not theirs.verified, "only an ACTIVE node has proved anything"


def test_winning_is_k_up_in_a_row() -> None:
    lone = Lone()
    lone.step(SpeakerUp())
    lone.report(Advertised(1, Level.HIGH, 5))
    e = lone.engine
    for win in (1, 2):
        e.picture[ONE] = e.picture[ONE]._replace(win=win)
        assert picture.words(e, lone.now).srgs[0].winning is (win == 2)
        assert picture.decisive(e, lone.now)[3][0][10] is (win == 2)  # type: ignore[index]


def test_what_the_peer_decides_on_and_nothing_else_is_decisive() -> None:
    world = pair()
    e = engine(world)
    before = picture.decisive(e, world.now)
    world.feed(1, Tick())
    assert picture.decisive(e, world.now + SECOND) == before, "time alone is none"
    machine = e.srgs[ONE]
    machine.grant = Grant(Term(9), NodeId(2), world.now + SECOND)
    one = picture.decisive(e, world.now)
    machine.grant = Grant(Term(9), NodeId(2), world.now + 2 * SECOND)
    assert picture.decisive(e, world.now) == one != before
    machine.grant = Grant(Term(9), NodeId(3), world.now + SECOND)
    assert picture.decisive(e, world.now) != one
