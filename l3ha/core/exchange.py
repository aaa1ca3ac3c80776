"""One command at a time: which answer belongs to which command, and what happens when one is late or lost.

ExaBGP answers ``done`` or ``error``, without a number; some commands are never answered (4.2 loses the answer when a
command raises inside). So there is only ever one command outstanding. After ``PATIENCE`` without its answer the
question ``SESSIONS`` is written as a *marker*: ExaBGP works in order, and the answer to the marker begins with a line
of its own, so when that line comes, the command before it has been carried out and its answer will never come. Nothing
else is sent until the marker is answered.

A process that died leaves commands behind, and ExaBGP gives their answers to the next process. So a new one begins with
a marker: what comes before the marker's first line is not for us.

    IDLE --send--> WAITING --done/error------------------------------------------> IDLE   Outcome(TAKEN or REFUSED)
                      |--PATIENCE: marker--> MARKED --done/error------> MARKED            Outcome(TAKEN or REFUSED)
                                               |--header of the marker-> MARKED           Outcome(LOST)
                                               |--end of the last marker-> IDLE
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from l3ha.base.time import SECOND, Duration, Instant
from l3ha.wire.exabgp import Ack, Command, Heard, Question, SessionLine, SessionsHeader

PATIENCE: Duration = 2 * SECOND
"""ExaBGP answers in milliseconds, and within a second while it sends thousands of routes."""

MARKER_EVERY: Duration = 4 * SECOND
"""First pause between two markers; it doubles up to ``MARKER_AT_LEAST_EVERY``: a hung ExaBGP's pipe must not fill."""

MARKER_AT_LEAST_EVERY: Duration = 64 * SECOND


class Fate(Enum):
    """What became of a command."""

    TAKEN = "taken"
    REFUSED = "refused"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of one command."""

    command: Command
    fate: Fate


Sent: TypeAlias = tuple[Command, Instant]


class Exchange:
    """See the module. ``SESSIONS`` as an ordinary question is a marker, too."""

    def __init__(self) -> None:
        self._command: Command | None = None
        self._markers = 0
        """Markers written, begun and ended, since the start."""
        self._begun = 0
        self._ended = 0
        self._since: Instant = 0
        self._patience: Duration = PATIENCE
        self._next_marker: Instant = 0
        self._pause: Duration = MARKER_EVERY

    @property
    def idle(self) -> bool:
        """Whether the next command may be sent."""
        return self._command is None and self._ended == self._markers

    @property
    def command(self) -> Command | None:
        """What waits for its answer; a marker counts as ``SESSIONS``."""
        return Question.SESSIONS if self._begun > self._ended else self._command

    def overdue(self, now: Instant) -> bool:
        """ExaBGP owes an answer for so long that it must be called silent."""
        return not self.idle and now - self._since >= self._patience

    def send(self, command: Command, now: Instant, patience: Duration = PATIENCE) -> None:
        """A command is being written. Only while idle. ``patience``: what its answer may take."""
        assert self.idle
        self._since = now
        self._patience = patience
        self._next_marker = now + patience
        self._pause = MARKER_EVERY
        if command is Question.SESSIONS:
            self._markers += 1
        else:
            self._command = command

    def marker_due(self, now: Instant) -> bool:
        """Whether a marker must be written now; if so it counts as written."""
        if self.idle or now < self._next_marker:
            return False
        self._markers += 1
        self._next_marker = now + self._pause
        self._pause = min(2 * self._pause, MARKER_AT_LEAST_EVERY)
        return True

    def alive(self, now: Instant) -> None:
        """Part of an answer came: a long answer is not a late one."""
        if not self.idle:
            self._since = now
            self._next_marker = max(self._next_marker, now + self._patience)

    def deadline(self) -> Instant | None:
        """When ``marker_due`` may say yes."""
        return None if self.idle else self._next_marker

    def heard(self, line: Heard) -> Outcome | None:
        """Take one line into account; the end of a command, where it is one. An answer to nothing is ignored."""
        match line:
            case SessionsHeader() if self._begun == self._markers:
                self._markers += 1  # asked by an earlier process; its end comes before the answer to our command
                self._begun += 1
                return None
            case SessionsHeader():
                return self._begin()
            case SessionLine() if self._begun == self._ended < self._markers:
                return self._begin()  # its first line was lost
            case Ack.DONE | Ack.ERROR:
                return self._answered(Fate.TAKEN if line is Ack.DONE else Fate.REFUSED)
            case _:
                return None

    def _begin(self) -> Outcome | None:
        self._ended = self._begun  # the end of an earlier one was lost
        self._begun += 1
        return self._over(Fate.LOST)

    def _answered(self, fate: Fate) -> Outcome | None:
        if self._begun > self._ended:
            self._ended = self._begun
            return Outcome(Question.SESSIONS, fate)
        return self._over(fate)

    def _over(self, fate: Fate) -> Outcome | None:
        done, self._command = self._command, None
        return None if done is None else Outcome(done, fate)
