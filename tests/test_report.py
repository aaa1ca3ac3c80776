"""What a node answers when it is asked: of two nodes that work, of one that knows nothing yet, of one in trouble."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import Any

import pytest

import l3ha
from l3ha.base.settings import Bfd, BfdAuth, Settings
from l3ha.base.time import MS, SECOND, US, Instant
from l3ha.core import report
from l3ha.core.engine import Engine
from l3ha.core.events import (
    Datagram,
    EchoAnswer,
    EchoFailed,
    InterfaceChanged,
    RequestMaintenance,
    SpeakerLine,
    SpeakerUp,
    Tick,
)
from l3ha.core.status import LatenessStatus, Status
from l3ha.wire import wishline
from l3ha.wire.wish import BfdReport, NeighborReport, Report
from tests.test_routes import LOST, SESSION
from tests.world import FLOATING, TIMERS, World, entropy, settings

T0: Instant = 1_000 * SECOND
ROUTES = (f"{FLOATING}/32", "203.0.113.0/24")
AGES = {"since", "uptime", "session_age", "rule_age", "heard"}


def engine(world: World, node: int) -> Engine:
    found = world.nodes[node].engine
    assert found is not None
    return found


def shown(world: World, node: int) -> Status:
    return report.status(engine(world, node), world.now)


@pytest.fixture(scope="module")
def world() -> World:
    """Node 1 ACTIVE, node 2 BACKUP, and both at rest."""
    w = World()
    w.both()
    w.until(lambda: w.states() == ("ACTIVE", "BACKUP"), 20 * SECOND)
    w.run(5 * SECOND)
    return w


def leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Every plain value with the name of its field."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, f"{name}.{key}")
    elif isinstance(value, tuple):
        for n, inner in enumerate(value):
            yield from leaves(inner, f"{name}.{n}")
    else:
        yield name, value


def test_ages_are_counted_from_what_they_are_the_age_of(world: World) -> None:
    """A second later every age is a second greater, none is longer than the world, and nothing else has changed."""
    aged = 0
    for node in (1, 2):
        now, later = (
            dict(leaves(asdict(report.status(engine(world, node), t)))) for t in (world.now, world.now + SECOND)
        )
        for name, value in now.items():
            if name.rpartition(".")[2] in AGES and value is not None:
                aged += 1
                assert 0 <= value <= world.now - world.start, name
                assert later[name] == value + SECOND, name
            else:
                assert later[name] == value, name
    assert aged == 2 * (2 + 2 + 3 * 2 + 2 + 1 + 2), "node, peer, paths, group, monitor, neighbors"


def test_the_node(world: World) -> None:
    s, e = shown(world, 1), engine(world, 1)
    n = s.node
    assert (n.cluster, n.name, n.id, n.state, n.intent) == ("test", "n1", 1, "ONLINE", "running")
    assert (n.software, n.digest, n.routes, n.failure_events) == (l3ha.__version__, "00" * 8, (), ())
    assert int(n.incarnation, 16) == e.incarnation and len(n.incarnation) == 16
    assert (n.maintenance, n.pauses, n.uptime) == (False, 0, world.now - world.start)
    assert n.lateness == LatenessStatus(e.lateness.count, 0, 0, 0, 0) and e.lateness.count > 50, (
        "virtual time is punctual"
    )
    assert s.bfd == () and s.monitors == ()


def test_the_peer_is_as_it_says_it_is(world: World) -> None:
    mine, theirs = shown(world, 1).peers[0], shown(world, 2)
    assert (mine.id, mine.name, mine.contact, mine.encrypted) == (2, "n2", True, True)
    assert (mine.interval, mine.multiplier) == (TIMERS.heartbeat, TIMERS.multiplier)
    other = theirs.node
    assert (mine.state, mine.intent, mine.software) == (other.state, other.intent, other.software)
    assert (mine.digest, mine.incarnation, mine.differs) == (other.digest, other.incarnation, ())
    assert mine.reach == ("r1", "r2") and mine.since is not None and mine.since > 5 * SECOND
    assert [p.name for p in mine.paths] == ["icl", "r1", "r2"] and all(p.up for p in mine.paths)
    assert (mine.sent, mine.received) == (sum(p.sent for p in mine.paths), sum(p.received for p in mine.paths))
    assert min(mine.sent, mine.received) > 100
    for path, back in zip(mine.paths, theirs.peers[0].paths, strict=True):
        assert (path.local, path.remote) == (back.remote, back.local)
        assert path.router == (None if path.name == "icl" else path.name)
        assert path.rtt is not None and 2 * MS <= path.rtt < 100 * MS
        assert path.heard is not None and path.heard <= TIMERS.heartbeat


def test_a_group_of_both_nodes(world: World) -> None:
    for node, state, level in ((1, "ACTIVE", "HIGH"), (2, "BACKUP", "MEDIUM")):
        (g,) = shown(world, node).srgs
        (p,) = g.peers
        (other,) = shown(world, 3 - node).srgs
        assert (g.id, g.description, g.state, g.level, g.priority) == (
            1,
            "edge",
            state,
            level,
            200 if node == 1 else 100,
        )
        assert (g.confirmed, g.verified, g.heir) == (node == 1, node == 1, False)
        assert (g.preempt, g.claim, g.grant, g.move) == (False, None, None, None)
        assert (g.eligible, g.ready, g.failure_events, g.weight_failed, g.threshold) == (True, True, (), 0, 100)
        assert (g.floating, g.routes) == ((f"{FLOATING}/32",), ROUTES)
        assert g.rule and g.reason and g.seen == other.seen > 0
        assert (p.id, p.name, p.state, p.confirmed) == (3 - node, f"n{3 - node}", other.state, other.confirmed)
        assert (p.term, p.healthy, p.ready, p.priority) == (other.term, other.eligible, other.ready, other.priority)
        assert p.verified == other.verified
        (m,) = g.monitors
        assert (m.srg, m.name, m.kind, m.subject, m.weight) == (1, "uplink", "interface", "eth1", 100)
        assert (m.up, m.rise, m.fall, m.reason) == (True, 1, 1, "up")


def test_the_probe_of_both_nodes(world: World) -> None:
    for node, verdict, floating in ((1, "WIN", "ANSWERED"), (2, "LOSE", "SILENT")):
        probe = shown(world, node).srgs[0].probe
        assert (probe.verdict, probe.interval, probe.up, probe.down) == (verdict, 100 * MS, 2, 3) and probe.count > 10
        for a, n in zip(probe.arbiters, settings(node).neighbors, strict=True):
            assert (a.name, a.own_source, a.floating_source, a.destination) == (
                n.name,
                n.local_address,
                FLOATING,
                n.address,
            )
            assert (a.floating, a.known, a.error) == (floating, True, None)
            assert (a.own, a.own_rtt) == (("SPARED", None) if node == 1 else ("ANSWERED", MS))
            assert a.floating_rtt == MS or node == 2
            own, shared = (
                engine(world, node).echoes[t]
                for t in (e for e in engine(world, node).echoes if e.destination == n.address)
            )
            assert a.sent == own.sent + shared.sent > a.answered == own.answered + shared.answered > 0


def test_routes_neighbors_and_speaker(world: World) -> None:
    for node, level in ((1, "HIGH"), (2, "MEDIUM")):
        s = shown(world, node)
        (g,) = s.srgs
        assert [(r.neighbor, r.srg, p) for r in s.routes for p in r.prefixes] == [
            (n, 1, p) for n in ("r1", "r2") for p in ROUTES
        ]
        assert {(r.level, r.term, r.confirmed) for r in s.routes} == {(level, g.term if node == 1 else 0, True)}
        assert all(r.attributes.startswith("next-hop 100.64.") and "local-preference" in r.attributes for r in s.routes)
        for n, configured in zip(s.neighbors, settings(node).neighbors, strict=True):
            assert (n.name, n.router, n.address) == (configured.name, configured.router, configured.address)
            assert (n.asn, n.profile) == (65001, "local-preference")
            assert (n.up, n.confirmed, n.error) == (True, True, None)
        assert (s.speaker.connected, s.speaker.exabgp, s.speaker.confirmed) == (True, "5.0.15", True)
        assert (s.speaker.lease, s.speaker.lease_live, s.speaker.lease_end) == (TIMERS.lease, True, "lower")
        assert s.speaker.wish == engine(world, node).speaker.number


# --- what is not known, or not well -------------------------------------------------------------------------------


def test_before_anything_was_heard() -> None:
    s = report.status(Engine(settings(1), (), entropy("x"), T0), T0)
    (peer,), (group,) = s.peers, s.srgs
    assert (peer.contact, peer.encrypted, peer.session_age, peer.reach) == (False, False, None, ())
    assert [peer.state, peer.intent, peer.incarnation, peer.software, peer.digest] == [None] * 5
    assert {(p.up, p.since, p.heard, p.rtt, p.sent, p.received) for p in peer.paths} == {
        (False, None, None, None, 0, 0)
    }
    (other,) = group.peers
    assert (other.state, other.healthy, other.ready, other.priority) == (None, None, None, None)
    assert (other.confirmed, other.verified, other.term) == (False, False, 0)
    assert (group.state, group.term, group.seen, group.confirmed, group.verified) == ("HOLD", 0, 0, False, False)
    (m,) = group.monitors
    assert (m.up, m.since, m.reason) == (None, None, "no sample yet")
    assert {(a.own, a.floating, a.known, a.own_rtt, a.sent) for a in group.probe.arbiters} == {
        ("PENDING", "PENDING", False, None, 0)
    }
    assert s.routes == () and not s.speaker.connected and not s.speaker.confirmed and s.speaker.exabgp is None
    assert {(n.up, n.since, n.confirmed) for n in s.neighbors} == {(False, None, False)}


class Node:
    """One engine whose speaker says what the test says."""

    def __init__(self, s: Settings) -> None:
        self.now = T0
        self.engine = Engine(s, (), entropy("x"), T0)
        for event in (Tick(), SpeakerUp()):
            self.engine.step(event, self.now)

    def say(self, *up: bool, confirmed: int | None = None, bfd: tuple[BfdReport, ...] = ()) -> Status:
        self.now += 10 * MS
        x = self.engine.speaker
        number = x.number if confirmed is None else confirmed
        told = tuple(
            NeighborReport(n.name, n.address, u, number if u else -1, None if u else "refused")
            for n, u in zip(self.engine.settings.neighbors, up, strict=True)
        )
        line = Report(7, "5.0.15", self.engine.incarnation, x.number, True, (), told, bfd)
        self.engine.step(SpeakerLine(wishline.encode(line)), self.now)
        return self.status

    @property
    def status(self) -> Status:
        return report.status(self.engine, self.now)


def test_what_one_neighbor_holds_and_another_does_not() -> None:
    node = Node(settings(1))
    node.say(True, True)
    s = node.say(True, False)
    assert [(n.name, n.up, n.confirmed, n.error) for n in s.neighbors] == [
        ("r1", True, True, None),
        ("r2", False, False, "refused"),
    ]
    assert [n.since for n in s.neighbors] == [10 * MS, 0]
    assert {(r.neighbor, r.confirmed) for r in s.routes} == {("r1", True), ("r2", False)}
    assert s.speaker.confirmed, "every neighbor that is up holds the wish"
    s = node.say(True, False, confirmed=0)
    assert not any(r.confirmed for r in s.routes) and not s.neighbors[0].confirmed and not s.speaker.confirmed


def test_a_node_in_maintenance_has_a_reason() -> None:
    node = Node(settings(1))
    node.say(True, True)
    node.engine.step(RequestMaintenance(0, True), node.now)
    s = node.status
    assert s.node.maintenance and s.node.failure_events == ("NM",) == s.srgs[0].failure_events
    assert (s.srgs[0].eligible, s.srgs[0].level, s.node.state) == (False, "LOW", "OFFLINE")
    assert {r.level for r in s.routes} == {"LOW"} and {r.term for r in s.routes} == {0}


@pytest.mark.parametrize(
    ("counts", "p50", "p99", "p999"), [((500, 490, 9, 1), 1, 8, 64), ((499, 490, 9, 2), 8, 64, 512)]
)
def test_lateness_at_the_three_marks(counts: tuple[int, ...], p50: int, p99: int, p999: int) -> None:
    """Of a thousand deadlines so many were 1, 8, 64 and 512 µs late."""
    node = Node(settings(1))
    node.engine.lateness.clear()
    for count, late in zip(counts, (1, 8, 64, 512), strict=True):
        for _ in range(count):
            node.engine.lateness.record(late * US)
    assert node.status.node.lateness == LatenessStatus(1000, p50 * US, p99 * US, p999 * US, 512 * US)


def test_failures_belong_to_the_group_or_to_the_node() -> None:
    s = settings(1)
    watch = replace(s.srgs[0].monitors[0], name="fabric", subject="eth9", weight=60)
    node = Node(replace(s, node_group=replace(s.node_group, monitors=(watch,))))
    node.say(True, True)
    node.engine.step(InterfaceChanged("eth1", False, "no carrier"), node.now)
    found = node.status
    assert (found.node.failure_events, found.srgs[0].failure_events, found.srgs[0].weight_failed) == ((), ("IF",), 100)
    node.engine.step(InterfaceChanged("eth9", False, "gone"), node.now)
    found = node.status
    assert [(m.srg, m.name, m.up, m.since, m.reason) for m in found.monitors] == [(0, "fabric", False, 0, "gone")]
    assert [(m.srg, m.name, m.up, m.reason) for m in found.srgs[0].monitors] == [(1, "uplink", False, "no carrier")]


def test_why_an_echo_cannot_be_sent() -> None:
    """Of either source address; the floating one is told first."""
    node = Node(settings(1))
    first, second = node.engine.settings.srgs[0].arbiters
    for target, why in ((first.own, "own"), (first.floating, "floating"), (second.own, "unreachable")):
        node.engine.step(EchoFailed(target, why), node.now)
    found = node.status.srgs[0].probe.arbiters
    assert [a.error for a in found] == ["floating", "unreachable"]
    assert [(a.own, a.floating) for a in found] == [("CANNOT SEND", "CANNOT SEND"), ("CANNOT SEND", "PENDING")]


def test_drops_are_told_by_reason() -> None:
    node = Node(settings(1))
    e = node.engine
    (arbiter, _) = e.settings.srgs[0].arbiters
    for target, data in ((arbiter.own, b""), (arbiter.floating, b""), (arbiter.floating, bytes(30))):
        e.step(EchoAnswer(target, data), node.now)
    for ttl in (1, 1, 255):
        e.step(Datagram("icl", e.peers[next(iter(e.peers))].peer.paths[0].remote, ttl, b""), node.now)
    s = node.status
    assert s.srgs[0].probe.arbiters[0].drops == {"short": 2, "bad checksum": 1}
    assert s.srgs[0].probe.arbiters[1].drops == {}
    assert s.peers[0].drops == {"too_short": 1, "wrong_ttl": 2}


# --- BFD ------------------------------------------------------------------------------------------------------------


def bfd_node(asked: Bfd) -> Node:
    s = settings(1)
    return Node(replace(s, neighbors=(replace(s.neighbors[0], bfd=asked), *s.neighbors[1:])))


def of_first(s: BfdReport) -> tuple[BfdReport, ...]:
    return (replace(s, address=settings(1).neighbors[0].address),)


def test_bfd_as_the_speaker_tells_it() -> None:
    node = bfd_node(Bfd(50 * MS, 3, 255, None, None))
    told = replace(
        *(SESSION,), interval=60 * MS, remote_tx=70 * MS, remote_rx=80 * MS, multiplier=4, remote_multiplier=5,
        detection=350 * MS, age=7 * MS, sent=9, received=8, drops=(("ttl", 1),), required_rx=55 * MS,
    )  # fmt: skip
    (s,) = node.say(True, True, bfd=of_first(told)).bfd
    first = settings(1).neighbors[0]
    assert (s.neighbor, s.address, s.local_address) == (first.name, first.address, first.local_address)
    assert (s.state, s.remote_state, s.diagnostic, s.remote_diagnostic) == ("UP", "UP", "NONE", "NONE")
    assert (s.interval, s.required_rx, s.remote_tx, s.remote_rx) == (60 * MS, 55 * MS, 70 * MS, 80 * MS)
    assert (s.multiplier, s.remote_multiplier, s.detection, s.since) == (4, 5, 350 * MS, 7 * MS)
    assert (s.sent, s.received, s.drops, s.flaps, s.error) == (9, 8, {"ttl": 1}, 0, None)
    assert (s.multihop, s.authenticated, s.counted) == (False, False, True)
    (s,) = node.say(True, True, bfd=of_first(replace(LOST, remote_diagnostic=99, error="cannot send"))).bfd
    assert (s.state, s.diagnostic, s.remote_diagnostic) == ("DOWN", "detection time expired", "diagnostic 99")
    assert (s.flaps, s.counted, s.error) == (1, False, "cannot send")


def test_bfd_of_a_peer_that_was_not_heard_yet() -> None:
    node = bfd_node(Bfd(50 * MS, 3, 254, None, BfdAuth(5, 2, b"key")))
    (s,) = node.say(True, True).bfd
    assert (s.state, s.remote_state, s.diagnostic, s.remote_diagnostic) == ("UNKNOWN", "UNKNOWN", "NONE", "NONE")
    assert (s.multihop, s.authenticated) == (True, True)
    assert (s.multiplier, s.required_rx, s.sent, s.received, s.flaps, s.drops) == (3, 50 * MS, 0, 0, 0, {})
    nothing = (None, None, None, None, None)
    assert (s.interval, s.remote_tx, s.remote_rx, s.remote_multiplier, s.detection) == nothing
    silent = replace(SESSION, interval=0, remote_tx=0, remote_rx=1, remote_multiplier=0, detection=0)
    (s,) = node.say(True, True, bfd=of_first(silent)).bfd
    assert (s.interval, s.remote_tx, s.remote_rx, s.remote_multiplier, s.detection) == nothing
