"""Foreign text, made fit for a terminal and a log."""

from __future__ import annotations


def printable(text: str) -> str:
    """The same with ``?`` for whatever could move a cursor, colour a line or begin another one."""
    return text if text.isprintable() else "".join(c if c.isprintable() else "?" for c in text)
