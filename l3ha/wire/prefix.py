"""Prefixes as text: the one spelling of each that ``ipaddress`` gives, found without it where it is written so already.

An object of ``ipaddress`` takes 5 us to make, 10 for IPv6: with 10 000 prefixes the speaker would neither hear nor
speak for 50 or 100 ms. Nearly always a prefix comes in the right spelling, and to see that takes a tenth. What is not
seen to be right is left to ``ipaddress``, so nothing else is ever let through.
"""

from __future__ import annotations

import re
from ipaddress import ip_network

_OCTETS = {str(number): number for number in range(256)}
_HOST4 = {str(length): (1 << 32 - length) - 1 for length in range(33)}
"""Length -> the bits that must be zero."""

_LENGTHS6 = {str(length): length for length in range(129)}
_GROUP6 = "0|[1-9a-f][0-9a-f]{0,3}"
_USUAL6 = re.compile(
    f"((?:(?:{_GROUP6}):){{0,5}}({_GROUP6}))::((?:{_GROUP6})(?::(?:{_GROUP6})){{0,4}})?/([0-9]{{1,3}})"
)
"""``::`` stands for two groups at least (RFC 5952 section 4.2.2), so six are written at most."""


def canonical(text: str) -> str:
    """The prefix in the spelling of ``ipaddress``. ``ValueError`` for what is none, or has bits behind its length, or a
    zone."""
    if (_is_canonical6 if ":" in text else _is_canonical4)(text):
        return text
    if "%" in text:
        raise ValueError("a prefix has no zone")
    return str(ip_network(text))


def _is_canonical4(text: str) -> bool:
    try:
        a, b, c, rest = text.split(".")
        d, length = rest.split("/")
        number = _OCTETS[a] << 24 | _OCTETS[b] << 16 | _OCTETS[c] << 8 | _OCTETS[d]
        return not number & _HOST4[length]
    except (ValueError, KeyError):
        return False


def _is_canonical6(text: str) -> bool:
    """Of the usual kinds: groups, ``::``, length; the last group may have a part behind the length. Or a host."""
    match = _USUAL6.fullmatch(text)
    if match is None or "0:0" in text:  # zeros in a row would be what "::" stands for, or might
        return False
    groups, last, host, rest = match.groups()
    if last == "0":
        return False
    used = groups.count(":") + 1
    if host is not None:
        return rest == "128" and host[0] != "0" and used + host.count(":") + 1 <= 6
    length = _LENGTHS6.get(rest)
    beyond = 16 * used - length if length is not None else 16
    return beyond <= 0 or (beyond < 16 and not int(last, 16) & (1 << beyond) - 1)
