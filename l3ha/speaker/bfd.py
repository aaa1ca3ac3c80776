"""BFD in the speaker's loop: packets and timers of the machine, its sockets, and what the rest must hear of them."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable
from typing import TypeAlias

from l3ha.base.time import MS, Duration, Instant
from l3ha.core.bfd import BfdChanged, BfdEffect, BfdPeer, SendBfd
from l3ha.core.bfd_sessions import BfdTrouble
from l3ha.core.bfd_table import Bfd
from l3ha.drivers.bfd import BfdDatagram, BfdPorts

RETRY: Duration = 200 * MS
"""How often a socket that could not be had is tried again: the port may still be our forerunner's."""

News: TypeAlias = BfdChanged | BfdTrouble


class BfdLoop:
    """See the module. ``tell`` hands news to the speaker, ``clock`` is CLOCK_BOOTTIME; ``warnings`` are logged
    with the first session."""

    def __init__(
        self,
        machine: Bfd,
        clock: Callable[[], Instant],
        tell: Callable[[News], None],
        log: Callable[[str], None],
        warnings: tuple[str, ...],
    ) -> None:
        self._machine = machine
        self._clock = clock
        self._tell = tell
        self._log = log
        self._ports = BfdPorts()
        self._faults: dict[str, str] = {}
        """As the speaker was told them."""
        self._warnings = warnings
        self._retry: Instant | None = None
        self._due: Instant | None = None
        self.deadline: Instant | None = None
        """When ``serve`` is wanted at the latest."""
        self._settled = False
        self._read: Instant = clock()
        """When the sockets that need not be polled were read last."""
        self.filenos: tuple[int, ...] = ()
        """What to poll for reading."""
        self.generation = 0
        """Of ``filenos``: a new socket may have the number of an old one."""

    def use(self, peers: tuple[BfdPeer, ...]) -> None:
        """Sockets for exactly these sessions."""
        self._ports.use(peers)
        if peers:
            for warning in self._warnings:
                self._log(warning)
            self._warnings = ()
        self._reopened()

    def serve(self, ready: Container[int] = ()) -> None:
        """Hear the sockets that are ``ready``, a packet of each: a flood delays a deadline by no more than that."""
        now = self._clock()
        self._machine.woken(now)
        if spoken := [fileno for fileno in self.filenos if fileno in ready]:
            self._hear_usual(now)
            for fileno in spoken:
                if (d := self._ports.read_one(fileno)) is not None:
                    self._hear([d])
            now = self._clock()
        due = self._machine.next_deadline() if spoken else self._due
        if due is not None and due <= now:
            self._hear_usual(now)
            if self._machine.silent(now):
                self._hear(self._ports.read())  # whoever spoke until ``now`` is heard before silence is judged
        self._do(self._machine.tick(now))
        self._due = self._machine.next_deadline()
        if self._settled != self._machine.settled:
            self._listen()
        if self._retry is not None and self._retry <= now:
            self._ports.retry()
            self._reopened()
        elif self._ports.faults or self._faults:
            self._trouble(now)
        else:
            self.deadline = self._due

    def serve_if_due(self) -> None:
        """Between two pieces of other work."""
        if self._due is not None and self._due <= self._clock():
            self.serve(self.filenos)

    def send(self, address: str, data: bytes) -> None:
        """Send a packet of a session."""
        self._ports.send(address, data)

    def _do(self, effects: list[BfdEffect]) -> None:
        for effect in effects:
            if isinstance(effect, SendBfd):
                self._ports.send(effect.address, effect.data)
            else:
                self._tell(effect)

    def _hear_usual(self, now: Instant) -> None:
        self._hear(self._ports.read(prompt=False))
        self._read = now

    def _hear(self, datagrams: Iterable[BfdDatagram]) -> None:
        """Each at the instant when it came. Before the last time that we read it did not: then a clock was set."""
        for d in datagrams:
            now = self._clock()
            arrived = now - d.age if d.age <= now - self._read else now
            self._do(self._machine.receive(d.source, d.data, d.ttl, arrived))

    def _listen(self) -> None:
        self._settled = self._machine.settled
        self.filenos = tuple(self._ports.filenos(quiet=not self._settled))
        self.generation += 1

    def _reopened(self) -> None:
        self._listen()
        self._due = self._machine.next_deadline()
        self._retry = None
        self._trouble(self._clock())

    def _trouble(self, now: Instant) -> None:
        """Tell of faults that are new or over, and come back while there are any."""
        faults = dict(self._ports.faults)
        if not faults:
            self._retry = None
        elif self._retry is None:
            self._retry = now + RETRY
        self.deadline = min((t for t in (self._due, self._retry) if t is not None), default=None)
        told, self._faults = self._faults, faults
        for address in told.keys() | faults.keys():
            if told.get(address) != faults.get(address):
                self._tell(BfdTrouble(address, faults.get(address)))
