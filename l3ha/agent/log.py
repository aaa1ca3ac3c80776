"""The log: notes and shell messages to stderr, as text for people or JSON lines. The only user of structlog.

A line is put into a bounded queue, and a thread renders and writes it: a full pipe behind stderr cannot stop the loop.
structlog takes 0.1 s to import, so the thread imports it, and is started after the first heartbeat.
"""

from __future__ import annotations

import queue
import sys
import threading
import traceback
from collections.abc import Mapping, MutableMapping
from datetime import UTC, datetime
from typing import Any, TextIO

from l3ha.core.events import Note

_IMPORTED_S = 10.0
"""structlog is imported within this, however busy the machine: an agent that ends early says why."""

MAX_QUEUE = 10_000
"""Lines that wait for a slow reader of stderr; more are counted and lost."""


class Log:
    """``style`` is ``console`` or ``json``."""

    def __init__(self, style: str, stream: TextIO | None = None) -> None:
        self._style = style
        self._stream = stream or sys.stderr
        self._queue: queue.Queue[dict[str, Any] | None] = queue.Queue(MAX_QUEUE)
        self._thread = threading.Thread(target=self._write, name="log", daemon=True)
        self._ready = threading.Event()
        self._lost = 0

    def start(self) -> None:
        """Begin to write; what was said before is written now."""
        if self._thread.ident is None:
            self._thread.start()

    def note(self, note: Note) -> None:
        """One note of the engine; alarms are warnings."""
        fields: dict[str, Any] = {"kind": str(note.kind)}
        if note.srg is not None:
            fields["srg"] = int(note.srg)
        if note.rule is not None:
            fields["rule"] = note.rule
        self.say("warning" if note.alarm else "info", note.text, **{**dict(note.fields), **fields})

    def say(self, level: str, text: str, **fields: Any) -> None:
        """One line of the shell itself."""
        line = {**fields, "event": text, "level": level, "timestamp": _timestamp()}
        if self._lost:
            line["lost_lines"] = self._lost
        try:
            self._queue.put_nowait(line)
            self._lost = 0
        except queue.Full:
            self._lost += 1

    def crash(self, text: str, error: BaseException) -> None:
        """A fault of ours, with its traceback."""
        self.say("critical", text, traceback="".join(traceback.format_exception(error)))

    def close(self, timeout_s: float = 1.0) -> None:
        """Write what waits, but do not wait for a blocked reader for ever."""
        self.start()
        self._ready.wait(_IMPORTED_S)
        try:
            self._queue.put(None, timeout=timeout_s)
        except queue.Full:
            return
        self._thread.join(timeout_s)

    def _write(self) -> None:
        logger = _logger(self._style, self._stream)
        self._ready.set()
        while (line := self._queue.get()) is not None:
            try:
                logger.msg(**line)
            except (OSError, ValueError):  # stderr is gone: a daemon lives without it
                continue


def _logger(style: str, stream: TextIO) -> Any:
    import structlog  # noqa: PLC0415 - takes 0.1 s: not before the first heartbeat

    renderer: Any = structlog.processors.JSONRenderer()
    if style == "console":
        renderer = structlog.dev.ConsoleRenderer(colors=stream.isatty(), pad_event_to=0)
    return structlog.wrap_logger(structlog.PrintLogger(stream), processors=[_printable, renderer])


def _printable(_logger: Any, _method: str, line: MutableMapping[str, Any]) -> Mapping[str, Any]:
    """Text that came from a peer or a file must not command the terminal; a traceback keeps its lines."""
    return {k: v if k == "traceback" else _clean(v) for k, v in line.items()}


def _clean(value: Any) -> Any:
    if not isinstance(value, str) or value.isprintable():
        return value
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in value)


def _timestamp() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
