"""The agent's end of the speaker: wish, renewal, reach, acknowledgement, and what a silent speaker means."""

from __future__ import annotations

from dataclasses import replace

from l3ha.base.names import Level, SrgId, Term
from l3ha.base.settings import Bfd, BfdAuth
from l3ha.base.time import MS, SECOND, Instant
from l3ha.core.routes import Levels, SpeakerLink
from l3ha.wire.bfd import Diagnostic, State
from l3ha.wire.wish import BfdReport, BfdWish, Goodbye, NeighborReport, Renew, Report, Wish
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
    x.expire(T0 + TIMERS.lease + MS)
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
