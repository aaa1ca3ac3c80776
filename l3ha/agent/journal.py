"""An engine whose every step is journaled."""

from __future__ import annotations

import time

from l3ha.base.settings import Settings
from l3ha.base.time import Instant
from l3ha.core.engine import Engine
from l3ha.core.events import Effect, Event, Memory, Note, NoteKind
from l3ha.core.image import Entropy
from l3ha.core.recorder import Recorder
from l3ha.drivers.journal import JournalFiles


class JournaledEngine:
    """The engine's doors, with the journal in front. A journal that cannot go on is one alarm, nothing more."""

    def __init__(
        self, settings: Settings, memory: tuple[Memory, ...], entropy: Entropy, now: Instant, files: JournalFiles
    ) -> None:
        self._files = files
        self._told = False
        self._recorder = Recorder(files, entropy, time.time_ns)
        self.engine = Engine(settings, memory, self._recorder.entropy, now)
        self._recorder.begin(self.engine, settings, memory, now)
        self.next_deadline = self.engine.next_deadline

    def step(self, event: Event, now: Instant) -> tuple[Effect, ...]:
        """One event in, ordered effects out."""
        if self._told:
            return self.engine.step(event, now)
        effects = self._recorder.step(self.engine.step, event, now)
        if self._files.problem is None:
            return effects
        self._told = True
        self._recorder.end()
        return (*effects, Note(NoteKind.ALARM, self._files.problem, alarm=True))
