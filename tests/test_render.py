"""What is rendered for ExaBGP: the golden files of exabgp-conf/, and the real ExaBGP's opinion of them."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from l3ha.base.errors import ConfigError
from l3ha.base.settings import Settings
from l3ha.config import render
from l3ha.config.load import load

DIRECTORY = Path(__file__).parent.parent / "exabgp-conf"
EXABGP = Path(sys.executable).parent / "exabgp"
EXABGP42 = os.environ.get("L3HA_EXABGP42", "")
PASSWORD = "aZ09!$%&*+-./:<=>?@^_~"


@pytest.fixture
def settings() -> Settings:
    return load(DIRECTORY / "l3ha.toml", "n1", secrets=False)


def written(settings: Settings, python: str = "/usr/bin/python3") -> str:
    return render.exabgp(settings, python=python, run_dir="/run/l3ha")


def all_kinds(settings: Settings) -> Settings:
    """Every optional statement of a neighbor at once."""
    one, two = settings.neighbors
    guarded = replace(two, password=PASSWORD, passive=True, port=1790, ttl_security=True)
    v6 = replace(one, name="v6", address="fd00:11::1", local_address="fd00:11::2", next_hop6=None, port=1791)
    return replace(settings, neighbors=(one, guarded, v6))


@pytest.mark.parametrize("name", ["exabgp.conf", "exabgp.env", "exabgp.service"])
def test_golden(settings: Settings, name: str) -> None:
    text = {
        "exabgp.conf": written(settings),
        "exabgp.env": render.exabgp_environment(),
        "exabgp.service": render.exabgp_unit(),
    }[name]
    if os.environ.get("L3HA_REWRITE"):
        (DIRECTORY / name).write_text(text)
    assert (DIRECTORY / name).read_text() == text, "run `make docs`"


def test_statements_of_a_neighbor(settings: Settings) -> None:
    blocks = written(all_kinds(settings)).split("\nneighbor ")[1:]
    plain, guarded, v6 = ({line.strip() for line in block.splitlines()} for block in blocks)
    assert {"local-as 65010;", "peer-as 65010;", "hold-time 9;", "ipv4 unicast;", "ipv6 unicast;"} <= plain
    assert {"processes [ l3ha ];", "neighbor-changes;", "signal;", "route-refresh disable;"} <= plain
    assert not any(line.startswith(("md5", "outgoing", "incoming", "passive", "listen", "connect")) for line in plain)
    assert {"passive true;", "listen 1790;", "outgoing-ttl 255;", "incoming-ttl 255;"} <= guarded
    assert f"md5-password '{PASSWORD}';" in guarded
    assert "connect 1791;" in v6
    assert "ipv4 unicast;" not in v6
    assert "graceful-restart" not in written(settings)


def test_exabgp_5_reads_it(settings: Settings, tmp_path: Path) -> None:
    path = tmp_path / "exabgp.conf"
    path.write_text(written(all_kinds(settings), sys.executable))
    done = subprocess.run(
        [EXABGP, "validate", "-nv", path], capture_output=True, text=True, check=False, env=environment()
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    for needle in ("✓ neighbor  100.64.11.1", "✓ neighbor  100.64.21.1", "✓ neighbor  fd00:11::1"):
        assert needle in said
    for needle in (
        f'md5-password "{PASSWORD}";',
        "listen 1790;",
        "connect 1791;",
        "incoming-ttl 255;",
        "graceful-restart disable;",
    ):
        assert needle in said


def test_exabgp_5_refuses_what_is_wrong(settings: Settings, tmp_path: Path) -> None:
    """The test above could fail."""
    path = tmp_path / "exabgp.conf"
    path.write_text(written(settings, sys.executable).replace("hold-time 9", "hold-time 2"))
    assert (
        subprocess.run([EXABGP, "validate", path], capture_output=True, check=False, env=environment()).returncode != 0
    )


@pytest.mark.skipif(not Path(EXABGP42).is_file(), reason="L3HA_EXABGP42 names no ExaBGP 4.2")
def test_exabgp_42_reads_it(settings: Settings, tmp_path: Path) -> None:
    path = tmp_path / "exabgp.conf"
    path.write_text(written(all_kinds(settings), sys.executable))
    done = subprocess.run([EXABGP42, "--test", path], capture_output=True, text=True, check=False)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert "decoding routes in configuration" in said
    assert "Problem" not in said


def environment() -> dict[str, str]:
    """What the service sees."""
    lines = [x for x in render.exabgp_environment().splitlines() if x and not x.startswith("#")]
    return {"PATH": os.environ["PATH"]} | dict(line.split("=", 1) for line in lines)


def test_exabgp_takes_the_environment() -> None:
    done = subprocess.run([EXABGP, "env"], capture_output=True, text=True, check=False, env=environment())
    assert done.returncode == 0, done.stderr
    for line in ("speed = 0.1", "level = WARNING", "drop = false", "cli = false", "respawn = true"):
        assert line in done.stdout.splitlines()


def test_a_password_that_was_not_read_is_not_left_out_silently(settings: Settings) -> None:
    unread = replace(settings, neighbors=(replace(settings.neighbors[0], password=""),))
    with pytest.raises(ConfigError, match=r"node\.n1\.neighbor\.r1\.password_file: the BGP password was not read"):
        written(unread)


@pytest.mark.parametrize("path", ["", "/opt/my python", "/opt/a;b", "/opt/{x}", "/opt/x\ny", "/opt/#"])
def test_paths_that_exabgp_would_misread(settings: Settings, path: str) -> None:
    with pytest.raises(ConfigError, match="python"):
        written(settings, path)
    with pytest.raises(ConfigError, match="run_dir"):
        render.exabgp(settings, python="/usr/bin/python3", run_dir=path)
