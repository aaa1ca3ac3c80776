"""The agent's end of the speaker's connection: lines both ways over ``<run_dir>/speaker.sock``.

One speaker at a time. A newer connection replaces the older one, because ExaBGP starts a new helper before it has
buried the old. Nothing here waits: what the speaker does not take fills a bounded buffer, and then it is disconnected;
the next wish to the next connection makes everything right.
"""

from __future__ import annotations

import asyncio
import os
import pwd
import socket
from collections import deque
from collections.abc import Callable
from pathlib import Path

from l3ha.base.limits import MAX_LINE
from l3ha.core.events import Event, SpeakerDown, SpeakerLine, SpeakerUp
from l3ha.drivers import unix
from l3ha.drivers.inbox import Inbox

SOCKET_NAME = "speaker.sock"

EXABGP_USER = "exabgp"
"""Besides root and the agent's own user, this one may be the speaker (the user that ExaBGP's packages create)."""

MAX_BUFFER = 4 * MAX_LINE
"""Bytes that wait for the speaker to read them."""

_CHUNK = 1 << 16


class SpeakerSocket:
    """See the module. Raises ``SocketError`` if it cannot listen."""

    def __init__(
        self, run_dir: Path, inbox: Inbox, loop: asyncio.AbstractEventLoop, report: Callable[[str], None]
    ) -> None:
        self._path = run_dir / SOCKET_NAME
        self._inbox = inbox
        self._loop = loop
        self._report = report
        self._allowed = allowed_users()
        self._refused: set[int] = set()
        """Users that were told to be refused since a speaker was last admitted."""
        self._events: deque[Event] = deque()
        self._connection: socket.socket | None = None
        self._lines = unix.Lines(MAX_LINE)
        self._outgoing = bytearray()
        self._waits = False
        """For the connection to become writable."""
        self._listener = unix.listen(self._path, backlog=4)
        inbox.add(self._listener.fileno(), self._accept, perishable=False)

    def send(self, data: bytes) -> Event | None:
        """Queue one line. ``SpeakerDown`` if the connection could not take it; without a connection it is dropped."""
        if self._connection is None:
            return None
        if len(self._outgoing) + len(data) > MAX_BUFFER:
            self._report("the speaker does not read; it is disconnected")
            self._drop()
            return SpeakerDown()
        self._outgoing += data
        return self._flush()

    def close(self) -> None:
        """Hang up, and remove the socket."""
        self._drop()
        self._inbox.remove(self._listener.fileno())
        self._listener.close()
        unix.remove(self._path)

    # --- reading ---------------------------------------------------------------------------------------------------

    def _accept(self) -> Event | None:
        """One event of: a speaker left, a speaker came."""
        if self._events:
            return self._events.popleft()
        try:
            connection, _ = self._listener.accept()
        except OSError:
            return None
        who = unix.credentials(connection)
        if who.uid not in self._allowed:
            connection.close()
            if who.uid not in self._refused:  # it tries again for ever
                self._refused.add(who.uid)
                text = f"uid {who.uid} (pid {who.pid}) may not be the speaker; run ExaBGP as root or {EXABGP_USER}"
                self._report(text)
            return None
        self._refused.clear()
        replaced = self._connection is not None
        self._drop()
        connection.setblocking(False)
        self._connection = connection
        self._lines = unix.Lines(MAX_LINE)
        self._inbox.add(connection.fileno(), self._read, perishable=False)
        if replaced:
            self._events.append(SpeakerUp())
            return SpeakerDown()
        return SpeakerUp()

    def _read(self) -> Event | None:
        while not self._events:
            if self._connection is None:
                return None
            try:
                data = self._connection.recv(_CHUNK)
            except (BlockingIOError, InterruptedError):
                return None
            except OSError:
                data = b""
            if not data:
                self._drop()
                return SpeakerDown()
            self._events += [SpeakerLine(line) for line in self._lines.feed(data)]
            if self._lines.too_long:
                self._report(f"the speaker sent a line of more than {MAX_LINE} bytes; it is disconnected")
                self._drop()
                return SpeakerDown()
        return self._events.popleft()

    # --- writing ---------------------------------------------------------------------------------------------------

    def _flush(self) -> Event | None:
        if self._connection is None:
            return None
        try:
            while self._outgoing:
                sent = self._connection.send(self._outgoing)
                del self._outgoing[:sent]
        except (BlockingIOError, InterruptedError):
            self._wait(self._connection)
            return None
        except OSError:
            self._drop()
            return SpeakerDown()
        self._wait_no_more(self._connection)
        return None

    def _continue(self) -> None:
        """The speaker reads again; a connection that broke meanwhile is found by the reader, so it is left open."""
        if self._connection is None:
            return
        try:
            sent = self._connection.send(self._outgoing)
            del self._outgoing[:sent]
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self._outgoing.clear()
        if not self._outgoing:
            self._wait_no_more(self._connection)

    def _wait(self, connection: socket.socket) -> None:
        if not self._waits:
            self._waits = True
            self._loop.add_writer(connection.fileno(), self._continue)

    def _wait_no_more(self, connection: socket.socket) -> None:
        if self._waits:
            self._waits = False
            self._loop.remove_writer(connection.fileno())

    def _drop(self) -> None:
        self._outgoing.clear()
        self._events.clear()
        if self._connection is not None:
            self._wait_no_more(self._connection)
            self._inbox.remove(self._connection.fileno())
            self._connection.close()
            self._connection = None


def allowed_users() -> frozenset[int]:
    """Who may be the speaker. The group of the socket is not enough: it also holds people who may only look."""
    try:
        exabgp = {pwd.getpwnam(EXABGP_USER).pw_uid}
    except KeyError:
        exabgp = set()
    return frozenset({0, os.geteuid()} | exabgp)
