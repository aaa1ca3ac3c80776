"""A contender: what runs on n1 and n2, how the routers reach it, and what an operator does to move it.

A contender is a lab with other services on the nodes. n1 is preferred by all of them.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from lab import vty
from lab.command import LabError, run
from lab.keeper import Service
from lab.observe import Picture, until
from lab.routers import RouterKind, frr, services
from lab.topology import BEYOND, NODES, ROUTERS, processes
from lab.world import Lab

PREFERRED = NODES[0]
NO_ICL = "it uses no link between the nodes"
NO_HEARTBEATS = "its nodes do not speak with each other"

_FRR_BFD = """\
router bgp {asn}
 neighbor NODES bfd
 neighbor NODES bfd profile fast
!
"""
FRR_BFD_PROFILE = "bfd\n profile fast\n  detect-multiplier 3\n  receive-interval 50\n  transmit-interval 50\n !\n!\n"
BIRD_BFD = 'protocol bfd { interface "*" { min rx interval 50 ms; min tx interval 50 ms; multiplier 3; }; }\n'
_ASN = {"r1": 65010, "r2": 65002}


@dataclass(frozen=True, slots=True)
class Part:
    """One kind of process of a contender, for its footprint: its name, and the words that its command line shows."""

    name: str
    words: tuple[str, ...]


class Contender(Lab, ABC):
    """See the module. As a context manager it is up inside and gone after, like any lab."""

    name: ClassVar[str]
    title: ClassVar[str]
    setup: ClassVar[str]
    """How it is configured, in a line."""
    bfd: ClassVar[bool] = False
    """Whether the routers run BFD with the nodes (3 x 50 ms)."""
    kinds: ClassVar[tuple[RouterKind, ...]] = tuple(RouterKind)
    absent: ClassVar[dict[str, str]] = {}
    """Faults that this contender does not have, each with the reason."""
    heartbeats: ClassVar[str] = ""
    """What the nodes say to each other, as nftables matches it."""
    reaction_s: ClassVar[float] = 3.0
    """Longer than a reaction of its own, or of the routers to it, may take to show: so long must traffic flow before a
    fault counts as over."""
    parts: ClassVar[tuple[Part, ...]]
    """Its processes on a node; the first fitting one counts a process."""

    # --- the network -----------------------------------------------------------------------------------------------

    def prepare(self) -> None:
        """Nothing that all contenders need."""

    def router_services(self, router: str) -> list[Service]:
        """The lab's own routers; with BFD towards the nodes where the contender relies on it."""
        found = services(self.tag, self.directory, router, self.kind)
        home = self.directory / router
        if not self.bfd:
            return found
        if self.kind is RouterKind.BIRD:
            conf = home / "bird.conf"
            text = conf.read_text().replace("graceful restart off;", "graceful restart off;\n    bfd on;")
            conf.write_text(text + BIRD_BFD)
            return found
        with (home / "frr.conf").open("a") as file:
            file.write(_FRR_BFD.format(asn=_ASN[router]))
        (home / "bfdd.conf").write_text(FRR_BFD_PROFILE)
        return frr(self.tag, self.directory, router, "bfdd")

    # --- what can be seen ------------------------------------------------------------------------------------------

    def carrier(self, router: str) -> str:
        """The node that a router sends the traffic to; empty where it has no way."""
        return "+".join(self.next_hops(router, BEYOND[router][0]))

    def claims(self) -> frozenset[str]:
        """The nodes that say to be active. Contenders without roles say nothing."""
        return frozenset()

    def actives(self, mute: str | None = None) -> frozenset[str]:
        """Every node that claims the role, apart from a mute one, and every node that a router sends traffic to."""
        return (self.claims() - {mute}) | {node for node in map(self.carrier, ROUTERS) if node in NODES}

    def picture(self) -> dict[str, object]:
        """What ``whole`` is judged by: who carries, who claims, and whether the other node stands by."""
        seen: dict[str, object] = {
            "routers": {router: self.carrier(router) for router in ROUTERS},
            "claims": sorted(self.claims()),
            "routes": {router: self.ways(router) for router in ROUTERS},
        }
        if self.bfd:
            seen["bfd sessions up"] = {router: self.bfd_up(router) for router in ROUTERS}
        return seen

    def ways(self, router: str) -> list[str]:
        """The nodes that a router could send to; none while it does not answer."""
        try:
            return sorted({path.node for path in self.paths(router, BEYOND[router][0])})
        except LabError:
            return []

    def whole(self, active: str = PREFERRED) -> dict[str, object]:
        """The picture in which all is well."""
        want: dict[str, object] = {"routers": dict.fromkeys(ROUTERS, active)}
        want["routes"] = dict.fromkeys(ROUTERS, sorted(NODES))
        if self.bfd:
            want["bfd sessions up"] = dict.fromkeys(ROUTERS, len(NODES))
        return want

    def bfd_up(self, router: str) -> int:
        """How many BFD sessions of a router are up."""
        home = self.directory / router
        try:
            if self.kind is RouterKind.BIRD:
                return run(["birdc", "-r", "-s", str(home / "bird.ctl"), "show", "bfd", "sessions"]).count(" Up ")
            peers = json.loads(vty.ask(home, "bfdd", "show bfd peers json") or "[]")
            return sum(peer.get("status") == "up" for peer in peers)
        except LabError:
            return 0

    def settle(self, within_s: float = 60, steady_s: float = 1.0) -> None:
        """Wait until all is well. Raises ``LabError`` with the difference, or at once where the lab is gone."""
        self.until(self.picture, *self.wholes(), within_s=within_s, steady_s=steady_s, what="a healthy pair")

    def wholes(self) -> list[dict[str, object]]:
        """The pictures in which all is well enough to begin with."""
        return [self.whole()]

    def until(
        self,
        look: Callable[[], Picture],
        *expected: Picture,
        within_s: float,
        steady_s: float = 0,
        what: str,
    ) -> None:
        """``observe.until``, which ends at once where the lab was taken away."""

        def present() -> Picture:
            if not self.directory.exists():
                raise LabError(f"{self.name}: the lab {self.tag} is gone")
            return look()

        until(present, *expected, within_s=within_s, steady_s=steady_s, what=f"{self.name}: {what}")

    def home(self) -> None:
        """Bring the service back to n1; most contenders do so by themselves."""

    # --- what an operator or an accident does ------------------------------------------------------------------------

    @abstractmethod
    def agent_pids(self, node: str) -> list[int]:
        """The processes that decide, on a node."""

    def signal_agent(self, node: str, number: signal.Signals) -> None:
        """Send a signal to everything that decides, the parents first."""
        for pid in self.agent_pids(node):
            with contextlib.suppress(ProcessLookupError):  # it went with its parent
                os.kill(pid, number)

    @abstractmethod
    def move(self, node: str) -> None:
        """The planned move of the service to this node, as an operator would do it, from the other one."""

    def footprint(self, node: str) -> dict[str, list[int]]:
        """The processes of a node by part."""
        found: dict[str, list[int]] = {}
        for pid in processes(self.tag, node):
            words = command_line(pid)
            for part in self.parts:
                if all(word in words for word in part.words):
                    found.setdefault(part.name, []).append(pid)
                    break
        return found


def command_line(pid: int) -> str:
    """The command line of a process with blanks between its words; empty where it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""


def children(pid: int) -> list[int]:
    """The processes that a process started."""
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
