"""The speaker's machine and a virtual ExaBGP in virtual time: whatever happened, the routers end up with the wish."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import Phase, find, given, settings
from hypothesis import strategies as st

from l3ha.base.names import LeaseEnd, Level
from l3ha.base.time import MS, SECOND, Duration, Instant
from l3ha.core import exchange
from l3ha.core.ledger import RETRY
from l3ha.core.speaker import AUDIT, Speaker
from l3ha.core.speaker_events import (
    AgentDown,
    AgentLine,
    AgentUp,
    ExabgpGone,
    ExabgpLine,
    Log,
    Save,
    SpeakerEvent,
    Tick,
    ToAgent,
    ToExabgp,
)
from l3ha.wire import wishline
from l3ha.wire.wish import Alive, Attributes, Goodbye, NeighborWish, Renew, Report, RouteGroup, Wish
from tests.virtual_exabgp import VirtualExabgp

ADDRESSES = ["10.0.1.1", "10.0.2.1"]
LEASE = 4 * SECOND
HIGH, MEDIUM, LOW = Level.HIGH, Level.MEDIUM, Level.LOW
LOCAL_PREFERENCE = {HIGH: 3000, MEDIUM: 200, LOW: 100}


def attributes(level: Level, term: int = 0) -> Attributes:
    return Attributes("10.0.1.2", local_preference=LOCAL_PREFERENCE[level] + term)


def group(level: Level, *prefixes: str, term: int = 0, srg: int = 1) -> RouteGroup:
    return RouteGroup(srg, level, term, attributes(level, term), prefixes)


def wish(number: int, *routes: RouteGroup, end: LeaseEnd = LeaseEnd.LOWER, agent: int = 7, drop: bool = False) -> Wish:
    fallback = tuple(RouteGroup(g.srg, LOW, 0, attributes(LOW), g.prefixes) for g in routes)
    neighbors = tuple(
        NeighborWish(f"r{i}", address, routes, fallback, drop=drop) for i, address in enumerate(ADDRESSES, 1)
    )
    return Wish(agent, number, LEASE, end, (65001, 1), neighbors)


class World:
    """A speaker, its ExaBGP, its agent's ear, and a clock."""

    def __init__(self, *, change: Callable[[bytes], bytes] = lambda data: data, lists_all: bool = True) -> None:
        self.now: Instant = 1000 * SECOND
        self.exabgp = VirtualExabgp(ADDRESSES, lists_all=lists_all)
        self.told: list[Report | Alive | Goodbye] = []
        self.logs: list[str] = []
        self.saved: bytes | None = None
        self._change = change
        self._counter = 0
        self.speaker: Speaker
        self.start()

    def start(self) -> None:
        """A new helper process."""
        self.exabgp.new_helper()
        self._counter += 1 << 20
        self.speaker = Speaker(1, self._counter, self.saved, self.now, bytes)
        self.feed(Tick())

    def feed(self, event: SpeakerEvent) -> None:
        for effect in self.speaker.step(event, self.now):
            match effect:
                case ToExabgp(data):
                    self.exabgp.write(self._change(data))
                case ToAgent(data):
                    line = wishline.decode(data)
                    assert isinstance(line, Report | Alive | Goodbye)
                    self.told.append(line)
                case Save(data):
                    self.saved = data
                case Log(text):
                    self.logs.append(text)
                case _:
                    pass

    def ask(self, line: Wish | Renew) -> None:
        self.feed(AgentLine(wishline.encode(line)))

    def listen(self, lines: int = 1000) -> None:
        """The speaker reads what ExaBGP wrote."""
        for _ in range(min(lines, len(self.exabgp.output))):
            self.feed(ExabgpLine(self.exabgp.output.pop(0)))

    def wait(self, duration: Duration) -> None:
        """Let time pass; deadlines are kept on time."""
        end = self.now + duration
        while (deadline := self.speaker.next_deadline()) is not None and deadline <= end:
            self.now = max(self.now, deadline)
            self.feed(Tick())
            after = self.speaker.next_deadline()
            assert after is None or after > self.now, "a deadline that stays would keep a processor busy"
        self.now = end

    def work(self) -> None:
        """ExaBGP and the speaker go on until neither has anything to do at this instant."""
        while self.exabgp.busy:
            self.exabgp.carry_out()
            self.listen()
            for address in ADDRESSES:
                self.exabgp.bgp(address)

    def settle(self, renew: Renew | None = None, duration: Duration = 16 * SECOND) -> None:
        """Quiet: no faults, an agent that renews (or none), time for every retry."""
        self.exabgp.refuse.clear()
        self.exabgp.forget.clear()
        for _ in range(duration // (500 * MS)):
            self.work()
            if renew is not None:
                self.ask(renew)
            self.wait(500 * MS)
        self.work()

    def tables(self) -> dict[str, dict[str, int]]:
        """Local preferences at the routers."""
        return {
            address: {prefix: int(dict(a)["local-preference"]) for prefix, a in session.router.items()}
            for address, session in self.exabgp.sessions.items()
            if session.up
        }

    def report(self) -> Report:
        return self.speaker.status(self.now)

    def changes(self) -> list[str]:
        return [c for c in self.exabgp.commands if c.startswith("neighbor")]


def ready(first: Wish | None = None, **options: object) -> World:
    """Both neighbors up, the agent connected, and the wish fulfilled."""
    world = World(**options)
    for address in ADDRESSES:
        world.exabgp.come_up(address)
    world.feed(AgentUp())
    if first is not None:
        world.ask(first)
    world.work()
    return world


def wanted(w: Wish) -> dict[str, dict[str, int]]:
    out: dict[str, dict[str, int]] = {}
    for n in w.neighbors:
        out[n.address] = {p: g.attributes.local_preference or 0 for g in n.routes for p in g.prefixes}
    return out


# --- the wish ---------------------------------------------------------------------------------------------------------


def test_a_wish_reaches_every_neighbor_and_is_confirmed() -> None:
    w = wish(1, group(HIGH, "192.0.2.0/24", "2001:db8::/32", term=5))
    world = ready(w)
    assert world.tables() == wanted(w)
    report = world.told[-1]
    assert isinstance(report, Report)
    assert (report.agent, report.number, report.exabgp, report.lease_live) == (7, 1, "5.0.15", True)
    assert [(n.name, n.up, n.confirmed, n.error) for n in report.neighbors] == [
        ("r1", True, 1, None),
        ("r2", True, 1, None),
    ]
    assert [(a.srg, a.level, a.term) for a in report.advertised] == [(1, HIGH, 5)]


def test_what_was_read_ahead_is_not_read_again_and_means_nothing_before(monkeypatch: pytest.MonkeyPatch) -> None:
    world, other = (ready(wish(1, group(LOW, "192.0.2.0/24", "2001:db8::/32"))) for _ in range(2))
    before, report, saved = len(world.changes()), world.report(), world.saved
    cases = [wish(2, group(HIGH, "192.0.2.0/24", "2001:db8::/32", term=term)) for term in (5, 6, 7)]
    first, *kept = [wishline.encode(w) for w in cases]
    for line in (first, *kept):
        world.feed(AgentLine(wishline.ahead(line)[:-1]))
    world.work()
    assert (len(world.changes()), world.report(), world.saved) == (before, report, saved)
    reading = wishline.decode
    read: list[bytes] = []
    monkeypatch.setattr(wishline, "decode", lambda data: read.append(data) or reading(data))
    other.feed(AgentLine(first[:-1]))
    assert first[:-1] in read
    read.clear()
    world.feed(AgentLine(kept[1][:-1]))
    assert kept[1][:-1] not in read
    for w in (world, other):
        w.work()
    assert world.tables() == wanted(cases[2]) and [n.confirmed for n in world.report().neighbors] == [2, 2]
    assert len(world.changes()) == len(other.changes()) and world.saved == kept[1][:-1]
    world.feed(AgentLine(kept[0][:-1]))
    assert kept[0][:-1] in read, "after a wish nothing is kept"


def test_only_two_wishes_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    world = ready(wish(1, group(LOW, "192.0.2.0/24")))
    lines = [wishline.encode(wish(2, group(HIGH, "192.0.2.0/24", term=term)))[:-1] for term in (5, 6, 7)]
    for line in lines:
        world.feed(AgentLine(wishline.ahead(line)))
    reading, read = wishline.decode, list[bytes]()
    monkeypatch.setattr(wishline, "decode", lambda data: read.append(data) or reading(data))
    world.feed(AgentLine(lines[0]))
    assert read[0] == lines[0], "the oldest one is read anew"
    world.work()
    assert world.report().neighbors[0].confirmed == 2


def test_families_and_fifties_are_commands_of_their_own() -> None:
    prefixes = [f"10.{i}.0.0/16" for i in range(60)] + ["2001:db8::/32"]
    world = ready(wish(1, group(HIGH, *prefixes)))
    sizes = [len(c.split(" nlri ")[1].split()) for c in world.changes()]
    assert sizes == [50, 10, 50, 10, 1, 1], "IPv6 when every neighbor has been told IPv4"


def test_high_goes_first_at_every_neighbor() -> None:
    low, high = group(LOW, "192.0.2.0/24"), group(HIGH, "198.51.100.0/24", srg=2)
    world = ready(wish(1, low, high))
    order = [(c.split()[1], c.split(" nlri ")[1]) for c in world.changes()]
    assert order == [
        ("10.0.1.1", "198.51.100.0/24"),
        ("10.0.2.1", "198.51.100.0/24"),
        ("10.0.1.1", "192.0.2.0/24"),
        ("10.0.2.1", "192.0.2.0/24"),
    ]


def test_a_prefix_in_two_groups_has_the_greater_level() -> None:
    world = ready(
        wish(1, group(LOW, "192.0.2.0/24", srg=0), group(HIGH, "192.0.2.0/24"), group(MEDIUM, "192.0.2.0/24"))
    )
    assert world.tables()[ADDRESSES[0]] == {"192.0.2.0/24": LOCAL_PREFERENCE[HIGH]}
    assert len(world.changes()) == 2 and world.report().neighbors[0].confirmed == 1


def test_one_command_at_a_time() -> None:
    world = ready()
    world.ask(wish(1, group(HIGH, "192.0.2.0/24"), group(LOW, "198.51.100.0/24")))
    for expected in (1, 1, 2, 2):
        assert len(world.changes()) == expected
        if expected == len(world.changes()) and world.exabgp.output:
            world.listen()
        else:
            world.exabgp.carry_out()


def test_the_same_wish_again_is_confirmed_without_a_command() -> None:
    world = ready(wish(1, group(HIGH, "192.0.2.0/24")))
    before = len(world.changes())
    world.ask(wish(2, group(HIGH, "192.0.2.0/24")))
    assert world.report().neighbors[0].confirmed == 2
    assert len(world.changes()) == before


def test_a_wish_that_changes_midway() -> None:
    world = ready()
    world.ask(wish(1, *(group(HIGH, *(f"10.{i}.{j}.0/24" for j in range(60)), srg=i) for i in range(3))))
    world.exabgp.carry_out()
    world.listen()
    w = wish(2, group(LOW, "10.0.0.0/24"), group(MEDIUM, "10.1.1.0/24"))
    world.ask(w)
    assert world.report().neighbors[0].confirmed == -1
    world.work()
    assert world.tables() == wanted(w)
    assert world.report().neighbors[0].confirmed == 2


def test_every_command_has_its_own_generation() -> None:
    world = ready(wish(1, group(HIGH, "192.0.2.0/24"), group(LOW, "198.51.100.0/24")))
    world.ask(wish(2, group(LOW, "198.51.100.0/24")))
    world.work()
    generations = [c.split("large-community [")[1].split("]")[0] for c in world.changes()]
    assert len(generations) == 6 and len(set(generations)) == 6
    assert all(g.startswith("65001:1:") for g in generations)


def test_nothing_is_said_to_a_neighbor_that_is_down() -> None:
    world = World()
    world.exabgp.come_up(ADDRESSES[1])
    world.feed(AgentUp())
    world.ask(wish(1, group(HIGH, "192.0.2.0/24")))
    world.work()
    assert {c.split()[1] for c in world.changes()} == {ADDRESSES[1]}
    assert [n.confirmed for n in world.report().neighbors] == [-1, 1]


@pytest.mark.parametrize("lists_all", [True, False])
def test_a_new_helper_asks_who_is_up_and_what_is_there(lists_all: bool) -> None:
    """5.0 lists all sessions, 4.2 those that are up. A route that nobody wishes is taken back."""
    world = ready(wish(1, group(HIGH, "192.0.2.0/24", "198.51.100.0/24")), lists_all=lists_all)
    world.start()
    world.work()
    assert world.tables()[ADDRESSES[0]].keys() == {"192.0.2.0/24", "198.51.100.0/24"}, (
        "before a wish nothing is touched"
    )
    w = wish(1, group(MEDIUM, "198.51.100.0/24"), agent=8)
    world.feed(AgentUp())
    world.ask(w)
    world.work()
    assert world.tables() == wanted(w)
    assert [n.confirmed for n in world.report().neighbors] == [1, 1]


def test_the_answers_to_a_dead_helper_are_not_taken_for_our_own() -> None:
    """Seen with 5.0.15: the new helper is given the old one's ``done``, and then is off by one for good."""
    world = ready()
    w = wish(1, group(HIGH, "192.0.2.0/24"), group(LOW, "198.51.100.0/24"))
    world.ask(w)
    world.start()
    world.feed(AgentUp())
    world.ask(w)
    world.exabgp.carry_out()
    world.listen()
    assert world.exabgp.commands[-1] == "show neighbor summary", "an old answer ends nothing"
    world.work()
    assert [n.confirmed for n in world.report().neighbors] == [1, 1]
    assert world.tables() == wanted(w) and world.report().exabgp == "5.0.15"


def test_a_dead_helpers_question_is_answered_to_its_successor() -> None:
    w = wish(1, group(HIGH, "192.0.2.0/24"))
    world = ready(w)
    world.ask(wish(2, group(HIGH, "192.0.2.0/24", "198.51.100.0/24")))
    for _ in range(3):
        world.start()
        world.feed(AgentUp())
    world.ask(wish(3, group(MEDIUM, "192.0.2.0/24")))
    world.work()
    assert world.tables() == wanted(wish(3, group(MEDIUM, "192.0.2.0/24")))
    assert [n.confirmed for n in world.report().neighbors] == [3, 3]


def test_everything_again_after_a_reload_that_lost_the_queue() -> None:
    w = wish(1, group(HIGH, "192.0.2.0/24"))
    world = ready()
    world.ask(w)
    for _ in range(3):
        world.exabgp.carry_out()
        world.listen()
    world.exabgp.reload()
    world.work()
    assert world.tables() == wanted(w)


def test_a_neighbor_that_the_wish_leaves_out_loses_its_routes() -> None:
    world = ready(wish(1, group(HIGH, "192.0.2.0/24")))
    w = wish(2, group(HIGH, "192.0.2.0/24"))
    world.ask(Wish(w.agent, w.number, w.lease, w.end, w.generation, w.neighbors[:1]))
    world.work()
    assert world.tables() == {ADDRESSES[0]: {"192.0.2.0/24": LOCAL_PREFERENCE[HIGH]}, ADDRESSES[1]: {}}


def test_a_neighbor_that_only_a_dead_helper_knew_loses_its_routes() -> None:
    """Found while the wish, which does not name it, is there already."""
    world = ready(wish(1, group(HIGH, "192.0.2.0/24")))
    w = wish(2, group(HIGH, "192.0.2.0/24"), agent=8)
    world.saved = None
    world.start()
    world.feed(AgentUp())
    world.ask(Wish(w.agent, w.number, w.lease, w.end, w.generation, w.neighbors[:1]))
    world.work()
    assert world.tables() == {ADDRESSES[0]: {"192.0.2.0/24": LOCAL_PREFERENCE[HIGH]}, ADDRESSES[1]: {}}


def test_a_new_helper_knows_the_neighbors_of_the_saved_wish_by_name() -> None:
    world = ready(wish(1, group(HIGH, "192.0.2.0/24")))
    world.start()
    assert [(n.name, n.up, n.confirmed) for n in world.report().neighbors] == [("r1", False, -1), ("r2", False, -1)]


# --- answers --------------------------------------------------------------------------------------------------------


def test_a_refused_command_is_tried_again_and_keeps_nothing_else_waiting() -> None:
    world = ready()
    world.exabgp.refuse = [True]
    w = wish(1, group(HIGH, "192.0.2.0/24"), group(LOW, "198.51.100.0/24"))
    world.ask(w)
    world.work()
    assert world.tables() == {ADDRESSES[0]: {"198.51.100.0/24": 100}, ADDRESSES[1]: wanted(w)[ADDRESSES[1]]}
    first = world.report().neighbors[0]
    assert first.confirmed == -1 and first.error is not None and "192.0.2.0/24" in first.error
    world.wait(RETRY)
    world.work()
    assert world.tables() == wanted(w)
    assert world.report().neighbors[0].confirmed == 1 and world.report().neighbors[0].error is None


def test_a_refusal_before_a_session_ends_does_not_spin() -> None:
    """``World.wait`` fails on a deadline that stays."""
    world = ready()
    world.exabgp.refuse = [True]
    world.ask(wish(1, group(HIGH, "192.0.2.0/24")))
    world.work()
    world.exabgp.go_down(ADDRESSES[0])
    world.listen()
    world.wait(10 * SECOND)


def test_a_late_answer_belongs_to_its_own_command() -> None:
    world = ready()
    world.ask(wish(1, group(HIGH, "192.0.2.0/24"), group(LOW, "198.51.100.0/24")))
    world.wait(exchange.PATIENCE)
    assert world.report().neighbors[0].error == "ExaBGP does not answer"
    before = len(world.changes())
    world.exabgp.carry_out()
    world.listen()
    assert len(world.changes()) == before, "silent until the marker is answered"
    world.work()
    assert world.report().neighbors[0].confirmed == 1 and world.report().neighbors[0].error is None
    assert len(world.changes()) == 4


def test_a_lost_answer_is_noticed_and_the_command_repeated() -> None:
    world = ready()
    world.exabgp.forget = [True]
    w = wish(1, group(HIGH, "192.0.2.0/24"))
    world.ask(w)
    world.work()
    assert world.report().neighbors[0].confirmed == -1
    world.settle(Renew(7, 1, LEASE), 6 * SECOND)
    assert world.report().neighbors[0].confirmed == 1
    assert world.tables() == wanted(w)
    assert len(world.changes()) == 3


def test_a_long_answer_is_not_a_late_one() -> None:
    """ExaBGP lists thousands of routes for seconds."""
    world = World()
    while world.exabgp.commands[-1:] != ["show adj-rib out"]:
        world.exabgp.carry_out()
        world.listen()
    for n in range(5):
        world.now += exchange.PATIENCE - MS
        world.feed(ExabgpLine(f"10.0.1.1 ipv4 unicast 10.{n}.0.0/16 next-hop 10.0.1.2".encode()))
        world.feed(Tick())
    assert "ExaBGP does not answer" not in world.logs
    world.now += exchange.PATIENCE
    world.feed(Tick())
    assert world.logs[-1] == "ExaBGP does not answer"


def test_a_hung_exabgp_is_not_flooded() -> None:
    world = ready(wish(1, group(HIGH, "192.0.2.0/24")))
    before = len(world.exabgp.commands)
    for _ in range(3600):
        world.ask(Renew(7, 1, LEASE))
        world.wait(SECOND)
    assert len(world.exabgp.commands) - before < 70
    assert {n.error for n in world.report().neighbors} == {"ExaBGP does not answer"}
    world.settle(Renew(7, 1, LEASE))
    assert {n.error for n in world.report().neighbors} == {None}


def test_an_idle_exabgp_is_asked_now_and_then_and_a_missed_event_is_repaired() -> None:
    w = wish(1, group(HIGH, "192.0.2.0/24"))
    world = ready(w)
    world.exabgp.go_down(ADDRESSES[0])
    world.exabgp.output.clear()
    world.settle(Renew(7, 1, LEASE), AUDIT + SECOND)
    assert not world.report().neighbors[0].up
    world.exabgp.come_up(ADDRESSES[0])
    world.exabgp.output.clear()
    world.settle(Renew(7, 1, LEASE), AUDIT + SECOND)
    assert world.report().neighbors[0].confirmed == 1


def test_an_idle_exabgp_is_not_asked_more_often_than_that() -> None:
    world = ready(wish(1, group(HIGH, "192.0.2.0/24")))
    before = len(world.exabgp.commands)
    world.feed(Tick())
    assert len(world.exabgp.commands) == before, "a tick for something else"
    world.settle(Renew(7, 1, LEASE), 60 * SECOND)
    asked = world.exabgp.commands[before:]
    assert set(asked) == {"show neighbor summary"} and 60 * SECOND // (2 * AUDIT) < len(asked) <= 60 * SECOND // AUDIT


def test_the_operator_is_told_what_exabgp_says() -> None:
    world = ready(wish(1, group(HIGH, "192.0.2.0/24")))
    first, second = ADDRESSES
    assert world.logs == [f"neighbor {first} is up", f"neighbor {second} is up"]
    world.logs.clear()
    world.exabgp.go_down(first)
    world.exabgp.reload()
    world.listen()
    assert world.logs == [f"neighbor {first} is down: peer reset"] + 2 * [
        "ExaBGP got SIGUSR1; everything is sent again"
    ]
    world.logs.clear()
    again = b'{ "type": "state", "neighbor": { "address": { "peer": "%s" }, "state": "down", "reason": "refused" } }'
    world.feed(ExabgpLine(again % first.encode()))
    assert world.logs == [], "down for long: every attempt to connect would be a line"
    world.work()
    world.exabgp.refuse = [True]
    world.ask(wish(2))
    world.work()
    assert world.logs == [f"neighbor {second}: ExaBGP refused to withdraw 192.0.2.0/24 (see its log)"]
    world.logs.clear()
    world.exabgp.forget = [True]
    world.ask(wish(3, group(LOW, "198.51.100.0/24")))
    world.work()
    world.settle(Renew(7, 3, LEASE), exchange.PATIENCE + SECOND)
    assert world.logs == [
        "ExaBGP does not answer",
        f"neighbor {second}: ExaBGP did not say whether it would announce 198.51.100.0/24 (see its log)",
    ]


def test_what_a_lost_session_held_is_not_confirmed() -> None:
    """Neither while it is down, nor when it is back and nothing was acknowledged since."""
    world = ready(wish(1, group(HIGH, "192.0.2.0/24")))
    world.exabgp.go_down(ADDRESSES[0])
    world.listen()
    assert [n.confirmed for n in world.report().neighbors] == [-1, 1]
    world.exabgp.come_up(ADDRESSES[0])
    world.listen()
    assert [(n.up, n.confirmed) for n in world.report().neighbors] == [(True, -1), (True, 1)]
    world.work()
    assert [n.confirmed for n in world.report().neighbors] == [1, 1]


# --- the agent's end ------------------------------------------------------------------------------------------------


def test_only_a_connected_agent_is_told() -> None:
    world = World()
    world.exabgp.come_up(ADDRESSES[0])
    world.listen()
    assert world.told == []
    world.feed(AgentUp())
    assert world.told == [world.report()]
    world.feed(AgentDown())
    world.exabgp.go_down(ADDRESSES[0])
    world.listen()
    assert len(world.told) == 1


def test_every_line_of_the_agent_that_makes_sense_is_answered() -> None:
    world = ready()
    w = wish(1, group(HIGH, "192.0.2.0/24"))
    world.ask(w)
    world.work()
    for line in (w, Renew(7, 1, LEASE)):
        told = len(world.told)
        world.ask(line)
        assert world.told[told:] == [world.report()], "though nothing has changed"
    told = len(world.told)
    world.feed(AgentLine(b"{}"))
    assert len(world.told) == told and "a line from the agent makes no sense" in world.logs[-1]


BRIEF = Renew(7, 1, LEASE, brief=True)


def test_a_brief_answer_where_nothing_is_new() -> None:
    world = ready(wish(1, group(HIGH, "192.0.2.0/24")))
    world.wait(LEASE - MS)
    told = len(world.told)
    world.ask(BRIEF)
    assert world.told[told:] == [Alive()] and not world.exabgp.busy, "ExaBGP is not asked either"
    world.wait(LEASE - MS)
    assert world.report().lease_live, "it is a renewal"
    world.ask(replace(BRIEF, brief=False))
    assert world.told[-1] == world.report()


def test_no_brief_answer_where_the_agent_must_hear_more() -> None:
    world = World()
    world.feed(AgentUp())
    world.ask(BRIEF)
    assert world.told[-1] == world.report(), "there is no wish"
    world = ready(wish(1, group(HIGH, "192.0.2.0/24")))
    for line in (replace(BRIEF, number=2), replace(BRIEF, agent=8), replace(BRIEF, nudge=tuple(ADDRESSES))):
        world.ask(line)
        assert world.told[-1] == world.report()
    world.ask(BRIEF)
    assert world.told[-1] == world.report(), "ExaBGP has not answered yet, and may be about to be late"
    world.work()
    world.ask(BRIEF)
    assert world.told[-1] == Alive()
    world.wait(LEASE)
    assert not world.report().lease_live
    world.work()
    world.ask(BRIEF)
    assert world.told[-1] == world.report() and world.report().lease_live, "the lease had ended"


def test_a_renewal_without_a_wish_is_answered_and_renews_nothing() -> None:
    world = World()
    world.feed(AgentUp())
    world.ask(Renew(0, 0, LEASE))
    assert world.told[-1] == world.report()
    assert (world.report().agent, world.report().number, world.report().lease_live) == (0, -1, False)


def test_what_another_agents_wish_had_confirmed_says_nothing_of_this_one() -> None:
    world = ready(wish(1, group(HIGH, "192.0.2.0/24")))
    world.ask(wish(2, group(LOW, "192.0.2.0/24")))
    assert [n.confirmed for n in world.report().neighbors] == [1, 1], "the newest that was, of this agent"
    world.ask(wish(1, group(MEDIUM, "192.0.2.0/24"), agent=8))
    assert [n.confirmed for n in world.report().neighbors] == [-1, -1]


def test_nothing_is_confirmed_after_a_reload_until_it_is_acknowledged_again() -> None:
    world = ready(wish(1, group(HIGH, "192.0.2.0/24")))
    world.exabgp.reload()
    world.listen()
    assert [n.confirmed for n in world.report().neighbors] == [-1, -1]
    world.work()
    assert [n.confirmed for n in world.report().neighbors] == [1, 1]


def test_a_wish_is_saved_once() -> None:
    world = ready(wish(1, group(HIGH, "192.0.2.0/24")))
    assert world.saved is not None
    world.saved = None
    world.ask(Renew(7, 1, LEASE))
    assert world.saved is None


def test_the_operator_is_told_what_becomes_of_the_agent() -> None:
    world = ready(wish(1, group(HIGH, "192.0.2.0/24")))
    world.logs.clear()
    world.feed(AgentDown())
    world.wait(LEASE)
    assert world.logs == ["the agent is gone; the lease decides", "the agent's lease ran out: lower"]


def test_a_generation_has_32_bits() -> None:
    """RFC 8092."""
    world = World()
    world.speaker = Speaker(1, 2**32 - 2, None, world.now, bytes)
    world.exabgp.come_up(ADDRESSES[0])
    world.ask(wish(1, group(HIGH, "192.0.2.0/24"), group(LOW, "198.51.100.0/24")))
    world.work()
    assert [c.split("large-community [")[1].split("]")[0] for c in world.changes()] == [
        "65001:1:4294967295",
        "65001:1:0",
    ]


# --- the lease ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("end", "left"),
    [(LeaseEnd.LOWER, {"192.0.2.0/24": 100}), (LeaseEnd.WITHDRAW, {}), (LeaseEnd.KEEP, {"192.0.2.0/24": 3009})],
)
def test_when_the_lease_runs_out(end: LeaseEnd, left: dict[str, int]) -> None:
    world = ready(wish(1, group(HIGH, "192.0.2.0/24", term=9), end=end))
    world.feed(AgentDown())
    world.wait(LEASE - 1)
    assert world.report().lease_live
    world.wait(1)
    world.work()
    assert not world.report().lease_live
    assert world.tables() == dict.fromkeys(ADDRESSES, left)
    kept = end is LeaseEnd.KEEP
    assert [n.confirmed for n in world.report().neighbors] == [1 if kept else -1] * 2
    assert [a.level for a in world.report().advertised] == {LeaseEnd.LOWER: [LOW], LeaseEnd.WITHDRAW: []}.get(
        end, [HIGH]
    )
    world.feed(AgentUp())
    world.ask(Renew(7, 1, LEASE))
    world.work()
    assert world.tables() == {address: {"192.0.2.0/24": 3009} for address in ADDRESSES}
    assert [n.confirmed for n in world.report().neighbors] == [1, 1] and world.report().lease_live


def test_a_renewal_of_another_wish_renews_nothing() -> None:
    world = ready(wish(3, group(HIGH, "192.0.2.0/24")))
    for stale in (Renew(7, 2, LEASE), Renew(8, 3, LEASE)):
        told = len(world.told)
        world.ask(stale)
        assert len(world.told) == told + 1, "it is answered, so that the agent sees what is known here"
    world.wait(LEASE)
    assert not world.report().lease_live


def test_a_deadline_is_not_kept_before_the_backlog_is_read() -> None:
    """The speaker was stalled; the renewal lies unread. ExaBGP's lines must not end the lease, only a tick may."""
    world = ready(wish(1, group(HIGH, "192.0.2.0/24")))
    world.now += 10 * LEASE
    world.feed(ExabgpLine(b"done"))
    world.ask(Renew(7, 1, LEASE))
    world.feed(Tick())
    assert world.report().lease_live
    assert len(world.changes()) == 2


def test_a_new_helper_of_a_dead_agent_lowers_after_one_lease() -> None:
    world = ready(wish(1, group(HIGH, "192.0.2.0/24")))
    world.start()
    world.work()
    world.wait(LEASE - 1)
    world.work()
    assert world.tables() == {address: {"192.0.2.0/24": 3000} for address in ADDRESSES}
    assert (world.report().advertised, world.report().number, world.report().lease_live) == ((), -1, False)
    world.wait(1)
    world.work()
    assert world.tables() == {address: {"192.0.2.0/24": 100} for address in ADDRESSES}
    assert [a.level for a in world.report().advertised] == [LOW]


def test_keep_does_not_bring_back_what_a_restart_of_exabgp_took() -> None:
    world = ready(wish(1, group(HIGH, "192.0.2.0/24"), end=LeaseEnd.KEEP))
    world.exabgp = VirtualExabgp(ADDRESSES)
    world.start()
    for address in ADDRESSES:
        world.exabgp.come_up(address)
    world.settle()
    assert world.tables() == {address: {} for address in ADDRESSES}


@pytest.mark.parametrize("saved", [b"", b"nonsense", b'{"type":"goodbye","reason":"x"}', b"\xff" * 99])
def test_a_broken_file_is_no_file(saved: bytes) -> None:
    assert Speaker(1, 1, saved, 0, bytes).status(0).number == -1


# --- the two ends ---------------------------------------------------------------------------------------------------


def test_goodbye() -> None:
    world = ready(wish(1, group(HIGH, "192.0.2.0/24")))
    shutdown = b'{ "exabgp": "5.0.0", "type": "notification", "notification": "shutdown" }'
    world.feed(ExabgpLine(shutdown))
    assert not any(isinstance(t, Goodbye) for t in world.told), "sessions are up: only the helper is started anew"
    for address in ADDRESSES:
        world.exabgp.go_down(address)
    world.listen()
    world.feed(ExabgpLine(shutdown))
    assert world.told[-1] == Goodbye("ExaBGP is shutting down")
    world.feed(ExabgpGone())
    assert world.told[-1] == Goodbye("ExaBGP is gone")


@given(st.lists(st.binary(max_size=60) | st.sampled_from([b"done", b"error", b"Peer AS", b"{}"]), max_size=20))
def test_nonsense_from_either_side(lines: list[bytes]) -> None:
    world = ready(wish(1, group(HIGH, "192.0.2.0/24")))
    for line in lines:
        world.feed(AgentLine(line))
        world.feed(ExabgpLine(line))
    world.settle(Renew(7, 1, LEASE))
    assert world.report().neighbors[0].confirmed == 1


# --- anything, in any order ---------------------------------------------------------------------------------------

PREFIXES = ("192.0.2.0/24", "198.51.100.0/24", "2001:db8::/32")

Step = tuple[str, object]

_levels = st.lists(st.none() | st.sampled_from(Level), min_size=len(PREFIXES), max_size=len(PREFIXES)).map(tuple)
_address = st.sampled_from(ADDRESSES)
steps: st.SearchStrategy[Step] = st.one_of(
    st.tuples(st.just("wish"), _levels),
    st.tuples(st.just("drop"), _levels),
    st.tuples(st.just("down"), _address),
    st.tuples(st.just("up"), _address),
    st.tuples(st.just("bgp"), _address),
    st.tuples(st.just("listen"), st.integers(1, 5)),
    st.tuples(st.just("talk"), st.integers(1, 6)),
    st.tuples(st.sampled_from(["carry out", "carry out", "reload", "helper", "agent", "lose", "nudge"]), st.none()),
    st.tuples(st.just("refuse"), st.lists(st.booleans(), max_size=2)),
    st.tuples(st.just("wait"), st.sampled_from([MS, 100 * MS, SECOND, 3 * SECOND])),
)
stories = st.lists(steps, max_size=40)


class Story:
    """Plays steps; then everything is well again, and the routers must hold the last wish."""

    def __init__(self, *, change: Callable[[bytes], bytes] = lambda data: data) -> None:
        self.world = World(change=change)
        self.world.feed(AgentUp())
        self.number = 0
        self.levels: tuple[Level | None, ...] = (None,) * len(PREFIXES)

    def wish(self, *, drop: bool = False) -> Wish:
        routes = [
            group(level, p, srg=i)
            for i, (level, p) in enumerate(zip(self.levels, PREFIXES, strict=True))
            if level is not None
        ]
        return wish(self.number, *routes, drop=drop)

    def play(self, step: Step) -> None:
        world, exabgp = self.world, self.world.exabgp
        match step:
            case ("wish" | "drop" as verb, tuple() as levels):
                self.levels, self.number = levels, self.number + 1
                world.ask(self.wish(drop=verb == "drop"))
            case ("down", str() as address):
                exabgp.go_down(address)
            case ("up", str() as address):
                exabgp.come_up(address)
            case ("bgp", str() as address):
                exabgp.bgp(address)
            case ("listen", int() as lines):
                world.listen(lines)
            case ("carry out", _):
                exabgp.carry_out()
            case ("talk", int() as commands):
                for _ in range(commands):
                    world.listen()
                    exabgp.carry_out()
                    world.listen()
            case ("reload", _):
                exabgp.reload()
            case ("helper", _):
                world.start()
                world.feed(AgentUp())
                world.ask(self.wish())
            case ("agent", _):
                world.feed(AgentDown())
                world.feed(AgentUp())
                world.ask(self.wish())
            case ("nudge", _):
                world.ask(Renew(7, self.number, LEASE, tuple(ADDRESSES)))
            case ("lose", _):
                exabgp.forget = [True]
            case ("refuse", list() as refusals):
                exabgp.refuse = list(refusals)
            case ("wait", int() as duration):
                world.wait(duration)

    def end(self) -> bool:
        """Whether the routers hold the wish, and the speaker says so."""
        for address in ADDRESSES:
            self.world.exabgp.come_up(address)
        self.number += 1
        self.world.ask(self.wish())
        self.world.settle(Renew(7, self.number, LEASE))
        right = self.world.tables() == wanted(self.wish())
        return right and all(n.confirmed == self.number for n in self.world.report().neighbors)


def run_story(story: list[Step], change: Callable[[bytes], bytes] = lambda data: data) -> bool:
    told = Story(change=change)
    for step in story:
        told.play(step)
    return told.end()


@settings(max_examples=400)
@given(stories)
def test_finally_the_routers_hold_the_wish(story: list[Step]) -> None:
    assert run_story(story)


def _without_generation(data: bytes) -> bytes:
    head, mark, tail = data.partition(b"large-community [")
    return head + mark + b"1:1:1]" + tail.partition(b"]")[2] if mark else data


# the levels change faster than BGP has its turn: one batch holds all three
QUICK: list[Step] = [
    ("up", ADDRESSES[0]),
    ("talk", 4),
    *((step, value) for level in (HIGH, LOW, HIGH) for step, value in (("wish", (level, None, None)), ("talk", 1))),
]
# taken back and wished again, within one batch that is not the session's first
TAKEN_BACK: list[Step] = [
    ("up", ADDRESSES[0]),
    ("talk", 4),
    ("wish", (None, MEDIUM, None)),
    ("talk", 1),
    ("bgp", ADDRESSES[0]),
    *((step, value) for level in (HIGH, None, HIGH) for step, value in (("wish", (level, MEDIUM, None)), ("talk", 1))),
]


@pytest.mark.parametrize("story", [QUICK, TAKEN_BACK])
def test_without_a_fresh_generation_routers_end_up_wrong(story: list[Step]) -> None:
    """The virtual ExaBGP is as treacherous as the real one, so the stories prove something."""
    assert not run_story(story, _without_generation)
    assert run_story(story)


def test_random_stories_find_that_too() -> None:
    searched = settings(max_examples=20_000, database=None, derandomize=True, phases=[Phase.generate])
    find(stories, lambda s: not run_story(s, _without_generation), settings=searched)
