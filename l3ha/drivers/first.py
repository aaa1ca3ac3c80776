"""asyncio, which serves one guest before everything else, and without its own machinery: the engine.

To wake up and do nothing takes 140 µs of a processor that was asleep if asyncio calls (a timer or a reader, a handle,
the loop's own round), and 75 here; a quiet turn of the whole agent takes a millisecond. So the guest's turns happen
where asyncio waits. It goes on as soon as something is ready for it, a timer of its own is due, or a turn has called
for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import select
import selectors
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any, TypeAlias, TypeVar, TypeVarTuple

from l3ha.base.time import HOUR, NEVER, SECOND, Duration, Instant
from l3ha.drivers.boottime import boottime_ns

LONGEST: Duration = HOUR
"""A wait; then one looks again. The kernel takes no more than some weeks."""

Ready: TypeAlias = list[tuple[selectors.SelectorKey, int]]

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


def run(main: Coroutine[Any, Any, T]) -> T:
    """As ``asyncio.run``, on such a loop."""
    with asyncio.Runner(loop_factory=Loop) as runner:
        return runner.run(main)


class Guest:
    """What is served first: a file descriptor that becomes readable, and one deadline."""

    def __init__(self, fileno: int, readable: Callable[[], None], due: Callable[[], None]) -> None:
        self.fileno = fileno
        self.readable = readable
        self.due = due
        self.deadline: Instant = NEVER
        """When ``due`` is called, again and again until this is later; up to 1 ms late (epoll rounds), never early."""


class Loop(asyncio.SelectorEventLoop):
    """See the module."""

    def __init__(self) -> None:
        self._wait = _Wait()
        super().__init__(self._wait)

    def seat(self, guest: Guest) -> None:
        """Serve this one first from now on; there is one. Raises OSError where its file descriptor is none."""
        self._wait.seat(guest)

    def listen(self, guest: Guest, *, hear: bool) -> None:
        """Whether its file descriptor is looked at; its deadline always is. Nothing once it has left."""
        self._wait.listen(guest, hear=hear)

    def leave(self, guest: Guest) -> None:
        """Do not serve it any more; to be called before its file descriptor is closed."""
        self._wait.leave(guest)

    def stop(self) -> None:
        """As asyncio's; a turn of the guest may call it."""
        self._wait.over = True
        super().stop()

    def call_soon(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        """As asyncio's; a turn of the guest may call it."""
        self._wait.over = True
        return super().call_soon(callback, *args, context=context)

    def call_at(
        self, when: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """As asyncio's; a turn of the guest may call it."""
        self._wait.over = True
        return super().call_at(when, callback, *args, context=context)


class _Wait(selectors.EpollSelector):
    """Where asyncio waits."""

    def __init__(self) -> None:
        super().__init__()
        self.guest: Guest | None = None
        self.over = False
        """asyncio has something to do beyond what is ready."""
        self._hears = False
        self._both = select.epoll()
        self._own = self.fileno()
        self._both.register(self._own, select.EPOLLIN)

    def seat(self, guest: Guest) -> None:
        """See ``Loop``, as below."""
        assert self.guest is None
        self._both.register(guest.fileno, select.EPOLLIN)
        self.guest, self._hears = guest, True

    def listen(self, guest: Guest, *, hear: bool) -> None:
        if guest is not self.guest or hear is self._hears:
            return
        if hear:
            self._both.register(guest.fileno, select.EPOLLIN)
        else:
            self._both.unregister(guest.fileno)
        self._hears = hear

    def leave(self, guest: Guest) -> None:
        if guest is not self.guest:
            return
        self.guest = None
        if self._hears:
            with contextlib.suppress(OSError):  # closed already
                self._both.unregister(guest.fileno)

    def select(self, timeout: float | None = None) -> Ready:
        """What is ready for asyncio, as soon as there is something, or after ``timeout`` seconds."""
        if self.guest is None:
            return super().select(timeout)
        self.over = timeout is not None and timeout <= 0
        end = NEVER if timeout is None else boottime_ns() + int(timeout * SECOND)
        while (guest := self.guest) is not None:
            rest = 0 if self.over else min(end, guest.deadline) - boottime_ns()
            ready = dict(self._both.poll(min(max(0, rest), LONGEST) / SECOND, 2))
            now = boottime_ns()
            self._serve(guest, now, readable=guest.fileno in ready)
            if self.over or self._own in ready or end <= now:
                break
        return super().select(0)

    def _serve(self, guest: Guest, now: Instant, *, readable: bool) -> None:
        try:
            if readable:
                guest.readable()
            if guest.deadline <= now and guest is self.guest:
                guest.due()
        except BaseException:
            self.leave(guest)  # asyncio must come to its end
            raise

    def close(self) -> None:
        """Both."""
        super().close()
        self._both.close()
