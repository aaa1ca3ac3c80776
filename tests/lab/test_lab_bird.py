"""The same pair between two BIRD routers."""

import os
from collections.abc import Iterator

import pytest

from lab.campaign import strike
from lab.faults import by_name
from lab.observe import other, settle
from lab.routers import RouterKind
from lab.topology import BEYOND, ROUTERS
from lab.world import Lab

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


@pytest.mark.parametrize("name", ["planned-move", "silent-death", "router-restart"])
def test_fault(birds: Lab, name: str) -> None:
    fault = by_name(name)
    run = strike(birds, fault)
    assert run.outage.worst_ms <= fault.limit_ms + (250 if fault.limit_ms else 0), str(run.outage)
    assert run.best == dict.fromkeys(ROUTERS, run.after)
