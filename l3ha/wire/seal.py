"""Packets of the inter-chassis link: framing, the cheap first check, the replay window, and why packets are dropped.

::

    INIT (72 bytes)                            RESPONSE (76 bytes)
     0      1      2           4                0      1      2           4
    +------+------+-----------+                +------+------+-----------+
    | 1    | ver  | reserved  |                | 2    | ver  | reserved  |
    +------+------+-----------+                +------+------+-----------+
    | Noise message 1      52 |                | receiver index      u32 |
    +-------------------------+                +-------------------------+
    | mac1                 16 |                | Noise message 2      52 |
    +-------------------------+                +-------------------------+
                                               | mac1                 16 |
    DATA (32 + plaintext bytes)                +-------------------------+
     0      1      2           4
    +------+------+-----------+   The first 16 bytes are authenticated along with the ciphertext.
    | 3    | ver  | reserved  |   Integers are big-endian; reserved is sent as zero and not looked at.
    +------+------+-----------+   An index is chosen by the side that will receive it. Each Noise message carries
    | receiver index      u32 |   its sender's index (u32) as payload: in the clear it could be changed on the way,
    +-------------------------+   and the one side would send on the session while the other does not know it.
    | counter             u64 |
    +-------------------------+
    | ciphertext + tag  n+16  |
    +-------------------------+

``mac1`` is keyed from the static public key of the packet's *receiver* (as in WireGuard): who does not even know whom
he talks to is refused for the price of one hash, and a reflected packet never fits.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from enum import StrEnum
from hashlib import blake2s
from struct import Struct
from typing import NamedTuple

from l3ha.base.limits import MAX_DATAGRAM
from l3ha.base.names import NodeId
from l3ha.wire.noise import KEY_SIZE, TAG_SIZE

VERSION = 1
INIT, RESPONSE, DATA = 1, 2, 3
MAC_SIZE = 16
_INDEX = Struct(">I")
NOISE_SIZE = KEY_SIZE + _INDEX.size + TAG_SIZE

_INIT_HEAD = Struct(">BBxx")
_RESPONSE_HEAD = Struct(">BBxxI")
_DATA_HEAD = Struct(">BBxxIQ")
INIT_SIZE = _INIT_HEAD.size + NOISE_SIZE + MAC_SIZE
RESPONSE_SIZE = _RESPONSE_HEAD.size + NOISE_SIZE + MAC_SIZE
OVERHEAD = _DATA_HEAD.size + TAG_SIZE
"""Bytes that sealing adds."""
MAX_PLAINTEXT = MAX_DATAGRAM - OVERHEAD
WINDOW = 2048
"""Counters that a packet may lag behind the newest one of its session."""


class Drop(StrEnum):
    """Why a datagram of the inter-chassis link changed nothing. This list is all that ``show peer`` ever counts."""

    WRONG_SOURCE = "wrong_source"
    """Not from the configured address of the path."""
    WRONG_TTL = "wrong_ttl"
    """The path is one hop, and this packet has come further (RFC 5082)."""
    TOO_SHORT = "too_short"
    TOO_LONG = "too_long"
    UNKNOWN_TYPE = "unknown_type"
    UNKNOWN_VERSION = "unknown_version"
    BAD_MAC = "bad_mac"
    """A handshake packet that was not meant for our public key."""
    INIT_SEEN = "init_seen"
    """The same INIT again: over another path, or a replay. Harmless."""
    RESPONSE_SEEN = "response_seen"
    """A RESPONSE to an INIT of ours that is settled already, usually over another path. Harmless."""
    CONFIRM_SEEN = "confirm_seen"
    """The first packet of a session again, which is sent on every path. Harmless."""
    RATE_LIMITED = "rate_limited"
    BAD_HANDSHAKE = "bad_handshake"
    """A handshake that does not open: other keys, pre-shared key, cluster name or node ids, or damaged on the way."""
    UNKNOWN_INDEX = "unknown_index"
    """For a session that we do not hold (any more)."""
    NO_SESSION = "no_session"
    """Data before we hold any session, as after our own restart."""
    EXPIRED = "expired"
    """For a session that is too old to be used."""
    REPLAYED = "replayed"
    TOO_OLD = "too_old"
    """More than 2048 packets behind the newest."""
    BAD_SEAL = "bad_seal"
    """The authentication tag does not fit: forged or damaged."""
    BAD_HEARTBEAT = "bad_heartbeat"
    """Authentic, but not a heartbeat that this version can read."""
    WRONG_CLUSTER = "wrong_cluster"
    WRONG_NODE = "wrong_node"
    WRONG_PATH = "wrong_path"
    """A heartbeat that was sent on another path than it arrived on."""
    OLD_INCARNATION = "old_incarnation"
    """From before the peer's last restart."""
    STALE = "stale"
    """Not newer than what this path has already brought."""


@dataclass(frozen=True, slots=True)
class Dropped:
    """Bytes that were refused, and why; ``detail`` is for people."""

    reason: Drop
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}" if self.detail else str(self.reason)


@dataclass(frozen=True, slots=True)
class Init:
    """Somebody who knows our public key wants a session. Nothing is proved yet."""

    noise: bytes


@dataclass(frozen=True, slots=True)
class Response:
    """The answer to our INIT ``receiver``. Nothing is proved yet."""

    receiver: int
    noise: bytes


class Data(NamedTuple):
    """A sealed packet. ``header`` is what its tag covers besides the plaintext."""

    receiver: int
    counter: int
    header: bytes
    sealed: bytes


def mac_key(public: bytes) -> bytes:
    """Key of ``mac1`` for packets to the owner of this static public key."""
    return blake2s(b"l3ha mac1 key 1" + public).digest()


def prologue(cluster: str, initiator: NodeId, responder: NodeId) -> bytes:
    """What both sides must agree on before any key fits: protocol version, cluster, and who opens to whom."""
    name = cluster.encode()
    return b"l3ha icl" + bytes((VERSION, initiator, responder)) + len(name).to_bytes(2) + name


def encode_index(index: int) -> bytes:
    """The payload of a Noise message: the index that its sender wants to be called by."""
    return _INDEX.pack(index)


def decode_index(payload: bytes) -> int:
    """Inverse of ``encode_index``; the size of a handshake packet leaves no room for another payload."""
    index: int = _INDEX.unpack(payload)[0]
    return index


def encode_init(key: bytes, noise: bytes) -> bytes:
    """INIT to the owner of mac1 key ``key``."""
    return sign(key, _INIT_HEAD.pack(INIT, VERSION) + noise)


def encode_response(key: bytes, receiver: int, noise: bytes) -> bytes:
    """RESPONSE to the owner of mac1 key ``key``."""
    return sign(key, _RESPONSE_HEAD.pack(RESPONSE, VERSION, receiver) + noise)


def sign(key: bytes, body: bytes) -> bytes:
    """A handshake packet with its mac1. Whoever knows the receiver's public key can make it."""
    return body + _mac(key, body)


def data_header(receiver: int, counter: int) -> bytes:
    """The 16 bytes before the ciphertext of a DATA packet."""
    return _DATA_HEAD.pack(DATA, VERSION, receiver, counter)


def decode(data: bytes, key: bytes) -> Init | Response | Data | Dropped:
    """Any bytes -> a packet or a reason. ``key`` is the mac1 key of our own public key. Never raises."""
    if len(data) < _INIT_HEAD.size:
        return Dropped(Drop.TOO_SHORT)
    if len(data) > MAX_DATAGRAM:
        return Dropped(Drop.TOO_LONG)
    kind = data[0]
    if not INIT <= kind <= DATA:
        return Dropped(Drop.UNKNOWN_TYPE)
    if data[1] != VERSION:
        return Dropped(Drop.UNKNOWN_VERSION, f"packet version {data[1]}")
    if kind == DATA:
        return _decode_data(data)
    size = INIT_SIZE if kind == INIT else RESPONSE_SIZE
    if len(data) != size:
        return Dropped(Drop.TOO_SHORT if len(data) < size else Drop.TOO_LONG)
    if not hmac.compare_digest(_mac(key, data[:-MAC_SIZE]), data[-MAC_SIZE:]):
        return Dropped(Drop.BAD_MAC)
    if kind == INIT:
        return Init(data[_INIT_HEAD.size : -MAC_SIZE])
    _, _, receiver = _RESPONSE_HEAD.unpack_from(data)
    return Response(receiver, data[_RESPONSE_HEAD.size : -MAC_SIZE])


def _decode_data(data: bytes) -> Data | Dropped:
    if len(data) < OVERHEAD:
        return Dropped(Drop.TOO_SHORT)
    _, _, receiver, counter = _DATA_HEAD.unpack_from(data)
    return Data(receiver, counter, data[: _DATA_HEAD.size], data[_DATA_HEAD.size :])


def _mac(key: bytes, body: bytes) -> bytes:
    return blake2s(body, key=key, digest_size=MAC_SIZE).digest()


class ReplayWindow:
    """Which of the last ``WINDOW`` counters were used: bit *i* stands for ``newest - i`` (RFC 6479 in one big int).

    ``check`` before opening, ``mark`` after: a forged packet must not move the window.
    """

    __slots__ = ("_newest", "_used")
    _ALL = (1 << WINDOW) - 1

    def __init__(self) -> None:
        self._newest = -1
        self._used = 0

    def check(self, counter: int) -> Drop | None:
        """None where the counter is new."""
        lag = self._newest - counter
        if lag < 0:
            return None
        if lag >= WINDOW:
            return Drop.TOO_OLD
        return Drop.REPLAYED if self._used >> lag & 1 else None

    def mark(self, counter: int) -> None:
        """The packet was authentic: its counter is used up."""
        step = counter - self._newest
        if step <= 0:
            self._used |= 1 << -step
            return
        self._used = (self._used << step & self._ALL | 1) if step < WINDOW else 1
        self._newest = counter
