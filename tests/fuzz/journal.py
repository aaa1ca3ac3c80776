"""The journal: a file from elsewhere, read and replayed."""

from __future__ import annotations

import tempfile
from pathlib import Path

from l3ha.core import journal
from l3ha.sim.replay import Verdict, replay

RECORDS = 32
"""In one run."""

_DIRECTORY = tempfile.TemporaryDirectory(prefix="l3ha-fuzz-")


def segment(data: bytes) -> None:
    """A verdict and printable lines, for the bytes as a file and for right records round them.

    ``head \\n``, then ``size16 body`` again and again.
    """
    for content in (data, _records(data)):
        path = Path(_DIRECTORY.name) / "l3ha-00000000.journal"
        path.write_bytes(content)
        said: list[str] = []
        assert isinstance(replay(path, said.append, trace=True), Verdict)
        assert all(line.isprintable() for line in said), said


def _records(data: bytes) -> bytes:
    head, _, rest = data.partition(b"\n")
    out = journal.MAGIC + journal.framed(head)
    for _ in range(RECORDS):
        size = int.from_bytes(rest[:2])
        if not rest:
            break
        out += journal.framed(rest[2 : 2 + size])
        rest = rest[2 + size :]
    return out
