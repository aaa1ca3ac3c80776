"""S11: everything that a core holds is counted, whatever it is called."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from l3ha.sim import bounds
from l3ha.sim.bounds import Law
from l3ha.sim.judge import Violation
from l3ha.sim.world import World


def elements(root: object) -> int:
    """How many elements hang below an object, over attributes and containers, each object once."""
    seen: set[int] = set()
    todo, count = [root], 0
    while todo:
        thing = todo.pop()
        if id(thing) in seen or isinstance(thing, str | bytes | int | float | type) or callable(thing):
            continue
        seen.add(id(thing))
        if isinstance(thing, Mapping):
            count += len(thing)
            todo += [*thing.keys(), *thing.values()]
        elif isinstance(thing, list | tuple | set | frozenset | deque):
            count += len(thing)
            todo += list(thing)
        else:
            names = [*getattr(thing, "__dict__", ()), *getattr(type(thing), "__slots__", ())]
            todo += [getattr(thing, n, None) for n in names]
    return count


def check(world: World) -> None:
    """Raises ``Violation`` S11."""
    for n, node in world.nodes.items():
        cores = [("agent", node.agent and node.agent.engine), ("speaker", node.helper and node.helper.speaker)]
        for name, core in cores:
            held = elements(core) if core is not None else 0
            if held > bounds.MAX_ELEMENTS:
                raise Violation(Law.S11, f"the {name} of n{n} holds {held} elements", world.clock.now)
        if node.exabgp is not None and node.exabgp.most_queued > bounds.MAX_COMMANDS:
            text = f"{node.exabgp.most_queued} commands waited at the ExaBGP of n{n}"
            raise Violation(Law.S11, text, world.clock.now)
