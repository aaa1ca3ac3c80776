"""Any one process, killed at any moment: it ends, within a bound, with one active node and the right routes."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time

import pytest

from lab.bounds import SETTLED_S
from lab.faults import speaker_pid
from lab.observe import other, picture, settle
from lab.topology import BEYOND, NODES, ROUTERS
from lab.world import Lab

pytestmark = [pytest.mark.lab, pytest.mark.timeout(300)]

ROUNDS = 2
"""Per kind of process: ExaBGP ends itself at the fifth death of its helper within a minute."""


def _pids(lab: Lab, kind: str, node: str, router: str) -> list[int]:
    match kind:
        case "speaker":
            return [speaker_pid(lab, node)]
        case "router":
            return [lab.pid(f"{daemon}-{router}") for daemon in ("zebra", "bgpd")]
        case _:
            return [lab.pid(f"{kind}-{node}")]


@pytest.mark.parametrize("moment", ["steady", "planned move"])
@pytest.mark.parametrize("kind", ["agent", "speaker", "exabgp", "router"])
def test_kill_at_a_random_moment(lab: Lab, kind: str, moment: str) -> None:
    chance = random.Random(f"{kind}/{moment}")
    for _ in range(ROUNDS):
        active = settle(lab, within_s=60)
        victim, router = chance.choice(NODES), chance.choice(ROUTERS)
        pids = _pids(lab, kind, victim, router)
        move = None
        if moment == "planned move":
            move = subprocess.Popen(
                [sys.executable, "-m", "l3ha", "request", "failover", "srg", "1"],
                env=lab.node_environment(active),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        # Not a wait for something to have happened: the moment is the parameter of this test.
        time.sleep(chance.uniform(0.0, 0.4))
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        if move is not None:
            move.wait(10)
        after = settle(lab, within_s=SETTLED_S, steady_s=1.0)
        assert picture(lab)[other(after)]["state"] == "BACKUP"
        _no_orphans(lab)


def _no_orphans(lab: Lab) -> None:
    """Both routers hold exactly one path per node for what is wished, so no route is left that nobody owns."""
    for router in ROUTERS:
        for prefix in BEYOND[router]:
            assert sorted(path.node for path in lab.paths(router, prefix)) == sorted(NODES)
