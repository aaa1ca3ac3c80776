"""A running engine that is told anything by those whom it believes: its peer (sealed and fresh) and its speaker."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from functools import cache

from l3ha.base.limits import MAX_DATAGRAM, MAX_HEARD_TERM
from l3ha.base.names import NodeId
from l3ha.base.time import MS, SECOND, Instant
from l3ha.core.engine import Engine
from l3ha.core.events import Datagram, EchoAnswer, Event, Note, Remember, Send, SendEcho, SpeakerLine, Tick, ToSpeaker
from l3ha.core.icl import SENT_REMEMBERED, IclPeer
from l3ha.core.session import Opened
from l3ha.drivers import memory
from l3ha.wire import codec, seal, wish, wishline
from l3ha.wire.heartbeat import Heartbeat
from tests.fuzz import icl  # noqa: F401 - teaches copy about ciphers
from tests.world import FLOATING, World, address, echo_reply

STEPS = 6
"""Words in one run."""


class Around:
    """A running engine, a speaker that confirms everything, routers that answer the own address, the peer's session."""

    def __init__(self, node: int, flags: int) -> None:
        engine, peer, self.now = _settled(node)
        memo: dict[int, object] = {}
        self.engine: Engine = copy.deepcopy(engine, memo)
        self.peer: IclPeer = copy.deepcopy(peer, memo)
        self.node = node
        self.wins, self.mute = bool(flags & 2), bool(flags & 4)
        self.said: wish.Wish | None = None

    @property
    def view(self) -> IclPeer:
        """The peer as the engine sees it."""
        return self.engine.peers[self.peer.settings.id]

    def feed(self, event: Event) -> None:
        """One event, and what the world answers at once."""
        events = [event]
        while events:
            for effect in self.engine.step(events.pop(0), self.now):
                match effect:
                    case Send(data=data):
                        self._hear(data)
                    case ToSpeaker(data):
                        events += self._speaker(data)
                    case SendEcho():
                        events += self._echo(effect)
                    case Remember(groups):
                        assert memory._newest(memory._format(7, groups))[0].groups == list(groups)
                    case Note(text=text):
                        assert text.isprintable()
                    case _:
                        pass

    def run(self, until: Instant) -> None:
        """Every deadline up to a time."""
        for _ in range(4096):
            due = self.engine.next_deadline()
            if due > until:
                self.now = until
                return
            self.now = max(self.now, due)
            self.feed(Tick())
        raise AssertionError("the engine does not come to rest")

    def _hear(self, data: bytes) -> None:
        assert len(data) <= MAX_DATAGRAM
        match self.peer.session.receive(data, self.now):
            case Opened(plaintext) if plaintext:
                beat = codec.decode(plaintext)
                # the number after the greatest believable one is ours alone: no peer reads it
                beyond = any(m.seen >= MAX_HEARD_TERM for m in self.engine.srgs.values())
                assert isinstance(beat, Heartbeat) or beyond, f"its own words: {beat}"
            case _:
                pass

    def _speaker(self, data: bytes) -> list[Event]:
        line = wishline.decode(data)
        assert isinstance(line, wish.Wish | wish.Renew | wish.Ahead), line
        if isinstance(line, wish.Ahead):
            return []
        if isinstance(line, wish.Wish):
            self.said = line
        if self.mute or self.said is None:
            return []
        w = self.said
        neighbors = tuple(wish.NeighborReport(n.name, n.address, True, w.number, None) for n in w.neighbors)
        report = wish.Report(7, "5.0.15", w.agent, w.number, True, (), neighbors)
        return [SpeakerLine(wishline.encode(report))]

    def _echo(self, e: SendEcho) -> list[Event]:
        if e.target.source == FLOATING and not self.wins:
            return []
        return [EchoAnswer(e.target, echo_reply(e.identifier, e.sequence, e.payload))]


@cache
def _settled(node: int) -> tuple[Engine, IclPeer, Instant]:
    world = World()
    world.both()
    world.until(lambda: world.states() == ("ACTIVE", "BACKUP"), 20 * SECOND)
    world.run(3 * SECOND)
    engine, other = world.nodes[node].engine, world.nodes[3 - node].engine
    assert engine is not None and other is not None
    return engine, other.peers[NodeId(node)], world.now


def peer(data: bytes) -> None:
    """Whatever an authentic peer says: the engine goes on, and its own words stay sound.

    ``flags``, then ``pause kind size16 words`` again and again. ``kind`` even: what decodes gets the right name, path,
    incarnation, sequence and echo (else it would be dropped at the door); odd: the bytes go in as they are.
    """
    around = Around(1 + (data[0] & 1) if data else 1, data[0] if data else 0)
    at = 1
    for step in range(STEPS):
        if at + 4 > len(data):
            break
        pause, kind = data[at], data[at + 1]
        size = int.from_bytes(data[at + 2 : at + 4])
        words = data[at + 4 : at + 4 + size][: seal.MAX_PLAINTEXT]
        at += 4 + len(words)
        path = ("icl", "r1", "r2")[kind // 2 % 3]
        if kind % 2 == 0:
            words = _acceptable(around, words, path, (1 << 20) + step)
        packet = around.peer.session.seal(words, around.now)
        assert packet is not None
        around.feed(Datagram(path, address(3 - around.node, path), 255, packet))
        around.run(around.now + pause * 10 * MS)
    assert len(around.view._told_versions) <= 9
    assert all(len(p.times) <= SENT_REMEMBERED for p in around.view.paths.values())


def _acceptable(around: Around, words: bytes, path: str, sequence: int) -> bytes:
    beat = codec.decode(words)
    known = around.view.beat
    if not isinstance(beat, Heartbeat) or known is None:
        return words
    heard = next(reversed(around.view.paths[path].times), 0)
    right = beat._replace(cluster="test", node=around.view.peer.id, path=path, sequence=sequence, echo=heard)
    return codec.encode(right._replace(incarnation=known.incarnation))


def speaker(data: bytes) -> None:
    """Whatever lines a speaker says (one after the other, 100 ms apart): the engine goes on.

    A Report is also made one about the present wish, since another agent's confirmations count for nothing.
    """
    around = Around(2, 2)
    for line in data.split(b"\n")[:STEPS]:
        around.feed(SpeakerLine(line))
        report = wishline.decode(line)
        if isinstance(report, wish.Report):
            mine = replace(report, agent=around.engine.incarnation)
            around.feed(SpeakerLine(wishline.encode(mine)))
        around.run(around.now + 100 * MS)
    around.run(around.now + SECOND)


def remembered(data: bytes) -> None:
    """The file of terms, also with its check sum put right: refused, or read, kept, and fit to start a node with."""
    for content in (data, _with_check(data)):
        try:
            found, _ = memory._newest(content)
        except ValueError:
            continue
        again, _ = memory._newest(memory._format(found.serial, found.groups))
        assert again.serial == found.serial and {m.srg: m for m in again.groups} == {m.srg: m for m in found.groups}
        world = World()
        world.nodes[1].memory = {m.srg: m for m in found.groups}
        world.both()
        world.until(lambda w=world: "ACTIVE" in w.states(), 20 * SECOND)  # type: ignore[misc]


def _with_check(data: bytes) -> bytes:
    try:
        content = json.loads(data)
        serial = [[content["serial"]]] if "serial" in content else []
        content["check"] = memory._check(serial + content["groups"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return data
    return json.dumps(content).encode()
