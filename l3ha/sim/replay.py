"""A journal is played again: the same engine, the same events at the same instants, and the effects are compared."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import IntEnum
from pathlib import Path

from l3ha.base.text import printable
from l3ha.base.time import SECOND
from l3ha.core.engine import Engine
from l3ha.core.events import (
    Answer,
    Datagram,
    DiscardBacklog,
    EchoAnswer,
    Effect,
    Event,
    Exit,
    NewSettings,
    Note,
    Remember,
    SetFailureRoute,
    SetInterfaces,
    SpeakerLine,
    Tick,
    ToSpeaker,
)
from l3ha.core.journal import Head, JournalError, Step, Torn, digest, fault, make, read
from l3ha.drivers import journal as files
from l3ha.sim.trace import line, told

CONTEXT = 20
"""Lines of the trace that are shown before a difference."""

_MANY = (Tick, Datagram, EchoAnswer, SpeakerLine)
"""Events that come many times a second: not worth a line each."""


class Verdict(IntEnum):
    """The exit code of a replay."""

    SAME = 0
    DIFFERENT = 1
    UNREADABLE = 2


def replay(path: Path, say: Callable[[str], None], *, trace: bool = False, core: type[Engine] = Engine) -> Verdict:
    """Replay one segment, or all of a directory, oldest first, and stop at the first difference.

    ``say`` gets what people read, line by line, printable, and without the node's secrets. ``core`` is the engine that
    is put to the test.
    """

    def tell(text: str) -> None:
        say(printable(text))

    try:
        found = files.segments(path) if path.is_dir() else [path]
    except OSError as error:
        tell(f"{path}: {error.strerror}")
        return Verdict.UNREADABLE
    if not found:
        tell(f"{path}: there is no segment of a journal")
        return Verdict.UNREADABLE
    verdict, before = Verdict.SAME, None
    for file in found:
        try:
            head, records = read(files.read(file))
            tell(_title(file, head, before))
            before = head
            difference = _Player(head, core, tell, trace).play(records)
        except (JournalError, files.UnusableError) as error:
            tell(f"{file}: {error}")
            verdict = Verdict.UNREADABLE
            continue
        if difference is not None:
            for text in difference:
                tell(text)
            return Verdict.DIFFERENT
    return verdict


class _Entropy:
    """What the engine drew then; zeros where it draws more now, so that what it would do can be shown."""

    def __init__(self, drawn: bytes) -> None:
        self._left = drawn
        self.more = 0
        """Bytes drawn more than then; negative: less."""

    def give(self, drawn: bytes) -> None:
        """For the next step."""
        self._left, self.more = drawn, -len(drawn)

    def __call__(self, size: int) -> bytes:
        drawn, self._left = self._left[:size], self._left[size:]
        self.more += size
        return drawn.ljust(size, b"\0")


@dataclass(frozen=True, slots=True)
class _Taken:
    """What a step gives now."""

    effects: tuple[Effect, ...]
    raised: str | None


class _Player:
    """One segment."""

    def __init__(self, head: Head, core: type[Engine], say: Callable[[str], None], trace: bool) -> None:
        self._node = head.node
        self._entropy = _Entropy(head.drawn)
        self._engine = make(head, self._entropy, core)
        self._say, self._trace = say, trace
        self._lines: deque[str] = deque(maxlen=CONTEXT)
        self._steps = self._effects = 0

    def play(self, records: Iterator[Step | Torn]) -> list[str] | None:
        """All steps, and how it ended; the text of the first difference if there is one. Raises ``JournalError``."""
        end = "the journal goes on, or the agent was killed"
        for record in records:
            if isinstance(record, Torn):
                end = f"the last record is torn ({record.size} bytes): the agent was killed, or the disk was full"
                break
            self._steps += 1
            taken = self._step(record)
            self._tell(record, taken)
            found = self._compare(record, taken)
            if found:
                return [*self._context(), *found]
            self._effects += len(taken.effects)
            if taken.raised is not None:
                end = f"the agent ended with a fault of its own: {taken.raised}"
            elif any(isinstance(e, Exit) for e in taken.effects):
                end = "the agent ended as it was told"
        self._say(f"  {self._steps} steps, {self._effects} effects: all the same; {end}")
        return None

    def _step(self, step: Step) -> _Taken:
        self._entropy.give(step.drawn)
        try:
            return _Taken(self._engine.step(step.event, step.now), None)
        except Exception as error:  # an incident may be just that
            return _Taken((), fault(error))

    def _compare(self, step: Step, taken: _Taken) -> list[str]:
        """What differs, in words; empty where nothing does."""
        at = (step.now - self._engine.started) / SECOND
        where = f"the first difference is in step {self._steps}, {at:.4f} s after the start: {event_text(step.event)}"
        if taken.raised != step.raised:
            return [where, f"  then: {step.raised or 'no fault'}", f"  now:  {taken.raised or 'no fault'}"]
        sums = tuple(digest(effect) for effect in taken.effects)
        if sums != step.effects:
            marks = [
                f"  {'same   ' if step.effects[n : n + 1] == (sums[n],) else 'ANOTHER'}  {effect_text(effect)}"
                for n, effect in enumerate(taken.effects)
            ]
            return [where, f"  then {len(step.effects)} effects, now {len(sums)}:", *marks]
        if self._entropy.more:
            return [where, f"  the effects are the same, the entropy is not: {self._entropy.more:+} bytes drawn"]
        return []

    # --- the trace --------------------------------------------------------------------------------------------------

    def _tell(self, step: Step, taken: _Taken) -> None:
        texts = [] if isinstance(step.event, _MANY) else [f"--- {event_text(step.event)}"]
        for effect in taken.effects:
            match effect:
                case Note() | Answer():
                    texts.append(told(effect))
                case Remember() | DiscardBacklog() | SetInterfaces() | SetFailureRoute() | Exit():
                    texts.append(effect_text(effect))
                case _:
                    pass
        if taken.raised is not None:
            texts.append(f"=== {taken.raised}")
        for text in texts:
            written = line(step.now - self._engine.started, self._node, text)
            if self._trace:
                self._say(written)
            else:
                self._lines.append(written)

    def _context(self) -> list[str]:
        return [] if not self._lines else ["what was told before:", *self._lines]


def event_text(event: Event) -> str:
    """One line about an event, without keys."""
    match event:
        case Datagram(path, source, ttl, data):
            return f"Datagram on {path} from {source}, TTL {ttl}, {len(data)} bytes"
        case EchoAnswer(target, data, _):
            return f"EchoAnswer from {target.destination} to {target.source}, {len(data)} bytes"
        case SpeakerLine(data):
            return f"SpeakerLine {data[:200].decode('utf-8', 'replace')}"
        case NewSettings(settings):
            return f"NewSettings {settings.digest.hex()}"
        case _:
            return repr(event)


def effect_text(effect: Effect) -> str:
    """One line about an effect."""
    match effect:
        case ToSpeaker(data):
            return f"ToSpeaker {data[:200].decode('utf-8', 'replace').strip()}"
        case _:
            text = repr(effect)
            return text if len(text) <= 200 else f"{text[:200]}… ({len(text)} characters)"


def _title(file: Path, head: Head, before: Head | None) -> str:
    seconds, rest = divmod(head.wall, SECOND)
    try:
        wall = f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S}.{rest // 1_000_000:03} UTC"
    except (ValueError, OverflowError, OSError):
        wall = "an unknown time"
    follows = before is not None and (before.start, before.number + 1) == (head.start, head.number)
    missing = head.number if before is None or before.start != head.start else head.number - before.number - 1
    gap = "" if head.number == 0 or follows else f"; {missing} before it are missing"
    return f"{file.name}: {head.node} of {head.cluster}, segment {head.number} of start {head.start}, from {wall}{gap}"
