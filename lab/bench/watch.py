"""On a router: when a node's word came and when the kernel's routes changed.

``python -m lab.bench.watch FILE`` writes ``NS update INTERFACE`` for every frame with a BGP UPDATE that arrives, and
``NS route TEXT`` for every change that ``ip monitor`` tells; times of the monotonic clock.
"""

from __future__ import annotations

import os
import selectors
import socket
import subprocess
import sys
import time
from pathlib import Path

_EVERYTHING = 0x0003
"""ETH_P_ALL (linux/if_ether.h)."""
_BGP_PORT = 179
_MARKER = b"\xff" * 16
_TYPE_AT = 18
_UPDATE = 2
_ETHERNET = 14


def has_update(frame: bytes) -> bool:
    """Whether an Ethernet frame carries a BGP UPDATE over IPv4 (RFC 4271 section 4.1) at the start of a message."""
    if len(frame) <= _ETHERNET + 20 or frame[12:14] != b"\x08\x00" or frame[_ETHERNET + 9] != socket.IPPROTO_TCP:
        return False
    tcp = _ETHERNET + (frame[_ETHERNET] & 15) * 4
    ports = {int.from_bytes(frame[tcp : tcp + 2]), int.from_bytes(frame[tcp + 2 : tcp + 4])}
    at = frame.find(_MARKER, tcp)
    while _BGP_PORT in ports and at >= 0 and at + _TYPE_AT < len(frame):
        if frame[at + _TYPE_AT] == _UPDATE:
            return True
        at = frame.find(_MARKER, at + len(_MARKER))
    return False


def main(path: str) -> None:
    """Watch until the process is ended."""
    wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_EVERYTHING))
    monitor = subprocess.Popen(["ip", "monitor", "route"], stdout=subprocess.PIPE)
    assert monitor.stdout is not None
    ready = selectors.DefaultSelector()
    ready.register(wire, selectors.EVENT_READ)
    ready.register(monitor.stdout, selectors.EVENT_READ)
    with Path(path).open("ab", buffering=0) as log:
        while True:
            for key, _ in ready.select():
                now = time.monotonic_ns()
                if key.fileobj is wire:
                    frame, address = wire.recvfrom(65536)
                    if address[2] != socket.PACKET_OUTGOING and has_update(frame):
                        log.write(b"%d update %s\n" % (now, address[0].encode()))
                    continue
                data = os.read(monitor.stdout.fileno(), 65536)
                if not data:
                    return
                for line in data.splitlines():
                    log.write(b"%d route %s\n" % (now, line))


def first(path: Path, since: int, words: str) -> int | None:
    """When the first line that begins with these words came, from an instant on; None: none yet."""
    for line in path.read_text().splitlines():
        at, _, text = line.partition(" ")
        if int(at) >= since and text.startswith(words):
            return int(at)
    return None


if __name__ == "__main__":
    main(*sys.argv[1:])
