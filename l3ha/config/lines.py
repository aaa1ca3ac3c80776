"""Where a key stands: key path -> line number of a TOML text that tomllib has accepted.

tomllib tells no positions. This walks the tokens of the text once; because the text is known to be valid, it need not
judge it, only follow it.

    statement = [ key ] | [[ key ]] | key = value        value = scalar | [ value, ... ] | { key = value, ... }
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

KeyPath: TypeAlias = tuple[str | int, ...]

_TOKEN = re.compile(
    r'"""(?:\\.|[^\\])*?"""(?:"{0,2}(?!"))'
    r"|'''.*?'''(?:'{0,2}(?!'))"
    r'|"(?:\\.|[^"\\])*"'
    r"|'[^']*'"
    r"|\#[^\n]*"
    r"|\n|[ \t\r]+|[\[\]{},.=]"
    r"|[^\s\[\]{},.=\#\"']+",
    re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class _Token:
    text: str
    line: int


class Lines:
    """The lines of a document. An empty text has none."""

    def __init__(self, text: str) -> None:
        self._lines: dict[KeyPath, int] = {}
        self._tokens = _tokens(text)
        self._at = 0
        self._lists: dict[KeyPath, int] = {}
        self._read()

    def of(self, key: KeyPath) -> int:
        """Line of a key, or of the nearest table round it that is written; 0 where nothing of it is."""
        for length in range(len(key), 0, -1):
            if (line := self._lines.get(key[:length])) is not None:
                return line
        return 0

    def written(self, key: KeyPath) -> KeyPath:
        """The longest part of a key path that stands in the file."""
        for length in range(len(key), 0, -1):
            if key[:length] in self._lines:
                return key[:length]
        return ()

    def _read(self) -> None:
        table: KeyPath = ()
        while (token := self._peek()) is not None:
            if token.text == "\n":
                self._at += 1
            elif token.text == "[":
                table = self._header()
            else:
                self._assignment(table)

    def _header(self) -> KeyPath:
        line = self._next().line
        array = self._skip("[")
        key = self._inside(self._key())
        self._skip("]")
        if array:
            self._skip("]")
            number = self._lists.get(key, -1) + 1
            self._lists[key] = number
            self._note(key, line)
            key = (*key, number)
        self._note(key, line)
        return key

    def _inside(self, key: KeyPath) -> KeyPath:
        """A table below an array of tables belongs to the last element of the array."""
        path: KeyPath = ()
        for position, part in enumerate(key):
            path = (*path, part)
            if position < len(key) - 1 and path in self._lists:
                path = (*path, self._lists[path])
        return path

    def _assignment(self, table: KeyPath) -> None:
        start = self._at
        line = self._tokens[start].line
        key = (*table, *self._key())
        self._note(key, line)
        self._skip("=")
        self._value(key)
        self._at = max(self._at, start + 1)

    def _value(self, key: KeyPath) -> None:
        token = self._peek()
        if token is None:
            return
        if token.text == "[":
            self._at += 1
            self._elements(key)
        elif token.text == "{":
            self._at += 1
            self._entries(key)
        else:
            while (token := self._peek()) is not None and token.text not in ("\n", ",", "]", "}"):
                self._at += 1

    def _elements(self, key: KeyPath) -> None:
        number = 0
        while (token := self._peek()) is not None and token.text != "]":
            if token.text in ("\n", ","):
                self._at += 1
                continue
            self._note((*key, number), token.line)
            self._value((*key, number))
            number += 1
        self._skip("]")

    def _entries(self, key: KeyPath) -> None:
        while (token := self._peek()) is not None and token.text != "}":
            if token.text in ("\n", ","):
                self._at += 1
                continue
            self._assignment(key)
        self._skip("}")

    def _key(self) -> KeyPath:
        parts: list[str | int] = []
        while (token := self._peek()) is not None and token.text not in ("]", "=", "\n"):
            if token.text != ".":
                parts.append(_plain(token.text))
            self._at += 1
        return tuple(parts)

    def _note(self, key: KeyPath, line: int) -> None:
        for length in range(1, len(key) + 1):
            self._lines.setdefault(key[:length], line)

    def _peek(self) -> _Token | None:
        return self._tokens[self._at] if self._at < len(self._tokens) else None

    def _next(self) -> _Token:
        self._at += 1
        return self._tokens[self._at - 1]

    def _skip(self, text: str) -> bool:
        token = self._peek()
        found = token is not None and token.text == text
        self._at += found
        return found


def _tokens(text: str) -> list[_Token]:
    return list(_scan(text))


def _scan(text: str) -> Iterator[_Token]:
    line = 1
    for match in _TOKEN.finditer(text):
        word = match[0]
        if word == "\n" or not (word.isspace() or word[0] == "#"):
            yield _Token(word, line)
        line += word.count("\n")


def _plain(word: str) -> str:
    if word[0] not in "\"'":
        return word
    return next(iter(tomllib.loads(f"{word} = 0")))
