"""Digest of the effective configuration: equal on two nodes exactly when they would behave as one cluster.

Defaults are applied and names of files left out, so comments, order and the way of writing do not count. The bytes are
BLAKE2s over canonical JSON.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict

from l3ha.base.settings import FrrBfd
from l3ha.config import build
from l3ha.config.document import Document
from l3ha.config.model import Group, Monitor, Node, NodeGroup

CLUSTER_BYTES = 8
SECTION_BYTES = 4


def digests(document: Document) -> tuple[bytes, dict[str, bytes]]:
    """Digest of the whole, and of every section by its name, of a document without faults."""
    sections = effective(document)
    return _hash(sections, CLUSTER_BYTES), {name: _hash(value, SECTION_BYTES) for name, value in sections.items()}


def effective(document: Document) -> dict[str, object]:
    """The configuration with all defaults as plain data, by section."""
    cluster, icl, timing, speaker, node_group = document.tables()
    timers = asdict(build.timers(icl, timing))
    sections: dict[str, object] = {
        "cluster": {"name": cluster.name},
        "icl": {"port": icl.port, "interval": timers.pop("heartbeat"), "multiplier": timers.pop("multiplier")},
        "timers": timers,
        "speaker": asdict(build.speaker_settings(speaker)),
        "srg.0": _node_group(node_group),
    }
    sections |= {f"node.{name}": _node(document, node) for name, node in document.nodes.items()}
    sections |= {f"srg.{number}": _group(group) for number, group in document.groups.items()}
    return sections


def _node(document: Document, node: Node) -> object:
    assert document.cluster is not None
    paths = {
        name: {"address": end.address, "interface": end.interface, "one_hop": build.one_hop(node, name)}
        for name, end in node.paths.items()
    }
    neighbors = {}
    for n in build.neighbors(document.cluster, node, build.Secrets()):
        bfd = None
        if isinstance(n.bfd, FrrBfd):
            bfd = asdict(n.bfd)
        elif n.bfd is not None:
            bfd = asdict(n.bfd) | {"auth": None if n.bfd.auth is None else (n.bfd.auth.type, n.bfd.auth.key_id)}
        neighbors[n.name] = asdict(n) | {"password": n.password is not None, "bfd": bfd}
    return {"id": node.id, "public_key": node.public_key, "paths": paths, "neighbors": neighbors}


def _group(group: Group) -> object:
    data = group.model_dump(exclude={"monitor", "routes"})
    return data | {"routes": sorted(group.routes), "monitor": _monitors(group.monitor, group.threshold)}


def _node_group(group: NodeGroup) -> object:
    data = group.model_dump(exclude={"monitor", "routes", "shutdown_on_failure"})
    return data | {
        "routes": sorted(group.routes),
        "shutdown_on_failure": sorted(group.shutdown_on_failure),
        "monitor": _monitors(group.monitor, group.threshold),
    }


def _monitors(monitors: list[Monitor], threshold: int) -> Mapping[str, object]:
    return {m.name: _monitor(m, threshold) for m in monitors}


def _monitor(m: Monitor, threshold: int) -> object:
    rise, fall, interval = build.sampling(m)
    return {
        "interface": m.interface,
        "ip": m.ip,
        "bgp": m.bgp,
        "bfd": m.bfd,
        "weight": m.weight or threshold,
        "rise": rise,
        "fall": fall,
        "interval": interval,
        "only_on": sorted(m.only_on) if m.only_on else None,
    }


def _hash(value: object, size: int) -> bytes:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.blake2s(text.encode(), digest_size=size).digest()
