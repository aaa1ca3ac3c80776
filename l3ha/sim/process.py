"""Two processes of a node, agent and speaker, each the real core in a virtual shell: deadlines, sockets, SIGSTOP."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from random import Random
from typing import Protocol

from l3ha.base.limits import DATAGRAMS_PER_TURN
from l3ha.base.time import MS, US, Duration, Instant
from l3ha.core import speaker_events as sp
from l3ha.core.engine import Engine
from l3ha.core.events import DiscardBacklog, Effect, Event, Exit, Tick
from l3ha.core.speaker import Speaker
from l3ha.sim.clock import Clock, Drift

SOCKET_ROOM = 20
"""Datagrams that a socket keeps for a process that does not read; the oldest stay, the newest are lost."""

LATENESS: Duration = 2 * MS
"""The scheduler wakes a process at most this late."""

LASTING = frozenset({"speaker", "netlink"})
"""Sockets whose backlog is read after a pause."""

PIPE: Duration = 300 * US
"""One line between agent and speaker."""


class Observer(Protocol):
    """Who looks at every step of every engine."""

    def before(self, node: int, engine: Engine, event: Event) -> None:
        """A step begins."""

    def after(self, node: int, engine: Engine, event: Event, effects: tuple[Effect, ...], local: Instant) -> None:
        """Its effects are known and not yet carried out."""


class _Timer:
    """One deadline of a process, pulled after each step."""

    def __init__(self, clock: Clock, drift: Drift, rng: Random, fire: Callable[[], None]) -> None:
        self._clock, self._drift, self._rng, self._fire = clock, drift, rng, fire
        self._armed: Instant | None = None
        self._serial = 0

    def arm(self, local: Instant | None) -> None:
        """Fire when the node's clock shows ``local``, or a little later."""
        if local is None or local == self._armed:
            return
        self._armed = local
        self._serial += 1
        serial = self._serial
        self._clock.at(self._drift.true(local) + self._rng.randrange(LATENESS), lambda: self._due(serial))

    def _due(self, serial: int) -> None:
        if serial == self._serial:
            self._armed = None
            self._fire()


class Agent:
    """A running agent. ``carry_out`` does one effect; it is called in order and never after the process has died."""

    def __init__(
        self,
        node: int,
        engine: Engine,
        clock: Clock,
        drift: Drift,
        rng: Random,
        carry_out: Callable[[Effect], None],
        observer: Observer,
    ) -> None:
        self.node, self.engine = node, engine
        self.alive = True
        self.frozen = False
        self.fuse: int | None = None
        """Dies after so many more effects: between the disk and the wire, if chance wants it."""
        self._clock, self._drift, self._rng = clock, drift, rng
        self._carry_out, self._observer = carry_out, observer
        self._sockets: dict[str, deque[Event]] = {}
        self._timer = _Timer(clock, drift, rng, self._tick)

    def start(self) -> None:
        """The first step."""
        self.feed(Tick())

    def deliver(self, socket: str, event: Event, *, perishable: bool, hushed: bool = False) -> None:
        """Something arrived on a socket; on a hushed one it lies until the next Tick."""
        if not self.frozen and not hushed:
            self.feed(event)
            return
        queue = self._sockets.setdefault(socket, deque())
        if not perishable or len(queue) < SOCKET_ROOM:
            queue.append(event)

    def freeze(self, frozen: bool) -> None:
        """SIGSTOP, SIGCONT."""
        if frozen == self.frozen:
            return
        self.frozen = frozen
        if not frozen:
            self._thaw()

    def feed(self, event: Event) -> None:
        """One step, and its effects in order."""
        if not self.alive:
            return
        local = self._drift.local(self._clock.now)
        self._observer.before(self.node, self.engine, event)
        effects = self.engine.step(event, local)
        self._observer.after(self.node, self.engine, event, effects, local)
        for effect in effects:
            if self.fuse is not None:
                self.fuse -= 1
                if self.fuse < 0:
                    self.alive = False
                    self._carry_out(Exit())
            if not self.alive:
                return
            self._do(effect)
        if self.alive:
            self._timer.arm(self.engine.next_deadline())

    def _do(self, effect: Effect) -> None:
        match effect:
            case DiscardBacklog():
                for name in self._sockets:
                    if name not in LASTING:
                        self._sockets[name].clear()
            case Exit():
                self.alive = False
            case _:
                pass
        self._carry_out(effect)

    def _tick(self) -> None:
        if self.alive and not self.frozen:
            self._read(self._sockets)
            self.feed(Tick())

    def _thaw(self) -> None:
        """Sockets are read before the deadline is looked at, as asyncio does it; which comes first is chance."""
        names = list(self._sockets)
        self._rng.shuffle(names)
        if self._rng.randrange(5) == 0:
            self.feed(Tick())
        self._read(names)
        self.feed(Tick())

    def _read(self, names: Iterable[str]) -> None:
        for name in names:
            for _ in range(DATAGRAMS_PER_TURN if name not in LASTING else len(self._sockets[name])):
                if not self._sockets[name]:
                    break
                self.feed(self._sockets[name].popleft())
        self._sockets.clear()


class Helper:
    """A running speaker process: the helper of one ExaBGP."""

    def __init__(
        self, speaker: Speaker, clock: Clock, drift: Drift, rng: Random, carry_out: Callable[[sp.SpeakerEffect], None]
    ) -> None:
        self.speaker = speaker
        self.alive = True
        self.frozen = False
        self._clock, self._drift = clock, drift
        self._carry_out = carry_out
        self._inbox: deque[sp.SpeakerEvent] = deque()
        self._timer = _Timer(clock, drift, rng, self._tick)

    def feed(self, event: sp.SpeakerEvent) -> None:
        """One step, and its effects in order; a stopped process does it later."""
        if not self.alive:
            return
        if self.frozen:
            self._inbox.append(event)
            return
        for effect in self.speaker.step(event, self._drift.local(self._clock.now)):
            self._carry_out(effect)
        self._timer.arm(self.speaker.next_deadline())

    def freeze(self, frozen: bool) -> None:
        """SIGSTOP, SIGCONT."""
        self.frozen = frozen
        while self._inbox and not self.frozen:
            self.feed(self._inbox.popleft())
        if not frozen:
            self.feed(sp.Tick())

    def _tick(self) -> None:
        if not self.frozen:
            self.feed(sp.Tick())
