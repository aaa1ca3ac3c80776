"""Bounds between timers: each at its edge, and the figures in the text."""

# ruff: noqa: E501  (messages are quoted whole)

from __future__ import annotations

import pytest

from tests.test_config import faults

# what is written, key of the fault, its text; the same with the last value that is still allowed
CASES: list[tuple[list[tuple[str, str]], list[tuple[str, str]], str, str]] = [
    (
        [('interval = "100ms"', 'interval = "99ms"')],
        [],
        "icl.interval",
        "slack (multiplier - 1) x interval = 4 x 99ms = 396ms, must be at least 400ms unless allow_unsafe_timers = true "
        "and real-time scheduling is granted",
    ),
    (
        [('interval = "100ms"', 'interval = "19ms"\nallow_unsafe_timers = true')],
        [('interval = "100ms"', 'interval = "20ms"\nallow_unsafe_timers = true')],
        "icl.interval",
        "slack (multiplier - 1) x interval = 4 x 19ms = 76ms, must be at least 80ms: less mistakes a busy CPU for a dead peer",
    ),
    (
        [("[speaker]", '[timers]\nlease = "500ms"\n[speaker]')],
        [("[speaker]", '[timers]\nlease = "501ms"\n[speaker]')],
        "timers.lease",
        "T_lease = 500ms, must be more than T_det = 5 x 100ms = 500ms",
    ),
    (
        [("[speaker]", '[timers]\ndrain = "499ms"\n[speaker]')],
        [("[speaker]", '[timers]\ndrain = "500ms"\n[speaker]')],
        "timers.drain",
        "T_drain = 499ms, must be at least T_bgp = 500ms",
    ),
    (
        [("[speaker]", '[timers]\nsettle = "199ms"\n[speaker]')],
        [("[speaker]", '[timers]\nsettle = "200ms"\n[speaker]')],
        "timers.settle",
        "T_settle + down x interval = 199ms + 3 x 100ms = 499ms, must be at least T_bgp = 500ms",
    ),
    (
        [("hold_time = 9", 'bfd = { interval = "39ms" }')],
        [("hold_time = 9", 'bfd = { interval = "40ms" }')],
        "node.n1.neighbor.r1.bfd.interval",
        "slack (multiplier - 1) x interval = 2 x 39ms = 78ms, must be at least 80ms: less mistakes a busy CPU for a dead router",
    ),
    (
        [("[speaker]", '[timers]\nboot = "3199ms"\n[speaker]')],
        [("[speaker]", '[timers]\nboot = "3200ms"\n[speaker]')],
        "timers.boot",
        "T_boot = 3199ms, must be at least BGP reconnect + up x interval = 3s + 2 x 100ms = 3200ms",
    ),
]


@pytest.mark.parametrize(("wrong", "right", "key", "text"), CASES)
def test_bound(wrong: list[tuple[str, str]], right: list[tuple[str, str]], key: str, text: str) -> None:
    (fault,) = faults(*wrong)
    assert fault.key == key
    assert fault.text.startswith(text)
    assert fault.line > 0
    assert faults(*right) == []
