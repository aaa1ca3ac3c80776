"""Heartbeats: round trip, room, ranges, and any bytes at all."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from l3ha.base.limits import MAX_DATAGRAM, MAX_HEARD_TERM, MAX_NAME
from l3ha.base.names import Intent, NodeId, NodeState, SrgId, SrgState, Term, Verdict
from l3ha.base.time import MS, US
from l3ha.wire import codec
from l3ha.wire.codec import Numbers, decode, encode, numbers_of, renumbered
from l3ha.wire.heartbeat import Heartbeat, SrgFacts
from l3ha.wire.seal import OVERHEAD, Drop, Dropped

GROUP = SrgFacts(
    id=SrgId(1),
    state=SrgState.ACTIVE,
    confirmed=True,
    term=Term(7),
    seen=Term(8),
    claim=None,
    grant=Term(9),
    grant_to=NodeId(2),
    grant_left=900 * MS,
    eligible=True,
    ready=True,
    verified=False,
    wants=False,
    verdict=Verdict.WIN,
    winning=True,
    priority=200,
    routes_digest=b"\x01\x02\x03\x04",
)
BEAT = Heartbeat(
    cluster="edge",
    node=NodeId(1),
    incarnation=0x1122334455667788,
    path="icl",
    sequence=1000,
    echo=999,
    echo_age=42 * MS,
    digest=bytes(range(8)),
    sections=(("icl", b"abcd"), ("srg.1", b"efgh")),
    software="0.1.0",
    state=NodeState.ONLINE,
    intent=Intent.RUNNING,
    grace=0,
    reach=("r1", "r2"),
    srgs=(GROUP, GROUP._replace(id=SrgId(2), grant=None, grant_to=None, grant_left=0, claim=Term(10))),
)
GOLDEN = (
    "0101002b01112233445566778800000000000003e800000000000003e70000a4100100000000000001020304050607020004"
    "6564676503000369636c040005302e312e300500060272310272320700351c010067000000070000000800c8010203040209"
    "0000000902000dbba017020067000000070000000800c80102030401040000000a0600120369636c61626364057372672e31"
    "65666768"
)

u32 = st.integers(0, 2**32 - 1)
terms = st.integers(0, MAX_HEARD_TERM).map(Term)
u64 = st.integers(0, 2**64 - 1)
durations = st.integers(0, 2**32 - 1).map(lambda us: us * US)
names = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1, max_size=MAX_NAME)


@st.composite
def groups(draw: st.DrawFn, number: int) -> SrgFacts:
    granted = draw(st.booleans())
    flag = st.booleans()
    return SrgFacts(
        id=SrgId(number),
        state=draw(st.sampled_from(SrgState)),
        confirmed=draw(flag),
        term=draw(terms),
        seen=draw(terms),
        claim=draw(st.none() | terms),
        grant=draw(terms) if granted else None,
        grant_to=NodeId(draw(st.integers(1, 10))) if granted else None,
        grant_left=draw(durations) if granted else 0,
        eligible=draw(flag),
        ready=draw(flag),
        verified=draw(flag),
        wants=draw(flag),
        verdict=draw(st.sampled_from(Verdict)),
        winning=draw(flag),
        priority=draw(st.integers(0, 0xFFFF)),
        routes_digest=draw(st.binary(min_size=4, max_size=4)),
    )


@st.composite
def beats(draw: st.DrawFn) -> Heartbeat:
    sections = draw(st.dictionaries(names, st.binary(min_size=4, max_size=4), max_size=4))
    numbers = draw(st.lists(st.integers(1, 20), unique=True, max_size=4))
    return Heartbeat(
        cluster=draw(names),
        node=NodeId(draw(st.integers(1, 10))),
        incarnation=draw(u64),
        path=draw(names),
        sequence=draw(u64),
        echo=draw(u64),
        echo_age=draw(durations),
        digest=draw(st.binary(min_size=8, max_size=8)),
        sections=tuple(sections.items()),
        software=draw(st.just("") | names),
        state=draw(st.sampled_from(NodeState)),
        intent=draw(st.sampled_from(Intent)),
        grace=draw(durations),
        reach=tuple(draw(st.lists(names, unique=True, max_size=4))),
        srgs=tuple(draw(groups(n)) for n in numbers),
    )


def text_of(result: Heartbeat | Dropped) -> str:
    assert isinstance(result, Dropped), result
    return str(result)


def test_golden_vector() -> None:
    """Frozen: where this fails, the wire has changed, and nodes of two releases cannot hear each other."""
    assert encode(BEAT).hex() == GOLDEN
    assert decode(bytes.fromhex(GOLDEN)) == BEAT


@settings(max_examples=150)
@given(beats())
def test_round_trip(beat: Heartbeat) -> None:
    assert decode(encode(beat)) == beat


@settings(max_examples=100)
@given(beats(), u64, u64, durations)
def test_numbers_are_changed_and_read_in_place(beat: Heartbeat, sequence: int, echo: int, age: int) -> None:
    numbers, before = Numbers(sequence, echo, age), encode(beat)
    again = renumbered(before, numbers)
    assert again == encode(beat._replace(sequence=sequence, echo=echo, echo_age=age))
    assert numbers_of(again, before) == numbers
    assert numbers_of(before, again) == Numbers(beat.sequence, beat.echo, beat.echo_age)


def test_whatever_else_differs_must_be_read() -> None:
    before = encode(BEAT)
    inside = [place for place in range(len(before)) if numbers_of(flipped(before, place), before) is not None]
    first = 1 + 3 + 1 + 8  # version, the field's head, id, incarnation
    assert inside == list(range(first, first + 8 + 8 + 4))
    for other in (before[:-1], before + b"\x00", b"", before[:40]):
        assert numbers_of(other, before) is None and numbers_of(before, other) is None
    assert numbers_of(b"", b"") is None


def test_the_same_fields_in_another_order_are_always_read() -> None:
    """The numbers are elsewhere in them."""
    fields = [struct.pack(">BH", tag, len(value)) + value for tag, value in codec._fields(encode(BEAT))]
    data = b"\x01" + b"".join(fields[1:] + fields[:1])
    assert decode(data) == BEAT and numbers_of(data, data) is None


def test_numbers_that_do_not_fit_are_our_fault() -> None:
    for numbers in (Numbers(2**64, 0, 0), Numbers(0, 2**64, 0), Numbers(-1, 0, 0)):
        with pytest.raises(ValueError, match="not within 64 bits"):
            renumbered(encode(BEAT), numbers)


def flipped(data: bytes, place: int) -> bytes:
    return data[:place] + bytes((data[place] ^ 1,)) + data[place + 1 :]


def crowd(name: int, *, claims: bool, sections: tuple[str, ...]) -> Heartbeat:
    """20 groups with a grant each, 8 routers; names of ``name`` characters."""
    group = GROUP._replace(term=Term(10**7), seen=Term(10**7), grant=Term(10**7), claim=Term(10**7) if claims else None)
    return BEAT._replace(
        cluster="c" * name,
        path="p" * name,
        software="s" * name,
        reach=tuple(f"{n}".rjust(name, "r") for n in range(8)),
        sections=tuple((s, b"abcd") for s in sections),
        srgs=tuple(group._replace(id=SrgId(n)) for n in range(1, 21)),
    )


SECTIONS = (
    "cluster",
    "icl",
    "timers",
    "speaker",
    "node.gateway-one",
    "node.gateway-two",
    *(f"srg.{n}" for n in range(21)),
)


@pytest.mark.parametrize(("name", "claims"), [(20, True), (MAX_NAME, False)])
def test_a_crowd_fits_with_all_27_sections(name: int, claims: bool) -> None:
    beat = crowd(name, claims=claims, sections=SECTIONS)
    data = encode(beat)
    assert len(data) + OVERHEAD <= MAX_DATAGRAM
    assert decode(data) == beat


def test_sections_go_first_when_names_are_monstrous() -> None:
    beat = crowd(MAX_NAME, claims=True, sections=tuple(f"node.{n}".ljust(37, "x") for n in range(24)))
    data = encode(beat)
    assert len(data) + OVERHEAD <= MAX_DATAGRAM
    assert decode(data) == beat._replace(sections=())


def test_too_much_is_our_fault_and_said_so() -> None:
    with pytest.raises(ValueError, match="does not fit"):
        encode(BEAT._replace(reach=tuple(f"{n}".rjust(MAX_NAME, "r") for n in range(60))))


def test_unknown_version_is_named() -> None:
    result = decode(b"\x02" + encode(BEAT)[1:])
    assert result == Dropped(Drop.UNKNOWN_VERSION, "heartbeat version 2")


def test_unknown_fields_are_skipped() -> None:
    assert decode(encode(BEAT) + b"\xc8\x00\x03new") == BEAT
    plain = BEAT._replace(srgs=(GROUP._replace(grant=None, grant_to=None, grant_left=0),))
    data = encode(plain)
    start = data.index(b"\x07\x00\x12\x11")
    longer = data[:start] + b"\x07\x00\x17\x16" + data[start + 4 : start + 21] + b"\x63\x03new" + data[start + 21 :]
    assert decode(longer) == plain


def test_unused_bits_are_not_looked_at() -> None:
    data = bytearray(encode(BEAT))
    data[data.index(b"\x1c\x01\x00\x67") + 2] |= 0xFC
    assert decode(bytes(data)) == BEAT


def test_durations_are_rounded_up_and_capped() -> None:
    beat = decode(encode(BEAT._replace(echo_age=1, grace=1 << 62)))
    assert isinstance(beat, Heartbeat)
    assert (beat.echo_age, beat.grace) == (US, (2**32 - 1) * US)


def test_fields_are_read_in_any_order() -> None:
    fields = [struct.pack(">BH", tag, len(value)) + value for tag, value in codec._fields(encode(BEAT))]
    for place in range(1, len(fields)):
        assert decode(b"\x01" + b"".join(fields[place:] + fields[:place])) == BEAT


def patched(tag: int, value: bytes) -> bytes:
    """BEAT with one field replaced."""
    out = bytes((codec.VERSION,))
    for number, old in codec._fields(encode(BEAT)):
        new = value if number == tag else old
        out += struct.pack(">BH", number, len(new)) + new
    return out


def node_field(**changes: Any) -> bytes:
    values = {"id": 1, "incarnation": 1, "sequence": 1, "echo": 1, "age": 1, "state": 1, "intent": 0, "grace": 0}
    return struct.pack(">BQQQIBBI", *(values | changes).values()) + bytes(8)


def group_field(number: int = 1, promises: bytes = b"") -> bytes:
    value = struct.pack(">BHIIH4s", number, 0, 1, 1, 1, b"abcd") + promises
    return bytes((len(value),)) + value


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "empty"),
        (b"\x01", "field 1 is missing"),
        (encode(BEAT)[:-1], "cut off"),
        (encode(BEAT) + b"\x09\x00", "cut off"),
        (encode(BEAT) + b"\x03\x00\x01x", "field 3 twice"),
        (encode(BEAT) + b"\x01\x00\x01x", "field 1 twice"),
        (encode(BEAT)[:46], "field 1 is cut off"),
        (b"\x01" + bytes(MAX_DATAGRAM), "does not fit"),
        (patched(codec.NODE, b"short"), "field 1 has 5 bytes"),
        (patched(codec.NODE, node_field(id=0)), "node 0 is not within 1..10"),
        (patched(codec.NODE, node_field(id=11)), "node 11 is not within 1..10"),
        (patched(codec.NODE, node_field(state=4)), "node state 4"),
        (patched(codec.NODE, node_field(intent=3)), "intent 3"),
        (patched(codec.CLUSTER, b""), "printable"),
        (patched(codec.CLUSTER, b"x" * (MAX_NAME + 1)), "printable"),
        (patched(codec.PATH, b"a\nb"), "printable"),
        (patched(codec.PATH, b"\xe4"), "printable"),
        (patched(codec.REACH, b"\x05abc"), "a list is cut off"),
        (patched(codec.REACH, b"\x00"), "printable"),
        (patched(codec.REACH, b"\x02r1\x02r1"), "a router twice"),
        (patched(codec.SECTIONS, b"\x01xabc"), "a list is cut off"),
        (patched(codec.SECTIONS, b"\x01xabcd\x01xabcd"), "a section twice"),
        (patched(codec.GROUPS, b"\x03abc"), "a group of 3 bytes"),
        (patched(codec.GROUPS, group_field(0)), "group 0 is not within 1..20"),
        (patched(codec.GROUPS, group_field(21)), "group 21 is not within 1..20"),
        (patched(codec.GROUPS, group_field(1) + group_field(1)), "a group twice"),
        (patched(codec.GROUPS, group_field(1, b"\x01")), "a group is cut off"),
        (patched(codec.GROUPS, group_field(1, b"\x01\x09abc")), "a group is cut off"),
        (patched(codec.GROUPS, group_field(1, b"\x01\x03abc")), "3 bytes instead of 4"),
        (patched(codec.GROUPS, group_field(1, b"\x01\x04abcd" * 2)), "field 1 of a group twice"),
        (
            patched(codec.GROUPS, group_field(1, b"\x01\x04\x80\x00\x00\x01")),
            "term 2147483649 is not within 0..2147483648",
        ),
        (patched(codec.GROUPS, group_field(1, b"\x02\x09\xff\xff\xff\xff\x01abcd")), "term 4294967295 is not within"),
        (patched(codec.GROUPS, group_field(1, b"\x02\x09abcd\x00abcd")), "grant_to 0 is not within 1..10"),
    ],
)
def test_what_is_wrong_is_named(data: bytes, why: str) -> None:
    result = decode(data)
    assert isinstance(result, Dropped)
    assert result.reason is Drop.BAD_HEARTBEAT
    assert why in text_of(result)


@pytest.mark.parametrize(
    "changes",
    [
        {"node": NodeId(0)},
        {"incarnation": 2**64},
        {"incarnation": -1},
        {"sequence": 2**64},
        {"sequence": -1},
        {"echo": 2**64},
        {"echo": -1},
        {"cluster": ""},
        {"path": ""},
        {"reach": ("",)},
        {"reach": ("r" * (MAX_NAME + 1),)},
        {"sections": (("", b"abcd"),)},
        {"sections": (("s" * (codec.MAX_SECTION_NAME + 1), b"abcd"),)},
        {"known": ((SrgId(1), ""),)},
        {"known": ((SrgId(0), "r1"),)},
        {"known": ((SrgId(21), "r1"),)},
        {"node": NodeId(11)},
        {"digest": b"short"},
        {"sections": (("icl", b"toolong"),)},
        {"srgs": (GROUP._replace(term=Term(2**32)),)},
        {"srgs": (GROUP._replace(grant_to=None),)},
        {"srgs": (GROUP._replace(id=SrgId(0)),)},
        {"srgs": (GROUP._replace(id=SrgId(21)),)},
        {"srgs": (GROUP._replace(seen=Term(2**32)),)},
        {"srgs": (GROUP._replace(seen=Term(-1)),)},
        {"srgs": (GROUP._replace(term=Term(-1)),)},
        {"srgs": (GROUP._replace(claim=Term(2**32)),)},
        {"srgs": (GROUP._replace(claim=Term(-1)),)},
        {"srgs": (GROUP._replace(grant=Term(2**32)),)},
        {"srgs": (GROUP._replace(grant=Term(-1)),)},
        {"srgs": (GROUP._replace(grant_to=NodeId(11)),)},
        {"srgs": (GROUP._replace(priority=2**16),)},
        {"srgs": (GROUP._replace(priority=-1),)},
        {"srgs": (GROUP._replace(routes_digest=b"12345"),)},
    ],
)
def test_encode_refuses_what_nobody_could_read(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"within|printable|instead of"):
        encode(BEAT._replace(**changes))


KNOWN = ((SrgId(1), "r1"), (SrgId(20), "r"), (SrgId(1), "r" * MAX_NAME))


def test_known_arbiters_travel_where_there_is_room() -> None:
    beat = BEAT._replace(known=KNOWN)
    data = encode(beat)
    assert data == encode(BEAT) + b"\x08\x00\x29" + b"\x02r1\x01" + b"\x01r\x14" + b"\x20" + b"r" * 32 + b"\x01"
    assert decode(data) == beat
    known = tuple((SrgId(n), "k" * MAX_NAME) for n in range(1, 21))
    full = crowd(MAX_NAME, claims=True, sections=())._replace(known=known)
    assert decode(encode(full)) == full._replace(known=()), "the peer can find that out for itself"


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (b"\x02r1\x00", "group 0 is not within 1..20"),
        (b"\x02r1\x15", "group 21 is not within 1..20"),
        (b"\x02r1\x01\x02r1\x01", "a known arbiter twice"),
        (b"\x02r1", "a list is cut off"),
        (b"\x00\x01", "printable"),
    ],
)
def test_known_arbiters_that_cannot_be(value: bytes, why: str) -> None:
    result = decode(encode(BEAT) + struct.pack(">BH", codec.KNOWN, len(value)) + value)
    assert isinstance(result, Dropped) and why in text_of(result)


def test_the_greatest_of_everything_travels() -> None:
    great = GROUP._replace(
        id=SrgId(20),
        priority=2**16 - 1,
        term=Term(MAX_HEARD_TERM),
        seen=Term(MAX_HEARD_TERM),
        claim=Term(MAX_HEARD_TERM),
        grant=Term(0),
        grant_to=NodeId(10),
        grant_left=0,
    )
    section = "s" * codec.MAX_SECTION_NAME
    beat = BEAT._replace(node=NodeId(10), srgs=(great,), sections=((section, b"abcd"), ("s", b"abcd")))
    assert decode(encode(beat)) == beat
    long = decode(encode(BEAT._replace(software="1" * 99, known=())))
    assert isinstance(long, Heartbeat) and long.software == "1" * MAX_NAME, "a version is cut, not refused"


@pytest.mark.parametrize("number", [0, 2**64 - 1])
def test_the_least_and_the_greatest_numbers_travel(number: int) -> None:
    beat = BEAT._replace(incarnation=number, sequence=number, echo=number, software="", path="p", cluster="c")
    assert decode(encode(beat)) == beat


@settings(max_examples=300)
@given(st.binary(max_size=200))
def test_any_bytes(data: bytes) -> None:
    assert isinstance(decode(data), Heartbeat | Dropped)
    assert isinstance(decode(b"\x01" + data), Heartbeat | Dropped)


@settings(max_examples=300)
@given(st.data())
def test_any_mutation(data: st.DataObject) -> None:
    """What decodes at all encodes again to the same meaning: nothing out of range gets in."""
    good = bytearray(encode(BEAT))
    for _ in range(data.draw(st.integers(1, 4))):
        good[data.draw(st.integers(1, len(good) - 1))] = data.draw(st.integers(0, 255))
    result = decode(bytes(good))
    if isinstance(result, Heartbeat):
        assert decode(encode(result)) == result
