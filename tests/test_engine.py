"""The engine at its three doors: what one event does, in which order, and when the next look is due.

The rules themselves stand in ``test_srg``, whole stories in ``test_pair``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import pytest

import l3ha
from l3ha.base.limits import MAX_HEARD_TERM
from l3ha.base.names import Intent, Level, NodeId, NodeState, SrgId, SrgState, Term, Verdict
from l3ha.base.settings import EchoTarget, Monitor, MonitorKind, NodeGroup, Settings, Srg
from l3ha.base.time import MS, SECOND, Duration, Instant
from l3ha.core.echo import EchoResult
from l3ha.core.echoes import ECHO_IDENTIFIER
from l3ha.core.engine import Engine
from l3ha.core.events import (
    Answer,
    ClearStatistics,
    Datagram,
    DiscardBacklog,
    EchoAnswer,
    EchoFailed,
    Effect,
    Event,
    Exit,
    InterfaceChanged,
    Memory,
    NewSettings,
    Note,
    NoteKind,
    Remember,
    RequestFailover,
    RequestMaintenance,
    RequestStop,
    Send,
    SendEcho,
    SpeakerDown,
    SpeakerLine,
    SpeakerUp,
    Tick,
    ToSpeaker,
)
from l3ha.core.group import RESERVED
from l3ha.core.icl import MAX_GRACE
from l3ha.core.probe import MISLED_AFTER
from l3ha.wire import wishline
from l3ha.wire.seal import INIT, Drop
from l3ha.wire.wish import Advertised, Alive, NeighborReport, Renew, Report, Wish
from tests.world import FLOATING, TIMERS, Node, World, address, echo_reply, entropy, settings

T0: Instant = 1_000 * SECOND
T_DET, T_H = TIMERS.detection, TIMERS.heartbeat
ONE = SrgId(1)
Change = Callable[[Settings], Settings]


def group(**changes: object) -> Change:
    """The settings with another SRG 1."""
    return lambda s: replace(s, srgs=(replace(s.srgs[0], **changes),))  # type: ignore[arg-type]


def pair(change: Change = lambda s: s, *, witness: bool = True) -> World:
    """n1 ACTIVE, n2 BACKUP, just settled."""
    world = World(witness=witness)
    for n in world.nodes.values():
        n.settings = change(n.settings)
    world.both()
    world.until(lambda: world.states() == ("ACTIVE", "BACKUP"), 5 * SECOND)
    world.run(2 * SECOND)
    return world


def engine(world: World, node: int = 1) -> Engine:
    found = world.nodes[node].engine
    assert found is not None
    return found


def ask(world: World, event: Event, node: int = 1) -> Answer:
    return next(e for e in world.feed(node, event) if isinstance(e, Answer))


def alarms(world: World, kind: NoteKind) -> list[tuple[int, str, bool]]:
    return [(who, n.text, n.alarm) for _, who, n in world.notes if n.kind is kind]


class Lone:
    """An engine by itself: the test is its world."""

    def __init__(self, change: Change = lambda s: s, memory: tuple[Memory, ...] = ()) -> None:
        self.now = T0
        self.engine = Engine(change(settings(1)), memory, entropy("lone"), T0)
        self.last: tuple[Effect, ...] = ()

    def step(self, event: Event, after: Duration = 0) -> tuple[Effect, ...]:
        self.now += after
        self.last = self.engine.step(event, self.now)
        return self.last

    def run(self, duration: Duration) -> list[tuple[Instant, Effect]]:
        """Every deadline on time; answers what came out, and when since the call."""
        began, out = self.now, []
        while (due := self.engine.next_deadline() or 0) <= began + duration:
            self.now = max(self.now, due)
            out += [(self.now - began, e) for e in self.step(Tick())]
        self.now = began + duration
        return out

    def report(self, *advertised: Advertised, up: bool = True, live: bool = True) -> tuple[Effect, ...]:
        told = tuple(NeighborReport(n.name, n.address, up, -1, None) for n in self.engine.settings.neighbors)
        return self.step(SpeakerLine(wishline.encode(Report(7, "5.0.15", 0, 0, live, advertised, told)).rstrip(b"\n")))

    def notes(self) -> list[str]:
        return [e.text for e in self.last if isinstance(e, Note)]


# --- the start ------------------------------------------------------------------------------------------------------


def test_the_first_step_says_who_starts_and_no_other_does() -> None:
    lone = Lone()
    text = f"l3ha {l3ha.__version__}: node n1 of cluster test"
    assert Note(NoteKind.STARTED, text) in lone.step(Tick(), 10 * T_DET)
    assert lone.engine.pauses == 0, "nobody slept before the first step"
    assert not [e for e in lone.step(Tick(), MS) if isinstance(e, Note) and e.kind is NoteKind.STARTED]


def test_an_incarnation_has_64_bits_of_chance() -> None:
    assert Engine(settings(1), (), lambda n: b"\xff" * n, T0).incarnation == 2**64 - 1


def test_nothing_is_said_before_the_speaker_has_told_or_t_det_is_over() -> None:
    """A restart must not be heard as "not ACTIVE"."""
    lone = Lone()
    lone.step(Tick())
    lone.step(SpeakerUp())
    before = [e for _, e in lone.run(T_DET - 1)]
    assert not any(isinstance(e, ToSpeaker | Remember) for e in before)
    assert lone.engine.next_deadline() == T0 + T_DET
    assert any(isinstance(e, ToSpeaker) for _, e in lone.run(1))
    quick = Lone()
    quick.step(Tick())
    quick.step(SpeakerUp())
    assert any(isinstance(e, ToSpeaker) for e in quick.report())


def test_what_the_speaker_still_advertises_is_learned_and_resumed_once() -> None:
    """Even where the disk was lost; a term that nobody could hear is not believed."""
    lone = Lone()
    lone.step(SpeakerUp())
    lone.report(
        Advertised(1, Level.HIGH, 50), Advertised(9, Level.HIGH, 60), Advertised(1, Level.HIGH, MAX_HEARD_TERM + 1)
    )
    machine = lone.engine.srgs[ONE]
    assert (machine.state, machine.term, machine.confirmed) == (SrgState.ACTIVE, 50, False)

    other = Lone()
    other.step(SpeakerUp())
    other.report(Advertised(1, Level.MEDIUM, 50))
    machine = other.engine.srgs[ONE]
    assert (machine.state, machine.seen) == (SrgState.HOLD, 0)
    other.report(Advertised(1, Level.HIGH, MAX_HEARD_TERM))
    assert (machine.state, machine.seen) == (SrgState.HOLD, MAX_HEARD_TERM), "learned, but the process runs already"


def test_who_resumes_asks_the_arbiters_that_the_earlier_process_knew() -> None:
    lone = Lone(memory=(Memory(ONE, Term(5), Term(5), frozenset({"r1"})),))
    assert lone.engine.probes[ONE].trusted == frozenset()
    lone.step(SpeakerUp())
    lone.report(Advertised(1, Level.HIGH, 5))
    assert lone.engine.probes[ONE].trusted == {"r1"}


# --- sleep and lateness ---------------------------------------------------------------------------------------------


def test_a_step_within_t_det_is_no_pause_and_a_later_one_is_told_before_anything_else() -> None:
    world = pair()
    e = engine(world)
    world.feed(1, Tick())
    assert not any(isinstance(x, DiscardBacklog) for x in e.step(Tick(), world.now + T_DET))
    first, second, *rest = e.step(Tick(), world.now + 2 * T_DET + 1)
    told = (("slept_ms", T_DET // MS),)
    assert first == Note(NoteKind.PAUSE, "the agent did not run for 500 ms", None, "pause", told, True)
    assert second == DiscardBacklog() and e.pauses == 1
    assert any(isinstance(x, Send) for x in rest), "the peer is told at once"


@pytest.mark.parametrize("asleep", [False, True])
def test_what_wakes_a_sleeper_is_not_heard(asleep: bool) -> None:
    world = pair()
    data = Datagram("icl", address(2, "icl"), 255, b"\x01garbage")
    before = sum(engine(world).peers[NodeId(2)].session.drops.values())
    engine(world).step(data, world.now + (2 * T_DET if asleep else MS))
    assert sum(engine(world).peers[NodeId(2)].session.drops.values()) - before == (0 if asleep else 1)


def test_counts_of_the_probe_start_again_after_a_sleep() -> None:
    lone = Lone()
    lone.step(Tick())
    lone.run(5 * SECOND)
    assert lone.engine.probes[ONE].times(Verdict.UNKNOWN) > 10
    lone.step(Tick(), 2 * T_DET)
    assert lone.engine.probes[ONE].times(Verdict.UNKNOWN) <= 1


def test_lateness_is_that_of_the_step_that_a_deadline_was_for() -> None:
    lone = Lone()
    lone.step(Tick())
    lone.step(Tick(), (lone.engine.next_deadline() or 0) - lone.now)
    assert (lone.engine.lateness.count, lone.engine.lateness.worst) == (2, 0), "the start, and the first deadline"
    lone.step(Tick(), (lone.engine.next_deadline() or 0) + 30 * MS - lone.now)
    late = 30 * MS
    assert (lone.engine.lateness.count, lone.engine.lateness.worst) == (3, late)
    lone.engine.next_deadline()
    lone.step(InterfaceChanged("eth1", True, "up"), 40 * MS)
    lone.step(Tick())
    assert (lone.engine.lateness.count, lone.engine.lateness.worst) == (3, late), "it did not come for a deadline"
    lone.step(ClearStatistics())
    assert lone.engine.lateness.count == 0


# --- heartbeats -----------------------------------------------------------------------------------------------------


def beats(world: World, duration: Duration) -> list[Duration]:
    """When n1 alone, its peer cut off, sends heartbeats: since now."""
    e, now, out = engine(world), world.now, []
    while (due := e.next_deadline() or 0) <= world.now + duration:
        now = max(now, due)
        if any(isinstance(x, Send) for x in e.step(Tick(), now)):
            out.append(now - world.now)
    return out


def test_heartbeats_stay_on_their_grid() -> None:
    world = pair()
    first, *rest = beats(world, 240 * MS)
    assert 0 < first <= T_H and rest == [first + T_H]
    world = pair()  # the same again, and late once
    due, now, e = world.now + first, world.now + first + 30 * MS, engine(world)
    assert any(isinstance(x, Send) for x in e.step(Tick(), now))
    while not any(isinstance(x, Send) for x in e.step(Tick(), now)):
        now = max(now, e.next_deadline() or 0)
    assert now == due + T_H, "lateness does not add up"


def test_with_a_short_interval_each_path_has_its_turn_and_a_dead_node_is_replaced_earlier() -> None:
    world = World(timers=replace(TIMERS, heartbeat=60 * MS, multiplier=3))
    world.both()
    world.until(lambda: world.states() == ("ACTIVE", "BACKUP"), 5 * SECOND)
    world.run(2 * SECOND)
    e = engine(world)
    decided = e.picture[ONE]
    turns = [e.step(Tick(), e.next_deadline() or 0) for _ in range(2)]
    assert [[type(x) for x in turn] for turn in turns] == [[Send], [Send]] and e.picture[ONE] is decided
    world.silence(1)
    waited = world.until(lambda: not engine(world, 2).peers[NodeId(1)].contact, SECOND)
    assert 120 * MS <= waited <= 141 * MS
    assert world.state(2).startswith("ACTIVE")


def test_a_change_that_the_peer_decides_on_is_said_at_once() -> None:
    world = pair()
    assert not any(isinstance(x, Send) for x in world.feed(1, InterfaceChanged("eth7", False, "not ours")))
    assert any(isinstance(x, Send) for x in world.feed(1, InterfaceChanged("eth1", False, "no carrier")))


def test_terms_are_on_disk_before_a_router_or_the_peer_hears_of_them() -> None:
    world = World()
    world.both()
    orders = []
    feed = world.feed

    def watch(node: int, event: Event) -> tuple[Effect, ...]:
        effects = feed(node, event)
        kinds = [type(e) for e in effects if isinstance(e, Remember | ToSpeaker | Send)]
        if Remember in kinds:
            orders.append(kinds)
        return effects

    world.feed = watch  # type: ignore[method-assign]
    world.until(lambda: world.states() == ("ACTIVE", "BACKUP"), 5 * SECOND)
    assert orders and all(kinds[0] is Remember and kinds.count(Remember) == 1 for kinds in orders)
    assert any(ToSpeaker in kinds for kinds in orders) and any(Send in kinds for kinds in orders)
    world.run(SECOND)
    orders.clear()
    world.run(5 * SECOND)
    assert orders == [], "what has not changed is not written again"


def test_a_takeover_does_not_wait_for_the_disk_where_its_number_is_reserved_there() -> None:
    """The router first, then the disk, then the peer; and what is given to the peer is on disk before that."""
    world = pair()
    orders: dict[int, list[list[type]]] = {1: [], 2: []}
    unsaid: dict[int, Instant] = {}
    feed = world.feed

    def watch(node: int, event: Event) -> tuple[Effect, ...]:
        reserved = world.nodes[node].memory[ONE].reserved
        effects = feed(node, event)
        kinds = [type(e) for e in effects if isinstance(e, Remember | ToSpeaker | Send)]
        if node in unsaid:
            assert unsaid.pop(node) == world.now and kinds.count(Send) == 3, "the peer hears of it on every path, next"
        if Remember in kinds:
            orders[node].append(kinds)
            assert engine(world, node).srgs[ONE].term <= reserved
            if kinds == [ToSpeaker, Remember]:
                unsaid[node] = world.now
        return effects

    world.feed = watch  # type: ignore[method-assign]
    for _ in range(RESERVED + 3):
        giver = 1 if world.state(1).startswith("ACTIVE") else 2
        world.feed(giver, RequestFailover(1, ONE, None))
        world.run(3 * SECOND)
        assert world.state(3 - giver).startswith("ACTIVE") and world.state(giver).startswith("BACKUP")
    taken = [kinds for node in (1, 2) for kinds in orders[node] if ToSpeaker in kinds and kinds[0] is not Remember]
    assert len(taken) >= RESERVED and all(kinds == [ToSpeaker, Remember] for kinds in taken)
    given = [kinds for node in (1, 2) for kinds in orders[node] if kinds not in taken]
    assert given and all(kinds[0] is Remember and Send in kinds for kinds in given)


def test_a_new_process_begins_beyond_what_was_reserved() -> None:
    memory = Memory(ONE, Term(5), Term(6), frozenset(), Term(22))
    lone = Lone(memory=(memory,))
    lone.step(SpeakerUp())
    written = [e for e in lone.report() if isinstance(e, Remember)]
    assert lone.engine.srgs[ONE].seen == 22
    assert written == [Remember((Memory(ONE, Term(5), Term(6), frozenset(), Term(22 + RESERVED)),))]


def test_nothing_is_reserved_beyond_what_can_be_said() -> None:
    lone = Lone(memory=(Memory(ONE, Term(5), Term(MAX_HEARD_TERM - 3)),))
    lone.step(SpeakerUp())
    (written,) = (e for e in lone.report() if isinstance(e, Remember))
    assert [m.reserved for m in written.groups] == [MAX_HEARD_TERM]


@pytest.mark.parametrize(("seen", "bound"), [(5, False), (6, True)])
def test_what_was_reserved_is_no_promise(seen: int, bound: bool) -> None:
    """A process that resumes is bound by what the earlier one gave, and that was seen."""
    lone = Lone(memory=(Memory(ONE, Term(5), Term(seen), frozenset(), Term(30)),))
    lone.step(SpeakerUp())
    lone.report(Advertised(1, Level.HIGH, 5))
    machine = lone.engine.srgs[ONE]
    assert machine.state is SrgState.ACTIVE and (machine.grant is not None) is bound
    assert machine.seen == 30


def test_nor_is_it_one_after_two_restarts() -> None:
    memory = Memory(ONE, Term(5), Term(5), frozenset(), Term(21))
    for reserved in (21, 37, 53):
        lone = Lone(memory=(memory,))
        lone.step(SpeakerUp())
        (written,) = (e for e in lone.report(Advertised(1, Level.HIGH, 5)) if isinstance(e, Remember))
        assert lone.engine.srgs[ONE].grant is None and lone.engine.srgs[ONE].seen == reserved
        (memory,) = written.groups
        assert (memory.seen, memory.reserved) == (5, reserved + RESERVED)


def test_a_group_without_any_term_is_not_worth_a_write() -> None:
    lone = Lone()
    lone.step(SpeakerUp())
    lone.report()
    assert not [e for _, e in lone.run(5 * SECOND) if isinstance(e, Remember)]


# --- what came in ---------------------------------------------------------------------------------------------------


def test_datagrams_of_strangers_are_counted_or_nothing() -> None:
    lone = Lone()
    lone.step(Tick())
    drops = lone.engine.peers[NodeId(2)].session.drops
    assert lone.step(Datagram("icl", "192.0.2.99", 255, b"x")) == () and drops == {Drop.WRONG_SOURCE: 1}
    assert lone.step(Datagram("no such path", address(2, "icl"), 255, b"x")) == () and drops.total() == 1
    lone.step(Datagram("r1", address(2, "r1"), 254, b"x"))
    assert drops.total() == 2 and drops[Drop.WRONG_SOURCE] == 1


def test_echoes_of_targets_that_are_no_more_are_nothing() -> None:
    lone = Lone()
    lone.step(Tick())
    gone = EchoTarget("192.0.2.1", "192.0.2.2", 100 * MS)
    assert lone.step(EchoAnswer(gone, b"")) == ()
    assert not any(isinstance(e, Note) for e in lone.step(EchoFailed(gone, "no route")))
    target = next(iter(lone.engine.echoes))
    lone.step(EchoFailed(target, "no route"))
    assert lone.engine.echoes[target].error == "no route"


def test_a_line_that_makes_no_sense_is_an_alarm() -> None:
    lone = Lone()
    lone.step(SpeakerUp())
    for data in (b"?", wishline.encode(Renew(1, 1, SECOND)).rstrip(b"\n")):
        (note,) = (e for e in lone.step(SpeakerLine(data)) if isinstance(e, Note))
        assert note.kind is NoteKind.SPEAKER and note.alarm and "makes no sense" in note.text


def test_a_brief_word_of_the_speaker_decides_nothing() -> None:
    world = pair()
    e = engine(world)
    number, reported = e.speaker.number, e.speaker.reported
    assert e.step(SpeakerLine(wishline.encode(Alive()).rstrip(b"\n")), world.now) == ()
    assert (e.speaker.number, e.speaker.reported) == (number, reported)


def test_a_speaker_that_was_only_slow_is_told_everything_at_its_brief_word() -> None:
    lone = Lone()
    lone.step(SpeakerUp())
    lone.report()
    lone.run(TIMERS.lease + 2 * MS)
    assert not lone.engine.speaker.connected
    effects = lone.step(SpeakerLine(wishline.encode(Alive()).rstrip(b"\n")))
    assert any(isinstance(e, ToSpeaker) and isinstance(wishline.decode(e.data), Wish) for e in effects)


def test_a_speaker_is_lost_once() -> None:
    lone = Lone()
    lone.step(SpeakerUp())
    lone.step(SpeakerDown())
    assert lone.notes() == ["speaker lost"]
    lone.step(SpeakerDown())
    assert lone.notes() == []


def test_the_answer_that_a_sample_waits_for_counts_when_it_comes() -> None:
    """An IP monitor that shares the echo is up at once, and down after as many silent samples as it may miss."""
    target = EchoTarget(address(1, "r1"), "100.64.11.1", 50 * MS)
    watch = Monitor("gateway", MonitorKind.IP, target.destination, target, 100, 1, 2, 50 * MS)
    lone = Lone(group(monitors=(watch,)))
    lone.step(Tick())
    found = lone.engine.watches[ONE][0]
    request = next(e for e in lone.last if isinstance(e, SendEcho) and e.target == target)
    assert request.identifier == ECHO_IDENTIFIER + 1 and found.up is None
    lone.step(EchoAnswer(target, echo_reply(request.identifier, request.sequence, request.payload)), MS)
    assert found.up is True
    assert lone.notes() == [f"monitor gateway (ip {target.destination}) is up: ANSWERED"]
    out = lone.run(149 * MS)  # closed at 50 (answered), 100 and 150 ms
    downs = [(at, e.text, e.alarm, e.srg) for at, e in out if isinstance(e, Note)]
    assert downs == [(149 * MS, f"monitor gateway (ip {target.destination}) is down: SILENT", True, ONE)]


def test_an_answer_that_may_turn_a_monitor_up_is_awaited() -> None:
    target = EchoTarget(address(1, "r1"), "100.64.11.1", 50 * MS)
    watch = Monitor("gateway", MonitorKind.IP, target.destination, target, 100, 2, 1, 50 * MS)
    lone = Lone(group(monitors=(watch,)))
    found = lone.engine.watches[ONE][0]

    def asked(until: Instant) -> SendEcho:
        sent = [e for _, e in lone.run(until) if isinstance(e, SendEcho) and e.target == target]
        return sent[-1]

    def answer(request: SendEcho, at: Instant) -> None:
        lone.step(EchoAnswer(target, echo_reply(request.identifier, request.sequence, request.payload)), at)

    lone.step(Tick())
    first = next(e for e in lone.last if isinstance(e, SendEcho) and e.target == target)
    assert first.awaited
    lone.run(60 * MS)  # the first sample was silent
    assert found.up is False
    for _ in range(2):
        request = asked(50 * MS)
        assert request.awaited, "two answers in a row turn it up"
        answer(request, MS)
    assert found.up is True
    assert not asked(50 * MS).awaited


def test_a_request_that_could_not_be_sent_is_a_bad_sample_too() -> None:
    target = EchoTarget(address(1, "r1"), "100.64.11.1", 50 * MS)
    watch = Monitor("gateway", MonitorKind.IP, target.destination, target, 100, 1, 1, 50 * MS)
    lone = Lone(group(monitors=(watch,)))
    lone.step(Tick())
    lone.step(EchoFailed(target, "no route"))
    lone.run(50 * MS)
    assert (lone.engine.watches[ONE][0].up, lone.engine.watches[ONE][0].reason) == (False, "CANNOT SEND")


def test_monitors_hear_of_their_own_object_only() -> None:
    kinds = (("if", MonitorKind.INTERFACE, "eth1"), ("bgp", MonitorKind.BGP, "r1"), ("r1", MonitorKind.INTERFACE, "r1"))
    watches = tuple(Monitor(n, k, s, None, 100, 1, 1, SECOND) for n, k, s in kinds)
    lone = Lone(group(monitors=watches))
    lone.step(SpeakerUp())
    lone.report(up=False)
    verdict = {w.monitor.name: w.up for w in lone.engine.watches[ONE]}
    assert verdict == {"if": None, "bgp": False, "r1": None}
    lone.report()
    assert lone.engine.watches[ONE][1].reason == "session up"
    lone.step(InterfaceChanged("eth1", True, "carrier"))
    assert {w.monitor.name: w.up for w in lone.engine.watches[ONE]} == {"if": True, "bgp": True, "r1": None}


def test_a_lasting_interface_state_is_sampled_again_in_time() -> None:
    watch = Monitor("if", MonitorKind.INTERFACE, "eth1", None, 100, 1, 3, 70 * MS)
    lone = Lone(group(monitors=(watch,)))
    lone.step(InterfaceChanged("eth1", False, "no carrier"))
    out = [(at, e.text) for at, e in lone.run(SECOND) if isinstance(e, Note) and e.kind is NoteKind.MONITOR]
    assert out == [(140 * MS, "monitor if (interface eth1) is down: no carrier")]


# --- the operator ---------------------------------------------------------------------------------------------------


def test_a_failover_that_cannot_be_is_refused_with_the_fact() -> None:
    world = pair()
    assert ask(world, RequestFailover(7, SrgId(9), None)) == Answer(7, False, "no such SRG is configured: 9", ())
    unknown = ask(world, RequestFailover(7, ONE, NodeId(3)))
    assert unknown == Answer(7, False, "node 3 is not a peer of this node", ())
    backup = ask(world, RequestFailover(8, ONE, None), 2)
    assert (backup.request, backup.accepted) == (8, False)
    assert backup.text == "refused: this node is ACTIVE and confirmed: BACKUP"
    assert backup.checks and not backup.checks[0].ok
    world.run(SECOND)
    assert world.states() == ("ACTIVE", "BACKUP")


def test_a_failover_is_accepted_with_every_check() -> None:
    answer = ask(pair(), RequestFailover(7, ONE, NodeId(2)))
    assert (answer.request, answer.accepted) == (7, True)
    assert answer.text == "Initiated manual failover for Services-redundancy group 1"
    assert len(answer.checks) == 7 and all(c.ok for c in answer.checks)


def test_maintenance_is_refused_where_a_group_could_not_move() -> None:
    world = pair()
    world.link(2, "r1", False)
    world.run(200 * MS)
    answer = ask(world, RequestMaintenance(7, True))
    assert (answer.request, answer.accepted) == (7, False)
    assert answer.text == "refused: SRG 1: peer reaches every router that we reach: r1"
    assert not engine(world).node.maintenance and not all(c.ok for c in answer.checks)
    off = ask(world, RequestMaintenance(8, False))
    assert (off.accepted, off.text, off.checks) == (True, "maintenance off", ())


def test_maintenance_of_a_backup_asks_nobody_and_of_an_active_node_moves_first() -> None:
    world = pair()
    answer = ask(world, RequestMaintenance(7, True), 2)
    assert (answer.accepted, answer.text, answer.checks) == (True, "maintenance on", ())
    assert engine(world, 2).node.state is NodeState.OFFLINE
    ask(world, RequestMaintenance(8, False), 2)
    world.until(lambda: world.states() == ("ACTIVE", "BACKUP") and engine(world, 2).node.state == "ONLINE", 6 * SECOND)
    world.run(2 * SECOND)
    answer = ask(world, RequestMaintenance(9, True))
    assert answer.accepted and all(c.ok and c.name.startswith("SRG 1: ") for c in answer.checks)
    world.until(lambda: engine(world).node.state is NodeState.OFFLINE, 3 * SECOND)
    assert world.state(2) == "ACTIVE"


def test_a_node_without_a_peer_goes_offline_without_a_move() -> None:
    lone = Lone(lambda s: replace(s, peers=()))
    lone.step(SpeakerUp())
    lone.report(Advertised(1, Level.HIGH, 5))
    lone.step(RequestMaintenance(1, True))
    assert next(e for e in lone.last if isinstance(e, Answer)) == Answer(1, True, "maintenance on", ())
    assert lone.engine.node.state is NodeState.OFFLINE and lone.engine.srgs[ONE].state is SrgState.INELIGIBLE


def test_a_leaving_node_goes_on_asking_until_its_peer_is_fit() -> None:
    world = pair()
    world.link(2, "r1", False)
    world.run(200 * MS)
    world.feed(1, RequestStop(Intent.LEAVING, 0))
    world.run(300 * MS)
    assert world.states() == ("ACTIVE", "BACKUP") and world.nodes[1].alive
    world.link(2, "r1", True)
    world.until(lambda: world.state(2) == "ACTIVE", 300 * MS)
    assert "the agent is stopped" in " ".join(n.text for _, who, n in world.notes if who == 1)


def test_maintenance_goes_on_asking_when_the_first_move_was_lost() -> None:
    world = pair()
    world.freeze(2)
    assert ask(world, RequestMaintenance(1, True)).accepted
    world.run(TIMERS.grant + 200 * MS)
    assert world.state(1) == "ACTIVE", "the peer slept through its grant"
    world.thaw(2)
    world.until(lambda: world.state(2) == "ACTIVE", SECOND)
    world.until(lambda: engine(world).node.state is NodeState.OFFLINE, 3 * SECOND)


def stopping(world: World, stop: RequestStop) -> tuple[list[Duration], Duration, list[Wish | Renew]]:
    """n1's engine alone from the request on: when it sends heartbeats, when it exits, what the speaker is told."""
    e, now = engine(world), world.now
    sent: list[Duration] = []
    lines: list[Wish | Renew] = []
    event: Event = stop
    while True:
        effects = e.step(event, now)
        sent += [now - world.now] if any(isinstance(x, Send) for x in effects) else []
        found = [wishline.decode(x.data.rstrip(b"\n")) for x in effects if isinstance(x, ToSpeaker)]
        lines += [line for line in found if isinstance(line, Wish | Renew)]
        if any(isinstance(x, Exit) for x in effects):
            assert isinstance(effects[-1], Exit | Send)
            return sent, now - world.now, lines
        event, now = Tick(), max(now, e.next_deadline() or 0)


def test_a_restart_says_so_three_times_and_lengthens_the_lease() -> None:
    world = pair()
    sent, end, lines = stopping(world, RequestStop(Intent.RESTARTING, 60 * SECOND))
    assert sent == [0, 20 * MS, 40 * MS] and end == 60 * MS
    assert isinstance(lines[-1], Renew) and lines[-1].lease == MAX_GRACE + TIMERS.lease
    assert engine(world).intent is Intent.RESTARTING and engine(world).grace == MAX_GRACE
    assert not any(isinstance(line, Wish) for line in lines), "the routes stay as they are"


def test_a_node_that_nobody_hears_leaves_at_once_and_withdraws() -> None:
    world = World()
    world.boot(1)
    world.until(lambda: world.state(1) == "ACTIVE", 15 * SECOND)
    world.run(SECOND)
    world.feed(1, RequestStop(Intent.LEAVING, 0))
    assert world.state(1) == "INELIGIBLE"
    wish = world.nodes[1].wish
    assert wish is not None and not any(n.routes for n in wish.neighbors)
    world.feed(1, RequestStop(Intent.RESTARTING, SECOND))
    assert engine(world).intent is Intent.LEAVING, "told once"
    world.run(TIMERS.bgp)
    assert not world.nodes[1].alive


def test_counters_are_cleared() -> None:
    world = pair()
    e = engine(world)
    paths, echoes = e.peers[NodeId(2)].paths.values(), e.echoes.values()
    assert all(p.sent and p.received for p in paths) and all(x.sent > 1 for x in echoes)
    e.step(ClearStatistics(), world.now)
    assert not any(p.received for p in paths) and all((x.sent, x.answered) == (1, 0) for x in echoes)


# --- the probe ------------------------------------------------------------------------------------------------------


def test_counts_of_the_probe_start_again_with_contact_gained_or_lost() -> None:
    world = pair()
    probe, peer = engine(world).probes[ONE], engine(world).peers[NodeId(2)]
    assert probe.times(Verdict.WIN) >= 8
    world.cut.update({"icl", "r1", "r2"})
    world.until(lambda: not peer.contact, SECOND)
    assert probe.count <= 1
    world.run(320 * MS)
    assert probe.count >= 2
    world.cut.clear()
    world.until(lambda: peer.contact, SECOND)
    assert probe.count <= 1


def test_routers_that_do_not_follow_are_an_alarm_once_and_an_event_when_they_do() -> None:
    world = pair()
    right = [dict(r.routes) for r in world.routers.values()]
    for r in world.routers.values():
        r.routes[2] = 1 << 31
    world.run((MISLED_AFTER - 2) * 100 * MS)
    assert alarms(world, NoteKind.ALARM) == []
    world.run(2 * SECOND)
    hint = ": check its policy, filters and ECMP"
    assert sorted(alarms(world, NoteKind.ALARM)) == [
        (1, "no router prefers this active node" + hint, True),
        (2, "a router prefers this backup node" + hint, True),
    ]
    for r, routes in zip(world.routers.values(), right, strict=True):
        r.routes = routes
    world.run(3 * SECOND)
    assert sorted(alarms(world, NoteKind.ALARM)[2:]) == [
        (1, "the routers follow again", False),
        (2, "the routers follow again", False),
    ]
    assert world.states() == ("ACTIVE", "BACKUP")


def test_as_long_as_all_goes_on_little_is_decided(monkeypatch: pytest.MonkeyPatch) -> None:
    """A heartbeat and a sample ten times a second, and more of them come in; a decision costs more than all of it."""
    world = pair()
    world.run(5 * SECOND)
    decide, decided = Engine._run, []

    def counted(self: Engine, now: Instant, out: list[Effect], *, judge: bool) -> None:
        decided.append(now)
        decide(self, now, out, judge=judge)

    monkeypatch.setattr(Engine, "_run", counted)
    sent = [(e, e.sent) for node in (1, 2) for e in engine(world, node).echoes.values()]
    world.run(10 * SECOND)
    asked = {(e.target.source, e.sent - before) for e, before in sent}
    assert asked == {
        (FLOATING, 100),
        ("100.64.11.2", 0),
        ("100.64.21.2", 0),
        ("100.64.12.2", 100),
        ("100.64.22.2", 100),
    }
    assert 2 * 5 <= len(decided) <= 2 * 6, "at each of the two nodes, in ten seconds"


def asked_from_own(world: World) -> list[int]:
    """How often n1 asks each arbiter from its own address, in the next second."""
    echoes = [engine(world).echoes[a.own] for a in world.nodes[1].settings.srgs[0].arbiters]
    before = [echo.sent for echo in echoes]
    world.run(SECOND)
    return [echo.sent - sent for echo, sent in zip(echoes, before, strict=True)]


def test_without_contact_the_own_addresses_are_asked_again() -> None:
    world = pair()
    assert asked_from_own(world) == [0, 0]
    world.silence(2)
    world.until(lambda: not engine(world).peers[NodeId(2)].contact, 2 * T_DET)
    assert asked_from_own(world) == [10, 10]
    assert engine(world).probes[ONE].times(Verdict.WIN) == 10, "and nothing was unknown meanwhile"


def test_the_own_address_is_asked_where_the_floating_one_is_silent() -> None:
    world = pair()
    world.routers["r1"].routes.clear()
    assert asked_from_own(world) == [9, 0]


def test_a_group_that_is_elsewhere_has_the_own_addresses_asked() -> None:
    """All of them: what is asked for one group is often asked for the others."""

    def second(s: Settings) -> Settings:
        one = s.srgs[0]
        return replace(s, srgs=(one, replace(one, id=SrgId(2), arbiters=())))

    world = pair(second)
    two = engine(world).srgs[SrgId(2)]
    assert not (two.state is SrgState.ACTIVE and two.verified), two
    assert asked_from_own(world) == [10, 10]


def test_an_own_address_that_a_monitor_watches_is_always_asked() -> None:
    r1 = settings(1).srgs[0].arbiters[0]
    watch = Monitor("r1", MonitorKind.IP, r1.own.destination, r1.own, 100, 1, 3, 100 * MS)
    world = pair(lambda s: group(monitors=(watch,))(s) if s.id == 1 else s)
    assert asked_from_own(world) == [10, 0]


def test_an_own_address_that_is_the_floating_one_does_not_vouch_for_itself() -> None:
    def same(s: Settings) -> Settings:
        return group(arbiters=tuple(replace(a, own=a.floating) for a in s.srgs[0].arbiters))(s)

    world = pair(same)
    assert asked_from_own(world) == [10, 10]


@pytest.mark.parametrize("later", [0, 20, 60])
def test_a_move_waits_for_its_proof_also_when_the_arbiters_have_just_become_monitors(later: int) -> None:
    """A reload ends what was spared: for one interval nobody knows whether the arbiters answer at all."""
    world = pair()
    s = world.nodes[1].settings
    watches = [
        Monitor(a.name, MonitorKind.IP, a.own.destination, a.own, 10, 1, 3, 100 * MS) for a in s.srgs[0].arbiters
    ]
    world.run(40 * MS)
    world.feed(1, NewSettings(group(monitors=(*s.srgs[0].monitors, *watches))(s)))
    world.run(70 * MS + later * MS)
    learn = world._learn

    def deaf(n: Node, line: Wish) -> None:
        if n.id == 1:
            learn(n, line)

    world._learn = deaf  # type: ignore[method-assign]
    world.feed(1, RequestFailover(1, ONE, None))
    world.run(8 * SECOND)
    assert world.states() == ("ACTIVE", "BACKUP"), world.transcript()


def test_a_silent_peer_is_asked_anew_before_it_is_given_up() -> None:
    """With a heartbeat after half of T_det, and again at the pace of the handshake."""
    world = pair()
    inits: list[Instant] = []
    carry_out = world._carry_out

    def watched(n: Node, effect: Effect) -> None:
        if isinstance(effect, Send) and n.id == 2 and effect.path == "icl" and effect.data[0] == INIT:
            inits.append(world.now)
        carry_out(n, effect)

    world._carry_out = watched  # type: ignore[method-assign]
    heard = world.now
    world.silence(1)
    world.run(TIMERS.detection - 10 * MS)
    assert TIMERS.detection // 2 < inits[0] - heard <= TIMERS.detection // 2 + TIMERS.heartbeat
    assert len(inits) >= 4 and max(b - a for a, b in pairwise(inits)) <= 51 * MS


def test_arbiters_that_the_peer_knows_are_known() -> None:
    world = pair()
    assert engine(world).probes[ONE].answered == {"r1", "r2"} and not engine(world, 2).probes[ONE].answered
    assert engine(world, 2).probes[ONE].trusted == {"r1", "r2"}


@pytest.mark.parametrize(
    ("arbiters", "witness", "expected"),
    [("r1 r2", True, {"own r1", "own r2", "fip r1", "fip r2"}), ("r1", True, {"own r1", "own r2", "fip r1"}),
     ("", True, {"own r1", "own r2"}), ("", False, set()), ("r1", False, {"own r1", "fip r1"})],
)  # fmt: skip
def test_every_router_of_a_witness_path_is_asked_and_none_twice(
    arbiters: str, witness: bool, expected: set[str]
) -> None:
    s = settings(1, witness=witness)
    chosen = tuple(a for a in s.srgs[0].arbiters if a.name in arbiters.split())
    made = Engine(group(arbiters=chosen)(s), (), entropy("x"), T0)
    routers = {n.address: n.router for n in s.neighbors}
    own = {n.local_address for n in s.neighbors}
    names = [f"{'own' if t.source in own else 'fip'} {routers[t.destination]}" for t in made.echoes]
    assert sorted(names) == sorted(expected)
    assert {t.interval for t in made.echoes} <= {100 * MS}


def test_a_witness_is_asked_as_often_as_the_most_watched_target() -> None:
    fast = EchoTarget("192.0.2.1", "192.0.2.2", 30 * MS)
    watch = Monitor("gw", MonitorKind.IP, fast.destination, fast, 100, 1, 1, 30 * MS)
    asked = Lone(group(arbiters=(), monitors=(watch,))).engine.echoes
    assert {t.interval for t in asked} == {30 * MS} and len(asked) == 3


# --- what routers are told ------------------------------------------------------------------------------------------


def test_the_nodes_own_routes_follow_its_state() -> None:
    world = World()
    world.nodes[1].settings = replace(
        world.nodes[1].settings, node_group=NodeGroup(("198.51.100.1/32",), (), 100, (), None)
    )

    def level() -> Level | None:
        wish = world.nodes[1].wish
        return next((Level(g.level) for g in wish.neighbors[0].routes if g.srg == 0), None) if wish else None

    world.boot(1)
    world.until(lambda: level() is not None, SECOND)
    world.until(lambda: engine(world).node.state is NodeState.ONLINE, SECOND)
    assert level() is Level.MEDIUM
    world.feed(1, RequestMaintenance(1, True))
    assert engine(world).node.state is NodeState.OFFLINE and level() is Level.LOW


# --- other settings while it runs -----------------------------------------------------------------------------------


def second(s: Settings, **changes: object) -> Srg:
    return replace(s.srgs[0], id=SrgId(2), routes=("198.51.100.0/24",), floating=(), **changes)  # type: ignore[arg-type]


def test_new_settings_keep_what_is_the_same() -> None:
    world = pair()
    e, s = engine(world), world.nodes[1].settings
    machine, probe, watch = e.srgs[ONE], e.probes[ONE], e.watches[ONE][0]
    count, asked = probe.count, dict(e.echoes)
    slower = replace(s.srgs[0].monitors[0], weight=50)
    extra = Monitor("core", MonitorKind.INTERFACE, "eth9", None, 100, 1, 1, SECOND)
    new = replace(s, srgs=(replace(s.srgs[0], monitors=(slower, extra)), second(s, arbiters=())))
    effects = e.step(NewSettings(new), world.now)
    assert Note(NoteKind.CONFIG, "the configuration was read again") in effects
    assert e.srgs[ONE] is machine and machine.srg == new.srgs[0] and machine.state is SrgState.ACTIVE
    assert e.probes[ONE] is probe and probe.count >= count
    assert e.watches[ONE][0] is watch and watch.monitor == slower and watch.up is True
    assert e.watches[ONE][1].up is None
    assert e.srgs[SrgId(2)].state is SrgState.HOLD and e.watches[SrgId(2)] != [] and SrgId(2) in e.digests
    assert e.echoes == asked and all(e.echoes[t] is asked[t] for t in asked)
    assert any(isinstance(x, ToSpeaker) for x in effects), "the new routes are told at once"


def test_other_arbiters_are_counted_from_nothing_and_asked() -> None:
    world = pair()
    e, s = engine(world), world.nodes[1].settings
    e.step(NewSettings(group(arbiters=s.srgs[0].arbiters[:1])(s)), world.now)
    assert e.probes[ONE].count == 0 and e.probes[ONE].arbiters == s.srgs[0].arbiters[:1]
    names = {(t.source, t.destination) for t in e.echoes}
    assert len(names) == 3 and all(x.closed is EchoResult.ANSWERED for x in e.echoes.values())


def test_a_group_that_is_gone_is_gone_and_one_that_returns_recalls_its_terms() -> None:
    world = pair()
    e, s = engine(world), world.nodes[1].settings
    term = e.srgs[ONE].term
    assert term > 0
    e.step(NewSettings(replace(s, srgs=(second(s),))), world.now)
    assert set(e.srgs) == set(e.probes) == set(e.digests) == {2} and set(e.watches) == {0, 2}
    assert set(e.picture) == {2}
    e.step(NewSettings(s), world.now + MS)
    assert (e.srgs[ONE].state, e.srgs[ONE].term) == (SrgState.HOLD, term)


def test_new_timers_reach_every_part() -> None:
    world = pair()
    e, s = engine(world), world.nodes[1].settings
    timers = replace(s.timers, heartbeat=200 * MS, recover=7 * SECOND, lease=5 * SECOND)
    e.step(NewSettings(replace(s, timers=timers)), world.now)
    assert e.peers[NodeId(2)].detection == timers.detection == SECOND
    assert e.node.timers == e.srgs[ONE].timers == timers and e.speaker.settings.timers == timers


def alone(s: Settings) -> Settings:
    """No peer, and nothing that is asked."""
    group = replace(s.srgs[0], arbiters=(), monitors=(), blind_after=3 * SECOND)
    return replace(s, peers=(), srgs=(group,), timers=replace(TIMERS, boot=2 * SECOND))


def test_without_arbiters_time_is_counted_all_the_same() -> None:
    lone = Lone(alone)
    engine = lone.engine
    lone.step(Tick())
    lone.step(SpeakerUp(), MS)
    began, out = lone.now, list(lone.report())
    while engine.srgs[ONE].state is not SrgState.ACTIVE and lone.now - began < 20 * SECOND:
        if any(isinstance(effect, ToSpeaker) for effect in out):
            number = engine.speaker.number
            told = tuple(NeighborReport(n.name, n.address, True, number, None) for n in engine.settings.neighbors)
            report = Report(7, "5.0.15", engine.incarnation, number, True, (), told)
            lone.step(SpeakerLine(wishline.encode(report).rstrip(b"\n")))
        out = [effect for _, effect in lone.run(T_H)]
    assert engine.srgs[ONE].rule == "blind" and 3 * SECOND <= lone.now - began <= 6 * SECOND
    assert engine.pauses == 0


def test_a_lone_node_that_is_a_little_late_did_not_sleep() -> None:
    lone = Lone(alone)
    lone.step(Tick())
    while lone.now < T0 + 3 * SECOND:
        lone.step(Tick(), (lone.engine.next_deadline() or 0) + MS - lone.now)
    assert lone.engine.pauses == 0
