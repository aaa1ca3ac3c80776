"""One command at a time, and markers that tell a late answer from a lost one: the clock of it."""

from __future__ import annotations

from l3ha.base.time import SECOND, Instant
from l3ha.core.exchange import MARKER_AT_LEAST_EVERY, MARKER_EVERY, PATIENCE, Exchange, Fate, Outcome
from l3ha.wire.exabgp import Ack, Announce, Question, SessionsHeader
from l3ha.wire.wish import Attributes

T0: Instant = 1_000 * SECOND
COMMAND = Announce("192.0.2.9", Attributes("192.0.2.1", local_preference=100), 1, ("198.51.100.1/32",))


def waiting() -> Exchange:
    e = Exchange()
    e.send(COMMAND, T0)
    return e


def test_a_new_one_waits_for_nothing() -> None:
    e = Exchange()
    assert e.idle and e.command is None and e.deadline() is None
    assert not e.marker_due(T0) and not e.overdue(T0)
    assert e.heard(Ack.DONE) is None


def test_patience_counts_from_the_command_and_afresh_from_every_part_of_an_answer() -> None:
    e = waiting()
    assert e.deadline() == T0 + PATIENCE
    assert not e.overdue(T0 + PATIENCE - 1) and e.overdue(T0 + PATIENCE)
    e.alive(T0 + PATIENCE - 1)
    assert not e.overdue(T0 + 2 * PATIENCE - 2) and e.deadline() == T0 + 2 * PATIENCE - 1
    assert not e.marker_due(T0 + PATIENCE)
    assert e.heard(Ack.DONE) == Outcome(COMMAND, Fate.TAKEN)
    e.send(COMMAND, T0 + 9 * PATIENCE)
    assert not e.overdue(T0 + 10 * PATIENCE - 1) and e.deadline() == T0 + 10 * PATIENCE


def test_markers_come_ever_more_seldom_and_begin_anew_with_a_command() -> None:
    e, now, pause, pauses = waiting(), T0 + PATIENCE, MARKER_EVERY, []
    for _ in range(6):
        assert not e.marker_due(now - 1) and e.marker_due(now)
        following = e.deadline()
        assert following is not None
        pauses.append(following - now)
        now = following
    assert pauses == [pause, 2 * pause, 4 * pause, 8 * pause, 16 * pause, 16 * pause]
    assert pauses[-1] == MARKER_AT_LEAST_EVERY
    assert e.heard(Ack.DONE) == Outcome(COMMAND, Fate.TAKEN)
    for number in range(6):
        assert not e.idle
        e.heard(SessionsHeader())
        assert e.heard(Ack.DONE) == Outcome(Question.SESSIONS, Fate.TAKEN), number
    assert e.idle
    e.send(COMMAND, now)
    assert e.marker_due(now + PATIENCE) and e.deadline() == now + PATIENCE + MARKER_EVERY


def test_a_refused_question_is_told_as_refused() -> None:
    e = Exchange()
    e.send(Question.SESSIONS, T0)
    e.heard(SessionsHeader())
    assert e.command is Question.SESSIONS
    assert e.heard(Ack.ERROR) == Outcome(Question.SESSIONS, Fate.REFUSED)
