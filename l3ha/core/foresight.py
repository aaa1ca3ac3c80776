"""Wishes that may come next, told to the speaker when nothing happens.

To make a wish, write it and read it is a third of what routers would wait for. What comes then is the same bytes, so
the speaker has the wish already; and any other wish is made as if none had been foreseen.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from l3ha.base.settings import Settings
from l3ha.core import wishes
from l3ha.core.wishes import Levels
from l3ha.wire import wishline
from l3ha.wire.wish import Wish


@dataclass(frozen=True, slots=True)
class _Case:
    """One of them. It holds as long as the wish before it is the newest, and the settings are the same."""

    said: tuple[object, ...]
    wish: Wish
    line: bytes


class Foresight:
    """See the module. For one connection of the speaker, and one set of settings."""

    def __init__(self) -> None:
        self._cases: tuple[_Case, ...] = ()

    def look(self, s: Settings, newest: Wish, present: Levels, cases: Iterable[Levels]) -> list[bytes]:
        """Only these cases from now on. Returns the lines of those that are not told yet."""
        number = newest.number + 1
        kept = {c.said: c for c in self._cases if c.wish.number == number}
        wanted = {wishes.said(s, levels): levels for levels in cases}
        wanted.pop(wishes.said(s, present), None)
        new = []
        for said in [x for x in wanted if x not in kept]:
            wish = wishes.make(s, newest.agent, number, wanted[said])
            kept[said] = _Case(said, wish, wishline.encode(wish))
            new.append(wishline.ahead(kept[said].line))
        self._cases = tuple(kept[said] for said in wanted)
        return new

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
