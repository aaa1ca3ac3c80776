"""What a contender's processes use while nothing happens."""

from __future__ import annotations

import os
import time
from pathlib import Path

from lab.bench.contender import PREFERRED, Contender

_TICK = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pids: list[int]) -> float:
    """User and system time that these processes have used."""
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / _TICK


def memory_kb(pids: list[int]) -> int:
    """Proportional set size of these processes together."""
    total = 0
    for pid in pids:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1])
    return total


class Idle:
    """How much of the machine was left over, from the creation of this on."""

    def __init__(self) -> None:
        self._begin = _idle_seconds()
        self._since = time.monotonic()

    def percent(self) -> float:
        """Of all cores together."""
        spent = (time.monotonic() - self._since) * (os.cpu_count() or 1)
        return 100 * (_idle_seconds() - self._begin) / spent


def _idle_seconds() -> float:
    """Of all cores together since the machine was started."""
    return int(Path("/proc/stat").read_text().split(maxsplit=5)[4]) / _TICK


def measure(lab: Contender, seconds: float) -> dict[str, tuple[float, int]]:
    """Percent of a core and memory in kB of every part on the active node, over this time."""
    parts = lab.footprint(PREFERRED)
    before = {name: cpu_seconds(pids) for name, pids in parts.items()}
    begin = time.monotonic()
    time.sleep(seconds)
    spent = time.monotonic() - begin
    return {name: (100 * (cpu_seconds(pids) - before[name]) / spent, memory_kb(pids)) for name, pids in parts.items()}
