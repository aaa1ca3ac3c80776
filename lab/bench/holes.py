"""When the machine itself stood still: ``python -m lab.bench.holes FILE CORE`` notes every hole in its own time.

A hypervisor that takes a core away stops everything on it, whatever its priority. This process is the most urgent of
its core and wants next to nothing; so what it misses nobody else had either.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable
from pathlib import Path

PRIORITY = 50
"""The agent has 10, everything else of the benchmark at most 20."""

STEP_S = 0.005
LEAST_S = 0.02
"""A hole shorter than that is nobody's fault and nobody's trouble."""


def main(path: str, core: str) -> int:
    """Until it is killed. Raises OSError where real-time scheduling is not permitted."""
    os.sched_setaffinity(0, {int(core)})
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(PRIORITY))
    with Path(path).open("a", buffering=1) as log:
        last = time.monotonic()
        while True:
            time.sleep(STEP_S)
            now = time.monotonic()
            if now - last > STEP_S + LEAST_S:
                log.write(f"{time.time_ns()} {(now - last - STEP_S) * 1000:.0f}\n")
            last = now


def found(paths: Iterable[Path]) -> list[tuple[int, int]]:
    """Every hole of all cores: its end (ns since the epoch) and its length in ms."""
    return sorted((int(at), int(ms)) for path in paths for at, ms in map(str.split, path.read_text().splitlines()))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
