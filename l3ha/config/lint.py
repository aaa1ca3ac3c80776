"""Warnings: what is allowed and probably not meant, or costs more than it seems."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from ipaddress import ip_address, ip_network

from l3ha.base.errors import Fault
from l3ha.base.settings import Profile
from l3ha.base.time import SECOND
from l3ha.base.time import format_duration as d
from l3ha.config import bounds, build, levels
from l3ha.config.build import version_of
from l3ha.config.document import Document
from l3ha.config.lines import KeyPath
from l3ha.config.model import Group, Neighbor, Node
from l3ha.core.wishes import why_kept

LONG_HOLD = 9
"""Seconds. Without BFD the hold time is how long routers keep what only a dead node had."""


def warnings(document: Document) -> Iterator[Fault]:
    """Every warning about a document without faults."""
    for name, node in document.nodes.items():
        for key, n in node.neighbor.items():
            yield from _neighbor(document, ("node", name, "neighbor", key), node, n)
            yield from _witness(document, ("node", name, "neighbor", key), n)
    yield from _paths(document)
    yield from _routers(document)
    yield from _timers(document)
    yield from _bulk(document)
    yield from _one_by_one(document)
    if not document.groups:
        yield document.fault(("srg",), "there is no group; nothing will fail over. Write a table [srg.1]")
    for number, group in document.groups.items():
        yield from _group(document, ("srg", str(number)), group)
    yield from _shutdown(document)


def _neighbor(document: Document, at: KeyPath, node: Node, n: Neighbor) -> Iterator[Fault]:
    if n.bfd is not None and n.bfd.source == "l3ha":
        slack = (n.bfd.multiplier - 1) * n.bfd.interval
        if slack < bounds.BFD_SLACK:
            text = f"slack is {d(slack)}: false alarms on a busy machine unless real-time scheduling is granted"
            yield document.fault((*at, "bfd", "interval"), text)
    elif n.bfd is None and n.hold_time == 0:
        yield document.fault((*at, "hold_time"), "is 0: the router never notices that this node is dead")
    elif n.bfd is None and n.hold_time > LONG_HOLD:
        text = f"is {n.hold_time} s: for so long the router keeps what a dead node advertised"
        yield document.fault(
            (*at, "hold_time"), f"{text}, where its peer does not advertise the same; {LONG_HOLD} is the default"
        )
    assert document.cluster is not None
    ibgp = n.asn == build.asn_of(document.cluster, node)
    if levels.effective(n.preference, ibgp=ibgp).profile is Profile.PREPEND:
        text = "prepend carries no term: no fencing at this neighbor, a stale HIGH may win over a new one"
        yield document.fault((*at, "preference"), text)


def _witness(document: Document, at: KeyPath, n: Neighbor) -> Iterator[Fault]:
    """As far as this node has a word in the detection time; ``show bfd`` knows the router's."""
    icl, bfd = document.icl, n.bfd
    assert icl is not None
    if bfd is None or not bfd.witness or bfd.source != "l3ha":
        return
    room = (icl.multiplier - 2) * icl.interval
    if bfd.multiplier * bfd.interval > room:
        text = f"detects too late to be a witness: within T_det - 2 x icl.interval = {d(max(room, 0))} it must be down"
        yield document.fault((*at, "bfd", "witness"), text)


def _paths(document: Document) -> Iterator[Fault]:
    if len(document.nodes) != 2:
        return
    (one, left), (two, right) = document.nodes.items()
    common = [p for p in left.paths if p in right.paths]
    for name, node, other in ((one, left, two), (two, right, one)):
        for path in node.paths:
            if path not in common:
                yield document.fault(
                    ("node", name, "paths", path), f"node {other} has no path of this name, so it is none"
                )
        if not any(build.witness_of(node, path) for path in common):
            text = "no path runs through a router: silence cannot fire, takeover waits for the BGP hold time"
            yield document.fault(("node", name, "paths"), f"{text}. Name a path after a neighbor on both nodes")
    if len(common) == 1:
        yield document.fault(("node", two, "paths"), f"{common[0]} is the only path: one cable or port ends contact")
    for path in common:
        if build.one_hop(left, path) != build.one_hop(right, path):
            text = (
                "one node demands TTL 255 and the other does not (one_hop); if a router is between, the path stays down"
            )
            yield document.fault(("node", two, "paths", path), text)


def _routers(document: Document) -> Iterator[Fault]:
    """MED is compared between paths of one AS only; our AS is the one that the router sees."""
    assert document.cluster is not None
    heard: dict[str, tuple[str, int | None]] = {}
    for name, node in document.nodes.items():
        asn = build.asn_of(document.cluster, node)
        for key, n in node.neighbor.items():
            profile = levels.effective(n.preference, ibgp=n.asn == asn).profile
            if profile not in (Profile.MED, Profile.COMMUNITY):
                continue
            router = build.router_of(key, n)
            other, theirs = heard.setdefault(router, (name, asn))
            if theirs != asn:
                text = (
                    f"router {router} sees AS {theirs} from {other} and AS {asn} from {name}; it compares MED only with"
                )
                yield document.fault(
                    ("node", name, "neighbor", key, "preference"), f"{text} bgp always-compare-med or the like"
                )


def _timers(document: Document) -> Iterator[Fault]:
    icl, timing = document.icl, document.timers
    assert icl is not None
    assert timing is not None
    slack = (icl.multiplier - 1) * icl.interval
    if slack < bounds.SLACK_SAFE:
        text = f"slack is {d(slack)}: false alarms on a busy machine unless real-time scheduling is granted"
        yield document.fault(("icl", "allow_unsafe_timers"), text)
    if timing.verify < timing.bgp:
        text = f"T_verify = {d(timing.verify)} is less than T_bgp = {d(timing.bgp)}: planned moves may be handed back"
        yield document.fault(("timers", "verify"), text)


def _bulk(document: Document) -> Iterator[Fault]:
    """T_bgp is what T_drain, T_verify and T_settle are measured by, so it is the one to blame."""
    timing = document.timers
    assert timing is not None
    routes = [route for group in document.groups.values() for route in group.routes]
    routes += document.node_group.routes if document.node_group else []
    versions = Counter(map(version_of, routes))
    count, name = max(
        (sum(versions[version] for n in node.neighbor.values() for version in (4, 6) if _carries(n, version)), name)
        for name, node in document.nodes.items()
    )
    needed = bounds.telling(count)
    if timing.bgp < needed:
        text = (
            f"T_bgp = {d(timing.bgp)}, but node {name} tells its neighbors {count} routes in all, which takes ExaBGP "
            f"{needed / SECOND:.1f} s at {bounds.PREFIXES_PER_SECOND} a second: routers count as lost before they have "
            f'heard it, and planned moves are handed back. Write bgp = "{-(-needed // SECOND)}s", and drain, verify '
            "and settle no less"
        )
        yield document.fault(("timers", "bgp"), text)


def _one_by_one(document: Document) -> Iterator[Fault]:
    """Sessions with enough routes to be ended when their node fails, and why that is not done all the same."""
    speaker = document.speaker
    assert speaker is not None
    if not speaker.drop_from:
        return
    versions = Counter(version_of(route) for group in document.groups.values() for route in group.routes)
    for name, node in document.nodes.items():
        settings = build.settings_for(document, name, build.Secrets(), b"", {})
        for n in settings.neighbors:
            count = sum(versions[version] for version in (4, 6) if _carries(node.neighbor[n.name], version))
            reason = why_kept(settings, n, count)
            if count >= speaker.drop_from and reason:
                text = f"of no effect at neighbor {n.name} of node {name}, which has {count} routes: {reason}"
                yield document.fault(("speaker", "drop_from"), f"{text}. They are lowered one by one")


def _group(document: Document, at: KeyPath, group: Group) -> Iterator[Fault]:
    if len(document.nodes) > 1 and len(set(group.priority.values())) == 1:
        yield document.fault((*at, "priority"), "is the same on all nodes: the greater id decides")
    if group.probe is None:
        text = "is missing: without arbiters a node that lost contact cannot learn whom the routers prefer"
        yield document.fault((*at, "probe"), text)
    elif len(group.probe.arbiters) == 1:
        yield document.fault((*at, "probe", "arbiters"), "is only one: when it is silent, nobody else can be asked")
    for place, prefix in enumerate(group.floating):
        if prefix not in group.routes:
            text = (
                f"{prefix} is not a route of its own: the probe follows a wider prefix, which others may advertise too"
            )
            yield document.fault((*at, "floating", place), text)
    yield from _weights(document, at, group)
    for place, route in enumerate(group.routes):
        yield from _route(document, (*at, "routes", place), route)
    yield from _families(document, at, group)


def _weights(document: Document, at: KeyPath, group: Group) -> Iterator[Fault]:
    for name in document.nodes:
        weights = [m.weight or group.threshold for m in group.monitor if m.only_on is None or name in m.only_on]
        if weights and sum(weights) < group.threshold:
            text = (
                f"all monitors of node {name} weigh {sum(weights)}, the threshold is {group.threshold}: "
                "they change nothing"
            )
            yield document.fault((*at, "threshold"), text)


def _route(document: Document, key: KeyPath, route: str) -> Iterator[Fault]:
    network = ip_network(route)
    if network.prefixlen == 0:
        return
    for name, node in document.nodes.items():
        places = [(f"node.{name}.paths.{k}", p.address) for k, p in node.paths.items()]
        places += [(f"node.{name}.neighbor.{k}", n.address) for k, n in node.neighbor.items()]
        inside = [place for place, address in places if ip_address(address) in network]
        if inside:
            yield document.fault(
                key, f"{route} covers the link of {inside[0]}: routers may send its traffic to the wrong node"
            )


def _families(document: Document, at: KeyPath, group: Group) -> Iterator[Fault]:
    for version in sorted({version_of(route) for route in group.routes}):
        for name, node in document.nodes.items():
            if not any(_carries(n, version) for n in node.neighbor.values()):
                text = f"no neighbor of node {name} gets the IPv{version} routes"
                hint = "; write next_hop6, or a session over IPv6" if version == 6 else "; write a session over IPv4"
                yield document.fault((*at, "routes"), text + hint)


def _carries(n: Neighbor, version: int) -> bool:
    return version_of(n.local_address) == version or (version == 6 and n.next_hop6 is not None)


def _shutdown(document: Document) -> Iterator[Fault]:
    group = document.node_group
    assert group is not None
    for name, node in document.nodes.items():
        links = {end.interface: path for path, end in node.paths.items()}
        for place, interface in enumerate(group.shutdown_on_failure):
            if interface in links:
                text = (
                    f'"{interface}" carries path {links[interface]} of node {name}: an isolated node '
                    "could not be asked any more"
                )
                yield document.fault(("srg", "0", "shutdown_on_failure", place), text)
