"""Parts of the secure channel: the keys of one session, and the token bucket that bounds handshakes."""

from __future__ import annotations

from l3ha.base.time import SECOND, Instant
from l3ha.wire import noise
from l3ha.wire.seal import Data, Drop, ReplayWindow, data_header


class Keys:
    """One session: two keys, our counter, the peer's window."""

    __slots__ = (
        "_receiving",
        "_sending",
        "_window",
        "answered",
        "counter",
        "created",
        "index",
        "init",
        "initiator",
        "ordinal",
        "remote_index",
        "response",
    )

    def __init__(
        self,
        *,
        ordinal: int,
        index: int,
        remote_index: int,
        ciphers: tuple[noise.Cipher, noise.Cipher],
        initiator: bool,
        now: Instant,
    ) -> None:
        self.ordinal = ordinal
        self.index = index
        self.remote_index = remote_index
        self.initiator = initiator
        self.created = now
        self.counter = 0
        self.init = b""
        """Responder: the ephemeral of the INIT that this answers, and the answer, for repeats."""
        self.response = b""
        self.answered = now
        self._sending, self._receiving = ciphers
        self._window = ReplayWindow()

    def seal(self, plaintext: bytes) -> bytes:
        """A DATA packet with the next counter."""
        header = data_header(self.remote_index, self.counter)
        sealed = self._sending.seal(self.counter, header, plaintext)
        self.counter += 1
        return header + sealed

    def open(self, packet: Data, last: int) -> bytes | Drop:
        """The plaintext, once and never again; or why not. Counters beyond ``last`` are refused."""
        reason = self._window.check(packet.counter)
        if reason is not None:
            confirmation = packet.counter == 0 and not self.initiator
            return Drop.CONFIRM_SEEN if reason is Drop.REPLAYED and confirmation else reason
        if packet.counter > last:
            return Drop.BAD_SEAL
        try:
            plaintext = self._receiving.open(packet.counter, packet.header, packet.sealed)
        except noise.NoiseError:
            return Drop.BAD_SEAL
        self._window.mark(packet.counter)
        return plaintext


class TokenBucket:
    """Token bucket in exact integers: the level is in nanoseconds of saved-up waiting."""

    __slots__ = ("_at", "_full", "_level", "_price")

    def __init__(self, rate: int, burst: int, now: Instant) -> None:
        self._price = SECOND // rate
        self._full = self._level = burst * self._price
        self._at = now

    def take(self, now: Instant) -> bool:
        """One token, if there is one."""
        self._level = min(self._full, self._level + max(0, now - self._at))
        self._at = now
        if self._level < self._price:
            return False
        self._level -= self._price
        return True
