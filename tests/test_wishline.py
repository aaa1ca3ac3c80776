"""Agent <-> speaker lines: round trip, and any bytes give a value or a reason."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from l3ha.base.names import LeaseEnd, Level
from l3ha.wire.wish import (
    Advertised,
    Attributes,
    BfdReport,
    BfdWish,
    Goodbye,
    NeighborReport,
    NeighborWish,
    Renew,
    Report,
    RouteGroup,
    Wish,
)
from l3ha.wire.wishline import BadLine, Line, decode, encode

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
bfd_sessions = st.builds(
    BfdReport,
    addresses,
    st.integers(0, 3),
    st.integers(0, 3),
    *[big] * 10,
    st.none() | names,
    *[big] * 3,
    st.lists(st.tuples(names, big), max_size=2).map(tuple),
)
wished = st.builds(NeighborWish, names, addresses, several, several, st.none() | bfd)
lines = st.one_of(
    st.builds(
        Wish,
        big,
        big,
        big,
        st.sampled_from(LeaseEnd),
        st.tuples(numbers, numbers),
        st.lists(wished, max_size=2).map(tuple),
    ),
    st.builds(Renew, big, big, big),
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
    decode(json.dumps(raw).encode())


def test_words_never_pass_as_communities_or_addresses() -> None:
    """ExaBGP would execute a command word anywhere in a line."""
    group = RouteGroup(1, Level.LOW, 0, Attributes("192.0.2.1", communities=("65000:1",)), ("192.0.2.0/24",))
    wish = Wish(1, 1, 1, LeaseEnd.LOWER, (1, 1), (NeighborWish("r1", "192.0.2.9", (group,), ()),))
    text = encode(wish).decode()
    for good, bad in (("65000:1", "graceful-shutdown"), ("192.0.2.1", "self"), ("192.0.2.0/24", "192.0.2.1/24")):
        assert isinstance(decode(text.replace(f'"{good}"', f'"{bad}"').encode()), BadLine)


def test_lines_of_a_version_without_bfd() -> None:
    wish = Wish(1, 1, 1, LeaseEnd.LOWER, (1, 1), (NeighborWish("r1", "192.0.2.9", (), ()),))
    report = Report(1, "5.0", 1, 1, True, (), ())
    for line, more in ((wish, b',"bfd":null'), (report, b',"bfd":[]')):
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
