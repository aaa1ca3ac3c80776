"""What must hold between the values of a sound file. Each function yields the faults of one subject."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_network

from l3ha.base.errors import Fault
from l3ha.base.limits import MAX_NODES, MAX_ROUTES
from l3ha.config import bounds, build, levels
from l3ha.config.build import Unresolvable, host_of, version_of
from l3ha.config.document import Document, suggestion
from l3ha.config.lines import KeyPath
from l3ha.config.model import Bfd, Group, Monitor, Neighbor, Node, NodeGroup
from l3ha.wire import noise


def faults(document: Document) -> Iterator[Fault]:
    """Every broken relation between the sections that are sound."""
    yield from _timers(document)
    yield from _cluster(document)
    for name, node in document.nodes.items():
        yield from _node(document, name, node)
    yield from _addresses(document)
    yield from _paths(document)
    yield from _routers(document)
    yield from _groups(document)
    for number, group in document.groups.items():
        yield from _group(document, number, group)
    if document.node_group is not None:
        yield from _node_group(document, document.node_group)


def _timers(document: Document) -> Iterator[Fault]:
    if document.icl is None or document.timers is None:
        return
    timers = build.timers(document.icl, document.timers)
    broken = dict.fromkeys(bounds.cluster(timers, unsafe=document.icl.allow_unsafe_timers))
    for group in document.groups.values():
        if (p := group.probe) is not None:
            broken |= dict.fromkeys(bounds.probe(timers, p.interval, p.up, p.down))
    for section, key, text in broken:
        yield document.fault((section, key), text)


def _cluster(document: Document) -> Iterator[Fault]:
    if len(document.names) > MAX_NODES:
        text = (
            f"there are {len(document.names)} nodes ({', '.join(document.names)}); this version runs one or two nodes"
        )
        yield document.fault(("node",), text)
    ids: dict[int, str] = {}
    keys: dict[str, str] = {}
    for name, node in document.nodes.items():
        if (other := ids.setdefault(node.id, name)) != name:
            yield document.fault(
                ("node", name, "id"), f"is {node.id} as that of node {other}; every node needs its own"
            )
        if (other := keys.setdefault(node.public_key, name)) != name:
            text = f"is that of node {other} too; every node needs its own key (`l3ha keygen`)"
            yield document.fault(("node", name, "public_key"), text)


def _node(document: Document, name: str, node: Node) -> Iterator[Fault]:
    place: KeyPath = ("node", name)
    if not _usable_key(node.public_key):
        yield document.fault((*place, "public_key"), "is not a usable X25519 key; `l3ha keygen` makes a good one")
    if not node.neighbor:
        yield document.fault(
            (*place, "neighbor"), f"is missing; write a table [node.{name}.neighbor.NAME] for every BGP session"
        )
    elif build.router_id_of(node) is None:
        text = 'is missing, and no neighbor has an IPv4 local_address; write one, such as "10.0.1.2"'
        yield document.fault((*place, "router_id"), text)
    if document.cluster is None:
        return
    asn = build.asn_of(document.cluster, node)
    if asn is None:
        yield document.fault(
            (*place, "asn"), "is missing here and in [cluster]; write the local AS number in one of them"
        )
        return
    sessions: dict[str, str] = {}
    for key, neighbor in node.neighbor.items():
        at = (*place, "neighbor", key)
        yield from _neighbor(document, at, neighbor, asn)
        if (other := sessions.setdefault(neighbor.address, key)) != key:
            yield document.fault(
                (*at, "address"), f"is {neighbor.address} as that of neighbor {other}; one session to one address"
            )


def _usable_key(text: str) -> bool:
    try:
        noise.exchange(bytes(range(32)), build.decoded(text))
    except noise.NoiseError:
        return False
    return True


def _neighbor(document: Document, at: KeyPath, n: Neighbor, asn: int) -> Iterator[Fault]:
    version = version_of(n.local_address)
    if version_of(n.address) != version:
        text = f"is {n.address}, but local_address is {n.local_address}; both must be of one family"
        yield document.fault((*at, "address"), text)
    elif n.address == n.local_address:
        yield document.fault((*at, "address"), f"is {n.address}, the same as local_address; write the router's address")
    if n.hold_time in (1, 2):
        yield document.fault((*at, "hold_time"), f"is {n.hold_time}, must be 0 or at least 3 (RFC 4271 section 4.2)")
    if n.next_hop is not None and version_of(n.next_hop) != version:
        text = f"is {n.next_hop}, must be an IPv{version} address like those of the session"
        yield document.fault((*at, "next_hop"), text + ("; for IPv6 routes write next_hop6" if version == 4 else ""))
    if n.next_hop6 is not None:
        if version == 6:
            yield document.fault((*at, "next_hop6"), "the session is IPv6 already; write next_hop")
        elif version_of(n.next_hop6) == 4:
            yield document.fault((*at, "next_hop6"), f"is {n.next_hop6}, must be an IPv6 address")
    for text in levels.faults(n.preference, ibgp=n.asn == asn):
        yield document.fault((*at, "preference"), text)
    if n.bfd is not None:
        yield from _bfd(document, (*at, "bfd"), n.bfd)


_OF_FRR = ("vrf", "poll", "vty_socket")
_OF_BOTH = ("source", "interface")


def _bfd(document: Document, at: KeyPath, bfd: Bfd) -> Iterator[Fault]:
    """Each source has settings of its own; what the other one has would be obeyed by nobody."""
    written = [key for key in type(bfd).model_fields if key in bfd.model_fields_set]
    if bfd.source == "frr":
        for key in written:
            if key == "witness":
                text = 'is for source = "l3ha": what bfdd said last may be older than T_det. Leave it out'
                yield document.fault((*at, key), text)
            elif key not in (*_OF_FRR, *_OF_BOTH):
                text = 'is for source = "l3ha": bfdd has its own, in frr.conf. Write it there, or leave out source'
                yield document.fault((*at, key), text)
        for text in bounds.poll(bfd.poll):
            yield document.fault((*at, "poll"), text)
        return
    for key in written:
        if key in _OF_FRR:
            yield document.fault((*at, key), 'is for source = "frr" only. Write that, or leave it out')
    for text in bounds.bfd(bfd.interval, bfd.multiplier):
        yield document.fault((*at, "interval"), text)
    if bfd.min_ttl is not None and not bfd.multihop:
        text = "is for multihop only; one hop always demands 255. Write multihop = true, or leave it out"
        yield document.fault((*at, "min_ttl"), text)


def _addresses(document: Document) -> Iterator[Fault]:
    """An address belongs to one node, and is either ours or a router's."""
    owner: dict[str, tuple[str, str]] = {}
    remote: dict[str, KeyPath] = {}
    for name, node in document.nodes.items():
        own: list[tuple[KeyPath, str]] = [
            (("node", name, "neighbor", k, "local_address"), n.local_address) for k, n in node.neighbor.items()
        ]
        own += [(("node", name, "paths", k), p.address) for k, p in node.paths.items()]
        for key, address in own:
            holder, where = owner.setdefault(address, (name, ".".join(map(str, key))))
            if holder != name:
                text = f"is {address}, which is an address of node {holder} already ({where})"
                yield document.fault(key, text)
        remote |= {n.address: ("node", name, "neighbor", k, "address") for k, n in node.neighbor.items()}
    for address, key in remote.items():
        if address in owner:
            yield document.fault(
                key, f"is {address}, which is an address of node {owner[address][0]} ({owner[address][1]})"
            )
    yield from _floating_addresses(document, set(owner) | set(remote))


def _floating_addresses(document: Document, taken: set[str]) -> Iterator[Fault]:
    for number, group in document.groups.items():
        for place, prefix in enumerate(group.floating):
            if host_of(prefix) in taken:
                text = (
                    f"{prefix} is an address of a link; a floating address belongs to no link, both nodes "
                    "have it on the loopback"
                )
                yield document.fault(("srg", str(number), "floating", place), text)


def _paths(document: Document) -> Iterator[Fault]:
    for name, node in document.nodes.items():
        used: dict[str, str] = {}
        for path, end in node.paths.items():
            if (other := used.setdefault(end.address, path)) != path:
                yield document.fault(
                    ("node", name, "paths", path), f"is {end.address} as path {other}; two paths need two addresses"
                )
    if len(document.names) != 2 or len(document.nodes) != 2:
        return
    (one, left), (two, right) = document.nodes.items()
    common = [p for p in left.paths if p in right.paths]
    if not common:
        text = f"has no path name in common with node {one}; the same name on both makes a path"
        yield document.fault(("node", two, "paths"), text)
    for path in common:
        a, b = left.paths[path].address, right.paths[path].address
        if version_of(a) != version_of(b):
            yield document.fault(
                ("node", two, "paths", path), f"is {b}, but the other end is {a}; both must be of one family"
            )


def _routers(document: Document) -> Iterator[Fault]:
    """Both nodes must speak to one router in the same numbers, otherwise the term does not fence."""
    if document.cluster is None:
        return
    heard: dict[str, tuple[str, object]] = {}
    for name, node in document.nodes.items():
        asn = build.asn_of(document.cluster, node)
        for key, n in node.neighbor.items():
            router = build.router_of(key, n)
            mine = levels.effective(n.preference, ibgp=n.asn == asn)
            other, theirs = heard.setdefault(router, (f"node.{name}.neighbor.{key}", mine))
            if theirs != mine:
                text = (
                    f"is not the same as that of {other}; router {router} compares them, so profile and "
                    "numbers must be equal"
                )
                yield document.fault(("node", name, "neighbor", key, "preference"), text)


def _groups(document: Document) -> Iterator[Fault]:
    owners: dict[str, str] = {}
    floating: dict[str, str] = {}
    total = 0
    for number, group in _numbered(document):
        total += len(group.routes)
        if total > MAX_ROUTES >= total - len(group.routes):
            text = f"makes {total} routes in all groups, must be at most {MAX_ROUTES}; write an aggregate for some"
            yield document.fault(("srg", number, "routes"), text)
        for key, holder, prefixes in (
            ("routes", owners, group.routes),
            ("floating", floating, group.floating if isinstance(group, Group) else []),
        ):
            seen: set[str] = set()
            for place, prefix in enumerate(prefixes):
                at: KeyPath = ("srg", number, key, place)
                if prefix in seen:
                    yield document.fault(at, f"{prefix} is written twice")
                elif (other := holder.setdefault(prefix, number)) != number:
                    yield document.fault(at, f"{prefix} is in srg.{other} already; it can move with one group only")
                seen.add(prefix)


def _numbered(document: Document) -> Iterator[tuple[str, Group | NodeGroup]]:
    if document.node_group is not None:
        yield "0", document.node_group
    yield from ((str(number), group) for number, group in document.groups.items())


def _group(document: Document, number: int, group: Group) -> Iterator[Fault]:
    at: KeyPath = ("srg", str(number))
    for name in document.names:
        if name not in group.priority:
            yield document.fault(
                (*at, "priority"), f"has no entry for node {name}; every node needs a priority, 1 to 254"
            )
    for name in group.priority:
        if name not in document.names:
            known = ", ".join(document.names) or "none"
            yield document.fault(
                (*at, "priority", name), f"is not a node, those are {known}{suggestion(name, document.names)}"
            )
    for place, prefix in enumerate(group.floating):
        if not any(_covers(route, prefix) for route in group.routes):
            text = f"{prefix} is not among the routes of the group; nobody would find it. Add it to routes"
            yield document.fault((*at, "floating", place), text)
    yield from _monitors(document, at, group.monitor, group.threshold)
    yield from _probe(document, at, group)


def _covers(route: str, prefix: str) -> bool:
    wide, narrow = ip_network(route), ip_network(prefix)
    return wide.version == narrow.version and narrow.subnet_of(wide)  # type: ignore[arg-type]  # versions are equal


def _probe(document: Document, at: KeyPath, group: Group) -> Iterator[Fault]:
    if group.probe is None:
        return
    if not group.floating:
        yield document.fault((*at, "floating"), "is missing; the probe asks from a floating address")
        return
    seen: set[str] = set()
    for place, name in enumerate(group.probe.arbiters):
        key = (*at, "probe", "arbiters", place)
        if name in seen:
            yield document.fault(key, f'"{name}" is written twice')
        seen.add(name)
        for node, model in document.nodes.items():
            try:
                build.arbiter(name, node, model, group.floating, group.probe.interval)
            except Unresolvable as error:
                yield document.fault(key, str(error))


def _monitors(document: Document, at: KeyPath, monitors: list[Monitor], threshold: int) -> Iterator[Fault]:
    seen: set[str] = set()
    for place, m in enumerate(monitors):
        key = (*at, "monitor", place)
        if m.name in seen:
            yield document.fault((*key, "name"), f'"{m.name}" is the name of another monitor of the group')
        seen.add(m.name)
        for name in m.only_on or ():
            if name not in document.names:
                yield document.fault((*key, "only_on"), f'"{name}" is not a node{suggestion(name, document.names)}')
        for name, node in document.nodes.items():
            if m.only_on is None or name in m.only_on:
                try:
                    build.monitor(m, threshold, name, node)
                except Unresolvable as error:
                    subject = "bgp" if m.bgp else "bfd" if m.bfd else "ip"
                    yield document.fault((*key, subject), str(error))


def _node_group(document: Document, group: NodeGroup) -> Iterator[Fault]:
    at: KeyPath = ("srg", "0")
    yield from _monitors(document, at, group.monitor, group.threshold)
    watched = {m.interface: m.name for m in group.monitor if m.interface is not None}
    for place, interface in enumerate(group.shutdown_on_failure):
        if interface in watched:
            text = (
                f'"{interface}" is watched by monitor {watched[interface]} of srg.0; once shut down it '
                "could never recover"
            )
            yield document.fault((*at, "shutdown_on_failure", place), text)
