"""Decision latency: from an event at the active node to the first command that each node writes to ExaBGP.

A whole l3ha pair with real ExaBGP and routers. What is measured of each event are the parts of one chain:

    the cause --kernel--> seen in the node --l3ha: agent, disk, speaker--> command in ExaBGP's pipe --tap--> noted

A listener in the node notes what the kernel tells, a tap in front of ExaBGP when commands come; what the tap adds is
measured by itself. ExaBGP, BGP and the routers are not in the figures. What happened while the machine itself stood
still is void, and counted.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from l3ha.base.time import SECOND
from l3ha.control.client import ControlError, ask
from l3ha.control.protocol import Failover
from lab.bench.l3ha import L3ha
from lab.bench.record import Measure
from lab.bench.seen import datagrams, links, news
from lab.bench.tap import commands, delays
from lab.command import LabError
from lab.faults import by_name as lab_fault
from lab.holes import Watch, watched
from lab.keeper import Service
from lab.observe import other, settle, until
from lab.routers import RouterKind
from lab.topology import REPOSITORY, far_end, namespace

SUBJECT = "Decision latency of l3ha"

_TAPPED = 500
"""How often the tap's own delay is taken."""
_STOOD_MS = 2.0
"""As long as a decision may take: an event in which the machine stood still for so long says nothing. To look for
shorter holes would itself take a fifth of the processor's caches."""


_START_S = 3.0
"""What agents load in the background after their start does not belong to a decision."""


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


class Watched(Tapped):
    """And with a listener on each node."""

    def seen(self, node: str) -> Path:
        """What a node's listener writes."""
        return self.directory / node / "seen"

    def node_services(self, node: str) -> list[Service]:
        argv = [sys.executable, "-m", "lab.bench.seen", str(self.seen(node))]
        found = super().node_services(node)
        return [*found, self.service(f"seen-{node}", node, argv, env={"PYTHONPATH": str(REPOSITORY)})]


@dataclass(slots=True)
class _Event:
    """One kind of event at one node: when it happened, was seen there, and was answered."""

    cause: str
    """From what the whole is counted."""
    sight: str
    what: str
    watch: Watch
    whole: list[float] = field(default_factory=list)
    seen: list[float] = field(default_factory=list)
    void: int = 0

    def note(self, begin: int, seen: int | None, command: int) -> str:
        """One more, in nanoseconds of the monotonic clock; it in words. ``seen``: None where the listener could not."""
        if seen is None or seen > command or self.watch.longest(begin, command):
            self.void += 1
            return "void"
        self.whole.append((command - begin) / 1e6)
        self.seen.append((command - seen) / 1e6)
        return f"{self.seen[-1]:.2f}"

    def before(self) -> tuple[float, ...]:
        """What passed between the cause and its sight."""
        return tuple(whole - seen for whole, seen in zip(self.whole, self.seen, strict=True))

    def measures(self) -> list[Measure]:
        """The whole, and the node's part of it."""
        void = f"{self.void} more were void" if self.void else ""
        return [
            Measure(SUBJECT, f"{self.cause}: {self.what}", "ms", tuple(self.whole), void),
            Measure(SUBJECT, f"… counted from {self.sight}", "ms", tuple(self.seen)),
        ]


def measure(tag: str, runs: int, say: Callable[[str], None]) -> list[Measure]:
    """Carrier loss and a planned move, each until ``runs`` are not void, but at most twice as often."""
    lost = "carrier of one uplink lost"
    with watched(_STOOD_MS) as watch, Watched(tag, RouterKind.FRR, traffic=False) as lab:
        gives_up = _Event(lost, "the kernel's message", "the node gives up", watch)
        takes_over = _Event(lost, "the datagram that grants it", "the node takes over", watch)
        moved = _Event("planned move requested", "the datagram that grants it", "the other node takes over", watch)
        events = (gives_up, takes_over, moved)
        settle(lab, within_s=60, steady_s=_START_S)
        for number in range(1, 2 * runs + 1):
            if all(len(event.seen) >= runs for event in events):
                break
            active = settle(lab, within_s=60, steady_s=0.5)
            begin = _pull(lab, active)
            command = _first(lab, active, begin)
            told = next((link.at for link in links(lab.seen(active)) if link.at >= begin and not link.carrier), None)
            took = [gives_up.note(begin, told, command), _taken(lab, other(active), begin, takes_over)]
            heal = lab_fault("one-uplink").heal
            assert heal is not None
            heal(lab, active)
            active = settle(lab, within_s=60, steady_s=0.5)
            begin = time.monotonic_ns()
            _request(lab, active)
            took.append(_taken(lab, other(active), begin, moved))
            say(f"{number} decision: {' '.join(took)} ms")
    every = tuple(took for event in events for took in event.seen)
    return [
        *(one for event in events for one in event.measures()),
        Measure(SUBJECT, "all of these together, each counted from there", "ms", every),
        Measure(SUBJECT, "share of the kernel: `ip link` to its message, carrier lost", "ms", gives_up.before()),
        Measure(SUBJECT, "share of the tap, in every figure to a command", "ms", tuple(delays(_TAPPED))),
    ]


def _taken(lab: Watched, node: str, begin: int, event: _Event) -> str:
    command = _first(lab, node, begin)
    told = news(datagrams(lab.seen(node)), begin)
    return event.note(begin, told.at if told else None, command)


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


def _first(lab: Tapped, node: str, begin: int) -> int:
    """When a node's first command came."""
    until(lambda: {"commands": bool(commands(lab.tap(node), begin))}, {"commands": True}, within_s=10)
    return commands(lab.tap(node), begin)[0][0]
