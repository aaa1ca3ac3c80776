"""One contender, one fault, one run: the benchmark measures and writes what it measured."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lab import topology
from lab.bench.accident import ACCIDENTS
from lab.bench.campaign import Campaign
from lab.bench.daemons import Bird
from lab.command import LabError
from lab.routers import RouterKind
from lab.topology import REPOSITORY

pytestmark = [pytest.mark.lab, pytest.mark.timeout(90)]


class Broken(Bird):
    """A contender that cannot even be configured."""

    name = "bird-bfd"

    def prepare(self) -> None:
        raise LabError("no licence")


def test_a_contender_that_does_not_come_up_failed_every_fault() -> None:
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root")
    said: list[str] = []
    tag = f"broken{os.getpid()}"
    campaign = Campaign(tag, [Broken], ACCIDENTS, [RouterKind.BIRD], 2, said.append)
    found = campaign.run().records
    faults = [accident.name for accident in ACCIDENTS if accident.name not in Broken.absent]
    assert [(one.run, one.fault) for one in found] == [(run, fault) for run in (1, 2) for fault in faults]
    assert {one.failure for one in found} == {"no licence"}
    assert len(said) == len(found)
    assert topology.existing(tag) == []


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
