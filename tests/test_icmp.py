"""ICMP echo: round trips, the wire format by hand, and any bytes."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from l3ha.base.names import NodeId
from l3ha.wire import icmp

NONCE = bytes(range(16))
BODY = b"L3HA" + b"\x00\x02" + NONCE


def reply(body: bytes, kind: int = 0, code: int = 0, identifier: int = 7, sequence: int = 9) -> bytes:
    bare = struct.pack("!BBHHH", kind, code, 0, identifier, sequence) + body
    return bare[:2] + struct.pack("!H", icmp.checksum(bare)) + bare[4:]


def test_payload_is_the_documented_layout() -> None:
    assert icmp.payload(NodeId(2), NONCE) == BODY


def test_a_request_is_the_documented_layout() -> None:
    bare = struct.pack("!BBHHH", 8, 0, 0, 7, 9) + BODY
    asked = icmp.request(7, 9, BODY, ipv6=False)
    assert asked == bare[:2] + struct.pack("!H", icmp.checksum(bare)) + bare[4:]
    assert icmp.checksum(asked) == 0
    assert icmp.request(7, 9, BODY, ipv6=True) == struct.pack("!BBHHH", 128, 0, 0, 7, 9) + BODY


def test_checksum_of_the_rfc_1071_example() -> None:
    assert icmp.checksum(bytes.fromhex("0001f203f4f5f6f7")) == 0x220D  # RFC 1071 section 3: sum ddf2, complement 220d
    assert icmp.checksum(bytes(4)) == 0xFFFF, "a sum of zero is zero, not minus zero"


@given(
    node=st.integers(0, 0xFFFF),
    nonce=st.binary(min_size=16, max_size=16),
    identifier=st.integers(0, 0xFFFF),
    sequence=st.integers(0, 0xFFFF),
    ipv6=st.booleans(),
)
def test_what_was_asked_is_read_back(node: int, nonce: bytes, identifier: int, sequence: int, ipv6: bool) -> None:
    data = reply(icmp.payload(NodeId(node), nonce), 129 if ipv6 else 0, 0, identifier, sequence)
    assert icmp.decode(data, ipv6=ipv6) == icmp.EchoReply(identifier, sequence, NodeId(node), nonce)


@pytest.mark.parametrize(
    ("data", "ipv6", "reason"),
    [
        (b"", False, icmp.EchoDrop.SHORT),
        (reply(BODY)[:7], False, icmp.EchoDrop.SHORT),
        (reply(BODY, kind=8), False, icmp.EchoDrop.NOT_A_REPLY),  # our own request, looped back
        (reply(BODY, kind=3), False, icmp.EchoDrop.NOT_A_REPLY),
        (reply(BODY, code=1), False, icmp.EchoDrop.NOT_A_REPLY),
        (reply(BODY, kind=129), False, icmp.EchoDrop.NOT_A_REPLY),
        (reply(BODY), True, icmp.EchoDrop.NOT_A_REPLY),
        (reply(BODY)[:-1] + b"\xff", False, icmp.EchoDrop.CHECKSUM),
        (reply(BODY[:-1]), False, icmp.EchoDrop.FOREIGN_PAYLOAD),
        (reply(BODY + b"x"), False, icmp.EchoDrop.FOREIGN_PAYLOAD),
        (reply(b"l3ha" + BODY[4:]), False, icmp.EchoDrop.FOREIGN_PAYLOAD),
        (reply(b""), False, icmp.EchoDrop.FOREIGN_PAYLOAD),
    ],
)
def test_each_drop_has_its_reason(data: bytes, ipv6: bool, reason: icmp.EchoDrop) -> None:
    assert icmp.decode(data, ipv6=ipv6) is reason


@given(data=st.binary(max_size=80), ipv6=st.booleans())
def test_any_bytes_are_a_value_or_a_reason(data: bytes, ipv6: bool) -> None:
    assert isinstance(icmp.decode(data, ipv6=ipv6), icmp.EchoReply | icmp.EchoDrop)


@given(position=st.integers(0, 29), bit=st.integers(0, 7))
def test_no_flipped_bit_passes_as_the_same_ipv4_reply(position: int, bit: int) -> None:
    data = bytearray(reply(BODY))
    data[position] ^= 1 << bit
    assert isinstance(icmp.decode(bytes(data), ipv6=False), icmp.EchoDrop)
