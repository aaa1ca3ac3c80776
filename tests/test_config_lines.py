"""Key path -> line: every key of a document that tomllib accepts is found on the line where it stands."""

from __future__ import annotations

import tomllib
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from l3ha.config.lines import KeyPath, Lines

TEXT = '''\
top = 1                        # a comment with = [ ] { } "
"quoted key".'an.other' = 2
[a]
b.c = { d = 1, "e f" = [10,
  20, { g = "]" }] }
text = """
[not.a.table]
x = "1" """
literal = \'\'\'
y = 2\'\'\'\'\'
when = 1979-05-27 07:32:00.5
float = -1.5e3
[[a.list]]
x = 1
[a.list.sub]
y = "# \\" no comment"
[[a.list]]
x = 2
[[a.list.deep]]
z = []
[ "b" . c ]
after = \'\'
'''

EXPECTED: dict[KeyPath, int] = {
    ("top",): 1,
    ("quoted key",): 2,
    ("quoted key", "an.other"): 2,
    ("a",): 3,
    ("a", "b"): 4,
    ("a", "b", "c", "d"): 4,
    ("a", "b", "c", "e f", 0): 4,
    ("a", "b", "c", "e f", 1): 5,
    ("a", "b", "c", "e f", 2, "g"): 5,
    ("a", "text"): 6,
    ("a", "literal"): 9,
    ("a", "when"): 11,
    ("a", "float"): 12,
    ("a", "list"): 13,
    ("a", "list", 0): 13,
    ("a", "list", 0, "x"): 14,
    ("a", "list", 0, "sub"): 15,
    ("a", "list", 0, "sub", "y"): 16,
    ("a", "list", 1): 17,
    ("a", "list", 1, "x"): 18,
    ("a", "list", 1, "deep", 0): 19,
    ("a", "list", 1, "deep", 0, "z"): 20,
    ("b", "c"): 21,
    ("b", "c", "after"): 22,
}


def test_lines_of_every_kind_of_statement() -> None:
    lines = Lines(TEXT)
    assert {key: lines.of(key) for key in EXPECTED} == EXPECTED
    assert all(lines.written(key) == key for key in keys(tomllib.loads(TEXT)))


def test_a_missing_key_has_the_line_of_its_table() -> None:
    lines = Lines(TEXT)
    assert lines.of(("a", "list", 1, "nothing", "here")) == 17
    assert lines.of(("nothing",)) == 0
    assert lines.written(("a", "b", "nothing")) == ("a", "b")


def keys(value: Any, at: KeyPath = ()) -> list[KeyPath]:
    """All key paths of a parsed document."""
    entries: list[tuple[str | int, Any]] = []
    if isinstance(value, dict):
        entries = list(value.items())
    elif isinstance(value, list):
        entries = list(enumerate(value))
    return [path for key, inner in entries for path in [(*at, key), *keys(inner, (*at, key))]]


WORDS = st.sampled_from(["a", "b", "c-d", '"e f"', "'g.h'", '"i\\"j"'])
SCALARS = st.sampled_from(
    ["1", "1.5", '"x"', '"# ]"', "''", "true", "1979-05-27 07:32:00", '"""\n"a" = [\n"""', "'''\n]\n''''", '""""x"""""']
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda v: "[\n" + " , # ,\n".join(v) + "\n]")
        | st.lists(st.tuples(WORDS, inner), max_size=3, unique_by=lambda x: x[0]).map(
            lambda v: "{ " + ", ".join(f"{k} = {x}" for k, x in v) + " }"
        )
    ),
    max_leaves=6,
)
DOTTED = st.lists(WORDS, min_size=1, max_size=3).map(" . ".join)
STATEMENTS = st.one_of(
    st.tuples(DOTTED, VALUES).map(lambda x: f"{x[0]} = {x[1]}"),
    DOTTED.map(lambda k: f"[{k}]"),
    DOTTED.map(lambda k: f"[[ {k} ]] # ["),
    st.just("# a = 1"),
    st.just(""),
)


@given(st.lists(STATEMENTS, max_size=12).map("\n".join))
def test_every_key_of_a_valid_document_is_found(text: str) -> None:
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return
    lines = Lines(text)
    source = text.split("\n")
    for key in keys(document):
        assert lines.written(key) == key, (text, key)
        if isinstance(key[-1], str):
            word = key[-1].replace('"', '\\"')
            assert word in source[lines.of(key) - 1], (text, key)
