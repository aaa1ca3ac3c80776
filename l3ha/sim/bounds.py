"""The invariants and bounds of protocol §9, by name. The simulator judges by them, and so may the lab.

A bound is the longest time that something forbidden may last, or that something good may need.
"""

from __future__ import annotations

from enum import StrEnum

from l3ha.base.settings import Timers
from l3ha.base.time import MS, SECOND, Duration
from l3ha.core.icl import MAX_GRACE


class Law(StrEnum):
    """Every invariant; the text is what a violation is called."""

    S1 = "S1 two confirmed ACTIVE nodes in contact"
    S2 = "S2 two HIGH routes with the same ballot at one router"
    S3 = "S3 terms do not grow"
    S4 = "S4 a giver of a grant acts for itself"
    S5 = "S5 the wish is not the state, or a router does not hold the wish"
    S6 = "S6 INELIGIBLE and not LOW at once"
    S7 = "S7 a peer fact changed by something that is no fresh, authentic heartbeat"
    S8 = "S8 a transition without a rule"
    S9 = "S9 something before the pause rule"
    S10 = "S10 a planned move left a router without a best route through an active node"
    S11 = "S11 something grows without bound"
    S12 = "S12 same seed, other bytes"
    L1 = "L1 everything is healed and the pair does not settle"
    L2 = "L2 a healed core does not serve"
    L3 = "L3 a cycle under constant faults"
    L4 = "L4 somebody could serve and traffic has nowhere to go"
    L5 = "L5 a transition without a fault"
    FAULT = "the program failed"


PROCESSES_START: Duration = 2 * SECOND
"""Power back, agent, ExaBGP and speaker started, sessions up: the world's own time, before the protocol's begins."""

EXABGP_CURE: Duration = 14 * SECOND
"""After ExaBGP hung, lied or lost answers: the speaker's patience (2 s), its resynchronisation (5 s), twice."""

SESSION_CURE: Duration = 1 * SECOND
"""After a session came up, a helper was replaced, or TCP had to send again."""

QUIET: Duration = 3 * SECOND
"""How long "then no change" is watched."""

STEADY_CHANGES = 3
"""Transitions per node that may still come in ``STEADY`` after everything has had time to settle; more is a cycle."""

STEADY: Duration = 7 * SECOND


def both_confirmed(t: Timers) -> Duration:
    """S1: T_det."""
    return t.detection


def both_active(t: Timers) -> Duration:
    """Two ACTIVE in contact, whatever their rights: the duel is decided by the next heartbeats."""
    return 2 * t.detection


def installed(t: Timers) -> Duration:
    """S5: from wish to router."""
    return t.bgp


def lease_over(t: Timers) -> Duration:
    """S5: HIGH of a dead agent, even one that had announced its restart."""
    return t.lease + MAX_GRACE + t.bgp


def settled(t: Timers) -> Duration:
    """L1: T_boot + T_elect + 6·T_det + T_bgp + T_drain; T_recover where a group was ineligible."""
    return t.boot + t.elect + 6 * t.detection + t.bgp + t.drain + t.recover


def preempted(t: Timers, stable_for: Duration) -> Duration:
    """What a configured preemption adds to L1: the wait, and one planned move."""
    return stable_for + t.grant + t.verify + t.drain + t.settle


def left(t: Timers) -> Duration:
    """A clean stop: the planned move, and the withdrawal."""
    return t.grant + t.drain + t.verify + t.bgp


def core_settled(t: Timers, hold: Duration) -> Duration:
    """L2: L1 + BGP hold."""
    return settled(t) + hold


def at_rest(t: Timers, outside: Duration) -> Duration:
    """The longest silence after which something may still happen by itself; ``outside``: timers that are not ours."""
    return max(t.boot, t.recover + t.elect, t.lease, outside) + 2 * t.settle + t.detection


MAX_ELEMENTS = 6_000
"""S11: things held by one engine or speaker, all containers together: 1 024 ephemerals, 256 times per path, the rest
small."""

MAX_COMMANDS = 40
"""S11: lines that wait at ExaBGP: one command outstanding, and a ping every 5 s while it hangs (no run lasts 200 s)."""

SLACK: Duration = 20 * MS
"""Scheduling, wire and pipe: what a bound in whole timers does not count."""
