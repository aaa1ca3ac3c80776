"""Every fault of the lab against real ExaBGP and real routers: roles, routes at both routers, and the traffic."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lab import topology
from lab.campaign import serving_node, strike
from lab.command import LabError
from lab.faults import FAULTS, Fault
from lab.observe import move_to, other, pair, settle, story, until, wait_for
from lab.topology import BEYOND, NODES, REPOSITORY, ROUTERS
from lab.world import BASE, Lab

pytestmark = [pytest.mark.lab, pytest.mark.timeout(180)]

MARGIN_MS = 250
"""On top of each fault's limit: other work of the machine. Faults that may lose nothing get none."""


def test_healthy_pair_loses_nothing_and_never_moves(lab: Lab) -> None:
    active = settle(lab, within_s=60)
    found = lab.meter().measure(lambda: _quiet(lab, active))
    assert found.lost == 0, str(found)
    assert found.a_to_b.duplicates == found.b_to_a.duplicates == 0


def _quiet(lab: Lab, active: str) -> None:
    wait_for(lab, pair(active), within_s=5, steady_s=2)


def test_routers_hold_both_claims(lab: Lab) -> None:
    """R1 (iBGP) prefers the active node by local preference, R2 (eBGP) by MED, for both families."""
    active = settle(lab, within_s=60)
    for router in ROUTERS:
        for prefix in BEYOND[router]:
            paths = {path.node: path for path in lab.paths(router, prefix)}
            assert set(paths) == set(NODES)
            assert paths[active].best
            assert not paths[other(active)].best
    local = {path.node: path.local_preference or 0 for path in lab.paths("r1", BEYOND["r1"][0])}
    assert local[active] > local[other(active)]
    med = {path.node: path.med or 0 for path in lab.paths("r2", BEYOND["r2"][0])}
    assert med[active] < med[other(active)]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_fault(lab: Lab, fault: Fault) -> None:
    move_to(lab, "n1")
    run = strike(lab, fault)
    assert run.complaint(MARGIN_MS) is None, story(lab)
    assert run.best == dict.fromkeys(ROUTERS, run.after)


def test_two_moves_in_a_row_lose_nothing(lab: Lab) -> None:
    first = settle(lab)

    def there_and_back() -> None:
        move_to(lab, other(first))
        move_to(lab, first)

    found = lab.meter().measure(there_and_back)
    assert found.lost == 0, str(found)
    assert serving_node(lab) == first


def test_a_killed_owner_leaves_nothing_behind() -> None:
    """The lab of a process that was killed with -9 removes itself."""
    tag = f"k{os.getpid()}"
    program = f"from lab.world import Lab\nLab({tag!r}, traffic=False).up()\nprint('up', flush=True)\ninput()"
    owner = subprocess.Popen(
        [sys.executable, "-c", program], cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert owner.stdout is not None
        assert owner.stdout.readline() == "up\n"
        assert topology.existing(tag)
        owner.send_signal(signal.SIGKILL)
        owner.wait(5)
        _vanish(tag)
    finally:
        owner.kill()
        owner.wait()
        for stream in (owner.stdin, owner.stdout):
            if stream is not None:
                stream.close()
        Lab(tag).down()


def _vanish(tag: str) -> None:
    gone = {"namespaces": [], "directory": False}
    until(lambda: {"namespaces": topology.existing(tag), "directory": Path(BASE / tag).exists()}, gone, within_s=20)


def test_what_does_not_come_is_told_with_the_nodes_own_story(lab: Lab) -> None:
    with pytest.raises(LabError) as caught:
        wait_for(lab, {"n1": {"state": "NONSENSE"}}, within_s=0.05, what="nonsense")
    text = str(caught.value)
    assert "nonsense did not come" in text
    assert text.count("BACKUP -> ACTIVE") or text.count("HOLD -> ACTIVE"), "of whichever became so"
    assert "\nn1:\n" in text and "\nn2:\n" in text
