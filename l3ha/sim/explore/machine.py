"""The real ``SrgMachine`` as a value: every field that decides, relative to now and to the greatest number seen.

``save`` is the canonical form: what no rule can look at any more is cut off (ages beyond their timer, texts, terms of a
node that advertises none), so that equal futures have equal values. ``load`` gives the machine back. A field of
``SrgMachine`` that is not known here is an error, not a silent loss.
"""

from __future__ import annotations

from typing import TypeAlias

from l3ha.base.names import NodeId, SrgState, Term
from l3ha.base.settings import Srg, Timers
from l3ha.base.time import Instant
from l3ha.core.facts import Rule
from l3ha.core.group import Grant, Move, Verification
from l3ha.core.srg import SrgMachine

Saved: TypeAlias = tuple[object, ...]
Fields: TypeAlias = tuple[
    SrgState,
    bool,
    int,
    int | None,
    tuple[int, int, int] | None,
    bool,
    bool,
    bool,
    tuple[int, int, int, bool] | None,
    int,
    int,
    int | None,
    int | None,
    int | None,
    bool,
    int | None,
    tuple[int, int | None, bool] | None,
    int | None,
]

KNOWN = frozenset(
    (
        "srg",
        "me",
        "timers",
        "state",
        "confirmed",
        "term",
        "seen",
        "_remembered",
        "_skipped",
        "claim",
        "grant",
        "heir",
        "rule",
        "reason",
        "since",
        "rule_at",
        "move",
        "verified",
        "contact",
        "_boot",
        "_numbered",
        "_eligible_since",
        "_noactive_since",
        "_superset_since",
        "_better_since",
        "_preempted",
        "_was_active",
        "_drain_until",
        "_verification",
        "_wanted",
        "_last_given",
        "_notes",
    )
)


def save(m: SrgMachine, now: Instant) -> Fields:
    """The canonical form; ``seen`` itself becomes zero."""
    t = m.timers
    seen = int(m.seen)
    bears = m.state is SrgState.ACTIVE or m.draining
    grant = None if m.grant is None else (m.grant.number - seen, int(m.grant.to), max(0, m.grant.until - now))
    long_ago = t.verify + t.grant + t.drain + 1
    proof = m._verification
    return (
        m.state,
        m.confirmed,
        m.term - seen if bears else max(-1, m.term - seen),
        None if m.claim is None else m.claim - seen,
        grant,
        m.heir,
        m.verified and m.state is SrgState.ACTIVE,
        m.contact,
        None if m.move is None else _move(m.move, seen, min(now - m.move.started, long_ago)),
        min(now - m.since, t.elect) if m.state is SrgState.HOLD else t.elect,
        min(now - m._boot, t.boot),
        _age(m._eligible_since, t.recover, now),
        _age(m._noactive_since, t.noactive, now),
        _age(m._superset_since, t.settle, now),
        m.contact and bool(m._was_active),
        None if m._drain_until is None else max(0, m._drain_until - now),
        None if proof is None else (max(0, proof.until - now), proof.giver, proof.need_win),
        None if m._last_given is None or now - m._last_given >= long_ago else now - m._last_given,
    )


def load(
    kind: type[SrgMachine], saved: Fields, srg: Srg, me: NodeId, peer: NodeId, t: Timers, at: Instant
) -> SrgMachine:
    """A machine as it was at ``at``."""
    (
        state, confirmed, term, claim, grant, heir, verified, contact, move, since, boot, eligible, noactive, superset,
        was_active, drain, proof, given,
    ) = saved  # fmt: skip
    m = kind.__new__(kind)
    vars(m).update(
        srg=srg,
        me=me,
        timers=t,
        state=state,
        confirmed=confirmed,
        term=Term(term),
        seen=Term(0),
        _remembered=Term(0),  # of no use after the start, nor is the next
        _skipped=Term(0),
        claim=claim,
        grant=grant and Grant(Term(grant[0]), NodeId(grant[1]), at + grant[2]),
        heir=heir,
        rule=Rule.BOOT,
        reason="",
        since=at - since,
        rule_at=at,
        move=move and Move(NodeId(move[0]), Term(move[1]), "", at - move[2], move[3]),
        verified=verified,
        contact=contact,
        _boot=at - boot,
        _numbered=at,
        _eligible_since=_instant(eligible, at),
        _noactive_since=_instant(noactive, at),
        _superset_since=_instant(superset, at),
        _better_since=None,
        _preempted=(),
        _was_active=frozenset({peer}) if was_active else frozenset(),
        _drain_until=None if drain is None else at + drain,
        _verification=proof and Verification(at + proof[0], None if proof[1] is None else NodeId(proof[1]), proof[2]),
        _wanted=None,
        _last_given=_instant(given, at),
        _notes=[],
    )
    return m


def check_fields(m: SrgMachine) -> None:
    """Raise where ``SrgMachine`` has a field that ``save`` does not know."""
    unknown = vars(m).keys() ^ KNOWN
    if unknown:
        raise AssertionError(f"SrgMachine and the explorer differ in fields: {', '.join(sorted(unknown))}")


def _move(m: Move, seen: int, age: int) -> tuple[int, int, int, bool]:
    return (int(m.to), m.number - seen, age, m.active)


def _age(since: Instant | None, cap: int, now: Instant) -> int | None:
    return None if since is None else min(now - since, cap)


def _instant(age: int | None, at: Instant) -> Instant | None:
    return None if age is None else at - age
