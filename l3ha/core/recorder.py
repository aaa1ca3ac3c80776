"""Beside the engine: what it is told, what it draws and a digest of what it wants, as records for a journal."""

from __future__ import annotations

import json
from collections.abc import Callable
from struct import error as StructError
from typing import Any, Protocol

import l3ha
from l3ha.base.settings import Settings
from l3ha.base.time import Instant
from l3ha.core import image
from l3ha.core.engine import Engine
from l3ha.core.events import Effect, Event, Memory
from l3ha.core.journal import DONE, MAGIC, RAISED, digest, fault, framed, record


class Sink(Protocol):
    """Where records go. It never raises; what it cannot keep it drops, all that follows too."""

    @property
    def full(self) -> bool:
        """The next step belongs into a new segment."""

    def begin(self, segment: bytes) -> None:
        """A new segment with these first bytes."""

    def append(self, record: bytes) -> None:
        """The next record of the segment."""

    def fail(self, why: str) -> None:
        """The journal cannot go on."""


class Recorder:
    """Writes one engine's journal. The engine must draw from ``entropy`` and be stepped by ``step``.

    ``wall`` tells UTC in nanoseconds, for readers only.
    """

    def __init__(self, sink: Sink, entropy: image.Entropy, wall: Callable[[], int]) -> None:
        self._sink, self._source, self._wall = sink, entropy, wall
        self._drawn: list[bytes] = []
        self._number = 0
        self._ended = False

    def entropy(self, size: int) -> bytes:
        """What the engine draws from."""
        drawn = self._source(size)
        if not self._ended:
            self._drawn.append(drawn)
        return drawn

    def begin(self, engine: Engine, settings: Settings, memory: tuple[Memory, ...], now: Instant) -> None:
        """The engine was just made of these."""
        self._engine = engine
        self._segment(now, lambda: image.write((settings, memory)))

    def step(
        self, step: Callable[[Event, Instant], tuple[Effect, ...]], event: Event, now: Instant
    ) -> tuple[Effect, ...]:
        """Take the step, and note it down; also where it raises."""
        if self._sink.full:
            self._segment(now, lambda: image.write_engine(self._engine, self.entropy))
        try:
            effects = step(event, now)
        except Exception as error:
            text = fault(error)
            self._guarded(lambda: self._sink.append(record(RAISED, event, now, self._taken(), [text.encode()])))
            raise
        self._guarded(lambda: self._sink.append(record(DONE, event, now, self._taken(), [digest(e) for e in effects])))
        return effects

    def end(self) -> None:
        """Nothing is kept from now on."""
        self._ended = True
        self._drawn.clear()

    def _segment(self, now: Instant, written: Callable[[], Any]) -> None:
        settings = self._engine.settings
        head = {
            "software": l3ha.__version__,
            "cluster": settings.cluster,
            "node": settings.name,
            "start": f"{self._engine.incarnation:016x}",
            "number": self._number,
            "wall": self._wall(),
            "now": now,
            "drawn": self._taken().hex(),
        }
        self._number += 1
        self._guarded(
            lambda: self._sink.begin(
                MAGIC + framed(json.dumps(head | {"image": written()}, separators=(",", ":")).encode())
            )
        )

    def _guarded(self, write: Callable[[], None]) -> None:
        """What cannot be written ends the journal and nothing else."""
        try:
            write()
        except (image.UnknownKindError, StructError, ValueError) as error:
            self._sink.fail(f"it has no words for {type(error).__name__}: {error}")

    def _taken(self) -> bytes:
        if not self._drawn:
            return b""
        drawn = b"".join(self._drawn)
        self._drawn.clear()
        return drawn
