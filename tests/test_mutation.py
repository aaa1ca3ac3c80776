"""The mutation run's own ground: mutants compile, differ, keep their names; reasons are about mutants that exist."""

from __future__ import annotations

import ast

import pytest

from tests.mutation.__main__ import Coverage, challenge, modules, reasons
from tests.mutation.covered import ROOT
from tests.mutation.mutants import mutants, sample


@pytest.mark.parametrize("module", modules(None))
def test_every_mutant_is_another_program(module: str) -> None:
    source = (ROOT / module).read_text()
    same, found = ast.unparse(ast.parse(source)), mutants(ROOT, module)
    assert len({m.name for m in found}) == len(found)
    for m in sample(found, 25, 1):
        changed = m.tree(source)
        compile(changed, module, "exec")
        assert ast.unparse(changed) != same, m.name


def test_a_sample_is_the_same_again_and_inside_a_greater_one() -> None:
    found = mutants(ROOT, "l3ha/core/srg.py")
    few, more = sample(found, 10, 7), sample(found, 30, 7)
    assert few == sample(found, 10, 7)
    assert {m.name for m in few} < {m.name for m in more}
    assert few != sample(found, 10, 8)


def test_every_reason_is_about_a_mutant() -> None:
    names = {m.name for module in modules(None) for m in mutants(ROOT, module)}
    assert not reasons().keys() - names, "in survivors.md, but no such change can be made any more"


def test_what_is_tested_is_killed_and_what_is_not_survives() -> None:
    """Two mutants of the checksum against one true test, and against one that looks elsewhere."""
    found = [m for m in mutants(ROOT, "l3ha/wire/icmp.py") if m.where == "checksum"][:2]
    right, blind = "tests/test_icmp.py::test_checksum_of_the_rfc_1071_example", "tests/test_preference.py"
    measured = Coverage({right: 0.1, blind: 0.1}, {})
    assert set(challenge([(m, [right]) for m in found], measured, 2).values()) == {"killed"}
    assert set(challenge([(m, [blind]) for m in found], measured, 2).values()) == {"survived"}
    assert set(challenge([(m, []) for m in found], measured, 2).values()) == {"untested"}


def test_who_is_shown_a_mutant() -> None:
    """Tests of its line, else of its module; of declarations, which run at import, everybody."""
    module = "l3ha/core/stop.py"
    found = mutants(ROOT, module)
    inside = next(m for m in found if m.where == "Stop.step")
    outside = next(m for m in found if not m.where)
    lines = {str(inside.line): ["step"], str(inside.last): ["step"], "1000": ["other", "step"], str(outside.line): []}
    measured = Coverage({"step": 0.2, "other": 0.1, "far": 0.3}, {module: lines})
    assert measured.tests(inside) == ["step"]
    assert measured.tests(outside) == ["other", "step"]
    declared = Coverage(measured.durations, {module: {str(inside.line): []}})
    assert declared.tests(inside) == ["other", "step", "far"]
