"""What enters the agent's engine, and what leaves it. Both are closed unions: ``Event`` and ``Effect``.

What comes or goes many times a second is a named tuple, which is made in less than half the time of a frozen dataclass.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple, TypeAlias

from l3ha.base.names import Intent, NodeId, SrgId, Term
from l3ha.base.settings import EchoTarget, Settings
from l3ha.base.time import Duration

# --- events: the world speaks -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Tick:
    """A deadline may be due. The shell has drained every socket before it says so."""


class Datagram(NamedTuple):
    """A UDP datagram came in on the socket of an ICL path."""

    path: str
    source: str
    ttl: int | None
    data: bytes


class EchoAnswer(NamedTuple):
    """An ICMP message (without IP header) came in on the socket of an echo target."""

    target: EchoTarget
    data: bytes
    age: Duration = 0
    """How long it has lain in the socket; never negative."""


@dataclass(frozen=True, slots=True)
class EchoFailed:
    """An echo request could not be sent at all; that is not the same as silence."""

    target: EchoTarget
    error: str


@dataclass(frozen=True, slots=True)
class SpeakerUp:
    """The speaker has connected."""


@dataclass(frozen=True, slots=True)
class SpeakerLine:
    """One line from the speaker, without its newline."""

    data: bytes


@dataclass(frozen=True, slots=True)
class SpeakerDown:
    """The speaker's connection ended."""


@dataclass(frozen=True, slots=True)
class InterfaceChanged:
    """Netlink tells the state of an interface; also sent once for each watched interface at start."""

    name: str
    up: bool
    detail: str


@dataclass(frozen=True, slots=True)
class RequestFailover:
    """The operator moves a group to the peer."""

    request: int
    srg: SrgId
    to: NodeId | None


@dataclass(frozen=True, slots=True)
class RequestMaintenance:
    """The operator takes the node OFFLINE, or back."""

    request: int
    on: bool


@dataclass(frozen=True, slots=True)
class RequestStop:
    """The process shall end: for good (LEAVING) or for a new start within ``grace`` (RESTARTING)."""

    intent: Intent
    grace: Duration


@dataclass(frozen=True, slots=True)
class ClearStatistics:
    """Counters back to zero."""


@dataclass(frozen=True, slots=True)
class NewSettings:
    """The configuration was read again; the shell has refused what cannot change while running."""

    settings: Settings


Event: TypeAlias = (
    Tick
    | Datagram
    | EchoAnswer
    | EchoFailed
    | SpeakerUp
    | SpeakerLine
    | SpeakerDown
    | InterfaceChanged
    | RequestFailover
    | RequestMaintenance
    | RequestStop
    | ClearStatistics
    | NewSettings
)

# --- effects: the engine asks, in this order ------------------------------------------------------------------------


class Send(NamedTuple):
    """Send a datagram on an ICL path."""

    path: str
    destination: str
    data: bytes


class SendEcho(NamedTuple):
    """Send this complete ICMP echo request payload; the driver builds the ICMP header around it."""

    target: EchoTarget
    identifier: int
    sequence: int
    payload: bytes
    awaited: bool
    """Something may be decided when the answer comes; else it is early enough before the next Tick."""


@dataclass(frozen=True, slots=True)
class ToSpeaker:
    """One line for the speaker, with its newline."""

    data: bytes


_NO_TERM = Term(0)


@dataclass(frozen=True, slots=True)
class Memory:
    """What survives a restart, for one group."""

    srg: SrgId
    term: Term
    """Of the last own activity."""
    seen: Term
    """Highest known from anywhere."""
    known: frozenset[str] = frozenset()
    """Arbiters that have answered the floating address: a process that resumes must not doubt their silence."""
    reserved: Term = _NO_TERM
    """Numbers up to this one may be used before they are ``seen`` on disk: the next process begins beyond it."""


@dataclass(frozen=True, slots=True)
class Remember:
    """Write this to disk and fsync before any later effect of the same step is carried out."""

    groups: tuple[Memory, ...]


@dataclass(frozen=True, slots=True)
class DiscardBacklog:
    """The process slept: read every datagram and echo socket dry and throw away what lay there."""


@dataclass(frozen=True, slots=True)
class SetInterfaces:
    """Bring interfaces (``shutdown_on_failure``) up or down."""

    names: tuple[str, ...]
    up: bool


@dataclass(frozen=True, slots=True)
class SetFailureRoute:
    """Install or remove the kernel route that says "this node has failed"."""

    prefix: str
    present: bool


class NoteKind(StrEnum):
    """The closed list of what the engine ever tells the log and the event history."""

    STARTED = "started"
    TRANSITION = "transition"
    RULE = "rule"
    NODE = "node"
    PEER = "peer"
    PATH = "path"
    NEIGHBOR = "neighbor"
    MONITOR = "monitor"
    SPEAKER = "speaker"
    PROBE = "probe"
    MOVE = "move"
    CONFIG = "config"
    PAUSE = "pause"
    ALARM = "alarm"


@dataclass(frozen=True, slots=True)
class Note:
    """Something an operator may want to know. ``rule`` is a rule's name of the protocol where one fired."""

    kind: NoteKind
    text: str
    srg: SrgId | None = None
    rule: str | None = None
    fields: tuple[tuple[str, str | int | bool], ...] = ()
    alarm: bool = False


@dataclass(frozen=True, slots=True)
class Check:
    """One precondition of a request, as the operator sees it: ✓ or ✗, and the fact behind it."""

    name: str
    ok: bool
    detail: str


@dataclass(frozen=True, slots=True)
class Answer:
    """Whether a request was accepted."""

    request: int
    accepted: bool
    text: str
    checks: tuple[Check, ...]


@dataclass(frozen=True, slots=True)
class Exit:
    """Everything is handed over: the process may end."""


Effect: TypeAlias = (
    Send | SendEcho | ToSpeaker | Remember | DiscardBacklog | SetInterfaces | SetFailureRoute | Note | Answer | Exit
)
