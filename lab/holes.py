"""When the machine itself stood still; ``python -m lab.holes OWNER FILE CORE LEAST_MS`` notes every such hole.

A hypervisor that takes a core away stops everything on it, whatever its priority. This process is the most urgent of
its core and wants next to nothing; so what it misses nobody else had either.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from lab.command import LabError

PRIORITY = 50
"""The agent has 10, everything else of the lab at most 20."""

LEAST_MS = 20.0
"""A hole shorter than that is no trouble to anybody's timers."""

_READY_S = 30.0
"""Within this every watcher has begun."""

_STEPS = 2
"""It looks so often within the shortest hole that is noted."""


class Hole(NamedTuple):
    """The machine stood still."""

    end: int
    """ns since the epoch"""
    ms: float


class Watch:
    """One watching process for each core, as long as the context lasts, for holes of ``least_ms`` or longer.

    Raises ``LabError`` where nobody can watch (real-time scheduling needs the right to it), then or later.
    """

    def __init__(self, least_ms: float = LEAST_MS) -> None:
        self._least_ms = least_ms

    def __enter__(self) -> Self:
        self._directory = tempfile.TemporaryDirectory(prefix="l3ha-holes-")
        self._files = [Path(self._directory.name) / str(core) for core in sorted(os.sched_getaffinity(0))]
        argv = [sys.executable, "-m", "lab.holes", str(os.getpid())]
        self._watching: list[subprocess.Popen[bytes]] = []
        try:
            for file in self._files:
                self._watching.append(subprocess.Popen([*argv, file, file.name, str(self._least_ms)]))
            deadline = time.monotonic() + _READY_S
            while not all(file.exists() for file in self._files):
                if time.monotonic() > deadline:
                    raise LabError(f"nobody watches the machine after {_READY_S:g} s")
                self._alive()
                time.sleep(0.01)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self._watching:
            process.kill()
            process.wait()
        self._directory.cleanup()

    def since(self, at: int) -> list[Hole]:
        """Every hole of all cores that ended at ``at`` (ns since the epoch) or later."""
        self._alive()
        noted = (line.split() for file in self._files for line in file.read_text().splitlines())
        return sorted(hole for end, ms in noted if (hole := Hole(int(end), float(ms))).end >= at)

    def _alive(self) -> None:
        if any(process.poll() is not None for process in self._watching):
            raise LabError("nobody watches the machine: real-time scheduling is not permitted")


def main(owner: str, path: str, core: str, least_ms: str) -> int:
    """As long as its owner lives, which is its parent. Raises OSError where real-time scheduling is not permitted."""
    least = float(least_ms) / 1000
    step = least / _STEPS
    os.sched_setaffinity(0, {int(core)})
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(PRIORITY))
    with Path(path).open("a", buffering=1) as log:
        last = time.monotonic()
        while os.getppid() == int(owner):
            time.sleep(step)
            now = time.monotonic()
            if now - last > step + least:
                log.write(f"{time.time_ns()} {(now - last - step) * 1000:.1f}\n")
            last = now
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
