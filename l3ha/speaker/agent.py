"""The speaker's end of the agent's socket. The agent listens and may come and go; nothing here ever waits for it."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Callable
from pathlib import Path

from l3ha.base.time import MS, SECOND, Duration, Instant
from l3ha.speaker.lines import Closed, LineReader, Overflow, Writer

SOCKET_NAME = "speaker.sock"

EAGER: Duration = 10 * SECOND
"""How long an absent agent is tried every ``RETRY_EAGER``: as long as a restart may take. Then every ``RETRY``."""

RETRY_EAGER: Duration = 20 * MS
RETRY: Duration = 100 * MS
SHORT: Duration = 1 * SECOND
"""An agent that hangs up sooner has refused us: another speaker took our place, or we run as the wrong user."""

RETRY_REFUSED: Duration = 500 * MS
RETRY_STRANGER: Duration = 1 * SECOND
"""Pause after somebody else than the agent was found behind the socket."""

_UCRED = struct.Struct("@iII")


class AgentLink:
    """A connection to the agent, or none."""

    def __init__(self, run_dir: Path, log: Callable[[str], None], now: Instant) -> None:
        self._run_dir = run_dir
        self._log = log
        self._absent_since = self._connected_at = now
        self.next_try: Instant | None = now
        """When ``connect`` is wanted; None while connected."""
        self._socket: socket.socket | None = None
        self._reader: LineReader | None = None
        self._writer: Writer | None = None

    @property
    def descriptor(self) -> int | None:
        """What to poll; None while there is no connection."""
        return None if self._socket is None else self._socket.fileno()

    @property
    def pending(self) -> bool:
        """Whether something waits for the agent to read."""
        return self._writer is not None and self._writer.pending

    def connect(self, now: Instant) -> bool:
        """Try once, without waiting. True: connected."""
        self.next_try = now + (RETRY_EAGER if now - self._absent_since < EAGER else RETRY)
        s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        try:
            s.connect(os.fspath(self._run_dir / SOCKET_NAME))
            trusted = self._trusted(s)
        except OSError:
            s.close()
            return False
        if not trusted:
            s.close()
            self.next_try = now + RETRY_STRANGER
            return False
        self._socket, self._reader, self._writer = s, LineReader(s.fileno()), Writer(s.fileno())
        self.next_try = None
        self._connected_at = now
        return True

    def read(self) -> list[bytes]:
        """Whole lines that lie ready. Raises ``Closed`` when the agent is gone, or talks nonsense."""
        assert self._reader is not None
        try:
            return self._reader.read()
        except Overflow as error:
            self._log("the agent sends a line without end; it is disconnected")
            raise Closed from error

    def write(self, data: bytes) -> None:
        """Write what fits, keep the rest; dropped without a connection. Raises ``Closed``."""
        if self._writer is None:
            return
        try:
            self._writer.write(data)
        except Overflow as error:
            self._log("the agent does not read; it is disconnected")
            raise Closed from error

    def flush(self) -> None:
        """Write what waits. Raises ``Closed``."""
        if self._writer is not None:
            self._writer.flush()

    def close(self, now: Instant) -> None:
        """Hang up; ``connect`` is wanted at once, but not so soon with an agent that has just hung up on us."""
        if self._socket is not None:
            self._socket.close()
        self._socket = self._reader = self._writer = None
        self._absent_since = now
        self.next_try = now if now - self._connected_at >= SHORT else now + RETRY_REFUSED

    def _trusted(self, s: socket.socket) -> bool:
        """Whoever made the socket (unix(7), SO_PEERCRED) must be root, ourselves, or the owner of the directory."""
        _, uid, _ = _UCRED.unpack(s.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
        if uid in (0, os.geteuid(), self._run_dir.stat().st_uid):
            return True
        self._log(f"uid {uid} listens as the agent, but is neither root nor the owner of {self._run_dir}: ignored")
        return False
