"""The machine of one services redundancy group (protocol §5, §6).

The law, in prose: routers are the arbiter. Nobody in contact becomes ACTIVE without the peer's *grant*; without contact
the activeness probe decides; every takeover has a greater *term*, and the term is part of the route. A node that slept
or has just started distrusts itself before it speaks.

The machine is a table: ``ANY``, ``CONTACT`` and ``ALONE`` list the rules in the order of protocol §5, the first that
fits is taken, and only ``_become`` changes the state. A rule is a method that returns True when it has acted. Time and
facts are arguments; the wish of the group (``level`` and ``term``) is a function of the state.

    HOLD --elect/granted, won--> ACTIVE --duel, outranked--> BACKUP --granted, silence, won--> ACTIVE
    HOLD --follow, settle down--> BACKUP        any --failed--> INELIGIBLE --recovered--> HOLD
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeAlias

from l3ha.base.names import Level, NodeId, SrgId, SrgState, Term
from l3ha.base.settings import Srg, Timers
from l3ha.base.time import MS, Duration, Instant
from l3ha.core.events import Check, Memory, Note, NoteKind
from l3ha.core.facts import Facts, PeerFacts, Rule

LONE_STRIDE = 1000
"""Next term when no peer was heard since the process started: greater than anything a lost disk may have forgotten."""

MAX_RULES_PER_STEP = 6
"""More in a row means a cycle inside one instant: ours, so it is asserted."""

_CLASS = {SrgState.ACTIVE: 3, SrgState.BACKUP: 2, SrgState.HOLD: 1, SrgState.INELIGIBLE: 0}


@dataclass(frozen=True, slots=True)
class Grant:
    """A promise: ``number`` is ``to``'s. Until ``until`` the giver does nothing of its own (S4)."""

    number: Term
    to: NodeId
    until: Instant


@dataclass(frozen=True, slots=True)
class Move:
    """A planned move that this node gave away (protocol §6)."""

    to: NodeId
    number: Term
    reason: str
    started: Instant
    active: bool = False
    """The other node has become ACTIVE."""


@dataclass(frozen=True, slots=True)
class Verification:
    """The new active node's proof that routers follow it."""

    until: Instant
    giver: NodeId | None
    """Who handed the group over; it gets it back when the proof fails. None: nobody to hand back to."""
    need_win: bool
    """False where no arbiter tells the giver anything either: then there is no answer to wait for."""


class SrgMachine:
    """One group on this node."""

    def __init__(self, srg: Srg, me: NodeId, timers: Timers, memory: Memory | None, now: Instant) -> None:
        self.srg = srg
        self.me = me
        self.timers = timers
        self.state = SrgState.HOLD
        self.confirmed = False
        self.term: Term = memory.term if memory else Term(0)
        self.seen: Term = memory.seen if memory else Term(0)
        self.claim: Term | None = None
        self.grant: Grant | None = None
        self.heir = False
        self.rule = Rule.BOOT
        self.reason = "the process has started"
        self.since = self.rule_at = now
        self.move: Move | None = None
        self.verified = False
        self.contact = False
        self._boot = now
        self._numbered = now
        self._eligible_since: Instant | None = None
        self._noactive_since: Instant | None = None
        self._superset_since: Instant | None = None
        self._better_since: Instant | None = None
        self._preempted: tuple[Instant, ...] = ()
        self._was_active: frozenset[NodeId] = frozenset()
        self._drain_until: Instant | None = None
        self._verification: Verification | None = None
        self._wanted: tuple[NodeId | None, str] | None = None
        self._last_given: Instant | None = None
        self._notes: list[Note] = []

    # --- what the world sees of it ----------------------------------------------------------------------------

    @property
    def level(self) -> Level:
        """The preference that routers shall see (S5)."""
        match self.state:
            case SrgState.ACTIVE:
                return Level.HIGH
            case SrgState.BACKUP:
                return Level.MEDIUM if self._drain_until is None else Level.HIGH
            case SrgState.HOLD | SrgState.INELIGIBLE:
                return Level.LOW

    @property
    def priority(self) -> int:
        """Own activeness priority."""
        return self.srg.priorities[self.me]

    @property
    def draining(self) -> bool:
        """BACKUP already, but the old HIGH still covers the new node."""
        return self._drain_until is not None

    def wants(self, facts: Facts, now: Instant) -> bool:
        """Whether this node asks for the group back (preemption, protocol §6)."""
        rule = self.srg.preempt
        if rule is None or self.state is not SrgState.BACKUP or self._better_since is None:
            return False
        recent = [t for t in self._preempted if now - t < rule.window]
        active = next((p for p in facts.peers if p.contact and p.state is SrgState.ACTIVE), None)
        return (
            active is not None
            and active.confirmed
            and now - self._better_since >= rule.stable_for
            and len(recent) < rule.max
        )

    # --- doors ------------------------------------------------------------------------------------------------

    def step(self, facts: Facts, now: Instant) -> list[Note]:
        """Take every rule that fits, in order; returns what to tell."""
        self._absorb(facts, now)
        self._expire(facts, now)
        for _ in range(MAX_RULES_PER_STEP):
            if not self._one(facts, now):
                break
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

        A promise that the earlier process gave (``seen`` beyond its own term) binds this one for a full T_grant.
        """
        if self.seen > term and peers:
            self.grant = Grant(self.seen, peers[0], now + self.timers.grant)
        self.seen = max(self.seen, term)
        self.term = term
        self._become(SrgState.ACTIVE, Rule.RESUME, f"the speaker still advertises HIGH of term {term}", now)
        self.confirmed = False
        notes, self._notes = self._notes, []
        return notes

    def memory(self, known: frozenset[str]) -> Memory:
        """What must be on disk before it is used. ``known``: the arbiters that the probe knows."""
        return Memory(self.srg.id, self.term, self.seen, known)

    def learn(self, term: Term) -> None:
        """A number seen elsewhere (at our own speaker, after a lost disk)."""
        self.seen = max(self.seen, term)

    def reconfigure(self, srg: Srg, timers: Timers) -> None:
        """New settings of the same group; the state stays."""
        self.srg, self.timers = srg, timers

    def preconditions(self, facts: Facts, to: NodeId | None, now: Instant) -> tuple[Check, ...]:
        """What protocol §6.1 demands of a planned move, fact by fact."""
        peer = next((p for p in facts.peers if to is None or p.id == to), None)
        name = peer.name if peer else "peer"
        contact = peer is not None and peer.contact
        checks = [
            Check(
                "this node is ACTIVE and confirmed", self.state is SrgState.ACTIVE and self.confirmed, self._describe()
            ),
            Check("contact with the peer", contact, f"{name}: {'in contact' if contact else 'no contact'}"),
        ]
        if peer is not None:
            missing = facts.reach - peer.reach
            fit = "eligible" if peer.eligible else "not eligible"
            checks += [
                Check("peer is BACKUP", peer.state is SrgState.BACKUP, f"{name}: {peer.state}"),
                Check(
                    "peer is eligible and ready",
                    peer.eligible and peer.ready,
                    f"{name}: {fit}, {'' if peer.ready else 'not '}ready",
                ),
                Check(
                    "peer reaches every router that we reach", not missing, ", ".join(sorted(missing)) or "same routers"
                ),
                Check(
                    "same routes and floating addresses",
                    peer.same_routes,
                    "same" if peer.same_routes else "they differ",
                ),
            ]
        checks.append(Check("no grant is alive", self.grant is None, self.describe_grant(now)))
        return tuple(checks)

    def request_move(self, to: NodeId | None, reason: str) -> None:
        """The operator (or the node's shutdown) wants the group to go; rule *handover* takes it from here."""
        self._wanted = (to, reason)

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

    def _give_up_grant(self, now: Instant) -> None:
        self.grant = None
        if self.move and not self.move.active:
            took = (now - self.move.started) // MS
            self._tell(
                NoteKind.MOVE, f"planned move rolled back after {took} ms: the peer did not become ACTIVE", alarm=True
            )
            self.move = None

    def _follow_move(self, move: Move, facts: Facts, now: Instant) -> None:
        peer = next((p for p in facts.peers if p.id == move.to), None)
        if peer is None or peer.state is not SrgState.ACTIVE or peer.term < move.number:
            return
        took = (now - move.started) // MS
        if not move.active:
            self._tell(NoteKind.MOVE, f"{peer.name} is ACTIVE after {took} ms")
            self.move = move = replace(move, active=True)
        if peer.verified:
            # The probe proves the floating address at each router; other prefixes may follow within T_bgp.
            if self._drain_until is not None:
                self._drain_until = min(self._drain_until, now + self.timers.bgp)
            self.move = None
            self._tell(NoteKind.MOVE, f"{peer.name} verified after {took} ms: the planned move is complete")
        elif now - move.started > self.timers.verify + self.timers.grant:
            self.move = None

    def _verify(self, facts: Facts, now: Instant) -> None:
        if facts.acked_term != self.term:
            return
        need_win = self._verification is None or self._verification.need_win
        won = facts.floating_sent is not None and facts.floating_sent >= facts.acked_at
        if won or not need_win:
            self.verified = True
            self._verification = None
            took = (now - self._numbered) // MS
            self._tell(
                NoteKind.MOVE,
                f"term {self.term} verified after {took} ms: neighbors acknowledged it"
                + (", the probe wins" if won else ""),
            )

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
        if self.state is not SrgState.INELIGIBLE or not _past(self._eligible_since, self.timers.recover, now):
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
        if _past(self._noactive_since, self.timers.noactive, now):
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

    def _accept(self, giver: PeerFacts, number: Term, now: Instant) -> None:
        """Take what was not asked for: the rest of a failed node, or a planned move."""
        planned = giver.state is SrgState.ACTIVE
        asked = self._better_since is not None and self.srg.preempt is not None
        hand_back = (
            self._last_given is not None
            and now - self._last_given < self.timers.verify + self.timers.grant + self.timers.drain
        )
        if planned and asked:
            self._preempted = (*self._preempted[-15:], now)
        why = "planned move from" if planned else "left to us by"
        self._activate(number, Rule.GRANTED, f"{why} {giver.name}", now)
        if planned:
            holder = None if hand_back else giver.id
            self._verification = Verification(now + self.timers.verify, holder, giver.informed)

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

    def _handover(self, facts: Facts, now: Instant) -> bool:
        if self.state is not SrgState.ACTIVE or not self.confirmed:
            self._wanted = None
            return False
        wanted = self._reason_to_move(facts, now)
        if wanted is None:
            return False
        to, reason = wanted
        self._wanted = None
        checks = self.preconditions(facts, to, now)
        peer = next((p for p in facts.peers if p.contact and to in (None, p.id)), None)
        if peer is None or not all(c.ok for c in checks):
            return False
        self.confirmed = False
        self._promise(peer, Term(self.seen + 1), now)
        self.move = Move(peer.id, Term(self.seen), reason, now)
        self._last_given = now
        self._verification = None
        self._mark(Rule.HANDOVER, f"planned move to {peer.name}: {reason}", now)
        return True

    def _reason_to_move(self, facts: Facts, now: Instant) -> tuple[NodeId | None, str] | None:
        if self._wanted is not None:
            return self._wanted
        proof = self._verification
        if proof is not None and not self.verified and now >= proof.until:
            self._verification = None
            if facts.acked_term == self.term and (facts.floating_any or 0) >= facts.acked_at:
                self.verified = True
                self._tell(
                    NoteKind.MOVE, "verified by a part of the routers only: the others do not follow", alarm=True
                )
            elif proof.giver is not None:
                self._tell(NoteKind.MOVE, "not verified in time: handing the group back", alarm=True)
                return proof.giver, "not verified in time"
        if _past(self._superset_since, self.timers.settle, now):
            return None, "the peer reaches more routers"
        asking = next((p for p in facts.peers if p.contact and p.wants), None)
        return (asking.id, f"preemption by {asking.name}") if asking else None

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

    def _promise(self, peer: PeerFacts, number: Term, now: Instant) -> None:
        self.seen = max(self.seen, number)
        self.grant = Grant(number, peer.id, now + self.timers.grant)
        self._tell(NoteKind.RULE, f"term {number} granted to {peer.name}", rule=Rule.GRANT)

    def _number(self, number: Term, now: Instant) -> None:
        """``↑n``: advertise HIGH with number n."""
        self.term = number
        self._numbered = now
        self.seen = max(self.seen, number)
        self.verified = False

    def _activate(self, number: Term, rule: Rule, reason: str, now: Instant) -> None:
        self._number(number, now)
        self._become(SrgState.ACTIVE, rule, f"{reason}; term {number}", now)
        self.confirmed = True

    def _become(self, state: SrgState, rule: Rule, reason: str, now: Instant) -> None:
        """The only place where the state changes."""
        old = self.state
        self.state = state
        self.since = self.rule_at = now
        self.rule, self.reason = rule, reason
        self.confirmed = False
        self.claim = None
        self.heir = False
        self._drain_until = None
        self._verification = None
        if state is not SrgState.BACKUP:
            self.move = None
        if state is SrgState.ACTIVE:
            self.grant = None if rule is not Rule.RESUME else self.grant
        fields = (("old", str(old)), ("new", str(state)), ("term", int(self.term)))
        text = f"{old} -> {state}: {reason}"
        self._notes.append(
            Note(NoteKind.TRANSITION, text, self.srg.id, str(rule), fields, state is SrgState.INELIGIBLE)
        )

    def _mark(self, rule: Rule, reason: str, now: Instant) -> None:
        """A rule acted without changing the state."""
        self.rule, self.reason, self.rule_at = rule, reason, now
        self._tell(NoteKind.RULE, reason, rule=rule)

    def _tell(self, kind: NoteKind, text: str, *, rule: Rule | None = None, alarm: bool = False) -> None:
        self._notes.append(Note(kind, text, self.srg.id, None if rule is None else str(rule), (), alarm))

    def _describe(self) -> str:
        return f"{self.state}{'' if self.confirmed or self.state is not SrgState.ACTIVE else ' (unconfirmed)'}"

    def describe_grant(self, now: Instant) -> str:
        """The promise alive, in words."""
        if self.grant is None:
            return "none"
        return f"term {self.grant.number} to node {self.grant.to}, {max(0, self.grant.until - now) // MS} ms left"

    def describe_move(self, now: Instant) -> str | None:
        """The step of a planned move that this node gave away or took, None where none is under way."""
        if self.move is not None:
            step = "covering until it is verified" if self.move.active else "granted"
            return f"to node {self.move.to} ({self.move.reason}): {step}, {(now - self.move.started) // MS} ms"
        return "verifying" if self._verification is not None else None


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


def _past(since: Instant | None, duration: Duration, now: Instant) -> bool:
    return since is not None and now - since >= duration


__all__ = ["ALONE", "ANY", "CONTACT", "Grant", "Move", "SrgId", "SrgMachine", "Table"]
