"""What the operator may ask of the groups: to be moved, and to be kept away from this node.

The checks are made at once and answered in words; the move itself is the machines' (``move``).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from l3ha.base.names import SrgState
from l3ha.base.time import Instant
from l3ha.core import picture
from l3ha.core.events import Answer, Check, RequestFailover
from l3ha.core.picture import Parts
from l3ha.core.srg import SrgMachine


def failover(e: Parts, r: RequestFailover, now: Instant) -> Answer:
    """One group to the peer, if every precondition of protocol §6.1 holds."""
    machine = e.srgs.get(r.srg)
    if machine is None:
        return Answer(r.request, False, f"no such SRG is configured: {r.srg}", ())
    if r.to is not None and r.to not in e.peers:
        return Answer(r.request, False, f"node {r.to} is not a peer of this node", ())
    checks = machine.preconditions(picture.facts(e, machine.srg, now), r.to, now)
    refused = _refused(r.request, checks)
    if refused is not None:
        return refused
    machine.request_move(r.to, "operator")
    return Answer(r.request, True, f"Initiated manual failover for Services-redundancy group {r.srg}", checks)


def maintenance(e: Parts, request: int, on: bool, now: Instant) -> Answer:
    """All groups away from this node, and none back until it is over."""
    active = [m for m in e.srgs.values() if m.state is SrgState.ACTIVE]
    checks: tuple[Check, ...] = ()
    if on and e.peers:
        found = [(m.srg, c) for m in active for c in m.preconditions(picture.facts(e, m.srg, now), None, now)]
        checks = tuple(replace(c, name=f"SRG {srg.id}: {c.name}") for srg, c in found)
    refused = _refused(request, checks)
    if refused is not None:
        return refused
    if on:
        away(active, "maintenance")
    e.node.request_maintenance(on, now)
    return Answer(request, True, f"maintenance {'on' if on else 'off'}", checks)


def away(machines: Iterable[SrgMachine], reason: str) -> None:
    """Whatever is active here shall move to the peer."""
    for machine in machines:
        if machine.state is SrgState.ACTIVE:
            machine.request_move(None, reason)


def _refused(request: int, checks: tuple[Check, ...]) -> Answer | None:
    blocking = next((c for c in checks if not c.ok), None)
    if blocking is None:
        return None
    return Answer(request, False, f"refused: {blocking.name}: {blocking.detail}", checks)
