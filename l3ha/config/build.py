"""A sound document -> the settings of one node. Here the defaults that depend on other keys are applied."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address

from l3ha.base import settings as s
from l3ha.base.names import LeaseEnd, NodeId, SrgId
from l3ha.base.time import MS, SECOND, Duration
from l3ha.config import levels
from l3ha.config.document import Document
from l3ha.config.model import Bfd, Cluster, Icl, Monitor, Neighbor, Node, NodeGroup, PathEnd, Preempt, Speaker, Timing
from l3ha.core.bfd import SINGLE_HOP_TTL
from l3ha.wire.bfd import KEYED_SHA1, METICULOUS_SHA1


class Unresolvable(ValueError):
    """A name in a group means nothing on one node; the text says why, and what would be right."""


@dataclass(frozen=True, slots=True)
class Secrets:
    """What the files beside the configuration hold; empty where they were not read."""

    private_key: bytes = b""
    psk: bytes = bytes(32)
    passwords: Mapping[str, str] = field(default_factory=dict)
    """By neighbor name."""
    bfd_keys: Mapping[str, bytes] = field(default_factory=dict)
    """By neighbor name."""

    def __repr__(self) -> str:
        return "Secrets(…)"


def version_of(text: str) -> int:
    """4 or 6, of an address or a prefix."""
    return 6 if ":" in text else 4


def host_of(prefix: str) -> str:
    """The address of a host prefix."""
    return prefix.partition("/")[0]


def router_of(name: str, neighbor: Neighbor) -> str:
    """The router that a session goes to."""
    return neighbor.router or name


def asn_of(cluster: Cluster, node: Node) -> int | None:
    """Local AS number of a node; None where nothing says it."""
    return cluster.asn if node.asn is None else node.asn


def witness_of(node: Node, path: str) -> str | None:
    """The router that a path of this name runs through, None for a dedicated link."""
    routers = (router_of(n, x) for n, x in node.neighbor.items() if path in (n, router_of(n, x)))
    return next(routers, None)


def one_hop(node: Node, path: str) -> bool:
    """Whether this node demands TTL 255 on a path."""
    written = node.paths[path].one_hop
    return witness_of(node, path) is None if written is None else written


def router_id_of(node: Node) -> str | None:
    """BGP router id; None where it is not written and no session is IPv4."""
    sources = (n.local_address for n in node.neighbor.values() if version_of(n.local_address) == 4)
    return node.router_id or next(sources, None)


def source_of(node: Node, version: int) -> str | None:
    """A literal own address of one family: of the first neighbor that has one, else of a path."""
    addresses = [n.local_address for n in node.neighbor.values()] + [p.address for p in node.paths.values()]
    return next((a for a in addresses if version_of(a) == version), None)


def timers(icl: Icl, timing: Timing) -> s.Timers:
    """The protocol's clock."""
    return s.Timers(
        heartbeat=icl.interval,
        multiplier=icl.multiplier,
        settle=timing.settle,
        elect=timing.elect,
        boot=timing.boot,
        noactive=2 * icl.interval if timing.noactive is None else timing.noactive,
        recover=timing.recover,
        drain=timing.drain,
        verify=timing.verify,
        lease=timing.lease,
        bgp=timing.bgp,
    )


def arbiter(name: str, node: str, at: Node, floating: Iterable[str], interval: Duration) -> s.Arbiter:
    """One arbiter as one node asks it. Raises ``Unresolvable``."""
    own, to, source = _literal(name, node, at, floating) if _is_address(name) else _router(name, node, at, floating)
    return s.Arbiter(name, s.EchoTarget(own, to, interval), s.EchoTarget(source, to, interval))


def monitors(written: Iterable[Monitor], threshold: int, node: str, at: Node) -> tuple[s.Monitor, ...]:
    """The monitors of a group that run on this node. Raises ``Unresolvable``."""
    return tuple(monitor(m, threshold, node, at) for m in written if m.only_on is None or node in m.only_on)


def monitor(m: Monitor, threshold: int, node: str, at: Node) -> s.Monitor:
    """One monitor on one node. Raises ``Unresolvable``."""
    if m.interface is not None:
        kind, subject = s.MonitorKind.INTERFACE, m.interface
    elif m.bgp is not None:
        kind, subject = s.MonitorKind.BGP, m.bgp
        if subject not in at.neighbor:
            known = ", ".join(at.neighbor) or "none"
            raise Unresolvable(f'"{subject}" is not a neighbor of node {node}; those are {known}')
    elif m.bfd is not None:
        kind, subject = s.MonitorKind.BFD, m.bfd
        speaking = [name for name, n in at.neighbor.items() if n.bfd is not None]
        if subject not in speaking:
            known = ", ".join(speaking) or "none"
            raise Unresolvable(f'"{subject}" is not a neighbor of node {node} with bfd; those are {known}')
    else:
        kind, subject = s.MonitorKind.IP, m.ip or ""
    rise, fall, interval = sampling(m)
    echo = None
    if kind is s.MonitorKind.IP:
        source = source_of(at, version_of(subject))
        if source is None:
            raise Unresolvable(
                f"node {node} has no IPv{version_of(subject)} address of a neighbor or path to ask {subject} from"
            )
        echo = s.EchoTarget(source, subject, interval)
    return s.Monitor(m.name, kind, subject, echo, m.weight or threshold, rise, fall, interval)


def sampling(m: Monitor) -> tuple[int, int, Duration]:
    """rise, fall, interval. An echo may be lost, so it takes more samples; a carrier speaks for itself."""
    rise, fall, interval = (2, 3, 100 * MS) if m.ip is not None else (1, 1, SECOND)
    return m.rise or rise, m.fall or fall, m.interval or interval


def neighbors(cluster: Cluster, node: Node, secrets: Secrets) -> tuple[s.Neighbor, ...]:
    """The BGP sessions of a node in the order of the file. A password or key that was not read is empty."""
    return tuple(neighbor(cluster, node, name, secrets) for name in node.neighbor)


def neighbor(cluster: Cluster, node: Node, name: str, secrets: Secrets) -> s.Neighbor:
    """One BGP session."""
    n = node.neighbor[name]
    local_asn = asn_of(cluster, node) or 0
    return s.Neighbor(
        name=name,
        router=router_of(name, n),
        address=n.address,
        local_address=n.local_address,
        next_hop=n.next_hop or n.local_address,
        next_hop6=n.next_hop6,
        asn=n.asn,
        local_asn=local_asn,
        router_id=router_id_of(node) or "",
        hold_time=n.hold_time,
        preference=levels.effective(n.preference, ibgp=n.asn == local_asn),
        passive=n.passive,
        port=n.port,
        password=None if n.password_file is None else secrets.passwords.get(name, ""),
        ttl_security=n.ttl_security,
        bfd=None if n.bfd is None else bfd(n.bfd, secrets.bfd_keys.get(name, b"")),
    )


def bfd(written: Bfd, key: bytes) -> s.Bfd | s.FrrBfd:
    """The BFD session of a neighbor."""
    if written.source == "frr":
        return s.FrrBfd(written.vty_socket, written.poll, written.interface, written.vrf)
    auth = written.auth
    return s.Bfd(
        interval=written.interval,
        multiplier=written.multiplier,
        min_ttl=(written.min_ttl or FEWEST_HOPS) if written.multihop else SINGLE_HOP_TTL,
        interface=written.interface,
        auth=None if auth is None else s.BfdAuth(_AUTH_TYPES[auth.type], auth.key_id, key),
        witness=written.witness,
    )


FEWEST_HOPS = 254
"""Least TTL of a multihop session unless it is written: one router between, as FRR has it."""

_AUTH_TYPES = {"keyed-sha1": KEYED_SHA1, "meticulous-keyed-sha1": METICULOUS_SHA1}


def peer(document: Document, node: str, other: str) -> s.Peer:
    """Another node as this one sees it: paths are those that both name."""
    assert document.icl is not None
    mine, theirs = document.nodes[node], document.nodes[other]
    port = document.icl.port
    paths = tuple(
        _path(mine, name, end, theirs.paths[name], port) for name, end in mine.paths.items() if name in theirs.paths
    )
    return s.Peer(NodeId(theirs.id), other, decoded(theirs.public_key), paths)


def settings_for(
    document: Document, node: str, secrets: Secrets, digest: bytes, sections: Mapping[str, bytes]
) -> s.Settings:
    """Settings of one node of a document without faults."""
    cluster, icl, timing, speaker, node_group = document.tables()
    at = document.nodes[node]
    return s.Settings(
        cluster=cluster.name,
        id=NodeId(at.id),
        name=node,
        private_key=secrets.private_key,
        public_key=decoded(at.public_key),
        psk=secrets.psk,
        peers=tuple(peer(document, node, other) for other in document.nodes if other != node),
        neighbors=neighbors(cluster, at, secrets),
        timers=timers(icl, timing),
        srgs=tuple(_group(document, number, node) for number in sorted(document.groups)),
        node_group=_node_group(node_group, node, at),
        speaker=speaker_settings(speaker),
        digest=digest,
        sections=sections,
    )


def speaker_settings(speaker: Speaker) -> s.SpeakerSettings:
    """What the speaker is told."""
    return s.SpeakerSettings(LeaseEnd(speaker.lease_end), speaker.grace, speaker.drop_from, speaker.nudge)


def preempt(written: Preempt | None) -> s.Preempt | None:
    """Preemption, None where it is off."""
    return None if written is None else s.Preempt(written.stable_for, written.max, written.window)


def _group(document: Document, number: int, node: str) -> s.Srg:
    g, at = document.groups[number], document.nodes[node]
    probe = g.probe
    return s.Srg(
        id=SrgId(number),
        description=g.description,
        priorities={NodeId(document.nodes[name].id): priority for name, priority in g.priority.items()},
        preempt=preempt(g.preempt),
        floating=tuple(g.floating),
        routes=tuple(g.routes),
        arbiters=tuple(arbiter(a, node, at, g.floating, probe.interval) for a in probe.arbiters) if probe else (),
        probe_interval=probe.interval if probe else 100 * MS,
        up=probe.up if probe else 2,
        down=probe.down if probe else 3,
        monitors=monitors(g.monitor, g.threshold, node, at),
        threshold=g.threshold,
        blind_after=g.blind_after,
    )


def _node_group(g: NodeGroup, node: str, at: Node) -> s.NodeGroup:
    return s.NodeGroup(
        routes=tuple(g.routes),
        monitors=monitors(g.monitor, g.threshold, node, at),
        threshold=g.threshold,
        shutdown_on_failure=tuple(g.shutdown_on_failure),
        failure_route=g.failure_route,
    )


def _path(node: Node, name: str, mine: PathEnd, theirs: PathEnd, port: int) -> s.Path:
    return s.Path(name, mine.address, theirs.address, port, witness_of(node, name), one_hop(node, name), mine.interface)


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _router(name: str, node: str, at: Node, floating: Iterable[str]) -> tuple[str, str, str]:
    sessions = [n for key, n in at.neighbor.items() if name in (router_of(key, n), key)]
    if not sessions:
        known = ", ".join(dict.fromkeys(router_of(key, n) for key, n in at.neighbor.items())) or "none"
        raise Unresolvable(f'"{name}" is neither an address nor a router of node {node}; those are {known}')
    for prefix, n in _pairs(floating, sessions):
        if version_of(prefix) == version_of(n.address):
            return n.local_address, n.address, host_of(prefix)
    families = " and ".join(sorted({f"IPv{version_of(n.address)}" for n in sessions}))
    raise Unresolvable(
        f'"{name}" is a neighbor of node {node} by {families}, and no floating address is of that family'
    )


def _pairs(floating: Iterable[str], sessions: list[Neighbor]) -> Iterator[tuple[str, Neighbor]]:
    return ((prefix, n) for prefix in floating for n in sessions)


def _literal(name: str, node: str, at: Node, floating: Iterable[str]) -> tuple[str, str, str]:
    to = str(ip_address(name))
    version = version_of(to)
    source = next((host_of(p) for p in floating if version_of(p) == version), None)
    own = next((n.local_address for n in at.neighbor.values() if version_of(n.local_address) == version), None)
    if source is None:
        raise Unresolvable(f"{to} is IPv{version}, and no floating address is of that family")
    if own is None:
        raise Unresolvable(f"node {node} has no neighbor with an IPv{version} local_address to ask {to} from")
    return own, to, source


def decoded(key: str) -> bytes:
    """Raw bytes of a checked public key."""
    return base64.b64decode(key)
