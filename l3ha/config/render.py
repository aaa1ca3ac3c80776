"""Texts for ExaBGP (4.2.21 and later, 5.0.13 and later): its configuration, its environment, its systemd unit.

Only sessions are written here. Routes come from the speaker alone, so that they have one owner; and there is no
graceful restart, because with it the routes of a killed ExaBGP stay in the routers, HIGH, for the restart time.
"""

from __future__ import annotations

import re

from l3ha.base.errors import ConfigError, Fault
from l3ha.base.settings import Neighbor, Settings

PROCESS = "l3ha"

_WORD = re.compile(r"[A-Za-z0-9_./+@:-]+", re.ASCII)
"""What may stand in the ``run`` line: ExaBGP splits it at blanks and ends it at a semicolon."""


def exabgp(settings: Settings, *, python: str, run_dir: str) -> str:
    """ExaBGP's configuration for one node. ``python`` runs the speaker, ``run_dir`` holds its socket.

    Raises ``ConfigError`` where a path cannot be written, or a BGP password is configured and was not read.
    """
    faults = _unwritable(python, "python") + _unwritable(run_dir, "run_dir") + _unread(settings)
    if faults:
        raise ConfigError(faults)
    return "\n".join([_head(settings, python, run_dir), *map(_neighbor, settings.neighbors)])


def exabgp_environment() -> str:
    """ExaBGP's settings as environment variables, which both lines of versions read."""
    return """\
# ExaBGP under l3ha. EnvironmentFile of exabgp.service; from a shell: set -a; . ./exabgp.env; exabgp exabgp.conf

# At INFO every route of every command is a log line. WARNING keeps the errors, which stand nowhere else.
exabgp_log_level=WARNING
exabgp_log_destination=stdout

# Ten times faster than the default 1.0. Never less: below 0.1 the tick becomes 0 ms and a core is busy for nothing.
exabgp_reactor_speed=0.1

# systemd has chosen the user already; started by root, ExaBGP would change to nobody before it starts the speaker.
exabgp_daemon_drop=false
exabgp_daemon_daemonize=false

# The speaker sends one command at a time and waits for its answer; a dead speaker is started again.
exabgp_api_ack=true
exabgp_api_encoder=json
exabgp_api_respawn=true
exabgp_api_terminate=false

# No second hand on the routes.
exabgp_api_cli=false
"""


def exabgp_unit(*, exabgp: str = "/usr/bin/exabgp", directory: str = "/etc/l3ha") -> str:
    """systemd unit of ExaBGP. It stands beside the agent's unit: a restart of the agent does not touch BGP."""
    return f"""\
[Unit]
Description=ExaBGP with the l3ha speaker: the BGP sessions of this node
After=network-online.target
Wants=network-online.target
# Never give up: without BGP this node serves nobody.
StartLimitIntervalSec=0

[Service]
User=l3ha
Group=l3ha
EnvironmentFile={directory}/exabgp.env
ExecStart={exabgp} {directory}/exabgp.conf
# USR1 reads the configuration again and keeps the sessions. HUP would stop ExaBGP.
ExecReload=/bin/kill -USR1 $MAINPID
Restart=always
RestartSec=200ms
Nice=-10
# Listening on port 179, where a neighbor is passive. Real-time scheduling of the speaker: a takeover waits for it.
AmbientCapabilities=CAP_NET_BIND_SERVICE CAP_SYS_NICE
CapabilityBoundingSet=CAP_NET_BIND_SERVICE CAP_SYS_NICE
LimitMEMLOCK=infinity
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
# Shared with the agent, so whoever starts first makes it and nobody removes it.
RuntimeDirectory=l3ha
RuntimeDirectoryMode=0750
RuntimeDirectoryPreserve=yes

[Install]
WantedBy=multi-user.target
"""


def _head(settings: Settings, python: str, run_dir: str) -> str:
    return f"""\
# Node {settings.name} of cluster {settings.cluster}. Written by `l3ha render exabgp`; change l3ha.toml instead.
# Validate, rename into place, then `systemctl reload exabgp` (USR1; HUP would stop ExaBGP).

# The speaker: announces what the agent wishes, holds its lease, reports what was confirmed.
process {PROCESS} {{
    run {python} -m l3ha speaker --run-dir {run_dir};
    encoder json;
}}
"""


def _neighbor(n: Neighbor) -> str:
    lines = [
        f'description "{n.name}";',
        f"router-id {n.router_id};",
        f"local-address {n.local_address};",
        f"local-as {n.local_asn};",
        f"peer-as {n.asn};",
        f"hold-time {n.hold_time};",
        *_transport(n),
        "# ExaBGP 4.2 drops the session on a ROUTE-REFRESH; with 5.0 it may be enabled.",
        "capability {",
        "    route-refresh disable;",
        "}",
        "family {",
        *(f"    {family} unicast;" for family in _families(n)),
        "}",
        "api {",
        f"    processes [ {PROCESS} ];",
        "    neighbor-changes;",
        "    signal;",
        "}",
    ]
    return "\n".join([f"neighbor {n.address} {{", *(f"    {line}" for line in lines), "}", ""])


def _transport(n: Neighbor) -> list[str]:
    lines = []
    if n.passive:
        lines += ["passive true;", f"listen {n.port};"]
    elif n.port != 179:
        lines.append(f"connect {n.port};")
    if n.ttl_security:
        # both: 4.2 does not derive the one from the other, and without 255 the router hears nothing (RFC 5082)
        lines += ["outgoing-ttl 255;", "incoming-ttl 255;"]
    if n.password is not None:
        lines.append(f"md5-password '{n.password}';")
    return lines


def _families(n: Neighbor) -> list[str]:
    if ":" in n.local_address:
        return ["ipv6"]
    return ["ipv4", "ipv6"] if n.next_hop6 is not None else ["ipv4"]


def _unwritable(path: str, what: str) -> list[Fault]:
    if _WORD.fullmatch(path):
        return []
    text = f"{path!r} cannot be written into ExaBGP's configuration; use letters, digits and / . _ - + @ : only"
    return [Fault("exabgp.conf", 0, what, text)]


def _unread(settings: Settings) -> list[Fault]:
    text = f"the BGP password was not read; render on node {settings.name}, where the file is"
    names = [n.name for n in settings.neighbors if n.password == ""]
    return [Fault("exabgp.conf", 0, f"node.{settings.name}.neighbor.{name}.password_file", text) for name in names]
