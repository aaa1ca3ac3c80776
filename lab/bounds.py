"""The bounds of protocol §9 (``l3ha.sim.bounds``) at the timers of the lab's own file, in the lab's units.

What a real machine adds (processes, FRR's and BIRD's own retries) stands here too, by name.
"""

from __future__ import annotations

import tomllib

from l3ha.base.time import MS, SECOND, Duration
from l3ha.config.build import timers
from l3ha.config.model import Icl, Timing
from l3ha.sim import bounds
from lab.topology import REPOSITORY

_FILE = tomllib.loads((REPOSITORY / "lab" / "nodes" / "l3ha.toml").read_text())

TIMERS = timers(Icl(**_FILE["icl"]), Timing(**_FILE.get("timers", {})))
"""Of the nodes' file, which is complete (keys) only in a running lab."""


def seconds(duration: Duration) -> float:
    """For deadlines of the lab."""
    return duration / SECOND


ROUTERS_S = 10.0
"""FRR or BIRD, started again: daemons, configuration, and their own waits before they take a session."""

SETTLED_S = seconds(bounds.settled(TIMERS) + bounds.PROCESSES_START) + ROUTERS_S
"""L1: from whatever was done to it to a healthy pair."""

MOVED_S = seconds(bounds.left(TIMERS))
"""A planned move, to its end."""

LEASE_OVER_S = seconds(TIMERS.lease + TIMERS.detection + TIMERS.bgp)
"""An agent that died without a word: taken over, its lease over, and its old routes lowered at every router."""

FROZEN_S = seconds(10 * TIMERS.detection)
"""How long what is frozen stays so."""

SPEAKER_S = seconds(bounds.EXABGP_CURE)
"""A real ExaBGP, whatever was done to it, holds the wish again."""

INSTALLED_S = seconds(bounds.installed(TIMERS))
"""From the speaker's command to the router's table."""

TAKEOVER_MS = TIMERS.detection / MS + 300
"""Hole in the traffic when a node falls silent: T_det and what routers really need, less than ``bounds.installed``."""
