"""The speaker's BFD sessions: from the wish's words to sessions, and from sessions to the report's words.

Sessions outlast the lease and the agent: BFD speaks for ExaBGP and for this node's way to the router. They end with the
process, that is with ExaBGP.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from l3ha.base.time import Instant
from l3ha.core.bfd import BfdChanged, BfdKey, BfdPeer, BfdSession, SendBfd
from l3ha.core.bfd_frr import FrrSessions, UseFrr
from l3ha.core.bfd_table import Bfd
from l3ha.wire.bfd import Diagnostic, State
from l3ha.wire.wish import BfdReport, BfdWish, NeighborWish


@dataclass(frozen=True, slots=True)
class BfdTrouble:
    """The session with an address cannot send or hear, and why; None: it can again."""

    address: str
    fault: str | None


@dataclass(frozen=True, slots=True)
class UseBfd:
    """Have sockets for exactly these sessions."""

    peers: tuple[BfdPeer, ...]


class BfdSessions:
    """See the module. The shell hands packets and deadlines to ``machine`` itself: a packet is no news to the rest."""

    def __init__(self, entropy: Callable[[int], bytes], now: Instant) -> None:
        self.machine = Bfd((), entropy, now)
        self.frr = FrrSessions()
        """Those that FRR's bfdd runs instead."""
        self._neighbors: tuple[NeighborWish, ...] = ()
        self._used: tuple[BfdPeer, ...] = ()
        self._faults: dict[str, str] = {}

    def use(self, neighbors: tuple[NeighborWish, ...], now: Instant) -> list[SendBfd | UseBfd | UseFrr]:
        """Have the sessions that these neighbors ask for; nothing where that is so already."""
        if neighbors is self._neighbors:
            return []
        self._neighbors = neighbors
        asked = self.frr.use(neighbors)
        peers = tuple({n.address: _peer(n.address, n.bfd) for n in neighbors if n.bfd is not None}.values())
        if peers == self._used:
            return [*asked]
        self._used = peers
        farewells = self.machine.configure(peers, now)
        self._faults = {a: fault for a, fault in self._faults.items() if a in self.machine.sessions}
        return [*_sent(farewells), UseBfd(peers), *asked]

    def leave(self) -> list[SendBfd]:
        """ExaBGP is gone."""
        return _sent(self.machine.leave())

    def trouble(self, event: BfdTrouble) -> str:
        """Keep it for the report; what to tell the operator."""
        if event.fault is None:
            self._faults.pop(event.address, None)
        elif event.address in self.machine.sessions:
            self._faults[event.address] = event.fault
        return f"BFD session to {event.address}: {event.fault or 'can send and hear again'}"

    def changes(self) -> int:
        """The same number means, with the same sessions, that packets have changed nothing but counters."""
        return sum(s.changes for s in self.machine.sessions.values())

    def report(self, now: Instant) -> tuple[BfdReport, ...]:
        """Every session as the agent is told."""
        own = tuple(_report(s, self._faults.get(address), now) for address, s in self.machine.sessions.items())
        return own + self.frr.report(now)


def told(changed: BfdChanged) -> str | None:
    """What to tell the operator; INIT is only on the way."""
    if changed.state is State.INIT:
        return None
    words = changed.state.name.lower().replace("_", " ")
    return f"BFD session to {changed.address} is {words}{because(changed.diagnostic)}"


def because(diagnostic: int) -> str:
    """``: control detection time expired`` and the like; empty for none, a number where RFC 5880 knows no word."""
    if diagnostic == Diagnostic.NONE:
        return ""
    known = diagnostic in Diagnostic.__members__.values()
    return ": " + (Diagnostic(diagnostic).name.lower().replace("_", " ") if known else f"diagnostic {diagnostic}")


def _sent(effects: list[SendBfd | BfdChanged]) -> list[SendBfd]:
    return [e for e in effects if isinstance(e, SendBfd)]


def _peer(address: str, wish: BfdWish) -> BfdPeer:
    key = None if wish.auth is None else BfdKey(wish.auth, wish.key_id, bytes.fromhex(wish.key))
    return BfdPeer(address, wish.local_address, wish.interval, wish.multiplier, wish.min_ttl, key, wish.interface)


def _report(s: BfdSession, fault: str | None, now: Instant) -> BfdReport:
    return BfdReport(
        address=s.peer.address,
        state=s.state,
        remote_state=s.remote_state,
        diagnostic=s.diagnostic,
        remote_diagnostic=s.remote_diagnostic,
        interval=s.interval or 0,
        required_rx=s.peer.interval,
        remote_tx=s.remote_tx,
        remote_rx=s.remote_rx,
        multiplier=s.peer.multiplier,
        remote_multiplier=s.remote_multiplier,
        detection=s.detection or 0,
        flaps=s.flaps,
        error=fault,
        age=now - s.since,
        sent=s.sent,
        received=s.received,
        drops=tuple(sorted((str(reason), count) for reason, count in s.drops.items())),
    )
