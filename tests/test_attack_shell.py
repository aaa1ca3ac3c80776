"""Faults that were found by attacking the shell: reload, sockets, directories, output."""

from __future__ import annotations

import asyncio
import io
import os
import signal
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from l3ha.agent import preflight
from l3ha.agent.history import History
from l3ha.agent.log import Log
from l3ha.agent.world import World
from l3ha.base.settings import Monitor, MonitorKind
from l3ha.base.time import SECOND
from l3ha.control.protocol import Show
from l3ha.core.events import Event
from l3ha.drivers import unix
from l3ha.drivers.inbox import Inbox
from l3ha.drivers.memory import TermStore
from l3ha.drivers.speaker_socket import SOCKET_NAME, SpeakerSocket
from tests.test_agent_process import TAKEN, Process
from tests.test_agent_shell import SETTINGS


def test_a_reload_tells_every_interface_again_because_a_changed_monitor_has_forgotten_it(tmp_path: Path) -> None:
    lo = Monitor("lo", MonitorKind.INTERFACE, "lo", None, 100, 1, 1, SECOND)
    old = replace(SETTINGS, node_group=replace(SETTINGS.node_group, monitors=(lo,)))
    new = replace(old, node_group=replace(old.node_group, monitors=(replace(lo, weight=150),)))

    async def scene() -> None:
        told: list[Event] = []
        log = Log("json", io.StringIO())
        (tmp_path / "state").mkdir(mode=0o700)
        inbox = Inbox()
        world = World(old, tmp_path, TermStore(tmp_path / "state"), inbox, History(log))
        world.changed = told.append
        world.start()
        try:
            for wanted in (1, 2):
                async with asyncio.timeout(10):
                    while len(told) < wanted:
                        await asyncio.sleep(0.005)
                world.adapt(new)
        finally:
            await world.close()
            inbox.close()
        assert told[0] == told[1]

    asyncio.run(scene())


def test_a_hangup_during_a_reading_is_not_lost(tmp_path: Path) -> None:
    """The first reading hangs at a pipe; what is written before the second hangup must be taken over in the end."""
    with Process(tmp_path, "polite") as agent:
        agent.ask(Show())
        os.mkfifo(agent.reload)
        agent.signal(signal.SIGHUP)
        pipe = os.open(agent.reload, os.O_WRONLY)  # waits for the reader
        agent.signal(signal.SIGHUP)
        agent.said("the configuration is being read already; it is read again after that")
        agent.reload.unlink()
        agent.reload.write_text("good")
        os.write(pipe, b"fixed")
        os.close(pipe)
        agent.said(TAKEN)
        told = [t for t in agent.texts() if t == TAKEN or str(t).startswith("the configuration")]
    assert told == [
        "the configuration is being read already; it is read again after that",
        "the configuration was not taken over: cluster.name cannot change; restart",
        TAKEN,
    ]


def test_a_reading_that_hangs_does_not_stop_the_end(tmp_path: Path) -> None:
    with Process(tmp_path, "polite") as agent:
        agent.ask(Show())
        os.mkfifo(agent.reload)
        agent.signal(signal.SIGHUP)
        pipe = os.open(agent.reload, os.O_WRONLY)
        agent.signal(signal.SIGTERM)
        assert agent.ends() == 0
        os.close(pipe)


def test_a_new_run_directory_is_open_to_the_group_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        preflight.unlock(preflight.lock_run_dir(tmp_path / "run"))
    finally:
        os.umask(before)
    assert (tmp_path / "run").stat().st_mode & 0o777 == 0o750


def test_a_stranger_that_tries_for_ever_is_told_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []

    async def scene() -> None:
        inbox = Inbox()
        server = SpeakerSocket(tmp_path, inbox, asyncio.get_running_loop(), told.append)
        real = unix.credentials
        monkeypatch.setattr(unix, "credentials", lambda c: unix.Credentials(real(c).pid, 4242, 4242))
        for _ in range(5):
            with socket.socket(socket.AF_UNIX) as stranger:
                stranger.connect(str(tmp_path / SOCKET_NAME))
                for source in inbox.ready():
                    assert source.read() is None
        server.close()
        inbox.close()

    asyncio.run(scene())
    assert len(told) == 1 and "4242" in told[0]


@pytest.mark.parametrize("words", [["--help"], ["check", "/nonexistent.toml", "--json"]])
def test_a_full_disk_behind_the_output_is_an_error_and_no_traceback(words: list[str]) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "l3ha", *words], stdout=full, stderr=subprocess.PIPE, check=False, timeout=30
        )
    assert done.returncode == 1
    assert b"No space left" in done.stderr and b"Traceback" not in done.stderr


def test_a_reading_that_hangs_does_not_stop_later_ones(tmp_path: Path) -> None:
    with Process(tmp_path, "polite") as agent:
        agent.ask(Show())
        os.mkfifo(agent.reload)
        agent.signal(signal.SIGHUP)
        pipe = os.open(agent.reload, os.O_WRONLY)
        agent.said("the configuration was not taken over: not read within 5 s; the old one stays")
        agent.reload.unlink()
        agent.reload.write_text("good")
        agent.signal(signal.SIGHUP)
        agent.said(TAKEN)
        told = [t for t in agent.texts() if t == TAKEN or str(t).startswith("the configuration")]
        os.close(pipe)
    assert told == ["the configuration was not taken over: not read within 5 s; the old one stays", TAKEN]
