"""Two UDP sockets on one address and port, between which a program of the kernel chooses by the packet.

``SO_ATTACH_REUSEPORT_CBPF`` (socket(7), Linux 4.5): the value that a classic BPF program returns is the number of the
socket in the order of binding. Its data begin behind the UDP header; the IP header is at ``SKF_NET_OFF``.
"""

from __future__ import annotations

import ctypes
import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass

_SO_ATTACH_REUSEPORT_CBPF = 51
"""asm-generic/socket.h."""

NETWORK = -0x100000
"""SKF_NET_OFF (linux/filter.h): offsets from here on count from the IP header."""

_LOAD_BYTE, _AND, _JUMP_IF_EQUAL, _RETURN = 0x30, 0x54, 0x15, 0x06
_INSTRUCTION = struct.Struct("=HBBI")
_PROGRAM = struct.Struct("@HP")


@dataclass(frozen=True, slots=True)
class ByteIs:
    """The byte at an offset, under a mask, has a value."""

    offset: int
    value: int
    mask: int = 0xFF


def choose(s: socket.socket, second: Sequence[ByteIs]) -> None:
    """What fulfils all of ``second`` goes to the second socket of the port of ``s``, everything else to the first.

    A packet too short to be looked at goes to the first, too. Raises OSError where the kernel cannot.
    """
    code: list[bytes] = []
    for left, test in zip(range(len(second), 0, -1), second, strict=True):
        code += [
            _INSTRUCTION.pack(_LOAD_BYTE, 0, 0, test.offset % 2**32),
            _INSTRUCTION.pack(_AND, 0, 0, test.mask),
            _INSTRUCTION.pack(_JUMP_IF_EQUAL, 0, 3 * (left - 1) + 1, test.value),
        ]
    code += [_INSTRUCTION.pack(_RETURN, 0, 0, 1), _INSTRUCTION.pack(_RETURN, 0, 0, 0)]
    instructions = ctypes.create_string_buffer(b"".join(code))
    s.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_REUSEPORT_CBPF, _PROGRAM.pack(len(code), ctypes.addressof(instructions)))
