"""Packets of routers: the ICMP echo reply, the BFD control packet."""

from __future__ import annotations

from dataclasses import replace

from l3ha.base.names import NodeId
from l3ha.base.settings import EchoTarget
from l3ha.base.time import SECOND
from l3ha.core.echo import Echo, EchoResult
from l3ha.wire import bfd, icmp


def icmp_reply(data: bytes) -> None:
    """A reply or a reason; a reply is the packet byte for byte, and only the awaited one answers the sample."""
    for packet in (data, _summed(data)):
        for ipv6 in (False, True):
            reply = icmp.decode(packet, ipv6=ipv6)
            if isinstance(reply, icmp.EchoReply):
                assert packet[8:] == icmp.payload(reply.node, reply.nonce)
            else:
                assert isinstance(reply, icmp.EchoDrop)
            _asked(packet, ipv6)


def bfd_control(data: bytes) -> None:
    """A packet or a reason; a packet encodes to the bytes that it was read from, apart from what nobody reads."""
    packet = bfd.decode(data)
    if isinstance(packet, bfd.BfdDrop):
        return
    again = bfd.encode(replace(packet, signature=None))
    assert again[0] == data[0] and again[1] | 4 == data[1] | 4 and again[2] == data[2]
    assert again[4 : bfd.LENGTH] == data[4 : bfd.LENGTH]
    if packet.signature is not None:
        assert packet.authenticated
        assert not bfd.genuine(data, replace(packet.signature, digest=bytes(bfd.SHA1_KEY)), b"key")
        signed = bfd.encode(packet, b"key")
        read = bfd.decode(signed)
        assert isinstance(read, bfd.ControlPacket) and read.signature is not None
        assert bfd.genuine(signed, read.signature, b"key")


def _asked(packet: bytes, ipv6: bool) -> None:
    target = EchoTarget("2001:db8::1" if ipv6 else "192.0.2.1", "2001:db8::2" if ipv6 else "192.0.2.2", SECOND)
    echo = Echo(target, NodeId(2), 0x4C02, 0)
    echo.tick(0, bytes)
    taken = echo.receive(packet, 1)
    awaited = packet[4:6] == b"\x4c\x02" and packet[8:] == icmp.payload(NodeId(2), bytes(icmp.NONCE_SIZE))
    assert taken <= awaited
    assert (echo.result is EchoResult.ANSWERED) is taken and sum(echo.drops.values()) == (not taken)
    assert not echo.receive(packet, 2)


def _summed(data: bytes) -> bytes:
    """The same with a right checksum."""
    if len(data) < 4:
        return data
    bare = data[:2] + b"\0\0" + data[4:]
    return bare[:2] + icmp.checksum(bare).to_bytes(2) + bare[4:]
