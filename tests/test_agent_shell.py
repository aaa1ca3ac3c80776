"""The agent's shell with a scripted engine: order of effects, drain before judge, pauses, signals, reload, refusals."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import pytest

from l3ha.agent import preflight
from l3ha.agent.control import Control
from l3ha.agent.history import History
from l3ha.agent.log import Log
from l3ha.agent.loop import DRAIN_LIMIT, TICKS_PER_TURN, EngineLike, Shell
from l3ha.agent.process import EXIT_CLEAN, EXIT_CONFIG, EXIT_FAILED, EXIT_OURS, serve
from l3ha.agent.reload import fixed_changes
from l3ha.base.errors import ConfigError, Fault
from l3ha.base.limits import DATAGRAMS_PER_TURN, MAX_EVENTS
from l3ha.base.names import LeaseEnd, NodeId, SrgId, Term
from l3ha.base.settings import NodeGroup, Peer, Settings, SpeakerSettings, Timers
from l3ha.base.settings import Path as IclPath
from l3ha.base.time import MS, SECOND, Instant
from l3ha.control.client import NotRunning, Refused, ask
from l3ha.control.protocol import Call, Clear, Events, Failover, Maintenance, Request, Restart, Show
from l3ha.core.events import (
    Answer,
    Check,
    ClearStatistics,
    Datagram,
    DiscardBacklog,
    Effect,
    Event,
    Exit,
    Memory,
    NewSettings,
    Note,
    NoteKind,
    Remember,
    RequestFailover,
    RequestMaintenance,
    RequestStop,
    SpeakerDown,
    SpeakerUp,
    Tick,
    ToSpeaker,
)
from l3ha.core.status import LatenessStatus, NodeStatus, RouteStatus, SpeakerStatus, Status
from l3ha.drivers.clock import boottime_ns
from l3ha.drivers.inbox import Inbox, Source
from l3ha.drivers.memory import TermStore

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
    speaker=SpeakerSettings(LeaseEnd.LOWER, SECOND),
    digest=b"d" * 8,
    sections=MappingProxyType({}),
)
PATH = IclPath("icl", "127.0.0.1", "127.0.0.2", 17411, None, True, None)
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

    asyncio.run(main())


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
            def ready(self) -> list[Source]:
                looked.append(boottime_ns())
                return super().ready()

        b.inbox.__class__ = Watched
        b.engine.deadline = boottime_ns() + MS
        b.shell.feed(SpeakerUp())
        await b.until(lambda: b.engine.events.count(Tick()) == 2)
        assert b.engine.seen[-1][1] <= looked[-1]

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
        (replace(SETTINGS, private_key=b"x" * 32, psk=b"y" * 32), ["the private key of this node", "icl.key_file"]),
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


# --- the process ----------------------------------------------------------------------------------------------------


class Polite(Script):
    """The child's engine: answers as the real one would, in one step."""

    def __init__(self, memory: tuple[Memory, ...], kind: str) -> None:
        super().__init__()
        self.memory = memory
        self.kind = kind
        self.started = False
        self.react = self.answer

    def next_deadline(self) -> Instant | None:
        return self.seen[-1][1] + 50 * MS if self.seen else None

    def answer(self, event: Event, _now: Instant) -> tuple[Effect, ...]:
        self.seen = self.seen[-1:]
        match event:
            case Tick() if not self.started:
                self.started = True
                terms = " ".join(f"{m.srg}:{m.term}:{m.seen}" for m in self.memory)
                first = Remember((Memory(SrgId(1), Term(2), Term(3)),))
                return (Note(NoteKind.STARTED, f"memory [{terms}]"), first)
            case RequestStop(intent, grace):
                told = Note(NoteKind.NODE, f"stop {intent.name} {grace}")
                return (told,) if self.kind == "stubborn" else (told, Exit())
            case RequestFailover(request, srg, to):
                checks = (Check("contact", False, "no contact"),)
                return (Answer(request, False, f"srg {srg} to {to}", checks),)
            case RequestMaintenance(request, on):
                assert self.kind != "faulty", "the engine found a contradiction"
                return (Answer(request, True, f"maintenance {on}", ()),)
            case ClearStatistics() | SpeakerUp() | SpeakerDown():
                return (note(type(event).__name__),)
            case NewSettings(settings):
                return (note(f"new settings {settings.digest.hex()}"),)
            case _:
                return ()


TAKEN = f"new settings {(b'n' * 8).hex()}"
"""What the agent says when it has taken over a reading of ``good``."""


def child(run_dir: str, state_dir: str, kind: str, reload_file: str) -> int:
    """What runs in the process under test."""
    own = replace(SETTINGS, peers=(PEER,))

    def reread() -> Settings:
        wanted = Path(reload_file).read_text()
        if wanted == "bad":
            raise ConfigError([Fault("l3ha.toml", 3, "icl.port", "too big"), Fault("l3ha.toml", 1, "x", "unknown")])
        return replace(own, cluster="other") if wanted == "fixed" else replace(own, digest=b"n" * 8)

    def start(
        _settings: Settings, memory: tuple[Memory, ...], _now: Instant
    ) -> tuple[EngineLike, Callable[[Instant], Status]]:
        return Polite(memory, kind), lambda _now: STATUS

    log = Log("json")
    try:
        return serve(own, reread, Path(run_dir), Path(state_dir), log, start)
    finally:
        log.close()


class Process:
    """The child, its directories and what it logs."""

    def __init__(self, base: Path, kind: str) -> None:
        self.run_dir, self.state_dir, self.reload = base / "run", base / "state", base / "reload"
        self.output = base / f"log-{time.monotonic_ns()}"
        words = [sys.executable, "-m", "tests.test_agent_shell"]
        words += [str(self.run_dir), str(self.state_dir), kind, str(self.reload)]
        with self.output.open("wb") as stderr:
            self.process = subprocess.Popen(words, stderr=stderr, cwd=Path(__file__).parent.parent)

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()

    @property
    def log(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.output.read_text().splitlines()]

    def texts(self) -> list[object]:
        return [line["event"] for line in self.log]

    def until(self, check: Callable[[], object]) -> None:
        deadline = time.monotonic() + 2 * BUDGET_S
        while not check():
            assert time.monotonic() < deadline, self.output.read_text()
            time.sleep(0.01)

    def ask(self, call: Call) -> dict[str, object]:
        answer: list[dict[str, object]] = []

        def try_it() -> bool:
            try:
                answer.append(ask(self.run_dir, call))
            except NotRunning:
                assert self.process.poll() is None, self.output.read_text()
            return bool(answer)

        self.until(try_it)
        return answer[0]

    def said(self, text: str) -> None:
        self.until(lambda: text in self.texts())

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def ends(self) -> int:
        return self.process.wait(timeout=2 * BUDGET_S)


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Process]:
    with Process(tmp_path, "polite") as process:
        process.ask(Show())
        yield process


def test_questions_and_requests_are_answered(agent: Process) -> None:
    shown = agent.ask(Show("node"))
    assert shown["node"]["cluster"] == "edge"  # type: ignore[index]
    assert shown["schema"] == 1
    refused = agent.ask(Failover(1, "n2"))
    assert refused["accepted"] is False
    assert refused["text"] == "srg 1 to 2"
    assert refused["checks"] == [{"name": "contact", "ok": False, "detail": "no contact"}]
    assert agent.ask(Failover(1, 1))["text"] == "srg 1 to 1"
    assert agent.ask(Failover(1))["text"] == "srg 1 to None"
    assert agent.ask(Maintenance(True))["accepted"] is True
    assert agent.ask(Clear()) == {}
    for call, code in (
        (Failover(1, "n9"), "no_such_node"),
        (Show("srg", 5), "no_such_srg"),
        (Events(5, 4), "no_such_srg"),
    ):
        with pytest.raises(Refused) as failure:
            agent.ask(call)
        assert failure.value.code == code
    events = agent.ask(Events(50))["events"]
    assert isinstance(events, list)
    assert [e["text"] for e in events][:2] == ["memory []", "ClearStatistics"]


def test_a_speaker_may_come_and_go(agent: Process) -> None:
    with socket.socket(socket.AF_UNIX) as speaker:
        speaker.connect(str(agent.run_dir / "speaker.sock"))
        agent.said("SpeakerUp")
    agent.said("SpeakerDown")
    assert [t for t in agent.texts() if str(t).startswith("Speaker")] == ["SpeakerUp", "SpeakerDown"]


def test_a_signal_stops_cleanly_and_the_terms_are_there_next_time(tmp_path: Path) -> None:
    with Process(tmp_path, "polite") as first:
        first.ask(Show())
        first.signal(signal.SIGTERM)
        assert first.ends() == EXIT_CLEAN
        assert "stop LEAVING 0" in first.texts()
        assert sorted(p.name for p in first.run_dir.iterdir()) == ["agent.lock"]
    assert list(TermStore(tmp_path / "state").load().values()) == [Memory(SrgId(1), Term(2), Term(3))]
    with Process(tmp_path, "polite") as second:
        second.ask(Show())
        second.said("memory [1:2:3]")


def test_a_corrupt_memory_is_reported_and_does_not_stop_the_start(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir(mode=0o700)
    (tmp_path / "state" / "terms.json").write_text("{")
    with Process(tmp_path, "polite") as process:
        process.ask(Show())
        process.said("memory []")
        assert "the terms are unknown now" in str(process.log[0]["event"])


def test_a_restart_by_signal_or_by_request_says_so(tmp_path: Path) -> None:
    with Process(tmp_path, "polite") as process:
        assert process.ask(Restart(2 * SECOND))["accepted"] is True
        assert process.ends() == EXIT_CLEAN
        assert f"stop RESTARTING {2 * SECOND}" in process.texts()
    with Process(tmp_path, "polite") as process:
        process.ask(Show())
        process.signal(signal.SIGUSR1)
        assert process.ends() == EXIT_CLEAN
        assert f"stop RESTARTING {5 * SECOND}" in process.texts()


def test_the_second_signal_ends_at_once(tmp_path: Path) -> None:
    with Process(tmp_path, "stubborn") as process:
        process.ask(Show())
        process.signal(signal.SIGINT)
        process.said("stop LEAVING 0")
        with pytest.raises(Refused) as failure:
            process.ask(Restart(SECOND))
        assert failure.value.code == "busy"
        process.signal(signal.SIGTERM)
        assert process.ends() == EXIT_FAILED
        assert not (process.run_dir / "agent.sock").exists()


def test_a_reload_is_taken_over_wholly_or_not_at_all(agent: Process) -> None:
    agent.reload.write_text("bad")
    agent.signal(signal.SIGHUP)
    agent.said("the configuration was not taken over: 2 faults; the old one stays")
    assert {"l3ha.toml:3: icl.port: too big", "l3ha.toml:1: x: unknown"} <= set(agent.texts())
    agent.reload.write_text("fixed")
    agent.signal(signal.SIGHUP)
    agent.said("the configuration was not taken over: cluster.name cannot change; restart")
    agent.reload.write_text("good")
    agent.signal(signal.SIGHUP)
    agent.said(TAKEN)


def test_a_fault_of_ours_ends_with_70_and_a_traceback(tmp_path: Path) -> None:
    with Process(tmp_path, "faulty") as process:
        process.ask(Show())
        with pytest.raises(Exception, match=r"hung up|died"):
            process.ask(Maintenance(True))
        assert process.ends() == EXIT_OURS
        assert "the engine found a contradiction" in str(process.log[-1]["traceback"])


def test_a_second_agent_on_the_same_directory_is_refused_and_harms_nothing(agent: Process, tmp_path: Path) -> None:
    with Process(tmp_path, "polite") as second:
        assert second.ends() == EXIT_FAILED
        text = f"the agent does not start: {agent.run_dir}: another agent runs there (pid {agent.process.pid})"
        assert second.texts() == [text]
    agent.ask(Show())


def test_a_killed_agent_leaves_nothing_that_stops_the_next(tmp_path: Path) -> None:
    with Process(tmp_path, "polite") as first:
        first.ask(Show())
        first.process.kill()
        first.process.wait()
        assert (first.run_dir / "agent.sock").exists()
    with Process(tmp_path, "polite") as second:
        second.ask(Show())


def test_unusable_directories_are_refused_with_a_reason(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    (tmp_path / "file").write_text("")
    for name, text in (("open", "everybody may write"), ("file", "cannot be used"), ("file/below", "Not a directory")):
        with pytest.raises(preflight.Refused, match=text):
            preflight.lock_run_dir(tmp_path / name)
    with Process(tmp_path, "polite") as process:
        process.state_dir.write_text("a file")
    with Process(tmp_path, "polite") as process:
        assert process.ends() == EXIT_FAILED
        assert "cannot keep the terms there" in str(process.texts())


@pytest.mark.skipif(os.geteuid() != 0, reason="needs to become another user")
def test_without_raw_sockets_the_agent_says_what_to_do() -> None:
    code = (
        "import os\n"
        "from l3ha.agent.preflight import Refused, check_privileges\n"
        "os.setuid(65534)\n"
        "try: check_privileges()\nexcept Refused as e: print(e)"
    )
    words = [sys.executable, "-c", code]
    done = subprocess.run(words, check=False, capture_output=True, text=True, cwd=Path(__file__).parent.parent)
    assert "CAP_NET_RAW" in done.stdout, done.stderr


def test_faults_of_the_file_are_all_said_and_the_exit_code_is_theirs(tmp_path: Path) -> None:
    file = tmp_path / "l3ha.toml"
    file.write_text("[cluster]\nnmae = 1\n")
    words = [
        sys.executable,
        "-c",
        f"from l3ha.agent.main import run; raise SystemExit(run({str(file)!r}, 'n1', 'r', 's', 'json'))",
    ]
    done = subprocess.run(words, check=False, capture_output=True, text=True, cwd=Path(__file__).parent.parent)
    assert done.returncode == EXIT_CONFIG
    assert "l3ha.toml:2: cluster.nmae" in done.stderr
    assert "Traceback" not in done.stderr


if __name__ == "__main__":
    sys.exit(child(*sys.argv[1:]))
