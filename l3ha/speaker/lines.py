"""Non-blocking line streams over file descriptors: bounded buffers, whole lines only."""

from __future__ import annotations

import os

from l3ha.base.limits import MAX_LINE

MAX_PENDING = 4 * MAX_LINE
"""Bytes that may wait for a slow reader."""

CHUNK = 1 << 16

CHUNKS_PER_TURN = 256
"""Chunks read before other descriptors and timers are looked at: more than a pipe and a socket can hold."""


class Closed(Exception):
    """The other end is gone."""


class Overflow(Exception):
    """The other end does not read, or sends a line without end."""


class LineReader:
    """Bytes from a descriptor, cut into lines."""

    def __init__(self, descriptor: int) -> None:
        self._fd = descriptor
        self._rest = b""
        os.set_blocking(descriptor, False)

    def read(self) -> list[bytes]:
        """All whole lines that lie ready, without newlines.

        Raises ``Closed`` at the end of the stream, once the lines before it have been returned, and ``Overflow`` for a
        line beyond MAX_LINE, which is forgotten.
        """
        lines: list[bytes] = []
        for _ in range(CHUNKS_PER_TURN):
            try:
                data = os.read(self._fd, CHUNK)
            except BlockingIOError:
                break
            except OSError:
                data = b""
            if not data:
                if lines:
                    break  # the end is found again next time
                raise Closed
            *whole, self._rest = (self._rest + data).split(b"\n")
            lines += whole
            if len(self._rest) > MAX_LINE:
                self._rest = b""
                raise Overflow
        return lines


class Writer:
    """Bytes to a descriptor, never waiting."""

    def __init__(self, descriptor: int) -> None:
        self._fd = descriptor
        self._pending = bytearray()
        os.set_blocking(descriptor, False)

    @property
    def pending(self) -> bool:
        """Whether something waits for the descriptor to become writable."""
        return bool(self._pending)

    def write(self, data: bytes) -> None:
        """Write now what fits, keep the rest. Raises ``Closed``, or ``Overflow`` beyond MAX_PENDING."""
        self._pending += data
        self.flush()
        if len(self._pending) > MAX_PENDING:
            raise Overflow

    def flush(self) -> None:
        """Write what waits, line by line: a pipe takes a short line whole or not at all. Raises ``Closed``."""
        while self._pending:
            end = self._pending.find(b"\n") + 1 or len(self._pending)
            try:
                done = os.write(self._fd, self._pending[:end])
            except BlockingIOError:
                return
            except OSError as error:
                raise Closed from error
            del self._pending[:done]
