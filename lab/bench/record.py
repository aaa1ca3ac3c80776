"""What one run found, as plain data that survives in JSON, and the figures of many runs."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Phase:
    """A fault, or its mending, as the traffic felt it."""

    gap_ms: tuple[float, float]
    """Longest hole, hosta to hostb and back."""
    lost: tuple[int, int]
    two_actives_ms: float
    """How long both nodes claimed the role, or the routers sent to different nodes; sampled."""
    back: bool = True
    """Whether traffic flowed again by itself; False: only the mending ended the hole, which then is a lower bound."""
    spoilt: bool = False
    """Whether the machine itself stood still meanwhile, so that the figures may be its own."""


@dataclass(frozen=True, slots=True)
class Record:
    """One fault, once."""

    router: str
    contender: str
    fault: str
    run: int
    phase: Phase | None = None
    mending: Phase | None = None
    failure: str | None = None
    """Why the run gave no figures; it is shown, never dropped."""
    void: int = 0
    """How many tries before this one were spoilt, and are not shown."""

    @property
    def spoilt(self) -> bool:
        """Whether the fault or its mending was."""
        return any(phase.spoilt for phase in (self.phase, self.mending) if phase is not None)


@dataclass(frozen=True, slots=True)
class Footprint:
    """One kind of process of a contender on one node, in a healthy pair."""

    router: str
    contender: str
    run: int
    part: str
    cpu_percent: float
    """Of one core."""
    memory_kb: int
    """Proportional set size: shared pages are counted once."""


@dataclass(frozen=True, slots=True)
class Measure:
    """One figure that l3ha alone is measured by, many times."""

    subject: str
    """Which benchmark."""
    what: str
    unit: str
    values: tuple[float, ...]
    note: str = ""
    """Why there are no values, or what to know of them."""


MANY = 50
"""Runs of which one in a hundred says something."""


@dataclass(frozen=True, slots=True)
class Figures:
    """Many runs of one thing."""

    runs: int
    median: float
    maximum: float
    p99: float | None = None
    """What 99 of 100 runs do not exceed; None where there are fewer than ``MANY``."""

    @staticmethod
    def of(values: Iterable[float]) -> Figures | None:
        """None where there are no values."""
        found = list(values)
        if not found:
            return None
        p99 = statistics.quantiles(found, n=100, method="inclusive")[98] if len(found) >= MANY else None
        return Figures(len(found), statistics.median(found), max(found), p99)

    def __str__(self) -> str:
        if not self.maximum:
            return "0"
        if self.runs == 1:
            return f"{self.median:.0f}"
        return f"{self.median:.0f} / {self.maximum:.0f}"


@dataclass(frozen=True, slots=True)
class Cell:
    """All runs of one contender with one fault at one kind of router."""

    a_to_b: Figures | None
    b_to_a: Figures | None
    worst: Figures | None
    """Of both directions."""
    lost: Figures | None
    """Packets, both directions together."""
    two_actives: Figures | None
    stuck: int
    """Runs in which traffic did not come back until the fault was mended."""
    failures: tuple[str, ...]


def phases(records: Iterable[Record], *, mending: bool) -> list[Phase]:
    """The faults' phases, or their mendings' (where there were any)."""
    found = [record.mending if mending else record.phase for record in records]
    return [phase for phase in found if phase is not None]


def cell(records: Sequence[Record], *, mending: bool = False) -> Cell:
    """The figures of these runs."""
    seen = phases(records, mending=mending)
    return Cell(
        a_to_b=Figures.of(phase.gap_ms[0] for phase in seen),
        b_to_a=Figures.of(phase.gap_ms[1] for phase in seen),
        worst=Figures.of(max(phase.gap_ms) for phase in seen),
        lost=Figures.of(sum(phase.lost) for phase in seen),
        two_actives=Figures.of(phase.two_actives_ms for phase in seen),
        stuck=sum(not phase.back for phase in seen),
        failures=tuple(record.failure for record in records if record.failure is not None),
    )


@dataclass(frozen=True, slots=True)
class Results:
    """Everything that a benchmark run found."""

    records: tuple[Record, ...] = ()
    footprints: tuple[Footprint, ...] = ()
    measures: tuple[Measure, ...] = ()

    def updated(self, new: Results) -> Results:
        """This with every cell, footprint and benchmark that was measured again replaced."""
        cells = {(one.router, one.contender, one.fault) for one in new.records}
        labs = {(one.router, one.contender) for one in new.footprints}
        subjects = {one.subject for one in new.measures}
        return Results(
            (*(r for r in self.records if (r.router, r.contender, r.fault) not in cells), *new.records),
            (*(f for f in self.footprints if (f.router, f.contender) not in labs), *new.footprints),
            (*(m for m in self.measures if m.subject not in subjects), *new.measures),
        )

    def save(self, path: Path) -> None:
        """Write as JSON, whole or not at all."""
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(".new")
        draft.write_text(json.dumps(asdict(self), indent=1))
        draft.rename(path)

    @staticmethod
    def load(path: Path) -> Results:
        """Read what ``save`` wrote."""
        found = json.loads(path.read_text())
        records = tuple(
            Record(**{**record, "phase": _phase(record["phase"]), "mending": _phase(record["mending"])})
            for record in found["records"]
        )
        measures = tuple(Measure(**{**one, "values": tuple(one["values"])}) for one in found["measures"])
        return Results(records, tuple(Footprint(**one) for one in found["footprints"]), measures)


def _phase(found: dict[str, Any] | None) -> Phase | None:
    if found is None:
        return None
    return Phase(**{**found, "gap_ms": tuple(found["gap_ms"]), "lost": tuple(found["lost"])})
