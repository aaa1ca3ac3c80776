"""Local sockets: where they may lie, who is at the other end, how lines are cut."""

from __future__ import annotations

import os
import socket
import stat
import struct
from dataclasses import dataclass
from pathlib import Path

_UCRED = struct.Struct("@iII")
_PATH_LIMIT = 107
"""Bytes of a unix socket's path (unix(7): sun_path, less the final NUL)."""


class SocketError(Exception):
    """A local socket cannot be opened; ``str()`` says what to do."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who connected, as the kernel saw it then (unix(7), SO_PEERCRED)."""

    pid: int
    uid: int
    gid: int


def credentials(connection: socket.socket) -> Credentials:
    """Who is at the other end."""
    return Credentials(*_UCRED.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)))


def listen(path: Path, backlog: int) -> socket.socket:
    """A listening, non-blocking socket with mode 0660 from its first instant; one left by a dead agent is replaced.

    The caller holds the lock of the directory, so nobody else listens there. Raises ``SocketError``.
    """
    if len(os.fsencode(path)) > _PATH_LIMIT:
        raise SocketError(f"{path}: longer than {_PATH_LIMIT} bytes; choose a shorter run directory")
    s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        remove(path)
        old = os.umask(0o117)
        try:
            s.bind(os.fspath(path))
        finally:
            os.umask(old)
        s.listen(backlog)
    except OSError as error:
        s.close()
        raise SocketError(f"{path}: cannot listen there: {error.strerror or error}") from None
    return s


def remove(path: Path) -> None:
    """Unlink a socket; anything else of that name is not ours and stays (then OSError)."""
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise FileExistsError(17, "something that is not a socket is in the way")
        path.unlink()
    except FileNotFoundError:
        pass


class Lines:
    """Bytes in, lines out; a line longer than ``limit`` bytes (with its newline) is an error for good."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._buffer = bytearray()
        self._looked = 0

    @property
    def partial(self) -> bool:
        """A line has begun and not ended."""
        return bool(self._buffer)

    @property
    def too_long(self) -> bool:
        """The line under way is already too long."""
        return len(self._buffer) >= self._limit

    def feed(self, data: bytes) -> list[bytes]:
        """Complete lines without their newlines. A complete one that is too long comes whole: the reader refuses it."""
        self._buffer += data
        end = self._buffer.rfind(b"\n", self._looked)
        if end < 0:
            self._looked = len(self._buffer)
            return []
        whole = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        self._looked = len(self._buffer)
        return whole.split(b"\n")
