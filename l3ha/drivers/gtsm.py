"""UDP sockets of a control protocol: DSCP CS6, sent with TTL 255, and the TTL of what arrives is told (RFC 5082).

``IP_MINTTL`` is not enforced for UDP (measured), therefore the core judges the TTL that is handed up.
"""

from __future__ import annotations

import socket
import struct

CS6 = 0xC0
"""DSCP "network control" (RFC 4594), as routers send BGP and BFD."""

_IP_FREEBIND, _IPV6_FREEBIND = 15, 78
_IP_RECVTTL = 12
"""linux/in.h, linux/in6.h; the socket module of Python 3.11 lacks them."""

_INT = struct.Struct("@i")


def udp(local: str) -> socket.socket:
    """A non-blocking socket of the family of ``local``, not bound; an address that is not there yet may be bound."""
    ipv6 = ":" in local
    family = socket.AF_INET6 if ipv6 else socket.AF_INET
    s = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    if ipv6:
        s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, CS6)
        s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, 255)
        s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVHOPLIMIT, 1)
        s.setsockopt(socket.IPPROTO_IPV6, _IPV6_FREEBIND, 1)
    else:
        s.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, CS6)
        s.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 255)
        s.setsockopt(socket.IPPROTO_IP, _IP_RECVTTL, 1)
        s.setsockopt(socket.IPPROTO_IP, _IP_FREEBIND, 1)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_PRIORITY, 6)  # after IP_TOS, which overwrites it
    return s


def ttl_of(ancillary: list[tuple[int, int, bytes]]) -> int | None:
    """TTL or hop limit of a packet from what ``recvmsg`` told besides; None where it did not."""
    for level, kind, value in ancillary:
        v4 = level == socket.IPPROTO_IP and kind == socket.IP_TTL
        v6 = level == socket.IPPROTO_IPV6 and kind == socket.IPV6_HOPLIMIT
        if (v4 or v6) and len(value) >= _INT.size:
            ttl: int = _INT.unpack_from(value)[0]
            return ttl
    return None
