"""What must change nothing in a session: replays, damage, strangers, any bytes."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from l3ha.base.limits import MAX_DATAGRAM
from l3ha.base.time import SECOND, Instant
from l3ha.core.session import Dropped, Handshake, Opened, Session
from l3ha.wire import seal
from l3ha.wire.noise import public_key
from l3ha.wire.seal import WINDOW, Drop, ReplayWindow
from tests.test_session import KEYS, joined, seal_word, session


def unmoved(end: Session, other: Session, data: bytes, reason: Drop, now: Instant = 0) -> None:
    """``data`` is dropped for ``reason``, counted, and the session goes on as before."""
    before = end.drops[reason], end.handshakes, end.session_age(now), end.next_deadline()
    result = end.receive(data, now)
    assert isinstance(result, Dropped)
    assert result.reason is reason
    assert (end.drops[reason], end.handshakes, end.session_age(now), end.next_deadline()) == (
        before[0] + 1,
        *before[1:],
    )
    assert isinstance(end.receive(seal_word(other, b"next", now), now), Opened)


def test_replayed_delayed_and_damaged_data() -> None:
    one, two = joined()
    word = seal_word(one, b"word")
    assert two.receive(word, 0) == Opened(b"word", 1)
    unmoved(two, one, word, Drop.REPLAYED)
    held = seal_word(one, b"held")
    damaged = bytearray(seal_word(one, b"damaged"))
    damaged[-1] ^= 1
    unmoved(two, one, bytes(damaged), Drop.BAD_SEAL)
    for at in (2, 3):
        header = bytearray(seal_word(one, b"header"))
        header[at] ^= 1
        unmoved(two, one, bytes(header), Drop.BAD_SEAL)
    for _ in range(WINDOW):
        assert isinstance(two.receive(seal_word(one, b"x"), 0), Opened)
    unmoved(two, one, held, Drop.TOO_OLD)
    far = seal.data_header(int.from_bytes(word[4:8]), 2**64 - 1) + bytes(20)
    unmoved(two, one, far, Drop.BAD_SEAL)


def test_framing() -> None:
    one, two = joined()
    word = seal_word(one, b"word")
    cases = {
        b"": Drop.TOO_SHORT,
        word[:7]: Drop.TOO_SHORT,
        word[:31]: Drop.TOO_SHORT,
        bytes(MAX_DATAGRAM + 1): Drop.TOO_LONG,
        b"\x00" + word[1:]: Drop.UNKNOWN_TYPE,
        b"\x04" + word[1:]: Drop.UNKNOWN_TYPE,
        b"\x03\x02" + word[2:]: Drop.UNKNOWN_VERSION,
        b"\x01\x01" + bytes(69): Drop.TOO_SHORT,
        b"\x01\x01" + bytes(71): Drop.TOO_LONG,
        b"\x01\x01" + bytes(70): Drop.BAD_MAC,
        b"\x02\x01" + bytes(74): Drop.BAD_MAC,
        word[:4] + b"\xff\xff\xff\xff" + word[8:]: Drop.UNKNOWN_INDEX,
    }
    for data, reason in cases.items():
        unmoved(two, one, data, reason)


def test_own_packets_reflected() -> None:
    one, two = joined()
    one.kick(SECOND)
    unmoved(one, two, one.tick(SECOND)[0], Drop.BAD_MAC, SECOND)
    unmoved(one, two, seal_word(one, b"me", SECOND), Drop.UNKNOWN_INDEX, SECOND)


@pytest.mark.parametrize(
    "stranger",
    [
        session(1, 2, 7, psk=b"q" * 32),
        session(1, 2, 7, cluster="other"),
        session(3, 2, 7),
        session(1, 2, 7, key=KEYS[3]),
        session(3, 2, 7, key=KEYS[1]),
    ],
    ids=["psk", "cluster", "node", "key", "node id"],
)
def test_strangers_who_know_our_public_key(stranger: Session) -> None:
    one, two = joined()
    unmoved(two, one, stranger.tick(0)[0], Drop.BAD_HANDSHAKE)


def test_a_stranger_who_does_not_even_know_our_public_key() -> None:
    one, two = joined()
    unmoved(two, one, session(1, 3, 7).tick(0)[0], Drop.BAD_MAC)


def test_a_forged_response_does_not_spoil_the_true_one() -> None:
    one, two = session(1, 2), session(2, 1)
    answer = two.receive(one.tick(0)[0], 0)
    assert isinstance(answer, Handshake)
    true = answer.replies[0]
    key = seal.mac_key(public_key(KEYS[1]))
    index, message = int.from_bytes(true[4:8]), true[8 : 8 + seal.NOISE_SIZE]
    for noise in (bytes(seal.NOISE_SIZE), message[:-1] + bytes((message[-1] ^ 1,))):
        forged = seal.encode_response(key, index, noise)
        refused = one.receive(forged, 0)
        assert isinstance(refused, Dropped)
        assert refused.reason is Drop.BAD_HANDSHAKE
    assert isinstance(one.receive(true, 0), Handshake)
    assert one.established


@pytest.mark.parametrize("place", range(4, 60))
def test_no_byte_of_a_handshake_can_be_changed_on_the_way(place: int) -> None:
    """By somebody who can make the right mac1: not even the index by which each side calls the session."""
    one, two = session(1, 2), session(2, 1)
    ends, packet = {1: one, 2: two}, one.tick(0)[0]
    for to in (2, 1):
        changed = packet[:place] + bytes((packet[place] ^ 1,)) + packet[place + 1 : -seal.MAC_SIZE]
        if place < len(changed):
            assert isinstance(ends[to].receive(seal.sign(seal.mac_key(public_key(KEYS[to])), changed), 0), Dropped)
        result = ends[to].receive(packet, 0)
        assert isinstance(result, Handshake)
        packet = result.replies[0]
    assert two.receive(packet, 0) == Opened(b"", 1)
    assert two.receive(seal_word(one, b"heard"), 0) == Opened(b"heard", 1)


def test_clear() -> None:
    one, two = joined()
    two.receive(b"", 0)
    assert two.drops == {Drop.TOO_SHORT: 1}
    two.clear()
    assert (dict(two.drops), two.handshakes) == ({}, 0)
    assert isinstance(two.receive(seal_word(one, b"x"), 0), Opened)


@settings(max_examples=150)
@given(st.lists(st.binary(max_size=120), max_size=10), st.binary(max_size=90), st.sampled_from([1, 2, 3]))
def test_any_bytes_change_nothing(noise: list[bytes], tail: bytes, kind: int) -> None:
    one, two = joined()
    index = seal_word(one, b"w")[4:8]
    for data in (*noise, bytes((kind, 1)) + tail, bytes((3, 1, 0, 0)) + index + tail):
        assert isinstance(two.receive(data, 0), Dropped)
    assert two.drops.total() == len(noise) + 2
    assert two.receive(seal_word(one, b"next"), 0) == Opened(b"next", 1)


@settings(max_examples=60)
@given(st.data())
def test_any_flipped_byte_of_a_genuine_packet_is_refused(data: st.DataObject) -> None:
    one, two = joined()
    other = session(1, 2, 5)
    packet = bytearray(data.draw(st.sampled_from([seal_word(one, b"word"), other.tick(0)[0]])))
    at = data.draw(st.integers(0, len(packet) - 1))
    packet[at] ^= data.draw(st.integers(1, 255))
    assert isinstance(two.receive(bytes(packet), 0), Dropped)
    assert two.handshakes == 1


@settings(max_examples=100)
@given(st.integers(1, 30).flatmap(lambda n: st.lists(st.integers(0, n - 1), max_size=80)))
def test_each_plaintext_at_most_once_in_any_order(order: list[int]) -> None:
    one, two = joined()
    packets = [seal_word(one, b"%d" % n) for n in range(30)]
    out = [r.plaintext for n in order if isinstance(r := two.receive(packets[n], 0), Opened)]
    assert out == [b"%d" % n for n in dict.fromkeys(order)]


@settings(max_examples=200)
@given(st.lists(st.integers(0, 3 * WINDOW) | st.integers(2**63, 2**63 + WINDOW), max_size=60))
def test_replay_window_is_a_set_with_a_horizon(counters: list[int]) -> None:
    window, used, newest = ReplayWindow(), set[int](), -1
    for counter in counters:
        want = Drop.TOO_OLD if newest - counter >= WINDOW else Drop.REPLAYED if counter in used else None
        assert window.check(counter) is want
        if want is None:
            window.mark(counter)
            used.add(counter)
            newest = max(newest, counter)


def test_replay_window_edges() -> None:
    window = ReplayWindow()
    window.mark(0)
    window.mark(WINDOW)
    assert window.check(0) is Drop.TOO_OLD
    assert window.check(1) is None
    window.mark(1)
    assert window.check(1) is Drop.REPLAYED
    for counter in range(WINDOW, 3 * WINDOW, 7):
        window.mark(counter)
    assert window._used.bit_length() <= WINDOW
