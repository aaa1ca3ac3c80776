"""Faults, run and measured; the table of the README."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lab.command import LabError
from lab.faults import Fault
from lab.observe import move_to, serving, settle, wait_for
from lab.topology import BEYOND, ROUTERS
from lab.traffic import Outages
from lab.world import Lab

BEGIN, END = "<!-- faults:begin -->", "<!-- faults:end -->"


@dataclass(frozen=True, slots=True)
class Run:
    """One fault, once."""

    fault: Fault
    before: str
    after: str
    """The active node once the fault has had its effect."""
    best: dict[str, str]
    """The node that each router forwards to then."""
    outage: Outages
    healed: str
    healing: Outages | None
    """What mending cost; None where the fault passes by itself."""

    def complaint(self, margin_ms: float = 0) -> str | None:
        """What is worse than allowed; None: nothing. ``margin_ms`` is for faults that may lose anything at all."""
        allowed = self.fault.limit_ms and self.fault.limit_ms + margin_ms
        if self.outage.worst_ms > allowed:
            return f"{self.fault.name}: {self.outage} (allowed: {allowed:g} ms)"
        if self.healing is not None and self.healing.lost:
            return f"{self.fault.name}, mending: {self.healing} (allowed: none)"
        return None


def strike(lab: Lab, fault: Fault) -> Run:
    """Apply one fault to a healthy pair, see it through, mend it, see that through.

    Raises ``LabError`` where roles, routes or traffic are not what the fault allows; then it is mended all the same.
    """
    before = settle(lab)
    meter = lab.meter()
    mended = fault.heal is None

    def hit() -> None:
        fault.apply(lab, before)
        wait_for(
            lab, *fault.expect(before), within_s=fault.within_s, steady_s=fault.steady_s, what=f"after {fault.name}:"
        )

    try:
        outage = meter.measure(hit)
        after = serving_node(lab)
        best = dict.fromkeys(ROUTERS, after)
        if fault.heal is None:
            return Run(fault, before, after, best, outage, settle(lab), None)
        heal = fault.heal
        mended = True
        healing = lab.meter().measure(lambda: _mend(lab, before, heal))
        return Run(fault, before, after, best, outage, settle(lab), healing)
    finally:
        if not mended and fault.heal is not None:
            fault.heal(lab, before)


def _mend(lab: Lab, active: str, heal: Callable[[Lab, str], None]) -> None:
    heal(lab, active)
    settle(lab, within_s=60, steady_s=1.0)


def serving_node(lab: Lab) -> str:
    """The node that is active and that both routers use, for both families."""
    found = wait_for(lab, serving("n1"), serving("n2"), within_s=5, what="one node that serves")
    return str(found[ROUTERS[0]][BEYOND[ROUTERS[0]][0]][0])


def campaign(lab: Lab, faults: Sequence[Fault], runs: int, say: Callable[[str], None]) -> tuple[list[Run], list[str]]:
    """Every fault ``runs`` times, each against n1; the runs, and what went wrong in words."""
    done: list[Run] = []
    wrong: list[str] = []
    for fault in faults:
        for number in range(1, runs + 1):
            try:
                move_to(lab, "n1")
                run = strike(lab, fault)
            except LabError as error:
                wrong.append(f"{fault.name}, run {number}: {error}")
                say(f"{fault.name:20} {number}/{runs}  FAILED: {error}")
                continue
            done.append(run)
            say(f"{fault.name:20} {number}/{runs}  {run.before} -> {run.after}  {run.outage}")
            if complaint := run.complaint():
                wrong.append(complaint)
                say(f"{'':20}      TOO MUCH: {complaint}")
    return done, wrong


def table(runs: Sequence[Run]) -> str:
    """The README's table: one line per fault, outages in ms as median / max."""
    lines = [
        "| fault | active before → after | R1, R2 send to | hosta → hostb, ms | hostb → hosta, ms | lost on mending |",
        "|---|---|---|---|---|---|",
    ]
    for fault in dict.fromkeys(run.fault for run in runs):
        mine = [run for run in runs if run.fault is fault]
        roles = ", ".join(sorted({f"{run.before} → {run.after}" for run in mine}))
        best = ", ".join(sorted({", ".join(run.best.values()) for run in mine}))
        ways = [
            _figures([run.outage.a_to_b.gap_ms for run in mine]),
            _figures([run.outage.b_to_a.gap_ms for run in mine]),
        ]
        healing = [run.healing.lost for run in mine if run.healing is not None]
        mending = str(max(healing)) if healing else "–"
        lines.append(f"| {fault.title} | {roles} | {best} | {ways[0]} | {ways[1]} | {mending} |")
    return "\n".join(lines)


def _figures(gaps: Sequence[float]) -> str:
    if not any(gaps):
        return "0"
    return f"{statistics.median(gaps):.0f} / {max(gaps):.0f}"


def write_table(path: Path, text: str) -> None:
    """Put the table between its markers."""
    write_block(path, BEGIN, END, text)


def write_block(path: Path, begin: str, end: str, text: str) -> None:
    """Put a text between two markers of a file; one without them gets both at its end."""
    block = f"{begin}\n{text}\n{end}"
    old = path.read_text() if path.exists() else ""
    if begin in old and end in old:
        head, _, rest = old.partition(begin)
        new = head + block + rest.partition(end)[2]
    else:
        new = f"{old.rstrip()}\n\n{block}\n".lstrip()
    path.write_text(new)
