"""A case: seed, stage, schedule of faults, and what is healed at the end. Data, so that it can be kept."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from random import Random
from typing import Any

from l3ha.base.names import LeaseEnd
from l3ha.base.settings import Profile
from l3ha.base.time import MS, SECOND, Duration
from l3ha.sim.clock import generator
from l3ha.sim.faults import CHANCE, NOISES, POINTS, Fault, Kind
from l3ha.sim.setting import NODES, ROUTERS, Variant, variant

PHASE: tuple[Duration, Duration] = (2 * SECOND, 8 * SECOND)
"""Length of the fault phase."""

MAX_LOST_DISKS = 1
"""The stride of 1000 terms bridges one lost disk, not a second one before the pair has met again (protocol §2)."""

_PATHS = ("icl", *ROUTERS)
_NODE_KINDS = frozenset(
    {
        Kind.CRASH, Kind.FREEZE, Kind.FREEZE_NODE, Kind.KILL_AGENT, Kind.KILL_HELPER, Kind.KILL_EXABGP,
        Kind.EXABGP_SLOW, Kind.EXABGP_ERRORS, Kind.EXABGP_MUTE, Kind.EXABGP_HANG, Kind.DISK_FULL, Kind.MONITOR,
        Kind.STOP, Kind.RESTART, Kind.FAILOVER, Kind.MAINTENANCE,
    }
)  # fmt: skip
_LINK_KINDS = frozenset({Kind.LINK_DOWN, Kind.BLACKHOLE})
_PATH_KINDS = frozenset({Kind.CUT, Kind.NOISE})
_ROUTER_KINDS = frozenset({Kind.ROUTER_DOWN, Kind.ACL, Kind.ECMP, Kind.LIE, Kind.ECHO_LOSS})
PLANNED = frozenset({Kind.FAILOVER})


class Ending(StrEnum):
    """What happens when the fault phase is over."""

    HEAL_ALL = "heal-all"
    HEAL_CORE = "heal-core"
    """One node, its links and one router are healed; everything else stays as it is."""
    STEADY = "steady"
    """Everything stays as it is."""


@dataclass(frozen=True, slots=True)
class Case:
    """See the module."""

    seed: int
    variant: Variant
    faults: tuple[Fault, ...]
    phase: Duration
    ending: Ending
    core: tuple[int, str] = (1, "r1")
    early: bool = False
    """Faults begin with the power, not after the pair has settled."""

    def with_faults(self, faults: tuple[Fault, ...]) -> Case:
        """The same case with another schedule."""
        return replace(self, faults=faults)

    def to_json(self) -> str:
        """One readable document."""
        raw = {
            "seed": self.seed,
            "ending": str(self.ending),
            "core": list(self.core),
            "early": self.early,
            "phase": self.phase // MS,
            "variant": asdict(self.variant),
            "faults": [f.to_json() for f in self.faults],
        }
        return json.dumps(raw, indent=1, default=str) + "\n"

    @staticmethod
    def from_json(text: str) -> Case:
        """Inverse of ``to_json``. ``ValueError``, ``KeyError`` or ``TypeError`` for anything else."""
        raw: dict[str, Any] = json.loads(text)
        v = raw["variant"]
        for key in ("priorities", "bgp_delay", "drift"):
            v[key] = tuple(v[key])
        v["lease_end"], v["profile"] = LeaseEnd(v["lease_end"]), Profile(v["profile"])
        node, router = raw["core"]
        return Case(
            seed=raw["seed"],
            variant=Variant(**v),
            faults=tuple(Fault.from_json(f) for f in raw["faults"]),
            phase=raw["phase"] * MS,
            ending=Ending(raw["ending"]),
            core=(node, router),
            early=raw["early"],
        )


def case(seed: int, nodes: int = 2) -> Case:
    """The case of a seed: a swarm, that is a few kinds of faults only, often."""
    drawn = _draw(seed)
    return drawn if nodes == 2 else alone(drawn)


def alone(c: Case) -> Case:
    """The same case for a node without a peer: what happens to its routers, its links and to either node happens to it.

    Disks are not lost: nobody else remembers a lone node's numbers, and there is nobody whom they fence.
    """
    own = [replace(f, node=min(f.node, 1)) for f in c.faults if f.kind not in _PATH_KINDS | {Kind.FILTER}]
    faults = tuple(replace(f, value=0) if f.kind is Kind.CRASH else f for f in own)
    return replace(c, variant=replace(c.variant, nodes=1), faults=faults, core=(1, c.core[1]))


_Scene = tuple[list[Fault], Ending, Duration]
"""Faults, ending, and how long the fault phase lasts at least."""


def _unheard(rng: Random, c: Case, at: Duration) -> _Scene:
    """Both live and never hear each other again: a second silent takeover would be the first of many (*heir*)."""
    whole = Fault(at, None, Kind.FILTER, value=rng.choice((0, 0, 0, 0, 1, 2)))
    return [*c.faults[: rng.choice((0, 0, 1))], whole], Ending.STEADY, 0


def _cut_off(rng: Random, c: Case, at: Duration) -> _Scene:
    """A node that nobody reaches must know it (ISOLATED)."""
    node, kind = rng.choice(NODES), rng.choice((Kind.LINK_DOWN, Kind.BLACKHOLE))
    faults = [Fault(at, None, kind, node, r) for r in ROUTERS] + [Fault(at, None, Kind.CUT, place="icl")]
    if rng.random() < 0.5:  # the other one too, once it has taken over
        faults += [Fault(at + 3 * SECOND, None, kind, 3 - node, r) for r in ROUTERS]
    return [*c.faults[: rng.choice((0, 1))], *faults], Ending.STEADY, at + 5 * SECOND


def _moves(rng: Random, _: Case, at: Duration) -> _Scene:
    """Nothing but planned moves: only then every router must have a way at every instant (S10)."""
    times = [at + n * rng.randint(300, 3000) * MS for n in range(rng.choice((1, 2, 3)))]
    return [Fault(t, None, Kind.FAILOVER, n) for t in times for n in NODES], Ending.HEAL_ALL, times[-1] + 2 * SECOND


def _blind(rng: Random, c: Case, at: Duration) -> _Scene:
    """Nobody is heard, no router answers, and both nodes fail and recover: two BACKUPs meet again (*succeed*)."""
    silent = [Fault(at, None, Kind.FILTER), *(Fault(at, None, Kind.ACL, place=r) for r in ROUTERS)]
    kind = rng.choice((Kind.MONITOR, Kind.MONITOR, Kind.KILL_EXABGP))
    lost = [Fault(at + SECOND + n * 50 * MS, at + rng.randint(1500, 3000) * MS, kind, n) for n in NODES]
    return [*silent, *lost], Ending.HEAL_ALL, at + c.variant.boot + c.variant.recover + 6 * SECOND


def _orphaned(rng: Random, _: Case, at: Duration) -> _Scene:
    """Agents are gone for good, their speakers are not: somebody must lower what they wished (the lease)."""
    first = rng.choice(NODES)
    killed = [Fault(at, None, Kind.KILL_AGENT, first)]
    if rng.random() < 0.5:  # the heir, once it has taken over
        killed.append(Fault(at + 3 * SECOND, None, Kind.KILL_AGENT, 3 - first))
    return killed, Ending.STEADY, at + 5 * SECOND


_SCENES = (_unheard, _unheard, _cut_off, _cut_off, _moves, _blind, _orphaned, _orphaned)
_CYCLE = 20
"""In twenty seeds each scene comes once. What some rules are for needs several lasting faults at the right places,
and chance alone brings those together once in some hundred seeds."""


def _staged(c: Case) -> Case:
    turn = c.seed % _CYCLE
    if turn >= len(_SCENES):
        return c
    rng = generator(f"{c.seed}/scene")  # its own, so that the stage of the seed remains what it is
    at = rng.randrange(0, c.phase // MS) * MS
    faults, ending, phase = _SCENES[turn](rng, c, at)
    faults = sorted(faults, key=lambda f: (f.at, f.kind))
    return replace(c, faults=_limit(faults), ending=ending, phase=max(c.phase, phase), early=False)


def _draw(seed: int) -> Case:
    rng = generator(f"{seed}/case")
    kinds = rng.sample(list(Kind), rng.choice((1, 2, 3, 4, 6)))
    phase = rng.randint(*PHASE) // MS * MS
    count = rng.choice((1, 2, 2, 3, 4, 6, 10))
    faults = sorted((_fault(rng, rng.choice(kinds), phase) for _ in range(count)), key=lambda f: (f.at, f.kind))
    ending = rng.choice((Ending.HEAL_ALL, Ending.HEAL_ALL, Ending.HEAL_CORE, Ending.STEADY))
    core = (rng.choice(NODES), rng.choice(ROUTERS))
    return _staged(Case(seed, variant(seed), _limit(faults), phase, ending, core, early=rng.random() < 0.25))


def _fault(rng: Random, kind: Kind, phase: Duration) -> Fault:
    at = rng.randrange(0, phase // MS) * MS
    until: Duration | None = at + int(20 * 600 ** rng.random()) * MS
    if kind in POINTS or (kind not in CHANCE and rng.random() < 0.25):
        until = None
    node, place, value = 0, "", 0
    if kind in _NODE_KINDS or kind in _LINK_KINDS:
        node = rng.choice(NODES)
    if kind in _LINK_KINDS or kind in _ROUTER_KINDS:
        place = rng.choice(ROUTERS)
    if kind in _PATH_KINDS:
        place = rng.choice(_PATHS)
    match kind:
        case Kind.CRASH:
            value = int(rng.random() < 0.3)
        case Kind.KILL_AGENT:
            value = rng.choice((0, 0, rng.randrange(1, 12)))
        case Kind.CUT | Kind.FILTER | Kind.BLACKHOLE:
            value = rng.choice((0, 0, 1, 2))
        case Kind.NOISE:
            value = rng.randrange(len(NOISES))
        case Kind.LIE:
            value = rng.choice(NODES)
        case Kind.ECHO_LOSS:
            value = rng.choice((10, 30, 60))
        case _:
            pass
    return Fault(at, until, kind, node, place, value)


def _limit(faults: list[Fault]) -> tuple[Fault, ...]:
    lost = 0
    out: list[Fault] = []
    for f in faults:
        kept = f
        if f.kind is Kind.CRASH and f.value:
            lost += 1
            kept = f if lost <= MAX_LOST_DISKS else replace(f, value=0)
        out.append(kept)
    return tuple(out)
