"""The results as one SVG per kind of router: a panel per fault, a bar per contender on a logarithmic scale of ms.

The bar ends at the median, the whisker at the maximum, of the worse direction. Nothing lost: a ring at the left edge.
"""

from __future__ import annotations

import textwrap
from html import escape
from math import log10

from lab.bench.contenders import CONTENDERS
from lab.bench.record import Cell, Results, cell
from lab.bench.table import Row, contenders, rows, select

_LEAST, _MOST = 1.0, 100_000.0
_COLUMNS = 2
_LABEL, _SCALE, _MARGIN, _GAP = 196, 270, 14, 22
_LINE, _TITLE, _AXIS = 15, 22, 22
_STYLE = """
  .page { fill: #ffffff } text { font: 11px system-ui, sans-serif; fill: #24292f } .title { font-weight: 600 }
  .faint { fill: #6e7781; font-size: 10px } .figure { paint-order: stroke; stroke: #ffffff; stroke-width: 3px }
  .grid { stroke: #d0d7de; stroke-width: 1 }
  .other { fill: #8c959f; stroke: #8c959f } .ours { fill: #0969da; stroke: #0969da }
  .whisker { stroke-width: 1.5 } .zero { fill: none; stroke-width: 1.5 } .stuck { fill: #cf222e }
  @media (prefers-color-scheme: dark) {
    .page { fill: #0d1117 } .figure { stroke: #0d1117 } text { fill: #e6edf3 } .faint { fill: #8d96a0 }
    .grid { stroke: #30363d }
    .other { fill: #7d8590; stroke: #7d8590 } .ours { fill: #4493f8; stroke: #4493f8 }
    .zero { fill: none } .stuck { fill: #f85149 }
  }
"""
_TITLES = {contender.name: contender.title for contender in CONTENDERS}
_ABSENT = {contender.name: contender.absent for contender in CONTENDERS}


def draw(results: Results, router: str) -> str:
    """The picture of one kind of router, as the text of an SVG file."""
    mine = [record for record in results.records if record.router == router]
    names, whole = contenders(mine), rows(mine)
    lines = [row for row in whole if any(_hurts(results, router, row, name) for name in names)]
    harmless = "; ".join(row.title for row in whole if row not in lines)
    words = textwrap.wrap(f"No packet lost by anyone: {harmless}", 150) if harmless else []
    words.append(
        "bar and figure: median, line: maximum of the longest hole in ms, worse direction; "
        "ring: no packet lost; –: no such fault"
    )
    height = _TITLE + _LINE * len(names) + _AXIS
    width = _LABEL + _SCALE + _GAP
    page = (2 * _MARGIN + _COLUMNS * width, 2 * _MARGIN + -(-len(lines) // _COLUMNS) * height + len(words) * _LINE)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {page[0]} {page[1]}" role="img"'
        f' width="{page[0]}" height="{page[1]}"><style>{_STYLE}</style>',
        f"<title>Longest hole in the traffic, {escape(router)} routers</title>",
        f'<rect class="page" width="{page[0]}" height="{page[1]}"/>',
    ]
    for number, row in enumerate(lines):
        left, top = _MARGIN + number % _COLUMNS * width, _MARGIN + number // _COLUMNS * height
        parts.append(f'<g transform="translate({left} {top})">{_panel(results, router, row, names)}</g>')
    for number, line in enumerate(reversed(words)):
        parts.append(_text(_MARGIN, page[1] - _MARGIN - number * _LINE + 4, line, "faint"))
    return "\n".join([*parts, "</svg>\n"])


def _hurts(results: Results, router: str, row: Row, name: str) -> bool:
    """Whether there is anything to draw but a ring."""
    found = cell(select(results, router, name, row), mending=row.mending)
    return bool(found.failures) or (found.worst is not None and found.worst.maximum > 0)


def _panel(results: Results, router: str, row: Row, names: list[str]) -> str:
    parts = [_text(0, 12, row.title, "title"), _grid(_TITLE, _TITLE + _LINE * len(names))]
    for number, name in enumerate(names):
        middle = _TITLE + _LINE * number + _LINE / 2
        parts.append(_text(0, middle + 4, _TITLES[name], ""))
        if row.fault in _ABSENT[name]:
            parts.append(_text(_LABEL - 4, middle + 4, "–", "faint"))
            continue
        found = cell(select(results, router, name, row), mending=row.mending)
        parts.append(_bar(found, middle, "ours" if name.startswith("l3ha") else "other"))
    return "".join(parts)


def _grid(top: float, bottom: float) -> str:
    parts = []
    for power, label in enumerate(("1 ms", "10 ms", "100 ms", "1 s", "10 s", "100 s")):
        x = _at(10.0**power)
        parts.append(f'<line class="grid" x1="{x:.1f}" y1="{top}" x2="{x:.1f}" y2="{bottom}"/>')
        parts.append(f'<text class="faint" x="{x:.1f}" y="{bottom + 12}" text-anchor="middle">{label}</text>')
    return "".join(parts)


def _bar(found: Cell, middle: float, style: str) -> str:
    worst = found.worst
    if worst is None:
        return _text(_LABEL + 4, middle + 4, "failed" if found.failures else "not measured", "faint")
    if not worst.maximum:
        return f'<circle class="zero {style}" cx="{_LABEL}" cy="{middle}" r="3.5"/>'
    to, end = _at(worst.median), _at(worst.maximum)
    parts = [
        f'<rect class="{style}" x="{_LABEL}" y="{middle - 4}" width="{max(to - _LABEL, 1):.1f}" height="8"/>',
        f'<line class="{style} whisker" x1="{to:.1f}" y1="{middle}" x2="{end:.1f}" y2="{middle}"/>',
        f'<line class="{style} whisker" x1="{end:.1f}" y1="{middle - 4}" x2="{end:.1f}" y2="{middle + 4}"/>',
    ]
    words = f"{worst.median:.0f}"
    if found.stuck:
        words += " until mended"
    if found.failures:
        words += f", {len(found.failures)} failed"
    parts.append(_text(end + 5, middle + 4, words, f"figure {'stuck' if found.stuck or found.failures else 'faint'}"))
    return "".join(parts)


def _at(ms: float) -> float:
    """The place of a time; what is outside the scale lies on its edge."""
    share = log10(max(_LEAST, min(_MOST, ms)) / _LEAST) / log10(_MOST / _LEAST)
    return _LABEL + share * (_SCALE - 50)


def _text(x: float, y: float, words: str, style: str) -> str:
    return f'<text class="{style}" x="{x:.1f}" y="{y:.1f}">{escape(words)}</text>'
