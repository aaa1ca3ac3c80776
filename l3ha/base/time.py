"""Time as integers.

An ``Instant`` is nanoseconds on CLOCK_BOOTTIME (it never steps and it counts suspend, so one clock sees both kinds of
pause); a ``Duration`` is nanoseconds. Plain ints keep arithmetic exact and journals readable.
"""

from __future__ import annotations

import re
from typing import TypeAlias

Instant: TypeAlias = int
Duration: TypeAlias = int

US: Duration = 1_000
MS: Duration = 1_000_000
SECOND: Duration = 1_000_000_000
MINUTE: Duration = 60 * SECOND
HOUR: Duration = 60 * MINUTE

NEVER: Instant = 1 << 62
"""Later than anything."""

_UNITS = {"us": US, "ms": MS, "s": SECOND, "m": MINUTE, "min": MINUTE, "h": HOUR}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(us|ms|s|min|m|h)")


def after(now: Instant, interval: Duration, turn: Duration = 0) -> Instant:
    """The next multiple of ``interval``, plus ``turn``: what has the same interval in one process is due at the same
    instants, so that one turn of the loop serves all of it."""
    return now - (now - turn) % interval + interval


def parse_duration(text: str) -> Duration:
    """``"100ms"`` -> 100_000_000. Units: us, ms, s, m (or min), h. Raises ``ValueError`` with what would be right."""
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise ValueError(f'{text!r} is not a duration; write a number with a unit, such as "100ms", "2s" or "1h"')
    return round(float(match[1]) * _UNITS[match[2]])


def format_duration(value: Duration) -> str:
    """The shortest exact writing that ``parse_duration`` reads back: 1_500_000_000 -> ``"1.5s"``."""
    for unit in ("h", "m", "s", "ms", "us"):
        size = _UNITS[unit]
        if value and value % size == 0:
            return f"{value // size}{unit}"
    if value == 0:
        return "0s"
    for unit in ("s", "ms", "us"):
        if value >= _UNITS[unit]:
            return f"{value / _UNITS[unit]:.6f}".rstrip("0").rstrip(".") + unit
    return f"{value / US:.3f}us"
