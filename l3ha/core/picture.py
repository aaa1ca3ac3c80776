"""The world as it is decided on and spoken of: facts for a group, facts for the node, the words of a heartbeat.

Everything here only reads the engine. A fact that is not certain is the cautious one.
"""

from __future__ import annotations

from typing import Protocol

import l3ha
from l3ha.base.names import Intent, NodeId, NodeState, SrgId, SrgState, Verdict
from l3ha.base.settings import EchoTarget, Settings, Srg
from l3ha.base.time import Duration, Instant
from l3ha.core.echo import Echo, EchoResult
from l3ha.core.facts import Facts, PeerFacts
from l3ha.core.icl import IclPeer
from l3ha.core.monitor import Watch, failed_weight, failure_codes
from l3ha.core.node import NodeFacts, NodeMachine
from l3ha.core.probe import Probe
from l3ha.core.routes import SpeakerLink
from l3ha.core.srg import SrgMachine
from l3ha.wire.heartbeat import Heartbeat, SrgFacts


class Parts(Protocol):
    """What the engine is made of, as far as it is looked at here."""

    settings: Settings
    incarnation: int
    intent: Intent
    grace: Duration
    peers: dict[NodeId, IclPeer]
    speaker: SpeakerLink
    node: NodeMachine
    srgs: dict[SrgId, SrgMachine]
    probes: dict[SrgId, Probe]
    echoes: dict[EchoTarget, Echo]
    watches: dict[SrgId, list[Watch]]
    digests: dict[SrgId, bytes]
    picture: dict[SrgId, Facts]
    """What the last step of each group decided on."""
    sampled: list[object]
    """What of the samples a decision may depend on, as it was when they were last looked at."""


# --- what is decided on ---------------------------------------------------------------------------------------------


def facts(e: Parts, srg: Srg, now: Instant) -> Facts:
    """The world as one group may see it."""
    probe = e.probes[srg.id]
    reach = e.speaker.reach()
    term, at = e.speaker.acked(srg.id)
    able = [a for a in srg.arbiters if e.echoes[a.own].result is EchoResult.ANSWERED]
    sent = [e.echoes[a.floating].answered_sent for a in able]
    floating = [s for s in sent if s is not None]
    why = ineligible(e, srg.id, now)
    peers = tuple(f for p in e.peers.values() if (f := _peer(e, p, srg, now)) is not None)
    return Facts(
        peers=peers,
        lone=not e.peers,
        peer_ever_heard=any(p.heard_ever for p in e.peers.values()),
        reach=reach,
        eligible=not why,
        ready=not why and bool(reach) and e.speaker.synced() and all(w.up is not None for w in e.watches[srg.id]),
        ineligible_why=why,
        win=probe.times(Verdict.WIN),
        part=probe.times(Verdict.PART),
        lose=probe.times(Verdict.LOSE),
        unknown=probe.times(Verdict.UNKNOWN),
        probe_interval=probe.interval,
        witness_alive=_witness_alive(e, now),
        acked_term=term,
        acked_at=at,
        floating_sent=min(floating, default=None) if len(floating) == len(sent) else None,
        floating_any=max(floating, default=None),
    )


def node_facts(e: Parts) -> NodeFacts:
    """What the node's own state depends on."""
    watches = e.watches[SrgId(0)]
    return NodeFacts(
        speaker=e.speaker.connected,
        sessions_up=e.speaker.all_up(),
        contact=any(p.contact for p in e.peers.values()),
        reach=bool(e.speaker.reach()),
        failed_weight=failed_weight(watches),
        occupied=any(m.state is SrgState.ACTIVE or m.draining for m in e.srgs.values()),
        judged=all(w.up is not None for w in watches),
        alone=not e.peers,
    )


def ineligible(e: Parts, srg: SrgId, now: Instant) -> str:
    """Why a group must not run here; empty where it may."""
    if e.intent is Intent.LEAVING:
        return "the agent is leaving"
    if not e.node.fit:
        return f"the node is {e.node.state}"
    if not e.speaker.usable(now):
        return "the speaker is gone"
    if _overweight(e, srg):
        failed = [w.monitor.name for w in e.watches[srg] if w.up is False]
        return f"monitors failed: {', '.join(failed)}"
    return ""


def failure_events(e: Parts, srg: SrgId, now: Instant) -> tuple[str, ...]:
    """Codes of what makes a group (0: the node) ineligible, as Junos prints them."""
    codes = list(failure_codes(e.watches[srg])) if _overweight(e, srg) else []
    if not e.speaker.usable(now):
        codes.append("CP")
    if not e.node.fit:
        codes.append("NM")
    return tuple(codes)


def covered(e: Parts) -> frozenset[str]:
    """Routers that have the routes of all our groups from a peer that may draw the traffic."""
    routers: set[str] = set()
    for p in e.peers.values():
        beat = p.beat
        if not p.contact or beat is None or beat.state is not NodeState.ONLINE:
            continue
        theirs = {g.id: g for g in beat.srgs if g.state in (SrgState.ACTIVE, SrgState.BACKUP)}
        if all(s in theirs and theirs[s].routes_digest == digest for s, digest in e.digests.items()):
            routers.update(beat.reach)
    return frozenset(routers)


def _overweight(e: Parts, srg: SrgId) -> bool:
    if srg == 0:
        return bool(e.node.failed)
    watches = e.watches[srg]
    return bool(watches) and failed_weight(watches) >= e.srgs[srg].srg.threshold


def _witness_alive(e: Parts, now: Instant) -> bool:
    """A witness path of the last contact runs through a router whose own-address probe answers now.

    Where configured, BFD proves the same. It does so here only: in the verdict the own echo is the control of the
    floating one, and a router that limits echoes drops both. With BFD in its place that would read as LOSE.
    """
    witnesses: set[str] = set()
    for p in e.peers.values():
        witnesses |= p.witnesses
    if not witnesses:
        return False
    answering = {
        (echo.target.source, echo.target.destination)
        for echo in e.echoes.values()
        if echo.result is EchoResult.ANSWERED
    }
    return any(
        n.router in witnesses and ((n.local_address, n.address) in answering or e.speaker.bfd_proves(n, now))
        for n in e.settings.neighbors
    )


def _peer(e: Parts, p: IclPeer, srg: Srg, now: Instant) -> PeerFacts | None:
    beat = p.beat
    theirs = next((g for g in beat.srgs if g.id == srg.id), None) if beat else None
    if beat is None or theirs is None:
        return None
    return PeerFacts(
        id=p.peer.id,
        name=p.peer.name,
        contact=p.contact,
        contact_since=p.contact_since if p.contact_since is not None else now,
        heard=p.heard(now),
        age=p.age(now),
        reach=frozenset(beat.reach),
        state=theirs.state,
        confirmed=theirs.confirmed,
        term=theirs.term,
        seen=theirs.seen,
        claim=theirs.claim,
        grant=theirs.grant if theirs.grant_to == e.settings.id else None,
        grant_left=theirs.grant_left,
        eligible=theirs.eligible,
        ready=theirs.ready,
        verified=theirs.verified,
        wants=theirs.wants,
        winning=theirs.winning,
        priority=theirs.priority,
        same_routes=theirs.routes_digest == e.digests[srg.id],
        informed=theirs.verdict is not Verdict.UNKNOWN,
    )


# --- what is said ---------------------------------------------------------------------------------------------------


def decisive(e: Parts, now: Instant) -> tuple[object, ...]:
    """What a peer decides on: a change of it is said at once (protocol §3)."""
    groups = tuple(
        (
            m.state,
            m.confirmed,
            m.term,
            m.seen,
            m.claim,
            m.grant and (m.grant.number, m.grant.to),
            (facts := e.picture[m.srg.id]).eligible,
            facts.ready,
            m.verified,
            m.wants(facts, now),
            facts.win >= m.srg.up,
            m.srg,
        )
        for m in e.srgs.values()
    )
    return (e.node.state, e.intent, e.speaker.reach(), groups)


def words(e: Parts, now: Instant) -> Heartbeat:
    """Everything the node says of itself; each path puts its own numbers to it."""
    s = e.settings
    groups = []
    for m in e.srgs.values():
        facts = e.picture[m.srg.id]
        groups.append(
            SrgFacts(
                id=m.srg.id,
                state=m.state,
                confirmed=m.confirmed,
                term=m.term,
                seen=m.seen,
                claim=m.claim,
                grant=m.grant.number if m.grant else None,
                grant_to=m.grant.to if m.grant else None,
                grant_left=max(0, m.grant.until - now) if m.grant else 0,
                eligible=facts.eligible,
                ready=facts.ready,
                verified=m.state is SrgState.ACTIVE and m.verified,
                wants=m.wants(facts, now),
                verdict=e.probes[m.srg.id].verdict,
                winning=facts.win >= m.srg.up,
                priority=m.priority,
                routes_digest=e.digests[m.srg.id],
            )
        )
    return Heartbeat(
        cluster=s.cluster,
        node=s.id,
        incarnation=e.incarnation,
        path="",
        sequence=0,
        echo=0,
        echo_age=0,
        digest=s.digest,
        sections=tuple(sorted(s.sections.items())),
        software=l3ha.__version__,
        state=e.node.state,
        intent=e.intent,
        grace=e.grace,
        reach=tuple(sorted(e.speaker.reach())),
        srgs=tuple(groups),
        known=tuple((srg, name) for srg, probe in e.probes.items() for name in sorted(probe.answered)),
    )
