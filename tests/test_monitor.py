"""Monitors: rise and fall, at once on news, repeated samples, weights."""

from __future__ import annotations

from dataclasses import replace

from l3ha.base.settings import Monitor, MonitorKind
from l3ha.base.time import MS, NEVER, SECOND
from l3ha.core.monitor import Watch, failed_weight, failure_codes

M = Monitor("uplink", MonitorKind.INTERFACE, "eth1", None, 60, 1, 1, SECOND)


def test_unknown_is_neither_up_nor_failed() -> None:
    w = Watch(M)
    assert w.up is None and failed_weight([w]) == 0 and failure_codes([w]) == ()


def test_carrier_loss_counts_at_once() -> None:
    w = Watch(M)
    assert w.observe(True, "carrier", 1)
    assert not w.observe(True, "carrier", 2), "no news"
    assert w.observe(False, "no carrier", 3)
    assert (w.up, w.since, failed_weight([w]), failure_codes([w])) == (False, 3, 60, ("IF",))


def test_rise_and_fall() -> None:
    w = Watch(replace(M, rise=3, fall=2))
    assert w.sample(True, "", 1), "the very first good sample needs no rise"
    assert not w.sample(False, "", 2)
    assert not w.sample(True, "", 3)
    assert not w.sample(False, "", 4), "in a row"
    assert w.sample(False, "", 5) and w.up is False
    assert [w.sample(True, "", t) for t in (6, 7, 8)] == [False, False, True]


def test_a_lasting_state_is_sampled_again() -> None:
    w = Watch(replace(M, fall=3, interval=100 * MS))
    w.observe(True, "carrier", 0)
    w.observe(False, "no carrier", 10 * MS)
    assert not w.tick(50 * MS)
    assert not w.tick(110 * MS)
    assert w.tick(210 * MS) and w.up is False


def test_weights_add_up() -> None:
    a, b = Watch(M), Watch(replace(M, name="dns", kind=MonitorKind.IP, weight=50))
    for w in (a, b):
        w.sample(False, "", 1)
    assert failed_weight([a, b]) == 110
    assert failure_codes([a, b]) == ("IF", "IP")


def test_a_sample_is_due_an_interval_after_the_last_one() -> None:
    w = Watch(replace(M, rise=2, fall=3))
    assert (w.next, w.reason) == (NEVER, "no sample yet")
    assert not w.sample(False, "no carrier", 8), "one bad sample of three"
    assert w.reason == "no carrier"
    assert not w.observe(False, "no carrier", 9)
    assert w.up is None and w.next == 9 + SECOND
    assert not w.tick(9 + SECOND - 1) and w.next == 9 + SECOND
    assert w.tick(9 + SECOND + 5) and w.up is False


def test_a_verdict_that_says_what_was_observed_wakes_nobody() -> None:
    w = Watch(replace(M, rise=2, fall=2))
    assert w.observe(True, "carrier", 9) and w.next == NEVER
    assert not w.observe(False, "no carrier", 20) and w.next == 20 + SECOND
    assert not w.observe(True, "carrier", 30) and w.next == NEVER, "back before the verdict"
    assert not w.observe(False, "no carrier", 40) and w.next == 40 + SECOND
    w.cannot_tell("the daemon is silent")
    assert w.next == NEVER and not w.tick(NEVER)
    assert w.observe(False, "no carrier", 50) and w.up is False and w.next == NEVER, "the second in a row"
