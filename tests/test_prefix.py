"""Prefixes as text: exactly what ``ipaddress`` says, of any text, and no slower than a wish of 10 000 may be."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from l3ha.wire import prefix

GROUP = st.sampled_from(
    ["0", "00", "1", "01", "a", "A", "ff", "8000", "db8", "fffe", "12345", "", "g", " 1", "+1", "1_0"]
)
OCTET = st.sampled_from(["0", "00", "1", "10", "010", "127", "128", "192", "255", "256", "", "-1", " 1", "١"])
LENGTH = st.sampled_from(
    ["", "/", *(f"/{n}" for n in (0, 1, 7, 8, 15, 16, 17, 24, 30, 31, 32, 33, 47, 48, 63, 64, 96, 112, 127, 128, 129))]
)
NEARLY = st.one_of(
    st.builds(lambda octets, length: ".".join(octets) + length, st.lists(OCTET, min_size=3, max_size=5), LENGTH),
    st.builds(
        lambda head, gap, tail, length: ":".join(head) + gap + ":".join(tail) + length,
        st.lists(GROUP, max_size=8),
        st.sampled_from(["", ":", "::", ":::"]),
        st.lists(GROUP, max_size=4),
        LENGTH,
    ),
)


def spelled(text: str) -> str | None:
    """What ``ipaddress`` makes of it; None where it refuses, and for zones, which cannot be written into a command."""
    try:
        return None if "%" in text else str(ip_network(text))
    except ValueError:
        return None


def ours(text: str) -> str | None:
    try:
        return prefix.canonical(text)
    except ValueError:
        return None


@given(NEARLY | st.text(alphabet="0123456789abcdef:./ %\n", max_size=24) | st.text(max_size=24))
def test_any_text_is_read_as_ipaddress_reads_it(text: str) -> None:
    assert ours(text) == spelled(text)


@given(st.integers(0, 2**32 - 1), st.integers(0, 32))
def test_every_ipv4_prefix_is_seen_to_be_right(number: int, length: int) -> None:
    text = str(IPv4Network((number, length), strict=False))
    assert prefix.canonical(text) is text


@given(st.integers(0, 2**128 - 1), st.integers(0, 128))
def test_every_ipv6_prefix_stays_as_it_is(number: int, length: int) -> None:
    text = str(IPv6Network((number, length), strict=False))
    assert prefix.canonical(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "198.51.100.1/24",
        "198.51.100.0/24\n",
        "198.51.100.0/24;",
        "0198.51.100.0/24",
        "198.51.100.0/024",
        "198.51.100/24",
        "2001:db8:0:1:8000::/64",
        "2001:db8:1::/47",
        "2001:db8::/32\nwithdraw",
        "fe80::%eth0/64",
        "1:2:3:4:5:6:7::/112x",
    ],
)
def test_what_is_no_prefix_is_refused_or_spelled_anew(text: str) -> None:
    assert ours(text) == spelled(text)
    assert ours(text) != text


@pytest.mark.parametrize(
    "text",
    [
        "0.0.0.0/0",
        "198.51.100.128/25",
        "203.0.113.9/32",
        "2001:db8::/32",
        "2001:db8:0:5::/64",
        "2001:db8:8000::/33",
        "2001:db8::5:0:9/128",
    ],
)
def test_the_usual_kinds_need_no_ipaddress(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prefix, "ip_network", None)
    assert prefix.canonical(text) is text
