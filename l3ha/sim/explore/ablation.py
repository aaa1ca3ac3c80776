"""The machine with one rule less: what a rule is for is what goes wrong without it.

Nothing in ``l3ha.core`` knows of this. A row is dropped by a subclass that reads the same tables; a fact is taken away
where the explorer makes it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from l3ha.base.names import SrgState, Term
from l3ha.base.time import Instant
from l3ha.core.events import Note
from l3ha.core.facts import Facts, Rule
from l3ha.core.srg import ALONE, ANY, CONTACT, SrgMachine, Table
from l3ha.sim.explore.node import Cut


class Dropped(SrgMachine):
    """Rows of the table are missing."""

    rules: ClassVar[frozenset[Rule]] = frozenset()

    def _table(self, facts: Facts) -> Table:
        return tuple(row for row in super()._table(facts) if row[0] not in self.rules)


class NoGrant(SrgMachine):
    """A claim is a takeover: nobody is asked."""

    def _claim(self, rule: Rule, why: str, now: Instant) -> bool:
        self._activate(Term(self.seen + 1), rule, why, now)
        return True


class NoHeir(SrgMachine):
    """Every BACKUP may take over in silence, again and again."""

    def step(self, facts: Facts, now: Instant) -> list[Note]:
        """Make an heir of every lone BACKUP, then step."""
        self.heir = self.heir or (self.state is SrgState.BACKUP and not facts.contact and not self.contact)
        return super().step(facts, now)


class NoSuccession(SrgMachine):
    """A peer that is not ACTIVE, but not INELIGIBLE either, is never succeeded."""

    def _one(self, facts: Facts, now: Instant) -> bool:
        self._noactive_since = None
        return super()._one(facts, now)


class ShortGrant(SrgMachine):
    """A promise ends with contact."""

    def _contact_edge(self, *, gained: bool) -> None:
        super()._contact_edge(gained=gained)
        self.grant = None if not gained else self.grant


def without(*rules: Rule) -> type[SrgMachine]:
    """The machine without these rows."""
    return type("Dropped", (Dropped,), {"rules": frozenset(rules)})


@dataclass(frozen=True, slots=True)
class Ablation:
    """One thing taken away."""

    name: str
    kind: type[SrgMachine] = SrgMachine
    cut: Cut | None = None
    fencing: bool = True
    fold: int | None = None
    """Where its numbers would grow for ever."""


ABLATIONS = (
    Ablation("no grant", NoGrant),
    Ablation("no term", fencing=False),
    Ablation("no heir", NoHeir, fold=12),
    Ablation("no succeed after T_noactive", NoSuccession),
    Ablation("a grant ends with contact", ShortGrant),
    Ablation("hearing is contact", cut=Cut(hearing_is_contact=True)),
    Ablation("no own-address probe", cut=Cut(no_own_probe=True)),
    Ablation("no isolation", cut=Cut(no_isolation=True)),
    Ablation("no pause", cut=Cut(no_pause=True)),
    Ablation("bound counts nothing", cut=Cut(bound_counts=False)),
    *(Ablation(f"without {name}", without(name)) for name, _ in ANY + CONTACT + ALONE),
)
