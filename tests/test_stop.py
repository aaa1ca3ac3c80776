"""How the agent ends: what it waits for, its last words, and when it is done."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from l3ha.base.names import Intent
from l3ha.base.time import MS, SECOND, Duration, Instant
from l3ha.core.stop import FAREWELL_GAP, FAREWELLS, Stop, StopWord
from tests.world import TIMERS

T0: Instant = 1_000 * SECOND
MOVE: Duration = TIMERS.grant + TIMERS.drain + TIMERS.verify
WAIT, SAY, DONE = StopWord.WAIT, StopWord.SAY, StopWord.DONE

Fact = Callable[[Instant], bool]


def never(_now: Instant) -> bool:
    return False


def always(_now: Instant) -> bool:
    return True


def story(intent: Intent, *, occupied: Fact, withdrawn: Fact, alone: bool = False) -> list[tuple[Duration, StopWord]]:
    """What is said, stepped every millisecond, the deadlines among them: time since the beginning, and word."""
    stop, said = Stop(intent, T0, TIMERS, alone=alone), list[tuple[Duration, StopWord]]()
    assert stop.deadline == T0
    for now in range(T0, T0 + 60 * SECOND, MS):
        due = stop.deadline <= now
        word = stop.step(now, occupied=occupied(now), withdrawn=withdrawn(now))
        assert stop.deadline > now or word is DONE
        if word is not WAIT:
            said.append((now - T0, word))
            assert due or not occupied(now), "the deadline was in time for it"
        if word is DONE:
            return said
    raise AssertionError(said)


def farewells(begin: Duration, end: Duration) -> list[tuple[Duration, StopWord]]:
    return [*((at, SAY) for at in range(begin, end, FAREWELL_GAP)), (end, DONE)]


def test_three_last_words_then_the_end() -> None:
    assert FAREWELLS == 3
    assert story(Intent.LEAVING, occupied=never, withdrawn=always) == farewells(0, 3 * FAREWELL_GAP)


def test_leaving_waits_until_the_groups_have_moved() -> None:
    moved = story(Intent.LEAVING, occupied=lambda now: now < T0 + 300 * MS, withdrawn=always)
    assert moved == farewells(300 * MS, 300 * MS + 3 * FAREWELL_GAP)


def test_it_waits_no_longer_than_a_move_may_take() -> None:
    assert story(Intent.LEAVING, occupied=always, withdrawn=always) == farewells(MOVE, MOVE + 3 * FAREWELL_GAP)


def test_the_last_word_is_repeated_until_routers_have_the_withdrawal() -> None:
    late = story(Intent.LEAVING, occupied=never, withdrawn=lambda now: now >= T0 + 500 * MS)
    assert late == farewells(0, 500 * MS)


def test_but_no_longer_than_a_move_and_t_bgp() -> None:
    assert story(Intent.LEAVING, occupied=never, withdrawn=never) == farewells(0, MOVE + TIMERS.bgp)


@pytest.mark.parametrize(
    ("intent", "alone", "end"), [(Intent.RESTARTING, False, 3 * FAREWELL_GAP), (Intent.LEAVING, True, TIMERS.bgp)]
)
def test_who_moves_nothing_waits_for_no_move(intent: Intent, alone: bool, end: Duration) -> None:
    """A new start keeps its roles and routes; who is alone has nobody to give them to, and takes the routes back."""
    assert story(intent, occupied=always, withdrawn=never, alone=alone) == farewells(0, end)
