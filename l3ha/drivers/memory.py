"""What survives a restart: terms and known arbiters, in one small file of the state directory.

    {"version": 1, "serial": n, "groups": [[srg, term, seen], …], "check": "<BLAKE2s of serial and groups>",
     "known": [[srg, arbiter, …], …], "known_check": "<BLAKE2s of known>",
     "reserved": [[srg, term], …], "reserved_check": "<BLAKE2s of reserved>"}

The file has two places for such a line, ``PLACE`` bytes each, and the one with the greater serial counts. A save writes
over the other: one fdatasync of blocks that exist already, where a new file and a rename take the disk three times as
long (measured), while routers wait. If the power fails in it, the older line stands. A file of an earlier version
has one line without a serial, and perhaps without what comes after ``check``.

A file in this form is made whole: temporary file (O_EXCL, O_NOFOLLOW) -> fsync -> rename -> fsync of the directory. One
that cannot be read is put aside and the terms are unknown, which the protocol provides for (the next term is then far
greater).
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import stat
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from l3ha.base.limits import MAX_HEARD_TERM, MAX_SRGS
from l3ha.base.names import SrgId, Term
from l3ha.core.events import Memory

FILE_NAME = "terms.json"

PLACE = 32 << 10
"""Bytes: 20 groups with more than 40 arbiters each."""

_MAX_BYTES = 2 * PLACE


@dataclass(frozen=True, slots=True)
class _Line:
    """What one save wrote."""

    serial: int
    groups: list[Memory]


class StateError(Exception):
    """The state directory cannot be used; ``str()`` says what to do."""


class TermStore:
    """The file in one state directory. Raises ``StateError`` if the directory cannot hold it safely."""

    def __init__(self, state_dir: Path) -> None:
        self._dir = state_dir
        self._file = state_dir / FILE_NAME
        self._groups: dict[SrgId, Memory] = {}
        self._serial = 0
        self.problem: str | None = None
        """What was wrong with the file when it was loaded."""
        _prepare(state_dir)

    def load(self) -> dict[SrgId, Memory]:
        """What was remembered. Empty with ``problem`` set if the file was unreadable; such a file is renamed aside."""
        self._groups, self._serial = {}, 0
        try:
            found, damage = _newest(_read(self._file))
            self._serial, self._groups = found.serial, {m.srg: m for m in found.groups}
            if damage is not None:
                self.problem = f"{self._file}: {damage}; the other line there is used, which may be the older one"
        except FileNotFoundError:
            pass
        except (OSError, ValueError) as error:
            self.problem = f"{self._file}: {error}; the terms are unknown now; {self._put_aside()}"
        if not self._whole():
            with contextlib.suppress(OSError):  # the first save tries again, and is heard
                self._make(_format(self._serial, self._groups.values()))
        return dict(self._groups)

    def save(self, groups: Iterable[Memory]) -> None:
        """Merge these into the file and fsync. Raises OSError: then the old ones stand."""
        merged = self._groups | {m.srg: m for m in groups}
        serial = self._serial + 1
        content = _format(serial, merged.values())
        if self._whole():
            self._write_over(content, serial)
        else:
            self._make(content)
        self._groups, self._serial = merged, serial

    def _whole(self) -> bool:
        """The file is there, with its two places, and ours to write."""
        try:
            found = self._file.lstat()
        except OSError:
            return False
        ours = found.st_uid == os.geteuid() and found.st_mode & stat.S_IWUSR
        return stat.S_ISREG(found.st_mode) and found.st_size == 2 * PLACE and bool(ours)

    def _write_over(self, content: bytes, serial: int) -> None:
        descriptor = os.open(self._file, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            if os.pwrite(descriptor, content, serial % 2 * PLACE) != len(content):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fdatasync(descriptor)
        finally:
            os.close(descriptor)

    def _make(self, content: bytes) -> None:
        temporary = self._dir / f".{FILE_NAME}.tmp"
        temporary.unlink(missing_ok=True)  # of a process that died between the two steps; one agent per directory
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(temporary, flags, 0o600), "wb") as file:
            file.write(2 * (content.ljust(PLACE - 1) + b"\n"))
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(self._file)
        _sync_directory(self._dir)

    def _put_aside(self) -> str:
        for n in range(100):
            aside = self._dir / f"{FILE_NAME}.bad-{n}"
            if not os.path.lexists(aside):
                try:
                    self._file.rename(aside)
                except OSError as error:
                    return f"the file could not be put aside ({error.strerror})"
                return f"the file is kept as {aside.name}"
        return "the file stays, there are too many bad ones already"


def _prepare(directory: Path) -> None:
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = directory.lstat()
        if not stat.S_ISDIR(found.st_mode):
            raise StateError(f"{directory}: not a directory (a symbolic link is not followed)")
        if found.st_uid != os.geteuid():
            raise StateError(
                f"{directory}: belongs to uid {found.st_uid}, not to the agent's user (uid {os.geteuid()})"
            )
        if found.st_mode & 0o022:
            raise StateError(f"{directory}: others may write there; chmod 0700 {directory}")
        probe = directory / f".{FILE_NAME}.probe"
        probe.unlink(missing_ok=True)
        os.close(os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
        probe.unlink()
        if found.st_mode & 0o077:
            directory.chmod(0o700)
    except OSError as error:
        raise StateError(f"{directory}: cannot keep the terms there: {error.strerror}") from None


def _read(file: Path) -> bytes:
    descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise ValueError("not a regular file")
        if found.st_uid not in {0, os.geteuid()}:
            raise ValueError(f"belongs to uid {found.st_uid}")
        if found.st_size > _MAX_BYTES:
            raise ValueError(f"longer than {_MAX_BYTES} bytes")
        return os.read(descriptor, _MAX_BYTES + 1)
    finally:
        os.close(descriptor)


def _format(serial: int, groups: Collection[Memory]) -> bytes:
    """One line. Raises OSError where it has no room."""
    rows = sorted([int(m.srg), int(m.term), int(m.seen)] for m in groups)
    known: list[list[int | str]] = [[int(m.srg), *sorted(m.known)] for m in sorted(groups, key=lambda m: m.srg)]
    checks = {"check": _check([[serial], *rows]), "known": known, "known_check": _check(known)}
    reserved = sorted([int(m.srg), int(m.reserved)] for m in groups)
    checks |= {"reserved": reserved, "reserved_check": _check(reserved)}
    line = json.dumps({"version": 1, "serial": serial, "groups": rows} | checks).encode() + b"\n"
    if len(line) > PLACE:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
    return line


def _newest(data: bytes) -> tuple[_Line, str | None]:
    """The line that counts, and what is wrong with the other, if anything is. Raises ValueError: neither is good."""
    good: list[_Line] = []
    damage: str | None = None
    for place in (data[:PLACE], data[PLACE:]) if len(data) > PLACE else (data,):
        try:
            good.append(_parse(place.partition(b"\n")[0]))
        except ValueError as error:
            damage = str(error)
    if not good:
        raise ValueError(damage)
    return max(good, key=lambda line: line.serial), damage


def _parse(data: bytes) -> _Line:
    """Raises ValueError."""
    try:
        content = json.loads(data)
    except (ValueError, RecursionError):
        raise ValueError("not JSON") from None
    if not isinstance(content, dict) or content.get("version") != 1:
        raise ValueError("not a file of this version")
    rows, serial = content.get("groups"), content.get("serial", 0)
    if not isinstance(rows, list) or not all(_is_row(row) for row in rows):
        raise ValueError("a group is malformed")
    if len({row[0] for row in rows}) < len(rows):
        raise ValueError("a group stands there twice")
    if type(serial) is not int or content.get("check") != _check([[serial], *rows] if "serial" in content else rows):
        raise ValueError("the check sum is wrong")
    known = {row[0]: frozenset(row[1:]) for row in _rows(content, "known", "known arbiters", _is_known)}
    reserved = {row[0]: Term(row[1]) for row in _rows(content, "reserved", "reserved terms", _is_reserved)}
    groups = [
        Memory(SrgId(srg), Term(term), Term(seen), known.get(srg, frozenset()), reserved.get(srg, Term(0)))
        for srg, term, seen in rows
    ]
    return _Line(serial, groups)


def _rows(content: dict[str, Any], key: str, what: str, good: Callable[[Any], bool]) -> list[Any]:
    """What earlier versions did not write, one row for each group. Raises ValueError."""
    rows = content.get(key, [])
    if not isinstance(rows, list) or not all(good(row) for row in rows):
        raise ValueError(f"the {what} are malformed")
    if len({row[0] for row in rows}) < len(rows):
        raise ValueError(f"the {what} of a group stand there twice")
    if key in content and content.get(f"{key}_check") != _check(rows):
        raise ValueError(f"the check sum of the {what} is wrong")
    return rows


def _is_known(row: Any) -> bool:
    if not isinstance(row, list) or not row or type(row[0]) is not int:
        return False
    return all(isinstance(name, str) for name in row[1:])


def _is_reserved(row: Any) -> bool:
    return _is_numbers(row, 2)


def _is_row(row: Any) -> bool:
    return _is_numbers(row, 3) and 1 <= row[0] <= MAX_SRGS


def _is_numbers(row: object, count: int) -> bool:
    """A group and its terms."""
    return isinstance(row, list) and len(row) == count and all(type(n) is int and 0 <= n <= MAX_HEARD_TERM for n in row)


def _check(rows: Sequence[Sequence[int | str]]) -> str:
    return hashlib.blake2s(json.dumps(rows).encode(), digest_size=8).hexdigest()


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
