"""``python -m l3ha.sim.explore``: explore, judge, print; exit 1 where something must not be."""

from __future__ import annotations

import argparse
import sys
import time

from l3ha.sim.explore.ablation import ABLATIONS, Ablation
from l3ha.sim.explore.judge import Judge, Verdicts
from l3ha.sim.explore.report import figures, findings
from l3ha.sim.explore.search import Search
from l3ha.sim.explore.shape import Shape
from l3ha.sim.explore.world import World


def main(arguments: list[str] | None = None) -> int:
    """See ``--help``."""
    parser = argparse.ArgumentParser(prog="python -m l3ha.sim.explore", description=__doc__)
    parser.add_argument("--faults", type=int, default=2, help="how many faults at most (default 2)")
    parser.add_argument("--last-stays", action="store_true", help="after the last fault nothing heals singly (smaller)")
    parser.add_argument(
        "--no-heals", action="store_true", help="no fault heals singly, only all at once (much smaller)"
    )
    parser.add_argument("--detection", type=int, default=3, help="T_det in ticks")
    parser.add_argument("--bgp-delay", type=int, default=1, help="ticks from the announcement to the router's table")
    parser.add_argument("--hold", type=int, default=10, help="BGP hold time in ticks")
    parser.add_argument("--same-priority", action="store_true", help="both nodes have the same priority")
    parser.add_argument("--ablations", action="store_true", help="one line per rule that is switched off")
    options = parser.parse_args(arguments)
    shape = Shape(
        detection=options.detection,
        bgp_delay=options.bgp_delay,
        hold=options.hold,
        settle=max(3, options.bgp_delay + 2),
        priorities=(100, 100) if options.same_priority else (200, 100),
    )
    heals = not options.no_heals
    if options.ablations:
        for ablation in (Ablation("the whole machine"), *ABLATIONS):
            _say(f"{ablation.name:28} {_line(explore(shape, options.faults, ablation, options.last_stays, heals)[2])}")
        return 0
    start = time.monotonic()
    search, judge, v = explore(shape, options.faults, Ablation(""), options.last_stays, heals)
    seconds = time.monotonic() - start
    for line in figures(search, v):
        _say(line)
    _say(f"time                           {seconds:.1f} s, {v.states / seconds:.0f} states/s")
    bad = False
    for line in findings(search, judge, v):
        bad = True
        _say(line)
    return 1 if bad else 0


def explore(
    shape: Shape, faults: int, ablation: Ablation, last_stays: bool = False, heals: bool = True
) -> tuple[Search, Judge, Verdicts]:
    """One exploration, judged. ``last_stays``: after the last fault nothing heals singly, only everything at once;
    ``heals`` False: no fault ever heals singly."""
    world = World(shape, ablation.kind, ablation.cut, fencing=ablation.fencing, fold=ablation.fold)
    search = Search(world)
    search.run(faults, last_stays=last_stays, heals=heals)
    judge = Judge(search)
    return search, judge, judge.all()


def _line(v: Verdicts) -> str:
    return (
        f"states {v.states:8} two-confirmed {v.dual_confirmed:5} rights {v.rights:6} equal-high {v.equal_high:6} "
        f"cycles {len(v.cycles):6} "
        f"unhealed {len(v.unhealed):6} unexplained {len(v.unexplained):6} dark {v.dark:7} both {v.enforced:6} "
        f"unconfirmed {v.unconfirmed:6} slowest {v.slowest}/{v.slowest_stay}"
    )


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
