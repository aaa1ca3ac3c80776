"""R1 and R2: real routing daemons (FRR, or BIRD), started directly, each in its own directory; what they hold.

R1 is in the nodes' AS (iBGP, local preference decides), R2 in another one (eBGP, MED decides).
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from lab import vty
from lab.command import LabError, run
from lab.keeper import Service
from lab.topology import GATEWAYS, NODES_DIR, inside


class RouterKind(StrEnum):
    """Which software R1 and R2 run."""

    FRR = "frr"
    BIRD = "bird"


_FRR_DIRS = ("/usr/lib/frr", "/usr/libexec/frr", "/usr/sbin")


@dataclass(frozen=True, slots=True)
class BgpPath:
    """One path of a prefix in a router's BGP table."""

    node: str
    best: bool
    local_preference: int | None
    med: int | None

    def __str__(self) -> str:
        mark = ">" if self.best else " "
        return f"{mark} {self.node} local-preference {self.local_preference or '-'} MED {self.med or '-'}"


def services(tag: str, directory: Path, router: str, kind: RouterKind) -> list[Service]:
    """The daemons of one router; makes their directory, which they must be able to write to."""
    home = directory / router
    home.mkdir(exist_ok=True)
    shutil.copy(NODES_DIR / router / f"{kind}.conf", home / f"{kind}.conf")
    return bird(tag, directory, router) if kind is RouterKind.BIRD else frr(tag, directory, router)


def bird(tag: str, directory: Path, machine: str) -> list[Service]:
    """BIRD, with the ``bird.conf`` of the machine's directory."""
    home = directory / machine
    argv = ["bird", "-f", "-c", str(home / "bird.conf"), "-s", str(home / "bird.ctl")]
    name = f"bird-{machine}"
    return [Service(name, inside(tag, machine, *argv), str(directory / "log" / f"{name}.log"))]


def frr(tag: str, directory: Path, machine: str, *more: str) -> list[Service]:
    """zebra, bgpd, ``more``: bgpd reads ``frr.conf`` of the machine's directory, the others their ``NAME.conf``."""
    home = directory / machine
    try:
        for path in (home, *home.glob("*.conf")):
            shutil.chown(path, "frr", "frr")
    except LookupError:
        raise LabError("there is no user frr: install FRR, or choose --router bird") from None
    found = []
    zserv = str(home / "zserv.sock")  # bgpd that does not find it tries again only after ten seconds
    for daemon in ("zebra", *more, "bgpd"):
        conf = home / ("frr.conf" if daemon == "bgpd" else f"{daemon}.conf")
        argv = [_frr(daemon), "-f", str(conf), "-i", str(home / f"{daemon}.pid"), "-z", zserv]
        argv += ["--vty_socket", str(home), "-u", "frr", "-g", "frr", "-A", "127.0.0.1", "-P", "0"]
        name = f"{daemon}-{machine}"
        after, makes = (None, zserv) if daemon == "zebra" else (zserv, None)
        log = str(directory / "log" / f"{name}.log")
        found.append(Service(name, inside(tag, machine, *argv), log, after=after, makes=makes))
    return found


def _frr(daemon: str) -> str:
    for directory in _FRR_DIRS:
        if (Path(directory) / daemon).exists():
            return f"{directory}/{daemon}"
    raise LabError(f"{daemon} is in none of {', '.join(_FRR_DIRS)}: install FRR, or choose --router bird")


def next_hops(routes: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    """The nodes through which these routes of a router's kernel lead."""
    hops = [hop for route in routes for hop in route.get("nexthops", [route])]
    return tuple(GATEWAYS.get(str(hop.get("gateway")), str(hop.get("gateway"))) for hop in hops)


def bgp_paths(directory: Path, router: str, kind: RouterKind, prefix: str) -> list[BgpPath]:
    """Every path for the prefix in the router's BGP table, the best one marked."""
    if kind is RouterKind.BIRD:
        ask = ["birdc", "-r", "-s", str(directory / router / "bird.ctl"), "show", "route", "for", prefix, "all"]
        return _bird_paths(run(ask))
    family = "ipv6" if ":" in prefix else "ipv4"
    question = f"show bgp {family} unicast {prefix} json"
    return _frr_paths(json.loads(vty.ask(directory / router, "bgpd", question) or "{}"))


def _frr_paths(answer: Mapping[str, Any]) -> list[BgpPath]:
    return [
        BgpPath(
            node=GATEWAYS.get(path["peer"]["peerId"], path["peer"]["peerId"]),
            best=bool(path.get("bestpath", {}).get("overall")),
            local_preference=path.get("locPrf"),
            med=path.get("metric"),
        )
        for path in answer.get("paths", [])
    ]


def _bird_paths(answer: str) -> list[BgpPath]:
    """Cut birdc's text at each path, whose first line ends in ``[n1 12:00:00.000] * (100) [i]``."""
    found = []
    for block in re.split(r"\n(?=\S*\s+unicast \[)", answer):
        head = re.search(r"unicast \[(\S+) [^]]*\]( \*)?", block)
        if head is not None and head[1] in GATEWAYS.values():
            preference, med = _number(block, "local_pref"), _number(block, "med")
            found.append(BgpPath(head[1], bool(head[2]), preference, med))
    return found


def _number(block: str, attribute: str) -> int | None:
    found = re.search(rf"BGP\.{attribute}: (\d+)", block)
    return int(found[1]) if found else None
