"""A BGP session between a node's ExaBGP and a router: comes up, carries UPDATEs in order, and dies late or at once."""

from __future__ import annotations

from collections import deque
from random import Random
from typing import Protocol

from l3ha.base.time import MS, Duration, Instant
from l3ha.sim.clock import Clock
from l3ha.sim.conditions import Conditions
from l3ha.sim.exabgp import Exabgp, Update
from l3ha.sim.router import Router

CONNECT: tuple[Duration, Duration] = (50 * MS, 500 * MS)
"""From possible to established."""

RESEND: Duration = 200 * MS
"""TCP tries again what got lost."""


class Surroundings(Protocol):
    """What a session needs from its world."""

    conditions: Conditions

    def exabgp_of(self, node: int) -> Exabgp | None:
        """The node's ExaBGP, None where it does not run."""

    def routed(self, router: Router) -> None:
        """A router's table has changed."""


class BgpSession:
    """See the module. Both ends share one object; each learns of the end in its own time."""

    def __init__(
        self, node: int, router: Router, hold: Duration, delay: tuple[Duration, Duration], clock: Clock, rng: Random
    ) -> None:
        self.node, self.router = node, router
        self.up = False
        self.up_since: Instant = 0
        self._hold, self._delay, self._clock, self._rng = hold, delay, clock, rng
        self._epoch = 0
        self._broken = False
        self._breaks = 0
        self._connecting = False
        self._partner: Exabgp | None = None
        self._wire: deque[tuple[Instant, Update]] = deque()
        self._last: Instant = 0

    def review(self, world: Surroundings) -> None:
        """The world has changed: break, mend, or begin to connect."""
        c = world.conditions
        exabgp = world.exabgp_of(self.node)
        name = self.router.name
        talks = exabgp is not None and not exabgp.frozen and c.both_ways(self.node, name)
        if self.up:
            reset = exabgp is not self._partner and c.passes(self.node, name, outward=True)
            if not c.carrier(self.node, name) or (not c.router[name] and c.powered[self.node]) or reset:
                self.drop(world, "connection lost")
            elif talks and exabgp is self._partner:
                self._broken = False
            elif not self._broken:
                self._broken = True
                self._breaks += 1
                which = self._breaks
                self._clock.after(self._hold, lambda: self._expire(world, which))
        elif talks and not self._connecting:
            self._connecting = True
            self._clock.after(self._rng.randint(*CONNECT), lambda: self._connect(world))

    def send(self, world: Surroundings, update: Update) -> None:
        """An UPDATE of ExaBGP; it arrives in order, and only while the session lives."""
        due = max(self._last, self._clock.now + self._rng.randint(*self._delay))
        self._last = due
        self._wire.append((due, update))
        epoch = self._epoch
        self._clock.at(due, lambda: self._deliver(world, epoch))

    def drop(self, world: Surroundings, reason: str) -> None:
        """Both ends know that it is over."""
        self.up = self._broken = False
        self._epoch += 1
        self._wire.clear()
        partner, self._partner = self._partner, None
        if partner is not None and partner is world.exabgp_of(self.node):
            partner.session(self.router.name, False, reason)
        self.router.forget(self.node)
        world.routed(self.router)
        self.review(world)

    def _expire(self, world: Surroundings, which: int) -> None:
        if which == self._breaks and self._broken:
            self.drop(world, "hold timer expired")

    def _connect(self, world: Surroundings) -> None:
        self._connecting = False
        exabgp = world.exabgp_of(self.node)
        if self.up or exabgp is None or exabgp.frozen or not world.conditions.both_ways(self.node, self.router.name):
            return
        self.up, self.up_since = True, self._clock.now
        self._epoch += 1
        self._last = self._clock.now
        self._partner = exabgp
        exabgp.session(self.router.name, True)
        world.routed(self.router)

    def _deliver(self, world: Surroundings, epoch: int) -> None:
        if epoch != self._epoch or not self._wire or self._wire[0][0] > self._clock.now:
            return
        if self._broken:
            self._clock.after(RESEND, lambda: self._deliver(world, epoch))
            return
        while self._wire and self._wire[0][0] <= self._clock.now:
            _, (prefix, value, generation) = self._wire.popleft()
            self.router.learn(self.node, prefix, value, generation)
        world.routed(self.router)
