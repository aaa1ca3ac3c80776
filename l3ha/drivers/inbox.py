"""All sockets that carry events, behind one epoll: what is readable now, read a batch, throw a backlog away.

One file descriptor for asyncio, so that the shell decides in which order sockets and deadlines are served, and can
look at every socket at once before it lets a deadline judge anybody's silence.

A socket may be hushed: what comes there wakes nobody up and is read before the next deadline. To wake up is most of
what a datagram costs.
"""

from __future__ import annotations

import select
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from l3ha.core.events import Event

Read: TypeAlias = Callable[[], Event | None]
"""The next event of a socket; None once it is dry. Never blocks, never raises for what the outside does."""

DISCARD_LIMIT = 4096
"""Datagrams thrown away per socket: more than any receive buffer here holds, and an end to it under a flood."""


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """One registered socket."""

    fd: int
    read: Read
    perishable: bool
    """What lies here is worthless after a pause of ours: datagrams and echoes, not the speaker's lines. Nor does
    ``read`` keep anything back of it, so a look tells whether there is more."""


class Inbox:
    """See the module."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._all = select.epoll()
        self._sources: dict[int, Source] = {}
        self._hushed: set[int] = set()
        self.unfinished: set[Source] = set()
        """Sources whose batch ended before they were dry: lines may wait in a buffer that epoll does not see."""

    def fileno(self) -> int:
        """Readable whenever any source is that is not hushed."""
        return self._epoll.fileno()

    def add(self, fd: int, read: Read, *, perishable: bool) -> None:
        """Register an open, non-blocking socket."""
        self._sources[fd] = Source(fd, read, perishable)
        for epoll in (self._epoll, self._all):
            epoll.register(fd, select.EPOLLIN)

    def remove(self, fd: int) -> None:
        """Forget a socket; to be called before it is closed."""
        source = self._sources.pop(fd, None)
        if source is not None:
            self.unfinished.discard(source)
            self.hush(fd, hushed=False)
            for epoll in (self._epoll, self._all):
                epoll.unregister(fd)

    def hush(self, fd: int, *, hushed: bool) -> None:
        """Whether what comes there can wait until the next look at ``everything``."""
        if hushed is (fd in self._hushed):
            return
        if hushed:
            self._hushed.add(fd)
            self._epoll.unregister(fd)
        else:
            self._hushed.remove(fd)
            self._epoll.register(fd, select.EPOLLIN)

    def __contains__(self, source: Source) -> bool:
        return self._sources.get(source.fd) is source

    def ready(self, *, everything: bool = False) -> list[Source]:
        """Sources that are readable at this instant (closed or broken ones too: reading tells), of those that are not
        hushed or of all."""
        found = (self._all if everything else self._epoll).poll(0, max(1, len(self._sources)))
        ready = [self._sources[fd] for fd, _ in found if fd in self._sources]
        if self.unfinished:
            ready += [source for source in self.unfinished if source not in ready]
            self.unfinished.clear()
        return ready

    def discard(self) -> int:
        """Read every perishable socket dry and take nothing from it. Returns how much lay there."""
        count = 0
        for source in self.ready(everything=True):
            if not source.perishable:
                self.unfinished.add(source)
            else:
                for _ in range(DISCARD_LIMIT):
                    if source.read() is None:
                        break
                    count += 1
        return count

    def close(self) -> None:
        """Release the epoll descriptors; the sockets belong to their drivers."""
        self._sources.clear()
        self._epoll.close()
        self._all.close()
