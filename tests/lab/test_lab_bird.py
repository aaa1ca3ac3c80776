"""The same pair between two BIRD routers."""

import os
from collections.abc import Iterator

import pytest

from lab.campaign import strike
from lab.faults import FAULTS, Fault
from lab.observe import move_to, other, settle, story
from lab.routers import RouterKind
from lab.topology import BEYOND, NODES, ROUTERS
from lab.world import Lab
from tests.lab.test_lab_faults import MARGIN_MS

pytestmark = [pytest.mark.lab, pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def birds() -> Iterator[Lab]:
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root")
    with Lab(f"b{os.getpid()}", RouterKind.BIRD) as built:
        settle(built, within_s=60)
        yield built


def test_both_claims_are_there(birds: Lab) -> None:
    active = settle(birds)
    for router in ROUTERS:
        for prefix in BEYOND[router]:
            assert {path.node: path.best for path in birds.paths(router, prefix)} == {
                active: True,
                other(active): False,
            }


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_fault(birds: Lab, fault: Fault) -> None:
    move_to(birds, NODES[0])
    run = strike(birds, fault)
    assert run.complaint(MARGIN_MS) is None, story(birds)
    assert run.best == dict.fromkeys(ROUTERS, run.after)
