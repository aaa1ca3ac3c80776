"""The control socket ``<run_dir>/agent.sock``: clients, their limits, their credentials; their questions go elsewhere.

The socket's mode (0660) admits whoever may read; a call that changes something needs root or the agent's own user.
Every client is bounded: 16 of them, 64 KiB a line, one request at a time, and 5 s to say a whole line or to take the
answer to the last one.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections import deque
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeAlias

from l3ha.base.time import SECOND, Duration
from l3ha.control.protocol import (
    MAX_REQUEST,
    SOCKET_NAME,
    ErrorCode,
    ProtocolError,
    Request,
    changes,
    decode_request,
    encode_error,
)
from l3ha.drivers import unix

MAX_CLIENTS = 16
IDLE: Duration = 5 * SECOND
_PIPELINE = 16
"""Whole requests that may wait behind the one being answered."""

Reply: TypeAlias = Callable[[bytes], None]
"""Takes the complete answer line, once; too late is harmless."""
Handler: TypeAlias = Callable[[Request, Reply], None]


class ControlSocket:
    """See the module."""

    def __init__(self, run_dir: Path, handler: Handler, idle: Duration = IDLE) -> None:
        self.handler = handler
        self.idle = idle
        self.clients: set[_Client] = set()
        self._path = run_dir / SOCKET_NAME
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        """Listen. Raises ``SocketError``."""
        listener = unix.listen(self._path, backlog=MAX_CLIENTS)
        self._server = await asyncio.get_running_loop().create_unix_server(lambda: _Client(self), sock=listener)

    def close(self) -> None:
        """Hang up on everybody, and remove the socket. Answers already given are still delivered by the kernel."""
        if self._server is not None:
            self._server.close()
            unix.remove(self._path)
        for client in tuple(self.clients):
            client.hang_up()


class _Client(asyncio.Protocol):
    """One connection: lines -> requests, one at a time -> answer lines."""

    def __init__(self, owner: ControlSocket) -> None:
        self._owner = owner
        self._transport: asyncio.Transport | None = None
        self._lines = unix.Lines(MAX_REQUEST)
        self._waiting: deque[bytes] = deque()
        self._asked = 0
        self._pending: int | None = None
        """Number of the request that is being answered."""
        self._may_change = False
        self._timer: asyncio.TimerHandle | None = None
        self._stuck = False

    # --- asyncio.Protocol -------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Admit, or refuse politely."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        if len(self._owner.clients) >= MAX_CLIENTS:
            self._refuse(ErrorCode.BUSY, f"{MAX_CLIENTS} callers are connected already; try again")
            return
        self._owner.clients.add(self)
        connection: socket.socket = transport.get_extra_info("socket")
        self._may_change = unix.credentials(connection).uid in {0, os.geteuid()}
        self._await_progress()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Forget the client."""
        self._owner.clients.discard(self)
        self._pending = None
        self._waiting.clear()
        if self._timer is not None:
            self._timer.cancel()

    def data_received(self, data: bytes) -> None:
        """Cut lines, and answer them one after the other."""
        if self._transport is None or self._transport.is_closing():
            return
        lines = self._lines.feed(data)
        self._waiting += lines
        if self._lines.too_long:
            self._refuse(ErrorCode.TOO_LARGE, f"a request has at most {MAX_REQUEST} bytes")
        elif len(self._waiting) > _PIPELINE:
            self._refuse(ErrorCode.BUSY, f"at most {_PIPELINE} requests may wait")
        else:
            if lines:
                self._await_progress()
            self._next()

    def pause_writing(self) -> None:
        """The client does not take its answer: nothing more for it until it does."""
        self._stuck = True
        self._await_progress()

    def resume_writing(self) -> None:
        """It does."""
        self._stuck = False
        self._await_progress()
        self._next()

    # --- parts ------------------------------------------------------------------------------------------------------

    def hang_up(self) -> None:
        """Close; what was answered is still sent."""
        if self._transport is not None:
            self._transport.close()

    def _next(self) -> None:
        while self._waiting and self._pending is None and not self._stuck:
            self._asked += 1
            self._pending = number = self._asked
            try:
                request = decode_request(self._waiting.popleft())
                if changes(request.call) and not self._may_change:
                    raise ProtocolError(
                        ErrorCode.DENIED, "only root or the agent's user may change something", request.id
                    )
            except ProtocolError as error:
                self._answer(number, encode_error(error))
            else:
                self._owner.handler(request, partial(self._answer, number))

    def _answer(self, number: int, line: bytes) -> None:
        if self._pending != number or self._transport is None:
            return
        self._pending = None
        self._await_progress()
        if not self._transport.is_closing():
            self._transport.write(line)
            asyncio.get_running_loop().call_soon(self._next)

    def _refuse(self, code: ErrorCode, message: str) -> None:
        self._waiting.clear()
        if self._transport is not None:
            self._transport.write(encode_error(ProtocolError(code, message)))
            self._transport.close()

    def _await_progress(self) -> None:
        """Start the client's time anew; it runs whenever we wait for the client and not the client for us."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(self._owner.idle / SECOND, self._out_of_time)

    def _out_of_time(self) -> None:
        if self._pending is not None:
            self._await_progress()
        elif self._transport is not None:
            self._transport.abort()
