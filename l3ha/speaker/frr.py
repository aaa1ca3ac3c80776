"""FRR's bfdd in the speaker's loop: when it is asked, and for how long it may be silent.

::

    absent --connected--> enabling --done--> asking --answered--> resting --poll is over--> asking
      ^                      |                  |                    |
      +------ closed, refused, nonsense, no answer for GIVE_UP ------+       tried again after RETRY

No answer within ``PATIENCE`` is told once as silence; the connection stays, so that a bfdd that hung is heard again at
once. What comes later than that was perhaps written before the silence: it is thrown away, and asked again.
"""

from __future__ import annotations

from collections.abc import Callable, Container

from l3ha.base.time import MS, SECOND, Duration, Instant
from l3ha.base.time import format_duration as d
from l3ha.core.bfd_frr import FrrAnswer, FrrSilent
from l3ha.drivers.frr import Vty, VtyError
from l3ha.wire import frr

PATIENCE: Duration = 1 * SECOND
"""Silence after a question that makes the state unknown. bfdd needs a millisecond (measured, five sessions)."""

GIVE_UP: Duration = 10 * SECOND
"""Silence after which the connection is made anew."""

RETRY: Duration = 200 * MS


class _Daemon:
    """One bfdd."""

    def __init__(self, directory: str, poll: Duration, tell: Callable[[FrrAnswer | FrrSilent], None]) -> None:
        self.directory = directory
        self.poll = poll
        self.vty: Vty | None = None
        self._tell = tell
        self._question = frr.ENABLE
        self._asked: Instant | None = None
        """None: nothing is asked at present."""
        self._late = False
        """It was not answered within ``PATIENCE``."""
        self._next: Instant = 0
        self._told: str | None = None
        """The silence that was told last; None after an answer."""

    @property
    def deadline(self) -> Instant:
        """When ``tick`` is wanted."""
        if self._asked is None:
            return self._next
        return self._asked + (GIVE_UP if self._late else PATIENCE)

    def hear(self, now: Instant) -> None:
        """The connection has something to read."""
        if self.vty is None:
            return
        try:
            answer = self.vty.read()
            if answer is not None:
                self._answered(*answer, now)
        except VtyError as error:
            self._lost(str(error), now)

    def tick(self, now: Instant) -> None:
        """Ask what is due, judge silence. What had come was heard before."""
        try:
            if self._asked is None and now >= self._next:
                if self.vty is None:
                    self.vty = Vty(self.directory)
                    self._question = frr.ENABLE
                self._ask(now)
            elif self._asked is not None and now - self._asked >= GIVE_UP:
                raise VtyError(f"no answer for {d(GIVE_UP)}")
            elif self._asked is not None and now - self._asked >= PATIENCE:
                self._late = True
                self._silent(f"no answer for {d(PATIENCE)}")
        except VtyError as error:
            self._lost(str(error), now)

    def close(self) -> None:
        """Hang up."""
        if self.vty is not None:
            self.vty.close()
            self.vty = None

    def _ask(self, now: Instant) -> None:
        assert self.vty is not None
        self.vty.ask(self._question)
        self._asked, self._late = now, False

    def _answered(self, text: bytes, result: int, now: Instant) -> None:
        if self._asked is None:
            raise VtyError("bfdd speaks without being asked")
        if result != 0:
            what = self._question.rstrip(b"\0").decode()
            raise VtyError(f"bfdd does not know `{what}` (result {result})")
        if self._question == frr.ENABLE:
            self._question = frr.PEERS
            self._ask(now)
        elif now - self._asked >= PATIENCE:
            self._ask(now)
        else:
            self._next, self._asked, self._told = self._asked + self.poll, None, None
            self._tell(FrrAnswer(self.directory, text))

    def _lost(self, reason: str, now: Instant) -> None:
        self.close()
        self._asked, self._next = None, now + RETRY
        self._silent(reason)

    def _silent(self, reason: str) -> None:
        if self._told != reason:
            self._told = reason
            self._tell(FrrSilent(self.directory, reason))


class FrrLoop:
    """See the module. ``tell`` hands news to the speaker, ``clock`` is CLOCK_BOOTTIME."""

    def __init__(self, clock: Callable[[], Instant], tell: Callable[[FrrAnswer | FrrSilent], None]) -> None:
        self._clock = clock
        self._tell = tell
        self._daemons: dict[str, _Daemon] = {}

    @property
    def deadline(self) -> Instant | None:
        """When ``serve`` is wanted at the latest."""
        return min((daemon.deadline for daemon in self._daemons.values()), default=None)

    @property
    def connections(self) -> tuple[Vty, ...]:
        """What to poll for reading."""
        return tuple(daemon.vty for daemon in self._daemons.values() if daemon.vty is not None)

    def use(self, daemons: tuple[tuple[str, Duration], ...]) -> None:
        """Ask exactly these from now on."""
        wanted = dict(daemons)
        for directory in [x for x in self._daemons if x not in wanted]:
            self._daemons.pop(directory).close()
        for directory, poll in wanted.items():
            self._daemons.setdefault(directory, _Daemon(directory, poll, self._tell)).poll = poll

    def serve(self, ready: Container[int]) -> None:
        """Hear those that are ready, ask what is due."""
        if not self._daemons:
            return
        now = self._clock()
        for daemon in self._daemons.values():
            if daemon.vty is not None and daemon.vty.fileno() in ready:
                daemon.hear(now)
            daemon.tick(now)
