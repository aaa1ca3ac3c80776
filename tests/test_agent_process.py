"""The agent's process with a scripted engine: what it is asked, its signals, its reload, its refusals."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from l3ha.agent import preflight
from l3ha.agent.log import Log
from l3ha.agent.loop import EngineLike
from l3ha.agent.process import EXIT_CLEAN, EXIT_CONFIG, EXIT_FAILED, EXIT_OURS, MANY_TOLD, priority, serve
from l3ha.base.errors import ConfigError, Fault
from l3ha.base.names import SrgId, Term
from l3ha.base.settings import Settings
from l3ha.base.time import MS, SECOND, Instant
from l3ha.control.client import NotRunning, Refused, ask
from l3ha.control.protocol import Call, Clear, Events, Failover, Maintenance, Restart, Show
from l3ha.core.events import (
    Answer,
    Check,
    ClearStatistics,
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
)
from l3ha.core.status import Status
from l3ha.drivers import realtime
from l3ha.drivers.memory import TermStore
from tests.test_agent_shell import BUDGET_S, PEER, SETTINGS, STATUS, Script, note
from tests.world import settings


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
        words = [sys.executable, "-m", "tests.test_agent_process"]
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


def test_the_speaker_is_more_urgent_than_the_agent_unless_it_may_compute_for_long() -> None:
    few = settings(1)
    told = len(few.neighbors)
    many = replace(few, srgs=(replace(few.srgs[0], routes=("10.0.0.0/8",) * -(-MANY_TOLD // told)),))
    assert priority(few) < realtime.URGENT == priority(many)


if __name__ == "__main__":
    sys.exit(child(*sys.argv[1:]))
