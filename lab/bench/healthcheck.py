"""``exabgp healthcheck``: what comes with ExaBGP. Each node announces both networks while it can reach both routers.

The preference is static: MED 100 from n1, 200 from n2, towards both routers; a node whose check fails announces MED
1000. The nodes know nothing of each other.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import ClassVar

from lab.bench.contender import (
    FRR_BFD_PROFILE,
    NO_HEARTBEATS,
    NO_ICL,
    PREFERRED,
    Contender,
    Part,
    children,
    command_line,
)
from lab.command import LabError
from lab.keeper import Service
from lab.observe import other
from lab.routers import frr
from lab.topology import BEYOND, ROUTERS
from lab.world import EXABGP_ENV

LINK = {("n1", "r1"): "100.64.11", ("n1", "r2"): "100.64.21", ("n2", "r1"): "100.64.12", ("n2", "r2"): "100.64.22"}
ASN = {"r1": 65010, "r2": 65002}
_MED = {"n1": 100, "n2": 200}

NEIGHBOR = """\
neighbor {net}.1 {{
    router-id {router_id};
    local-address {net}.2;
    local-as 65010;
    peer-as {asn};
    {hold}
    family {{
        ipv4 unicast;
    }}
    api {{
        processes [ check ];
    }}
}}
"""


class Healthcheck(Contender):
    """ExaBGP and its health check with their own defaults."""

    name = "exabgp"
    title = "exabgp healthcheck"
    setup = "check pings both routers every 5 s, fall 3, rise 3 (defaults); MED 100 and 200; BGP hold time 90 s, no BFD"
    absent: ClassVar[dict[str, str]] = {"icl-cut": NO_ICL, "heartbeats-lost": NO_HEARTBEATS}
    reaction_s = 6.0
    """The check comes every 5 s."""
    hold: ClassVar[str] = ""
    options: ClassVar[tuple[str, ...]] = ()
    environment: ClassVar[dict[str, str]] = {
        name: value for name, value in EXABGP_ENV.items() if name != "exabgp_reactor_speed"
    }
    parts = (
        Part("healthcheck", ("exabgp", "healthcheck")),
        Part("ExaBGP", ("exabgp",)),
        Part("bfdd", ("bfdd",)),
        Part("zebra", ("zebra",)),
    )

    def node_services(self, node: str) -> list[Service]:
        home = self.directory / node
        home.mkdir()
        (home / "exabgp.conf").write_text(self._configuration(node, home))
        argv = [str(Path(sys.executable).parent / "exabgp"), str(home / "exabgp.conf")]
        return [self.service(f"exabgp-{node}", node, argv, env=self.environment)]

    def _configuration(self, node: str, home: Path) -> str:
        pings = " && ".join(f"ping -q -n -c 1 -W 1 {LINK[node, router]}.1" for router in ROUTERS)
        words = [sys.executable, "-m exabgp healthcheck --silent --no-ip-setup", f'--cmd "{pings}"']
        words += [f"--ip {BEYOND[router][0]}" for router in ROUTERS]
        words += [f"--up-metric {_MED[node]}", f"--disable {home / 'away'}", *self.options]
        text = f"process check {{\n    run {' '.join(words)};\n    encoder text;\n}}\n"
        for router in ROUTERS:
            net, hold = LINK[node, router], f"hold-time {self.hold};" if self.hold else ""
            text += NEIGHBOR.format(net=net, router_id=f"{LINK[node, 'r1']}.2", asn=ASN[router], hold=hold)
        return text

    def agent_pids(self, node: str) -> list[int]:
        found = [pid for pid in children(self.pid(f"exabgp-{node}")) if "healthcheck" in command_line(pid)]
        if not found:
            raise LabError(f"ExaBGP on {node} runs no health check")
        return found

    def move(self, node: str) -> None:
        """Disabling a node is the documented lever; it is heard at the next check."""
        (self.directory / node / "away").unlink(missing_ok=True)
        if node != PREFERRED:
            (self.directory / other(node) / "away").touch()


class HealthcheckFast(Healthcheck):
    """As fast as the options allow."""

    name = "exabgp-fast"
    title = "exabgp healthcheck, fast"
    setup = (
        "check every 0.2 s, 0.1 s while changing, fall 1, rise 1; hold time 3 s (ExaBGP's least); the rest as exabgp"
    )
    reaction_s = 3.5
    """The hold time."""
    hold = "3"
    options = ("--interval 0.2", "--fast-interval 0.1", "--rise 1", "--fall 1", "--timeout 1")
    environment: ClassVar[dict[str, str]] = EXABGP_ENV


class HealthcheckBfd(HealthcheckFast):
    """FRR's bfdd beside it answers the routers."""

    name = "exabgp-bfd"
    title = "exabgp healthcheck, fast + bfdd"
    setup = "as exabgp-fast, with FRR's bfdd on the nodes and BFD 3 × 50 ms on the routers"
    bfd = True

    def node_services(self, node: str) -> list[Service]:
        found = super().node_services(node)
        text = "".join(
            f" peer {net}.1 local-address {net}.2 interface {router}\n  profile fast\n !\n"
            for router, net in ((router, LINK[node, router]) for router in ROUTERS)
        )
        (self.directory / node / "bfdd.conf").write_text(f"{FRR_BFD_PROFILE}bfd\n{text}!\n")
        daemons = frr(self.tag, self.directory, node, "bfdd")
        return found + [service for service in daemons if not service.name.startswith("bgpd")]
