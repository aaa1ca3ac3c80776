"""Bounds between timers (protocol §9). Each says what is and what must be, in figures.

T_grant = 2·T_det >= T_det + T_h + one-way delay holds for every delay up to the slack, and the slack has its own floor.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from l3ha.base.settings import Timers
from l3ha.base.time import MS, SECOND, Duration
from l3ha.base.time import format_duration as d

SLACK_ALWAYS: Duration = 80 * MS
"""Least (multiplier - 1) x interval with real-time scheduling: the worst lateness measured under load is 36 ms."""

SLACK_SAFE: Duration = 400 * MS
"""The same without: a loaded machine delayed an ordinary process by 120 ms, a stolen virtual CPU by more."""

BGP_RECONNECT: Duration = 3 * SECOND
"""A session is back in 0.2 s as a rule; the first one over IPv6 took up to 3 s."""

PREFIXES_PER_SECOND = 3000
"""What ExaBGP 5 sends in bulk, over all neighbors together: measured 2 700 to 4 200 on an idle machine, a tenth of a
millisecond of its own work for each prefix at each neighbor. 4.2 sends four times as many."""

BFD_SLACK: Duration = 200 * MS
"""Least slack of a BFD session without real-time scheduling; a false alarm costs a BGP session, no takeover."""

POLL_FASTEST: Duration = 20 * MS
POLL_SLOWEST: Duration = 10 * SECOND
"""Of questions to FRR's bfdd. An answer of five sessions costs it and us 0.3 ms."""

BFD_FASTEST: Duration = 10 * MS
BFD_SLOWEST: Duration = 10 * SECOND
"""Interval of BFD: below, the timers of an ordinary machine are too coarse; beyond, BGP's own hold time is faster."""


class Broken(NamedTuple):
    """A bound that does not hold: the key to blame and the text."""

    section: str
    key: str
    text: str


def cluster(t: Timers, *, unsafe: bool) -> Iterator[Broken]:
    """Bounds of ``[icl]`` and ``[timers]``."""
    slack = (t.multiplier - 1) * t.heartbeat
    what = f"slack (multiplier - 1) x interval = {t.multiplier - 1} x {d(t.heartbeat)} = {d(slack)}"
    if slack < SLACK_ALWAYS:
        yield Broken(
            "icl", "interval", f"{what}, must be at least {d(SLACK_ALWAYS)}: less mistakes a busy CPU for a dead peer"
        )
    elif slack < SLACK_SAFE and not unsafe:
        safe = f"must be at least {d(SLACK_SAFE)} unless allow_unsafe_timers = true and real-time scheduling is granted"
        yield Broken("icl", "interval", f"{what}, {safe}")
    if t.lease <= t.detection:
        text = f"T_lease = {d(t.lease)}, must be more than T_det = {t.multiplier} x {d(t.heartbeat)} = {d(t.detection)}"
        yield Broken("timers", "lease", f"{text}: a dead agent's routes are lowered after its peer has taken over")
    if t.drain < t.bgp:
        text = f"T_drain = {d(t.drain)}, must be at least T_bgp = {d(t.bgp)}"
        yield Broken("timers", "drain", f"{text}: the old routes cover the move until every router has the new ones")


def probe(t: Timers, interval: Duration, up: int, down: int) -> Iterator[Broken]:
    """Bounds between the timers and one group's probe."""
    quiet = t.settle + down * interval
    if quiet < t.bgp:
        text = f"T_settle + down x interval = {d(t.settle)} + {down} x {d(interval)} = {d(quiet)}"
        yield Broken(
            "timers",
            "settle",
            f"{text}, must be at least T_bgp = {d(t.bgp)}: else a node gives up before routers have heard it",
        )
    needed = BGP_RECONNECT + up * interval
    if t.boot < needed:
        text = f"T_boot = {d(t.boot)}, must be at least BGP reconnect + up x interval"
        yield Broken("timers", "boot", f"{text} = {d(BGP_RECONNECT)} + {up} x {d(interval)} = {d(needed)}")


def poll(interval: Duration) -> Iterator[str]:
    """Bounds of how often FRR's bfdd is asked."""
    if not POLL_FASTEST <= interval <= POLL_SLOWEST:
        yield f"is {d(interval)}, must be {d(POLL_FASTEST)} to {d(POLL_SLOWEST)}"


def telling(prefixes: int) -> Duration:
    """How long ExaBGP needs for so many prefixes, every neighbor's counted."""
    return prefixes * SECOND // PREFIXES_PER_SECOND


def bfd(interval: Duration, multiplier: int) -> Iterator[str]:
    """Bounds of the interval of a BFD session."""
    if not BFD_FASTEST <= interval <= BFD_SLOWEST:
        yield f"is {d(interval)}, must be {d(BFD_FASTEST)} to {d(BFD_SLOWEST)}"
    elif (slack := (multiplier - 1) * interval) < SLACK_ALWAYS:
        what = f"slack (multiplier - 1) x interval = {multiplier - 1} x {d(interval)} = {d(slack)}"
        yield f"{what}, must be at least {d(SLACK_ALWAYS)}: less mistakes a busy CPU for a dead router"
