"""One node: power, disk, clock, agent, speaker, ExaBGP, and the pipe between the two processes of ours."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeAlias

from l3ha.base.names import Intent, SrgId
from l3ha.base.time import MS, SECOND, Duration
from l3ha.core import events as ev
from l3ha.core import speaker_events as sp
from l3ha.core.bfd import SendBfd
from l3ha.core.bfd_frr import UseFrr
from l3ha.core.bfd_sessions import UseBfd
from l3ha.core.engine import Engine
from l3ha.core.events import Memory
from l3ha.core.icl import MAX_GRACE
from l3ha.core.speaker import Speaker
from l3ha.sim.clock import Clock, Drift, generator
from l3ha.sim.conditions import Conditions
from l3ha.sim.exabgp import Exabgp, Update
from l3ha.sim.faults import Fault, Kind
from l3ha.sim.process import PIPE, Agent, Helper, Observer
from l3ha.sim.setting import Variant, settings
from l3ha.sim.trace import told

AGENT_START: tuple[Duration, Duration] = (50 * MS, 300 * MS)
EXABGP_START: tuple[Duration, Duration] = (100 * MS, 600 * MS)
HELPER_START: tuple[Duration, Duration] = (50 * MS, 400 * MS)
RECONNECT: Duration = 20 * MS
"""An absent agent is tried every 20 ms by the speaker."""

Start: TypeAlias = Callable[[], None]


class Machine(Protocol):
    """What a node needs from its world."""

    clock: Clock
    seed: int
    variant: Variant
    conditions: Conditions
    observer: Observer
    agent_core: type[Engine]
    speaker_core: type[Speaker]

    def send(self, node: int, effect: ev.Send) -> None:
        """A datagram leaves."""

    def echo(self, node: int, effect: ev.SendEcho) -> None:
        """An echo request leaves."""

    def update(self, node: int, router: str, update: Update) -> None:
        """ExaBGP sends an UPDATE."""

    def reset(self, node: int, router: str) -> None:
        """ExaBGP ends a session."""

    def forgotten(self) -> None:
        """An agent or a disk is gone, and what only it knew."""

    def say(self, node: int, text: str) -> None:
        """For the trace."""

    def changed(self) -> None:
        """A process came or went: sessions may break or begin."""


class Node:
    """See the module. ``review`` makes the processes what the conditions demand."""

    def __init__(self, number: int, world: Machine) -> None:
        self.id = number
        self.world = world
        self.rng = generator(f"{world.seed}/node{number}")
        self.drift = Drift(self.rng.randrange(1, 1000) * SECOND, world.variant.drift[number - 1])
        self.settings = settings(number, world.variant)
        self.disk: dict[SrgId, Memory] = {}
        self.saved: bytes | None = None
        self.agent: Agent | None = None
        self.helper: Helper | None = None
        self.exabgp: Exabgp | None = None
        self.starts = 0
        self._wire: tuple[Agent, Helper] | None = None
        """The connection between these two processes."""
        self._starting: set[str] = set()
        self._requests = 0
        self._told_uplink: bool | None = None

    # --- what the world does to it --------------------------------------------------------------------------------

    def review(self) -> None:
        """Kill, start, stop and continue processes as the conditions say."""
        c, n = self.world.conditions, self.id
        if not c.powered[n]:
            self.saved = None  # it lies in /run
        if self.agent is not None and self.agent.alive and not c.agent[n] and not self._leaving():
            self._agent_died()
        if self.exabgp is not None and not c.exabgp[n]:
            self.exabgp.alive = False
            self.exabgp = None
            if self.helper is not None:
                self.helper.feed(sp.ExabgpGone())
            self.world.say(n, "ExaBGP is dead")
        if self.helper is not None and (self.exabgp is None or not c.helper[n]):
            self._helper_died()
        frozen = c.node_frozen[n]
        if self.exabgp is not None and self.exabgp.frozen != frozen:
            self.exabgp.freeze(frozen)
        if self.helper is not None and self.helper.frozen != frozen:
            self.helper.freeze(frozen)
        if self.agent is not None and self.agent.alive and self.agent.frozen != c.agent_frozen[n]:
            self.world.say(n, "agent frozen" if c.agent_frozen[n] else "agent thawed")
            self.agent.freeze(c.agent_frozen[n])
        self._start_what_is_missing()
        self._monitors()

    def begin(self, fault: Fault) -> None:
        """What a fault does to this node at once, besides its conditions."""
        match fault.kind:
            case Kind.CRASH if fault.value:
                self.disk.clear()
                self.world.forgotten()
            case Kind.KILL_AGENT if self.agent is not None and fault.value:
                self.agent.fuse = fault.value
            case Kind.STOP:
                self.request(ev.RequestStop(Intent.LEAVING, 0))
            case Kind.RESTART:
                self.request(ev.RequestStop(Intent.RESTARTING, MAX_GRACE))
            case Kind.FAILOVER:
                self._requests += 1
                self.request(ev.RequestFailover(self._requests, self.settings.srgs[0].id, None))
            case Kind.MAINTENANCE:
                self._maintenance(True)
            case _:
                pass

    def end(self, fault: Fault) -> None:
        """A fault is over."""
        if fault.kind is Kind.MAINTENANCE:
            self._maintenance(False)
        if fault.kind is Kind.KILL_AGENT and self.agent is not None:
            self.agent.fuse = None

    def request(self, event: ev.Event) -> None:
        """The operator speaks to the agent."""
        if self.agent is not None and self.agent.alive:
            self.agent.deliver("speaker", event, perishable=False)

    def hear(self, socket: str, event: ev.Event, *, hushed: bool = False) -> None:
        """A datagram or an ICMP message arrives; ``hushed``: on a socket that wakes nobody up."""
        if self.agent is not None and self.agent.alive:
            self.agent.deliver(socket, event, perishable=True, hushed=hushed)

    @property
    def running(self) -> bool:
        """The agent lives and is not stopped."""
        return self.agent is not None and self.agent.alive and not self.agent.frozen

    # --- processes ------------------------------------------------------------------------------------------------

    def _leaving(self) -> bool:
        """An agent that was told to stop may end in its own time."""
        c = self.world.conditions
        if not c.powered[self.id] or self.agent is None:
            return False
        if any(f.node == self.id and f.kind is Kind.KILL_AGENT for f in c.faults):
            return self.agent.fuse is not None
        return True

    def _agent_died(self) -> None:
        assert self.agent is not None
        self.agent.alive = False
        self.world.forgotten()
        self.world.say(self.id, "agent is dead")
        self._hang_up()

    def _helper_died(self) -> None:
        assert self.helper is not None
        self.helper.alive = False
        self.helper = None
        self.world.say(self.id, "speaker is dead")
        self._hang_up()

    def _start_what_is_missing(self) -> None:
        if self.exabgp is None:
            self._later("exabgp", EXABGP_START, self._start_exabgp)
        elif self.helper is None:
            self._later("helper", HELPER_START, self._start_helper)
        if self.agent is None or not self.agent.alive:
            self._later("agent", AGENT_START, self._start_agent)

    def _later(self, what: str, delay: tuple[Duration, Duration], start: Start) -> None:
        if what in self._starting:
            return
        self._starting.add(what)

        def go() -> None:
            self._starting.discard(what)
            start()

        self.world.clock.after(self.rng.randint(*delay), go)

    def _start_exabgp(self) -> None:
        c, n = self.world.conditions, self.id
        if self.exabgp is not None or not c.exabgp[n]:
            return
        self.exabgp = Exabgp(
            n,
            self.world.clock,
            self.rng,
            self._from_exabgp,
            lambda router, update: self.world.update(n, router, update),
            lambda router: self.world.reset(n, router),
            lambda: self.world.conditions.temper[n],
        )
        self.exabgp.freeze(c.node_frozen[n])
        self.world.say(n, "ExaBGP starts")
        self._later("helper", HELPER_START, self._start_helper)
        self.world.changed()

    def _start_helper(self) -> None:
        c = self.world.conditions
        if self.helper is not None or self.exabgp is None or not c.helper[self.id]:
            return
        numbers = self.rng.getrandbits(62), self.rng.getrandbits(32)
        core = self.world.speaker_core(*numbers, self.saved, self.local(), self.rng.randbytes)
        self.helper = Helper(core, self.world.clock, self.drift, self.rng, self._from_helper)
        self.helper.frozen = c.node_frozen[self.id]
        self.world.say(self.id, "speaker starts")
        self.helper.feed(sp.Tick())
        self._connect()

    def _start_agent(self) -> None:
        c, n = self.world.conditions, self.id
        if (self.agent is not None and self.agent.alive) or not c.agent[n]:
            return
        self.starts += 1
        entropy = generator(f"{self.world.seed}/entropy{n}/{self.starts}").randbytes
        engine = self.world.agent_core(self.settings, tuple(self.disk.values()), entropy, self.local())
        self.agent = Agent(n, engine, self.world.clock, self.drift, self.rng, self._from_agent, self.world.observer)
        self.world.say(n, "agent starts")
        self.agent.start()
        self.agent.freeze(c.agent_frozen[n])
        self._told_uplink = None
        self._monitors()
        if c.maintenance[n]:
            self._maintenance(True)
        self._connect()

    def local(self) -> int:
        """What the node's clock shows."""
        return self.drift.local(self.world.clock.now)

    # --- between agent, speaker and ExaBGP ------------------------------------------------------------------------

    def _connect(self) -> None:
        agent, helper = self.agent, self.helper
        if agent is None or helper is None or not (agent.alive and helper.alive) or self._wire is not None:
            return
        wire = (agent, helper)
        self._wire = wire

        def connected() -> None:
            if self._wire is wire:
                agent.deliver("speaker", ev.SpeakerUp(), perishable=False)
                helper.feed(sp.AgentUp())

        self.world.clock.after(self.rng.randint(PIPE, RECONNECT), connected)

    def _hang_up(self) -> None:
        wire, self._wire = self._wire, None
        if wire is None:
            return
        agent, helper = wire
        if agent.alive:
            self.world.clock.after(PIPE, lambda: agent.deliver("speaker", ev.SpeakerDown(), perishable=False))
        self.world.clock.after(PIPE, lambda: helper.feed(sp.AgentDown()))

    def _from_agent(self, effect: ev.Effect) -> None:
        match effect:
            case ev.Send():
                self.world.send(self.id, effect)
            case ev.SendEcho():
                self.world.echo(self.id, effect)
            case ev.ToSpeaker(data):
                wire = self._wire
                if wire is not None:
                    line = sp.AgentLine(data.rstrip(b"\n"))
                    self.world.clock.after(PIPE, lambda: wire[1].feed(line))
            case ev.Remember(groups):
                if not self.world.conditions.disk_full[self.id]:
                    self.disk.update({g.srg: g for g in groups})
            case ev.Note() | ev.Answer():
                self.world.say(self.id, told(effect))
            case ev.Exit():
                self.world.forgotten()
                self.world.say(self.id, "agent is gone")
                self._hang_up()
                self.world.clock.after(PIPE, self.review)
            case _:
                pass

    def _from_helper(self, effect: sp.SpeakerEffect) -> None:
        match effect:
            case sp.ToExabgp(data):
                if self.exabgp is not None:
                    self.exabgp.write(data)
            case sp.ToAgent(data):
                wire = self._wire
                if wire is not None:
                    line = ev.SpeakerLine(data.rstrip(b"\n"))
                    self.world.clock.after(PIPE, lambda: self._to_agent(wire, line))
            case sp.Save(data):
                self.saved = data
            case sp.Log(text):
                self.world.say(self.id, f"speaker: {text}")
            case SendBfd() | UseBfd() | UseFrr():
                pass  # no neighbor of this world asks for BFD

    def _to_agent(self, wire: tuple[Agent, Helper], line: ev.SpeakerLine) -> None:
        if wire[0].alive:
            wire[0].deliver("speaker", line, perishable=False)

    def _from_exabgp(self, line: bytes) -> None:
        if self.helper is not None:
            self.helper.feed(sp.ExabgpLine(line))

    # --- operator and monitors ------------------------------------------------------------------------------------

    def _maintenance(self, on: bool) -> None:
        self._requests += 1
        self.request(ev.RequestMaintenance(self._requests, on))

    def _monitors(self) -> None:
        up = self.world.conditions.uplink[self.id]
        if self.agent is not None and self.agent.alive and self._told_uplink != up:
            self._told_uplink = up
            detail = "carrier" if up else "no carrier"
            self.agent.deliver("netlink", ev.InterfaceChanged("eth1", up, detail), perishable=False)
