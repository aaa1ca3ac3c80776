"""The agent's end of the speaker: wish, renewal, reach, acknowledgement, and what a silent speaker means."""

from __future__ import annotations

from dataclasses import replace

from l3ha.base.names import LeaseEnd, Level, SrgId, Term
from l3ha.base.settings import Bfd, BfdAuth, SpeakerSettings
from l3ha.base.time import MS, SECOND, Instant
from l3ha.core.events import Note, NoteKind
from l3ha.core.routes import Levels, SpeakerLink
from l3ha.wire.bfd import Diagnostic, State
from l3ha.wire.wish import Advertised, BfdReport, BfdWish, Goodbye, NeighborReport, Renew, Report, Wish
from tests.world import TIMERS, settings

T0: Instant = 1_000 * SECOND
ME = 77
SRG = SrgId(1)
LOW: Levels = {SRG: (Level.LOW, Term(0))}
HIGH: Levels = {SRG: (Level.HIGH, Term(5))}


def report(number: int, *, r1: bool = True, r2: bool = True, agent: int = ME, confirmed: int | None = None) -> Report:
    told = tuple(
        NeighborReport(n.name, n.address, up, (number if confirmed is None else confirmed) if up else -1, None)
        for n, up in zip(settings(1).neighbors, (r1, r2), strict=True)
    )
    return Report(1, "5.0.15", agent, number, True, (), told)


def link(levels: Levels = LOW) -> SpeakerLink:
    """Connected, told, confirmed."""
    x = SpeakerLink(settings(1), ME, T0)
    x.up(T0)
    assert isinstance(x.tell(levels, T0), Wish)
    x.receive(report(1), T0)
    assert x.reach() == {"r1", "r2"}
    return x


def test_nothing_is_told_without_a_speaker() -> None:
    assert SpeakerLink(settings(1), ME, T0).tell(LOW, T0) is None


def test_a_wish_only_on_change_a_renewal_every_quarter_of_the_lease() -> None:
    x = link()
    assert x.tell(LOW, T0 + MS) is None
    assert x.tell(LOW, T0 + TIMERS.lease // 4) == Renew(ME, 1, TIMERS.lease)
    told = x.tell(HIGH, T0 + SECOND)
    assert isinstance(told, Wish) and told.number == 2
    assert {g.level for n in told.neighbors for g in n.routes} == {Level.HIGH}
    assert {g.level for n in told.neighbors for g in n.fallback} == {Level.LOW}


def test_a_new_speaker_is_told_everything() -> None:
    x = link()
    x.down(T0 + MS)
    assert x.tell(LOW, T0 + 2 * MS) is None
    x.up(T0 + 3 * MS)
    assert isinstance(x.tell(LOW, T0 + 3 * MS), Wish)


def test_reach_needs_the_newest_wish_but_waits_t_bgp_for_it() -> None:
    x = link()
    x.tell(HIGH, T0 + SECOND)
    x.receive(report(2, confirmed=1), T0 + SECOND + MS)
    assert x.reach() == {"r1", "r2"}, "a wish under way does not make routers vanish"
    x.expire(T0 + SECOND + TIMERS.bgp + MS)
    assert x.reach() == frozenset()
    x.receive(report(2), T0 + 2 * SECOND)
    assert x.reach() == {"r1", "r2"}


def test_a_session_that_is_down_is_out_of_reach_at_once() -> None:
    x = link()
    notes, _ = x.receive(report(1, r1=False), T0 + MS)
    assert x.reach() == {"r2"} and any("r1 is down" in n.text for n in notes)


def test_a_session_that_comes_up_counts_once_it_holds_the_wish() -> None:
    x = link()
    x.receive(report(1, r1=False), T0 + MS)
    x.receive(report(1, confirmed=-1), T0 + 2 * MS)
    assert "r1" not in x.reach()
    x.receive(report(1), T0 + 3 * MS)
    assert "r1" in x.reach()


def test_confirmation_of_another_agents_wish_is_none() -> None:
    x = SpeakerLink(settings(1), ME, T0)
    x.up(T0)
    x.tell(LOW, T0)
    x.receive(report(1, agent=ME + 1), T0 + MS)
    assert x.reach() == frozenset() and not x.synced()


def test_acked_is_the_high_that_every_session_holds() -> None:
    x = link(HIGH)
    assert x.acked(SRG) == (5, T0)
    x.tell({SRG: (Level.HIGH, Term(6))}, T0 + SECOND)
    assert x.acked(SRG)[0] == 5
    x.receive(report(2), T0 + SECOND + 3 * MS)
    assert x.acked(SRG) == (6, T0 + SECOND + 3 * MS)
    x.tell(LOW, T0 + 2 * SECOND)
    x.receive(report(3), T0 + 2 * SECOND)
    assert x.acked(SRG)[0] == -1


def test_a_vanished_speaker_is_waited_for() -> None:
    """It may respawn within the grace; ExaBGP's own end needs no waiting."""
    x = link()
    x.down(T0)
    assert x.usable(T0 + SECOND - MS) and x.reach()
    x.expire(T0 + SECOND)
    assert not x.usable(T0 + SECOND) and not x.reach()
    y = link()
    y.receive(Goodbye("ExaBGP is gone"), T0)
    y.down(T0)
    assert not y.usable(T0) and not y.reach()


def test_a_silent_speaker_is_lost_and_found_again_on_the_same_connection() -> None:
    x = link()
    x.expire(T0 + TIMERS.lease)
    assert x.connected
    x.expire(T0 + TIMERS.lease + 1)
    assert not x.connected
    x.receive(report(1), T0 + 3 * SECOND)
    assert x.connected
    told = x.tell(LOW, T0 + 3 * SECOND)
    assert isinstance(told, Wish)
    x.receive(report(told.number), T0 + 3 * SECOND)
    assert x.reach() == {"r1", "r2"}


def test_after_a_pause_its_silence_is_counted_afresh() -> None:
    x = link()
    x.pause(T0 + 60 * SECOND)
    x.expire(T0 + 60 * SECOND + MS)
    assert x.connected and x.reach()


def test_leaving_withdraws_and_leaves_nothing_for_the_lease_to_lower() -> None:
    x = link(HIGH)
    told = x.tell(LOW, T0 + MS, withdraw=True)
    assert isinstance(told, Wish)
    assert all(n.routes == () and n.fallback == () for n in told.neighbors)
    assert x.tell(LOW, T0 + 2 * MS, withdraw=True) is None


def test_before_the_first_wish_nothing_is_held() -> None:
    """A speaker that outlived our forerunner reports what that one wished."""
    x = SpeakerLink(settings(1), ME, T0)
    x.up(T0)
    x.receive(report(9, agent=ME + 1), T0)
    assert x.all_up() and not x.synced() and x.reach() == frozenset()


def test_what_is_advertised_counts_under_a_live_lease_only() -> None:
    """Rule *resume*: without the lease the routes are lowered already, or about to be."""
    x = SpeakerLink(settings(1), ME, T0)
    x.up(T0)
    advertised = (Advertised(1, Level.HIGH, 5),)
    line = replace(report(9, agent=ME + 1), advertised=advertised)
    assert x.receive(line, T0)[1] == advertised and x.lease_live
    assert x.receive(replace(line, lease_live=False), T0)[1] == () and not x.lease_live


def test_a_neighbor_behind_is_looked_at_when_t_bgp_is_over() -> None:
    x = link()
    assert x.deadline(T0) == T0 + TIMERS.lease // 4, "nobody is behind: the next renewal"
    x.tell(HIGH, T0 + MS)
    due = T0 + MS + TIMERS.bgp + 1
    assert x.deadline(T0 + MS) == min(due, T0 + MS + TIMERS.lease // 4)
    x.tell(LOW, T0 + 400 * MS)  # behind since the first of the two
    assert x.deadline(T0 + 400 * MS) == due
    x.expire(due - 1)
    assert x.reach()
    x.expire(due)
    assert not x.reach()


def test_after_a_pause_a_neighbor_behind_has_t_bgp_again() -> None:
    x = link()
    x.tell(HIGH, T0 + MS)
    woken = T0 + 60 * SECOND
    x.pause(woken)
    x.expire(woken)
    assert x.reach() == {"r1", "r2"} and x.deadline(woken) == woken + TIMERS.bgp + 1
    x.receive(report(2), woken)
    x.pause(woken + MS)
    x.expire(woken + TIMERS.bgp + 2 * MS)
    assert x.reach() == {"r1", "r2"}, "a pause makes nobody behind"


def test_a_lost_speaker_is_told_and_given_up_after_its_grace() -> None:
    """T_boot after our start, when it may not have been started yet; later the grace that is configured."""
    grace = TIMERS.boot // 4
    s = replace(settings(1), speaker=SpeakerSettings(LeaseEnd.LOWER, grace))
    x = SpeakerLink(s, ME, T0)
    assert x.deadline(T0) == T0 + TIMERS.boot
    assert x.usable(T0 + TIMERS.boot - 1) and not x.usable(T0 + TIMERS.boot)
    x.up(T0 + MS)
    x.tell(LOW, T0 + MS)
    x.receive(report(1), T0 + MS)
    lost = T0 + 7 * SECOND
    assert x.down(lost) == Note(NoteKind.SPEAKER, "speaker lost", alarm=True)
    assert x.deadline(lost) == lost + grace
    assert x.usable(lost + grace - 1) and not x.usable(lost + grace)
    assert x.up(lost + 2 * grace) == Note(NoteKind.SPEAKER, "speaker connected", alarm=False)
    x.receive(Goodbye("ExaBGP is gone"), lost + 2 * grace)
    assert x.down(lost + 2 * grace) == Note(NoteKind.SPEAKER, "speaker lost: ExaBGP is gone", alarm=True)


def test_a_longer_lease_once_for_a_wish_that_was_told() -> None:
    x = SpeakerLink(settings(1), ME, T0)
    assert x.renew(9 * SECOND) is None
    x.up(T0)
    assert x.renew(9 * SECOND) is None
    x.tell(LOW, T0)
    assert x.renew(9 * SECOND) == Renew(ME, 1, 9 * SECOND)
    x.down(T0)
    assert x.renew(9 * SECOND) is None


def test_routes_of_the_node_have_no_rank() -> None:
    """SRG 0 is active everywhere: the same attributes at every node, where those of SRG 1 carry the rank."""
    preferences = {}
    for node in (1, 2):
        s = settings(node)
        group = replace(s.node_group, routes=("198.51.100.0/24",))
        x = SpeakerLink(replace(s, node_group=group), ME, T0)
        x.up(T0)
        told = x.tell({SrgId(0): (Level.HIGH, Term(0)), SRG: (Level.HIGH, Term(0))}, T0)
        assert isinstance(told, Wish)
        preferences[node] = {g.srg: g.attributes.local_preference for g in told.neighbors[0].routes}
    assert preferences == {1: {0: 1000, 1: 1002}, 2: {0: 1000, 1: 1001}}


# --- BFD ------------------------------------------------------------------------------------------------------------

SESSION = BfdReport(
    address="",
    state=State.UP,
    remote_state=State.UP,
    diagnostic=0,
    remote_diagnostic=0,
    interval=50 * MS,
    required_rx=50 * MS,
    remote_tx=50 * MS,
    remote_rx=50 * MS,
    multiplier=3,
    remote_multiplier=3,
    detection=150 * MS,
    flaps=0,
    error=None,
    age=0,
    sent=0,
    received=0,
    drops=(),
)
LOST = replace(SESSION, state=State.DOWN, diagnostic=Diagnostic.DETECTION_TIME_EXPIRED, flaps=1)


def bfd_link() -> SpeakerLink:
    """As ``link``, with BFD to r1."""
    s = settings(1)
    first = replace(s.neighbors[0], bfd=Bfd(50 * MS, 3, 255, None, BfdAuth(5, 2, b"key")))
    x = SpeakerLink(replace(s, neighbors=(first, *s.neighbors[1:])), ME, T0)
    x.up(T0)
    wish = x.tell(LOW, T0)
    assert isinstance(wish, Wish)
    assert wish.neighbors[0].bfd == BfdWish(first.local_address, None, 50 * MS, 3, 255, 5, 2, b"key".hex())
    assert wish.neighbors[1].bfd is None
    return x


def told(session: BfdReport, number: int = 1) -> Report:
    return replace(report(number), bfd=(replace(session, address=settings(1).neighbors[0].address),))


def test_bfd_is_wished_for_beyond_a_withdrawal() -> None:
    wish = bfd_link().tell(LOW, T0 + MS, withdraw=True)
    assert isinstance(wish, Wish) and not any(n.routes for n in wish.neighbors) and wish.neighbors[0].bfd is not None


def test_a_router_whose_bfd_is_down_is_not_reached() -> None:
    """Though BGP is up: TCP notices only after the hold time, or BGP came back without BFD."""
    x = bfd_link()
    x.receive(told(SESSION), T0)
    assert x.reach() == {"r1", "r2"}
    notes, _ = x.receive(told(LOST), T0 + MS)
    assert x.reach() == {"r2"}
    assert [(n.text, n.alarm) for n in notes] == [
        ("BFD session to r1 is down: detection time expired (it says UP)", True)
    ]
    x.receive(told(replace(LOST, state=State.INIT)), T0 + 2 * MS)
    assert x.reach() == {"r2"}, "not before it is up again"
    notes, _ = x.receive(told(replace(SESSION, flaps=1)), T0 + 3 * MS)
    assert x.reach() == {"r1", "r2"} and [n.text for n in notes] == ["BFD session to r1 is up"]


def test_bfd_that_never_came_up_or_was_taken_down_on_purpose_takes_nothing_away() -> None:
    for session in (
        replace(SESSION, state=State.DOWN, remote_state=State.DOWN),
        replace(LOST, remote_state=State.ADMIN_DOWN),
        replace(LOST, state=State.ADMIN_DOWN),
    ):
        x = bfd_link()
        x.receive(told(session), T0)
        assert x.reach() == {"r1", "r2"}, session


def test_bfd_of_a_neighbor_that_is_not_set_up_for_it_counts_nothing() -> None:
    x = link()
    x.receive(told(LOST), T0)
    assert x.reach() == {"r1", "r2"} and x.neighbors["r1"].bfd is None


def test_a_new_process_of_the_speaker_counts_flaps_afresh() -> None:
    x = bfd_link()
    x.receive(told(replace(LOST, flaps=5)), T0)
    x.down(T0 + MS)
    x.up(T0 + 2 * MS)
    x.tell(LOW, T0 + 2 * MS)
    x.receive(told(replace(SESSION, age=MS), 2), T0 + 3 * MS)
    assert x.reach() == {"r1", "r2"} and x.neighbors["r1"].bfd_since == T0 + 2 * MS
    notes, _ = x.receive(told(LOST, 2), T0 + 4 * MS)
    assert x.reach() == {"r2"} and len(notes) == 1
