"""Drivers against the real kernel: sockets in network namespaces (lab), files in a directory."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import socket
import stat
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from l3ha.base.limits import MAX_HEARD_TERM
from l3ha.base.names import NodeId, SrgId, Term
from l3ha.base.settings import EchoTarget
from l3ha.base.settings import Path as IclPath
from l3ha.base.time import MS, SECOND
from l3ha.core.events import Datagram, EchoAnswer, EchoFailed, Memory, SendEcho
from l3ha.drivers.icmp import EchoSockets
from l3ha.drivers.inbox import Inbox
from l3ha.drivers.memory import FILE_NAME, PLACE, StateError, TermStore
from l3ha.drivers.memory_writer import PATIENCE_S, TROUBLE_S, MemoryWriter
from l3ha.drivers.udp import UdpPorts
from l3ha.wire import icmp
from tests.driver_rig import BUDGET_S, Net, Reports, read

ME = NodeId(1)
NONCE = bytes(range(16))

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


def echo(
    destination: str, source: str = "", sequence: int = 1, identifier: int = 0x4C01, *, awaited: bool = True
) -> SendEcho:
    target = EchoTarget(source, destination, SECOND)
    return SendEcho(target, identifier, sequence, icmp.payload(ME, NONCE), awaited)


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
@pytest.mark.parametrize("destination", ["192.0.2.2", "2001:db8::2"])
def test_an_answer_that_nobody_awaits_wakes_nobody_and_is_as_old_as_it_is(
    net: Net, inbox: Inbox, destination: str
) -> None:
    sockets = EchoSockets(inbox)
    with net.inside(net.a):
        assert sockets.send(echo(destination)) is None
    assert isinstance(read(inbox), EchoAnswer)
    assert read(inbox, 0.05) is None
    with net.inside(net.a):
        assert sockets.send(echo(destination, sequence=2, awaited=False)) is None
    assert read(inbox, 0.2) is None
    (source,) = inbox.ready(everything=True)
    answer = source.read()
    assert isinstance(answer, EchoAnswer)
    assert icmp.decode(answer.data, ipv6=":" in destination) == icmp.EchoReply(0x4C01, 2, ME, NONCE)
    assert 150 * MS < answer.age < 10 * SECOND
    with net.inside(net.a):
        assert sockets.send(echo(destination, sequence=3)) is None
    fresh = read(inbox)
    assert isinstance(fresh, EchoAnswer)
    assert fresh.age < answer.age
    sockets.close()


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
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
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


@pytest.mark.clock
def test_a_good_disk_has_the_terms_before_anybody_hears_of_them(disk: Disk, tmp_path: Path) -> None:
    writer = MemoryWriter(disk)
    saved = [writer.save([remember(1, n, n)]) for n in range(1, 20)]
    assert any(saved), "a busy machine may be late, and not every time"
    assert within(5, lambda: TermStore(tmp_path / "state").load() == {1: remember(1, 19, 19)})
    writer.close()


@pytest.mark.clock
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


def test_a_file_that_may_be_read_alone_is_made_anew(tmp_path: Path) -> None:
    TermStore(tmp_path).save([remember(1, 1, 1)])
    (tmp_path / FILE_NAME).chmod(0o400)
    store = TermStore(tmp_path)
    assert store.load() == {1: remember(1, 1, 1)} and store.problem is None
    assert stat.S_IMODE((tmp_path / FILE_NAME).stat().st_mode) == 0o600


@pytest.mark.skipif(os.geteuid() != 0, reason="needs to become another user")
def test_a_file_of_roots_is_made_anew(tmp_path: Path) -> None:
    """A copy that the administrator put back."""
    TermStore(tmp_path).save([remember(1, 1, 1)])
    (tmp_path / FILE_NAME).chmod(0o644)
    os.chown(tmp_path, 65534, 65534)
    code = (
        "import os\n"
        "from pathlib import Path\n"
        "from l3ha.core.events import Memory\n"
        "from l3ha.drivers.memory import TermStore\n"
        f"os.chdir({str(tmp_path)!r})\n"
        "os.setuid(65534)\n"
        "store = TermStore(Path('.'))\n"
        "store.load()\n"
        "store.save([Memory(1, 2, 2, frozenset())])"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parent.parent)
    os.chown(tmp_path, 0, 0)
    os.chown(tmp_path / FILE_NAME, 0, 0)
    assert TermStore(tmp_path).load() == {1: remember(1, 2, 2)}


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


def test_reserved_terms_survive_and_are_checked(tmp_path: Path) -> None:
    one, two = replace(remember(1, 5, 6, "r1"), reserved=Term(22)), remember(2, 0, 1)
    TermStore(tmp_path).save([one, two])
    assert TermStore(tmp_path).load() == {1: one, 2: two}
    first = (tmp_path / FILE_NAME).read_bytes()[:PLACE].partition(b"\n")[0]
    good = json.loads(first)
    for rows, why in (
        ([[1, 22], [1, 23]], "twice"),
        ([[1, 22, 3]], "malformed"),
        ([[1, -1]], "malformed"),
        ([[1, MAX_HEARD_TERM + 1]], "malformed"),
        ([[1, True]], "malformed"),
        ({}, "malformed"),
        ([[1, 23]], "check sum of the reserved"),
    ):
        changed = dict(good)
        changed["reserved"] = rows
        if why != "check sum of the reserved":
            changed["reserved_check"] = hashlib.blake2s(json.dumps(rows).encode(), digest_size=8).hexdigest()
        (tmp_path / FILE_NAME).write_text(json.dumps(changed) + "\n")
        store = TermStore(tmp_path)
        assert store.load() == {} and why in str(store.problem)
    older = {key: value for key, value in good.items() if not key.startswith("reserved")}
    (tmp_path / FILE_NAME).write_text(json.dumps(older) + "\n")
    assert TermStore(tmp_path).load() == {1: replace(one, reserved=Term(0)), 2: two}


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
