"""Whatever lies in the file: settings or a ``ConfigError``, never another exception, and never slowly."""

# ruff: noqa: E501  (lists of odd values)

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from l3ha.base.errors import ConfigError
from l3ha.base.settings import Settings
from l3ha.config.load import check, load
from tests.test_config import TEXT

LINES = TEXT.splitlines()
VALUES = [
    "0", "-1", "1e9", "nan", "inf", "true", '""', '"x"', '"10.0.0.1"', '"10.0.0.0/8"', '"::/0"', '"fe80::1%x"', "[]", "{}", "[[]]",
    "[1]", "{ a = 1 }", '["r1", "r1"]', "1979-05-27", "07:32:00", "9223372036854775808", "0x" + "f" * 5000, '"\\u0000"', '"5h"', '"1e5s"',
    '"é"', '"' + "9" * 400 + 's"', '{ address = "10.0.0.1" }', '[{ name = "a", bgp = "r1" }]', '"-1.-1.-1.-1/0"',
]  # fmt: skip


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz") / "l3ha.toml"


def try_it(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    try:
        assert isinstance(load(path, "n1", secrets=False), Settings)
        accepted = True
    except ConfigError as error:
        assert error.faults
        assert all(f.text and str(f).startswith(f"{path}:") for f in error.faults)
        accepted = False
    errors, warnings = check(path)
    assert bool(errors) <= (not accepted)
    assert all(str(f).isprintable() for f in [*errors, *warnings])


fast = hypothesis_settings(max_examples=150, deadline=10_000)


@fast
@given(st.binary(max_size=200))
def test_random_bytes(path: Path, data: bytes) -> None:
    try_it(path, data)


@fast
@given(st.lists(st.tuples(st.integers(0, len(TEXT) - 1), st.binary(max_size=3)), min_size=1, max_size=4))
def test_random_damage(path: Path, damage: list[tuple[int, bytes]]) -> None:
    data = bytearray(TEXT.encode())
    for place, piece in damage:
        data[place : place + 1] = piece
    try_it(path, bytes(data))


@fast
@given(st.data())
def test_random_values(path: Path, data: st.DataObject) -> None:
    """Still TOML: other values at random keys, lines lost or doubled."""
    lines = list(LINES)
    for _ in range(data.draw(st.integers(1, 4))):
        number = data.draw(st.integers(0, len(lines) - 1))
        key, equals, _old = lines[number].partition(" = ")
        match data.draw(st.sampled_from(["value", "lose", "swap", "rename"])):
            case "value" if equals:
                lines[number] = f"{key} = {data.draw(st.sampled_from(VALUES))}"
            case "rename" if equals:
                lines[number] = f"{key}s = {_old}"
            case "swap":
                other = data.draw(st.integers(0, len(lines) - 1))
                lines[number], lines[other] = lines[other], lines[number]
            case _:
                lines[number] = ""
    try_it(path, "\n".join(lines).encode())


KEYS = st.sampled_from(
    ["cluster", "icl", "timers", "node", "srg", "speaker", "n1", "1", "0", "neighbor", "paths", "id", "monitor", "name"]
)
TREES = st.recursive(
    st.none() | st.sampled_from(VALUES), lambda inner: st.dictionaries(KEYS, inner, max_size=5), max_leaves=12
)


def toml(tree: object) -> str:
    if isinstance(tree, dict):
        return "{ " + ", ".join(f"{k} = {toml(v)}" for k, v in tree.items()) + " }"
    return str(tree) if tree else "1"


@fast
@given(st.dictionaries(KEYS, TREES, max_size=5))
def test_random_trees(path: Path, tree: dict[str, object]) -> None:
    text = "\n".join(f"{key} = {toml(value)}" for key, value in tree.items())
    tomllib.loads(text)
    try_it(path, text.encode())
