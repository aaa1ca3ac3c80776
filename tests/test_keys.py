"""The bucket that bounds handshakes: exact to the token."""

from __future__ import annotations

from l3ha.base.time import MS, SECOND, Instant
from l3ha.core.keys import TokenBucket

T0: Instant = 1_000 * SECOND


def test_a_bucket_gives_its_burst_and_then_its_rate() -> None:
    bucket = TokenBucket(10, 3, T0)
    assert [bucket.take(T0) for _ in range(4)] == [True, True, True, False]
    assert not bucket.take(T0 + 100 * MS - 1)
    assert bucket.take(T0 + 100 * MS)
    assert not bucket.take(T0 + 100 * MS), "time counts once"
    assert [bucket.take(T0 + 60 * SECOND) for _ in range(4)] == [True, True, True, False], "no more than the burst"


def test_a_clock_that_goes_back_takes_nothing_away() -> None:
    bucket = TokenBucket(10, 2, T0)
    assert bucket.take(T0) and bucket.take(T0 - SECOND)
    assert not bucket.take(T0 - SECOND) and bucket.take(T0 - SECOND + 100 * MS)
