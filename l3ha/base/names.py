"""Names of the field: node and group numbers, states, preference levels."""

from __future__ import annotations

from enum import Enum, IntEnum, StrEnum
from typing import NewType

NodeId = NewType("NodeId", int)
SrgId = NewType("SrgId", int)
Term = NewType("Term", int)


class SrgState(StrEnum):
    """State of one services redundancy group on one node (docs: protocol, states)."""

    HOLD = "HOLD"
    ACTIVE = "ACTIVE"
    BACKUP = "BACKUP"
    INELIGIBLE = "INELIGIBLE"


class NodeState(StrEnum):
    """State of SRG 0, that is of the node."""

    HOLD = "HOLD"
    ONLINE = "ONLINE"
    ISOLATED = "ISOLATED"
    OFFLINE = "OFFLINE"


class Level(IntEnum):
    """Preference that routers see; greater is preferred."""

    LOW = 0
    MEDIUM = 1
    HIGH = 2


class Verdict(StrEnum):
    """What the activeness probe says (protocol §2)."""

    WIN = "WIN"
    PART = "PART"
    LOSE = "LOSE"
    UNKNOWN = "UNKNOWN"


class Intent(Enum):
    """What a node says about its near future in every heartbeat."""

    RUNNING = 0
    RESTARTING = 1
    LEAVING = 2


class LeaseEnd(StrEnum):
    """What the speaker does with the routes when the agent's lease runs out."""

    LOWER = "lower"
    WITHDRAW = "withdraw"
    KEEP = "keep"
