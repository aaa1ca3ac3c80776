"""The journal: everything that enters an engine, and a digest of what came of it, as records of a file.

A journal is a sequence of segments. A segment is one file, and can be replayed without the others::

    "l3ha-journal 4\\n"  head  step  step  …

    record   length u32 | CRC-32 of the length u32 | CRC-32 of the body u32 | body         little-endian
    head     JSON: program, node, start, number of the segment, wall clock, instant, drawn entropy, image
    step     kind u8 | instant i64 | drawn u32 | effects u16 | event u8 | drawn entropy | 4 bytes per effect | event

The image of a start's first segment is what the engine was made of (settings and terms), of every later one its whole
state (``image``). The entropy that the engine drew is in the record of the step that drew it. Of an effect only a
digest is kept. The length has a sum of its own, so that a record that was cut off at the end of the file (the process
was killed) and one that was damaged are two things.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2s
from struct import Struct
from struct import error as StructError
from typing import Any, get_args
from zlib import crc32

import l3ha
from l3ha.base.settings import EchoTarget, Settings
from l3ha.base.time import Instant
from l3ha.core import image
from l3ha.core.engine import Engine
from l3ha.core.events import Datagram, EchoAnswer, Effect, Event, Memory, Send, SendEcho, SpeakerLine, Tick, ToSpeaker

MAGIC = b"l3ha-journal 4\n"
SUM = 4
"""Bytes of the digest of one effect: enough to notice a change, which nobody forges."""

_FRAME = Struct("<III")
_LENGTH = Struct("<I")
_STEP = Struct("<BqIHB")
_DATAGRAM = Struct("<hBB")
_ECHO = Struct("<qqBB")
DONE, RAISED = 1, 2
_TICK, _DATAGRAM_IN, _ECHO_IN, _LINE_IN, _OTHER = range(5)
_EVENTS = get_args(Event)


class JournalError(Exception):
    """Not a journal that this program can replay; ``str()`` says why."""


@dataclass(frozen=True, slots=True)
class Head:
    """How a segment begins."""

    software: str
    cluster: str
    node: str
    start: str
    """The agent's incarnation: the segments of one start share it."""
    number: int
    """Of the segment within its start, from 0."""
    wall: int
    """UTC in nanoseconds at ``now``; for readers, the engine does not know it."""
    now: Instant
    drawn: bytes
    image: Any
    """Number 0: settings and terms. Else the engine's state."""


@dataclass(frozen=True, slots=True)
class Step:
    """One call of ``Engine.step``."""

    event: Event
    now: Instant
    drawn: bytes
    effects: tuple[bytes, ...]
    """One digest each."""
    raised: str | None
    """The fault of ours with which the step ended, and the agent."""


@dataclass(frozen=True, slots=True)
class Torn:
    """The end of a file that was not written to its end: the process was killed, or the disk was full."""

    size: int


def fault(error: Exception) -> str:
    """A fault of ours as the journal writes it."""
    return f"{type(error).__name__}: {error}"[:1000].encode("utf-8", "replace").decode()


def digest(effect: Effect) -> bytes:
    """What tells one effect from another. What goes out many times a second is not spelled out for it."""
    match effect:
        case Send(path, destination, data):
            said = b"%b>%b>%b" % (path.encode(), destination.encode(), data)
        case SendEcho(target, identifier, sequence, payload, awaited):
            where = f"{target.source}>{target.destination}>{target.interval}>{identifier}>{sequence}>{awaited:d}>"
            said = where.encode() + payload
        case ToSpeaker(data):
            said = data
        case _:
            said = _json(image.write(effect))
    return blake2s(said, digest_size=SUM).digest()


def make(head: Head, entropy: image.Entropy, core: type[Engine] = Engine) -> Engine:
    """The engine as it was at the beginning of the segment. Raises ``JournalError``."""
    try:
        if head.number:
            return image.read_engine(head.image, entropy, core)
        settings, memory = image.read(head.image)
        if not isinstance(settings, Settings) or not all(isinstance(m, Memory) for m in memory):
            raise JournalError("the first segment does not begin with settings and terms")
        return core(settings, memory, entropy, head.now)
    except (ValueError, TypeError, AttributeError, LookupError) as error:
        raise JournalError(f"the engine cannot be made again: {error}") from None


def read(data: bytes) -> tuple[Head, Iterator[Step | Torn]]:
    """A segment. Raises ``JournalError`` at once or, where the damage is further on, while the steps are read."""
    if not data.startswith(MAGIC):
        format_ = data[: len(MAGIC)].split(b"\n")[0]
        if format_.startswith(MAGIC.split()[0]):
            raise JournalError(
                f"another format: {format_.decode('ascii', 'replace')}; this program reads {MAGIC.decode().strip()}"
            )
        raise JournalError("not a journal of l3ha")
    records = _records(data)
    first = next(records, None)
    if not isinstance(first, bytes):
        raise JournalError("it has no complete head")
    return _head(first), (r if isinstance(r, Torn) else _step(r) for r in records)


# --- records ----------------------------------------------------------------------------------------------------------


def framed(body: bytes) -> bytes:
    """A record around these bytes."""
    size = len(body)
    return _FRAME.pack(size, crc32(_LENGTH.pack(size)), crc32(body)) + body


def _records(data: bytes) -> Iterator[bytes | Torn]:
    at, end = len(MAGIC), len(data)
    while at < end:
        rest = data[at : at + _FRAME.size]
        if len(rest) < _FRAME.size or not any(rest):
            if any(data[at + len(rest) :]):
                raise JournalError(f"damaged at byte {at}")
            yield Torn(end - at)  # zeros: the file had its new size when the power went, and not its new content
            return
        size, sum_of_size, sum_of_body = _FRAME.unpack(rest)
        if crc32(rest[:4]) != sum_of_size:
            raise JournalError(f"damaged at byte {at}: the length of a record")
        body = data[at + _FRAME.size : at + _FRAME.size + size]
        if len(body) < size:
            yield Torn(end - at)
            return
        if crc32(body) != sum_of_body:
            raise JournalError(f"damaged at byte {at}: the content of a record")
        yield body
        at += _FRAME.size + size


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _head(body: bytes) -> Head:
    try:
        h = json.loads(body)
        if h["software"] != l3ha.__version__:
            raise JournalError(
                f"written by l3ha {h['software']}; this is l3ha {l3ha.__version__}: replay it with that one"
            )
        return Head(
            software=str(h["software"]),
            cluster=str(h["cluster"]),
            node=str(h["node"]),
            start=str(h["start"]),
            number=int(h["number"]),
            wall=int(h["wall"]),
            now=int(h["now"]),
            drawn=bytes.fromhex(h["drawn"]),
            image=h["image"],
        )
    except (ValueError, LookupError, TypeError, ArithmeticError, RecursionError) as error:
        raise JournalError(f"its head makes no sense: {type(error).__name__}: {error}") from None


def record(kind: int, event: Event, now: Instant, drawn: bytes, sums: list[bytes]) -> bytes:
    """A step's record; ``sums`` are the digests of its effects or, where it raised, the one text of the fault."""
    tag, body = _write_event(event)
    size = len(sums) if kind == DONE else len(sums[0])
    return framed(b"".join((_STEP.pack(kind, now, len(drawn), size, tag), drawn, *sums, body)))


def _step(body: bytes) -> Step:
    try:
        kind, now, drawn, size, tag = _STEP.unpack_from(body)
        at = _STEP.size + drawn
        until = at + (SUM * size if kind == DONE else size)
        sums = body[at:until]
        event = _read_event(tag, body[until:])
    except (StructError, ValueError, LookupError, RecursionError) as error:
        raise JournalError(f"a record makes no sense: {error}") from None
    effects = tuple(sums[n : n + SUM] for n in range(0, len(sums), SUM)) if kind == DONE else ()
    raised = sums.decode("utf-8", "replace") if kind == RAISED else None
    return Step(event, now, body[_STEP.size : at], effects, raised)


# --- events -----------------------------------------------------------------------------------------------------------


def _write_event(event: Event) -> tuple[int, bytes]:
    """What comes many times a second has a short form of its own."""
    match event:
        case Tick():
            return _TICK, b""
        case Datagram(path, source, ttl, data):
            where = (path.encode(), source.encode())
            head = _DATAGRAM.pack(-1 if ttl is None else ttl, len(where[0]), len(where[1]))
            return _DATAGRAM_IN, head + where[0] + where[1] + data
        case EchoAnswer(target, data, age):
            where = (target.source.encode(), target.destination.encode())
            head = _ECHO.pack(target.interval, age, len(where[0]), len(where[1]))
            return _ECHO_IN, head + where[0] + where[1] + data
        case SpeakerLine(data):
            return _LINE_IN, data
        case _:
            return _OTHER, _json(image.write(event))


def _read_event(tag: int, body: bytes) -> Event:
    match tag:
        case 0:
            return Tick()
        case 1:
            ttl, size, more = _DATAGRAM.unpack_from(body)
            path, source, data = _texts(body[_DATAGRAM.size :], size, more)
            return Datagram(path, source, None if ttl < 0 else ttl, data)
        case 2:
            interval, age, size, more = _ECHO.unpack_from(body)
            own, destination, data = _texts(body[_ECHO.size :], size, more)
            return EchoAnswer(EchoTarget(own, destination, interval), data, age)
        case 3:
            return SpeakerLine(body)
        case _:
            event = image.read(json.loads(body))
            if not isinstance(event, _EVENTS):
                raise ValueError("not an event")
            known: Event = event
            return known


def _texts(data: bytes, first: int, second: int) -> tuple[str, str, bytes]:
    return data[:first].decode(), data[first : first + second].decode(), data[first + second :]
