"""One lab for all lab tests of a session."""

import os
from collections.abc import Iterator

import pytest

from lab.observe import settle
from lab.world import Lab


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """A healthy pair between two FRR routers, with traffic."""
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root")
    with Lab(f"t{os.getpid()}") as built:
        settle(built, within_s=60)
        yield built
