"""The little world that is explored: two nodes, two routers, time in heartbeat ticks.

One tick is T_h = T_p = 1, so durations in the settings below are ticks, not nanoseconds: the machines only add and
compare them. The names of the faults are the alphabet of every trace.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntFlag

from l3ha.base.names import NodeId, SrgId
from l3ha.base.settings import Arbiter, EchoTarget, Srg, Timers

ROUTERS = ("r1", "r2")
PATHS = 3
"""The dedicated link, and a witness path through each router."""

REACH = (frozenset[str](), frozenset({"r1"}), frozenset({"r2"}), frozenset({"r1", "r2"}))
"""Router names by bit mask."""

IDS = (NodeId(1), NodeId(2))


@dataclass(frozen=True, slots=True)
class Shape:
    """Timers in ticks, and what breaks ties."""

    detection: int = 3
    settle: int = 3
    elect: int = 4
    boot: int = 4
    noactive: int = 2
    recover: int = 2
    drain: int = 2
    verify: int = 4
    lease: int = 4
    bgp_delay: int = 1
    hold: int = 10
    reconnect: int = 2
    up: int = 2
    down: int = 3
    priorities: tuple[int, int] = (200, 100)
    ties: tuple[int, int] = (0, 1)
    """Which node each router prefers among equal LOW or MEDIUM routes."""
    blind_after: int | None = None

    @property
    def timers(self) -> Timers:
        """The protocol's clock, in ticks."""
        return Timers(
            heartbeat=1,
            multiplier=self.detection,
            settle=self.settle,
            elect=self.elect,
            boot=self.boot,
            noactive=self.noactive,
            recover=self.recover,
            drain=self.drain,
            verify=self.verify,
            lease=self.lease,
            bgp=self.bgp_delay + 1,
        )

    def srg(self, node: int) -> Srg:
        """The group's settings on one node (0 or 1)."""
        arbiters = tuple(
            Arbiter(r, EchoTarget(f"own{node}", r, 1), EchoTarget(f"floating{node}", r, 1)) for r in ROUTERS
        )
        return Srg(
            id=SrgId(1),
            description="",
            priorities=dict(zip(IDS, self.priorities, strict=True)),
            preempt=None,
            floating=(),
            routes=(),
            arbiters=arbiters,
            probe_interval=1,
            up=self.up,
            down=self.down,
            monitors=(),
            threshold=1,
            blind_after=self.blind_after,
        )

    @property
    def recovery(self) -> int:
        """L1: T_boot + T_elect + 6·T_det + T_bgp + T_drain, and the reconnection of BGP."""
        return self.boot + self.elect + 6 * self.detection + self.bgp_delay + 1 + self.drain + self.reconnect


class Fault(IntFlag):
    """Everything that can be wrong; a state carries the set of what is wrong now. MOVE_* are moments, not states."""

    CUT_AB = 1
    """All heartbeats from A to B are lost, on every path; the other direction lives."""
    CUT_BA = 1 << 1
    FILTER = 1 << 2
    """All heartbeats are lost, both ways, on every path."""
    ICL = 1 << 3
    """The dedicated link is cut; the witness paths live."""
    LINK_A1 = 1 << 4
    LINK_A2 = 1 << 5
    LINK_B1 = 1 << 6
    LINK_B2 = 1 << 7
    ROUTER_1 = 1 << 8
    ROUTER_2 = 1 << 9
    CRASH_A = 1 << 10
    CRASH_B = 1 << 11
    FREEZE_A = 1 << 12
    """The whole node stands still (a paused virtual machine); thawed it goes on where it was."""
    FREEZE_B = 1 << 13
    AGENT_A = 1 << 14
    """The agent process is gone, the speaker holds its lease; healed it starts anew with its disk."""
    AGENT_B = 1 << 15
    HANG_A = 1 << 16
    """The agent process stands still, the speaker lives."""
    HANG_B = 1 << 17
    MONITOR_A = 1 << 18
    MONITOR_B = 1 << 19
    LIE_1 = 1 << 20
    """The router answers floating echoes of both nodes."""
    LIE_2 = 1 << 21
    SILENT_1 = 1 << 22
    """The router answers no echo at all, but routes."""
    SILENT_2 = 1 << 23
    MOVE_A = 1 << 24
    """The operator asks A for a planned move, once."""
    MOVE_B = 1 << 25


NODE_FAULTS = (
    int(Fault.CRASH_A | Fault.FREEZE_A | Fault.AGENT_A | Fault.HANG_A),
    int(Fault.CRASH_B | Fault.FREEZE_B | Fault.AGENT_B | Fault.HANG_B),
)
MOVES = int(Fault.MOVE_A | Fault.MOVE_B)
LASTING = ~MOVES
"""Everything that can heal. Sets of faults are plain integers wherever they are touched a million times."""

ALL = tuple(Fault)
_BITS = tuple((f, int(f)) for f in ALL)


def members(faults: int) -> list[Fault]:
    """The single faults of a set."""
    return [f for f, bit in _BITS if faults & bit]


def describe(faults: int) -> str:
    """A set of faults for people."""
    return " ".join(str(f.name) for f in members(faults)) or "none"
