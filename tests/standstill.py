"""Virtual machines stand still now and then, for a second and longer: then timers of 50 ms say nothing about l3ha.

A lab test that failed while nobody could run is void and is run again; one that failed while everybody could has
failed.
"""

from __future__ import annotations

import functools
import os
import sys
import time
from collections.abc import Iterator

import pytest

from lab.holes import Watch

SPOILT_MS = 50
"""So long must the machine have stood still for a failure to be void: a third of the shortest detection time here."""
ATTEMPTS = 5
CALM_S = 3.0
"""How long the machine must not have stood still before the next attempt."""
PATIENCE_S = 20.0
"""So long that is waited for."""

WATCH = pytest.StashKey[Watch]()
BEGAN = pytest.StashKey[int]()
"""When this attempt of a test began, in ns since the epoch."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("lab"):
            item.add_marker(pytest.mark.flaky(reruns=ATTEMPTS - 1, condition=functools.partial(spoilt, item)))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    item.stash[BEGAN] = time.time_ns()


@pytest.fixture(scope="session", autouse=True)
def watched(request: pytest.FixtureRequest) -> Iterator[None]:
    """Somebody watches the machine while lab tests run (nobody where only root may)."""
    if os.geteuid() != 0 or not any(item.get_closest_marker("lab") for item in request.session.items):
        yield
        return
    with Watch() as watch:
        request.config.stash[WATCH] = watch
        yield
        del request.config.stash[WATCH]


def spoilt(item: pytest.Item, error: BaseException | None) -> bool:
    """Whether a failed attempt is void because the machine stood still meanwhile; then waits until it runs again.

    An attempt that did not fail has no error and is never void.
    """
    if error is None:
        return False
    watch = item.config.stash.get(WATCH, None)
    stood = _long(watch, item.stash[BEGAN]) if watch else []
    if watch is None or not stood:
        return False
    how = f"{len(stood)} times, {sum(stood):.0f} ms of all cores together, at most {max(stood):.0f} ms"
    print(f"\n{item.nodeid}: void, the machine stood still {how}", file=sys.__stderr__)
    deadline = time.monotonic() + PATIENCE_S
    while _long(watch, time.time_ns() - int(CALM_S * 1e9)) and time.monotonic() < deadline:
        time.sleep(0.1)
    return True


def _long(watch: Watch, since: int) -> list[float]:
    return [hole.ms for hole in watch.since(since) if hole.ms >= SPOILT_MS]
