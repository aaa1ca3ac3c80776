"""What the tests of the drivers are given."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from l3ha.drivers.inbox import Inbox
from tests.driver_rig import Net


@pytest.fixture
def net() -> Iterator[Net]:
    built = Net()
    try:
        built.up()
        yield built
    finally:
        built.down()


@pytest.fixture
def inbox() -> Iterator[Inbox]:
    made = Inbox()
    yield made
    made.close()
