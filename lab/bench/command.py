"""``python -m lab bench``: choose, run, write the results, the table and the pictures."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import click

from lab.bench import accident, budget, calm, contenders, decision, fall, load, moves, plain, plot, table
from lab.bench.campaign import BROKEN, Campaign
from lab.bench.record import MANY, Measure, Results
from lab.campaign import write_block
from lab.holes import UnwatchedError
from lab.routers import RouterKind

BEGIN, END = "<!-- benchmark:begin -->", "<!-- benchmark:end -->"

COMPARISON = "comparison"
MEASURES: dict[str, Callable[[str, int, float, Callable[[str], None]], list[Measure]]] = {
    "decision": lambda tag, runs, _seconds, say: decision.measure(tag, max(MANY, 4 * runs), say),
    "budget": budget.measure,
    "load": load.measure,
    "bulk": plain.measure,
    "fall": fall.measure,
    "moves": moves.measure,
    "calm": calm.measure,
}
PARTS = (COMPARISON, *MEASURES)


def _names(_context: click.Context, _parameter: click.Parameter, value: str) -> list[str]:
    return [word for word in value.split(",") if word]


@click.command()
@click.option(
    "--only", default="", callback=_names, help="These contenders, by commas; default: all. What others found is kept."
)
@click.option("--faults", default="", callback=_names, help="These faults, by commas; default: all.")
@click.option("--routers", default="frr,bird", show_default=True, callback=_names, help="Software of R1 and R2.")
@click.option("--runs", default=5, show_default=True, type=click.IntRange(1), help="How often each.")
@click.option("--jobs", default=1, show_default=True, type=click.IntRange(1), help="Labs of the comparison at a time.")
@click.option("--seconds", default=10.0, show_default=True, help="Time for CPU and memory of each contender; 0: none.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("build/bench"), show_default=True)
@click.option(
    "--markdown", type=click.Path(path_type=Path), help="Write the summary into this file, between its marks."
)
@click.option("--docs", type=click.Path(path_type=Path), help="Write the report and the pictures into this directory.")
@click.option("--parts", default="", callback=_names, help=f"Some of {', '.join(PARTS)}; what others found is kept.")
@click.option("--render", is_flag=True, help="Measure nothing; write what the last run found.")
@click.option("--tag", envvar="L3HA_LAB", default=f"p{os.getpid()}", help="Name of the lab; default: unique.")
def bench(
    *,
    only: list[str],
    faults: list[str],
    routers: list[str],
    runs: int,
    jobs: int,
    seconds: float,
    out: Path,
    markdown: Path | None,
    docs: Path | None,
    parts: list[str],
    render: bool,
    tag: str,
) -> None:
    """l3ha beside what else there is; exit code 1 if a run failed."""
    if unknown := set(parts) - set(PARTS):
        raise click.BadParameter(f"no part {', '.join(sorted(unknown))}; there is {', '.join(PARTS)}")
    path = out / "results.json"
    partial = bool(only or faults or parts or render)
    results = Results.load(path) if partial and (render or path.exists()) else Results()
    if not render and (not parts or COMPARISON in parts):
        before = results
        found = Campaign(
            tag=tag,
            contenders=[contenders.by_name(name) for name in only] or contenders.CONTENDERS,
            accidents=[accident.by_name(name) for name in faults] or accident.ACCIDENTS,
            kinds=list(_kinds(routers)),
            runs=runs,
            say=click.echo,
            save=lambda found: before.updated(found).save(path),
            footprint_s=seconds,
            logs=out / "log",
            jobs=jobs,
        ).run()
        results = before.updated(found)
    if not render:
        alone = [part for part in parts or PARTS if part in MEASURES and not (only or faults)]
        measures = tuple(one for part in alone for one in _measured(part, tag, runs, seconds))
        results = results.updated(Results(measures=measures))
        results.save(path)
    click.echo("\n" + table.report(results, {}))
    _publish(results, markdown, docs)
    sys.exit(any(record.failure is not None for record in results.records))


def _measured(part: str, tag: str, runs: int, seconds: float) -> list[Measure]:
    """What a part found; a part that failed is shown as failed."""
    try:
        return MEASURES[part](tag, runs, seconds, click.echo)
    except (*BROKEN, UnwatchedError) as error:
        return [Measure(f"Part {part}", "failed", "", (), str(error).splitlines()[0])]


def _kinds(names: Iterable[str]) -> Iterable[RouterKind]:
    for name in names:
        try:
            yield RouterKind(name)
        except ValueError:
            known = ", ".join(RouterKind)
            raise click.BadParameter(f"no router software {name}; there is {known}") from None


def _publish(results: Results, markdown: Path | None, docs: Path | None) -> None:
    pictures: dict[str, str] = {}
    if docs is not None:
        for router in table.routers(results):
            pictures[router] = f"benchmark-{router}.svg"
            (docs / pictures[router]).write_text(plot.draw(results, router))
        (docs / "benchmark.md").write_text(table.report(results, pictures))
    if markdown is not None:
        where = {router: f"{docs}/{name}" for router, name in pictures.items()}
        write_block(markdown, BEGIN, END, table.readme(results, where))
