"""Virtual machines stand still now and then, for a second and longer: then timers of 50 ms say nothing about l3ha.

A test of the lab, or of the clock, that failed while nobody could run is void and is run again; one that failed while
everybody could has failed.
"""

from __future__ import annotations

import contextlib
import functools
import os
import sys
import time
import warnings
from collections.abc import Iterator

import pytest

from lab.command import LabError
from lab.holes import Hole, Watch, watched

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
FAILED = pytest.StashKey[int]()
"""When it failed first, where it did."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if _timed(item) and not config.option.usepdb:
            item.add_marker(pytest.mark.flaky(reruns=ATTEMPTS - 1, condition=functools.partial(spoilt, item)))
            own = item.get_closest_marker("timeout")
            # of the test alone: else all its attempts share one
            limit = own.args[0] if own else float(config.getini("timeout"))
            item.add_marker(pytest.mark.timeout(limit, func_only=True), append=False)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    item.stash[BEGAN] = time.time_ns()
    if FAILED in item.stash:
        del item.stash[FAILED]


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> None:
    if call.excinfo is not None:
        item.stash.setdefault(FAILED, time.time_ns())


@pytest.fixture(scope="session")
def watching(request: pytest.FixtureRequest) -> Iterator[None]:
    """Somebody watches the machine (nobody where only root may)."""
    with contextlib.ExitStack() as stack:
        if os.geteuid() == 0:
            try:
                request.config.stash[WATCH] = stack.enter_context(watched())
            except LabError as error:
                warnings.warn(f"no failure is void: {error}", stacklevel=1)
        yield
        if WATCH in request.config.stash:
            del request.config.stash[WATCH]


@pytest.fixture(autouse=True)
def watching_if_timed(request: pytest.FixtureRequest) -> None:
    """From the first such test on, in the process that runs it."""
    if _timed(request.node):
        request.getfixturevalue("watching")


def spoilt(item: pytest.Item, error: BaseException | None) -> bool:
    """Whether a failed attempt is void because the machine stood still meanwhile; then waits until it runs again.

    An attempt that did not fail has no error and is never void; nor is the last one.
    """
    watch = item.config.stash.get(WATCH, None)
    if error is None or watch is None or item.execution_count >= ATTEMPTS:  # type: ignore[attr-defined]
        return False
    failed = item.stash.get(FAILED, time.time_ns()) + int(SPOILT_MS * 1e6)
    stood = [hole.ms for hole in _long(watch, item.stash[BEGAN]) if hole.end <= failed]
    if not stood:
        return False
    how = f"{len(stood)} times, {sum(stood):.0f} ms of all cores together, at most {max(stood):.0f} ms"
    why = (str(error).splitlines() or [repr(error)])[0]
    print(f"\n{item.nodeid}: void, the machine stood still {how}; it failed with: {why}", file=sys.__stderr__)
    deadline = time.monotonic() + PATIENCE_S
    while _long(watch, time.time_ns() - int(CALM_S * 1e9)) and time.monotonic() < deadline:
        time.sleep(0.1)
    return True


def _long(watch: Watch, since: int) -> list[Hole]:
    return [hole for hole in watch.since(since) if hole.ms >= SPOILT_MS]


def _timed(item: pytest.Item) -> bool:
    return any(item.get_closest_marker(name) for name in ("lab", "clock"))
