"""What must be there before the agent starts; each lack is one line that says what to do."""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
from pathlib import Path

from l3ha.drivers.icmp import permitted


class Refused(Exception):
    """The agent does not start."""


def lock_run_dir(run_dir: Path) -> int:
    """Make the run directory if it is missing, and hold its lock as long as the returned descriptor is open."""
    try:
        _make(run_dir)
        found = run_dir.lstat()
        if not stat.S_ISDIR(found.st_mode):
            raise Refused(f"{run_dir}: not a directory (a symbolic link is not followed)")
        if found.st_uid not in {0, os.geteuid()}:
            raise Refused(f"{run_dir}: belongs to uid {found.st_uid}, the agent runs as uid {os.geteuid()}")
        if found.st_mode & 0o002:
            raise Refused(f"{run_dir}: everybody may write there; chmod o-w {run_dir}")
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(run_dir / "agent.lock", flags, 0o600)
    except OSError as error:
        raise Refused(f"{run_dir}: cannot be used for the local sockets: {error.strerror}") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
        os.close(descriptor)
        raise Refused(f"{run_dir}: another agent runs there (pid {holder or 'unknown'})") from None
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return descriptor


def _make(run_dir: Path) -> None:
    """The group may enter (it may read over the sockets), whatever the umask; an existing directory stays as it is."""
    try:
        run_dir.mkdir(parents=True)
    except FileExistsError:
        if not run_dir.is_dir():
            raise
        return
    run_dir.chmod(0o750)


def unlock(descriptor: int) -> None:
    """Let another agent start."""
    with contextlib.suppress(OSError):
        os.close(descriptor)


def check_privileges() -> None:
    """Raw sockets are needed for the activeness probe."""
    if not permitted():
        raise Refused("raw sockets are not permitted; run as root or give CAP_NET_RAW and CAP_NET_ADMIN")
