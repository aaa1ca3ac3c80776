"""One virtual clock, one heap of actions, and the only generator of chance in the project."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable

from l3ha.base.time import Duration, Instant

PPM = 1_000_000


def generator(name: str) -> random.Random:
    """A stream of chance; the same name gives the same stream, on every machine."""
    return random.Random(name)  # noqa: S311 - reproducible, nothing secret comes of it


class Clock:
    """True time of the world. Actions of one instant run in the order in which they were scheduled."""

    def __init__(self) -> None:
        self.now: Instant = 0
        self.events = 0
        self._heap: list[tuple[Instant, int, Callable[[], None]]] = []
        self._serial = 0

    def at(self, when: Instant, action: Callable[[], None]) -> None:
        """Run ``action`` at ``when`` (now, if that has passed)."""
        self._serial += 1
        heapq.heappush(self._heap, (max(when, self.now), self._serial, action))

    def after(self, delay: Duration, action: Callable[[], None]) -> None:
        """Run ``action`` after ``delay``."""
        self.at(self.now + delay, action)

    def step(self, end: Instant) -> bool:
        """One action that is due by ``end``; False (and the time is ``end``) where there is none."""
        if not self._heap or self._heap[0][0] > end:
            self.now = max(self.now, end)
            return False
        self.now, _, action = heapq.heappop(self._heap)
        self.events += 1
        action()
        return True


class Drift:
    """A node's own clock: another origin, and a little faster or slower than true time."""

    def __init__(self, origin: Instant, ppm: int) -> None:
        self._origin, self._rate = origin, PPM + ppm

    def local(self, when: Instant) -> Instant:
        """What the node's clock shows at a true instant."""
        return self._origin + when * self._rate // PPM

    def true(self, local: Instant) -> Instant:
        """The first true instant at which the node's clock shows ``local``."""
        return -(-(local - self._origin) * PPM // self._rate)
