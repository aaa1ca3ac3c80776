"""The SRG machine alone: every rule of protocol §5, by name, with the facts that make it fit and those that do not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from l3ha.base.names import Level, NodeId, SrgId, SrgState, Term
from l3ha.base.settings import Preempt, Srg
from l3ha.base.time import MS, SECOND, Instant
from l3ha.core.events import Memory
from l3ha.core.facts import Facts, PeerFacts, Rule
from l3ha.core.group import Grant
from l3ha.core.srg import ALONE, ANY, CONTACT, SrgMachine
from tests.world import TIMERS

T0: Instant = 1_000 * SECOND
T_DET = TIMERS.detection

GROUP = Srg(
    id=SrgId(1),
    description="",
    priorities={NodeId(1): 200, NodeId(2): 100},
    preempt=None,
    floating=(),
    routes=("203.0.113.0/24",),
    arbiters=(),
    probe_interval=100 * MS,
    up=2,
    down=3,
    monitors=(),
    threshold=100,
    blind_after=None,
)

PEER = PeerFacts(
    id=NodeId(2),
    name="n2",
    contact=True,
    contact_since=T0 - 60 * SECOND,
    heard=True,
    age=10 * MS,
    reach=frozenset({"r1", "r2"}),
    state=SrgState.BACKUP,
    confirmed=False,
    term=Term(0),
    seen=Term(0),
    claim=None,
    grant=None,
    grant_left=0,
    eligible=True,
    ready=True,
    verified=False,
    wants=False,
    winning=False,
    priority=100,
    same_routes=True,
    informed=True,
)

FACTS = Facts(
    peers=(PEER,),
    lone=False,
    peer_ever_heard=True,
    reach=frozenset({"r1", "r2"}),
    eligible=True,
    ready=True,
    ineligible_why="",
    win=0,
    part=0,
    lose=0,
    unknown=0,
    probe_interval=100 * MS,
    witness_alive=False,
    acked_term=Term(-1),
    acked_at=0,
    floating_sent=None,
)


def facts(peer: PeerFacts | None = PEER, /, **changes: object) -> Facts:
    base = FACTS._replace(peers=() if peer is None else (peer,))
    return base._replace(**changes)  # type: ignore[arg-type]


def peer(**changes: object) -> PeerFacts:
    return PEER._replace(**changes)  # type: ignore[arg-type]


SILENT_PEER = peer(contact=False, heard=False)


def machine(state: SrgState = SrgState.HOLD, *, confirmed: bool = False, term: int = 5, me: int = 1) -> SrgMachine:
    """A machine put into a state by its own rules where possible; boot long ago."""
    m = SrgMachine(GROUP, NodeId(me), TIMERS, Memory(SrgId(1), Term(term), Term(term)), T0 - 60 * SECOND)
    match state:
        case SrgState.HOLD:
            pass
        case SrgState.BACKUP:
            m.step(facts(peer(state=SrgState.ACTIVE, confirmed=True, term=Term(term), seen=Term(term))), T0 - SECOND)
        case SrgState.ACTIVE:
            m.resume(Term(term), (), T0 - 30 * SECOND)
            if confirmed:
                m.step(facts(SILENT_PEER, win=2), T0 - SECOND)
        case SrgState.INELIGIBLE:
            m.step(facts(SILENT_PEER, eligible=False), T0 - SECOND)
    assert m.state is state and m.confirmed is confirmed
    return m


def rule(m: SrgMachine, f: Facts, now: Instant = T0) -> Rule | None:
    """The last rule that acted in this step, None where none did."""
    before = (m.rule, m.rule_at)
    m.step(f, now)
    return m.rule if (m.rule, m.rule_at) != before else None


def test_the_table_lists_every_rule_once() -> None:
    listed = [name for name, _ in ANY + CONTACT + ALONE]
    outside = {Rule.BOOT, Rule.PAUSE, Rule.RESUME}
    assert set(listed) | outside == set(Rule)
    assert len(listed) == len(set(listed))


# --- any state ------------------------------------------------------------------------------------------------


def test_pause_forgets_and_distrusts() -> None:
    m = machine(SrgState.ACTIVE, confirmed=True)
    m.grant = Grant(Term(9), NodeId(2), T0 + SECOND)
    m.pause(T0)
    assert (m.rule, m.state, m.confirmed, m.grant, m.claim, m.contact) == (
        Rule.PAUSE, SrgState.ACTIVE, False, None, None, False
    )  # fmt: skip
    assert m.level is Level.HIGH, "routes stay as they are: the term fences them"


@pytest.mark.parametrize("state", [SrgState.HOLD, SrgState.BACKUP, SrgState.ACTIVE])
def test_failed_is_low_in_the_same_step(state: SrgState) -> None:
    m = machine(state)
    assert rule(m, facts(SILENT_PEER, eligible=False, ineligible_why="monitors failed: uplink")) is Rule.FAILED
    assert (m.state, m.level) == (SrgState.INELIGIBLE, Level.LOW)
    assert m.reason == "monitors failed: uplink"
    assert m.grant is None, "without contact there is nobody to grant to"


def test_failed_active_grants_unasked() -> None:
    m = machine(SrgState.ACTIVE, confirmed=True)
    rule(m, facts(eligible=False))
    assert m.grant == Grant(Term(6), NodeId(2), T0 + TIMERS.grant)


def test_failed_backup_grants_nothing_unasked() -> None:
    m = machine(SrgState.BACKUP)
    rule(m, facts(peer(state=SrgState.ACTIVE, confirmed=True, term=Term(5)), eligible=False))
    assert m.state is SrgState.INELIGIBLE and m.grant is None


def test_recovered_only_after_t_recover() -> None:
    m = machine(SrgState.INELIGIBLE)
    assert rule(m, facts(SILENT_PEER), T0) is None
    assert rule(m, facts(SILENT_PEER), T0 + TIMERS.recover - 1) is None
    m.step(facts(SILENT_PEER, eligible=False), T0 + TIMERS.recover - 1)
    assert rule(m, facts(SILENT_PEER), T0 + TIMERS.recover) is None, "a relapse counts afresh"
    assert rule(m, facts(SILENT_PEER), T0 + 2 * TIMERS.recover) is Rule.RECOVERED
    assert (m.state, m.level) == (SrgState.HOLD, Level.LOW)


def test_resume_is_a_pause() -> None:
    m = SrgMachine(GROUP, NodeId(1), TIMERS, Memory(SrgId(1), Term(5), Term(5)), T0)
    m.resume(Term(5), (NodeId(2),), T0)
    assert (m.rule, m.state, m.confirmed, m.level, m.term) == (Rule.RESUME, SrgState.ACTIVE, False, Level.HIGH, 5)
    assert m.grant is None


def test_resume_is_bound_by_a_promise_of_the_earlier_process() -> None:
    m = SrgMachine(GROUP, NodeId(1), TIMERS, Memory(SrgId(1), Term(5), Term(6)), T0)
    m.resume(Term(5), (NodeId(2),), T0)
    assert m.grant is not None and m.grant.number == 6
    assert rule(m, facts(SILENT_PEER, win=9)) is None, "bound: no re-confirmation while the promise may be alive"
    assert rule(m, facts(SILENT_PEER, win=9), T0 + TIMERS.grant) is Rule.HOLD_ON


def test_pause_leaves_the_heir_an_heir() -> None:
    """The active node may have died while its backup slept: nobody else would take over before the hold time."""
    m = machine(SrgState.BACKUP)
    m.pause(T0)
    assert m.heir and not m.contact
    m.step(facts(SILENT_PEER._replace(heard=True, state=SrgState.ACTIVE), witness_alive=True), T0)
    assert m.state is SrgState.BACKUP, "not before T_det has passed awake"
    assert rule(m, facts(SILENT_PEER, witness_alive=True), T0 + T_DET) is Rule.SILENCE


# --- in contact -----------------------------------------------------------------------------------------------


def test_follow() -> None:
    m = machine()
    assert rule(m, facts(peer(state=SrgState.ACTIVE))) is Rule.FOLLOW
    assert (m.state, m.level) == (SrgState.BACKUP, Level.MEDIUM)


def test_elect_by_probe() -> None:
    assert rule(machine(), facts(win=1)) is Rule.ELECT  # T_elect is over in FACTS
    m = machine()
    young = peer(contact_since=T0 - 200 * MS)
    m.step(facts(young), T0 - 1)
    assert m.claim is None
    assert rule(m, facts(young, win=2)) is Rule.ELECT
    assert m.claim == 6 and m.state is SrgState.HOLD


@pytest.mark.parametrize(
    "f",
    [
        facts(peer(contact_since=T0 - 200 * MS), win=1),
        facts(peer(contact_since=T0 - 199 * MS), win=2),
        facts(reach=frozenset()),
        facts(SILENT_PEER),
    ],
    ids=["one win is not two", "contact < 2 T_h", "no own reach", "no contact"],
)
def test_elect_does_not_fit(f: Facts) -> None:
    m = SrgMachine(GROUP, NodeId(1), TIMERS, None, T0 - SECOND)
    assert rule(m, f) is None and m.claim is None


def test_elect_after_t_elect_without_any_probe() -> None:
    m = SrgMachine(GROUP, NodeId(1), TIMERS, None, T0)
    contact = peer(contact_since=T0)
    assert rule(m, facts(contact), T0 + TIMERS.elect - 1) is None
    assert rule(m, facts(contact), T0 + TIMERS.elect) is Rule.ELECT


def test_succeed_an_ineligible_peer_at_once() -> None:
    m = machine(SrgState.BACKUP)
    assert rule(m, facts(peer(state=SrgState.INELIGIBLE))) is Rule.SUCCEED
    assert m.claim == 6


def test_succeed_after_t_noactive() -> None:
    m = machine(SrgState.BACKUP)
    assert rule(m, facts(peer(state=SrgState.HOLD))) is None
    assert rule(m, facts(peer(state=SrgState.HOLD)), T0 + TIMERS.noactive) is Rule.SUCCEED


def test_succeed_needs_own_reach_and_no_active() -> None:
    m = machine(SrgState.BACKUP)
    assert rule(m, facts(peer(state=SrgState.INELIGIBLE), reach=frozenset())) is None
    m.step(facts(peer(state=SrgState.HOLD)), T0)
    active = facts(peer(state=SrgState.ACTIVE, confirmed=True))
    m.step(active, T0 + TIMERS.noactive - 1)
    assert rule(m, facts(peer(state=SrgState.HOLD)), T0 + TIMERS.noactive) is None, "it was ACTIVE in between"


def test_claim_is_dropped_when_its_reason_is_gone() -> None:
    m = machine(SrgState.BACKUP)
    m.step(facts(peer(state=SrgState.INELIGIBLE)), T0)
    assert m.claim is not None
    m.step(facts(peer(state=SrgState.ACTIVE, confirmed=True)), T0 + MS)
    assert m.claim is None


CLAIM = peer(state=SrgState.BACKUP, claim=Term(6), seen=Term(5))


def test_grant_to_the_higher_key() -> None:
    m = machine(SrgState.HOLD, me=2)
    asker = peer(
        id=NodeId(1), name="n1", priority=200, state=SrgState.HOLD, claim=Term(6), seen=Term(5), contact_since=T0
    )
    m.step(facts(asker), T0)
    assert m.grant == Grant(Term(6), NodeId(1), T0 + TIMERS.grant)
    assert m.seen == 6


@pytest.mark.parametrize(
    ("change", "granted"),
    [
        ({"reach": frozenset({"r1", "r2", "r3"})}, True),
        ({"state": SrgState.BACKUP}, True),
        ({"winning": True}, True),
        ({"priority": 201}, True),
        ({"priority": 200}, True),
        ({"priority": 199}, False),
        ({"reach": frozenset({"r1"}), "priority": 250, "winning": True}, False),
        ({"claim": Term(5)}, False),
    ],
    ids=["routers first", "state class", "probe", "priority", "id", "lower priority", "fewer routers", "old number"],
)
def test_grant_key(change: dict[str, object], granted: bool) -> None:
    """(routers reached, state class, WIN×K_up, priority, id), compared while both may claim."""
    m = SrgMachine(GROUP, NodeId(1), TIMERS, Memory(SrgId(1), Term(5), Term(5)), T0)
    asker = peer(state=SrgState.HOLD, claim=Term(6), contact_since=T0)._replace(**change)  # type: ignore[arg-type]
    m.step(facts(asker), T0 + MS)
    assert (m.grant is not None) is granted


def test_grant_by_an_ineligible_node_whatever_the_key() -> None:
    m = machine(SrgState.INELIGIBLE)
    m.step(facts(CLAIM._replace(reach=frozenset(), priority=1), eligible=False), T0)
    assert m.grant is not None


def test_grant_never_by_a_confirmed_active() -> None:
    m = machine(SrgState.ACTIVE, confirmed=True)
    m.step(facts(CLAIM._replace(priority=250, reach=frozenset({"r1", "r2", "r3"}))), T0)
    assert m.grant is None


def test_grant_to_an_unconfirmed_active_that_reaches_less() -> None:
    """Refusing would leave it unconfirmed for ever: no other rule fits. (protocol §5 read literally is stuck here.)"""
    m = machine(SrgState.BACKUP)
    asker = CLAIM._replace(state=SrgState.ACTIVE, term=Term(5), reach=frozenset({"r1"}))
    m.step(facts(asker), T0)
    assert m.grant is not None


def test_granted_our_claim() -> None:
    m = machine(SrgState.BACKUP)
    m.step(facts(peer(state=SrgState.INELIGIBLE)), T0)
    answer = peer(state=SrgState.INELIGIBLE, grant=Term(6), grant_left=SECOND, seen=Term(6))
    assert rule(m, facts(answer), T0 + MS) is Rule.GRANTED
    assert (m.state, m.confirmed, m.level, m.term, m.seen) == (SrgState.ACTIVE, True, Level.HIGH, 6, 6)


def test_granted_not_by_a_promise_that_may_have_ended() -> None:
    m = machine(SrgState.BACKUP)
    m.step(facts(peer(state=SrgState.INELIGIBLE)), T0)
    old = peer(state=SrgState.INELIGIBLE, grant=Term(6), grant_left=5 * MS, age=5 * MS, seen=Term(6))
    m.step(facts(old), T0 + MS)
    assert m.state is SrgState.BACKUP


@pytest.mark.parametrize(
    ("state", "confirmed", "taken"),
    [
        (SrgState.INELIGIBLE, False, True),
        (SrgState.ACTIVE, False, True),
        (SrgState.ACTIVE, True, False),
        (SrgState.BACKUP, False, False),
        (SrgState.HOLD, False, False),
    ],
)
def test_granted_unasked(state: SrgState, confirmed: bool, taken: bool) -> None:
    m = machine(SrgState.BACKUP)
    giver = peer(state=state, confirmed=confirmed, term=Term(5), seen=Term(6), grant=Term(6), grant_left=SECOND)
    m.step(facts(giver), T0)
    assert (m.state is SrgState.ACTIVE) is taken
    if taken:
        assert m.term == 6 and m.confirmed


def test_granted_not_while_an_own_promise_lives() -> None:
    """Two nodes that grant each other at once must not both become ACTIVE (S4)."""
    m = machine(SrgState.BACKUP)
    m.step(facts(CLAIM._replace(state=SrgState.HOLD, reach=frozenset({"r1", "r2", "r3"}))), T0)
    assert m.grant is not None
    crossed = peer(state=SrgState.HOLD, grant=Term(6), grant_left=SECOND, seen=Term(6))
    m.step(facts(crossed), T0 + MS)
    assert m.state is SrgState.BACKUP


def test_granted_back_by_the_holder_of_our_promise() -> None:
    m = machine(SrgState.ACTIVE, confirmed=True)
    m.request_move(None, "operator")
    m.step(facts(), T0)
    assert m.grant is not None and m.grant.number == 6
    back = peer(state=SrgState.INELIGIBLE, seen=Term(7), grant=Term(7), grant_left=SECOND)
    m.step(facts(back), T0 + MS)
    assert m.confirmed and m.term == 7


def test_reclaim() -> None:
    m = machine(SrgState.ACTIVE)
    assert rule(m, facts()) is Rule.RECLAIM
    assert m.claim == 6 and m.level is Level.HIGH


def test_reclaim_not_beside_an_active_peer() -> None:
    m = machine(SrgState.ACTIVE)
    assert rule(m, facts(peer(state=SrgState.ACTIVE, term=Term(9)))) is Rule.DUEL


@pytest.mark.parametrize(
    ("mine", "theirs", "wins"),
    [
        ((True, 200, 1), (False, 250, 2), True),
        ((False, 200, 1), (True, 100, 2), False),
        ((True, 200, 1), (True, 100, 2), True),
        ((True, 200, 1), (True, 201, 2), False),
        ((True, 200, 1), (True, 200, 2), False),
    ],
    ids=["confirmed beats priority", "unconfirmed yields", "priority", "lower priority", "lower id backs off"],
)
def test_duel(mine: tuple[bool, int, int], theirs: tuple[bool, int, int], wins: bool) -> None:
    m = machine(SrgState.ACTIVE, confirmed=mine[0])
    other = peer(state=SrgState.ACTIVE, confirmed=theirs[0], priority=theirs[1], term=Term(7), seen=Term(7))
    assert rule(m, facts(other)) is Rule.DUEL
    assert (m.state is SrgState.ACTIVE) is wins
    if wins:
        assert m.confirmed and m.term == 8, "a winner always announces again, with a greater number"
    else:
        assert m.level is Level.HIGH and m.draining, "the old HIGH covers the winner, whose number is greater"
        m.step(facts(other), T0 + TIMERS.drain)
        assert m.level is Level.MEDIUM


@pytest.mark.parametrize("theirs", [4, 5])
def test_duel_loser_covers_only_a_greater_number(theirs: int) -> None:
    m = machine(SrgState.ACTIVE)
    rule(m, facts(peer(state=SrgState.ACTIVE, confirmed=True, term=Term(theirs))))
    assert (m.state, m.level) == (SrgState.BACKUP, Level.MEDIUM)


def test_a_confirmed_active_node_takes_no_second_grant() -> None:
    m = machine(SrgState.ACTIVE, confirmed=True)
    offer = peer(state=SrgState.INELIGIBLE, eligible=False, grant=Term(6), grant_left=SECOND)
    assert rule(m, facts(offer)) is None
    assert m.term == 5


def test_a_claim_whose_number_was_used_is_made_again_with_the_next() -> None:
    m = machine(SrgState.HOLD)
    m.step(facts(win=2), T0)
    assert m.claim == 6
    m.step(facts(peer(seen=Term(6)), win=2), T0 + MS)
    assert m.claim == 7


def test_duel_winner_with_the_greater_number_is_quiet() -> None:
    m = machine(SrgState.ACTIVE, confirmed=True)
    assert rule(m, facts(peer(state=SrgState.ACTIVE, term=Term(4)))) is None
    assert m.term == 5


def test_handover_by_the_operator() -> None:
    m = machine(SrgState.ACTIVE, confirmed=True)
    m.request_move(NodeId(2), "operator")
    assert rule(m, facts()) is Rule.HANDOVER
    assert (m.state, m.confirmed, m.level) == (SrgState.ACTIVE, False, Level.HIGH)
    assert m.grant == Grant(Term(6), NodeId(2), T0 + TIMERS.grant)


@pytest.mark.parametrize(
    "change",
    [
        {"state": SrgState.HOLD},
        {"ready": False},
        {"eligible": False},
        {"reach": frozenset({"r1"})},
        {"same_routes": False},
    ],
)
def test_handover_refused(change: dict[str, object]) -> None:
    m = machine(SrgState.ACTIVE, confirmed=True)
    m.request_move(None, "operator")
    m.step(facts(PEER._replace(**change)), T0)  # type: ignore[arg-type]
    assert m.confirmed and m.grant is None
    assert sum(not c.ok for c in m.preconditions(facts(PEER._replace(**change)), None, T0)) == 1  # type: ignore[arg-type]


def test_handover_to_the_better_connected_peer() -> None:
    m = machine(SrgState.ACTIVE, confirmed=True)
    lost = facts(reach=frozenset({"r1"}))
    assert rule(m, lost) is None
    assert rule(m, lost, T0 + TIMERS.settle) is Rule.HANDOVER


def test_handover_rolls_back_when_the_peer_does_not_take() -> None:
    m = machine(SrgState.ACTIVE, confirmed=True)
    m.request_move(None, "operator")
    m.step(facts(), T0)
    notes = m.step(facts(peer(seen=Term(6))), T0 + TIMERS.grant)
    assert any("rolled back" in n.text for n in notes)
    assert m.rule is Rule.RECLAIM and m.claim == 7


def test_handover_back_when_not_verified() -> None:
    m = machine(SrgState.BACKUP)
    giver = peer(state=SrgState.ACTIVE, term=Term(5), seen=Term(6), grant=Term(6), grant_left=SECOND)
    m.step(facts(giver), T0)
    m.step(facts(peer(seen=Term(6))), T0 + TIMERS.verify - 1)
    assert m.confirmed and not m.verified
    assert rule(m, facts(peer(seen=Term(6))), T0 + TIMERS.verify) is Rule.HANDOVER
    assert "not verified" in m.reason


def test_verified_by_acknowledgement_and_a_later_answer() -> None:
    m = machine(SrgState.BACKUP)
    giver = peer(state=SrgState.ACTIVE, term=Term(5), seen=Term(6), grant=Term(6), grant_left=SECOND)
    m.step(facts(giver), T0)
    m.step(facts(acked_term=Term(6), acked_at=T0 + 3, floating_sent=T0 + 2), T0 + 10)
    assert not m.verified, "the answer is older than the acknowledgement"
    m.step(facts(acked_term=Term(6), acked_at=T0 + 3, floating_sent=T0 + 3), T0 + 11)
    assert m.verified
    blind = machine(SrgState.BACKUP)
    blind.step(facts(giver._replace(informed=False)), T0)
    blind.step(facts(acked_term=Term(6), acked_at=T0 + 3), T0 + 10)
    assert blind.verified, "no arbiter tells anybody anything: the acknowledgements must do"
    assert rule(m, facts(), T0 + TIMERS.verify) is None


def test_handover_is_not_reversed_when_a_part_of_the_routers_follows() -> None:
    m = machine(SrgState.BACKUP)
    giver = peer(state=SrgState.ACTIVE, term=Term(5), seen=Term(6), grant=Term(6), grant_left=SECOND)
    m.step(facts(giver), T0)
    some = facts(acked_term=Term(6), acked_at=T0 + 3, floating_any=T0 + 4)
    m.step(some, T0 + 10)
    assert not m.verified
    notes = m.step(some, T0 + TIMERS.verify)
    assert m.verified and m.confirmed
    assert any(n.alarm and "part of the routers" in n.text for n in notes)


def test_preemption_by_request() -> None:
    m = machine(SrgState.ACTIVE, confirmed=True)
    assert rule(m, facts(peer(wants=True))) is Rule.HANDOVER
    assert "preemption" in m.reason


def test_preemption_asks_only_when_stable_and_not_too_often() -> None:
    rule_ = Preempt(stable_for=10 * SECOND, max=1, window=3600 * SECOND)
    m = machine(SrgState.BACKUP)
    m.reconfigure(replace(GROUP, preempt=rule_), TIMERS)
    active = peer(state=SrgState.ACTIVE, confirmed=True, term=Term(5), seen=Term(5))
    m.step(facts(active), T0)
    began = T0
    assert not m.wants(facts(active), began + 10 * SECOND - 1)
    assert m.wants(facts(active), began + 10 * SECOND)
    assert not m.wants(facts(active._replace(confirmed=False)), began + 10 * SECOND)
    m.step(facts(active, ready=False), T0 + SECOND)
    assert not m.wants(facts(active), began + 10 * SECOND)
    m.step(facts(active), T0 + 2 * SECOND)
    giving = active._replace(confirmed=False, grant=Term(6), grant_left=SECOND, seen=Term(6))
    m.step(facts(giving), T0 + 20 * SECOND)
    assert m.state is SrgState.ACTIVE
    m.step(facts(active._replace(confirmed=True, term=Term(9), seen=Term(9), priority=250)), T0 + 21 * SECOND)
    m.step(facts(active._replace(term=Term(9), seen=Term(9))), T0 + 22 * SECOND)
    assert not m.wants(facts(active), T0 + 60 * SECOND), "once per window"


# --- without contact ------------------------------------------------------------------------------------------


def test_bound_waits_and_counts_nothing() -> None:
    m = machine(SrgState.BACKUP)
    m.step(facts(CLAIM._replace(priority=250)), T0)
    assert m.grant is not None
    m.heir = True
    for f in (facts(SILENT_PEER, win=9), facts(SILENT_PEER, witness_alive=True)):
        m.step(f, T0 + MS)
        assert m.state is SrgState.BACKUP
    assert rule(m, facts(SILENT_PEER, win=9), T0 + TIMERS.grant) is Rule.WON


@pytest.mark.parametrize("count", [{"win": 2}, {"part": 2}])
def test_hold_on(count: dict[str, int]) -> None:
    m = machine(SrgState.ACTIVE)
    assert rule(m, facts(SILENT_PEER, **{k: v - 1 for k, v in count.items()})) is None
    assert rule(m, facts(SILENT_PEER, **count)) is Rule.HOLD_ON
    assert m.confirmed


def test_outranked() -> None:
    m = machine(SrgState.ACTIVE, confirmed=True)
    assert rule(m, facts(SILENT_PEER, lose=2)) is None
    assert rule(m, facts(SILENT_PEER, lose=3)) is Rule.OUTRANKED
    assert (m.state, m.level) == (SrgState.BACKUP, Level.MEDIUM)


def test_in_the_dark_stays() -> None:
    m = machine(SrgState.ACTIVE, confirmed=True)
    assert rule(m, facts(SILENT_PEER, unknown=2)) is None
    assert rule(m, facts(SILENT_PEER, unknown=3)) is Rule.IN_THE_DARK
    assert (m.state, m.confirmed, m.level) == (SrgState.ACTIVE, False, Level.HIGH)


@pytest.mark.parametrize("state", [SrgState.HOLD, SrgState.BACKUP])
def test_won(state: SrgState) -> None:
    assert rule(machine(state), facts(SILENT_PEER, win=1)) is None
    assert rule(machine(state), facts(SILENT_PEER, win=2, reach=frozenset())) is None
    m = machine(state)
    assert rule(m, facts(SILENT_PEER, win=2)) is Rule.WON
    assert (m.state, m.confirmed, m.term) == (SrgState.ACTIVE, True, 6)


def test_won_by_lasting_part() -> None:
    ticks = 2 * TIMERS.settle // FACTS.probe_interval
    assert rule(machine(SrgState.BACKUP), facts(SILENT_PEER, part=ticks - 1)) is None
    assert rule(machine(SrgState.BACKUP), facts(SILENT_PEER, part=ticks)) is Rule.WON


def test_won_in_hold_only_after_t_boot() -> None:
    m = SrgMachine(GROUP, NodeId(1), TIMERS, None, T0)
    assert rule(m, facts(SILENT_PEER, win=9), T0 + TIMERS.boot - 1) is None
    assert rule(m, facts(SILENT_PEER, win=9), T0 + TIMERS.boot) is Rule.WON


def test_next_term_strides_when_no_peer_was_ever_heard() -> None:
    m = machine(SrgState.HOLD)
    rule(m, facts(None, win=2, peer_ever_heard=False))
    assert m.term == 1005
    m = machine(SrgState.HOLD)
    rule(m, facts(None, win=2, peer_ever_heard=False, lone=True))
    assert m.term == 6


def heir() -> SrgMachine:
    m = machine(SrgState.BACKUP)
    m.step(facts(SILENT_PEER), T0 - MS)
    assert m.heir, "BACKUP to an ACTIVE peer at the end of the last contact"
    return m


def test_silence() -> None:
    m = heir()
    assert rule(m, facts(SILENT_PEER, witness_alive=True)) is Rule.SILENCE
    assert (m.state, m.confirmed, m.level, m.term) == (SrgState.ACTIVE, False, Level.HIGH, 6)
    assert not m.heir


@pytest.mark.parametrize(
    "f",
    [
        facts(SILENT_PEER),
        facts(SILENT_PEER, witness_alive=True, reach=frozenset()),
        facts(SILENT_PEER._replace(heard=True, state=SrgState.ACTIVE), witness_alive=True),
    ],
    ids=["no witness", "no own reach", "heard as ACTIVE"],
)
def test_silence_does_not_fit(f: Facts) -> None:
    m = heir()
    assert rule(m, f) is None and m.state is SrgState.BACKUP


def test_silence_only_for_the_heir() -> None:
    m = machine(SrgState.BACKUP)
    m.step(facts(peer(state=SrgState.BACKUP)), T0 - MS)
    assert rule(m, facts(SILENT_PEER, witness_alive=True)) is None, "the peer was not ACTIVE at the end"
    m = heir()
    m.step(facts(SILENT_PEER, witness_alive=True), T0)
    m.step(facts(SILENT_PEER, lose=3), T0 + SECOND)
    assert m.state is SrgState.BACKUP
    assert rule(m, facts(SILENT_PEER, witness_alive=True), T0 + 2 * SECOND) is None, (
        "used up: otherwise both flap for ever"
    )


def test_blind_only_where_configured() -> None:
    dark = facts(SILENT_PEER, unknown=10_000)
    assert rule(machine(SrgState.BACKUP), dark) is None
    m = machine(SrgState.BACKUP)
    m.reconfigure(replace(GROUP, blind_after=30 * SECOND), TIMERS)
    assert rule(m, facts(SILENT_PEER, unknown=299)) is None
    assert rule(m, facts(SILENT_PEER._replace(heard=True), unknown=300)) is None
    assert rule(m, facts(SILENT_PEER, unknown=300)) is Rule.BLIND
    assert (m.state, m.confirmed) == (SrgState.ACTIVE, False)


@pytest.mark.parametrize("count", [{"lose": 3}, {"unknown": 3}])
def test_settle_down(count: dict[str, int]) -> None:
    m = machine(SrgState.HOLD)
    assert rule(m, facts(SILENT_PEER, **count)) is Rule.SETTLE_DOWN
    assert (m.state, m.level, m.heir) == (SrgState.BACKUP, Level.MEDIUM, False)
    young = SrgMachine(GROUP, NodeId(1), TIMERS, None, T0 - TIMERS.boot + 1)
    assert rule(young, facts(SILENT_PEER, **count)) is None


# --- terms ----------------------------------------------------------------------------------------------------


def test_terms_grow_beyond_everything_seen() -> None:
    m = machine(SrgState.BACKUP)
    m.step(facts(peer(state=SrgState.INELIGIBLE, seen=Term(41))), T0)
    assert m.claim == 42
    m.step(facts(peer(state=SrgState.INELIGIBLE, seen=Term(50))), T0 + MS)
    assert m.claim == 51, "a number that somebody used meanwhile is given up"


# --- small print ------------------------------------------------------------------------------------------------


def test_equal_priority_is_no_reason_to_preempt() -> None:
    m = machine(SrgState.BACKUP)
    m.reconfigure(replace(GROUP, preempt=Preempt(stable_for=SECOND, max=1, window=60 * SECOND)), TIMERS)
    active = peer(state=SrgState.ACTIVE, confirmed=True, term=Term(5), seen=Term(5))
    m.step(facts(active), T0)
    assert m.deadline(facts(active), T0) == T0 + SECOND, (
        "a better node looks again when it has been better for long enough"
    )
    equal = active._replace(priority=200)
    m.step(facts(equal), T0 + 1)
    m.step(facts(equal), T0 + 9 * SECOND)
    assert not m.wants(facts(equal), T0 + 9 * SECOND)


def test_granted_back_only_by_a_greater_number_than_we_have_promised() -> None:
    m = machine(SrgState.ACTIVE, confirmed=True)
    m.request_move(NodeId(2), "operator")
    m.step(facts(), T0)
    assert m.grant is not None and m.grant.number == 6
    same = peer(state=SrgState.ACTIVE, term=Term(5), seen=Term(6), grant=Term(6), grant_left=SECOND)
    m.step(facts(same), T0 + 1)
    assert m.state is SrgState.BACKUP and m.term == 5, "the duel goes to the holder of our promise"


def test_what_was_handed_back_is_not_handed_back_again() -> None:
    m = machine(SrgState.ACTIVE, confirmed=True)
    m.request_move(NodeId(2), "operator")
    m.step(facts(), T0)
    m.step(facts(peer(state=SrgState.ACTIVE, confirmed=True, term=Term(6), seen=Term(6))), T0 + MS)
    assert m.state is SrgState.BACKUP
    back = peer(state=SrgState.ACTIVE, term=Term(6), seen=Term(7), grant=Term(7), grant_left=SECOND)
    m.step(facts(back), T0 + TIMERS.verify)
    assert (m.state, m.term) == (SrgState.ACTIVE, 7)
    assert rule(m, facts(peer(seen=Term(7))), T0 + 2 * TIMERS.verify) is None, "it would go to and fro for ever"


def test_only_an_active_node_is_confirmed() -> None:
    m = machine(SrgState.ACTIVE, confirmed=True)
    notes = m.step(facts(SILENT_PEER, lose=3), T0)
    assert (m.state, m.confirmed) == (SrgState.BACKUP, False)
    assert [n.alarm for n in notes] == [False]
    assert [n.alarm for n in m.step(facts(SILENT_PEER, eligible=False), T0 + 1)] == [True]
