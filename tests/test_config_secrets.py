"""Secret files: what is read, what is refused, and that no message ever holds their contents."""

from __future__ import annotations

import base64
import os
from pathlib import Path

import pytest

from l3ha.base.errors import ConfigError
from l3ha.base.settings import BfdAuth
from l3ha.config.build import Secrets
from l3ha.config.load import check, load
from l3ha.wire.noise import public_key
from tests.test_config import edited

PRIVATE = bytes(range(1, 33))
KEY = base64.b64encode(PRIVATE).decode()
PSK = base64.b64encode(b"p" * 32).decode()
PASSWORD = "s3cret-Of_This.Session"
BFD = 'bfd\'s "own" key'.replace(" ", "_")


@pytest.fixture
def cluster(tmp_path: Path) -> Path:
    """A directory with a configuration, a key, a pre-shared key and a password, all as they should be."""
    public = base64.b64encode(public_key(PRIVATE)).decode()
    path = tmp_path / "l3ha.toml"
    path.write_text(
        edited(
            ("0HPthaHvZ8ylDjqtEd34rXjuSgs0PHs7qskGPPxSDic=", public),
            ('private_key_file = "/etc/l3ha/n1.key"', ""),
            ("# psk_file", "psk_file"),
            ("hold_time = 9", 'password_file = "secrets/r1"\nbfd = { auth = { key_file = "secrets/bfd" } }'),
        )
    )
    (tmp_path / "secrets").mkdir()
    for name, text in (("n1.key", KEY), ("icl.psk", PSK), ("secrets/r1", PASSWORD), ("secrets/bfd", BFD)):
        secret(tmp_path / name, text)
    return path


def secret(path: Path, text: str, mode: int = 0o600) -> None:
    path.unlink(missing_ok=True)
    path.write_text(text + "\n")
    path.chmod(mode)


def refused(path: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        load(path, "n1")
    assert check(path, "n1")[0] == list(caught.value.faults)
    assert check(path)[0] == []
    text = str(caught.value)
    assert not any(piece in text for piece in (KEY[:12], PSK[:12], PASSWORD[:6], BFD[:6])), text
    return text


def test_read(cluster: Path) -> None:
    settings = load(cluster, "n1")
    assert (settings.private_key, settings.psk) == (PRIVATE, b"p" * 32)
    assert [n.password for n in settings.neighbors] == [PASSWORD, None]
    assert settings.neighbors[0].bfd is not None and settings.neighbors[0].bfd.auth == BfdAuth(5, 1, BFD.encode())
    assert check(cluster, "n1") == ([], [])


def test_not_read(cluster: Path) -> None:
    (cluster.parent / "n1.key").unlink()
    settings = load(cluster, "n1", secrets=False)
    assert (settings.private_key, settings.psk) == (b"", bytes(32))
    assert [n.password for n in settings.neighbors] == ["", None]
    assert check(cluster) == ([], [])


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o644])
@pytest.mark.parametrize("name", ["n1.key", "icl.psk", "secrets/r1", "secrets/bfd"])
def test_too_open(cluster: Path, name: str, mode: int) -> None:
    (cluster.parent / name).chmod(mode)
    assert f"{name}: is open to group or others (mode {mode:04o}), must be 0600: chmod 600 it" in refused(cluster)


def test_all_missing_are_named_at_once(cluster: Path) -> None:
    for name in ("n1.key", "icl.psk", "secrets/r1", "secrets/bfd"):
        (cluster.parent / name).unlink()
    lines = refused(cluster).splitlines()
    assert [line.rpartition("/")[2] for line in lines] == [
        "icl.psk: cannot be read: No such file or directory",
        "n1.key: cannot be read: No such file or directory",
        "r1: cannot be read: No such file or directory",
        "bfd: cannot be read: No such file or directory",
    ]
    assert all(":0:" not in line for line in lines)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is 0 bytes long, must be 32"),
        (KEY[:-4], "must be 32"),
        (KEY + "AAAA", "is not base64"),
        ("?" + KEY[1:], "is not base64"),
        ("é" + KEY, "not ASCII"),
        ("A" * 43 + "=", "is all zero"),
        ("A" * 5000, "is larger than 4096 bytes"),
        (PSK, "is not the half of this public key"),
    ],
    ids=range(8),  # the directory is named after the id, and messages name the directory
)
def test_not_a_key(cluster: Path, text: str, reason: str) -> None:
    secret(cluster.parent / "n1.key", text)
    assert reason in refused(cluster)


@pytest.mark.parametrize("text", ["", "x" * 81, "two words", "a;b", "a'b", 'a"b', "a{b", "a\\b", "a#b", "a\x01b"])
def test_not_a_password(cluster: Path, text: str) -> None:
    secret(cluster.parent / "secrets/r1", text)
    assert "node.n1.neighbor.r1.password_file" in refused(cluster)


@pytest.mark.parametrize("text", ["", "x" * 21, "two words", "a\x01b"])
def test_not_a_bfd_key(cluster: Path, text: str) -> None:
    secret(cluster.parent / "secrets/bfd", text)
    assert "node.n1.neighbor.r1.bfd.auth.key_file" in refused(cluster)


def test_neither_a_pipe_nor_a_directory_stops_the_start(cluster: Path) -> None:
    (cluster.parent / "n1.key").unlink()
    os.mkfifo(cluster.parent / "n1.key", 0o600)
    (cluster.parent / "icl.psk").unlink()
    (cluster.parent / "icl.psk").mkdir(0o700)
    assert refused(cluster).count("cannot be read: not a regular file") == 2


def test_nothing_prints_a_secret(cluster: Path) -> None:
    assert repr(Secrets(PRIVATE, PRIVATE, {"r1": PASSWORD}, {"r1": PRIVATE})) == "Secrets(…)"
