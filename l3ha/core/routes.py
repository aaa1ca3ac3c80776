"""The agent's end of the speaker: the wish, its renewal, and what the reports prove.

``reach`` counts a router while a session to it is up and holds our newest wish. A wish under way does not end reach
before T_bgp, otherwise every change of level would make every router vanish for a millisecond.

A router whose BFD session was up and is down is not counted either, though BGP says that it is up: TCP notices a dead
path only after the hold time, and many routers let BGP come back without BFD (measured: FRR after one second). Whether
BFD was up is what the speaker's process has seen, so a session that never came up, because the router is not set up for
it, takes nothing away; nor does a router that says AdminDown (RFC 5882 §3.2: that is no failure). A state that cannot
be told (FRR's bfdd does not answer) changes nothing: what was last known still counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from l3ha.base.names import Level, SrgId, Term
from l3ha.base.settings import Bfd, Neighbor, Settings
from l3ha.base.time import NEVER, SECOND, Duration, Instant, after
from l3ha.core import wishes
from l3ha.core.bfd_sessions import because
from l3ha.core.events import Note, NoteKind
from l3ha.core.foresight import Foresight
from l3ha.core.wishes import NOTHING, Levels
from l3ha.wire import wishline
from l3ha.wire.bfd import State
from l3ha.wire.wish import (
    Advertised,
    BfdReport,
    Goodbye,
    NeighborReport,
    Renew,
    Report,
    Wish,
)

REMEMBERED_WISHES = 64

FULL_REPORT: Duration = 2 * SECOND
"""Counters of BFD sessions are asked for when they are as old as this."""

_DOWN = (State.DOWN, State.INIT)


@dataclass
class NeighborState:
    """What is known of one BGP session."""

    up: bool = False
    since: Instant | None = None
    confirmed: int = -1
    error: str | None = None
    behind_since: Instant | None = None
    reached: bool = False
    bfd: BfdReport | None = None
    """As last told; None where the speaker runs no session with it."""
    bfd_since: Instant | None = None

    ending: bool = False
    """We asked for the end of the session."""
    cut: bool = False
    """BFD says that the router is gone (see the module)."""

    def tell_bfd(self, s: BfdReport | None, now: Instant) -> None:
        """What the speaker says of the session; None: nothing."""
        self.bfd = s
        self.bfd_since = None if s is None else now - s.age
        if s is None or s.state is not None:
            self.cut = s is not None and s.flaps > 0 and s.state in _DOWN and s.remote_state != State.ADMIN_DOWN


class SpeakerLink:
    """See the module."""

    def __init__(self, settings: Settings, incarnation: int, now: Instant) -> None:
        self.settings = settings
        self.incarnation = incarnation
        self.connected = False
        self.reported = False
        """A report has come since the connection was made."""
        self.ever = False
        self.exabgp: str | None = None
        self.lease_live = False
        self.number = 0
        self.neighbors: dict[str, NeighborState] = {n.name: NeighborState() for n in settings.neighbors}
        self.wish: Wish | None = None
        self.levels: Levels = {}
        self._foresight = Foresight()
        self._heard = now
        self._told = now
        """When the last report came."""
        self._lost_at = now
        self._gone = False
        self._due: Instant = now
        """When the lease is to be renewed: with a heartbeat (see ``_after_quarter``)."""
        self._levels_of: dict[int, Levels] = {}
        self._acked: dict[SrgId, tuple[Term, Instant]] = {}

    # --- what came from the speaker ---------------------------------------------------------------------------

    def up(self, now: Instant) -> Note:
        """It has connected (perhaps a new process): it must be told everything."""
        self.connected, self.reported, self._gone = True, False, False
        self._heard = now
        self.wish = None
        self._foresight = Foresight()
        for state in self.neighbors.values():
            state.tell_bfd(None, now)  # flaps are counted by each process of the speaker
        return Note(NoteKind.SPEAKER, "speaker connected")

    def down(self, now: Instant) -> Note:
        """Its connection ended."""
        self.connected = self.reported = False
        self._lost_at = now
        return Note(NoteKind.SPEAKER, "speaker lost" + (": ExaBGP is gone" if self._gone else ""), alarm=True)

    def pause(self, now: Instant) -> None:
        """We slept: its silence is counted from now."""
        self._heard = now
        for state in self.neighbors.values():
            state.behind_since = None if state.behind_since is None else now

    def receive(self, line: Report | Goodbye, now: Instant) -> tuple[list[Note], tuple[Advertised, ...]]:
        """A line came in. Returns notes, and what the speaker advertises under a live lease (for rule *resume*)."""
        self._heard = self._told = now
        if isinstance(line, Goodbye):
            self._gone = True
            return self._sessions_lost(now), ()
        if not self.connected:  # it was only slow
            self.up(now)
        self.reported = self.ever = True
        self.exabgp, self.lease_live = line.exabgp or None, line.lease_live
        notes: list[Note] = []
        mine = line.agent == self.incarnation
        told = {r.name: r for r in line.neighbors}
        bfd = {s.address: s for s in line.bfd}
        for n in self.settings.neighbors:
            notes += self._bfd(n.name, self.neighbors[n.name], bfd.get(n.address) if n.bfd else None, now)
        for name, state in self.neighbors.items():
            notes += self._report(name, state, told.get(name), mine, now)
        self._acknowledge(now)
        return notes, line.advertised if line.lease_live else ()

    def alive(self, now: Instant) -> bool:
        """What it reported last still holds. True where it had been given up: it was only slow."""
        self._heard = now
        if self.connected:
            return False
        self.up(now)
        return True

    def expire(self, now: Instant) -> list[Note]:
        """A speaker that does not answer is lost; a neighbor that stays behind is out of reach."""
        notes: list[Note] = []
        if self.connected and now - self._heard > self.settings.timers.lease:
            notes.append(self.down(now))
        if not self.usable(now) and any(s.up for s in self.neighbors.values()):
            notes += self._sessions_lost(now)
        for state in self.neighbors.values():
            if state.behind_since is not None and now - state.behind_since > self.settings.timers.bgp:
                state.reached = False
        return notes

    def usable(self, now: Instant) -> bool:
        """Connected, or lost so recently that a respawn is on its way (T_boot after the start, ``grace`` later)."""
        if self.connected:
            return True
        grace = self.settings.speaker.grace if self.ever else self.settings.timers.boot
        return not self._gone and now - self._lost_at < grace

    # --- what it proves ---------------------------------------------------------------------------------------

    def reach(self) -> frozenset[str]:
        """Names of the routers that hold our wish."""
        return frozenset(n.router for n in self.settings.neighbors if self.neighbors[n.name].reached)

    def bfd_proves(self, n: Neighbor, now: Instant) -> bool:
        """BFD says that this router lives *now*, as far as rule *silence* may ask (protocol §5).

        Both ends hear each other while a session is up (RFC 5880 §6.2), but it stays up for its detection time after
        the last packet. If the own links are cut, it must be down before the peer counts as silent: its last word may
        be older than the cut by two intervals, so that is taken from T_det. The report itself is as old as that of
        ``reach`` may be. What FRR's bfdd said last may be older than all that, so it proves nothing.
        """
        s, t = self.neighbors[n.name].bfd, self.settings.timers
        if not isinstance(n.bfd, Bfd) or not n.bfd.witness or s is None or s.state != State.UP or not self.connected:
            return False
        return 0 < s.detection <= t.detection - 2 * t.heartbeat and now - self._heard <= t.lease

    def all_up(self) -> bool:
        """Whether every session is up."""
        return self.connected and all(s.up for s in self.neighbors.values())

    def synced(self) -> bool:
        """Whether every session that is up holds the newest wish."""
        return self.connected and all(s.confirmed == self.number for s in self.neighbors.values() if s.up)

    def acked(self, srg: SrgId) -> tuple[Term, Instant]:
        """Term of the HIGH that every neighbor that is up acknowledged, and since when; (-1, 0) where none."""
        return self._acked.get(srg, (Term(-1), 0))

    # --- what it is told --------------------------------------------------------------------------------------

    def tell(
        self, levels: Levels, now: Instant, *, covered: Callable[[], frozenset[str]] = frozenset, withdraw: bool = False
    ) -> Wish | None:
        """The wish when it changed or the speaker is new, else None.

        ``covered`` names the routers that have the routes of all groups from a peer, too.
        """
        if not self.connected:
            return None
        if (
            self.wish is None
            or dict(levels) != dict(self.levels)
            or (withdraw and any(n.routes for n in self.wish.neighbors))
        ):
            return self._wish(levels, now, covered() if self._falls(levels) else frozenset(), withdraw=withdraw)
        return None

    def line(self, wish: Wish) -> bytes:
        """The line of a wish; the same bytes as foreseen, where it was."""
        return self._foresight.line(wish) or wishline.encode(wish)

    def foresee(self, cases: Iterable[Levels]) -> list[bytes]:
        """Lines that tell the wishes of these cases ahead, should one be the next; none if that was done."""
        if not self.connected or self.wish is None:
            return []
        return self._foresight.look(self.settings, self.wish, self.levels, cases)

    def renewal(self, now: Instant) -> Renew | None:
        """The lease anew, when a quarter of it is over. It needs no decision: the wish is what was decided last."""
        if now < self.renewal_due():
            return None
        self._due = self._after_quarter(now)
        brief = self.reported and now - self._told < FULL_REPORT
        return Renew(self.incarnation, self.number, self.settings.timers.lease, brief=brief)

    def renewal_due(self) -> Instant:
        """When ``renewal`` has something to say."""
        return self._due if self.connected and self.wish is not None else NEVER

    def nudge(self) -> Renew | None:
        """A nudge to every neighbor that gains by it (``core.nudge``); None where there is none, or no wish yet."""
        passive = tuple(n.address for n in wishes.in_turn(self.settings) if n.passive)
        if not passive or not self.connected or self.wish is None:
            return None
        return Renew(self.incarnation, self.number, self.settings.timers.lease, passive)

    def renew(self, lease: Duration) -> Renew | None:
        """A longer lease once: this process will be back (clean restart)."""
        return Renew(self.incarnation, self.number, lease) if self.connected and self.wish else None

    def reconfigure(self, settings: Settings) -> None:
        """New neighbors, routes or preferences: everything is told again."""
        self.settings = settings
        self.neighbors = {n.name: self.neighbors.get(n.name, NeighborState()) for n in settings.neighbors}
        self.wish = None
        self._foresight = Foresight()

    def deadline(self, now: Instant) -> Instant | None:
        """The end of patience with a neighbor that is behind, or a speaker that does not come."""
        t = self.settings.timers
        times: list[Instant] = [
            s.behind_since + t.bgp + 1 for s in self.neighbors.values() if s.behind_since is not None
        ]
        if not self.connected:
            times.append(self._lost_at + (self.settings.speaker.grace if self.ever else t.boot))
        return min((x for x in times if x > now), default=None)

    def silent_from(self) -> Instant:
        """When the speaker has been silent for too long; every answer of it moves that away."""
        return self._heard + self.settings.timers.lease + 1 if self.connected else NEVER

    def _falls(self, levels: Levels) -> bool:
        """Whether this node fails for all its groups: what was HIGH is LOW, and nothing is more."""
        fallen = any(self.levels.get(g.id, NOTHING)[0] is Level.HIGH for g in self.settings.srgs)
        return fallen and all(levels.get(g.id, NOTHING)[0] is Level.LOW for g in self.settings.srgs)

    def _wish(self, levels: Levels, now: Instant, covered: frozenset[str], *, withdraw: bool) -> Wish:
        self.number += 1
        self._due = self._after_quarter(now)
        self.levels = dict(levels)
        self._levels_of[self.number] = {} if withdraw else self.levels
        self._levels_of.pop(self.number - REMEMBERED_WISHES, None)
        foreseen = None if withdraw else self._foresight.find(self.settings, self.number, levels, covered)
        self.wish = foreseen or wishes.make(
            self.settings, self.incarnation, self.number, levels, covered, withdraw=withdraw
        )
        for n in self.wish.neighbors:
            state = self.neighbors[n.name]
            state.ending = n.drop and state.up
            if state.behind_since is None:
                state.behind_since = now
        return self.wish

    # --- parts ------------------------------------------------------------------------------------------------

    def _after_quarter(self, now: Instant) -> Instant:
        """A quarter of the lease from now at the latest, at a multiple of it: where heartbeats wake us anyway."""
        return after(now, self.settings.timers.lease // 4)

    def _report(
        self, name: str, state: NeighborState, r: NeighborReport | None, mine: bool, now: Instant
    ) -> list[Note]:
        up = r is not None and r.up
        notes = self._session(name, state, up, now)
        state.error = r.error if r else None
        state.confirmed = r.confirmed if r and mine else -1
        if not up:
            state.reached, state.behind_since = False, None
        elif state.confirmed == self.number and self.wish is not None:
            state.reached, state.behind_since = True, None
        elif state.behind_since is None:
            state.behind_since = now
        if state.cut:
            state.reached = False
        return notes

    def _bfd(self, name: str, state: NeighborState, s: BfdReport | None, now: Instant) -> list[Note]:
        was = state.bfd
        state.tell_bfd(s, now)
        if s is not None and s.state is None:
            return self._untold(name, was, s)
        if s is None or (was is not None and (was.state, was.flaps) == (s.state, s.flaps)):
            return []
        if s.state == State.UP:
            return [Note(NoteKind.NEIGHBOR, f"BFD session to {name} is up")]
        if s.state in _DOWN and s.flaps > (was.flaps if was is not None else 0):
            why = because(s.diagnostic)
            theirs = "" if s.remote_state is None else State(s.remote_state).name
            heard = f"{theirs}{because(s.remote_diagnostic)}".removeprefix(": ")
            said = f" (it says {heard})" if why and heard else ""
            return [Note(NoteKind.NEIGHBOR, f"BFD session to {name} is down{why}{said}", alarm=state.cut)]
        if was is not None and was.state is None:
            return [
                Note(NoteKind.NEIGHBOR, f"BFD session to {name} is {State(s.state or 0).name}, as bfdd tells again")
            ]
        return []

    def _untold(self, name: str, was: BfdReport | None, s: BfdReport) -> list[Note]:
        """Said once, however many times bfdd is asked in vain."""
        if was is not None and was.state is None:
            return []
        return [Note(NoteKind.NEIGHBOR, f"BFD state of {name} is unknown: {s.error}", alarm=True)]

    def _session(self, name: str, state: NeighborState, up: bool, now: Instant) -> list[Note]:
        if up == state.up:
            return []
        ours, state.ending = state.ending and not up, False
        state.up, state.since = up, now
        text = f"BGP session to {name} is {'up' if up else 'down'}" + (
            ": ended for its routes to go at once" if ours else ""
        )
        return [Note(NoteKind.NEIGHBOR, text, alarm=not up and not ours)]

    def _sessions_lost(self, now: Instant) -> list[Note]:
        notes: list[Note] = []
        for name, state in self.neighbors.items():
            state.tell_bfd(None, now)
            notes += self._report(name, state, None, False, now)
        return notes

    def _acknowledge(self, now: Instant) -> None:
        up = [s.confirmed for s in self.neighbors.values() if s.up]
        levels = self._levels_of.get(min(up), {}) if up else {}
        for srg in self.levels:
            level, term = levels.get(srg, (Level.LOW, Term(-1)))
            if level is not Level.HIGH:
                self._acked.pop(srg, None)
            elif self.acked(srg)[0] != term:
                self._acked[srg] = (term, now)
