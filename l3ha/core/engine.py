"""The agent's engine: three doors round the machines.

``step(event, now)`` takes one event and returns ordered effects; ``next_deadline()`` says when to come back;
``report.status`` answers questions. Inside, one event runs down the same road every time:

    pause? -> the event -> timers -> node -> groups -> memory -> speaker -> heartbeats

Memory comes before anything that uses a number (terms are on disk before a router or the peer hears of them).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import l3ha
from l3ha.base.limits import MAX_HEARD_TERM
from l3ha.base.names import Intent, Level, SrgId, SrgState, Term, Verdict
from l3ha.base.settings import EchoTarget, Monitor, MonitorKind, Settings, Srg
from l3ha.base.time import MS, Duration, Instant
from l3ha.core.echo import Echo, EchoResult
from l3ha.core.events import (
    Answer,
    Check,
    ClearStatistics,
    Datagram,
    DiscardBacklog,
    EchoAnswer,
    EchoFailed,
    Effect,
    Event,
    Exit,
    InterfaceChanged,
    Memory,
    NewSettings,
    Note,
    NoteKind,
    Remember,
    RequestFailover,
    RequestMaintenance,
    RequestStop,
    SpeakerDown,
    SpeakerLine,
    SpeakerUp,
    Tick,
    ToSpeaker,
)
from l3ha.core.facts import Facts, PeerFacts
from l3ha.core.icl import MAX_GRACE, IclPeer
from l3ha.core.monitor import Watch, failed_weight, failure_codes
from l3ha.core.node import NodeFacts, NodeMachine
from l3ha.core.probe import Probe
from l3ha.core.routes import SpeakerLink
from l3ha.core.srg import SrgMachine
from l3ha.core.stop import Stop, StopWord
from l3ha.wire import wishline
from l3ha.wire.heartbeat import Heartbeat, SrgFacts, routes_digest
from l3ha.wire.seal import Drop
from l3ha.wire.wish import Goodbye, Report

ECHO_IDENTIFIER = 0x4C00
"""Plus the node id: nodes share the floating source address, so replies to the other's requests may arrive here."""

MISLED_AFTER = 10
"""Verdicts in a row in contact after which "the router does not follow" is an alarm."""


class Engine:
    """One node's agent, without its sockets."""

    def __init__(
        self, settings: Settings, memory: tuple[Memory, ...], entropy: Callable[[int], bytes], now: Instant
    ) -> None:
        self.settings = settings
        self.incarnation = int.from_bytes(entropy(8), "big")
        self.started = now
        self.intent = Intent.RUNNING
        self.grace: Duration = 0
        self.pauses = 0
        self._entropy = entropy
        self._last = now
        remembered = {m.srg: m for m in memory}
        self._saved = remembered
        self.peers = {p.id: IclPeer(settings, p, entropy, now) for p in settings.peers}
        self.speaker = SpeakerLink(settings, self.incarnation, now)
        self.node = NodeMachine(settings.node_group, settings.timers, now)
        self.srgs = {
            s.id: SrgMachine(s, settings.id, settings.timers, remembered.get(s.id), now) for s in settings.srgs
        }
        self.probes = {s.id: Probe(s, now) for s in settings.srgs}
        self.echoes: dict[EchoTarget, Echo] = {}
        self.watches: dict[SrgId, list[Watch]] = {}
        self._digests: dict[SrgId, bytes] = {}
        self._picture: dict[SrgId, Facts] = {}
        """The facts that the last step decided on, per group."""
        self._equip(now)
        self._next_beat = now
        self._said: Heartbeat | None = None
        self._open = False
        """False until the speaker has told what it advertises (or T_det is over): before that we say nothing, so that a
        restart cannot be heard as "not ACTIVE"."""
        self._misled: set[SrgId] = set()
        self._stop: Stop | None = None
        self._first = True

    # --- doors ------------------------------------------------------------------------------------------------

    def step(self, event: Event, now: Instant) -> tuple[Effect, ...]:
        """One event, and everything that follows from it, in the order in which it must be carried out."""
        out: list[Effect] = []
        if self._first:
            self._first = False
            out.append(
                Note(
                    NoteKind.STARTED,
                    f"l3ha {l3ha.__version__}: node {self.settings.name} of cluster {self.settings.cluster}",
                )
            )
        elif now - self._last > self.settings.timers.detection:
            event = self._pause(event, now, out)
        self._last = now
        if self._take(event, now, out):
            self._run(now, out, judge=isinstance(event, Tick))
        return tuple(out)

    def next_deadline(self) -> Instant | None:
        """When ``step(Tick(), …)`` is wanted at the latest; never None, because heartbeats go on for ever."""
        now = self._last
        times: list[Instant | None] = [self._next_beat]
        if not self._open:
            times.append(self.started + self.settings.timers.detection)
        times += [p.next_deadline(now) for p in self.peers.values()]
        times += [e.next for e in self.echoes.values()]
        times += [w.next for group in self.watches.values() for w in group if w.observed is not None]
        times += [self.speaker.deadline(now), self.node.deadline(now)]
        times += [m.deadline(self._picture[m.srg.id], now) for m in self.srgs.values() if m.srg.id in self._picture]
        if self._stop is not None:
            times.append(self._stop.deadline)
        return min(t for t in times if t is not None)

    # --- facts that machines and status share -----------------------------------------------------------------

    def facts(self, srg: Srg, now: Instant) -> Facts:
        """The world as one group may see it."""
        probe = self.probes[srg.id]
        reach = self.speaker.reach()
        term, at = self.speaker.acked(srg.id)
        able = [a for a in srg.arbiters if self.echoes[a.own].result is EchoResult.ANSWERED]
        sent = [self.echoes[a.floating].answered_sent for a in able]
        floating = [s for s in sent if s is not None]
        why = self._ineligible(srg.id, now)
        peers = tuple(f for p in self.peers.values() if (f := self._peer_facts(p, srg, now)) is not None)
        return Facts(
            peers=peers,
            lone=not self.peers,
            peer_ever_heard=any(p.heard_ever for p in self.peers.values()),
            reach=reach,
            eligible=not why,
            ready=self._ready(srg.id, now),
            ineligible_why=why,
            win=probe.times(Verdict.WIN),
            part=probe.times(Verdict.PART),
            lose=probe.times(Verdict.LOSE),
            unknown=probe.times(Verdict.UNKNOWN),
            probe_interval=probe.interval,
            witness_alive=self._witness_alive(),
            acked_term=term,
            acked_at=at,
            floating_sent=min(floating, default=None) if len(floating) == len(sent) else None,
            floating_any=max(floating, default=None),
        )

    def failure_events(self, srg: SrgId, now: Instant) -> tuple[str, ...]:
        """Codes of what makes a group ineligible, as Junos prints them."""
        codes = list(failure_codes(self.watches[srg])) if self._overweight(srg) else []
        if not self.speaker.usable(now):
            codes.append("CP")
        if not self.node.fit:
            codes.append("NM")
        return tuple(codes)

    # --- the event --------------------------------------------------------------------------------------------

    def _pause(self, event: Event, now: Instant, out: list[Effect]) -> Event:
        """Rule *pause*, before anything else; what came in meanwhile does not count."""
        self.pauses += 1
        slept = (now - self._last) // MS
        out.append(
            Note(NoteKind.PAUSE, f"the agent did not run for {slept} ms", None, "pause", (("slept_ms", slept),), True)
        )
        out.append(DiscardBacklog())
        for peer in self.peers.values():
            peer.pause(now)
        for echo in self.echoes.values():
            echo.forget(now)
        for probe in self.probes.values():
            probe.restart()
        self.node.pause()
        self.speaker.pause(now)
        for machine in self.srgs.values():
            out += machine.pause(now)
        self._next_beat = now
        return Tick() if isinstance(event, Datagram | EchoAnswer) else event

    def _take(self, event: Event, now: Instant, out: list[Effect]) -> bool:
        """False where the event was only counted: a flood of garbage must stay cheap."""
        match event:
            case Tick():
                pass
            case Datagram():
                return self._datagram(event, now, out)
            case EchoAnswer(target, data):
                if target not in self.echoes or not self.echoes[target].receive(data, now):
                    return False
                self._tried(target, EchoResult.ANSWERED, now, out)
            case EchoFailed(target, error):
                if target in self.echoes:
                    self.echoes[target].failed(error)
            case SpeakerUp():
                out.append(self.speaker.up(now))
            case SpeakerDown():
                if self.speaker.connected:
                    out.append(self.speaker.down(now))
            case SpeakerLine(data):
                self._speaker_line(data, now, out)
            case InterfaceChanged(name, up, detail):
                self._observe(MonitorKind.INTERFACE, name, up, detail, now, out)
            case RequestFailover():
                out.append(self._failover(event, now))
            case RequestMaintenance(request, on):
                out.append(self._maintenance(request, on, now))
            case RequestStop(intent, grace):
                self._begin_stop(intent, min(grace, MAX_GRACE), now)
            case ClearStatistics():
                self._clear()
            case NewSettings(settings):
                self._reconfigure(settings, now, out)
        return True

    def _datagram(self, d: Datagram, now: Instant, out: list[Effect]) -> bool:
        mine = [p for p in self.peers.values() if d.path in p.paths]
        peer = next((p for p in mine if p.paths[d.path].path.remote == d.source), None)
        if peer is None:
            for p in mine[:1]:
                p.drop(Drop.WRONG_SOURCE)
            return False
        was = peer.contact
        sends, notes, eager = peer.receive(d, now)
        out += sends
        out += notes
        if peer.contact and not was:
            self._contact_changed()
        if eager:
            self._next_beat = now
        return peer.took

    def _speaker_line(self, data: bytes, now: Instant, out: list[Effect]) -> None:
        line = wishline.decode(data)
        if not isinstance(line, Report | Goodbye):
            out.append(Note(NoteKind.SPEAKER, f"a line from the speaker makes no sense: {line}", alarm=True))
            return
        notes, advertised = self.speaker.receive(line, now)
        out += notes
        for neighbor, state in self.speaker.neighbors.items():
            self._observe(MonitorKind.BGP, neighbor, state.up, "session " + ("up" if state.up else "down"), now, out)
        for a in advertised:
            machine = self.srgs.get(SrgId(a.srg))
            if machine is None or a.level is not Level.HIGH or a.term > MAX_HEARD_TERM:
                continue
            machine.learn(Term(a.term))
            if not self._open and machine.state is SrgState.HOLD:
                out += machine.resume(Term(a.term), tuple(self.peers), now)
        self._open = True

    def _failover(self, r: RequestFailover, now: Instant) -> Answer:
        machine = self.srgs.get(r.srg)
        if machine is None:
            return Answer(r.request, False, f"no such SRG is configured: {r.srg}", ())
        if r.to is not None and r.to not in self.peers:
            return Answer(r.request, False, f"node {r.to} is not a peer of this node", ())
        checks = machine.preconditions(self.facts(machine.srg, now), r.to, now)
        if not all(c.ok for c in checks):
            blocking = next(c for c in checks if not c.ok)
            return Answer(r.request, False, f"refused: {blocking.name}: {blocking.detail}", checks)
        machine.request_move(r.to, "operator")
        return Answer(r.request, True, f"Initiated manual failover for Services-redundancy group {r.srg}", checks)

    def _maintenance(self, request: int, on: bool, now: Instant) -> Answer:
        active = [m for m in self.srgs.values() if m.state is SrgState.ACTIVE]
        checks: list[Check] = []
        if on and self.peers:
            for m in active:
                found = m.preconditions(self.facts(m.srg, now), None, now)
                checks += [replace(c, name=f"SRG {m.srg.id}: {c.name}") for c in found]
        if not all(c.ok for c in checks):
            blocking = next(c for c in checks if not c.ok)
            return Answer(request, False, f"refused: {blocking.name}: {blocking.detail}", tuple(checks))
        if on:
            for m in active:
                m.request_move(None, "maintenance")
        self.node.request_maintenance(on, now)
        return Answer(request, True, f"maintenance {'on' if on else 'off'}", tuple(checks))

    def _begin_stop(self, intent: Intent, grace: Duration, now: Instant) -> None:
        if self._stop is not None:
            return
        self._stop = Stop(intent, now, self.settings.timers, alone=not any(p.contact for p in self.peers.values()))
        if intent is Intent.RESTARTING:
            self.intent, self.grace = intent, grace
            return
        for machine in self.srgs.values():
            if machine.state is SrgState.ACTIVE:
                machine.request_move(None, "the agent is stopped")

    def _clear(self) -> None:
        for peer in self.peers.values():
            peer.clear()
        for echo in self.echoes.values():
            echo.clear()

    # --- the road every event takes ---------------------------------------------------------------------------

    def _run(self, now: Instant, out: list[Effect], *, judge: bool) -> None:
        self._timers(now, out, judge=judge)
        out += self.node.step(self._node_facts(), now)
        self._keep_asking()
        for machine in self.srgs.values():
            self._group(machine, now, out)
        self._stopping(now, out)
        self._remember(out)
        self._announce(now, out)
        self._beat(now, out)

    def _timers(self, now: Instant, out: list[Effect], *, judge: bool) -> None:
        if not self._open and now - self.started >= self.settings.timers.detection:
            self._open = True
        for peer in self.peers.values():
            out += peer.tick(now)
            if judge:
                was = peer.contact
                out += peer.expire(now)
                if was and not peer.contact:
                    self._contact_changed()
        if judge:
            out += self.speaker.expire(now)
        self._echo(now, out)
        for group, watches in self.watches.items():
            for watch in watches:
                if watch.tick(now):
                    out.append(_monitor_note(group, watch))
        for srg, probe in self.probes.items():
            probe.sample(now, self.echoes, active=self.srgs[srg].state is SrgState.ACTIVE)
            self._misleading(srg, probe, out)

    def _echo(self, now: Instant, out: list[Effect]) -> None:
        for target, echo in self.echoes.items():
            request = echo.tick(now, self._entropy)
            if request is None:
                continue
            if echo.closed is not EchoResult.PENDING and echo.closed is not EchoResult.ANSWERED:
                self._tried(target, echo.closed, now, out)
            out.append(request)

    def _tried(self, target: EchoTarget, result: EchoResult, now: Instant, out: list[Effect]) -> None:
        """An echo sample is a sample of the IP monitors that share it; answers count when they come."""
        for group, watches in self.watches.items():
            for watch in watches:
                if watch.monitor.echo == target and watch.sample(result is EchoResult.ANSWERED, str(result), now):
                    out.append(_monitor_note(group, watch))

    def _group(self, machine: SrgMachine, now: Instant, out: list[Effect]) -> None:
        if not self._open:
            return
        before = (machine.level, machine.term)
        facts = self._picture[machine.srg.id] = self.facts(machine.srg, now)
        out += machine.step(facts, now)
        probe = self.probes[machine.srg.id]
        if (machine.level, machine.term) != before:
            probe.announced(now, self.settings.timers.settle)

    def _stopping(self, now: Instant, out: list[Effect]) -> None:
        stop = self._stop
        if stop is None:
            return
        occupied = any(m.state is SrgState.ACTIVE or m.draining for m in self.srgs.values())
        withdrawn = self.speaker.synced() or not self.speaker.connected
        word = stop.step(now, occupied=occupied, withdrawn=withdrawn)
        if word is StopWord.WAIT:
            return
        if stop.intent is Intent.LEAVING and self.intent is not Intent.LEAVING:
            self.intent = Intent.LEAVING
            for machine in self.srgs.values():
                self._group(machine, now, out)
        if word is StopWord.SAY:
            self._next_beat = now
        if word is StopWord.DONE:
            renewal = self.speaker.renew(self.grace + self.settings.timers.lease)
            if stop.intent is Intent.RESTARTING and renewal is not None:
                out.append(ToSpeaker(wishline.encode(renewal)))
            out.append(Exit())

    def _keep_asking(self) -> None:
        """A stop or maintenance goes on asking for the move: the peer may become fit for it a moment later."""
        stopping = self._stop is not None and self._stop.intent is Intent.LEAVING
        if not stopping and not self.node.maintenance:
            return
        for machine in self.srgs.values():
            if machine.state is SrgState.ACTIVE and machine.move is None:
                machine.request_move(None, "the agent is stopped" if stopping else "maintenance")

    def _remember(self, out: list[Effect]) -> None:
        changed = tuple(m.memory for m in self.srgs.values() if self._must_save(m.memory))
        if changed:
            self._saved = {**self._saved, **{m.srg: m for m in changed}}
            out.append(Remember(changed))

    def _must_save(self, memory: Memory) -> bool:
        return self._saved.get(memory.srg) != memory and (memory.seen > 0)

    def _announce(self, now: Instant, out: list[Effect]) -> None:
        if not self._open:
            return
        levels = {m.srg.id: (m.level, m.term) for m in self.srgs.values()}
        levels[SrgId(0)] = (self.node.level, Term(0))
        line = self.speaker.tell(levels, now, withdraw=self.intent is Intent.LEAVING)
        if line is not None:
            out.append(ToSpeaker(wishline.encode(line)))

    def _beat(self, now: Instant, out: list[Effect]) -> None:
        if not self._open:
            self._next_beat = max(self._next_beat, now + self.settings.timers.heartbeat)
            return
        said = self._words(now)
        if now < self._next_beat and self._said is not None and _decisive(said) == _decisive(self._said):
            return
        interval = self.settings.timers.heartbeat
        due = self._next_beat + interval
        self._next_beat = due if now < due <= now + interval else now + interval
        self._said = said
        for peer in self.peers.values():
            out += peer.beats(said, now)

    # --- parts ------------------------------------------------------------------------------------------------

    def _words(self, now: Instant) -> Heartbeat:
        groups = []
        for m in self.srgs.values():
            facts = self._picture[m.srg.id]
            probe = self.probes[m.srg.id]
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
                    verdict=probe.verdict,
                    winning=facts.win >= m.srg.up,
                    priority=m.priority,
                    routes_digest=self._digests[m.srg.id],
                )
            )
        s = self.settings
        return Heartbeat(
            cluster=s.cluster,
            node=s.id,
            incarnation=self.incarnation,
            path="",
            sequence=0,
            echo=0,
            echo_age=0,
            digest=s.digest,
            sections=tuple(sorted(s.sections.items())),
            software=l3ha.__version__,
            state=self.node.state,
            intent=self.intent,
            grace=self.grace,
            reach=tuple(sorted(self.speaker.reach())),
            srgs=tuple(groups),
        )

    def _peer_facts(self, p: IclPeer, srg: Srg, now: Instant) -> PeerFacts | None:
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
            grant=theirs.grant if theirs.grant_to == self.settings.id else None,
            grant_left=theirs.grant_left,
            eligible=theirs.eligible,
            ready=theirs.ready,
            verified=theirs.verified,
            wants=theirs.wants,
            winning=theirs.winning,
            priority=theirs.priority,
            same_routes=theirs.routes_digest == self._digests[srg.id],
            informed=theirs.verdict is not Verdict.UNKNOWN,
        )

    def _node_facts(self) -> NodeFacts:
        return NodeFacts(
            speaker=self.speaker.connected,
            sessions_up=self.speaker.all_up(),
            contact=any(p.contact for p in self.peers.values()),
            reach=bool(self.speaker.reach()),
            failed_weight=failed_weight(self.watches[SrgId(0)]),
            occupied=any(m.state is SrgState.ACTIVE or m.draining for m in self.srgs.values()),
            judged=all(w.up is not None for w in self.watches[SrgId(0)]),
            alone=not self.peers,
        )

    def _ineligible(self, srg: SrgId, now: Instant) -> str:
        """Why a group must not run here; empty where it may."""
        if self.intent is Intent.LEAVING:
            return "the agent is leaving"
        if not self.node.fit:
            return f"the node is {self.node.state}"
        if not self.speaker.usable(now):
            return "the speaker is gone"
        if self._overweight(srg):
            failed = [w.monitor.name for w in self.watches[srg] if w.up is False]
            return f"monitors failed: {', '.join(failed)}"
        return ""

    def _overweight(self, srg: SrgId) -> bool:
        if srg == 0:
            return bool(self.node.failed)
        return failed_weight(self.watches[srg]) >= self.srgs[srg].srg.threshold and bool(self.watches[srg])

    def _ready(self, srg: SrgId, now: Instant) -> bool:
        """Whether the group could run here at once."""
        sampled = all(w.up is not None for w in self.watches[srg])
        return not self._ineligible(srg, now) and sampled and self.speaker.synced() and bool(self.speaker.reach())

    def _witness_alive(self) -> bool:
        """A witness path of the last contact runs through a router whose own-address probe answers now."""
        witnesses: set[str] = set()
        for p in self.peers.values():
            witnesses |= p.witnesses
        return any(
            n.router in witnesses
            and e.target.destination == n.address
            and e.target.source == n.local_address
            and e.result is EchoResult.ANSWERED
            for n in self.settings.neighbors
            for e in self.echoes.values()
        )

    def _contact_changed(self) -> None:
        for probe in self.probes.values():
            probe.restart()

    def _observe(self, kind: MonitorKind, subject: str, up: bool, reason: str, now: Instant, out: list[Effect]) -> None:
        for group, watches in self.watches.items():
            for watch in watches:
                m = watch.monitor
                if m.kind is kind and m.subject == subject and watch.observe(up, reason, now):
                    out.append(_monitor_note(group, watch))

    def _misleading(self, srg: SrgId, probe: Probe, out: list[Effect]) -> None:
        """In contact the probe only informs: a router that does not follow is the operator's to mend (protocol §2)."""
        machine = self.srgs[srg]
        if not machine.contact:
            return
        lost = machine.state is SrgState.ACTIVE and probe.times(Verdict.LOSE) >= MISLED_AFTER
        both = machine.state is SrgState.BACKUP and not machine.draining and probe.times(Verdict.WIN) >= MISLED_AFTER
        if (lost or both) and srg not in self._misled:
            self._misled.add(srg)
            text = "no router prefers this active node" if lost else "a router prefers this backup node"
            out.append(Note(NoteKind.ALARM, f"{text}: check its policy, filters and ECMP", srg, alarm=True))
        elif srg in self._misled and not lost and not both and probe.count >= MISLED_AFTER:
            self._misled.discard(srg)
            out.append(Note(NoteKind.ALARM, "the routers follow again", srg))

    def _equip(self, now: Instant) -> None:
        """Echoes and monitors for the present settings; what exists already keeps its history."""
        self._digests = {s.id: routes_digest(s.routes, s.floating) for s in self.settings.srgs}
        self._picture = {}
        wanted: dict[EchoTarget, None] = {}
        groups: list[tuple[SrgId, tuple[Monitor, ...]]] = [(SrgId(0), self.settings.node_group.monitors)]
        for srg in self.settings.srgs:
            groups.append((srg.id, srg.monitors))
            for arbiter in srg.arbiters:
                wanted.update({arbiter.own: None, arbiter.floating: None})
        for _, monitors in groups:
            wanted.update({m.echo: None for m in monitors if m.echo is not None})
        shortest = min((t.interval for t in wanted), default=self.settings.timers.heartbeat)
        routers = {p.router for peer in self.settings.peers for p in peer.paths if p.router}
        for n in self.settings.neighbors:
            if n.router in routers and not any(
                (t.source, t.destination) == (n.local_address, n.address) for t in wanted
            ):
                wanted[EchoTarget(n.local_address, n.address, shortest)] = None
        identifier = ECHO_IDENTIFIER + self.settings.id
        self.echoes = {t: self.echoes.get(t) or Echo(t, self.settings.id, identifier, now) for t in wanted}
        old = {(g, w.monitor.name, w.monitor.kind, w.monitor.subject): w for g, ws in self.watches.items() for w in ws}
        self.watches = {g: [_watch(old.get((g, m.name, m.kind, m.subject)), m, now) for m in ms] for g, ms in groups}

    def _reconfigure(self, settings: Settings, now: Instant, out: list[Effect]) -> None:
        self.settings = settings
        out += self.node.reconfigure(settings.node_group, settings.timers)
        self.speaker.reconfigure(settings)
        for peer in self.peers.values():
            peer.reconfigure(settings)
        for srg in settings.srgs:
            if srg.id in self.srgs:
                same = self.srgs[srg.id].srg.arbiters == srg.arbiters
                self.srgs[srg.id].reconfigure(srg, settings.timers)
                self.probes[srg.id] = self.probes[srg.id] if same else Probe(srg, now)
            else:
                self.srgs[srg.id] = SrgMachine(srg, settings.id, settings.timers, self._saved.get(srg.id), now)
                self.probes[srg.id] = Probe(srg, now)
        for gone in self.srgs.keys() - {s.id for s in settings.srgs}:
            del self.srgs[gone], self.probes[gone]
        self._equip(now)
        out.append(Note(NoteKind.CONFIG, "the configuration was read again"))


def _decisive(beat: Heartbeat) -> object:
    """What a peer decides on: a change of it is said at once (protocol §3)."""
    groups = tuple(replace(g, grant_left=0, verdict=Verdict.UNKNOWN) for g in beat.srgs)
    return (beat.state, beat.intent, beat.reach, groups)


def _watch(known: Watch | None, monitor: Monitor, now: Instant) -> Watch:
    """The watch of a monitor; the same object keeps its verdict when only its numbers change."""
    if known is None:
        return Watch(monitor, now)
    known.monitor = monitor
    return known


def _monitor_note(group: SrgId, watch: Watch) -> Note:
    m = watch.monitor
    text = f"monitor {m.name} ({m.kind} {m.subject}) is {'up' if watch.up else 'down'}: {watch.reason}"
    return Note(NoteKind.MONITOR, text, group, alarm=not watch.up)
