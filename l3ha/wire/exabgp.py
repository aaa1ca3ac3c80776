"""ExaBGP's API: typed values -> one command line; event lines -> values. Verified with 5.0.15 and 4.2.25.

ExaBGP looks for its own command names anywhere in a line (``community [graceful-shutdown]`` shuts it down), so a
command is built from numbers, addresses and prefixes only, and a final check holds it to a small alphabet.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

from l3ha.wire.wish import Attributes

PING = b"# ping\n"
VERSION = b"version\n"
NEIGHBORS = b"show neighbor summary\n"
ROUTES = b"show adj-rib out\n"

MAX_COMMAND = 4096
"""Bytes; 50 IPv6 prefixes need about 2 300."""

_SAFE = re.compile(rb"[a-z0-9 :./\[\]-]+\n")
_UPTIME = re.compile(r"\S+")

Generation: TypeAlias = tuple[int, int, int]


def announce(neighbor: str, a: Attributes, generation: Generation, prefixes: Iterable[str]) -> bytes:
    """Announce prefixes of one family with one set of attributes to one neighbor."""
    words = [f"neighbor {neighbor} announce attributes next-hop {a.next_hop}"]
    if a.local_preference is not None:
        words.append(f"local-preference {a.local_preference}")
    if a.med is not None:
        words.append(f"med {a.med}")
    if a.as_path is not None:
        words.append(f"as-path [{' '.join(map(str, a.as_path))}]")
    if a.communities:
        words.append(f"community [{' '.join(a.communities)}]")
    return _command(words, generation, prefixes)


def withdraw(neighbor: str, next_hop: str, generation: Generation, prefixes: Iterable[str]) -> bytes:
    """Withdraw prefixes of one family. The next hop only has to be of that family."""
    return _command([f"neighbor {neighbor} withdraw attributes next-hop {next_hop}"], generation, prefixes)


def _command(words: list[str], generation: Generation, prefixes: Iterable[str]) -> bytes:
    words.append(f"large-community [{':'.join(map(str, generation))}]")
    words.append("nlri " + " ".join(prefixes))
    line = (" ".join(words) + "\n").encode("ascii")
    assert len(line) <= MAX_COMMAND and _SAFE.fullmatch(line), "a command is numbers and addresses"
    return line


@dataclass(frozen=True, slots=True)
class Done:
    """The command outstanding was accepted: parsed and queued, not yet sent."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The command outstanding was refused; the reason stands in ExaBGP's log only."""


@dataclass(frozen=True, slots=True)
class Session:
    """A BGP session came up or went down."""

    neighbor: str
    up: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Reloaded:
    """ExaBGP got a signal: it may have read its configuration again and dropped what was queued."""


@dataclass(frozen=True, slots=True)
class Ending:
    """ExaBGP is stopping."""


@dataclass(frozen=True, slots=True)
class Row:
    """A line of an answer in plain text."""

    text: str


@dataclass(frozen=True, slots=True)
class Other:
    """Something that we did not ask for and do not need."""


Line: TypeAlias = Done | Refused | Session | Reloaded | Ending | Row | Other


def parse(data: bytes) -> Line:
    """One line of ExaBGP, without its newline. Peers can influence some texts, so anything may stand there."""
    text = data.decode("ascii", "replace").strip()
    if text == "done":
        return Done()
    if text == "error":
        return Refused()
    return _event(text) if text.startswith("{") else Row(text[:500])


def _event(text: str) -> Line:
    try:
        raw = json.loads(text)
        kind = raw.get("type")
        neighbor = raw.get("neighbor")
        if kind == "notification" and neighbor is None:
            return Ending() if raw.get("notification") == "shutdown" else Other()
        if kind == "signal":
            return Reloaded()
        if kind != "state" or not isinstance(neighbor, dict):
            return Other()
        address, state = neighbor["address"]["peer"], neighbor["state"]
        if state not in ("up", "down") or not isinstance(address, str):
            return Other()  # "connected" is TCP only
        return Session(address, state == "up", str(neighbor.get("reason", ""))[:200])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return Other()


def parse_neighbor(row: str) -> tuple[str, bool] | None:
    """``10.0.1.1  65001  0:00:04 established  1  0`` -> address, up; None for any other row."""
    words = row.split()
    if len(words) < 4 or not _is_address(words[0]):
        return None
    return words[0], "established" in words


def parse_route(row: str) -> tuple[str, str] | None:
    """``[neighbor] 10.0.1.1 ipv4 unicast 198.51.100.1/32 next-hop …`` -> neighbor, prefix; None for any other row."""
    words = row.removeprefix("neighbor ").split()
    if len(words) < 4 or words[2] != "unicast" or not _is_address(words[0]) or "/" not in words[3]:
        return None
    return words[0], words[3]


def _is_address(word: str) -> bool:
    return ("." in word or ":" in word) and all(c in "0123456789abcdef.:" for c in word)
