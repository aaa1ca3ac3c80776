"""ExaBGP's API: values -> command lines, lines -> values. The only place that knows its text (4.2.2x and 5.0).

    speaker -> ExaBGP   one command per line, printable ASCII
    ExaBGP -> speaker   "done" | "error"            the answer to a command, without a reason and without a number
                        {"type": "state", ...}      an event
                        anything else               reply text of a question

ExaBGP looks for the *words* of commands anywhere in a line (``... community [graceful-shutdown]`` would stop it), so a
command is built from this file's own words and from numbers, and from nothing else. What ExaBGP says may hold text of a
BGP peer: any bytes decode to a value.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from enum import Enum, StrEnum
from ipaddress import ip_address, ip_network
from typing import Any, TypeAlias

from l3ha.base.limits import PREFIXES_PER_COMMAND
from l3ha.base.text import printable
from l3ha.wire.wish import Attributes

Generation: TypeAlias = tuple[int, int, int]
"""A large community (RFC 8092): the wish's two numbers and a counter. It makes every command's attribute set new,
because changes of one attribute set wait in one queue, at the place where that set was first used: a second HIGH would
be sent before the LOW that it shall replace."""

# --- commands ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Announce:
    """At most ``PREFIXES_PER_COMMAND`` prefixes of one family with one set of attributes."""

    neighbor: str
    attributes: Attributes
    generation: Generation
    prefixes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Withdraw:
    """Take prefixes of one family back. The next hop is not compared, but ExaBGP's grammar wants one."""

    neighbor: str
    next_hop: str
    generation: Generation
    prefixes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Teardown:
    """End the session (Cease, Administrative Reset); ExaBGP opens it again at once. Nothing where it is not up."""

    neighbor: str


@dataclass(frozen=True, slots=True)
class Clear:
    """Forget every route that is held for a neighbor: whatever it has of them is withdrawn, and the next session begins
    with none. ExaBGP does nothing else meanwhile (measured: 0.2 to 0.5 ms a route). Not for 4.2, which ends of it."""

    neighbor: str


class Question(Enum):
    """Commands without arguments, in the order in which a new process asks them.

    All but the last are carried out in order with ``Announce``, ``Withdraw`` and ``Clear``.
    """

    SESSIONS = "show neighbor summary"
    ROUTES = "show adj-rib out"
    VERSION = "version"


Command: TypeAlias = Announce | Withdraw | Teardown | Clear | Question

MAX_COMMAND = 4096
"""Bytes of one command; 50 IPv6 prefixes need about 2 300. A pipe takes so many whole or not at all (PIPE_BUF), so a
speaker that is killed leaves no half command, which ExaBGP 4.2 would put before the first one of its successor."""

_ADMINISTRATIVE_RESET = 4
"""Subcode of Cease (RFC 4486 section 4)."""

_ATTRIBUTES = {"next-hop", "local-preference", "med", "as-path", "community", "large-community", "[", "]"}
_WORDS = {"neighbor", "announce", "withdraw", "attributes", "nlri"} | _ATTRIBUTES
_WORDS |= {"version", "show", "summary", "adj-rib", "out", "teardown", "clear"}
_NUMBERS = re.compile(r"\[?[0-9a-f.:/]+\]?")


def encode(command: Command) -> bytes:
    """Exactly one line, with its newline. Anything that is not a word of ours or a number is our own fault (assert)."""
    match command:
        case Announce(neighbor, attributes, generation, prefixes):
            words = [*_to(neighbor, "announce"), *_attributes(attributes), *_nlri(generation, prefixes)]
        case Withdraw(neighbor, next_hop, generation, prefixes):
            words = [*_to(neighbor, "withdraw"), "next-hop", next_hop, *_nlri(generation, prefixes)]
        case Teardown(neighbor):
            words = ["neighbor", neighbor, "teardown", str(_ADMINISTRATIVE_RESET)]
        case Clear(neighbor):
            words = ["neighbor", neighbor, "clear", "adj-rib", "out"]
        case Question():
            words = command.value.split()
    for word in words:
        assert word in _WORDS or _NUMBERS.fullmatch(word), f"{word!r} must not reach ExaBGP"
    line = " ".join(words).encode("ascii") + b"\n"
    assert len(line) <= MAX_COMMAND
    return line


def _to(neighbor: str, verb: str) -> list[str]:
    return ["neighbor", neighbor, verb, "attributes"]


def _attributes(a: Attributes) -> list[str]:
    words = ["next-hop", a.next_hop]
    if a.local_preference is not None:
        words += ["local-preference", str(a.local_preference)]
    if a.med is not None:
        words += ["med", str(a.med)]
    if a.as_path is not None:
        words += ["as-path", *_bracketed(map(str, a.as_path))]
    if a.communities:
        words += ["community", *_bracketed(a.communities)]
    return words


def _nlri(generation: Generation, prefixes: tuple[str, ...]) -> list[str]:
    assert 0 < len(prefixes) <= PREFIXES_PER_COMMAND
    return ["large-community", "[" + ":".join(map(str, generation)) + "]", "nlri", *prefixes]


def _bracketed(items: Any) -> list[str]:
    return ["[", *items, "]"]


# --- what ExaBGP says ---------------------------------------------------------------------------------------------


class Ack(Enum):
    """The answer to a command: taken (parsed and queued; not sent, not accepted by the router), or refused."""

    DONE = "done"
    ERROR = "error"


class Session(StrEnum):
    """State of a BGP session. CONNECTED is TCP only and means nothing yet."""

    UP = "up"
    DOWN = "down"
    CONNECTED = "connected"


@dataclass(frozen=True, slots=True)
class SessionChanged:
    """A session came up or went down; ``reason`` is ExaBGP's, and may hold the peer's text."""

    neighbor: str
    state: Session
    reason: str


@dataclass(frozen=True, slots=True)
class Signalled:
    """ExaBGP got a signal, such as SIGUSR1 (reload). Told once per neighbor."""

    name: str


@dataclass(frozen=True, slots=True)
class ShuttingDown:
    """ExaBGP ends, in order."""


@dataclass(frozen=True, slots=True)
class OtherEvent:
    """An event that nobody asked for."""

    kind: str


@dataclass(frozen=True, slots=True)
class SessionsHeader:
    """The first line of the answer to ``SESSIONS``: whatever was commanded before it has been carried out by now."""


@dataclass(frozen=True, slots=True)
class SessionLine:
    """One session in the answer to ``SESSIONS``. 4.2 lists those that are up, 5.0 all."""

    neighbor: str
    up: bool


@dataclass(frozen=True, slots=True)
class RouteLine:
    """One route in the answer to ``ROUTES``: what ExaBGP holds for a neighbor, sent or not."""

    neighbor: str
    prefix: str
    next_hop: str


@dataclass(frozen=True, slots=True)
class VersionLine:
    """The answer to ``VERSION``."""

    version: str


@dataclass(frozen=True, slots=True)
class Unknown:
    """Anything else, cut short."""

    text: str


Heard: TypeAlias = (
    Ack
    | SessionChanged
    | Signalled
    | ShuttingDown
    | OtherEvent
    | SessionsHeader
    | SessionLine
    | RouteLine
    | VersionLine
    | Unknown
)

_ACKS = {ack.value: ack for ack in Ack}
_SHOWN = 120
_VERSION = re.compile(r"exabgp (\d{1,9}\.\d{1,9}\.\d{1,9}[\w.+~-]{0,20})", re.ASCII)
_ROUTE = re.compile(r"(?:neighbor )?(\S+) ipv[46] unicast (\S+) next-hop (\S+)(?: .*)?")
_ESTABLISHED = "established"


def decode(line: bytes) -> Heard:
    """The value of one line (without its newline)."""
    text = line.decode("utf-8", "replace").strip()
    if text.startswith("{"):
        return _event(text)
    return _ACKS.get(text) or _reply(text)


def _event(text: str) -> Heard:
    raw = _object(text)
    if raw is None:
        # 4.2 does not escape everything in a reason, which comes last: what matters stands before it
        raw = _object(text.partition(', "reason"')[0] + "} }")
    if raw is None:
        return Unknown(_shown(text))
    neighbor = raw.get("neighbor")
    inner: dict[str, Any] = neighbor if isinstance(neighbor, dict) else {}
    match raw.get("type"):
        case "state":
            return _state(inner, text)
        case "signal":
            return Signalled(_shown(inner.get("name", "")))
        case "notification" if raw.get("notification") == "shutdown":
            return ShuttingDown()
        case kind:
            return OtherEvent(_shown(kind))


def _state(neighbor: dict[str, Any], text: str) -> Heard:
    try:
        peer = _address(neighbor["address"]["peer"])
        return SessionChanged(peer, Session(neighbor["state"]), _shown(neighbor.get("reason", "")))
    except (KeyError, TypeError, ValueError):
        return Unknown(_shown(text))


def _reply(text: str) -> Heard:
    words = text.split()
    if words[:2] == ["Peer", "AS"]:
        return SessionsHeader()
    if found := _VERSION.fullmatch(text):
        return VersionLine(found[1])
    try:
        if found := _ROUTE.fullmatch(text):
            return RouteLine(_address(found[1]), str(ip_network(found[2])), _next_hop(found[3], found[2]))
        if len(words) >= 6:  # address, AS, how long (one word or more), state, two counters
            return SessionLine(_address(words[0]), words[-3] == _ESTABLISHED)
    except ValueError:
        pass
    return Unknown(_shown(text))


def _next_hop(text: str, prefix: str) -> str:
    """A route that is not ours may say ``self``. To withdraw it any address of its family will do (RFC 5737, 3849)."""
    try:
        return _address(text)
    except ValueError:
        return "2001:db8::1" if ":" in prefix else "192.0.2.1"


def _shown(foreign: object) -> str:
    """Fit for a log: short, and no control characters, which a terminal would obey."""
    return printable(str(foreign)[:_SHOWN])


def _object(text: str) -> dict[str, Any] | None:
    try:
        raw = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return raw if isinstance(raw, dict) else None


def _address(raw: object) -> str:
    if not isinstance(raw, str) or "%" in raw:
        raise ValueError("not an address")
    return str(ip_address(raw))
