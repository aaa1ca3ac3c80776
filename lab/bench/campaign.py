"""All contenders in turns: in every round each one is built once and goes through all faults.

Rounds interleave the contenders, so that the noise of the machine hits all alike. Several labs may run side by side,
each with its own tag: most of a run is waiting.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from lab.bench.accident import Accident
from lab.bench.contender import Contender
from lab.bench.footprint import Idle, measure
from lab.bench.record import Footprint, Measure, Phase, Record, Results
from lab.bench.trial import AT_ONCE_MS, HOLE_S, Turns, strike
from lab.command import LabError
from lab.holes import Watch, watched
from lab.routers import RouterKind

BROKEN = (LabError, OSError)
"""What a run may fail with: something is not as it must be, or a process is gone that should be there."""

SUBJECT = "The machine during the comparison"
TRIES = 3
"""The last one counts, whatever the machine does."""
_STEADY_S = 0.5
"""How long a pair must be well before a fault; the mending of the last one has already been watched for longer."""
_END_S = 15.0
"""How long all workers together may take to notice that their labs are gone."""


class Round(NamedTuple):
    """One lab's work: all faults, once."""

    contender: type[Contender]
    kind: RouterKind
    number: int


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
    """How long the processes are watched for their footprint, in the first round; 0: not at all."""
    logs: Path | None = None
    jobs: int = 1
    """Labs side by side."""
    _records: list[Record] = field(default_factory=list)
    _footprints: list[Footprint] = field(default_factory=list)
    _machine: list[Measure] = field(default_factory=list)
    _left: deque[Round] = field(default_factory=deque)
    _labs: dict[str, Contender] = field(default_factory=dict)
    """Those that are up, by tag."""
    _errors: list[Exception] = field(default_factory=list)
    _turns: Turns = field(default_factory=Turns)
    _watching: Watch = field(init=False)
    _noting: threading.RLock = field(default_factory=threading.RLock)
    _over: threading.Event = field(default_factory=threading.Event)

    def run(self) -> Results:
        """All rounds. Raises what a worker raised that is no failed run, ``LabError`` where nobody can watch the
        machine, ``UnwatchedError`` where nobody does any more."""
        self._left.extend(
            Round(contender, kind, number)
            for number in range(1, self.runs + 1)
            for kind in self.kinds
            for contender in self.contenders
            if kind in contender.kinds
        )
        tags = [self.tag if self.jobs == 1 else f"{self.tag}-{number}" for number in range(1, self.jobs + 1)]
        workers = [threading.Thread(target=self._work, args=(tag,), daemon=True) for tag in tags]
        idle = Idle()
        with watched(AT_ONCE_MS) as self._watching:
            for worker in workers:
                worker.start()
            try:
                for worker in workers:
                    worker.join()
            except BaseException:
                self._stop(workers)
                raise
        if self._errors:
            raise self._errors[0]
        self._machine.append(self._idle(idle))
        return self._results()

    def _stop(self, workers: Sequence[threading.Thread]) -> None:
        """Take the labs away from under the workers, which note nothing any more."""
        self._over.set()
        for lab in list(self._labs.values()):
            with contextlib.suppress(*BROKEN):  # its worker may be removing it, too
                lab.down()
        end = time.monotonic() + _END_S
        for worker in workers:
            worker.join(max(0.0, end - time.monotonic()))

    def _work(self, tag: str) -> None:
        try:
            while (task := self._next()) is not None:
                self._round(tag, *task)
        except Exception as error:  # of whatever kind: the thread that waits raises it
            self._errors.append(error)
            self._over.set()

    def _next(self) -> Round | None:
        with self._noting:
            return self._left.popleft() if self._left and not self._over.is_set() else None

    def _idle(self, idle: Idle) -> Measure:
        what = f"all cores idle, {self.jobs} {'lab' if self.jobs == 1 else 'labs side by side'}"
        return Measure(SUBJECT, what, "%", (idle.percent(),), f"{os.cpu_count()} cores")

    def _results(self) -> Results:
        return Results(tuple(self._records), tuple(self._footprints), tuple(self._machine))

    def _round(self, tag: str, contender: type[Contender], kind: RouterKind, number: int) -> None:
        """Every fault, once. After a failed one the rest goes on with a new lab."""
        left = [accident for accident in self.accidents if accident.name not in contender.absent]
        watched = number > 1
        while left and not self._over.is_set():
            begun = len(left)
            logs = self.logs / f"{contender.name}-{kind}-{number}" if self.logs else None
            try:
                with self._up(contender(tag, kind, logs=logs)) as lab:
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

    @contextlib.contextmanager
    def _up(self, lab: Contender) -> Iterator[Contender]:
        self._labs[lab.tag] = lab
        try:
            with self._turns.one(HOLE_S) as up:
                lab.up()
                up()
            try:
                yield lab
            finally:
                lab.down()
        finally:
            del self._labs[lab.tag]

    def _watch(self, lab: Contender, number: int) -> None:
        if not self.footprint_s:
            return
        with self._turns.one(after_s=0):
            found = measure(lab, self.footprint_s)
        with self._noting:
            for part, (cpu, memory) in found.items():
                self._footprints.append(Footprint(lab.kind, lab.name, number, part, round(cpu, 2), memory))
                self.say(f"{number} {lab.kind:4} {lab.name:16} {part}: {cpu:.1f} % CPU, {memory / 1024:.0f} MB")

    def _strike(self, lab: Contender, accident: Accident, number: int) -> None:
        """Again where the machine spoilt it. Raises one of ``BROKEN``, once it is noted, where the lab cannot be used
        any more."""
        about, void = (str(lab.kind), lab.name, accident.name, number), 0
        try:
            while True:
                lab.home()
                lab.settle(steady_s=_STEADY_S)
                record = Record(*about, *strike(lab, accident, self._turns, self._watching), void=void)
                if not record.spoilt or void + 1 == TRIES:
                    break
                void += 1
        except BROKEN as error:
            after = f" (after {void} spoilt tries)" if void else ""
            self._note(Record(*about, failure=f"{error}{after}", void=void))
            raise
        self._note(record)

    def _note(self, record: Record) -> None:
        with self._noting:
            if self._over.is_set():  # its lab was taken away
                return
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
    text = text if mending is None else f"{text}; mending: {_words(mending)}"
    return f"{text}; spoilt by the machine" if record.spoilt else text


def _words(phase: Phase) -> str:
    there, back = phase.gap_ms
    return f"{there:.0f} and {back:.0f} ms, {sum(phase.lost)} lost, two actives {phase.two_actives_ms:.0f} ms"
