"""Questions to a kernel and to an FRR daemon that need no process each."""

from pathlib import Path

import pytest

from lab import vty
from lab.command import LabError
from lab.kernel import Kernel
from lab.observe import settle
from lab.topology import BEYOND, ROUTERS
from lab.world import Lab

pytestmark = [pytest.mark.lab, pytest.mark.timeout(90)]


def test_a_router_says_in_both_families_where_its_traffic_goes(lab: Lab) -> None:
    active = settle(lab)
    for router in ROUTERS:
        assert [lab.next_hops(router, prefix) for prefix in BEYOND[router]] == [(active,), (active,)]
    assert lab.next_hops("r1", "192.0.2.0/24") == ()


def test_a_question_that_fails_says_why_and_the_next_one_is_answered(lab: Lab) -> None:
    kernel = lab.kernel("r1")
    with pytest.raises(LabError, match=r'address show dev nowhere: Device "nowhere" does not exist'):
        kernel.ask("address show dev nowhere")
    assert [link["ifname"] for link in kernel.ask("address show dev lo")] == ["lo"]
    with pytest.raises(LabError, match="no such machine: Cannot open network namespace"):
        Kernel("no", "lab", 4).ask("no such machine")


def test_a_daemon_answers_or_says_why_not(lab: Lab, tmp_path: Path) -> None:
    home = lab.directory / "r1"
    assert vty.ask(home, "bgpd", "show bgp summary json").startswith("{")
    with pytest.raises(LabError, match=r"show nonsense: result 2: .*Unknown command"):
        vty.ask(home, "bgpd", "show nonsense")
    with pytest.raises(LabError, match=r"bgpd\.vty: show version: .*No such file"):
        vty.ask(tmp_path, "bgpd", "show version")
