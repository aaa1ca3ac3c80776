"""Between the speaker and ExaBGP: passes every command on and writes down when it came.

``python -m lab.bench.tap FILE PROGRAM…`` runs in the place of PROGRAM in ExaBGP's configuration. The speaker keeps
ExaBGP's end of its standard input, so ExaBGP's death ends it, and its end ends the tap.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PRIORITY = 20
"""What is measured has 10 and 11: the instant of the command is noted, not when they have nothing more to do."""


def main(path: str, *argv: str) -> int:
    """Pass on until the program ends; its exit code."""
    with Path(path).open("ab", buffering=0) as log, subprocess.Popen(argv, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        with contextlib.suppress(OSError):  # not everywhere permitted; then what it adds is measured with the rest
            os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(PRIORITY))
        for line in child.stdout:
            now = time.monotonic_ns()
            sys.stdout.buffer.write(line)
            sys.stdout.buffer.flush()
            log.write(b"%d %s" % (now, line))
    return child.returncode


def commands(path: Path, since: int) -> list[tuple[int, str]]:
    """When each change of a route came, from an instant of the monotonic clock on (ns), and its text."""
    found = []
    for line in path.read_text().splitlines():
        at, _, text = line.partition(" ")
        if " announce " in text or " withdraw " in text:
            found.append((int(at), text))
    return [one for one in found if one[0] >= since]


_CHILD = """
import sys, time
for _ in range({count}):
    time.sleep(0.005)
    sys.stdout.write(f"{{time.monotonic_ns()}}\\n")
    sys.stdout.flush()
"""


def delays(count: int) -> list[float]:
    """What the tap adds, in ms: how long after a child has written a line it is noted."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "commands"
        child = [sys.executable, "-c", _CHILD.format(count=count)]
        argv = [sys.executable, "-m", "lab.bench.tap", str(path), *child]
        subprocess.run(argv, stdout=subprocess.DEVNULL, check=True)
        lines = [line.split() for line in path.read_text().splitlines()]
    return [(int(noted) - int(written)) / 1e6 for noted, written in lines]


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
