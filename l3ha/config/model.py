"""The configuration file as pydantic models, one per table.

They hold what stands in the file, checked value by value. What must hold *between* values is in ``relations``,
``bounds`` and ``lint``; what one node makes of it is in ``build``. The descriptions are the text of
``docs/configuration.md``.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from l3ha.base.limits import MAX_NODE_ID, MAX_PATHS, MAX_ROUTES
from l3ha.base.time import HOUR, MINUTE, MS, SECOND
from l3ha.config.fields import (
    Address,
    Arbiter,
    Asn,
    Community,
    Description,
    Directory,
    File,
    HostPrefix,
    Interface,
    Ipv4,
    Name,
    Prefix,
    PublicKey,
    Span,
    Word,
    between,
    shorthand,
)

MAX_NEIGHBORS = 8
"""BGP neighbors of one node: every one costs ExaBGP all routes again."""

MAX_MONITORS = 32
MAX_ARBITERS = 8
MAX_FLOATING = 16


class Section(BaseModel):
    """A table of the file: no unknown keys, no conversion of types."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class Cluster(Section):
    """``[cluster]``"""

    name: Name = Field(description="Name of the cluster. Part of the handshake: nodes of two clusters never talk.")
    asn: Asn | None = Field(default=None, description="Local AS number of every node that has none of its own.")


class Icl(Section):
    """``[icl]``: the inter-chassis link"""

    port: Annotated[int, *between(1, 65535)] = Field(default=7411, description="UDP port on both ends of every path.")
    psk_file: File | None = Field(
        default=None,
        description="Pre-shared key in addition to the node keys: base64 of 32 bytes, mode 0600, relative to "
        "this file.",
    )
    interval: Span = Field(
        default=100 * MS,
        description="T_h: time between heartbeats on each path; a change is sent at once. "
        "Below 100ms the paths take turns.",
    )
    multiplier: Annotated[int, *between(2, 100)] = Field(
        default=5,
        description="T_det = multiplier x interval: silence for that long on all paths ends contact, and earlier "
        "where n paths take turns: after (multiplier - 1 + 1/n) x interval.",
    )
    allow_unsafe_timers: bool = Field(
        default=False,
        description="Accept a slack (multiplier - 1) x interval below 400 ms. It needs real-time scheduling; "
        "below 80 ms is always refused.",
    )


class Timing(Section):
    """``[timers]``"""

    settle: Span = Field(
        default=1 * SECOND,
        description="T_settle: after an own announcement the probe's counts stand still for this long.",
    )
    elect: Span = Field(
        default=2 * SECOND,
        description="T_elect: in HOLD, how long to wait for a WIN of the probe before priority decides.",
    )
    boot: Span = Field(
        default=10 * SECOND, description="T_boot: how long a starting node waits for its sessions and its peer."
    )
    noactive: Span | None = Field(
        default=None,
        description="T_noactive: a BACKUP claims when its peer was not ACTIVE for this long. Default: 2 x "
        "`icl.interval`.",
    )
    recover: Span = Field(
        default=3 * SECOND, description="T_recover: INELIGIBLE ends when everything was fine for this long."
    )
    drain: Span = Field(
        default=1 * SECOND, description="T_drain: how long the old ACTIVE keeps its routes as cover in a planned move."
    )
    verify: Span = Field(
        default=2 * SECOND, description="T_verify: how long the new ACTIVE may take to prove that routers prefer it."
    )
    lease: Span = Field(
        default=2 * SECOND,
        description="T_lease: without a word from the agent for this long the speaker ends the lease.",
    )
    bgp: Span = Field(default=500 * MS, description="T_bgp: worst time from a command to the route in every router.")


class Speaker(Section):
    """``[speaker]``"""

    lease_end: Literal["lower", "withdraw", "keep"] = Field(
        default="lower",
        description="What the speaker does with the routes when the agent is dead or hung: lower all to LOW, "
        "withdraw, or keep.",
    )
    grace: Span = Field(
        default=1 * SECOND,
        description="How long a vanished speaker may take to come back before the node counts as mute.",
    )
    drop_from: Annotated[int, *between(0, MAX_ROUTES)] = Field(
        default=1000,
        description="When a node fails for all its groups and its peer covers them, it ends the BGP session to a "
        "neighbor that has at least so many routes of it, instead of lowering them one by one, and opens it again with "
        "LOW: a router drops a session's routes in one go. ExaBGP 5 only. 0: never.",
    )
    nudge: bool = Field(
        default=True,
        description="Announce one route again to every passive neighbor, unchanged, 35 ms before a silent peer is "
        "given up: FRR gathers changes for 50 ms from the first one on, so those of the takeover come through so much "
        "sooner. At most 3 times in vain in 45 minutes, because routers may damp flaps.",
    )


class PathEnd(Section):
    """``node.NAME.paths.PATH``: this node's end of a path"""

    address: Address = Field(
        description="This node's address on the path; the other node's entry of the same path name is the other end."
    )
    interface: Interface | None = Field(default=None, description="Bind the path to this interface.")
    one_hop: bool | None = Field(
        default=None,
        description="Demand TTL 255, that is a peer on the same link (RFC 5082). Default: true, unless the path "
        "is named after a router.",
    )


class Levels(Section):
    """``preference``: how LOW, MEDIUM and HIGH are written for one neighbor"""

    profile: Literal["local-preference", "med", "community", "prepend"] | None = Field(
        default=None, description="Default: local-preference for iBGP, med for eBGP."
    )
    low: Annotated[int, *between(0, 4294967295)] | None = Field(
        default=None, description="Default: 50 (local-preference), 4294967295 (med, community), 6 (prepend)."
    )
    medium: Annotated[int, *between(0, 4294967295)] | None = Field(
        default=None, description="Default: 100 (local-preference), 4294967294 (med, community), 3 (prepend)."
    )
    high: Annotated[int, *between(0, 4294967295)] | None = Field(
        default=None,
        description="Default: 1000 (local-preference), 4294967000 (med, community), 0 (prepend). The term is "
        "added (subtracted for MED); room for 10 million terms is demanded.",
    )
    communities: list[Community] | None = Field(
        default=None, description="Profile community only: the communities of LOW, MEDIUM and HIGH, in this order."
    )


class BfdAuth(Section):
    """``bfd.auth``: authentication of a BFD session, RFC 5880 section 6.7.4"""

    type: Literal["meticulous-keyed-sha1", "keyed-sha1"] = Field(
        default="meticulous-keyed-sha1",
        description="Meticulous: no packet is taken twice. BIRD knows both; FRR up to 10.8 neither as the RFC has it.",
    )
    key_id: Annotated[int, *between(0, 255)] = Field(default=1, description="Number of the key on both ends.")
    key_file: File = Field(
        description="The key in a file of mode 0600, relative to this file: 1 to 20 printable ASCII characters."
    )


class Bfd(Section):
    """``bfd``: the BFD session with a neighbor, RFC 5880; the router must speak BFD with this node too"""

    source: Literal["l3ha", "frr"] = Field(
        default="l3ha",
        description="Who speaks BFD on this node: the speaker, or FRR's bfdd, which is configured there and only asked "
        "here. With frr only `interface`, `vrf`, `poll` and `vty_socket` may stand beside it.",
    )
    interval: Span = Field(
        default=100 * MS, description="Time between packets, sent and asked for; the slower of both ends wins."
    )
    multiplier: Annotated[int, *between(2, 50)] = Field(
        default=3, description="Silence for so many intervals takes the session down."
    )
    multihop: bool = Field(
        default=False, description="The router is not on the same link (RFC 5883): UDP port 4784 instead of 3784."
    )
    min_ttl: Annotated[int, *between(1, 254)] | None = Field(
        default=None,
        description="Least TTL of what arrives over several hops; each router takes one from 255. Default: 254. One "
        "hop always demands 255 (RFC 5881 section 5).",
    )
    interface: Interface | None = Field(
        default=None,
        description="Send and listen on this interface only; with source frr: bfdd's session is that on it.",
    )
    auth: BfdAuth | None = Field(default=None, description="Sign packets, and take only signed ones. Default: not.")
    witness: bool = Field(
        default=False,
        description="While the session is up, it proves to rule *silence* that the router lives, as an echo from our "
        "own address does: for routers that answer few echoes or none. It counts while detection time + "
        "2 x `icl.interval` <= T_det.",
    )
    vrf: Interface | None = Field(
        default=None, description="Source frr: bfdd's session is the one in this VRF. Default: in whichever."
    )
    poll: Span = Field(
        default=100 * MS, description="Source frr: how often bfdd is asked; what it knows is older by that, here."
    )
    vty_socket: Directory = Field(
        default="/run/frr",
        description="Source frr: the directory of bfdd's VTY socket, as FRR's option of that name. The speaker's user "
        "must be in the group frrvty.",
    )


def _switch(value: object) -> object:
    """``true``: a table of defaults; ``false``: none."""
    return {True: {}, False: None}[value] if isinstance(value, bool) else value


class Neighbor(Section):
    """``[node.NAME.neighbor.NAME]``: one BGP session of a node"""

    address: Address = Field(description="The router's address.")
    local_address: Address = Field(description="This node's address on the session; also the source of its own probe.")
    asn: Asn = Field(description="The router's AS number; the same as the node's makes the session iBGP.")
    router: Name | None = Field(
        default=None,
        description="Name of the router where it has two sessions (IPv4 and IPv6). Default: the neighbor's name.",
    )
    hold_time: Annotated[int, *between(0, 65535)] = Field(
        default=9, description="BGP hold time in seconds, 0 (never) or at least 3."
    )
    passive: bool = Field(default=False, description="Wait for the router to connect instead of connecting to it.")
    port: Annotated[int, *between(1, 65535)] = Field(
        default=179, description="TCP port: the router's, or, if passive, the one to listen on."
    )
    password_file: File | None = Field(
        default=None, description="TCP MD5 password (RFC 2385) in a file of mode 0600, relative to this file."
    )
    ttl_security: bool = Field(
        default=False, description="Send and demand TTL 255 (GTSM, RFC 5082); the router must do the same."
    )
    next_hop: Address | None = Field(
        default=None, description="Next hop of routes of the session's own family. Default: `local_address`."
    )
    next_hop6: Address | None = Field(
        default=None, description="Next hop of IPv6 routes on an IPv4 session; without it they are not sent there."
    )
    preference: Annotated[Levels | None, shorthand("profile"), Word("profile name or table")] = Field(
        default=None,
        description="How the three levels are written, a profile name or a table. Default: by the kind of session.",
    )
    bfd: Annotated[Bfd | None, BeforeValidator(_switch), Word("true, false or table")] = Field(
        default=None,
        description="Speak BFD with the router: each end learns in a few intervals that the other is gone. Default: "
        "false; true means the defaults of the table.",
    )


class Node(Section):
    """``[node.NAME]``"""

    id: Annotated[int, *between(1, MAX_NODE_ID)] = Field(
        description="Number of the node; the last tie-break (lower backs off)."
    )
    asn: Asn | None = Field(default=None, description="Local AS number, instead of `cluster.asn`.")
    public_key: PublicKey = Field(description="What `l3ha keygen` printed for this node.")
    private_key_file: File | None = Field(
        default=None,
        description="The node's private key, mode 0600, relative to this file. Default: `NAME.key` beside this file.",
    )
    router_id: Ipv4 | None = Field(
        default=None, description="BGP router id. Default: the first IPv4 `local_address` of a neighbor."
    )
    paths: dict[Name, Annotated[PathEnd, shorthand("address"), Word("address or table")]] = Field(
        default_factory=dict,
        max_length=MAX_PATHS,
        description="This node's ends of the ICL paths. The same name on two nodes makes a path; a path named "
        "after a router of the node runs through it and is a witness.",
    )
    neighbor: dict[Name, Neighbor] = Field(
        default_factory=dict, max_length=MAX_NEIGHBORS, description="BGP sessions of this node."
    )


class Probe(Section):
    """``probe``: the activeness probe of a group"""

    arbiters: list[Arbiter] = Field(
        min_length=1,
        max_length=MAX_ARBITERS,
        description="Who is asked, in order of authority: names of routers that every node has as neighbors, or "
        "addresses.",
    )
    interval: Span = Field(default=100 * MS, description="T_p: time between two questions.")
    up: Annotated[int, *between(1, 100)] = Field(default=2, description="K_up: verdicts in a row that count as won.")
    down: Annotated[int, *between(1, 100)] = Field(
        default=3, description="K_down: verdicts in a row that count as lost."
    )


class Preempt(Section):
    """``preempt``: when a better node asks for the group back"""

    stable_for: Span = Field(default=MINUTE, description="It must have been eligible and ready for this long.")
    max: Annotated[int, *between(1, 1000)] = Field(
        default=3, description="At most so many times in a window; then the group is left alone."
    )
    window: Span = Field(default=HOUR, description="Length of that window.")


class Monitor(Section):
    """``[[srg.N.monitor]]``: a watched object"""

    name: Name = Field(description="Name in events and in `show monitor`.")
    interface: Interface | None = Field(
        default=None, description="Watch the carrier of this interface. Exactly one of interface, ip, bgp, bfd."
    )
    ip: Address | None = Field(default=None, description="Watch whether this address answers an echo.")
    bgp: Name | None = Field(default=None, description="Watch the session to this neighbor.")
    bfd: Name | None = Field(default=None, description="Watch the BFD session to this neighbor.")
    weight: Annotated[int, *between(1, 65535)] | None = Field(
        default=None, description="Added up while failed. Default: the group's threshold."
    )
    rise: Annotated[int, *between(1, 100)] | None = Field(
        default=None, description="Good samples in a row that end a failure. Default: 1; ip: 2."
    )
    fall: Annotated[int, *between(1, 100)] | None = Field(
        default=None, description="Bad samples in a row that make a failure. Default: 1; ip: 3."
    )
    interval: Span | None = Field(default=None, description="Time between samples. Default: 1s; ip: 100ms.")
    only_on: list[Name] | None = Field(default=None, min_length=1, description="Nodes that watch it. Default: all.")

    @model_validator(mode="after")
    def _one_subject(self) -> Self:
        count = sum(subject is not None for subject in (self.interface, self.ip, self.bgp, self.bfd))
        if count != 1:
            raise ValueError(f"has {count} subjects, must have exactly one of interface, ip, bgp, bfd")
        return self


class Group(Section):
    """``[srg.N]``, N from 1 to 20: a services redundancy group"""

    description: Description = Field(default="", description="Shown beside the number.")
    priority: dict[str, Annotated[int, *between(1, 254)]] = Field(
        description="Priority of every node by its name; the greater is preferred."
    )
    preempt: Annotated[Preempt | None, BeforeValidator(_switch), Word("true, false or table")] = Field(
        default=None,
        description="Whether a node with greater priority asks for the group back. Default: false; true means "
        "the defaults of the table.",
    )
    floating: list[HostPrefix] = Field(
        default_factory=list, max_length=MAX_FLOATING, description="Addresses that both nodes own; source of the probe."
    )
    routes: list[Prefix] = Field(
        min_length=1,
        max_length=MAX_ROUTES,
        description="What the group advertises; at most 10000 prefixes in all groups.",
    )
    probe: Probe | None = Field(
        default=None, description="The activeness probe. Without it contact loss is never decided by a router's answer."
    )
    monitor: list[Monitor] = Field(default_factory=list, max_length=MAX_MONITORS, description="Watched objects.")
    threshold: Annotated[int, *between(1, 65535)] = Field(
        default=100, description="Sum of the weights of failed monitors that makes the group INELIGIBLE here."
    )
    blind_after: Span | None = Field(
        default=None,
        description="Without contact and with no arbiter known for so long, become ACTIVE all the same. Default: "
        "never.",
    )


class NodeGroup(Section):
    """``[srg.0]``: the node itself, active everywhere"""

    routes: list[Prefix] = Field(
        default_factory=list, max_length=MAX_ROUTES, description="What every ONLINE node advertises."
    )
    monitor: list[Monitor] = Field(default_factory=list, max_length=MAX_MONITORS, description="Watched objects.")
    threshold: Annotated[int, *between(1, 65535)] = Field(
        default=100, description="Sum of the weights of failed monitors that isolates the node."
    )
    shutdown_on_failure: list[Interface] = Field(
        default_factory=list, max_length=MAX_MONITORS, description="Interfaces that go down while the node is ISOLATED."
    )
    failure_route: Prefix | None = Field(
        default=None, description="Kernel blackhole route that exists while the node is ISOLATED."
    )
