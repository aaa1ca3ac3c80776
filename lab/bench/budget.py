"""Where the time goes when the active node dies silently: each line of the budget, measured in one run.

l3ha, fast, between routers without BFD. The clock starts before the first cable of the active node goes dead.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from lab.bench.accident import by_name as accident
from lab.bench.campaign import BROKEN
from lab.bench.contender import PREFERRED
from lab.bench.decision import Tapped
from lab.bench.l3ha import L3haFast
from lab.bench.load import reason
from lab.bench.record import Measure
from lab.bench.tap import commands
from lab.bench.trial import flows_again
from lab.bench.watch import first
from lab.command import LabError
from lab.keeper import Service
from lab.observe import other
from lab.routers import RouterKind
from lab.topology import BEYOND, ROUTERS

SUBJECT = "Silent death of the active node, line by line (l3ha, fast)"
_HEIR = other(PREFERRED)
_LINES = (
    "the last heartbeat is {detection} old: contact lost",
    "decision, and the first command to ExaBGP",
    "ExaBGP: the UPDATE arrives at the router",
    "the router: its kernel has the new route",
)
_WHOLE = "death to the new route in the kernel"
_GAP = "hole in the traffic, worse direction"


class Watched(Tapped, L3haFast):
    """The fast pair, with a watcher on each router's link to the heir."""

    def seen(self, router: str) -> Path:
        """What a router's watcher writes."""
        return self.directory / router / "seen"

    def router_services(self, router: str) -> list[Service]:
        argv = [sys.executable, "-m", "lab.bench.watch", str(self.seen(router)), _HEIR]
        return [
            *super().router_services(router),
            self.service(f"watch-{router}", router, argv, env=self._environment()),
        ]


def measure(tag: str, runs: int, _seconds: float, say: Callable[[str], None]) -> list[Measure]:
    """Every kind of router, four deaths for each run that was asked for."""
    return [one for kind in RouterKind for one in _kind(tag, kind, 4 * runs, say)]


def _kind(tag: str, kind: RouterKind, runs: int, say: Callable[[str], None]) -> Iterator[Measure]:
    found: dict[str, list[float]] = {line: [] for line in (*_LINES, _WHOLE, _GAP)}
    try:
        with Watched(tag, kind) as lab:
            for number in range(1, runs + 1):
                for line, ms in _death(lab).items():
                    found[line] += ms
                say(f"{kind} {number}: " + ", ".join(f"{ms[-1]:.1f}" for ms in found.values()) + " ms")
    except BROKEN as error:
        say(f"{kind}: {error}")
        yield Measure(SUBJECT, kind.upper(), "ms", (), reason(str(error)))
        return
    for line, ms in found.items():
        yield Measure(SUBJECT, f"{kind.upper()} routers: {line.format(detection='150 ms')}", "ms", tuple(ms))


def _death(lab: Watched) -> dict[str, list[float]]:
    """One death and return; milliseconds of each line, one figure for each router where they differ."""
    lab.settle(steady_s=1)
    lab.home()
    flows = (lab.meter().a_to_b, lab.meter().b_to_a)
    death = accident("silent-death")
    assert death.mend is not None
    begin = time.monotonic_ns()
    for flow in flows:
        flow.open(begin, within_s=5)
    begin = time.monotonic_ns()
    death.apply(lab)
    try:
        if not flows_again(flows, steady_s=1):
            raise LabError("traffic did not come back")
        end = time.monotonic_ns()
        gaps = [flow.close(end, within_s=5).gap_ms for flow in flows]
        return {**_lines(lab, begin), _GAP: [max(gaps)]}
    finally:
        death.mend(lab)


def _lines(lab: Watched, begin: int) -> dict[str, list[float]]:
    lost, told = _lost(lab, begin), commands(lab.tap(_HEIR), begin)
    if not told:
        raise LabError("no command came")
    updates, routes = [], []
    for router in ROUTERS:
        update = first(lab.seen(router), lost, "update")
        route = first(lab.seen(router), lost, f"route {BEYOND[router][0]} ")
        if update is None or route is None:
            raise LabError(f"{router}: no UPDATE or no new route was seen")
        updates.append(update)
        routes.append(route)
    figures = (
        [lost - begin],
        [told[0][0] - lost],
        [update - told[0][0] for update in updates],
        [route - update for route, update in zip(routes, updates, strict=True)],
        [route - begin for route in routes],
    )
    return {line: [ns / 1e6 for ns in each] for line, each in zip((*_LINES, _WHOLE), figures, strict=True)}


def _lost(lab: Watched, begin: int) -> int:
    """When the heir lost contact, by its own events."""
    offset = statistics.median(time.time_ns() - time.monotonic_ns() for _ in range(9))
    for event in json.loads(lab.cli(_HEIR, "show", "events", "--json"))["events"]:
        at = int(event["at"] - offset)
        if at >= begin and event["kind"] == "peer" and "lost" in event["text"]:
            return at
    raise LabError(f"{_HEIR} did not lose contact")
