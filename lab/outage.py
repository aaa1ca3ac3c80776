"""What an outage is, from sequence numbers: pure arithmetic over what the receiver got."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple


class Packet(NamedTuple):
    """A received packet: its number and when its sender sent it (monotonic clock of the machine, ns)."""

    seq: int
    sent: int


@dataclass(frozen=True, slots=True)
class Outage:
    """One direction over one measurement."""

    sent: int
    lost: int
    gap_ms: float
    """Longest hole: from the sending of the last packet before it to that of the first one after it; 0 if none is lost.

    Sending times, because a receiver or sender that the machine kept waiting is not an outage.
    """
    duplicates: int

    def __str__(self) -> str:
        if not self.lost:
            return f"0 of {self.sent} lost"
        return f"{self.lost} of {self.sent} lost, longest gap {self.gap_ms:.0f} ms"


def outage(received: Iterable[Packet]) -> Outage:
    """Losses from the first packet on to the greatest number; both must lie outside the trouble.

    Stragglers from before the first packet are none of this measurement: a node whose cable was pulled may still hold
    some in its neighbor queue, and sends them on when the cable is back.
    """
    packets = list(received)
    if not packets:
        raise ValueError("no packet received: the measurement has no beginning")
    packets = [packet for packet in packets if packet.seq >= packets[0].seq]
    unique = sorted(set(packets))
    holes = [(a, b) for a, b in pairwise(unique) if b.seq - a.seq > 1]
    return Outage(
        sent=unique[-1].seq - unique[0].seq + 1,
        lost=sum(b.seq - a.seq - 1 for a, b in holes),
        gap_ms=max(((b.sent - a.sent) / 1e6 for a, b in holes), default=0.0),
        duplicates=len(packets) - len(unique),
    )
