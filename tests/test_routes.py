"""The agent's end of the speaker: wish, renewal, reach, acknowledgement, and what a silent speaker means."""

from __future__ import annotations

from dataclasses import replace

import pytest

from l3ha.base.names import LeaseEnd, Level, SrgId, Term
from l3ha.base.settings import Bfd, BfdAuth, FrrBfd, Neighbor, SpeakerSettings
from l3ha.base.time import MS, NEVER, SECOND, Instant
from l3ha.core import wishes
from l3ha.core.events import Note, NoteKind
from l3ha.core.routes import FULL_REPORT, REMEMBERED_WISHES, SpeakerLink
from l3ha.core.wishes import Levels
from l3ha.wire import wishline
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


def proving(**changes: object) -> tuple[SpeakerLink, Neighbor]:
    """A session that proves that its router lives, but for what is changed of it."""
    s = settings(1)
    first = replace(s.neighbors[0], bfd=Bfd(50 * MS, 3, 255, None, None, True))
    x = SpeakerLink(replace(s, neighbors=(first, *s.neighbors[1:])), ME, T0)
    x.up(T0)
    x.tell(LOW, T0)
    x.receive(replace(report(1), bfd=(replace(SESSION, address=first.address, **changes),)), T0)
    return x, first


def test_a_session_that_is_up_proves_that_the_router_lives() -> None:
    x, n = proving()
    assert x.bfd_proves(n, T0)
    assert x.bfd_proves(n, T0 + TIMERS.lease) and not x.bfd_proves(n, T0 + TIMERS.lease + 1), "a hung speaker"
    assert not x.bfd_proves(settings(1).neighbors[1], T0), "it has no BFD"
    assert not x.bfd_proves(replace(n, bfd=Bfd(50 * MS, 3, 255, None, None)), T0), "it was not asked to"
    x.down(T0)
    assert not x.bfd_proves(n, T0), "the speaker is gone"


@pytest.mark.parametrize("state", [State.ADMIN_DOWN, State.DOWN, State.INIT, None])
def test_a_session_that_is_not_up_proves_nothing(state: State | None) -> None:
    x, n = proving(state=state)
    assert not x.bfd_proves(n, T0)


def test_a_witness_is_down_before_the_peer_counts_as_silent() -> None:
    """T_det is 500 ms, and the peer's last word may be two intervals of 100 ms older than a cut of the own links."""
    frr = FrrBfd("/run/frr", 50 * MS, None, None)
    for detection, own in ((0, False), (250, True), (300, True)):
        x, n = proving(detection=detection * MS)
        assert x.bfd_proves(n, T0) is own and not x.bfd_proves(replace(n, bfd=frr), T0), detection
    x, n = proving(detection=300 * MS + 1)
    assert not x.bfd_proves(n, T0)


NEXT: Levels = {SRG: (Level.HIGH, Term(6))}


def foreseeing(*cases: Levels) -> SpeakerLink:
    x = link(HIGH)
    assert len(x.foresee(cases)) == len(cases)
    return x


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is made or written while routers wait."""
    calls: list[str] = []
    for module, name in ((wishes, "make"), (wishline, "encode")):
        real = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *a, _n=name, _r=real, **k: calls.append(_n) or _r(*a, **k))
    return calls


def test_what_is_foreseen_is_neither_made_nor_written_when_it_comes(made: list[str]) -> None:
    for covered, drop_from in ((frozenset[str](), 1), (frozenset({"r2"}), 1000)):
        s = replace(settings(1), speaker=replace(settings(1).speaker, drop_from=drop_from))
        x = SpeakerLink(s, ME, T0)
        x.up(T0)
        x.tell(HIGH, T0)
        x.foresee((NEXT, LOW))
        made.clear()
        wish = x.tell(LOW, T0, covered=lambda names=covered: names)
        assert wish is not None and x.line(wish).startswith(b'{"type":"wish"')
        assert made == []


def test_what_was_foreseen_before_another_wish_is_of_no_use(made: list[str]) -> None:
    x = foreseeing(LOW)
    x.tell(NEXT, T0)
    made.clear()
    wish = x.tell(LOW, T0)
    assert wish is not None and wish.number == 3
    x.line(wish)
    assert made == ["make", "encode"]
    lowered = foreseeing(NEXT).tell(LOW, T0, covered=lambda: frozenset({"r2"}))
    assert lowered is not None and lowered.number == 2, "nor one of another case"


def test_what_is_foreseen_is_told_once_and_comes_as_it_was_told() -> None:
    x, other = foreseeing(LOW, NEXT), link(HIGH)
    assert x.foresee((LOW, NEXT)) == [], "known"
    assert len(x.foresee((LOW, HIGH))) == 1, "what is wished already need not be foreseen"
    _, line = x.foresee((LOW, NEXT))
    told, as_ever = x.tell(NEXT, T0 + MS), other.tell(NEXT, T0 + MS)
    assert told == as_ever and told is not None
    assert x.line(told) == wishline.encode(told) and line == wishline.ahead(x.line(told))
    assert x.number == 2 and x.neighbors["r1"].behind_since == T0 + MS
    assert len(x.foresee((LOW,))) == 1, "what was foreseen had an older number"


def test_many_routes_are_not_foreseen() -> None:
    few = settings(1)
    for count, lines in ((1000, 1), (1001, 0)):
        routes = tuple(f"10.{i >> 8}.{i & 255}.0/24" for i in range(count))
        s = replace(few, srgs=(replace(few.srgs[0], routes=routes, floating=()),), neighbors=few.neighbors[:1])
        x = SpeakerLink(s, ME, T0)
        x.up(T0)
        told = x.tell(LOW, T0)
        assert told is not None and sum(len(g.prefixes) for n in told.neighbors for g in n.routes) == count
        assert len(x.foresee((NEXT,))) == lines


def test_what_changes_a_wish_otherwise_makes_it_anew() -> None:
    lowered = foreseeing(LOW).tell(LOW, T0)
    assert lowered is not None and all(n.routes for n in lowered.neighbors)
    withdrawn = foreseeing(LOW).tell(LOW, T0, withdraw=True)
    assert withdrawn is not None and not any(n.routes for n in withdrawn.neighbors)
    x = foreseeing(LOW)
    x.reconfigure(replace(settings(1), speaker=replace(settings(1).speaker, drop_from=1)))
    assert len(x.foresee((LOW,))) == 0, "first the wish itself is told again"
    x.tell(HIGH, T0)
    assert len(x.foresee((LOW,))) == 1
    dropped = x.tell(LOW, T0, covered=lambda: frozenset({"r2"}))
    assert dropped is not None and [n.drop for n in dropped.neighbors] == [n.name == "r2" for n in dropped.neighbors]
    x = foreseeing(LOW)
    x.up(T0)
    assert x.foresee((LOW,)) == [], "a new speaker has to hear the wish before"
    x.tell(HIGH, T0)
    assert len(x.foresee((LOW,))) == 1
    x.down(T0)
    assert x.foresee((NEXT,)) == []


def test_nothing_is_told_without_a_speaker() -> None:
    assert SpeakerLink(settings(1), ME, T0).tell(LOW, T0) is None


def test_a_wish_only_on_change_a_renewal_every_quarter_of_the_lease() -> None:
    x, quarter = link(), T0 + TIMERS.lease // 4
    assert x.tell(LOW, T0 + MS) is None and x.renewal(T0 + MS) is None
    assert x.tell(LOW, quarter) is None and x.renewal(quarter) == Renew(ME, 1, TIMERS.lease, brief=True)
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


def test_renewals_are_due_on_a_grid() -> None:
    """With the heartbeats, which wake the process anyway; never later than a quarter of the lease."""
    x, quarter = link(), TIMERS.lease // 4
    assert T0 % quarter == 0
    x.tell(HIGH, T0 + 7 * MS)
    assert x.renewal_due() == T0 + quarter
    assert x.renewal(T0 + quarter - 1) is None
    assert isinstance(x.renewal(T0 + quarter + 30 * MS), Renew)
    assert x.renewal(T0 + 2 * quarter - 1) is None and x.renewal_due() == T0 + 2 * quarter
    assert isinstance(x.renewal(T0 + 2 * quarter), Renew)


def test_a_neighbor_behind_is_looked_at_when_t_bgp_is_over() -> None:
    x = link()
    assert x.deadline(T0) is None, "nobody is behind"
    x.tell(HIGH, T0 + MS)
    due = T0 + MS + TIMERS.bgp + 1
    assert x.deadline(T0 + MS) == due
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
    s = replace(settings(1), speaker=SpeakerSettings(LeaseEnd.LOWER, grace, 0, nudge=True))
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


def test_a_speaker_that_has_not_spoken_yet() -> None:
    x = SpeakerLink(settings(1), ME, T0)
    assert (x.reported, x.lease_live, x.exabgp, x.acked(SRG)) == (False, False, None, (-1, 0))
    x.up(T0 + 60 * SECOND)
    x.expire(T0 + 60 * SECOND + TIMERS.lease)
    assert x.connected and not x.reported, "its silence is counted from its connection"
    assert x.silent_from() == T0 + 60 * SECOND + TIMERS.lease + 1, "its silence ends"
    assert x.renewal_due() == NEVER and x.renewal(T0 + 60 * SECOND) is None, "nothing was told: nothing to renew"
    x.receive(report(1), T0 + 61 * SECOND)
    x.expire(T0 + 61 * SECOND + TIMERS.lease)
    assert x.connected and x.reported and x.exabgp == "5.0.15" and x.lease_live
    x.receive(replace(report(1), exabgp=""), T0 + 62 * SECOND)
    assert x.exabgp is None
    x.down(T0 + 63 * SECOND)
    x.up(T0 + 64 * SECOND)
    assert not x.reported


def test_renewals_have_their_pace() -> None:
    x, quarter = link(), TIMERS.lease // 4
    assert x.renewal(T0 + quarter - 1) is None
    assert x.renewal(T0 + quarter) is not None
    assert x.renewal(T0 + quarter + 1) is None and x.renewal(T0 + 2 * quarter - 1) is None
    assert x.renewal_due() == T0 + 2 * quarter
    assert x.silent_from() == T0 + TIMERS.lease + 1
    x.alive(T0 + MS)
    assert x.silent_from() == T0 + MS + TIMERS.lease + 1
    x.down(T0 + quarter)
    assert x.silent_from() == NEVER
    assert x.deadline(T0 + quarter) == T0 + quarter + settings(1).speaker.grace
    assert x.renewal_due() == NEVER and x.renewal(T0 + 2 * quarter) is None


def test_a_full_report_is_asked_for_now_and_then() -> None:
    x, quarter = link(), TIMERS.lease // 4
    asked = []
    for n in range(1, 13):
        renewal = x.renewal(T0 + n * quarter)
        assert renewal is not None
        asked.append(renewal.brief)
        if renewal.brief:
            assert x.alive(T0 + n * quarter) is False
        else:
            x.receive(report(1), T0 + n * quarter)
    assert 4 * quarter == FULL_REPORT and asked == [True, True, True, False] * 3
    x.down(T0 + 13 * quarter)
    x.up(T0 + 13 * quarter)
    x.tell(LOW, T0 + 13 * quarter)
    renewal = x.renewal(T0 + 14 * quarter)
    assert renewal is not None and not renewal.brief, "it has not reported since it connected"


def test_a_brief_answer_keeps_the_speaker_alive() -> None:
    x = link()
    x.alive(T0 + SECOND)
    assert x.expire(T0 + SECOND + TIMERS.lease) == [] and x.connected
    assert x.expire(T0 + SECOND + TIMERS.lease + 1) and not x.connected
    assert x.alive(T0 + 9 * SECOND) is True, "it was only slow"
    assert x.connected and isinstance(x.tell(LOW, T0 + 9 * SECOND), Wish), "and is told everything"


def test_what_is_known_of_a_connection_that_is_lost() -> None:
    x = link()
    assert x.all_up() and x.synced()
    x.down(T0)
    assert x.reach() == {"r1", "r2"} and not x.all_up() and not x.synced()


def test_what_a_neighbor_says_of_itself() -> None:
    x = link()
    r1 = replace(report(1).neighbors[0], up=False, confirmed=-1, error="refused")
    notes, _ = x.receive(replace(report(1), neighbors=(r1, *report(1).neighbors[1:])), T0 + MS)
    assert [(n.text, n.alarm) for n in notes] == [("BGP session to r1 is down", True)]
    assert (x.neighbors["r1"].error, x.neighbors["r2"].error) == ("refused", None)
    notes, _ = x.receive(report(1), T0 + 2 * MS)
    assert [(n.text, n.alarm) for n in notes] == [("BGP session to r1 is up", False)]
    assert x.neighbors["r1"].error is None and x.neighbors["r1"].since == T0 + 2 * MS


def test_a_neighbor_that_lost_the_wish_is_behind_from_then_on() -> None:
    x = link()
    lost = T0 + 10 * SECOND
    x.receive(report(1, confirmed=-1), lost)
    x.expire(lost + TIMERS.bgp)
    assert x.reach() == {"r1", "r2"}
    x.expire(lost + TIMERS.bgp + 1)
    assert x.reach() == frozenset()


def test_acknowledged_since_the_first_report_of_it() -> None:
    x = link(HIGH)
    x.receive(report(1), T0 + SECOND)
    assert x.acked(SRG) == (5, T0)


def test_old_wishes_are_remembered_for_late_confirmations_but_not_for_ever() -> None:
    x = link()
    for n in range(2, 3 * REMEMBERED_WISHES):
        x.tell({SRG: (Level.HIGH, Term(n))}, T0)
        assert len(x._levels_of) <= REMEMBERED_WISHES
    oldest = x.number - REMEMBERED_WISHES + 1
    x.receive(report(x.number, confirmed=oldest), T0 + MS)
    assert x.acked(SRG) == (oldest, T0 + MS)


def test_other_settings_are_told_again() -> None:
    x = link()
    x.reconfigure(replace(settings(1), neighbors=settings(1).neighbors[1:]))
    wish = x.tell(LOW, T0 + MS)
    assert isinstance(wish, Wish) and [n.name for n in wish.neighbors] == ["r2"]
    assert x.reach() == {"r2"} and x.neighbors["r2"].up, "who stays is as it was"
    x.reconfigure(settings(1))
    assert x.neighbors["r2"].up and not x.neighbors["r1"].up and isinstance(x.tell(LOW, T0 + MS), Wish)


def test_generations_are_those_of_the_first_neighbors_as() -> None:
    """One for all, because a change is told apart from every other one by it (RFC 8092: 32 bits)."""
    s = settings(1)
    first, second = s.neighbors
    for neighbors, asn in (
        ((replace(first, local_asn=4_200_000_001), second), 4_200_000_001),
        ((first, replace(second, local_asn=7)), 65001),
        ((), 0),
    ):
        x = SpeakerLink(replace(s, neighbors=neighbors), ME, T0)
        x.up(T0)
        wish = x.tell(LOW, T0)
        assert isinstance(wish, Wish) and wish.generation == (asn, 1)


def test_the_floating_addresses_are_told_first() -> None:
    s = settings(1)
    (g,) = s.srgs
    last = replace(g, routes=("192.0.2.0/24", "198.51.100.0/24", "2001:db8::/32", *g.floating))
    x = SpeakerLink(replace(s, srgs=(last,)), ME, T0)
    x.up(T0)
    told = x.tell(HIGH, T0)
    assert isinstance(told, Wish)
    for n in told.neighbors:
        assert n.routes[0].prefixes == (*g.floating, "192.0.2.0/24", "198.51.100.0/24")


def test_families_are_groups_of_their_own_and_only_high_has_a_term() -> None:
    s = settings(1)
    neighbors = (replace(s.neighbors[0], next_hop6="fd00::1"), s.neighbors[1])
    group = replace(s.srgs[0], routes=("2001:db8::/32", "203.0.113.0/24"))
    x = SpeakerLink(replace(s, neighbors=neighbors, srgs=(group,)), ME, T0)
    x.up(T0)
    wish = x.tell(HIGH, T0)
    assert isinstance(wish, Wish)
    both, one = wish.neighbors
    assert [(g.prefixes, g.attributes.next_hop, g.level, g.term) for g in both.routes] == [
        (("203.0.113.0/24",), s.neighbors[0].next_hop, Level.HIGH, 5),
        (("2001:db8::/32",), "fd00::1", Level.HIGH, 5),
    ]
    assert {(g.level, g.term) for g in both.fallback} == {(Level.LOW, 0)}
    assert [g.prefixes for g in one.routes] == [("203.0.113.0/24",)], "no IPv6 next hop: not sent"


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


def test_bfd_without_authentication_has_no_key() -> None:
    s = settings(1)
    first = replace(s.neighbors[0], bfd=Bfd(50 * MS, 3, 255, "eth1", None))
    x = SpeakerLink(replace(s, neighbors=(first,)), ME, T0)
    x.up(T0)
    wish = x.tell(LOW, T0)
    assert isinstance(wish, Wish)
    assert wish.neighbors[0].bfd == BfdWish(first.local_address, "eth1", 50 * MS, 3, 255, None, 0, "")


def test_a_loss_is_told_once_and_a_session_that_never_was_up_is_no_loss() -> None:
    never = replace(LOST, flaps=0)
    init = replace(LOST, state=State.INIT)
    for story, lost in (
        ((never, replace(never, state=State.INIT), never), [0, 0, 0]),
        ((LOST, init, LOST), [1, 0, 0]),
        ((SESSION, LOST, replace(LOST, flaps=2)), [0, 1, 1]),
        ((replace(SESSION, flaps=7), replace(SESSION, flaps=7, state=State.ADMIN_DOWN)), [0, 0]),
    ):
        x = bfd_link()
        found = [x.receive(told(session), T0 + n * MS)[0] for n, session in enumerate(story)]
        assert [sum("is down" in note.text and "BFD" in note.text for note in notes) for notes in found] == lost


def test_what_bfd_said_ends_with_its_process() -> None:
    x = bfd_link()
    for end in (lambda: x.receive(Goodbye("ExaBGP is gone"), T0 + MS), lambda: x.up(T0 + MS)):
        x.receive(told(SESSION), T0)
        assert x.neighbors["r1"].bfd is not None
        end()
        assert (x.neighbors["r1"].bfd, x.neighbors["r1"].bfd_since) == (None, None)
