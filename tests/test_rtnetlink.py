"""What the kernel says of interfaces: messages built by hand, and any bytes."""

from __future__ import annotations

import errno
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from l3ha.wire import rtnetlink
from l3ha.wire.rtnetlink import Done, Gone, Link, Torn


def message(kind: int, body: bytes, flags: int = 0) -> bytes:
    data = struct.pack("=IHHII", 16 + len(body), kind, flags, 1, 0) + body
    return data + bytes(-len(data) % 4)


def attribute(kind: int, value: bytes) -> bytes:
    data = struct.pack("=HH", 4 + len(value), kind) + value
    return data + bytes(-len(data) % 4)


def link(*attributes: bytes, kind: int = 16, family: int = 0, index: int = 7, flags: int = 0x11043) -> bytes:
    return message(kind, struct.pack("=BxHiII", family, 1, index, flags, 0) + b"".join(attributes))


NAME, UP = attribute(3, b"eth0\0"), attribute(16, b"\x06")


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (link(NAME, UP), [Link(7, "eth0", 0x11043, "UP")]),
        (link(UP, attribute(99, b"123"), NAME), [Link(7, "eth0", 0x11043, "UP")]),
        (link(NAME), [Link(7, "eth0", 0x11043, "UNKNOWN")]),
        (link(NAME, attribute(16, b"\x03")), [Link(7, "eth0", 0x11043, "LOWERLAYERDOWN")]),
        (link(NAME, attribute(16, b"\x63")), [Link(7, "eth0", 0x11043, "UNKNOWN")]),
        (link(NAME, attribute(16, b"")), [Link(7, "eth0", 0x11043, "UNKNOWN")]),
        (link(attribute(3 | 0x8000, b"eth0\0"), UP), [Link(7, "eth0", 0x11043, "UP")]),
        (link(UP), []),
        (link(NAME, UP, family=7), []),
        (link(NAME, kind=17), [Gone(7)]),
        (link(NAME, kind=17, family=7), []),
        (link(NAME, kind=20), []),
        (
            link(NAME, UP) + link(kind=17, index=9) + message(3, bytes(4)),
            [Link(7, "eth0", 0x11043, "UP"), Gone(9), Done()],
        ),
        (message(2, struct.pack("=i", -errno.EPERM)), [Done(errno.EPERM)]),
        (message(3, struct.pack("=i", -errno.EMSGSIZE)), [Done(errno.EMSGSIZE)]),
        (message(3, b""), [Done()]),
        (message(3, bytes(4), 0x12), [Torn(), Done()]),
        (message(99, b"", 0x12), [Torn()]),
        (link(NAME, UP)[:-1], []),
        (link(kind=17) + link(NAME, UP)[:20], [Gone(7)]),
        (link(NAME, struct.pack("=HH", 900, 16) + b"\x06"), [Link(7, "eth0", 0x11043, "UNKNOWN")]),
        (struct.pack("=IHHII", 0, 16, 0, 1, 0), []),
        (b"", []),
    ],
)
def test_messages_are_read(data: bytes, found: list[rtnetlink.Message]) -> None:
    assert rtnetlink.decode(data) == found


@given(st.binary(max_size=200) | st.binary(max_size=60).map(lambda tail: link(NAME)[:40] + tail))
def test_any_bytes_are_messages_or_none(data: bytes) -> None:
    assert all(isinstance(one, Link | Gone | Done | Torn) for one in rtnetlink.decode(data))


def test_the_question_is_the_documented_layout() -> None:
    head = struct.unpack_from("=IHHII", rtnetlink.LINK_DUMP)
    assert head == (32, 18, 0x301, 1, 0) and len(rtnetlink.LINK_DUMP) == 32
