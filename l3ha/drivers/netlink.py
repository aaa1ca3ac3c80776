"""Interfaces and the failure route, over rtnetlink; the only user of pyroute2.

Measured faults of the world that shape this file (pyroute2 0.9): ``get()`` ends after one batch; an overflow of the
receive buffer (ENOBUFS) spoils an object for good, so there are two objects, one that watches and one that asks, and
on any error each is closed and opened anew, with a full look round for the watching one. A second carrier change within
a second is told up to a second late by the kernel (linkwatch).
"""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

from l3ha.core.events import InterfaceChanged

PROTO = 189
"""Protocol number of routes of ours (``ip route show proto 189``), so that a restart can tell them from others'."""

_RCVBUF = 8 << 20
_REOPEN_S = 1.0
_QUEUE = 256

_RTMGRP_LINK = 1
_AF_BRIDGE = 7
_IFF_UP, _IFF_LOWER_UP = 0x1, 0x10000
_BLACKHOLE = 6

_Request: TypeAlias = Callable[[Any], Awaitable[None]]
Report: TypeAlias = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Link:
    """What the kernel says about one interface."""

    index: int
    name: str
    flags: int
    operstate: str

    @property
    def up(self) -> bool:
        """Administratively up, carrier there, and not dormant or waiting for a lower layer (RFC 2863 states).

        UNKNOWN is what drivers without operational states say (loopback, dummy, tunnels).
        """
        return bool(self.flags & _IFF_UP and self.flags & _IFF_LOWER_UP) and self.operstate in {"UP", "UNKNOWN"}

    @property
    def detail(self) -> str:
        """Why it is up or down."""
        if not self.flags & _IFF_UP:
            return "administratively down"
        if not self.flags & _IFF_LOWER_UP:
            return "no carrier"
        return "carrier" if self.up else f"operational state {self.operstate}"


class LinkTable:
    """Interfaces by index, and what changed for the watched names. No I/O."""

    def __init__(self) -> None:
        self._links: dict[int, Link] = {}
        self._names: tuple[str, ...] = ()
        self._told: dict[str, InterfaceChanged] = {}

    def watch(self, names: Iterable[str]) -> None:
        """From now on these names; a name that is new is told at the next ``changes``."""
        self._names = tuple(dict.fromkeys(names))
        self._told = {name: told for name, told in self._told.items() if name in self._names}

    def clear(self) -> None:
        """Before a full look round: nothing is known to exist."""
        self._links.clear()

    def put(self, link: Link) -> None:
        """An interface exists, or has changed (its name too)."""
        self._links[link.index] = link

    def delete(self, index: int) -> None:
        """An interface is gone."""
        self._links.pop(index, None)

    def changes(self) -> list[InterfaceChanged]:
        """What is different from what was told before."""
        by_name = {link.name: link for link in self._links.values()}
        found: list[InterfaceChanged] = []
        for name in self._names:
            link = by_name.get(name)
            now = (
                InterfaceChanged(name, link.up, link.detail)
                if link
                else InterfaceChanged(name, False, "no such interface")
            )
            if self._told.get(name) != now:
                self._told[name] = now
                found.append(now)
        return found


class Netlink:
    """Both objects. ``changed`` gets events, ``report`` one line for each thing that went wrong."""

    def __init__(self, changed: Callable[[InterfaceChanged], None], report: Report) -> None:
        self._changed = changed
        self._report = report
        self._table = LinkTable()
        self._synced = False
        self._requests: asyncio.Queue[tuple[str, _Request]] = asyncio.Queue(_QUEUE)
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin in the background. pyroute2 takes 0.2 s to import: that happens in a thread, heartbeats go on."""
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._run())]

    async def close(self) -> None:
        """End both objects."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def watch(self, names: Iterable[str]) -> None:
        """Tell the state of these interfaces as soon as it is known, and every change of it."""
        self._table.watch(names)
        if self._synced:
            self._tell()

    def set_interfaces(self, names: Iterable[str], up: bool) -> None:
        """Bring interfaces administratively up or down, in the order of the calls."""
        for name in names:
            self._ask(f"set {name} {'up' if up else 'down'}", partial(_set_link, name=name, up=up))

    def set_failure_route(self, prefix: str, present: bool) -> None:
        """Install (or replace) or remove the blackhole route."""
        what = f"{'install' if present else 'remove'} the failure route {prefix}"
        self._ask(what, partial(_set_route, prefix=prefix, present=present))

    def _ask(self, what: str, request: _Request) -> None:
        try:
            self._requests.put_nowait((what, request))
        except asyncio.QueueFull:
            self._report(f"could not {what}: too many requests wait for the kernel")

    def _tell(self) -> None:
        for change in self._table.changes():
            self._changed(change)

    async def _run(self) -> None:
        await asyncio.get_running_loop().run_in_executor(None, _load)
        await asyncio.gather(self._watching(), self._asking())

    async def _watching(self) -> None:
        while True:
            try:
                await self._watch_once()
            except Exception as error:  # a third-party object that failed in any way is replaced
                self._report(f"netlink watch failed ({_text(error)}); opening it again")
            await asyncio.sleep(_REOPEN_S)

    async def _watch_once(self) -> None:
        async with _load()(rcvbuf=_RCVBUF, groups=_RTMGRP_LINK) as ip:
            await ip.bind()
            self._table.clear()
            async for message in await ip.link("dump"):
                self._take(message)
            self._synced = True
            self._tell()
            while True:
                async for message in ip.get():
                    self._take(message)
                self._tell()

    def _take(self, message: Any) -> None:
        if message.get("family") == _AF_BRIDGE:  # a port left its bridge: the interface itself still exists
            return
        match message.get("event"):
            case "RTM_NEWLINK":
                name, state = message.get_attr("IFLA_IFNAME"), message.get_attr("IFLA_OPERSTATE")
                if name is not None:
                    self._table.put(Link(message["index"], name, message["flags"], state or "UNKNOWN"))
            case "RTM_DELLINK":
                self._table.delete(message["index"])
            case _:
                pass

    async def _asking(self) -> None:
        while True:
            try:
                async with _load()() as ip:
                    while True:
                        what, request = await self._requests.get()
                        try:
                            await request(ip)
                        except Exception as error:
                            self._report(f"could not {what}: {_text(error)}")
                            break
            except Exception as error:
                self._report(f"netlink requests failed ({_text(error)}); opening it again")
                await asyncio.sleep(_REOPEN_S)


async def _set_link(ip: Any, name: str, up: bool) -> None:
    found = await ip.link_lookup(ifname=name)
    if not found:
        raise OSError(errno.ENODEV, "")
    await ip.link("set", index=found[0], state="up" if up else "down")


async def _set_route(ip: Any, prefix: str, present: bool) -> None:
    try:
        await ip.route("replace" if present else "del", dst=prefix, type=_BLACKHOLE, proto=PROTO)
    except Exception as error:
        if present or getattr(error, "code", None) != errno.ESRCH:
            raise


def _text(error: Exception) -> str:
    code = getattr(error, "code", None) or getattr(error, "errno", None)  # NetlinkError, or an OSError without text
    return os.strerror(code) if isinstance(code, int) else str(error) or type(error).__name__


def _load() -> Any:
    from pyroute2 import AsyncIPRoute  # noqa: PLC0415 - takes 0.2 s: not before the first heartbeat

    return AsyncIPRoute
