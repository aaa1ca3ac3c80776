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
from lab.world import BASE

pytestmark = [pytest.mark.lab, pytest.mark.timeout(90)]


class Broken(Bird):
    """A contender that cannot even be configured."""

    name = "bird-bfd"

    def prepare(self) -> None:
        raise LabError("no licence")


class Wrong(Bird):
    """A contender with a fault of ours."""

    name = "bird-bfd"

    def prepare(self) -> None:
        raise ValueError("a fault of ours")


@pytest.mark.parametrize("jobs", [1, 3])
def test_a_contender_that_does_not_come_up_failed_every_fault(jobs: int) -> None:
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root")
    said: list[str] = []
    tag = f"broken{os.getpid()}"
    campaign = Campaign(tag, [Broken], ACCIDENTS, [RouterKind.BIRD], 2, said.append, jobs=jobs)
    found = campaign.run().records
    faults = [accident.name for accident in ACCIDENTS if accident.name not in Broken.absent]
    assert sorted((one.run, one.fault) for one in found) == sorted((run, one) for run in (1, 2) for one in faults)
    assert {one.failure for one in found} == {"no licence"}
    assert len(said) == len(found)
    assert _labs(tag) == []


def test_a_fault_of_ours_is_no_failed_run() -> None:
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root")
    tag = f"wrong{os.getpid()}"
    with pytest.raises(ValueError, match="a fault of ours"):
        Campaign(tag, [Wrong], ACCIDENTS, [RouterKind.BIRD], 9, print, jobs=2).run()
    assert _labs(tag) == []


def test_an_interrupted_benchmark_leaves_no_lab_and_notes_no_failure(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root")
    tag = f"over{os.getpid()}"
    argv = [sys.executable, "-m", "lab", "bench", "--tag", tag, "--out", str(tmp_path), "--parts", "comparison"]
    argv += ["--only", "bird-bfd", "--routers", "bird", "--runs", "9", "--seconds", "0", "--jobs", "2"]
    argv += ["--faults", "carrier-loss,one-uplink"]  # no silence: it lasts for the hold time where BFD is down before
    with subprocess.Popen(argv, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as bench:
        try:
            assert bench.stdout is not None
            assert "carrier-loss" in bench.stdout.readline()
            assert _labs(tag) == [f"{tag}-1", f"{tag}-2"]
        finally:
            bench.terminate()
        assert bench.wait(30) == 143
    assert _labs(tag) == []
    assert [one["failure"] for one in json.loads((tmp_path / "results.json").read_text())["records"]] in (
        [None],
        [None, None],
    )


def _labs(tag: str) -> list[str]:
    """Those of a tag and its workers that have a directory or a namespace."""
    tags = (tag, *(f"{tag}-{number}" for number in (1, 2, 3)))
    return [one for one in tags if (BASE / one).exists() or topology.existing(one)]


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
    assert (
        max(found["phase"]["gap_ms"]) < 20_000
    )  # where the machine stalls before, BFD is down and the hold time counts
    assert found["mending"]["back"]
    assert "BIRD + BFD" in (tmp_path / "benchmark.md").read_text()
    assert (tmp_path / "benchmark-bird.svg").read_text().startswith("<svg")
    assert topology.existing(tag) == []
