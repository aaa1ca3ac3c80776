"""A watched object with rise and fall counts, and the sum of weights (Junos: monitor objects with a threshold)."""

from __future__ import annotations

from collections.abc import Iterable

from l3ha.base.settings import Monitor, MonitorKind
from l3ha.base.time import Instant

EVENT_CODES = {
    MonitorKind.INTERFACE: "IF",
    MonitorKind.IP: "IP",
    MonitorKind.BGP: "BG",
    MonitorKind.BFD: "BF",
}
"""Failure event codes as Junos prints them; BG is ours."""


class Watch:
    """One monitor. ``up`` is None until the first verdict: not failed, but not ready either."""

    def __init__(self, monitor: Monitor, now: Instant) -> None:
        self.monitor = monitor
        self.up: bool | None = None
        self.since: Instant | None = None
        self.reason = "no sample yet"
        self.next = now + monitor.interval
        self.observed: bool | None = None
        """The raw state of an interface or session, as last told."""
        self._good = 0
        self._bad = 0

    def sample(self, ok: bool, reason: str, now: Instant) -> bool:
        """Count one sample; True when the verdict changed."""
        self._good = self._good + 1 if ok else 0
        self._bad = 0 if ok else self._bad + 1
        self.reason = reason
        rise = 1 if self.up is None else self.monitor.rise
        if ok and self.up is not True and self._good >= rise:
            return self._turn(True, now)
        if not ok and self.up is not False and self._bad >= self.monitor.fall:
            return self._turn(False, now)
        return False

    def observe(self, ok: bool, reason: str, now: Instant) -> bool:
        """The state of the object was told: sample at once if it is news; True when the verdict changed."""
        if ok == self.observed:
            return False
        self.observed = ok
        self.next = now + self.monitor.interval
        return self.sample(ok, reason, now)

    def cannot_tell(self, reason: str) -> None:
        """The state of the object is unknown: no sample, so the verdict and the counts stay as they are."""
        self.observed = None
        self.reason = f"cannot tell: {reason}"

    def tick(self, now: Instant) -> bool:
        """Repeat the last observation as a sample when one is due; True when the verdict changed."""
        if self.observed is None or now < self.next:
            return False
        self.next = now + self.monitor.interval
        return self.sample(self.observed, self.reason, now)

    def _turn(self, up: bool, now: Instant) -> bool:
        self.up, self.since = up, now
        return True


def failed_weight(watches: Iterable[Watch]) -> int:
    """Sum of the weights of all failed monitors."""
    return sum(w.monitor.weight for w in watches if w.up is False)


def failure_codes(watches: Iterable[Watch]) -> tuple[str, ...]:
    """Junos's codes of the kinds that have failed, each once."""
    return tuple(sorted({EVENT_CODES[w.monitor.kind] for w in watches if w.up is False}))
