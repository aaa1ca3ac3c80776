"""Safety: what is looked at in every step (S3, S4, S6-S9), in every table (S2, S10), what must not last (S1, S5)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from l3ha.base.names import LeaseEnd, Level, SrgState
from l3ha.base.time import NEVER, Duration, Instant
from l3ha.core.engine import Engine
from l3ha.core.events import Datagram, DiscardBacklog, Effect, Event, Note, NoteKind
from l3ha.core.facts import Rule
from l3ha.core.srg import SrgMachine
from l3ha.sim import bounds
from l3ha.sim.bounds import Law
from l3ha.sim.clock import Clock
from l3ha.sim.conditions import Conditions
from l3ha.sim.router import Router, level
from l3ha.sim.setting import GROUP, NODES, PREFIXES, Variant, router_address
from l3ha.wire.wish import Wish

if TYPE_CHECKING:
    from l3ha.sim.node import Node
    from l3ha.sim.session import BgpSession

REMEMBERED_DATAGRAMS = 4096
RULES = frozenset(str(r) for r in Rule)


WAYS = {
    SrgState.HOLD: {Rule.RECOVERED},
    SrgState.BACKUP: {Rule.FOLLOW, Rule.DUEL, Rule.OUTRANKED, Rule.SETTLE_DOWN},
    SrgState.ACTIVE: {Rule.GRANTED, Rule.WON, Rule.SILENCE, Rule.BLIND, Rule.RESUME},
    SrgState.INELIGIBLE: {Rule.FAILED},
}
"""S8: by which rules a state may be entered (protocol §5)."""


class Violation(Exception):
    """An invariant does not hold; ``law`` says which."""

    def __init__(self, law: Law, text: str, when: Instant) -> None:
        super().__init__(f"{law}: {text} (at {when / 1e9:.4f} s)")
        self.law = law


class Scene(Protocol):
    """What the judge looks at."""

    clock: Clock
    variant: Variant
    conditions: Conditions

    @property
    def nodes(self) -> Mapping[int, Node]:
        """By number."""

    @property
    def routers(self) -> Mapping[str, Router]:
        """By name."""

    @property
    def sessions(self) -> Mapping[tuple[int, str], BgpSession]:
        """By node and router."""


@dataclass(slots=True)
class _Before:
    """A machine before a step."""

    state: SrgState
    confirmed: bool
    claim: int | None
    term: int
    grant: tuple[int, int, Instant] | None
    pauses: int
    last: Instant | None
    beats: tuple[object, ...]
    refused: bool
    """The event is a datagram that must change nothing."""


class Judge:
    """See the module. Raises ``Violation`` from wherever it is called."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.due: Instant = NEVER
        self.calm = False
        """No fault at all, only planned moves: S10 and L5 may be demanded."""
        self.damaged: set[bytes] = set()
        self.transitions: list[tuple[Instant, int, str]] = []
        """Every change of state or right: when, where, by which rule."""
        self.rules: dict[str, int] = {}
        self._timers = scene.variant.timers
        self._before: _Before | None = None
        self._numbers: dict[int, int] = {}
        """Greatest term that each node has announced."""
        self._promises: set[tuple[int, int]] = set()
        """Every (holder, number) that was ever granted."""
        self._last_step: dict[int, tuple[Engine, Instant]] = {}
        self._stepped: dict[int, dict[bytes, None]] = {n: {} for n in NODES}
        self._since: dict[str, Instant] = {}
        self._limits: dict[str, tuple[Law, Instant]] = {}
        self._cured: dict[tuple[int, str], Instant] = {}
        """When the effects of what disturbed a session must be over."""
        self._rough: dict[tuple[int, str], Duration] = {}
        """Sessions that are disturbed now, and what their cure will take."""
        self._signature: dict[int, tuple[object, ...]] = {}

    # --- every step -----------------------------------------------------------------------------------------------

    def before(self, node: int, engine: Engine, event: Event) -> None:
        """A step begins."""
        m = engine.srgs[GROUP]
        refused = False
        if isinstance(event, Datagram):
            refused = event.data in self.damaged or event.data in self._stepped[node]
        known = self._last_step.get(node)
        self._before = _Before(
            m.state,
            m.confirmed,
            m.claim,
            m.term,
            (m.grant.number, m.grant.to, m.grant.until) if m.grant else None,
            engine.pauses,
            known[1] if known is not None and known[0] is engine else None,
            _facts(engine) if refused else (),
            refused,
        )

    def after(self, node: int, engine: Engine, event: Event, effects: tuple[Effect, ...], local: Instant) -> None:
        """Its effects are known and not yet carried out."""
        b = self._before
        assert b is not None
        m = engine.srgs[GROUP]
        slept = b.last is not None and local - b.last > self._timers.detection
        self._last_step[node] = (engine, local)
        if slept:
            self._paused(node, effects)
        if isinstance(event, Datagram):
            self._remember(node, event.data)
            if b.refused and not slept and _facts(engine) != b.beats:
                self._broken(Law.S7, f"n{node}: a damaged or repeated datagram counted")
        if (m.state, m.confirmed, m.term, m.claim) != (b.state, b.confirmed, b.term, b.claim):
            self._changed(node, m, b, effects, local)
        if m.grant is not None:
            self._promises.add((m.grant.to, m.grant.number))
        link = engine.speaker
        signature = (engine, m.state, m.confirmed, m.level, link.number, link.connected, any_contact(engine))
        if signature != self._signature.get(node):
            self._signature[node] = signature
            self._wished(node, engine, m)
            self.review()

    def _paused(self, node: int, effects: tuple[Effect, ...]) -> None:
        first, second = (*effects, None, None)[:2]
        if not (isinstance(first, Note) and first.kind is NoteKind.PAUSE and isinstance(second, DiscardBacklog)):
            self._broken(Law.S9, f"n{node} slept and began with {first}")

    def _changed(self, node: int, m: SrgMachine, b: _Before, effects: tuple[Effect, ...], local: Instant) -> None:
        notes = [e for e in effects if isinstance(e, Note) and e.rule is not None]
        named = [str(e.rule) for e in notes if e.kind in (NoteKind.TRANSITION, NoteKind.RULE) and e.rule in RULES]
        said = (m.state, m.confirmed, m.term) != (b.state, b.confirmed, b.term)
        if said and not named and not any(e.kind is NoteKind.PAUSE for e in notes):
            self._broken(Law.S8, f"n{node}: {b.state}/{b.confirmed} -> {m.state}/{m.confirmed} by no rule")
        for name in named:
            self.rules[name] = self.rules.get(name, 0) + 1
        self._entered(node, m, b.state, [e for e in notes if e.kind is NoteKind.TRANSITION])
        if m.state is not b.state:
            self.transitions.append((self.scene.clock.now, node, f"{b.state} -> {m.state} [{m.rule}]"))
        active = m.state is SrgState.ACTIVE
        if active and m.rule is not Rule.RESUME and (b.state is not SrgState.ACTIVE or m.term != b.term):
            self._numbered(node, m)
        self._promised(node, m, b, local)

    def _entered(self, node: int, m: SrgMachine, state: SrgState, told: list[Note]) -> None:
        """S8: what is told leads from the old state to the new one, each by a rule that leads there."""
        for note in told:
            fields = {k: str(v) for k, v in note.fields}
            if fields["old"] != state or note.rule not in WAYS[SrgState(fields["new"])]:
                self._broken(Law.S8, f"n{node}, {state} before: {note.text} [{note.rule}]")
            state = SrgState(fields["new"])
            if note.rule == Rule.GRANTED and (node, int(fields["term"])) not in self._promises:
                self._broken(Law.S8, f"n{node} goes ACTIVE by a grant of {m.term} that nobody gave")
        if state is not m.state:
            self._broken(Law.S8, f"n{node} is {m.state}, and was told to be {state}")

    def _numbered(self, node: int, m: SrgMachine) -> None:
        """S3: own terms grow; a granted one is beyond everything that anybody has announced."""
        by_grant = m.rule is Rule.GRANTED
        floor = max(self._numbers.values(), default=0) if by_grant else self._numbers.get(node, 0)
        if m.term <= floor:
            self._broken(Law.S3, f"n{node} announces term {m.term} by {m.rule}; {floor} was announced before")
        self._numbers[node] = max(self._numbers.get(node, 0), m.term)

    def forgotten(self) -> None:
        """S3 asks for what can be known: a number that no disk holds and no living agent has heard is gone.

        It comes again only in contact, so its first owner has started anew, and with it went its routes. Alone, the
        stride of a node that has heard nobody is greater than anything that was lost.
        """
        nodes = self.scene.nodes.values()
        known = [max(int(m.seen), int(m.reserved)) for n in nodes for m in n.disk.values()]
        known += [
            int(m.seen) for n in nodes if n.agent is not None and n.agent.alive for m in n.agent.engine.srgs.values()
        ]
        self._numbers = {node: min(number, max(known, default=0)) for node, number in self._numbers.items()}

    def _promised(self, node: int, m: SrgMachine, b: _Before, local: Instant) -> None:
        """S4: while a promise of ours binds, nothing of our own; its holder may hand back by a greater number."""
        grant = b.grant or ((m.grant.number, m.grant.to, m.grant.until) if m.grant else None)
        if grant is None or local >= grant[2] or m.rule is Rule.PAUSE:
            return
        number, to, _ = grant
        rose = m.state is SrgState.ACTIVE and (b.state is not SrgState.ACTIVE or (m.confirmed and not b.confirmed))
        theirs = next((p.beat for p in self._engine(node).peers.values() if p.peer.id == to), None)
        group = next((g for g in theirs.srgs if g.id == GROUP), None) if theirs else None
        fulfilled = group is not None and group.state is SrgState.ACTIVE and group.term >= number
        claims = m.claim not in (None, b.claim)
        handed_back = rose and m.rule is Rule.GRANTED and m.term > number
        # Resumed, with the old number and unconfirmed: that is what the earlier process was when it promised.
        rose = rose and not (m.rule is Rule.RESUME and not m.confirmed)
        if (claims or (rose and not handed_back)) and not fulfilled:
            self._broken(Law.S4, f"n{node} has promised term {number} to n{to} and goes {m.state} by {m.rule}")

    def _wished(self, node: int, engine: Engine, m: SrgMachine) -> None:
        """S5 and S6: the wish follows the state in the same step."""
        high = m.state is SrgState.ACTIVE or m.draining
        if (m.level is Level.HIGH) != high:
            self._broken(Law.S5, f"n{node} is {m.state} with level {m.level.name}")
        told = engine.speaker.levels.get(GROUP)
        if not engine.speaker.connected or engine.speaker.wish is None or told is None:
            return
        if m.state is SrgState.INELIGIBLE and told[0] is not Level.LOW:
            self._broken(Law.S6, f"n{node} is {m.state}, its speaker was told {told[0].name}")
        if told[0] != m.level:
            self._broken(Law.S5, f"n{node} is {m.state}, its speaker was told {told[0].name}")

    def _remember(self, node: int, data: bytes) -> None:
        seen = self._stepped[node]
        seen[data] = None
        if len(seen) > REMEMBERED_DATAGRAMS:
            del seen[next(iter(seen))]

    # --- every table ----------------------------------------------------------------------------------------------

    def routed(self, router: Router) -> None:
        """S2 and S10 at one router."""
        for prefix in PREFIXES:
            held = [r[prefix].value for r in router.routes.values() if prefix in r]
            if len(held) == 2 and held[0] == held[1] and level(router.profile, held[0]) is Level.HIGH:
                self._broken(Law.S2, f"{router.name} holds {prefix} twice with {held[0]}")
        self.review()

    def _moving(self) -> None:
        for router in self.scene.routers.values():
            for prefix in PREFIXES:
                best = router.best(prefix)
                m = None if best is None else self._machine(best)
                if m is None or not (m.state is SrgState.ACTIVE or m.draining):
                    self._broken(Law.S10, f"{router.name} sends {prefix} to {best and f'n{best}'}")

    # --- what must not last ---------------------------------------------------------------------------------------

    def review(self) -> None:
        """Something changed: which forbidden conditions hold now?"""
        if self.calm:
            self._moving()
        t = self._timers
        machines = {n: self._machine(n) for n in NODES}
        active = [n for n, m in machines.items() if m is not None and m.state is SrgState.ACTIVE]
        contact = all(m is not None and any_contact(self._engine(n)) for n, m in machines.items())
        confirmed = [n for n in active if (m := machines[n]) is not None and m.confirmed]
        self._hold(Law.S1, "two confirmed", contact and len(confirmed) == 2, bounds.both_confirmed(t))
        self._hold(Law.S1, "two active", contact and len(active) == 2, bounds.both_active(t))
        for n, r in self.scene.sessions:
            self._route(n, r)
        self.due = min((limit for _, limit in self._limits.values()), default=NEVER)

    def lasting(self) -> None:
        """Called when something may have lasted too long."""
        self.review()
        now = self.scene.clock.now
        for name, (law, limit) in self._limits.items():
            if limit <= now:
                self._broken(law, f"{name} since {self._since[name] / 1e9:.4f} s")

    def _hold(self, law: Law, name: str, holds: bool, bound: int, cured: Instant = 0) -> None:
        """``cured``: the bound counts from here, if that is later than the beginning."""
        if not holds:
            self._since.pop(name, None)
            self._limits.pop(name, None)
            return
        since = self._since.setdefault(name, self.scene.clock.now)
        self._limits[name] = (law, max(since, cured) + bound + bounds.SLACK)

    def _route(self, node: int, router: str) -> None:
        session, now = self.scene.sessions[node, router], self.scene.clock.now
        where = (node, router)
        if not session.up or self.scene.conditions.touched(node, router):
            rough = bool(self.scene.conditions.temper[node])
            cure = bounds.EXABGP_CURE if rough else bounds.SESSION_CURE
            self._rough[where] = max(self._rough.get(where, 0), cure)
        elif where in self._rough:
            self._cured[where] = max(self._cured.get(where, 0), now + self._rough.pop(where))
        n = self.scene.nodes[node]
        self._follows(node, router)
        dead = n.agent is None or not n.agent.alive
        high = self.scene.routers[router].routes[node].values()
        over = (
            dead
            and not self.scene.conditions.touched(node, router)
            and self.scene.variant.lease_end is not LeaseEnd.KEEP
            and session.up
        )
        over = over and any(level(self.scene.variant.profile, r.value) is Level.HIGH for r in high)
        self._hold(
            Law.S5,
            f"HIGH of the dead n{node} at {router}",
            over,
            bounds.lease_over(self._timers),
            self._cured.get(where, 0),
        )

    def _follows(self, node: int, router: str) -> None:
        """The router holds what the agent wishes; a newer wish has its own time."""
        prefix, n = f"route of n{node} at {router} ", self.scene.nodes[node]
        key, wrong = "", False
        quiet = self.scene.sessions[node, router].up and not self.scene.conditions.touched(node, router)
        if quiet and n.running and n.agent is not None:
            link = n.agent.engine.speaker
            if link.wish is not None and link.connected:
                held = {p: r.value for p, r in self.scene.routers[router].routes[node].items()}
                key, wrong = f"{prefix}for wish {link.number}", held != _wanted(link.wish, node, router)
        for old in [k for k in self._since if k.startswith(prefix) and k != key]:
            self._hold(Law.S5, old, False, 0)
        if key:
            self._hold(Law.S5, key, wrong, bounds.installed(self._timers), self._cured.get((node, router), 0))

    # --- parts ----------------------------------------------------------------------------------------------------

    def _engine(self, node: int) -> Engine:
        agent = self.scene.nodes[node].agent
        assert agent is not None
        return agent.engine

    def _machine(self, node: int) -> SrgMachine | None:
        n = self.scene.nodes.get(node)
        return n.agent.engine.srgs[GROUP] if n is not None and n.running and n.agent is not None else None

    def _broken(self, law: Law, text: str) -> None:
        raise Violation(law, text, self.scene.clock.now)


def any_contact(engine: Engine) -> bool:
    """Whether an engine is in contact with its peer."""
    for peer in engine.peers.values():  # noqa: SIM110 - asked after every step, and a generator costs half of it
        if peer.contact:
            return True
    return False


def _facts(engine: Engine) -> tuple[object, ...]:
    return tuple((p.beat, tuple(s.heard for s in p.paths.values())) for p in engine.peers.values())


def _wanted(wish: Wish, node: int, router: str) -> dict[str, int]:
    """Prefix to preference value that a router shall hold."""
    address = router_address(node, router)
    out: dict[str, int] = {}
    for n in wish.neighbors:
        if n.address == address:
            for g in n.routes:
                a = g.attributes
                value = a.local_preference if a.local_preference is not None else a.med
                out.update(dict.fromkeys(g.prefixes, value or 0))
    return out
