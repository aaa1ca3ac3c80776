"""Non-blocking line streams over file descriptors: bounded buffers, whole lines only."""

from __future__ import annotations

import os

from l3ha.base.limits import MAX_LINE

MAX_PENDING = 16 << 20
"""Bytes that may wait for a slow reader."""

CHUNK = 1 << 16


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
        """All whole lines that lie ready. Raises ``Closed`` at the end, ``Overflow`` for a line beyond MAX_LINE."""
        try:
            data = os.read(self._fd, CHUNK)
        except BlockingIOError:
            return []
        except OSError as error:
            raise Closed from error
        if not data:
            raise Closed
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > MAX_LINE:
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
        """Write what waits, as far as it goes."""
        while self._pending:
            try:
                done = os.write(self._fd, self._pending[:CHUNK])
            except BlockingIOError:
                return
            except OSError as error:
                raise Closed from error
            del self._pending[:done]
