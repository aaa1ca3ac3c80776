"""What one BGP neighbor shall hold, what it is known to hold, and the next command that brings it there.

Rule d: whatever was acknowledged before the session's last ``up`` (or a reload) proves nothing, so ``resync`` forgets
it. A withdrawal, too, may be lost: the first UPDATEs of a session leave withdrawals out, and announcements that waited
for the session are sent all the same. So every prefix that this process ever told or found is withdrawn again after
each ``up`` unless it is wished.

Where others cover everything and it is much (``NeighborWish.drop``), a session is ended rather than told route by
route: a router throws away what came by a session in one go. ExaBGP would announce it again on the next one, so it is
made to forget it meanwhile:

    drop --> Teardown --taken or lost, or the session is down--> Clear --> the plan, as after any ``up``
                |--refused, or another wish before it was sent--> the plan
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import TypeAlias

from l3ha.base.limits import PREFIXES_PER_COMMAND
from l3ha.base.names import Level
from l3ha.base.time import MS, SECOND, Duration, Instant
from l3ha.wire.exabgp import Clear, Teardown
from l3ha.wire.wish import Attributes, RouteGroup

RETRY: Duration = 1 * SECOND
"""Pause before a refused command is tried again."""

YOUNG: Duration = 2 * SECOND
"""A session younger than this may not have sent its first UPDATEs yet, which leave withdrawals out: what was withdrawn
in that time is withdrawn once more (measured: 10 of 15 young sessions of ExaBGP 5.0.15 kept such a prefix)."""

CLEARING: Duration = MS
"""ExaBGP forgets a route within this: twice what was measured beside a busy router."""

_RANK_OF_ENDING = {Teardown: -2, Clear: -1}
"""Before all else: routers take the routes of a session away at once. All sessions end before ExaBGP is busy."""

MAX_FORESEEN = 2
"""Plans that are kept for what may come next: all groups are taken over, or all given up."""

MAX_KNOWN = 50_000
"""Prefixes remembered per neighbor; beyond, the oldest that are neither wished nor announced are forgotten."""

Target: TypeAlias = Mapping[str, tuple[Level, Attributes]]
"""Prefix -> how it shall be advertised."""


@dataclass(frozen=True, slots=True)
class Job:
    """One command for one neighbor. ``attributes`` None withdraws. Smaller ``rank`` first: HIGH is the most urgent, and
    IPv6 comes when all neighbors have been told IPv4: the second one's IPv4 does not wait for the first one's IPv6."""

    rank: int
    attributes: Attributes | None
    next_hop: str
    prefixes: tuple[str, ...]


Ending: TypeAlias = Teardown | Clear
"""What ends a session instead."""


def target_of(groups: Iterable[RouteGroup]) -> dict[str, tuple[Level, Attributes]]:
    """Each prefix once: of several groups that have it, the one with the greatest level (the first of equals)."""
    target: dict[str, tuple[Level, Attributes]] = {}
    for group in groups:
        wanted = (group.level, group.attributes)
        if target.keys().isdisjoint(group.prefixes):  # as a rule, and many times faster
            target.update(dict.fromkeys(group.prefixes, wanted))
            continue
        for prefix in group.prefixes:
            if prefix not in target or target[prefix][0] < group.level:
                target[prefix] = wanted
    return target


class Ledger:
    """See the module."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.up = False
        self.error: str | None = None
        self._target: Target | None = None
        self._held: dict[str, Attributes] = {}
        """Announced and acknowledged since the last ``resync``."""
        self._known: dict[str, str] = {}
        """Every prefix that the neighbor may hold from us -> a next hop of its family."""
        self._gone: set[str] = set()
        """Of these, withdrawn and acknowledged since the last ``resync``."""
        self._plan: deque[Job] = deque()
        self._foreseen: list[tuple[Target, list[Job]]] = []
        """The plans of targets that may come next; none once something else has happened."""
        self._flight: Job | None = None
        self._early: set[str] = set()
        """Of these, withdrawn while the session was young."""
        self._grown_at: Instant = 0
        self._refused: dict[str, Instant] = {}
        """Prefix -> when its command may be tried again."""
        self._ending: Ending | None = None
        """The next step of the end of the session."""
        self._stepping = False
        """It is under way."""

    # --- what changes -----------------------------------------------------------------------------------------------

    def aim(self, target: Target | None) -> None:
        """What the neighbor shall hold from now on; None: nobody knows, so nothing is sent."""
        if isinstance(self._ending, Teardown) and not self._stepping:
            self._ending = None
        if target != self._target:
            plan = next((plan for foreseen, plan in self._foreseen if foreseen is target), None)
            self._target = target
            self._refused.clear()
            self.error = None
            if plan is None:
                self._replan()
            else:
                self._plan = deque(plan)

    def foresee(self, target: Target) -> None:
        """Plan for a target that may come next, while nobody waits for it; ``aim`` at the same object uses the plan."""
        if self.complete and not any(foreseen is target for foreseen, _ in self._foreseen):
            self._foreseen = [*self._foreseen[1 - MAX_FORESEEN :], (target, self._jobs(target))]

    def repeat(self) -> None:
        """Announce one route again, unless there is something to tell anyway."""
        if self._target and self.complete:
            prefix, (level, attributes) = next(iter(self._target.items()))
            self._plan.append(Job(_rank(level, prefix), attributes, attributes.next_hop, (prefix,)))

    def drop(self) -> bool:
        """End the session, because its routes shall change and others cover them. False: there is nothing to end."""
        if not self._plan or self._ending is not None:
            return False
        self._ending = Teardown(self.address)
        return True

    def session(self, *, up: bool, now: Instant) -> None:
        """The session came up (again), or went down."""
        self.up = up
        if isinstance(self._ending, Teardown) and not up:
            self._ending, self._stepping = Clear(self.address), False
        self._grown_at = now + YOUNG
        self.resync()

    def resync(self) -> None:
        """Nothing that was acknowledged proves anything any more."""
        self._held.clear()
        self._gone.clear()
        self._early.clear()
        self._refused.clear()
        self._flight = None
        self.error = None
        self._replan()

    def found(self, prefix: str, next_hop: str) -> None:
        """ExaBGP holds this for the neighbor, from whatever process. ``settle`` must follow the last one."""
        self._remember(prefix, next_hop)
        self._gone.discard(prefix)

    def settle(self) -> None:
        """Plan again, after ``found``."""
        self._replan()

    # --- what follows -----------------------------------------------------------------------------------------------

    @property
    def complete(self) -> bool:
        """The neighbor is up, and everything it shall hold was acknowledged since."""
        busy = self._plan or self._flight or self._refused or self._ending
        return self.up and self._target is not None and not busy

    @property
    def rank(self) -> int | None:
        """Urgency of the next command; None where there is none to send."""
        if self._ending is not None:
            return _RANK_OF_ENDING[type(self._ending)]
        return self._plan[0].rank if self.up and self._plan else None

    @property
    def patience(self) -> Duration:
        """How long ``Clear`` may take."""
        return CLEARING * len(self._known)

    def stepped(self, step: Ending, *, refused: bool) -> None:
        """The step under way is over. One that was refused is not tried again, since the plan says the same."""
        if step == self._ending:
            self._ending = None if refused or isinstance(step, Clear) else Clear(self.address)
            self._stepping = False

    def take(self) -> Job | Ending:
        """The next command; it is now under way, and until it is acknowledged its prefixes may hold anything."""
        if self._ending is not None:
            self._stepping = True
            return self._ending
        job = self._flight = self._plan.popleft()
        self._foreseen.clear()
        for prefix in job.prefixes:
            self._held.pop(prefix, None)
            self._gone.discard(prefix)
            self._remember(prefix, job.next_hop)
        return job

    def ended(self, job: Job, *, taken: bool, reason: str, now: Instant) -> None:
        """A command was acknowledged, or refused (or its answer lost): then its prefixes wait, and the rest goes on."""
        if job is not self._flight:
            return  # of an earlier session
        self._flight = None
        if not taken:
            self.error = reason
            self._refused |= dict.fromkeys(job.prefixes, now + RETRY)
            self._replan()
            return
        for prefix in job.prefixes:
            if job.attributes is not None:
                self._held[prefix] = job.attributes
            else:
                self._gone.add(prefix)
                if now < self._grown_at:
                    self._early.add(prefix)
        if not self._refused:
            self.error = None

    def retry(self, now: Instant) -> None:
        """Try refused commands again whose pause is over, and early withdrawals once the session has grown."""
        if self._early and now >= self._grown_at:
            self._gone -= self._early
            self._early.clear()
            self._replan()
        due = [prefix for prefix, at in self._refused.items() if at <= now]
        if due:
            for prefix in due:
                del self._refused[prefix]
            self._replan()

    def deadline(self) -> Instant | None:
        """When ``retry`` has something to do."""
        times = [*self._refused.values(), *([self._grown_at] if self._early else [])]
        return min(times, default=None) if self.up else None

    # --- the plan ---------------------------------------------------------------------------------------------------

    def _replan(self) -> None:
        self._foreseen.clear()
        self._plan = deque(self._jobs(self._target) if self._target is not None and self.up else ())

    def _jobs(self, target: Target) -> list[Job]:
        """From what the neighbor holds to what it shall hold."""
        announce: dict[tuple[Level, bool, Attributes], list[str]] = {}
        # in runs of what has and shall have the same: ten thousand comparisons of attributes would take 20 ms
        for (level, attributes), wanted in groupby(target.items(), itemgetter(1)):
            waits = self._waiting(attributes)
            stale = [
                prefix
                for held, run in groupby(map(itemgetter(0), wanted), self._held.get)
                if held != attributes
                for prefix in run
                if prefix not in waits
            ]
            for ipv6, prefixes in _families(stale):
                announce.setdefault((level, ipv6, attributes), []).extend(prefixes)
        waits = self._waiting(None)
        withdraw = dict(
            _families([p for p in self._known if p not in target and p not in self._gone and p not in waits])
        )
        jobs = [
            Job(_rank(level, part[0]), attributes, attributes.next_hop, part)
            for (level, _, attributes), prefixes in announce.items()
            for part in _parts(prefixes)
        ]
        jobs += [
            Job(_rank(None, part[0]), None, self._known[part[0]], part)
            for prefixes in withdraw.values()
            for part in _parts(prefixes)
        ]
        return sorted(jobs, key=lambda job: job.rank)

    def _waiting(self, attributes: Attributes | None) -> Set[str]:
        """Prefixes whose change to this is under way, or was refused a moment ago."""
        flight = self._flight
        if flight is None or flight.attributes != attributes:
            return self._refused.keys()
        return self._refused.keys() | flight.prefixes

    def _remember(self, prefix: str, next_hop: str) -> None:
        self._known[prefix] = next_hop
        if len(self._known) > MAX_KNOWN:
            wished = self._target or {}
            old = next((p for p in self._known if p in self._gone and p not in wished), None)
            if old is not None:
                del self._known[old]
                self._gone.discard(old)


def _rank(level: Level | None, prefix: str) -> int:
    """Of a command for a prefix; None: it is withdrawn."""
    return 2 * (Level.HIGH - (Level.LOW - 1 if level is None else level)) + (":" in prefix)


def _families(prefixes: list[str]) -> Iterable[tuple[bool, list[str]]]:
    """Those of IPv6 (True) and those of IPv4, where there are any; a command holds one family."""
    by = [(ipv6, [p for p in prefixes if (":" in p) == ipv6]) for ipv6 in (False, True)]
    return [(ipv6, found) for ipv6, found in by if found]


def _parts(prefixes: list[str]) -> Iterable[tuple[str, ...]]:
    """Slices of the size that ExaBGP works in anyway."""
    return (tuple(prefixes[i : i + PREFIXES_PER_COMMAND]) for i in range(0, len(prefixes), PREFIXES_PER_COMMAND))
