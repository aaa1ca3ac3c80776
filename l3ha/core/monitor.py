"""A watched object with rise and fall counts, and the sum of weights (Junos: monitor objects with a threshold)."""

from __future__ import annotations

from collections.abc import Iterable

from l3ha.base.settings import Monitor, MonitorKind
from l3ha.base.time import NEVER, Instant

EVENT_CODES = {
    MonitorKind.INTERFACE: "IF",
    MonitorKind.IP: "IP",
    MonitorKind.BGP: "BG",
    MonitorKind.BFD: "BF",
}
"""Failure event codes as Junos prints them; BG is ours."""


class Watch:
    """One monitor. ``up`` is None until the first verdict: not failed, but not ready either."""

    def __init__(self, monitor: Monitor) -> None:
        self.monitor = monitor
        self.up: bool | None = None
        self.since: Instant | None = None
        self.reason = "no sample yet"
        self.next: Instant = NEVER
        """When what was observed last counts as another sample; never once the verdict says the same."""
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
        return self._repeatable(ok, reason, now)

    def cannot_tell(self, reason: str) -> None:
        """The state of the object is unknown: no sample, so the verdict and the counts stay as they are."""
        self.observed, self.next = None, NEVER
        self.reason = f"cannot tell: {reason}"

    def tick(self, now: Instant) -> bool:
        """Repeat the last observation as a sample when one is due; True when the verdict changed."""
        if self.observed is None or now < self.next:
            return False
        return self._repeatable(self.observed, self.reason, now)

    def _repeatable(self, ok: bool, reason: str, now: Instant) -> bool:
        turned = self.sample(ok, reason, now)
        self.next = NEVER if ok is self.up else now + self.monitor.interval
        return turned

    def _turn(self, up: bool, now: Instant) -> bool:
        self.up, self.since = up, now
        return True


def failed_weight(watches: Iterable[Watch]) -> int:
    """Sum of the weights of all failed monitors."""
    return sum(w.monitor.weight for w in watches if w.up is False)


def failure_codes(watches: Iterable[Watch]) -> tuple[str, ...]:
    """Junos's codes of the kinds that have failed, each once."""
    return tuple(sorted({EVENT_CODES[w.monitor.kind] for w in watches if w.up is False}))
