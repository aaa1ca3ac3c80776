"""Effects -> drivers: the hands of one agent, opened and closed together."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from l3ha.agent.history import History
from l3ha.base.settings import Monitor, MonitorKind, Settings
from l3ha.base.time import MS, SECOND, Duration, after
from l3ha.core.events import (
    Answer,
    DiscardBacklog,
    Effect,
    Event,
    Exit,
    InterfaceChanged,
    Note,
    NoteKind,
    Remember,
    Send,
    SendEcho,
    SetFailureRoute,
    SetInterfaces,
    ToSpeaker,
)
from l3ha.drivers.boottime import boottime_ns
from l3ha.drivers.icmp import EchoSockets
from l3ha.drivers.inbox import Inbox
from l3ha.drivers.memory import TermStore
from l3ha.drivers.memory_writer import MemoryWriter
from l3ha.drivers.netlink import Netlink
from l3ha.drivers.speaker_socket import SpeakerSocket
from l3ha.drivers.udp import UdpPorts

RETRY: Duration = 200 * MS
"""How often a socket that could not be opened (its address is not there yet) is tried again."""

LOOK: Duration = SECOND
"""How often one looks whether a socket has to be opened again, and at the disk."""

UNUSED: Duration = 60 * SECOND
"""How often echo sockets that nobody used are closed."""


class World:
    """See the module. ``changed`` takes events of netlink, ``answered`` the engine's answers to requests."""

    def __init__(self, settings: Settings, run_dir: Path, store: TermStore, inbox: Inbox, history: History) -> None:
        loop = asyncio.get_running_loop()
        self._loop = loop
        self._terms = MemoryWriter(store)
        self._disk: str | None = None
        """What was last told to be wrong with it."""
        self._history = history
        self._udp = UdpPorts(inbox, lambda text, bad: history.tell(NoteKind.PATH, text, bad))
        self._udp.set_paths(path for peer in settings.peers for path in peer.paths)
        self._echo = EchoSockets(inbox)
        self._speaker = SpeakerSocket(run_dir, inbox, loop, lambda text: history.tell(NoteKind.SPEAKER, text))
        self._netlink = Netlink(self._interface, lambda text: history.tell(NoteKind.ALARM, text))
        self._netlink.watch(_interfaces(settings))
        self._timers = [self._call_after(RETRY, self._retry), self._call_after(UNUSED, self._sweep)]
        self.changed: Callable[[Event], None] = _nobody
        self.answered: Callable[[Answer], None] = _nobody

    def start(self) -> None:
        """Begin what takes long, in the background."""
        self._netlink.start()

    def carry_out(self, effect: Effect) -> Event | None:
        """Do it. What came of it at once, if the engine must know."""
        match effect:
            case Send(path, destination, data):
                self._udp.send(path, destination, data)
            case SendEcho():
                return self._echo.send(effect)
            case ToSpeaker(data):
                return self._speaker.send(data)
            case Remember(groups):
                self._terms.save(groups)
            case SetInterfaces(names, up):
                self._netlink.set_interfaces(names, up)
            case SetFailureRoute(prefix, present):
                self._netlink.set_failure_route(prefix, present)
            case Note():
                self._history.add(effect)
            case Answer():
                self.answered(effect)
            case DiscardBacklog() | Exit():
                raise AssertionError("the loop's own")
        return None

    def adapt(self, settings: Settings) -> None:
        """New settings: other interfaces. Paths do not change, and echo sockets come and go by use.

        All interfaces are told again: the engine starts a monitor anew when anything of it has changed.
        """
        self._netlink.watch(())
        self._netlink.watch(_interfaces(settings))

    async def close(self) -> None:
        """Close everything, remove the speaker's socket."""
        for timer in self._timers:
            timer.cancel()
        self._speaker.close()
        self._udp.close()
        self._echo.close()
        self._terms.close()
        await self._netlink.close()

    def _interface(self, event: InterfaceChanged) -> None:
        self.changed(event)

    def _retry(self) -> None:
        complete = self._udp.retry()
        self._look_at_disk()
        self._timers[0] = self._call_after(LOOK if complete else RETRY, self._retry)

    def _look_at_disk(self) -> None:
        """A disk that fails must not stop the service: the protocol survives lost terms, the operator must know."""
        found = self._terms.problem()
        if found != self._disk:
            self._disk = found
            text = "the terms are on disk again" if found is None else f"{found}; the node goes on without"
            self._history.tell(NoteKind.ALARM, text, alarm=found is not None)

    def _sweep(self) -> None:
        self._echo.close_unused()
        self._timers[1] = self._call_after(UNUSED, self._sweep)

    def _call_after(self, interval: Duration, work: Callable[[], None]) -> asyncio.TimerHandle:
        """At the next multiple of the interval: when the heartbeat wakes the process anyway."""
        now = boottime_ns()
        return self._loop.call_later((after(now, interval) - now) / SECOND, work)


def _nobody(_event: object) -> None:
    """Before the loop is connected nothing happens."""


def _interfaces(settings: Settings) -> list[str]:
    monitors: list[Monitor] = list(settings.node_group.monitors)
    for srg in settings.srgs:
        monitors += srg.monitors
    return [m.subject for m in monitors if m.kind is MonitorKind.INTERFACE]
