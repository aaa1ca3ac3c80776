"""The world: two nodes, two routers, the paths between them, one clock, and the faults that are active."""

from __future__ import annotations

import struct
from functools import partial

from l3ha.base.settings import EchoTarget
from l3ha.base.time import MS, Duration, Instant
from l3ha.core import events as ev
from l3ha.core.engine import Engine
from l3ha.core.speaker import Speaker
from l3ha.sim.clock import Clock, generator
from l3ha.sim.conditions import Conditions
from l3ha.sim.exabgp import Exabgp, Update
from l3ha.sim.faults import POINTS, Fault, Kind
from l3ha.sim.judge import Judge
from l3ha.sim.node import Node
from l3ha.sim.process import Observer
from l3ha.sim.router import Router
from l3ha.sim.session import BgpSession
from l3ha.sim.setting import FLOATING, NODES, ROUTERS, Variant, address
from l3ha.sim.trace import line
from l3ha.wire import icmp

ECHO_LEAST: Duration = MS // 2


class World:
    """See the module."""

    def __init__(self, seed: int, variant: Variant, *, trace: bool = False) -> None:
        self.seed, self.variant = seed, variant
        self.agent_core: type[Engine] = Engine
        """What an agent runs; a test plants another one."""
        self.speaker_core: type[Speaker] = Speaker
        self.clock = Clock()
        self.rng = generator(f"{seed}/net")
        self.lines: list[str] | None = [] if trace else None
        self.active: list[Fault] = []
        self.kinds: set[Kind] = set()
        """Every kind of fault that has ever been active."""
        self._held = False
        self.conditions = Conditions(())
        self.routers = {r: Router(r, variant.profile, variant.tie_break) for r in ROUTERS}
        self.sessions = {
            (n, r): BgpSession(n, self.routers[r], variant.hold, variant.bgp_delay, self.clock, self.rng)
            for n in NODES[: variant.nodes]
            for r in ROUTERS
        }
        self.nodes: dict[int, Node] = {}
        self.judge = Judge(self)
        self.observer: Observer = self.judge
        for n in NODES[: variant.nodes]:
            self.nodes[n] = Node(n, self)

    # --- time ---------------------------------------------------------------------------------------------------

    def boot(self) -> None:
        """Power on."""
        self.review()

    def run(self, duration: Duration) -> None:
        """Let time pass. Raises ``Violation``."""
        end = self.clock.now + duration
        clock, judge = self.clock, self.judge
        while clock.step(end):
            if judge.due <= clock.now:
                judge.lasting()

    def until(self, end: Instant) -> None:
        """Let time pass up to an instant."""
        self.run(max(0, end - self.clock.now))

    def schedule(self, faults: tuple[Fault, ...]) -> None:
        """Let these begin and end, counted from now."""
        for fault in faults:
            self.clock.after(fault.at, partial(self._due, fault))
            if fault.until is not None and fault.kind not in POINTS:
                self.clock.after(fault.until, partial(self._over, fault))

    # --- faults ---------------------------------------------------------------------------------------------------

    def begin(self, fault: Fault) -> None:
        """A fault begins."""
        self.say(0, f"--- {fault}")
        if fault.node and fault.node in self.nodes:
            self.nodes[fault.node].begin(fault)
        self.kinds.add(fault.kind)
        if fault.kind not in POINTS:
            self.active.append(fault)
            self.review()

    def end(self, fault: Fault) -> None:
        """A fault ends, if it was not healed before."""
        if fault not in self.active:
            return
        self.say(0, f"--- end of {fault}")
        self.active.remove(fault)
        self.review()
        if fault.node and fault.node in self.nodes:
            self.nodes[fault.node].end(fault)

    def _due(self, fault: Fault) -> None:
        if not self._held:  # what a scene had planned for later does not disturb the ending
            self.begin(fault)

    def _over(self, fault: Fault) -> None:
        if not self._held:
            self.end(fault)

    def hold(self) -> None:
        """From now on no fault begins or ends by itself."""
        self._held = True

    def heal(self, faults: list[Fault] | None = None) -> None:
        """These (or all) faults end now."""
        for fault in list(self.active if faults is None else faults):
            self.end(fault)

    def review(self) -> None:
        """Conditions have changed: everything that depends on them is looked at."""
        self.conditions = Conditions(self.active)
        for node in self.nodes.values():
            node.review()
        self.changed()

    def changed(self) -> None:
        """A process or a link came or went."""
        for session in self.sessions.values():
            session.review(self)
        self.judge.review()

    # --- what nodes and sessions ask for -----------------------------------------------------------------------------

    def exabgp_of(self, node: int) -> Exabgp | None:
        """The node's ExaBGP, None where it does not run."""
        return self.nodes[node].exabgp if node in self.nodes else None

    def routed(self, router: Router) -> None:
        """A router's table has changed."""
        self.judge.routed(router)

    def update(self, node: int, router: str, update: Update) -> None:
        """ExaBGP sends an UPDATE."""
        self.sessions[node, router].send(self, update)

    def reset(self, node: int, router: str) -> None:
        """ExaBGP ends a session."""
        self.sessions[node, router].drop(self, "administrative reset")

    def forgotten(self) -> None:
        """An agent or a disk is gone, and what only it knew."""
        self.judge.forgotten()

    def say(self, node: int, text: str) -> None:
        """One line of the trace."""
        if self.lines is not None:
            self.lines.append(line(self.clock.now, f"n{node}" if node else "--", text))

    def send(self, node: int, effect: ev.Send) -> None:
        """A datagram leaves on a path: it may be lost, doubled, delayed, damaged."""
        path, data, rng = effect.path, effect.data, self.rng
        if not self.conditions.carries(path, node):
            return
        q = self.conditions.noise(path)
        for _ in range(2 if q.double and rng.randrange(1000) < q.double else 1):
            if q.loss and rng.randrange(1000) < q.loss:
                continue
            delay = q.delay + rng.randrange(q.jitter)
            if q.reorder and rng.randrange(1000) < q.reorder:
                delay += 2 * q.jitter + rng.randrange(200 * MS)
            body = data
            if q.damage and rng.randrange(1000) < q.damage:
                body = self._damage(data)
                self.judge.damaged.add(body)
            event = ev.Datagram(path, address(node, path), 255 if path == "icl" else 254, body)
            self.clock.after(delay, partial(self._arrive, node, event))

    def _arrive(self, source: int, event: ev.Datagram) -> None:
        if self.conditions.carries(event.path, source):
            self.nodes[3 - source].hear(event.path, event)

    def _damage(self, data: bytes) -> bytes:
        at = self.rng.randrange(len(data))
        return data[:at] + bytes([data[at] ^ (1 << self.rng.randrange(8))]) + data[at + 1 :]

    def echo(self, node: int, effect: ev.SendEcho) -> None:
        """An echo request leaves; the router answers towards the source address, wherever that is for it."""
        router = next(n.router for n in self.nodes[node].settings.neighbors if n.address == effect.target.destination)
        if not self.conditions.passes(node, router, outward=True):
            return
        loss = self.conditions.echo_loss.get(router, 0)
        if loss and self.rng.randrange(100) < loss:
            return
        self.clock.after(self.rng.randint(ECHO_LEAST, self.variant.echo), lambda: self._reply(node, router, effect))

    def _reply(self, node: int, router: str, e: ev.SendEcho) -> None:
        floating = e.target.source == FLOATING
        to = self._towards(node, router) if floating else node
        if to is None or to not in self.nodes or not self.conditions.passes(to, router, outward=False):
            return
        target = e.target if to == node else self._same_target(to, router)
        self.nodes[to].hear(f"echo {router} {floating}", ev.EchoAnswer(target, _echo_reply(e)), hushed=not e.awaited)

    def _towards(self, node: int, router: str) -> int | None:
        c = self.conditions
        if router in c.acl:
            return None
        if router in c.lie:
            return c.lie[router]
        return node if router in c.ecmp else self.routers[router].best()

    def _same_target(self, node: int, router: str) -> EchoTarget:
        return next(a.floating for a in self.nodes[node].settings.srgs[0].arbiters if a.name == router)


def _echo_reply(e: ev.SendEcho) -> bytes:
    """What a host answers to an echo request (RFC 792)."""
    body = struct.pack("!HH", e.identifier, e.sequence) + e.payload
    return struct.pack("!BBH", 0, 0, icmp.checksum(b"\0\0\0\0" + body)) + body
