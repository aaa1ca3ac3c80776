"""Every import contract is seen red: a planted violation must break exactly that contract."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]

PLANTED = {
    "layers: imports point down only": ("l3ha/base/planted.py", "import l3ha.core.srg\n"),
    "base, wire and core are pure": ("l3ha/core/planted.py", "import asyncio\n"),
    "cryptography belongs to wire (and keygen in config)": ("l3ha/core/planted.py", "import cryptography\n"),
    "pyroute2 belongs to one driver": ("l3ha/agent/planted.py", "import pyroute2\n"),
    "icmplib belongs to one driver": ("l3ha/agent/planted.py", "import icmplib\n"),
    "structlog belongs to the agent's log": ("l3ha/drivers/planted.py", "import structlog\n"),
    "pydantic belongs to config": ("l3ha/cli/planted.py", "import pydantic\n"),
    "click belongs to cli": ("l3ha/control/planted.py", "import click\n"),
}


def test_every_contract_has_a_planted_violation() -> None:
    assert {c["name"] for c in CONTRACTS} == set(PLANTED)


@pytest.mark.parametrize("contract", PLANTED)
def test_contract_turns_red(contract: str, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "l3ha", tmp_path / "l3ha", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    path, text = PLANTED[contract]
    (tmp_path / path).write_text(f'"""Planted."""\n\n{text}')
    run = subprocess.run(
        [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    verdicts = {c["name"]: f"{c['name']} BROKEN" in run.stdout for c in CONTRACTS}
    assert run.returncode != 0 and verdicts[contract], run.stdout + run.stderr
