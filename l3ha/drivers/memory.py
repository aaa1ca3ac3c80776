"""What survives a restart: terms and known arbiters, in one small file of the state directory.

    {"version": 1, "groups": [[srg, term, seen], …], "check": "<BLAKE2s of the groups>",
     "known": [[srg, arbiter, …], …], "known_check": "<BLAKE2s of known>"}

The second line may be absent: a file of an earlier version, in which no arbiter is known.
Written whole: temporary file (O_EXCL, O_NOFOLLOW) -> fsync -> rename -> fsync of the directory. A file that cannot be
read is put aside and the terms are unknown, which the protocol provides for (the next term is then far greater).
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

from l3ha.base.limits import MAX_HEARD_TERM, MAX_SRGS
from l3ha.base.names import SrgId, Term
from l3ha.core.events import Memory

FILE_NAME = "terms.json"

_MAX_BYTES = 64 << 10


class StateError(Exception):
    """The state directory cannot be used; ``str()`` says what to do."""


class TermStore:
    """The file in one state directory. Raises ``StateError`` if the directory cannot hold it safely."""

    def __init__(self, state_dir: Path) -> None:
        self._dir = state_dir
        self._file = state_dir / FILE_NAME
        self._groups: dict[SrgId, Memory] = {}
        self.problem: str | None = None
        """What was wrong with the file when it was loaded."""
        _prepare(state_dir)

    def load(self) -> dict[SrgId, Memory]:
        """What was remembered. Empty with ``problem`` set if the file was unreadable; such a file is renamed aside."""
        try:
            self._groups = {m.srg: m for m in _parse(_read(self._file))}
        except FileNotFoundError:
            self._groups = {}
        except (OSError, ValueError) as error:
            self._groups = {}
            self.problem = f"{self._file}: {error}; the terms are unknown now; {self._put_aside()}"
        return dict(self._groups)

    def save(self, groups: Iterable[Memory]) -> None:
        """Merge these into the file and fsync. Raises OSError: then the old file stands."""
        merged = self._groups | {m.srg: m for m in groups}
        content = _format(merged.values())
        temporary = self._dir / f".{FILE_NAME}.tmp"
        temporary.unlink(missing_ok=True)  # of a process that died between the two steps; one agent per directory
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(temporary, flags, 0o600), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(self._file)
        _sync_directory(self._dir)
        self._groups = merged

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


def _format(groups: Collection[Memory]) -> bytes:
    rows = sorted([int(m.srg), int(m.term), int(m.seen)] for m in groups)
    known: list[list[int | str]] = [[int(m.srg), *sorted(m.known)] for m in sorted(groups, key=lambda m: m.srg)]
    content = {"version": 1, "groups": rows, "check": _check(rows), "known": known, "known_check": _check(known)}
    return json.dumps(content).encode() + b"\n"


def _parse(data: bytes) -> list[Memory]:
    """Raises ValueError."""
    try:
        content = json.loads(data)
    except (ValueError, RecursionError):
        raise ValueError("not JSON") from None
    if not isinstance(content, dict) or content.get("version") != 1:
        raise ValueError("not a file of this version")
    rows = content.get("groups")
    if not isinstance(rows, list) or not all(_is_row(row) for row in rows):
        raise ValueError("a group is malformed")
    if len({row[0] for row in rows}) < len(rows):
        raise ValueError("a group stands there twice")
    if content.get("check") != _check(rows):
        raise ValueError("the check sum is wrong")
    known = _known(content)
    return [Memory(SrgId(srg), Term(term), Term(seen), known.get(srg, frozenset())) for srg, term, seen in rows]


def _known(content: dict[str, Any]) -> dict[int, frozenset[str]]:
    rows = content.get("known", [])
    if not isinstance(rows, list) or not all(_is_known(row) for row in rows):
        raise ValueError("the known arbiters are malformed")
    if len({row[0] for row in rows}) < len(rows):
        raise ValueError("the known arbiters of a group stand there twice")
    if "known" in content and content.get("known_check") != _check(rows):
        raise ValueError("the check sum of the known arbiters is wrong")
    return {row[0]: frozenset(row[1:]) for row in rows}


def _is_known(row: Any) -> bool:
    if not isinstance(row, list) or not row or type(row[0]) is not int:
        return False
    return all(isinstance(name, str) for name in row[1:])


def _is_row(row: Any) -> bool:
    if not isinstance(row, list) or len(row) != 3 or any(type(n) is not int for n in row):
        return False
    srg, term, seen = map(int, row)
    return 1 <= srg <= MAX_SRGS and 0 <= term <= MAX_HEARD_TERM and 0 <= seen <= MAX_HEARD_TERM


def _check(rows: Sequence[Sequence[int | str]]) -> str:
    return hashlib.blake2s(json.dumps(rows).encode(), digest_size=8).hexdigest()


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
