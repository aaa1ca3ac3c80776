"""The loop: sockets and one deadline drive the engine, its effects are carried out in order.

    readable or due -> read each ready socket -> deadline due? -> find every socket dry -> Tick -> arm again

Two rules make silence judgeable. The instant of a Tick is read *before* the look that finds the sockets dry, so all
that had arrived by then was heard. And a batch is bounded, so that a flood delays a Tick by a batch and not for ever.

Of each ready socket one datagram is read, and then one look at all of them tells whether there are more: to read each
until it refuses would cost a system call and an exception for nearly every datagram.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Protocol

from l3ha.base.limits import DATAGRAMS_PER_TURN
from l3ha.base.time import NEVER, Instant
from l3ha.core.events import DiscardBacklog, Effect, Event, Exit, Note, Tick
from l3ha.drivers.boottime import boottime_ns
from l3ha.drivers.first import Guest, Loop
from l3ha.drivers.inbox import Inbox, Source

DRAIN_LIMIT = 256
"""Events read in one drain, over all sockets: more than the receive buffers hold when nobody floods us."""

BREATH_S = 0.001
"""Pause of reading after a batch that did not end: at real-time priority a flood would take the core from ExaBGP,
and a process that never sleeps is ended by the kernel (RLIMIT_RTTIME)."""

TICKS_PER_TURN = 4
"""Ticks in a row before sockets are served again, if the engine's next deadline is always due."""


class EngineLike(Protocol):
    """The doors of the engine that the loop needs."""

    def step(self, event: Event, now: Instant) -> tuple[Effect, ...]:
        """One event in, ordered effects out."""

    def next_deadline(self) -> Instant | None:
        """When ``step(Tick(), …)`` is wanted at the latest."""


class Shell:
    """One engine on one loop.

    ``carry_out`` does one effect and may return an event that came of it (it could not be sent, the speaker left).
    ``done`` ends with None on ``Exit``, or with the exception that was ours.
    """

    def __init__(self, engine: EngineLike, inbox: Inbox, carry_out: Callable[[Effect], Event | None]) -> None:
        self._engine = engine
        self._inbox = inbox
        self._carry_out = carry_out
        loop = asyncio.get_running_loop()
        assert isinstance(loop, Loop)
        self._loop = loop
        self._guest = Guest(inbox.fileno(), self._turn, self._due)
        self._queue: deque[Event] = deque()
        self._stepping = False
        self._ours = _Ours(self.fail)
        self._breath: asyncio.TimerHandle | None = None
        self.done: asyncio.Future[None] = self._loop.create_future()

    def start(self) -> None:
        """First step, and from now on the loop runs by itself."""
        self._loop.seat(self._guest)
        self.feed(Tick())

    def close(self) -> None:
        """No further step."""
        if self._breath is not None:
            self._breath.cancel()
        self._loop.leave(self._guest)

    def feed(self, event: Event) -> None:
        """An event that no socket of the inbox brought."""
        with self._ours:
            self._take(event, None)
            self._rearm()

    def fail(self, error: BaseException) -> None:
        """A fault of ours: the process shall end."""
        if not self.done.done():
            self.done.set_exception(error)
            self.close()

    # --- turns ------------------------------------------------------------------------------------------------------

    def _continue(self) -> None:
        self._breath = None
        self._loop.listen(self._guest, hear=True)
        self._turn()

    def _turn(self) -> None:
        with self._ours:
            self._serve()
            self._rearm()

    def _due(self) -> None:
        with self._ours:
            self._tick_if_due()
            self._serve()  # answers to what the Tick has sent are often there already
            self._rearm()

    def _serve(self) -> None:
        """Read until no socket is ready, or one has brought a batch."""
        for _ in range(DATAGRAMS_PER_TURN):
            ready = self._inbox.ready()
            if not ready:
                return
            for source in ready:
                self._read(source, DATAGRAMS_PER_TURN)
            self._tick_if_due()
            if self._inbox.unfinished:
                return
        self._inbox.unfinished.update(ready)

    def _tick_if_due(self) -> None:
        for _ in range(TICKS_PER_TURN):
            if self.done.done():
                return
            deadline = self._engine.next_deadline()
            if deadline is None or deadline > boottime_ns():
                return
            self._take(Tick(), self._drained())

    def _drained(self) -> Instant:
        """An instant by which everything that had arrived was read (or so much that it was a flood)."""
        left = DRAIN_LIMIT
        while left > 0:
            now = boottime_ns()
            count = 0
            for source in self._inbox.ready(everything=True):
                count += self._read(source, max(1, left - count))
            if count == 0:
                return now
            left -= count
        return boottime_ns()

    def _read(self, source: Source, limit: int) -> int:
        """Step through one datagram of a socket, or through at most ``limit`` lines. How many there were."""
        if source.perishable:
            event = source.read() if source in self._inbox and not self.done.done() else None
            if event is None:
                return 0
            self._take(event, None)
            return 1
        count = 0
        while source in self._inbox and not self.done.done():
            if count == limit:
                self._inbox.unfinished.add(source)
                break
            event = source.read()
            if event is None:
                break
            count += 1
            self._take(event, None)
        return count

    # --- steps ------------------------------------------------------------------------------------------------------

    def _take(self, event: Event, now: Instant | None) -> None:
        """Step the engine, and with whatever its effects brought about."""
        self._queue.append(event)
        if self._stepping:
            return
        self._stepping = True
        try:
            while self._queue and not self.done.done():
                effects = self._engine.step(self._queue.popleft(), boottime_ns() if now is None else now)
                now = None
                try:
                    for effect in effects:
                        if not isinstance(effect, Note):
                            self._do(effect)
                finally:  # last, because routers wait for a wish and nobody for a line of the log; yet before a fault
                    for effect in effects:
                        if isinstance(effect, Note):
                            self._do(effect)
        finally:
            self._stepping = False

    def _do(self, effect: Effect) -> None:
        match effect:
            case DiscardBacklog():
                self._inbox.discard()  # events are read one by one, so nothing of the backlog is in our hands
            case Exit():
                if not self.done.done():
                    self.done.set_result(None)
            case _:
                event = self._carry_out(effect)
                if event is not None:
                    self._queue.append(event)

    def _rearm(self) -> None:
        if self.done.done():
            self.close()
            return
        deadline = self._engine.next_deadline()
        self._guest.deadline = NEVER if deadline is None else deadline
        if self._inbox.unfinished and self._breath is None:
            self._loop.listen(self._guest, hear=False)
            self._breath = self._loop.call_later(BREATH_S, self._continue)


class _Ours:
    """What is raised in here is a fault of ours, wherever the call came from."""

    def __init__(self, fail: Callable[[BaseException], None]) -> None:
        self._fail = fail

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _traceback: TracebackType | None
    ) -> bool:
        match error:
            case Exception():
                self._fail(error)
            case asyncio.CancelledError():  # nobody is cancelled in here
                self._fail(RuntimeError(repr(error)))
            case _:
                return False
        return True
