"""Planned moves in a row, under traffic: is a single packet lost, and how long does the proof take?

10 packets per millisecond each way, and a TCP transfer each way that lasts over all moves; the nodes take turns.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from lab.bench.campaign import BROKEN, TRIES
from lab.bench.load import Load, Loaded, reason
from lab.bench.record import Measure
from lab.bench.trial import AT_ALL_MS
from lab.command import LabError
from lab.holes import Watch, watched
from lab.observe import other
from lab.routers import RouterKind
from lab.stream import Felt, Streams
from lab.traffic import Outages

SUBJECT = "Planned moves of l3ha in a row"
_MOVES = {Load(): 4, Load(routes=994): 4, Load(routes=9994): 1}
"""In a row, for each run that was asked for."""


class Busy(Loaded):
    """A pair with ten times the usual traffic."""

    packets_per_ms = 10


@dataclass(frozen=True, slots=True)
class Row:
    """What a series of moves, and the traffic through it, came to."""

    proofs: tuple[float, ...]
    """Milliseconds from request to verified, of each move."""
    outages: Outages
    felt: tuple[Felt, ...]
    """By the TCP transfers."""

    @property
    def lossless(self) -> bool:
        """Nothing was lost, nothing sent again."""
        return not self.outages.lost and not any(felt.retransmitted or felt.broken for felt in self.felt)

    @property
    def loss(self) -> str:
        """What was."""
        return f"{self.outages.lost} packets and {sum(felt.retransmitted for felt in self.felt)} segments"

    def measures(self, name: str, note: str) -> list[Measure]:
        """For the table."""
        ways = (self.outages.a_to_b, self.outages.b_to_a)
        lost, sent = tuple(float(way.lost) for way in ways), ", ".join(f"{way.sent:,}" for way in ways)
        again = tuple(float(felt.retransmitted) for felt in self.felt)
        moved = ", ".join(f"{felt.received / 1e6:.0f} MB" for felt in self.felt)
        broken = [felt.broken for felt in self.felt if felt.broken is not None]
        end = f"broken: {broken[0]}" if broken else f"of {moved}; longest pause {max(f.pause_ms for f in self.felt)} ms"
        return [
            Measure(SUBJECT, f"{name}: request to verified", "ms", self.proofs, f"{len(self.proofs)} moves{note}"),
            Measure(SUBJECT, f"{name}: lost, each way", "packets", lost, f"of {sent}"),
            Measure(SUBJECT, f"{name}: TCP retransmitted, each way", "segments", again, end),
        ]


@dataclass(slots=True)
class Progress:
    """How far a series has come."""

    begun: int = 0
    """When its traffic began (monotonic clock, ns); 0: not yet."""
    proofs: list[float] = field(default_factory=list)
    """See ``Row``."""


def measure(tag: str, runs: int, _seconds: float, say: Callable[[str], None]) -> list[Measure]:
    """Every kind of router, few and many routes."""
    with watched() as watch:
        return [
            one
            for kind in RouterKind
            for load, moves in _MOVES.items()
            for one in series(tag, kind, load, moves * runs, watch, say)
        ]


def series(
    tag: str, kind: RouterKind, load: Load, moves: int, watch: Watch, say: Callable[[str], None]
) -> list[Measure]:
    """Again where something was lost while the machine itself stood still; the last one counts, whatever it does."""
    name = f"{kind.upper()} routers, {load}"
    void: list[str] = []
    while True:
        progress = Progress()
        row, failure = None, ""
        try:
            row = run_row(tag, kind, load, moves, progress)
        except BROKEN as error:
            failure = str(error)
        say(f"{name}: {failure if row is None else f'{moves} moves, {row.outages}; TCP: {row.felt}'}")
        stood_ms = watch.longest(progress.begun, time.monotonic_ns()) if progress.begun else 0.0
        if (row is not None and row.lossless) or stood_ms < AT_ALL_MS or len(void) + 1 == TRIES:
            break
        void.append(reason(failure) if row is None else row.loss)
        say(f"{name}: void, the machine stood still for {stood_ms:.0f} ms")
    again = f"; void before it, because the machine stood still: {', '.join(void)}" if void else ""
    if row is None:
        return [Measure(SUBJECT, name, "ms", tuple(progress.proofs), reason(failure) + again)]
    return row.measures(name, again)


def run_row(tag: str, kind: RouterKind, load: Load, moves: int, progress: Progress) -> Row:
    """One series. Raises one of ``BROKEN``."""
    streams = Streams(tag)
    with type("BusySo", (Busy,), {"amount": load})(tag, kind) as lab:
        active = lab.ready()

        def all_moves() -> None:
            nonlocal active
            for _ in range(moves):
                progress.proofs.append(_move(lab, active))
                active = other(active)
                found = lab.ready()
                if found != active:
                    raise LabError(f"after the move {found} is active")

        progress.begun = time.monotonic_ns()
        with streams:
            outages = lab.meter().measure(all_moves)
    return Row(tuple(progress.proofs), outages, streams.felt)


def _move(lab: Loaded, active: str) -> float:
    """Milliseconds from the agent's acceptance until the other node is ACTIVE and verified."""
    said = lab.cli(active, "request", "failover", "srg", "1", "--wait", "--json")
    return float(json.loads(said.splitlines()[-1])["after"]) / 1e6
