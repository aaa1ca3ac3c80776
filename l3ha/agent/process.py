"""One run of the agent: preconditions, sockets and loop put together, signals, reload, and an exit code."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

from l3ha.agent import preflight
from l3ha.agent.control import Control
from l3ha.agent.history import History
from l3ha.agent.log import Log
from l3ha.agent.loop import EngineLike, Shell
from l3ha.agent.reload import fixed_changes
from l3ha.agent.world import World
from l3ha.base.errors import ConfigError
from l3ha.base.names import Intent
from l3ha.base.settings import Settings
from l3ha.base.time import Instant
from l3ha.control.protocol import MAX_GRACE
from l3ha.core.events import Memory, NewSettings, NoteKind
from l3ha.core.status import Status
from l3ha.drivers import first, realtime
from l3ha.drivers.boottime import boottime_ns
from l3ha.drivers.control_socket import ControlSocket
from l3ha.drivers.inbox import Inbox
from l3ha.drivers.memory import StateError, TermStore
from l3ha.drivers.unix import SocketError

EXIT_CLEAN, EXIT_FAILED, EXIT_OURS, EXIT_CONFIG = 0, 1, 70, 78
"""Ended as told; could not start, or was told twice to stop; a fault of l3ha (sysexits EX_SOFTWARE); of the file."""

SLOW_START_S = 0.25
"""After the engine's first step: handshake and first heartbeats are through, now import what takes long."""

READ_TIMEOUT_S = 5.0
"""After this a reading has failed (a pipe in the place of the file, a dead file server); the next SIGHUP tries anew."""

MANY_TOLD = 500
"""So many routes, each neighbor's counted, may have the speaker compute for longer than heartbeats can wait."""

Starter: TypeAlias = Callable[[Settings, tuple[Memory, ...], Instant], tuple[EngineLike, Callable[[Instant], Status]]]
"""Makes the engine, and the function that tells its status."""


def priority(settings: Settings) -> int:
    """The agent's: below the speaker's where the speaker is quick."""
    routes = len(settings.node_group.routes) + sum(len(srg.routes) for srg in settings.srgs)
    return realtime.PRIORITY if routes * len(settings.neighbors) < MANY_TOLD else realtime.URGENT


def serve(
    settings: Settings, reread: Callable[[], Settings], run_dir: Path, state_dir: Path, log: Log, start: Starter
) -> int:
    """Everything but reading the file: ``start`` makes the engine."""
    os.umask(0o077)
    try:
        lock = preflight.lock_run_dir(run_dir)
        try:
            preflight.check_privileges()
            agent = Agent(settings, reread, run_dir, TermStore(state_dir), log)
            return first.run(agent.run(start))
        finally:
            preflight.unlock(lock)
    except (preflight.Refused, StateError, SocketError) as error:
        log.say("critical", f"the agent does not start: {error}")
        return EXIT_FAILED
    except Exception as error:
        log.crash("the agent has a fault and ends; the speaker's lease does the rest", error)
        return EXIT_OURS


class Agent:
    """One run of the agent."""

    def __init__(
        self, settings: Settings, reread: Callable[[], Settings], run_dir: Path, store: TermStore, log: Log
    ) -> None:
        self._settings = settings
        self._reread = reread
        self._run_dir = run_dir
        self._store = store
        self._log = log
        self._history = History(log)
        self._tasks: set[asyncio.Task[None]] = set()
        self._reloading = False
        self._reload_again = False
        """SIGHUP came while the file was being read: what was read may be older than what the sender has written."""

    async def run(self, start: Starter) -> int:
        """Until ``Exit`` (0), a second signal (1), or a fault of ours, which is raised."""
        memory = self._store.load()
        if self._store.problem:
            self._history.tell(NoteKind.ALARM, self._store.problem)
        inbox = Inbox()
        engine, status = start(self._settings, tuple(memory.values()), boottime_ns())
        self._world = World(self._settings, self._run_dir, self._store, inbox, self._history)
        try:
            self._shell = Shell(engine, inbox, self._world.carry_out)
            self._control = Control(
                self._settings, lambda: status(boottime_ns()), self._shell.feed, self._history, self._log
            )
            return await self._serve()
        finally:
            for task in self._tasks:
                task.cancel()
            await self._world.close()
            inbox.close()

    async def _serve(self) -> int:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(self._fault)
        self._world.changed = self._shell.feed
        self._world.answered = self._control.answered
        socket = ControlSocket(self._run_dir, self._control.handle)
        await socket.open()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)
        loop.add_signal_handler(signal.SIGUSR1, self._restart)
        loop.add_signal_handler(signal.SIGHUP, self._hangup)
        realtime.freeze()
        self._shell.start()
        slow = loop.call_later(SLOW_START_S, self._start_slow)
        try:
            await self._shell.done
        except asyncio.CancelledError:
            self._log.say("warning", "told twice to stop: ending at once, nothing is handed over")
            return EXIT_FAILED
        finally:
            slow.cancel()
            self._shell.close()
            socket.close()
        self._log.say("info", "the agent has ended")
        return EXIT_CLEAN

    def _start_slow(self) -> None:
        self._log.start()
        self._world.start()
        reason = realtime.become_realtime(priority(self._settings))
        if reason is not None:
            text = f"no real-time scheduling ({reason}): detection faster than 500 ms is not safe under load"
            self._history.tell(NoteKind.ALARM, text, alarm=False)
        reason = realtime.lock_memory()
        if reason is not None:
            text = f"memory is not locked ({reason}): a page that must be read from disk delays everything"
            self._history.tell(NoteKind.ALARM, text, alarm=False)

    # --- signals ----------------------------------------------------------------------------------------------------

    def _stop(self) -> None:
        if not self._control.stop(Intent.LEAVING, 0):
            self._shell.done.cancel()

    def _restart(self) -> None:
        self._control.stop(Intent.RESTARTING, MAX_GRACE)

    def _hangup(self) -> None:
        if self._reloading:
            self._reload_again = True
            self._log.say("warning", "the configuration is being read already; it is read again after that")
            return
        self._reloading = True
        task = asyncio.get_running_loop().create_task(self._reload())
        self._tasks.add(task)
        task.add_done_callback(self._reloaded)

    def _reloaded(self, task: asyncio.Task[None]) -> None:
        self._reloading = False
        self._tasks.discard(task)
        if task.cancelled():
            return
        if (error := task.exception()) is not None:
            self._shell.fail(error)
        elif self._reload_again:
            self._reload_again = False
            self._hangup()

    async def _reload(self) -> None:
        """Take over the file as it is now, wholly or not at all. Reading takes long, so it is done in a thread."""
        try:
            new = await asyncio.wait_for(_in_thread(self._reread), READ_TIMEOUT_S)
        except TimeoutError:
            text = f"the configuration was not taken over: not read within {READ_TIMEOUT_S:g} s; the old one stays"
            self._history.tell(NoteKind.CONFIG, text)
            return
        except ConfigError as error:
            for fault in error.faults:
                self._log.say("error", str(fault))
            text = f"the configuration was not taken over: {len(error.faults)} faults; the old one stays"
            self._history.tell(NoteKind.CONFIG, text)
            return
        fixed = fixed_changes(self._settings, new)
        if fixed:
            what = ", ".join(fixed)
            self._history.tell(NoteKind.CONFIG, f"the configuration was not taken over: {what} cannot change; restart")
            return
        self._settings = self._control.settings = new
        self._shell.feed(NewSettings(new))
        self._world.adapt(new)
        realtime.become_realtime(priority(new))

    def _fault(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Something raised where only our own code runs."""
        error = context.get("exception")
        if isinstance(error, OSError):  # of a client's connection: the outside world's
            self._log.say("warning", f"{context.get('message')}: {error}")
            return
        self._shell.fail(error if isinstance(error, Exception) else RuntimeError(str(context.get("message"))))


async def _in_thread(work: Callable[[], Settings]) -> Settings:
    """In a daemon thread: a file system that hangs must not stop the end of this process, as a thread of asyncio's own
    would, for which it waits."""
    loop = asyncio.get_running_loop()
    result: asyncio.Future[Settings] = loop.create_future()

    def tell(value: Settings | None, error: Exception | None) -> None:
        if result.done():  # cancelled: the agent ends
            return
        if value is not None:
            result.set_result(value)
        else:
            result.set_exception(error or RuntimeError("no settings"))

    def run() -> None:
        value: Settings | None = None
        failure: Exception | None = None
        try:
            value = work()
        except Exception as error:
            failure = error
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(tell, value, failure)

    threading.Thread(target=run, name="reload", daemon=True).start()
    return await result
