"""The watch of interfaces and the failure route: the kernel's netlink in network namespaces (lab)."""

from __future__ import annotations

import asyncio
import errno
import socket
import subprocess
from collections.abc import Awaitable, Callable

import pytest

from l3ha.core.events import InterfaceChanged
from l3ha.drivers import netlink as netlink_driver
from l3ha.drivers.netlink import PROTO, LinkTable, Netlink
from l3ha.wire import rtnetlink
from l3ha.wire.rtnetlink import Done, Link, Torn
from tests.driver_rig import Net, Reports, until

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


def test_a_look_round_that_may_have_missed_something_is_made_again() -> None:
    table = LinkTable()
    table.watch(["eth0"])
    assert not table.take(rtnetlink.Link(7, "other0", _UP | _LOWER, "UP"))
    assert not table.take(Torn())
    assert table.take(Done()) and not table.synced, "eth0 was there all the time"
    assert not table.take(rtnetlink.Link(8, "eth0", _UP | _LOWER, "UP"))
    assert not table.take(Done()) and table.synced
    assert table.changes() == [InterfaceChanged("eth0", True, "carrier")]
    table.take(Torn())
    table.clear()
    assert not table.take(Done()) and table.synced, "another socket, another look"
    with pytest.raises(OSError, match="too long"):
        table.take(Done(errno.EMSGSIZE))


@pytest.mark.lab
def test_the_kernel_says_that_interfaces_went_between_two_pieces_of_its_answer(net: Net) -> None:
    batch = "".join(f"link add d{n} type ifb\n" for n in range(60))
    subprocess.run(("ip", "-n", net.a, "-batch", "-"), input=batch, text=True, check=True)
    with net.inside(net.a), socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as kernel:
        kernel.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        kernel.settimeout(5)
        kernel.send(rtnetlink.LINK_DUMP)
        found = rtnetlink.decode(kernel.recv(1 << 16))
        assert not {Torn(), Done()} & set(found), "there is more to come"
        net.ip(net.a, "link", "del", "d50")
        while Done() not in found:
            found += rtnetlink.decode(kernel.recv(1 << 16))
    assert Torn() in found


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
