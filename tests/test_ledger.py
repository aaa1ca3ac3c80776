"""What a neighbor is known to hold: withdrawals of a young session are repeated."""

from __future__ import annotations

from l3ha.base.names import Level
from l3ha.base.time import MS, SECOND, Instant
from l3ha.core.ledger import YOUNG, Ledger
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
