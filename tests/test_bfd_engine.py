"""What a whole engine makes of the speaker's words about BFD: a monitor, an event, a status."""

from __future__ import annotations

import json
from dataclasses import replace

from l3ha.base.settings import Bfd, Monitor, MonitorKind
from l3ha.base.time import MS, SECOND, Instant
from l3ha.control import protocol
from l3ha.core import report
from l3ha.core.engine import Engine
from l3ha.core.events import Effect, Note, SpeakerLine, SpeakerUp, Tick, ToSpeaker
from l3ha.wire import wishline
from l3ha.wire.wish import BfdReport, NeighborReport, Report, Wish
from tests.test_routes import LOST, SESSION
from tests.world import settings

T0: Instant = 1_000 * SECOND
WATCH = Monitor("bfd-r1", MonitorKind.BFD, "r1", None, 100, 1, 1, SECOND)


class Node:
    """An engine whose speaker says what the test says."""

    def __init__(self) -> None:
        s = settings(1)
        first = replace(s.neighbors[0], bfd=Bfd(50 * MS, 3, 255, None, None))
        group = replace(s.srgs[0], monitors=(WATCH,))
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
