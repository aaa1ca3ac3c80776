"""``l3ha sim``: play, tell and hunt. Nothing here touches the network or the agent of this node."""

# The simulator is loaded when it is played: the list of commands must not pay for the engine.
# ruff: noqa: PLC0415

from __future__ import annotations

import itertools
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from l3ha.cli.text import clean
from l3ha.cli.where import BadNews

if TYPE_CHECKING:
    from l3ha.sim.campaign import Outcome
    from l3ha.sim.case import Case


class _Score:
    """What a hunt has done so far."""

    def __init__(self) -> None:
        self.seeds = self.events = self.simulated = 0
        self.began = time.perf_counter()

    def add(self, outcome: Outcome) -> None:
        self.seeds += 1
        self.events += outcome.events
        self.simulated += outcome.simulated

    def __str__(self) -> str:
        seconds = max(time.perf_counter() - self.began, 1e-9)
        hours = self.simulated / 3600e9
        speed = self.events / seconds
        return f"{self.seeds} seeds, {hours:.2f} simulated hours, {self.events} events, {speed:.0f} events/s"


@click.command()
@click.option("--seed", type=click.IntRange(0), help="Play one seed and print its trace.")
@click.option("--scenario", "name", help="Play a story and print its trace; an unknown name lists all.")
@click.option(
    "--hunt", "minutes", type=click.FloatRange(0, min_open=True), help="Play seeds for MINUTES until one fails."
)
@click.option("--first", type=click.IntRange(0), default=None, help="First seed of a hunt; default: from the clock.")
@click.option("--case", "file", type=click.Path(path_type=Path), help="Play a case that was kept in a file.")
@click.option(
    "--replay",
    "journal",
    type=click.Path(path_type=Path),
    help="Replay the journal of an agent (a directory, or one file of it) and compare the effects.",
)
@click.option("--trace", is_flag=True, help="With --replay: print what happened, not only a difference.")
@click.option("--keep", type=click.Path(path_type=Path), help="Write the case (minimised, after a hunt) to this file.")
@click.option("--nodes", type=click.IntRange(1), default=2, show_default=True, help="Nodes of the cluster: 1 or 2.")
def sim(
    seed: int | None,
    name: str | None,
    minutes: float | None,
    first: int | None,
    file: Path | None,
    journal: Path | None,
    trace: bool,
    keep: Path | None,
    nodes: int,
) -> None:
    """Play the engine against a virtual network, virtual routers and a virtual ExaBGP.

    The same seed gives the same trace, on every machine. Exit code 1: an invariant of the protocol did not hold, or a
    replay gave another effect; 2: a journal cannot be replayed.
    """
    if nodes > 2:
        raise click.UsageError(f"--nodes {nodes}: this version of l3ha has clusters of one or two nodes")
    if file is not None and nodes != 2:
        raise click.UsageError("--nodes does not go with --case: the file says how many nodes there are")
    if sum(x is not None for x in (seed, name, minutes, file, journal)) != 1:
        raise click.UsageError("one of --seed, --scenario, --hunt, --case and --replay is wanted")
    if trace and journal is None:
        raise click.UsageError("--trace goes with --replay; the others always print their trace")
    from l3ha.sim.case import case

    if minutes is not None:
        _hunt(minutes, int(time.time()) * 1000 if first is None else first, keep, nodes)
    elif seed is not None:
        _tell(case(seed, nodes), keep)
    elif name is not None:
        _story(name, keep, nodes)
    elif file is not None:
        _kept(file)
    elif journal is not None:
        _replay(journal, trace)


def _replay(journal: Path, trace: bool) -> None:
    from l3ha.sim.replay import replay

    sys.exit(replay(journal, lambda line: click.echo(clean(line)), trace=trace))


def _story(name: str, keep: Path | None, nodes: int) -> None:
    from l3ha.sim.scenario import STORIES, case_of

    story = STORIES.get(name)
    if story is None:
        width = max(map(len, STORIES))
        raise click.UsageError(
            "the scenarios are:\n" + "\n".join(f"  {n:{width}}  {s.text}" for n, s in STORIES.items())
        )
    click.echo(story.text)
    _tell(case_of(story, 1, nodes), keep)


def _kept(file: Path) -> None:
    from l3ha.sim.case import Case

    try:
        found = Case.from_json(file.read_text())
    except OSError as error:
        raise BadNews(f"{file}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadNews(f"{file}: not a case of the simulator: {type(error).__name__}: {error}") from None
    _tell(found, None)


def _tell(case: Case, keep: Path | None) -> None:
    from l3ha.sim.campaign import run

    score = _Score()
    outcome = run(case, trace=True)
    score.add(outcome)
    click.echo("\n".join(outcome.lines))
    click.echo(str(score))
    _write(keep, case)
    if outcome.failed:
        raise BadNews(outcome.text)


def _hunt(minutes: float, first: int, keep: Path | None, nodes: int) -> None:
    from l3ha.sim.campaign import hunt, minimise, run

    score = _Score()
    found = hunt(itertools.count(first), 60 * minutes, score.add, nodes=nodes)
    click.echo(f"from seed {first}: {score}")
    if found is None:
        click.echo("every invariant held")
        return
    click.echo(f"seed {found.case.seed} fails: {found.text}\nminimising …")
    small = minimise(found)
    _write(keep, small)
    click.echo("\n".join(run(small, trace=True).lines))
    click.echo(small.to_json(), nl=False)
    raise BadNews(f"seed {found.case.seed}: {found.text}")


def _write(keep: Path | None, case: Case) -> None:
    if keep is None:
        return
    try:
        keep.write_text(case.to_json())
    except OSError as error:
        raise BadNews(f"{keep}: {error.strerror}") from None
