"""What a whole engine makes of the speaker's words about BFD: a monitor, an event, a status."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from l3ha.base.settings import Bfd, FrrBfd, Monitor, MonitorKind
from l3ha.base.time import MS, SECOND, Instant
from l3ha.control import protocol
from l3ha.core import report
from l3ha.core.engine import Engine
from l3ha.core.events import Effect, Note, SpeakerLine, SpeakerUp, Tick, ToSpeaker
from l3ha.wire import wishline
from l3ha.wire.wish import BfdReport, FrrWish, NeighborReport, Report, Wish
from tests.test_routes import LOST, SESSION
from tests.world import settings

T0: Instant = 1_000 * SECOND
WATCH = Monitor("bfd-r1", MonitorKind.BFD, "r1", None, 100, 1, 1, SECOND)

OWN = Bfd(50 * MS, 3, 255, None, None)
FRR = FrrBfd("/run/frr", 100 * MS, "e0", None)


class Node:
    """An engine whose speaker says what the test says."""

    def __init__(self, bfd: Bfd | FrrBfd = OWN, watch: Monitor = WATCH) -> None:
        s = settings(1)
        first = replace(s.neighbors[0], bfd=bfd)
        group = replace(s.srgs[0], monitors=(watch,))
        s = replace(s, neighbors=(first, *s.neighbors[1:]), srgs=(group, *s.srgs[1:]))
        self.now = T0
        self.engine = Engine(s, (), bytes, T0)
        self.wish: Wish | None = None
        self.notes: list[Note] = []
        self.take(self.engine.step(Tick(), self.now))
        self.take(self.engine.step(SpeakerUp(), self.now))

    def take(self, effects: tuple[Effect, ...]) -> None:
        for e in effects:
            if isinstance(e, Note):
                self.notes.append(e)
            if isinstance(e, ToSpeaker) and isinstance(line := wishline.decode(e.data), Wish):
                self.wish = line

    def say(self, *sessions: BfdReport) -> None:
        self.now += 10 * MS
        e, w = self.engine, self.wish
        neighbors = tuple(
            NeighborReport(n.name, n.address, True, w.number if w else -1, None) for n in e.settings.neighbors
        )
        address = e.settings.neighbors[0].address
        bfd = tuple(replace(s, address=address) for s in sessions)
        line = Report(7, "5.0.15", w.agent if w else 0, w.number if w else -1, w is not None, (), neighbors, bfd)
        self.take(self.engine.step(SpeakerLine(wishline.encode(line)), self.now))


def test_a_bfd_monitor_and_the_status() -> None:
    node = Node()
    node.say()
    node.say(replace(SESSION, age=5 * MS, sent=9, received=8, drops=(("ttl", 1),)))
    (watch,) = node.engine.watches[node.engine.settings.srgs[0].id]
    assert watch.up is True
    node.say(LOST)
    assert watch.up is False and watch.reason == "session DOWN: detection time expired"
    assert any("monitor bfd-r1 (bfd r1) is down" in n.text for n in node.notes)
    shown = json.loads(json.dumps(protocol.show_result(report.status(node.engine, node.now), protocol.Show("bfd"))))
    (session,) = shown["bfd"]
    assert (session["state"], session["diagnostic"], session["counted"]) == ("DOWN", "detection time expired", False)
    assert shown["speaker"]["connected"]


def test_a_session_that_was_not_told_of_is_unknown() -> None:
    node = Node()
    node.say()
    (session,) = report.status(node.engine, node.now).bfd
    assert (session.state, session.since, session.detection, session.counted) == ("UNKNOWN", None, None, True)
    assert session.required_rx == 50 * MS and session.multiplier == 3


NOTHING = replace(SESSION, state=None, remote_state=None, error="no answer for 1s")


def texts(node: Node) -> list[str]:
    return [n.text for n in node.notes if "BFD" in n.text or "monitor" in n.text]


def test_the_wish_asks_for_frr() -> None:
    node = Node(FRR)
    node.say()
    assert node.wish is not None
    first = node.wish.neighbors[0]
    assert first.bfd is None and first.frr == FrrWish("/run/frr", 100 * MS, "100.64.11.2", "e0", None)


@pytest.mark.parametrize(("known", "verdict"), [(SESSION, True), (LOST, False)])
def test_a_state_that_cannot_be_told_changes_nothing_and_is_said_once(known: BfdReport, verdict: bool) -> None:
    node = Node(FRR)
    node.say(SESSION)
    node.say(known)
    (watch,) = node.engine.watches[node.engine.settings.srgs[0].id]
    reach = node.engine.speaker.reach()
    assert watch.up is verdict and ("r1" in reach) is verdict
    node.notes.clear()
    for error in ("no answer for 1s", "cannot connect", "no answer for 1s"):
        node.say(replace(NOTHING, error=error, flaps=known.flaps))
        node.take(node.engine.step(Tick(), node.now + 20 * MS))
        assert watch.up is verdict and watch.reason == f"cannot tell: {error}"
        assert node.engine.speaker.reach() == reach
    assert texts(node) == ["BFD state of r1 is unknown: no answer for 1s"]
    assert [n.alarm for n in node.notes if "unknown" in n.text] == [True]
    (shown,) = report.status(node.engine, node.now).bfd
    assert (shown.source, shown.state, shown.error, shown.since) == ("FRR bfdd", "UNKNOWN", "no answer for 1s", None)
    assert shown.witness is None, "it was not asked to be one"
    assert shown.counted is verdict and (shown.sent, shown.multihop, shown.authenticated) == (None, None, None)
    node.notes.clear()
    node.say(known)
    assert watch.up is verdict and watch.reason.startswith("session ")
    assert texts(node) == [f"BFD session to r1 is {'up' if verdict else 'DOWN, as bfdd tells again'}"]


def test_while_the_state_cannot_be_told_no_bad_sample_is_counted() -> None:
    node = Node(FRR, replace(WATCH, fall=3, interval=10 * MS))
    (watch,) = node.engine.watches[node.engine.settings.srgs[0].id]
    node.say(SESSION)
    node.say(LOST)
    node.say(NOTHING)
    for _ in range(20):
        node.say(NOTHING)
    assert watch.up is True
    node.say(LOST)
    node.take(node.engine.step(Tick(), node.now + 10 * MS))
    assert watch.up is False, "three samples that it was down"


def test_a_session_that_was_lost_while_nobody_could_tell() -> None:
    node = Node(FRR)
    node.say(SESSION)
    node.say(NOTHING)
    node.notes.clear()
    node.say(replace(LOST, remote_state=None))
    assert "r1" not in node.engine.speaker.reach()
    (text, *_) = texts(node)
    assert text == "BFD session to r1 is down: detection time expired", "bfdd does not say what the router says"


def test_a_source_that_was_never_asked() -> None:
    node = Node(FRR)
    node.say()
    (session,) = report.status(node.engine, node.now).bfd
    assert (session.state, session.required_rx, session.multiplier, session.error) == ("UNKNOWN", None, None, None)
    (watch,) = node.engine.watches[node.engine.settings.srgs[0].id]
    assert watch.up is None


def test_a_witness_is_shown() -> None:
    node = Node(replace(OWN, witness=True))
    for said, witness in (((), False), ((SESSION,), True), ((replace(SESSION, detection=SECOND),), False)):
        node.say(*said)
        assert report.status(node.engine, node.now).bfd[0].witness is witness
