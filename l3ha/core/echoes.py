"""The echoes of the node: which targets are asked, when a sample ends, and what is asked again for a proof.

The engine holds them as plain data, one for each target, because groups and monitors share them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeAlias

from l3ha.base.names import SrgId
from l3ha.base.settings import EchoTarget, Monitor, Settings
from l3ha.base.time import MS, Duration, Instant
from l3ha.core import monitors
from l3ha.core.echo import Echo, EchoResult
from l3ha.core.events import Note, SendEcho
from l3ha.core.facts import Facts
from l3ha.core.monitors import Watches
from l3ha.core.srg import SrgMachine

Echoes: TypeAlias = dict[EchoTarget, Echo]

ECHO_IDENTIFIER = 0x4C00
"""Plus the node id: nodes share the floating source address, so replies to the other's requests may arrive here."""

PROOFS_PER_INTERVAL = 5
"""How often the arbiters are asked within one probe interval while a takeover waits for its proof."""

SHORTEST_PROOF: Duration = 10 * MS
"""But not more often than this."""


def equip(settings: Settings, known: Echoes, now: Instant) -> Echoes:
    """The echoes for these settings; a target that was asked already keeps its history."""
    identifier = ECHO_IDENTIFIER + settings.id
    echoes = {t: known.get(t) or Echo(t, settings.id, identifier, now) for t in _targets(settings)}
    arbiters = [a for s in settings.srgs for a in s.arbiters]
    needed = {m.echo for m in _monitors(settings)} | {a.floating for a in arbiters}  # whatever others prove
    for target, echo in echoes.items():
        beside = {a.floating: None for a in arbiters if a.own == target and target not in needed}  # each once, in order
        echo.beside = tuple(echoes[floating] for floating in beside)
    return echoes


def tick(
    echoes: Echoes, watches: Watches, now: Instant, entropy: Callable[[int], bytes], *, awaited: bool, spare: bool
) -> Iterator[Note | SendEcho]:
    """The requests that are due; what they close without an answer is a sample of the monitors that share it."""
    climbing = monitors.climbing(watches)
    for target, echo in echoes.items():
        request = echo.tick(now, entropy, awaited=awaited or target in climbing, spare=spare)
        if request is None:
            continue
        if echo.closed is not EchoResult.PENDING and echo.closed is not EchoResult.ANSWERED:
            yield from monitors.tried(watches, target, echo.closed, now)
        yield request


def proofs(
    machines: Iterable[SrgMachine], pictures: Mapping[SrgId, Facts], echoes: Echoes, now: Instant
) -> list[tuple[Echo, Instant]]:
    """What is asked again while a takeover waits for its proof, and when: the cadence of the samples is made for
    telling a silence, and would hold the other node's cover for nothing. ``pictures``: what each group decided on."""
    found: list[tuple[Echo, Instant]] = []
    for machine in machines:
        facts = pictures.get(machine.srg.id)
        if facts is None or not machine.unproved(facts, now):
            continue
        for echo in {a.floating: echoes[a.floating] for a in machine.srg.arbiters}.values():
            if echo.answered_sent is None or echo.answered_sent < facts.acked_at:
                pause = max(SHORTEST_PROOF, echo.target.interval // PROOFS_PER_INTERVAL)
                found.append((echo, facts.acked_at if echo.sent_at < facts.acked_at else echo.sent_at + pause))
    return found


def _targets(settings: Settings) -> dict[EchoTarget, None]:
    """Arbiters from the floating addresses and then from our own (``Echo.beside``), then IP monitors, then the routers
    of witness paths that nobody asks yet."""
    arbiters = [arbiter for srg in settings.srgs for arbiter in srg.arbiters]
    wanted = {a.floating: None for a in arbiters} | {a.own: None for a in arbiters}
    wanted.update({m.echo: None for m in _monitors(settings) if m.echo is not None})
    shortest = min((t.interval for t in wanted), default=settings.timers.heartbeat)
    routers = {p.router for peer in settings.peers for p in peer.paths if p.router}
    for n in settings.neighbors:
        if n.router in routers and not any((t.source, t.destination) == (n.local_address, n.address) for t in wanted):
            wanted[EchoTarget(n.local_address, n.address, shortest)] = None
    return wanted


def _monitors(settings: Settings) -> list[Monitor]:
    return [m for watched in (settings.node_group.monitors, *(s.monitors for s in settings.srgs)) for m in watched]
