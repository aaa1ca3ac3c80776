"""What one group on this node holds, and the only functions that change it (protocol §5).

``_become`` alone changes the state, ``_number`` the term, ``_promise`` the grant; ``level`` is a function of the state.
When they are called is said by the rules, in ``srg`` and, for the planned move, in ``move``.
"""

from __future__ import annotations

from dataclasses import dataclass

from l3ha.base.limits import MAX_HEARD_TERM
from l3ha.base.names import Level, NodeId, SrgState, Term
from l3ha.base.settings import Srg, Timers
from l3ha.base.time import MS, Duration, Instant
from l3ha.core.events import Memory, Note, NoteKind
from l3ha.core.facts import PeerFacts, Rule

RESERVED = 16
"""Numbers beyond the newest one that a save covers. A restart skips them."""


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


class Group:
    """One group on this node, without its rules."""

    def __init__(self, srg: Srg, me: NodeId, timers: Timers, memory: Memory | None, now: Instant) -> None:
        self.srg = srg
        self.me = me
        self.timers = timers
        self.state = SrgState.HOLD
        self.confirmed = False
        self.term: Term = memory.term if memory else Term(0)
        self.seen: Term = max(memory.seen, memory.reserved) if memory else Term(0)
        self._remembered: Term = memory.seen if memory else Term(0)
        """What the earlier process had seen for certain; ``seen`` covers what it may have used."""
        self._skipped: Term = self.seen
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

    def memory(self, known: frozenset[str]) -> Memory:
        """What must be on disk before it is told to the peer. ``known``: the arbiters that the probe knows.

        What was only skipped at the start is nothing that was seen: a later process would take it for a promise.
        """
        seen = self.seen if self.seen > self._skipped else self._remembered
        return Memory(self.srg.id, self.term, seen, known, Term(min(self.seen + RESERVED, MAX_HEARD_TERM)))

    def learn(self, term: Term) -> None:
        """A number seen elsewhere (at our own speaker, after a lost disk)."""
        self.seen = max(self.seen, term)

    def reconfigure(self, srg: Srg, timers: Timers) -> None:
        """New settings of the same group; the state stays."""
        self.srg, self.timers = srg, timers

    # --- what rules do ----------------------------------------------------------------------------------------

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


def past(since: Instant | None, duration: Duration, now: Instant) -> bool:
    """Whether something has held for so long."""
    return since is not None and now - since >= duration
