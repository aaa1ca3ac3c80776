"""ICMP echo: what our requests carry, and what counts as a reply (RFC 792, RFC 4443 section 4).

    0                   1                   2                   3
    0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
   +---------------+---------------+-------------------------------+
   | type (0, 129) |   code (0)    |           checksum            |
   +---------------+---------------+-------------------------------+
   |          identifier           |           sequence            |
   +-------------------------------+-------------------------------+
   |                       magic "L3HA"                            |
   +-------------------------------+-------------------------------+
   |            node id            |                               |
   +-------------------------------+       nonce, 16 bytes         +
   |                              ...                              |

Nodes share the floating source address, so a reply to another node's request may arrive here: the node id tells them
apart. The nonce is random per request: who did not see the request cannot forge the reply, and a late one is known.
"""

from __future__ import annotations

import struct
from enum import StrEnum
from typing import NamedTuple

from l3ha.base.names import NodeId

NONCE_SIZE = 16

_MAGIC = b"L3HA"
_HEADER = struct.Struct("!BBHHH")
_PAYLOAD = struct.Struct(f"!4sH{NONCE_SIZE}s")
_ECHO_REPLY, _ECHO_REPLY_V6 = 0, 129
_ECHO_REQUEST, _ECHO_REQUEST_V6 = 8, 128


class EchoReply(NamedTuple):
    """A well-formed answer to a request of some node of ours; whether it is the one awaited is not decided here."""

    identifier: int
    sequence: int
    node: NodeId
    nonce: bytes


class EchoDrop(StrEnum):
    """Why an ICMP message is not an answer."""

    SHORT = "short"
    NOT_A_REPLY = "not an echo reply"
    CHECKSUM = "bad checksum"
    FOREIGN_PAYLOAD = "foreign payload"


def payload(node: NodeId, nonce: bytes) -> bytes:
    """What an echo request of ``node`` carries after the ICMP header. ``nonce``: NONCE_SIZE bytes."""
    assert len(nonce) == NONCE_SIZE
    return _PAYLOAD.pack(_MAGIC, node, nonce)


def request(identifier: int, sequence: int, payload: bytes, *, ipv6: bool) -> bytes:
    """A whole echo request (without IP header). The checksum of an ICMPv6 message is the kernel's (RFC 3542 section
    3.1), because it covers addresses that are not here."""
    if ipv6:
        return _HEADER.pack(_ECHO_REQUEST_V6, 0, 0, identifier, sequence) + payload
    bare = _HEADER.pack(_ECHO_REQUEST, 0, 0, identifier, sequence) + payload
    return _HEADER.pack(_ECHO_REQUEST, 0, checksum(bare), identifier, sequence) + payload


def decode(data: bytes, *, ipv6: bool) -> EchoReply | EchoDrop:
    """Read one ICMP message (without IP header). Any bytes give a value or a reason; nothing is raised.

    The checksum is looked at for IPv4 only: raw sockets get the packet before the kernel verifies it. For ICMPv6 the
    kernel verifies it first (RFC 3542 section 3.1), and it covers addresses that are not here.
    """
    if len(data) < _HEADER.size:
        return EchoDrop.SHORT
    kind, code, _, identifier, sequence = _HEADER.unpack_from(data)
    if kind != (_ECHO_REPLY_V6 if ipv6 else _ECHO_REPLY) or code != 0:
        return EchoDrop.NOT_A_REPLY
    if not ipv6 and checksum(data) != 0:
        return EchoDrop.CHECKSUM
    if len(data) != _HEADER.size + _PAYLOAD.size:
        return EchoDrop.FOREIGN_PAYLOAD
    magic, node, nonce = _PAYLOAD.unpack_from(data, _HEADER.size)
    if magic != _MAGIC:
        return EchoDrop.FOREIGN_PAYLOAD
    return EchoReply(identifier, sequence, NodeId(node), nonce)


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071); 0 over a message whose own checksum is right.

    A sum of 16-bit words with the carry brought round is the whole number modulo 2**16 - 1, zero written as all ones.
    """
    number = int.from_bytes(data + b"\x00" * (len(data) % 2))
    total = number % 0xFFFF or (0xFFFF if number else 0)
    return ~total & 0xFFFF
