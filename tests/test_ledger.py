"""What a neighbor is known to hold: withdrawals of a young session are repeated."""

from __future__ import annotations

import random

import pytest

from l3ha.base.names import Level
from l3ha.base.time import MS, SECOND, Instant
from l3ha.core.ledger import MAX_FORESEEN, RETRY, YOUNG, Ledger, Target
from l3ha.wire.wish import Attributes

T0: Instant = 1_000 * SECOND
A = Attributes("192.0.2.1", local_preference=100)
TARGET = {"198.51.100.1/32": (Level.LOW, A), "198.51.100.2/32": (Level.LOW, A)}


def do(ledger: Ledger, now: Instant) -> list[tuple[str, ...]]:
    """Carry out the whole plan; the prefixes that were withdrawn."""
    withdrawn = []
    while ledger.rank is not None:
        job = ledger.take()
        if job.attributes is None:
            withdrawn.append(job.prefixes)
        ledger.ended(job, taken=True, reason="", now=now)
    return withdrawn


def test_an_early_withdrawal_is_repeated_once_the_session_has_grown() -> None:
    ledger = Ledger("192.0.2.9")
    ledger.session(up=True, now=T0)
    ledger.aim(TARGET)
    assert do(ledger, T0 + MS) == []
    ledger.aim({"198.51.100.1/32": (Level.LOW, A)})
    assert do(ledger, T0 + 2 * MS) == [("198.51.100.2/32",)]
    assert ledger.complete and ledger.deadline() == T0 + YOUNG
    ledger.retry(T0 + YOUNG - 1)
    assert do(ledger, T0 + YOUNG - 1) == []
    ledger.retry(T0 + YOUNG)
    assert do(ledger, T0 + YOUNG) == [("198.51.100.2/32",)]
    ledger.retry(T0 + 2 * YOUNG)
    assert do(ledger, T0 + 2 * YOUNG) == [] and ledger.deadline() is None


def test_a_prefix_that_is_wished_again_meanwhile_is_not_withdrawn() -> None:
    ledger = Ledger("192.0.2.9")
    ledger.session(up=True, now=T0)
    ledger.aim(TARGET)
    do(ledger, T0 + MS)
    ledger.aim({})
    assert len(do(ledger, T0 + 2 * MS)) == 1
    ledger.aim(TARGET)
    do(ledger, T0 + 3 * MS)
    ledger.retry(T0 + YOUNG)
    assert do(ledger, T0 + YOUNG) == [] and ledger.complete


def test_the_order_of_commands_is_level_then_family_and_withdrawals_come_last() -> None:
    ledger = Ledger("192.0.2.9")
    ledger.session(up=True, now=T0)
    ledger.aim(TARGET)
    do(ledger, T0 + MS)
    six, eight = Attributes("2001:db8::9", local_preference=100), Attributes("192.0.2.1", local_preference=80)
    ledger.aim(
        {
            "2001:db8:1::/48": (Level.LOW, six),
            "2001:db8:2::/48": (Level.HIGH, six),
            "203.0.113.1/32": (Level.MEDIUM, eight),
            "203.0.113.2/32": (Level.HIGH, eight),
        }
    )
    order = []
    while ledger.rank is not None:
        job = ledger.take()
        order.append((job.prefixes[0], job.attributes is None))
        ledger.ended(job, taken=True, reason="", now=T0 + SECOND)
    high = [("203.0.113.2/32", False), ("2001:db8:2::/48", False)]
    assert order == [*high, ("203.0.113.1/32", False), ("2001:db8:1::/48", False), ("198.51.100.1/32", True)]


def refused(ledger: Ledger, now: Instant) -> None:
    ledger.ended(ledger.take(), taken=False, reason="no", now=now)


def test_a_refused_command_waits_and_the_next_session_does_not() -> None:
    ledger = Ledger("192.0.2.9")
    ledger.session(up=True, now=T0)
    ledger.aim(TARGET)
    refused(ledger, T0)
    assert (ledger.rank, ledger.error, ledger.deadline()) == (None, "no", T0 + RETRY)
    ledger.retry(T0 + RETRY - 1)
    assert ledger.rank is None
    ledger.session(up=True, now=T0 + RETRY - 1)
    assert (ledger.rank, ledger.error) == (2 * (Level.HIGH - Level.LOW), None), (
        "what an earlier session refused is forgotten"
    )


def test_what_was_refused_does_not_keep_the_rest_waiting() -> None:
    both = {**TARGET, "2001:db8::/48": (Level.HIGH, A)}
    ledger = Ledger("192.0.2.9")
    ledger.session(up=True, now=T0)
    ledger.aim(both)
    refused(ledger, T0)
    assert ledger.rank == 2 * (Level.HIGH - Level.LOW)
    assert do(ledger, T0) == [] and not ledger.complete
    ledger.retry(T0 + RETRY)
    assert do(ledger, T0 + RETRY) == [] and ledger.complete and ledger.error is None


def test_withdrawals_come_last_and_again_in_every_session() -> None:
    ledger = Ledger("192.0.2.9")
    ledger.session(up=True, now=T0)
    ledger.aim(TARGET)
    do(ledger, T0)
    other = {"203.0.113.0/24": (Level.LOW, A)}
    ledger.aim(other)
    assert ledger.take().attributes == A, "an announcement of the least level still comes first"
    ledger.session(up=True, now=T0 + MS)
    assert len(do(ledger, T0 + 2 * MS)) == 1
    ledger.session(up=True, now=T0 + 3 * MS)
    assert len(do(ledger, T0 + 4 * MS)) == 1, "the withdrawal of an earlier session proves nothing"
    assert ledger.deadline() == T0 + 3 * MS + YOUNG


def test_memory_is_bounded_and_keeps_what_is_wished(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("l3ha.core.ledger.MAX_KNOWN", 3)
    ledger = Ledger("192.0.2.9")
    ledger.session(up=True, now=T0)
    ledger.aim(TARGET)
    do(ledger, T0 + YOUNG)
    ledger.aim({"198.51.100.1/32": (Level.LOW, A)})
    do(ledger, T0 + YOUNG)
    ledger.aim(
        {"198.51.100.1/32": (Level.LOW, A), "198.51.100.3/32": (Level.LOW, A), "198.51.100.4/32": (Level.LOW, A)}
    )
    do(ledger, T0 + YOUNG)
    ledger.resync()
    assert do(ledger, T0 + YOUNG) == [], "the one that was withdrawn is forgotten, those that are wished are not"


B = Attributes("192.0.2.1", local_preference=300)
POOL = (*(f"198.51.100.{n}/32" for n in range(4)), "2001:db8::/48")


def anything(chance: random.Random) -> Target:
    return {p: chance.choice([(Level.LOW, A), (Level.HIGH, B)]) for p in POOL if chance.random() < 0.7}


@pytest.mark.parametrize("seed", range(200))
def test_what_was_planned_ahead_is_what_would_be_planned_now(seed: int) -> None:
    """Two ledgers live through the same; only one foresees. Whatever happened in between, they plan the same."""
    chance = random.Random(seed)
    plain, wise = Ledger("192.0.2.9"), Ledger("192.0.2.9")
    both = (plain, wise)
    coming: list[Target] = [anything(chance)]
    now = T0
    for ledger in both:
        ledger.session(up=True, now=now)
        ledger.aim(coming[0])
    for _ in range(40):
        now += chance.choice([MS, RETRY, YOUNG])
        one = chance.random()
        match chance.choice(3 * ["work", "aim", "foresee"] + ["session", "found", "retry"]):
            case "work":
                while plain.rank is not None and chance.random() < 0.9:
                    for ledger in both:
                        ledger.ended(ledger.take(), taken=one < 0.8, reason="no", now=now)
            case "aim":
                target = chance.choice([*coming, anything(chance)])
                for ledger in both:
                    ledger.aim(target)
            case "foresee":
                coming = [*coming[-1:], anything(chance)]
                wise.foresee(coming[-1])
            case "session":
                for ledger in both:
                    ledger.session(up=one < 0.8, now=now)
            case "found":
                for ledger in both:
                    ledger.found(POOL[int(one * len(POOL))], "192.0.2.1")
                    ledger.settle()
            case "retry":
                for ledger in both:
                    ledger.retry(now)
        assert plain._plan == wise._plan


def test_a_plan_that_was_foreseen_is_not_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = Ledger("192.0.2.9")
    ledger.session(up=True, now=T0)
    ledger.aim(TARGET)
    higher = dict.fromkeys(TARGET, (Level.HIGH, B))
    ledger.foresee(higher)
    do(ledger, T0)
    made: list[Target] = []
    plan = ledger._jobs
    monkeypatch.setattr(ledger, "_jobs", lambda target: made.append(target) or plan(target))
    for _ in range(2):
        ledger.foresee(higher)
        ledger.foresee(TARGET)
    assert made == [higher, TARGET], "not while there was something to do, and then once each"
    ledger.aim(higher)
    assert made == [higher, TARGET] and len(ledger._plan) == 1
    assert do(ledger, T0) == [] and ledger.complete
    ledger.aim(TARGET)
    assert len(ledger._plan) == 1, "what was planned before the neighbor held something else is forgotten"
    do(ledger, T0)
    ledger.foresee({})
    ledger.foresee(TARGET)
    ledger.foresee(dict(TARGET))
    assert len(ledger._foreseen) == MAX_FORESEEN
