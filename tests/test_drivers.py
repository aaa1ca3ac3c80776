"""Drivers against the real kernel: sockets in network namespaces (lab), files and unix sockets in a directory."""

from __future__ import annotations

import asyncio
import ctypes
import errno
import hashlib
import itertools
import json
import os
import pwd
import select
import socket
import stat
import struct
import subprocess
import threading
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from l3ha.base.limits import MAX_HEARD_TERM
from l3ha.base.names import NodeId, SrgId, Term
from l3ha.base.settings import EchoTarget
from l3ha.base.settings import Path as IclPath
from l3ha.base.time import MS, SECOND
from l3ha.control.protocol import MAX_REQUEST, Maintenance, Request, Show, encode_request, encode_result
from l3ha.core.events import (
    Datagram,
    EchoAnswer,
    EchoFailed,
    Event,
    InterfaceChanged,
    Memory,
    SendEcho,
    SpeakerDown,
    SpeakerLine,
    SpeakerUp,
)
from l3ha.drivers import netlink as netlink_driver
from l3ha.drivers import unix
from l3ha.drivers.clock import Deadline, boottime_ns
from l3ha.drivers.control_socket import MAX_CLIENTS, ControlSocket, Reply
from l3ha.drivers.icmp import EchoSockets
from l3ha.drivers.inbox import Inbox
from l3ha.drivers.memory import FILE_NAME, PLACE, StateError, TermStore
from l3ha.drivers.memory_writer import PATIENCE_S, TROUBLE_S, MemoryWriter
from l3ha.drivers.netlink import PROTO, Link, LinkTable, Netlink
from l3ha.drivers.speaker_socket import MAX_BUFFER, SOCKET_NAME, SpeakerSocket
from l3ha.drivers.udp import UdpPorts
from l3ha.wire import icmp

T = TypeVar("T")
BUDGET_S = 5.0
ME = NodeId(1)
NONCE = bytes(range(16))

# --- the laboratory -------------------------------------------------------------------------------------------------

_counter = itertools.count()
_libc = ctypes.CDLL(None, use_errno=True)
_CLONE_NEWNET = 0x40000000


def sh(*words: str) -> str:
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


class Net:
    """Two namespaces, a and b, and a veth pair between them (``eth0`` in both)."""

    def __init__(self) -> None:
        tag = f"l3hd{os.getpid()}-{next(_counter)}"
        self.a, self.b = f"{tag}a", f"{tag}b"

    def up(self) -> None:
        for ns in (self.a, self.b):
            sh("ip", "netns", "add", ns)
            sh("ip", "-n", ns, "link", "set", "lo", "up")
        sh("ip", "-n", self.a, "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", self.b)
        for ns, last in ((self.a, 1), (self.b, 2)):
            self.ip(ns, "link", "set", "eth0", "up")
            self.ip(ns, "addr", "add", f"192.0.2.{last}/24", "dev", "eth0")
            self.ip(ns, "addr", "add", f"2001:db8::{last}/64", "dev", "eth0", "nodad")

    def down(self) -> None:
        for ns in (self.a, self.b):
            subprocess.run(("ip", "netns", "del", ns), check=False, capture_output=True)

    def ip(self, ns: str, *words: str) -> str:
        return sh("ip", "-n", ns, *words)

    @contextmanager
    def inside(self, ns: str) -> Iterator[None]:
        """Sockets opened here belong to the namespace, also afterwards."""
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        there = os.open(f"/run/netns/{ns}", os.O_RDONLY)
        try:
            assert _libc.setns(there, _CLONE_NEWNET) == 0
            yield
        finally:
            assert _libc.setns(home, _CLONE_NEWNET) == 0
            os.close(home)
            os.close(there)


@pytest.fixture
def net() -> Iterator[Net]:
    built = Net()
    try:
        built.up()
        yield built
    finally:
        built.down()


@pytest.fixture
def inbox() -> Iterator[Inbox]:
    made = Inbox()
    yield made
    made.close()


class Reports(list[tuple[str, bool]]):
    def __call__(self, text: str, bad: bool = True) -> None:
        self.append((text, bad))

    @property
    def texts(self) -> str:
        return "\n".join(text for text, _ in self)


def read(inbox: Inbox, budget_s: float = BUDGET_S) -> Event | None:
    """The next event of any source, or None when the budget is over."""
    deadline = time.monotonic() + budget_s
    poll = select.poll()
    poll.register(inbox.fileno(), select.POLLIN)
    while (left := deadline - time.monotonic()) > 0:
        poll.poll(0 if inbox.unfinished else left * 1000)
        for source in inbox.ready():
            if (event := source.read()) is not None:
                inbox.unfinished.add(source)
                return event
    return None


# --- clock ----------------------------------------------------------------------------------------------------------


def test_the_deadline_fires_once_at_the_last_armed_instant() -> None:
    async def scene() -> tuple[list[int], int]:
        fired: list[int] = []
        done = asyncio.Event()

        def fire() -> None:
            fired.append(boottime_ns())
            done.set()

        timer = Deadline(asyncio.get_running_loop(), fire)
        at = boottime_ns() + 60 * MS
        timer.arm(boottime_ns() + 5 * MS)
        timer.arm(at)
        await asyncio.wait_for(done.wait(), BUDGET_S)
        timer.arm(boottime_ns() + 5 * MS)
        timer.disarm()
        other = asyncio.Event()
        Deadline(asyncio.get_running_loop(), other.set).arm(boottime_ns() + 20 * MS)
        await other.wait()
        return fired, at

    fired, at = asyncio.run(scene())
    assert len(fired) == 1
    assert fired[0] > at - 2 * MS


# --- UDP ------------------------------------------------------------------------------------------------------------


def path(local: str, remote: str, name: str = "icl", interface: str | None = None) -> IclPath:
    return IclPath(name, local, remote, 7411, None, True, interface)


@pytest.mark.lab
@pytest.mark.parametrize(("one", "two"), [("192.0.2.1", "192.0.2.2"), ("2001:db8::1", "2001:db8::2")])
def test_a_datagram_arrives_with_source_ttl_and_path(net: Net, inbox: Inbox, one: str, two: str) -> None:
    reports = Reports()
    sender, receiver = UdpPorts(Inbox(), reports), UdpPorts(inbox, reports)
    with net.inside(net.a):
        sender.set_paths([path(one, two, interface="eth0")])
    with net.inside(net.b):
        receiver.set_paths([path(two, "198.51.100.9", "other"), path(two, one, "icl")])
    sender.send("icl", two, b"hello")
    assert read(inbox) == Datagram("icl", one, 255, b"hello")
    receiver.close()
    sender.close()
    assert not reports


@pytest.mark.lab
def test_the_ttl_of_a_plain_sender_is_seen_and_a_stranger_keeps_its_source(net: Net, inbox: Inbox) -> None:
    ports = UdpPorts(inbox, Reports())
    with net.inside(net.b):
        ports.set_paths([path("192.0.2.2", "192.0.2.77")])
    with net.inside(net.a):
        plain = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    plain.sendto(b"x" * 3000, ("192.0.2.2", 7411))
    event = read(inbox)
    assert isinstance(event, Datagram)
    assert (event.source, event.ttl, len(event.data)) == ("192.0.2.1", 64, 1401)
    plain.close()
    ports.close()


@pytest.mark.lab
def test_datagrams_are_marked_as_network_control(net: Net) -> None:
    ports = UdpPorts(Inbox(), Reports())
    with net.inside(net.a):
        ports.set_paths([path("192.0.2.1", "192.0.2.2")])
    with net.inside(net.b):
        plain = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        plain.setsockopt(socket.IPPROTO_IP, 13, 1)  # IP_RECVTOS
        plain.bind(("192.0.2.2", 7411))
        plain.settimeout(BUDGET_S)
    ports.send("icl", "192.0.2.2", b"x")
    _, ancillary, _, _ = plain.recvmsg(100, 100)
    assert [value[0] for _, kind, value in ancillary if kind == socket.IP_TOS] == [0xC0]
    plain.close()
    ports.close()


@pytest.mark.lab
def test_what_is_missing_at_start_is_found_later(net: Net, inbox: Inbox) -> None:
    """An interface that comes later, an address that comes later, a port that is taken for a while."""
    reports = Reports()
    ports = UdpPorts(inbox, reports)
    with net.inside(net.a):
        thief = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        thief.bind(("192.0.2.1", 7411))
        ports.set_paths(
            [
                path("192.0.2.1", "192.0.2.2", "taken"),
                path("192.0.2.51", "192.0.2.2", "address"),
                path("192.0.2.52", "192.0.2.2", "interface", "later0"),
            ]
        )
        ports.send("taken", "192.0.2.2", b"x")
        ports.send("address", "192.0.2.2", b"x")
        ports.send("address", "192.0.2.2", b"x")
        ports.send("interface", "192.0.2.2", b"x")
        assert not ports.retry()
        assert ports.send_errors == {"taken": 1, "address": 2, "interface": 1}
        assert reports.texts.count("cannot send on path address") == 1
        assert reports.texts.count("cannot listen on 192.0.2.1 port 7411 yet: Address already in use") == 1
        thief.close()
        net.ip(net.a, "addr", "add", "192.0.2.51/32", "dev", "eth0")
        net.ip(net.a, "link", "add", "later0", "type", "ifb")
        assert ports.retry()
        ports.send("address", "192.0.2.2", b"x")
        ports.send("taken", "192.0.2.2", b"x")
    assert ports.send_errors == {"taken": 1, "address": 2, "interface": 1}
    assert ("can send on path address again", False) in reports
    ports.close()


@pytest.mark.lab
def test_a_new_interface_of_the_same_name_is_used(net: Net, inbox: Inbox) -> None:
    reports = Reports()
    ports = UdpPorts(inbox, reports)
    with net.inside(net.a):
        net.ip(net.a, "link", "add", "icl0", "type", "ifb")
        ports.set_paths([path("192.0.2.61", "198.51.100.1", "icl", "icl0")])
        for _ in range(2):
            net.ip(net.a, "link", "del", "icl0")
            ports.send("icl", "198.51.100.1", b"x")
            net.ip(net.a, "link", "add", "icl0", "type", "ifb")
            net.ip(net.a, "addr", "add", "192.0.2.61/32", "dev", "icl0")
            net.ip(net.a, "link", "set", "icl0", "up")
            net.ip(net.a, "route", "add", "198.51.100.0/24", "dev", "icl0")
            assert ports.retry()
            before = dict(ports.send_errors)
            ports.send("icl", "198.51.100.1", b"x")
            assert ports.send_errors == before, reports
    ports.close()


@pytest.mark.lab
def test_a_backlog_is_thrown_away_whole(net: Net, inbox: Inbox) -> None:
    ports = UdpPorts(inbox, Reports())
    with net.inside(net.b):
        ports.set_paths([path("192.0.2.2", "192.0.2.1")])
    with net.inside(net.a):
        plain = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    for _ in range(50):
        plain.sendto(b"old", ("192.0.2.2", 7411))
    assert inbox.discard() == 50
    assert read(inbox, 0.05) is None
    plain.close()
    ports.close()


# --- echoes ---------------------------------------------------------------------------------------------------------


def echo(destination: str, source: str = "", sequence: int = 1, identifier: int = 0x4C01) -> SendEcho:
    return SendEcho(EchoTarget(source, destination, SECOND), identifier, sequence, icmp.payload(ME, NONCE))


def forged(identifier: int) -> bytes:
    bare = struct.pack("!BBHHH", 0, 0, 0, identifier, 1) + icmp.payload(ME, NONCE)
    return bare[:2] + struct.pack("!H", icmp.checksum(bare)) + bare[4:]


@pytest.mark.lab
@pytest.mark.parametrize(
    ("source", "destination"),
    [
        ("192.0.2.1", "192.0.2.2"),
        ("", "192.0.2.2"),
        ("2001:db8::1", "2001:db8::2"),
        ("", "2001:db8::2"),
    ],
)
def test_an_echo_is_answered(net: Net, inbox: Inbox, source: str, destination: str) -> None:
    sockets = EchoSockets(inbox)
    for sequence in (1, 2):
        request = echo(destination, source, sequence)
        with net.inside(net.a):
            assert sockets.send(request) is None
        answer = read(inbox)
        assert isinstance(answer, EchoAnswer)
        assert answer.target == request.target
        assert icmp.decode(answer.data, ipv6=":" in destination) == icmp.EchoReply(0x4C01, sequence, ME, NONCE)
    sockets.close()
    assert read(inbox, 0.05) is None


@pytest.mark.lab
def test_a_reply_from_the_wrong_host_or_with_a_foreign_identifier_is_not_taken(net: Net, inbox: Inbox) -> None:
    net.ip(net.b, "addr", "add", "192.0.2.3/24", "dev", "eth0")
    with net.inside(net.b):
        Path("/proc/sys/net/ipv4/icmp_echo_ignore_all").write_text("1")  # the asked host itself stays silent
        forgers = {}
        for source in ("192.0.2.2", "192.0.2.3"):
            forgers[source] = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
            forgers[source].bind((source, 0))
    sockets = EchoSockets(inbox)
    with net.inside(net.a):
        assert sockets.send(echo("192.0.2.2")) is None
    forgers["192.0.2.3"].sendto(forged(0x4C01), ("192.0.2.1", 0))
    forgers["192.0.2.2"].sendto(forged(0x4C02), ("192.0.2.1", 0))
    assert read(inbox, 0.2) is None
    forgers["192.0.2.2"].sendto(forged(0x4C01), ("192.0.2.1", 0))  # the same bytes from the right place do arrive
    assert isinstance(read(inbox), EchoAnswer)
    for forger in forgers.values():
        forger.close()
    sockets.close()


@pytest.mark.lab
def test_cannot_send_is_distinct_from_silence(net: Net, inbox: Inbox) -> None:
    sockets = EchoSockets(inbox)
    with net.inside(net.a):
        silent = echo("192.0.2.99")
        assert sockets.send(silent) is None
        foreign = echo("192.0.2.2", "203.0.113.1")
        failed = sockets.send(foreign)
        assert failed == EchoFailed(foreign.target, "203.0.113.1 is not an address of this node")
        no_route = sockets.send(echo("198.51.100.1"))
        assert isinstance(no_route, EchoFailed)
        assert "unreachable" in no_route.error
        no_route6 = sockets.send(echo("2001:db8:1::1"))
        assert isinstance(no_route6, EchoFailed)
        net.ip(net.a, "addr", "add", "203.0.113.1/32", "dev", "lo")
        net.ip(net.b, "route", "add", "203.0.113.1/32", "via", "192.0.2.1")
        assert sockets.send(foreign) is None
        assert isinstance(read(inbox), EchoAnswer)
        net.ip(net.a, "addr", "del", "203.0.113.1/32", "dev", "lo")
        gone = sockets.send(foreign)
        assert isinstance(gone, EchoFailed)
        net.ip(net.a, "addr", "add", "203.0.113.1/32", "dev", "lo")
        assert sockets.send(foreign) is None
        assert isinstance(read(inbox), EchoAnswer)
    sockets.close()


@pytest.mark.lab
def test_a_firewall_that_drops_our_request_is_a_failure_to_send(net: Net, inbox: Inbox) -> None:
    rules = "table ip t {\nchain o {\ntype filter hook output priority 0\nip daddr 192.0.2.2 drop\n}\n}\n"
    subprocess.run(("ip", "netns", "exec", net.a, "nft", "-f", "-"), input=rules, text=True, check=True)
    sockets = EchoSockets(inbox)
    with net.inside(net.a):
        failed = sockets.send(echo("192.0.2.2"))
    assert isinstance(failed, EchoFailed)
    assert "firewall" in failed.error


@pytest.mark.lab
def test_targets_that_nobody_asks_lose_their_sockets(net: Net, inbox: Inbox) -> None:
    def count() -> int:
        return len(os.listdir("/proc/self/fd"))  # noqa: PTH208

    sockets = EchoSockets(inbox)
    before = count()
    with net.inside(net.a):
        sockets.send(echo("192.0.2.2"))
        sockets.send(echo("192.0.2.2", "192.0.2.1"))
    assert count() == before + 2
    sockets.close_unused()
    with net.inside(net.a):
        sockets.send(echo("192.0.2.2"))
    sockets.close_unused()
    assert count() == before + 1
    sockets.close_unused()
    assert count() == before


# --- netlink --------------------------------------------------------------------------------------------------------

_UP, _LOWER = 0x1, 0x10000


@pytest.mark.parametrize(
    ("flags", "operstate", "up", "detail"),
    [
        (_UP | _LOWER, "UP", True, "carrier"),
        (_UP | _LOWER, "UNKNOWN", True, "carrier"),
        (_UP, "DOWN", False, "no carrier"),
        (_UP, "UNKNOWN", False, "no carrier"),
        (_LOWER, "DOWN", False, "administratively down"),
        (0, "DOWN", False, "administratively down"),
        (_UP | _LOWER, "DORMANT", False, "operational state DORMANT"),
        (_UP | _LOWER, "LOWERLAYERDOWN", False, "operational state LOWERLAYERDOWN"),
    ],
)
def test_up_means_admin_and_carrier_and_operational(flags: int, operstate: str, up: bool, detail: str) -> None:
    link = Link(3, "eth0", flags, operstate)
    assert (link.up, link.detail) == (up, detail)


def test_the_link_table_tells_each_change_once() -> None:
    table = LinkTable()
    table.put(Link(1, "eth0", _UP | _LOWER, "UP"))
    table.watch(["eth0", "eth1", "eth0"])
    first = table.changes()
    assert first == [InterfaceChanged("eth0", True, "carrier"), InterfaceChanged("eth1", False, "no such interface")]
    assert table.changes() == []
    table.put(Link(1, "renamed", _UP | _LOWER, "UP"))
    assert table.changes() == [InterfaceChanged("eth0", False, "no such interface")]
    table.clear()
    table.put(Link(7, "eth0", _UP, "DOWN"))
    assert table.changes() == [InterfaceChanged("eth0", False, "no carrier")]
    table.watch(["eth1"])
    table.watch(["eth0"])
    assert table.changes() == [InterfaceChanged("eth0", False, "no carrier")], "watched anew: told anew"


async def until(check: Callable[[], T], what: Callable[[], object]) -> T:
    deadline = asyncio.get_running_loop().time() + BUDGET_S
    while not (found := check()):
        assert asyncio.get_running_loop().time() < deadline, what()
        await asyncio.sleep(0.005)
    return found


def in_net(net: Net, ns: str, scene: Callable[[Netlink, list[InterfaceChanged], Reports], Awaitable[None]]) -> None:
    async def main() -> None:
        seen: list[InterfaceChanged] = []
        reports = Reports()
        driver = Netlink(seen.append, reports)
        with net.inside(ns):
            driver.watch(["eth0", "ghost0"])
            driver.start()
            try:
                await scene(driver, seen, reports)
            finally:
                await driver.close()

    asyncio.run(main())


@pytest.mark.lab
def test_interfaces_are_told_at_start_and_at_every_change(net: Net) -> None:
    async def scene(driver: Netlink, seen: list[InterfaceChanged], reports: Reports) -> None:
        async def expect(*wanted: InterfaceChanged) -> None:
            await until(lambda: seen[: len(wanted)] == list(wanted), lambda: (seen, wanted, reports))
            del seen[: len(wanted)]

        up, no_carrier = InterfaceChanged("eth0", True, "carrier"), InterfaceChanged("eth0", False, "no carrier")
        await expect(up, InterfaceChanged("ghost0", False, "no such interface"))
        net.ip(net.b, "link", "set", "eth0", "down")
        await expect(no_carrier)
        net.ip(net.b, "link", "set", "eth0", "up")
        await expect(up)
        net.ip(net.a, "link", "add", "ghost0", "type", "ifb")
        await expect(InterfaceChanged("ghost0", False, "administratively down"))
        driver.set_interfaces(["ghost0"], True)
        await expect(InterfaceChanged("ghost0", True, "carrier"))
        driver.set_interfaces(["ghost0"], False)
        await expect(InterfaceChanged("ghost0", False, "administratively down"))
        net.ip(net.a, "link", "add", "br0", "type", "bridge")
        net.ip(net.a, "link", "set", "eth0", "master", "br0")
        net.ip(net.a, "link", "set", "eth0", "nomaster")  # says RTM_DELLINK, of the bridge family
        driver.watch(["eth0", "br0"])
        down = InterfaceChanged("br0", False, "administratively down")
        await until(lambda: seen and seen[-1] == down, lambda: seen)
        assert {change.name for change in seen} == {"br0"}
        seen.clear()
        net.ip(net.a, "link", "del", "br0")
        await expect(InterfaceChanged("br0", False, "no such interface"))
        net.ip(net.a, "link", "del", "eth0")
        await until(lambda: seen and seen[-1] == InterfaceChanged("eth0", False, "no such interface"), lambda: seen)
        assert not reports

    in_net(net, net.a, scene)


@pytest.mark.lab
def test_the_failure_route_comes_and_goes_and_a_bad_request_does_not_stop_the_next(net: Net) -> None:
    async def scene(driver: Netlink, seen: list[InterfaceChanged], reports: Reports) -> None:
        def routes(*family: str) -> str:
            return net.ip(net.a, *family, "route", "show", "proto", str(PROTO))

        for prefix, family in (("203.0.113.7/32", "-4"), ("2001:db8:9::/64", "-6")):
            driver.set_failure_route(prefix, True)
            driver.set_failure_route(prefix, True)
            await until(lambda f=family: "blackhole" in routes(f), lambda: reports)  # type: ignore[misc]
            driver.set_failure_route(prefix, False)
            driver.set_failure_route(prefix, False)
            await until(lambda f=family: routes(f) == "", lambda: reports)  # type: ignore[misc]
        assert not reports
        driver.set_interfaces(["nowhere0"], True)
        driver.set_failure_route("203.0.113.8/32", True)
        await until(lambda: "blackhole 203.0.113.8" in routes(), lambda: reports)
        assert reports.texts == "could not set nowhere0 up: No such device"

    in_net(net, net.a, scene)


@pytest.mark.lab
def test_after_an_overflow_the_watch_is_opened_anew_and_misses_nothing(
    net: Net, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(netlink_driver, "_RCVBUF", 4096)
    monkeypatch.setattr(netlink_driver, "_REOPEN_S", 0.05)

    async def scene(driver: Netlink, seen: list[InterfaceChanged], reports: Reports) -> None:
        await until(lambda: len(seen) == 2, lambda: (seen, reports))
        batch = "".join(f"link add d{n} type ifb\nlink del d{n}\n" for n in range(40))
        # the loop stands still meanwhile, so the buffer overflows
        subprocess.run(("ip", "-n", net.a, "-batch", "-"), input=batch, text=True, check=True)
        net.ip(net.a, "link", "set", "eth0", "down")
        await until(lambda: seen[-1] == InterfaceChanged("eth0", False, "administratively down"), lambda: seen)
        assert "No buffer space available" in reports.texts
        net.ip(net.a, "link", "set", "eth0", "up")
        await until(lambda: seen[-1].up, lambda: seen)

    in_net(net, net.a, scene)


# --- memory ---------------------------------------------------------------------------------------------------------


def remember(srg: int, term: int, seen: int, *known: str) -> Memory:
    return Memory(SrgId(srg), Term(term), Term(seen), frozenset(known))


def test_terms_survive_and_are_merged(tmp_path: Path) -> None:
    store = TermStore(tmp_path / "state")
    assert store.load() == {}
    assert store.problem is None
    store.save([remember(1, 3, 4), remember(2, 0, 9)])
    store.save([remember(1, 5, 5, "r2", "2001:db8::1")])
    again = TermStore(tmp_path / "state")
    assert again.load() == {1: remember(1, 5, 5, "r2", "2001:db8::1"), 2: remember(2, 0, 9)}
    assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o700
    assert [f.name for f in (tmp_path / "state").iterdir()] == [FILE_NAME]
    assert stat.S_IMODE((tmp_path / "state" / FILE_NAME).stat().st_mode) == 0o600


@given(
    content=st.binary(max_size=200)
    | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(
        lambda rows: json.dumps({"version": 1, "groups": rows, "check": ""}).encode()
    )
)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_file_is_either_read_or_put_aside(tmp_path: Path, content: bytes) -> None:
    for left in tmp_path.iterdir():
        left.unlink()
    (tmp_path / FILE_NAME).write_bytes(content)
    store = TermStore(tmp_path)
    assert store.load() == {}
    assert store.problem is not None
    assert (tmp_path / f"{FILE_NAME}.bad-0").read_bytes() == content
    store.save([remember(1, 1, 1)])
    assert TermStore(tmp_path).load() == {1: remember(1, 1, 1)}


class Disk(TermStore):
    """A real store on a disk that hangs or refuses as long as it is told to."""

    def __init__(self, state_dir: Path) -> None:
        super().__init__(state_dir)
        self.free = threading.Event()
        self.free.set()
        self.full = False
        self.tries = 0

    def save(self, groups: Iterable[Memory]) -> None:
        self.tries += 1
        self.free.wait(30)
        if self.full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        super().save(groups)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    built = Disk(tmp_path / "state")
    yield built
    built.free.set()


def within(seconds: float, observe: Callable[[], bool]) -> bool:
    end = time.monotonic() + seconds
    while not observe() and time.monotonic() < end:
        time.sleep(0.01)
    return observe()


def test_a_good_disk_has_the_terms_before_anybody_hears_of_them(disk: Disk, tmp_path: Path) -> None:
    writer = MemoryWriter(disk)
    saved = [writer.save([remember(1, n, n)]) for n in range(1, 20)]
    assert any(saved), "a busy machine may be late, and not every time"
    assert within(5, lambda: TermStore(tmp_path / "state").load() == {1: remember(1, 19, 19)})
    writer.close()


def test_a_disk_that_hangs_costs_the_loop_a_moment_and_gets_the_newest_later(disk: Disk, tmp_path: Path) -> None:
    writer = MemoryWriter(disk)
    disk.free.clear()
    begin = time.monotonic()
    saved = [writer.save([remember(1, n, n), remember(2, 0, n)]) for n in range(1, 101)]
    took = time.monotonic() - begin
    assert saved == [False] * 100
    assert PATIENCE_S <= took < 1, "one moment, and not one for each"
    assert within(TROUBLE_S + 5, lambda: "has not taken" in str(writer.problem()))
    disk.free.set()
    assert within(5, lambda: writer.problem() is None)
    writer.close()
    assert TermStore(tmp_path / "state").load() == {1: remember(1, 100, 100), 2: remember(2, 0, 100)}
    assert disk.tries == 2, "the one that hung, and one with the newest"


def test_a_full_disk_is_tried_again_until_it_takes_the_terms(disk: Disk, tmp_path: Path) -> None:
    writer = MemoryWriter(disk)
    disk.full = True
    assert not writer.save([remember(1, 7, 7)])
    assert within(5, lambda: "No space left" in str(writer.problem()))
    disk.full = False
    assert within(TROUBLE_S + 5, lambda: writer.problem() is None), "nobody has to ask again"
    assert TermStore(tmp_path / "state").load() == {1: remember(1, 7, 7)}
    writer.close()


def test_the_end_does_not_wait_for_a_disk_that_refuses(disk: Disk) -> None:
    writer = MemoryWriter(disk)
    disk.full = True
    writer.save([remember(1, 7, 7)])
    begin = time.monotonic()
    writer.close()
    assert time.monotonic() - begin < 1


def test_a_changed_digit_is_noticed(tmp_path: Path) -> None:
    TermStore(tmp_path).save([remember(1, 41, 41, "r1")])
    file = tmp_path / FILE_NAME
    good = file.read_text()
    for old, new, text in (
        ("41, 41", "41, 14", "the check sum is wrong"),
        ('"r1"', '"r2"', "the check sum of the known arbiters is wrong"),
        ('"r1"', "   7", "the known arbiters are malformed"),
    ):
        file.write_text(good.replace(old, new))
        store = TermStore(tmp_path)
        assert store.load() == {}
        assert text in str(store.problem)


def test_a_line_that_the_power_cut_short_leaves_the_one_before(tmp_path: Path) -> None:
    store = TermStore(tmp_path)
    store.load()
    for n in range(1, 6):
        store.save([remember(1, n, n, "r1")])
        whole = (tmp_path / FILE_NAME).read_bytes()
        place = n % 2 * PLACE
        for cut in (0, 1, 40, 80):
            torn = whole[:place] + whole[place : place + cut] + bytes(PLACE - cut) + whole[place + PLACE :]
            (tmp_path / FILE_NAME).write_bytes(torn)
            again = TermStore(tmp_path)
            assert again.load() == ({1: remember(1, n - 1, n - 1, "r1")} if n > 1 else {})
            assert "the other line there is used" in str(again.problem)
            again.save([remember(1, 9, 9)])
            assert TermStore(tmp_path).load()[SrgId(1)].term == 9
        (tmp_path / FILE_NAME).write_bytes(whole)
        assert TermStore(tmp_path).load() == {1: remember(1, n, n, "r1")}


def test_a_save_that_fails_leaves_what_was_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = TermStore(tmp_path)
    store.save([remember(1, 1, 1)])
    monkeypatch.setattr(os, "pwrite", lambda _fd, _content, _place: 3)
    for _ in range(3):
        with pytest.raises(OSError, match="No space left"):
            store.save([remember(1, 2, 2)])
    monkeypatch.undo()
    assert TermStore(tmp_path).load() == {1: remember(1, 1, 1)}
    store.save([remember(1, 2, 2)])
    assert TermStore(tmp_path).load() == {1: remember(1, 2, 2)}
    too_many = [f"arbiter-{n:024}" for n in range(1000)]
    with pytest.raises(OSError, match="too large"):
        store.save([remember(1, 3, 3, *too_many)])
    assert TermStore(tmp_path).load() == {1: remember(1, 2, 2)}


def test_a_file_that_went_or_was_replaced_is_made_anew(tmp_path: Path) -> None:
    store = TermStore(tmp_path)
    store.save([remember(1, 1, 1)])
    (tmp_path / FILE_NAME).unlink()
    store.save([remember(2, 2, 2)])
    assert TermStore(tmp_path).load() == {1: remember(1, 1, 1), 2: remember(2, 2, 2)}
    (tmp_path / FILE_NAME).write_text("{}")
    store.save([remember(1, 3, 3)])
    assert TermStore(tmp_path).load() == {1: remember(1, 3, 3), 2: remember(2, 2, 2)}
    assert (tmp_path / FILE_NAME).stat().st_size == 2 * PLACE


def test_a_group_that_stands_twice_in_the_file_is_no_memory(tmp_path: Path) -> None:
    rows = [[1, 5, 6], [1, 5, 0]]
    check = hashlib.blake2s(json.dumps(rows).encode(), digest_size=8).hexdigest()
    (tmp_path / FILE_NAME).write_text(json.dumps({"version": 1, "groups": rows, "check": check}))
    store = TermStore(tmp_path)
    assert store.load() == {} and "a group stands there twice" in str(store.problem)


def test_a_file_of_an_earlier_version_knows_no_arbiter(tmp_path: Path) -> None:
    check = hashlib.blake2s(b"[[1, 5, 6]]", digest_size=8).hexdigest()
    (tmp_path / FILE_NAME).write_text(json.dumps({"version": 1, "groups": [[1, 5, 6]], "check": check}))
    store = TermStore(tmp_path)
    assert store.load() == {1: remember(1, 5, 6)}
    assert store.problem is None


def test_a_term_beyond_belief_is_not_read(tmp_path: Path) -> None:
    """It has the right check sum, but a heartbeat has no room for it."""
    TermStore(tmp_path).save([remember(1, 5, MAX_HEARD_TERM + 1)])
    store = TermStore(tmp_path)
    assert store.load() == {}
    assert "malformed" in str(store.problem)
    store.save([remember(1, 5, MAX_HEARD_TERM)])
    assert TermStore(tmp_path).load() == {1: remember(1, 5, MAX_HEARD_TERM)}


def test_planted_links_are_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    state = tmp_path / "state"
    store = TermStore(state)
    (state / f".{FILE_NAME}.tmp").symlink_to(victim)
    (state / FILE_NAME).symlink_to(victim)
    assert store.load() == {}
    assert store.problem is not None
    store.save([remember(1, 1, 1)])
    assert victim.read_text() == "precious"
    assert not (state / FILE_NAME).is_symlink()


def test_an_unsafe_state_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to(tmp_path)
    for name, text in (("open", "others may write"), ("file", "cannot keep"), ("link", "not a directory")):
        with pytest.raises(StateError, match=text):
            TermStore(tmp_path / name)
    if os.geteuid() == 0:
        (tmp_path / "foreign").mkdir()
        os.chown(tmp_path / "foreign", 12345, 12345)
        with pytest.raises(StateError, match="belongs to uid 12345"):
            TermStore(tmp_path / "foreign")


# --- unix sockets ---------------------------------------------------------------------------------------------------


@given(chunks=st.lists(st.text(alphabet="ab\n", max_size=9).map(str.encode), max_size=9))
def test_lines_are_cut_the_same_wherever_the_chunks_end(chunks: list[bytes]) -> None:
    lines = unix.Lines(1000)
    found = [line for chunk in chunks for line in lines.feed(chunk)]
    *whole, rest = b"".join(chunks).split(b"\n")
    assert found == whole
    assert lines.partial == bool(rest)


def test_a_socket_of_a_dead_agent_is_replaced_but_nothing_else_is(tmp_path: Path) -> None:
    unix.listen(tmp_path / "s", 1).close()
    replaced = unix.listen(tmp_path / "s", 1)
    assert stat.S_IMODE((tmp_path / "s").stat().st_mode) == 0o660
    replaced.close()
    (tmp_path / "file").write_text("mine")
    with pytest.raises(unix.SocketError, match="in the way"):
        unix.listen(tmp_path / "file", 1)
    with pytest.raises(unix.SocketError, match="shorter"):
        unix.listen(tmp_path / ("x" * 120), 1)


def connect(path: Path) -> socket.socket:
    s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    s.settimeout(BUDGET_S)
    s.connect(str(path))
    return s


class Speaking:
    """A speaker socket whose events are read by hand."""

    def __init__(self, run_dir: Path) -> None:
        self.path = run_dir / SOCKET_NAME
        self.inbox = Inbox()
        self.reports = Reports()
        self.socket = SpeakerSocket(run_dir, self.inbox, asyncio.get_running_loop(), self.reports)

    def read(self, count: int) -> list[Event | None]:
        return [read(self.inbox) for _ in range(count)]

    def close(self) -> None:
        self.socket.close()
        assert not self.path.exists()
        self.inbox.close()


def with_speaker(run_dir: Path, scene: Callable[[Speaking], Awaitable[None]]) -> None:
    async def main() -> None:
        speaking = Speaking(run_dir)
        try:
            await scene(speaking)
        finally:
            speaking.close()

    asyncio.run(main())


def test_the_speaker_comes_speaks_listens_and_goes(tmp_path: Path) -> None:
    async def scene(s: Speaking) -> None:
        assert s.socket.send(b"nobody hears this\n") is None
        client = connect(s.path)
        client.sendall(b"one\ntwo\nthr")
        assert s.read(3) == [SpeakerUp(), SpeakerLine(b"one"), SpeakerLine(b"two")]
        client.sendall(b"ee\n")
        assert s.read(1) == [SpeakerLine(b"three")]
        assert s.socket.send(b"wish\n") is None
        assert client.recv(100) == b"wish\n"
        client.sendall(b"last")
        client.close()
        assert s.read(1) == [SpeakerDown()], "a line without its end is no line"

    with_speaker(tmp_path, scene)


def test_a_newer_speaker_replaces_the_older(tmp_path: Path) -> None:
    async def scene(s: Speaking) -> None:
        old = connect(s.path)
        assert s.read(1) == [SpeakerUp()]
        new = connect(s.path)
        assert s.read(2) == [SpeakerDown(), SpeakerUp()]
        assert old.recv(1) == b""
        s.socket.send(b"wish\n")
        assert new.recv(100) == b"wish\n"
        new.sendall(b"report\n")
        assert s.read(1) == [SpeakerLine(b"report")]
        old.close()
        new.close()
        assert s.read(1) == [SpeakerDown()]

    with_speaker(tmp_path, scene)


def test_a_slow_speaker_gets_all_and_one_that_never_reads_is_dropped(tmp_path: Path) -> None:
    async def scene(s: Speaking) -> None:
        client = connect(s.path)
        assert s.read(1) == [SpeakerUp()]
        line = b"w" * 300_000 + b"\n"
        for _ in range(5):
            assert s.socket.send(line) is None
        client.setblocking(False)
        received = 0
        while received < 5 * len(line):
            try:
                received += len(client.recv(1 << 20))
            except BlockingIOError:
                await asyncio.sleep(0)
        outcome: Event | None = None
        for _ in range(2 * MAX_BUFFER // len(line)):
            outcome = outcome or s.socket.send(line)
        assert outcome == SpeakerDown()
        assert "does not read" in s.reports.texts
        client.close()

    with_speaker(tmp_path, scene)


def test_an_endless_line_ends_the_connection(tmp_path: Path) -> None:
    async def scene(s: Speaking) -> None:
        client = connect(s.path)
        client.setblocking(False)
        assert s.read(1) == [SpeakerUp()]
        event: Event | None = None
        for _ in range(1000):
            if event is not None:
                break
            try:
                client.send(b"x" * 65536)
            except BlockingIOError:
                event = read(s.inbox, 0.01)
        assert event == SpeakerDown()
        client.close()

    with_speaker(tmp_path, scene)


def as_user(uid: int, path: Path, line: bytes) -> bytes:
    """What another user gets as an answer (empty: hung up)."""
    code = (
        "import os,socket,sys; os.setgid(int(sys.argv[1])); os.setuid(int(sys.argv[1]));"
        "s=socket.socket(socket.AF_UNIX); s.settimeout(5); s.connect(sys.argv[2]);"
        "\ntry: s.sendall(sys.argv[3].encode()); sys.stdout.buffer.write(s.recv(65536))"
        "\nexcept (ConnectionResetError, BrokenPipeError): pass"
    )
    words = ("/usr/bin/env", "python3", "-c", code, str(uid), str(path), line.decode())
    return subprocess.run(words, check=True, capture_output=True).stdout


@pytest.mark.skipif(os.geteuid() != 0, reason="needs to become another user")
def test_a_stranger_cannot_be_the_speaker_even_if_the_mode_admits_him(tmp_path: Path) -> None:
    nobody = pwd.getpwnam("nobody").pw_uid

    async def scene(s: Speaking) -> None:
        for part in (s.path, *s.path.parents[:3]):
            part.chmod(0o777)
        asking = asyncio.create_task(asyncio.to_thread(as_user, nobody, s.path, b"report\n"))
        await until(lambda: (read(s.inbox, 0.01), s.reports.texts)[1], lambda: "no refusal")
        assert await asking == b""
        assert f"uid {nobody}" in s.reports.texts

    with_speaker(tmp_path, scene)


class Asking:
    """A control socket with a handler that answers at once, or keeps the reply for later."""

    def __init__(self, run_dir: Path, idle: int) -> None:
        self.path = run_dir / "agent.sock"
        self.requests: list[Request] = []
        self.kept: list[Reply] = []
        self.later = False
        self.size = 1
        self.socket = ControlSocket(run_dir, self.handle, idle)

    def handle(self, request: Request, reply: Reply) -> None:
        self.requests.append(request)
        if self.later:
            self.kept.append(reply)
        else:
            reply(encode_result(request.id, {"text": "x" * self.size}))


def with_control(run_dir: Path, scene: Callable[[Asking], Awaitable[None]], idle: int = 5 * SECOND) -> None:
    async def main() -> None:
        asking = Asking(run_dir, idle)
        await asking.socket.open()
        try:
            await scene(asking)
        finally:
            asking.socket.close()
        assert not asking.path.exists()

    asyncio.run(main())


async def say(path: Path, data: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_unix_connection(str(path), limit=1 << 25)
    writer.write(data)
    return reader, writer


async def answer(reader: asyncio.StreamReader) -> dict[str, object]:
    line = await asyncio.wait_for(reader.readline(), BUDGET_S)
    assert line.endswith(b"\n"), "hung up"
    decoded: dict[str, object] = json.loads(line)
    return decoded


def code_of(response: dict[str, object]) -> str:
    error = response["error"]
    assert isinstance(error, dict)
    return str(error["code"])


def test_questions_are_answered_in_order(tmp_path: Path) -> None:
    async def scene(a: Asking) -> None:
        questions = b"".join(encode_request(n, Show("srg", n)) for n in range(1, 6))
        reader, writer = await say(a.path, questions[:77])
        writer.write(questions[77:])
        assert [(await answer(reader))["id"] for _ in range(5)] == [1, 2, 3, 4, 5]
        assert [r.call for r in a.requests] == [Show("srg", n) for n in range(1, 6)]
        writer.close()

    with_control(tmp_path, scene)


def test_a_later_answer_reaches_its_client_and_a_late_one_nobody(tmp_path: Path) -> None:
    async def scene(a: Asking) -> None:
        a.later = True
        reader, writer = await say(a.path, encode_request(7, Maintenance(True)) + encode_request(8, Show()))
        await until(lambda: a.kept, lambda: a.requests)
        assert len(a.requests) == 1, "one at a time"
        a.kept[0](encode_result(7, {}))
        assert await answer(reader) == {"id": 7, "result": {}}
        a.kept[0](encode_result(7, {"again": True}))
        await until(lambda: len(a.kept) == 2, lambda: a.requests)
        writer.close()
        await until(lambda: not a.socket.clients, lambda: a.socket.clients)
        a.kept[1](encode_result(8, {}))

    with_control(tmp_path, scene)


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b"\xff\xfe\n", "bad_request"),
        (b"[" * 60_000 + b"\n", "bad_request"),
        (b"{}\n", "bad_request"),
        (b"\n", "bad_request"),
        (b'{"id":1,"method":"reboot"}\n', "unknown_method"),
        (b'{"id":1,"method":"show","params":{"what":"keys"}}\n', "bad_params"),
        (b" " * (MAX_REQUEST + 1), "too_large"),
        (b" " * (MAX_REQUEST + 1) + b"\n", "too_large"),
    ],
)
def test_nonsense_is_an_error_and_reaches_no_handler(tmp_path: Path, line: bytes, code: str) -> None:
    async def scene(a: Asking) -> None:
        reader, writer = await say(a.path, line)
        assert code_of(await answer(reader)) == code
        assert not a.requests
        writer.close()

    with_control(tmp_path, scene)


@given(data=st.binary(min_size=1, max_size=300))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_get_an_error_line_and_the_next_client_is_served(tmp_path: Path, data: bytes) -> None:
    async def scene(a: Asking) -> None:
        _, bad = await say(a.path, data + b"\n")
        reader, good = await say(a.path, encode_request(1, Show()))
        assert (await answer(reader))["id"] == 1
        bad.close()
        good.close()

    with_control(tmp_path, scene)


def test_half_a_line_and_silence_and_a_client_that_does_not_read_are_cut_off(tmp_path: Path) -> None:
    async def scene(a: Asking) -> None:
        half, w1 = await say(a.path, b'{"id":')
        silent, w2 = await say(a.path, b"")
        assert await asyncio.wait_for(half.read(), BUDGET_S) == b""
        assert await asyncio.wait_for(silent.read(), BUDGET_S) == b""
        a.size = 4 << 20
        deaf = connect(a.path)
        deaf.sendall(encode_request(1, Show()) * 3)
        await until(lambda: a.requests, lambda: "not asked")
        await until(lambda: not a.socket.clients, lambda: a.socket.clients)
        assert len(a.requests) == 1, "no further answer is made for one who does not take them"
        deaf.close()
        w1.close()
        w2.close()

    with_control(tmp_path, scene, idle=100 * MS)


def test_one_client_too_many_is_told_so(tmp_path: Path) -> None:
    async def scene(a: Asking) -> None:
        others = [await say(a.path, b"") for _ in range(MAX_CLIENTS)]
        await until(lambda: len(a.socket.clients) == MAX_CLIENTS, lambda: a.socket.clients)
        reader, writer = await say(a.path, encode_request(1, Show()))
        assert code_of(await answer(reader)) == "busy"
        others[0][1].close()
        await until(lambda: len(a.socket.clients) < MAX_CLIENTS, lambda: a.socket.clients)
        reader, again = await say(a.path, encode_request(1, Show()))
        assert (await answer(reader))["id"] == 1
        for w in (writer, again, *(w for _, w in others)):
            w.close()

    with_control(tmp_path, scene)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs to become another user")
def test_who_is_admitted_may_read_but_only_root_and_the_owner_may_change(tmp_path: Path) -> None:
    nobody = pwd.getpwnam("nobody").pw_uid

    async def scene(a: Asking) -> None:
        for part in (a.path, *a.path.parents[:3]):
            part.chmod(0o777)
        seen = await asyncio.to_thread(as_user, nobody, a.path, encode_request(1, Show()))
        assert json.loads(seen)["id"] == 1
        refused = await asyncio.to_thread(as_user, nobody, a.path, encode_request(2, Maintenance(True)))
        assert code_of(json.loads(refused)) == "denied"
        reader, writer = await say(a.path, encode_request(3, Maintenance(True)))
        assert (await answer(reader))["id"] == 3
        assert [r.call for r in a.requests] == [Show(), Maintenance(True)]
        writer.close()

    with_control(tmp_path, scene)
