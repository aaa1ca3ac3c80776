"""The BFD control packet: RFC 5880 §4, and what of §6.8.6 needs no session."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha1

import pytest
from hypothesis import given
from hypothesis import strategies as st

from l3ha.base.time import MS, US
from l3ha.wire.bfd import (
    KEYED_SHA1,
    LENGTH,
    METICULOUS_SHA1,
    BfdDrop,
    ControlPacket,
    Diagnostic,
    Signature,
    State,
    decode,
    encode,
    genuine,
)

UP = ControlPacket(State.UP, Diagnostic.NONE, False, False, True, False, 3, 0x01020304, 0x0A0B0C0D, 50 * MS, 60 * MS, 0)
BYTES = bytes.fromhex("20c80318 01020304 0a0b0c0d 0000c350 0000ea60 00000000")
KEY = b"secret"


def test_the_packet_of_section_4_1() -> None:
    assert encode(UP) == BYTES
    assert decode(BYTES) == UP
    assert decode(BYTES + b"behind the length") == UP, "the length says where the packet ends"


@pytest.mark.parametrize(
    ("at", "value", "drop"),
    [
        (0, 0x00, BfdDrop.VERSION),  # "If the version number is not correct (1), the packet MUST be discarded"
        (0, 0x40, BfdDrop.VERSION),
        (3, 23, BfdDrop.LENGTH),  # "… less than the minimum correct value (24 if the A bit is clear"
        (3, 25, BfdDrop.LENGTH),  # "… greater than the payload of the encapsulating protocol"
        (2, 0, BfdDrop.MULTIPLIER),
        (1, 0xC9, BfdDrop.MULTIPOINT),
        (1, 0xF8, BfdDrop.POLL_AND_FINAL),  # §6.5: "MUST NOT be set"
    ],
)
def test_what_section_6_8_6_refuses(at: int, value: int, drop: BfdDrop) -> None:
    assert decode(BYTES[:at] + bytes((value,)) + BYTES[at + 1 :]) is drop


def test_discriminators_of_section_6_8_6() -> None:
    assert decode(BYTES[:4] + bytes(4) + BYTES[8:]) is BfdDrop.DISCRIMINATOR
    for state in State:
        nobody = BYTES[:1] + bytes((state << 6,)) + BYTES[2:8] + bytes(4) + BYTES[12:]
        expected = state in (State.DOWN, State.ADMIN_DOWN)
        assert isinstance(decode(nobody), ControlPacket) is expected, state
        assert expected or decode(nobody) is BfdDrop.STATE


def test_the_numbers_of_section_4_1() -> None:
    assert [(state.name, state.value) for state in State] == [("ADMIN_DOWN", 0), ("DOWN", 1), ("INIT", 2), ("UP", 3)]
    assert [(why.value, why.name) for why in Diagnostic] == [
        (0, "NONE"),  # "No Diagnostic", and from here on the words of the RFC
        (1, "DETECTION_TIME_EXPIRED"),
        (2, "ECHO_FAILED"),
        (3, "NEIGHBOR_SIGNALED_DOWN"),
        (4, "FORWARDING_PLANE_RESET"),
        (5, "PATH_DOWN"),
        (6, "CONCATENATED_PATH_DOWN"),
        (7, "ADMINISTRATIVELY_DOWN"),
        (8, "REVERSE_CONCATENATED_PATH_DOWN"),
    ]


@pytest.mark.parametrize(
    ("flag", "field"),
    [(0x20, "poll"), (0x10, "final"), (0x08, "independent"), (0x04, "authenticated"), (0x02, "demand")],
)
def test_each_flag_has_its_bit(flag: int, field: str) -> None:
    packet = decode(BYTES[:1] + bytes((0xC0 | flag, 3, 26)) + BYTES[4:] + bytes(2))
    flagged = replace(UP, **({"independent": False} | {field: True}))
    assert packet == flagged
    assert field == "authenticated" or encode(flagged)[1] == 0xC0 | flag


def test_an_authenticated_packet_has_room_for_it() -> None:
    """§6.8.6: 26 if the A bit is set."""
    assert decode(BYTES[:1] + b"\xcc\x03\x19" + BYTES[4:] + b"\x01") is BfdDrop.LENGTH
    assert decode(BYTES[:1] + b"\xcc" + BYTES[2:]) is BfdDrop.LENGTH
    foreign = decode(BYTES[:1] + b"\xcc\x03\x1a" + BYTES[4:] + b"\x01\x02")
    assert isinstance(foreign, ControlPacket) and foreign.authenticated and foreign.signature is None


@pytest.mark.parametrize("kind", [KEYED_SHA1, METICULOUS_SHA1])
def test_keyed_sha1_of_section_6_7_4(kind: int) -> None:
    signed = encode(replace(UP, signature=Signature(kind, 7, 0x11223344, b"")), KEY)
    assert len(signed) == 52 and signed[3] == 52
    packet = decode(signed)
    assert isinstance(packet, ControlPacket) and packet.signature is not None
    assert (packet.signature.kind, packet.signature.key_id, packet.signature.sequence) == (kind, 7, 0x11223344)
    assert genuine(signed, packet.signature, KEY)
    assert not genuine(signed, packet.signature, b"another")
    for place in range(LENGTH):
        changed = bytearray(signed)
        changed[place] ^= 1
        assert not genuine(bytes(changed), packet.signature, KEY), place


@pytest.mark.parametrize(("kind", "number"), [(KEYED_SHA1, 4), (METICULOUS_SHA1, 5)])
def test_the_signed_packet_of_section_4_4(kind: int, number: int) -> None:
    """The digest is taken over all that stands here, with the key in its place."""
    head = BYTES[:1] + b"\xcc\x03\x34" + BYTES[4:] + bytes((number, 28, 7, 0, 0x11, 0x22, 0x33, 0x44))
    digest = sha1(head + b"secret" + bytes(14), usedforsecurity=False).digest()
    assert encode(replace(UP, signature=Signature(kind, 7, 0x11223344, b"")), KEY) == head + digest
    for at, wrong in ((24, 3), (24, 6), (25, 27)):  # another type, another length
        data = bytearray(head + digest)
        data[at] = wrong
        packet = decode(bytes(data))
        assert isinstance(packet, ControlPacket) and packet.authenticated and packet.signature is None


def test_a_signature_needs_a_key_and_a_key_a_signature() -> None:
    assert encode(replace(UP, signature=Signature(KEYED_SHA1, 7, 1, b""))) == BYTES == encode(UP, KEY)


def test_the_echo_function_is_not_spoken() -> None:
    """§6.4: zero says so."""
    assert encode(ControlPacket(State.DOWN, 0, False, False, False, False, 1, 1, 0, 0, 0))[20:] == bytes(4)


def test_what_has_no_room_is_an_error_of_ours() -> None:
    for wrong in (
        replace(UP, multiplier=0),
        replace(UP, multiplier=256),
        replace(UP, mine=0),
        replace(UP, mine=1 << 32),
        replace(UP, yours=-1),
        replace(UP, yours=1 << 32),
        replace(UP, diagnostic=-1),
        replace(UP, diagnostic=32),
    ):
        with pytest.raises(ValueError, match="no BFD packet"):
            encode(wrong)
    with pytest.raises(ValueError, match="at most 20"):
        encode(replace(UP, signature=Signature(KEYED_SHA1, 1, 1, b"")), bytes(21))


def test_the_greatest_of_everything_has_room() -> None:
    most = replace(UP, diagnostic=31, multiplier=255, mine=2**32 - 1, yours=2**32 - 1)
    assert decode(encode(most)) == most
    signed = encode(replace(most, signature=Signature(METICULOUS_SHA1, 255, 2**32 - 1, b"")), bytes(range(20)))
    packet = decode(signed)
    assert isinstance(packet, ControlPacket) and packet.signature is not None
    assert genuine(signed, packet.signature, bytes(range(20)))


def test_intervals_are_rounded_up_and_end_with_32_bits() -> None:
    """§4.1: microseconds. A peer must not be promised packets more often than they come."""
    for ours, theirs in ((1, US), (US, US), (US + 1, 2 * US), (-1, 0), (2**32 * US, (2**32 - 1) * US)):
        packet = decode(encode(replace(UP, desired_tx=ours)))
        assert isinstance(packet, ControlPacket) and packet.desired_tx == theirs


@given(
    st.builds(
        ControlPacket,
        state=st.sampled_from((State.UP, State.INIT)),
        diagnostic=st.integers(0, 31),
        poll=st.booleans(),
        final=st.just(False),
        independent=st.booleans(),
        demand=st.booleans(),
        multiplier=st.integers(1, 255),
        mine=st.integers(1, 2**32 - 1),
        yours=st.integers(1, 2**32 - 1),
        desired_tx=st.integers(0, 2**32 - 1).map(lambda us: us * US),
        required_rx=st.integers(0, 2**32 - 1).map(lambda us: us * US),
        required_echo_rx=st.integers(0, 2**32 - 1).map(lambda us: us * US),
    )
)
def test_every_packet_comes_back(packet: ControlPacket) -> None:
    assert decode(encode(packet)) == packet


@given(st.binary(max_size=64))
def test_any_bytes_are_a_packet_or_a_reason(data: bytes) -> None:
    assert isinstance(decode(data), ControlPacket | BfdDrop)
