"""The monitors of all groups: what is told of an interface, a session or an echo is a sample of those that watch it.

The engine holds the watches as plain data; here is what may happen to them. A change of a verdict is a note.
"""

from __future__ import annotations

from typing import TypeAlias

from l3ha.base.names import SrgId
from l3ha.base.settings import EchoTarget, Monitor, MonitorKind, Settings
from l3ha.base.time import Instant
from l3ha.core.bfd_sessions import because
from l3ha.core.echo import EchoResult
from l3ha.core.events import Note, NoteKind
from l3ha.core.monitor import Watch
from l3ha.core.routes import NeighborState
from l3ha.wire.bfd import State
from l3ha.wire.wish import BfdReport

Watches: TypeAlias = dict[SrgId, list[Watch]]
"""The watches of every group, in the order of the settings; group 0 is the node itself."""


def equip(settings: Settings, known: Watches) -> Watches:
    """The watches for these settings; a monitor of the same name, kind and subject keeps its history."""
    groups = {SrgId(0): settings.node_group.monitors} | {s.id: s.monitors for s in settings.srgs}
    old = {(g, w.monitor.name, w.monitor.kind, w.monitor.subject): w for g, ws in known.items() for w in ws}
    return {g: [_watch(old.get((g, m.name, m.kind, m.subject)), m) for m in ms] for g, ms in groups.items()}


def observe(watches: Watches, kind: MonitorKind, subject: str, up: bool, reason: str, now: Instant) -> list[Note]:
    """The state of an interface or a session was told."""
    return [
        _note(group, watch)
        for group, those in watches.items()
        for watch in those
        if watch.monitor.kind is kind and watch.monitor.subject == subject and watch.observe(up, reason, now)
    ]


def sessions(watches: Watches, neighbor: str, state: NeighborState, now: Instant) -> list[Note]:
    """The speaker told the state of a neighbor's sessions: BGP, and BFD where it is wanted."""
    notes = observe(watches, MonitorKind.BGP, neighbor, state.up, "session " + ("up" if state.up else "down"), now)
    return notes if state.bfd is None else notes + _bfd(watches, neighbor, state.bfd, now)


def tried(watches: Watches, target: EchoTarget, result: EchoResult, now: Instant) -> list[Note]:
    """An echo sample is a sample of the IP monitors that share it; answers count when they come."""
    return [
        _note(group, watch)
        for group, those in watches.items()
        for watch in those
        if watch.monitor.echo == target and watch.sample(result is EchoResult.ANSWERED, str(result), now)
    ]


def climbing(watches: Watches) -> set[EchoTarget | None]:
    """Where one more answer may turn a monitor up; None stands for those that no echo serves."""
    return {watch.monitor.echo for those in watches.values() for watch in those if watch.up is not True}


def tick(watches: Watches, now: Instant) -> list[Note]:
    """What was told last is a sample again, wherever one is due."""
    return [_note(group, watch) for group, those in watches.items() for watch in those if watch.tick(now)]


def _bfd(watches: Watches, neighbor: str, s: BfdReport, now: Instant) -> list[Note]:
    if s.state is not None:
        reason = f"session {State(s.state).name}{because(s.diagnostic)}"
        return observe(watches, MonitorKind.BFD, neighbor, s.state == State.UP, reason, now)
    for watch in (w for those in watches.values() for w in those):
        if watch.monitor.kind is MonitorKind.BFD and watch.monitor.subject == neighbor:
            watch.cannot_tell(s.error or "the session is unknown")
    return []


def _watch(known: Watch | None, monitor: Monitor) -> Watch:
    """The watch of a monitor; the same object keeps its verdict when only its numbers change."""
    if known is None:
        return Watch(monitor)
    known.monitor = monitor
    return known


def _note(group: SrgId, watch: Watch) -> Note:
    m = watch.monitor
    text = f"monitor {m.name} ({m.kind} {m.subject}) is {'up' if watch.up else 'down'}: {watch.reason}"
    return Note(NoteKind.MONITOR, text, group, alarm=not watch.up)
