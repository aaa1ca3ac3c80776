"""Engine -> ``Status``: what ``show`` prints. Reads the machines, changes nothing."""

from __future__ import annotations

import l3ha
from l3ha.base.names import Level, SrgId
from l3ha.base.settings import Arbiter, Bfd, FrrBfd, Neighbor
from l3ha.base.time import Duration, Instant
from l3ha.core import picture, preference
from l3ha.core.bfd import SINGLE_HOP_TTL
from l3ha.core.bfd_sessions import because
from l3ha.core.echo import Echo
from l3ha.core.engine import Engine
from l3ha.core.icl import IclPeer, PathState
from l3ha.core.monitor import Watch, failed_weight
from l3ha.core.routes import NeighborState
from l3ha.core.srg import SrgMachine
from l3ha.core.status import (
    ArbiterStatus,
    BfdStatus,
    LatenessStatus,
    MonitorStatus,
    NeighborStatus,
    NodeStatus,
    PathStatus,
    PeerStatus,
    ProbeStatus,
    RouteStatus,
    SpeakerStatus,
    SrgPeerStatus,
    SrgStatus,
    Status,
)
from l3ha.wire.bfd import State

SPARED = "SPARED"
"""In the place of an own address's result: it is not asked, because what answers the floating one would answer it."""


def status(engine: Engine, now: Instant) -> Status:
    """Everything one node knows, at one instant."""
    return Status(
        node=_node(engine, now),
        peers=tuple(_peer(engine, p, now) for p in engine.peers.values()),
        srgs=tuple(_srg(engine, m, now) for m in engine.srgs.values()),
        monitors=_monitors(SrgId(0), engine.watches[SrgId(0)], now),
        neighbors=_neighbors(engine, now),
        routes=_routes(engine),
        speaker=_speaker(engine),
        bfd=tuple(
            _bfd(n, n.bfd, engine.speaker.neighbors[n.name], engine.speaker.bfd_proves(n, now), now)
            for n in engine.settings.neighbors
            if n.bfd
        ),
    )


def _node(e: Engine, now: Instant) -> NodeStatus:
    return NodeStatus(
        cluster=e.settings.cluster,
        name=e.settings.name,
        id=e.settings.id,
        state=e.node.state,
        rule=e.node.rule,
        since=now - e.node.since,
        failure_events=picture.failure_events(e, SrgId(0), now),
        maintenance=e.node.maintenance,
        software=l3ha.__version__,
        digest=e.settings.digest.hex(),
        incarnation=f"{e.incarnation:016x}",
        intent=e.intent.name.lower(),
        routes=e.settings.node_group.routes,
        uptime=now - e.started,
        pauses=e.pauses,
        lateness=LatenessStatus(
            e.lateness.count, e.lateness.within(500), e.lateness.within(990), e.lateness.within(999), e.lateness.worst
        ),
    )


def _peer(e: Engine, p: IclPeer, now: Instant) -> PeerStatus:
    beat = p.beat
    return PeerStatus(
        id=p.peer.id,
        name=p.peer.name,
        contact=p.contact,
        since=_age(p.contact_since if p.contact else p.lost_at, now),
        encrypted=p.session.established,
        session_age=p.session.session_age(now),
        interval=e.settings.timers.heartbeat,
        multiplier=e.settings.timers.multiplier,
        state=str(beat.state) if beat else None,
        intent=beat.intent.name.lower() if beat else None,
        incarnation=f"{beat.incarnation:016x}" if beat else None,
        software=beat.software if beat else None,
        digest=beat.digest.hex() if beat else None,
        differs=p.differs(),
        reach=beat.reach if beat else (),
        paths=tuple(_path(s, now) for s in p.paths.values()),
        sent=sum(s.sent for s in p.paths.values()),
        received=sum(s.received for s in p.paths.values()),
        drops={str(reason): count for reason, count in sorted(p.session.drops.items())},
    )


def _path(s: PathState, now: Instant) -> PathStatus:
    return PathStatus(
        name=s.path.name,
        local=s.path.local,
        remote=s.path.remote,
        router=s.path.router,
        up=s.up,
        since=_age(s.since, now),
        heard=_age(s.heard, now),
        rtt=s.rtt,
        sent=s.sent,
        received=s.received,
    )


def _srg(e: Engine, m: SrgMachine, now: Instant) -> SrgStatus:
    facts = picture.facts(e, m.srg, now)
    return SrgStatus(
        id=m.srg.id,
        description=m.srg.description,
        state=m.state,
        confirmed=m.confirmed,
        since=now - m.since,
        rule=m.rule,
        reason=m.reason,
        rule_age=now - m.rule_at,
        priority=m.priority,
        preempt=m.srg.preempt is not None,
        level=m.level.name,
        term=m.term,
        seen=m.seen,
        claim=m.claim,
        grant=m.describe_grant(now) if m.grant else None,
        heir=m.heir,
        eligible=facts.eligible,
        ready=facts.ready,
        verified=m.verified,
        failure_events=picture.failure_events(e, m.srg.id, now),
        weight_failed=failed_weight(e.watches[m.srg.id]),
        threshold=m.srg.threshold,
        floating=m.srg.floating,
        routes=m.srg.routes,
        move=m.describe_move(now),
        probe=_probe(e, m),
        monitors=_monitors(m.srg.id, e.watches[m.srg.id], now),
        peers=tuple(_srg_peer(p, m) for p in e.peers.values()),
    )


def _srg_peer(p: IclPeer, m: SrgMachine) -> SrgPeerStatus:
    beat = p.beat
    theirs = next((g for g in beat.srgs if g.id == m.srg.id), None) if beat else None
    return SrgPeerStatus(
        id=p.peer.id,
        name=p.peer.name,
        state=str(theirs.state) if theirs else None,
        confirmed=theirs.confirmed if theirs else False,
        term=theirs.term if theirs else 0,
        healthy=theirs.eligible if theirs else None,
        ready=theirs.ready if theirs else None,
        verified=theirs.verified if theirs else False,
        priority=theirs.priority if theirs else None,
    )


def _probe(e: Engine, m: SrgMachine) -> ProbeStatus:
    probe = e.probes[m.srg.id]
    return ProbeStatus(
        verdict=probe.verdict,
        count=probe.count,
        interval=probe.interval,
        up=m.srg.up,
        down=m.srg.down,
        arbiters=tuple(_arbiter(e, a, known=probe.known(a, e.echoes)) for a in m.srg.arbiters),
    )


def _arbiter(e: Engine, a: Arbiter, *, known: bool) -> ArbiterStatus:
    own, floating = e.echoes[a.own], e.echoes[a.floating]
    return ArbiterStatus(
        name=a.name,
        own_source=a.own.source,
        floating_source=a.floating.source,
        destination=a.floating.destination,
        own=SPARED if own.spared else own.result,
        floating=floating.result,
        known=known,
        own_rtt=None if own.spared else own.rtt,
        floating_rtt=floating.rtt,
        sent=own.sent + floating.sent,
        answered=own.answered + floating.answered,
        drops=_sum(own, floating),
        error=floating.error or own.error,
    )


def _sum(*echoes: Echo) -> dict[str, int]:
    total: dict[str, int] = {}
    for echo in echoes:
        for reason, count in echo.drops.items():
            total[reason] = total.get(reason, 0) + count
    return total


def _monitors(srg: SrgId, watches: list[Watch], now: Instant) -> tuple[MonitorStatus, ...]:
    return tuple(
        MonitorStatus(
            srg=srg,
            name=w.monitor.name,
            kind=w.monitor.kind,
            subject=w.monitor.subject,
            weight=w.monitor.weight,
            up=w.up,
            since=_age(w.since, now),
            rise=w.monitor.rise,
            fall=w.monitor.fall,
            reason=w.reason,
        )
        for w in watches
    )


def _neighbors(e: Engine, now: Instant) -> tuple[NeighborStatus, ...]:
    out = []
    for n in e.settings.neighbors:
        s = e.speaker.neighbors[n.name]
        out.append(
            NeighborStatus(
                name=n.name,
                router=n.router,
                address=n.address,
                asn=n.asn,
                profile=n.preference.profile,
                up=s.up,
                since=_age(s.since, now),
                confirmed=s.up and s.confirmed == e.speaker.number,
                error=s.error,
            )
        )
    return tuple(out)


def _bfd(n: Neighbor, asked: Bfd | FrrBfd, state: NeighborState, proves: bool, now: Instant) -> BfdStatus:
    s = state.bfd
    own = asked if isinstance(asked, Bfd) else None
    return BfdStatus(
        neighbor=n.name,
        address=n.address,
        local_address=n.local_address,
        source="l3ha" if own else "FRR bfdd",
        multihop=own.min_ttl < SINGLE_HOP_TTL if own else None,
        authenticated=own.auth is not None if own else None,
        state=_state(s.state if s else None),
        remote_state=_state(s.remote_state if s else None),
        diagnostic=_diagnostic(s.diagnostic if s else 0),
        remote_diagnostic=_diagnostic(s.remote_diagnostic if s else 0),
        since=_age(state.bfd_since, now) if s and s.state is not None else None,
        interval=(s.interval or None) if s else None,
        required_rx=(s.required_rx or None) if s else own.interval if own else None,
        remote_tx=s.remote_tx if s and s.remote_multiplier else None,
        remote_rx=s.remote_rx if s and s.remote_multiplier else None,
        multiplier=(s.multiplier or None) if s else own.multiplier if own else None,
        remote_multiplier=(s.remote_multiplier or None) if s else None,
        detection=(s.detection or None) if s else None,
        witness=proves if own is not None and own.witness else None,
        counted=not state.cut,
        sent=(s.sent if s else 0) if own else None,
        received=(s.received if s else 0) if own else None,
        drops=dict(s.drops) if s else {},
        flaps=s.flaps if s else 0,
        error=s.error if s else None,
    )


def _state(number: int | None) -> str:
    return "UNKNOWN" if number is None else State(number).name


def _diagnostic(number: int) -> str:
    return because(number).removeprefix(": ") or "NONE"


def _routes(e: Engine) -> tuple[RouteStatus, ...]:
    wish = e.speaker.wish
    out = []
    place = {n.name: at for at, n in enumerate(e.settings.neighbors)}
    for n in sorted(wish.neighbors, key=lambda n: place[n.name]) if wish else ():
        state = e.speaker.neighbors.get(n.name)
        confirmed = state is not None and state.up and state.confirmed == e.speaker.number
        for group in n.routes:
            text = preference.describe(group.attributes)
            level = Level(group.level).name
            out.append(RouteStatus(n.name, group.srg, group.prefixes, level, group.term, text, confirmed))
    return tuple(out)


def _speaker(e: Engine) -> SpeakerStatus:
    return SpeakerStatus(
        connected=e.speaker.connected,
        exabgp=e.speaker.exabgp,
        lease=e.settings.timers.lease,
        lease_live=e.speaker.lease_live,
        lease_end=e.settings.speaker.lease_end,
        wish=e.speaker.number,
        confirmed=e.speaker.synced(),
    )


def _age(when: Instant | None, now: Instant) -> Duration | None:
    return None if when is None else now - when
