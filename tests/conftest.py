"""What the tests of the drivers are given, and that no property is judged by the clock: machines stand still."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from l3ha.drivers.inbox import Inbox
from tests.driver_rig import Net

pytest_plugins = ["tests.standstill"]

settings.register_profile("default", deadline=None, suppress_health_check=[HealthCheck.too_slow])


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
