"""The speaker's machine: brings every neighbor to the agent's wish, and holds the lease (protocol §8).

Four rules, without which routers end up with the wrong preference (ExaBGP queues changes in buckets keyed by attributes
and may emit them in another order than they were given; measured, see docs/exabgp.md):

a. one command outstanding; the next one waits for ``done`` or ``error``;
b. every announce and withdraw carries a fresh *generation* (a large community), so no two changes share a bucket;
c. nothing is sent for a neighbor that is not up;
d. everything again for a neighbor on its ``up``, for all on a new helper and on a signal (reload).

    Wish, Renew ->  +--------+  -> commands, one at a time -> ExaBGP
    Report      <-  | plan   |  <- done, error, up, down, signal
                    +--------+

``held`` is what ExaBGP acknowledged for a neighbor since its last up; ``possessed`` is every prefix that it may still
hold, from whatever process. The plan is the difference to the target; a new wish simply makes a new plan.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TypeAlias

from l3ha.base.limits import PREFIXES_PER_COMMAND
from l3ha.base.names import LeaseEnd, Level
from l3ha.base.time import SECOND, Duration, Instant
from l3ha.wire import exabgp, wishline
from l3ha.wire.wish import (
    Advertised,
    Attributes,
    Goodbye,
    NeighborReport,
    NeighborWish,
    Renew,
    Report,
    RouteGroup,
    Wish,
)

ACK_TIMEOUT: Duration = 2 * SECOND
"""ExaBGP acknowledges in milliseconds; after this it hangs, or an answer was lost."""

RESYNC_TIMEOUT: Duration = 5 * SECOND
"""How long missing acknowledgements may still come before they count as lost."""

RETRY: Duration = 1 * SECOND
"""Pause after a refused command."""

MAX_ROWS = 200_000
"""Rows of one answer that are looked at."""


@dataclass(frozen=True, slots=True)
class ExabgpLine:
    """ExaBGP wrote a line."""

    data: bytes


@dataclass(frozen=True, slots=True)
class AgentUp:
    """The agent is connected."""


@dataclass(frozen=True, slots=True)
class AgentLine:
    """The agent wrote a line."""

    data: bytes


@dataclass(frozen=True, slots=True)
class AgentDown:
    """The agent is gone; the lease decides what follows."""


@dataclass(frozen=True, slots=True)
class ExabgpGone:
    """ExaBGP closed our pipe."""


@dataclass(frozen=True, slots=True)
class Tick:
    """A deadline may be due."""


SpeakerEvent: TypeAlias = ExabgpLine | AgentUp | AgentLine | AgentDown | ExabgpGone | Tick


@dataclass(frozen=True, slots=True)
class ToExabgp:
    """Write this to ExaBGP."""

    data: bytes


@dataclass(frozen=True, slots=True)
class ToAgent:
    """Write this to the agent, if it is connected."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Save:
    """Keep the wish for a successor of this process."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Log:
    """Tell the operator."""

    text: str


SpeakerEffect: TypeAlias = ToExabgp | ToAgent | Save | Log


@dataclass(frozen=True, slots=True)
class _Command:
    """A change for one neighbor; ``attributes`` None withdraws."""

    urgency: int
    attributes: Attributes | None
    prefixes: tuple[str, ...]


@dataclass
class _Neighbor:
    """One BGP session as this process knows it."""

    address: str
    name: str = ""
    up: bool = False
    epoch: int = 0
    """Grows whenever what ExaBGP holds becomes uncertain; an acknowledgement of an older epoch proves nothing."""
    held: dict[str, Attributes] = field(default_factory=dict)
    possessed: dict[str, None] = field(default_factory=dict)
    plan: deque[_Command] | None = None
    confirmed: int = -1
    error: str | None = None
    blocked_until: Instant = 0

    def doubt(self) -> None:
        """What ExaBGP holds is unknown: everything again."""
        self.epoch += 1
        self.held.clear()
        self.plan = None
        self.confirmed = -1


@dataclass(frozen=True, slots=True)
class _Outstanding:
    """The one command that waits for its acknowledgement."""

    neighbor: _Neighbor | None
    command: _Command | None
    query: bytes
    epoch: int
    since: Instant


class Speaker:
    """See the module. ``counter`` is a random 32-bit number: generations of two processes must not meet."""

    def __init__(self, identity: int, counter: int, saved: bytes | None, now: Instant) -> None:
        self.identity = identity
        self.version = ""
        self.wish: Wish | None = None
        self.lease_until: Instant = 0
        self.lease_live = False
        self._counter = counter
        self._neighbors: dict[str, _Neighbor] = {}
        self._queries: deque[bytes] = deque([exabgp.VERSION, exabgp.NEIGHBORS, exabgp.ROUTES])
        self._rows: list[str] = []
        self._outstanding: _Outstanding | None = None
        self._missing = 0
        """Acknowledgements that never came; nothing is sent before they come or are given up."""
        self._missing_since: Instant = 0
        self._reported: Report | None = None
        self._inherited = self._inherit(saved)
        self._inherited_until = now + self._inherited.lease if self._inherited else 0

    # --- doors ------------------------------------------------------------------------------------------------------

    def step(self, event: SpeakerEvent, now: Instant) -> tuple[SpeakerEffect, ...]:
        """One event, and what follows from it, in order."""
        out: list[SpeakerEffect] = []
        answer = False
        match event:
            case ExabgpLine(data):
                self._exabgp(exabgp.parse(data), now, out)
            case AgentUp():
                answer = True
            case AgentLine(data):
                answer = self._agent(data, now, out)
            case AgentDown():
                out.append(Log("the agent is gone; the lease decides"))
            case ExabgpGone():
                out.append(ToAgent(wishline.encode(Goodbye("ExaBGP is gone"))))
                return tuple(out)
            case Tick():
                pass
        self._lease(now, out)
        self._patience(now, out)
        self._send(now, out)
        report = self._report()
        if answer or report != self._reported:
            self._reported = report
            out.append(ToAgent(wishline.encode(report)))
        return tuple(out)

    def next_deadline(self) -> Instant | None:
        """When ``step(Tick(), …)`` is wanted."""
        times: list[Instant] = [n.blocked_until for n in self._neighbors.values() if n.blocked_until]
        if self.lease_live:
            times.append(self.lease_until)
        if self._inherited is not None:
            times.append(self._inherited_until)
        if self._outstanding is not None:
            times.append(self._outstanding.since + ACK_TIMEOUT)
        if self._missing:
            times.append(self._missing_since + RESYNC_TIMEOUT)
        return min(times, default=None)

    def status(self) -> Report:
        """The whole state."""
        return self._report()

    # --- ExaBGP -------------------------------------------------------------------------------------------------------

    def _exabgp(self, line: exabgp.Line, now: Instant, out: list[SpeakerEffect]) -> None:
        match line:
            case exabgp.Done():
                self._acknowledged(True, now, out)
            case exabgp.Refused():
                self._acknowledged(False, now, out)
            case exabgp.Session(address, up, reason):
                self._session(address, up, reason, out)
            case exabgp.Reloaded():
                for n in self._neighbors.values():
                    n.doubt()
                self._queries.append(exabgp.NEIGHBORS)
            case exabgp.Ending():
                out.append(Log("ExaBGP is stopping"))
            case exabgp.Row(text):
                if self._outstanding is not None and self._outstanding.query and len(self._rows) < MAX_ROWS:
                    self._rows.append(text)
            case exabgp.Other():
                pass

    def _session(self, address: str, up: bool, reason: str, out: list[SpeakerEffect]) -> None:
        n = self._neighbor(address)
        if up or n.up:
            out.append(Log(f"neighbor {address} is {'up' if up else 'down'}{': ' + reason if reason else ''}"))
        n.up = up
        n.doubt()

    def _acknowledged(self, accepted: bool, now: Instant, out: list[SpeakerEffect]) -> None:
        if self._missing:
            self._missing -= 1
            return
        done, self._outstanding = self._outstanding, None
        if done is None:
            return
        if done.query:
            self._answered(done.query)
        elif done.neighbor is not None and done.command is not None and done.epoch == done.neighbor.epoch:
            if accepted:
                self._settle(done.neighbor, done.command)
            else:
                self._refused(done.neighbor, done.command, now, out)

    def _settle(self, n: _Neighbor, command: _Command) -> None:
        n.error = None
        for prefix in command.prefixes:
            if command.attributes is not None:
                n.held[prefix] = command.attributes
            else:
                n.held.pop(prefix, None)
                n.possessed.pop(prefix, None)

    def _refused(self, n: _Neighbor, command: _Command, now: Instant, out: list[SpeakerEffect]) -> None:
        verb = "withdraw" if command.attributes is None else "announce"
        n.error = f"ExaBGP refused to {verb} {command.prefixes[0]} (its log has the reason)"
        n.blocked_until = now + RETRY
        n.plan = None
        out.append(Log(f"neighbor {n.address}: {n.error}"))

    def _answered(self, query: bytes) -> None:
        rows, self._rows = self._rows, []
        if query == exabgp.VERSION:
            self.version = next((r.split()[-1] for r in rows if r.startswith("exabgp ")), "")[:20]
        elif query == exabgp.NEIGHBORS:
            for row in rows:
                found = exabgp.parse_neighbor(row)
                if found is not None and self._neighbor(found[0]).up != found[1]:
                    n = self._neighbor(found[0])
                    n.up = found[1]
                    n.doubt()
        else:
            for row in rows:
                route = exabgp.parse_route(row)
                if route is not None:
                    n = self._neighbor(route[0])
                    n.possessed[route[1]] = None
                    n.plan = None

    # --- the agent ----------------------------------------------------------------------------------------------------

    def _agent(self, data: bytes, now: Instant, out: list[SpeakerEffect]) -> bool:
        """Returns whether the line wants an answer."""
        line = wishline.decode(data)
        match line:
            case Wish():
                self._adopt(line, now)
                self._inherited = None
                out.append(Save(wishline.encode(line)))
                return True
            case Renew(agent, number, lease):
                if self.wish is None or (agent, number) != (self.wish.agent, self.wish.number):
                    return True
                if not self.lease_live:
                    self._replan()
                self.lease_live = True
                self.lease_until = now + lease
                return True
            case _:
                out.append(Log(f"a line from the agent makes no sense: {line}"))
                return False

    def _adopt(self, wish: Wish, now: Instant) -> None:
        self.wish = wish
        self.lease_live = True
        self.lease_until = now + wish.lease
        for wanted in wish.neighbors:
            self._neighbor(wanted.address).name = wanted.name
        self._replan()

    def _lease(self, now: Instant, out: list[SpeakerEffect]) -> None:
        if self._inherited is not None and now >= self._inherited_until:
            out.append(Log("no agent came within the lease of an earlier wish"))
            self._adopt(self._inherited, now)
            self._inherited = None
            self.lease_until = now
        if self.lease_live and now >= self.lease_until and self.wish is not None:
            self.lease_live = False
            self._replan()
            out.append(Log(f"the lease ran out: {self.wish.end}"))

    def _inherit(self, saved: bytes | None) -> Wish | None:
        line = wishline.decode(saved) if saved else None
        return line if isinstance(line, Wish) else None

    # --- the plan ----------------------------------------------------------------------------------------------------

    def _neighbor(self, address: str) -> _Neighbor:
        return self._neighbors.setdefault(address, _Neighbor(address))

    def _replan(self) -> None:
        for n in self._neighbors.values():
            n.plan = None

    def _target(self, wanted: NeighborWish | None) -> tuple[RouteGroup, ...]:
        if wanted is None or self.wish is None:
            return ()
        if self.lease_live or self.wish.end is LeaseEnd.KEEP:
            return wanted.routes
        return wanted.fallback if self.wish.end is LeaseEnd.LOWER else ()

    def _plan(self, n: _Neighbor, wish: Wish) -> deque[_Command]:
        wanted = next((w for w in wish.neighbors if w.address == n.address), None)
        target = self._target(wanted)
        plan: list[_Command] = []
        wished: set[str] = set()
        for group in sorted(target, key=lambda g: -g.level):
            wished.update(group.prefixes)
            due = [p for p in group.prefixes if n.held.get(p) != group.attributes]
            plan += [_Command(int(group.level), group.attributes, part) for part in _chunks(due)]
        for ipv6 in (False, True):
            orphans = [p for p in n.possessed if p not in wished and (":" in p) == ipv6]
            plan += [_Command(-1, None, part) for part in _chunks(orphans)]
        return deque(plan)

    def _send(self, now: Instant, out: list[SpeakerEffect]) -> None:
        if self._outstanding is not None or self._missing:
            return
        if self._queries:
            query = self._queries.popleft()
            self._rows = []
            self._outstanding = _Outstanding(None, None, query, 0, now)
            out.append(ToExabgp(query))
            return
        if self.wish is None:
            return
        best = self._most_urgent(self.wish, now)
        if best is not None:
            self._command(best, self.wish, now, out)

    def _most_urgent(self, wish: Wish, now: Instant) -> _Neighbor | None:
        best: _Neighbor | None = None
        urgency = -2
        for n in self._neighbors.values():
            if not n.up or n.blocked_until > now:
                continue
            n.blocked_until = 0
            if n.plan is None:
                n.plan = self._plan(n, wish)
            if not n.plan:
                n.confirmed = wish.number
            elif n.plan[0].urgency > urgency:
                best, urgency = n, n.plan[0].urgency
        return best

    def _command(self, n: _Neighbor, wish: Wish, now: Instant, out: list[SpeakerEffect]) -> None:
        assert n.plan
        command = n.plan.popleft()
        self._counter = (self._counter + 1) & 0xFFFFFFFF
        generation = (*wish.generation, self._counter)
        if command.attributes is not None:
            n.possessed.update(dict.fromkeys(command.prefixes))
            line = exabgp.announce(n.address, command.attributes, generation, command.prefixes)
        else:
            hop = "::1" if ":" in command.prefixes[0] else "127.0.0.1"
            line = exabgp.withdraw(n.address, hop, generation, command.prefixes)
        self._outstanding = _Outstanding(n, command, b"", n.epoch, now)
        out.append(ToExabgp(line))

    def _patience(self, now: Instant, out: list[SpeakerEffect]) -> None:
        """ExaBGP answers late, or an answer is lost: get into step again before anything else is sent."""
        late = self._outstanding
        if late is not None and now - late.since >= ACK_TIMEOUT:
            out.append(Log("ExaBGP does not answer"))
            if late.neighbor is not None:
                late.neighbor.doubt()
                late.neighbor.error = "ExaBGP does not answer"
            else:
                self._queries.appendleft(late.query)
            self._outstanding = None
            self._missing, self._missing_since = 2, now
            out.append(ToExabgp(exabgp.PING))
        elif self._missing and now - self._missing_since >= RESYNC_TIMEOUT:
            if self._missing == 2:
                self._missing_since = now  # not even the ping: it hangs; go on waiting
            else:
                self._missing = 0

    # --- the report --------------------------------------------------------------------------------------------------

    def _report(self) -> Report:
        wish = self.wish
        neighbors = tuple(
            NeighborReport(w.name, w.address, n.up, n.confirmed if n.up else -1, n.error)
            for w in (wish.neighbors if wish else ())
            for n in (self._neighbor(w.address),)
        )
        return Report(
            speaker=self.identity,
            exabgp=self.version,
            agent=wish.agent if wish else 0,
            number=wish.number if wish else -1,
            lease_live=self.lease_live,
            advertised=self._advertised(wish) if wish and self.lease_live else (),
            neighbors=neighbors,
        )

    def _advertised(self, wish: Wish) -> tuple[Advertised, ...]:
        found = {g.srg: Advertised(g.srg, Level(g.level), g.term) for w in wish.neighbors for g in w.routes}
        return tuple(found[srg] for srg in sorted(found))


def _chunks(prefixes: Iterable[str]) -> Iterable[tuple[str, ...]]:
    """Slices of the size that ExaBGP works in anyway."""
    items = tuple(prefixes)
    return (items[i : i + PREFIXES_PER_COMMAND] for i in range(0, len(items), PREFIXES_PER_COMMAND))
