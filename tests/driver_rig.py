"""What the tests of the drivers share: two namespaces and a cable, an inbox that is read, a list of reports."""

from __future__ import annotations

import asyncio
import ctypes
import itertools
import os
import select
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from l3ha.core.events import Event
from l3ha.drivers.inbox import Inbox

T = TypeVar("T")
BUDGET_S = 5.0

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


async def until(check: Callable[[], T], what: Callable[[], object]) -> T:
    deadline = asyncio.get_running_loop().time() + BUDGET_S
    while not (found := check()):
        assert asyncio.get_running_loop().time() < deadline, what()
        await asyncio.sleep(0.005)
    return found
