"""A virtual ExaBGP: reads command lines, answers late, holds an adj-rib-out per session, and queues as the real one.

It ends a session when told, a moment after its answer, and forgets what it holds for one.

Changes wait in buckets keyed by their attributes, and are sent in the order in which buckets were made: a change whose
attributes are queued already takes the older place, and what the peer is thought to have is not sent again. That is why
the speaker needs a fresh generation in every command.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from random import Random

from l3ha.base.time import MS, Duration
from l3ha.sim.clock import Clock
from l3ha.sim.faults import Kind
from l3ha.sim.setting import ROUTERS, router_address

FLUSH: Duration = 2 * MS
ACK: tuple[Duration, Duration] = (1 * MS, 5 * MS)
FORGET: Duration = 300 * MS
"""Greatest time that it needs to forget a neighbor's routes."""
SLOW_ACK: tuple[Duration, Duration] = (100 * MS, 900 * MS)
REFUSED = 300
"""Per mille of commands refused under EXABGP_ERRORS."""
LOST = 200
"""Per mille of acknowledgements lost under EXABGP_MUTE."""
LOST_IN_A_ROW = 2
"""An answer and the ping after it, too; the speaker's patience (``bounds.EXABGP_CURE``) covers no more."""
HANG_POLL: Duration = 50 * MS

Update = tuple[str, int | None, str]
"""Prefix, preference value (None: withdraw), generation."""


@dataclass
class Peering:
    """ExaBGP's end of one session."""

    router: str
    up: bool = False
    rib: dict[str, str] = field(default_factory=dict)
    """Prefix to attribute text: what was announced, and is announced again on the next session."""
    pending: dict[str, dict[str, bool]] = field(default_factory=dict)
    """Attribute text to prefix to announce (or withdraw), in order of the buckets."""


class Exabgp:
    """One process. ``say`` gives its helper a line, ``send`` a router an UPDATE, ``reset`` ends the session with one,
    ``temper`` tells its present troubles."""

    def __init__(
        self,
        node: int,
        clock: Clock,
        rng: Random,
        say: Callable[[bytes], None],
        send: Callable[[str, Update], None],
        reset: Callable[[str], None],
        temper: Callable[[], frozenset[Kind]],
    ) -> None:
        self.alive = True
        self._frozen = False
        self.most_queued = 0
        self.peerings = {router_address(node, r): Peering(r) for r in ROUTERS}
        self._clock, self._rng, self._temper = clock, rng, temper
        self._say, self._send, self._reset = say, send, reset
        self._commands: deque[bytes] = deque()
        self._busy = False
        self._lost_now = 0

    def write(self, data: bytes) -> None:
        """The helper wrote a command."""
        self._commands.append(data)
        self.most_queued = max(self.most_queued, len(self._commands))
        self._next()

    @property
    def frozen(self) -> bool:
        """The machine stands still."""
        return self._frozen

    def freeze(self, frozen: bool) -> None:
        """Stop or go on."""
        self._frozen = frozen
        self._next()

    def session(self, router: str, up: bool, reason: str = "") -> None:
        """A session came up (everything is announced again) or went down."""
        address, p = next((a, p) for a, p in self.peerings.items() if p.router == router)
        if p.up == up:
            return
        p.up = up
        state = {"address": {"peer": address}, "state": "up" if up else "down", "reason": reason}
        self._say(json.dumps({"type": "state", "neighbor": state}).encode())
        if up:
            for prefix, text in p.rib.items():
                self._send(router, (prefix, *_read(text)))
            self._flush(p)

    def _next(self) -> None:
        if self._busy or not self._commands or not self.alive or self._frozen:
            return
        self._busy = True
        low, high = SLOW_ACK if Kind.EXABGP_SLOW in self._temper() else ACK
        if b" clear " in self._commands[0]:
            high += FORGET
        self._clock.after(self._rng.randint(low, high), self._work)

    def _work(self) -> None:
        if not self.alive:
            return
        if Kind.EXABGP_HANG in self._temper() or self._frozen:
            self._clock.after(HANG_POLL, self._work)
            return
        self._busy = False
        if self._commands:
            for line in self._answer(self._commands.popleft().decode().strip()):
                if line not in ("done", "error") or not self._lost():
                    self._say(line.encode())
        self._next()

    def _lost(self) -> bool:
        lost = Kind.EXABGP_MUTE in self._temper() and self._rng.randrange(1000) < LOST
        self._lost_now = self._lost_now + 1 if lost and self._lost_now < LOST_IN_A_ROW else 0
        return self._lost_now > 0

    def _answer(self, command: str) -> list[str]:
        if command.startswith("#"):
            return ["done"]
        if command == "version":
            return ["exabgp 5.0.15", "done"]
        if command == "show neighbor summary":
            states = [(a, "established" if p.up else "idle") for a, p in self.peerings.items()]
            head = "Peer            AS        up/down state       |     #sent     #recvd"
            return [head] + [f"{a}  65001  0:00:04 {state}  1  0" for a, state in states] + ["done"]
        if command == "show adj-rib out":
            rows = [(a, prefix) for a, p in self.peerings.items() for prefix in p.rib]
            return [f"neighbor {a} ipv4 unicast {prefix} next-hop self" for a, prefix in rows] + ["done"]
        if Kind.EXABGP_ERRORS in self._temper() and self._rng.randrange(1000) < REFUSED:
            return ["error"]
        return ["done" if self._change(command) else "error"]

    def _change(self, command: str) -> bool:
        words, _, nlri = command.partition(" nlri ")
        _, address, verb, *rest = words.split(" ", 4)
        p = self.peerings.get(address)
        if p is None:
            return False
        if verb == "teardown":
            self._clock.after(self._rng.randint(0, FLUSH), lambda: self._tear(p))
            return True
        if verb == "clear":
            self._forget(p)
            return True
        if not nlri:
            return False
        attributes = rest[1]
        bucket = p.pending.setdefault(attributes, {})
        for prefix in nlri.split():
            bucket[prefix] = verb == "announce"
        self._clock.after(FLUSH, lambda: self._flush(p))
        return True

    def _tear(self, p: Peering) -> None:
        if p.up and self.alive and not self._frozen:
            self._reset(p.router)

    def _forget(self, p: Peering) -> None:
        """Withdrawals that wait for a session are left out of its first UPDATEs, so they are never sent."""
        held = dict.fromkeys([*p.rib, *(prefix for bucket in p.pending.values() for prefix in bucket)])
        p.pending.clear()
        p.rib.clear()
        for prefix in held if p.up else ():
            self._send(p.router, (prefix, None, ""))

    def _flush(self, p: Peering) -> None:
        if not p.up or not self.alive or self._frozen:
            return
        pending, p.pending = p.pending, {}
        for attributes, changes in pending.items():
            value, generation = _read(attributes)
            for prefix, announce in changes.items():
                if announce and p.rib.get(prefix) != attributes:
                    p.rib[prefix] = attributes
                    self._send(p.router, (prefix, value, generation))
                elif not announce:
                    p.rib.pop(prefix, None)
                    self._send(p.router, (prefix, None, generation))


def _read(attributes: str) -> tuple[int | None, str]:
    """Preference value and generation of an attribute text."""
    words = attributes.split()
    found = dict(pairwise(words))
    value = found.get("local-preference") or found.get("med")
    return (int(value) if value else None), found.get("large-community", "")
