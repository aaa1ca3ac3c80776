"""docs/failure-modes.md: every name in it exists, every fault of ours stands in it, and its endings are true."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

from l3ha.base.names import NodeState, SrgState
from l3ha.core.facts import Rule
from l3ha.sim import bounds
from l3ha.sim.campaign import run
from l3ha.sim.case import Case
from l3ha.sim.faults import Kind
from l3ha.sim.scenario import STORIES, case_of
from lab.faults import FAULTS

TESTS = Path(__file__).parent
DOCUMENT = TESTS.parent / "docs" / "failure-modes.md"
RULES = DOCUMENT.with_name("rules.md")
COLUMNS = 6


@cache
def rows() -> list[list[str]]:
    """The cells of every row of every table."""
    lines = [line for line in DOCUMENT.read_text().splitlines() if line.startswith("| ")]
    return [[c.strip() for c in line.strip("|").split("|")] for line in lines if not line.startswith("| what ")]


def _cells(text: str) -> list[str]:
    return re.findall(r"`([^`]+)`", text)


def _wrong(proof: str) -> str:
    """What is wrong with a reference; empty where it exists."""
    kind, _, name = proof.partition(" ")
    match kind:
        case "scenario":
            return "" if name in STORIES else "no such scenario"
        case "case":
            return "" if (TESTS / "sim_seeds" / f"{name}.json").is_file() else "no such kept case"
        case "lab":
            return "" if any(f.name == name for f in FAULTS) else "no such fault of the lab"
        case _:
            return _wrong_test(proof)


def _wrong_test(proof: str) -> str:
    file, _, test = proof.partition("::")
    path = TESTS / f"{file}.py"
    if not path.is_file():
        return "no such file"
    return "" if re.search(rf"^def {re.escape(test)}\(", path.read_text(), re.M) else "no such test"


def test_it_has_rows_and_each_is_whole() -> None:
    assert len(rows()) > 45
    assert [row[0] for row in rows() if len(row) != COLUMNS or not all(row)] == []


def test_every_proof_exists_and_no_row_is_without() -> None:
    assert [row[0] for row in rows() if not _cells(row[5])] == []
    assert {p: w for row in rows() for p in _cells(row[5]) if (w := _wrong(p))} == {}


def test_a_reference_into_the_void_is_seen() -> None:
    for proof in ("scenario nonsense", "case nonsense", "lab nonsense", "test_srg::test_nonsense", "test_none::test_x"):
        assert _wrong(proof)


def test_every_fault_stands_in_it() -> None:
    named: dict[str, set[str]] = {"sim": set(), "lab": set()}
    for row in rows():
        for where, names in re.findall(r"(sim|lab) ((?:`[^`]+`(?:, )?)+)", row[4]):
            named[where] |= set(_cells(names))
    assert named == {"sim": {str(k) for k in Kind}, "lab": {f.name for f in FAULTS}}


def test_every_scenario_is_told_and_every_rule_named() -> None:
    text = DOCUMENT.read_text()
    assert set(STORIES) - {p.removeprefix("scenario ") for p in _cells(text)} == set()
    named = set(re.findall(r"(?<!\*)\*([a-z ]+)\*(?!\*)", " ".join(cell for row in rows() for cell in row)))
    assert named <= {str(r) for r in Rule}
    assert {str(r) for r in Rule} - named == {"boot", "bound"}, "the two that change nothing"


def test_every_rule_and_state_is_explained() -> None:
    text = RULES.read_text()
    assert [rule for rule in Rule if f"| *{rule}* |" not in text] == []
    assert [state for state in (*SrgState, *NodeState) if f"| {state} |" not in text] == []


def test_every_bound_is_one() -> None:
    for name in re.findall(r"`bounds\.(\w+)`", DOCUMENT.read_text()):
        assert hasattr(bounds, name), name


@pytest.mark.parametrize(
    ("name", "ending"), [("crossed-links", "K1"), ("unheard-and-misled", "K2"), ("nobody-answers", "K3")]
)
def test_accepted_endings_are_what_they_are_called(name: str, ending: str) -> None:
    outcome = run(case_of(STORIES[name], 1))
    assert outcome.verdict.startswith(f"{ending} "), outcome.text or outcome.verdict


def test_a_blind_node_beside_the_winner_is_an_accepted_ending() -> None:
    outcome = run(Case.from_json((TESTS / "sim_seeds" / "blind-beside-the-winner.json").read_text()))
    assert outcome.verdict == "K4 unheard, and one took over blindly", outcome.text


def test_a_deaf_node_that_was_outranked_steps_down() -> None:
    """Its routers never answered it; that they answer the floating address it knows from the peer's words."""
    outcome = run(Case.from_json((TESTS / "sim_seeds" / "unheard-one-way.json").read_text()))
    assert outcome.verdict == "1 ACTIVE", outcome.text or outcome.verdict
