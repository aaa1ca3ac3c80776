"""docs/configuration.md is made from the code. ``L3HA_REWRITE=1`` writes it again."""

from __future__ import annotations

import os
from pathlib import Path

from l3ha.config import reference

PAGE = Path(__file__).parent.parent / "docs" / "configuration.md"


def test_generated_reference() -> None:
    if os.environ.get("L3HA_REWRITE"):
        PAGE.parent.mkdir(exist_ok=True)
        PAGE.write_text(reference.render())
    assert PAGE.read_text() == reference.render(), "run `make docs`"


def test_every_key_has_a_type_and_a_meaning() -> None:
    rows = [line.split(" | ") for line in reference.render().splitlines() if line.startswith("| `")]
    assert len(rows) > 70
    assert all(cell.strip(" |") for row in rows for cell in (row[0], row[1], row[-1]))
