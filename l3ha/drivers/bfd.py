"""BFD's UDP sockets (RFC 5881, RFC 5883): one per session to send from, one per local address and port to receive on.

Standard library only, and no asyncio: the speaker runs this, and it must start fast.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from l3ha.core.bfd import SINGLE_HOP_TTL, BfdPeer
from l3ha.drivers.gtsm import ttl_of, udp

SINGLE_HOP_PORT = 3784
MULTIHOP_PORT = 4784
SOURCE_PORTS = range(49152, 65536)
"""§4: unique to the session on this system, and from this range."""

_ROOM = 128
"""Longer than any packet that we read."""


@dataclass(frozen=True, slots=True)
class BfdDatagram:
    """One payload: who sent it, and with which TTL it arrived (None: the kernel did not say)."""

    source: str
    data: bytes
    ttl: int | None


class BfdPorts:
    """The sockets of all sessions. ``errors`` counts what could not be sent, by address."""

    def __init__(self, peers: Iterable[BfdPeer]) -> None:
        """Raises OSError where an address or a port cannot be had."""
        self.errors: dict[str, int] = {}
        self._senders: dict[str, tuple[socket.socket, tuple[str, int]]] = {}
        self._receivers: dict[tuple[str, int], socket.socket] = {}
        try:
            for peer in peers:
                port = SINGLE_HOP_PORT if peer.min_ttl == SINGLE_HOP_TTL else MULTIHOP_PORT
                self._senders[peer.address] = (_sender(peer.local_address), (peer.address, port))
                if (peer.local_address, port) not in self._receivers:
                    self._receivers[peer.local_address, port] = _receiver(peer.local_address, port)
        except OSError:
            self.close()
            raise

    def filenos(self) -> list[int]:
        """What to poll for reading."""
        return [s.fileno() for s in self._receivers.values()]

    def read(self) -> Iterator[BfdDatagram]:
        """Everything that has arrived."""
        for receiver in self._receivers.values():
            while True:
                try:
                    data, ancillary, _, address = receiver.recvmsg(_ROOM, 64)
                except OSError:
                    break  # dry, or an ICMP error about something sent: it proves nothing
                yield BfdDatagram(str(address[0]).partition("%")[0], data, ttl_of(ancillary))

    def send(self, address: str, data: bytes) -> None:
        """Send, or count: a packet that cannot go is a lost one."""
        sender, destination = self._senders[address]
        try:
            sender.sendto(data, destination)
        except OSError:
            self.errors[address] = self.errors.get(address, 0) + 1

    def close(self) -> None:
        """Close all sockets."""
        for opened in [*(s for s, _ in self._senders.values()), *self._receivers.values()]:
            opened.close()


def _sender(local: str) -> socket.socket:
    """Bound to a free port of the range; which one is chance, so that a restart does not meet its predecessor's."""
    s = udp(local)
    first = int.from_bytes(os.urandom(2)) % len(SOURCE_PORTS)
    for port in (*SOURCE_PORTS[first:], *SOURCE_PORTS[:first]):
        try:
            s.bind((local, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                continue
            s.close()
            raise
        return s
    s.close()
    raise OSError(f"no free port to send BFD packets from {local}")


def _receiver(local: str, port: int) -> socket.socket:
    s = udp(local)
    try:
        s.bind((local, port))
    except OSError:
        s.close()
        raise
    return s
