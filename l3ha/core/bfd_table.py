"""All BFD sessions of a process: which of them a packet is for (RFC 5880 §6.3), and which are wanted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace

from l3ha.base.time import Instant
from l3ha.core.bfd import BfdEffect, BfdPeer, BfdSession, SendBfd
from l3ha.wire.bfd import BfdDrop, decode


class Bfd:
    """All sessions of a process, by discriminator and by address (§6.3)."""

    def __init__(self, peers: Iterable[BfdPeer], entropy: Callable[[int], bytes], now: Instant) -> None:
        self.sessions: dict[str, BfdSession] = {}
        self.drops: Counter[BfdDrop] = Counter()
        """Packets that no session saw."""
        self._entropy = entropy
        self._by_discriminator: dict[int, BfdSession] = {}
        self._promised: Instant | None = None
        """The deadline that was last asked for: whoever comes much later did not run meanwhile."""
        self.configure(peers, now)

    def configure(self, peers: Iterable[BfdPeer], now: Instant) -> list[BfdEffect]:
        """From now on exactly these sessions.

        One that is the same but for its numbers or key stays up. One that is gone says AdminDown, so that its peer
        knows that nothing has failed (RFC 5882 §3.2); send that before its socket is closed.
        """
        wanted = {peer.address: peer for peer in peers}
        out: list[BfdEffect] = []
        for address, session in list(self.sessions.items()):
            if address in wanted and _way(wanted[address]) == _way(session.peer):
                continue
            out += [e for e in session.admin(up=False, now=now) if isinstance(e, SendBfd)]
            del self.sessions[address], self._by_discriminator[session.discriminator]
        for address, peer in wanted.items():
            known = self.sessions.get(address)
            if known is None:
                self._add(peer, now)
            elif known.peer != peer:
                known.reconfigure(peer, now)
        return out

    def receive(self, source: str, data: bytes, ttl: int | None, now: Instant) -> list[BfdEffect]:
        """One UDP payload from an address, which arrived at ``now``; ``woken`` comes first where that was long ago."""
        self.woken(now)
        session = self.sessions.get(source)
        if session is not None and data == session.usual and ttl is not None and ttl >= session.peer.min_ttl:
            session.again(now)
            return []
        packet = decode(data)
        if isinstance(packet, BfdDrop):
            self.drops[packet] += 1
            return []
        # a discriminator alone does not make a packet ours: it must come from the session's peer, too (RFC 5881 §3)
        if session is None or (packet.yours and self._by_discriminator.get(packet.yours) is not session):
            self.drops[BfdDrop.UNKNOWN_SESSION] += 1
            return []
        return session.receive(data, packet, ttl, now)

    def tick(self, now: Instant) -> list[BfdEffect]:
        """Everything that is due; where ``silent``, the sockets have been read dry, ``now`` was read before that."""
        self.woken(now)
        return [e for s in self.sessions.values() for e in s.tick(now)]

    @property
    def settled(self) -> bool:
        """Every peer repeats itself: what it says is worth hearing before silence is judged, and not at once."""
        return all(s.usual is not None for s in self.sessions.values())

    def silent(self, now: Instant) -> bool:
        """Whether ``tick`` would call a session silent; otherwise the sockets need not be dry."""
        return any(s.silent(now) for s in self.sessions.values())

    def leave(self) -> list[BfdEffect]:
        """The end of the process, told to every peer."""
        return [e for s in self.sessions.values() for e in s.leave()]

    def next_deadline(self) -> Instant | None:
        """When ``tick`` has something to do."""
        first: Instant | None = None
        for session in self.sessions.values():
            t = session.next_deadline()
            if t is not None and (first is None or t < first):
                first = t
        self._promised = first
        return first

    def woken(self, now: Instant) -> None:
        """The process runs at ``now``. If that is a detection time later than it asked for, silence counts from now."""
        if self._promised is None:
            return
        late, self._promised = now - self._promised, None
        if late > 0:
            for session in self.sessions.values():
                if session.detection is not None and late >= session.detection:
                    session.excuse(now)

    def _add(self, peer: BfdPeer, now: Instant) -> None:
        number = int.from_bytes(self._entropy(4)) or 1
        while number in self._by_discriminator:
            number = number % (2**32 - 1) + 1
        session = BfdSession(peer, number, self._entropy, now)
        self.sessions[peer.address] = self._by_discriminator[number] = session


def _way(peer: BfdPeer) -> BfdPeer:
    """What makes two peers one session: everything but numbers and key."""
    return replace(peer, interval=0, multiplier=1, key=None)
