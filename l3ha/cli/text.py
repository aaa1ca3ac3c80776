"""Words and columns for a terminal: ages, tables, wrapped fields. Everything fits WIDTH columns."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from l3ha.base.text import printable
from l3ha.base.time import HOUR, MINUTE, MS, SECOND, US, Duration

WIDTH = 100
"""Columns that no line exceeds, unless one single word does."""

DAY: Duration = 24 * HOUR

_GAP = "  "

_TONES = {
    "31;1": r"INELIGIBLE|ISOLATED|DOWN|FAILED|ABSENT|EXPIRED|STALE|ATTENTION|UNHEALTHY|✗",
    "33": r"HOLD|OFFLINE|CANNOT SEND|UNKNOWN|NOT READY|pending|error|warning",
    "32": r"ACTIVE|ONLINE|✓",
    "36": r"BACKUP",
}
_WORDS = re.compile("|".join(rf"(?P<t{i}>(?<![\w-])(?:{words})(?![\w-]))" for i, words in enumerate(_TONES.values())))
_CODES = tuple(_TONES)


def clean(value: Any) -> str:
    """Text for a terminal. What came from elsewhere may hold escape sequences; they arrive as ``?``."""
    return printable(str(value))


def age(value: Duration | None) -> str:
    """As people say it: ``0.4ms``, ``320ms``, ``3.2s``, ``4m12s``, ``2h05m``, ``3d04h``; None is ``never``."""
    if value is None:
        return "never"
    if value < MS:
        return "0ms" if value < 50 * US else f"{value / MS:.1f}ms"
    if value < SECOND:
        return f"{value // MS}ms"
    if value < MINUTE:
        return f"{value // (100 * MS) / 10:.1f}s"
    if value < HOUR:
        return f"{value // MINUTE}m{value % MINUTE // SECOND:02d}s"
    if value < DAY:
        return f"{value // HOUR}h{value % HOUR // MINUTE:02d}m"
    return f"{value // DAY}d{value % DAY // HOUR:02d}h"


def rtt(value: Duration | None) -> str:
    """A round trip in milliseconds; ``-`` where there was none."""
    return "-" if value is None else f"{value / MS:.1f}ms"


def ago(value: Duration | None) -> str:
    """``4m12s ago``, or ``never``."""
    return "never" if value is None else f"{age(value)} ago"


def yes_no(value: bool | None) -> str:
    """As Junos writes it."""
    return "UNKNOWN" if value is None else "YES" if value else "NO"


def up_down(value: bool | None) -> str:
    """As Junos writes it."""
    return "UNKNOWN" if value is None else "UP" if value else "DOWN"


def words(values: Iterable[Any], none: str = "NONE") -> str:
    """A list in one line."""
    return ", ".join(clean(value) for value in values) or none


def field(indent: int, label: str, text: Any) -> list[str]:
    """``label: text``; what does not fit goes on below the text's first column."""
    head = " " * indent + label + ": "
    return _wrap(head, " " * len(head), clean(text))


def item(indent: int, mark: str, text: Any) -> list[str]:
    """A line with a mark before it, wrapped below its text."""
    head = " " * indent + mark + " "
    return _wrap(head, " " * len(head), clean(text))


def _wrap(head: str, follow: str, text: str) -> list[str]:
    if len(head) + len(text) <= WIDTH:
        return [(head + text).rstrip()]
    import textwrap  # noqa: PLC0415 - most answers need no wrapping, and the import costs start-up time

    return textwrap.wrap(
        text, WIDTH, initial_indent=head, subsequent_indent=follow, break_long_words=False, break_on_hyphens=False
    )


def table(indent: int, heads: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[str]:
    """Aligned columns; a last column that is too long wraps; rows that cannot fit become one block each."""
    cells = [[clean(cell) for cell in row] for row in rows]
    widths = [max(len(text) for text in column) for column in zip(heads, *cells, strict=True)]
    fixed = indent + sum(widths[:-1]) + len(_GAP) * (len(widths) - 1)
    if fixed + min(widths[-1], max(24, len(heads[-1]))) > WIDTH:
        return _blocks(indent, heads, cells)
    lines = []
    for row in [list(heads), *cells]:
        head = " " * indent + "".join(
            text.ljust(width) + _GAP for text, width in zip(row[:-1], widths[:-1], strict=True)
        )
        lines += _wrap(head, " " * len(head), row[-1])
    return lines


def _blocks(indent: int, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines: list[str] = []
    for row in rows:
        for place, (head, text) in enumerate(zip(heads, row, strict=True)):
            lines += field(indent + 2 * (place > 0), head, text) if text else []
    return lines


def colour(text: str) -> str:
    """Paint state words, on a terminal whose user did not set ``NO_COLOR`` (no-color.org)."""
    if not sys.stdout.isatty() or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return text
    return _WORDS.sub(lambda m: f"\033[{_CODES[int((m.lastgroup or 't0')[1:])]}m{m[0]}\033[0m", text)
