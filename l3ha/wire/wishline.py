"""The lines between agent and speaker: one JSON object each, with a ``type``.

Any bytes decode to a value or to a ``BadLine`` that says what is wrong; nothing is raised. Prefixes, addresses and
communities are checked here, so that only numbers and canonical addresses ever reach ExaBGP's command line.

A wish names every set of prefixes once, and its groups refer to it, because every neighbor is told the same ones, and
again as a fallback:

    {"type": "wish", "agent": 7, "number": 3, "lease": 2000000000, "end": "lower", "generation": [65001, 1],
     "prefixes": ["198.51.100.0/24 203.0.113.0/24", "2001:db8::/48"],
     "neighbors": [{"name": "r1", "address": "10.0.1.1", "bfd": null, "frr": null, "drop": false,
                    "routes": [{"srg": 1, "level": 2, "term": 5, "attributes": {...}, "prefixes": 0}],
                    "fallback": [{"srg": 1, "level": 0, "term": 0, "attributes": {...}, "prefixes": 0}]}]}

The same with the type "ahead" is a wish that may come next. Whoever has read it knows the wish by its bytes.

A set is one text, so that one that was read before is known again without looking at each of its prefixes: a change of
level with 10 000 routes is read in a millisecond, their first wish in 20.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from ipaddress import ip_address
from typing import Any, TypeAlias, TypeVar

from l3ha.base.limits import MAX_ROUTES, MAX_SRGS
from l3ha.base.names import LeaseEnd, Level
from l3ha.wire import prefix
from l3ha.wire.bfd import KEYED_SHA1, METICULOUS_SHA1, SHA1_KEY, State
from l3ha.wire.wish import (
    Advertised,
    Ahead,
    Alive,
    Attributes,
    BfdReport,
    BfdWish,
    FrrWish,
    Goodbye,
    NeighborReport,
    NeighborWish,
    Renew,
    Report,
    RouteGroup,
    Wish,
)

Line: TypeAlias = Wish | Renew | Report | Alive | Goodbye
_SHORT = 256
"""Bytes of a line that is worth remembering: renewals and their answers are the same twice a second, for days."""

_WISH, _AHEAD = b'{"type":"wish",', b'{"type":"ahead",'
T = TypeVar("T")

_COMMUNITY = re.compile(r"(\d{1,5}):(\d{1,5})")
_NAME_LENGTH = 64
_TEXT_LENGTH = 500
_INTERFACE_LENGTH = 15
"""IFNAMSIZ without the final zero."""


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line that makes no sense, and why."""

    reason: str

    def __str__(self) -> str:
        return self.reason


def encode(line: Line) -> bytes:
    """One line, with its newline."""
    return _renewal(line) if isinstance(line, Renew) else _encoded(line)


def _encoded(line: Line) -> bytes:
    sets = _sets(line.neighbors) if isinstance(line, Wish) else ()
    plain = partial(_plain, {prefixes: place for place, prefixes in enumerate(sets)})
    fields = {"type": type(line).__name__.lower(), **plain(line)}
    if isinstance(line, Wish):
        fields["prefixes"] = [" ".join(prefixes) for prefixes in sets]
    return json.dumps(fields, separators=(",", ":"), default=plain).encode() + b"\n"


_renewal = lru_cache(2)(_encoded)


def ahead(line: bytes) -> bytes:
    """The line of a wish as that of one that may come next."""
    return _AHEAD + line.removeprefix(_WISH)


def _sets(neighbors: tuple[NeighborWish, ...]) -> tuple[tuple[str, ...], ...]:
    """Every set of prefixes, once."""
    groups = (group for n in neighbors for group in (*n.routes, *n.fallback))
    return tuple(dict.fromkeys(group.prefixes for group in groups))


def _plain(places: dict[tuple[str, ...], int], value: Any) -> dict[str, Any]:
    """The fields of a value, not copied; the prefixes of a group as the place of their set."""
    fields = {name: getattr(value, name) for name in value.__slots__}
    return {**fields, "prefixes": places[value.prefixes]} if isinstance(value, RouteGroup) else fields


def decode(data: bytes) -> Line | Ahead | BadLine:
    """The value of one line (with or without newline)."""
    return _again(data) if len(data) <= _SHORT else _decoded(data)


def _decoded(data: bytes) -> Line | Ahead | BadLine:
    try:
        raw = json.loads(data)
        if not isinstance(raw, dict):
            return BadLine("not an object")
        if data.startswith(_AHEAD):
            return Ahead(_wish(raw), _WISH + data.removeprefix(_AHEAD).rstrip(b"\n"))
        make = _MAKERS.get(str(raw.get("type")))
        return BadLine(f"unknown type {str(raw.get('type'))[:20]!r}") if make is None else make(raw)
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        return BadLine(f"{type(error).__name__}: {str(error)[:120]}")


_again = lru_cache(2)(_decoded)


def _wish(raw: dict[str, Any]) -> Wish:
    a, b = raw["generation"]
    sets = _many(raw["prefixes"], _prefixes)
    return Wish(
        agent=_int(raw["agent"], 64),
        number=_int(raw["number"], 62),
        lease=_int(raw["lease"], 62),
        end=LeaseEnd(raw["end"]),
        generation=(_int(a, 32), _int(b, 32)),
        neighbors=_many(raw["neighbors"], partial(_neighbor, sets)),
    )


def _renew(raw: dict[str, Any]) -> Renew:
    nudge, brief = _many(raw.get("nudge", []), _address), _bool(raw.get("brief", False))  # an older agent has neither
    return Renew(_int(raw["agent"], 64), _int(raw["number"], 62), _int(raw["lease"], 62), nudge, brief)


def _report(raw: dict[str, Any]) -> Report:
    return Report(
        speaker=_int(raw["speaker"], 64),
        exabgp=_text(raw["exabgp"], _NAME_LENGTH),
        agent=_int(raw["agent"], 64),
        number=_int(raw["number"], 62, least=-1),
        lease_live=_bool(raw["lease_live"]),
        advertised=_many(raw["advertised"], _advertised),
        neighbors=_many(raw["neighbors"], _told),
        bfd=_many(raw.get("bfd", []), _session),  # absent in the lines of a speaker that knows no BFD
    )


def _alive(_raw: dict[str, Any]) -> Alive:
    return Alive()


def _goodbye(raw: dict[str, Any]) -> Goodbye:
    return Goodbye(_text(raw["reason"], _TEXT_LENGTH))


_MAKERS: dict[str, Callable[[dict[str, Any]], Line]] = {
    "wish": _wish,
    "renew": _renew,
    "report": _report,
    "alive": _alive,
    "goodbye": _goodbye,
}


def _neighbor(sets: tuple[tuple[str, ...], ...], raw: dict[str, Any]) -> NeighborWish:
    return NeighborWish(
        name=_text(raw["name"], _NAME_LENGTH),
        address=_address(raw["address"]),
        routes=_groups(sets, raw["routes"]),
        fallback=_groups(sets, raw["fallback"]),
        bfd=None if raw.get("bfd") is None else _bfd(raw["bfd"]),
        frr=None if raw.get("frr") is None else _frr(raw["frr"]),
        drop=_bool(raw.get("drop", False)),
    )


def _bfd(raw: dict[str, Any]) -> BfdWish:
    auth = None if raw["auth"] is None else _int(raw["auth"], 8)
    if auth not in (None, KEYED_SHA1, METICULOUS_SHA1):
        raise ValueError(f"{auth} is no authentication type that is known here")
    return BfdWish(
        local_address=_address(raw["local_address"]),
        interface=_interface(raw["interface"]),
        interval=_int(raw["interval"], 62, least=1),
        multiplier=_int(raw["multiplier"], 8, least=1),
        min_ttl=_int(raw["min_ttl"], 8, least=1),
        auth=auth,
        key_id=_int(raw["key_id"], 8),
        key=bytes.fromhex(_text(raw["key"], 2 * SHA1_KEY)).hex(),
    )


def _frr(raw: dict[str, Any]) -> FrrWish:
    directory = _text(raw["directory"], _TEXT_LENGTH)
    if not directory.startswith("/") or not directory.isprintable():
        raise ValueError("this is not the path of a directory")
    return FrrWish(
        directory=directory,
        poll=_int(raw["poll"], 62, least=1),
        local_address=_address(raw["local_address"]),
        interface=_interface(raw["interface"]),
        vrf=_interface(raw["vrf"]),  # a VRF is an interface of the kernel
    )


def _interface(raw: object) -> str | None:
    name = None if raw is None else _text(raw, _INTERFACE_LENGTH)
    if name is not None and (not name.isprintable() or not name.isascii()):
        raise ValueError("this is not the name of an interface")
    return name


def _groups(sets: tuple[tuple[str, ...], ...], raw: object) -> tuple[RouteGroup, ...]:
    groups = _many(raw, partial(_group, sets))
    if sum(len(group.prefixes) for group in groups) > MAX_ROUTES:
        raise ValueError(f"a neighbor shall hold more than {MAX_ROUTES} routes")
    return groups


def _group(sets: tuple[tuple[str, ...], ...], raw: dict[str, Any]) -> RouteGroup:
    return RouteGroup(
        srg=_int(raw["srg"], 16),
        level=Level(_int(raw["level"], 8)),
        term=_int(raw["term"], 62),
        attributes=_attributes(raw["attributes"]),
        prefixes=sets[_int(raw["prefixes"], 16)],
    )


def _attributes(raw: dict[str, Any]) -> Attributes:
    path = raw["as_path"]
    return _same_attributes(
        next_hop=_address(raw["next_hop"]),
        local_preference=_maybe(raw["local_preference"]),
        med=_maybe(raw["med"]),
        as_path=None if path is None else _many(path, lambda n: _int(n, 32)),
        communities=_many(raw["communities"], _community),
    )


_same_attributes = lru_cache(maxsize=1024)(Attributes)
"""One object for equal attributes, so that comparing what ten thousand prefixes have is fast."""


def _told(raw: dict[str, Any]) -> NeighborReport:
    error = raw["error"]
    return NeighborReport(
        name=_text(raw["name"], _NAME_LENGTH),
        address=_address(raw["address"]),
        up=_bool(raw["up"]),
        confirmed=_int(raw["confirmed"], 62, least=-1),
        error=None if error is None else _text(error, _TEXT_LENGTH),
    )


def _session(raw: dict[str, Any]) -> BfdReport:
    error = raw["error"]
    numbers = {name: _int(raw[name], 62) for name in _SESSION_NUMBERS}
    return BfdReport(
        address=_address(raw["address"]),
        state=_state(raw["state"]),
        remote_state=_state(raw["remote_state"]),
        error=None if error is None else _text(error, _TEXT_LENGTH),
        drops=_many(raw["drops"], _drop),
        **numbers,
    )


def _state(raw: object) -> State | None:
    return None if raw is None else State(_int(raw, 2))


_SESSION_NUMBERS = (
    *("diagnostic", "remote_diagnostic", "interval", "required_rx", "remote_tx", "remote_rx", "multiplier"),
    *("remote_multiplier", "detection", "flaps", "age", "sent", "received"),
)


def _drop(raw: Any) -> tuple[str, int]:
    reason, count = raw
    return _text(reason, _NAME_LENGTH), _int(count, 62)


def _advertised(raw: dict[str, Any]) -> Advertised:
    return Advertised(_int(raw["srg"], 16), Level(_int(raw["level"], 8)), _int(raw["term"], 62))


def _many(raw: object, make: Callable[[Any], T]) -> tuple[T, ...]:
    if not isinstance(raw, list):
        raise TypeError("a list is wanted")
    return tuple(make(item) for item in raw)


def _int(raw: object, bits: int, *, least: int = 0) -> int:
    if type(raw) is not int or not least <= raw < 1 << bits:
        raise ValueError(f"{str(raw)[:30]!r} is not a number from {least} to 2^{bits}")
    return raw


def _maybe(raw: object) -> int | None:
    return None if raw is None else _int(raw, 32)


def _bool(raw: object) -> bool:
    if type(raw) is not bool:
        raise TypeError("true or false is wanted")
    return raw


def _text(raw: object, longest: int) -> str:
    if not isinstance(raw, str) or len(raw) > longest:
        raise ValueError("a short text is wanted")
    return raw


def _address(raw: object) -> str:
    return _canonical_address(_text(raw, _NAME_LENGTH))


@lru_cache(maxsize=1024)
def _canonical_address(text: str) -> str:
    """The same few stand in every line."""
    if "%" in text:
        raise ValueError("an address with a zone cannot be written into a command")
    return str(ip_address(text))


def _prefixes(raw: object) -> tuple[str, ...]:
    if not isinstance(raw, str):
        raise ValueError("prefixes with blanks between are wanted")
    return _canonical(raw)


@lru_cache(maxsize=2 * (MAX_SRGS + 1))
def _canonical(text: str) -> tuple[str, ...]:
    """The prefixes of a set. As many sets are remembered as a wish has: two families of each group."""
    if text.count(" ") >= MAX_ROUTES:
        raise ValueError(f"a set has more than {MAX_ROUTES} prefixes")
    return tuple(prefix.canonical(one) for one in text.split(" ") if one)


def _community(raw: object) -> str:
    match = _COMMUNITY.fullmatch(_text(raw, _NAME_LENGTH))
    if match is None or not all(int(part) < 1 << 16 for part in match.groups()):
        raise ValueError("a community is two numbers, such as 65000:100")
    return f"{int(match[1])}:{int(match[2])}"
