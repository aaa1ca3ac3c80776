"""One stream of ICMP echoes: fixed cadence, one nonce per request, a result per sample.

A sample is closed when the next request goes out, whatever came back in the meantime, so that an answer never delays
and a silence never stretches the cadence. "Could not send" is a result of its own: it says something about us, nothing
about the other side. A request may be repeated inside its sample; an answer to any of them answers the sample, and
tells when the request that it is for was sent.

An echo may stand beside others, from another address of ours to the same host: what answers those would answer this
one. So where the caller permits it, it is spared as long as both were answered, and shares their result meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum

from l3ha.base.names import NodeId
from l3ha.base.settings import EchoTarget
from l3ha.base.time import Duration, Instant, after
from l3ha.core.events import SendEcho
from l3ha.wire import icmp


class EchoResult(StrEnum):
    """What became of one request."""

    PENDING = "PENDING"
    ANSWERED = "ANSWERED"
    SILENT = "SILENT"
    CANNOT_SEND = "CANNOT SEND"


class Echo:
    """See the module. ``closed`` is the last finished sample, ``now_result`` includes the one under way."""

    def __init__(self, target: EchoTarget, node: NodeId, identifier: int, now: Instant) -> None:
        self.target = target
        self.identifier = identifier
        self.next = now
        self.closed = EchoResult.PENDING
        self.answered_sent: Instant | None = None
        """When the newest answered request had been sent."""
        self.rtt: Duration | None = None
        self.sent = 0
        self.answered = 0
        self.drops: dict[str, int] = {}
        self.error: str | None = None
        self.beside: tuple[Echo, ...] = ()
        """To be ticked before this one."""
        self.spared = False
        """The sample under way is not asked: it is answered if those beside it are."""
        self.sent_at = now
        """When the newest request was sent."""
        self._node = node
        self._nonces: dict[bytes, Instant | None] = {}
        """Requests of this sample -> when sent; None: answered."""
        self._current = EchoResult.PENDING

    @property
    def result(self) -> EchoResult:
        """The freshest knowledge: the sample under way if it is decided, else the last closed one."""
        return self.closed if self._current is EchoResult.PENDING else self._current

    @property
    def skipped(self) -> bool:
        """The last finished sample was spared, and then those beside it were not answered: nobody knows."""
        return self.closed is EchoResult.PENDING and self.sent > 0

    def tick(
        self, now: Instant, entropy: Callable[[int], bytes], *, awaited: bool = False, spare: bool = False
    ) -> SendEcho | None:
        """Close the sample and send the next request when it is due. An answer that is no news is only awaited where
        the caller says so. ``spare``: what those beside this one prove need not be asked."""
        if now < self.next:
            return None
        vouched = bool(self.beside) and all(x.closed is EchoResult.ANSWERED for x in self.beside)
        if self.spared:
            self.closed = EchoResult.ANSWERED if vouched else EchoResult.PENDING
        elif self.sent:
            self.closed = EchoResult.SILENT if self._current is EchoResult.PENDING else self._current
        interval = self.target.interval
        self.next = after(now + interval // 2 - 1, interval)  # a sample lasts half an interval at least
        self._current = EchoResult.PENDING
        self._nonces = {}
        self.spared = spare and vouched and self.closed is EchoResult.ANSWERED
        if self.spared:
            return None
        return self._ask(now, entropy, awaited=awaited or self.closed is not EchoResult.ANSWERED)

    def again(self, now: Instant, entropy: Callable[[int], bytes]) -> SendEcho:
        """Ask once more within the sample: an answer to what was sent earlier says nothing of what changed since."""
        return self._ask(now, entropy, awaited=True)

    def receive(self, data: bytes, arrived: Instant) -> bool:
        """An ICMP message from the target's socket: True for an answer to the sample, else it is a counted drop."""
        reply = icmp.decode(data, ipv6=":" in self.target.destination)
        if not isinstance(reply, icmp.EchoReply):
            self._drop(str(reply))
        elif reply.identifier != self.identifier or reply.node != self._node:
            self._drop("foreign")
        elif reply.nonce not in self._nonces:
            self._drop("late or forged")
        elif (sent_at := self._nonces[reply.nonce]) is None:
            self._drop("duplicate")
        else:
            self._nonces[reply.nonce] = None
            self._current = EchoResult.ANSWERED
            self.answered += 1
            self.answered_sent = max(sent_at, self.answered_sent or sent_at)
            self.rtt = max(0, arrived - sent_at)
            self.error = None
            return True
        return False

    def failed(self, error: str) -> None:
        """A request could not be sent; if an earlier one of the sample was answered, the sample stays so."""
        if self._current is not EchoResult.ANSWERED:
            self._current = EchoResult.CANNOT_SEND
        self.error = error

    def forget(self, now: Instant) -> None:
        """After a pause: nothing is known, and what is on its way does not count."""
        self.closed = self._current = EchoResult.PENDING
        self._nonces = {}
        self.spared = False
        self.next = now

    def clear(self) -> None:
        """Counters back to zero (one request stays counted as sent: it is under way)."""
        self.sent, self.answered, self.drops = 1, 0, {}

    def _ask(self, now: Instant, entropy: Callable[[int], bytes], *, awaited: bool) -> SendEcho:
        nonce = entropy(icmp.NONCE_SIZE)
        self._nonces[nonce] = self.sent_at = now
        self.sent += 1
        payload = icmp.payload(self._node, nonce)
        return SendEcho(self.target, self.identifier, self.sent & 0xFFFF, payload, awaited)

    def _drop(self, reason: str) -> None:
        self.drops[reason] = self.drops.get(reason, 0) + 1
