"""The figures of one exploration, as text."""

from __future__ import annotations

from collections.abc import Iterator

from l3ha.sim.explore.judge import Ending, Judge, Verdicts
from l3ha.sim.explore.search import UNKNOWN, Search

MAX_STORIES = 6


def figures(search: Search, v: Verdicts) -> Iterator[str]:
    """What was counted, line by line."""
    yield f"states                         {v.states} (by faults: {', '.join(map(str, search.layers))})"
    yield f"steps of the real machine      {search.world.computed}"
    yield f"two confirmed ACTIVE, contact  {v.dual_confirmed}, longer than T_det {len(v.dual_too_long)}"
    yield f"two confirmed ACTIVE, anyhow   {v.rights}"
    yield f"equal HIGH at a router         {v.equal_high} (two HIGH {v.two_high}, of one term {v.same_term})"
    yield f"cycles                         {len(v.cycles)}"
    yield f"both ACTIVE without partition  {v.longest_enforced} ticks at most"
    yield f"everything heals: last change  after {v.slowest} ticks at most"
    yield "everything heals:"
    yield from (f"  {n:9}  {ending}" for ending, n in v.heal.most_common())
    yield "the faults stay:"
    yield from (f"  {n:9}  {ending}" for ending, n in v.stay.most_common())
    yield "of these accepted, by what is broken:"
    yield from (f"  {n:9}  {why}" for why, n in v.explained.most_common())
    yield f"without an accepted reason     {len(v.unexplained)}"


def findings(search: Search, judge: Judge, v: Verdicts) -> Iterator[str]:
    """The shortest stories of everything that must not be; nothing where all is well."""
    kinds = {
        "two confirmed ACTIVE in contact for longer than T_det": v.dual_too_long,
        "a cycle": v.cycles,
        "does not recover although everything heals": v.unhealed,
        "a bad end that no geometry explains": v.unexplained,
    }
    for name, states in kinds.items():
        for i in _examples(search, judge, states):
            yield f"--- {name}"
            yield from search.tell(i, ticks=judge.settles(i) if name != "a cycle" else 40)
    if v.slowest_at != UNKNOWN and any(kinds.values()):
        yield f"--- the slowest recovery ({v.slowest} ticks after this)"
        yield from search.tell(v.slowest_at)


def _examples(search: Search, judge: Judge, states: list[int]) -> list[int]:
    """One short story per kind of end and set of faults that led there."""
    best: dict[tuple[Ending, frozenset[int]], tuple[int, int]] = {}
    for i in states:
        story = search.story(i)
        key = (judge.ending(i), frozenset(action for _, action in story if action > 0))
        length = len(story)
        if key not in best or length < best[key][0]:
            best[key] = (length, i)
    return [i for _, i in sorted(best.values())[:MAX_STORIES]]
