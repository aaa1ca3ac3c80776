"""BFD sessions that FRR's bfdd runs, as the speaker reports them: which of its sessions is a neighbor's, and what of it
can be told.

bfdd is asked every ``poll``; in between nothing is known. So a session that went down and up again is found by its age,
and everything that is no sound answer makes the state *unknown* (None in the report), never down: bfdd not running,
hung, out of reach, garbage, no such session, several of them. A flap is counted where the last known state was UP and
the next known one is not, whatever lay between.

A session that is new to bfdd is unknown, too, until it comes up or is ``YOUNG`` no more: the sessions of a bfdd that
was restarted, for an upgrade say, begin DOWN, and that says nothing about the router.
"""

from __future__ import annotations

from dataclasses import dataclass

from l3ha.base.time import SECOND, Duration, Instant
from l3ha.base.time import format_duration as d
from l3ha.wire import frr
from l3ha.wire.bfd import Diagnostic, State
from l3ha.wire.frr import BadAnswer, FrrSession
from l3ha.wire.wish import BfdReport, FrrWish, NeighborWish

YOUNG: Duration = 5 * SECOND
"""A session that is not up sends once a second (RFC 5880 §6.8.3), so it comes up in two or three."""

_TICK: Duration = 2 * SECOND
"""Ages are whole seconds, and ours are rounded another way: less than this is no difference."""


@dataclass(frozen=True, slots=True)
class FrrAnswer:
    """bfdd answered; ``directory`` is that of its socket."""

    directory: str
    text: bytes


@dataclass(frozen=True, slots=True)
class FrrSilent:
    """bfdd cannot be asked, or does not answer, and why."""

    directory: str
    reason: str


@dataclass(frozen=True, slots=True)
class UseFrr:
    """Ask exactly these: directory of the socket, and how often."""

    daemons: tuple[tuple[str, Duration], ...]


class FrrSessions:
    """See the module."""

    def __init__(self) -> None:
        self._neighbors: tuple[NeighborWish, ...] = ()
        self._used: tuple[tuple[str, Duration], ...] = ()
        self._sessions: dict[str, _Asked] = {}

    def use(self, neighbors: tuple[NeighborWish, ...]) -> list[UseFrr]:
        """Follow the sessions that these neighbors ask for; nothing where that is so already."""
        if neighbors is self._neighbors:
            return []
        self._neighbors = neighbors
        wanted = {n.address: n.frr for n in neighbors if n.frr is not None}
        kept = {a: s for a, s in self._sessions.items() if a in wanted and wanted[a] == s.wish}
        self._sessions = {a: kept.get(a) or _Asked(a, wish) for a, wish in wanted.items()}
        pace: dict[str, Duration] = {}
        for wish in wanted.values():
            pace[wish.directory] = min(wish.poll, pace.get(wish.directory, wish.poll))
        daemons = tuple(pace.items())
        if daemons == self._used:
            return []
        self._used = daemons
        return [UseFrr(daemons)]

    def heard(self, event: FrrAnswer | FrrSilent, now: Instant) -> None:
        """Take what bfdd told."""
        asked = [s for s in self._sessions.values() if s.wish.directory == event.directory]
        if isinstance(event, FrrSilent):
            for session in asked:
                session.lost(event.reason)
            return
        found = frr.sessions(event.text, self._sessions)
        for session in asked:
            if isinstance(found, BadAnswer):
                session.lost(f"bfdd's answer makes no sense: {found}")
            else:
                session.told(found, now)

    def report(self, now: Instant) -> tuple[BfdReport, ...]:
        """Every session of which something is known, as the agent is told."""
        return tuple(s.report(now) for s in self._sessions.values() if s.heard)


class _Asked:
    """One neighbor's session."""

    def __init__(self, address: str, wish: FrrWish) -> None:
        self.wish = wish
        self._address = address
        self.heard = False
        """Something can be said of it, be it that its state is unknown."""
        self._unknown: str | None = None
        """Why the state cannot be told; None: it can."""
        self._known: FrrSession | None = None
        """As last told."""
        self._number: int | None = None
        self._came_up = False
        """The session of this ``_number`` was up."""
        self._born: Instant = 0
        self._since: Instant = 0
        self._flaps = 0

    def lost(self, reason: str) -> None:
        """It cannot be told."""
        self.heard, self._unknown = True, reason

    def told(self, found: tuple[FrrSession, ...], now: Instant) -> None:
        """All sessions of its bfdd."""
        w = self.wish
        mine = [
            s
            for s in found
            if s.peer == self._address
            and s.local in (None, w.local_address)
            and (w.interface is None or s.interface == w.interface)
            and (w.vrf is None or s.vrf == w.vrf)
        ]
        if len(mine) != 1:
            text = f"{len(mine) or 'no'} session{'s' * (len(mine) > 1)} from {w.local_address} to {self._address}"
            self.lost(f"bfdd has {text}{': name its interface or vrf' if mine else ''}")
        else:
            self._judge(mine[0], now)

    def _judge(self, s: FrrSession, now: Instant) -> None:
        since = now if s.since is None else now - s.since
        if s.number != self._number:
            self._number, self._born, self._came_up = s.number, since, False
        self._came_up |= s.state is State.UP
        if s.state in (State.DOWN, State.INIT) and not self._came_up and now - self._born < YOUNG:
            if self.heard:  # otherwise we are as young as it is
                self.lost(f"the session is new to bfdd: {s.state.name}, to come up within {d(YOUNG)}")
            return
        self.heard = True
        before, self._known, self._unknown = self._known, s, None
        was_up = before is not None and before.state is State.UP
        if before is None or (before.state, before.number) != (s.state, s.number):
            self._flaps += was_up and s.state is not State.UP
            self._since = since
        elif was_up and since > self._since + _TICK:  # it went and came while nobody looked
            self._flaps += 1
            self._since = since

    def report(self, now: Instant) -> BfdReport:
        """As the agent is told."""
        s = None if self._unknown else self._known
        up = s is not None and s.state is State.UP
        away = s is not None and not up and s.remote_diagnostic == Diagnostic.ADMINISTRATIVELY_DOWN
        return BfdReport(
            address=self._address,
            state=None if s is None else s.state,
            remote_state=State.ADMIN_DOWN if away else None,
            diagnostic=s.diagnostic if s else 0,
            remote_diagnostic=s.remote_diagnostic if s else 0,
            interval=max(s.transmit, s.remote_receive) if s and up else 0,
            required_rx=s.receive if s else 0,
            remote_tx=s.remote_transmit if s else 0,
            remote_rx=s.remote_receive if s else 0,
            multiplier=s.multiplier if s else 0,
            remote_multiplier=s.remote_multiplier if s and up else 0,  # before, FRR prints what it assumes
            detection=s.detection if s and up else 0,
            flaps=self._flaps,
            error=self._unknown,
            age=now - self._since if s else 0,
            sent=0,
            received=0,
            drops=(),
        )
