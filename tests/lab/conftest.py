"""One lab for all lab tests, gone before the rest begins, and the rig of those that look at speaker and BFD alone."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.observe import settle
from lab.world import Lab
from tests.lab.bfd_rig import Bfdd
from tests.lab.speaker_rig import Rig


@pytest.fixture(scope="package")
def lab() -> Iterator[Lab]:
    """A healthy pair between two FRR routers, with traffic."""
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root")
    with Lab(f"t{os.getpid()}") as built:
        settle(built, within_s=60)
        yield built


@pytest.fixture
def rig() -> Iterator[Rig]:
    """The speaker under the ExaBGP of this environment, and FRR's bgpd."""
    with Rig(str(Path(sys.executable).parent / "exabgp"), passive=False) as built:
        yield built


@pytest.fixture
def router(rig: Rig) -> Iterator[Bfdd]:
    """FRR's bfdd on the router's side of the rig."""
    assert rig.exabgp is not None
    daemon = Bfdd()
    yield daemon
    daemon.stop()
