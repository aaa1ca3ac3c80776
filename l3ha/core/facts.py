"""What one group's machine may look at: a frozen picture of the world at one instant (protocol §2)."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from l3ha.base.names import NodeId, SrgState, Term
from l3ha.base.time import Duration, Instant


class Rule(StrEnum):
    """The rules of protocol §5, by the names that events, ``show`` and tests quote."""

    BOOT = "boot"
    PAUSE = "pause"
    FAILED = "failed"
    RECOVERED = "recovered"
    RESUME = "resume"
    FOLLOW = "follow"
    ELECT = "elect"
    SUCCEED = "succeed"
    GRANT = "grant"
    GRANTED = "granted"
    RECLAIM = "reclaim"
    DUEL = "duel"
    HANDOVER = "handover"
    BOUND = "bound"
    HOLD_ON = "hold on"
    OUTRANKED = "outranked"
    IN_THE_DARK = "in the dark"
    WON = "won"
    SILENCE = "silence"
    BLIND = "blind"
    SETTLE_DOWN = "settle down"


class PeerFacts(NamedTuple):
    """One group on a peer, as its newest heartbeat says."""

    id: NodeId
    name: str
    contact: bool
    contact_since: Instant
    heard: bool
    """Some valid datagram within T_det, echo or not (or we slept less than T_det ago and cannot tell)."""
    age: Duration
    """The heartbeat is at most this old: time since we sent what it echoes."""
    reach: frozenset[str]
    state: SrgState
    confirmed: bool
    term: Term
    seen: Term
    claim: Term | None
    grant: Term | None
    """Number that it has promised to us."""
    grant_left: Duration
    eligible: bool
    ready: bool
    verified: bool
    wants: bool
    winning: bool
    priority: int
    same_routes: bool
    informed: bool
    """Some arbiter can tell it whom the routers prefer: its verdict is not UNKNOWN."""


class Facts(NamedTuple):
    """Everything that a decision about one group depends on."""

    peers: tuple[PeerFacts, ...]
    """Only peers of which a heartbeat is known."""
    lone: bool
    """No peer is configured at all."""
    peer_ever_heard: bool
    reach: frozenset[str]
    eligible: bool
    ready: bool
    ineligible_why: str
    win: int
    """How often in a row the verdict is WIN; likewise the others."""
    part: int
    lose: int
    unknown: int
    probe_interval: Duration
    witness_alive: bool
    """A witness path that was up at the end of the last contact runs through a router that answers us now."""
    acked_term: Term
    """Term of the HIGH that every neighbor that is up has acknowledged; -1 where none."""
    acked_at: Instant
    floating_sent: Instant | None
    """Every arbiter that answers our own address has answered a floating echo that was sent at this time or later;
    None: some has not answered any."""
    floating_any: Instant | None = None
    """The same of the best of them."""

    @property
    def contact(self) -> bool:
        """Whether any peer is in contact."""
        return any(p.contact for p in self.peers)
