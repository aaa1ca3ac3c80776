"""What an engine answers when it is asked: plain values, ages in nanoseconds, ready for JSON.

The field names are the schema of ``--json`` (version ``SCHEMA``): add freely, rename never.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from l3ha.base.time import Duration

SCHEMA = 1


@dataclass(frozen=True, slots=True)
class LatenessStatus:
    """How late the agent's loop met its deadlines: bounds for 50, 99 and 99.9 % of them, and the worst."""

    count: int
    p50: Duration
    p99: Duration
    p999: Duration
    worst: Duration


@dataclass(frozen=True, slots=True)
class NodeStatus:
    """This node and SRG 0."""

    cluster: str
    name: str
    id: int
    state: str
    rule: str
    since: Duration
    failure_events: tuple[str, ...]
    maintenance: bool
    software: str
    digest: str
    incarnation: str
    intent: str
    routes: tuple[str, ...]
    uptime: Duration
    pauses: int
    lateness: LatenessStatus


@dataclass(frozen=True, slots=True)
class PathStatus:
    """One ICL path to a peer."""

    name: str
    local: str
    remote: str
    router: str | None
    up: bool
    since: Duration | None
    """How long it is up or down; None: never up."""
    heard: Duration | None
    """Age of the last valid datagram."""
    rtt: Duration | None
    sent: int
    received: int


@dataclass(frozen=True, slots=True)
class PeerStatus:
    """Another node, as this one hears it."""

    id: int
    name: str
    contact: bool
    since: Duration | None
    encrypted: bool
    session_age: Duration | None
    interval: Duration
    multiplier: int
    state: str | None
    intent: str | None
    incarnation: str | None
    software: str | None
    digest: str | None
    differs: tuple[str, ...]
    """Sections of the configuration that are not the same on both nodes."""
    reach: tuple[str, ...]
    paths: tuple[PathStatus, ...]
    sent: int | None
    received: int | None
    drops: Mapping[str, int]
    """Datagrams dropped, by reason."""


@dataclass(frozen=True, slots=True)
class ArbiterStatus:
    """One probed router."""

    name: str
    own_source: str
    floating_source: str
    destination: str
    own: str
    """Result of the last echo: ANSWERED, SILENT, CANNOT SEND, PENDING; of the own address SPARED, too: it is not asked,
    because the arbiter answers the floating one here."""
    floating: str
    known: bool
    own_rtt: Duration | None
    floating_rtt: Duration | None
    sent: int
    answered: int
    drops: Mapping[str, int]
    error: str | None


@dataclass(frozen=True, slots=True)
class ProbeStatus:
    """The activeness probe of one group."""

    verdict: str
    count: int
    """How many times in a row."""
    interval: Duration
    up: int
    down: int
    arbiters: tuple[ArbiterStatus, ...]


@dataclass(frozen=True, slots=True)
class MonitorStatus:
    """One monitored object."""

    srg: int
    name: str
    kind: str
    subject: str
    weight: int
    up: bool | None
    """None: no sample yet."""
    since: Duration | None
    rise: int
    fall: int
    reason: str


@dataclass(frozen=True, slots=True)
class SrgPeerStatus:
    """The same group on another node."""

    id: int
    name: str
    state: str | None
    confirmed: bool
    term: int
    healthy: bool | None
    ready: bool | None
    verified: bool
    """Its neighbors acknowledged the takeover and its probe wins (protocol §6)."""
    priority: int | None


@dataclass(frozen=True, slots=True)
class SrgStatus:
    """One services redundancy group on this node."""

    id: int
    description: str
    state: str
    confirmed: bool
    since: Duration
    rule: str
    reason: str
    rule_age: Duration
    """How long ago the rule that is quoted acted."""
    priority: int
    preempt: bool
    level: str
    term: int
    seen: int
    claim: int | None
    grant: str | None
    heir: bool
    eligible: bool
    ready: bool
    verified: bool
    """ACTIVE, acknowledged by every neighbor, and the probe wins."""
    failure_events: tuple[str, ...]
    """``IF``, ``IP``, ``BG`` (BGP session), ``CP`` (speaker), ``NM`` (node in maintenance or isolated)."""
    weight_failed: int
    threshold: int
    floating: tuple[str, ...]
    routes: tuple[str, ...]
    move: str | None
    """The step of a planned move under way."""
    probe: ProbeStatus
    monitors: tuple[MonitorStatus, ...]
    peers: tuple[SrgPeerStatus, ...]


@dataclass(frozen=True, slots=True)
class NeighborStatus:
    """One BGP neighbor as the speaker reports it."""

    name: str
    router: str
    address: str
    asn: int
    profile: str
    up: bool
    since: Duration | None
    confirmed: bool
    error: str | None


@dataclass(frozen=True, slots=True)
class BfdStatus:
    """The BFD session with one neighbor (RFC 5880) as the speaker reports it."""

    neighbor: str
    address: str
    local_address: str
    source: str
    """``l3ha``: the speaker runs it; ``FRR bfdd``: bfdd on this node does, and is asked."""
    multihop: bool | None
    """None, here and in what follows: bfdd's affair, or not told."""
    authenticated: bool | None
    state: str
    """UP, INIT, DOWN, ADMIN_DOWN; UNKNOWN: the speaker has not told, or bfdd cannot be asked (``error`` says why)."""
    remote_state: str
    """As ``state``; of FRR's sessions only ADMIN_DOWN is known, from the diagnostic."""
    diagnostic: str
    """Why it went down last; NONE while it is up."""
    remote_diagnostic: str
    since: Duration | None
    """How long it is in this state."""
    interval: Duration | None
    """At which we send, before jitter."""
    required_rx: Duration | None
    remote_tx: Duration | None
    remote_rx: Duration | None
    multiplier: int | None
    remote_multiplier: int | None
    detection: Duration | None
    """Silence for this long takes it down."""
    witness: bool | None
    """Whether it proves now, for rule *silence*, that the router lives; None: not asked to."""
    counted: bool
    """False: BFD says that the router is gone, so ``reach`` does not count it."""
    sent: int | None
    received: int | None
    drops: Mapping[str, int]
    flaps: int
    error: str | None


@dataclass(frozen=True, slots=True)
class RouteStatus:
    """Routes of one group and family that a neighbor shall hold."""

    neighbor: str
    srg: int
    prefixes: tuple[str, ...]
    level: str
    term: int
    attributes: str
    confirmed: bool


@dataclass(frozen=True, slots=True)
class SpeakerStatus:
    """The speaker and its lease."""

    connected: bool
    exabgp: str | None
    lease: Duration
    lease_live: bool
    lease_end: str
    wish: int
    confirmed: bool


@dataclass(frozen=True, slots=True)
class Status:
    """All of it."""

    node: NodeStatus
    peers: tuple[PeerStatus, ...]
    srgs: tuple[SrgStatus, ...]
    monitors: tuple[MonitorStatus, ...]
    """SRG 0's monitors."""
    neighbors: tuple[NeighborStatus, ...]
    routes: tuple[RouteStatus, ...]
    speaker: SpeakerStatus
    bfd: tuple[BfdStatus, ...]
