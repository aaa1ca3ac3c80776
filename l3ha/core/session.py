"""Secure channel to one peer: Noise KKpsk0 handshakes, sessions that overlap, and nothing that needs a clock or a disk.

The laws:

1. A valid INIT makes a *pending* session only. It becomes usable when a DATA packet opens with its keys, so a replayed
   INIT costs a little CPU and moves nothing. No timestamps: a node without a clock that survives power loss has none.
2. The initiator is sure with the RESPONSE and confirms at once with an empty DATA packet.
3. Receive on every session that is not too old, send on the newest confirmed one. So crossed opens are harmless and a
   rekey loses nothing.
4. Both sides rekey, the responder a little later. Newest means created last *here*: after crossed opens each side that
   sends on the other's session has created it after its own, which cannot hold on both sides, so one of them at least
   sends as an initiator. The responder's turn is for an initiator that cannot: it restarted, or its INITs get lost.
5. A retry repeats the same INIT and the responder repeats the same RESPONSE (not more often than ``REPEAT_GAP``); a new
   ephemeral is taken every ``refresh``. So round-trip times far above the retry interval work, with few sessions.
6. Everything is bounded: sessions, pending sessions, attempts, remembered ephemerals, handshakes per second.

::

    our INIT ──RESPONSE──> confirmed ──180 s──> gone        peer's INIT ──> pending ──DATA opens──> confirmed
                                                                              └──10 s or three newer──> gone
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from l3ha.base.names import NodeId
from l3ha.base.time import MS, SECOND, Duration, Instant
from l3ha.core.keys import Keys, TokenBucket
from l3ha.wire import noise
from l3ha.wire.seal import (
    MAX_PLAINTEXT,
    Data,
    Drop,
    Dropped,
    Init,
    Response,
    decode,
    decode_index,
    encode_index,
    encode_init,
    encode_response,
    mac_key,
    prologue,
)

MAX_CONFIRMED = 4
"""The one to send on, the one that the peer still sends on, and the two that a crossed rekey adds."""
MAX_PENDING = 3
MAX_ATTEMPTS = 3
"""Own INITs whose RESPONSE is still welcome."""
SEEN_EPHEMERALS = 1024
REPEAT_GAP: Duration = 25 * MS
"""The same RESPONSE is not repeated sooner: one INIT arrives on every path at about the same time."""
KICK_GAP: Duration = 250 * MS
"""A session younger than this is not replaced because of silence: a peer whose words we refuse must not cost a
handshake per turn."""


@dataclass(frozen=True, slots=True)
class Pace:
    """The channel's own timing. The defaults are the protocol's; tests shorten them."""

    rekey: Duration = 120 * SECOND
    """Age at which the initiator opens anew; the responder waits a tenth longer."""
    expire: Duration = 180 * SECOND
    """Age at which a session is no longer used at all."""
    pending: Duration = 10 * SECOND
    retry: Duration = 50 * MS
    eager: Duration = 2 * SECOND
    """How long retries keep that interval before it doubles."""
    slowest: Duration = SECOND
    refresh: Duration = 500 * MS
    """Age at which a retry takes a new ephemeral."""
    rekey_counter: int = 2**60
    last_counter: int = 2**64 - 2**13
    """A session never seals or opens with a counter beyond this one."""
    bucket_rate: int = 20
    """Handshakes per second that may cost public-key operations, for INITs and for RESPONSEs each."""
    bucket_burst: int = 10


DEFAULT_PACE = Pace()


class Opened(NamedTuple):
    """An authentic packet, never seen before.

    ``ordinal`` grows with every session made here: what comes in on a greater one was keyed later. An empty plaintext
    is the peer's confirmation of a session and says nothing else.
    """

    plaintext: bytes
    ordinal: int


@dataclass(frozen=True, slots=True)
class Handshake:
    """A handshake packet was taken; send the replies (on every path). ``established``: now we have a session to use."""

    replies: tuple[bytes, ...]
    established: bool


Received: TypeAlias = Opened | Handshake | Dropped


@dataclass(slots=True)
class _Attempt:
    """One INIT of ours that waits for its RESPONSE."""

    index: int
    handshake: noise.Handshake
    packet: bytes
    made: Instant


@dataclass(slots=True)
class _Opening:
    """We want a session: attempts under way and the time of the next packet."""

    started: Instant
    next: Instant
    interval: Duration
    attempts: deque[_Attempt] = field(default_factory=lambda: deque(maxlen=MAX_ATTEMPTS))


class Session:
    """Everything encrypted between this node and one peer. See the module for the laws.

    Keys are raw 32 bytes. ``entropy(n)`` gives n fresh random bytes; with the same entropy, datagrams and times the
    same bytes come out. ``ValueError`` for keys that cannot work (wrong length, low order, the peer's key is our own).
    """

    def __init__(
        self,
        cluster: str,
        me: NodeId,
        peer: NodeId,
        private_key: bytes,
        peer_public_key: bytes,
        psk: bytes,
        entropy: Callable[[int], bytes],
        now: Instant,
        pace: Pace = DEFAULT_PACE,
    ) -> None:
        own_public = _check_keys(private_key, peer_public_key, psk)
        self.drops: Counter[Drop] = Counter()
        self.handshakes = 0
        """Sessions that became usable."""
        self._private, self._peer_public, self._psk = private_key, peer_public_key, psk
        self._own_mac, self._peer_mac = mac_key(own_public), mac_key(peer_public_key)
        self._prologue_out = prologue(cluster, me, peer)
        self._prologue_in = prologue(cluster, peer, me)
        self._entropy = entropy
        self._pace = pace
        self._ordinal = 0
        self._confirmed: list[Keys] = []
        """Newest (greatest ordinal) first."""
        self._pending: list[Keys] = []
        """Newest first."""
        self._seen: dict[bytes, None] = {}
        self._done: deque[int] = deque(maxlen=2 * MAX_ATTEMPTS)
        """Indices of own attempts that are over: another RESPONSE to them is no fault."""
        self._opening: _Opening | None = None
        self._init_bucket = TokenBucket(pace.bucket_rate, pace.bucket_burst, now)
        self._response_bucket = TokenBucket(pace.bucket_rate, pace.bucket_burst, now)
        self._open(now)

    # --- doors ------------------------------------------------------------------------------------------------------

    @property
    def established(self) -> bool:
        """There is a session to send on (``seal`` may still find it too old)."""
        return bool(self._confirmed)

    def session_age(self, now: Instant) -> Duration | None:
        """Age of the session that we send on; None without one."""
        return now - self._confirmed[0].created if self._confirmed else None

    def receive(self, data: bytes, now: Instant) -> Received:
        """Any datagram. Refused ones change nothing but ``drops``."""
        result = self._receive(data, now)
        if isinstance(result, Dropped):
            self.drops[result.reason] += 1
        return result

    def seal(self, plaintext: bytes, now: Instant) -> bytes | None:
        """A DATA packet on the newest confirmed session; None without a usable one (the handshake is under way then).

        ``ValueError`` where the plaintext is longer than ``MAX_PLAINTEXT``.
        """
        if len(plaintext) > MAX_PLAINTEXT:
            raise ValueError(f"{len(plaintext)} bytes do not fit into a datagram")
        if not self._confirmed:
            return None
        keys = self._confirmed[0]
        if now - keys.created >= self._pace.expire:
            return None
        if keys.counter >= self._pace.rekey_counter and self._opening is None:
            self._open(now)
        return keys.seal(plaintext) if keys.counter <= self._pace.last_counter else None

    def next_deadline(self) -> Instant | None:
        """When ``tick`` has something to do."""
        times = [k.created + self._pace.expire for k in self._confirmed]
        times += [k.created + self._pace.pending for k in self._pending]
        if self._opening is not None:
            times.append(self._opening.next)
        elif self._confirmed:
            times.append(self._rekey_at(self._confirmed[0]))
        return min(times, default=None)

    def tick(self, now: Instant) -> list[bytes]:
        """Forget what is too old; return handshake datagrams that are due, to be sent on every path."""
        self._confirmed = [k for k in self._confirmed if now - k.created < self._pace.expire]
        self._pending = [k for k in self._pending if now - k.created < self._pace.pending]
        if self._opening is None and (not self._confirmed or now >= self._rekey_at(self._confirmed[0])):
            self._open(now)
        opening = self._opening
        if opening is None or now < opening.next:
            return []
        return [self._retry(opening, now)]

    def restart(self, now: Instant) -> None:
        """We slept: keep the sessions, but shake hands anew, as the peer may have gone on without us."""
        self._open(now)

    def kick(self, now: Instant) -> None:
        """The peer has been silent for half the detection time: open anew, unless that is under way already."""
        if self._opening is not None or (self._confirmed and now - self._confirmed[0].created < KICK_GAP):
            return
        self._open(now)

    def clear(self) -> None:
        """Counters back to zero."""
        self.drops.clear()
        self.handshakes = 0

    # --- opening ----------------------------------------------------------------------------------------------------

    def _open(self, now: Instant) -> None:
        self._close()
        self._opening = _Opening(now, now, self._pace.retry)

    def _close(self) -> None:
        if self._opening is not None:
            self._done.extend(a.index for a in self._opening.attempts)
        self._opening = None

    def _rekey_at(self, keys: Keys) -> Instant:
        patience = self._pace.rekey if keys.initiator else self._pace.rekey * 11 // 10
        return keys.created + patience

    def _retry(self, opening: _Opening, now: Instant) -> bytes:
        if now - opening.started >= self._pace.eager:
            opening.interval = min(2 * opening.interval, self._pace.slowest)
        opening.next = now + opening.interval
        if not opening.attempts or now - opening.attempts[-1].made >= self._pace.refresh:
            opening.attempts.append(self._attempt(now))
        return opening.attempts[-1].packet

    def _attempt(self, now: Instant) -> _Attempt:
        handshake = self._handshake(initiator=True)
        index = self._index()
        return _Attempt(index, handshake, encode_init(self._peer_mac, handshake.write(encode_index(index))), now)

    def _handshake(self, *, initiator: bool) -> noise.Handshake:
        return noise.Handshake(
            noise.KKPSK0,
            initiator=initiator,
            prologue=self._prologue_out if initiator else self._prologue_in,
            ephemeral=self._entropy(noise.KEY_SIZE),
            static=self._private,
            remote_static=self._peer_public,
            psk=self._psk,
        )

    def _index(self) -> int:
        """A random index that no session or attempt of ours has."""
        index = int.from_bytes(self._entropy(4))
        attempts = self._opening.attempts if self._opening else ()
        taken = {k.index for k in self._confirmed + self._pending} | {a.index for a in attempts} | set(self._done)
        while index in taken:
            index = (index + 1) % 2**32
        return index

    # --- receiving --------------------------------------------------------------------------------------------------

    def _receive(self, data: bytes, now: Instant) -> Received:
        packet = decode(data, self._own_mac)
        match packet:
            case Data():
                return self._on_data(packet, now)
            case Init():
                return self._on_init(packet, now)
            case Response():
                return self._on_response(packet, now)
            case Dropped():
                return packet

    def _on_data(self, packet: Data, now: Instant) -> Opened | Dropped:
        keys, pending = _held(self._confirmed, packet.receiver), None
        if keys is None:
            keys = pending = _held(self._pending, packet.receiver)
        if keys is None:
            return Dropped(Drop.UNKNOWN_INDEX if self._confirmed or self._pending else Drop.NO_SESSION)
        if now - keys.created >= (self._pace.expire if pending is None else self._pace.pending):
            return Dropped(Drop.EXPIRED)
        plaintext = keys.open(packet, self._pace.last_counter)
        if isinstance(plaintext, Drop):
            return Dropped(plaintext)
        if pending is not None:
            self._pending.remove(pending)
            self._confirm(pending)
        return Opened(plaintext, keys.ordinal)

    def _on_init(self, packet: Init, now: Instant) -> Handshake | Dropped:
        ephemeral = packet.noise[: noise.KEY_SIZE]
        if ephemeral in self._seen:
            return self._repeat(ephemeral, now)
        if not self._init_bucket.take(now):
            return Dropped(Drop.RATE_LIMITED, "INIT")
        handshake = self._handshake(initiator=False)
        index = self._index()
        try:
            sender = decode_index(handshake.read(packet.noise))
            answer = handshake.write(encode_index(index))
        except noise.NoiseError as error:
            return Dropped(Drop.BAD_HANDSHAKE, str(error))
        self._remember(ephemeral)
        keys = self._keys(index, sender, handshake, initiator=False, now=now)
        keys.init = ephemeral
        keys.response = encode_response(self._peer_mac, sender, answer)
        self._pending = [keys, *self._pending][:MAX_PENDING]
        return Handshake((keys.response,), established=False)

    def _repeat(self, ephemeral: bytes, now: Instant) -> Handshake | Dropped:
        """An INIT that we have answered: once more, if its session still waits and this is not just another path."""
        keys = next((k for k in self._pending if k.init == ephemeral), None)
        if keys is None or now - keys.answered < REPEAT_GAP:
            return Dropped(Drop.INIT_SEEN)
        keys.answered = now
        return Handshake((keys.response,), established=False)

    def _on_response(self, packet: Response, now: Instant) -> Handshake | Dropped:
        if packet.receiver in self._done:
            return Dropped(Drop.RESPONSE_SEEN)
        attempts = self._opening.attempts if self._opening else ()
        attempt = next((a for a in attempts if a.index == packet.receiver), None)
        if attempt is None:
            return Dropped(Drop.UNKNOWN_INDEX)
        if not self._response_bucket.take(now):
            return Dropped(Drop.RATE_LIMITED, "RESPONSE")
        try:
            sender = decode_index(attempt.handshake.read(packet.noise))
        except noise.NoiseError as error:
            return Dropped(Drop.BAD_HANDSHAKE, str(error))
        keys = self._keys(attempt.index, sender, attempt.handshake, initiator=True, now=now)
        self._confirm(keys)
        return Handshake((keys.seal(b""),), established=True)

    # --- sessions ---------------------------------------------------------------------------------------------------

    def _keys(self, index: int, remote: int, handshake: noise.Handshake, *, initiator: bool, now: Instant) -> Keys:
        self._ordinal += 1
        return Keys(
            ordinal=self._ordinal,
            index=index,
            remote_index=remote,
            ciphers=handshake.split(),
            initiator=initiator,
            now=now,
        )

    def _confirm(self, keys: Keys) -> None:
        """The only place where a session becomes usable."""
        newest_first = sorted([keys, *self._confirmed], key=lambda k: -k.ordinal)
        self._confirmed = newest_first[:MAX_CONFIRMED]
        self.handshakes += 1
        if self._opening is not None and keys.created >= self._opening.started:
            self._close()

    def _remember(self, ephemeral: bytes) -> None:
        if len(self._seen) >= SEEN_EPHEMERALS:
            del self._seen[next(iter(self._seen))]
        self._seen[ephemeral] = None


def _held(sessions: list[Keys], index: int) -> Keys | None:
    for keys in sessions:
        if keys.index == index:
            return keys
    return None


def _check_keys(private_key: bytes, peer_public_key: bytes, psk: bytes) -> bytes:
    """Our public key. A peer key of low order would otherwise fail at every handshake, long after the start."""
    if len(psk) != noise.KEY_SIZE:
        raise ValueError("the pre-shared key must have 32 bytes")
    own_public = noise.public_key(private_key)
    if own_public == peer_public_key:
        raise ValueError("the peer's public key is our own")
    try:
        noise.exchange(private_key, peer_public_key)
    except noise.NoiseError as error:
        raise ValueError(f"the peer's public key: {error}") from error
    return own_public


__all__ = ["DEFAULT_PACE", "Dropped", "Handshake", "Opened", "Pace", "Received", "Session"]
