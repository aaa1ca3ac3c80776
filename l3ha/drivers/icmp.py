"""Echoes: icmplib opens the sockets; what is sent and received over them is ours.

Its ``send`` resolves the destination and sets two socket options for every request, a tenth of the agent's whole work
(measured), and it matches replies by identifier and sequence only and so accepts one from the wrong host. Here every
target has its own socket: bound to the source, connected to the destination (the kernel queues nothing else), with a
classic BPF filter on "echo reply with our identifier" (else every raw socket sees every ICMP packet: with N targets
the cost is N squared), and the core checks the nonce. An answer that nobody awaits wakes nobody up: it is read before
the next deadline, and the kernel notes when it came.
"""

from __future__ import annotations

import ctypes
import socket
import struct
from functools import partial
from typing import TypeAlias

from icmplib import ICMPv4Socket, ICMPv6Socket
from icmplib.exceptions import ICMPSocketError, SocketAddressError, SocketPermissionError

from l3ha.base.settings import EchoTarget
from l3ha.core.events import EchoAnswer, EchoFailed, SendEcho
from l3ha.drivers.arrival import ANCILLARY, age_of, note_arrival
from l3ha.drivers.gtsm import CS6
from l3ha.drivers.inbox import Inbox
from l3ha.wire import icmp

_SO_ATTACH_FILTER = 26
"""asm-generic/socket.h; the socket module of Python 3.11 lacks it."""

_ROOM = 512
"""Bytes of one IP packet: header with options (60), ICMP header (8), our payload (22); anything longer is foreign."""

_RCVBUF = 16 << 10

_TTL = 64

_Opened: TypeAlias = tuple[ICMPv4Socket | ICMPv6Socket, socket.socket]
"""A socket of icmplib and the one in it."""

# linux/bpf_common.h: what the filters need
_LD_B_ABS, _LD_H_ABS, _LD_B_IND, _LD_H_IND, _LDX_MSH, _JEQ, _RET = 0x30, 0x28, 0x50, 0x48, 0xB1, 0x15, 0x06


def echo_filter(identifier: int, *, ipv6: bool) -> bytes:
    """Classic BPF: pass echo replies with this identifier, drop all else.

    IPv4 raw sockets see the IP header, whose length is in its first byte; IPv6 ones begin at the ICMPv6 header.
    """
    if ipv6:
        load = [(_LD_B_ABS, 0, 0, 0), (_JEQ, 0, 3, 129), (_LD_H_ABS, 0, 0, 4)]
    else:
        load = [(_LDX_MSH, 0, 0, 0), (_LD_B_IND, 0, 0, 0), (_JEQ, 0, 3, 0), (_LD_H_IND, 0, 0, 4)]
    code = [*load, (_JEQ, 0, 1, identifier), (_RET, 0, 0, 0xFFFF), (_RET, 0, 0, 0)]
    return b"".join(struct.pack("@HBBI", *instruction) for instruction in code)


class EchoSockets:
    """One socket per target, opened when its first request is sent, opened again after a failure."""

    def __init__(self, inbox: Inbox) -> None:
        self._inbox = inbox
        self._open: dict[EchoTarget, _Opened] = {}
        self._used: set[EchoTarget] = set()

    def send(self, request: SendEcho) -> EchoFailed | None:
        """Send one request; what cannot be sent is told, with the reason, and says nothing about the other side."""
        target = request.target
        self._used.add(target)
        try:
            _, raw = self._open.get(target) or self._connect(target, request.identifier)
            ipv6 = ":" in target.destination
            self._inbox.hush(raw.fileno(), hushed=not request.awaited)
            raw.send(icmp.request(request.identifier, request.sequence, request.payload, ipv6=ipv6))
        except (ICMPSocketError, OSError) as error:
            self._shut(target)
            return EchoFailed(target, _reason(error, target))
        return None

    def close_unused(self) -> None:
        """Close the sockets of targets that were not asked since the last call: a reload has removed them, or they are
        spared for long."""
        for target in self._open.keys() - self._used:
            self._shut(target)
        self._used.clear()

    def close(self) -> None:
        """Close all sockets."""
        for target in tuple(self._open):
            self._shut(target)

    def _connect(self, target: EchoTarget, identifier: int) -> _Opened:
        ipv6 = ":" in target.destination
        wrapper = (ICMPv6Socket if ipv6 else ICMPv4Socket)(address=target.source or None)
        try:
            raw: socket.socket = wrapper.sock
            raw.setblocking(False)
            _attach(raw, echo_filter(identifier, ipv6=ipv6))
            if ipv6:
                raw.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, CS6)
                raw.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, _TTL)
            else:
                raw.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, CS6)
                raw.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, _TTL)
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_PRIORITY, 6)  # after IP_TOS, which overwrites it
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RCVBUF)
            note_arrival(raw)
            raw.connect((target.destination, 0))
        except OSError:
            wrapper.close()
            raise
        self._open[target] = opened = (wrapper, raw)
        self._inbox.add(raw.fileno(), partial(_receive, raw, target, ipv6=ipv6), perishable=True)
        return opened

    def _shut(self, target: EchoTarget) -> None:
        opened = self._open.pop(target, None)
        if opened is not None:
            wrapper, raw = opened
            self._inbox.remove(raw.fileno())
            wrapper.close()


def permitted() -> bool:
    """Whether this process may open raw sockets at all (CAP_NET_RAW)."""
    try:
        ICMPv4Socket().close()
    except SocketPermissionError:
        return False
    except ICMPSocketError:  # no IPv4 here: not a question of rights
        return True
    return True


def _attach(raw: socket.socket, program: bytes) -> None:
    buffer = ctypes.create_string_buffer(program)
    head = struct.pack("@HP", len(program) // 8, ctypes.addressof(buffer))
    raw.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, head)


def _receive(raw: socket.socket, target: EchoTarget, *, ipv6: bool) -> EchoAnswer | None:
    for _ in range(8):
        if raw.fileno() < 0:
            return None
        try:
            packet, ancillary, _, _ = raw.recvmsg(_ROOM, ANCILLARY)
        except BlockingIOError:
            return None
        except OSError:  # an ICMP error about an earlier request: not an answer, and not a failure to send
            continue
        message = packet if ipv6 else packet[(packet[0] & 0x0F) * 4 :] if packet else b""
        return EchoAnswer(target, message, age_of(ancillary))
    return None


def _reason(error: Exception, target: EchoTarget) -> str:
    match error:
        case SocketPermissionError():
            return "no permission for raw sockets (CAP_NET_RAW)"
        case SocketAddressError():
            return f"{target.source} is not an address of this node"
        case PermissionError():  # EACCES for a broadcast address, EPERM from a firewall in OUTPUT
            return "not permitted: a local firewall drops it, or the destination is a broadcast address"
        case OSError():
            return error.strerror or str(error)
        case _:
            return str(error)
