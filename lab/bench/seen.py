"""What a node's kernel tells it, and when: a listener beside the agent, in its namespace.

``python -m lab.bench.seen FILE`` writes down every message about a link and every datagram of the inter-chassis link
that comes in. It is more urgent than the agent, so it has the instant first; what that costs is in the figure.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import struct
import sys
import time
from dataclasses import dataclass
from pathlib import Path

PORT = 7411
PRIORITY = 20
"""The agent has 10."""

_RTMGRP_LINK, _RTM_NEWLINK, _IFF_LOWER_UP = 1, 16, 0x10000
_ETH_P_IP = 0x0800
_IP_TO_SOURCE, _UDP = 12, 17


@dataclass(frozen=True, slots=True)
class Link:
    """The kernel told the state of an interface."""

    at: int
    """Nanoseconds of the monotonic clock; so everywhere here."""
    carrier: bool


@dataclass(frozen=True, slots=True)
class Heard:
    """A datagram of the peer came in."""

    at: int
    source: str
    size: int


def main(path: str) -> int:
    """Until it is killed."""
    with contextlib.suppress(OSError):  # not everywhere permitted; then the kernel's share is too great
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(PRIORITY))
    links = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.NETLINK_ROUTE)
    links.bind((0, _RTMGRP_LINK))
    packets = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK, socket.htons(_ETH_P_IP))
    poll = select.poll()
    poll.register(links, select.POLLIN)
    poll.register(packets, select.POLLIN)
    with Path(path).open("a", buffering=1) as log:
        while True:
            ready = poll.poll()
            now = time.monotonic_ns()
            for descriptor, _ in ready:
                for line in _links(links) if descriptor == links.fileno() else _datagrams(packets):
                    log.write(f"{now} {line}\n")


def _links(links: socket.socket) -> list[str]:
    found: list[str] = []
    with contextlib.suppress(BlockingIOError):
        while data := links.recv(1 << 16):
            _, kind = struct.unpack_from("=IH", data)
            if kind == _RTM_NEWLINK:  # nlmsghdr 16 bytes, then ifinfomsg: family, type, index, flags
                found.append(f"link {int(bool(struct.unpack_from('=I', data, 24)[0] & _IFF_LOWER_UP))}")
    return found


def _datagrams(packets: socket.socket) -> list[str]:
    found: list[str] = []
    with contextlib.suppress(BlockingIOError):
        while True:
            data, (_, _, kind, *_) = packets.recvfrom(2048)
            head = (data[0] & 0xF) * 4
            if kind == socket.PACKET_OUTGOING or data[9] != _UDP:
                continue
            if struct.unpack_from("!H", data, head + 2)[0] == PORT:
                source = socket.inet_ntoa(data[_IP_TO_SOURCE : _IP_TO_SOURCE + 4])
                found.append(f"heard {source} {len(data) - head - 8}")
    return found


def links(path: Path) -> list[Link]:
    """All that was told of interfaces."""
    return [Link(int(at), state == "1") for at, kind, state, *_ in _lines(path) if kind == "link"]


def datagrams(path: Path) -> list[Heard]:
    """All datagrams that came in."""
    return [Heard(int(words[0]), words[2], int(words[3])) for words in _lines(path) if words[1] == "heard"]


def news(found: list[Heard], since: int) -> Heard | None:
    """The first after an instant that says more, or less, than the one before it on the same path. A heartbeat repeats
    what was said; a promise to the peer, which decisions wait for, makes it longer."""
    size: dict[str, int] = {}
    for one in found:
        if one.at >= since and size.get(one.source, one.size) != one.size:
            return one
        size[one.source] = one.size
    return None


def _lines(path: Path) -> list[list[str]]:
    return [line.split() for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
