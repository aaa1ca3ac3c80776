"""Agent <-> speaker lines: round trip, and any bytes give a value or a reason."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from l3ha.base.limits import MAX_LINE, MAX_ROUTES
from l3ha.base.names import LeaseEnd, Level
from l3ha.wire.wish import (
    Advertised,
    Ahead,
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
from l3ha.wire.wishline import BadLine, Line, ahead, decode, encode

numbers = st.integers(0, (1 << 32) - 1)
big = st.integers(0, (1 << 62) - 1)
addresses = st.ip_addresses().map(str)
prefixes = st.ip_addresses().map(lambda a: f"{a}/{a.max_prefixlen}")
names = st.text(max_size=20)
communities = st.tuples(st.integers(0, 65535), st.integers(0, 65535)).map(lambda c: f"{c[0]}:{c[1]}")
attributes = st.builds(
    Attributes,
    addresses,
    st.none() | numbers,
    st.none() | numbers,
    st.none() | st.lists(numbers, max_size=4).map(tuple),
    st.lists(communities, max_size=2).map(tuple),
)
groups = st.builds(
    RouteGroup, st.integers(0, 20), st.sampled_from(Level), big, attributes, st.lists(prefixes, max_size=3).map(tuple)
)
several = st.lists(groups, max_size=2).map(tuple)
bfd = st.builds(
    BfdWish,
    addresses,
    st.none() | st.sampled_from(["eth0", "veth-long-name1"]),
    st.integers(1, 1 << 40),
    st.integers(1, 255),
    st.integers(1, 255),
    st.none() | st.sampled_from([4, 5]),
    st.integers(0, 255),
    st.binary(max_size=20).map(bytes.hex),
)
frr = st.builds(
    FrrWish,
    st.sampled_from(["/run/frr", "/run/frr/red"]),
    st.integers(1, 1 << 40),
    addresses,
    st.none() | st.sampled_from(["eth0", "veth-long-name1"]),
    st.none() | st.just("red"),
)
bfd_sessions = st.builds(
    BfdReport,
    addresses,
    st.none() | st.integers(0, 3),
    st.none() | st.integers(0, 3),
    *[big] * 10,
    st.none() | names,
    *[big] * 3,
    st.lists(st.tuples(names, big), max_size=2).map(tuple),
)
wished = st.builds(NeighborWish, names, addresses, several, several, st.none() | bfd, st.none() | frr)
wishes = st.builds(
    Wish,
    big,
    big,
    big,
    st.sampled_from(LeaseEnd),
    st.tuples(numbers, numbers),
    st.lists(wished, max_size=2).map(tuple),
)
lines = st.one_of(
    wishes,
    st.builds(Renew, big, big, big, st.lists(addresses, max_size=3).map(tuple)),
    st.builds(
        Report,
        big,
        names,
        big,
        st.integers(-1, 1 << 40),
        st.booleans(),
        st.lists(st.builds(Advertised, st.integers(0, 20), st.sampled_from(Level), big), max_size=2).map(tuple),
        st.lists(
            st.builds(NeighborReport, names, addresses, st.booleans(), st.integers(-1, 1 << 40), st.none() | names),
            max_size=2,
        ).map(tuple),
        st.lists(bfd_sessions, max_size=2).map(tuple),
    ),
    st.builds(Goodbye, names),
)


@given(lines)
def test_round_trip(line: Line) -> None:
    data = encode(line)
    assert data.endswith(b"\n") and data.count(b"\n") == 1
    back = decode(data)
    assert back == line
    if isinstance(line, Report) and isinstance(back, Report):
        for s, t in zip(line.bfd, back.bfd, strict=True):
            assert (s.age, s.sent, s.received, s.drops) == (t.age, t.sent, t.received, t.drops), "not compared by =="


@given(wishes, st.booleans())
def test_a_wish_that_may_come_next_says_as_what_it_will_come(line: Wish, newline: bool) -> None:
    later = encode(line)
    told = ahead(later)
    assert told.endswith(b"\n") and decode(told if newline else told[:-1]) == Ahead(line, later[:-1])
    assert isinstance(decode(told.replace(b'{"type"', b'{ "type"', 1)), BadLine), "it could not be known by its bytes"
    assert isinstance(decode(ahead(encode(Renew(1, 2, 3)))), BadLine)


@given(st.binary(max_size=200))
def test_any_bytes(data: bytes) -> None:
    assert isinstance(decode(data), BadLine)


@given(lines, st.data())
def test_any_damage(line: Line, data: st.DataObject) -> None:
    """One field replaced by something else: a value or a reason, never an exception."""
    raw = json.loads(encode(line))
    key = data.draw(st.sampled_from(sorted(raw)))
    raw[key] = data.draw(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.lists(st.integers(), max_size=3)
    )
    assert isinstance(decode(json.dumps(raw).encode()), Line | BadLine)


def test_words_never_pass_as_communities_or_addresses() -> None:
    """ExaBGP would execute a command word anywhere in a line."""
    group = RouteGroup(1, Level.LOW, 0, Attributes("192.0.2.1", communities=("65000:1",)), ("192.0.2.0/24",))
    wish = Wish(1, 1, 1, LeaseEnd.LOWER, (1, 1), (NeighborWish("r1", "192.0.2.9", (group,), ()),))
    text = encode(wish).decode()
    for good, bad in (("65000:1", "graceful-shutdown"), ("192.0.2.1", "self"), ("192.0.2.0/24", "192.0.2.1/24")):
        assert isinstance(decode(text.replace(f'"{good}"', f'"{bad}"').encode()), BadLine)


WISH = Wish(
    1, 2, 3, LeaseEnd.LOWER, (4, 5),
    (
        NeighborWish(
            "r1", "192.0.2.9",
            (RouteGroup(1, Level.HIGH, 6, Attributes("192.0.2.1", 7, 8, (9,), ("65000:1",)), ("192.0.2.0/24",)),),
            (),
            BfdWish("192.0.2.8", "eth0", 1, 3, 255, 5, 1, "00ff"),
        ),
    ),
)  # fmt: skip
REPORT = Report(
    1, "5.0.15", 2, 3, True, (Advertised(1, Level.HIGH, 4),),
    (NeighborReport("r1", "192.0.2.9", True, 5, "refused"),),
    (BfdReport("192.0.2.9", 3, 3, 0, 0, 1, 1, 1, 1, 3, 3, 3, 0, "cannot send", 1, 2, 3, (("ttl", 1),)),),
)  # fmt: skip
RENEW = Renew(1, 2, 3, ("192.0.2.9",), brief=True)


def with_value(line: Line, path: str, value: object) -> Line | BadLine:
    """The line with another value at one place."""
    raw = json.loads(encode(line))
    *way, last = (int(key) if key.isdigit() else key for key in path.split("."))
    where = raw
    for key in way:
        where = where[key]
    where[last] = value
    return decode(json.dumps(raw).encode())


ROUTE, TOLD, BFD, SEEN = "neighbors.0.routes.0", "neighbors.0", "neighbors.0.bfd", "bfd.0"
SESSION_NUMBERS = (
    *("diagnostic", "remote_diagnostic", "interval", "required_rx", "remote_tx", "remote_rx", "multiplier"),
    *("remote_multiplier", "detection", "flaps", "age", "sent", "received", "drops.0.1"),
)


@pytest.mark.parametrize(
    ("line", "path", "least", "bits"),
    [
        *((WISH, path, 0, 64) for path in ("agent",)),
        *((WISH, path, 0, 62) for path in ("number", "lease", f"{ROUTE}.term")),
        *((WISH, path, 0, 32) for path in ("generation.0", "generation.1")),
        *((WISH, f"{ROUTE}.attributes.{name}", 0, 32) for name in ("local_preference", "med", "as_path.0")),
        (WISH, f"{ROUTE}.srg", 0, 16),
        (WISH, f"{BFD}.interval", 1, 62),
        *((WISH, f"{BFD}.{name}", 1, 8) for name in ("multiplier", "min_ttl")),
        (WISH, f"{BFD}.key_id", 0, 8),
        *((RENEW, path, 0, bits) for path, bits in (("agent", 64), ("number", 62), ("lease", 62))),
        *((REPORT, path, 0, 64) for path in ("speaker", "agent")),
        *((REPORT, path, -1, 62) for path in ("number", f"{TOLD}.confirmed")),
        *((REPORT, path, 0, bits) for path, bits in (("advertised.0.srg", 16), ("advertised.0.term", 62))),
        *((REPORT, f"{SEEN}.{name}", 0, 62) for name in SESSION_NUMBERS),
        *((REPORT, f"{SEEN}.{name}", 0, 2) for name in ("state", "remote_state")),
    ],
)
def test_the_room_of_numbers(line: Line, path: str, least: int, bits: int) -> None:
    for value in (least, 2**bits - 1):
        assert isinstance(with_value(line, path, value), type(line)), value
    for wrong in (least - 1, 2**bits, 1.0, True, "1", [1]):
        assert isinstance(with_value(line, path, wrong), BadLine), wrong


@pytest.mark.parametrize(
    ("line", "path", "longest"),
    [
        (WISH, "neighbors.0.name", 64),
        (WISH, f"{BFD}.interface", 15),
        (REPORT, "exabgp", 64),
        (REPORT, f"{TOLD}.name", 64),
        (REPORT, f"{TOLD}.error", 500),
        (REPORT, f"{SEEN}.error", 500),
        (REPORT, f"{SEEN}.drops.0.0", 64),
        (Goodbye("x"), "reason", 500),
    ],
)
def test_the_room_of_texts(line: Line, path: str, longest: int) -> None:
    for text in ("", "x" * longest):
        assert isinstance(with_value(line, path, text), type(line)), len(text)
    for wrong in ("x" * (longest + 1), 1, ["x"]):
        assert isinstance(with_value(line, path, wrong), BadLine)


@pytest.mark.parametrize(
    ("line", "path", "good", "bad"),
    [
        (WISH, f"{ROUTE}.level", (0, 1, 2), (3, -1, None, "HIGH")),
        (WISH, "end", ("lower", "withdraw", "keep"), ("LOWER", "", None)),
        (WISH, "generation", ([1, 2],), ([1], [1, 2, 3], 1)),
        (WISH, f"{ROUTE}.attributes.as_path", (None, []), (1, [None], "1")),
        (WISH, f"{ROUTE}.attributes.med", (None,), ()),
        (WISH, f"{ROUTE}.prefixes", (0,), (1, -1, None, "0", ["192.0.2.0/24"])),
        (
            WISH,
            "prefixes.0",
            ("", "2001:db8::/32", "192.0.2.0/24 198.51.100.1/32"),
            ("2001:db8::%1/32", "192.0.2.0/33", "192.0.2.0/24,198.51.100.1/32", 1, ["192.0.2.0/24"]),
        ),
        (WISH, f"{ROUTE}.attributes.next_hop", ("fe80::1",), ("fe80::1%1", "192.0.2", None)),
        (
            WISH,
            f"{ROUTE}.attributes.communities.0",
            ("0:0", "65535:65535"),
            ("65536:0", "0:65536", "1:2:3", "1", "a:b"),
        ),
        (WISH, f"{BFD}.auth", (None, 4, 5), (0, 1, 3, 6, "5")),
        (WISH, f"{BFD}.key", ("", "00" * 20), ("00" * 21, "0", "zz")),
        (WISH, f"{BFD}.interface", (None,), ("eth\n0", "ethé0")),
        (REPORT, "lease_live", (True, False), (0, 1, None, "true")),
        (REPORT, f"{TOLD}.up", (True, False), (0, 1, None, "true")),
        (REPORT, f"{TOLD}.error", (None,), ()),
        (REPORT, f"{SEEN}.error", (None,), ()),
        (
            REPORT,
            f"{SEEN}.drops",
            ([], [["ttl", 1], ["version", 2]]),
            ([1], [["ttl"]], [["ttl", 1, 2]], [{"ttl": 1, "x": 2}], ["ab"], [None]),
        ),
        (REPORT, "neighbors", ([],), ({}, None, "")),
    ],
)
def test_what_goes_and_what_does_not(line: Line, path: str, good: tuple[object, ...], bad: tuple[object, ...]) -> None:
    for value in good:
        assert isinstance(with_value(line, path, value), type(line)), value
    for wrong in bad:
        assert isinstance(with_value(line, path, wrong), BadLine), wrong


def many(count: int, *, each: int = 1) -> Wish:
    """A wish that two neighbors hold as many routes, in several groups."""
    texts = [f"2001:db8:ffff:ffff:ffff:ffff:ffff:{number:x}/128" for number in range(count)]
    sets = [tuple(texts[start::each]) for start in range(each)]
    routes = tuple(RouteGroup(n, Level.HIGH, 1, Attributes("2001:db8::1", 9), s) for n, s in enumerate(sets))
    neighbors = tuple(NeighborWish(f"r{n}", f"2001:db8::{n}", routes, routes) for n in range(2, 4))
    return Wish(1, 2, 3, LeaseEnd.LOWER, (4, 5), neighbors)


def test_a_line_holds_every_route_that_the_configuration_allows_and_no_more() -> None:
    wish = many(MAX_ROUTES, each=3)
    data = encode(wish)
    assert len(data) < MAX_LINE / 2, "each set is written once, however many neighbors are told"
    assert decode(data) == wish
    for each in (1, 2):
        assert isinstance(decode(encode(many(MAX_ROUTES + 1, each=each))), BadLine), f"in {each} sets"


def test_prefixes_that_were_read_before_are_the_same_object() -> None:
    """Ten thousand are not looked at again when only their level changes."""
    one, two = decode(encode(many(100))), decode(encode(replace(many(100), number=3)))
    assert isinstance(one, Wish) and isinstance(two, Wish)
    assert one.neighbors[0].routes[0].prefixes is two.neighbors[1].fallback[0].prefixes
    assert one.neighbors[0].routes[0].attributes is two.neighbors[1].fallback[0].attributes


def test_a_bad_line_says_what_is_wrong() -> None:
    for data, reason in (
        (b"[]", "not an object"),
        (b'{"type":"wisch"}', "unknown type 'wisch'"),
        (b"{}", "unknown type 'None'"),
        (b'{"type":"renew"}', "KeyError: 'agent'"),
        (b'{"type":"renew","agent":-1}', "ValueError: '-1' is not a number from 0 to 2^64"),
    ):
        assert str(decode(data)) == reason
    assert len(str(decode(b'{"type":"' + b"x" * 999 + b'"}'))) < 40, "it is for a log"
    assert len(str(decode(b'{"type":"renew","agent":"' + b"x" * 999 + b'"}'))) < 140


def test_what_changes_with_every_packet_is_no_news() -> None:
    """Reports are compared to see whether the agent must be told."""
    (session,) = REPORT.bfd
    for name in ("age", "sent", "received"):
        assert replace(session, **{name: 99}) == session
    assert replace(session, drops=()) == session
    for name in ("state", "interval", "detection", "flaps", "error"):
        assert replace(session, **{name: 99}) != session


def test_addresses_and_prefixes_are_written_in_one_way() -> None:
    long = with_value(WISH, "prefixes.0", "2001:DB8:0::/32")
    assert isinstance(long, Wish) and long.neighbors[0].routes[0].prefixes == ("2001:db8::/32",)
    zero = with_value(WISH, f"{ROUTE}.attributes.communities.0", "00001:00002")
    assert isinstance(zero, Wish) and zero.neighbors[0].routes[0].attributes.communities == ("1:2",)


def test_lines_of_a_version_without_bfd() -> None:
    wish = Wish(1, 1, 1, LeaseEnd.LOWER, (1, 1), (NeighborWish("r1", "192.0.2.9", (), ()),))
    report = Report(1, "5.0", 1, 1, True, (), ())
    for line, more in ((wish, b',"bfd":null'), (wish, b',"frr":null'), (report, b',"bfd":[]')):
        data = encode(line)
        assert more in data and decode(data.replace(more, b"")) == line


def test_bfd_of_a_wish_is_checked() -> None:
    session = BfdWish("192.0.2.8", "eth0", 1, 3, 255, 5, 1, "00ff")
    wish = Wish(1, 1, 1, LeaseEnd.LOWER, (1, 1), (NeighborWish("r1", "192.0.2.9", (), (), session),))
    text = encode(wish).decode()
    assert decode(text.encode()) == wish
    for good, bad in (
        ('"eth0"', '"eth0 and more than 15"'),
        ('"auth":5', '"auth":1'),
        ('"00ff"', '"' + "00" * 21 + '"'),
        ('"00ff"', '"zz"'),
        ('"multiplier":3', '"multiplier":0'),
        ('"min_ttl":255', '"min_ttl":256'),
    ):
        assert good in text and isinstance(decode(text.replace(good, bad).encode()), BadLine), bad


def test_frr_of_a_wish_is_checked_and_older_speakers_overlook_it() -> None:
    asked = FrrWish("/run/frr", 1, "192.0.2.8", "eth0", "red")
    wish = Wish(1, 1, 1, LeaseEnd.LOWER, (1, 1), (NeighborWish("r1", "192.0.2.9", (), (), None, asked),))
    text = encode(wish).decode()
    assert decode(text.encode()) == wish and '"bfd":null' in text
    for good, bad in (
        ('"/run/frr"', '"run/frr"'),
        ('"/run/frr"', '"/run\\u0000"'),
        ('"eth0"', '"eth0 and more than 15"'),
        ('"red"', "7"),
        ('"poll":1', '"poll":0'),
        ('"192.0.2.8"', '"192.0.2.8/24"'),
    ):
        assert good in text and isinstance(decode(text.replace(good, bad).encode()), BadLine), bad
