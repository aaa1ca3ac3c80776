"""A node with many routes fails: real routers lose them with the session, and hold them LOW after it."""

import os

import pytest

from lab.bench.fall import Failing
from lab.bench.load import Load
from lab.bounds import SPEAKER_S
from lab.observe import other, until
from lab.routers import RouterKind
from lab.topology import NODES, ROUTERS

pytestmark = [pytest.mark.lab, pytest.mark.timeout(180)]

ENDED = "its session is ended, so that all its routes go at once"


class Many(Failing):
    """Twice as many routes as are told one by one."""

    amount = Load(routes=1994)
    drop_from = 1000

    def ended(self, node: str) -> int:
        """How many sessions its speaker has ended so."""
        return (self.directory / "log" / f"exabgp-{node}.log").read_text().count(ENDED)

    def look(self) -> dict[str, bool]:
        """Whether R2, whose link is up all the time, has a route of both nodes, and of which one the better."""
        known = {path.node: path.med or 0 for path in self.paths("r2", "198.18.0.1/32")}
        best = min(known, key=lambda node: known[node], default="")
        return {"both": len(known) == len(NODES), **{node: node == best for node in NODES}}


@pytest.mark.parametrize("kind", list(RouterKind))
def test_a_failing_node_ends_the_sessions_that_its_peer_covers(kind: RouterKind) -> None:
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root")
    with Many(f"drop{os.getpid()}", kind, traffic=False) as lab:
        fallen: list[str] = []

        def low_again(active: str) -> None:
            until(lab.look, {"both": True, active: False, other(active): True}, within_s=SPEAKER_S)
            fallen.append(active)

        lab.fall(low_again)
        (first,) = fallen
        assert lab.ended(first) == len(ROUTERS) and lab.ended(other(first)) == 0
        assert lab.ready() in NODES, "and it is healthy again"
        assert lab.ended(first) == len(ROUTERS)
