"""Where the time goes when something happens to the active node: each line of the budget, measured in one run.

l3ha, fast, between routers without BFD. The clock starts just before the fault.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from l3ha.base.time import MS
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
from lab.topology import BEYOND, NODES, ROUTERS

_HEIR = other(PREFERRED)
_NOTED_NS = 10 * MS
"""An event is noted within this after the command that it led to; a nudge goes out long before."""


@dataclass(frozen=True, slots=True)
class Budget:
    """One fault of the active node, cut into lines."""

    fault: str
    subject: str
    detection: str
    """What the first line is, apart from a decision: until somebody knows of the fault."""
    node: str
    """Who has to notice it."""
    event: tuple[str, str]
    """By which of its events that is known: kind, and a part of the text. It is noted when the command is out."""
    routers: tuple[str, ...]
    """Those that learn of it from the nodes only, so that the last line is theirs."""

    def lines(self) -> tuple[str, ...]:
        """In the order in which the time is spent."""
        return (f"{self.detection}; and the decision: the first command to ExaBGP, of whichever node", *_LINES)


BUDGETS = (
    Budget(
        "silent-death",
        "Silent death of the active node, line by line (l3ha, fast)",
        "detection: every path has missed two heartbeats and one the third",
        _HEIR,
        ("peer", "lost"),
        ROUTERS,
    ),
    Budget(
        "one-uplink",
        "One uplink of the active node, line by line (l3ha, fast)",
        "detection: the kernel says that the carrier is gone",
        PREFERRED,
        ("monitor", "down"),
        ROUTERS[1:],
    ),
)
_LINES = (
    "ExaBGP: the first UPDATE arrives at the router",
    "the router: its kernel has the new route",
)
_WHOLE = "fault to the new route in the kernel"
_GAP = "hole in the traffic, worse direction"


class Watched(Tapped, L3haFast):
    """The fast pair, with a watcher on each router."""

    def seen(self, router: str) -> Path:
        """What a router's watcher writes."""
        return self.directory / router / "seen"

    def router_services(self, router: str) -> list[Service]:
        argv = [sys.executable, "-m", "lab.bench.watch", str(self.seen(router))]
        return [
            *super().router_services(router),
            self.service(f"watch-{router}", router, argv, env=self._environment()),
        ]


def measure(tag: str, runs: int, _seconds: float, say: Callable[[str], None]) -> list[Measure]:
    """Every kind of router, each fault twice for each run that was asked for."""
    return [one for kind in RouterKind for one in _kind(tag, kind, 2 * runs, say)]


def _kind(tag: str, kind: RouterKind, runs: int, say: Callable[[str], None]) -> Iterator[Measure]:
    found: dict[Budget, dict[str, list[float]]] = {b: {} for b in BUDGETS}
    try:
        with Watched(tag, kind) as lab:
            for number in range(1, runs + 1):
                for budget in BUDGETS:
                    figures = _strike(lab, budget)
                    for line, ms in figures.items():
                        found[budget].setdefault(line, []).extend(ms)
                    say(f"{kind} {number} {budget.fault}: {', '.join(f'{ms[-1]:.1f}' for ms in figures.values())} ms")
    except BROKEN as error:
        say(f"{kind}: {error}")
        yield Measure(BUDGETS[0].subject, kind.upper(), "ms", (), reason(str(error)))
        return
    for budget in BUDGETS:
        for line, values in found[budget].items():
            yield Measure(budget.subject, f"{kind.upper()} routers: {line}", "ms", tuple(values))


def _strike(lab: Watched, budget: Budget) -> dict[str, list[float]]:
    """One fault and its mending; milliseconds of each line, one figure for each router where they differ."""
    lab.settle(steady_s=1)
    lab.home()
    flows = (lab.meter().a_to_b, lab.meter().b_to_a)
    fault = accident(budget.fault)
    assert fault.mend is not None
    begin = time.monotonic_ns()
    for flow in flows:
        flow.open(begin, within_s=5)
    begin = time.monotonic_ns()
    fault.apply(lab)
    try:
        if not flows_again(flows, steady_s=1):
            raise LabError("traffic did not come back")
        end = time.monotonic_ns()
        gaps = [flow.close(end, within_s=5).gap_ms for flow in flows]
        return {**_lines(lab, budget, begin), _GAP: [max(gaps)]}
    finally:
        fault.mend(lab)


def _lines(lab: Watched, budget: Budget, begin: int) -> dict[str, list[float]]:
    since = max(begin, _noticed(lab, budget, begin) - _NOTED_NS)
    told = min((one for node in NODES for one in commands(lab.tap(node), since)), default=None)
    if told is None:
        raise LabError("no command came")
    updates, routes = [], []
    for router in budget.routers:
        update = first(lab.seen(router), told[0], "update")
        route = first(lab.seen(router), told[0], f"route {BEYOND[router][0]} ")
        if update is None or route is None:
            raise LabError(f"{router}: no UPDATE or no new route was seen")
        updates.append(update)
        routes.append(route)
    figures = (
        [told[0] - begin],
        [update - told[0] for update in updates],
        [route - update for route, update in zip(routes, updates, strict=True)],
        [route - begin for route in routes],
    )
    return {line: [ns / 1e6 for ns in each] for line, each in zip((*budget.lines(), _WHOLE), figures, strict=True)}


def _noticed(lab: Watched, budget: Budget, begin: int) -> int:
    """When the node knew of it, by its own events."""
    offset = statistics.median(time.time_ns() - time.monotonic_ns() for _ in range(9))
    kind, text = budget.event
    for event in json.loads(lab.cli(budget.node, "show", "events", "--json"))["events"]:
        at = int(event["at"] - offset)
        if at >= begin and event["kind"] == kind and text in event["text"]:
            return at
    raise LabError(f"{budget.node} did not notice {budget.fault}")
