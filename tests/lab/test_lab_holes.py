"""Who watches the machine, and which failures are void because it stood still."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from subprocess import PIPE
from types import SimpleNamespace
from typing import Any

import pytest

from lab.command import LabError
from lab.holes import Hole, UnwatchedError, Watch, watched
from lab.observe import until
from lab.topology import REPOSITORY
from tests.standstill import ATTEMPTS, BEGAN, FAILED, SPOILT_MS, WATCH, spoilt

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="real-time scheduling needs root")


def one_of(watch: Watch) -> subprocess.Popen[bytes]:
    return next(iter(watch.notes.values()))


@AS_ROOT
def test_a_hole_is_noted_with_its_length() -> None:
    with watched(5) as watch:
        begin = time.time_ns()
        watching = one_of(watch)
        watching.send_signal(signal.SIGSTOP)
        time.sleep(0.2)
        watching.send_signal(signal.SIGCONT)
        until(lambda: {"noted": any(hole.ms > 150 for hole in watch.since(begin))}, {"noted": True}, within_s=10)
        assert not watch.since(time.time_ns() + 10**9)


@AS_ROOT
def test_a_watch_that_nobody_keeps_is_an_error_and_not_a_calm_machine() -> None:
    with watched() as watch:
        watching = one_of(watch)
        watching.kill()
        watching.wait()
        with pytest.raises(UnwatchedError, match="nobody watches"):
            watch.since(0)


@AS_ROOT
def test_a_killed_owner_leaves_no_watcher(tmp_path: Path) -> None:
    program = (
        "from lab.holes import watched\nwith watched() as w:\n print(*(p.pid for p in w.notes.values()), flush=True)\n"
    )
    program += " input()"
    argv = [sys.executable, "-c", program]
    env = {**os.environ, "TMPDIR": str(tmp_path)}  # nobody is left to remove what it made there
    with subprocess.Popen(argv, cwd=REPOSITORY, env=env, stdin=PIPE, stdout=PIPE, text=True) as owner:
        assert owner.stdout is not None
        watching = [Path("/proc") / pid for pid in owner.stdout.readline().split()]
        assert watching and all(one.exists() for one in watching)
        owner.kill()
    until(lambda: {"there": any(one.exists() for one in watching)}, {"there": False}, within_s=10)


class Past:
    """A watch that has seen this."""

    def __init__(self, *holes: Hole) -> None:
        self.holes = holes

    def since(self, at: int) -> list[Hole]:
        return [hole for hole in self.holes if hole.end >= at]


def failed(watch: Past | None, began: int, *, at: int | None = None, attempt: int = 1) -> Any:
    config = SimpleNamespace(stash={} if watch is None else {WATCH: watch})
    stash = {BEGAN: began, FAILED: time.time_ns() if at is None else at}
    return SimpleNamespace(nodeid="a test", config=config, stash=stash, execution_count=attempt)


def test_only_a_failure_during_a_long_hole_is_void() -> None:
    now = time.time_ns()
    while_testing, before = now - 4 * 10**9, now - 60 * 10**9
    began = now - 10 * 10**9
    assert spoilt(failed(Past(Hole(while_testing, SPOILT_MS)), began), LabError())
    assert not spoilt(failed(Past(Hole(while_testing, SPOILT_MS - 1)), began), LabError()), (
        "too short to spoil anything"
    )
    assert not spoilt(failed(Past(Hole(before, 900)), began), LabError()), "before the test"
    assert not spoilt(failed(Past(Hole(while_testing, 900)), began, at=now - 5 * 10**9), LabError()), "after it failed"
    assert not spoilt(failed(Past(Hole(while_testing, 900)), began, attempt=ATTEMPTS), LabError()), "the last attempt"
    assert not spoilt(failed(Past(), began), LabError())
    assert not spoilt(failed(Past(Hole(while_testing, SPOILT_MS)), began), None), "it did not fail"
    assert not spoilt(failed(None, began), LabError()), "nobody watched"


ATTEMPTS_MADE: list[int] = []


@pytest.mark.lab
@AS_ROOT
def test_a_void_failure_is_run_again(pytestconfig: pytest.Config) -> None:
    """Its first attempt fails on purpose, and one who watches is stopped meanwhile."""
    ATTEMPTS_MADE.append(1)
    watching = one_of(pytestconfig.stash[WATCH])
    if len(ATTEMPTS_MADE) == 1:
        watching.send_signal(signal.SIGSTOP)
        time.sleep(4 * SPOILT_MS / 1000)
        watching.send_signal(signal.SIGCONT)
        time.sleep(SPOILT_MS / 1000)
    assert len(ATTEMPTS_MADE) > 1
