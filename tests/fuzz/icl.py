"""The inter-chassis link: datagram, Noise messages, heartbeat, and two sessions among damaged packets."""

from __future__ import annotations

import copy
import copyreg
import random
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from l3ha.base.limits import MAX_DATAGRAM, MAX_SRGS
from l3ha.base.names import NodeId
from l3ha.core.session import MAX_CONFIRMED, MAX_PENDING, Handshake, Opened, Session
from l3ha.wire import codec, noise, seal
from l3ha.wire.seal import Dropped

copyreg.pickle(ChaCha20Poly1305, lambda _: "a cipher has no state of its own, so a copy may share it")

PRIVATE = {1: b"\x11" * 32, 2: b"\x22" * 32}
PUBLIC = {n: noise.public_key(key) for n, key in PRIVATE.items()}
MAC = {n: seal.mac_key(key) for n, key in PUBLIC.items()}
PSK = b"p" * 32


def signed(data: bytes, key: bytes) -> bytes:
    """The packet with a right mac1 in its last 16 bytes: whoever knows our public key can do that."""
    return seal.sign(key, data[: -seal.MAC_SIZE])


# --- datagram and Noise message ---------------------------------------------------------------------------------------


def datagram(data: bytes) -> None:
    """A packet or a reason; a packet encodes to the same bytes again (reserved ones apart)."""
    key = MAC[1]
    for packet in (data, signed(data, key)):
        plain = packet[:2] + b"\0\0" + packet[4:]
        match seal.decode(packet, key):
            case seal.Init(message):
                assert seal.encode_init(key, message) == signed(plain, key)
            case seal.Response(receiver, message):
                assert seal.encode_response(key, receiver, message) == signed(plain, key)
            case seal.Data(receiver, counter, header, sealed):
                assert header + sealed == packet
                assert seal.data_header(receiver, counter) == plain[: len(header)]
            case Dropped(reason):
                assert isinstance(reason, seal.Drop)


def handshake(initiator: bool, pattern: noise.Pattern) -> noise.Handshake:
    me, peer = (1, 2) if initiator else (2, 1)
    return noise.Handshake(
        pattern,
        initiator=initiator,
        prologue=b"prologue",
        ephemeral=bytes([me]) * 32,
        static=PRIVATE[me],
        remote_static=PUBLIC[peer],
        psk=PSK,
    )


def noise_message(data: bytes) -> None:
    """``NoiseError`` for all but the genuine message, which opens afterwards as if nothing had been."""
    pattern = noise.KK if data[:1] == b"K" else noise.KKPSK0
    initiator, responder = handshake(True, pattern), handshake(False, pattern)
    first = initiator.write(b"first")
    _refused(responder, data[1:], first)
    assert responder.read(first) == b"first"
    second = responder.write(b"second")
    _refused(initiator, data[1:], second)
    assert initiator.read(second) == b"second"
    assert initiator.hash == responder.hash
    try:
        opened = responder.split()[1].open(7, b"h", data[1:])
    except noise.NoiseError:
        return
    raise AssertionError(f"opened to {opened!r}")


def _refused(end: noise.Handshake, message: bytes, genuine: bytes) -> None:
    before = end.hash
    if message == genuine:
        return
    try:
        end.read(message)
    except noise.NoiseError:
        assert end.hash == before and not end.finished
        return
    raise AssertionError(f"taken: {message.hex()}")


# --- heartbeat --------------------------------------------------------------------------------------------------------


def heartbeat(data: bytes) -> None:
    """A heartbeat or a reason. A heartbeat is canonical: it encodes to bytes that decode to an equal one."""
    beat = codec.decode(data)
    if isinstance(beat, Dropped):
        assert beat.reason in (seal.Drop.BAD_HEARTBEAT, seal.Drop.UNKNOWN_VERSION) and beat.detail.isprintable()
        return
    again = codec.encode(beat)
    assert len(again) <= seal.MAX_PLAINTEXT and len(beat.srgs) <= MAX_SRGS
    assert codec.decode(again) == beat


# --- two sessions -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Forgery:
    """A genuine packet, damaged. ``when``: how many genuine packets have been delivered before."""

    when: int
    which: int
    signed: bool
    reflected: bool
    cut: int
    mask: bytes

    def of(self, packet: bytes) -> bytes:
        """The damaged packet; longer where the mask is."""
        kept = packet[: max(0, len(packet) - self.cut)]
        size = max(len(kept), len(self.mask))
        pairs = zip(kept.ljust(size, b"\0"), self.mask.ljust(size, b"\0"), strict=True)
        return bytes(a ^ b for a, b in pairs)


FORGERIES = 4
"""In one run: few enough for the budget of key exchanges, so that the genuine handshake still passes."""


def forgeries(data: bytes) -> Iterator[Forgery]:
    """``when which flags cut size mask`` of one byte each, and the mask; up to FORGERIES times."""
    at = 0
    for _ in range(FORGERIES):
        if at + 5 > len(data):
            return
        when, which, flags, cut, size = data[at : at + 5]
        mask = data[at + 5 : at + 5 + size]
        at += 5 + len(mask)
        if flags & 4:
            mask = mask * (MAX_DATAGRAM // max(1, len(mask)))
        yield Forgery(when % 8, which, bool(flags & 1), bool(flags & 2), cut % 80, mask)


def sessions(data: bytes) -> None:
    """Two ends shake hands while damaged packets of theirs come in: counted drops, and the words come through."""
    plan = list(forgeries(data))
    ends = {n: _session(n) for n in (1, 2)}
    flying = [(3 - n, packet) for n, end in ends.items() for packet in end.tick(0)]
    log = list(flying)
    words: list[bytes] = []
    for step in range(64):
        for forgery in plan:
            if forgery.when == step:
                _forge(ends, forgery, log)
        if not flying:
            if len(words) >= 2:
                break
            flying = [(3 - n, end.seal(b"word of %d" % n, 0) or b"") for n, end in ends.items()]
            log += flying
        to, packet = flying.pop(0)
        match ends[to].receive(packet, 0):
            case Handshake(replies):
                flying += [(3 - to, reply) for reply in replies]
                log += flying[-len(replies) :]
            case Opened(plaintext) if plaintext:
                words.append(plaintext)
            case _:
                pass
    assert words[-2:] in ([b"word of 1", b"word of 2"], [b"word of 2", b"word of 1"])


def _forge(ends: dict[int, Session], forgery: Forgery, log: list[tuple[int, bytes]]) -> None:
    to, packet = log[forgery.which % len(log)]
    data = forgery.of(packet)
    if forgery.signed and len(data) >= seal.MAC_SIZE:
        data = signed(data, MAC[to])
    target = 3 - to if forgery.reflected else to
    if target == to and _meaning(data) in {_meaning(genuine) for _, genuine in log}:
        return
    before, drops = _facts(ends[target]), ends[target].drops.total()
    result = ends[target].receive(data, 0)
    assert isinstance(result, Dropped), f"{data.hex()} was taken: {result}"
    assert _facts(ends[target]) == before and ends[target].drops.total() == drops + 1


def _meaning(packet: bytes) -> bytes:
    """A handshake packet without its reserved bytes, which nobody looks at, and without the mac1 over them."""
    if packet[:1] not in (b"\1", b"\2"):
        return packet
    return packet[:2] + packet[4 : -seal.MAC_SIZE]


def _facts(end: Session) -> object:
    """All that a packet may change, but for counters and the budget of handshakes."""
    keys = [(k.index, k.remote_index, k.ordinal, k.counter, k.answered) for k in end._confirmed + end._pending]
    assert len(end._confirmed) <= MAX_CONFIRMED and len(end._pending) <= MAX_PENDING
    return keys, end.established, end.handshakes, end.next_deadline(), tuple(end._seen), tuple(end._done)


def _session(me: int) -> Session:
    return copy.deepcopy(_fresh(me))


@cache
def _fresh(me: int) -> Session:
    entropy = random.Random(me).randbytes
    return Session("edge", NodeId(me), NodeId(3 - me), PRIVATE[me], PUBLIC[3 - me], PSK, entropy, 0)
