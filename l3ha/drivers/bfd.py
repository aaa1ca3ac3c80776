"""BFD's UDP sockets (RFC 5881, RFC 5883): one per session to send from, a pair per local address and port to hear on.

To wake up is most of what a packet costs, and nearly every packet says UP as the one before it did. The kernel puts
those of neighbors on the link (TTL 255) into a socket of their own: nobody needs to poll it, because it is read before
a packet is sent and before silence is judged, and the kernel notes when each came. Whatever says anything else (another
state, a poll, a final) comes to the other socket, and is heard at once. Several hops away anybody could fill the quiet
one; there, and on a kernel that cannot choose, one socket takes everything.

Standard library only, and no asyncio: the speaker runs this, and it must start fast. An address, interface or port that
cannot be had yet is a fault of that session, shown and tried again; it never ends the process.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from l3ha.base.limits import DATAGRAMS_PER_TURN
from l3ha.base.time import Duration
from l3ha.core.bfd import SINGLE_HOP_TTL, BfdPeer
from l3ha.drivers import reuseport
from l3ha.drivers.arrival import ANCILLARY, age_of, note_arrival
from l3ha.drivers.gtsm import ttl_of, udp
from l3ha.drivers.reuseport import ByteIs
from l3ha.wire.bfd import State

SINGLE_HOP_PORT = 3784
MULTIHOP_PORT = 4784
SOURCE_PORTS = range(49152, 65536)
"""§4: unique to the session on this system, and from this range."""

RCVBUF = 64 << 10
"""Bytes of a receiver (the kernel doubles them). Some 150 packets: a flood cannot build a backlog of minutes."""

_ROOM = 128
"""Longer than any packet that we read."""

_STATE_POLL_FINAL = 0xF0
"""Of a packet's second byte (RFC 5880 §4.1)."""


@dataclass(frozen=True, slots=True)
class BfdDatagram:
    """One payload: who sent it, and with which TTL it arrived (None: the kernel did not say)."""

    source: str
    data: bytes
    ttl: int | None
    age: Duration = field(default=0, compare=False)
    """How long it has lain in the socket (``arrival``)."""


@dataclass(frozen=True, slots=True)
class _Key:
    """What a receiver is bound to."""

    local: str
    port: int
    interface: str | None


class _Socket:
    """An open socket, and the index of the interface that it was bound to (0 where to none)."""

    def __init__(self, key: _Key, port: int, rcvbuf: int, *, beside: bool = False) -> None:
        """``beside``: on a port that is ours already. Raises OSError."""
        self.key = key
        self.port = port
        self.index = _index(key.interface)
        self.socket = udp(key.local)
        try:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
            if key.interface is not None:
                self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, key.interface.encode() + b"\0")
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, beside)
            note_arrival(self.socket)
            self.socket.bind((key.local, port))
        except OSError:
            self.socket.close()
            raise

    @property
    def stale(self) -> bool:
        """The interface was deleted; one of the same name has another index."""
        return self.index != _index(self.key.interface)


class _Receiver:
    """The socket of a key, and a second one for what needs no haste, where there can be one."""

    def __init__(self, key: _Key) -> None:
        """Raises OSError."""
        self.prompt = _Socket(key, key.port, RCVBUF)  # not shared, so that a port in use is noticed
        self.quiet: _Socket | None = None
        self.sockets = [self.prompt.socket]
        """What was said before comes first: whoever says something new has said the usual until then."""
        if key.port == SINGLE_HOP_PORT:
            with contextlib.suppress(OSError):
                self._split(key)

    def _split(self, key: _Key) -> None:
        usual = (
            ByteIs(reuseport.NETWORK + (7 if ":" in key.local else 8), SINGLE_HOP_TTL),
            ByteIs(1, State.UP << 6, _STATE_POLL_FINAL),
        )
        self.prompt.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        second = _Socket(key, key.port, RCVBUF, beside=True)
        try:
            reuseport.choose(second.socket, usual)
        except OSError:
            second.socket.close()
            raise
        self.quiet = second
        self.sockets.insert(0, second.socket)

    @property
    def stale(self) -> bool:
        """See ``_Socket``."""
        return self.prompt.stale

    def close(self) -> None:
        """Both."""
        for s in self.sockets:
            s.close()


class BfdPorts:
    """The sockets of all sessions.

    ``errors`` counts what could not be sent, by address; ``faults`` says why a session cannot send or hear at present.
    """

    def __init__(self, peers: Iterable[BfdPeer] = ()) -> None:
        self.errors: dict[str, int] = {}
        self.faults: dict[str, str] = {}
        self._peers: dict[str, BfdPeer] = {}
        self._senders: dict[str, _Socket] = {}
        self._receivers: dict[_Key, _Receiver] = {}
        self._by_fileno: dict[int, socket.socket] = {}
        self.use(peers)

    def use(self, peers: Iterable[BfdPeer]) -> None:
        """From now on exactly these sessions; what can stay open stays open."""
        self._peers = {peer.address: peer for peer in peers}
        keys = {address: _key(peer) for address, peer in self._peers.items()}
        for address, sender in list(self._senders.items()):
            if keys.get(address) != sender.key:
                self._senders.pop(address).socket.close()
        for key in self._receivers.keys() - set(keys.values()):
            self._receivers.pop(key).close()
        self.faults = {}
        self.retry()

    def retry(self) -> None:
        """Open what is not open, again what lost its interface. To be called now and then while there are faults."""
        for address, sender in list(self._senders.items()):
            if sender.stale:
                self._senders.pop(address).socket.close()
        for key, receiver in list(self._receivers.items()):
            if receiver.stale:
                self._receivers.pop(key).close()
        for address, peer in self._peers.items():
            key = _key(peer)
            try:
                if key not in self._receivers:
                    self._receivers[key] = _Receiver(key)
                if address not in self._senders:
                    self._senders[address] = _sender(key, {s.port for s in self._senders.values()})
                    self.faults.pop(address, None)
            except OSError as error:
                self.faults[address] = f"cannot use {key.local} port {key.port}: {error.strerror or error}"
        self._by_fileno = {s.fileno(): s for r in self._receivers.values() for s in r.sockets}

    def filenos(self, *, quiet: bool = True) -> list[int]:
        """What to poll for reading; with or without the sockets for what is usual."""
        hushed = set() if quiet else {r.quiet.socket.fileno() for r in self._receivers.values() if r.quiet is not None}
        return [fileno for fileno in self._by_fileno if fileno not in hushed]

    def read(self, *, prompt: bool = True) -> Iterator[BfdDatagram]:
        """What has arrived, of a flood a part; or only what is usual."""
        for receiver in list(self._receivers.values()):
            for s in receiver.sockets:
                if s is receiver.prompt.socket and not prompt:
                    continue
                for _ in range(DATAGRAMS_PER_TURN):
                    datagram = _read(s)
                    if datagram is None:
                        break
                    yield datagram

    def read_one(self, fileno: int) -> BfdDatagram | None:
        """The next packet of one socket; None where it is dry, or none of ours."""
        receiver = self._by_fileno.get(fileno)
        return None if receiver is None else _read(receiver)

    def send(self, address: str, data: bytes) -> None:
        """Send, or count: a packet that cannot go is a lost one."""
        sender = self._senders.get(address)
        try:
            if sender is None:
                raise OSError(errno.ENOTCONN, self.faults.get(address, "no socket"))
            sender.socket.sendto(data, (address, sender.key.port))
        except OSError as error:
            self.errors[address] = self.errors.get(address, 0) + 1
            self.faults.setdefault(address, f"cannot send: {error.strerror or error}")
        else:
            if address in self.faults and sender.key in self._receivers:
                del self.faults[address]

    def close(self) -> None:
        """Close all sockets."""
        self.use(())


def _read(s: socket.socket) -> BfdDatagram | None:
    try:
        data, ancillary, _, address = s.recvmsg(_ROOM, ANCILLARY)
    except OSError:
        return None  # dry, or an ICMP error about something sent: it proves nothing
    return BfdDatagram(address[0], data, ttl_of(ancillary), age_of(ancillary))


def _key(peer: BfdPeer) -> _Key:
    return _Key(peer.local_address, MULTIHOP_PORT if peer.multihop else SINGLE_HOP_PORT, peer.interface)


def _index(interface: str | None) -> int:
    try:
        return socket.if_nametoindex(interface) if interface else 0
    except OSError:
        return -1


def _sender(key: _Key, taken: set[int]) -> _Socket:
    """Bound to a free port of the range; which one is chance, so that a restart does not meet its predecessor's."""
    first = int.from_bytes(os.urandom(2)) % len(SOURCE_PORTS)
    for port in (*SOURCE_PORTS[first:], *SOURCE_PORTS[:first]):
        if port in taken:
            continue
        try:
            return _Socket(key, port, 0)  # nobody has anything to say to it
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
    raise OSError(errno.EADDRINUSE, "no free port to send from")
