"""Nothing happens, although every core is loaded by other work: does the pair stay as it is, and how late is it?

The default pair and the fast one side by side, and twice as many processes as cores that never rest. Beside them the
machine is watched: where the hypervisor takes it away for longer than a peer may be silent, a pair must act.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

from l3ha.base.time import MS, SECOND
from lab.bench.campaign import BROKEN
from lab.bench.footprint import measure as footprint
from lab.bench.l3ha import L3ha, L3haFast
from lab.bench.load import reason
from lab.bench.record import Measure
from lab.command import LabError
from lab.holes import LEAST_MS, Hole, watched
from lab.routers import RouterKind
from lab.topology import NODES

SUBJECT = "Every core busy with other work, and nothing happens"
_MINUTES = 1
"""For each run that was asked for."""
_SPIN = "while True: pass"
_QUANTILES = ("p50", "p99", "p999", "worst")
_CPU_S = 20.0
_AFTERMATH = 5 * SECOND
"""How long after the machine stood still an event may be its consequence."""


def measure(tag: str, runs: int, _seconds: float, say: Callable[[str], None]) -> list[Measure]:
    """A minute a run; both pairs at once."""
    minutes = _MINUTES * runs
    try:
        with (
            L3ha(f"{tag}d", RouterKind.FRR, traffic=False) as default,
            L3haFast(f"{tag}f", RouterKind.FRR, traffic=False) as fast,
        ):
            labs: dict[str, L3ha] = {"100 ms × 5": default, "50 ms × 3": fast}
            for lab in labs.values():
                lab.settle(steady_s=2)
            quiet = {name: footprint(lab, _CPU_S) for name, lab in labs.items()}
            begin = time.time_ns()
            for lab in labs.values():
                for node in NODES:
                    lab.cli(node, "clear", "statistics")
            with watched() as watch, _busy():
                time.sleep(60 * minutes)
                stood = watch.since(begin)
            say(f"the machine stood still for {', '.join(f'{ms:.0f}' for _, ms in stood) or 'no'} ms")
            return [
                *_cpu(quiet),
                Measure(
                    SUBJECT,
                    f"the machine itself stood still for more than {LEAST_MS:.0f} ms, each time for",
                    "ms",
                    tuple(ms for _, ms in stood) or (0.0,),
                    f"{len(stood)} times, all cores together",
                ),
                *(one for name, lab in labs.items() for one in _found(name, lab, begin, minutes, stood, say)),
            ]
    except BROKEN as error:
        return [Measure(SUBJECT, "failed", "", (), reason(str(error)))]


@contextlib.contextmanager
def _busy() -> Iterator[None]:
    spinning = [subprocess.Popen([sys.executable, "-c", _SPIN]) for _ in range(2 * (os.cpu_count() or 1))]
    try:
        yield
    finally:
        for process in spinning:
            process.kill()
            process.wait()


def _cpu(quiet: dict[str, dict[str, tuple[float, int]]]) -> Iterator[Measure]:
    for name, parts in quiet.items():
        for part, (cpu, memory) in parts.items():
            yield Measure(SUBJECT, f"{name}: CPU of {part} before the load", "%", (cpu,), f"{memory / 1024:.0f} MB")


def _found(
    name: str, lab: L3ha, since: int, minutes: int, stood: list[Hole], say: Callable[[str], None]
) -> Iterator[Measure]:
    trouble = [event for node in NODES for event in _events(lab, node, since)]
    ours = [e for e in trouble if not any(end - ms * MS <= e["at"] <= end + _AFTERMATH for end, ms in stood)]
    remark = f"in {minutes} min"
    if trouble:
        remark += f"; {len(ours)} of them without the machine having stood still"
        remark += f"; first: {(ours or trouble)[0]['text']}"
    yield Measure(SUBJECT, f"{name}: events of both nodes, whatever they say", "", (float(len(trouble)),), remark)
    for node in NODES:
        status = lab.status(node)
        if status is None:
            raise LabError(f"{node} does not answer")
        late = status["node"]["lateness"]
        say(f"{name} {node}: {late}, {len(trouble)} events")
        for quantile in _QUANTILES:
            what = f"{name}: lateness of {node}'s loop, {quantile}"
            yield Measure(SUBJECT, what, "ms", (late[quantile] / 1e6,), f"{late['count']:,} deadlines")


def _events(lab: L3ha, node: str, since: int) -> list[dict[str, Any]]:
    return [event for event in json.loads(lab.cli(node, "show", "events", "--json"))["events"] if event["at"] >= since]
