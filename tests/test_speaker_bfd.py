"""The speaker's BFD sessions: asked for by the wish, told in reports, outlasting the lease, ending with ExaBGP."""

from __future__ import annotations

from dataclasses import replace

from l3ha.base.names import LeaseEnd
from l3ha.base.time import MS, SECOND, Instant
from l3ha.core.bfd import BfdChanged, BfdEffect, BfdPeer, SendBfd
from l3ha.core.bfd_sessions import BfdTrouble, UseBfd
from l3ha.core.bfd_table import Bfd
from l3ha.core.speaker import Speaker
from l3ha.core.speaker_events import (
    AgentDown,
    AgentLine,
    AgentUp,
    ExabgpGone,
    ExabgpLine,
    Log,
    Save,
    SpeakerEffect,
    SpeakerEvent,
    Tick,
    ToAgent,
    ToExabgp,
)
from l3ha.wire import wishline
from l3ha.wire.bfd import ControlPacket, Diagnostic, State, decode, encode
from l3ha.wire.wish import Alive, BfdReport, BfdWish, Goodbye, NeighborWish, Renew, Report, Wish
from tests.virtual_exabgp import VirtualExabgp

US, ROUTER = "10.0.1.2", "10.0.1.1"
ASKED = BfdWish(US, None, 50 * MS, 3, 255, None, 0, "")
LEASE = 2 * SECOND


def wish(number: int, bfd: BfdWish | None = ASKED) -> Wish:
    return Wish(7, number, LEASE, LeaseEnd.LOWER, (65001, 1), (NeighborWish("r1", ROUTER, (), (), bfd),))


class World:
    """A speaker, and a router that speaks BFD; a millisecond is the way of a packet."""

    def __init__(self, saved: bytes | None = None) -> None:
        self.now: Instant = 1000 * SECOND
        self.speaker = Speaker(1, 1, saved, self.now, bytes)
        self.router = Bfd([BfdPeer(US, ROUTER, 50 * MS, 3)], bytes, self.now)
        self.used: list[tuple[BfdPeer, ...]] = []
        self.reports: list[Report] = []
        self.goodbyes = 0
        self.logs: list[str] = []
        self.saved: bytes | None = None
        self.silent = False
        self.exabgp = VirtualExabgp([ROUTER])
        self._wire: list[tuple[Instant, str, bytes]] = []
        self.feed(Tick())

    def feed(self, event: SpeakerEvent) -> list[SpeakerEffect]:
        effects = list(self.speaker.step(event, self.now))
        for effect in effects:
            match effect:
                case UseBfd(peers):
                    self.used.append(peers)
                case SendBfd(_, data):
                    self._wire.append((self.now + MS, ROUTER, data))
                case ToAgent(data):
                    line = wishline.decode(data)
                    if isinstance(line, Report):
                        self.reports.append(line)
                    self.goodbyes += isinstance(line, Goodbye)
                case Log(text):
                    self.logs.append(text)
                case Save(data):
                    self.saved = data
                case ToExabgp(data):
                    self.exabgp.write(data)
                case _:
                    pass
        return effects

    def ask(self, line: Wish | Renew) -> None:
        self.feed(AgentLine(wishline.encode(line)))

    def run(self, duration: int) -> None:
        end, machine = self.now + duration, self.speaker.bfd.machine
        while self.now < end:
            times = [machine.next_deadline(), self.router.next_deadline(), self.speaker.next_deadline()]
            due = [t for t in times if t is not None] + [t for t, _, _ in self._wire]
            self.now = min(max(self.now, min(due, default=end)), end)
            for item in [w for w in self._wire if w[0] <= self.now]:
                self._wire.remove(item)
                if item[1] == ROUTER:
                    self._router(self.router.receive(US, item[2], 255, self.now))
                else:
                    self._ours(machine.receive(ROUTER, item[2], 255, self.now))
            self._ours(machine.tick(self.now))
            self._router(self.router.tick(self.now))
            deadline = self.speaker.next_deadline()
            if deadline is not None and deadline <= self.now:
                self.feed(Tick())

    def work(self) -> None:
        """ExaBGP answers; in most of these tests it need not."""
        while self.exabgp.busy:
            self.exabgp.carry_out()
            while self.exabgp.output:
                self.feed(ExabgpLine(self.exabgp.output.pop(0)))

    def up(self) -> World:
        self.ask(wish(1))
        self.run(5 * SECOND)
        assert self.session.state == State.UP
        return self

    def _ours(self, effects: list[BfdEffect]) -> None:
        for e in effects:
            if isinstance(e, SendBfd):
                self._wire.append((self.now + MS, ROUTER, e.data))
            else:
                self.feed(e)

    def _router(self, effects: list[BfdEffect]) -> None:
        self._wire += [(self.now + MS, US, e.data) for e in effects if isinstance(e, SendBfd) and not self.silent]

    @property
    def session(self) -> BfdReport:
        (session,) = self.speaker.status(self.now).bfd
        return session


def test_the_wish_asks_for_sessions() -> None:
    w = World()
    assert w.used == [] and w.speaker.status(w.now).bfd == ()
    w.ask(wish(1))
    assert w.used == [(BfdPeer(ROUTER, US, 50 * MS, 3),)]
    w.ask(wish(2))
    assert len(w.used) == 1, "nothing is new"
    w.ask(wish(3, replace(ASKED, auth=5, key_id=2, key=b"secret".hex(), min_ttl=250, interface="eth1")))
    (peer,) = w.used[-1]
    assert peer.key is not None and (peer.key.kind, peer.key.key_id, peer.key.key) == (5, 2, b"secret")
    assert peer.multihop and peer.interface == "eth1"


def test_the_agent_hears_of_a_lost_session_at_once() -> None:
    w = World()
    w.feed(AgentUp())
    w.up()
    told = w.reports[-1].bfd[0]
    assert (told.state, told.remote_state, told.detection, told.interval) == (State.UP, State.UP, 150 * MS, 50 * MS)
    w.silent = True
    before, count = w.now, len(w.reports)
    w.run(160 * MS)
    down = next(r.bfd[0] for r in w.reports[count:] if r.bfd[0].state == State.DOWN)
    assert down.diagnostic == Diagnostic.DETECTION_TIME_EXPIRED and down.flaps == 1
    assert down.age == 0, "the report is of that very instant"
    assert w.now - before <= 160 * MS
    assert f"BFD session to {ROUTER} is down: detection time expired" in w.logs


def test_a_packet_alone_is_no_report() -> None:
    w = World()
    w.feed(AgentUp())
    w.up()
    w.ask(Renew(7, 1, LEASE))
    count, received = len(w.reports), w.reports[-1].bfd[0].received
    w.run(SECOND)
    assert len(w.reports) == count
    w.ask(Renew(7, 1, LEASE))
    assert len(w.reports) == count + 1 and w.reports[-1].bfd[0].received > received + 15


def test_counters_alone_are_worth_a_brief_answer_but_nothing_else_is() -> None:
    w = World()
    w.feed(AgentUp())
    w.up()
    w.work()
    w.ask(Renew(7, 1, LEASE))
    w.run(SECOND)
    brief = Renew(7, 1, LEASE, brief=True)
    assert w.feed(AgentLine(wishline.encode(brief))) == [ToAgent(wishline.encode(Alive()))]
    w.router.configure([BfdPeer(US, ROUTER, 60 * MS, 3)], w.now)
    w.run(SECOND)
    count = len(w.reports)
    w.ask(brief)
    assert [r.bfd[0].detection for r in w.reports[count:]] == [180 * MS]


def test_sessions_outlast_agent_and_lease() -> None:
    w = World().up()
    w.feed(AgentDown())
    w.run(10 * LEASE)
    assert not w.speaker.status(w.now).lease_live
    assert w.session.state == State.UP and w.session.flaps == 0


def test_a_new_helper_starts_the_sessions_of_the_wish_on_disk() -> None:
    w = World().up()
    successor = World(w.saved)
    assert successor.used == [(BfdPeer(ROUTER, US, 50 * MS, 3),)]
    successor.run(5 * SECOND)
    assert successor.session.state == State.UP


def test_what_is_no_longer_asked_for_says_admin_down() -> None:
    w = World().up()
    effects = w.feed(AgentLine(wishline.encode(wish(2, None))))
    kinds = [type(e) for e in effects]
    assert kinds.index(SendBfd) < kinds.index(UseBfd), "while its socket is still there"
    w.run(10 * MS)
    assert w.router.sessions[US].remote_state is State.ADMIN_DOWN


def test_the_end_of_exabgp_is_the_end_of_bfd() -> None:
    w = World().up()
    w.feed(ExabgpGone())
    assert w.goodbyes == 1
    data = next(data for _, to, data in w._wire if to == ROUTER)
    packet = decode(data)
    assert not isinstance(packet, str) and packet.state is State.DOWN and packet.diagnostic == Diagnostic.PATH_DOWN
    assert any(isinstance(e, BfdChanged) for e in w.router.receive(US, data, 255, w.now + MS)), (
        "the router drops us now"
    )


def test_trouble_is_told_and_forgotten() -> None:
    w = World()
    w.feed(AgentUp())
    w.ask(wish(1))
    w.feed(BfdTrouble(ROUTER, "cannot send: Network is unreachable"))
    assert w.reports[-1].bfd[0].error == "cannot send: Network is unreachable"
    w.feed(BfdTrouble("10.9.9.9", "of a session that is gone"))
    w.feed(BfdTrouble(ROUTER, None))
    assert w.reports[-1].bfd[0].error is None
    assert w.logs[-3:] == [
        f"BFD session to {ROUTER}: cannot send: Network is unreachable",
        "BFD session to 10.9.9.9: of a session that is gone",
        f"BFD session to {ROUTER}: can send and hear again",
    ]


def test_trouble_lasts_as_long_as_its_session() -> None:
    w = World()
    w.ask(wish(1))
    w.feed(BfdTrouble(ROUTER, "cannot send"))
    w.ask(wish(2, replace(ASKED, interval=60 * MS)))
    assert w.session.error == "cannot send"
    w.ask(wish(3, None))
    w.ask(wish(4))
    assert w.session.error is None, "another session with the same router, whose sockets are new"


def test_what_is_not_known_or_not_done_is_reported_as_zero() -> None:
    w = World()
    w.ask(wish(1))
    assert (w.session.detection, w.session.remote_multiplier) == (0, 0), "nothing was heard yet"
    quiet = ControlPacket(State.DOWN, 0, False, False, True, False, 3, 77, 0, 50 * MS, 0)
    w.speaker.bfd.machine.receive(ROUTER, encode(quiet), 255, w.now)
    assert (w.session.interval, w.session.detection) == (0, 150 * MS), "it wants no packets"
