"""One node of the explored world: the real group machine, probe and node machine, and a model of the ICL.

``step`` is a pure function from (node, what reached it in this tick) to the next node; the search remembers it. It does
in the engine's order what the engine does: pause, datagrams, silence, probe, node, group, words. The ICL is a model of
``l3ha.core.icl`` without its seal; everything else is the code that runs in the agent.
"""

from __future__ import annotations

from typing import NamedTuple

from l3ha.base.names import Level, SrgState, Term, Verdict
from l3ha.base.settings import NodeGroup
from l3ha.core.echo import Echo, EchoResult
from l3ha.core.events import Memory, Note, NoteKind
from l3ha.core.facts import Facts, PeerFacts
from l3ha.core.node import NodeFacts, NodeMachine
from l3ha.core.probe import Probe
from l3ha.core.srg import SrgMachine
from l3ha.sim.explore import machine as srgs
from l3ha.sim.explore.shape import IDS, REACH, ROUTERS, Shape
from l3ha.sim.explore.snapshot import (
    LOW,
    NEVER,
    NO_PROBE,
    NOT_UP,
    SILENT_EARS,
    Ear,
    Heard,
    Mode,
    Node,
    ProbeState,
    Words,
    dead,
    older,
    shift,
    stored,
)

NOW = 1_000_000
"""The instant of every step: all states are relative to it."""


class Cut(NamedTuple):
    """Facts that an ablation takes away."""

    hearing_is_contact: bool = False
    no_own_probe: bool = False
    no_isolation: bool = False
    no_pause: bool = False
    bound_counts: bool = True
    """False: while an own promise is alive without contact, verdicts are not counted."""


class Stepper:
    """Steps of one node (0 or 1)."""

    def __init__(self, shape: Shape, me: int, kind: type[SrgMachine] = SrgMachine, cut: Cut | None = None) -> None:
        self.shape = shape
        self.me = me
        self.kind = kind
        self.cut = cut or Cut()
        self.timers = shape.timers
        self.srg = shape.srg(me)
        self.id, self.peer = IDS[me], IDS[1 - me]
        self.priority = shape.priorities[1 - me]
        targets = [t for a in self.srg.arbiters for t in (a.own, a.floating)]
        self.echoes = {t: Echo(t, self.id, 0, NOW) for t in targets}
        self.node_group = NodeGroup((), (), 1, (), None)
        srgs.check_fields(SrgMachine(self.srg, self.id, self.timers, None, NOW))

    def step(self, node: Node, heard: Heard) -> tuple[Node, int, tuple[str, ...]]:
        """The node one tick later, the growth of its ``seen``, and the names of the rules that acted."""
        node = self._older(node)
        match node.mode:
            case Mode.RUN:
                return self._run(node, heard, reach=heard.sessions)
            case Mode.START:
                return self._start(node, heard)
            case _:
                return node, 0, ()

    # --- modes ------------------------------------------------------------------------------------------------

    def _older(self, n: Node) -> Node:
        """Everything but the machine one tick older; a machine that does not run is aged here, too."""
        ears = tuple(
            Ear(older(e.newest, 2 * self.timers.detection), max(0, e.left - 1) if e.left >= 0 else NOT_UP,
                older(e.fell, self.timers.detection + 2))
            for e in n.ears
        )  # fmt: skip
        state, had, cut, clean, boot = n.group
        cut = None if cut is None else min(cut + 1, self.timers.settle)
        verdict, count, quiet, known, told = n.probe
        probe = (verdict, count, max(0, quiet - 1), known, told)
        srg = n.srg
        lease = max(0, n.lease - 1) if n.mode in (Mode.HUNG, Mode.NO_AGENT) else n.lease
        if n.mode in (Mode.FROZEN, Mode.HUNG) and srg is not None:
            srg = srgs.save(self._load(srg), NOW)
        return n._replace(
            srg=srg,
            slept=min(n.slept + 1, self.timers.detection + 1) if n.mode in (Mode.FROZEN, Mode.HUNG) else n.slept,
            probe=NO_PROBE if n.mode is Mode.NO_AGENT and not lease else probe,
            group=(state, had, cut, clean, min(boot + 1, self.timers.boot)),
            ears=SILENT_EARS if n.srg is None else ears,
            beat_age=older(n.beat_age, 2 * self.timers.detection),
            contact=NOT_UP if n.contact < 0 else min(n.contact + 1, self.timers.elect),
            heard=max(0, n.heard - 1),
            lease=lease,
            advert=LOW if n.mode in (Mode.HUNG, Mode.NO_AGENT) and not lease else n.advert,
            said=None,
        )

    def _start(self, n: Node, heard: Heard) -> tuple[Node, int, tuple[str, ...]]:
        """A new process: the disk is kept; under a live lease the speaker tells what it advertises."""
        m = self.kind(self.srg, self.id, self.timers, Memory(self.srg.id, Term(n.disk), Term(0)), NOW)
        level, term = n.advert
        notes: list[Note] = []
        if level == Level.HIGH and n.lease > 0:
            m.learn(Term(term))
            notes = m.resume(Term(term), (self.peer,), NOW)
        seen = m.seen
        m.seen = Term(0)
        saved = srgs.save(m, NOW - 1) if not seen else None
        assert saved is not None, "a speaker cannot know a greater number than the disk"
        known = n.probe if m.state is SrgState.ACTIVE else NO_PROBE
        fresh = dead(0, Mode.RUN)._replace(srg=saved, advert=n.advert, probe=known)
        after, delta, names = self._run(fresh, heard._replace(words=None, own=0, floating=0), reach=0)
        return after, delta, _names(notes) + names

    def _run(self, n: Node, heard: Heard, *, reach: int) -> tuple[Node, int, tuple[str, ...]]:
        assert n.srg is not None
        m = self._load(n.srg)
        notes: list[Note] = []
        probe = self._probe(n)
        group = self._node_machine(n)
        asleep = n.slept + 1 > self.timers.detection and not self.cut.no_pause
        had = n.contact >= 0
        if asleep:
            n = self._pause(n)
            probe.restart()
            group.pause()
            notes += m.pause(NOW)
        else:
            n = self._receive(n, heard)
        n = self._expire(n)
        if had != (n.contact >= 0):
            probe.restart()
        self._sample(probe, heard, active=m.state is SrgState.ACTIVE, asleep=asleep)
        if not self.cut.bound_counts and m.grant is not None and n.contact < 0:
            probe.restart()
        group.step(self._node_facts(n, reach), NOW)
        facts = self._facts(n, heard, reach, probe, fit=group.fit or self.cut.no_isolation)
        if heard.move and all(c.ok for c in m.preconditions(facts, None, NOW)):
            m.request_move(None, "operator")
        before = (m.level, m.term)
        notes += m.step(facts, NOW)
        if (m.level, m.term) != before:
            probe.announced(NOW, self.timers.settle)
        return self._save(n, m, probe, group, facts, reach), int(m.seen), _names(notes)

    # --- the ICL (a model of l3ha.core.icl) ---------------------------------------------------------------------

    def _pause(self, n: Node) -> Node:
        ears = tuple(Ear(e.newest, NOT_UP, 0 if e.left >= 0 else e.fell) for e in n.ears)
        n = n._replace(ears=ears, heard=self.timers.detection, slept=0)
        return self._lose(n) if n.contact >= 0 else n

    def _receive(self, n: Node, heard: Heard) -> Node:
        n = n._replace(slept=0)
        if heard.words is None or all(e == NOT_UP for e in heard.echoes):
            return n
        det = self.timers.detection
        ears = list(n.ears)
        contact = n.contact
        for i, age in enumerate(heard.echoes):
            if age == NOT_UP:
                continue
            fresh = age < det or self.cut.hearing_is_contact
            ears[i] = Ear(1, det, NEVER) if fresh else ears[i]._replace(newest=1)
            contact = max(contact, 0) if fresh else contact
            n = n._replace(beat_age=age)
        words = shift(heard.words, heard.offset)
        if words.known:  # the engine's ``_hear_of_arbiters``
            n = n._replace(probe=(*n.probe[:4], words.known - n.probe[3]))
        return n._replace(ears=tuple(ears), beat=words, heard=det, ever=True, contact=contact)

    def _expire(self, n: Node) -> Node:
        ears = tuple(Ear(e.newest, NOT_UP, 0) if e.left == 0 else e for e in n.ears)
        n = n._replace(ears=ears)
        return self._lose(n) if n.contact >= 0 and all(e.left < 0 for e in ears) else n

    def _lose(self, n: Node) -> Node:
        det = self.timers.detection
        witnesses = sum(1 << r for r in range(len(ROUTERS)) if n.ears[1 + r].fell <= det)
        return n._replace(contact=NOT_UP, witnesses=witnesses)

    # --- the other machines ---------------------------------------------------------------------------------------

    def _load(self, saved: srgs.Fields) -> SrgMachine:
        return srgs.load(self.kind, saved, self.srg, self.id, self.peer, self.timers, NOW - 1)

    def _probe(self, n: Node) -> Probe:
        probe = Probe(self.srg, NOW - 1)
        probe.verdict, probe.count, quiet, known, told = n.probe
        probe._quiet_until = NOW + quiet
        probe.answered = known
        probe.told(told)
        return probe

    def _node_machine(self, n: Node) -> NodeMachine:
        state, had, cut, clean, boot = n.group
        group = NodeMachine(self.node_group, self.timers, NOW - boot)
        group.state, group._had_somebody = state, had
        group._cut_since = None if cut is None else NOW - cut
        group._clean_since = NOW - 1 if clean else None
        return group

    def _sample(self, probe: Probe, heard: Heard, *, active: bool, asleep: bool) -> None:
        own = 0b11 if self.cut.no_own_probe else heard.own
        for i, arbiter in enumerate(self.srg.arbiters):
            for echo, answers in ((self.echoes[arbiter.own], own), (self.echoes[arbiter.floating], heard.floating)):
                answered = not asleep and answers >> i & 1
                echo.closed = EchoResult.ANSWERED if answered else EchoResult.SILENT
                echo.answered_sent = NOW - 1 if answered else None
        probe.sample(NOW, self.echoes, active=active)

    def _node_facts(self, n: Node, reach: int) -> NodeFacts:
        return NodeFacts(
            speaker=True,
            sessions_up=reach == 0b11,
            contact=n.contact >= 0,
            reach=reach != 0,
            failed_weight=0,
            judged=True,
            alone=False,
            occupied=False,
        )

    def _facts(self, n: Node, heard: Heard, reach: int, probe: Probe, *, fit: bool) -> Facts:
        eligible = fit and not heard.monitor
        level, term = n.advert
        acked = term if level == Level.HIGH and reach else None
        answers = heard.own & heard.floating
        return Facts(
            peers=() if n.beat is None else (self._peer(n, n.beat),),
            lone=False,
            peer_ever_heard=n.ever,
            reach=REACH[reach],
            eligible=eligible,
            ready=eligible and reach != 0,
            ineligible_why="" if eligible else "not eligible",
            win=probe.times(Verdict.WIN),
            part=probe.times(Verdict.PART),
            lose=probe.times(Verdict.LOSE),
            unknown=probe.times(Verdict.UNKNOWN),
            probe_interval=1,
            witness_alive=bool(n.witnesses & heard.own),
            acked_term=Term(-1_000_000 if acked is None else acked),
            acked_at=NOW - 1 if acked is not None and acked == n.acked else NOW,
            floating_sent=NOW - 1 if answers and answers == heard.own else None,
            floating_any=NOW - 1 if answers else None,
        )

    def _peer(self, n: Node, w: Words) -> PeerFacts:
        return PeerFacts(
            id=self.peer,
            name=f"n{self.peer}",
            contact=n.contact >= 0,
            contact_since=NOW - max(0, n.contact),
            heard=n.heard > 0,
            age=n.beat_age,
            reach=REACH[w.reach],
            state=w.state,
            confirmed=w.confirmed,
            term=Term(w.term),
            seen=Term(w.seen),
            claim=None if w.claim is None else Term(w.claim),
            grant=None if w.grant is None else Term(w.grant),
            grant_left=w.grant_left,
            eligible=w.eligible,
            ready=w.ready,
            verified=w.verified,
            wants=False,
            winning=w.winning,
            informed=w.informed,
            priority=self.priority,
            same_routes=True,
        )

    # --- the canonical form ---------------------------------------------------------------------------------------

    def _save(self, n: Node, m: SrgMachine, probe: Probe, group: NodeMachine, facts: Facts, reach: int) -> Node:
        delta = int(m.seen)
        contact = n.contact >= 0
        level, term = int(m.level), int(m.term) - delta if m.level is Level.HIGH else 0
        acked = int(facts.acked_term) - delta
        beat = None if n.beat is None else stored(n.beat, delta, contact=contact)
        live = beat is not None and beat.grant is not None
        saved = srgs.save(m, NOW)
        words = Words(
            state=m.state,
            confirmed=m.confirmed,
            term=saved[2],
            seen=0,
            claim=saved[3],
            grant=saved[4] and saved[4][0],
            grant_left=saved[4][2] if saved[4] else 0,
            eligible=facts.eligible,
            ready=facts.ready,
            verified=m.state is SrgState.ACTIVE and m.verified,
            winning=facts.win >= m.srg.up,
            informed=probe.verdict is not Verdict.UNKNOWN,
            reach=reach,
            known=probe.answered,
        )
        cut = None if group._cut_since is None else min(NOW - group._cut_since, self.timers.settle)
        clean = group._clean_since is not None
        return Node(
            mode=Mode.RUN,
            slept=0,
            srg=saved,
            disk=max(-1, int(m.term) - delta),
            probe=self._verdict(probe, contact=contact),
            group=(group.state, group._had_somebody, cut, clean, min(NOW - group._boot, self.timers.boot)),
            ears=n.ears,
            beat=beat,
            beat_age=n.beat_age if live else 0,
            contact=n.contact,
            heard=n.heard,
            ever=n.ever,
            witnesses=0 if contact else n.witnesses,
            acked=acked if m.state is SrgState.ACTIVE and not m.verified and acked == term else None,
            advert=(level, term),
            lease=self.shape.lease,
            said=words,
        )

    def _verdict(self, probe: Probe, *, contact: bool) -> ProbeState:
        match probe.verdict:
            case Verdict.WIN:
                cap = self.srg.up
            case Verdict.PART:
                cap = 1 if contact else max(self.srg.up, 2 * self.timers.settle)
            case _:
                cap = 1 if contact else max(self.srg.down, self.srg.blind_after or 0)
        quiet = max(0, probe._quiet_until - NOW)
        return probe.verdict, min(probe.count, cap), quiet, probe.answered, probe.trusted - probe.answered


def _names(notes: list[Note]) -> tuple[str, ...]:
    kinds = (NoteKind.RULE, NoteKind.TRANSITION, NoteKind.MOVE)
    return tuple(f"{n.rule}: {n.text}" if n.rule else n.text for n in notes if n.kind in kinds)
