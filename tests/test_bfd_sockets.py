"""BFD's sockets on the loopback interface, which needs no root: RFC 5881 §4 and §5, and what cannot be had yet."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable, Iterator

import pytest

from l3ha.base.time import MS, SECOND
from l3ha.core.bfd import BfdPeer, SendBfd
from l3ha.core.bfd_sessions import BfdTrouble
from l3ha.core.bfd_table import Bfd
from l3ha.drivers.bfd import MULTIHOP_PORT, SINGLE_HOP_PORT, SOURCE_PORTS, BfdDatagram, BfdPorts
from l3ha.speaker.bfd import RETRY, BfdLoop, News
from l3ha.wire.bfd import State

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
    (fileno,) = ports.filenos()
    router.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 254)
    router.sendto(b"from afar", (OURS, SINGLE_HOP_PORT))
    assert soon(lambda: ports.read_one(fileno)) == BfdDatagram(THEIRS, b"from afar", 254)
    assert ports.read_one(fileno) is None and list(ports.read()) == []


def test_several_hops_have_their_own_port_rfc_5883_5(ports: BfdPorts, router: socket.socket) -> None:
    ports.use([BfdPeer(THEIRS, OURS, 50 * MS, 3, min_ttl=254)])
    router.sendto(b"x", (OURS, MULTIHOP_PORT))
    (fileno,) = ports.filenos()
    assert soon(lambda: ports.read_one(fileno)).data == b"x"


def test_ipv6() -> None:
    ports = BfdPorts([BfdPeer("::1", "::1", 50 * MS, 3)])
    assert ports.faults == {}
    ports.send("::1", b"x")
    (fileno,) = ports.filenos()
    assert soon(lambda: ports.read_one(fileno)) == BfdDatagram("::1", b"x", 255)
    ports.close()


def test_sessions_that_stay_keep_their_sockets(ports: BfdPorts) -> None:
    before = ports.filenos()
    ports.use([PEER, BfdPeer("127.84.0.3", "127.84.0.4", 50 * MS, 3)])
    assert len(ports.filenos()) == 2 and set(before) <= set(ports.filenos())
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
        self.machine = Bfd([PEER], bytes, self.now)
        self.loop = BfdLoop(self.machine, lambda: self.now, self.news.append, lambda _text: None, None)


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
    assert it.news[1:] == [BfdTrouble(THEIRS, None)] and len(it.loop.filenos) == 1
    it.loop.use(())


def test_what_lies_in_the_socket_is_heard_before_silence_is_judged(router: socket.socket) -> None:
    it = Looped()
    it.loop.use((PEER,))
    other = Bfd([BfdPeer(OURS, THEIRS, 50 * MS, 3)], lambda n: b"\1" * n, it.now)

    def exchange(until: Callable[[], bool]) -> None:
        for _ in range(200):
            for e in other.tick(it.now):
                if isinstance(e, SendBfd):
                    router.sendto(e.data, (OURS, SINGLE_HOP_PORT))
            it.loop.serve(it.loop.filenos)
            router.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                other.receive(OURS, router.recv(100), 255, it.now)
            if until():
                return
            it.now += 10 * MS
        raise AssertionError(it.machine.sessions[THEIRS].state)

    router.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 255)
    session = it.machine.sessions[THEIRS]
    exchange(lambda: session.state is State.UP and session.usual is not None)
    assert session.usual is not None and session.detection == 150 * MS
    received = session.received
    for _ in range(3):
        router.sendto(session.usual, (OURS, SINGLE_HOP_PORT))
    it.now += 155 * MS
    it.loop.serve()  # the poll said nothing of the socket, because the packets came after it
    assert session.state is State.UP and session.received == received + 3
    it.now += 151 * MS
    it.loop.serve()
    assert session.state is State.DOWN
    it.loop.use(())
