"""Types of single values in the configuration: what is accepted, its canonical form, and what the reference calls it.

Every validator raises ``ValueError`` with a text that says what is wrong and what would be right; the key and the line
are added by the reader.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator

from l3ha.base.limits import MAX_NAME
from l3ha.base.text import printable
from l3ha.base.time import HOUR, Duration, format_duration, parse_duration

IpAddress = IPv4Address | IPv6Address
IpNetwork = IPv4Network | IPv6Network

KEY_SIZE = 32
LONGEST: Duration = 30 * 24 * HOUR
"""Greatest duration: a longer one is a slip of the pen."""

_NAME = re.compile(rf"[A-Za-z0-9][A-Za-z0-9_-]{{0,{MAX_NAME - 1}}}", re.ASCII)
_INTERFACE = re.compile(r"[^\s/:]{1,15}")
_COMMUNITY = re.compile(r"(\d{1,5}):(\d{1,5})", re.ASCII)
_RESERVED_ASN = {
    0: "RFC 7607",
    23456: "AS_TRANS, RFC 6793",
    65535: "RFC 7300",
    4294967295: "RFC 7300",
}


@dataclass(frozen=True, slots=True)
class Word:
    """What the reference calls a type."""

    text: str


def check_name(text: str) -> str:
    """The text if it may name something. ``ValueError`` otherwise."""
    if not _NAME.fullmatch(text):
        raise ValueError(f'{quoted(text)} is not a name; use 1 to {MAX_NAME} letters, digits, - and _, such as "n1"')
    return text


def _address(text: str) -> str:
    try:
        address = ip_address(text)
    except ValueError:
        hint = "; write it without the mask" if "/" in text else ""
        raise ValueError(f"{quoted(text)} is not an IPv4 or IPv6 address{hint}") from None
    if address.version == 6 and address.scope_id is not None:
        raise ValueError(f"{quoted(text)} has a zone; use a global or unique local address")
    if fault := _unusable(address):
        raise ValueError(f"{quoted(text)} is {fault}; use an address that a neighbor can reach")
    return str(address)


def _unusable(address: IpAddress) -> str | None:
    if address.version == 6 and address.ipv4_mapped is not None:
        return "an IPv4-mapped address"
    kinds = (
        (address.is_unspecified, "the unspecified address"),
        (address.is_multicast, "a multicast address"),
        (address.is_loopback, "a loopback address"),
        (address.is_link_local, "a link-local address"),
    )
    return next((name for is_it, name in kinds if is_it), None)


def _ipv4(text: str) -> str:
    try:
        return str(IPv4Address(text))
    except ValueError:
        raise ValueError(f'{quoted(text)} is not an IPv4 address, such as "10.0.1.2"') from None


def _prefix(text: str) -> str:
    if "/" not in text:
        raise ValueError(f"{quoted(text)} has no prefix length{_host_prefix(text)}")
    try:
        network = ip_network(text, strict=False)
    except ValueError:
        raise ValueError(f'{quoted(text)} is not an IPv4 or IPv6 prefix, such as "203.0.113.0/24"') from None
    try:
        ip_network(text)
    except ValueError:
        raise ValueError(f'{quoted(text)} has host bits set; the network is "{network}"') from None
    if network.prefixlen and (network.is_multicast or network.is_loopback or network.is_link_local):
        raise ValueError(f"{quoted(text)} is a multicast, loopback or link-local prefix; those are not advertised")
    return str(network)


def _host_prefix(text: str) -> str:
    try:
        address = ip_address(text)
    except ValueError:
        return ', such as "203.0.113.0/24"'
    return f'; a single address is "{address}/{address.max_prefixlen}"'


def _host(text: str) -> str:
    network = ip_network(text)
    if network.prefixlen != network.max_prefixlen:
        raise ValueError(f"{quoted(text)} is a network; a floating address ends in /{network.max_prefixlen}")
    if fault := _unusable(network.network_address):
        raise ValueError(f"{quoted(text)} is {fault}; use an address that a neighbor can reach")
    return text


def _duration(value: object) -> Duration:
    if not isinstance(value, str):
        raise ValueError(f'is {shown(value)}, must be a number with a unit in quotes, such as "100ms" or "2s"')
    try:
        duration = parse_duration(value)
    except (ValueError, OverflowError):
        raise ValueError(f'{quoted(value)} is not a duration; use a unit, such as "100ms", "2s" or "1h"') from None
    if not 0 < duration <= LONGEST:
        raise ValueError(f"{quoted(value)} must be more than zero and at most {format_duration(LONGEST)}")
    return duration


def _interface(text: str) -> str:
    if not _INTERFACE.fullmatch(text) or text in (".", "..") or not text.isprintable():
        raise ValueError(f'{quoted(text)} is not the name of an interface, such as "eth1" (at most 15 characters)')
    return text


def _asn(number: int) -> int:
    if not 0 <= number <= 4294967295:
        raise ValueError(f"is {shown(number)}, must be an AS number, 1 to 4294967294")
    if number in _RESERVED_ASN:
        raise ValueError(f"is {number}, which is reserved ({_RESERVED_ASN[number]}); private ones are 64512 to 65534")
    return number


def _community(text: str) -> str:
    match = _COMMUNITY.fullmatch(text)
    if match is None or int(match[1]) > 65535 or int(match[2]) > 65535:
        raise ValueError(
            f'{quoted(text)} is not a community; write two numbers up to 65535, such as "65010:100" '
            "(names are refused: ExaBGP would run some of them as commands)"
        )
    return f"{int(match[1])}:{int(match[2])}"


def _arbiter(text: str) -> str:
    if any(c in text for c in ".:/%"):
        return _address(text)
    return check_name(text)


def _public_key(text: str) -> str:
    return base64.b64encode(decode_key(text)).decode()


def decode_key(text: str) -> bytes:
    """32 bytes from base64, the form of a WireGuard key. ``ValueError`` never quotes the text: it may be a secret."""
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("is not base64; a key is 44 characters as `l3ha keygen` prints it") from None
    if len(raw) != KEY_SIZE:
        raise ValueError(f"is {len(raw)} bytes long, must be {KEY_SIZE} (44 characters of base64)")
    if not any(raw):
        raise ValueError("is all zero; make a key with `l3ha keygen`")
    return raw


def _description(text: str) -> str:
    if len(text) > 80 or not text.isprintable():
        raise ValueError("must be one line of at most 80 printable characters")
    return text


def _file(text: str) -> str:
    if not text or "\0" in text:
        raise ValueError(f"{quoted(text)} is not the name of a file")
    return text


def _directory(text: str) -> str:
    longest = 90
    if not text.startswith("/") or not text.isprintable() or len(text.encode()) > longest:
        raise ValueError(f'{quoted(text)} is not an absolute path of at most {longest} bytes, such as "/run/frr"')
    return text


def between(least: int, most: int) -> tuple[Any, ...]:
    """Metadata of a whole number with limits, both included."""

    def check(number: int) -> int:
        if not least <= number <= most:
            raise ValueError(f"is {shown(number)}, must be {least} to {most}")
        return number

    return AfterValidator(check), Word(f"number, {least} to {most}")


def shorthand(key: str) -> BeforeValidator:
    """A value that is not a table means a table with only this key."""

    def expand(value: object) -> object:
        return value if isinstance(value, dict) or value is None else {key: value}

    return BeforeValidator(expand)


def shown(value: object) -> str:
    """A value as the file has it, short enough for one line and safe to print."""
    match value:
        case dict():
            return "a table"
        case list():
            return "a list"
        case bool():
            return "true" if value else "false"
        case str():
            return quoted(value)
        case int() if abs(value) >= 10**20:
            return "a very great number"
        case _:
            return str(value)


def quoted(text: str) -> str:
    """Text in quotes, shortened, without control characters."""
    safe = printable(text[:60])
    return f'"{safe}"' if len(text) <= 60 else f'"{safe}…"'


def textual(check: Callable[[str], str], word: str) -> tuple[Any, ...]:
    """Metadata of a text type."""
    return AfterValidator(check), Word(word)


Name = Annotated[str, *textual(check_name, "name")]
Address = Annotated[str, *textual(_address, "address")]
Ipv4 = Annotated[str, *textual(_ipv4, "IPv4 address")]
Prefix = Annotated[str, *textual(_prefix, "prefix")]
HostPrefix = Annotated[str, AfterValidator(_prefix), *textual(_host, "host prefix")]
Interface = Annotated[str, *textual(_interface, "interface")]
Community = Annotated[str, *textual(_community, "community")]
PublicKey = Annotated[str, *textual(_public_key, "base64 of 32 bytes")]
Arbiter = Annotated[str, *textual(_arbiter, "router name or address")]
Description = Annotated[str, *textual(_description, "text")]
File = Annotated[str, *textual(_file, "file")]
Directory = Annotated[str, *textual(_directory, "directory")]
Asn = Annotated[int, AfterValidator(_asn), Word("AS number")]
Span = Annotated[int, BeforeValidator(_duration), Word("duration")]
"""A duration in nanoseconds, written as text with a unit."""
