"""The nudge: shortly before a silent peer is given up, one route is announced again to the routers, unchanged.

bgpd of FRR gathers changes for 50 ms, from the first one on, before it chooses best paths. Nudged so much earlier, it
chooses just after the takeover's routes have come, and not 50 ms later (measured: 180 -> 138 ms from the death to the
new route). Other routers notice nothing. If the peer speaks after all, nothing has happened: every announcement of the
speaker carries a fresh generation (``core.speaker``), so it is a change to the router, but never one of preference.

Only passive neighbors are nudged. On a session that ExaBGP has opened itself it leaves Nagle's algorithm on, so the
takeover would wait until the router has acknowledged the nudge, which may take 40 ms and more.

Routers that damp flaps count it, though (RFC 2439: 500 points for a change of attributes, half of them gone after
15 minutes, suppressed from 2000 on), hence ``IN_VAIN``: they come to 1714 at worst.
"""

from __future__ import annotations

from collections import deque

from l3ha.base.settings import Settings
from l3ha.base.time import MS, SECOND, Duration, Instant

AHEAD: Duration = 40 * MS
"""10 ms less than what bgpd gathers for: so much sooner than usual may ExaBGP send the nudge, or later the takeover."""

IN_VAIN = 3
"""Nudges without a takeover after them within ``SPAN``."""

SPAN: Duration = 45 * 60 * SECOND


class Nudges:
    """Those that were given, as far as they forbid another one."""

    def __init__(self) -> None:
        self._given: deque[Instant] = deque(maxlen=IN_VAIN)

    def deadline(self, s: Settings, ends: Instant) -> Instant | None:
        """When to nudge a router if contact with a peer ends at ``ends``; None: not at all."""
        ahead = min(AHEAD, s.timers.detection - 2 * s.timers.heartbeat)
        return ends - ahead if s.speaker.nudge and ahead > 0 else None

    def allowed(self, s: Settings, now: Instant) -> bool:
        """Whether there may be one now: not twice for one silence, and not too many in vain."""
        if not self._given:
            return True
        exhausted = len(self._given) == IN_VAIN and now - self._given[0] < SPAN
        return not exhausted and now - self._given[-1] >= s.timers.detection

    def give(self, now: Instant) -> None:
        """One is given."""
        self._given.append(now)

    def clear(self) -> None:
        """Contact was lost indeed: they were not in vain."""
        self._given.clear()
