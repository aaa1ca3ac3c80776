"""How late the loop is: the time from a deadline to the step that it was for, as a distribution.

A late agent is one whose heartbeats look like silence to its peer, so an operator wants to see it before it matters.
"""

from __future__ import annotations

from l3ha.base.time import US, Duration

BUCKETS = 24
"""Bucket k counts what is later than 2**(k-1) µs and not later than 2**k µs; the last one, whatever is later (4 s)."""


class Lateness:
    """Counts in buckets that double; sizes never grow."""

    def __init__(self) -> None:
        self.counts = [0] * BUCKETS
        self.worst: Duration = 0

    def record(self, late: Duration) -> None:
        """One deadline was met so late."""
        self.counts[min((max(0, late - 1) // US).bit_length(), BUCKETS - 1)] += 1
        self.worst = max(self.worst, late)

    @property
    def count(self) -> int:
        """Deadlines so far."""
        return sum(self.counts)

    def within(self, per_mille: int) -> Duration:
        """An upper bound of the lateness of so many deadlines of a thousand; never more than the worst. 0 for none."""
        wanted = -(-self.count * per_mille // 1000)
        seen = 0
        for place, count in enumerate(self.counts):
            seen += count
            if count and seen >= wanted:
                return self.worst if place == BUCKETS - 1 else min((1 << place) * US, self.worst)
        return 0

    def clear(self) -> None:
        """Begin anew."""
        self.counts = [0] * BUCKETS
        self.worst = 0
