"""One BFD session, asynchronous mode (RFC 5880 §6.8).

    DOWN --hears DOWN--> INIT --hears INIT or UP--> UP          any --AdminDown, silence--> DOWN
    DOWN --hears INIT--> UP                                     UP --hears DOWN--> DOWN

The table of states is ``_TABLE``; only ``_become`` changes the state. Silence is judged by ``tick`` alone: its caller
has read the socket dry before, so that a stall of our own process never takes a peer down that spoke in time. After a
pause longer than the detection time silence is counted afresh: with a machine that stood still nothing arrived either.

In the steady state every packet of a peer is the same as its last one, and so is every one of ours. Both are remembered
as bytes, which makes a packet some ten times cheaper; whatever changes goes through ``_settle``, which forgets them.

Not spoken: demand mode and the echo function (both optional, §6.6 and §6.4), simple password and MD5 (§6.7.2, §6.7.3).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from l3ha.base.time import SECOND, Duration, Instant
from l3ha.wire.bfd import (
    METICULOUS_SHA1,
    BfdDrop,
    ControlPacket,
    Diagnostic,
    Signature,
    State,
    encode,
    genuine,
)

SLOW: Duration = SECOND
"""Least interval of transmission while the session is not up (§6.8.3: "not less than one second")."""

SINGLE_HOP_TTL = 255
"""GTSM (RFC 5881 §5): anything else has passed a router."""


@dataclass(frozen=True, slots=True)
class BfdKey:
    """Keyed SHA1 (§6.7.4); ``kind`` is ``KEYED_SHA1`` or ``METICULOUS_SHA1``."""

    kind: int
    key_id: int
    key: bytes


@dataclass(frozen=True, slots=True)
class BfdPeer:
    """What is configured for one session."""

    address: str
    local_address: str
    interval: Duration
    """Desired transmission and required reception alike."""
    multiplier: int
    min_ttl: int = SINGLE_HOP_TTL
    """Packets with a smaller one are dropped; below 255 only for a session over several hops (RFC 5883 §5)."""
    key: BfdKey | None = None
    interface: str | None = None
    """Send and hear on this one only."""

    @property
    def multihop(self) -> bool:
        """Several hops: another port (RFC 5883 §5)."""
        return self.min_ttl < SINGLE_HOP_TTL


@dataclass(frozen=True, slots=True)
class SendBfd:
    """Send this to the peer of a session."""

    address: str
    data: bytes


@dataclass(frozen=True, slots=True)
class BfdChanged:
    """A session changed its state."""

    address: str
    state: State
    diagnostic: Diagnostic


BfdEffect: TypeAlias = SendBfd | BfdChanged

_TABLE: dict[tuple[State, State], tuple[State, Diagnostic | None]] = {
    # what we are, what the peer says it is -> what we are then, and why (§6.8.6); an absent pair changes nothing
    (State.DOWN, State.DOWN): (State.INIT, None),
    (State.DOWN, State.INIT): (State.UP, None),
    (State.INIT, State.INIT): (State.UP, None),
    (State.INIT, State.UP): (State.UP, None),
    (State.UP, State.DOWN): (State.DOWN, Diagnostic.NEIGHBOR_SIGNALED_DOWN),
    (State.INIT, State.ADMIN_DOWN): (State.DOWN, Diagnostic.NEIGHBOR_SIGNALED_DOWN),
    (State.UP, State.ADMIN_DOWN): (State.DOWN, Diagnostic.NEIGHBOR_SIGNALED_DOWN),
}


class BfdSession:
    """See the module. ``discriminator``: nonzero, unlike that of every other session of this process (§6.3)."""

    def __init__(self, peer: BfdPeer, discriminator: int, entropy: Callable[[int], bytes], now: Instant) -> None:
        self.peer = peer
        self.discriminator = discriminator
        self.state = State.DOWN
        self.since = now
        self.diagnostic = Diagnostic.NONE
        self.remote_state = State.DOWN
        self.remote_diagnostic = 0
        self.remote_discriminator = 0
        self.remote_tx: Duration = 0
        self.remote_rx: Duration = 1
        self.remote_multiplier = 0
        self.sent = self.received = self.flaps = 0
        self.changes = 0
        """Grows whenever something but these three may have become different."""
        self.drops: Counter[BfdDrop] = Counter()
        self._entropy = entropy
        self._heard: Instant | None = None
        """Arrival of the last packet taken; None after silence."""
        self._polling = False
        self._kept: Duration | None = None
        """The configured interval before the last change of it, until the peer has confirmed the new one (§6.8.3)."""
        self.interval: Duration | None = None
        """Interval of transmission before jitter (§6.8.7); None where the peer wants no packets."""
        self.detection: Duration | None = None
        """Detection time (§6.8.4); None before the peer has said anything."""
        self.usual: bytes | None = None
        """The last packet, if one more of the same would change nothing but ``received`` and the time it was heard."""
        self._ready: SendBfd | None = None
        """What is sent next, if it was encoded already."""
        self._soon = self._next = now
        """Between these two the next packet goes out: at the latter, or earlier if we are awake anyway."""
        self._sequence = int.from_bytes(entropy(4))
        self._seen: int | None = None
        self._seen_at = now
        self._settle()

    # --- what follows from the state --------------------------------------------------------------------------------

    @property
    def desired(self) -> Duration:
        """Desired Min TX (§6.8.3)."""
        return self.peer.interval if self.state is State.UP else max(SLOW, self.peer.interval)

    def next_deadline(self) -> Instant | None:
        """When ``tick`` has something to do."""
        sends = self._next if self.interval is not None and self._may_send() else None
        if self._heard is None or self.detection is None:
            return sends
        silence = self._heard + self.detection
        return silence if sends is None or silence < sends else sends

    def silent(self, now: Instant) -> bool:
        """Whether ``tick`` would call it silent; then read the socket dry first."""
        return self._heard is not None and self.detection is not None and now - self._heard >= self.detection

    # --- doors ------------------------------------------------------------------------------------------------------

    def again(self, now: Instant) -> None:
        """``usual`` came once more."""
        self.received += 1
        self._hear(now)

    def receive(self, data: bytes, packet: ControlPacket, ttl: int | None, now: Instant) -> list[BfdEffect]:
        """One packet of this session, ``data`` as it came at ``now``; a refused one changes nothing but ``drops``."""
        reason = self._refuse(data, packet, ttl, now)
        if reason is not None:
            self.drops[reason] += 1
            return []
        self.received += 1
        self._hear(now)
        before = self.interval
        self.remote_discriminator, self.remote_state = packet.mine, packet.state
        self.remote_diagnostic = packet.diagnostic
        self.remote_tx, self.remote_rx = packet.desired_tx, packet.required_rx
        self.remote_multiplier = packet.multiplier
        if self.state is State.ADMIN_DOWN:
            return []  # §6.8.6: discarded, apart from what it says of the peer
        if packet.final and self._polling:
            self._polling, self._kept = False, None
        self._settle()
        out: list[BfdEffect] = []
        state, why = _TABLE.get((self.state, packet.state), (self.state, None))
        if state is not self.state:
            out += self._become(state, why, now)
        after = self.interval
        if after is not None and (before is None or after < before):
            self._next = min(self._next, now + self._jittered(after))
            self._soon = min(self._soon, self._next)
        if packet.poll:
            out.append(self._packet(final=True))
        elif self.state is State.UP and packet.state is State.UP and not packet.final and self.peer.key is None:
            self.usual = data
        return out

    def tick(self, now: Instant) -> list[BfdEffect]:
        """Judge silence, and send what is due, or what may go already (§6.8.7: from 75 % of the interval on).

        A process that is awake for another packet sends its own then, instead of waking once more.
        """
        out: list[BfdEffect] = []
        if self.silent(now):
            self._heard = None
            self.remote_discriminator = 0  # §6.8.1: no packet for a detection time
            self._settle()
            if self.state in (State.INIT, State.UP):
                out += self._become(State.DOWN, Diagnostic.DETECTION_TIME_EXPIRED, now)
        interval = self.interval
        if now >= self._soon and interval is not None and self._may_send():
            out.append(self._packet(final=False))
            self._soon, self._next = now + interval * 75 // 100, now + self._jittered(interval)
        return out

    def admin(self, *, up: bool, now: Instant) -> list[BfdEffect]:
        """The operator's word (§6.8.16). AdminDown is told once more at once, and then at the slow rate."""
        if up == (self.state is not State.ADMIN_DOWN):
            return []
        if up:
            return self._become(State.DOWN, Diagnostic.NONE, now)
        out = self._become(State.ADMIN_DOWN, Diagnostic.ADMINISTRATIVELY_DOWN, now)
        return [*out, self._packet(final=False)]

    def reconfigure(self, peer: BfdPeer, now: Instant) -> None:
        """Other numbers or another key; a session that is up tells its peer and stays up (§6.8.3)."""
        if self.state is State.UP and peer.interval != self.peer.interval:
            self._kept = self.peer.interval if self._kept is None else self._kept
            self._polling = True
        self.peer = peer
        self._soon = self._next = now
        self._settle()

    def excuse(self, now: Instant) -> None:
        """We did not run, and heard nothing for that reason: the peer has a whole detection time from now."""
        if self._heard is not None:
            self._heard = now

    def leave(self) -> list[BfdEffect]:
        """What this session speaks for is gone: the peer hears it now, not by silence."""
        if self.state not in (State.INIT, State.UP):
            return []
        self.state, self.diagnostic = State.DOWN, Diagnostic.PATH_DOWN
        self._settle()
        return [self._packet(final=False)]

    # --- parts ------------------------------------------------------------------------------------------------------

    def _hear(self, now: Instant) -> None:
        """Packets of two sockets, and an excuse, come in any order."""
        self._heard = now if self._heard is None or now > self._heard else self._heard

    def _refuse(self, data: bytes, packet: ControlPacket, ttl: int | None, now: Instant) -> BfdDrop | None:
        if ttl is None or ttl < self.peer.min_ttl:
            return BfdDrop.TTL
        if packet.yours and packet.yours != self.discriminator:
            return BfdDrop.UNKNOWN_SESSION
        key, signature = self.peer.key, packet.signature
        if key is None:
            return BfdDrop.AUTHENTICATION if packet.authenticated else None
        if signature is None or (signature.kind, signature.key_id) != (key.kind, key.key_id):
            return BfdDrop.AUTHENTICATION
        if self._seen is not None and now - self._seen_at < 2 * (self.detection or SLOW):  # §6.8.1, AuthSeqKnown
            ahead = (signature.sequence - self._seen) % 2**32
            if not (key.kind == METICULOUS_SHA1) <= ahead <= 3 * max(1, packet.multiplier):
                return BfdDrop.SEQUENCE
        if not genuine(data, signature, key.key):
            return BfdDrop.AUTHENTICATION
        self._seen, self._seen_at = signature.sequence, now
        return None

    def _become(self, state: State, why: Diagnostic | None, now: Instant) -> list[BfdEffect]:
        """The only place where the state changes."""
        self.flaps += self.state is State.UP and state is not State.ADMIN_DOWN
        before = self.desired
        self.state, self.since = state, now
        self.diagnostic = self.diagnostic if why is None else why
        if state is State.UP:
            self.diagnostic = Diagnostic.NONE
        # §6.8.3: a changed interval needs a poll; while not up every packet says it anyway
        self._polling, self._kept = state is State.UP and self.desired != before, None
        self._soon = self._next = now  # §6.8.7: what differs from the last packet is said at once
        self._settle()
        return [BfdChanged(self.peer.address, state, self.diagnostic)]

    def _settle(self) -> None:
        """Something changed: what follows from it is worked out once, not for each packet."""
        self.changes += 1
        self.usual = self._ready = None
        self.interval = self.detection = None
        if self.remote_rx:
            desired = self.desired if self._kept is None else min(self._kept, self.desired)
            self.interval = max(desired, self.remote_rx)
        if self.remote_multiplier:
            required = self.peer.interval if self._kept is None else max(self._kept, self.peer.interval)
            self.detection = self.remote_multiplier * max(required, self.remote_tx)

    def _may_send(self) -> bool:
        """§6.8.7: nothing in AdminDown to a peer that is gone already."""
        return self.state is not State.ADMIN_DOWN or self._heard is not None

    def _packet(self, *, final: bool) -> SendBfd:
        self.sent += 1
        if self._ready is not None and not final:
            return self._ready
        key = self.peer.key
        signature = None
        if key is not None:
            signature = Signature(key.kind, key.key_id, self._sequence, b"")
            self._sequence = (self._sequence + 1) % 2**32
        packet = ControlPacket(
            state=self.state,
            diagnostic=self.diagnostic,
            poll=self._polling and not final,
            final=final,
            independent=True,  # the agent may restart without it: it ends with ExaBGP, that is with what it speaks for
            demand=False,
            multiplier=self.peer.multiplier,
            mine=self.discriminator,
            yours=self.remote_discriminator,
            desired_tx=self.desired,
            required_rx=self.peer.interval,
            signature=signature,
            authenticated=key is not None,
        )
        send = SendBfd(self.peer.address, encode(packet, None if key is None else key.key))
        if key is None and not final:
            self._ready = send
        return send

    def _jittered(self, interval: Duration) -> Duration:
        """§6.8.7: 75 to 100 %; 75 to 90 % where a single lost packet takes the session down."""
        span = 15 if self.peer.multiplier == 1 else 25
        return interval * 75 // 100 + interval * span * int.from_bytes(self._entropy(2)) // (100 << 16)
