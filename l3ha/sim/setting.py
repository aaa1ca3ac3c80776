"""The stage: settings of two nodes and two routers, in variants."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache

from l3ha.base.names import LeaseEnd, NodeId, SrgId
from l3ha.base.settings import (
    Arbiter,
    EchoTarget,
    Monitor,
    MonitorKind,
    Neighbor,
    NodeGroup,
    Path,
    Peer,
    Preempt,
    Preference,
    Profile,
    Settings,
    SpeakerSettings,
    Srg,
    Timers,
)
from l3ha.base.time import MS, SECOND, Duration
from l3ha.sim.clock import generator
from l3ha.wire import noise

FLOATING = "100.64.255.1"
PREFIXES = (f"{FLOATING}/32", "203.0.113.0/24")
ROUTERS = ("r1", "r2")
NODES = (1, 2)
GROUP = SrgId(1)

PREFERENCES = {
    Profile.LOCAL_PREFERENCE: Preference(Profile.LOCAL_PREFERENCE, 50, 100, 1000),
    Profile.MED: Preference(Profile.MED, 4_000_000_000, 3_900_000_000, 3_800_000_000),
}


@dataclass(frozen=True, slots=True)
class Variant:
    """What differs from run to run besides the faults."""

    nodes: int = 2
    """1: a node that has no peer."""
    heartbeat: Duration = 100 * MS
    multiplier: int = 5
    boot: Duration = 10 * SECOND
    recover: Duration = 3 * SECOND
    probe: Duration = 100 * MS
    hold: Duration = 9 * SECOND
    """The routers' BGP hold time."""
    priorities: tuple[int, int] = (200, 100)
    preempt: bool = False
    witness: bool = True
    blind_after: Duration | None = None
    lease_end: LeaseEnd = LeaseEnd.LOWER
    profile: Profile = Profile.LOCAL_PREFERENCE
    tie_break: str = "low"
    """Of the routers, on equal preference: low or high node id, or the oldest route."""
    bgp_delay: tuple[Duration, Duration] = (20 * MS, 60 * MS)
    """Least and greatest time from ExaBGP's command to the router's table."""
    drift: tuple[int, int] = (0, 0)
    """Parts per million, per node."""
    echo: Duration = 2 * MS
    """Greatest time from an echo request to its answer."""
    drop_from: int = 0
    """Routes from which on a session is ended to lower them."""

    @property
    def timers(self) -> Timers:
        """The protocol's clock: the defaults, apart from what this variant shortens."""
        return Timers(
            heartbeat=self.heartbeat,
            multiplier=self.multiplier,
            settle=1 * SECOND,
            elect=2 * SECOND,
            boot=self.boot,
            noactive=2 * self.heartbeat,
            recover=self.recover,
            drain=1 * SECOND,
            verify=2 * SECOND,
            lease=2 * SECOND,
            bgp=500 * MS,
        )


def variant(seed: int) -> Variant:
    """The stage of a seed. Short T_boot and T_recover make a run cheap and races likelier."""
    rng = generator(f"{seed}/variant")
    return Variant(
        heartbeat=rng.choice((50, 100, 200, 250)) * MS,
        multiplier=rng.choice((3, 5, 5)),
        boot=rng.choice((2, 2, 3, 5)) * SECOND,
        recover=rng.choice((1, 1, 3)) * SECOND,
        probe=rng.choice((100, 200, 250)) * MS,
        hold=rng.choice((3, 3, 6, 9)) * SECOND,
        priorities=rng.choice(((200, 100), (100, 200), (100, 100))),
        preempt=rng.random() < 0.2,
        witness=rng.random() < 0.85,
        blind_after=4 * SECOND if rng.random() < 0.1 else None,
        lease_end=rng.choice((LeaseEnd.LOWER, LeaseEnd.LOWER, LeaseEnd.LOWER, LeaseEnd.WITHDRAW, LeaseEnd.KEEP)),
        profile=rng.choice((Profile.LOCAL_PREFERENCE, Profile.LOCAL_PREFERENCE, Profile.MED)),
        tie_break=rng.choice(("low", "high", "oldest")),
        bgp_delay=rng.choice(((2 * MS, 10 * MS), (20 * MS, 60 * MS), (50 * MS, 350 * MS))),
        drift=(rng.randint(-500, 500), rng.randint(-500, 500)),
        echo=rng.choice((2, 2, 2, 30, 80)) * MS,
        drop_from=rng.choice((0, 1, 1, 1)),
    )


def address(node: int, path: str) -> str:
    """A node's own address on a path."""
    return f"100.64.0.{node}" if path == "icl" else f"100.64.{path[1:]}{node}.2"


def router_address(node: int, router: str) -> str:
    """The router's address on its link to a node."""
    return f"100.64.{router[1:]}{node}.1"


@cache
def private_key(node: int) -> bytes:
    """A key of the stage."""
    return hashlib.sha256(b"stage %d" % node).digest()


@cache
def public_key(node: int) -> bytes:
    """Its public half."""
    return noise.public_key(private_key(node))


@cache
def settings(node: int, v: Variant) -> Settings:
    """What ``l3ha.config`` would make of the stage's file on this node."""
    names = ("icl", *ROUTERS) if v.witness else ("icl",)
    peers = tuple(_peer(node, other, names) for other in NODES[: v.nodes] if other != node)
    neighbors = tuple(_neighbor(node, r, v) for r in ROUTERS)
    return Settings(
        cluster="stage",
        id=NodeId(node),
        name=f"n{node}",
        private_key=private_key(node),
        public_key=public_key(node),
        psk=bytes(32),
        peers=peers,
        neighbors=neighbors,
        timers=v.timers,
        srgs=(_group(neighbors, v),),
        node_group=NodeGroup((), (), 100, (), None),
        speaker=SpeakerSettings(v.lease_end, SECOND, v.drop_from, nudge=True),
        digest=bytes(8),
        sections={"cluster": bytes(4)},
    )


def _peer(node: int, other: int, names: tuple[str, ...]) -> Peer:
    paths = tuple(
        Path(n, address(node, n), address(other, n), 7411, None if n == "icl" else n, n == "icl", None) for n in names
    )
    return Peer(NodeId(other), f"n{other}", public_key(other), paths)


def _neighbor(node: int, router: str, v: Variant) -> Neighbor:
    return Neighbor(
        name=router,
        router=router,
        address=router_address(node, router),
        local_address=address(node, router),
        next_hop=address(node, router),
        next_hop6=None,
        asn=65001,
        local_asn=65001,
        router_id=f"10.0.0.{node}",
        hold_time=v.hold // SECOND,
        preference=PREFERENCES[v.profile],
        passive=True,
        port=179,
        password=None,
        ttl_security=False,
    )


def _group(neighbors: tuple[Neighbor, ...], v: Variant) -> Srg:
    arbiters = tuple(
        Arbiter(n.name, EchoTarget(n.local_address, n.address, v.probe), EchoTarget(FLOATING, n.address, v.probe))
        for n in neighbors
    )
    return Srg(
        id=GROUP,
        description="edge",
        priorities={NodeId(n): v.priorities[n - 1] for n in NODES[: v.nodes]},
        preempt=Preempt(2 * SECOND, 3, 60 * SECOND) if v.preempt else None,
        floating=(f"{FLOATING}/32",),
        routes=PREFIXES,
        arbiters=arbiters,
        probe_interval=v.probe,
        up=2,
        down=3,
        monitors=(Monitor("uplink", MonitorKind.INTERFACE, "eth1", None, 100, 1, 1, SECOND),),
        threshold=100,
        blind_after=v.blind_after,
    )
