"""Faults as data: what may go wrong, when, where. The world's condition is a function of the faults that are active."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from l3ha.base.time import MS, Duration


class Kind(StrEnum):
    """Every fault of the simulator. ``node``, ``place`` (a path or a router) and ``value`` say where and how much."""

    CRASH = "crash"
    """The node loses power; back at the end. value 1: its disk is lost."""
    FREEZE = "freeze"
    """SIGSTOP of the agent."""
    FREEZE_NODE = "freeze-node"
    """The whole machine stands still: agent, speaker and ExaBGP."""
    KILL_AGENT = "kill-agent"
    """kill -9 of the agent after ``value`` more effects; started again at the end."""
    KILL_HELPER = "kill-helper"
    """The speaker dies alone; ExaBGP starts another one at the end."""
    KILL_EXABGP = "kill-exabgp"
    """ExaBGP dies with its speaker; comes back empty at the end."""
    EXABGP_SLOW = "exabgp-slow"
    EXABGP_ERRORS = "exabgp-errors"
    EXABGP_MUTE = "exabgp-mute"
    """Acknowledgements get lost."""
    EXABGP_HANG = "exabgp-hang"
    DISK_FULL = "disk-full"
    MONITOR = "monitor"
    """The watched interface is down."""
    STOP = "stop"
    """The operator stops the agent for good (it hands over); started again at the end."""
    RESTART = "restart"
    """The operator restarts the agent (it says so); back at the end."""
    FAILOVER = "failover"
    MAINTENANCE = "maintenance"
    CUT = "cut"
    """A path carries nothing. value: 0 both directions, else the node whose words are lost."""
    NOISE = "noise"
    """A path loses, doubles, reorders, delays, damages. value: row of ``NOISES``."""
    FILTER = "filter"
    """A filter eats all heartbeats on all paths. value as for CUT."""
    LINK_DOWN = "link-down"
    """No carrier between node and router: both notice at once."""
    BLACKHOLE = "blackhole"
    """The link loses everything silently. value: 0 both ways, 1 from the node, 2 to the node."""
    ROUTER_DOWN = "router-down"
    ACL = "acl"
    """The router drops the floating source."""
    ECMP = "ecmp"
    """The router answers a floating echo to whoever asked."""
    LIE = "lie"
    """The router answers floating echoes to node ``value``, whatever it prefers."""
    ECHO_LOSS = "echo-loss"
    """``value`` percent of the echoes at a router are lost."""


POINTS = frozenset({Kind.FAILOVER})
"""Kinds without duration."""

CHANCE = frozenset({Kind.NOISE, Kind.ECHO_LOSS, Kind.EXABGP_ERRORS, Kind.EXABGP_MUTE, Kind.EXABGP_SLOW})
"""Kinds that throw dice for ever: they have no fixpoint, so they never last into a judged ending."""


@dataclass(frozen=True, slots=True)
class Noise:
    """Quality of one direction of a path; chances in per mille, times in ns."""

    loss: int = 0
    double: int = 0
    reorder: int = 0
    damage: int = 0
    delay: Duration = 1 * MS
    jitter: Duration = 1 * MS


NOISES = (
    Noise(loss=50),
    Noise(loss=300),
    Noise(loss=700),
    Noise(double=500, reorder=300),
    Noise(damage=300),
    Noise(delay=120 * MS, jitter=60 * MS),
    Noise(delay=450 * MS, jitter=100 * MS),
    Noise(delay=1_500 * MS, jitter=900 * MS, reorder=300),
    Noise(loss=200, double=200, reorder=200, damage=100, delay=50 * MS, jitter=100 * MS),
)


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault; times count from the beginning of the fault phase. ``until`` None: it lasts until it is healed."""

    at: Duration
    until: Duration | None
    kind: Kind
    node: int = 0
    place: str = ""
    value: int = 0

    def __str__(self) -> str:
        what = [str(self.kind)]
        if self.node:
            what.append(f"n{self.node}")
        if self.place:
            what.append(self.place)
        if self.value:
            what.append(f"({self.value})")
        return " ".join(what)

    def to_json(self) -> dict[str, Any]:
        """Plain values, times in ms."""
        until = None if self.until is None else self.until // MS
        return asdict(self) | {"at": self.at // MS, "until": until, "kind": str(self.kind)}

    @staticmethod
    def from_json(raw: dict[str, Any]) -> Fault:
        """Inverse of ``to_json``."""
        until = None if raw["until"] is None else raw["until"] * MS
        kind = Kind(raw["kind"])
        return Fault(raw["at"] * MS, until, kind, raw.get("node", 0), raw.get("place", ""), raw.get("value", 0))
