"""The distribution of how late the loop is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from l3ha.base.time import HOUR, MS, SECOND, US
from l3ha.core.lateness import BUCKETS, Lateness


@given(st.lists(st.integers(0, 20 * SECOND), min_size=1, max_size=200), st.integers(1, 1000))
def test_a_bound_holds_for_as_many_as_it_says_and_is_less_than_double(late: list[int], per_mille: int) -> None:
    seen = Lateness()
    for value in late:
        seen.record(value)
    bound = seen.within(per_mille)
    assert sum(value <= bound for value in late) * 1000 >= per_mille * len(late)
    exact = sorted(late)[-(-len(late) * per_mille // 1000) - 1]
    assert bound <= max(2 * exact, US) or exact > (1 << (BUCKETS - 2)) * US  # the last bucket has no end
    assert bound <= seen.worst == max(late) and seen.count == len(late)


@pytest.mark.parametrize(
    ("late", "bound"),
    [
        (0, US), (1, US), (US, US), (US + 1, 2 * US), (2 * US, 2 * US), (2 * US + 1, 4 * US), (4 * US, 4 * US),
        (2**22 * US, 2**22 * US), (2**22 * US + 1, HOUR),
    ],
)  # fmt: skip
def test_bounds_double_up_to_four_seconds(late: int, bound: int) -> None:
    """Half of what was seen; beyond four seconds only the worst is known."""
    seen = Lateness()
    seen.record(late)
    assert (seen.within(500), seen.within(1000), seen.worst) == (min(bound, late), min(bound, late), late)
    seen.record(HOUR)
    assert (seen.within(500), seen.within(501), seen.worst) == (bound, HOUR, HOUR)


def test_half_of_an_odd_number_is_more_than_the_lesser_half() -> None:
    seen = Lateness()
    for late in 500 * [US] + 501 * [8 * US]:
        seen.record(late)
    assert (seen.within(499), seen.within(500)) == (US, 8 * US)


def test_nothing_seen_and_nothing_left() -> None:
    seen = Lateness()
    assert (seen.count, seen.within(999), seen.worst) == (0, 0, 0)
    seen.record(3 * MS)
    seen.clear()
    assert (seen.count, seen.within(999), seen.worst) == (0, 0, 0)
