"""The one timer that the engine's next deadline arms."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from l3ha.base.time import SECOND, Instant
from l3ha.drivers.boottime import boottime_ns


class Deadline:
    """One re-armable timer for asyncio. It may fire early by the loop's rounding (1 ms); whoever is called looks again.

    The loop's clock is CLOCK_MONOTONIC, which stands still in suspend; so the *rest of the time* is converted, not the
    instant. After a suspend the timer is late by at most that rest, and the engine's pause rule does what is needed.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, fire: Callable[[], None]) -> None:
        self._loop = loop
        self._fire = fire
        self._handle: asyncio.TimerHandle | None = None
        self._at: Instant | None = None

    def arm(self, at: Instant | None) -> None:
        """Fire at this instant, and not at the one armed before; None disarms."""
        if at == self._at and self._handle is not None:
            return
        self.disarm()
        if at is not None:
            self._at = at
            self._handle = self._loop.call_later(max(0, at - boottime_ns()) / SECOND, self._due)

    def disarm(self) -> None:
        """Do not fire."""
        if self._handle is not None:
            self._handle.cancel()
        self._handle = self._at = None

    def _due(self) -> None:
        self._handle = self._at = None
        self._fire()
