"""What the speaker's machine is told, and what it wants done. Its shell carries effects out in their order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from l3ha.core.bfd import BfdChanged, SendBfd
from l3ha.core.bfd_frr import FrrAnswer, FrrSilent, UseFrr
from l3ha.core.bfd_sessions import BfdTrouble, UseBfd


@dataclass(frozen=True, slots=True)
class ExabgpLine:
    """ExaBGP wrote a line."""

    data: bytes


@dataclass(frozen=True, slots=True)
class AgentUp:
    """The agent is connected."""


@dataclass(frozen=True, slots=True)
class AgentLine:
    """The agent wrote a line."""

    data: bytes


@dataclass(frozen=True, slots=True)
class AgentDown:
    """The agent is gone; the lease decides what follows."""


@dataclass(frozen=True, slots=True)
class ExabgpGone:
    """ExaBGP closed our pipe."""


@dataclass(frozen=True, slots=True)
class Tick:
    """A deadline may be due. The shell has read every descriptor dry before it says so."""


SpeakerEvent: TypeAlias = (
    ExabgpLine | AgentUp | AgentLine | AgentDown | ExabgpGone | Tick | BfdChanged | BfdTrouble | FrrAnswer | FrrSilent
)


@dataclass(frozen=True, slots=True)
class ToExabgp:
    """Write this to ExaBGP."""

    data: bytes


@dataclass(frozen=True, slots=True)
class ToAgent:
    """Write this to the agent."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Save:
    """Keep the wish for a successor of this process."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Log:
    """Tell the operator."""

    text: str


SpeakerEffect: TypeAlias = ToExabgp | ToAgent | Save | Log | SendBfd | UseBfd | UseFrr
