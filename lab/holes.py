"""When the machine itself stood still; ``python -m lab.holes OWNER FILE CORE LEAST_MS`` notes every such hole.

A hypervisor that takes a core away stops everything on it, whatever its priority. This process is the most urgent of
its core and wants next to nothing; so what it misses nobody else had either.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from l3ha.base.time import MS
from lab.command import LabError
from lab.observe import until

PRIORITY = 60
"""Everything else of the lab has 50 at most (who pulls the cables)."""

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


class UnwatchedError(Exception):
    """A watching process is gone, so nobody knows any more whether the machine stands still."""


class Watch:
    """What the watching processes have noted. Made by ``watched``."""

    def __init__(self, least_ms: float, notes: dict[Path, subprocess.Popen[bytes]]) -> None:
        self.least_ms = least_ms
        """What is shorter is not noted."""
        self.notes = notes
        """By the file in which a process notes."""

    def since(self, at: int) -> list[Hole]:
        """Every hole of all cores that ended at ``at`` (ns since the epoch) or later. Raises ``UnwatchedError`` where
        one of the processes is gone."""
        if self._left():
            raise UnwatchedError("nobody watches the machine any more")
        noted = (line.split() for file in self.notes for line in file.read_text().splitlines())
        return sorted(hole for end, ms in noted if (hole := Hole(int(end), float(ms))).end >= at)

    def longest(self, begin: int, end: int) -> float:
        """The longest hole, in ms, that touched this span of the monotonic clock (ns); 0 where there was none. Raises
        ``UnwatchedError`` as ``since`` does."""
        wall = time.time_ns() - time.monotonic_ns()
        found = [h for h in self.since(begin + wall) if h.end - (h.ms + self.least_ms) * MS < end + wall]
        return max((hole.ms for hole in found), default=0.0)

    def ready(self) -> bool:
        """Whether every core is watched by now."""
        if self._left():
            raise LabError("nobody watches the machine: real-time scheduling is not permitted")
        return all(file.exists() for file in self.notes)

    def _left(self) -> bool:
        return any(process.poll() is not None for process in self.notes.values())


@contextlib.contextmanager
def watched(least_ms: float = LEAST_MS) -> Iterator[Watch]:
    """One watching process for each core, as long as the context lasts, for holes of ``least_ms`` or longer.

    Raises ``LabError`` where nobody can watch: real-time scheduling needs the right to it.
    """
    argv = [sys.executable, "-m", "lab.holes", str(os.getpid())]
    with tempfile.TemporaryDirectory(prefix="l3ha-holes-") as directory, contextlib.ExitStack() as stack:
        watch = Watch(least_ms, {})
        for core in sorted(os.sched_getaffinity(0)):
            file = Path(directory) / str(core)
            command = [*argv, str(file), file.name, str(least_ms)]
            # a session of its own: what interrupts the owner leaves it to the owner to end this
            watch.notes[file] = process = subprocess.Popen(command, start_new_session=True)
            stack.callback(process.wait)
            stack.callback(process.kill)
        until(lambda: {"watched": watch.ready()}, {"watched": True}, within_s=_READY_S, what="a watch")
        yield watch


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
