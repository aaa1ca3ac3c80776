"""FRR's bfdd as the source of BFD: what it says (recorded from FRR 8.4), what is made of it, how it is asked."""

from __future__ import annotations

import json
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from l3ha.base.names import LeaseEnd
from l3ha.base.time import MS, SECOND, Instant
from l3ha.core.bfd_frr import YOUNG, FrrAnswer, FrrSessions, FrrSilent, UseFrr
from l3ha.core.speaker import Speaker
from l3ha.core.speaker_events import AgentLine, AgentUp, Log, SpeakerEffect, SpeakerEvent, ToAgent
from l3ha.speaker.frr import GIVE_UP, PATIENCE, RETRY, FrrLoop
from l3ha.wire import frr, wishline
from l3ha.wire.bfd import Diagnostic, State
from l3ha.wire.frr import BadAnswer, FrrSession
from l3ha.wire.wish import BfdReport, FrrWish, NeighborWish, Wish
from tests.fuzz.table import decoder

ROUTER, US, HOME = "10.7.0.2", "10.7.0.1", "/run/frr"
ASKED = FrrWish(HOME, 100 * MS, US, "veth", None)
EVERY = (ROUTER, "fd07::2", "10.7.0.8", "10.7.0.9")
T0: Instant = 100_000 * SECOND


def recorded(name: str) -> tuple[FrrSession, ...]:
    answer = frr.cut((decoder("frr").corpus / name).read_bytes())
    assert isinstance(answer, tuple) and answer[1] == 0
    found = frr.sessions(answer[0], EVERY)
    assert isinstance(found, tuple)
    return found


# --- the decoder ------------------------------------------------------------------------------------------------------


def test_a_session_that_is_up() -> None:
    found = recorded("up")
    assert [(s.peer, s.local, s.interface, s.multihop, s.state.name) for s in found] == [
        ("10.7.0.9", None, None, False, "DOWN"),
        (ROUTER, US, None, True, "UP"),
        (ROUTER, US, "veth", False, "UP"),
        ("fd07::2", "fd07::1", "veth", False, "UP"),
        ("10.7.0.8", None, None, False, "ADMIN_DOWN"),
    ]
    assert found[2] == FrrSession(
        *(ROUTER, US, "default", "veth", False, 1633856078, State.UP, 5 * SECOND, 0, 0),
        *(50 * MS, 50 * MS, 3, 50 * MS, 50 * MS, 3),
    )
    assert found[2].detection == 150 * MS
    assert found[4].since is None


def test_why_a_session_is_down() -> None:
    frozen, left = recorded("down")[2], recorded("admin")[2]
    assert (frozen.state, frozen.diagnostic) == (State.DOWN, Diagnostic.DETECTION_TIME_EXPIRED)
    assert (left.state, left.diagnostic) == (State.DOWN, Diagnostic.NEIGHBOR_SIGNALED_DOWN)
    assert left.since == SECOND


@pytest.mark.parametrize(
    ("data", "answer"),
    [
        (b"", None),
        (b"[", None),
        (b"[]\0\0\0", None),
        (b"[]\0\0\0\0", (b"[]", 0)),
        (b"\0\0\0\2", (b"", 2)),
        (b"[]\0\0\1\0", BadAnswer("not the end of an answer")),
        (b"[]\0\0\0\0[", BadAnswer("not the end of an answer")),
        (b"x" * (frr.MAX_ANSWER + 1), BadAnswer("longer than 256 KiB")),
    ],
)
def test_where_an_answer_ends(data: bytes, answer: object) -> None:
    assert frr.cut(data) == answer


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"% [BFD] Unknown command", "JSONDecodeError"),
        (b"{}", "not a list"),
        (b"[7]", "a session is an object"),
        (b'[{"peer":"10.7.0.2"}]', "KeyError: 'status'"),
        (b'[{"status":"up"}]', "KeyError: 'peer'"),
        (b'[{"peer":7,"status":"up"}]', "a short text is wanted"),
        (b'[{"peer":"10.7.0.2","status":"up","local":"ten"}]', "'ten' does not appear"),
        (b'[{"peer":"10.7.0.2","status":"sideways"}]', "sideways"),
        (b'[{"peer":"10.7.0.2","status":"up","uptime":-1}]', "'-1' is not a number"),
        (b'[{"peer":"10.7.0.2","status":"up","id":true}]', "'True' is not a number"),
        (b"[" * 100_000, "RecursionError"),
        (b" " * (frr.MAX_ANSWER + 1), "longer than"),
    ],
)
def test_what_makes_no_sense_is_said(text: bytes, reason: str) -> None:
    found = frr.sessions(text, EVERY)
    assert isinstance(found, BadAnswer) and reason in str(found) and len(str(found)) < 160


def test_what_only_some_versions_tell_may_be_missing() -> None:
    (bare,) = frr.sessions(
        b'[{"peer":"10.9.9.9"},{"peer":"fd07::2","status":"init","bfd-name":"x","diagnostic":"brand new"}]', EVERY
    )
    assert isinstance(bare, FrrSession)
    assert (bare.peer, bare.local, bare.vrf, bare.number, bare.since, bare.detection) == (
        *("fd07::2", None, "default", 0, None, 0),
    )
    assert bare.diagnostic == 31


# --- what is made of it -----------------------------------------------------------------------------------------------


def session(status: str = "up", seconds: int = 60, **more: Any) -> dict[str, Any]:
    """One as bfdd prints it, up or down for so long."""
    age = {"up": {"uptime": seconds}, "down": {"downtime": seconds}}.get(status, {})
    return {"peer": ROUTER, "local": US, "interface": "veth", "id": 7, "status": status, **age, **more}


class Followed:
    """A neighbor's session, and a bfdd that says what the test says."""

    def __init__(self, asked: FrrWish = ASKED) -> None:
        self.sessions = FrrSessions()
        self.sessions.use((NeighborWish("r1", ROUTER, (), (), None, asked),))
        self.now = T0

    def say(self, *found: dict[str, Any], after: int = 100 * MS) -> BfdReport | None:
        self.now += after
        self.sessions.heard(FrrAnswer(HOME, json.dumps(found).encode()), self.now)
        return self.report

    def silent(self, reason: str = "no answer for 1s") -> BfdReport | None:
        self.sessions.heard(FrrSilent(HOME, reason), self.now)
        return self.report

    @property
    def report(self) -> BfdReport | None:
        return next(iter(self.sessions.report(self.now)), None)


def state(report: BfdReport | None) -> tuple[int | None, int, str | None]:
    assert report is not None
    return report.state, report.flaps, report.error


UP, DOWN = (State.UP, 0, None), (State.DOWN, 1, None)


def test_a_session_as_the_agent_is_told() -> None:
    f = Followed()
    assert f.report is None, "nothing is known, and nothing has failed"
    f.sessions.heard(FrrAnswer(HOME, (decoder("frr").corpus / "up").read_bytes()[:-4]), T0)
    told = f.report
    assert told is not None and state(told) == UP
    assert (told.age, told.interval, told.detection, told.remote_multiplier) == (5 * SECOND, 50 * MS, 150 * MS, 3)
    f.sessions.heard(FrrAnswer(HOME, (decoder("frr").corpus / "down").read_bytes()[:-4]), T0 + SECOND)
    told = f.report
    assert told is not None and state(told) == DOWN and told.diagnostic == Diagnostic.DETECTION_TIME_EXPIRED
    assert (told.interval, told.detection) == (0, 0), "what bfdd prints of a peer that is silent is what it was"


def test_silence_is_unknown_and_no_flap() -> None:
    f = Followed()
    assert state(f.say(session())) == UP
    assert state(f.silent()) == (None, 0, "no answer for 1s")
    f.now += 10 * SECOND
    assert state(f.say(session(seconds=70), after=0)) == UP
    assert f.report is not None and f.report.age == 70 * SECOND


def test_a_flap_is_counted_across_silence_and_between_two_polls() -> None:
    f = Followed()
    f.say(session())
    f.silent()
    assert state(f.say(session("down", 0))) == DOWN
    assert state(f.say(session("init"))) == (State.INIT, 1, None)
    assert state(f.say(session("up", 0))) == (State.UP, 1, None)
    f.now += 10 * SECOND
    assert state(f.say(session("up", 9))) == (State.UP, 1, None), "whole seconds"
    f.now += 10 * SECOND
    assert state(f.say(session("up", 3))) == (State.UP, 2, None)
    f.silent()
    f.now += 10 * SECOND
    assert state(f.say(session("up", 1))) == (State.UP, 3, None)


def test_sessions_of_a_new_bfdd_may_take_their_time() -> None:
    f = Followed()
    f.say(session())
    f.silent("bfdd has closed the connection")
    young = f.say(session("down", 0, id=8))
    assert young is not None and young.state is None and "new to bfdd" in (young.error or "")
    assert state(f.say(session("init", id=8)))[0] is None
    assert state(f.say(session("up", 0, id=8))) == UP, "a restart of bfdd is no flap"
    assert state(f.say(session("down", 0, id=8))) == DOWN, "that was up in this bfdd"


def test_a_router_that_died_while_bfdd_was_restarted() -> None:
    f = Followed()
    f.say(session())
    f.silent()
    assert state(f.say(session("down", 4, id=8)))[0] is None
    assert state(f.say(session("down", 5, id=8), after=YOUNG)) == DOWN


def test_where_nothing_was_known_a_young_session_is_no_failure() -> None:
    f = Followed()
    assert f.say(session("down", 0)) is None
    assert state(f.say(session("down", 5), after=YOUNG)) == (State.DOWN, 0, None)


@pytest.mark.parametrize("status", ["shutdown", "down"])
def test_taken_down_on_purpose(status: str) -> None:
    told = Followed().say(session(status, 90, **{"remote-diagnostic": "administratively down"}))
    assert told is not None and told.remote_state == State.ADMIN_DOWN and told.flaps == 0
    assert told.state == (State.DOWN if status == "down" else State.ADMIN_DOWN)


@pytest.mark.parametrize(
    ("asked", "found", "error"),
    [
        (ASKED, [], "bfdd has no session from 10.7.0.1 to 10.7.0.2"),
        (ASKED, [session(local="10.7.0.3")], "no session from 10.7.0.1 to 10.7.0.2"),
        (ASKED, [session(interface="e1"), session(peer="10.7.0.9")], "no session"),
        (FrrWish(HOME, MS, US, None, "red"), [session()], "no session"),
        (FrrWish(HOME, MS, US, None, None), [session(), session(interface="e1")], "2 sessions from 10.7.0.1"),
        (FrrWish(HOME, MS, US, None, None), [session(vrf="red"), session()], "name its interface or vrf"),
        (ASKED, [session(status="?")], "bfdd's answer makes no sense: KeyError: '?'"),
    ],
)
def test_a_session_that_cannot_be_found_is_unknown(asked: FrrWish, found: list[dict[str, Any]], error: str) -> None:
    told = Followed(asked).say(*found)
    assert told is not None and told.state is None and error in (told.error or ""), told


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        (FrrWish(HOME, MS, US, None, None), [session(interface="e1"), session(peer="10.7.0.9")]),
        (FrrWish(HOME, MS, US, None, "red"), [session(vrf="red"), session()]),
        (ASKED, [{**session(), "local": None}, session(interface="e1")]),
    ],
)
def test_the_session_that_is_meant(asked: FrrWish, found: list[dict[str, Any]]) -> None:
    assert state(Followed(asked).say(*found)) == UP


def test_the_speaker_asks_and_tells() -> None:
    speaker = Speaker(1, 1, None, T0, bytes)

    def wish(number: int, *asked: FrrWish) -> AgentLine:
        neighbors = tuple(NeighborWish(f"r{n}", f"10.7.{n}.2", (), (), None, x) for n, x in enumerate(asked))
        return AgentLine(wishline.encode(Wish(7, number, SECOND, LeaseEnd.LOWER, (1, 1), neighbors)))

    def step(event: SpeakerEvent) -> list[SpeakerEffect]:
        return list(speaker.step(event, T0))

    step(AgentUp())
    slow = FrrWish(HOME, SECOND, US, None, None)
    assert UseFrr(((HOME, 100 * MS),)) in step(wish(1, slow, ASKED)), "the fastest of a bfdd"
    assert not any(isinstance(e, UseFrr) for e in step(wish(2, slow, ASKED)))
    effects = step(FrrSilent(HOME, "no answer for 1s"))
    assert Log(f"bfdd in {HOME}: no answer for 1s") in effects
    assert any(isinstance(e, ToAgent) and b'"error":"no answer for 1s"' in e.data for e in effects)
    again = step(FrrSilent(HOME, "no answer for 1s"))
    assert not any(isinstance(e, ToAgent) for e in again), "that is no news"
    assert UseFrr(()) in step(wish(3))
    assert speaker.status(T0).bfd == ()


# --- how it is asked --------------------------------------------------------------------------------------------------


class Bfdd:
    """The daemon's end of the socket; the test answers, or does not."""

    def __init__(self, directory: Path) -> None:
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.settimeout(5)
        self.listener.bind(str(directory / "bfdd.vty"))
        self.listener.listen(5)
        self.connection = self.listener

    def accept(self) -> None:
        self.connection, _ = self.listener.accept()
        self.connection.settimeout(5)

    def close(self) -> None:
        self.connection.close()
        self.listener.close()


class Rig:
    """The loop over a real socket, and a clock that the test sets."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.now = T0
        self.told: list[FrrAnswer | FrrSilent] = []
        self.loop = FrrLoop(lambda: self.now, self.told.append)
        self.loop.use(((str(directory), 100 * MS),))

    def turn(self, after: int = 0) -> list[FrrAnswer | FrrSilent]:
        self.now += after
        self.told.clear()
        self.loop.serve([vty.fileno() for vty in self.loop.connections])
        return list(self.told)

    def enabled(self, bfdd: Bfdd) -> None:
        self.turn()
        bfdd.accept()
        assert bfdd.connection.recv(99) == frr.ENABLE
        bfdd.connection.sendall(b"\0\0\0\0")
        assert self.turn() == []
        assert bfdd.connection.recv(99) == frr.PEERS


@pytest.fixture
def rig() -> Iterator[Rig]:
    with tempfile.TemporaryDirectory(prefix="l3ha-frr") as directory:
        built = Rig(Path(directory))
        yield built
        built.loop.use(())


@pytest.fixture
def bfdd(rig: Rig) -> Iterator[Bfdd]:
    daemon = Bfdd(rig.directory)
    yield daemon
    daemon.close()


def test_one_question_at_a_time_over_one_connection(rig: Rig, bfdd: Bfdd) -> None:
    rig.enabled(bfdd)
    bfdd.connection.sendall(b"[")
    assert rig.turn(99 * MS) == [] and rig.turn(50 * MS) == []
    bfdd.connection.sendall(b"]\0\0\0\0")
    assert rig.turn() == [FrrAnswer(str(rig.directory), b"[]")]
    assert bfdd.connection.recv(99) == frr.PEERS, "the poll is over since long"
    bfdd.connection.sendall(b"[ ]\0\0\0\0")
    assert rig.turn() == [FrrAnswer(str(rig.directory), b"[ ]")]
    assert rig.loop.deadline == rig.now + 100 * MS
    bfdd.connection.setblocking(False)
    for after in (0, 99 * MS):
        rig.turn(after)
        with pytest.raises(BlockingIOError):
            bfdd.connection.recv(99)
    rig.turn(MS)
    assert bfdd.connection.recv(99) == frr.PEERS


def test_a_hung_bfdd_is_told_once_and_its_late_answer_is_thrown_away(rig: Rig, bfdd: Bfdd) -> None:
    rig.enabled(bfdd)
    assert rig.loop.deadline == rig.now + PATIENCE
    assert rig.turn(PATIENCE) == [FrrSilent(str(rig.directory), "no answer for 1s")]
    assert rig.turn(SECOND) == [] and rig.loop.deadline == rig.now + GIVE_UP - PATIENCE - SECOND
    bfdd.connection.sendall(b"[]\0\0\0\0")
    assert rig.turn() == []
    assert bfdd.connection.recv(99) == frr.PEERS
    bfdd.connection.sendall(b"[ ]\0\0\0\0")
    assert rig.turn() == [FrrAnswer(str(rig.directory), b"[ ]")]


def test_a_stall_of_our_own_is_no_silence(rig: Rig, bfdd: Bfdd) -> None:
    rig.enabled(bfdd)
    bfdd.connection.sendall(b"[]\0\0\0\0")
    assert rig.turn(2 * PATIENCE) == [], "old, but no fault of bfdd"
    assert bfdd.connection.recv(99) == frr.PEERS


def test_after_long_silence_the_connection_is_made_anew(rig: Rig, bfdd: Bfdd) -> None:
    rig.enabled(bfdd)
    rig.turn(PATIENCE)
    assert rig.turn(GIVE_UP - PATIENCE) == [FrrSilent(str(rig.directory), "no answer for 10s")]
    assert bfdd.connection.recv(99) == b""
    rig.turn(RETRY)
    bfdd.accept()
    assert bfdd.connection.recv(99) == frr.ENABLE


def test_no_bfdd_and_then_one(rig: Rig) -> None:
    (told,) = rig.turn()
    assert isinstance(told, FrrSilent) and "No such file" in told.reason and "is bfdd running?" in told.reason
    assert rig.turn() == [] and rig.turn(RETRY) == [], "told once"
    daemon = Bfdd(rig.directory)
    try:
        rig.turn(RETRY - 1)
        assert rig.loop.connections == ()
        rig.turn(1)
        daemon.accept()
        assert daemon.connection.recv(99) == frr.ENABLE
    finally:
        daemon.close()
    (told,) = rig.turn()
    assert isinstance(told, FrrSilent) and told.reason == "bfdd has closed the connection"
    (told,) = rig.turn(RETRY)
    assert isinstance(told, FrrSilent) and "bfdd is not running" in told.reason


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"% [BFD] Unknown command\0\0\0\2", "bfdd does not know `show bfd peers json` (result 2)"),
        (b"[]\0\0\1\0", "bfdd's answer makes no sense: not the end of an answer"),
        (b"[]\0\0\0\0[]\0\0\0\0", "bfdd's answer makes no sense: not the end of an answer"),
    ],
)
def test_a_bfdd_that_talks_nonsense_is_hung_up_on(rig: Rig, bfdd: Bfdd, answer: bytes, reason: str) -> None:
    rig.enabled(bfdd)
    bfdd.connection.sendall(answer)
    assert rig.turn() == [FrrSilent(str(rig.directory), reason)]
    assert rig.loop.connections == () and rig.loop.deadline == rig.now + RETRY


def test_words_without_a_question(rig: Rig, bfdd: Bfdd) -> None:
    rig.enabled(bfdd)
    bfdd.connection.sendall(b"[]\0\0\0\0")
    rig.turn()
    bfdd.connection.sendall(b"[]\0\0\0\0")
    assert rig.turn() == [FrrSilent(str(rig.directory), "bfdd speaks without being asked")]


def test_a_bfdd_that_takes_no_connections_holds_nobody_up(rig: Rig) -> None:
    daemon = Bfdd(rig.directory)
    waiting: list[socket.socket] = []
    try:
        daemon.listener.listen(0)
        for _ in range(4):
            waiting.append(socket.socket(socket.AF_UNIX))
            waiting[-1].setblocking(False)
            try:
                waiting[-1].connect(str(rig.directory / "bfdd.vty"))
            except BlockingIOError:
                break
        (told,) = rig.turn()
        assert isinstance(told, FrrSilent) and "does not take connections" in told.reason
    finally:
        for s in waiting:
            s.close()
        daemon.close()
