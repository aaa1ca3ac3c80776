"""One case from power-on to verdict, and the hunt: seeds until one fails, then the shortest schedule that does."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from l3ha.base.time import SECOND, Duration
from l3ha.sim import bounds, ending, size
from l3ha.sim.bounds import Law
from l3ha.sim.case import PLANNED, Case, Ending, case
from l3ha.sim.judge import Violation
from l3ha.sim.world import World

Stage = Callable[[World], None]
"""Something done to a world before it runs: a test plants a bug here."""


@dataclass
class Outcome:
    """What became of a case."""

    case: Case
    law: Law | None
    text: str
    verdict: str
    events: int
    simulated: Duration
    lines: list[str]
    rules: dict[str, int] = field(default_factory=dict)

    @property
    def failed(self) -> bool:
        """Whether an invariant did not hold."""
        return self.law is not None


def run(c: Case, *, trace: bool = False, stage: Stage | None = None) -> Outcome:
    """Play one case. Never raises: a program that fails is a violation too."""
    world = World(c.seed, c.variant, trace=trace)
    if stage is not None:
        stage(world)
    law, text, verdict = None, "", ""
    try:
        verdict = _play(c, world)
        size.check(world)
    except Violation as v:
        law, text = v.law, str(v)
    except Exception as error:  # whatever the cores raise is a find
        law, text = Law.FAULT, f"{Law.FAULT}: {type(error).__name__}: {error} (at {world.clock.now / SECOND:.4f} s)"
    world.say(0, f"=== {text or verdict}")
    return Outcome(c, law, text, verdict, world.clock.events, world.clock.now, world.lines or [], world.judge.rules)


def _play(c: Case, world: World) -> str:
    world.boot()
    if not c.early:
        _settle(world, Law.L1, "after power-on", quiet=SECOND)
        world.judge.calm = all(f.kind in PLANNED for f in c.faults)
    world.say(0, "=== faults")
    world.schedule(c.faults)
    world.run(c.phase)
    world.hold()
    if c.ending is Ending.HEAL_ALL:
        world.say(0, "=== everything heals")
        world.heal()
        _settle(world, Law.L1, "after heal-all")
        return "one ACTIVE, one BACKUP, quiet" if len(world.nodes) == 2 else "ACTIVE, quiet"
    if c.ending is Ending.HEAL_CORE:
        world.say(0, f"=== node {c.core[0]}, its links and {c.core[1]} heal")
        world.heal(ending.in_core(world, c.core))
    else:
        world.say(0, "=== everything stays as it is")
        world.heal(ending.of_chance(world))
    core = c.core if c.ending is Ending.HEAL_CORE else None
    return ending.judge(world, core)


def _settle(world: World, law: Law, when: str, quiet: Duration = bounds.QUIET) -> None:
    """L1: within its bound one ACTIVE and one BACKUP, and then no change for as long as ``quiet``."""
    t, began = world.variant.timers, world.clock.now
    limit = began + bounds.settled(t) + bounds.PROCESSES_START + ending.cure(world)
    while not ending.settled(world):
        if world.clock.now >= limit:
            raise Violation(law, f"{when}: {ending.describe(world)}", world.clock.now)
        world.run(ending.STEP)
    rule = world.nodes[1].settings.srgs[0].preempt
    if rule is not None:
        world.until(limit + bounds.preempted(t, rule.stable_for))
        if ending.held_back(world):  # so many preemptions were enough for one window
            world.run(rule.window + bounds.preempted(t, rule.stable_for))
        if not ending.settled(world):
            raise Violation(law, f"{when}: {ending.describe(world)}", world.clock.now)
    before = len(world.judge.transitions)
    world.run(quiet)
    after = world.judge.transitions[before:]
    if after or not ending.settled(world):
        raise Violation(law, f"{when}: settled, and then {after[:4]}, {ending.describe(world)}", world.clock.now)


def idle(c: Case, duration: Duration, stage: Stage | None = None) -> Outcome:
    """L5: the pair settles, and then nothing happens for a long time."""
    world = World(c.seed, c.variant)
    if stage is not None:
        stage(world)
    law, text = None, ""
    try:
        world.boot()
        _settle(world, Law.L1, "after power-on")
        before = len(world.judge.transitions)
        world.run(duration)
        if world.judge.transitions[before:]:
            raise Violation(Law.L5, str(world.judge.transitions[before:][:4]), world.clock.now)
        size.check(world)
    except Violation as v:
        law, text = v.law, str(v)
    return Outcome(c, law, text, "idle", world.clock.events, world.clock.now, [], world.judge.rules)


def hunt(
    seeds: Iterator[int],
    seconds: float,
    report: Callable[[Outcome], None],
    stage: Stage | None = None,
    nodes: int = 2,
) -> Outcome | None:
    """Play seeds until one fails (returned) or the time is over (None). ``report`` gets every outcome."""
    end = time.monotonic() + seconds
    for seed in seeds:
        outcome = run(case(seed, nodes), stage=stage)
        report(outcome)
        if outcome.failed:
            return outcome
        if time.monotonic() >= end:
            return None
    return None


def minimise(found: Outcome, stage: Stage | None = None, tries: int = 200) -> Case:
    """Leave out faults one at a time as long as the same law breaks; then shorten what lasts too long."""
    best = found.case
    progress = True
    while progress and tries > 0:
        progress = False
        for index in range(len(best.faults)):
            smaller = best.with_faults(best.faults[:index] + best.faults[index + 1 :])
            tries -= 1
            if tries > 0 and run(smaller, stage=stage).law is found.law:
                best, progress = smaller, True
                break
    return best
