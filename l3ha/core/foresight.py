"""Wishes that may come next, told to the speaker when nothing happens.

To make a wish, write it and read it is a quarter of what routers would wait for. What comes then is the same bytes, so
the speaker has the wish already; and any other wish is made as if none had been foreseen.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from l3ha.base.names import Level, SrgState, Term
from l3ha.base.settings import Settings
from l3ha.core import wishes
from l3ha.core.group import Group
from l3ha.core.wishes import Levels
from l3ha.wire import wishline
from l3ha.wire.wish import Wish

FEW = 1000
"""Prefixes of all neighbors together. Where they are more, the time to make a wish is nothing beside ExaBGP's."""


@dataclass(frozen=True, slots=True)
class _Case:
    """One of them. It holds as long as the wish before it is the newest, and the settings are the same."""

    said: tuple[object, ...]
    wish: Wish
    line: bytes


def cases(groups: Collection[Group], present: Levels) -> list[Levels]:
    """What the levels may be next: all groups of a peer come here, or ours all go."""
    takes = {g.srg.id: (Level.HIGH, Term(g.seen + 1)) for g in groups if g.state is SrgState.BACKUP}
    active = any(g.state is SrgState.ACTIVE for g in groups)
    gives = {g.srg.id: (Level.LOW, g.term) for g in groups if active}
    return [{**present, **change} for change in (takes, gives) if change]


class Foresight:
    """See the module. For one connection of the speaker, and one set of settings."""

    def __init__(self) -> None:
        self._cases: tuple[_Case, ...] = ()

    def look(self, s: Settings, newest: Wish, present: Levels, cases: Iterable[Levels]) -> list[bytes]:
        """These cases and no others from now on. Returns their lines, all unless all are told already, because the
        speaker keeps only the newest ones."""
        number = newest.number + 1
        wanted = {wishes.said(s, levels): levels for levels in cases}
        wanted.pop(wishes.said(s, present), None)
        told = [c.said for c in self._cases if c.wish.number == number]
        if list(wanted) == told or sum(len(g.prefixes) for n in newest.neighbors for g in n.routes) > FEW:
            return []
        made = {said: wishes.make(s, newest.agent, number, levels) for said, levels in wanted.items()}
        self._cases = tuple(_Case(said, wish, wishline.encode(wish)) for said, wish in made.items())
        return [wishline.ahead(c.line) for c in self._cases]

    def find(self, s: Settings, number: int, levels: Levels, covered: frozenset[str]) -> Wish | None:
        """The wish for these levels, if it was told; not where a session is to be ended for it."""
        if not self._cases:
            return None
        said = wishes.said(s, levels)
        wish = next((c.wish for c in self._cases if c.said == said and c.wish.number == number), None)
        if wish is None or not covered:
            return wish
        told = zip(wishes.in_turn(s), wish.neighbors, strict=True)
        return None if any(wishes.drops(s, n, x.routes, covered) for n, x in told) else wish

    def line(self, wish: Wish) -> bytes | None:
        """The bytes in which it was told."""
        return next((c.line for c in self._cases if c.wish is wish), None)
