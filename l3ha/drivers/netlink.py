"""Interfaces and the failure route, over rtnetlink; the only user of pyroute2.

What the kernel tells is read here, from a socket of our own, because a decision may wait for it (``wire.rtnetlink``).
What is asked of the kernel goes through pyroute2. On any error of either (an overflow of the receive buffer, ENOBUFS)
it is closed and opened anew, with a full look round for the watching one. A second carrier change within a second is
told up to a second late by the kernel (linkwatch).
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import Any, TypeAlias

from l3ha.core.events import InterfaceChanged
from l3ha.wire import rtnetlink
from l3ha.wire.rtnetlink import Done, Gone, Link, Torn

PROTO = 189
"""Protocol number of routes of ours (``ip route show proto 189``), so that a restart can tell them from others'."""

_RCVBUF = 8 << 20
_REOPEN_S = 1.0
_QUEUE = 256
_ROOM = 1 << 16
"""Bytes of one datagram: the kernel answers in pieces of 32 KiB at most."""

_BATCH = 64
"""Datagrams before other sockets are served."""

_RTMGRP_LINK = 1
_BLACKHOLE = 6

_Request: TypeAlias = Callable[[Any], Awaitable[None]]
Report: TypeAlias = Callable[[str], None]


class LinkTable:
    """Interfaces by index, and what changed for the watched names. No I/O."""

    def __init__(self) -> None:
        self.synced = False
        """A full look round has ended, and missed nothing."""
        self._torn = False
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
        self.synced = self._torn = False

    def take(self, message: rtnetlink.Message) -> bool:
        """What the kernel said. True: the look round may have missed something, so another one must follow (what is
        known stays, because every change of it is told). Raises OSError where the kernel refused it."""
        match message:
            case Torn():
                self._torn = True
            case Done(0) if self._torn:
                self._torn = False
                return True
            case Done(0):
                self.synced = True
            case Done(error):
                raise OSError(error, os.strerror(error))
            case Gone(index):
                self.delete(index)
            case Link() as link:
                self.put(link)
        return False

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
        self._requests: asyncio.Queue[tuple[str, _Request]] = asyncio.Queue(_QUEUE)
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin in the background. pyroute2 takes 0.2 s to import: that happens in a thread, heartbeats go on."""
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._watching()), loop.create_task(self._asking())]

    async def close(self) -> None:
        """End both objects."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def watch(self, names: Iterable[str]) -> None:
        """Tell the state of these interfaces as soon as it is known, and every change of it."""
        self._table.watch(names)
        if self._table.synced:
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

    async def _watching(self) -> None:
        while True:
            try:
                await self._watch_once()
            except OSError as error:
                self._report(f"netlink watch failed ({_text(error)}); opening it again")
            await asyncio.sleep(_REOPEN_S)

    async def _watch_once(self) -> None:
        """Until it fails. Changes are told from the reader itself, without a turn of the loop in between."""
        loop = asyncio.get_running_loop()
        broken: asyncio.Future[None] = loop.create_future()

        def read() -> None:
            try:
                self._read(kernel)
            except OSError as error:
                loop.remove_reader(kernel)
                broken.set_exception(error)

        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.NETLINK_ROUTE) as kernel:
            kernel.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RCVBUF)
            kernel.bind((0, _RTMGRP_LINK))
            self._table.clear()
            loop.add_reader(kernel, read)
            try:
                kernel.send(rtnetlink.LINK_DUMP)
                await broken
            finally:
                loop.remove_reader(kernel)

    def _read(self, kernel: socket.socket) -> None:
        """Everything that lies there. Raises OSError."""
        for _ in range(_BATCH):
            try:
                data, (sender, _) = kernel.recvfrom(_ROOM)
            except BlockingIOError:
                break
            if sender == 0:  # the kernel
                for message in rtnetlink.decode(data):
                    if self._table.take(message):
                        kernel.send(rtnetlink.LINK_DUMP)
        if self._table.synced:
            self._tell()

    async def _asking(self) -> None:
        await asyncio.get_running_loop().run_in_executor(None, _load)
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
