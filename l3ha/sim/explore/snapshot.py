"""What the explored world remembers of a node after a tick: small numbers, relative to the tick and to ``seen``.

Whatever two states cannot be told apart by is cut off, so that the search sees few.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple, TypeAlias

from l3ha.base.names import Level, NodeState, SrgState, Verdict
from l3ha.sim.explore import machine as srgs
from l3ha.sim.explore.shape import PATHS

NEVER = 99
"""An age beyond everything that is compared."""

NOT_UP = -1

OLD = -8
"""A heard term so far behind the greatest number that no living promise can name it."""


class Mode(IntEnum):
    """What runs of a node."""

    RUN = 0
    FROZEN = 1
    """Nothing moves."""
    HUNG = 2
    """The agent does not move, the speaker does."""
    NO_AGENT = 3
    OFF = 4
    START = 5
    """The agent starts in the next tick."""


SPEAKS = frozenset({Mode.RUN, Mode.HUNG, Mode.NO_AGENT, Mode.START})
"""Modes in which the speaker runs."""


ProbeState: TypeAlias = tuple[Verdict, int, int, frozenset[str], frozenset[str]]
"""Verdict, count, ticks of quiet left, routers that answered the floating address here, and those by other's word."""


class Words(NamedTuple):
    """The decisive part of a heartbeat; numbers relative to the sender's (stored: the receiver's) ``seen``."""

    state: SrgState
    confirmed: bool
    term: int
    seen: int
    claim: int | None
    grant: int | None
    grant_left: int
    eligible: bool
    ready: bool
    verified: bool
    winning: bool
    informed: bool
    reach: int
    known: frozenset[str]
    """Routers that have answered the sender's floating echoes."""


class Ear(NamedTuple):
    """One path as this node hears it."""

    newest: int
    """Since when the newest datagram heard here is under way; what our next heartbeat echoes."""
    left: int
    """Ticks until the path falls; NOT_UP."""
    fell: int


SILENT_EARS = (Ear(NEVER, NOT_UP, NEVER),) * PATHS


class Node(NamedTuple):
    """A node after a tick."""

    mode: Mode
    slept: int
    srg: srgs.Fields | None
    """None: no process; ``disk`` has what it will remember."""
    disk: int
    probe: ProbeState
    group: tuple[NodeState, bool, int | None, bool, int]
    ears: tuple[Ear, ...]
    beat: Words | None
    beat_age: int
    contact: int
    """Age of contact; NOT_UP."""
    heard: int
    ever: bool
    witnesses: int
    acked: int | None
    advert: tuple[int, int]
    lease: int
    said: Words | None


class Heard(NamedTuple):
    """What reaches a node in one tick."""

    words: Words | None
    offset: int
    """The sender's ``seen`` less ours."""
    echoes: tuple[int, ...]
    """Per path: age of what the datagram echoes; NEVER: it echoes nothing of ours; NOT_UP: no datagram."""
    own: int
    """Routers that answered our own address; ``floating``: the floating one."""
    floating: int
    sessions: int
    monitor: bool
    move: bool


NOBODY: frozenset[str] = frozenset()
NO_PROBE: ProbeState = (Verdict.UNKNOWN, 0, 0, NOBODY, NOBODY)
NO_GROUP = (NodeState.HOLD, False, 0, False, 0)
LOW = (int(Level.LOW), 0)


def dead(disk: int, mode: Mode, said: Words | None = None) -> Node:
    """A node without an agent."""
    return Node(
        mode, 0, None, max(-1, disk), NO_PROBE, NO_GROUP, SILENT_EARS, None, 0, NOT_UP, 0, False, 0, None, LOW, 0, said
    )


def stop(n: Node, mode: Mode, lease: int) -> Node:
    """What a fault leaves of a running node; the words it has just said are still under way."""
    if mode in (Mode.FROZEN, Mode.HUNG):
        return n._replace(mode=mode, slept=0, lease=lease)
    gone = dead(n.disk, mode, n.said)._replace(ears=n.ears)
    return gone if mode is Mode.OFF else gone._replace(advert=n.advert, lease=lease, probe=_remembered(n))


def _remembered(n: Node) -> ProbeState:
    """The arbiters known to the disk, where a new process may look at them: it resumes an ACTIVE node's work only."""
    return (Verdict.UNKNOWN, 0, 0, NOBODY, n.probe[3] | n.probe[4]) if n.advert[0] == Level.HIGH else NO_PROBE


def forget(n: Node) -> Node:
    """The peer has restarted: nothing of its old incarnation is echoed any more."""
    return n._replace(ears=tuple(e._replace(newest=NEVER) for e in n.ears))


def older(age: int, cap: int) -> int:
    """An age one tick later; at the cap it is beyond everything that is compared."""
    return age + 1 if age + 1 < cap else NEVER


def shift(w: Words, by: int) -> Words:
    """The sender's numbers as ours."""
    if not by:
        return w
    claim = None if w.claim is None else w.claim + by
    grant = None if w.grant is None else w.grant + by
    return w._replace(term=w.term + by, seen=w.seen + by, claim=claim, grant=grant)


def stored(w: Words, delta: int, *, contact: bool) -> Words:
    """What can still be decided on in an old heartbeat, relative to the new ``seen``."""
    w = shift(w, -delta)
    term = max(OLD, w.term) if w.state is SrgState.ACTIVE else -1
    if not contact:
        return Words(w.state, False, term, 0, None, None, 0, False, False, w.verified, False, False, 0, NOBODY)
    return w._replace(term=term, seen=0, known=NOBODY, claim=None if w.claim is None or w.claim <= 0 else w.claim)
