"""What FRR's bfdd says of its sessions: the lines of its VTY socket, and ``show bfd peers json`` (FRR 8.4 to 10.x).

The socket is the one that ``vtysh`` uses (FRR ``lib/vty.c``, ``vtysh_read``): a command ends with a NUL; its answer is
text without NUL, three NULs, and one byte of result, 0 where the command was done::

    ->  show bfd peers json \\0
    <-  [ {"peer":"10.0.0.1","status":"up", ...} ] \\0 \\0 \\0 result

One command at a time: newer versions may drop what comes behind one that is not answered yet. A connection begins in a
mode that knows no ``show bfd``, so ``ENABLE`` is its first command.

Any bytes decode to a value or to a ``BadAnswer`` that says what is wrong; nothing is raised. What only some versions
tell is zero where it is missing; unknown fields are skipped.
"""

from __future__ import annotations

import json
from collections.abc import Container
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from l3ha.base.text import printable
from l3ha.base.time import MS, SECOND, Duration
from l3ha.wire.bfd import State

ENABLE = b"enable\0"
PEERS = b"show bfd peers json\0"

MAX_ANSWER = 256 << 10
"""Bytes of one answer, some 400 sessions: more would hold up the process that reads it (a millisecond or two)."""

_END = b"\0\0\0"
_TEXT_LENGTH = 64
_UNTOLD = 31
"""A diagnostic that FRR prints as ``unknown``: the greatest number of the field, which RFC 5880 reserves."""

_STATES = {"shutdown": State.ADMIN_DOWN, "down": State.DOWN, "init": State.INIT, "up": State.UP}
_DIAGNOSTICS = (
    *("ok", "control detection time expired", "echo function failed", "neighbor signaled session down"),
    *("forwarding plane reset", "path down", "concatenated path down", "administratively down"),
    "reverse concatenated path down",
)
"""By number, as FRR's ``diag2str`` writes them."""


@dataclass(frozen=True, slots=True)
class BadAnswer:
    """An answer that makes no sense, and why."""

    reason: str

    def __str__(self) -> str:
        return self.reason


@dataclass(frozen=True, slots=True)
class FrrSession:
    """One session of bfdd."""

    peer: str
    local: str | None
    """None where bfdd was not told which address to use."""
    vrf: str
    interface: str | None
    multihop: bool
    number: int
    """bfdd's own discriminator: another one is another session."""
    state: State
    since: Duration | None
    """How long it is up or down, in whole seconds; None in the other states."""
    diagnostic: int
    """Numbers of RFC 5880 §4.1."""
    remote_diagnostic: int
    transmit: Duration
    receive: Duration
    multiplier: int
    remote_transmit: Duration
    remote_receive: Duration
    remote_multiplier: int

    @property
    def detection(self) -> Duration:
        """Silence for this long takes it down (RFC 5880 §6.8.4)."""
        return self.remote_multiplier * max(self.receive, self.remote_transmit)


def cut(data: bytes) -> tuple[bytes, int] | BadAnswer | None:
    """Text and result of a whole answer; None where some is still to come."""
    end = data.find(b"\0")
    if end < 0 or len(data) < end + len(_END) + 1:
        return BadAnswer(f"longer than {MAX_ANSWER >> 10} KiB") if len(data) > MAX_ANSWER else None
    if data[end : end + len(_END)] != _END or len(data) > end + len(_END) + 1:
        return BadAnswer("not the end of an answer")
    return data[:end], data[-1]


def sessions(text: bytes, peers: Container[str]) -> tuple[FrrSession, ...] | BadAnswer:
    """What bfdd printed for ``PEERS`` of its sessions with these addresses: it may have hundreds of others."""
    if len(text) > MAX_ANSWER:
        return BadAnswer(f"longer than {MAX_ANSWER >> 10} KiB")
    try:
        raw = json.loads(text)
        if not isinstance(raw, list):
            return BadAnswer("not a list of sessions")
        return tuple(_session(one) for one in raw if _peer(one) in peers)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        return BadAnswer(printable(f"{type(error).__name__}: {str(error)[:120]}"))


def _peer(raw: Any) -> str:
    if not isinstance(raw, dict):
        raise TypeError("a session is an object")
    return _text(raw["peer"])


def _session(raw: dict[str, Any]) -> FrrSession:
    local, interface, up = raw.get("local"), raw.get("interface"), raw.get("uptime", raw.get("downtime"))
    return FrrSession(
        peer=_peer(raw),
        local=None if local is None else _address(local),
        vrf=_text(raw.get("vrf", "default")),
        interface=None if interface is None else _text(interface),
        multihop=raw.get("multihop") is True,
        number=_int(raw.get("id", 0)),
        state=_STATES[_text(raw["status"])],
        since=None if up is None else _int(up) * SECOND,
        diagnostic=_diagnostic(raw.get("diagnostic", "ok")),
        remote_diagnostic=_diagnostic(raw.get("remote-diagnostic", "ok")),
        transmit=_int(raw.get("transmit-interval", 0)) * MS,
        receive=_int(raw.get("receive-interval", 0)) * MS,
        multiplier=_int(raw.get("detect-multiplier", 0), 8),
        remote_transmit=_int(raw.get("remote-transmit-interval", 0)) * MS,
        remote_receive=_int(raw.get("remote-receive-interval", 0)) * MS,
        remote_multiplier=_int(raw.get("remote-detect-multiplier", 0), 8),
    )


def _address(raw: object) -> str:
    return str(ip_address(_text(raw)))


def _diagnostic(raw: object) -> int:
    text = _text(raw)
    return _DIAGNOSTICS.index(text) if text in _DIAGNOSTICS else _UNTOLD


def _int(raw: object, bits: int = 32) -> int:
    if type(raw) is not int or not 0 <= raw < 1 << bits:
        raise ValueError(f"{str(raw)[:30]!r} is not a number from 0 to 2^{bits}")
    return raw


def _text(raw: object) -> str:
    if not isinstance(raw, str) or len(raw) > _TEXT_LENGTH:
        raise ValueError("a short text is wanted")
    return raw
