"""All contenders side by side: in every round each one is built once and goes through all faults.

Rounds interleave the contenders, so that the noise of the machine hits all alike.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lab.bench.accident import Accident
from lab.bench.contender import Contender
from lab.bench.footprint import measure
from lab.bench.record import Footprint, Phase, Record, Results
from lab.bench.trial import strike
from lab.command import LabError
from lab.routers import RouterKind

BROKEN = (LabError, OSError)
"""What a run may fail with: something is not as it must be, or a process is gone that should be there."""


@dataclass(slots=True)
class Campaign:
    """What is run, and what was found so far."""

    tag: str
    contenders: Sequence[type[Contender]]
    accidents: Sequence[Accident]
    kinds: Sequence[RouterKind]
    runs: int
    say: Callable[[str], None]
    save: Callable[[Results], None] = lambda _results: None
    footprint_s: float = 10.0
    """How long the processes are watched for their footprint; 0: not at all."""
    logs: Path | None = None
    _records: list[Record] = field(default_factory=list)
    _footprints: list[Footprint] = field(default_factory=list)

    def run(self) -> Results:
        """All rounds."""
        for number in range(1, self.runs + 1):
            for kind in self.kinds:
                for contender in self.contenders:
                    if kind in contender.kinds:
                        self._round(contender, kind, number)
        return self._results()

    def _results(self) -> Results:
        return Results(tuple(self._records), tuple(self._footprints))

    def _round(self, contender: type[Contender], kind: RouterKind, number: int) -> None:
        """Every fault, once. After a failed one the rest goes on with a new lab."""
        left = [accident for accident in self.accidents if accident.name not in contender.absent]
        watched = False
        while left:
            begun = len(left)
            logs = self.logs / f"{contender.name}-{kind}-{number}" if self.logs else None
            try:
                with contender(self.tag, kind, logs=logs) as lab:
                    lab.settle()
                    if not watched:
                        self._watch(lab, number)
                        watched = True
                    while left:
                        self._strike(lab, left.pop(0), number)
            except BROKEN as error:
                if len(left) == begun:  # it did not even come up: the next fault would fare no better
                    for accident in left:
                        self._note(Record(kind, contender.name, accident.name, number, failure=str(error)))
                    return

    def _watch(self, lab: Contender, number: int) -> None:
        if not self.footprint_s:
            return
        for part, (cpu, memory) in measure(lab, self.footprint_s).items():
            self._footprints.append(Footprint(lab.kind, lab.name, number, part, round(cpu, 2), memory))
            self.say(f"{number} {lab.kind:4} {lab.name:16} {part}: {cpu:.1f} % CPU, {memory / 1024:.0f} MB")

    def _strike(self, lab: Contender, accident: Accident, number: int) -> None:
        """Raises one of ``BROKEN``, once it is noted, where the lab cannot be used any more."""
        about = (str(lab.kind), lab.name, accident.name, number)
        try:
            lab.home()
            lab.settle()
            phase, mending = strike(lab, accident)
        except BROKEN as error:
            self._note(Record(*about, failure=str(error)))
            raise
        self._note(Record(*about, phase, mending))

    def _note(self, record: Record) -> None:
        self._records.append(record)
        self.say(line(record))
        with contextlib.suppress(OSError):  # the figures are still in memory; the end of the run saves them again
            self.save(self._results())


def line(record: Record) -> str:
    """One run in a line."""
    head = f"{record.run} {record.router:4} {record.contender:16} {record.fault:14}"
    if record.phase is None:
        return f"{head} FAILED: {record.failure}"
    phase, mending = record.phase, record.mending
    text = f"{head} {_words(phase)}{'' if phase.back else ', until mended'}"
    return text if mending is None else f"{text}; mending: {_words(mending)}"


def _words(phase: Phase) -> str:
    there, back = phase.gap_ms
    return f"{there:.0f} and {back:.0f} ms, {sum(phase.lost)} lost, two actives {phase.two_actives_ms:.0f} ms"
