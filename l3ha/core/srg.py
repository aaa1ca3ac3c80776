"""The machine of one services redundancy group (protocol §5, §6).

The law, in prose: routers are the arbiter. Nobody in contact becomes ACTIVE without the peer's *grant*; without contact
the activeness probe decides; every takeover has a greater *term*, and the term is part of the route. A node that slept
or has just started distrusts itself before it speaks.

The machine is a table: ``ANY``, ``CONTACT`` and ``ALONE`` list the rules in the order of protocol §5, the first that
fits is taken, and only ``_become`` (in ``group``) changes the state. A rule is a method that returns True when it has
acted (*bound*: when it fits). Time and facts are arguments; the wish of the group (``level`` and ``term``) is a
function of the state. *handover* and what follows from it stand in ``move``.

    HOLD --elect/granted, won--> ACTIVE --duel, outranked--> BACKUP --granted, silence, won--> ACTIVE
    HOLD --follow, settle down--> BACKUP        any --failed--> INELIGIBLE --recovered--> HOLD
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from l3ha.base.names import NodeId, SrgState, Term
from l3ha.base.time import Duration, Instant
from l3ha.core.events import Note
from l3ha.core.facts import Facts, PeerFacts, Rule
from l3ha.core.group import Grant, past
from l3ha.core.move import PlannedMove

LONE_STRIDE = 1000
"""Next term when no peer was heard since the process started: greater than anything a lost disk may have forgotten."""

MAX_RULES_PER_STEP = 6
"""More in a row means a cycle inside one instant: ours, so it is asserted."""

_CLASS = {SrgState.ACTIVE: 3, SrgState.BACKUP: 2, SrgState.HOLD: 1, SrgState.INELIGIBLE: 0}


class SrgMachine(PlannedMove):
    """One group on this node."""

    # --- doors ------------------------------------------------------------------------------------------------

    def step(self, facts: Facts, now: Instant) -> list[Note]:
        """Take every rule that fits, in order; returns what to tell."""
        self._absorb(facts, now)
        self._expire(facts, now)
        for _ in range(MAX_RULES_PER_STEP):
            term = self.term
            if not self._one(facts, now):
                break
            if self.term != term:  # what the probe counted was before our own announcement (protocol §2, verdict)
                facts = facts._replace(win=0, part=0, lose=0, unknown=0)
        else:  # pragma: no cover - an assertion about ourselves
            raise AssertionError(f"SRG {self.srg.id}: rules cycle at one instant, last {self.rule}")
        notes, self._notes = self._notes, []
        return notes

    def pause(self, now: Instant) -> list[Note]:
        """Rule *pause*: we slept longer than T_det. Routes stay as they are, the term fences them."""
        if self.contact:
            self._contact_edge(gained=False)  # a BACKUP that slept is an heir still: the silence is counted afresh
        self.claim = self.grant = self.move = self._verification = self._wanted = None
        self._eligible_since = self._noactive_since = self._superset_since = self._better_since = None
        if self.state is SrgState.ACTIVE:
            self._mark(
                Rule.PAUSE, "slept longer than the detection time; the right to be active must be proved again", now
            )
            self.confirmed = False
        notes, self._notes = self._notes, []
        return notes

    def resume(self, term: Term, peers: tuple[NodeId, ...], now: Instant) -> list[Note]:
        """Rule *resume*: the speaker still advertises our HIGH under a live lease; a restart is a pause.

        A promise that the earlier process gave (it had seen more than its own term) binds this one for a full T_grant.
        """
        if self._remembered > term and peers:
            self.grant = Grant(self.seen, peers[0], now + self.timers.grant)
        self.seen = max(self.seen, term)
        self.term = term
        self._become(SrgState.ACTIVE, Rule.RESUME, f"the speaker still advertises HIGH of term {term}", now)
        self.confirmed = False
        notes, self._notes = self._notes, []
        return notes

    def deadline(self, facts: Facts, now: Instant) -> Instant | None:
        """When a rule may begin to fit although nothing happens."""
        t = self.timers
        since = max((p.contact_since for p in facts.peers if p.contact), default=self._boot)
        times: list[Instant | None] = [
            self.grant.until if self.grant else None,
            self._drain_until,
            self._verification.until if self._verification else None,
            _after(self._eligible_since, t.recover),
            _after(self._noactive_since, t.noactive),
            _after(self._superset_since, t.settle),
            since + 2 * t.heartbeat,
            max(since, self.since) + t.elect,
            self._boot + t.boot,
        ]
        if self.srg.preempt:
            times.append(_after(self._better_since, self.srg.preempt.stable_for))
        return min((x for x in times if x is not None and x > now), default=None)

    # --- bookkeeping that is not a rule -----------------------------------------------------------------------

    def _absorb(self, facts: Facts, now: Instant) -> None:
        for p in facts.peers:
            self.seen = max(self.seen, p.seen, p.term)
        if facts.contact != self.contact:
            self._contact_edge(gained=facts.contact)
        inside = [p for p in facts.peers if p.contact]
        active = any(p.state is SrgState.ACTIVE for p in inside)
        self._was_active = frozenset(p.id for p in inside if p.state is SrgState.ACTIVE) if inside else self._was_active
        self._noactive_since = _hold(self._noactive_since, bool(inside) and not active, now)
        superset = any(p.reach > facts.reach and p.state is SrgState.BACKUP for p in inside)
        self._superset_since = _hold(self._superset_since, self.state is SrgState.ACTIVE and superset, now)
        better = facts.ready and any(p.state is SrgState.ACTIVE and self.priority > p.priority for p in inside)
        self._better_since = _hold(self._better_since, self.state is SrgState.BACKUP and better, now)
        self._eligible_since = _hold(self._eligible_since, facts.eligible, now)
        proved = self.state is SrgState.ACTIVE and self.confirmed
        if active or proved or not (facts.reach or self.state is SrgState.ACTIVE):
            self.claim = None  # what it was claimed for is no longer so

    def _contact_edge(self, *, gained: bool) -> None:
        self.contact = gained
        self.claim = None
        self.heir = not gained and self.state is SrgState.BACKUP and bool(self._was_active)

    def _expire(self, facts: Facts, now: Instant) -> None:
        """Ends of promises and covers."""
        if self.grant and now >= self.grant.until:
            self._give_up_grant(now)
        if self.grant and any(
            p.id == self.grant.to and p.state is SrgState.ACTIVE and p.term >= self.grant.number for p in facts.peers
        ):
            self.grant = None  # fulfilled: the promise is used up
        if self.move:
            self._follow_move(self.move, facts, now)
        if self._drain_until is not None and now >= self._drain_until:
            self._drain_until = None
        if self.state is SrgState.ACTIVE and not self.verified:
            self._verify(facts, now)
        if self.claim is not None and (self.claim <= self.seen and not self._grant_for(facts, self.claim)):
            self.claim = None  # somebody else used the number; the rule that claimed will claim again

    # --- the table --------------------------------------------------------------------------------------------

    def _one(self, facts: Facts, now: Instant) -> bool:
        """The first line that fits; False where none does, or only *bound*, which waits."""
        for name, rule in self._table(facts):
            if rule(self, facts, now):
                return name is not Rule.BOUND
        return False

    def _table(self, facts: Facts) -> Table:
        return ANY + (CONTACT if facts.contact else ALONE)

    def _failed(self, facts: Facts, now: Instant) -> bool:
        if facts.eligible or self.state is SrgState.INELIGIBLE:
            return False
        was_active = self.state is SrgState.ACTIVE
        self._become(SrgState.INELIGIBLE, Rule.FAILED, facts.ineligible_why, now)
        heir = next((p for p in facts.peers if p.contact), None)
        if was_active and heir is not None and self.grant is None:
            self._promise(heir, Term(self.seen + 1), now)
        return True

    def _recovered(self, _facts: Facts, now: Instant) -> bool:
        if self.state is not SrgState.INELIGIBLE or not past(self._eligible_since, self.timers.recover, now):
            return False
        self._become(SrgState.HOLD, Rule.RECOVERED, "eligible again", now)
        return True

    def _follow(self, facts: Facts, now: Instant) -> bool:
        active = _active(facts)
        if self.state is not SrgState.HOLD or active is None:
            return False
        self._become(SrgState.BACKUP, Rule.FOLLOW, f"{active.name} is ACTIVE", now)
        return True

    def _elect(self, facts: Facts, now: Instant) -> bool:
        if self.state is not SrgState.HOLD or _active(facts) or not facts.reach or not self._free():
            return False
        since = max(p.contact_since for p in facts.peers if p.contact)
        if now - since < 2 * self.timers.heartbeat:
            return False
        won = facts.win >= self.srg.up
        if not won and now - max(since, self.since) < self.timers.elect:
            return False
        return self._claim(Rule.ELECT, "the probe wins" if won else "nobody is ACTIVE", now)

    def _succeed(self, facts: Facts, now: Instant) -> bool:
        if self.state is not SrgState.BACKUP or _active(facts) or not facts.reach or not self._free():
            return False
        inside = [p for p in facts.peers if p.contact]
        if all(p.state is SrgState.INELIGIBLE for p in inside):
            return self._claim(Rule.SUCCEED, "the peer is INELIGIBLE", now)
        if past(self._noactive_since, self.timers.noactive, now):
            return self._claim(Rule.SUCCEED, "the peer is not ACTIVE", now)
        return False

    def _give(self, facts: Facts, now: Instant) -> bool:
        if self.grant is not None or (self.state is SrgState.ACTIVE and self.confirmed):
            return False
        claims = [p for p in facts.peers if p.contact and p.claim is not None and p.claim > self.seen]
        for peer in sorted(claims, key=_key, reverse=True):
            # An unconfirmed ACTIVE peer gets what nobody else asks for, whatever it reaches: refusing would leave it
            # unconfirmed for ever, and rule handover moves the group to the better connected node afterwards.
            alone = peer.state is SrgState.ACTIVE and self.claim is None and self.state is not SrgState.ACTIVE
            if self.state is SrgState.INELIGIBLE or alone or _key(peer) > self._own_key(facts):
                assert peer.claim is not None
                self.claim = None
                self._promise(peer, peer.claim, now)
                return True
        return False

    def _granted(self, facts: Facts, now: Instant) -> bool:
        if self.state is SrgState.INELIGIBLE or (self.state is SrgState.ACTIVE and self.confirmed):
            return False
        inside = [p for p in facts.peers if p.contact]
        if self.claim is not None and all(_lives(p) and p.grant == self.claim for p in inside) and self.grant is None:
            self._activate(self.claim, Rule.GRANTED, "the peer granted our claim", now)
            return True
        for p in inside:
            giver = p.state is SrgState.INELIGIBLE or (p.state is SrgState.ACTIVE and not p.confirmed)
            if not giver or not _lives(p) or p.grant is None or p.grant <= self.term or p.grant < self.seen:
                continue
            if self.grant is not None and (self.grant.to != p.id or p.grant <= self.grant.number):
                continue  # our own promise stands, unless its holder hands back by a greater number
            self._accept(p, p.grant, now)
            return True
        return False

    def _reclaim(self, facts: Facts, now: Instant) -> bool:
        if self.state is not SrgState.ACTIVE or self.confirmed or _active(facts) or not self._free():
            return False
        return self._claim(Rule.RECLAIM, "unconfirmed, and the peer is not ACTIVE", now)

    def _duel(self, facts: Facts, now: Instant) -> bool:
        peer = _active(facts)
        if self.state is not SrgState.ACTIVE or peer is None:
            return False
        bound = self.grant is not None and self.grant.to == peer.id
        if not bound and (self.confirmed, self.priority, self.me) > (peer.confirmed, peer.priority, peer.id):
            if self.confirmed and self.term > peer.term:
                return False
            self.confirmed = True
            if self.term <= peer.term:
                self._number(Term(self.seen + 1), now)
            self._mark(Rule.DUEL, f"{peer.name} is ACTIVE too and yields; announced again with term {self.term}", now)
            return True
        cover = peer.term > self.term
        self._become(SrgState.BACKUP, Rule.DUEL, f"{peer.name} is ACTIVE with the better right (term {peer.term})", now)
        self._drain_until = now + self.timers.drain if cover else None
        return True

    def _bound(self, _facts: Facts, _now: Instant) -> bool:
        # S4: while the promise is alive its holder may be taking over, and no line below is looked at. What the routers
        # say is counted meanwhile (not counting lets two be ACTIVE for three ticks longer: exploration).
        return self.grant is not None

    def _hold_on(self, facts: Facts, now: Instant) -> bool:
        if self.state is not SrgState.ACTIVE or self.confirmed:
            return False
        if max(facts.win, facts.part) < self.srg.up:
            return False
        self.confirmed = True
        self._mark(Rule.HOLD_ON, "no contact, and the routers prefer us", now)
        return True

    def _outranked(self, facts: Facts, now: Instant) -> bool:
        if self.state is not SrgState.ACTIVE or facts.lose < self.srg.down:
            return False
        self._become(
            SrgState.BACKUP, Rule.OUTRANKED, "no contact, and routers that used to answer us prefer somebody else", now
        )
        return True

    def _in_the_dark(self, facts: Facts, now: Instant) -> bool:
        if self.state is not SrgState.ACTIVE or not self.confirmed or facts.unknown < self.srg.down:
            return False
        self.confirmed = False
        self._mark(Rule.IN_THE_DARK, "no contact and no arbiter that could tell; staying", now)
        return True

    def _won(self, facts: Facts, now: Instant) -> bool:
        if not self._may_take(facts, now):
            return False
        part = facts.part * facts.probe_interval >= 2 * self.timers.settle
        if facts.win < self.srg.up and not part:
            return False
        self._activate(self._next(facts), Rule.WON, "no contact, and the routers prefer us", now)
        return True

    def _silence(self, facts: Facts, now: Instant) -> bool:
        if self.state is not SrgState.BACKUP or not self.heir or not facts.reach:
            return False
        if not facts.witness_alive or any(p.heard and p.state is SrgState.ACTIVE for p in facts.peers):
            return False
        self._activate(
            self._next(facts), Rule.SILENCE, "the active node fell silent on every path while a router answers us", now
        )
        # The arbiters stay known: the term fences the old claim, so a router that goes on preferring somebody else is
        # telling the truth. (Forgetting them left a node that had lost ACTIVE for as long as no heartbeat passed.)
        self.confirmed = False
        return True

    def _blind(self, facts: Facts, now: Instant) -> bool:
        after = self.srg.blind_after
        if after is None or not self._may_take(facts, now) or any(p.heard for p in facts.peers):
            return False
        if facts.unknown * facts.probe_interval < after:
            return False
        self._activate(self._next(facts), Rule.BLIND, "nobody is heard and no arbiter answers", now)
        self.confirmed = False
        return True

    def _settle_down(self, facts: Facts, now: Instant) -> bool:
        if self.state is not SrgState.HOLD or now - self._boot < self.timers.boot:
            return False
        if max(facts.lose, facts.unknown) < self.srg.down:
            return False
        self._become(SrgState.BACKUP, Rule.SETTLE_DOWN, "no contact, and the routers do not prefer us", now)
        return True

    # --- parts of rules ---------------------------------------------------------------------------------------

    def _free(self) -> bool:
        return self.grant is None and self.claim is None

    def _may_take(self, facts: Facts, now: Instant) -> bool:
        booted = self.state is SrgState.HOLD and now - self._boot >= self.timers.boot
        return (booted or self.state is SrgState.BACKUP) and bool(facts.reach)

    def _next(self, facts: Facts) -> Term:
        return Term(self.seen + (1 if facts.lone or facts.peer_ever_heard else LONE_STRIDE))

    def _own_key(self, facts: Facts) -> tuple[int, int, bool, int, int]:
        return (len(facts.reach), _CLASS[self.state], facts.win >= self.srg.up, self.priority, self.me)

    def _grant_for(self, facts: Facts, number: Term) -> bool:
        return any(p.contact and p.grant == number for p in facts.peers)

    def _claim(self, rule: Rule, why: str, now: Instant) -> bool:
        self.claim = Term(self.seen + 1)
        self._mark(rule, f"{why}: claiming term {self.claim}", now)
        return True


Table: TypeAlias = tuple[tuple[Rule, Callable[[SrgMachine, Facts, Instant], bool]], ...]
"""Lines of protocol §5 in their order. A line returns True where it fits, and has acted then."""

ANY: Table = (
    (Rule.FAILED, SrgMachine._failed),
    (Rule.RECOVERED, SrgMachine._recovered),
)
CONTACT: Table = (
    (Rule.FOLLOW, SrgMachine._follow),
    (Rule.ELECT, SrgMachine._elect),
    (Rule.SUCCEED, SrgMachine._succeed),
    (Rule.GRANT, SrgMachine._give),
    (Rule.GRANTED, SrgMachine._granted),
    (Rule.RECLAIM, SrgMachine._reclaim),
    (Rule.DUEL, SrgMachine._duel),
    (Rule.HANDOVER, SrgMachine._handover),
)
ALONE: Table = (
    (Rule.BOUND, SrgMachine._bound),
    (Rule.HOLD_ON, SrgMachine._hold_on),
    (Rule.OUTRANKED, SrgMachine._outranked),
    (Rule.IN_THE_DARK, SrgMachine._in_the_dark),
    (Rule.WON, SrgMachine._won),
    (Rule.SILENCE, SrgMachine._silence),
    (Rule.BLIND, SrgMachine._blind),
    (Rule.SETTLE_DOWN, SrgMachine._settle_down),
)


def _active(facts: Facts) -> PeerFacts | None:
    return next((p for p in facts.peers if p.contact and p.state is SrgState.ACTIVE), None)


def _key(p: PeerFacts) -> tuple[int, int, bool, int, int]:
    return (len(p.reach), _CLASS[p.state], p.winning, p.priority, p.id)


def _lives(p: PeerFacts) -> bool:
    """Whether the peer's promise still binds it, however old the heartbeat that told us."""
    return p.grant is not None and p.age < p.grant_left


def _hold(since: Instant | None, holds: bool, now: Instant) -> Instant | None:
    """Since when a condition holds."""
    return (now if since is None else since) if holds else None


def _after(since: Instant | None, duration: Duration) -> Instant | None:
    return None if since is None else since + duration


__all__ = ["ALONE", "ANY", "CONTACT", "SrgMachine", "Table"]
