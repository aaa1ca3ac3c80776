"""The table: every decoder that meets foreign bytes. ``make fuzz`` and ``tests/test_fuzz.py`` both go through it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from l3ha.base.limits import MAX_DATAGRAM, MAX_LINE
from l3ha.drivers.frr import CHUNK
from l3ha.wire.frr import MAX_ANSWER
from tests.fuzz import engine, icl, journal, local, packets, speaker

CORPUS = Path(__file__).parent / "corpus"


@dataclass(frozen=True)
class Decoder:
    """One row. ``longest``: bytes that can reach it."""

    name: str
    group: str
    check: Callable[[bytes], None]
    longest: int
    examples: int = 200
    """Mutations in the ordinary tests; fewer where one takes long."""

    @property
    def corpus(self) -> Path:
        """Real messages, edge cases by hand, and what once was a finding."""
        return CORPUS / self.group / self.name


DECODERS = (
    Decoder("datagram", "icl", icl.datagram, 2 * MAX_DATAGRAM),
    Decoder("noise", "icl", icl.noise_message, MAX_DATAGRAM),
    Decoder("heartbeat", "icl", icl.heartbeat, 2 * MAX_DATAGRAM),
    Decoder("sessions", "icl", icl.sessions, MAX_DATAGRAM, 100),
    Decoder("peer", "icl", engine.peer, 6 * MAX_DATAGRAM, 40),
    Decoder("icmp", "packets", packets.icmp_reply, 1 << 16),
    Decoder("bfd", "packets", packets.bfd_control, 1 << 16),
    Decoder("exabgp", "speaker", speaker.exabgp_lines, MAX_LINE),
    Decoder("agent", "speaker", speaker.agent_lines, MAX_LINE),
    Decoder("report", "speaker", engine.speaker, MAX_LINE, 40),
    Decoder("frr", "speaker", speaker.frr_answer, MAX_ANSWER + CHUNK),
    Decoder("request", "local", local.control_request, 64 << 10),
    Decoder("response", "local", local.control_response, MAX_LINE),
    Decoder("toml", "local", local.configuration, 64 << 10),
    Decoder("secret", "local", local.secret, 4096),
    Decoder("journal", "local", journal.segment, 1 << 20, 40),
    Decoder("terms", "local", engine.remembered, 64 << 10, 40),
)


def decoder(name: str) -> Decoder:
    """The row of a name. ``KeyError`` where there is none."""
    return {d.name: d for d in DECODERS}[name]
