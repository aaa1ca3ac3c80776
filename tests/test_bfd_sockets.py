"""BFD's sockets on the loopback interface, which needs no root: RFC 5881 §4 and §5, and what cannot be had yet."""

from __future__ import annotations

import contextlib
import errno
import select
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import pytest

from l3ha.base.time import MS, SECOND, Duration
from l3ha.core.bfd import BfdChanged, BfdEffect, BfdPeer, SendBfd
from l3ha.core.bfd_sessions import BfdTrouble
from l3ha.core.bfd_table import Bfd
from l3ha.drivers import reuseport
from l3ha.drivers.bfd import MULTIHOP_PORT, SINGLE_HOP_PORT, SOURCE_PORTS, BfdDatagram, BfdPorts
from l3ha.speaker.bfd import RETRY, BfdLoop, News
from l3ha.wire.bfd import Diagnostic, State

OURS, THEIRS = "127.84.0.1", "127.84.0.2"
PEER = BfdPeer(THEIRS, OURS, 50 * MS, 3)


@pytest.fixture
def ports() -> Iterator[BfdPorts]:
    opened = BfdPorts([PEER])
    yield opened
    opened.close()


@pytest.fixture
def router() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.bind((THEIRS, SINGLE_HOP_PORT))
        s.settimeout(5)
        yield s


def soon(read: Callable[[], BfdDatagram | None]) -> BfdDatagram:
    end = time.monotonic() + 5
    while (found := read()) is None:
        assert time.monotonic() < end
    return found


def test_source_ports_rfc_5881_4(ports: BfdPorts, router: socket.socket) -> None:
    """From 49152 up, the same for all packets of a session, another for another session."""
    ports.use([PEER, BfdPeer("127.84.0.3", OURS, 50 * MS, 3)])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.84.0.3", SINGLE_HOP_PORT))
        other.settimeout(5)
        heard = []
        for address, s in ((THEIRS, router), (THEIRS, router), ("127.84.0.3", other)):
            ports.send(address, b"x")
            heard.append(s.recvfrom(100)[1])
    first, again, second = heard
    assert first == again and first[0] == OURS and first[1] in SOURCE_PORTS
    assert second[1] in SOURCE_PORTS and second[1] != first[1]


def test_sent_with_ttl_255_and_the_ttl_is_told_rfc_5881_5(ports: BfdPorts, router: socket.socket) -> None:
    router.setsockopt(socket.IPPROTO_IP, 12, 1)  # IP_RECVTTL
    ports.send(THEIRS, b"hello")
    _, ancillary, _, _ = router.recvmsg(100, 64)
    assert int.from_bytes(ancillary[0][2], "little") == 255
    (fileno,) = ports.filenos(quiet=False)
    router.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 254)
    router.sendto(b"from afar", (OURS, SINGLE_HOP_PORT))
    assert soon(lambda: ports.read_one(fileno)) == BfdDatagram(THEIRS, b"from afar", 254)
    assert ports.read_one(fileno) is None and list(ports.read()) == []


@pytest.mark.parametrize(("ours", "hops"), [(OURS, socket.IP_TTL), ("::1", socket.IPV6_UNICAST_HOPS)])
def test_only_up_without_poll_and_final_from_the_link_may_wait(ours: str, hops: int) -> None:
    ipv6 = ":" in ours
    ports = BfdPorts([BfdPeer(ours, ours, 50 * MS, 3)])
    (prompt,) = ports.filenos(quiet=False)
    (quiet,) = set(ports.filenos()) - {prompt}
    with socket.socket(socket.AF_INET6 if ipv6 else socket.AF_INET, socket.SOCK_DGRAM) as s:
        for ttl in (255, 254):
            s.setsockopt(socket.IPPROTO_IPV6 if ipv6 else socket.IPPROTO_IP, hops, ttl)
            for flags in range(256):
                s.sendto(bytes([0x20, flags]) + bytes(22), (ours, SINGLE_HOP_PORT))
                usual = ttl == 255 and flags >> 6 == State.UP and not flags & 0x30
                datagram = soon(partial(ports.read_one, quiet if usual else prompt))
                assert datagram.data[1] == flags and datagram.ttl == ttl
                assert list(ports.read()) == []
        s.sendto(b"x", (ours, SINGLE_HOP_PORT))
        assert soon(lambda: ports.read_one(prompt)).data == b"x"
    ports.close()


def test_usual_packets_come_first_and_know_their_age(ports: BfdPorts, router: socket.socket) -> None:
    router.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 255)
    up = bytes([0x20, State.UP << 6]) + bytes(22)
    router.sendto(up, (OURS, SINGLE_HOP_PORT))
    router.sendto(b"news", (OURS, SINGLE_HOP_PORT))
    time.sleep(0.05)
    first, second = ports.read()
    assert (first.data, second.data) == (up, b"news")
    assert 50 * MS <= first.age < 5 * SECOND and 50 * MS <= second.age < 5 * SECOND
    router.sendto(b"news", (OURS, SINGLE_HOP_PORT))
    router.sendto(up, (OURS, SINGLE_HOP_PORT))
    assert [d.data for d in ports.read(prompt=False)] == [up]
    assert [d.data for d in ports.read()] == [b"news"]


def test_a_kernel_that_cannot_choose_has_one_socket(monkeypatch: pytest.MonkeyPatch, router: socket.socket) -> None:
    def cannot(_s: socket.socket, _second: Sequence[reuseport.ByteIs]) -> None:
        raise OSError(errno.ENOPROTOOPT, "Protocol not available")

    monkeypatch.setattr(reuseport, "choose", cannot)
    ports = BfdPorts([PEER])
    assert ports.faults == {} and ports.filenos() == ports.filenos(quiet=False)
    (fileno,) = ports.filenos()
    router.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 255)
    for _ in range(20):
        router.sendto(bytes([0x20, State.UP << 6]), (OURS, SINGLE_HOP_PORT))
        assert soon(lambda: ports.read_one(fileno)).ttl == 255
    ports.close()


def test_several_hops_have_their_own_port_rfc_5883_5(ports: BfdPorts, router: socket.socket) -> None:
    ports.use([BfdPeer(THEIRS, OURS, 50 * MS, 3, min_ttl=254)])
    router.sendto(b"x", (OURS, MULTIHOP_PORT))
    (fileno,) = ports.filenos()  # from so far away anybody could fill a socket that nobody polls
    assert soon(lambda: ports.read_one(fileno)).data == b"x"


def test_ipv6() -> None:
    ports = BfdPorts([BfdPeer("::1", "::1", 50 * MS, 3)])
    assert ports.faults == {}
    ports.send("::1", b"x")
    (fileno,) = ports.filenos(quiet=False)
    assert soon(lambda: ports.read_one(fileno)) == BfdDatagram("::1", b"x", 255)
    ports.close()


def test_sessions_that_stay_keep_their_sockets(ports: BfdPorts) -> None:
    before = ports.filenos()
    ports.use([PEER, BfdPeer("127.84.0.3", "127.84.0.4", 50 * MS, 3)])
    assert len(ports.filenos()) == 4 and set(before) <= set(ports.filenos())
    ports.use([])
    assert ports.filenos() == []
    ports.send(THEIRS, b"x")
    assert ports.errors[THEIRS] == 1


def test_no_interface_and_no_way_are_faults_that_end() -> None:
    ports = BfdPorts([BfdPeer(THEIRS, OURS, 50 * MS, 3, interface="none-such")])
    assert "cannot use 127.84.0.1 port 3784: No such device" in ports.faults[THEIRS]
    ports.use([PEER])
    assert ports.faults == {}
    ports.use([BfdPeer("fd84::1", OURS, 50 * MS, 3)])  # of another family than its source
    ports.send("fd84::1", b"x")
    assert ports.faults["fd84::1"].startswith("cannot send") and ports.errors["fd84::1"] == 1
    ports.close()


class Looped:
    """The loop of the speaker with a clock of ours."""

    def __init__(self) -> None:
        self.now = 1000 * SECOND
        self.news: list[News] = []
        self.said: list[str] = []
        self.machine = Bfd([PEER], bytes, self.now)
        self.loop = BfdLoop(
            self.machine, lambda: self.now, self.news.append, self.said.append, ("no priority", "no lock")
        )


def test_what_is_not_granted_is_said_once_and_only_to_who_uses_bfd() -> None:
    it = Looped()
    it.loop.use(())
    assert it.said == []
    it.loop.use((PEER,))
    it.loop.use((PEER,))
    assert it.said == ["no priority", "no lock"]
    it.loop.use(())


def test_a_taken_port_is_tried_again() -> None:
    """A new helper is started before ExaBGP has buried the old one."""
    it = Looped()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as forerunner:
        forerunner.bind((OURS, SINGLE_HOP_PORT))
        it.loop.use((PEER,))
        (trouble,) = it.news
        assert isinstance(trouble, BfdTrouble) and "Address already in use" in (trouble.fault or "")
        assert it.loop.filenos == ()
        it.now += RETRY
        it.loop.serve()
        assert len(it.news) == 1 and it.loop.filenos == ()
    assert it.loop.deadline is not None and it.loop.deadline <= it.now + RETRY
    it.now += RETRY
    it.loop.serve()
    assert it.news[1:] == [BfdTrouble(THEIRS, None)] and len(it.loop.filenos) == 2
    it.loop.use(())


class Session:
    """``Looped`` with a router at the other end of its sockets, up and settled."""

    def __init__(self, router: socket.socket) -> None:
        self.it = Looped()
        self.it.loop.use((PEER,))
        self.router = router
        router.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 255)
        router.setblocking(False)
        self.other = Bfd([BfdPeer(OURS, THEIRS, 50 * MS, 3)], lambda n: b"\1" * n, self.it.now)
        self.session = self.it.machine.sessions[THEIRS]
        for _ in range(200):
            self.carry(self.other.tick(self.it.now))
            self.it.loop.serve(self.it.loop.filenos)
            with contextlib.suppress(BlockingIOError):
                self.carry(self.other.receive(OURS, router.recv(100), 255, self.it.now))
            if self.it.machine.settled and self.session.state is State.UP:
                break
            self.it.now += 10 * MS
        assert self.session.detection == 150 * MS

    def carry(self, effects: list[BfdEffect]) -> None:
        for e in effects:
            if isinstance(e, SendBfd):
                self.say(e.data)

    def say(self, data: bytes | None) -> None:
        assert data is not None
        self.router.sendto(data, (OURS, SINGLE_HOP_PORT))

    def pass_time(self, duration: Duration, *ready: int) -> None:
        self.it.now += duration
        self.it.loop.serve(ready)


@pytest.fixture
def up(router: socket.socket) -> Iterator[Session]:
    s = Session(router)
    yield s
    s.it.loop.use(())


def test_what_lies_in_the_socket_is_heard_before_silence_is_judged(up: Session) -> None:
    received = up.session.received
    for _ in range(3):
        up.say(up.session.usual)
    up.pass_time(155 * MS)  # the poll said nothing of the socket, because the packets came after it
    assert up.session.state is State.UP and up.session.received == received + 3
    up.pass_time(151 * MS)
    assert up.session.state is State.DOWN


def test_what_is_usual_wakes_nobody_once_all_is_settled(up: Session) -> None:
    (fileno,) = up.it.loop.filenos
    generation, received = up.it.loop.generation, up.session.received
    for _ in range(10):
        up.say(up.session.usual)
        assert select.select([fileno], [], [], 0.01)[0] == []
        up.pass_time(50 * MS)
    assert up.session.received >= received + 9 and up.it.loop.generation == generation
    assert up.session.state is State.UP


def test_news_is_heard_at_once_and_after_what_was_said_before(up: Session) -> None:
    (fileno,) = up.it.loop.filenos
    up.say(up.session.usual)
    up.carry(up.other.sessions[OURS].admin(up=False, now=up.it.now))
    assert select.select([fileno], [], [], 5)[0] == [fileno]
    up.pass_time(MS, fileno)
    assert up.it.news[-1:] == [BfdChanged(THEIRS, State.DOWN, Diagnostic.NEIGHBOR_SIGNALED_DOWN)]
    assert len(up.it.loop.filenos) == 2, "nothing is usual now"


def test_silence_counts_from_the_arrival_of_the_last_packet(up: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not from when it was read: that may be an interval later."""
    up.pass_time(50 * MS)
    arrived, read = time.clock_gettime_ns(time.CLOCK_REALTIME), up.it.now
    up.say(up.session.usual)
    monkeypatch.setattr(time, "clock_gettime_ns", lambda _clock: arrived + 40 * MS)
    up.pass_time(50 * MS)
    monkeypatch.undo()
    due = up.session.next_deadline()
    last = read + 10 * MS
    assert due is not None
    up.it.now = last + 149 * MS
    up.it.loop.serve()
    assert up.session.state is State.UP
    up.it.now = last + 151 * MS
    up.it.loop.serve()
    assert up.session.state is State.DOWN


def test_a_clock_that_was_set_makes_no_packet_old(up: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    up.pass_time(50 * MS)
    for step in (3600 * SECOND, -3600 * SECOND):
        up.say(up.session.usual)
        real = time.clock_gettime_ns(time.CLOCK_REALTIME)
        monkeypatch.setattr(time, "clock_gettime_ns", lambda _clock, at=real + step: at)
        up.pass_time(60 * MS)
        monkeypatch.undo()
    up.pass_time(149 * MS)
    assert up.session.state is State.UP
