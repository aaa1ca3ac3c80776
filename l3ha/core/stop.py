"""How the agent ends: for good (planned move, withdraw, say so) or for a new start (say so, keep the roles).

LEAVING:     move the groups -> ineligible and withdrawn -> a few heartbeats -> exit
RESTARTING:  a few heartbeats with the grace -> a longer lease -> exit
"""

from __future__ import annotations

from enum import Enum, auto

from l3ha.base.names import Intent
from l3ha.base.settings import Timers
from l3ha.base.time import MS, Duration, Instant

FAREWELLS = 3
"""Heartbeats with the last word, so that a lost datagram does not lose it."""

FAREWELL_GAP: Duration = 20 * MS


class StopWord(Enum):
    """What the engine does next on its way out."""

    WAIT = auto()
    SAY = auto()
    """Say the last word in a heartbeat, now."""
    DONE = auto()


class Stop:
    """A clean stop under way."""

    def __init__(self, intent: Intent, now: Instant, timers: Timers, *, alone: bool) -> None:
        self.intent = intent
        self.deadline: Instant = now
        moving = intent is Intent.LEAVING and not alone
        self._move_until = now + timers.grant + timers.drain + timers.verify if moving else now
        self._leave_until = self._move_until + timers.bgp
        self._said = 0

    def step(self, now: Instant, *, occupied: bool, withdrawn: bool) -> StopWord:
        """``occupied``: a group is still ACTIVE here; ``withdrawn``: the speaker confirmed the last wish everywhere."""
        if occupied and now < self._move_until and not self._said:
            self.deadline = self._move_until
            return StopWord.WAIT
        if self._said and now < self.deadline:
            return StopWord.WAIT
        self.deadline = now + FAREWELL_GAP
        if self._said < FAREWELLS:
            self._said += 1
            return StopWord.SAY
        finished = withdrawn or self.intent is Intent.RESTARTING or now >= self._leave_until
        return StopWord.DONE if finished else StopWord.SAY
