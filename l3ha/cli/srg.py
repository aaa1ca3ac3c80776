"""``show srg``: Junos's block for each group, then what Junos does not tell: which rule, when and why.

Labels, order and indentation of the first part follow ``show chassis high-availability services-redundancy-group``.
All functions take the plain objects of the control protocol and return lines.
"""

from __future__ import annotations

import time
from typing import Any, TypeAlias

from l3ha.base.time import SECOND, Duration, format_duration
from l3ha.cli.text import DAY, age, ago, field, item, rtt, table, up_down, words, yes_no

Json: TypeAlias = dict[str, Any]

LEGEND = (
    "SRG failure event codes:",
    "    IF  Interface monitoring        IP  IP monitoring",
    "    BG  BGP session monitoring      CP  Control Plane monitoring (speaker)",
    "    NM  Node in maintenance or isolated",
)

_LABEL = 8
_INNER = 10


def render(status: Json, number: int | None) -> list[str]:
    """The whole answer; ``number`` 0 is the node's own group."""
    lines = [title(status["node"])]
    if number == 0:
        return [*lines, "", *default_group(status["node"], status["peers"])]
    lines += [line for srg in status["srgs"] for line in _summary(status, srg)]
    lines += [*attention(status, status["srgs"]), "", *LEGEND]
    for srg in status["srgs"]:
        lines += ["", *_group(status, srg)]
    return lines if status["srgs"] else [*lines, "", "no SRG is configured"]


def served(status: Json, number: int | None) -> bool:
    """Whether every group shown has an ACTIVE node that we know of now (exit code 0 or 1)."""
    if number == 0:
        return bool(status["node"]["state"] == "ONLINE")
    return all(_has_active(status, srg) for srg in status["srgs"])


def title(node: Json) -> str:
    """Which node speaks: two terminals look alike."""
    clock = time.strftime("%H:%M:%S")
    return item(0, "Node:", f"{node['name']} (id {node['id']}, cluster {node['cluster']})   {node['state']}   {clock}")[
        0
    ]


def default_group(node: Json, peers: list[Json]) -> list[str]:
    """SRG 0, which is the node itself."""
    lines = ["Services Redundancy Group: 0", *field(_LABEL, "Current State", _state(node))]
    lines += field(_LABEL, "Rule", f"{node['rule']}, {_when(node['since'])}")
    if node["routes"]:
        lines += field(_LABEL, "Routes", words(node["routes"]))
    lines.append(" " * _LABEL + "Peer Information:")
    for peer in peers:
        lines += field(_INNER, "Peer Id", peer["id"])
        lines += field(_INNER, "Current State", told(peer, peer["state"]))
    return lines if peers else [*lines, " " * _INNER + "No HA peer configured"]


def attention(status: Json, srgs: list[Json]) -> list[str]:
    """What an engineer must see first, or nothing."""
    facts = [fact for srg in srgs for fact in _about_group(status, srg)]
    speaker = status["speaker"]
    if not speaker["connected"]:
        lease = "still runs" if speaker["lease_live"] else f"is EXPIRED, lease_end = {speaker['lease_end']}"
        facts.append(f"the speaker is ABSENT: this node can tell routers nothing (lease {lease}); does ExaBGP run?")
    elif status["neighbors"] and not any(neighbor["up"] for neighbor in status["neighbors"]):
        facts.append("every BGP session of this node is DOWN")
    for peer in status["peers"]:
        facts += _about_peer(peer)
    return [line for fact in facts for line in item(0, "ATTENTION:", fact)]


def _about_group(status: Json, srg: Json) -> list[str]:
    facts = []
    if not _has_active(status, srg):
        facts.append(f"SRG {srg['id']}: no ACTIVE node is known")
    if srg["state"] == "INELIGIBLE":
        facts.append(f"SRG {srg['id']} is INELIGIBLE here: {srg['reason']}")
    if srg["state"] == "ACTIVE" and not srg["confirmed"]:
        facts.append(f"SRG {srg['id']} is ACTIVE here without confirmation by the peer or a router")
    return facts


def _about_peer(peer: Json) -> list[str]:
    facts = []
    down = [path["name"] for path in peer["paths"] if not path["up"]]
    if not peer["contact"]:
        never = "ever: its addresses, the UDP port or a key may be wrong, see: l3ha show peer"
        ever = never if peer["since"] is None else f"for {age(peer['since'])}"
        facts.append(f"no contact with {peer['name']} {ever}")
    elif down:
        facts.append(f"ICL path{'s' * (len(down) > 1)} to {peer['name']} DOWN: {', '.join(down)} (contact goes on)")
    if peer["differs"]:
        facts.append(f"{peer['name']} runs another configuration; sections that differ: {', '.join(peer['differs'])}")
    return facts


def _summary(status: Json, srg: Json) -> list[str]:
    """One line that says it all, before the block that says it in detail."""
    nodes = {peer["id"]: peer for peer in status["peers"]}
    there = [f"{p['name']} {p['state'] if nodes[p['id']]['contact'] else 'UNKNOWN'}" for p in srg["peers"]]
    here = f"{status['node']['name']} {srg['state']}"
    return item(0, f"SRG {srg['id']}:", f"{', '.join([here, *there])}; rule {srg['rule']}, {ago(srg['rule_age'])}")


def _has_active(status: Json, srg: Json) -> bool:
    heard = {peer["id"] for peer in status["peers"] if peer["contact"]}
    return srg["state"] == "ACTIVE" or any(p["state"] == "ACTIVE" and p["id"] in heard for p in srg["peers"])


def _group(status: Json, srg: Json) -> list[str]:
    lines = [f"Services Redundancy Group: {srg['id']}"]
    if srg["description"]:
        lines += field(_LABEL, "Description", srg["description"])
    lines += field(_LABEL, "Deployment Type", "ROUTING")
    lines += field(_LABEL, "Status", _state(srg))
    lines += field(_LABEL, "Activeness Priority", srg["priority"])
    lines += field(_LABEL, "Preemption", "ENABLED" if srg["preempt"] else "DISABLED")
    lines += field(_LABEL, "Process Packet In Backup State", "YES")
    lines += field(_LABEL, "Control Plane State", "READY" if status["speaker"]["connected"] else "NOT READY")
    lines += field(_LABEL, "System Integrity Check", _integrity(srg))
    lines += field(_LABEL, "Failure Events", words(srg["failure_events"]))
    lines += _peers(status, srg)
    lines += ["", *_why(srg), "", *_preference(status, srg), "", *_probe(srg["probe"])]
    if srg["monitors"]:
        lines += ["", *monitors(srg)]
    return lines


def _integrity(srg: Json) -> str:
    if srg["state"] != "BACKUP":
        return "N/A"
    return "COMPLETE" if srg["ready"] else "IN PROGRESS"


def _peers(status: Json, srg: Json) -> list[str]:
    nodes = {peer["id"]: peer for peer in status["peers"]}
    lines = [" " * _LABEL + "Peer Information:"]
    for peer in srg["peers"]:
        contact = nodes[peer["id"]]["contact"]
        lines += field(_INNER, "Peer Id", f"{peer['id']} ({peer['name']})")
        lines += field(_INNER, "Status ", told(nodes[peer["id"]], peer["state"]))
        lines += field(_INNER, "Health Status", _health(peer["healthy"] if contact else None))
        lines += field(_INNER, "Failover Readiness", _readiness(srg, peer["ready"] if contact else None))
    return lines if srg["peers"] else [*lines, " " * _INNER + "No HA peer configured"]


def told(peer: Json, state: str | None) -> str:
    """What a peer said about itself, loudly marked where it is old."""
    if peer["contact"]:
        return state or "UNKNOWN"
    if state is None:
        return "UNKNOWN (never heard)"
    heard = min((path["heard"] for path in peer["paths"] if path["heard"] is not None), default=None)
    return f"UNKNOWN (STALE: {state} when last heard, {ago(heard)})"


def _health(healthy: bool | None) -> str:
    return "UNKNOWN" if healthy is None else "HEALTHY" if healthy else "UNHEALTHY"


def _readiness(srg: Json, ready: bool | None) -> str:
    if srg["state"] != "ACTIVE":
        return "N/A"
    return "UNKNOWN" if ready is None else "READY" if ready else "NOT READY"


def _state(thing: Json) -> str:
    codes = " ".join(thing["failure_events"])
    return f"{thing['state']} [{codes}]" if codes else str(thing["state"])


def _when(since: Duration) -> str:
    form = "%H:%M:%S" if since < DAY // 2 else "%b %d %H:%M:%S"
    return f"{ago(since)} ({time.strftime(form, time.localtime(time.time() - since / SECOND))})"


def _why(srg: Json) -> list[str]:
    lines = [" " * _LABEL + "Present State:"]
    lines += field(_INNER, "Rule", f"{srg['rule']}, {_when(srg['rule_age'])}")
    lines += field(_INNER, "Reason", srg["reason"])
    lines += field(_INNER, f"{srg['state']} Since", _when(srg["since"]))
    if srg["state"] == "ACTIVE":
        lines += field(_INNER, "Confirmed", f"{yes_no(srg['confirmed'])}   Verified: {yes_no(srg['verified'])}")
    claim = "NONE" if srg["claim"] is None else srg["claim"]
    grant = "NONE" if srg["grant"] is None else srg["grant"]
    lines += field(_INNER, "Term", f"{srg['term']}   Highest Seen: {srg['seen']}   Claim: {claim}   Grant: {grant}")
    if srg["move"]:
        lines += field(_INNER, "Planned Move", srg["move"])
    return lines


def _preference(status: Json, srg: Json) -> list[str]:
    number = f", term {srg['term']}" if srg["level"] == "HIGH" else ""
    lines = field(_LABEL, "Advertised Preference", f"{srg['level']}{number}")
    if srg["floating"]:
        lines += field(_INNER, "Floating IP", words(srg["floating"]))
    lines += field(_INNER, "Routes", _prefixes(srg["routes"]))
    told_by = [f"{'✓' if n['up'] and n['confirmed'] else '✗'} {n['name']}{_trouble(n)}" for n in status["neighbors"]]
    return lines + field(_INNER, "Confirmed By Neighbor", "   ".join(told_by) or "NONE")


def _prefixes(routes: list[str]) -> str:
    more = f" … {len(routes) - 6} more (show routes)" if len(routes) > 8 else ""
    return words(routes[:6] if more else routes) + more


def _trouble(neighbor: Json) -> str:
    if not neighbor["up"]:
        return " (session DOWN)"
    return "" if neighbor["confirmed"] else " (update pending)"


def _probe(probe: Json) -> list[str]:
    lines = [" " * _LABEL + "Split-brain Prevention Probe Info:"]
    lines += field(_INNER, "Type", "ICMP Probe")
    lines += field(_INNER, "Status", "RUNNING" if probe["arbiters"] else "NOT RUNNING (no arbiter is configured)")
    if probe["arbiters"]:
        pace = f"every {format_duration(probe['interval'])}, up {probe['up']}, down {probe['down']}"
        lines += field(_INNER, "Result", f"{probe['verdict']}, {probe['count']} in a row ({pace})")
        lines += arbiters(_INNER, probe["arbiters"])
    return lines


def arbiters(indent: int, routers: list[Json]) -> list[str]:
    """Two rows for each arbiter: whom does it answer?"""
    rows = []
    for router in routers:
        known = "known" if router["known"] else "not known"
        where = router["name"], router["destination"]
        rows.append((*where, router["floating_source"], router["floating"], rtt(router["floating_rtt"]), known))
        rows.append(("", "", router["own_source"], router["own"], rtt(router["own_rtt"]), "own address"))
    lines = table(indent, ("Arbiter", "DST-IP", "SRC-IP", "Result", "RTT", "Remark"), rows)
    for router in routers:
        if router["error"]:
            lines += field(indent, f"{router['name']} error", router["error"])
    return lines


def monitors(srg: Json) -> list[str]:
    """The monitors of one group with their sum."""
    lines = field(
        _LABEL, "Monitor Information", f"failed weight {srg['weight_failed']} of threshold {srg['threshold']}"
    )
    return lines + monitor_table(_INNER, srg["monitors"])


def monitor_table(indent: int, objects: list[Json]) -> list[str]:
    """Monitors, one a row."""
    rows = [
        (m["name"], m["kind"], m["subject"], m["weight"], up_down(m["up"]), age(m["since"]), m["reason"])
        for m in objects
    ]
    return table(indent, ("Monitor", "Type", "Object", "Weight", "Status", "Since", "Reason"), rows)
