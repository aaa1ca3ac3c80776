"""Waiting for a picture, and the keeper; no namespaces needed."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lab import keeper
from lab.campaign import BEGIN, END, write_table
from lab.command import LabError, run
from lab.faults import FAULTS, by_name
from lab.observe import other, pair, part, serving, until
from lab.routers import _bird_paths, _frr_paths
from lab.topology import LINKS, REPOSITORY, far_end


def test_part_keeps_what_is_asked() -> None:
    seen = {"n1": {"state": "ACTIVE", "term": 3}, "r1": ["n1"]}
    assert part(seen, {"n1": {"state": "BACKUP"}}) == {"n1": {"state": "ACTIVE"}}
    assert part(seen, {"n2": {"state": "x"}}) == {"n2": None}
    assert part(seen, {"r1": ["n2"]}) == {"r1": ["n1"]}


def test_until_returns_the_expectation_that_came() -> None:
    pictures = iter([{"a": 1}, {"a": 2}, {"a": 3}])
    assert until(lambda: next(pictures), {"a": 3}, {"a": 2}, within_s=5) == {"a": 2}


def test_until_starts_anew_when_the_picture_breaks() -> None:
    """A picture that comes and goes is not steady."""
    count = 0

    def look() -> dict[str, Any]:
        nonlocal count
        count += 1
        return {"good": count % 2 == 0}

    with pytest.raises(LabError, match="did not come"):
        until(look, {"good": True}, within_s=0.3, steady_s=0.15)


def test_until_shows_the_difference() -> None:
    with pytest.raises(LabError) as caught:
        until(lambda: {"state": "HOLD", "other": 1}, {"state": "ACTIVE"}, within_s=0.05, what="roles")
    text = str(caught.value)
    assert "roles did not come within 0.05 s" in text
    assert '-"state": "ACTIVE"' in text.replace("- ", "-")
    assert "HOLD" in text
    assert "other" not in text


def test_pair_contains_serving() -> None:
    assert part(pair("n2"), serving("n2")) == serving("n2")
    assert other("n1") == "n2"
    assert other("n2") == "n1"


def test_far_ends_are_symmetric() -> None:
    for left, right in LINKS:
        assert far_end(*left) == right
        assert far_end(*right) == left
    with pytest.raises(LabError, match="no interface"):
        far_end("n1", "eth0")


def test_faults_have_names_of_their_own() -> None:
    assert len({fault.name for fault in FAULTS}) == len(FAULTS)
    with pytest.raises(LabError, match="silent-death"):
        by_name("nonsense")


def test_failed_command_says_what_it_said() -> None:
    with pytest.raises(LabError, match="exit 3: sorry"):
        run(["sh", "-c", "echo sorry >&2; exit 3"])
    with pytest.raises(LabError, match="not installed"):
        run(["l3ha-no-such-program"])


def test_table_replaces_only_what_is_between_its_marks(tmp_path: Path) -> None:
    file = tmp_path / "README.md"
    file.write_text(f"head\n{BEGIN}\nold\n{END}\ntail\n")
    write_table(file, "new")
    assert file.read_text() == f"head\n{BEGIN}\nnew\n{END}\ntail\n"
    bare = tmp_path / "bare.md"
    bare.write_text("head\n")
    write_table(bare, "new")
    assert bare.read_text() == f"head\n\n{BEGIN}\nnew\n{END}\n"


def test_paths_of_both_router_softwares() -> None:
    frr = {
        "paths": [
            {"peer": {"peerId": "100.64.12.2"}, "locPrf": 200},
            {"peer": {"peerId": "100.64.11.2"}, "locPrf": 300, "metric": 7, "bestpath": {"overall": True}},
        ]
    }
    assert [(p.node, p.best, p.local_preference, p.med) for p in _frr_paths(frr)] == [
        ("n2", False, 200, None),
        ("n1", True, 300, 7),
    ]
    bird = (
        "BIRD 2.0.12 ready.\nTable master4:\n"
        "10.1.0.0/16          unicast [n1 05:41:18.377] * (100) [AS65010i]\n\tvia 100.64.21.2 on n1\n\tType: BGP univ\n"
        "\tBGP.med: 50\n\tBGP.local_pref: 100\n"
        "                     unicast [n2 05:41:18.377] (100) [AS65010i]\n\tvia 100.64.22.2 on n2\n\tBGP.med: 200\n"
    )
    assert [(p.node, p.best, p.local_preference, p.med) for p in _bird_paths(bird)] == [
        ("n1", True, 100, 50),
        ("n2", False, None, 200),
    ]


# --- the keeper ----------------------------------------------------------------------------------------------------


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Path]:
    """A directory with a keeper of its own."""
    directory = tmp_path / "services"
    directory.mkdir()
    argv = [sys.executable, "-m", "lab.keeper", str(directory), "0"]
    process = subprocess.Popen(argv, cwd=REPOSITORY)
    try:
        yield directory
    finally:
        process.terminate()
        process.wait(10)


def _starts(directory: Path, name: str) -> dict[str, Any]:
    found = keeper.running(directory, name)
    return {"starts": found.starts if found else 0}


def _service(directory: Path, name: str, **more: Any) -> keeper.Service:
    return keeper.Service(name, ["sleep", "600"], str(directory / f"{name}.log"), **more)


def _kill(directory: Path, name: str) -> int:
    found = keeper.running(directory, name)
    assert found is not None
    os.kill(found.pid, signal.SIGKILL)
    return found.pid


def test_keeper_restarts_what_ends(kept: Path) -> None:
    keeper.install(kept, _service(kept, "one"))
    until(lambda: _starts(kept, "one"), {"starts": 1}, within_s=5)
    killed = _kill(kept, "one")
    until(lambda: _starts(kept, "one"), {"starts": 2}, within_s=5)
    again = keeper.running(kept, "one")
    assert again is not None and again.pid != killed and Path(f"/proc/{again.pid}").exists()


def test_keeper_leaves_alone_what_is_switched_off_or_runs_once(kept: Path) -> None:
    keeper.install(kept, _service(kept, "once", restart=False))
    keeper.install(kept, _service(kept, "off"))
    for name in ("once", "off"):
        until(lambda name=name: _starts(kept, name), {"starts": 1}, within_s=5)
    keeper.switch(kept, "off", on=False)
    for name in ("once", "off"):
        _kill(kept, name)
    until(lambda: {**_starts(kept, "once"), **_starts(kept, "off")}, {"starts": 0}, within_s=5, steady_s=0.6)
    keeper.switch(kept, "off", on=True)
    until(lambda: _starts(kept, "off"), {"starts": 2}, within_s=5)
    assert keeper.running(kept, "once") is None


def test_keeper_waits_for_what_another_makes_and_removes_what_a_dead_one_left(kept: Path, tmp_path: Path) -> None:
    socket = tmp_path / "socket"
    keeper.install(kept, _service(kept, "second", after=str(socket)))
    until(lambda: _starts(kept, "second"), {"starts": 0}, within_s=3, steady_s=0.4)
    socket.touch()
    until(lambda: _starts(kept, "second"), {"starts": 1}, within_s=5)
    keeper.install(kept, _service(kept, "first", makes=str(socket)))
    until(lambda: _starts(kept, "first"), {"starts": 1}, within_s=5)
    assert not socket.exists()


def test_services_can_be_terminated_and_end_with_the_keeper(tmp_path: Path) -> None:
    directory = tmp_path / "services"
    directory.mkdir()
    process = subprocess.Popen([sys.executable, "-m", "lab.keeper", str(directory), "0"], cwd=REPOSITORY)
    try:
        keeper.install(directory, _service(directory, "one"))
        until(lambda: _starts(directory, "one"), {"starts": 1}, within_s=5)
        found = keeper.running(directory, "one")
        assert found is not None
        os.kill(found.pid, signal.SIGTERM)
        until(lambda: _starts(directory, "one"), {"starts": 2}, within_s=5)
        second = keeper.running(directory, "one")
        assert second is not None
    finally:
        process.terminate()
        process.wait(10)
    assert not Path(f"/proc/{second.pid}").exists()
