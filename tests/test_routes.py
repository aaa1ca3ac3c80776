"""The agent's end of the speaker: wish, renewal, reach, acknowledgement, and what a silent speaker means."""

from __future__ import annotations

from l3ha.base.names import Level, SrgId, Term
from l3ha.base.time import MS, SECOND, Instant
from l3ha.core.routes import Levels, SpeakerLink
from l3ha.wire.wish import Goodbye, NeighborReport, Renew, Report, Wish
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
