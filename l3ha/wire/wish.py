"""Agent <-> speaker: what routers shall see, and what they were told. One JSON object per line.

A wish is the whole set of routes, never a change of it; a report is the whole state of the speaker. So either side may
restart at any moment and the next line makes everything right again.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from l3ha.base.names import LeaseEnd, Level
from l3ha.base.time import Duration


@dataclass(frozen=True, slots=True)
class Attributes:
    """BGP attributes of a set of routes, numbers only: no text of a human ever reaches ExaBGP's command line."""

    next_hop: str
    local_preference: int | None = None
    med: int | None = None
    as_path: tuple[int, ...] | None = None
    communities: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RouteGroup:
    """Prefixes of one family that share group, level, term and attributes."""

    srg: int
    level: Level
    term: int
    attributes: Attributes
    prefixes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class BfdWish:
    """The BFD session with one neighbor."""

    local_address: str
    interface: str | None
    interval: Duration
    multiplier: int
    min_ttl: int
    """255: one hop (RFC 5881); less: several (RFC 5883)."""
    auth: int | None
    """4 keyed SHA1, 5 meticulous keyed SHA1 (RFC 5880 §4.1), None: none."""
    key_id: int
    key: str
    """In hex; empty where there is none."""


@dataclass(frozen=True, slots=True)
class FrrWish:
    """The BFD session with one neighbor is FRR's: where to ask bfdd for it, and which of its sessions it is."""

    directory: str
    """Of bfdd's VTY socket."""
    poll: Duration
    local_address: str
    interface: str | None
    """None: on whatever interface; so with ``vrf``."""
    vrf: str | None


@dataclass(frozen=True, slots=True)
class NeighborWish:
    """All that one neighbor shall hold from us."""

    name: str
    address: str
    routes: tuple[RouteGroup, ...]
    fallback: tuple[RouteGroup, ...]
    """What it shall hold instead once the lease has run out and its end is ``lower``."""
    bfd: BfdWish | None = None
    """Lasts beyond the lease: BFD speaks for ExaBGP and this node's way to the router, not for the agent."""
    frr: FrrWish | None = None
    """Instead of ``bfd``. A field of its own, so that a speaker that knows only BFD of its own takes the routes."""
    drop: bool = False
    """The session may be ended to bring ``routes`` about: they go down, they are many, and a peer covers them all."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What routers shall see from now on."""

    agent: int
    """Incarnation of the agent that wishes; (agent, number) names a wish."""
    number: int
    lease: Duration
    end: LeaseEnd
    generation: tuple[int, int]
    """The first two parts (AS number & 0xffffffff, node id) of the large community that makes every command unique."""
    neighbors: tuple[NeighborWish, ...]


@dataclass(frozen=True, slots=True)
class Ahead:
    """A wish that may come next, for the speaker to read while nobody waits for it. It means nothing by itself."""

    wish: Wish
    line: bytes
    """As it will come, without newline."""


@dataclass(frozen=True, slots=True)
class Renew:
    """The agent lives; the wish stands for another lease."""

    agent: int
    number: int
    lease: Duration
    nudge: tuple[str, ...] = ()
    """Addresses of the neighbors to which one route is announced again, unchanged (``core.nudge``)."""
    brief: bool = False
    """``Alive`` will do as an answer, if a report would say nothing new but counters."""


@dataclass(frozen=True, slots=True)
class NeighborReport:
    """What the speaker knows about one BGP session."""

    name: str
    address: str
    up: bool
    confirmed: int
    """Number of the newest wish that ExaBGP acknowledged completely for this neighbor while up; -1 where none."""
    error: str | None


@dataclass(frozen=True, slots=True)
class BfdReport:
    """What the speaker knows about one BFD session. What changes with every packet is not compared."""

    address: str
    state: int | None
    """Numbers of RFC 5880 §4.1, here and below; None: FRR's bfdd was asked, and it cannot be told."""
    remote_state: int | None
    """None: bfdd does not tell."""
    diagnostic: int
    remote_diagnostic: int
    interval: Duration
    """At which we send, before jitter; 0: not at all."""
    required_rx: Duration
    remote_tx: Duration
    remote_rx: Duration
    multiplier: int
    remote_multiplier: int
    """0: nothing was heard yet."""
    detection: Duration
    """0: nothing was heard yet."""
    flaps: int
    """How often the session left UP, by itself or by the peer's word."""
    error: str | None
    """Why it cannot send or hear, or why its state cannot be told."""
    age: Duration = field(compare=False)
    """How long it is in this state."""
    sent: int = field(compare=False)
    received: int = field(compare=False)
    drops: tuple[tuple[str, int], ...] = field(compare=False)
    """Packets not taken, by reason."""


@dataclass(frozen=True, slots=True)
class Advertised:
    """Level and term that the speaker last wrote for one group, whoever asked for it."""

    srg: int
    level: Level
    term: int


@dataclass(frozen=True, slots=True)
class Report:
    """The speaker's whole state; sent on connect, on every change, and in answer to every ``Renew``."""

    speaker: int
    """Random per start of the speaker process."""
    exabgp: str
    """ExaBGP's version, empty while unknown."""
    agent: int
    number: int
    """The newest wish received, (0, -1) where none."""
    lease_live: bool
    """False once the lease ran out (or never began)."""
    advertised: tuple[Advertised, ...]
    neighbors: tuple[NeighborReport, ...]
    bfd: tuple[BfdReport, ...] = ()


@dataclass(frozen=True, slots=True)
class Alive:
    """The lease was renewed, and the last report still holds."""


@dataclass(frozen=True, slots=True)
class Goodbye:
    """The speaker ends because ExaBGP is gone: the sessions are down, do not wait for a respawn."""

    reason: str
