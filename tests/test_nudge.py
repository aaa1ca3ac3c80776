"""The nudge: routers are woken shortly before a silent peer is given up, and never told anything new by it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from l3ha.base.names import Level, SrgId, Term
from l3ha.base.settings import Settings
from l3ha.base.time import MS, SECOND, Duration, Instant
from l3ha.core import nudge
from l3ha.core.engine import Engine
from l3ha.core.events import ClearStatistics, ToSpeaker
from l3ha.core.ledger import Job, Ledger
from l3ha.core.nudge import AHEAD, IN_VAIN
from l3ha.core.routes import SpeakerLink
from l3ha.wire import wishline
from l3ha.wire.wish import Attributes, Renew
from tests.test_speaker import ADDRESSES, LEASE, LOW, MEDIUM, group, ready, wanted, wish
from tests.world import Node, World, settings

A = Attributes("192.0.2.1", local_preference=200)
T0: Instant = 1_000 * SECOND


# --- when -------------------------------------------------------------------------------------------------------------


class Listening(World):
    """Notes every nudge: when, and by whom."""

    nudges: list[tuple[Instant, int]]
    mute: bool = False
    """n1's heartbeats are lost."""

    def _datagram(self, n: Node, path: str, data: bytes) -> None:
        if not self.mute or n.id != 1:
            super()._datagram(n, path, data)

    def _to_speaker(self, n: Node, data: bytes) -> None:
        line = wishline.decode(data)
        if isinstance(line, Renew) and line.nudge:
            self.nudges.append((self.now, n.id))
        super()._to_speaker(n, data)


def steady(change: Callable[[Settings], Settings] = lambda s: s) -> Listening:
    """n1 is ACTIVE, n2 its BACKUP."""
    world = Listening()
    world.nudges = []
    for node in world.nodes.values():
        s = change(node.settings)
        node.settings = replace(s, neighbors=tuple(replace(n, passive=True) for n in s.neighbors))
    world.both()
    world.until(lambda: world.states() == ("ACTIVE", "BACKUP"), 5 * SECOND)
    world.run(15 * SECOND)
    assert world.nudges == []
    return world


def timers(heartbeat: Duration, multiplier: int) -> Callable[[Settings], Settings]:
    return lambda s: replace(s, timers=replace(s.timers, heartbeat=heartbeat, multiplier=multiplier))


FAST = timers(50 * MS, 3)
ALMOST: Duration = 70 * MS
"""So long a silence of FAST is no loss of contact, but calls for a nudge."""


def interrupt(world: Listening, duration: Duration) -> None:
    """No heartbeat of n1 arrives for so long; then all is well again."""
    world.mute = True
    world.run(duration)
    world.mute = False
    world.run(SECOND)


@pytest.mark.parametrize(("heartbeat", "multiplier"), [(100, 5), (50, 3), (40, 3)])
def test_the_routers_are_nudged_once_just_before_the_takeover(heartbeat: int, multiplier: int) -> None:
    world = steady(timers(heartbeat * MS, multiplier))
    world.silence(1)
    world.until(lambda: world.state(2).startswith("ACTIVE"), SECOND)
    ((at, who),) = world.nudges
    ahead = min(AHEAD, (multiplier - 2) * heartbeat * MS)
    assert who == 2 and ahead <= world.now - at <= ahead + MS
    texts = [note.text for _, n, note in world.notes if n == 2 and "nudged" in note.text]
    assert len(texts) == 1 and texts[0].startswith("n1 has been silent for ")


def test_a_backup_that_dies_is_no_reason() -> None:
    world = steady()
    world.silence(2)
    world.run(2 * SECOND)
    assert world.nudges == [] and world.state(1) == "ACTIVE"


@pytest.mark.parametrize(
    "change", [lambda s: replace(s, speaker=replace(s.speaker, nudge=False)), timers(100 * MS, 2)], ids=["off", "x2"]
)
def test_nobody_is_nudged_where_it_is_off_or_one_late_heartbeat_would_do_it(
    change: Callable[[Settings], Settings],
) -> None:
    world = steady(change)
    world.silence(1)
    world.until(lambda: world.state(2).startswith("ACTIVE"), SECOND)
    assert world.nudges == []


def test_only_passive_neighbors_are_nudged() -> None:
    """ExaBGP turns Nagle's algorithm off for them only."""
    s = settings(1)
    for passive, expected in (((False, False), None), ((True, False), 1), ((False, True), 1), ((True, True), 2)):
        neighbors = tuple(replace(n, passive=p) for n, p in zip(s.neighbors, passive, strict=True))
        link = SpeakerLink(replace(s, neighbors=neighbors), 7, T0)
        assert link.nudge() is None
        link.up(T0)
        assert link.nudge() is None, "it has no wish"
        link.tell({SrgId(1): (MEDIUM, Term(0))}, T0)
        line = link.nudge()
        assert (line and set(line.nudge)) == (expected and {n.address for n in neighbors if n.passive})


def test_a_loop_without_a_speaker_nudges_nobody() -> None:
    world = steady(FAST)
    engine = world.nodes[2].engine
    assert engine is not None
    engine.speaker.connected = False
    interrupt(world, ALMOST)
    assert world.nudges == []


def test_three_in_vain_are_enough_and_a_takeover_makes_up_for_them() -> None:
    world = steady(FAST)
    for _ in range(IN_VAIN + 2):
        interrupt(world, ALMOST)
    assert len(world.nudges) == IN_VAIN and world.states() == ("ACTIVE", "BACKUP"), "and nothing else came of it"
    interrupt(world, 150 * MS)
    assert len(world.nudges) == IN_VAIN and world.rules(2)[-2:] == ["silence", "duel"]
    world.run(20 * SECOND)
    assert world.states() == ("ACTIVE", "BACKUP")
    interrupt(world, ALMOST)
    assert len(world.nudges) == IN_VAIN + 1, "it had taken over, so those before were none in vain"


def test_a_loss_of_contact_without_a_takeover_was_in_vain() -> None:
    world = steady(FAST)
    for router in world.routers.values():
        router.mute = True  # so nobody proves that it was the peer that fell silent
    world.run(SECOND)
    for _ in range(IN_VAIN + 1):
        interrupt(world, 150 * MS)
    assert "silence" not in world.rules(2) and len(world.nudges) == IN_VAIN


def test_after_a_while_there_may_be_one_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nudge, "SPAN", 20 * SECOND)
    world = steady(FAST)
    for _ in range(IN_VAIN):
        interrupt(world, ALMOST)
    first = world.nudges[0][0]
    world.run(first + 18 * SECOND - world.now)
    interrupt(world, ALMOST)
    assert len(world.nudges) == IN_VAIN
    world.run(2 * SECOND)
    interrupt(world, ALMOST)
    interrupt(world, ALMOST)
    assert len(world.nudges) == IN_VAIN + 2, "two of the three are long ago"


def test_a_socket_that_was_not_read_dry_is_no_silence() -> None:
    """Only a tick judges: what the peer has said may still lie in a socket."""
    world = steady()
    engine = world.nodes[2].engine
    assert isinstance(engine, Engine)
    (peer,) = engine.peers.values()
    late = peer.ends - AHEAD + MS
    effects = engine.step(ClearStatistics(), late)
    assert not any(isinstance(e, ToSpeaker) and b'"nudge":["' in e.data for e in effects)


# --- what -------------------------------------------------------------------------------------------------------------


def test_one_route_of_every_neighbor_is_announced_again_as_it_was() -> None:
    w = wish(1, group(MEDIUM, "192.0.2.0/24", "198.51.100.0/24"), group(LOW, "203.0.113.0/24", srg=2))
    world = ready(w)
    before = len(world.changes())
    world.ask(Renew(7, 1, LEASE, tuple(ADDRESSES)))
    world.work()
    told = [c.split() for c in world.changes()[before:]]
    assert [(c[1], c[2], c[-1]) for c in told] == [(a, "announce", "192.0.2.0/24") for a in ADDRESSES]
    generations = [c[c.index("large-community") + 1] for c in map(str.split, world.changes())]
    assert len(set(generations)) == len(generations), "a change, as a router sees it"
    assert world.tables() == wanted(w)
    assert [n.confirmed for n in world.report().neighbors] == [1, 1]


def test_the_takeover_that_comes_while_it_is_under_way_is_not_held_up() -> None:
    world = ready(wish(1, group(MEDIUM, "192.0.2.0/24")))
    world.ask(Renew(7, 1, LEASE, tuple(ADDRESSES)))
    w = wish(2, group(Level.HIGH, "192.0.2.0/24", term=9))
    world.ask(w)
    world.work()
    assert world.tables() == wanted(w)
    assert [n.confirmed for n in world.report().neighbors] == [2, 2]


def test_a_nudge_of_another_wish_or_an_older_agent_is_a_renewal_at_most() -> None:
    world = ready(wish(1, group(MEDIUM, "192.0.2.0/24")))
    before = world.changes()
    world.ask(Renew(7, 2, LEASE, tuple(ADDRESSES)))
    world.work()
    plain = json.loads(wishline.encode(Renew(7, 1, LEASE)))
    del plain["nudge"]
    assert wishline.decode(json.dumps(plain).encode()) == Renew(7, 1, LEASE)
    assert world.changes() == before


def test_a_nudge_that_is_refused_is_made_good() -> None:
    w = wish(1, group(MEDIUM, "192.0.2.0/24"))
    world = ready(w)
    world.exabgp.refuse = [True]
    world.ask(Renew(7, 1, LEASE, tuple(ADDRESSES)))
    world.work()
    assert world.report().neighbors[0].error is not None
    world.settle(Renew(7, 1, LEASE), 3 * SECOND)
    assert world.tables() == wanted(w) and world.report().neighbors[0].error is None


def test_a_neighbor_that_is_told_something_anyway_needs_none() -> None:
    ledger = Ledger("192.0.2.9")
    ledger.repeat()
    assert ledger.rank is None, "nobody knows what it shall hold"
    ledger.session(up=True, now=T0)
    ledger.aim({})
    ledger.repeat()
    assert ledger.rank is None, "it shall hold nothing"
    ledger.aim({"198.51.100.1/32": (Level.MEDIUM, A), "198.51.100.2/32": (Level.MEDIUM, A)})
    ledger.repeat()
    job = ledger.take()
    assert isinstance(job, Job) and ledger.rank is None, "only the plan"
    ledger.repeat()
    assert ledger.rank is None, "it is under way"
    ledger.ended(job, taken=True, reason="", now=T0)
    ledger.repeat()
    ledger.repeat()
    assert ledger.take() == replace(job, prefixes=("198.51.100.1/32",)) and ledger.rank is None, "once"
    ledger.session(up=False, now=T0)
    ledger.repeat()
    assert ledger.rank is None
