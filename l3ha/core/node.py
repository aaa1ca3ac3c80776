"""SRG 0 and the node (protocol §7): HOLD, ONLINE, ISOLATED, OFFLINE.

    HOLD --gates open--> ONLINE --isolated--> ISOLATED --clean--> HOLD
    any --maintenance--> OFFLINE --released--> HOLD

ISOLATED has two causes: the node's own monitors failed (then it shuts interfaces and installs the failure route), or it
has neither contact nor a router. ISOLATED and OFFLINE make every group of the node ineligible.
"""

from __future__ import annotations

from typing import NamedTuple

from l3ha.base.names import Level, NodeState
from l3ha.base.settings import NodeGroup, Timers
from l3ha.base.time import Instant
from l3ha.core.events import Effect, Note, NoteKind, SetFailureRoute, SetInterfaces


class NodeFacts(NamedTuple):
    """What the node's state depends on."""

    speaker: bool
    sessions_up: bool
    """Every BGP session is up."""
    contact: bool
    reach: bool
    failed_weight: int
    occupied: bool
    """Some group is still ACTIVE here or covers a move; OFFLINE waits for it, up to a limit."""
    judged: bool = True
    """Every monitor of the node has given a verdict."""
    alone: bool = False
    """No peer is configured: there is nobody to move a group to."""


class NodeMachine:
    """State of SRG 0."""

    def __init__(self, group: NodeGroup, timers: Timers, now: Instant) -> None:
        self.group = group
        self.timers = timers
        self.state = NodeState.HOLD
        self.rule = "boot"
        self.since = now
        self.maintenance = False
        self.failed: bool | None = None
        """The node's own monitors are beyond their threshold; None until they were judged."""
        self._boot = now
        self._offline_at: Instant | None = None
        self._cut_since: Instant | None = now
        self._clean_since: Instant | None = None
        self._had_somebody = False
        self._by_monitors = False

    @property
    def level(self) -> Level:
        """SRG 0's routes have one level on every ONLINE node."""
        return Level.MEDIUM if self.state is NodeState.ONLINE else Level.LOW

    @property
    def fit(self) -> bool:
        """Whether the node's groups may be eligible."""
        return self.state not in (NodeState.ISOLATED, NodeState.OFFLINE)

    def request_maintenance(self, on: bool, now: Instant) -> None:
        """The operator's word; OFFLINE follows when the groups have moved, or after the time a move may take."""
        self.maintenance = on
        patience = self.timers.grant + self.timers.drain + self.timers.verify
        self._offline_at = now + patience if on else None

    def pause(self) -> None:
        """After a sleep every silence is counted afresh."""
        self._cut_since = self._clean_since = None

    def reconfigure(self, group: NodeGroup, timers: Timers) -> list[Effect]:
        """New settings; the state stays, and failure actions that are no longer asked for are taken back."""
        undo = self._failure_actions(False) if self.failed else []
        self.group, self.timers = group, timers
        return undo + (self._failure_actions(True) if self.failed else [])

    def step(self, facts: NodeFacts, now: Instant) -> list[Effect]:
        """Take what fits; returns notes and the failure actions."""
        out: list[Effect] = []
        self._had_somebody = self._had_somebody or facts.contact or facts.reach
        cut = not facts.contact and not facts.reach and (self._had_somebody or now - self._boot >= self.timers.boot)
        self._cut_since = (self._cut_since if self._cut_since is not None else now) if cut else None
        isolated = self._cut_since is not None and cut and now - self._cut_since >= self.timers.settle
        failed = facts.failed_weight >= self.group.threshold and bool(self.group.monitors)
        bad = isolated or failed
        self._clean_since = None if bad else (self._clean_since if self._clean_since is not None else now)
        if failed != self.failed and (failed or facts.judged):
            self.failed = (
                failed  # also at the first verdict: an earlier process may have left its failure actions behind
            )
            out += self._failure_actions(failed)
        match self.state:
            case NodeState.OFFLINE:
                if not self.maintenance:
                    out.append(self._become(NodeState.HOLD, "released", "maintenance is over", now))
            case _ if self.maintenance and facts.occupied and not facts.alone and (self._offline_at or 0) <= now:
                self.maintenance = False
                text = (
                    "maintenance is given up: a group could not be moved to the peer, and this node goes on serving it"
                )
                out.append(Note(NoteKind.NODE, text, None, "maintenance", (), alarm=True))
            case _ if self.maintenance and (not facts.occupied or facts.alone):
                out.append(
                    self._become(NodeState.OFFLINE, "maintenance", "the operator took the node out of service", now)
                )
            case NodeState.HOLD | NodeState.ONLINE if bad:
                self._by_monitors = failed
                why = "the node's monitors failed" if failed else "no contact and no router"
                out.append(self._become(NodeState.ISOLATED, "isolated", why, now))
            case NodeState.ISOLATED:
                if self._clean_since is not None and now - self._clean_since >= (
                    self.timers.recover if self._by_monitors else 0
                ):
                    out.append(self._become(NodeState.HOLD, "clean", "the cause is gone", now))
            case NodeState.HOLD:
                if facts.speaker and (facts.sessions_up or now - self._boot >= self.timers.boot):
                    why = "all sessions are up" if facts.sessions_up else "T_boot is over"
                    out.append(self._become(NodeState.ONLINE, "gates open", why, now))
            case NodeState.ONLINE:
                pass
        return out

    def deadline(self, now: Instant) -> Instant | None:
        """When something may fit although nothing happens."""
        times = [
            self._offline_at,
            None if self._cut_since is None else self._cut_since + self.timers.settle,
            None if self._clean_since is None else self._clean_since + self.timers.recover,
            self._boot + self.timers.boot,
        ]
        return min((t for t in times if t is not None and t > now), default=None)

    def _become(self, state: NodeState, rule: str, why: str, now: Instant) -> Note:
        old, self.state, self.rule, self.since = self.state, state, rule, now
        fields = (("old", str(old)), ("new", str(state)))
        return Note(NoteKind.NODE, f"node {old} -> {state}: {why}", None, rule, fields, not self.fit)

    def _failure_actions(self, failed: bool) -> list[Effect]:
        out: list[Effect] = []
        if self.group.shutdown_on_failure:
            out.append(SetInterfaces(self.group.shutdown_on_failure, not failed))
        if self.group.failure_route:
            out.append(SetFailureRoute(self.group.failure_route, failed))
        return out
