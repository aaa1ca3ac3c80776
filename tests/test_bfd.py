"""BFD sessions: each test names the section of RFC 5880 (or 5881, 5883) that it proves. Two machines, virtual time."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from random import Random

import pytest

from l3ha.base.time import MS, SECOND, Duration, Instant
from l3ha.core.bfd import BfdChanged, BfdEffect, BfdKey, BfdPeer, BfdSession, SendBfd
from l3ha.core.bfd_table import Bfd
from l3ha.wire.bfd import (
    KEYED_SHA1,
    METICULOUS_SHA1,
    BfdDrop,
    ControlPacket,
    Diagnostic,
    Signature,
    State,
    decode,
    encode,
)

A, B = "10.0.0.1", "10.0.0.2"
TO_B = BfdPeer(B, A, 50 * MS, 3)
TO_A = BfdPeer(A, B, 50 * MS, 3)


def entropy(seed: int) -> Callable[[int], bytes]:
    return Random(seed).randbytes


@dataclass
class Pair:
    """Two speakers and a wire with a millisecond's way; ``lossy`` decides what gets through."""

    a: Bfd
    b: Bfd
    now: Instant = 0
    lossy: Callable[[str, bytes], bool] = lambda _to, _data: False
    ttl: int = 255
    log: list[tuple[Instant, str, State, Diagnostic]] = field(default_factory=list)
    sent: list[tuple[Instant, str, ControlPacket]] = field(default_factory=list)
    _wire: list[tuple[Instant, str, bytes]] = field(default_factory=list)

    def run(self, duration: Duration) -> None:
        end = self.now + duration
        while self.now < end:
            due = [t for t in (self.a.next_deadline(), self.b.next_deadline()) if t is not None]
            due += [t for t, _, _ in self._wire]
            self.now = min(max(self.now, min(due, default=end)), end)
            for when, to, data in [w for w in self._wire if w[0] <= self.now]:
                self._wire.remove((when, to, data))
                side, source = (self.a, B) if to == A else (self.b, A)
                self.carry(to, side.receive(source, data, self.ttl, self.now))
            self.carry(A, self.a.tick(self.now))
            self.carry(B, self.b.tick(self.now))

    def carry(self, who: str, effects: list[BfdEffect]) -> None:
        for e in effects:
            if isinstance(e, BfdChanged):
                self.log.append((self.now, who, e.state, e.diagnostic))
                continue
            packet = decode(e.data)
            assert isinstance(packet, ControlPacket)
            self.sent.append((self.now, who, packet))
            if not self.lossy(e.address, e.data):
                self._wire.append((self.now + MS, e.address, e.data))

    @property
    def states(self) -> tuple[State, State]:
        return self.a.sessions[B].state, self.b.sessions[A].state

    def up(self) -> Pair:
        self.run(3 * SECOND)
        assert self.states == (State.UP, State.UP)
        return self


def pair(to_b: BfdPeer = TO_B, to_a: BfdPeer = TO_A) -> Pair:
    return Pair(Bfd([to_b], entropy(1), 0), Bfd([to_a], entropy(2), 0))


def test_three_way_handshake_6_2() -> None:
    p = pair().up()
    assert [s for _, who, s, _ in p.log if who == A] in ([State.INIT, State.UP], [State.UP])
    session = p.a.sessions[B]
    assert session.remote_discriminator == p.b.sessions[A].discriminator, "§6.3"
    assert session.detection == 150 * MS, "§6.8.4: the peer's multiplier times the slower of the two"


def test_slow_until_up_6_8_3() -> None:
    p = pair()
    p.lossy = lambda _to, _data: True
    p.run(10 * SECOND)
    mine = [t for t, who, _ in p.sent if who == A]
    gaps = [b - a for a, b in itertools.pairwise(mine)]
    assert gaps and min(gaps) >= 750 * MS and max(gaps) <= SECOND
    assert all(packet.desired_tx == SECOND for _, _, packet in p.sent)


def test_jitter_6_8_7() -> None:
    p = pair().up()
    start = len(p.sent)
    p.run(5 * SECOND)
    mine = [t for t, who, packet in p.sent[start:] if who == A and not packet.final]
    gaps = [b - a for a, b in itertools.pairwise(mine)]
    assert min(gaps) >= 37 * MS and max(gaps) <= 50 * MS and len(set(gaps)) > 20


@pytest.mark.parametrize(("multiplier", "most"), [(1, 900 * MS), (2, SECOND), (3, SECOND)])
def test_the_bounds_of_jitter_6_8_7(multiplier: int, most: Duration) -> None:
    for byte, wanted in ((b"\0", 750 * MS), (b"\xff", most)):
        session = BfdSession(replace(TO_B, multiplier=multiplier), 1, lambda n, byte=byte: byte * n, 0)
        session.tick(0)
        deadline = session.next_deadline()
        assert deadline is not None and wanted - MS < deadline <= wanted


def test_a_poll_ends_with_a_final_6_5() -> None:
    p = pair().up()
    polls = [packet for _, who, packet in p.sent if who == A and packet.poll]
    finals = [packet for _, who, packet in p.sent if who == B and packet.final]
    assert polls and polls[0].desired_tx == 50 * MS and finals
    start = len(p.sent)
    p.run(SECOND)
    assert not any(packet.poll for _, _, packet in p.sent[start:]), "answered once, it is over"


def test_detection_6_8_4() -> None:
    p = pair().up()
    last = max(t for t, who, _ in p.sent if who == B)
    p.lossy = lambda to, _data: to == A
    p.run(SECOND)
    when, _, state, why = next(entry for entry in p.log if entry[2] is State.DOWN)
    assert state is State.DOWN and why is Diagnostic.DETECTION_TIME_EXPIRED
    assert 150 * MS <= when - last <= 152 * MS
    assert p.a.sessions[B].remote_discriminator == 0, "§6.8.1"
    assert any(who == B and why is Diagnostic.NEIGHBOR_SIGNALED_DOWN for _, who, _, why in p.log), "one way is enough"


def test_two_lost_packets_are_not_silence_6_8_4() -> None:
    p = pair().up()
    count = 0

    def two_of_three(to: str, _data: bytes) -> bool:
        nonlocal count
        count += to == A
        return to == A and count % 3 != 0

    p.lossy = two_of_three
    before = len(p.log)
    p.run(5 * SECOND)
    assert p.log[before:] == [] and p.states == (State.UP, State.UP)


def test_it_comes_up_through_heavy_loss() -> None:
    p = pair()
    chance = Random(7)
    p.lossy = lambda _to, _data: chance.random() < 0.6
    p.run(60 * SECOND)
    p.lossy = lambda _to, _data: False
    p.run(3 * SECOND)
    assert p.states == (State.UP, State.UP)


def test_a_stall_of_ours_does_not_take_the_peer_down() -> None:
    """Silence is judged after what had arrived was read, however late."""
    p = pair().up()
    heard = encode(
        ControlPacket(State.UP, 0, False, False, True, False, 3, p.b.sessions[A].discriminator,
                      p.a.sessions[B].discriminator, 50 * MS, 50 * MS)
    )  # fmt: skip
    late = p.now + SECOND
    p.a.receive(B, heard, 255, late)
    p.a.tick(late)
    assert p.a.sessions[B].state is State.UP


def test_admin_down_6_8_16() -> None:
    p = pair().up()
    p.carry(A, p.a.sessions[B].admin(up=False, now=p.now))
    p.run(SECOND)
    assert p.states == (State.ADMIN_DOWN, State.DOWN)
    assert p.b.sessions[A].remote_state is State.ADMIN_DOWN
    assert p.b.sessions[A].diagnostic is Diagnostic.NEIGHBOR_SIGNALED_DOWN
    p.carry(A, p.a.sessions[B].admin(up=True, now=p.now))
    p.up()


def test_a_restarted_peer_with_another_discriminator() -> None:
    p = pair().up()
    p.b = Bfd([TO_A], entropy(9), p.now)
    p.run(10 * SECOND)
    assert p.states == (State.UP, State.UP)
    assert p.a.sessions[B].flaps == 1


def test_demultiplexing_6_3() -> None:
    p = pair().up()
    session = p.a.sessions[B]
    foreign = ControlPacket(State.DOWN, 0, False, False, True, False, 3, 77, session.discriminator ^ 1, SECOND, SECOND)
    assert p.a.receive(B, encode(foreign), 255, p.now) == []
    assert p.a.receive("10.9.9.9", encode(replace(foreign, yours=session.discriminator)), 255, p.now) == []
    assert p.a.drops[BfdDrop.UNKNOWN_SESSION] == 2 and session.state is State.UP
    assert p.a.receive(B, b"garbage", 255, p.now) == []
    assert p.a.drops[BfdDrop.SHORT] == 1


def test_gtsm_rfc_5881_5_and_several_hops_rfc_5883_5() -> None:
    p = pair()
    p.ttl = 254
    p.run(3 * SECOND)
    assert p.states == (State.DOWN, State.DOWN) and p.a.sessions[B].drops[BfdDrop.TTL] > 1
    far = pair(replace(TO_B, min_ttl=250), replace(TO_A, min_ttl=250))
    far.ttl = 250
    far.up()


@pytest.mark.parametrize("kind", [KEYED_SHA1, METICULOUS_SHA1])
def test_keyed_sha1_6_7_4(kind: int) -> None:
    key = BfdKey(kind, 1, b"secret")
    pair(replace(TO_B, key=key), replace(TO_A, key=key)).up()
    for wrong in (None, BfdKey(kind, 1, b"another"), BfdKey(kind, 2, b"secret")):
        p = pair(replace(TO_B, key=key), replace(TO_A, key=wrong))
        p.run(3 * SECOND)
        assert p.states == (State.DOWN, State.DOWN)
        assert p.a.sessions[B].drops[BfdDrop.AUTHENTICATION] > 1


def test_a_replay_is_dropped_6_7_4() -> None:
    key = BfdKey(METICULOUS_SHA1, 1, b"secret")
    p = pair(replace(TO_B, key=key), replace(TO_A, key=key)).up()
    session, other = p.a.sessions[B], p.b.sessions[A]
    down = ControlPacket(State.DOWN, 0, False, False, True, False, 3, other.discriminator, session.discriminator,
                         SECOND, SECOND, 0, Signature(METICULOUS_SHA1, 1, (session._seen or 0), b""))  # fmt: skip
    p.a.receive(B, encode(down, key.key), 255, p.now)
    assert session.state is State.UP and session.drops[BfdDrop.SEQUENCE] == 1
    ahead = replace(down, signature=Signature(METICULOUS_SHA1, 1, ((session._seen or 0) + 1) % 2**32, b""))
    p.a.receive(B, encode(ahead, key.key), 255, p.now)
    assert session.state is State.DOWN


def test_after_twice_the_detection_time_any_sequence_is_taken_6_8_1() -> None:
    """The peer may have been started anew: AuthSeqKnown is set to zero."""
    key = BfdKey(METICULOUS_SHA1, 1, b"secret")

    def packet(sequence: int) -> bytes:
        signature = Signature(METICULOUS_SHA1, 1, sequence, b"")
        down = ControlPacket(State.ADMIN_DOWN, 0, False, False, True, False, 3, 77, 0, SECOND, 0, signature=signature)
        return encode(down, key.key)

    a = Bfd([replace(TO_B, key=key)], entropy(1), 0)
    session = a.sessions[B]
    a.receive(B, packet(1000), 255, 0)
    assert session.received == 1 and session.detection == 3 * SECOND
    a.receive(B, packet(5), 255, 6 * SECOND - 1)
    assert session.received == 1 and session.drops[BfdDrop.SEQUENCE] == 1
    a.receive(B, packet(5), 255, 6 * SECOND)
    assert session.received == 2


def test_a_peer_that_fell_silent_is_no_longer_named_6_8_1() -> None:
    """bfd.RemoteDiscr is zero after a detection time without a packet, in whatever state."""
    a = Bfd([TO_B], entropy(1), 0)
    session = a.sessions[B]
    stale = ControlPacket(State.UP, 0, False, False, True, False, 3, 77, session.discriminator, 50 * MS, 50 * MS)
    a.receive(B, encode(stale), 255, 0)
    named = [decode(e.data) for now in (0, SECOND) for e in a.tick(now) if isinstance(e, SendBfd)]
    assert [packet.yours for packet in named if isinstance(packet, ControlPacket)] == [77, 0]
    assert session.state is State.DOWN


def test_a_session_that_is_up_gives_no_diagnostic() -> None:
    """It is the reason for the *last* change of state (§4.1)."""
    p = pair().up()
    p.lossy = lambda to, _data: to == A
    p.run(SECOND)
    assert p.a.sessions[B].diagnostic is Diagnostic.DETECTION_TIME_EXPIRED
    p.lossy = lambda _to, _data: False
    p.up()
    assert [why for _, _, state, why in p.log if state is State.UP] == 4 * [Diagnostic.NONE]
    assert p.sent[-1][2].diagnostic == Diagnostic.NONE


def test_packets_are_counted() -> None:
    p = pair().up()
    p.run(MS)  # what was under way
    for session, me in ((p.a.sessions[B], A), (p.b.sessions[A], B)):
        assert session.sent == sum(who == me for _, who, _ in p.sent)
    p.carry(A, p.a.sessions[B].admin(up=False, now=p.now))
    assert p.a.sessions[B].sent == sum(who == A for _, who, _ in p.sent)


def test_no_packets_for_a_peer_that_wants_none_6_8_7() -> None:
    p = pair().up()
    quiet = ControlPacket(State.UP, 0, False, False, True, False, 3, p.b.sessions[A].discriminator,
                          p.a.sessions[B].discriminator, 50 * MS, 0)  # fmt: skip
    p.a.receive(B, encode(quiet), 255, p.now)
    session = p.a.sessions[B]
    assert session.interval is None
    assert session.next_deadline() == p.now + 150 * MS, "awake for its silence, not to send"
    assert not any(isinstance(e, SendBfd) for e in p.a.tick(p.now + 100 * MS))
    session.admin(up=False, now=p.now)
    p.a.tick(p.now + 150 * MS)
    assert p.a.next_deadline() is None


def test_no_ttl_is_no_proof_of_one_hop_rfc_5881_5() -> None:
    p = pair().up()
    data = encode(next(packet for _, who, packet in reversed(p.sent) if who == B))
    taken = p.a.sessions[B].received
    p.a.receive(B, data, None, p.now)
    assert p.a.sessions[B].received == taken and p.a.sessions[B].drops[BfdDrop.TTL] == 1


def test_an_older_packet_that_is_read_later_makes_nobody_older() -> None:
    """The shell reads two sockets, and says of each packet when it arrived."""
    p = pair().up()
    session, start = p.a.sessions[B], p.now
    usual = session.usual
    assert usual is not None
    p.a.receive(B, usual, 255, start + 40 * MS)
    p.a.receive(B, usual, 255, start + 10 * MS)
    assert not p.a.silent(start + 189 * MS) and p.a.silent(start + 190 * MS)
    packet = decode(usual)
    assert isinstance(packet, ControlPacket)
    p.a.receive(B, encode(replace(packet, diagnostic=7)), 255, start + 20 * MS)
    assert not p.a.silent(start + 189 * MS)


def test_settled_while_every_peer_repeats_itself() -> None:
    third = "10.0.0.3"
    p = pair()
    assert not p.a.settled
    p.up()
    assert p.a.settled and Bfd([], entropy(1), 0).settled
    p.a.configure([TO_B, replace(TO_B, address=third)], p.now)
    assert not p.a.settled, "one that is down may say something new at any time"
    p.a.configure([TO_B], p.now)
    p.run(SECOND)
    assert p.a.settled
    p.b.sessions[A].admin(up=False, now=p.now)
    p.run(SECOND)
    assert not p.a.settled


def test_a_pause_of_ours_takes_nobody_down_by_itself() -> None:
    """The machine stood still, so nothing lies in the socket: silence is counted from when we run again."""
    p = pair().up()
    promised = p.a.next_deadline()
    assert promised is not None
    p.a.tick(promised + SECOND)
    assert p.a.sessions[B].state is State.UP
    p.now = promised + SECOND
    p.lossy = lambda to, _data: to == A
    p.run(149 * MS)
    assert p.a.sessions[B].state is State.UP
    p.run(2 * MS)
    assert p.a.sessions[B].state is State.DOWN, "and a peer that is still silent then is gone"


def test_the_first_word_after_a_pause_excuses_everybody() -> None:
    """The shell asks who is silent after it has read a packet of another: nobody could be heard meanwhile."""
    third = "10.0.0.3"
    a = Bfd([TO_B, replace(TO_B, address=third)], entropy(1), 0)
    heard = ControlPacket(State.DOWN, 0, False, False, True, False, 3, 77, 0, 50 * MS, 50 * MS)
    for address in (B, third):
        a.receive(address, encode(heard), 255, 0)
    late = (a.next_deadline() or 0) + 150 * MS
    a.receive(B, encode(heard), 255, late)
    assert not a.silent(late) and a.sessions[third].state is State.INIT
    assert a.silent(late + 150 * MS)


def test_the_first_deadline_of_all_sessions() -> None:
    peers = [replace(TO_B, address=f"10.0.0.{i}") for i in range(2, 6)]
    a = Bfd(peers, entropy(1), 0)
    a.tick(0)
    assert a.next_deadline() == min(s.next_deadline() or 0 for s in a.sessions.values())
    first = a.sessions[B]
    first.admin(up=False, now=0)
    assert first.next_deadline() is None and a.next_deadline() is not None


@pytest.mark.parametrize("drawn", [0, 1, 2**32 - 2, 2**32 - 1])
def test_discriminators_are_unlike_and_not_zero_6_3(drawn: int) -> None:
    """32 bits of chance each; what is drawn twice is given once."""
    a = Bfd([replace(TO_B, address=f"10.0.0.{i}") for i in range(2, 6)], lambda n: drawn.to_bytes(4)[-n:], 0)
    numbers = [s.discriminator for s in a.sessions.values()]
    assert len(set(numbers)) == 4 and all(0 < number < 2**32 for number in numbers)
    assert numbers[0] == max(drawn, 1)


def test_lateness_below_the_detection_time_is_no_excuse() -> None:
    p = pair().up()
    p.lossy = lambda to, _data: to == A
    p.run(90 * MS)
    heard = p.a.sessions[B]._heard
    assert heard is not None and p.a.next_deadline() is not None
    p.a.tick(heard + 151 * MS)
    assert p.a.sessions[B].state is State.DOWN


def test_a_longer_interval_waits_for_the_final_6_8_3() -> None:
    p = pair().up()
    start, session = len(p.sent), p.a.sessions[B]
    p.lossy = lambda to, data: to == A and bool(data[1] & 0x10)  # every Final is lost
    assert p.a.configure([replace(TO_B, interval=200 * MS)], p.now) == []
    p.run(SECOND)
    assert session.interval == 50 * MS, "the actual transmission interval MUST NOT change until the Poll has terminated"
    mine = [packet for _, who, packet in p.sent[start:] if who == A and not packet.final]
    assert all(packet.poll and packet.desired_tx == packet.required_rx == 200 * MS for packet in mine)
    p.lossy = lambda _to, _data: False
    p.run(SECOND)
    assert session.interval == 200 * MS and p.b.sessions[A].detection == 600 * MS
    assert p.states == (State.UP, State.UP) and session.flaps == 0


def test_a_shorter_interval_waits_for_the_final_6_8_3() -> None:
    p = pair(replace(TO_B, interval=200 * MS), TO_A).up()
    session = p.a.sessions[B]
    p.lossy = lambda to, data: to == A and bool(data[1] & 0x10)
    p.a.configure([TO_B], p.now)
    assert session.detection == 600 * MS, "the previous Required Min RX MUST be used for the detection time"
    assert session.interval == 50 * MS
    p.lossy = lambda _to, _data: False
    p.run(SECOND)
    assert session.detection == 150 * MS and session.flaps == p.b.sessions[A].flaps == 0


def test_a_session_that_is_no_longer_wanted_says_so_rfc_5882_3_2() -> None:
    p = pair().up()
    p.carry(A, p.a.configure([], p.now))
    assert p.a.sessions == {} and p.a.next_deadline() is None
    p.run(100 * MS)
    assert p.b.sessions[A].remote_state is State.ADMIN_DOWN
    assert p.b.sessions[A].diagnostic is Diagnostic.NEIGHBOR_SIGNALED_DOWN
    p.a.configure([TO_B], p.now)
    p.up()


def test_another_way_is_another_session() -> None:
    p = pair().up()
    number = p.a.sessions[B].discriminator
    p.a.configure([replace(TO_B, interval=60 * MS, multiplier=4)], p.now)
    assert p.a.sessions[B].discriminator == number
    p.a.configure([replace(TO_B, interface="eth1")], p.now)
    assert p.a.sessions[B].discriminator != number and p.a.sessions[B].state is State.DOWN


def test_the_end_of_the_process_is_told_at_once() -> None:
    p = pair().up()
    start = p.now
    p.carry(A, p.a.leave())
    p.a = Bfd([], entropy(5), p.now)
    p.run(10 * MS)
    when, who, state, why = p.log[-1]
    assert (who, state, why) == (B, State.DOWN, Diagnostic.NEIGHBOR_SIGNALED_DOWN) and when - start == MS
    assert p.b.sessions[A].remote_diagnostic == Diagnostic.PATH_DOWN


def test_the_operators_word_is_no_flap() -> None:
    p = pair().up()
    p.carry(A, p.a.sessions[B].admin(up=False, now=p.now))
    p.run(SECOND)
    assert p.a.sessions[B].flaps == 0 and p.b.sessions[A].flaps == 1


def test_a_peer_that_wants_packets_again_gets_one_within_its_interval_6_8_7() -> None:
    p = pair().up()
    session = p.a.sessions[B]
    own = ControlPacket(State.UP, 0, False, False, True, False, 3, p.b.sessions[A].discriminator,
                        session.discriminator, 50 * MS, 0)  # fmt: skip
    p.a.receive(B, encode(own), 255, p.now)
    p.a.receive(B, encode(replace(own, required_rx=10 * SECOND)), 255, p.now)
    deadline = session.next_deadline()
    assert session.interval == 10 * SECOND and deadline is not None and deadline <= p.now + 150 * MS
    p.a.receive(B, encode(replace(own, required_rx=50 * MS)), 255, p.now)
    assert any(isinstance(e, SendBfd) for e in p.a.tick(p.now + 50 * MS))
