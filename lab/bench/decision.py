"""Decision latency: from an event at the active node to the first command that each node writes to ExaBGP.

A whole l3ha pair with real ExaBGP and routers; a tap in front of ExaBGP notes when commands come. Heartbeat, decision,
the way from agent to speaker and the speaker's own work are all in the figure; ExaBGP, BGP and the routers are not.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from l3ha.base.time import SECOND
from l3ha.control.client import ControlError, ask
from l3ha.control.protocol import Failover
from lab.bench.l3ha import L3ha
from lab.bench.record import Measure
from lab.bench.tap import commands
from lab.command import LabError
from lab.faults import by_name as lab_fault
from lab.keeper import Service
from lab.observe import other, settle, until
from lab.routers import RouterKind
from lab.topology import far_end, namespace

SUBJECT = "Decision latency of l3ha"


class Tapped(L3ha):
    """l3ha with a tap between speaker and ExaBGP."""

    def tap(self, node: str) -> Path:
        """What a node's tap writes."""
        return self.directory / node / "commands"

    def node_services(self, node: str) -> list[Service]:
        found = super().node_services(node)
        conf = self.directory / node / "exabgp.conf"
        program = f"run {sys.executable} -m l3ha speaker"
        text = conf.read_text()
        assert program in text, text
        tap = f"run {sys.executable} -m lab.bench.tap {self.tap(node)} {sys.executable} -m l3ha speaker"
        conf.write_text(text.replace(program, tap))
        return found


def measure(tag: str, runs: int, say: Callable[[str], None]) -> list[Measure]:
    """Carrier loss and a planned move, ``runs`` times each."""
    lost: dict[str, list[float]] = {"gives up": [], "takes over": []}
    asked: list[float] = []
    with Tapped(tag, RouterKind.FRR, traffic=False) as lab:
        for number in range(1, runs + 1):
            active = settle(lab, within_s=60, steady_s=0.5)
            begin = _pull(lab, active)
            lost["gives up"].append(_first(lab, active, begin))
            lost["takes over"].append(_first(lab, other(active), begin))
            heal = lab_fault("one-uplink").heal
            assert heal is not None
            heal(lab, active)
            active = settle(lab, within_s=60, steady_s=0.5)
            begin = time.monotonic_ns()
            _request(lab, active)
            asked.append(_first(lab, other(active), begin))
            say(f"{number} decision: {lost['gives up'][-1]:.1f} {lost['takes over'][-1]:.1f} {asked[-1]:.1f} ms")
    return [
        *(
            Measure(SUBJECT, f"carrier of one uplink lost: the node {what}", "ms", tuple(ms))
            for what, ms in lost.items()
        ),
        Measure(SUBJECT, "planned move requested: the other node takes over", "ms", tuple(asked)),
    ]


def _request(lab: Tapped, active: str) -> None:
    try:
        ask(lab.directory / active, Failover(1), SECOND)
    except ControlError as error:
        raise LabError(f"the planned move: {error}") from None


def _pull(lab: Tapped, active: str) -> int:
    """Take the carrier of an uplink away, by an ``ip`` that already runs; the instant before it."""
    end = far_end(active, "r1")
    argv = ["ip", "-n", namespace(lab.tag, end.machine), "-batch", "-"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) as batch:
        assert batch.stdin is not None
        assert batch.stdout is not None
        batch.stdin.write("link show lo\n")
        batch.stdout.readline()  # its answer: it waits for the next line now
        begin = time.monotonic_ns()
        batch.stdin.write(f"link set {end.interface} down\n")
        batch.stdin.close()
    return begin


def _first(lab: Tapped, node: str, begin: int) -> float:
    """Milliseconds until a node's first command."""
    until(lambda: {"commands": bool(commands(lab.tap(node), begin))}, {"commands": True}, within_s=10)
    return (commands(lab.tap(node), begin)[0][0] - begin) / 1e6
