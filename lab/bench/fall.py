"""A node fails that carries many routes: one by one, or all at once by the end of its session.

The active node loses its uplink to R1. R1 sees that by itself; R2 has all routes of both nodes and must be told. The
clock runs from the loss until the last route goes through the other node, at both routers.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import ClassVar

from lab.bench.campaign import BROKEN
from lab.bench.load import Load, Loaded, reason
from lab.bench.record import Measure
from lab.command import LabError
from lab.faults import by_name as lab_fault
from lab.observe import other
from lab.routers import RouterKind

SUBJECT = "A node with many routes fails"
WAYS = {"routes one by one": 0, "session ended": 1}
"""``speaker.drop_from`` of each way."""
LOADS = tuple(Load(routes=count) for count in (94, 994, 9994))
_PATIENCE_S = 60.0
_POLL_S = 0.005


class Failing(Loaded):
    """l3ha with many routes and a threshold."""

    kinds = tuple(RouterKind)
    drop_from: ClassVar[int]

    def cluster_file(self, text: str) -> str:
        return super().cluster_file(text) + f"\n[speaker]\ndrop_from = {self.drop_from}\n"

    def fall(self, then: Callable[[str], None] = lambda _: None) -> float:
        """Milliseconds from the loss of an uplink of the active node to the last route that moved.

        ``then`` is called with the name of that node before the uplink is mended.
        """
        loss = lab_fault("one-uplink")
        assert loss.heal is not None
        active = self.ready()
        begin = time.monotonic()
        loss.apply(self, active)
        try:
            while min(shares := self.shares(other(active))) < 1:
                if time.monotonic() - begin > _PATIENCE_S:
                    raise LabError(f"{self.amount}: not everything moved within {_PATIENCE_S:g} s: {shares}")
                time.sleep(_POLL_S)
            took = (time.monotonic() - begin) * 1000
            then(active)
            return took
        finally:
            loss.heal(self, active)


def measure(tag: str, runs: int, _seconds: float, say: Callable[[str], None]) -> list[Measure]:
    """Every kind of router, every load, both ways, ``runs`` times."""
    ways = [(kind, load, way) for kind in RouterKind for load in LOADS for way in WAYS]
    return [one for kind, load, way in ways for one in _way(tag, kind, load, way, runs, say)]


def _way(
    tag: str, router: RouterKind, load: Load, way: str, runs: int, say: Callable[[str], None]
) -> Iterator[Measure]:
    kind = type("FailingSo", (Failing,), {"amount": load, "drop_from": WAYS[way]})
    took: list[float] = []
    note = ""
    try:
        with kind(tag, router, traffic=False) as lab:
            for _ in range(runs):
                took.append(lab.fall())
                say(f"{router.upper()} routers, {load}, {way}: {took[-1]:.0f} ms")
    except BROKEN as error:
        note = reason(str(error))
        say(f"{load}, {way}: {error}")
    yield Measure(SUBJECT, f"{router.upper()} routers, {load}: {way}, loss to the last route", "ms", tuple(took), note)
