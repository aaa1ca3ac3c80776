"""Heartbeat: what a node says about itself (protocol §3)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import NamedTuple

from l3ha.base.names import Intent, NodeId, NodeState, SrgId, SrgState, Term, Verdict
from l3ha.base.time import Duration


class SrgFacts(NamedTuple):
    """One group in a heartbeat."""

    id: SrgId
    state: SrgState
    confirmed: bool
    term: Term
    """Number of the own claim that stands or stood last; 0 where there never was one."""
    seen: Term
    claim: Term | None
    grant: Term | None
    """Number that this node has promised to ``grant_to``."""
    grant_to: NodeId | None
    grant_left: Duration
    """How long the promise still binds, when this was sent."""
    eligible: bool
    ready: bool
    verified: bool
    """The newly active node's routes are acknowledged everywhere and its probe wins."""
    wants: bool
    """This node asks for the group (preemption)."""
    verdict: Verdict
    winning: bool
    """The verdict is WIN, often enough in a row."""
    priority: int
    routes_digest: bytes
    """4 bytes: this group's routes and floating addresses."""


class Heartbeat(NamedTuple):
    """Everything a node says at once. Sent on every path, with other numbers (``codec.Numbers``)."""

    cluster: str
    node: NodeId
    incarnation: int
    """64-bit random per start of the process."""
    path: str
    sequence: int
    echo: int
    echo_age: Duration
    digest: bytes
    """8 bytes."""
    sections: tuple[tuple[str, bytes], ...]
    software: str
    state: NodeState
    intent: Intent
    grace: Duration
    reach: tuple[str, ...]
    srgs: tuple[SrgFacts, ...]
    known: tuple[tuple[SrgId, str], ...] = ()
    """Arbiters that have answered floating echoes of this node since its start: their silence says something."""


def routes_digest(routes: Iterable[str], floating: Iterable[str]) -> bytes:
    """4 bytes that are equal on two nodes exactly if their group has the same routes and floating addresses."""
    text = " ".join(sorted(routes)) + "|" + " ".join(sorted(floating))
    return hashlib.blake2s(text.encode(), digest_size=4).digest()
