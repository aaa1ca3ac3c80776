"""The planned move of a group: make before break, and prove it (protocol §6).

giver:  ACTIVE --handover: grants, unconfirmed--> (the peer is ACTIVE) --covers until it is verified--> BACKUP
taker:  BACKUP --granted--> ACTIVE, verifying --acknowledged, and the probe wins--> verified
                                              --T_verify is over--> handover, back to the giver
"""

from __future__ import annotations

from dataclasses import replace

from l3ha.base.names import NodeId, SrgState, Term
from l3ha.base.time import MS, Instant
from l3ha.core.events import Check, NoteKind
from l3ha.core.facts import Facts, PeerFacts, Rule
from l3ha.core.group import Group, Move, Verification, past


class PlannedMove(Group):
    """The part of a group's machine that gives the group away and takes it over on purpose."""

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

    def describe_move(self, now: Instant) -> str | None:
        """The step of a planned move that this node gave away or took, None where none is under way."""
        if self.move is not None:
            step = "covering until it is verified" if self.move.active else "granted"
            return f"to node {self.move.to} ({self.move.reason}): {step}, {(now - self.move.started) // MS} ms"
        return "verifying" if self._verification is not None else None

    def unproved(self, facts: Facts, now: Instant) -> bool:
        """Whether the neighbors have acknowledged our HIGH and nothing has shown yet that the routers follow it."""
        taken = self.state is SrgState.ACTIVE and not self.verified and facts.acked_term == self.term
        return taken and now - self._numbered < self.timers.verify

    # --- its rules --------------------------------------------------------------------------------------------

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
        if past(self._superset_since, self.timers.settle, now):
            return None, "the peer reaches more routers"
        asking = next((p for p in facts.peers if p.contact and p.wants), None)
        return (asking.id, f"preemption by {asking.name}") if asking else None

    def _accept(self, giver: PeerFacts, number: Term, now: Instant) -> None:
        """Take what was not asked for: the rest of a failed node, or a planned move."""
        planned = giver.state is SrgState.ACTIVE
        hand_back = (
            self._last_given is not None
            and now - self._last_given < self.timers.verify + self.timers.grant + self.timers.drain
        )
        rule = self.srg.preempt
        if planned and rule is not None and self._better_since is not None:
            self._preempted = (*self._preempted, now)[-rule.max :]
        why = "planned move from" if planned else "left to us by"
        self._activate(number, Rule.GRANTED, f"{why} {giver.name}", now)
        if planned:
            holder = None if hand_back else giver.id
            self._verification = Verification(now + self.timers.verify, holder, giver.informed)

    # --- how it ends ------------------------------------------------------------------------------------------

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

    def _give_up_grant(self, now: Instant) -> None:
        self.grant = None
        if self.move and not self.move.active:
            took = (now - self.move.started) // MS
            self._tell(
                NoteKind.MOVE, f"planned move rolled back after {took} ms: the peer did not become ACTIVE", alarm=True
            )
            self.move = None
