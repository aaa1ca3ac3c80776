"""One contender, one fault, one run: the benchmark measures and writes what it measured."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lab import topology
from lab.bench import table
from lab.bench.accident import ACCIDENTS
from lab.bench.campaign import TRIES, Campaign
from lab.bench.daemons import Bird
from lab.bench.record import Phase
from lab.bench.trial import AT_ALL_MS, AT_ONCE_MS, spoilt_since
from lab.command import LabError
from lab.holes import Hole, Watch
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


class Easy(Bird):
    """A contender that is always well, without a network."""

    name = "bird-bfd"

    def up(self) -> None:
        """Nothing to build."""

    def down(self) -> None:
        """Nothing to remove."""

    def settle(self, within_s: float = 60, steady_s: float = 1.0) -> None:
        """Well."""


@pytest.mark.parametrize(
    ("spoilt", "void", "shown"),
    [
        ([False], 0, False),
        ([True, False], 1, False),
        ([True, True, True, False], TRIES - 1, True),
    ],
)
def test_a_run_that_the_machine_spoilt_is_repeated_and_counted(
    monkeypatch: pytest.MonkeyPatch, spoilt: list[bool], void: int, shown: bool
) -> None:
    if os.geteuid() != 0:
        pytest.skip("real-time scheduling needs root")
    tries = (Phase((number, number), (1, 1), 0, spoilt=one) for number, one in enumerate(spoilt))
    monkeypatch.setattr("lab.bench.campaign.strike", lambda *_: (next(tries), None))
    said: list[str] = []
    campaign = Campaign("easy", [Easy], ACCIDENTS[:1], [RouterKind.BIRD], 1, said.append, footprint_s=0)
    found = campaign.run()
    (record,) = found.records
    assert (record.void, record.spoilt) == (void, shown)
    assert record.phase is not None and record.phase.gap_ms == (void, void), "the last try counts"
    assert said[0].endswith("spoilt by the machine") is shown
    assert f"{void} more are not shown" in table.readme(found, {})
    assert f"{int(shown)} of those shown are such" in table.readme(found, {})


class Seen(Watch):
    """A watch that has seen one hole: when it was over (s after the beginning), and its length in ms."""

    def __init__(self, over: float, ms: float) -> None:
        super().__init__(AT_ONCE_MS, {})
        self.begin = time.monotonic_ns() - 20 * 10**9
        wall = time.time_ns() - time.monotonic_ns()
        self.hole = Hole(self.begin + wall + int(over * 1e9), ms)

    def since(self, at: int) -> list[Hole]:
        return [self.hole] if self.hole.end >= at else []


@pytest.mark.parametrize(
    ("over", "ms", "expected"),
    [
        (-1.0, 900.0, False),
        (0.3, AT_ONCE_MS, True),
        (0.3, AT_ONCE_MS - 1, False),
        (5.0, AT_ALL_MS - 1, False),
        (5.0, AT_ALL_MS, True),
        (60.0, 900.0, False),
    ],
)
def test_a_run_is_spoilt_by_a_short_hole_at_its_fault_and_by_a_long_one_later(
    over: float, ms: float, expected: bool
) -> None:
    watch = Seen(over, ms)
    assert spoilt_since(watch, watch.begin) is expected


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


def test_nobody_waits_for_a_lab_that_was_taken_away() -> None:
    begin = time.monotonic()
    with pytest.raises(LabError, match="bird-bfd: the lab nowhere is gone"):
        Bird("nowhere", RouterKind.BIRD).settle(within_s=60)
    assert time.monotonic() - begin < 30


@pytest.mark.timeout(150)
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
        assert bench.wait(60) == 143  # each lab may take 12 s to end, and its worker 15 s to notice
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
