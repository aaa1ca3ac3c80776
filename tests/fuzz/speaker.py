"""What the speaker hears: ExaBGP's lines and the agent's, alone and by the whole machine."""

from __future__ import annotations

from typing import get_args

from l3ha.base.names import LeaseEnd, Level
from l3ha.base.time import SECOND
from l3ha.core.bfd_frr import FrrAnswer, FrrSilent
from l3ha.core.speaker import Speaker as Machine
from l3ha.core.speaker_events import AgentLine, AgentUp, ExabgpLine, Log, SpeakerEvent, Tick, ToAgent, ToExabgp
from l3ha.wire import exabgp, frr, wish, wishline

HEARD = get_args(exabgp.Heard)
LINES = 32
"""In one run."""

LONGEST_SHOWN = 200
"""Characters of foreign text that a value may carry on."""


def exabgp_lines(data: bytes) -> None:
    """Each line is a value; a speaker with a wish that hears them all writes sound commands and reports."""
    machine = Machine(1, 1, None, 0, bytes)
    events: list[SpeakerEvent] = [AgentUp(), AgentLine(wishline.encode(WISH))]
    for line in data.split(b"\n")[:LINES]:
        heard = exabgp.decode(line)
        assert isinstance(heard, HEARD)
        assert len(repr(heard)) < 10 * LONGEST_SHOWN
        events += [ExabgpLine(line), ExabgpLine(b"done")]
    _play(machine, events)


def agent_lines(data: bytes) -> None:
    """A line is canonical or a reason; a speaker obeys whatever decodes, with sound commands."""
    events: list[SpeakerEvent] = [AgentUp()]
    for line in data.split(b"\n")[:LINES]:
        value = wishline.decode(line)
        if isinstance(value, wishline.BadLine):
            assert 0 < len(str(value)) < LONGEST_SHOWN
        elif isinstance(value, wish.Ahead):
            assert wishline.decode(wishline.ahead(value.line)) == value
            assert wishline.decode(value.line) == value.wish
            events.append(AgentLine(value.line))
        else:
            assert wishline.decode(wishline.encode(value)) == value
        events.append(AgentLine(line))
        if isinstance(value, wish.Wish):
            events += [ExabgpLine(_up(n.address)) for n in value.neighbors[:4]]
        events += [ExabgpLine(b"done")] * 8
    _play(Machine(1, 1, None, 0, bytes), events)
    _play(Machine(1, 1, data, 0, bytes), [*events[:1], ExabgpLine(_up("192.0.2.9")), *[ExabgpLine(b"done")] * 4])


def frr_answer(data: bytes) -> None:
    """What bfdd's socket says is cut into an answer or a reason, the answer decodes to sessions or a reason, and the
    agent is told of a state or of none, and why."""
    whole = frr.cut(data)
    text = whole[0] if isinstance(whole, tuple) else data
    found = frr.sessions(text, FRR_ASKED)
    assert isinstance(found, frr.BadAnswer | tuple)
    assert not isinstance(found, frr.BadAnswer) or 0 < len(str(found)) < LONGEST_SHOWN
    machine = Machine(1, 1, None, 0, bytes)
    list(machine.step(AgentLine(wishline.encode(FRR_WISH)), 0))
    for at, event in enumerate((FrrAnswer("/frr", text), FrrSilent("/frr", "gone"), FrrAnswer("/frr", text))):
        now = 10 * SECOND * (at + 1)
        for effect in machine.step(event, now):
            assert not isinstance(effect, Log) or effect.text.isprintable()
        line = wishline.encode(machine.status(now))
        told = wishline.decode(line)
        assert isinstance(told, wish.Report)
        assert all((s.state is None) == (s.error is not None) for s in told.bfd)


def _play(machine: Machine, events: list[SpeakerEvent]) -> None:
    now = 0
    for event in events:
        now += SECOND // 10
        _sound(machine, event, now)
    for _ in range(4):
        deadline = machine.next_deadline()
        now = now + SECOND if deadline is None else max(now, min(deadline, now + 10 * SECOND))
        _sound(machine, Tick(), now)


def _sound(machine: Machine, event: SpeakerEvent, now: int) -> None:
    for effect in machine.step(event, now):
        match effect:
            case ToExabgp(line):
                assert line.count(b"\n") == 1 and line.endswith(b"\n") and len(line) <= exabgp.MAX_COMMAND
                assert line[:-1].decode("ascii").isprintable()
            case ToAgent(line):
                assert isinstance(wishline.decode(line), wish.Report | wish.Goodbye), line
            case Log(text):
                assert text.isprintable(), text
            case _:
                pass


def _up(address: str) -> bytes:
    return b'{"type": "state", "neighbor": {"address": {"peer": "%s"}, "state": "up"}}' % address.encode()


WISH = wish.Wish(
    7,
    1,
    2 * SECOND,
    LeaseEnd.LOWER,
    (65001, 1),
    (
        wish.NeighborWish(
            "r1",
            "10.0.1.1",
            (wish.RouteGroup(1, Level.HIGH, 3, wish.Attributes("10.0.1.2", 1049), ("192.0.2.1/32",)),),
            (wish.RouteGroup(1, Level.LOW, 0, wish.Attributes("10.0.1.2", 50), ("192.0.2.1/32",)),),
        ),
        wish.NeighborWish("r1six", "fd00:1::1", (), (), wish.BfdWish("fd00:1::2", None, SECOND, 3, 255, None, 0, "")),
    ),
)
FRR_ASKED = {
    "10.7.0.2": wish.FrrWish("/frr", SECOND, "10.7.0.1", "veth", None),
    "fd07::2": wish.FrrWish("/frr", SECOND, "fd07::1", None, None),
    "10.7.0.8": wish.FrrWish("/frr", SECOND, "10.7.0.1", None, None),
}
"""By address, as the recorded answers have them."""

FRR_WISH = wish.Wish(
    1,
    1,
    SECOND,
    LeaseEnd.KEEP,
    (1, 1),
    tuple(wish.NeighborWish(address, address, (), (), None, asked) for address, asked in FRR_ASKED.items()),
)
