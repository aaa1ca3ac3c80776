"""Packets of the inter-chassis link, byte by byte: what the head of ``seal.py`` draws, and each reason for a drop."""

from __future__ import annotations

import pytest

from l3ha.base.limits import MAX_DATAGRAM
from l3ha.base.names import NodeId
from l3ha.wire import seal
from l3ha.wire.seal import Data, Drop, Dropped, Init, ReplayWindow, Response

KEY = seal.mac_key(b"\x11" * 32)
NOISE = bytes(range(52))
INIT = seal.encode_init(KEY, NOISE)
RESPONSE = seal.encode_response(KEY, 0x01020304, NOISE)
HEADER = seal.data_header(0x01020304, 0x1112131415161718)
DATA = HEADER + bytes(16)


def test_the_layout_of_a_handshake() -> None:
    assert INIT[:4] == bytes((1, 1, 0, 0)) and INIT[4:56] == NOISE and len(INIT) == 72
    assert RESPONSE[:8] == bytes((2, 1, 0, 0, 1, 2, 3, 4)) and RESPONSE[8:60] == NOISE and len(RESPONSE) == 76
    assert seal.decode(INIT, KEY) == Init(NOISE)
    assert seal.decode(RESPONSE, KEY) == Response(0x01020304, NOISE)


def test_the_layout_of_data() -> None:
    assert bytes.fromhex("03010000 01020304 1112131415161718") == HEADER
    assert seal.OVERHEAD == 32 and seal.MAX_PLAINTEXT == MAX_DATAGRAM - 32
    assert seal.decode(HEADER + bytes(range(20)), KEY) == Data(0x01020304, 0x1112131415161718, HEADER, bytes(range(20)))


def test_reserved_bytes_are_not_looked_at() -> None:
    assert seal.decode(seal.sign(KEY, b"\x01\x01\xff\xff" + NOISE), KEY) == Init(NOISE)
    assert isinstance(seal.decode(b"\x03\x01\xff\xff" + DATA[4:], KEY), Data)


def test_what_both_sides_must_agree_on() -> None:
    assert seal.prologue("edgé", NodeId(2), NodeId(1)) == b"l3ha icl\x01\x02\x01\x00\x05edg\xc3\xa9"
    assert seal.encode_index(0x01020304) == b"\1\2\3\4" and seal.decode_index(b"\1\2\3\4") == 0x01020304


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", Drop.TOO_SHORT),
        (INIT[:3], Drop.TOO_SHORT),
        (b"\x00\x01\x00\x00", Drop.UNKNOWN_TYPE),
        (b"\x04\x01\x00\x00", Drop.UNKNOWN_TYPE),
        (INIT[:1] + b"\x00" + INIT[2:], Drop.UNKNOWN_VERSION),
        (INIT[:1] + b"\x02" + INIT[2:], Drop.UNKNOWN_VERSION),
        (INIT[:-1], Drop.TOO_SHORT),
        (INIT + b"x", Drop.TOO_LONG),
        (RESPONSE[:-1], Drop.TOO_SHORT),
        (RESPONSE + b"x", Drop.TOO_LONG),
        (DATA[:-1], Drop.TOO_SHORT),
        (DATA.ljust(MAX_DATAGRAM + 1, b"x"), Drop.TOO_LONG),
        (INIT[:-1] + bytes((INIT[-1] ^ 1,)), Drop.BAD_MAC),
        (INIT[:4] + bytes((INIT[4] ^ 1,)) + INIT[5:], Drop.BAD_MAC),
        (seal.encode_init(seal.mac_key(b"\x22" * 32), NOISE), Drop.BAD_MAC),
    ],
)
def test_each_drop_has_its_reason(data: bytes, reason: Drop) -> None:
    found = seal.decode(data, KEY)
    assert isinstance(found, Dropped) and found.reason is reason


def test_the_greatest_datagram_is_none_too_long() -> None:
    assert isinstance(seal.decode(DATA.ljust(MAX_DATAGRAM, b"x"), KEY), Data)


def test_a_drop_in_words() -> None:
    assert str(Dropped(Drop.BAD_MAC)) == "bad_mac"
    assert str(seal.decode(INIT[:1] + b"\x07" + INIT[2:], KEY)) == "unknown_version: packet version 7"


def test_the_window_reaches_back_2048_counters() -> None:
    window = ReplayWindow()
    assert window.check(0) is None
    window.mark(5000)
    assert (window.check(5001), window.check(5000), window.check(4999)) == (None, Drop.REPLAYED, None)
    assert window.check(5000 - 2047) is None and window.check(5000 - 2048) is Drop.TOO_OLD
    window.mark(5000 - 2047)
    assert window.check(5000 - 2047) is Drop.REPLAYED
    window.mark(5001)
    assert (window.check(5000), window.check(5002)) == (Drop.REPLAYED, None)
    window.mark(5001 + 2047)
    assert window.check(5001) is Drop.REPLAYED and window.check(5002) is None
    window.mark(5001 + 2047 + 2048)
    assert window.check(5001 + 2048) is None and window.check(5001 + 2047) is Drop.TOO_OLD
