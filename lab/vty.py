"""A question to an FRR daemon over its VTY socket: a millisecond, where a ``vtysh`` costs 45 ms of a core.

A lab that polls must not load the machine that it measures, least of all while other labs run on it.
"""

from __future__ import annotations

import socket
from pathlib import Path

from l3ha.wire import frr
from lab.command import LabError

_PATIENCE_S = 5.0


def ask(home: Path, daemon: str, question: str) -> str:
    """What the daemon of this directory prints for a command. Raises ``LabError`` where it does not answer well."""
    path = home / f"{daemon}.vty"
    try:
        with socket.socket(socket.AF_UNIX) as link:
            link.settimeout(_PATIENCE_S)
            link.connect(str(path))
            _answer(link, frr.ENABLE)
            text, result = _answer(link, question.encode() + b"\0")
    except (OSError, ValueError) as error:
        raise LabError(f"{path}: {question}: {error}") from None
    if result:
        raise LabError(f"{path}: {question}: result {result}: {text.decode(errors='replace').strip()}")
    return text.decode()


def _answer(link: socket.socket, command: bytes) -> tuple[bytes, int]:
    link.sendall(command)
    heard = bytearray()
    while (answer := frr.cut(bytes(heard))) is None:
        chunk = link.recv(1 << 16)
        if not chunk:
            raise ConnectionResetError("it hung up")
        heard += chunk
    if isinstance(answer, frr.BadAnswer):
        raise ValueError(str(answer))
    return answer
