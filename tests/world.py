"""A small virtual world for pair tests: real engines, a fake wire, routers that choose by preference.

Nothing of the engine is replaced. The wire delays and cuts, the speaker acknowledges after a moment, a router prefers
the best attributes it holds and answers a floating echo towards its best path. Time is virtual; the same script gives
the same transcript.
"""

from __future__ import annotations

import hashlib
import heapq
import struct
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from l3ha.base.names import LeaseEnd, Level, NodeId, SrgId
from l3ha.base.settings import (
    Arbiter,
    EchoTarget,
    Monitor,
    MonitorKind,
    Neighbor,
    NodeGroup,
    Path,
    Peer,
    Preference,
    Profile,
    Settings,
    SpeakerSettings,
    Srg,
    Timers,
)
from l3ha.base.time import MS, SECOND, Duration, Instant
from l3ha.core.engine import Engine
from l3ha.core.events import (
    Datagram,
    EchoAnswer,
    Effect,
    Event,
    Exit,
    InterfaceChanged,
    Memory,
    Note,
    NoteKind,
    Remember,
    Send,
    SendEcho,
    SpeakerDown,
    SpeakerLine,
    SpeakerUp,
    Tick,
    ToSpeaker,
)
from l3ha.wire import icmp, noise, wish, wishline

FLOATING = "100.64.255.1"
ROUTERS = ("r1", "r2")
WIRE_DELAY: Duration = 1 * MS
ACK_DELAY: Duration = 3 * MS
BGP_DELAY: Duration = 60 * MS
"""Command to installed, as measured with FRR."""

TIMERS = Timers(
    heartbeat=100 * MS,
    multiplier=5,
    settle=1 * SECOND,
    elect=2 * SECOND,
    boot=10 * SECOND,
    noactive=200 * MS,
    recover=3 * SECOND,
    drain=1 * SECOND,
    verify=2 * SECOND,
    lease=2 * SECOND,
    bgp=500 * MS,
)


def entropy(seed: str) -> Callable[[int], bytes]:
    """A deterministic stream of bytes."""
    counter = 0

    def take(size: int) -> bytes:
        nonlocal counter
        counter += 1
        return hashlib.shake_128(f"{seed}/{counter}".encode()).digest(size)

    return take


def echo_reply(identifier: int, sequence: int, payload: bytes) -> bytes:
    """What a host answers to an echo request (RFC 792)."""
    body = struct.pack("!HH", identifier, sequence) + payload
    return struct.pack("!BBH", 0, 0, icmp.checksum(b"\0\0\0\0" + body)) + body


def private_key(node: int) -> bytes:
    return hashlib.sha256(b"test key %d" % node).digest()


def address(node: int, path: str) -> str:
    return {"icl": f"100.64.0.{node}", "r1": f"100.64.1{node}.2", "r2": f"100.64.2{node}.2"}[path]


def settings(node: int, *, witness: bool = True, timers: Timers = TIMERS) -> Settings:
    """One of two nodes with a dedicated link and, normally, a witness path through each router."""
    other = 3 - node
    names = ("icl", *ROUTERS) if witness else ("icl",)
    paths = tuple(
        Path(n, address(node, n), address(other, n), 7411, None if n == "icl" else n, n == "icl", None) for n in names
    )
    peer = Peer(NodeId(other), f"n{other}", noise.public_key(private_key(other)), paths)
    lp = Preference(Profile.LOCAL_PREFERENCE, 50, 100, 1000)
    neighbors = tuple(
        Neighbor(
            name=r,
            router=r,
            address=f"100.64.{i}{node}.1",
            local_address=address(node, r),
            next_hop=address(node, r),
            next_hop6=None,
            asn=65001,
            local_asn=65001,
            router_id=f"10.0.0.{node}",
            hold_time=90,
            preference=lp,
            passive=False,
            port=179,
            password=None,
            ttl_security=False,
        )
        for i, r in enumerate(ROUTERS, 1)
    )
    arbiters = tuple(
        Arbiter(n.name, EchoTarget(n.local_address, n.address, 100 * MS), EchoTarget(FLOATING, n.address, 100 * MS))
        for n in neighbors
    )
    monitor = Monitor("uplink", MonitorKind.INTERFACE, "eth1", None, 100, 1, 1, SECOND)
    srg = Srg(
        id=SrgId(1),
        description="edge",
        priorities={NodeId(1): 200, NodeId(2): 100},
        preempt=None,
        floating=(f"{FLOATING}/32",),
        routes=(f"{FLOATING}/32", "203.0.113.0/24"),
        arbiters=arbiters,
        probe_interval=100 * MS,
        up=2,
        down=3,
        monitors=(monitor,),
        threshold=100,
        blind_after=None,
    )
    return Settings(
        cluster="test",
        id=NodeId(node),
        name=f"n{node}",
        private_key=private_key(node),
        public_key=noise.public_key(private_key(node)),
        psk=bytes(32),
        peers=(peer,),
        neighbors=neighbors,
        timers=timers,
        srgs=(srg,),
        node_group=NodeGroup((), (), 100, (), None),
        speaker=SpeakerSettings(LeaseEnd.LOWER, SECOND, 0, nudge=True),
        digest=bytes(8),
        sections={"cluster": bytes(4)},
    )


@dataclass
class Router:
    """Holds one best-path ranking: node -> (local preference), and who it prefers."""

    name: str
    alive: bool = True
    mute: bool = False
    """It answers no echoes, as some do that limit or filter them."""
    routes: dict[int, int] = field(default_factory=dict)

    @property
    def best(self) -> int | None:
        """The node that draws the traffic; on equal preference the lower id, by the router's own tie-break."""
        return min(self.routes, key=lambda n: (-self.routes[n], n)) if self.routes else None


@dataclass
class Node:
    """One node's surroundings: its engine, its speaker, its disk."""

    id: int
    settings: Settings
    memory: dict[SrgId, Memory] = field(default_factory=dict)
    engine: Engine | None = None
    alive: bool = False
    frozen: bool = False
    deaf: bool = False
    """Silent death: links stay up, nothing in, nothing out; routers keep its routes until their hold time."""
    wish: wish.Wish | None = None
    lease_until: Instant = 0
    starts: int = 0
    backlog: list[Event] = field(default_factory=list)


class World:
    """Two nodes, two routers, one clock."""

    def __init__(self, *, witness: bool = True, bgp_delay: Duration = BGP_DELAY, timers: Timers = TIMERS) -> None:
        self.now: Instant = 1_000 * SECOND
        self.start = self.now
        self.bgp_delay = bgp_delay
        self.nodes = {n: Node(n, settings(n, witness=witness, timers=timers)) for n in (1, 2)}
        self.routers = {r: Router(r) for r in ROUTERS}
        self.cut: set[str] = set()
        """Names of ICL paths that carry no heartbeats (the link itself may be fine)."""
        self.cut_links: set[tuple[int, str]] = set()
        """(node, router) links that are down."""
        self.bfd: dict[int, tuple[wish.BfdReport, ...]] = {}
        """What the speaker of a node says of its BFD sessions."""
        self.lines: list[str] = []
        self.notes: list[tuple[Instant, int, Note]] = []
        self._heap: list[tuple[Instant, int, Callable[[], None]]] = []
        self._serial = 0
        self._armed: dict[int, Instant] = {}

    # --- what a test does ----------------------------------------------------------------------------------------

    def boot(self, node: int, *, speaker: bool = True) -> None:
        """Start the agent (and connect the speaker, which may hold an earlier wish)."""
        n = self.nodes[node]
        n.starts += 1
        n.alive, n.deaf, n.frozen = True, False, False
        n.engine = Engine(n.settings, tuple(n.memory.values()), entropy(f"{node}/{n.starts}"), self.now)
        self._armed.pop(node, None)
        self.say(node, "agent starts")
        if speaker:
            self.feed(node, SpeakerUp())
            self.at(ACK_DELAY, lambda: self._report(node))
        self.feed(node, InterfaceChanged("eth1", True, "up"))

    def both(self) -> None:
        self.boot(1)
        self.boot(2)

    def kill_agent(self, node: int) -> None:
        """kill -9 of the agent: the speaker and the routes stay."""
        self.say(node, "agent killed")
        self.nodes[node].alive = False

    def silence(self, node: int) -> None:
        """Silent death of the whole node."""
        self.say(node, "silent death")
        self.nodes[node].alive = False
        self.nodes[node].deaf = True
        self.nodes[node].wish = None

    def freeze(self, node: int) -> None:
        self.say(node, "agent frozen")
        self.nodes[node].frozen = True

    def thaw(self, node: int) -> None:
        """SIGCONT: what lay in the sockets comes first, the oldest first."""
        self.say(node, "agent thawed")
        n = self.nodes[node]
        n.frozen = False
        backlog, n.backlog = n.backlog, []
        for event in backlog[:64]:
            self.feed(node, event)
        self.feed(node, Tick())

    def uplink(self, node: int, up: bool) -> None:
        self.feed(node, InterfaceChanged("eth1", up, "carrier" if up else "no carrier"))

    def run(self, duration: Duration) -> None:
        """Let time pass."""
        end = self.now + duration
        while self._heap and self._heap[0][0] <= end:
            when, _, action = heapq.heappop(self._heap)
            self.now = max(self.now, when)
            action()
        self.now = end

    def until(self, condition: Callable[[], bool], budget: Duration) -> Duration:
        """Run until a condition holds; returns how long it took. Fails with the transcript."""
        began = self.now
        while not condition():
            assert self.now - began <= budget, f"not within {budget // MS} ms:\n" + self.transcript()
            self.run(1 * MS)
        return self.now - began

    def state(self, node: int) -> str:
        engine = self.nodes[node].engine
        assert engine is not None
        m = engine.srgs[SrgId(1)]
        return str(m.state) + ("" if m.confirmed or m.state != "ACTIVE" else "?")

    def states(self) -> tuple[str, str]:
        return self.state(1), self.state(2)

    def term(self, node: int) -> int:
        engine = self.nodes[node].engine
        assert engine is not None
        return engine.srgs[SrgId(1)].term

    def best(self) -> tuple[int | None, ...]:
        return tuple(r.best for r in self.routers.values())

    def rules(self, node: int) -> list[str]:
        """Names of the rules that acted on this node, in order."""
        return [n.rule for _, who, n in self.notes if who == node and n.rule]

    def say(self, node: int, text: str) -> None:
        self.lines.append(f"{(self.now - self.start) / SECOND:9.3f}  n{node}  {text}")

    def transcript(self) -> str:
        return "\n".join(self.lines) + "\n"

    def feed(self, node: int, event: Event) -> tuple[Effect, ...]:
        """One event into an engine, its effects into the world."""
        n = self.nodes[node]
        if not n.alive or n.engine is None:
            return ()
        if n.frozen:
            n.backlog.append(event)
            return ()
        effects = n.engine.step(event, self.now)
        for effect in effects:
            self._carry_out(n, effect)
        if n.alive:
            self._arm(n)
        return effects

    def at(self, delay: Duration, action: Callable[[], None]) -> None:
        self._serial += 1
        heapq.heappush(self._heap, (self.now + delay, self._serial, action))

    # --- how the world answers -----------------------------------------------------------------------------------

    def _arm(self, n: Node) -> None:
        assert n.engine is not None
        due = n.engine.next_deadline()
        armed = self._armed.get(n.id)
        if due is None or (armed is not None and self.now < armed <= due):
            return
        self._armed[n.id] = max(due, self.now)
        engine = n.engine

        def fire() -> None:
            if n.engine is engine and self._armed.get(n.id) == when:
                del self._armed[n.id]
                self.feed(n.id, Tick())

        when = max(due, self.now)
        self.at(max(0, due - self.now), fire)

    def _carry_out(self, n: Node, effect: Effect) -> None:
        match effect:
            case Send(path, _, data):
                self._datagram(n, path, data)
            case SendEcho():
                self._echo(n, effect)
            case ToSpeaker(data):
                self._to_speaker(n, data)
            case Remember(groups):
                n.memory.update({g.srg: g for g in groups})
            case Note():
                self.notes.append((self.now, n.id, effect))
                if effect.kind in (NoteKind.TRANSITION, NoteKind.RULE, NoteKind.MOVE, NoteKind.PAUSE, NoteKind.NODE):
                    rule = f" [{effect.rule}]" if effect.rule else ""
                    self.say(n.id, f"{effect.kind}{rule} {effect.text}")
            case Exit():
                self.say(n.id, "agent exits")
                n.alive = False
            case _:
                pass

    def _usable(self, n: Node, path: str) -> bool:
        if n.deaf:
            return False
        if path in self.routers:
            return self.routers[path].alive and (n.id, path) not in self.cut_links
        return True

    def _datagram(self, n: Node, path: str, data: bytes) -> None:
        other = self.nodes[3 - n.id]
        if path in self.cut or not self._usable(n, path):
            return
        event = Datagram(path, address(n.id, path), 255 if path == "icl" else 254, data)

        def arrive() -> None:
            if path not in self.cut and self._usable(other, path):
                self.feed(other.id, event)

        self.at(WIRE_DELAY, arrive)

    def _echo(self, n: Node, e: SendEcho) -> None:
        router = next(x.name for x in n.settings.neighbors if x.address == e.target.destination)
        if not self._usable(n, router):
            return
        floating = e.target.source == FLOATING
        reply = echo_reply(e.identifier, e.sequence, e.payload)

        def arrive() -> None:
            to = self.routers[router].best if floating else n.id
            answers = self.routers[router].alive and not self.routers[router].mute
            if to is not None and answers and self._usable(self.nodes[to], router):
                target = e.target if to == n.id else self._same_target(to, router)
                self.feed(to, EchoAnswer(target, reply))

        self.at(WIRE_DELAY, arrive)

    def _same_target(self, node: int, router: str) -> EchoTarget:
        arbiters = self.nodes[node].settings.srgs[0].arbiters
        return next(a.floating for a in arbiters if a.name == router)

    def _to_speaker(self, n: Node, data: bytes) -> None:
        line = wishline.decode(data.rstrip(b"\n"))
        if isinstance(line, wish.Ahead):
            return
        assert isinstance(line, wish.Wish | wish.Renew)
        n.lease_until = self.now + line.lease
        if isinstance(line, wish.Wish):
            n.wish = line
        self.at(ACK_DELAY, lambda: self._report(n.id))
        if isinstance(line, wish.Wish):
            self.at(self.bgp_delay, lambda: self._learn(n, line))
        self.at(line.lease + 1, lambda: self._lease(n))

    def _lease(self, n: Node) -> None:
        if n.wish is not None and self.now > n.lease_until and not n.deaf:
            self.say(n.id, "lease ran out: the speaker lowers the routes")
            lowered = replace(n.wish, neighbors=tuple(replace(x, routes=x.fallback) for x in n.wish.neighbors))
            n.wish = lowered
            self._learn(n, lowered)

    def _learn(self, n: Node, line: wish.Wish) -> None:
        if n.deaf or n.wish is None:
            return
        for nw in n.wish.neighbors if line is n.wish else line.neighbors:
            router = self.routers[nw.name]
            if not router.alive or (n.id, nw.name) in self.cut_links:
                continue
            group = next((g for g in nw.routes if g.srg == 1), None)
            if group is None:
                router.routes.pop(n.id, None)
            else:
                assert group.attributes.local_preference is not None
                router.routes[n.id] = group.attributes.local_preference

    def _report(self, node: int) -> None:
        n = self.nodes[node]
        if n.deaf or not n.alive:
            return
        w = n.wish
        live = w is not None and self.now <= n.lease_until
        number = w.number if w else -1
        neighbors = tuple(
            wish.NeighborReport(x.name, x.address, self._session(n, x.name), number, None) for x in n.settings.neighbors
        )
        groups = {g.srg: g for x in w.neighbors for g in x.routes} if w else {}
        advertised = tuple(wish.Advertised(g.srg, Level(g.level), g.term) for g in groups.values())
        report = wish.Report(
            7, "5.0.15", w.agent if w else 0, number, live, advertised, neighbors, self.bfd.get(node, ())
        )
        self.feed(node, SpeakerLine(wishline.encode(report).rstrip(b"\n")))

    def _session(self, n: Node, router: str) -> bool:
        return self.routers[router].alive and (n.id, router) not in self.cut_links

    def link(self, node: int, router: str, up: bool) -> None:
        """A link between a node and a router goes down (the session with it) or comes back."""
        n = self.nodes[node]
        if up:
            self.cut_links.discard((node, router))
            if n.wish is not None:
                w = n.wish
                self.at(self.bgp_delay, lambda: self._learn(n, w))
        else:
            self.cut_links.add((node, router))
            self.routers[router].routes.pop(node, None)
        self._report(node)

    def expire_hold(self, node: int) -> None:
        """The routers' BGP hold time runs out for a dead node."""
        self.say(node, "hold time expired at the routers")
        for router in self.routers.values():
            router.routes.pop(node, None)

    def lose_speaker(self, node: int) -> None:
        """ExaBGP dies: sessions gone, routes gone."""
        self.say(node, "ExaBGP killed")
        n = self.nodes[node]
        n.wish = None
        for router in self.routers.values():
            router.routes.pop(node, None)
        self.feed(node, SpeakerLine(wishline.encode(wish.Goodbye("exabgp is gone")).rstrip(b"\n")))
        self.feed(node, SpeakerDown())
