"""When a packet arrived: the kernel notes it, so that it may be read later."""

from __future__ import annotations

import socket
import struct
import time

from l3ha.base.time import SECOND, Duration

ANCILLARY = 128
"""Bytes of ancillary data for ``recvmsg``: this and the TTL."""

_SO_TIMESTAMPNS = 35
"""asm-generic/socket.h; the socket module of Python 3.11 lacks it."""

_TIMESPEC = struct.Struct("@ll")


def note_arrival(s: socket.socket) -> None:
    """From now on ``age_of`` has something to go by. Raises OSError."""
    s.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)


def age_of(ancillary: list[tuple[int, int, bytes]]) -> Duration:
    """How long a packet has lain in the socket; 0 where the kernel did not note it.

    By CLOCK_REALTIME: meaningless if that was set meanwhile, never negative.
    """
    for level, kind, value in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, _SO_TIMESTAMPNS) and len(value) >= _TIMESPEC.size:
            seconds, rest = _TIMESPEC.unpack_from(value)
            age: Duration = time.clock_gettime_ns(time.CLOCK_REALTIME) - seconds * SECOND - rest
            return max(0, age)
    return 0
