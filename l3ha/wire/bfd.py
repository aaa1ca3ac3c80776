"""BFD control packet <-> bytes (RFC 5880 §4).

::

     0                   1                   2                   3
    |Vers |  Diag   |Sta|P|F|C|A|D|M|  Detect Mult  |    Length     |
    |                       My Discriminator                        |
    |                      Your Discriminator                       |
    |                 Desired Min TX Interval (µs)                  |
    |                Required Min RX Interval (µs)                  |
    |              Required Min Echo RX Interval (µs)               |
    |   Auth Type   |   Auth Len    |  Auth Key ID  |   Reserved    |   only with A; keyed SHA1: 28 bytes,
    |                        Sequence Number                        |   §4.4
    |                     Hash, 5 words of 4                        |

``decode`` makes the checks of §6.8.6 that need no session; those that do are the session's (``l3ha.core.bfd``).
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from struct import Struct

from l3ha.base.time import US, Duration

VERSION = 1
LENGTH = 24
"""Of a packet without authentication."""
SHA1_LENGTH = 28
SHA1_KEY = 20
"""Keys are padded with zeros to this length, and longer ones are refused (§4.4)."""
KEYED_SHA1, METICULOUS_SHA1 = 4, 5

_HEAD = Struct(">BBBBIIIII")
_AUTH = Struct(">BBBBI20s")
_U32 = 2**32 - 1


class State(IntEnum):
    """State of a session, with its number on the wire (§4.1)."""

    ADMIN_DOWN = 0
    DOWN = 1
    INIT = 2
    UP = 3


class Diagnostic(IntEnum):
    """Why the session went down last (§4.1)."""

    NONE = 0
    DETECTION_TIME_EXPIRED = 1
    ECHO_FAILED = 2
    NEIGHBOR_SIGNALED_DOWN = 3
    FORWARDING_PLANE_RESET = 4
    PATH_DOWN = 5
    CONCATENATED_PATH_DOWN = 6
    ADMINISTRATIVELY_DOWN = 7
    REVERSE_CONCATENATED_PATH_DOWN = 8


class BfdDrop(StrEnum):
    """Why a packet was not taken; the first seven need no session."""

    SHORT = "short"
    VERSION = "version"
    LENGTH = "length"
    MULTIPLIER = "detect multiplier 0"
    MULTIPOINT = "multipoint"
    DISCRIMINATOR = "my discriminator 0"
    POLL_AND_FINAL = "poll and final"
    STATE = "your discriminator 0 in this state"
    UNKNOWN_SESSION = "unknown session"
    TTL = "ttl"
    AUTHENTICATION = "authentication"
    SEQUENCE = "sequence"


@dataclass(frozen=True, slots=True)
class Signature:
    """Authentication section of keyed SHA1."""

    kind: int
    """``KEYED_SHA1`` or ``METICULOUS_SHA1``."""
    key_id: int
    sequence: int
    digest: bytes
    """20 bytes."""


@dataclass(frozen=True, slots=True)
class ControlPacket:
    """One control packet. Intervals are ns here and whole microseconds on the wire, rounded up."""

    state: State
    diagnostic: int
    poll: bool
    final: bool
    independent: bool
    """C: the sender's BFD does not share the fate of its control plane."""
    demand: bool
    multiplier: int
    mine: int
    yours: int
    desired_tx: Duration
    required_rx: Duration
    required_echo_rx: Duration = 0
    signature: Signature | None = None
    authenticated: bool = False
    """A is set; with a type that is not ours ``signature`` is None all the same."""


def encode(p: ControlPacket, key: bytes | None = None) -> bytes:
    """The packet as bytes; with ``key`` (at most 20 bytes) signed as its ``signature`` says, whose digest is ignored.

    ``ValueError`` for values that the format has no room for; those are our own.
    """
    signed = p.signature is not None and key is not None
    length = LENGTH + (SHA1_LENGTH if signed else 0)
    flags = p.poll << 5 | p.final << 4 | p.independent << 3 | signed << 2 | p.demand << 1
    if not (0 < p.multiplier < 256 and 0 < p.mine <= _U32 and 0 <= p.yours <= _U32 and 0 <= p.diagnostic < 32):
        raise ValueError(f"no BFD packet: multiplier {p.multiplier}, discriminators {p.mine} and {p.yours}")
    head = _HEAD.pack(
        VERSION << 5 | p.diagnostic,
        p.state << 6 | flags,
        p.multiplier,
        length,
        p.mine,
        p.yours,
        _us(p.desired_tx),
        _us(p.required_rx),
        _us(p.required_echo_rx),
    )
    if p.signature is None or key is None:
        return head
    return _sign(head, p.signature, key)


def decode(data: bytes) -> ControlPacket | BfdDrop:
    """Any UDP payload -> a packet that passes the checks of §6.8.6 which need no session, or why not. Never raises."""
    if len(data) < LENGTH:
        return BfdDrop.SHORT
    first, second, multiplier, length, mine, yours, tx, rx, echo = _HEAD.unpack_from(data)
    authenticated = bool(second & 4)
    if first >> 5 != VERSION:
        return BfdDrop.VERSION
    if length < LENGTH + 2 * authenticated or length > len(data):
        return BfdDrop.LENGTH
    if multiplier == 0:
        return BfdDrop.MULTIPLIER
    if second & 1:
        return BfdDrop.MULTIPOINT
    if mine == 0:
        return BfdDrop.DISCRIMINATOR
    if second & 0x30 == 0x30:
        return BfdDrop.POLL_AND_FINAL
    state = State(second >> 6)
    if yours == 0 and state not in (State.DOWN, State.ADMIN_DOWN):
        return BfdDrop.STATE
    return ControlPacket(
        state=state,
        diagnostic=first & 0x1F,
        poll=bool(second & 0x20),
        final=bool(second & 0x10),
        independent=bool(second & 8),
        demand=bool(second & 2),
        multiplier=multiplier,
        mine=mine,
        yours=yours,
        desired_tx=tx * US,
        required_rx=rx * US,
        required_echo_rx=echo * US,
        signature=_signature(data, length) if authenticated else None,
        authenticated=authenticated,
    )


def genuine(data: bytes, signature: Signature, key: bytes) -> bool:
    """Whether these bytes, from which ``signature`` was read, were signed with ``key`` (§6.7.4)."""
    return hmac.compare_digest(_sign(data[:LENGTH], signature, key)[-SHA1_KEY:], signature.digest)


def _signature(data: bytes, length: int) -> Signature | None:
    if length != LENGTH + SHA1_LENGTH:
        return None
    kind, size, key_id, _, sequence, digest = _AUTH.unpack_from(data, LENGTH)
    if kind not in (KEYED_SHA1, METICULOUS_SHA1) or size != SHA1_LENGTH:
        return None
    return Signature(kind, key_id, sequence, digest)


def _sign(head: bytes, s: Signature, key: bytes) -> bytes:
    """The digest is taken over the whole packet with the padded key in its place (§6.7.4)."""
    if len(key) > SHA1_KEY:
        raise ValueError("a BFD key has at most 20 bytes")
    bare = head + _AUTH.pack(s.kind, SHA1_LENGTH, s.key_id, 0, s.sequence, key.ljust(SHA1_KEY, b"\0"))
    return bare[:-SHA1_KEY] + hashlib.sha1(bare, usedforsecurity=False).digest()


def _us(duration: Duration) -> int:
    return min(-(-max(0, duration) // US), _U32)
