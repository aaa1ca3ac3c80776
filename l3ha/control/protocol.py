"""What the CLI and the agent say to each other over the unix socket: one JSON object per line, both ways.

    -> {"id": 1, "method": "show", "params": {"what": "srg", "srg": 1}}
    <- {"id": 1, "result": {"schema": 1, "node": {…}, "srgs": […], …}}
    <- {"id": 1, "error": {"code": "no_such_srg", "message": "…"}}

    method    params                                        result
    show      {what, srg?}                                  ``show_result``: sections of the status
    events    {limit, srg?}                                 ``events_result``: the newest notes, oldest first
    request   {verb: "failover", srg, to?: name or id}      ``answer_result``: accepted or refused, with its checks
    request   {verb: "maintenance", on}                     the same
    request   {verb: "restart", grace: nanoseconds}         the same
    clear     {what: "statistics"}                          {}

A refused request is a result (``accepted: false``), because its checks are the answer; an ``error`` means that there
is no answer. The socket's permissions and the peer's credentials decide who may ask: reading for the group, changing
for root or the owner. Both ends trust nothing: whatever comes in is a value of this module or a ``ProtocolError``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypeAlias

from l3ha.base.limits import MAX_EVENTS, MAX_NAME, MAX_NODE_ID, MAX_SRGS
from l3ha.base.time import SECOND, Duration, format_duration

if TYPE_CHECKING:  # the CLI reads this module on its hot path and has no use for the classes
    from l3ha.core.events import Check, Note
    from l3ha.core.status import RouteStatus, Status

SCHEMA = 1
"""Version of every result; the same number as ``l3ha.core.status.SCHEMA`` (a test holds it)."""

SOCKET_NAME = "agent.sock"
"""The agent's control socket inside the run directory, mode 0660."""

MAX_REQUEST = 64 << 10
"""Bytes of one request line with its newline: the largest real one has about 100."""

MAX_RESPONSE = 16 << 20
"""Bytes of one response line with its newline: 20 groups of thousands of routes at several neighbors fit."""

MAX_GRACE: Duration = 5 * SECOND
"""The longest restart that a peer waits for (protocol §6)."""

DEFAULT_EVENTS = 50
"""Notes that ``show events`` asks for unless told."""

_MAX_ID = 1 << 53
"""JSON numbers beyond this are not exact everywhere."""

_SECTIONS: dict[str, tuple[str, ...]] = {
    "srg": ("node", "peers", "srgs", "neighbors", "speaker"),
    "node": ("node", "peers", "monitors", "speaker"),
    "peer": ("node", "peers"),
    "probe": ("node", "srgs"),
    "monitor": ("node", "monitors", "srgs"),
    "routes": ("node", "routes"),
    "bgp": ("node", "neighbors", "speaker"),
    "bfd": ("node", "bfd", "speaker"),
    "all": ("node", "peers", "srgs", "monitors", "neighbors", "routes", "speaker", "bfd"),
}
"""Fields of ``Status`` that each ``show`` carries."""

SHOW_WHAT = tuple(_SECTIONS)


class ErrorCode(StrEnum):
    """Why there is no answer."""

    BAD_REQUEST = "bad_request"
    """Not a line of this protocol."""
    UNKNOWN_METHOD = "unknown_method"
    BAD_PARAMS = "bad_params"
    NO_SUCH_SRG = "no_such_srg"
    NO_SUCH_NODE = "no_such_node"
    DENIED = "denied"
    """The caller's credentials do not allow it."""
    BUSY = "busy"
    """A request of the same kind is under way, or too many callers."""
    TOO_LARGE = "too_large"
    INTERNAL = "internal"


class ProtocolError(Exception):
    """What came in is not of this protocol.

    ``code`` goes into the error response; ``id`` is None where none was readable.
    """

    def __init__(self, code: ErrorCode, message: str, request_id: int | None = None) -> None:
        self.code = code
        self.message = message
        self.id = request_id
        super().__init__(message)


# --- calls ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Show:
    """Sections of the status; ``srg`` keeps one group only."""

    what: str = "srg"
    srg: int | None = None


@dataclass(frozen=True, slots=True)
class Events:
    """The newest ``limit`` notes, of one group where ``srg`` is given."""

    limit: int = DEFAULT_EVENTS
    srg: int | None = None


@dataclass(frozen=True, slots=True)
class Failover:
    """Move a group to another node: its name or id; None: the one peer there is."""

    srg: int
    to: str | int | None = None


@dataclass(frozen=True, slots=True)
class Maintenance:
    """Take the node OFFLINE, or back."""

    on: bool


@dataclass(frozen=True, slots=True)
class Restart:
    """End the agent so that a new one may take its place within ``grace`` (0 < grace <= MAX_GRACE)."""

    grace: Duration = MAX_GRACE


@dataclass(frozen=True, slots=True)
class Clear:
    """Counters back to zero."""


Call: TypeAlias = Show | Events | Failover | Maintenance | Restart | Clear


def changes(call: Call) -> bool:
    """Whether the call changes anything, so that only root or the owner of the agent may make it."""
    return not isinstance(call, Show | Events)


@dataclass(frozen=True, slots=True)
class Request:
    """One line from a caller."""

    id: int
    call: Call


def encode_request(request_id: int, call: Call) -> bytes:
    """The line for a call, with its newline."""
    match call:
        case Show(what, srg):
            method, params = "show", {"what": what, "srg": srg}
        case Events(limit, srg):
            method, params = "events", {"limit": limit, "srg": srg}
        case Failover(srg, to):
            method, params = "request", {"verb": "failover", "srg": srg, "to": to}
        case Maintenance(on):
            method, params = "request", {"verb": "maintenance", "on": on}
        case Restart(grace):
            method, params = "request", {"verb": "restart", "grace": grace}
        case Clear():
            method, params = "clear", {"what": "statistics"}
    given = {key: value for key, value in params.items() if value is not None}
    return _line({"id": request_id, "method": method, "params": given}, MAX_REQUEST)


def decode_request(line: bytes) -> Request:
    """Read one line (newline optional). Raises ``ProtocolError`` (with the id where it was readable), nothing else."""
    message = _object(line, MAX_REQUEST)
    request_id = message.get("id")
    if not isinstance(request_id, int) or not _is_int(request_id, 0, _MAX_ID):
        raise ProtocolError(ErrorCode.BAD_REQUEST, "id is missing or not a number of 0..2^53")
    try:
        return Request(request_id, _call(message))
    except ProtocolError as error:
        raise ProtocolError(error.code, error.message, request_id) from None


def _call(message: Mapping[str, Any]) -> Call:
    params = message.get("params", {})
    if not isinstance(params, dict):
        raise ProtocolError(ErrorCode.BAD_REQUEST, "params is not an object")
    match message.get("method"):
        case "show":
            return Show(_word(params, "what", SHOW_WHAT), _number(params, "srg", 0, MAX_SRGS, None))
        case "events":
            limit = _number(params, "limit", 1, MAX_EVENTS, DEFAULT_EVENTS)
            return Events(limit or DEFAULT_EVENTS, _number(params, "srg", 0, MAX_SRGS, None))
        case "request":
            return _verb(params)
        case "clear":
            _word(params, "what", ("statistics",))
            return Clear()
        case str() as method:
            known = "show, events, request, clear"
            raise ProtocolError(ErrorCode.UNKNOWN_METHOD, f"method {method[:MAX_NAME]!r} is unknown; there are {known}")
        case _:
            raise ProtocolError(ErrorCode.BAD_REQUEST, "method is missing or not a text")


def _verb(params: Mapping[str, Any]) -> Call:
    match _word(params, "verb", ("failover", "maintenance", "restart")):
        case "failover":
            srg = _number(params, "srg", 1, MAX_SRGS, None)
            if srg is None:
                raise ProtocolError(ErrorCode.BAD_PARAMS, f"srg is missing; write a number of 1..{MAX_SRGS}")
            return Failover(srg, _node(params.get("to")))
        case "maintenance":
            on = params.get("on")
            if not isinstance(on, bool):
                raise ProtocolError(ErrorCode.BAD_PARAMS, "on is not true or false")
            return Maintenance(on)
        case _:
            grace = params.get("grace", MAX_GRACE)
            if not _is_int(grace, 1, MAX_GRACE):
                longest = format_duration(MAX_GRACE)
                raise ProtocolError(ErrorCode.BAD_PARAMS, f"grace is not of the range above 0 up to {longest}")
            return Restart(grace)


def _node(value: object) -> str | int | None:
    if value is None or (isinstance(value, str) and 0 < len(value) <= MAX_NAME):
        return value
    if isinstance(value, int) and _is_int(value, 1, MAX_NODE_ID):
        return value
    raise ProtocolError(ErrorCode.BAD_PARAMS, f"to is neither the name of a node nor an id of 1..{MAX_NODE_ID}")


def _word(params: Mapping[str, Any], key: str, allowed: Sequence[str]) -> str:
    value = params.get(key)
    if isinstance(value, str) and value in allowed:
        return value
    raise ProtocolError(ErrorCode.BAD_PARAMS, f"{key} is not one of {', '.join(allowed)}")


def _number(params: Mapping[str, Any], key: str, low: int, high: int, default: int | None) -> int | None:
    value = params.get(key)
    if value is None:
        return default
    if not _is_int(value, low, high):
        raise ProtocolError(ErrorCode.BAD_PARAMS, f"{key} is not a number of {low}..{high}")
    return int(value)


def _is_int(value: object, low: int, high: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


# --- responses -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Result:
    """The answer."""

    id: int
    result: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Failure:
    """No answer, and why. ``id`` is None where the request's could not be read."""

    id: int | None
    code: str
    message: str


Response: TypeAlias = Result | Failure


def encode_result(request_id: int, result: Mapping[str, Any]) -> bytes:
    """The line for an answer, with its newline. ``ProtocolError`` (too_large) past MAX_RESPONSE: answer with that."""
    return _line({"id": request_id, "result": result}, MAX_RESPONSE, request_id)


def encode_error(error: ProtocolError) -> bytes:
    """The line that says why there is no answer, with its newline."""
    return _line({"id": error.id, "error": {"code": error.code, "message": error.message}}, MAX_RESPONSE)


def decode_response(line: bytes) -> Response:
    """Read one line (newline optional). Raises ``ProtocolError`` and nothing else."""
    message = _object(line, MAX_RESPONSE)
    request_id, result, error = message.get("id"), message.get("result"), message.get("error")
    if request_id is not None and not _is_int(request_id, 0, _MAX_ID):
        raise ProtocolError(ErrorCode.BAD_REQUEST, "id is not a number of 0..2^53")
    if isinstance(error, dict):
        return Failure(request_id, str(error.get("code", "")), str(error.get("message", "")))
    if isinstance(result, dict) and request_id is not None:
        return Result(request_id, result)
    raise ProtocolError(ErrorCode.BAD_REQUEST, "neither result nor error is an object")


def show_result(status: Status, show: Show) -> dict[str, Any]:
    """The answer to ``show``: the wanted sections. ``ProtocolError`` (no_such_srg) where a group is not configured."""
    if show.srg and all(srg.id != show.srg for srg in status.srgs):
        raise ProtocolError(ErrorCode.NO_SUCH_SRG, no_such_srg(show.srg, [srg.id for srg in status.srgs]))
    sections: dict[str, Any] = {"schema": SCHEMA}
    for name in _SECTIONS[show.what]:
        value = getattr(status, name)
        if show.srg is not None and name in {"srgs", "routes"}:
            value = tuple(item for item in value if (item.id if name == "srgs" else item.srg) == show.srg)
        sections[name] = [one for group in value for one in _routes(group)] if name == "routes" else _plain(value)
    return sections


def _routes(group: RouteStatus) -> Iterator[dict[str, Any]]:
    """One entry for each prefix. Not sooner: twenty thousand would hold up the agent, whatever it was asked for."""
    plain = _plain(replace(group, prefixes=()))
    for prefix in group.prefixes:
        yield {("prefix" if key == "prefixes" else key): prefix if key == "prefixes" else plain[key] for key in plain}


def _plain(value: Any) -> Any:
    """Dataclasses and mappings of any kind become dicts, sequences lists (``dataclasses.asdict`` fails on proxies)."""
    if is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return value


def no_such_srg(srg: int, configured: Sequence[int]) -> str:
    """The text for a group that the configuration does not have; it names those that it has."""
    there = ", ".join(map(str, configured)) or "none"
    return f"no such SRG is configured: {srg} (configured: {there})"


def event_result(note: Note, at: int, age: Duration) -> dict[str, Any]:
    """One entry of the history. ``at``: Unix time in nanoseconds, for people; ``age``: by the agent's own clock."""
    return {
        "at": at,
        "age": age,
        "kind": str(note.kind),
        "srg": note.srg,
        "rule": note.rule,
        "text": note.text,
        "fields": dict(note.fields),
        "alarm": note.alarm,
    }


def events_result(entries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The answer to ``events``: entries of ``event_result``, oldest first."""
    return {"schema": SCHEMA, "events": list(entries)}


def answer_result(accepted: bool, text: str, checks: Sequence[Check] = ()) -> dict[str, Any]:
    """The answer to ``request``."""
    return {"schema": SCHEMA, "accepted": accepted, "text": text, "checks": _plain(tuple(checks))}


# --- framing -------------------------------------------------------------------------------------------------------


def _line(message: Mapping[str, Any], limit: int, request_id: int | None = None) -> bytes:
    line = json.dumps(message, separators=(",", ":"), allow_nan=False).encode("ascii") + b"\n"
    if len(line) > limit:
        raise ProtocolError(
            ErrorCode.TOO_LARGE, f"the line has {len(line)} bytes; at most {limit} are allowed", request_id
        )
    return line


def _object(line: bytes, limit: int) -> dict[str, Any]:
    if len(line) > limit:
        raise ProtocolError(ErrorCode.TOO_LARGE, f"the line is longer than {limit} bytes")
    try:
        message = json.loads(line.decode("utf-8"), parse_constant=_refuse)
    except (ValueError, RecursionError):  # not UTF-8, not JSON, NaN, a number of 5000 digits; brackets without end
        raise ProtocolError(ErrorCode.BAD_REQUEST, "the line is not JSON") from None
    if not isinstance(message, dict):
        raise ProtocolError(ErrorCode.BAD_REQUEST, "the line is not a JSON object")
    return message


def _refuse(constant: str) -> None:
    raise ValueError(constant)
