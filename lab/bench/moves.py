"""Planned moves in a row, under traffic: is a single packet lost, and how long does the proof take?

10 packets per millisecond each way, and a TCP transfer each way that lasts over all moves; the nodes take turns.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass

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
    for attempt in range(TRIES):
        begin = time.monotonic_ns()
        proofs: list[float] = []
        row, failure = None, ""
        try:
            row = run_row(tag, kind, load, moves, proofs)
        except BROKEN as error:
            failure = str(error)
        said = failure if row is None else f"{moves} moves, {row.outages}; TCP: {row.felt}"
        stood_ms = watch.longest(begin, time.monotonic_ns())
        void = stood_ms >= AT_ALL_MS and not (row is not None and row.lossless) and attempt + 1 < TRIES
        say(f"{name}: {said}{f'; void, the machine stood still for {stood_ms:.0f} ms' if void else ''}")
        if not void:
            break
    again = f"; {attempt} series before it were void" if attempt else ""
    if row is None:
        return [Measure(SUBJECT, name, "ms", tuple(proofs), reason(failure) + again)]
    return row.measures(name, again)


def run_row(tag: str, kind: RouterKind, load: Load, moves: int, proofs: list[float]) -> Row:
    """One series; ``proofs`` are noted as they come. Raises one of ``BROKEN``."""
    streams = Streams(tag)
    with type("BusySo", (Busy,), {"amount": load})(tag, kind) as lab:
        active = lab.ready()

        def all_moves() -> None:
            nonlocal active
            for _ in range(moves):
                proofs.append(_move(lab, active))
                active = other(active)
                found = lab.ready()
                if found != active:
                    raise LabError(f"after the move {found} is active")

        with streams:
            outages = lab.meter().measure(all_moves)
    return Row(tuple(proofs), outages, streams.felt)


def _move(lab: Loaded, active: str) -> float:
    """Milliseconds from the agent's acceptance until the other node is ACTIVE and verified."""
    said = lab.cli(active, "request", "failover", "srg", "1", "--wait", "--json")
    return float(json.loads(said.splitlines()[-1])["after"]) / 1e6
