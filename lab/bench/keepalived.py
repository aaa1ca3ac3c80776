"""keepalived (VRRP) as it is meant: a shared segment on each side, a virtual address on it, static routes towards it.

The lab has no shared segment, so each router bridges its two node ports; BGP plays no part. Both instances are in one
sync group, each tracks the other uplink, and a tracked file is the operator's lever for a planned move.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import ClassVar

from lab.bench.contender import NO_ICL, PREFERRED, Contender, Part, children
from lab.command import LabError, run
from lab.keeper import Service
from lab.observe import other
from lab.routers import RouterKind
from lab.topology import NODES, ROUTERS, inside, namespace

_NET = {"r1": "100.64.1", "r2": "100.64.2"}
_BEHIND = {"r1": "10.1.0.0/24", "r2": "10.2.0.0/24"}
_FAR = {"r1": "10.2.0.0/16", "r2": "10.1.0.0/16"}
_VIRTUAL = 254
_HOST = {"n1": 2, "n2": 3}
_PRIORITY = {"n1": 200, "n2": 100}

_GLOBAL = """\
global_defs {{
    router_id {node}
    vrrp_version {version}
    max_auto_priority 50
    {refresh}
}}
track_file away {{
    file "{away}"
    weight -150
    init_file 0
}}
vrrp_sync_group both {{
    group {{
        r1
        r2
    }}
    sync_group_tracking_weight
}}
"""
_INSTANCE = """\
vrrp_instance {link} {{
    state BACKUP
    interface {link}
    virtual_router_id {vrid}
    priority {priority}
    advert_int {advert}
    mcast_src_ip {own}
    virtual_ipaddress {{
        {virtual}/24 dev {link}
    }}
    track_file {{
        away
    }}
}}
"""


class Keepalived(Contender):
    """Advertisements every second, keepalived's default."""

    name = "keepalived"
    title = "keepalived"
    setup = "VRRP on a shared segment at each side (the routers bridge it), sync group, preempt; advert 1 s (default)"
    kinds = (RouterKind.FRR,)
    absent: ClassVar[dict[str, str]] = {"icl-cut": NO_ICL}
    heartbeats = "ip protocol 112"
    reaction_s = 5.0
    """It takes over after three advertisements that did not come and a part of a second."""
    advert: ClassVar[str] = "1"
    version: ClassVar[int] = 2
    refresh: ClassVar[str] = ""
    parts = (Part("keepalived", ("keepalived",)),)

    def prepare(self) -> None:
        if shutil.which("keepalived") is None:
            raise LabError("keepalived is not installed: deploy/apt-install keepalived")
        for router in ROUTERS:
            self._bridge(router)
        for node in NODES:
            home = self.directory / node
            home.mkdir()
            (home / "keepalived.conf").write_text(self._configuration(node, home))
            for router in ROUTERS:
                self._ip(node, f"address replace {_NET[router]}.{_HOST[node]}/24 dev {router}")

    def _ip(self, machine: str, words: str) -> str:
        return run(["ip", "-n", namespace(self.tag, machine), *words.split()])

    def _bridge(self, router: str) -> None:
        """The shared segment that VRRP needs."""
        self._ip(router, "link add lan type bridge stp_state 0 forward_delay 0 mcast_snooping 0")
        for node in NODES:
            self._ip(router, f"link set {node} master lan")
        self._ip(router, "link set lan up")
        self._ip(router, f"address add {_NET[router]}.1/24 dev lan")
        quiet = ("net.ipv4.conf.lan.rp_filter=0", "net.ipv4.conf.lan.send_redirects=0")
        run(inside(self.tag, router, "sysctl", "-qw", *quiet))
        self._ip(router, f"route add {_FAR[router]} via {_NET[router]}.{_VIRTUAL}")

    def _configuration(self, node: str, home: Path) -> str:
        text = _GLOBAL.format(node=node, version=self.version, refresh=self.refresh, away=home / "away")
        for number, router in enumerate(ROUTERS, 1):
            net = _NET[router]
            text += _INSTANCE.format(
                link=router,
                vrid=50 + number,
                priority=_PRIORITY[node],
                advert=self.advert,
                own=f"{net}.{_HOST[node]}",
                virtual=f"{net}.{_VIRTUAL}",
            )
        return text

    def node_services(self, node: str) -> list[Service]:
        home = self.directory / node
        argv = ["keepalived", "-n", "-l", "-D", "-P", "-f", str(home / "keepalived.conf")]
        argv += ["-p", str(home / "keepalived.pid"), "-r", str(home / "vrrp.pid")]
        return [self.service(f"keepalived-{node}", node, argv)]

    # --- what can be seen ------------------------------------------------------------------------------------------

    def carrier(self, router: str) -> str:
        """Whose hardware address the router has for the virtual address."""
        answer = self.kernel(router).ask(f"neighbor show {_NET[router]}.{_VIRTUAL} dev lan")
        known = {entry.get("lladdr") for entry in answer}
        return "+".join(node for node in NODES if self._hardware(node, router) in known)

    def _hardware(self, node: str, link: str) -> str:
        if (node, link) not in self._addresses:
            (answer,) = json.loads(self._ip(node, f"-j link show {link}"))
            self._addresses[node, link] = str(answer["address"])
        return self._addresses[node, link]

    @property
    def _addresses(self) -> dict[tuple[str, str], str]:
        known: dict[tuple[str, str], str] = self.__dict__.setdefault("_known_addresses", {})
        return known

    def claims(self) -> frozenset[str]:
        """The nodes that hold a virtual address."""
        return frozenset(node for node in NODES if any(self._holds(node, router) for router in ROUTERS))

    def _holds(self, node: str, router: str) -> bool:
        found = self.kernel(node).ask(f"address show dev {router}")
        return any(own["local"] == f"{_NET[router]}.{_VIRTUAL}" for link in found for own in link.get("addr_info", []))

    def ways(self, router: str) -> list[str]:  # noqa: ARG002 - the same at both
        """The nodes whose keepalived runs."""
        return [node for node in NODES if self.starts(f"keepalived-{node}")]

    def whole(self, active: str = PREFERRED) -> dict[str, object]:
        return {**super().whole(active), "claims": [active]}

    # --- what is done to it ------------------------------------------------------------------------------------------

    def agent_pids(self, node: str) -> list[int]:
        parent = self.pid(f"keepalived-{node}")
        return [parent, *children(parent)]

    def move(self, node: str) -> None:
        (self.directory / node / "away").write_text("0\n")
        (self.directory / other(node) / "away").write_text("1\n" if node != PREFERRED else "0\n")


class KeepalivedFast(Keepalived):
    """Twenty advertisements per second (VRRP version 3)."""

    name = "keepalived-fast"
    title = "keepalived, fast"
    setup = "advert 50 ms (VRRPv3), gratuitous ARP repeated every second; the rest as keepalived"
    reaction_s = 3.0
    advert = "0.05"
    version = 3
    refresh = "vrrp_garp_master_delay 1\n    vrrp_garp_master_refresh 1"
    """A router ignores gratuitous ARP for a second after it last changed its entry (``locktime``)."""
