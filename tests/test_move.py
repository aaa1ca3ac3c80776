"""The planned move and what a group holds: texts that an operator reads, limits, and what is forgotten when."""

from __future__ import annotations

from dataclasses import replace

import pytest

from l3ha.base.names import Level, NodeId, SrgId, SrgState, Term
from l3ha.base.settings import Preempt
from l3ha.base.time import MS, SECOND, Instant
from l3ha.core.events import Check, Memory, Note
from l3ha.core.facts import Facts, Rule
from l3ha.core.group import Grant
from l3ha.core.srg import SrgMachine
from tests.test_srg import GROUP, SILENT_PEER, T0, facts, machine, peer, rule
from tests.world import TIMERS

GIVER = peer(state=SrgState.ACTIVE, term=Term(5), seen=Term(6), grant=Term(6), grant_left=SECOND)
TAKER = peer(state=SrgState.ACTIVE, confirmed=True, term=Term(6), seen=Term(6))


def checks(m: SrgMachine, f: Facts, to: NodeId | None = None) -> dict[str, tuple[bool, str]]:
    return {c.name: (c.ok, c.detail) for c in m.preconditions(f, to, T0)}


def texts(notes: list[Note]) -> list[str]:
    return [n.text for n in notes]


def giving() -> SrgMachine:
    """A planned move has just been granted to n2."""
    m = machine(SrgState.ACTIVE, confirmed=True)
    m.request_move(None, "operator")
    m.step(facts(), T0)
    assert m.rule is Rule.HANDOVER
    return m


def taking(**changes: object) -> SrgMachine:
    """ACTIVE by a planned move of n2, and not verified yet."""
    m = machine(SrgState.BACKUP)
    m.step(facts(GIVER._replace(**changes)), T0)  # type: ignore[arg-type]
    assert m.state is SrgState.ACTIVE and not m.verified
    return m


# --- what the operator reads ----------------------------------------------------------------------------------------


def test_every_precondition_says_the_fact_behind_it() -> None:
    m = machine(SrgState.ACTIVE, confirmed=True)
    assert checks(m, facts()) == {
        "this node is ACTIVE and confirmed": (True, "ACTIVE"),
        "contact with the peer": (True, "n2: in contact"),
        "peer is BACKUP": (True, "n2: BACKUP"),
        "peer is eligible and ready": (True, "n2: eligible, ready"),
        "peer reaches every router that we reach": (True, "same routers"),
        "same routes and floating addresses": (True, "same"),
        "no grant is alive": (True, "none"),
    }
    worse = SILENT_PEER._replace(state=SrgState.HOLD, eligible=False, ready=False, reach=frozenset(), same_routes=False)
    m = machine(SrgState.ACTIVE)
    m.grant = Grant(Term(6), NodeId(2), T0 + 250 * MS)
    assert checks(m, facts(worse)) == {
        "this node is ACTIVE and confirmed": (False, "ACTIVE (unconfirmed)"),
        "contact with the peer": (False, "n2: no contact"),
        "peer is BACKUP": (False, "n2: HOLD"),
        "peer is eligible and ready": (False, "n2: not eligible, not ready"),
        "peer reaches every router that we reach": (False, "r1, r2"),
        "same routes and floating addresses": (False, "they differ"),
        "no grant is alive": (False, "term 6 to node 2, 250 ms left"),
    }
    assert m.describe_grant(T0 + SECOND) == "term 6 to node 2, 0 ms left"


@pytest.mark.parametrize("f", [facts(None), facts()], ids=["no peer was heard", "another peer is asked for"])
def test_without_that_peer_there_is_no_contact(f: Facts) -> None:
    found = machine(SrgState.ACTIVE, confirmed=True).preconditions(f, NodeId(3), T0)
    assert Check("contact with the peer", False, "peer: no contact") in found and len(found) == 3


def test_only_a_part_of_the_checks_is_no_fitness() -> None:
    m = machine(SrgState.ACTIVE, confirmed=True)
    for change in ({"eligible": False}, {"ready": False}):
        ok, _ = checks(m, facts(peer(**change)))["peer is eligible and ready"]
        assert not ok


def test_a_move_is_described_at_both_ends() -> None:
    m = giving()
    assert m.describe_move(T0 + 3 * MS) == "to node 2 (operator): granted, 3 ms"
    notes = m.step(facts(TAKER), T0 + 4 * MS)
    assert "n2 is ACTIVE after 4 ms" in texts(notes)
    assert (m.state, m.level, m.draining) == (SrgState.BACKUP, Level.HIGH, True)
    assert m.describe_move(T0 + 5 * MS) == "to node 2 (operator): covering until it is verified, 5 ms"
    notes = m.step(facts(TAKER._replace(verified=True)), T0 + 30 * MS)
    assert texts(notes) == ["n2 verified after 30 ms: the planned move is complete"]
    assert m.describe_move(T0 + 31 * MS) is None
    assert taking().describe_move(T0) == "verifying" and machine(SrgState.BACKUP).describe_move(T0) is None


def test_a_move_that_was_not_taken_is_over() -> None:
    m = giving()
    m.step(facts(peer(seen=Term(6))), T0 + TIMERS.grant - 1)
    assert m.describe_move(T0) is not None and m.grant is not None
    notes = m.step(facts(peer(seen=Term(6))), T0 + TIMERS.grant)
    told = f"planned move rolled back after {TIMERS.grant // MS} ms: the peer did not become ACTIVE"
    assert [(n.text, n.alarm) for n in notes if "rolled" in n.text] == [(told, True)]
    assert m.describe_move(T0 + TIMERS.grant) is None


def test_what_is_no_trouble_is_no_alarm() -> None:
    m = machine(SrgState.ACTIVE, confirmed=True)
    m.request_move(None, "operator")
    told = m.step(facts(), T0)
    assert texts(told) == ["term 6 granted to n2", "planned move to n2: operator"]
    assert not any(n.alarm for n in told) and [n.rule for n in told] == ["grant", "handover"]
    failed = machine(SrgState.BACKUP).step(facts(SILENT_PEER, eligible=False, ineligible_why="x"), T0)
    assert [(n.text, n.alarm) for n in failed] == [("BACKUP -> INELIGIBLE: x", True)]


# --- requests -------------------------------------------------------------------------------------------------------


def test_a_request_is_for_now_or_never() -> None:
    m = machine(SrgState.BACKUP)
    m.request_move(None, "operator")
    m.step(facts(GIVER._replace(grant=None)), T0)
    m.step(facts(GIVER), T0 + MS)
    assert m.state is SrgState.ACTIVE
    assert rule(m, facts(), T0 + 2 * MS) is None, "it was not ACTIVE when it was asked"
    m = machine(SrgState.ACTIVE, confirmed=True)
    m.request_move(None, "operator")
    assert rule(m, facts(peer(ready=False))) is None
    assert rule(m, facts(), T0 + MS) is None, "refused is refused"


def test_a_request_of_a_backup_does_not_wait_for_its_turn() -> None:
    m = machine(SrgState.BACKUP)
    m.request_move(None, "operator")
    m.step(facts(peer(state=SrgState.INELIGIBLE)), T0)
    m.step(facts(peer(seen=Term(6), grant=Term(6), grant_left=SECOND)), T0 + MS)
    assert (m.state, m.confirmed, m.grant) == (SrgState.ACTIVE, True, None)


def test_a_reason_that_lasts_is_looked_at_once_a_step() -> None:
    """The peer reaches more routers, and is not ready for a long time."""
    m = machine(SrgState.ACTIVE, confirmed=True)
    for at in (T0, T0 + TIMERS.settle, T0 + 9 * SECOND):
        assert m.step(facts(peer(ready=False), reach=frozenset({"r1"})), at) == []
    assert m.grant is None and m.confirmed


def test_a_request_names_its_peer() -> None:
    m = machine(SrgState.ACTIVE, confirmed=True)
    m.request_move(NodeId(3), "operator")
    assert rule(m, facts()) is None and m.grant is None


# --- cover, proof, and their ends -----------------------------------------------------------------------------------


def test_the_cover_ends_t_bgp_after_the_proof_and_t_drain_after_the_change_at_the_latest() -> None:
    m = giving()
    m.step(facts(TAKER), T0)
    m.step(facts(TAKER._replace(verified=True)), T0 + 10 * MS)
    m.step(facts(TAKER._replace(verified=True)), T0 + 10 * MS + TIMERS.bgp - 1)
    assert m.level is Level.HIGH
    m.step(facts(TAKER._replace(verified=True)), T0 + 10 * MS + TIMERS.bgp)
    assert m.level is Level.MEDIUM
    m = giving()
    m.step(facts(TAKER), T0)
    m.step(facts(TAKER._replace(verified=True)), T0 + TIMERS.drain - 1)
    m.step(facts(TAKER._replace(verified=True)), T0 + TIMERS.drain)
    assert m.level is Level.MEDIUM, "a late proof does not lengthen it"


def test_a_move_is_looked_after_as_long_as_its_proof_may_take() -> None:
    m, patience = giving(), TIMERS.verify + TIMERS.grant
    m.step(facts(TAKER), T0)
    m.step(facts(TAKER), T0 + patience)
    assert m.describe_move(T0 + patience) is not None
    m.step(facts(TAKER), T0 + patience + 1)
    assert m.describe_move(T0 + patience + 1) is None


def test_an_active_peer_of_an_older_number_has_not_taken_the_move() -> None:
    m = giving()
    m.state = SrgState.BACKUP
    m.step(facts(TAKER._replace(term=Term(5))), T0 + MS)
    assert m.describe_move(T0) == "to node 2 (operator): granted, 0 ms" and m.grant is not None


def acked(at: Instant, term: int = 6, **changes: object) -> Facts:
    return facts(acked_term=Term(term), acked_at=at, **changes)


def test_a_proof_is_over_once() -> None:
    m = taking()
    notes = m.step(acked(T0 + 3, floating_sent=T0 + 3), T0 + 9 * MS)
    assert texts(notes) == ["term 6 verified after 9 ms: neighbors acknowledged it, the probe wins"]
    assert m.verified and m.describe_move(T0) is None
    assert m.step(acked(T0 + 3, floating_sent=T0 + 3), T0 + 10 * MS) == []


def test_acknowledgements_must_do_where_no_arbiter_tells() -> None:
    m = taking(informed=False)
    assert m.step(acked(T0 + 3, 5), T0 + MS) == [], "of another term"
    assert texts(m.step(acked(T0 + 3), T0 + MS)) == ["term 6 verified after 1 ms: neighbors acknowledged it"]


def test_the_best_router_may_have_been_asked_at_the_very_acknowledgement() -> None:
    for any_, handed_back in ((T0 + 3, False), (T0 + 2, True), (None, True)):
        m = taking()
        m.step(acked(T0 + 3, floating_any=any_), T0 + TIMERS.verify - 1)
        assert m.verified is False and m.describe_move(T0) == "verifying"
        notes = m.step(acked(T0 + 3, floating_any=any_), T0 + TIMERS.verify)
        assert (m.rule is Rule.HANDOVER) is handed_back, any_
        alarm = "not verified in time: handing the group back" if handed_back else "verified by a part of the routers"
        assert any(n.alarm and n.text.startswith(alarm) for n in notes)


def test_a_proof_ends_with_the_activity() -> None:
    m = taking()
    m.step(facts(SILENT_PEER, eligible=False), T0 + MS)
    assert m.describe_move(T0) is None


def test_a_proof_that_failed_is_told_once_though_the_giver_is_not_fit() -> None:
    m, unfit = taking(), facts(peer(ready=False))
    told = m.step(unfit, T0 + TIMERS.verify)
    assert texts(told) == ["not verified in time: handing the group back"]
    assert m.step(unfit, T0 + TIMERS.verify + MS) == [] and m.confirmed
    assert m.describe_move(T0 + TIMERS.verify) is None


def test_an_unconfirmed_node_asks_before_it_hands_back() -> None:
    m = taking()
    m.step(facts(SILENT_PEER, unknown=3), T0 + MS)
    assert m.rule is Rule.IN_THE_DARK
    told = m.step(facts(), T0 + TIMERS.verify)
    assert m.rule is Rule.RECLAIM and not any("handing" in n.text for n in told)


def test_a_proof_ends_with_the_next_move() -> None:
    m = taking()
    m.request_move(None, "operator")
    m.step(facts(), T0 + MS)
    assert m.grant is not None
    m.step(facts(SILENT_PEER, win=2), T0 + 2 * SECOND)
    assert m.rule is Rule.HOLD_ON and m.confirmed
    assert rule(m, facts(), T0 + 5 * SECOND) is None, "it is not handed back for a proof of long ago"


def test_how_a_group_came_here_is_said() -> None:
    assert taking().reason == "planned move from n2; term 6"
    m = machine(SrgState.BACKUP)
    m.step(facts(GIVER._replace(state=SrgState.INELIGIBLE)), T0)
    assert m.reason == "left to us by n2; term 6" and m.describe_move(T0) is None


def test_a_group_that_came_back_is_not_handed_over_a_third_time() -> None:
    """Nobody to hand back to: the peer has just failed to take it."""
    m = giving()
    m.step(facts(TAKER), T0 + MS)
    back = TAKER._replace(confirmed=False, grant=Term(7), grant_left=SECOND, seen=Term(7))
    m.step(facts(back), T0 + TIMERS.verify)
    assert m.state is SrgState.ACTIVE and m.term == 7
    unproved = facts(peer(seen=Term(7)))
    m.step(unproved, T0 + 2 * TIMERS.verify)
    m.step(unproved, T0 + 3 * TIMERS.verify)
    assert m.confirmed and m.grant is None
    late = giving()
    late.step(facts(TAKER), T0 + MS)
    began = T0 + TIMERS.verify + TIMERS.grant + TIMERS.drain
    late.step(facts(back), began)
    late.step(unproved, began + TIMERS.verify)
    assert late.rule is Rule.HANDOVER, "long ago: this is another move"


# --- preemption -----------------------------------------------------------------------------------------------------

OFTEN = Preempt(stable_for=SECOND, max=1, window=60 * SECOND)
ACTIVE = peer(state=SrgState.ACTIVE, confirmed=True, term=Term(5), seen=Term(5))


def preempting(maximum: int = 1) -> SrgMachine:
    m = machine(SrgState.BACKUP)
    m.reconfigure(replace(GROUP, preempt=replace(OFTEN, max=maximum)), TIMERS)
    m.step(facts(ACTIVE), T0)
    return m


def taken_and_lost(m: SrgMachine, now: Instant, priority: int = 100) -> None:
    """n2 gives the group to us, and takes it again in a duel."""
    term = m.seen + 1
    holder = ACTIVE._replace(priority=priority, term=m.seen, seen=m.seen)
    m.step(facts(holder._replace(confirmed=False, grant=Term(term), grant_left=SECOND, seen=Term(term))), now)
    assert m.state is SrgState.ACTIVE
    m.step(facts(ACTIVE._replace(priority=250, term=Term(term + 1), seen=Term(term + 1))), now + MS)
    assert m.state is SrgState.BACKUP
    m.step(facts(ACTIVE._replace(term=m.seen, seen=m.seen)), now + 2 * MS)


def test_preemption_waits_for_its_window() -> None:
    m = preempting()
    asked = T0 + SECOND
    assert m.wants(facts(ACTIVE), asked) and not m.wants(facts(ACTIVE), asked - 1)
    taken_and_lost(m, asked)
    assert not m.wants(facts(ACTIVE), asked + 60 * SECOND - 1), "once per window"
    assert m.wants(facts(ACTIVE), asked + 60 * SECOND)
    twice = preempting(2)
    taken_and_lost(twice, asked)
    assert twice.wants(facts(ACTIVE), asked + 2 * SECOND)


def test_a_great_limit_is_a_limit_too() -> None:
    m = preempting(20)
    for n in range(20):
        now = T0 + SECOND + n * 2 * SECOND
        assert m.wants(facts(ACTIVE), now), n
        taken_and_lost(m, now)
    assert not m.wants(facts(ACTIVE), T0 + 45 * SECOND)
    assert m.wants(facts(ACTIVE), T0 + 61 * SECOND)


def test_preemption_asks_a_confirmed_active_peer_in_contact_only() -> None:
    m = preempting()
    for other in (ACTIVE._replace(confirmed=False), ACTIVE._replace(contact=False), peer()):
        assert not m.wants(facts(other), T0 + 9 * SECOND)
    assert not machine(SrgState.BACKUP).wants(facts(ACTIVE), T0 + 9 * SECOND), "not configured"


def test_a_move_that_nobody_asked_for_is_no_preemption() -> None:
    m = preempting()
    better = ACTIVE._replace(priority=250)
    m.step(facts(better), T0 + SECOND)
    taken_and_lost(m, T0 + 2 * SECOND, priority=250)
    assert m.wants(facts(ACTIVE), T0 + 10 * SECOND), "the operator's move does not count"


def test_a_deadline_for_preemption_and_the_election() -> None:
    m = preempting()
    m.reconfigure(replace(GROUP, preempt=replace(OFTEN, stable_for=700 * MS)), TIMERS)
    assert m.deadline(facts(ACTIVE), T0) == T0 + 700 * MS
    new = SrgMachine(GROUP, NodeId(1), TIMERS, None, T0)
    young = facts(peer()._replace(contact_since=T0))
    new.step(young, T0)
    assert new.deadline(young, T0) == T0 + 2 * TIMERS.heartbeat
    assert new.deadline(young, T0 + 2 * TIMERS.heartbeat) == T0 + TIMERS.noactive + TIMERS.elect - 2 * TIMERS.heartbeat


# --- what a group holds ---------------------------------------------------------------------------------------------


def test_a_new_machine_claims_nothing() -> None:
    m = SrgMachine(GROUP, NodeId(1), TIMERS, None, T0)
    assert (m.state, m.term, m.seen, m.claim, m.grant, m.move) == (SrgState.HOLD, 0, 0, None, None, None)
    assert not (m.confirmed or m.heir or m.verified or m.contact or m.draining)
    assert (m.rule, m.since, m.rule_at, m.level, m.priority) == (Rule.BOOT, T0, T0, Level.LOW, 200)
    assert m.reason == "the process has started"
    assert m.describe_grant(T0) == "none" and m.memory(frozenset()).term == m.memory(frozenset()).seen == 0
    assert SrgMachine(GROUP, NodeId(2), TIMERS, None, T0).priority == 100


def test_who_resumes_proves_its_term_afresh() -> None:
    m = SrgMachine(GROUP, NodeId(1), TIMERS, Memory(SrgId(1), Term(5), Term(5)), T0 - 10 * MS)
    m.resume(Term(5), (), T0 - 10 * MS)
    assert not m.verified
    told = m.step(acked(T0, 5, floating_sent=T0), T0)
    assert "term 5 verified after 10 ms: neighbors acknowledged it, the probe wins" in texts(told)


def test_a_claim_ends_with_the_state_that_claimed_and_with_contact() -> None:
    for end in (facts(SILENT_PEER), facts(SILENT_PEER, eligible=False), facts(eligible=False)):
        m = machine(SrgState.BACKUP)
        m.step(facts(peer(state=SrgState.INELIGIBLE)), T0)
        assert m.claim == 6
        m.step(end, T0 + MS)
        assert m.claim is None


def test_every_activity_uses_its_number_up_and_is_proved_anew() -> None:
    m = machine(SrgState.BACKUP)
    m.step(facts(SILENT_PEER, win=2), T0)
    assert (m.state, m.term, m.seen, m.since, m.rule_at) == (SrgState.ACTIVE, 6, 6, T0, T0)
    m.step(facts(SILENT_PEER, acked_term=Term(6), acked_at=T0, floating_sent=T0), T0 + MS)
    assert m.verified
    m.step(facts(SILENT_PEER, lose=3), T0 + SECOND)
    assert (m.state, m.since) == (SrgState.BACKUP, T0 + SECOND)
    m.step(facts(SILENT_PEER, win=2), T0 + 2 * SECOND)
    assert (m.state, m.term, m.seen, m.verified) == (SrgState.ACTIVE, 7, 7, False)


def test_a_node_that_fails_covers_and_follows_nothing_any_more() -> None:
    m = giving()
    m.step(facts(TAKER), T0 + MS)
    assert m.draining and m.move is not None
    m.step(facts(TAKER, eligible=False), T0 + 2 * MS)
    assert (m.level, m.draining, m.describe_move(T0)) == (Level.LOW, False, None)


def test_a_promise_ends_when_its_holder_hands_back() -> None:
    m = giving()
    m.step(facts(peer(state=SrgState.INELIGIBLE, seen=Term(7), grant=Term(7), grant_left=SECOND)), T0 + MS)
    assert (m.state, m.term, m.confirmed, m.grant) == (SrgState.ACTIVE, 7, True, None)


def test_learning_never_forgets() -> None:
    m = machine(SrgState.HOLD)
    m.learn(Term(4))
    assert m.seen == 5
    m.learn(Term(9))
    assert (m.seen, m.term) == (9, 5)


def test_who_resumes_without_a_memory_takes_the_term_of_its_routes() -> None:
    m = SrgMachine(GROUP, NodeId(1), TIMERS, None, T0)
    m.resume(Term(7), (NodeId(2),), T0)
    assert (m.term, m.seen, m.grant) == (7, 7, None)


def test_silence_is_of_an_active_peer_only() -> None:
    """A peer that is still heard, but not as ACTIVE, holds nothing."""
    m = machine(SrgState.BACKUP)
    m.step(facts(SILENT_PEER), T0 - MS)
    assert rule(m, facts(SILENT_PEER._replace(heard=True), witness_alive=True)) is Rule.SILENCE


def test_a_lone_machine_is_looked_at_when_t_boot_is_over() -> None:
    m = SrgMachine(GROUP, NodeId(1), TIMERS, None, T0)
    assert m.deadline(facts(None), T0 + TIMERS.elect) == T0 + TIMERS.boot
    assert m.deadline(facts(None), T0 + TIMERS.boot) is None
