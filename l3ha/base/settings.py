"""Frozen settings: the configuration file as one node sees it.

``l3ha.config`` makes them from ``l3ha.toml``; every machine takes them as an argument. Durations are nanoseconds,
addresses and prefixes are canonical text (``ipaddress`` spelling), keys are raw bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from l3ha.base.names import LeaseEnd, NodeId, SrgId
from l3ha.base.time import Duration


@dataclass(frozen=True, slots=True)
class Timers:
    """The clock of the protocol (protocol §9); bounds between them are checked when the file is read."""

    heartbeat: Duration
    multiplier: int
    settle: Duration
    elect: Duration
    boot: Duration
    noactive: Duration
    recover: Duration
    drain: Duration
    verify: Duration
    lease: Duration
    bgp: Duration

    @property
    def detection(self) -> Duration:
        """T_det: silence for this long ends contact."""
        return self.heartbeat * self.multiplier

    @property
    def grant(self) -> Duration:
        """T_grant: how long a promise to the peer binds the giver."""
        return 2 * self.detection


@dataclass(frozen=True, slots=True)
class Path:
    """One way of the ICL between two nodes, seen from this node."""

    name: str
    local: str
    remote: str
    port: int
    router: str | None
    """Router that a witness path runs through; None for a dedicated link."""
    one_hop: bool
    """True where the other end is on the same link: then TTL 255 is demanded (RFC 5082)."""
    interface: str | None


@dataclass(frozen=True, slots=True)
class Peer:
    """Another node of the cluster."""

    id: NodeId
    name: str
    public_key: bytes
    paths: tuple[Path, ...]


class Profile(StrEnum):
    """How a preference is written in BGP attributes (protocol §4)."""

    LOCAL_PREFERENCE = "local-preference"
    MED = "med"
    COMMUNITY = "community"
    PREPEND = "prepend"


@dataclass(frozen=True, slots=True)
class Preference:
    """Numbers of one profile.

    local-preference: ``low < medium < high``, HIGH is ``high + ballot``. med and community: ``low > medium > high``,
    HIGH is ``high - ballot``. prepend: times the own AS number is added; HIGH carries no ballot. ``communities`` (low,
    medium, high) as ``"65000:100"`` accompany the route in the community profile.
    """

    profile: Profile
    low: int
    medium: int
    high: int
    communities: tuple[str, str, str] | None = None


@dataclass(frozen=True, slots=True)
class BfdAuth:
    """Keyed SHA1 of a BFD session (RFC 5880 §6.7.4)."""

    type: int
    """4 keyed, 5 meticulous keyed (§4.1)."""
    key_id: int
    key: bytes
    """1 to 20 bytes; empty when the settings were read without secrets."""


@dataclass(frozen=True, slots=True)
class Bfd:
    """The BFD session with a neighbor: what we ask of it, and what we offer."""

    interval: Duration
    multiplier: int
    min_ttl: int
    """255: one hop. Less: several, and packets that passed more routers than that are dropped."""
    interface: str | None
    auth: BfdAuth | None
    witness: bool = False
    """While it is up, the router counts as answering an echo from our own address, for rule *silence*."""


@dataclass(frozen=True, slots=True)
class FrrBfd:
    """The BFD session with a neighbor is FRR's: bfdd on this node runs it, and is asked for its state."""

    vty_socket: str
    """Directory of bfdd's VTY socket."""
    poll: Duration
    interface: str | None
    """Which of bfdd's sessions it is, besides the two addresses; None: on whatever interface. So with ``vrf``."""
    vrf: str | None


@dataclass(frozen=True, slots=True)
class Neighbor:
    """A BGP neighbour of this node. ``router`` is what ``reach`` counts: two sessions to one router are one."""

    name: str
    router: str
    address: str
    local_address: str
    next_hop: str
    next_hop6: str | None
    """Next hop for prefixes of the family that the session's own addresses do not have; None: those are not sent."""
    asn: int
    local_asn: int
    router_id: str
    hold_time: int
    preference: Preference
    passive: bool
    port: int
    password: str | None
    ttl_security: bool
    bfd: Bfd | FrrBfd | None = None


class EchoTarget(NamedTuple):
    """An ICMP echo stream: from one of our addresses to a destination, both literal, same family."""

    source: str
    destination: str
    interval: Duration


@dataclass(frozen=True, slots=True)
class Arbiter:
    """A router (or address) that is asked whom it prefers: once from our own address, once from the floating one."""

    name: str
    own: EchoTarget
    floating: EchoTarget


class MonitorKind(StrEnum):
    """What a monitor watches."""

    INTERFACE = "interface"
    IP = "ip"
    BGP = "bgp"
    BFD = "bfd"


@dataclass(frozen=True, slots=True)
class Monitor:
    """A watched object. It fails after ``fall`` bad samples in a row and recovers after ``rise`` good ones.

    Interface and BGP monitors are sampled every ``interval`` and at once when the object changes, so with ``fall = 1``
    (their default) a carrier loss counts immediately.
    """

    name: str
    kind: MonitorKind
    subject: str
    """Interface name, neighbor name, or the destination address."""
    echo: EchoTarget | None
    weight: int
    rise: int
    fall: int
    interval: Duration


@dataclass(frozen=True, slots=True)
class Preempt:
    """Whether a better node asks for the group back."""

    stable_for: Duration
    max: int
    window: Duration


@dataclass(frozen=True, slots=True)
class Srg:
    """One services redundancy group (1..20)."""

    id: SrgId
    description: str
    priorities: Mapping[NodeId, int]
    preempt: Preempt | None
    floating: tuple[str, ...]
    """Floating addresses as host prefixes, ``203.0.113.1/32``."""
    routes: tuple[str, ...]
    arbiters: tuple[Arbiter, ...]
    probe_interval: Duration
    up: int
    down: int
    monitors: tuple[Monitor, ...]
    threshold: int
    """Sum of the weights of failed monitors at which the group is ineligible here."""
    blind_after: Duration | None


@dataclass(frozen=True, slots=True)
class NodeGroup:
    """SRG 0: active on every node."""

    routes: tuple[str, ...]
    monitors: tuple[Monitor, ...]
    threshold: int
    shutdown_on_failure: tuple[str, ...]
    """Interfaces that go down while the node is ISOLATED."""
    failure_route: str | None
    """Kernel route (blackhole) that exists while the node is ISOLATED."""


@dataclass(frozen=True, slots=True)
class SpeakerSettings:
    """What the speaker is told besides the routes."""

    lease_end: LeaseEnd
    grace: Duration
    """How long the agent waits for a vanished speaker before the node counts as unable to speak."""
    drop_from: int
    """Routes at a neighbor from which on its session is ended to lower all of them at once; 0: never."""
    nudge: bool
    """Whether the routers are nudged shortly before a silent peer is given up (``core.nudge``)."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything one node's agent needs to know."""

    cluster: str
    id: NodeId
    name: str
    private_key: bytes
    """Raw X25519 private key; empty when the settings were read without secrets (``check``, ``render``)."""
    public_key: bytes
    psk: bytes
    """32 bytes, all zero where none is configured."""
    peers: tuple[Peer, ...]
    neighbors: tuple[Neighbor, ...]
    timers: Timers
    srgs: tuple[Srg, ...]
    node_group: NodeGroup
    speaker: SpeakerSettings
    digest: bytes
    """8 bytes: BLAKE2s of the effective configuration of the whole cluster, the same on every node."""
    sections: Mapping[str, bytes]
    """4-byte digest per section (``icl``, ``srg.1`` …), so that peers can name what differs."""
