"""The samples of the node, without a decision: ask what is due, judge what came, say whether it needs thought.

In contact nearly every sample only goes on as those before it, which costs a small part of a decision.
"""

from __future__ import annotations

from collections.abc import Callable

from l3ha.base.names import SrgState
from l3ha.base.time import NEVER, Instant
from l3ha.core import echoes
from l3ha.core.events import Effect, Note
from l3ha.core.picture import Parts


def due(e: Parts) -> Instant:
    """When the next echo goes out or the next verdict is given."""
    return min([x.next for x in e.echoes.values()] + [p.next for p in e.probes.values()], default=NEVER)


def sample(e: Parts, now: Instant, entropy: Callable[[int], bytes]) -> tuple[list[Effect], bool]:
    """What follows from the samples that are due, and whether a decision may depend on it."""
    contact = bool(e.peers) and all(p.contact for p in e.peers.values())
    asked = echoes.tick(e.echoes, e.watches, now, entropy, awaited=verifying(e), spare=contact and _settled(e))
    effects: list[Effect] = list(asked)
    for srg, probe in e.probes.items():
        probe.sample(now, e.echoes, active=e.srgs[srg].state is SrgState.ACTIVE)
    told = any(isinstance(effect, Note) for effect in effects)
    before, e.sampled = e.sampled, _decisive(e)
    return effects, told or not contact or before != e.sampled


def verifying(e: Parts) -> bool:
    """A takeover waits for its proof: the answers to what was asked since."""
    return any(m.state is SrgState.ACTIVE and not m.verified for m in e.srgs.values())


def _settled(e: Parts) -> bool:
    """Every group is here, and proved to be. Then, in contact, the own address only controls a silence of the floating
    one, and is asked as soon as there is one."""
    return all(m.state is SrgState.ACTIVE and m.verified for m in e.srgs.values())


def _decisive(e: Parts) -> list[object]:
    """What a decision in contact may depend on."""
    closed: list[object] = [x.closed for x in e.echoes.values()]
    return closed + [probe.decisive(e.srgs[srg]) for srg, probe in e.probes.items()]
