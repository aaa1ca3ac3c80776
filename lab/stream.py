"""One long TCP transfer across the pair, and how it felt.

``python -m lab.stream receive`` and ``python -m lab.stream send ADDRESS`` run in the hosts. The sender writes about
10 Mbit/s until its standard input ends, then prints one JSON object: see ``Felt``. Exit code 1: it broke.
"""

from __future__ import annotations

import json
import select
import socket
import struct
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from types import TracebackType
from typing import Self

from lab.command import LabError
from lab.topology import HOST_ADDRESS, HOSTS, inside

PORT = 7001
_CHUNK = bytes(1250)
_INTERVAL_S = 0.001
_SEND_BUFFER = 16 << 10
"""Small, so that a pause of the network is soon one of the sender."""
_TOTAL_RETRANS = 100
"""Offset of tcpi_total_retrans in struct tcp_info (linux/tcp.h)."""
_PATIENCE_S = 10.0


@dataclass(frozen=True, slots=True)
class Felt:
    """A whole transfer."""

    received: int
    """Bytes that were taken by the sender's kernel."""
    retransmitted: int
    """Segments."""
    pause_ms: float
    """Longest time in which nothing could be sent."""
    broken: str | None
    """The error that ended it."""


def receive() -> None:
    """Take one transfer to its end."""
    with socket.create_server(("", PORT)) as server:
        server.settimeout(_PATIENCE_S)
        connection, _ = server.accept()
        with connection:
            connection.settimeout(None)
            while connection.recv(1 << 16):
                pass


def send(address: str) -> Felt:
    """Send until standard input ends."""
    with _connected(address) as out:
        sent, pause, broken = 0, 0.0, None
        due = time.monotonic()
        try:
            while not select.select([sys.stdin], [], [], max(0.0, due - time.monotonic()))[0]:
                begin = time.monotonic()
                out.sendall(_CHUNK)
                pause = max(pause, time.monotonic() - begin)
                sent += len(_CHUNK)
                due += _INTERVAL_S
        except OSError as error:
            broken = str(error)
        info = out.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
        retransmitted = int(struct.unpack_from("I", info, _TOTAL_RETRANS)[0])
        return Felt(sent, retransmitted, round(pause * 1000, 1), broken)


def _connected(address: str) -> socket.socket:
    """The receiver may need a moment to start."""
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        out = socket.socket()
        out.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
        try:
            out.connect((address, PORT))
        except ConnectionRefusedError:
            out.close()
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return out


class Streams:
    """A transfer each way, from entering to leaving; then ``felt`` is known, one of each sending host."""

    def __init__(self, tag: str) -> None:
        self._tag = tag
        self._receivers: list[subprocess.Popen[str]] = []
        self._senders: list[subprocess.Popen[str]] = []
        self.felt: tuple[Felt, ...] = ()

    def _start(self, host: str, *words: str) -> subprocess.Popen[str]:
        argv = inside(self._tag, host, sys.executable, "-m", "lab.stream", *words)
        return subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __enter__(self) -> Self:
        self._receivers = [self._start(host, "receive") for host in HOSTS]
        self._senders = [
            self._start(host, "send", HOST_ADDRESS[far]) for host, far in zip(HOSTS, reversed(HOSTS), strict=True)
        ]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            said = [sender.communicate(timeout=_PATIENCE_S)[0] for sender in self._senders]
            if kind is None:
                self.felt = tuple(Felt(**json.loads(text)) for text in said)
        except (subprocess.TimeoutExpired, ValueError, TypeError) as trouble:
            raise LabError(f"a TCP transfer did not end: {trouble}") from None
        finally:
            for process in (*self._senders, *self._receivers):
                process.kill()
                process.communicate()


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["receive"]:
            receive()
        case ["send", address]:
            felt = send(address)
            print(json.dumps(asdict(felt)))
            sys.exit(felt.broken is not None)
        case _:
            sys.exit("usage: python -m lab.stream receive | send ADDRESS")
