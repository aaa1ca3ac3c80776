"""The agent's shell with a scripted engine: order of effects, drain before judge, pauses, log, what may be reloaded."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import socket
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from types import MappingProxyType

import pytest

from l3ha.agent.control import Control
from l3ha.agent.history import History
from l3ha.agent.log import Log
from l3ha.agent.loop import DRAIN_LIMIT, TICKS_PER_TURN, Shell
from l3ha.agent.reload import fixed_changes
from l3ha.base.limits import DATAGRAMS_PER_TURN, MAX_EVENTS
from l3ha.base.names import LeaseEnd, NodeId, SrgId
from l3ha.base.settings import NodeGroup, Peer, Settings, SpeakerSettings, Timers
from l3ha.base.settings import Path as IclPath
from l3ha.base.time import MS, SECOND, Instant
from l3ha.control.protocol import Request, Show
from l3ha.core.events import (
    Datagram,
    DiscardBacklog,
    Effect,
    Event,
    Exit,
    Note,
    NoteKind,
    SpeakerDown,
    SpeakerUp,
    Tick,
    ToSpeaker,
)
from l3ha.core.status import LatenessStatus, NodeStatus, RouteStatus, SpeakerStatus, Status
from l3ha.drivers import first
from l3ha.drivers.boottime import boottime_ns
from l3ha.drivers.inbox import Inbox, Source

BUDGET_S = 5.0

TIMERS = Timers(100 * MS, 5, *(SECOND,) * 9)
SETTINGS = Settings(
    cluster="edge",
    id=NodeId(1),
    name="n1",
    private_key=b"k" * 32,
    public_key=b"p" * 32,
    psk=bytes(32),
    peers=(),
    neighbors=(),
    timers=TIMERS,
    srgs=(),
    node_group=NodeGroup((), (), 255, (), None),
    speaker=SpeakerSettings(LeaseEnd.LOWER, SECOND, 0, nudge=True),
    digest=b"d" * 8,
    sections=MappingProxyType({}),
)
PORT = 17411 + int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:])
"""Tests beside this one have agents, too."""

PATH = IclPath("icl", "127.0.0.1", "127.0.0.2", PORT, None, True, None)
PEER = Peer(NodeId(2), "n2", b"q" * 32, (PATH,))
NEVER_LATE = LatenessStatus(0, 0, 0, 0, 0)
STATUS = Status(
    NodeStatus(
        "edge", "n1", 1, "ONLINE", "", 0, (), False, "0", "", "", "running", (), 0, 0, LatenessStatus(0, 0, 0, 0, 0)
    ),
    (),
    (),
    (),
    (),
    (),
    SpeakerStatus(False, None, 0, False, "lower", 0, False),
    (),
)

# --- the loop -------------------------------------------------------------------------------------------------------


class Script:
    """An engine: what it was told, and what a test wants it to answer."""

    def __init__(self) -> None:
        self.seen: list[tuple[Event, Instant]] = []
        self.deadline: Instant | None = None
        self.react: Callable[[Event, Instant], tuple[Effect, ...]] = lambda _event, _now: ()

    def step(self, event: Event, now: Instant) -> tuple[Effect, ...]:
        assert not self.seen or now >= self.seen[-1][1], "time goes back"
        self.seen.append((event, now))
        if isinstance(event, Tick) and self.deadline is not None and now >= self.deadline:
            self.deadline = None
        return self.react(event, now)

    def next_deadline(self) -> Instant | None:
        return self.deadline

    @property
    def events(self) -> list[Event]:
        return [event for event, _ in self.seen]


class Bench:
    """A shell on a socket pair; every byte that is sent is one datagram."""

    def __init__(self, engine: Script) -> None:
        self.engine = engine
        self.inbox = Inbox()
        self.theirs, self.ours = socket.socketpair()
        self.ours.setblocking(False)
        self.inbox.add(self.ours.fileno(), self.read, perishable=True)
        self.done: list[Effect] = []
        self.cause: Callable[[Effect], Event | None] = lambda _effect: None
        self.shell = Shell(engine, self.inbox, self.carry_out)

    def read(self) -> Event | None:
        try:
            return datagram(self.ours.recv(1))
        except BlockingIOError:
            return None

    def carry_out(self, effect: Effect) -> Event | None:
        self.done.append(effect)
        return self.cause(effect)

    def heard(self) -> bytes:
        return b"".join(e.data for e in self.engine.events if isinstance(e, Datagram))

    async def until(self, check: Callable[[], object]) -> None:
        deadline = time.monotonic() + BUDGET_S
        while not check():
            assert time.monotonic() < deadline, self.engine.events[-5:]
            await asyncio.sleep(0.002)


def datagram(data: bytes) -> Datagram:
    return Datagram("icl", "peer", 255, data)


def on_bench(scene: Callable[[Bench], Awaitable[None]]) -> None:
    async def main() -> None:
        bench = Bench(Script())
        try:
            await scene(bench)
        finally:
            bench.shell.close()
            bench.inbox.close()
            bench.ours.close()
            bench.theirs.close()

    first.run(main())


def note(text: str) -> Note:
    return Note(NoteKind.RULE, text)


def test_effects_are_carried_out_in_order_and_what_they_cause_is_stepped_afterwards() -> None:
    async def scene(b: Bench) -> None:
        b.engine.react = lambda event, _now: (
            (ToSpeaker(b"wish\n"), note("second")) if isinstance(event, SpeakerUp) else (note(type(event).__name__),)
        )
        b.cause = lambda effect: SpeakerDown() if isinstance(effect, ToSpeaker) else None
        b.shell.feed(SpeakerUp())
        assert b.engine.events == [SpeakerUp(), SpeakerDown()]
        assert b.done == [ToSpeaker(b"wish\n"), note("second"), note("SpeakerDown")]

    on_bench(scene)


def test_an_event_that_an_effect_feeds_back_waits_for_the_end_of_the_step() -> None:
    async def scene(b: Bench) -> None:
        def feed(effect: Effect) -> None:
            if effect == note("SpeakerUp"):
                b.shell.feed(SpeakerDown())
                assert b.engine.events == [SpeakerUp()]

        b.engine.react = lambda event, _now: (note(type(event).__name__),)
        b.cause = feed
        b.shell.feed(SpeakerUp())
        assert b.done == [note("SpeakerUp"), note("SpeakerDown")]

    on_bench(scene)


def test_all_that_had_arrived_is_heard_before_a_deadline_judges() -> None:
    """More than one batch lies there, and still more comes while it is read: the Tick is last."""

    async def scene(b: Bench) -> None:
        b.shell.start()
        more = [b"y", b"z"]

        def answer(event: Event, _now: Instant) -> tuple[Effect, ...]:
            if isinstance(event, Datagram) and more:
                b.theirs.send(more.pop(0))
            return ()

        b.engine.react = answer
        b.theirs.send(b"x" * (2 * DATAGRAMS_PER_TURN))
        b.engine.deadline = boottime_ns() - 1
        await b.until(lambda: b.engine.events.count(Tick()) == 2)
        assert b.heard() == b"x" * (2 * DATAGRAMS_PER_TURN) + b"yz"
        assert isinstance(b.engine.events[-1], Tick)

    on_bench(scene)


def test_the_instant_of_a_tick_is_older_than_the_look_that_found_nothing() -> None:
    async def scene(b: Bench) -> None:
        b.shell.start()
        looked: list[Instant] = []

        class Watched(Inbox):
            def ready(self, *, everything: bool = False) -> list[Source]:
                looked.append(boottime_ns())
                return super().ready(everything=everything)

        b.inbox.__class__ = Watched
        b.engine.deadline = boottime_ns() + MS
        b.shell.feed(SpeakerUp())
        await b.until(lambda: b.engine.events.count(Tick()) == 2)
        assert b.engine.seen[-1][1] <= looked[-1]

    on_bench(scene)


def test_what_comes_to_a_hushed_socket_wakes_nobody_and_is_heard_before_the_next_tick() -> None:
    async def scene(b: Bench) -> None:
        b.shell.start()
        b.inbox.hush(b.ours.fileno(), hushed=True)
        b.theirs.send(b"a")
        await asyncio.sleep(0.05)
        assert b.heard() == b""
        b.engine.deadline = boottime_ns() + MS
        b.shell.feed(SpeakerUp())
        await b.until(lambda: b.engine.events.count(Tick()) == 2)
        assert b.heard() == b"a"
        assert isinstance(b.engine.events[-1], Tick)

    on_bench(scene)


def test_what_lies_in_a_socket_is_heard_when_it_is_no_longer_hushed() -> None:
    async def scene(b: Bench) -> None:
        b.shell.start()
        for hushed in (True, True, False, False):
            b.inbox.hush(b.ours.fileno(), hushed=hushed)
            b.theirs.send(b"a")
        await b.until(lambda: b.heard() == b"aaaa")
        b.inbox.hush(b.ours.fileno(), hushed=True)
        b.inbox.remove(b.ours.fileno())
        b.inbox.add(b.ours.fileno(), b.read, perishable=True)
        b.theirs.send(b"b")
        await b.until(lambda: b.heard() == b"aaaab")

    on_bench(scene)


def test_a_pause_discards_what_lies_in_a_hushed_socket() -> None:
    async def scene(b: Bench) -> None:
        b.engine.react = lambda event, _now: (DiscardBacklog(),) if isinstance(event, SpeakerUp) else ()
        b.shell.start()
        b.inbox.hush(b.ours.fileno(), hushed=True)
        b.theirs.send(b"old")
        b.shell.feed(SpeakerUp())
        b.inbox.hush(b.ours.fileno(), hushed=False)
        b.theirs.send(b"n")
        await b.until(lambda: b.heard() == b"n")

    on_bench(scene)


def test_an_endless_flood_delays_a_tick_but_does_not_stop_it() -> None:
    async def scene(b: Bench) -> None:
        def refill(event: Event, _now: Instant) -> tuple[Effect, ...]:
            if isinstance(event, Datagram):
                b.theirs.send(b"x")
            return ()

        b.engine.react = refill
        b.shell.start()
        b.theirs.send(b"xxx")
        b.engine.deadline = boottime_ns()
        await b.until(lambda: b.engine.events.count(Tick()) == 2)
        second_tick = b.engine.events.index(Tick(), 1)
        assert 3 < second_tick <= DRAIN_LIMIT + DATAGRAMS_PER_TURN + 1
        await b.until(lambda: len(b.engine.seen) > second_tick + 10)

    on_bench(scene)


def test_a_deadline_that_is_always_due_does_not_starve_the_sockets() -> None:
    async def scene(b: Bench) -> None:
        def again(_event: Event, _now: Instant) -> tuple[Effect, ...]:
            b.engine.deadline = 0
            return ()

        b.engine.deadline = 0
        b.engine.react = again
        b.shell.start()
        ticks = b.engine.events.count(Tick())
        b.theirs.send(b"x")
        await b.until(b.heard)
        assert b.engine.events.count(Tick()) >= ticks + TICKS_PER_TURN
        b.engine.react = lambda _event, _now: ()

    on_bench(scene)


def test_a_discarded_backlog_is_never_heard_and_what_comes_later_is() -> None:
    async def scene(b: Bench) -> None:
        b.engine.react = lambda event, _now: (DiscardBacklog(), note("paused")) if event == datagram(b"1") else ()
        b.theirs.send(b"1" + b"old" * 100)
        b.shell.start()
        await b.until(lambda: b.done == [note("paused")])
        b.theirs.send(b"new")
        await b.until(lambda: b.heard().endswith(b"new"))
        assert (b.heard(), b.done) == (b"1new", [note("paused")])

    on_bench(scene)


def test_lines_that_wait_in_a_buffer_behind_a_dry_socket_are_heard() -> None:
    async def scene(b: Bench) -> None:
        lines = [datagram(str(n).encode()) for n in range(3 * DATAGRAMS_PER_TURN)]
        waiting = list(lines)

        def read() -> Event | None:
            b.read()
            return waiting.pop(0) if waiting else None

        b.inbox.remove(b.ours.fileno())
        b.inbox.add(b.ours.fileno(), read, perishable=False)
        b.shell.start()
        b.theirs.send(b"!")
        await b.until(lambda: not waiting)
        assert b.engine.events[1:] == lines

    on_bench(scene)


def test_exit_ends_the_step_and_nothing_follows() -> None:
    async def scene(b: Bench) -> None:
        b.engine.react = lambda _event, _now: (Exit(), note("farewell"))
        b.shell.feed(SpeakerUp())
        await asyncio.wait_for(b.shell.done, BUDGET_S)
        assert b.done == [note("farewell")]
        b.shell.feed(SpeakerDown())
        assert b.engine.events == [SpeakerUp()]

    on_bench(scene)


def test_a_fault_of_the_engine_ends_the_shell_with_that_fault() -> None:
    async def scene(b: Bench) -> None:
        def fail(_event: Event, _now: Instant) -> tuple[Effect, ...]:
            raise AssertionError("terms went backwards")

        b.engine.react = fail
        b.shell.feed(SpeakerUp())
        b.shell.feed(SpeakerDown())
        with pytest.raises(AssertionError, match="backwards"):
            await b.shell.done
        assert b.engine.events == [SpeakerUp()]

    on_bench(scene)


def test_a_fault_in_an_effect_leaves_the_notes_of_its_step() -> None:
    """They say why the process did its last work."""

    async def scene(b: Bench) -> None:
        def refuse(effect: Effect) -> None:
            assert not isinstance(effect, ToSpeaker)

        b.engine.react = lambda _event, _now: (note("why"), ToSpeaker(b"wish\n"))
        b.cause = refuse
        b.shell.feed(SpeakerUp())
        with pytest.raises(AssertionError):
            await b.shell.done
        assert b.done == [ToSpeaker(b"wish\n"), note("why")]

    on_bench(scene)


# --- log and history ------------------------------------------------------------------------------------------------


def test_a_note_becomes_one_json_line() -> None:
    stream = io.StringIO()
    log = Log("json", stream)
    fields = (("peer", "n2"), ("event", "not the text"), ("srg", 7))
    log.note(Note(NoteKind.TRANSITION, "BACKUP -> ACTIVE", SrgId(1), "silence", fields, alarm=True))
    log.close()
    line = json.loads(stream.getvalue())
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "BACKUP -> ACTIVE",
        "level": "warning",
        "kind": "transition",
        "srg": 1,
        "rule": "silence",
        "peer": "n2",
    }


def test_text_from_outside_cannot_command_the_terminal_nor_fake_a_line() -> None:
    stream = io.StringIO()
    log = Log("console", stream)
    log.say("info", "peer says \x1b[2Jhi\nroot logged in", software="1\r2")
    log.close()
    text = stream.getvalue()
    assert text.count("\n") == 1
    assert "\x1b" not in text
    assert "\r" not in text
    assert "root logged in" in text


def test_a_blocked_reader_of_the_log_does_not_stop_the_speaker_of_it() -> None:
    reading, writing = os.pipe()
    stream = os.fdopen(writing, "w", buffering=1)
    log = Log("json", stream)
    log.start()
    started = time.monotonic()
    for n in range(12_000):
        log.say("info", "x" * 50, n=n)
    log.close(timeout_s=0.05)
    assert time.monotonic() - started < BUDGET_S
    os.close(reading)
    with contextlib.suppress(BrokenPipeError):
        stream.close()


def test_the_history_keeps_the_newest_and_filters() -> None:
    history = History(Log("json", io.StringIO()))
    for n in range(MAX_EVENTS + 5):
        history.add(Note(NoteKind.RULE, str(n), SrgId(n % 2 + 1)))
    everything = history.newest(MAX_EVENTS * 2, None)
    assert [e["text"] for e in everything] == [str(n) for n in range(5, MAX_EVENTS + 5)]
    assert [e["text"] for e in history.newest(2, 1)] == [str(MAX_EVENTS + 2), str(MAX_EVENTS + 4)]
    assert abs(everything[-1]["at"] - time.time_ns()) < 60 * SECOND
    assert 0 <= everything[-1]["age"] < 60 * SECOND


# --- reload ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        (replace(SETTINGS, cluster="other"), ["cluster.name"]),
        (replace(SETTINGS, id=NodeId(3)), ["the id of this node"]),
        (replace(SETTINGS, private_key=b"x" * 32, psk=b"y" * 32), ["the private key of this node", "icl.psk_file"]),
        (replace(SETTINGS, peers=(PEER,)), ["an additional node 2"]),
        (replace(SETTINGS, digest=b"e" * 8, timers=replace(TIMERS, heartbeat=50 * MS)), []),
    ],
)
def test_what_cannot_change_is_named(changed: Settings, named: list[str]) -> None:
    assert fixed_changes(SETTINGS, changed) == named


def test_what_cannot_change_of_a_peer_is_named_without_its_key() -> None:
    old = replace(SETTINGS, peers=(PEER,))
    assert fixed_changes(old, replace(SETTINGS, peers=())) == ["a missing node 2"]
    other_key = replace(PEER, public_key=b"z" * 32)
    assert fixed_changes(old, replace(SETTINGS, peers=(other_key,))) == ["the public key of node n2"]
    other_path = replace(PEER, paths=(replace(PATH, remote="127.0.0.3"),))
    assert fixed_changes(old, replace(SETTINGS, peers=(other_path,))) == ["the name or the paths of node n2"]


# --- control --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [3, 3000])
def test_a_status_of_any_size_is_shown_and_a_fault_in_it_costs_only_the_answer(count: int) -> None:
    routes = (RouteStatus("r1", 1, tuple(f"10.0.{n}.0/24" for n in range(count)), "HIGH", 1, "", True),)
    faulty = replace(STATUS, routes=(*routes, *[object()] * 2))  # type: ignore[arg-type]

    async def scene() -> list[dict[str, object]]:
        answers: list[dict[str, object]] = []
        log = Log("json", io.StringIO())
        for status in (replace(STATUS, routes=routes), faulty):
            control = Control(SETTINGS, lambda s=status: s, lambda _event: None, History(log), log)  # type: ignore[misc]
            asked = len(answers) + 1
            control.handle(Request(asked, Show("routes")), lambda line: answers.append(json.loads(line)))
            deadline = time.monotonic() + BUDGET_S
            while len(answers) < asked:
                assert time.monotonic() < deadline
                await asyncio.sleep(0.002)
        return answers

    good, bad = asyncio.run(scene())
    assert [r["prefix"] for r in good["result"]["routes"]] == [p for r in routes for p in r.prefixes]  # type: ignore[index]
    assert bad["id"] == 2
    assert bad["error"]["code"] == "internal"  # type: ignore[index]
