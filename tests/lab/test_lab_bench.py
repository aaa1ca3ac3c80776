"""One contender, one fault, one run: the benchmark measures and writes what it measured."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lab import topology
from lab.topology import REPOSITORY

pytestmark = [pytest.mark.lab, pytest.mark.timeout(90)]


def test_benchmark_of_one_contender_and_one_fault(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root")
    tag = f"bench{os.getpid()}"
    argv = [sys.executable, "-m", "lab", "bench", "--tag", tag, "--out", str(tmp_path), "--docs", str(tmp_path)]
    argv += ["--only", "bird-bfd", "--faults", "silent-death", "--routers", "bird", "--runs", "1", "--seconds", "1"]
    done = subprocess.run(argv, cwd=REPOSITORY, capture_output=True, text=True, timeout=80, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (found,) = json.loads((tmp_path / "results.json").read_text())["records"]
    assert found["failure"] is None
    assert found["phase"]["back"]
    assert min(found["phase"]["gap_ms"]) > 50  # BFD gives up after 150 ms at the latest, and before that it loses
    assert max(found["phase"]["gap_ms"]) < 1500
    assert found["mending"]["back"]
    assert "BIRD + BFD" in (tmp_path / "benchmark.md").read_text()
    assert (tmp_path / "benchmark-bird.svg").read_text().startswith("<svg")
    assert topology.existing(tag) == []
