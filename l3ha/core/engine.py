"""The agent's engine: three doors round the machines.

``step(event, now)`` takes one event and returns ordered effects; ``next_deadline()`` says when to come back;
``report.status`` answers questions. Inside, one event runs down the same road every time:

    pause? -> the event -> timers -> node -> groups -> memory -> speaker -> heartbeats

Memory comes before the peer hears of a number. Routers wait for a wish, so it goes first where it only lowers, or uses
a number that is on disk as a reserved one: each save reserves the next 16 (``group.RESERVED``). So a takeover does not
wait for the disk, and yet no later process uses its number again. Nor does it wait for its wish to be made and read:
that is told ahead (``foresight``).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import l3ha
from l3ha.base.limits import MAX_HEARD_TERM
from l3ha.base.names import Intent, Level, SrgId, SrgState, Term
from l3ha.base.settings import MonitorKind, Settings
from l3ha.base.time import MS, SECOND, Duration, Instant, after
from l3ha.core import echoes, foresight, monitors, picture, requests, sampling
from l3ha.core.echo import EchoResult
from l3ha.core.echoes import Echoes
from l3ha.core.events import (
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
from l3ha.core.facts import Facts
from l3ha.core.icl import MAX_GRACE, IclPeer
from l3ha.core.lateness import Lateness
from l3ha.core.monitors import Watches
from l3ha.core.node import NodeMachine
from l3ha.core.nudge import Nudges
from l3ha.core.probe import Probe, follow
from l3ha.core.routes import SpeakerLink
from l3ha.core.srg import SrgMachine
from l3ha.core.stop import Stop, StopWord
from l3ha.wire import wishline
from l3ha.wire.heartbeat import Heartbeat, routes_digest
from l3ha.wire.seal import Drop
from l3ha.wire.wish import Alive, Goodbye, Report

LOOK: Duration = 2 * SECOND
"""So often everything is decided anew at least."""

STOPPED = "the agent is stopped"
"""The reason of a planned move."""


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
        self.echoes: Echoes = {}
        self.watches: Watches = {}
        self.digests: dict[SrgId, bytes] = {}
        self.picture: dict[SrgId, Facts] = {}
        """The facts that the last step decided on, per group."""
        self.sampled: list[object] = []
        """What of the samples a decision may depend on, as it was when they were last looked at."""
        self._equip(now)
        self._said: tuple[object, ...] | None = None
        """What the peers decide on, as it was last said; None: it must be said again now."""
        self._unsaid = False
        """A takeover has gone to the speaker, for which routers wait; what the peers shall hear of it comes next."""
        self._open = False
        """False until the speaker has told what it advertises (or T_det is over): before that we say nothing, so that a
        restart cannot be heard as "not ACTIVE"."""
        self._reported: tuple[Report | Goodbye, int] | None = None
        """What the speaker said last, and the number of the wish that it knew then."""
        self._misled: set[SrgId] = set()
        self._stop: Stop | None = None
        self._first = True
        self._decision: Instant = now
        """When there may be something to decide without another event. A step that decided nothing can only have moved
        that away, so what was known is still early enough."""
        self._sampling: Instant = now
        """When the next echo goes out or the next verdict is given."""
        self._next: Instant | None = None
        """What ``next_deadline`` says until the next Tick, or step with news. The peer's word may also bring an end of
        contact nearer without being news (the first of a restarted process was no proof), but never nearer than the
        next heartbeat, and by then it is worked out anew."""
        self._words: Heartbeat | None = None
        """What heartbeats say, since the last decision."""
        self._foreseen = False
        """What the speaker may have to do next was told to it since the last decision."""
        self.lateness = Lateness()
        self.nudges = Nudges()

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
        if isinstance(event, Tick) and now >= (wanted := self.next_deadline()):
            self.lateness.record(now - wanted)
        self._last = now
        news = self._take(event, now, out)
        if news or isinstance(event, Tick):
            self._next = None
        if news:
            self._words = None
            judge, due = isinstance(event, Tick), now >= self._decision
            before = (self.node.state, self.speaker.number)
            self._run(now, out, judge=judge)
            turned = before != (self.node.state, self.speaker.number)  # and the groups were decided without that
            self._decision = now + 1 if turned or (due and not judge) else self._earliest(now)
        elif isinstance(event, Tick) and self._unsaid:
            self._unsaid = False
            self._say(now, out)
        elif isinstance(event, Tick) and self._open:
            if handshakes := [send for p in self.peers.values() for send in p.tick(now)]:
                out += handshakes
                self._decision = min(self._decision, self._earliest(now))
            self._beat(now, out, every=False)
            self._foresee(out)
        return tuple(out)

    def next_deadline(self) -> Instant:
        """When ``step(Tick(), …)`` is wanted at the latest; never None, because heartbeats go on for ever."""
        if self._unsaid:
            return self._last
        if self._next is None:
            due = min(self._decision, self._sampling, self._fading())
            self._next = min(due, self._turn(), self.speaker.renewal_due()) if self._open else due
        return self._next

    def _turn(self) -> Instant:
        """When a heartbeat is due; a lone node's loop has its pace, too, because rule *pause* judges by it."""
        if not self.peers:
            return after(self._last, self.settings.timers.heartbeat)
        return min([p.due for p in self.peers.values()])

    def _earliest(self, now: Instant) -> Instant:
        pace = self.settings.timers.heartbeat  # of rule *pause*; heartbeats keep it later
        times: list[Instant | None] = [after(now, max(pace, LOOK) if self._open else pace)]
        if not self._open:
            times.append(self.started + self.settings.timers.detection)
        times += [p.next_deadline(now) for p in self.peers.values()]
        times += [w.next for group in self.watches.values() for w in group]
        times += [self.speaker.deadline(now), self.node.deadline(now)]
        times += [m.deadline(self.picture[m.srg.id], now) for m in self.srgs.values() if m.srg.id in self.picture]
        times += [due for _, due in echoes.proofs(self.srgs.values(), self.picture, self.echoes, now)]
        if self._stop is not None:
            times.append(self._stop.deadline)
        return min(t for t in times if t is not None)

    def _fading(self) -> Instant:
        """When a silence leads to something. Every word moves that away, so it is not kept but worked out."""
        ends = [min(p.falls, self.nudges.due(self.settings, p)) for p in self.peers.values() if p.contact]
        return min([self.speaker.silent_from(), *ends])

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
        self._said = None
        self._decision, self._next = now, None
        return Tick() if isinstance(event, Datagram | EchoAnswer) else event

    def _take(self, event: Event, now: Instant, out: list[Effect]) -> bool:
        """False where nothing came of it that a decision depends on: it was garbage, or it repeats what is known.

        What then begins to hold by time alone has its place in ``next_deadline``.
        """
        match event:
            case Tick():
                if now >= self._decision or now >= self._fading():
                    return True
                return now >= self._sampling and self._sample(now, out)
            case Datagram():
                return self._datagram(event, now, out)
            case EchoAnswer():
                return self._answered(event, now, out)
            case EchoFailed(target, error):
                if target in self.echoes:
                    self.echoes[target].failed(error)
            case SpeakerUp():
                out.append(self.speaker.up(now))
            case SpeakerDown():
                if self.speaker.connected:
                    out.append(self.speaker.down(now))
            case SpeakerLine(data):
                return self._speaker_line(data, now, out)
            case InterfaceChanged(name, up, detail):
                out += monitors.observe(self.watches, MonitorKind.INTERFACE, name, up, detail, now)
            case RequestFailover():
                out.append(requests.failover(self, event, now))
            case RequestMaintenance(request, on):
                out.append(requests.maintenance(self, request, on, now))
            case RequestStop(intent, grace):
                self._begin_stop(intent, min(grace, MAX_GRACE), now)
            case ClearStatistics():
                self._clear()
            case NewSettings(settings):
                self._reconfigure(settings, now, out)
        return True

    def _sample(self, now: Instant, out: list[Effect]) -> bool:
        """Whether a decision may depend on what came of it."""
        effects, news = sampling.sample(self, now, self._entropy)
        out += effects
        self._sampling = sampling.due(self)
        return news

    def _answered(self, answer: EchoAnswer, now: Instant, out: list[Effect]) -> bool:
        echo = self.echoes.get(answer.target)
        if echo is None:
            return False
        before = echo.result
        if not echo.receive(answer.data, now - answer.age):
            return False
        turned = monitors.tried(self.watches, answer.target, EchoResult.ANSWERED, now)
        out += turned
        return before is not EchoResult.ANSWERED or bool(turned) or sampling.verifying(self)

    def _datagram(self, d: Datagram, now: Instant, out: list[Effect]) -> bool:
        peer = self._sender(d)
        if peer is None:
            return False
        was = peer.contact
        sends, notes, eager = peer.receive(d, now)
        out += sends
        out += notes
        if peer.contact and not was:
            self._contact_changed()
        if eager:
            self._said = None
        if peer.news:
            self._hear_of_arbiters()
        return peer.news

    def _sender(self, d: Datagram) -> IclPeer | None:
        """Whose word it must be; None where it came from somewhere else, which is counted."""
        wrong: IclPeer | None = None
        for peer in self.peers.values():
            path = peer.paths.get(d.path)
            if path is None:
                continue
            if path.path.remote == d.source:
                return peer
            wrong = wrong or peer
        if wrong is not None:
            wrong.drop(Drop.WRONG_SOURCE)
        return None

    def _hear_of_arbiters(self) -> None:
        known = {k for p in self.peers.values() if p.beat is not None for k in p.beat.known}
        for srg, probe in self.probes.items():
            if known:  # a peer that has just started knows none yet, and its earlier words still hold
                probe.told(frozenset(name for of, name in known if of == srg))

    def _speaker_line(self, data: bytes, now: Instant, out: list[Effect]) -> bool:
        line = wishline.decode(data)
        if isinstance(line, Alive):
            return self.speaker.alive(now)
        if not isinstance(line, Report | Goodbye):
            out.append(Note(NoteKind.SPEAKER, f"a line from the speaker makes no sense: {line}", alarm=True))
            return False
        before, self._reported = self._reported, (line, self.speaker.number)
        news = before != self._reported or not self.speaker.connected
        notes, advertised = self.speaker.receive(line, now)
        out += notes
        for neighbor, state in self.speaker.neighbors.items():
            out += monitors.sessions(self.watches, neighbor, state, now)
        for a in advertised:
            machine = self.srgs.get(SrgId(a.srg))
            if machine is None or a.level is not Level.HIGH or a.term > MAX_HEARD_TERM:
                continue
            machine.learn(Term(a.term))
            if not self._open and machine.state is SrgState.HOLD:
                out += machine.resume(Term(a.term), tuple(self.peers), now)
                if machine.srg.id in self._saved:
                    self.probes[machine.srg.id].told(self._saved[machine.srg.id].known)
        news = news or bool(notes) or not self._open
        self._open = True
        return news

    def _begin_stop(self, intent: Intent, grace: Duration, now: Instant) -> None:
        if self._stop is not None:
            return
        self._stop = Stop(intent, now, self.settings.timers, alone=not any(p.contact for p in self.peers.values()))
        if intent is Intent.RESTARTING:
            self.intent, self.grace = intent, grace
            return
        requests.away(self.srgs.values(), STOPPED)

    def _clear(self) -> None:
        for peer in self.peers.values():
            peer.clear()
        for echo in self.echoes.values():
            echo.clear()
        self.lateness.clear()

    # --- the road every event takes ---------------------------------------------------------------------------

    def _run(self, now: Instant, out: list[Effect], *, judge: bool) -> None:
        self._timers(now, out, judge=judge)
        out += self.node.step(picture.node_facts(self), now)
        self._keep_asking()
        for machine in self.srgs.values():
            self._group(machine, now, out)
        unproved = echoes.proofs(self.srgs.values(), self.picture, self.echoes, now)
        out += [echo.again(now, self._entropy) for echo, due in unproved if now >= due]
        self._stopping(now, out)
        saved = self._saved
        changed, wish = self._changed(), self._announce(now)
        memory: list[Effect] = [Remember(changed)] if changed else []
        raised = [m for m in changed if self.srgs[m.srg].level is Level.HIGH]  # a wish that only lowers uses no number
        waits = any(m.srg not in saved or m.seen > saved[m.srg].reserved for m in raised)
        out += memory + wish if waits else wish + memory
        self._unsaid = bool(raised and wish)
        self._foreseen = False
        if not self._unsaid:
            self._say(now, out)

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
            out += self.nudges.give(self, now)
            self._sample(now, out)  # a sample without an answer is silence: hushed sockets are dry before a Tick only
        out += monitors.tick(self.watches, now)
        for srg, probe in self.probes.items():
            out += follow(self._misled, self.srgs[srg], probe)

    def _group(self, machine: SrgMachine, now: Instant, out: list[Effect]) -> None:
        if not self._open:
            return
        before, state = (machine.level, machine.term), machine.state
        facts = self.picture[machine.srg.id] = picture.facts(self, machine.srg, now)
        out += machine.step(facts, now)
        if machine.state is SrgState.ACTIVE and state is not SrgState.ACTIVE:
            self.nudges.clear()
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
            self._said = None
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
        idle = (m for m in self.srgs.values() if m.move is None)
        requests.away(idle, STOPPED if stopping else "maintenance")

    def _changed(self) -> tuple[Memory, ...]:
        """What must be on disk now and is not."""
        if not self._open:
            return ()  # nothing is decided yet, and what is on disk may still be wanted by rule resume
        memories = [m.memory(self.probes[srg].trusted) for srg, m in self.srgs.items() if m.seen > 0]
        changed = tuple(m for m in memories if self._saved.get(m.srg) != m)
        if changed:
            self._saved = {**self._saved, **{m.srg: m for m in changed}}
        return changed

    def _announce(self, now: Instant) -> list[Effect]:
        if not self._open:
            return []
        line = self.speaker.tell(
            self._levels(), now, covered=partial(picture.covered, self), withdraw=self.intent is Intent.LEAVING
        )
        if line is None:
            return []
        ended = [n.name for n in line.neighbors if n.drop]
        text = f"all routes go LOW and the peer has them, so BGP sessions may be ended for it: {', '.join(ended)}"
        note: list[Effect] = [Note(NoteKind.NEIGHBOR, text)] if ended else []
        return [ToSpeaker(self.speaker.line(line)), *note]

    def _levels(self) -> dict[SrgId, tuple[Level, Term]]:
        levels = {m.srg.id: (m.level, m.term) for m in self.srgs.values()}
        levels[SrgId(0)] = (self.node.level, Term(0))
        return levels

    def _foresee(self, out: list[Effect]) -> None:
        """When nothing happens the speaker is told what may come next."""
        if self._foreseen:
            return
        self._foreseen = True
        cases = foresight.cases(self.srgs.values(), self._levels())
        out += [ToSpeaker(line) for line in self.speaker.foresee(cases)]

    def _say(self, now: Instant, out: list[Effect]) -> None:
        if not self._open:
            return
        decisive = picture.decisive(self, now)
        every = decisive != self._said
        self._said = decisive
        self._beat(now, out, every=every)

    def _beat(self, now: Instant, out: list[Effect], *, every: bool) -> None:
        """What is said again though it is known: the lease to the speaker, our words to the peers."""
        if (renewal := self.speaker.renewal(now)) is not None:
            out.append(ToSpeaker(wishline.encode(renewal)))
        if not every and now < self._turn():
            return
        if self._words is None or any(m.grant for m in self.srgs.values()):  # what is left of a grant counts down
            self._words = picture.words(self, now)
        for peer in self.peers.values():
            out += peer.beats(self._words, now, every=every)

    # --- parts ------------------------------------------------------------------------------------------------

    def _contact_changed(self) -> None:
        for probe in self.probes.values():
            probe.restart()

    def _equip(self, now: Instant) -> None:
        """Echoes and monitors for the present settings; what exists already keeps its history."""
        self.digests = {s.id: routes_digest(s.routes, s.floating) for s in self.settings.srgs}
        self.picture = {}
        self.echoes = echoes.equip(self.settings, self.echoes, now)
        self.watches = monitors.equip(self.settings, self.watches)

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
