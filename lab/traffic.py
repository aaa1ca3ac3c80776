"""Traffic, one packet (or a burst) per millisecond each way, and its meter.

``python -m lab.traffic send ADDRESS [BURST]`` and ``python -m lab.traffic receive FILE`` run in the hosts. Absolute
deadlines: a late sender catches up, so numbers and milliseconds stay together. Each packet carries its number and
sending time; the receiver writes both to a file of 16-byte records, in which ``Flow`` reads.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from lab.command import LabError
from lab.outage import Outage, Packet, outage

PORT = 7000
INTERVAL_NS = 1_000_000
_RECORD = struct.Struct("!QQ")
_BUFFER = 4 << 20
"""A receiver that sleeps for seconds still loses nothing."""
_RR_PRIORITY = 5
_REST_S = 0.01
"""Packets carry their time, so the receiver need not be there when they come: to wake for each would cost those that
are measured a twentieth of a core."""
_BATCH = 4096


def _punctual() -> None:
    with contextlib.suppress(OSError):  # not everywhere permitted; then only the jitter is worse
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(_RR_PRIORITY))


def send(address: str, burst: int) -> None:
    """Send for ever, so many packets in every millisecond."""
    _punctual()
    out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    target = (address, PORT)
    due = time.monotonic_ns()
    seq = 0
    while True:
        now = time.monotonic_ns()
        if now < due:
            time.sleep((due - now) / 1e9)
        for number in range(seq, seq + burst):
            with contextlib.suppress(OSError):  # no route: as lost as any other
                out.sendto(_RECORD.pack(number, time.monotonic_ns()), target)
        seq += burst
        due += INTERVAL_NS


def receive(path: str) -> None:
    """Write down what comes, for ever."""
    _punctual()
    sink = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    source = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    source.setsockopt(socket.SOL_SOCKET, getattr(socket, "SO_RCVBUFFORCE", 33), _BUFFER)
    source.bind(("", PORT))
    while True:
        os.write(sink, b"".join(record[: _RECORD.size] for record in _waiting(source)))
        time.sleep(_REST_S)


def _waiting(source: socket.socket) -> Iterator[bytes]:
    """The next packet, whenever it comes, and what came with it."""
    yield source.recv(64)
    with contextlib.suppress(BlockingIOError):
        for _ in range(_BATCH):
            yield source.recv(64, socket.MSG_DONTWAIT)


@dataclass(slots=True)
class Flow:
    """One direction, read from its receiver's file."""

    path: Path
    _offset: int = 0
    _kept: list[Packet] = field(default_factory=list)

    def _read(self) -> list[Packet]:
        with self.path.open("rb") as file:
            file.seek(self._offset)
            data = file.read()
        data = data[: len(data) // _RECORD.size * _RECORD.size]
        self._offset += len(data)
        return [Packet(*record) for record in _RECORD.iter_unpack(data)]

    def latest(self) -> int:
        """When the packet that came last was sent (monotonic clock, ns); 0: none came yet.

        Raises FileNotFoundError where the lab is gone, or not yet there.
        """
        with self.path.open("rb") as file:
            whole = file.seek(0, os.SEEK_END) // _RECORD.size
            if not whole:
                return 0
            file.seek((whole - 1) * _RECORD.size)
            return int(_RECORD.unpack(file.read(_RECORD.size))[1])

    def open(self, since: int, within_s: float) -> None:
        """Wait for a packet that was sent at or after ``since``, and begin to keep packets with it."""
        self._kept = [self._fresh(since, within_s)[-1]]

    def close(self, since: int, within_s: float) -> Outage:
        """Wait for a packet that was sent at or after ``since``; what was lost from ``open`` until then."""
        self._kept += self._fresh(since, within_s)
        return outage(self._kept)

    def _fresh(self, since: int, within_s: float) -> list[Packet]:
        deadline = time.monotonic() + within_s
        packets: list[Packet] = []
        while not packets or packets[-1].sent < since:
            if time.monotonic() > deadline:
                raise LabError(f"no traffic arrives at {self.path.stem} (waited {within_s:g} s)")
            time.sleep(0.005)
            packets += self._read() if self.path.exists() else []
        return packets


@dataclass(frozen=True, slots=True)
class Outages:
    """Both directions."""

    a_to_b: Outage
    b_to_a: Outage

    @property
    def lost(self) -> int:
        """Packets lost, both directions together."""
        return self.a_to_b.lost + self.b_to_a.lost

    @property
    def worst_ms(self) -> float:
        """The longer one of the two gaps."""
        return max(self.a_to_b.gap_ms, self.b_to_a.gap_ms)

    def __str__(self) -> str:
        return f"hosta -> hostb: {self.a_to_b}; hostb -> hosta: {self.b_to_a}"


@dataclass(frozen=True, slots=True)
class Meter:
    """Both flows together."""

    a_to_b: Flow
    b_to_a: Flow

    def measure(self, action: Callable[[], None], flows_within_s: float = 5) -> Outages:
        """The outage from just before ``action`` until traffic flows both ways after it.

        Raises ``LabError`` where it does not flow before, or not again within ``flows_within_s``.
        """
        begin = time.monotonic_ns()
        for flow in (self.a_to_b, self.b_to_a):
            flow.open(begin, flows_within_s)
        action()
        end = time.monotonic_ns()
        return Outages(self.a_to_b.close(end, flows_within_s), self.b_to_a.close(end, flows_within_s))


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["send", address, *burst]:
            send(address, int("".join(burst) or "1"))
        case ["receive", path]:
            receive(path)
        case _:
            sys.exit("usage: python -m lab.traffic send ADDRESS [BURST] | receive FILE")
