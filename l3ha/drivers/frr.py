"""One question at a time to FRR's bfdd, over the VTY socket that ``vtysh`` uses: no process per question.

Nothing here waits: connecting to a unix socket succeeds or fails at once, a question is shorter than any buffer, and
the answer is read as it comes. The speaker runs this rather than the agent, because BFD is its subject: its report is
the one road on which states of sessions reach the engine, and what it has seen outlasts a restart of the agent.
"""

from __future__ import annotations

import errno
import socket

from l3ha.wire import frr
from l3ha.wire.frr import BadAnswer

SOCKET_NAME = "bfdd.vty"

CHUNK = 1 << 16
"""Bytes read at a time, so that a long answer holds up nobody."""

_HINTS = {
    errno.ENOENT: "is bfdd running? (/etc/frr/daemons)",
    errno.ECONNREFUSED: "bfdd is not running",
    errno.EACCES: "put the speaker's user into the group frrvty",
    errno.EAGAIN: "bfdd does not take connections",
}


class VtyError(Exception):
    """bfdd cannot be asked; ``str()`` says why."""


class Vty:
    """A connection to the bfdd of a directory. Raises ``VtyError`` where there is none."""

    def __init__(self, directory: str) -> None:
        path = f"{directory}/{SOCKET_NAME}"
        self._heard = bytearray()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        try:
            self._socket.connect(path)
        except OSError as error:
            self._socket.close()
            hint = _HINTS.get(error.errno or 0)
            why = error.strerror or str(error)
            raise VtyError(f"cannot connect to {path}: {why}" + (f"; {hint}" if hint else "")) from None

    def fileno(self) -> int:
        """What to poll for reading."""
        return self._socket.fileno()

    def ask(self, question: bytes) -> None:
        """Send one question; the answer before must have come. Raises ``VtyError``."""
        try:
            if self._socket.send(question) != len(question):
                raise BlockingIOError(errno.EAGAIN, "it does not read")
        except OSError as error:
            raise VtyError(f"cannot ask: {error.strerror or error}") from None

    def read(self) -> tuple[bytes, int] | None:
        """Take what has come: text and result of the answer once it is whole. Raises ``VtyError``."""
        try:
            chunk = self._socket.recv(CHUNK)
        except BlockingIOError:
            return None
        except OSError as error:
            raise VtyError(f"cannot hear: {error.strerror or error}") from None
        if not chunk:
            raise VtyError("bfdd has closed the connection")
        self._heard += chunk
        answer = frr.cut(bytes(self._heard))
        if isinstance(answer, BadAnswer):
            raise VtyError(f"bfdd's answer makes no sense: {answer}")
        if answer is not None:
            self._heard.clear()
        return answer

    def close(self) -> None:
        """Hang up."""
        self._socket.close()
