"""ICL datagrams: one raw, non-blocking UDP socket per local address and port.

asyncio's datagram transport loses ancillary data, and the TTL is needed (RFC 5082): so ``recvmsg`` on our own socket.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

from l3ha.base.limits import MAX_DATAGRAM
from l3ha.base.settings import Path
from l3ha.core.events import Datagram
from l3ha.drivers.gtsm import ttl_of, udp
from l3ha.drivers.inbox import Inbox

RCVBUF = 64 << 10
"""Bytes (the kernel doubles them). About 150 datagrams: a flood cannot build a backlog of minutes."""

_ROOM = MAX_DATAGRAM + 1
"""One byte more than the largest real datagram, so that a longer one is seen to be too long."""


@dataclass(frozen=True, slots=True)
class _Key:
    local: str
    port: int
    interface: str | None


class _Port:
    """One socket, open or not, and the paths that share it."""

    def __init__(self, key: _Key) -> None:
        self.key = key
        self.ipv6 = ":" in key.local
        self.paths: dict[str, str] = {}
        """Path name by remote address."""
        self.socket: socket.socket | None = None
        self.index = 0
        """Of the interface that the socket was bound to; 0 where it was not."""
        self.fault: str | None = None

    @property
    def stale(self) -> bool:
        """The interface was deleted, so the socket is bound to nothing; one of the same name has another index."""
        return self.index != _index(self.key.interface)

    def open(self) -> socket.socket:
        """Raises OSError."""
        self.index = _index(self.key.interface)
        s = udp(self.key.local)
        try:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RCVBUF)
            if self.key.interface is not None:
                s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, self.key.interface.encode() + b"\0")
            s.bind(self.address(self.key.local, self.key.port))
        except OSError:
            s.close()
            raise
        return s

    def address(self, host: str, port: int) -> tuple[str, int] | tuple[str, int, int, int]:
        """Socket address; a link-local one needs the interface's index. Raises OSError where there is none."""
        if not self.ipv6:
            return host, port
        scoped = self.key.interface is not None and host.lower().startswith("fe80:")
        return host, port, 0, socket.if_nametoindex(self.key.interface) if scoped and self.key.interface else 0


def _index(interface: str | None) -> int:
    try:
        return socket.if_nametoindex(interface) if interface else 0
    except OSError:
        return -1


class UdpPorts:
    """All ICL sockets of this node.

    ``report(text, bad)`` tells an operator when a path starts (bad) or ceases to be unusable from our side.
    """

    def __init__(self, inbox: Inbox, report: Callable[[str, bool], None]) -> None:
        self._inbox = inbox
        self._report = report
        self._ports: dict[_Key, _Port] = {}
        self._by_path: dict[str, tuple[_Port, Path]] = {}
        self._failing: set[str] = set()
        self.send_errors: dict[str, int] = {}
        """By path name."""

    def set_paths(self, paths: Iterable[Path]) -> None:
        """Open what these paths need. To be called once; paths do not change while the process runs."""
        for path in paths:
            key = _Key(path.local, path.port, path.interface)
            port = self._ports.setdefault(key, _Port(key))
            port.paths[path.remote] = path.name
            self._by_path[path.name] = (port, path)
        self.retry()

    def retry(self) -> bool:
        """Open what is not open yet (address or interface not there, port taken). True when nothing is missing."""
        for port in self._ports.values():
            if port.socket is None:
                self._open(port)
        return all(port.socket is not None for port in self._ports.values())

    def send(self, path: str, destination: str, data: bytes) -> None:
        """Send or count: nothing is raised, because a path that cannot send is just a path that is down."""
        found = self._by_path.get(path)
        if found is None or found[0].socket is None:
            self.send_errors[path] = self.send_errors.get(path, 0) + 1
            return
        port, configured = found
        try:
            found[0].socket.sendto(data, port.address(destination, configured.port))
        except OSError as error:
            self._failed(path, port, error)
        else:
            if path in self._failing:
                self._failing.discard(path)
                self._report(f"can send on path {path} again", False)

    def close(self) -> None:
        """Close all sockets."""
        for port in self._ports.values():
            self._shut(port)

    def _open(self, port: _Port) -> None:
        where = f"{port.key.local} port {port.key.port}" + (f" on {port.key.interface}" if port.key.interface else "")
        try:
            opened = port.open()
        except OSError as error:
            text = error.strerror or str(error)
            if port.fault != text:
                port.fault = text
                self._report(f"cannot listen on {where} yet: {text}; trying again", True)
            return
        if port.fault is not None:
            self._report(f"listening on {where} now", False)
        port.fault, port.socket = None, opened
        self._inbox.add(opened.fileno(), partial(_receive, port), perishable=True)

    def _shut(self, port: _Port) -> None:
        if port.socket is not None:
            self._inbox.remove(port.socket.fileno())
            port.socket.close()
            port.socket = None

    def _failed(self, path: str, port: _Port, error: OSError) -> None:
        self.send_errors[path] = self.send_errors.get(path, 0) + 1
        if port.stale:
            self._shut(port)
        if path not in self._failing:
            self._failing.add(path)
            self._report(f"cannot send on path {path}: {error.strerror or error}", True)


def _receive(port: _Port) -> Datagram | None:
    """The next datagram; errors that ICMP brought back about earlier sends are skipped, they prove nothing."""
    for _ in range(8):
        if port.socket is None:
            return None
        try:
            data, ancillary, _, address = port.socket.recvmsg(_ROOM, 64)
        except BlockingIOError:
            return None
        except OSError:
            continue
        source = str(address[0]).partition("%")[0]
        path = port.paths.get(source) or next(iter(port.paths.values()))
        return Datagram(path, source, ttl_of(ancillary), data)
    return None
