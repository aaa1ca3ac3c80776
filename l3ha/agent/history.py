"""The newest notes, for ``show events``, on their way to the log."""

from __future__ import annotations

import time
from collections import deque
from typing import Any

from l3ha.agent.log import Log
from l3ha.base.limits import MAX_EVENTS
from l3ha.base.time import Instant
from l3ha.control.protocol import event_result
from l3ha.core.events import Note, NoteKind
from l3ha.drivers.boottime import boottime_ns


class History:
    """Every note passes here: it is logged, and remembered for a while."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._notes: deque[tuple[int, Instant, Note]] = deque(maxlen=MAX_EVENTS)

    def add(self, note: Note) -> None:
        """One note of the engine."""
        self._notes.append((time.time_ns(), boottime_ns(), note))
        self._log.note(note)

    def tell(self, kind: NoteKind, text: str, alarm: bool = True) -> None:
        """A note of the shell itself: something of the world outside that the engine has no event for."""
        self.add(Note(kind, text, alarm=alarm))

    def newest(self, limit: int, srg: int | None) -> list[dict[str, Any]]:
        """At most ``limit`` entries, of one group if given, oldest first."""
        now = boottime_ns()
        found: list[dict[str, Any]] = []
        for wall, at, note in reversed(self._notes):
            if len(found) == limit:
                break
            if srg is None or note.srg == srg:
                found.append(event_result(note, wall, now - at))
        return found[::-1]
