"""The speaker's machine: brings every neighbor to the agent's wish, and holds the lease (protocol §8).

Four rules, without which routers end up with the wrong preference (ExaBGP queues changes in buckets keyed by
attributes, and sends the buckets in the order in which they were made; measured against 4.2 and 5.0):

a. one command outstanding; the next one waits for its answer (``core.exchange``);
b. every announce and withdraw carries a fresh *generation*, a large community, so no two changes share a bucket;
c. nothing is sent for a neighbor that is not up;
d. everything again for a neighbor on its ``up``, for all on a new helper and on a signal (``core.ledger``).

    Wish, Renew ->  +---------+  -> commands, one at a time -> ExaBGP
    Report      <-  | ledgers |  <- done, error, up, down, signal
                    +---------+

    lease   no wish --Wish--> LIVE --runs out--> ENDED --Wish, Renew--> LIVE
            no wish, but one on disk --its lease runs out--> ENDED

ENDED means what the wish says: ``lower`` its fallback routes, ``withdraw`` no routes, ``keep`` no change. The wish of
an earlier process (``saved``) is used for nothing but that: a new helper whose agent is dead must lower, too.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum, auto

from l3ha.base.names import LeaseEnd, Level
from l3ha.base.time import SECOND, Duration, Instant
from l3ha.core.bfd import BfdChanged
from l3ha.core.bfd_frr import FrrAnswer, FrrSilent
from l3ha.core.bfd_sessions import BfdSessions, BfdTrouble, told
from l3ha.core.exchange import PATIENCE, Exchange, Fate, Outcome
from l3ha.core.ledger import MAX_FORESEEN, Ending, Job, Ledger, Target, target_of
from l3ha.core.speaker_events import (
    AgentDown,
    AgentLine,
    AgentUp,
    ExabgpGone,
    ExabgpLine,
    Log,
    Save,
    SpeakerEffect,
    SpeakerEvent,
    Tick,
    ToAgent,
    ToExabgp,
)
from l3ha.wire import exabgp, wishline
from l3ha.wire.exabgp import Announce, Clear, Command, Question, Session, Teardown, Withdraw
from l3ha.wire.wish import (
    Advertised,
    Ahead,
    Alive,
    Goodbye,
    NeighborReport,
    NeighborWish,
    Renew,
    Report,
    RouteGroup,
    Wish,
)

AUDIT: Duration = 5 * SECOND
"""An idle ExaBGP is asked for its sessions this often: that it still answers, and that no event was missed."""

_COUNTER = 1 << 32

_ALIVE = wishline.encode(Alive())


class _Answer(Enum):
    """What the agent waits for."""

    NONE = auto()
    ALIVE = auto()
    REPORT = auto()


@dataclass(frozen=True, slots=True)
class _Flight:
    """The change under way."""

    ledger: Ledger
    job: Job


@dataclass(frozen=True, slots=True)
class _Coming:
    """A wish that may come next."""

    wish: Wish
    targets: Mapping[str, Target]
    """What every neighbor shall hold then, by its address."""


class Speaker:
    """See the module. ``counter`` is a random 32-bit number: generations of two processes must not meet."""

    def __init__(
        self, identity: int, counter: int, saved: bytes | None, now: Instant, entropy: Callable[[int], bytes]
    ) -> None:
        self.bfd = BfdSessions(entropy, now)
        self._identity = identity
        self._counter = counter
        self._version = ""
        self._wish: Wish | None = None
        self._targets: Mapping[str, Target] = {}
        """Of the wish, where it was read ahead."""
        self._ahead: dict[bytes, _Coming] = {}
        """What was read ahead, by the line that it will be."""
        self._saved = _saved(saved)
        self._lease_live = False
        self._lease_until: Instant | None = now + self._saved.lease if self._saved else None
        self._ended = False
        self._ledgers: dict[str, Ledger] = {}
        self._names: dict[str, str] = {}
        self._confirmed: dict[str, int] = {}
        self._exchange = Exchange()
        self._questions: deque[Question] = deque(Question)
        self._flight: _Flight | None = None
        self._audit: Instant = now + AUDIT
        self._agent = False
        self._reported: Report | None = None
        self._reported_changes = -1
        """What ``BfdSessions.changes`` was then."""
        self._unsaved: bytes | None = None
        self._out: list[SpeakerEffect] = []
        self._use(self._saved)

    # --- doors ------------------------------------------------------------------------------------------------------

    def step(self, event: SpeakerEvent, now: Instant) -> Iterator[SpeakerEffect]:
        """One event, and what follows from it, in order. To be exhausted; what comes first is told before the rest is
        thought of, because routers wait for the command, and nobody for a report or the file."""
        self._out = []
        answer = self._take(event, now)
        if answer is _Answer.ALIVE:
            self._out.append(ToAgent(_ALIVE))
        if answer is _Answer.ALIVE or isinstance(event, ExabgpGone):
            yield from self._told()
            return
        self._send(now)
        yield from self._told()
        wish = self._wish or self._saved
        self._out += self.bfd.use(wish.neighbors if wish else (), now)
        self._tell(now, answer=answer is _Answer.REPORT)
        if self._unsaved is not None:
            self._out.append(Save(self._unsaved))
            self._unsaved = None
        yield from self._told()
        self._foresee()

    def _told(self) -> list[SpeakerEffect]:
        out, self._out = self._out, []
        return out

    def _take(self, event: SpeakerEvent, now: Instant) -> _Answer:
        match event:
            case ExabgpLine(data):
                self._exabgp(exabgp.decode(data), now)
            case AgentUp():
                self._agent = True
                return _Answer.REPORT
            case AgentLine(data):
                return self._agent_line(data, now)
            case AgentDown():
                self._agent = False
                self._log("the agent is gone; the lease decides")
            case ExabgpGone():
                self._out += self.bfd.leave()
                self._goodbye("ExaBGP is gone")
            case BfdChanged():
                if (text := told(event)) is not None:
                    self._log(text)
            case BfdTrouble():
                self._log(self.bfd.trouble(event))
            case FrrAnswer():
                self.bfd.frr.heard(event, now)
            case FrrSilent(directory, reason):
                self.bfd.frr.heard(event, now)
                self._log(f"bfdd in {directory}: {reason}")
            case Tick():
                self._timers(now)
        return _Answer.NONE

    def next_deadline(self) -> Instant | None:
        """When ``step(Tick(), …)`` is wanted."""
        times = [ledger.deadline() for ledger in self._ledgers.values()]
        times += [self._lease_until, self._exchange.deadline(), self._audit if self._exchange.idle else None]
        return min((t for t in times if t is not None), default=None)

    def status(self, now: Instant) -> Report:
        """The whole state, as the agent is told."""
        error = "ExaBGP does not answer" if self._exchange.overdue(now) else None
        wish = self._wish
        return Report(
            speaker=self._identity,
            exabgp=self._version,
            agent=wish.agent if wish else 0,
            number=wish.number if wish else -1,
            lease_live=self._lease_live,
            advertised=self._advertised(),
            neighbors=tuple(
                NeighborReport(
                    name=self._names.get(address, address),
                    address=address,
                    up=ledger.up,
                    confirmed=self._confirmed.get(address, -1),
                    error=error or ledger.error,
                )
                for address, ledger in self._ledgers.items()
            ),
            bfd=self.bfd.report(now),
        )

    # --- ExaBGP -----------------------------------------------------------------------------------------------------

    def _exabgp(self, line: exabgp.Heard, now: Instant) -> None:
        outcome = self._exchange.heard(line)
        if outcome is not None:
            self._over(outcome, now)
        match line:
            case exabgp.SessionChanged(neighbor, state, reason):
                self._session(neighbor, state, reason, now)
            case exabgp.Signalled(name):
                self._signalled(name)
            case exabgp.ShuttingDown():
                # also said to a helper that ExaBGP only wants to start anew; then the sessions are still up
                if not any(ledger.up for ledger in self._ledgers.values()):
                    self._goodbye("ExaBGP is shutting down")
            case exabgp.SessionLine(neighbor, up) if self._exchange.command is Question.SESSIONS:
                if up != self._ledger(neighbor).up:
                    self._changed(neighbor, up=up, now=now)
            case exabgp.RouteLine(neighbor, prefix, next_hop) if self._exchange.command is Question.ROUTES:
                self._exchange.alive(now)
                self._ledger(neighbor).found(prefix, next_hop)
            case exabgp.VersionLine(version):
                self._version = version
            case _:
                pass

    def _session(self, neighbor: str, state: Session, reason: str, now: Instant) -> None:
        if state is Session.CONNECTED:
            return
        up = state is Session.UP
        if up or self._ledger(neighbor).up:
            self._log(f"neighbor {neighbor} is {state}" + (f": {reason}" if reason else ""))
        self._changed(neighbor, up=up, now=now)

    def _changed(self, neighbor: str, *, up: bool, now: Instant) -> None:
        self._ledger(neighbor).session(up=up, now=now)
        self._confirmed.pop(neighbor, None)

    def _signalled(self, name: str) -> None:
        """Told once per neighbor; what ExaBGP had queued may be lost."""
        self._log(f"ExaBGP got {name}; everything is sent again")
        for ledger in self._ledgers.values():
            ledger.resync()
        self._confirmed.clear()

    def _over(self, outcome: Outcome, now: Instant) -> None:
        match outcome.command:
            case Announce() | Withdraw():
                flight, self._flight = self._flight, None
                assert flight is not None
                self._judge(flight, outcome.fate, now)
            case Teardown(neighbor) | Clear(neighbor) as step:
                self._stepped(self._ledger(neighbor), step, outcome.fate)
            case Question.ROUTES:
                for ledger in self._ledgers.values():
                    ledger.settle()
            case _:
                pass

    def _judge(self, flight: _Flight, fate: Fate, now: Instant) -> None:
        job = flight.job
        verb = "withdraw" if job.attributes is None else "announce"
        what = "refused to" if fate is Fate.REFUSED else "did not say whether it would"
        reason = f"ExaBGP {what} {verb} {job.prefixes[0]} (see its log)"
        if fate is not Fate.TAKEN:
            self._log(f"neighbor {flight.ledger.address}: {reason}")
        flight.ledger.ended(job, taken=fate is Fate.TAKEN, reason=reason, now=now)

    def _stepped(self, ledger: Ledger, step: Ending, fate: Fate) -> None:
        if fate is Fate.REFUSED:
            what = "end the session" if isinstance(step, Teardown) else "forget the routes"
            self._log(f"neighbor {ledger.address}: ExaBGP refused to {what}; they are told one by one")
        ledger.stepped(step, refused=fate is Fate.REFUSED)

    # --- the agent --------------------------------------------------------------------------------------------------

    def _agent_line(self, data: bytes, now: Instant) -> _Answer:
        coming = self._ahead.get(data)
        match coming.wish if coming is not None else wishline.decode(data):
            case Wish() as wish:
                self._targets = coming.targets if coming is not None else {}
                self._adopt(wish, now)
                self._unsaved = data
                return _Answer.REPORT
            case Ahead(wish, line):
                targets: dict[str, Target] = {n.address: target_of(n.routes) for n in reversed(wish.neighbors)}
                self._ahead = dict([*self._ahead.items(), (line, _Coming(wish, targets))][-MAX_FORESEEN:])
                return _Answer.NONE
            case Renew() as line:
                return self._renew(line, now)
            case line:
                self._log(f"a line from the agent makes no sense: {line}")
                return _Answer.NONE

    def _foresee(self) -> None:
        """Plan for what may come next, once there is nothing else to do."""
        if self._exchange.idle:
            for coming in self._ahead.values():
                for address, target in coming.targets.items():
                    if address in self._ledgers:
                        self._ledgers[address].foresee(target)

    def _renew(self, line: Renew, now: Instant) -> _Answer:
        if self._wish is None or (line.agent, line.number) != (self._wish.agent, self._wish.number):
            return _Answer.REPORT
        unchanged = self._reported_changes == self.bfd.changes()
        usual = self._lease_live and not line.nudge and self._exchange.idle and unchanged
        self._live(line.lease, now)
        for address in line.nudge:
            if address in self._ledgers:
                self._ledgers[address].repeat()
        return _Answer.ALIVE if line.brief and usual else _Answer.REPORT

    def _adopt(self, wish: Wish, now: Instant) -> None:
        if self._wish is None or wish.agent != self._wish.agent:
            self._confirmed.clear()
        self._wish, self._saved = wish, None
        self._ahead = {}
        self._lease_live = False
        self._live(wish.lease, now)
        if self._forgets:
            for wanted in wish.neighbors:
                if wanted.drop and self._ledger(wanted.address).drop():
                    self._log(f"neighbor {wanted.address}: its session is ended, so that all its routes go at once")

    @property
    def _forgets(self) -> bool:
        """Whether this ExaBGP can be told to forget a neighbor's routes: 4.2 ends of it where the session is down."""
        major = self._version.partition(".")[0]
        return major.isdigit() and int(major) >= 5

    def _live(self, lease: Duration, now: Instant) -> None:
        self._lease_until = now + lease
        if not self._lease_live:
            self._lease_live, self._ended = True, False
            self._use(self._wish)

    def _timers(self, now: Instant) -> None:
        if self._lease_until is not None and now >= self._lease_until:
            self._lease_until = None
            self._lease_live = False
            self._end(self._wish or self._saved)
        for ledger in self._ledgers.values():
            ledger.retry(now)
        if self._exchange.marker_due(now):
            self._log("ExaBGP does not answer")
            self._out.append(ToExabgp(exabgp.encode(Question.SESSIONS)))
        if now >= self._audit and self._exchange.idle and not self._questions:
            self._questions.append(Question.SESSIONS)

    def _end(self, wish: Wish | None) -> None:
        assert wish is not None
        self._log(f"the agent's lease ran out: {wish.end}")
        if wish.end is not LeaseEnd.KEEP:
            self._ended = True
            self._confirmed.clear()
            self._use(wish)

    # --- what neighbors shall hold ----------------------------------------------------------------------------------

    def _use(self, wish: Wish | None) -> None:
        """Aim every ledger at what the wish says now."""
        wished: dict[str, NeighborWish] = {}
        for wanted in wish.neighbors if wish else ():
            wished.setdefault(wanted.address, wanted)
        self._ledgers = {address: self._ledger(address) for address in wished} | self._ledgers
        self._names = {address: wanted.name for address, wanted in wished.items()}
        for address, ledger in self._ledgers.items():
            known = self._wish is not None or self._ended
            ledger.aim(self._target(wished.get(address)) if known else None)

    def _target(self, wanted: NeighborWish | None) -> Target:
        if wanted is None:
            return {}
        if not self._ended and wanted.address in self._targets:
            return self._targets[wanted.address]
        return target_of(self._routes(wanted))

    def _routes(self, wanted: NeighborWish) -> tuple[RouteGroup, ...]:
        if not self._ended:
            return wanted.routes
        wish = self._wish or self._saved
        return wanted.fallback if wish is not None and wish.end is LeaseEnd.LOWER else ()

    def _ledger(self, address: str) -> Ledger:
        if address not in self._ledgers:
            ledger = self._ledgers[address] = Ledger(address)
            if self._wish is not None or self._ended:
                ledger.aim({})
        return self._ledgers[address]

    def _advertised(self) -> tuple[Advertised, ...]:
        wish = self._wish or (self._saved if self._ended else None)
        found: dict[int, Advertised] = {}
        for wanted in wish.neighbors if wish else ():
            for g in self._routes(wanted):
                if g.srg not in found or found[g.srg].level < g.level:
                    found[g.srg] = Advertised(g.srg, Level(g.level), g.term)
        return tuple(found[srg] for srg in sorted(found))

    # --- out --------------------------------------------------------------------------------------------------------

    def _send(self, now: Instant) -> None:
        if not self._exchange.idle:
            return
        command = self._questions.popleft() if self._questions else self._next_change()
        if command is None:
            return
        self._audit = now + AUDIT
        patience = self._ledger(command.neighbor).patience if isinstance(command, Clear) else 0
        self._exchange.send(command, now, PATIENCE + patience)
        self._out.append(ToExabgp(exabgp.encode(command)))

    def _next_change(self) -> Command | None:
        ranked = [(rank, ledger) for ledger in self._ledgers.values() if (rank := ledger.rank) is not None]
        if not ranked:
            return None
        _, ledger = min(ranked, key=lambda pair: pair[0])
        wish = self._wish or self._saved
        assert wish is not None
        job = ledger.take()
        if not isinstance(job, Job):
            return job
        self._flight = _Flight(ledger, job)
        self._counter = (self._counter + 1) % _COUNTER
        generation = (*wish.generation, self._counter)
        if job.attributes is None:
            return Withdraw(ledger.address, job.next_hop, generation, job.prefixes)
        return Announce(ledger.address, job.attributes, generation, job.prefixes)

    def _tell(self, now: Instant, *, answer: bool) -> None:
        if self._wish is not None and not self._ended and not self._exchange.overdue(now):
            # A router that holds the new wish by chance proves nothing while ExaBGP takes no command: a group would be
            # taken, never announced, and given up again, for as long as ExaBGP hangs.
            for address, ledger in self._ledgers.items():
                if ledger.complete:
                    self._confirmed[address] = self._wish.number
        report = self.status(now)
        if self._agent and (answer or report != self._reported):
            self._reported, self._reported_changes = report, self.bfd.changes()
            self._out.append(ToAgent(wishline.encode(report)))

    def _goodbye(self, reason: str) -> None:
        self._out.append(ToAgent(wishline.encode(Goodbye(reason))))

    def _log(self, text: str) -> None:
        self._out.append(Log(text))


def _saved(data: bytes | None) -> Wish | None:
    """The wish of an earlier process; anything that is none is as good as no file."""
    line = wishline.decode(data) if data else None
    return line if isinstance(line, Wish) else None
