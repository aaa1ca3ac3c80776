"""The nudge: shortly before a silent peer is given up, one route is announced again to the routers, unchanged.

bgpd of FRR gathers changes for 50 ms, from the first one on, before it chooses best paths. Nudged so much earlier, it
chooses just after the takeover's routes have come, and not 50 ms later (measured: 180 -> 140 ms from the death to the
new route). Other routers notice nothing. If the peer speaks after all, nothing has happened: every announcement of the
speaker carries a fresh generation (``core.speaker``), so it is a change to the router, but never one of preference.

Only passive neighbors are nudged. On a session that ExaBGP has opened itself it leaves Nagle's algorithm on, so the
takeover would wait until the router has acknowledged the nudge, which may take 40 ms and more.

Routers that damp flaps count it, though (RFC 2439: 500 points for a change of attributes, half of them gone after
15 minutes, suppressed from 2000 on), hence ``IN_VAIN``: they come to 1714 at worst.
"""

from __future__ import annotations

from collections import deque

from l3ha.base.names import NodeId, SrgState
from l3ha.base.settings import Settings
from l3ha.base.time import MS, NEVER, SECOND, Duration, Instant
from l3ha.core.events import Effect, Note, NoteKind, ToSpeaker
from l3ha.core.icl import IclPeer
from l3ha.core.picture import Parts
from l3ha.wire import wishline

AHEAD: Duration = 35 * MS
"""15 ms less than what bgpd gathers for, which is for the takeover's way to the routers: ExaBGP carries out one command
after the other, two for each router, and is done with the fourth 9 ms after the first, or 16 on a slow processor
(measured; there 10 ms were too short for the second router in half of all deaths, which cost 50)."""

IN_VAIN = 3
"""Nudges without a takeover after them within ``SPAN``."""

SPAN: Duration = 45 * 60 * SECOND


class Nudges:
    """Those that were given, as far as they forbid another one."""

    def __init__(self) -> None:
        self._given: deque[Instant] = deque(maxlen=IN_VAIN)
        self._considered: dict[NodeId, Instant] = {}
        """Peer -> when contact would end, when a nudge for this silence was thought of last."""

    def due(self, s: Settings, p: IclPeer) -> Instant:
        """When to think of a nudge because of this peer, with which there is contact, unless it is heard: once for a
        silence, and only where more than one late heartbeat leads to it."""
        ahead = min(AHEAD, s.timers.detection - 2 * s.timers.heartbeat)
        known = self._considered.get(p.peer.id) == p.ends
        return p.ends - ahead if s.speaker.nudge and ahead > 0 and not known else NEVER

    def give(self, e: Parts, now: Instant) -> list[Effect]:
        """A nudge, where a peer is about to be given up that is ACTIVE in a group of which we are BACKUP."""
        for p in e.peers.values():
            if not p.contact or now < self.due(e.settings, p):
                continue
            self._considered[p.peer.id] = p.ends
            exhausted = len(self._given) == IN_VAIN and now - self._given[0] < SPAN
            line = None if exhausted or not _may_follow(e, p) else e.speaker.nudge()
            if line is not None:
                self._given.append(now)
                text = (
                    f"{p.peer.name} has been silent for {p.silence(now) // MS} ms: the routers are nudged "
                    "(one route is announced again, unchanged)"
                )
                return [ToSpeaker(wishline.encode(line)), Note(NoteKind.NEIGHBOR, text)]
        return []

    def clear(self) -> None:
        """A group was taken over: they were not in vain, and the routers were told something new anyway."""
        self._given.clear()


def _may_follow(e: Parts, p: IclPeer) -> bool:
    """Whether we are BACKUP for a group that is ACTIVE there."""
    return any(
        e.srgs[srg].state is SrgState.BACKUP
        for srg, facts in e.picture.items()
        if any(f.id == p.peer.id and f.state is SrgState.ACTIVE for f in facts.peers)
    )
