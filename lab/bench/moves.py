"""Planned moves in a row, under traffic: is a single packet lost, and how long does the proof take?

10 packets per millisecond each way, and a TCP transfer each way that lasts over all moves; the nodes take turns.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

from lab.bench.campaign import BROKEN
from lab.bench.load import Load, Loaded, reason
from lab.bench.record import Measure
from lab.observe import other
from lab.routers import RouterKind
from lab.stream import Streams
from lab.traffic import Outages

SUBJECT = "Planned moves of l3ha in a row"
_MOVES = {Load(): 4, Load(routes=994): 4, Load(routes=9994): 1}
"""In a row, for each run that was asked for."""


class Busy(Loaded):
    """A pair with ten times the usual traffic."""

    packets_per_ms = 10


def measure(tag: str, runs: int, _seconds: float, say: Callable[[str], None]) -> list[Measure]:
    """Every kind of router, few and many routes."""
    return [
        one
        for kind in RouterKind
        for load, moves in _MOVES.items()
        for one in _series(tag, kind, load, moves * runs, say)
    ]


def _series(tag: str, kind: RouterKind, load: Load, moves: int, say: Callable[[str], None]) -> Iterator[Measure]:
    name = f"{kind.upper()} routers, {load}"
    lab_class = type("BusySo", (Busy,), {"amount": load})
    proofs: list[float] = []
    streams = Streams(tag)
    try:
        with lab_class(tag, kind) as lab:
            active = lab.ready()

            def all_moves() -> None:
                nonlocal active
                for _ in range(moves):
                    proofs.append(_move(lab, active))
                    active = other(active)
                    found = lab.ready()
                    assert found == active, found

            with streams:
                outages = lab.meter().measure(all_moves)
    except BROKEN as error:
        say(f"{name}: {error}")
        yield Measure(SUBJECT, name, "ms", tuple(proofs), reason(str(error)))
        return
    say(f"{name}: {moves} moves, {outages}; TCP: {streams.felt}")
    yield Measure(SUBJECT, f"{name}: request to verified", "ms", tuple(proofs), f"{moves} moves")
    yield from _felt(name, outages, streams)


def _felt(name: str, outages: Outages, streams: Streams) -> Iterator[Measure]:
    ways = (outages.a_to_b, outages.b_to_a)
    sent = ", ".join(f"{way.sent:,}" for way in ways)
    yield Measure(SUBJECT, f"{name}: lost, each way", "packets", tuple(float(way.lost) for way in ways), f"of {sent}")
    broken = [felt.broken for felt in streams.felt if felt.broken is not None]
    moved = ", ".join(f"{felt.received / 1e6:.0f} MB" for felt in streams.felt)
    retransmitted = tuple(float(felt.retransmitted) for felt in streams.felt)
    note = f"broken: {broken[0]}" if broken else f"of {moved}; longest pause {max(f.pause_ms for f in streams.felt)} ms"
    yield Measure(SUBJECT, f"{name}: TCP retransmitted, each way", "segments", retransmitted, note)


def _move(lab: Loaded, active: str) -> float:
    """Milliseconds from the agent's acceptance until the other node is ACTIVE and verified."""
    said = lab.cli(active, "request", "failover", "srg", "1", "--wait", "--json")
    return float(json.loads(said.splitlines()[-1])["after"]) / 1e6
