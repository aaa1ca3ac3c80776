"""``show node|peer|probe|monitor|routes|bgp|bfd|events``: plain objects of the control protocol -> lines."""

from __future__ import annotations

import time

from l3ha.base.time import SECOND, Duration, format_duration
from l3ha.cli.srg import (
    LEGEND,
    Json,
    arbiters,
    attention,
    default_group,
    monitor_table,
    monitors,
    title,
)
from l3ha.cli.text import age, ago, clean, field, item, rtt, table, up_down, words, yes_no

_LABEL = 4


def node(status: Json) -> list[str]:
    """Junos's node block, SRG 0, and what the software knows of itself."""
    me, speaker = status["node"], status["speaker"]
    codes = " ".join(me["failure_events"])
    lines = [title(me), *attention(status | {"srgs": [], "neighbors": []}, []), ""]
    lines += ["Node failure codes:", *LEGEND[1:], ""]
    lines += field(0, "Node Status", f"{me['state']} [ {codes} ]" if codes else me["state"])
    lines += field(0, "Local-id", me["id"])
    lines += field(0, "Local-IP", words({path["local"]: None for peer in status["peers"] for path in peer["paths"]}))
    lines += ["HA Peer Information:", ""]
    for one in status["peers"]:
        lines += [*_peer_head(one), ""]
    if not status["peers"]:
        lines += [" " * _LABEL + "No HA peer configured", ""]
    lines += [*default_group(me, status["peers"]), "", "Software:"]
    lines += field(_LABEL, "Version", f"{me['software']}   Uptime: {age(me['uptime'])}   Intent: {me['intent']}")
    lines += field(_LABEL, "Incarnation", f"{me['incarnation']}   Pauses: {me['pauses']}")
    late = me["lateness"]
    bounds = (("50 %", "p50"), ("99 %", "p99"), ("99.9 %", "p999"), ("worst", "worst"))
    text = "   ".join(f"{share} {rtt(late[name])}" for share, name in bounds) if late["count"] else "none yet"
    lines += field(_LABEL, "Lateness Of Loop", text)
    lines += field(_LABEL, "Configuration Digest", me["digest"])
    lines += field(_LABEL, "Maintenance", yes_no(me["maintenance"]))
    lines += field(_LABEL, "Speaker", _speaker(speaker))
    if status["monitors"]:
        lines += ["", "SRG 0 Monitor Information:", *monitor_table(_LABEL, status["monitors"])]
    return lines


def _peer_head(peer: Json) -> list[str]:
    first = peer["paths"][0]["remote"] if peer["paths"] else "NONE"
    pace = f"{peer['multiplier']} * {format_duration(peer['interval'])}"
    return [
        *field(_LABEL, "Peer Id", f"{peer['id']}        Name: {peer['name']}        IP address: {first}"),
        *field(_LABEL, "Encrypted", f"{yes_no(peer['encrypted'])}     Conn State: {up_down(peer['contact'])}"),
        *field(_LABEL, "Configured Detection Time", pace),
    ]


def peer(status: Json) -> list[str]:
    """Every peer with its paths and counters."""
    lines = [title(status["node"])]
    for one in status["peers"]:
        lines += ["", *_peer_head(one), *_peer_facts(one), "", " " * _LABEL + "Paths:", *_paths(one)]
        lines += ["", " " * _LABEL + f"Packet Statistics: sent {one['sent']}   received {one['received']}"]
        drops = [(reason, count) for reason, count in one["drops"].items() if count]
        lines += table(_LABEL + 4, ("Dropped", "Packets"), drops) if drops else [" " * (_LABEL + 4) + "Dropped: NONE"]
    return lines if status["peers"] else [*lines, "", "No HA peer configured"]


def _peer_facts(one: Json) -> list[str]:
    since = "never heard" if one["since"] is None else f"for {age(one['since'])}"
    session = "NONE" if one["session_age"] is None else age(one["session_age"])
    lines = field(_LABEL, "Conn State Since", f"{since}   Session Age: {session}")
    stale = "" if one["contact"] else "  STALE" if one["state"] else ""
    state = f"{one['state'] or 'UNKNOWN'}{stale}"
    lines += field(_LABEL, "Node Status", f"{state}   Intent: {one['intent'] or 'UNKNOWN'}")
    lines += field(_LABEL, "Software", one["software"] or "UNKNOWN")
    lines += field(_LABEL, "Incarnation", one["incarnation"] or "UNKNOWN")
    same = f"DIFFERS in {words(one['differs'])}" if one["differs"] else "same as here" if one["digest"] else "UNKNOWN"
    lines += field(_LABEL, "Configuration", same)
    return lines + field(_LABEL, "Routers Reached", words(one["reach"]))


def _paths(one: Json) -> list[str]:
    heads = ("Path", "Local-IP", "Peer-IP", "Router", "Status", "Since", "Heard", "RTT", "Sent", "Received")
    rows = [
        (
            *(path["name"], path["local"], path["remote"], path["router"] or "-", up_down(path["up"])),
            *(age(path["since"]), age(path["heard"]), rtt(path["rtt"]), path["sent"], path["received"]),
        )
        for path in one["paths"]
    ]
    return table(_LABEL + 4, heads, rows)


def probe(status: Json) -> list[str]:
    """The activeness probe of each group, with counters and what was dropped."""
    lines = [title(status["node"])]
    for srg in status["srgs"]:
        it = srg["probe"]
        lines += ["", f"Services Redundancy Group: {srg['id']} ({srg['state']})"]
        if not it["arbiters"]:
            lines.append(" " * _LABEL + "no arbiter is configured: the probe says UNKNOWN")
            continue
        lines += field(_LABEL, "Result", f"{it['verdict']}, {it['count']} in a row")
        lines += field(_LABEL, "Pace", f"every {format_duration(it['interval'])}, up {it['up']}, down {it['down']}")
        lines += ["", *arbiters(_LABEL, it["arbiters"]), ""]
        rows = [(a["name"], a["sent"], a["answered"], _drops(a["drops"])) for a in it["arbiters"]]
        lines += table(_LABEL, ("Arbiter", "Sent", "Answered", "Dropped"), rows)
    return lines if status["srgs"] else [*lines, "", "no SRG is configured"]


def _drops(drops: Json) -> str:
    return words(f"{reason} {count}" for reason, count in drops.items() if count)


def monitor(status: Json) -> list[str]:
    """Every monitor, SRG 0 first."""
    lines = [title(status["node"])]
    if status["monitors"]:
        lines += ["", "Services Redundancy Group: 0", *monitor_table(_LABEL + 4, status["monitors"])]
    for srg in status["srgs"]:
        lines += ["", f"Services Redundancy Group: {srg['id']}"]
        lines += monitors(srg) if srg["monitors"] else [" " * (_LABEL + 4) + "no monitor is configured"]
    return lines


def routes(status: Json) -> list[str]:
    """What each neighbor shall hold, and whether it confirmed it."""
    rows = [
        (
            *(route["neighbor"], route["srg"], route["prefix"], route["level"], route["term"]),
            *("✓" if route["confirmed"] else "✗ pending", route["attributes"]),
        )
        for route in status["routes"]
    ]
    heads = ("Neighbor", "SRG", "Prefix", "Level", "Term", "Confirmed", "Attributes")
    return [title(status["node"]), "", *(table(0, heads, rows) if rows else ["no route is configured"])]


def bgp(status: Json) -> list[str]:
    """The speaker with its lease, and the neighbors."""
    lines = [title(status["node"]), "", "Speaker:", *field(_LABEL, "State", _speaker(status["speaker"]))]
    wish = status["speaker"]
    lines += field(_LABEL, "Wish", f"generation {wish['wish']}, {'✓ confirmed' if wish['confirmed'] else '✗ pending'}")
    rows = [
        (
            *(one["name"], one["router"], one["address"], one["asn"], one["profile"], up_down(one["up"])),
            *(age(one["since"]), "✓" if one["confirmed"] else "✗ pending", one["error"] or ""),
        )
        for one in status["neighbors"]
    ]
    heads = ("Neighbor", "Router", "Address", "AS", "Profile", "State", "Since", "Routes", "Error")
    return [*lines, "", *(table(0, heads, rows) if rows else ["no neighbor is configured"])]


def bfd(status: Json) -> list[str]:
    """Every BFD session, with timers, counters and what was dropped."""
    lines = [title(status["node"])]
    if not status["speaker"]["connected"]:
        lines += ["", "STALE: the speaker is absent, and BFD with it"]
    for one in status["bfd"]:
        ours = one["source"] == "l3ha"
        kind = ("several hops" if one["multihop"] else "one hop") + (", signed" if one["authenticated"] else "")
        kind = kind if ours else one["source"]
        lines += ["", f"Neighbor: {one['neighbor']}   {one['local_address']} -> {one['address']} ({kind})"]
        since = "" if one["since"] is None else f" for {age(one['since'])}"
        counted = "" if one["counted"] else "   ✗ not counted as reached"
        lines += field(_LABEL, "State", f"{one['state']}{since}   Flaps: {one['flaps']}{counted}")
        lines += field(_LABEL, "Diagnostic", f"{one['diagnostic']}   Remote: {one['remote_diagnostic']}")
        lines += field(_LABEL, "Remote State", one["remote_state"]) if ours else []
        rows = [
            ("local", _pace(one["interval"]), _pace(one["required_rx"]), one["multiplier"] or "-"),
            ("remote", _pace(one["remote_tx"]), _pace(one["remote_rx"]), one["remote_multiplier"] or "-"),
        ]
        lines += table(_LABEL, ("Timers", "Sends every", "Takes every", "Multiplier"), rows)
        lines += field(_LABEL, "Detection Time", _pace(one["detection"]))
        if one["witness"] is not None:
            proof = (
                "✓ proves that the router lives" if one["witness"] else "✗ proves nothing: not up, or detects too late"
            )
            lines += field(_LABEL, "Witness", proof)
        dropped = f"Dropped: {_drops(one['drops'])}"
        counted = f"sent {one['sent']}   received {one['received']}   {dropped}"
        lines += field(_LABEL, "Packets", counted) if ours else []
        lines += field(_LABEL, "Error", one["error"]) if one["error"] else []
    return lines if status["bfd"] else [*lines, "", "no neighbor has BFD configured"]


def bfd_up(status: Json) -> bool:
    """No session is down, unless an end took it down on purpose."""
    meant = ("UP", "ADMIN_DOWN")
    return all(one["state"] in meant or one["remote_state"] == "ADMIN_DOWN" for one in status["bfd"])


def _pace(value: Duration | None) -> str:
    return "-" if value is None else format_duration(value)


def _speaker(speaker: Json) -> str:
    if not speaker["connected"]:
        kept = "still live" if speaker["lease_live"] else f"EXPIRED, lease_end = {speaker['lease_end']}"
        return f"ABSENT (lease {kept})"
    lease = f"lease {format_duration(speaker['lease'])}, {'live' if speaker['lease_live'] else 'EXPIRED'}"
    return f"CONNECTED (ExaBGP {speaker['exabgp'] or 'version unknown'}; {lease}; at its end: {speaker['lease_end']})"


def events(answer: Json) -> list[str]:
    """The history, oldest first, so that the newest stands next to the prompt. ``!`` marks an alarm."""
    rows = []
    for event in answer["events"]:
        at = time.strftime("%b %d %H:%M:%S", time.localtime(event["at"] / SECOND))
        where = "-" if event["srg"] is None else event["srg"]
        details = " ".join(f"{key}={clean(value)}" for key, value in event["fields"].items())
        text = f"{event['text']} ({details})" if details else event["text"]
        stamp = f"{at}.{event['at'] // 1_000_000 % 1000:03d}"
        rows.append((stamp, ago(event["age"]), where, event["rule"] or event["kind"], "!" * bool(event["alarm"]), text))
    return table(0, ("Time", "Age", "SRG", "Rule", "", "Event"), rows) if rows else ["no event yet"]


def answer(reply: Json) -> list[str]:
    """A request's preconditions and whether it was accepted."""
    lines = []
    for check in reply["checks"]:
        lines += item(2, "✓" if check["ok"] else "✗", f"{check['name']}: {check['detail']}")
    if reply["text"]:
        return lines + item(0, "✓" if reply["accepted"] else "✗", reply["text"])
    return [*lines, "✓ accepted" if reply["accepted"] else "✗ refused"]
