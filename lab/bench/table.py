"""The results as Markdown: a matrix for the README, everything for ``docs/benchmark.md``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from lab.bench.accident import ACCIDENTS
from lab.bench.campaign import TRIES
from lab.bench.contenders import CONTENDERS
from lab.bench.record import Cell, Figures, Measure, Record, Results, cell
from lab.bench.trial import AT_ALL_MS, AT_ALL_S, AT_ONCE_MS


class Row(NamedTuple):
    """A line of the matrix: a fault, or the mending of one."""

    fault: str
    title: str
    mending: bool


ROWS: tuple[Row, ...] = tuple(
    row
    for accident in ACCIDENTS
    for row in (
        Row(accident.name, accident.title, mending=False),
        *([Row(accident.name, accident.mending, mending=True)] if accident.mending else []),
    )
)
_TITLES = {contender.name: contender.title for contender in CONTENDERS}
_ABSENT = {contender.name: contender.absent for contender in CONTENDERS}
_ROUTERS = {"frr": "FRR", "bird": "BIRD"}


def routers(results: Results) -> list[str]:
    """The kinds of routers that the results speak of."""
    found = {record.router for record in results.records}
    return [kind for kind in _ROUTERS if kind in found]


def contenders(records: Iterable[Record]) -> list[str]:
    """The contenders that the records speak of, in the order of the table."""
    found = {record.contender for record in records}
    return [name for name in _TITLES if name in found]


def rows(records: Sequence[Record]) -> list[Row]:
    """The lines for which there is a record."""
    found = {record.fault for record in records}
    return [row for row in ROWS if row.fault in found]


def select(results: Results, router: str, contender: str, row: Row) -> list[Record]:
    """The runs that belong in one cell."""
    return [
        record
        for record in results.records
        if (record.router, record.contender, record.fault) == (router, contender, row.fault)
    ]


def readme(results: Results, pictures: dict[str, str]) -> str:
    """Per kind of router the picture and the matrix: longest hole in ms, worse direction, median / maximum."""
    parts = [f"{_runs(results)} of each. {_spoilt(results)}"]
    for router in routers(results):
        if router in pictures:
            parts.append(f"![outage per fault and contender, {_ROUTERS[router]} routers]({pictures[router]})")
        parts.append(matrix(results, router))
    notes = _notes(results)
    return "\n\n".join([*parts, notes] if notes else parts)


def _runs(results: Results) -> str:
    """How often the cells were measured; one alone has no maximum."""
    counts = Counter((record.router, record.contender, record.fault) for record in results.records).values()
    least, most = min(counts, default=0), max(counts, default=0)
    return f"{most} {'run' if most == 1 else 'runs'}" if least == most else f"{least} to {most} runs"


def _spoilt(results: Results) -> str:
    """What is not shown, or shown though the machine had its part in it."""
    void = sum(record.void for record in results.records)
    spoilt = sum(record.spoilt for record in results.records)
    return (
        f"{void} more are not shown, because the machine itself stood still for {AT_ONCE_MS:.0f} ms at the fault or "
        f"its mending, or {AT_ALL_MS:.0f} ms within {AT_ALL_S:.0f} s, and were repeated, "
        f"each at most {TRIES - 1} times; {spoilt} of those shown are such."
    )


def matrix(results: Results, router: str) -> str:
    """One line per fault, one column per contender: the longest hole."""
    mine = [record for record in results.records if record.router == router]
    names = contenders(mine)
    head = [f"{_ROUTERS[router]} routers", *(_TITLES[name] for name in names)]
    lines = [_line(head), _line(["---"] * len(head))]
    for row in rows(mine):
        found = {name: cell(select(results, router, name, row), mending=row.mending) for name in names}
        cells = [_short(row, name, one, one.worst) for name, one in found.items()]
        lines.append(_line([row.title, *cells]))
    return "\n".join(lines)


def _line(words: Iterable[str]) -> str:
    return f"| {' | '.join(words)} |"


def _short(row: Row, contender: str, found: Cell, figures: Figures | None) -> str:
    if row.fault in _ABSENT.get(contender, {}):
        return "–"
    return _remarked(found, figures)


def _remarked(found: Cell, figures: Figures | None) -> str:
    """The figures, and how many runs failed or did not recover."""
    words = [str(figures)] if figures is not None else []
    if found.stuck:
        words.append(f"({found.stuck}× until mended)")
    if found.failures:
        words.append(f"({len(found.failures)} failed)")
    return " ".join(words) or "?"


def _notes(results: Results) -> str:
    """Why there is a dash."""
    shown = {(record.contender, record.fault) for record in results.records}
    reasons: dict[tuple[str, str], list[str]] = {}
    for name in contenders(results.records):
        for fault, reason in _ABSENT[name].items():
            if any(other == fault for _, other in shown):
                reasons.setdefault((fault, reason), []).append(_TITLES[name])
    titles = {row.fault: row.title for row in ROWS if not row.mending}
    lines = [f"- – at “{titles[fault]}”: {reason} ({'; '.join(who)})." for (fault, reason), who in reasons.items()]
    return "\n".join(lines)


def report(results: Results, pictures: dict[str, str]) -> str:
    """The whole of ``docs/benchmark.md``."""
    return "\n\n".join(_report(results, pictures)) + "\n"


def _report(results: Results, pictures: dict[str, str]) -> Iterator[str]:
    yield "# Benchmark"
    yield "Written by `make bench`; do not edit."
    yield (
        f"{_runs(results)} of each. {_spoilt(results)} The longest hole in the traffic in ms, the packets lost in "
        "both directions together, and the time in ms with two actives, each as median / maximum. 0: nothing in any "
        "run. Two actives: both nodes claim the role, or the routers send to different nodes; sampled about every "
        "25 ms. One packet per millisecond each way. Every fault hits n1, the preferred node. Labs may run "
        "side by side; none is started, broken or mended within 0.7 s after a fault of another one, and none while "
        "CPU and memory are measured."
    )
    yield "## Contenders"
    setups = {contender.name: contender.setup for contender in CONTENDERS}
    yield "\n".join(f"- **{_TITLES[name]}**: {setups[name]}." for name in contenders(results.records))
    for router in routers(results):
        yield f"## {_ROUTERS[router]} routers"
        if router in pictures:
            yield f"![outage per fault and contender]({pictures[router]})"
        yield "\n\n".join(_detail(results, router))
    if notes := _notes(results):
        yield "## What is not there\n\n" + notes
    if failures := [record for record in results.records if record.failure is not None]:
        yield "## Failed runs\n\n" + "\n".join(_failure(record) for record in failures)
    if results.footprints:
        yield "## Steady CPU and memory\n\nOn the active node of a healthy pair; one core is 100 %.\n\n" + footprint(
            results
        )
    for subject in dict.fromkeys(measure.subject for measure in results.measures):
        yield f"## {subject}"
        yield measures([measure for measure in results.measures if measure.subject == subject])


def _failure(record: Record) -> str:
    first = (record.failure or "").splitlines()[0] if record.failure else ""
    return f"- {_TITLES[record.contender]}, {record.fault}, {_ROUTERS[record.router]}, run {record.run}: {first}"


def _detail(results: Results, router: str) -> Iterator[str]:
    mine = [record for record in results.records if record.router == router]
    head = ["contender", "hosta → hostb", "hostb → hosta", "lost", "two actives"]
    for row in rows(mine):
        lines = [f"### {row.title[0].upper()}{row.title[1:]}", "", _line(head), _line(["---"] * len(head))]
        for name in contenders(mine):
            found = cell(select(results, router, name, row), mending=row.mending)
            if row.fault in _ABSENT[name]:
                lines.append(_line([_TITLES[name], "–", "–", "–", "–"]))
                continue
            rest = [str(one) if one is not None else "?" for one in (found.b_to_a, found.lost, found.two_actives)]
            lines.append(_line([_TITLES[name], _remarked(found, found.a_to_b), *rest]))
        yield "\n".join(lines)


def footprint(results: Results) -> str:
    """One line per kind of process."""
    lines = [_line(["contender", "process", "CPU %", "memory, MB"]), _line(["---"] * 4)]
    keys = dict.fromkeys((one.contender, one.part) for one in results.footprints)
    order = list(_TITLES)
    for contender, part in sorted(keys, key=lambda key: (order.index(key[0]), key[1])):
        mine = [one for one in results.footprints if (one.contender, one.part) == (contender, part)]
        cpu, memory = Figures.of(one.cpu_percent for one in mine), Figures.of(one.memory_kb / 1024 for one in mine)
        if cpu is not None and memory is not None:
            lines.append(_line([_TITLES[contender], part, f"{cpu.median:.1f}", f"{memory.median:.0f}"]))
    return "\n".join(lines)


def measures(found: Sequence[Measure]) -> str:
    """One line per figure."""
    lines = [_line(["what", "median", "99 %", "maximum", "runs", "remark"]), _line(["---"] * 6)]
    for one in found:
        figures = Figures.of(one.values)
        values = ["–", "–", "–", "0"]
        if figures is not None:
            values = [
                f"{_plain(figures.median)} {one.unit}",
                "–" if figures.p99 is None else f"{_plain(figures.p99)} {one.unit}",
                f"{_plain(figures.maximum)} {one.unit}",
                str(figures.runs),
            ]
        lines.append(_line([one.what, *values, one.note]))
    return "\n".join(lines)


def _plain(value: float) -> str:
    """Three significant digits, no exponent."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"
