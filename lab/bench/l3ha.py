"""l3ha itself, with the lab's own cluster file; the routers run no BFD and hold routes for 90 s."""

from __future__ import annotations

import re

from lab.bench.contender import PREFERRED, Contender, Part
from lab.bounds import LEASE_OVER_S
from lab.command import LabError
from lab.observe import move_to, other, pair, picture
from lab.topology import NODES, ROUTERS
from lab.world import write_cluster_file

_NEIGHBOR = re.compile(r"\[node\.\w+\.neighbor\.\w+\].*\n")


class L3ha(Contender):
    """Default timers."""

    name = "l3ha"
    title = "l3ha"
    setup = "defaults: heartbeat 100 ms × 5; ExaBGP 5 speaks; routers: BGP hold time 90 s, no BFD"
    reaction_s = LEASE_OVER_S + 0.5
    """What a silent agent leads to ends with its lease."""
    heartbeats = "udp dport 7411"
    parts = (
        Part("agent", ("l3ha", "agent")),
        Part("speaker", ("l3ha", "speaker")),
        Part("ExaBGP", ("exabgp",)),
    )

    def prepare(self) -> None:
        write_cluster_file(self.directory)
        path = self.directory / "l3ha.toml"
        path.write_text(self.cluster_file(path.read_text()))

    def cluster_file(self, text: str) -> str:
        """What this variant makes of the lab's cluster file."""
        return text

    def claims(self) -> frozenset[str]:
        states = {node: self.status(node) for node in NODES}
        return frozenset(
            node
            for node, status in states.items()
            if status is not None and any(srg["state"] == "ACTIVE" for srg in status["srgs"])
        )

    def picture(self) -> dict[str, object]:
        return picture(self)

    def whole(self, active: str = PREFERRED) -> dict[str, object]:
        return pair(active)

    def wholes(self) -> list[dict[str, object]]:
        return [self.whole(node) for node in NODES]

    def home(self) -> None:
        move_to(self, PREFERRED)

    def agent_pids(self, node: str) -> list[int]:
        return [self.pid(f"agent-{node}")]

    def move(self, node: str) -> None:
        try:
            self.cli(other(node), "request", "failover", "srg", "1", "--wait")
        except LabError as error:
            raise LabError(f"the planned move to {node}: {error}") from None


class L3haFast(L3ha):
    """The shortest detection time that the configuration accepts with real-time scheduling."""

    name = "l3ha-fast"
    title = "l3ha, fast"
    setup = "heartbeat 50 ms × 3, probe every 50 ms; the rest as l3ha"

    def cluster_file(self, text: str) -> str:
        text = text.replace(
            'interval = "100ms"\nmultiplier = 5', 'interval = "50ms"\nmultiplier = 3\nallow_unsafe_timers = true'
        )
        return text.replace('interval = "100ms", up = 2, down = 3', 'interval = "50ms", up = 2, down = 3')


class L3haBfd(L3haFast):
    """The same with the speaker's own BFD, which the routers answer: they drop a dead node's routes by themselves."""

    name = "l3ha-bfd"
    title = "l3ha, fast + BFD"
    setup = "as l3ha-fast, with BFD 3 × 50 ms between the speaker and the routers"
    bfd = True

    def cluster_file(self, text: str) -> str:
        return _NEIGHBOR.sub(r'\g<0>bfd = { interval = "50ms", multiplier = 3 }\n', super().cluster_file(text))

    def picture(self) -> dict[str, object]:
        return super().picture() | {"bfd sessions up": {router: self.bfd_up(router) for router in ROUTERS}}

    def whole(self, active: str = PREFERRED) -> dict[str, object]:
        return super().whole(active) | {"bfd sessions up": dict.fromkeys(ROUTERS, len(NODES))}
