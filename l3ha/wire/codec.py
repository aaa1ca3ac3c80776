"""Heartbeat <-> bytes: the plaintext of a DATA packet.

::

    version u8 | field | field | ...          field:  tag u8 | length u16 | value

     1 node      id u8 | incarnation u64 | sequence u64 | echo u64 | echo age u32
                 | state u8 | intent u8 | grace u32 | digest 8
     2 cluster   text          3 path   text          4 software   text
     5 reach     { length u8 | router name }*
     6 sections  { length u8 | section name | digest 4 }*
     7 groups    { length u8 | group }*
     8 known     { length u8 | arbiter name | id u8 }*

    group:  id u8 | bits u16 | term u32 | seen u32 | priority u16 | routes digest 4 | { tag u8 | length u8 | value }*
            bits, from the least: confirmed eligible ready verified wants winning | state 2 | verdict 2 | 6 unused
             1 claim  u32        2 grant  number u32 | to u8 | left u32

Integers are big-endian, durations are microseconds (rounded up; more than 71 minutes is sent as that). Text is
printable ASCII. Fields may come in any order. Unknown tags are skipped, in a group too, and so are unused bits: new
facts get new tags. What changes the meaning of an old field gets a new version, which an older node names instead of
guessing.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from struct import Struct, error
from typing import NamedTuple, TypeVar

from l3ha.base.limits import MAX_HEARD_TERM, MAX_NAME, MAX_NODE_ID, MAX_SRGS
from l3ha.base.names import Intent, NodeId, NodeState, SrgId, SrgState, Term, Verdict
from l3ha.base.time import US, Duration
from l3ha.wire.heartbeat import Heartbeat, SrgFacts
from l3ha.wire.seal import MAX_PLAINTEXT, Drop, Dropped

VERSION = 1
REPEATED = 16
"""Parts that are kept as they were read or written: heartbeats of all paths say the same, and for days."""

MAX_SECTION_NAME = MAX_NAME + 8
"""A section is called ``node.`` and a name, at the longest."""

NODE, CLUSTER, PATH, SOFTWARE, REACH, SECTIONS, GROUPS, KNOWN = range(1, 9)
OPTIONAL = frozenset({SECTIONS, KNOWN})
FIELDS = frozenset(range(NODE, KNOWN + 1))
CLAIM, GRANT = 1, 2

_FIELD = Struct(">BH")
_NODE = Struct(">BQQQIBBI8s")
_NUMBERS = Struct(">QQI")
_GROUP = Struct(">BHIIH4s")
_CLAIM = Struct(">I")
_GRANT = Struct(">IBI")
_U32 = 2**32 - 1
_HEAD = bytes((VERSION,)) + _FIELD.pack(NODE, _NODE.size)
_NUMBERS_FROM = len(_HEAD) + Struct(">BQ").size
_NUMBERS_TO = _NUMBERS_FROM + _NUMBERS.size
"""Where sequence, echo and its age are."""

NODE_STATES = (NodeState.HOLD, NodeState.ONLINE, NodeState.ISOLATED, NodeState.OFFLINE)
SRG_STATES = (SrgState.HOLD, SrgState.ACTIVE, SrgState.BACKUP, SrgState.INELIGIBLE)
VERDICTS = (Verdict.WIN, Verdict.PART, Verdict.LOSE, Verdict.UNKNOWN)
INTENTS = (Intent.RUNNING, Intent.RESTARTING, Intent.LEAVING)
"""Numbers on the wire are places in these tuples: append only."""

_T = TypeVar("_T")


class _Bad(ValueError):
    """These bytes are no heartbeat; the text says where."""


class Numbers(NamedTuple):
    """What differs between a heartbeat and the next one on the same path, as a rule."""

    sequence: int
    """Of this datagram; grows by at least one per datagram over all paths."""
    echo: int
    """Newest sequence heard from the receiver on this path, 0 where none."""
    echo_age: Duration
    """How long ago that was heard."""


# --- encode -----------------------------------------------------------------------------------------------------------


def encode(beat: Heartbeat) -> bytes:
    """The heartbeat as bytes, at most ``MAX_PLAINTEXT``.

    Where very long names would make it longer, sections and known arbiters are left out: sections only say *what*
    differs, and the digest still says *that* something does; the arbiters the receiver can find out for itself.
    ``ValueError`` for values that the format has no room for; those are our own.
    """
    node = _NODE.pack(
        _within(beat.node, 1, MAX_NODE_ID, "node"),
        _within(beat.incarnation, 0, 2**64 - 1, "incarnation"),
        _within(beat.sequence, 0, 2**64 - 1, "sequence"),
        _within(beat.echo, 0, 2**64 - 1, "echo"),
        _us(beat.echo_age),
        NODE_STATES.index(beat.state),
        INTENTS.index(beat.intent),
        _us(beat.grace),
        _sized(beat.digest, 8),
    )
    needed = (
        _HEAD + node,
        _text_field(CLUSTER, beat.cluster, 1),
        _text_field(PATH, beat.path, 1),
        _text_field(SOFTWARE, beat.software[:MAX_NAME], 0),
        _reach_field(beat.reach),
        _groups_field(beat.srgs),
    )
    full = b"".join((*needed, _sections_field(beat.sections), _known_field(beat.known)))
    if len(full) <= MAX_PLAINTEXT:
        return full
    short = b"".join(needed)
    _check_room(len(short))
    return short


def renumbered(data: bytes, numbers: Numbers) -> bytes:
    """What ``encode`` gave, with other numbers: a heartbeat goes out ten times a second and says the same for days."""
    sequence, echo, age = numbers
    try:
        return data[:_NUMBERS_FROM] + _NUMBERS.pack(sequence, echo, _us(age)) + data[_NUMBERS_TO:]
    except error as why:
        raise _Bad(f"{numbers} are not within 64 bits") from why


def _field(tag: int, value: bytes) -> bytes:
    return _FIELD.pack(tag, len(value)) + value


def _text_field(tag: int, value: str, low: int) -> bytes:
    return _field(tag, _text(value, low, MAX_NAME))


@lru_cache(REPEATED)
def _reach_field(reach: tuple[str, ...]) -> bytes:
    return _field(REACH, b"".join(_short(_text(name, 1, MAX_NAME)) for name in reach))


@lru_cache(REPEATED)
def _groups_field(groups: tuple[SrgFacts, ...]) -> bytes:
    return _field(GROUPS, b"".join(_short(_encode_group(g)) for g in groups))


@lru_cache(REPEATED)
def _sections_field(sections: tuple[tuple[str, bytes], ...]) -> bytes:
    named = (_short(_text(name, 1, MAX_SECTION_NAME)) + _sized(digest, 4) for name, digest in sections)
    return _field(SECTIONS, b"".join(named)) if sections else b""


@lru_cache(REPEATED)
def _known_field(known: tuple[tuple[SrgId, str], ...]) -> bytes:
    named = (_short(_text(name, 1, MAX_NAME)) + bytes((_within(srg, 1, MAX_SRGS, "group"),)) for srg, name in known)
    return _field(KNOWN, b"".join(named)) if known else b""


def _encode_group(g: SrgFacts) -> bytes:
    flags = (g.confirmed, g.eligible, g.ready, g.verified, g.wants, g.winning)
    bits = sum(flag << place for place, flag in enumerate(flags))
    bits |= SRG_STATES.index(g.state) << 6 | VERDICTS.index(g.verdict) << 8
    out = _GROUP.pack(
        _within(g.id, 1, MAX_SRGS, "group"),
        bits,
        _within(g.term, 0, _U32, "term"),
        _within(g.seen, 0, _U32, "seen"),
        _within(g.priority, 0, 0xFFFF, "priority"),
        _sized(g.routes_digest, 4),
    )
    if g.claim is not None:
        out += bytes((CLAIM, _CLAIM.size)) + _CLAIM.pack(_within(g.claim, 0, _U32, "claim"))
    if g.grant is not None:
        to = _within(g.grant_to or 0, 1, MAX_NODE_ID, "grant_to")
        number = _within(g.grant, 0, _U32, "grant")
        out += bytes((GRANT, _GRANT.size)) + _GRANT.pack(number, to, _us(g.grant_left))
    return out


def _check_room(size: int) -> None:
    if size > MAX_PLAINTEXT:
        raise ValueError(f"a heartbeat of {size} bytes does not fit into a datagram")


def _short(value: bytes) -> bytes:
    return bytes((len(value),)) + value


def _us(duration: Duration) -> int:
    return min(-(-max(0, duration) // US), _U32)


def _within(value: int, low: int, high: int, what: str) -> int:
    if not low <= value <= high:
        raise _Bad(f"{what} {value} is not within {low}..{high}")
    return value


def _sized(value: bytes, size: int) -> bytes:
    if len(value) != size:
        raise _Bad(f"a digest of {len(value)} bytes instead of {size}")
    return value


def _text(value: str, low: int, high: int) -> bytes:
    if not (low <= len(value) <= high and value.isascii() and value.isprintable()):
        raise _Bad(f"{value[:high]!r} is not {low}..{high} printable characters")
    return value.encode("ascii")


# --- decode -----------------------------------------------------------------------------------------------------------


def decode(data: bytes) -> Heartbeat | Dropped:
    """Any bytes -> a heartbeat, every value of it within its range, or the reason why not. Never raises.

    ``UNKNOWN_VERSION`` names the version; everything else wrong is ``BAD_HEARTBEAT`` with the place.
    """
    if data and data[0] != VERSION:
        return Dropped(Drop.UNKNOWN_VERSION, f"heartbeat version {data[0]}")
    try:
        return _decode(data)
    except ValueError as error:
        return Dropped(Drop.BAD_HEARTBEAT, str(error))


def numbers_of(data: bytes, earlier: bytes) -> Numbers | None:
    """The numbers of a heartbeat that says for the rest, byte for byte, what an ``earlier`` one said, which was
    decoded; else None. Empty bytes stand for no earlier one."""
    if data[_NUMBERS_TO:] != earlier[_NUMBERS_TO:] or data[:_NUMBERS_FROM] != earlier[:_NUMBERS_FROM]:
        return None
    if not data.startswith(_HEAD):  # the same fields in another order
        return None
    sequence, echo, age = _NUMBERS.unpack_from(data, _NUMBERS_FROM)
    return Numbers(sequence, echo, age * US)


def _decode(data: bytes) -> Heartbeat:
    _check_room(len(data))
    fields: dict[int, bytes] = {}
    for tag, value in _fields(data):
        if tag in fields:
            raise _Bad(f"field {tag} twice")
        if tag in FIELDS:
            fields[tag] = value
    missing = FIELDS - OPTIONAL - fields.keys()
    if missing:
        raise _Bad(f"field {min(missing)} is missing")
    if len(fields[NODE]) != _NODE.size:
        raise _Bad(f"field {NODE} has {len(fields[NODE])} bytes")
    node, incarnation, sequence, echo, echo_age, state, intent, grace, digest = _NODE.unpack(fields[NODE])
    return Heartbeat(
        cluster=_name(fields[CLUSTER]),
        node=NodeId(_within(node, 1, MAX_NODE_ID, "node")),
        incarnation=incarnation,
        path=_name(fields[PATH]),
        sequence=sequence,
        echo=echo,
        echo_age=echo_age * US,
        digest=digest,
        sections=_decode_sections(fields.get(SECTIONS, b"")),
        software=_name(fields[SOFTWARE], 0),
        state=_pick(NODE_STATES, state, "node state"),
        intent=_pick(INTENTS, intent, "intent"),
        grace=grace * US,
        reach=_decode_reach(fields[REACH]),
        srgs=_decode_groups(fields[GROUPS]),
        known=_decode_known(fields.get(KNOWN, b"")),
    )


def _fields(data: bytes) -> Iterator[tuple[int, bytes]]:
    if not data:
        raise _Bad("empty")
    at, end, head = 1, len(data), _FIELD.size
    while at < end:
        if at + head > end:
            raise _Bad(f"cut off {end - at} bytes before the end")
        tag, size = _FIELD.unpack_from(data, at)
        at += head + size
        if at > end:
            raise _Bad(f"field {tag} is cut off")
        yield tag, data[at - size : at]


def _shorts(data: bytes, extra: int = 0) -> Iterator[bytes]:
    """Values with a length of one byte before them, and ``extra`` bytes behind that the length does not count."""
    at = 0
    while at < len(data):
        size = 1 + data[at] + extra
        if at + size > len(data):
            raise _Bad("a list is cut off")
        yield data[at + 1 : at + size]
        at += size


@lru_cache(REPEATED)
def _decode_reach(data: bytes) -> tuple[str, ...]:
    return _unique([_name(name) for name in _shorts(data)], "router")


@lru_cache(REPEATED)
def _decode_sections(data: bytes) -> tuple[tuple[str, bytes], ...]:
    sections = [(_name(item[:-4], 1, MAX_SECTION_NAME), item[-4:]) for item in _shorts(data, 4)]
    _unique([name for name, _ in sections], "section")
    return tuple(sections)


@lru_cache(REPEATED)
def _decode_known(data: bytes) -> tuple[tuple[SrgId, str], ...]:
    known = [(SrgId(_within(item[-1], 1, MAX_SRGS, "group")), _name(item[:-1])) for item in _shorts(data, 1)]
    return _unique(known, "known arbiter")


def _decode_groups(data: bytes) -> tuple[SrgFacts, ...]:
    groups = tuple(_decode_group(item) for item in _shorts(data))
    _unique([g.id for g in groups], "group")
    return groups


def _decode_group(data: bytes) -> SrgFacts:
    if len(data) < _GROUP.size:
        raise _Bad(f"a group of {len(data)} bytes")
    number, bits, term, seen, priority, digest = _GROUP.unpack_from(data)
    claim, grant, to, left = _decode_promises(data[_GROUP.size :])
    return SrgFacts(
        id=SrgId(_within(number, 1, MAX_SRGS, "group")),
        state=SRG_STATES[bits >> 6 & 3],
        confirmed=bool(bits & 1),
        term=_term(term),
        seen=_term(seen),
        claim=claim,
        grant=grant,
        grant_to=to,
        grant_left=left,
        eligible=bool(bits & 2),
        ready=bool(bits & 4),
        verified=bool(bits & 8),
        wants=bool(bits & 16),
        verdict=VERDICTS[bits >> 8 & 3],
        winning=bool(bits & 32),
        priority=priority,
        routes_digest=digest,
    )


def _decode_promises(data: bytes) -> tuple[Term | None, Term | None, NodeId | None, Duration]:
    parts: dict[int, bytes] = {}
    at = 0
    while at < len(data):
        if at + 2 > len(data) or at + 2 + data[at + 1] > len(data):
            raise _Bad("a group is cut off")
        tag, size = data[at], data[at + 1]
        if tag in parts:
            raise _Bad(f"field {tag} of a group twice")
        parts[tag] = data[at + 2 : at + 2 + size]
        at += 2 + size
    claim: Term | None = None
    if CLAIM in parts:
        claim = _term(*_exactly(_CLAIM, parts[CLAIM]))
    if GRANT not in parts:
        return claim, None, None, 0
    number, to, left = _exactly(_GRANT, parts[GRANT])
    return claim, _term(number), NodeId(_within(to, 1, MAX_NODE_ID, "grant_to")), left * US


def _exactly(layout: Struct, data: bytes) -> tuple[int, ...]:
    if len(data) != layout.size:
        raise _Bad(f"{len(data)} bytes instead of {layout.size} in a group")
    return layout.unpack(data)


def _term(number: int) -> Term:
    return Term(_within(number, 0, MAX_HEARD_TERM, "term"))


def _pick(values: tuple[_T, ...], number: int, what: str) -> _T:
    if number >= len(values):
        raise _Bad(f"{what} {number}")
    return values[number]


@lru_cache(REPEATED)
def _name(data: bytes, low: int = 1, high: int = MAX_NAME) -> str:
    text = data.decode("latin-1")
    _text(text, low, high)
    return text


def _unique(values: list[_T], what: str) -> tuple[_T, ...]:
    if len(set(values)) != len(values):
        raise _Bad(f"a {what} twice")
    return tuple(values)
