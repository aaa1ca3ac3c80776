"""The journal's files: segments of one directory, bounded in all, written by a thread of their own.

The loop only appends to a queue; a thread takes what waits there twice a second and writes it, so a slow disk costs the
journal and never a heartbeat. What a killed process leaves behind lacks at most that half second. Files hold keys: mode
0600 in a directory of mode 0700.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import stat
import threading
from collections import deque
from pathlib import Path

from l3ha.base.limits import MAX_LINE

MIB = 1 << 20

SEGMENTS = 8
"""Segments that the limit is divided into: that much of the past goes at a time."""

MAX_FILES = 512
"""Also where every start of an agent that does not stay up leaves a small one."""

FLUSH_S = 0.5
MAX_WAITING = 16 * MIB
"""Bytes that may wait for a disk that hangs."""

RESERVE = MAX_LINE + MIB // 8
"""Bytes by which a segment may outgrow its size: its last record is at most a line of the speaker."""

MAX_FILE = 1 << 30
"""Greatest file that is read."""

_NAME = re.compile(r"l3ha-(\d{8,})\.journal")


class UnusableError(Exception):
    """The directory cannot hold a journal, or the file cannot be read; ``str()`` says why."""


class JournalFiles:
    """Segments of one running agent, after those of earlier ones. Raises ``UnusableError`` for a bad directory.

    ``limit`` in bytes bounds all segments of the directory together, those of earlier starts included.
    """

    def __init__(self, directory: Path, limit: int) -> None:
        self._dir, self._limit = directory, limit
        self._lock = _prepare(directory)
        self._segment_size = limit // SEGMENTS
        self._size = 0
        self._given = self._written = 0
        self._queue: deque[tuple[bool, bytes]] = deque()
        """(begins a segment, bytes)."""
        self._file: int | None = None
        self._ended = threading.Event()
        self.problem: str | None = None
        """Why nothing is written any more."""
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)
        self._thread.start()

    @property
    def full(self) -> bool:
        """The present segment has its size."""
        return self._size >= self._segment_size and self.problem is None

    def begin(self, segment: bytes) -> None:
        """A new segment."""
        self._size = 0
        if len(segment) > self._segment_size // 2:
            self.fail(f"the state of the engine alone has {len(segment) / MIB:.1f} MiB, the limit is too low for it")
        self._put(True, segment)

    def append(self, record: bytes) -> None:
        """The next bytes of the segment."""
        self._put(False, record)

    def fail(self, why: str) -> None:
        """Write nothing any more; the first reason stays."""
        self.problem = self.problem or f"the journal in {self._dir} ends here: {why}"

    def close(self, timeout_s: float = 1.0) -> None:
        """Write what waits, but do not wait for a disk that hangs."""
        self._ended.set()
        self._thread.join(timeout_s)

    def _put(self, begins: bool, data: bytes) -> None:
        if self.problem is not None:
            return
        self._size += len(data)
        self._given += len(data)
        if self._given - self._written > MAX_WAITING:
            self.fail(f"the disk does not keep up, {MAX_WAITING // MIB} MiB wait")
            return
        self._queue.append((begins, data))

    # --- the thread -------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        ended = False
        while not ended:
            ended = self._ended.wait(FLUSH_S)
            try:
                self._flush()
            except OSError as error:
                self.fail(error.strerror or str(error))
                self._queue.clear()
        if self._file is not None:
            os.close(self._file)
        os.close(self._lock)

    def _flush(self) -> None:
        waiting: list[bytes] = []
        while self._queue:
            begins, data = self._queue.popleft()
            if begins:
                self._write(waiting)
                waiting = []
                self._open()
            waiting.append(data)
        self._write(waiting)

    def _write(self, parts: list[bytes]) -> None:
        data = memoryview(b"".join(parts))
        if not data or self._file is None:
            return
        self._written += len(data)
        while data:
            data = data[os.write(self._file, data) :]

    def _open(self) -> None:
        if self._file is not None:
            descriptor, self._file = self._file, None
            os.close(descriptor)
        known = segments(self._dir)
        room = self._limit - self._segment_size - RESERVE
        sizes = {path: path.stat().st_size for path in known}
        while known and (sum(sizes[p] for p in known) > room or len(known) >= MAX_FILES):
            known.pop(0).unlink(missing_ok=True)
        name = f"l3ha-{_number(known[-1]) + 1 if known else 1:08}.journal"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        self._file = os.open(self._dir / name, flags, 0o600)


def segments(directory: Path) -> list[Path]:
    """The segments in a directory, oldest first. Raises ``OSError``."""
    return sorted((p for p in directory.iterdir() if _NAME.fullmatch(p.name)), key=_number)


def read(file: Path) -> bytes:
    """One segment's bytes. Raises ``UnusableError``."""
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as opened:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                raise UnusableError("not a regular file")
            if found.st_size > MAX_FILE:
                raise UnusableError(f"greater than {MAX_FILE // MIB} MiB")
            return opened.read()
    except OSError as error:
        raise UnusableError(error.strerror or str(error)) from None


def _number(path: Path) -> int:
    match = _NAME.fullmatch(path.name)
    return int(match[1]) if match else 0


def _prepare(directory: Path) -> int:
    """Make it if it is missing. Returns the descriptor that holds its lock."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            _check(directory, os.fstat(descriptor))
            segments(directory)
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BaseException:
            os.close(descriptor)
            raise
    except BlockingIOError:
        raise UnusableError(f"{directory}: another agent writes its journal there") from None
    except OSError as error:
        raise UnusableError(f"{directory}: cannot keep the journal there: {error.strerror}") from None
    return descriptor


def _check(directory: Path, found: os.stat_result) -> None:
    if found.st_uid != os.geteuid():
        raise UnusableError(f"{directory}: belongs to uid {found.st_uid}, the agent runs as uid {os.geteuid()}")
    if found.st_mode & 0o077:
        raise UnusableError(f"{directory}: the journal holds keys and others may enter; chmod 0700 {directory}")
    probe = directory / ".l3ha.probe"
    with contextlib.suppress(FileNotFoundError):
        probe.unlink()
    os.close(os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
    probe.unlink()
