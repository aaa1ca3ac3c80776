"""The lab's service manager, as systemd with ``Restart=always`` and ``RestartSec=200ms`` would be.

``python -m lab.keeper DIR OWNER`` watches ``DIR/NAME.json`` (a ``Service``), runs each and restarts what ends, unless
``DIR/NAME.off`` exists. ``DIR/NAME.pid`` says which process it is and how often it was started. SIGTERM ends all. When
the process OWNER vanishes (0: nobody to watch) the keeper removes the whole lab: a killed demo leaves nothing behind.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

RESTART_S = 0.2
_TICK_S = 0.1
_END_S = 3.0


@dataclass(frozen=True, slots=True)
class Service:
    """A process that the keeper runs. ``argv`` is complete, with the namespace."""

    name: str
    argv: list[str]
    log: str
    env: dict[str, str] = field(default_factory=dict)
    restart: bool = True
    after: str | None = None
    """Start only while this path exists: what another service makes when it is ready."""
    makes: str | None = None
    """The path that this service makes; one left by a killed predecessor is removed before the start."""


@dataclass(frozen=True, slots=True)
class Running:
    """What a pid file says."""

    pid: int
    starts: int


def install(directory: Path, service: Service) -> None:
    """Hand a service to the keeper of this directory; it starts it within a tick."""
    _write(directory / f"{service.name}.json", asdict(service))


def running(directory: Path, name: str) -> Running | None:
    """The process of a service, or None while there is none."""
    try:
        return Running(**json.loads((directory / f"{name}.pid").read_text()))
    except FileNotFoundError:
        return None


def switch(directory: Path, name: str, *, on: bool) -> None:
    """Whether the keeper starts this service again when it ends."""
    flag = directory / f"{name}.off"
    if on:
        flag.unlink(missing_ok=True)
    else:
        flag.touch()


def _write(path: Path, value: object) -> None:
    draft = path.with_suffix(".new")
    draft.write_text(json.dumps(value))
    draft.rename(path)


class Keeper:
    """One directory of services."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._starts: dict[str, int] = {}
        self._not_before: dict[str, float] = {}

    def look(self) -> None:
        """Bury the dead, start what should run."""
        for name in [name for name, child in self._children.items() if child.poll() is not None]:
            del self._children[name]
            (self._directory / f"{name}.pid").unlink(missing_ok=True)
            self._not_before[name] = time.monotonic() + RESTART_S
        for path in self._directory.glob("*.json"):
            if path.stem not in self._children and not path.with_suffix(".off").exists():
                self._start(Service(**json.loads(path.read_text())))

    def _start(self, service: Service) -> None:
        again = service.name in self._starts
        if (again and not service.restart) or time.monotonic() < self._not_before.get(service.name, 0):
            return
        if service.after is not None and not Path(service.after).exists():
            return
        if service.makes is not None:
            Path(service.makes).unlink(missing_ok=True)
        with Path(service.log).open("ab") as log:
            child = subprocess.Popen(
                service.argv,
                env={**os.environ, **service.env},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=_unblock,  # noqa: PLW1509 - the keeper has no threads
            )
        self._children[service.name] = child
        self._starts[service.name] = self._starts.get(service.name, 0) + 1
        _write(self._directory / f"{service.name}.pid", asdict(Running(child.pid, self._starts[service.name])))

    def end(self) -> None:
        """Ask everything to stop, then insist."""
        for child in self._children.values():
            child.send_signal(signal.SIGCONT)
            child.terminate()
        deadline = time.monotonic() + _END_S
        for child in self._children.values():
            try:
                child.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()


def _unblock() -> None:
    """A service must not inherit the keeper's blocked signals: SIGTERM would not reach it."""
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _alive(pid: int) -> bool:
    return pid == 0 or Path(f"/proc/{pid}").exists()


def main(directory: str, owner: str) -> None:
    """Keep until SIGTERM, or until the owner is gone."""
    keeper = Keeper(Path(directory))
    signals = {signal.SIGTERM, signal.SIGINT, signal.SIGCHLD}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    while _alive(int(owner)):
        keeper.look()
        came = signal.sigtimedwait(signals, _TICK_S)
        if came is not None and came.si_signo != signal.SIGCHLD:
            keeper.end()
            return
    keeper.end()
    tag = Path(directory).parent.name
    os.execv(sys.executable, [sys.executable, "-m", "lab", "down", "--tag", tag])


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
