"""One fault done to one contender, seen through to the end."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Self

from l3ha.base.time import SECOND
from lab.bench.accident import Accident, Act
from lab.bench.contender import PREFERRED, Contender
from lab.bench.record import Phase
from lab.command import LabError
from lab.holes import Watch
from lab.traffic import Flow, Outages

PATIENCE_S = 110.0
"""Beyond the routers' BGP hold time of 90 s nothing comes back by itself."""
HOLE_S = 0.7
"""Those of most contenders are shorter; others measure seconds, where a millisecond is nothing."""
AT_ONCE_MS = 10.0
"""If the machine stands still for so long within ``HOLE_S``, a run is spoilt."""
AT_ALL_MS = 50.0
"""And for so long within ``AT_ALL_S``: a third of the shortest detection time."""
AT_ALL_S = 10.0
"""The same for all, however long their outages are."""
_MENDED_S = 0.2
_FRESH_NS = 100_000_000
_POLL_S = 0.02
_QUIET_S = 2.0


class Actives:
    """Watches, from a thread of its own, how long more than one node is active; a sample takes a few ms."""

    def __init__(self, lab: Contender, mute: str | None = None) -> None:
        self._lab = lab
        self._mute = mute
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.both_ms = 0.0

    def _watch(self) -> None:
        last = time.monotonic()
        while not self._over.wait(_POLL_S):
            with contextlib.suppress(LabError, OSError):  # an interface that is just not there
                both = len(self._lab.actives(self._mute)) > 1
                now = time.monotonic()
                self.both_ms += (now - last) * 1000 if both else 0.0
                last = now

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()


class Turns:
    """One after the other, among labs side by side: what loads the machine, and what must not meet such a load."""

    def __init__(self) -> None:
        self._turn = threading.Lock()

    @contextlib.contextmanager
    def one(self, after_s: float) -> Iterator[Callable[[], None]]:
        """Wait for this lab's turn. It ends a while after the call of what is yielded, or with the block."""
        done = False

        def pass_on() -> None:
            nonlocal done
            done = True
            timer = threading.Timer(after_s, self._turn.release)
            timer.daemon = True
            timer.start()

        self._turn.acquire()
        try:
            yield pass_on
        finally:
            if not done:
                self._turn.release()


def strike(lab: Contender, accident: Accident, turns: Turns, watch: Watch) -> tuple[Phase, Phase | None]:
    """Apply one fault to a healthy pair, wait until traffic flows steadily again, mend it and wait until all is well.

    No other lab is started, broken or mended within ``HOLE_S`` after the fault. Raises ``LabError`` where no traffic
    flows before, or the pair does not heal; then it is mended all the same.
    """
    flows = _flows(lab)
    mend, broken = accident.mend, False
    try:
        with turns.one(HOLE_S) as struck:
            healthy = time.monotonic_ns()
            for flow in flows:
                flow.open(healthy, within_s=5)
            with Actives(lab, PREFERRED if accident.silences else None) as actives:
                broken = True
                begin = time.monotonic_ns()
                accident.apply(lab)
                struck()
                back = flows_again(flows, max(accident.lasts_s, lab.reaction_s))
        if back or mend is None:
            phase = _phase(_close(flows), actives, watch, begin, back=back)
        broken = False
        if mend is None:
            lab.settle(steady_s=_QUIET_S)
            return phase, None
        if not back:
            with turns.one(_MENDED_S):
                mend(lab)
            lab.settle(steady_s=_QUIET_S)
            return _phase(_close(flows), actives, watch, begin, back=False), None
        return phase, _mending(lab, mend, turns, watch)
    finally:
        if broken and mend is not None:
            mend(lab)


def _mending(lab: Contender, mend: Act, turns: Turns, watch: Watch) -> Phase:
    with turns.one(_MENDED_S) as mended:
        begin = 0

        def action() -> None:
            nonlocal begin
            begin = time.monotonic_ns()
            mend(lab)
            mended()
            lab.settle(within_s=PATIENCE_S, steady_s=_QUIET_S)

        with Actives(lab) as actives:
            found = lab.meter().measure(action)
    return _phase(found, actives, watch, begin, back=True)


def _flows(lab: Contender) -> tuple[Flow, Flow]:
    meter = lab.meter()
    return meter.a_to_b, meter.b_to_a


def flows_again(flows: tuple[Flow, Flow], steady_s: float) -> bool:
    """Wait until packets have arrived at both ends without a pause for ``steady_s``; False: not within patience."""
    begin = time.monotonic()
    since: float | None = None
    while True:
        now = time.monotonic()
        if min(flow.latest() for flow in flows) < time.monotonic_ns() - _FRESH_NS:
            since = None
        elif since is None:
            since = now
        if since is not None and now - since >= steady_s:
            return True
        if now - begin > PATIENCE_S and since is None:
            return False
        time.sleep(_POLL_S)


def _close(flows: tuple[Flow, Flow]) -> Outages:
    end = time.monotonic_ns()
    one, two = (flow.close(end, within_s=5) for flow in flows)
    return Outages(one, two)


def _phase(found: Outages, actives: Actives, watch: Watch, begin: int, *, back: bool) -> Phase:
    ways = (found.a_to_b, found.b_to_a)
    return Phase(
        gap_ms=(round(ways[0].gap_ms, 1), round(ways[1].gap_ms, 1)),
        lost=(ways[0].lost, ways[1].lost),
        two_actives_ms=round(actives.both_ms),
        back=back,
        spoilt=back and spoilt_since(watch, begin),
    )


def spoilt_since(watch: Watch, begin: int) -> bool:
    """Whether the machine stood still for too long after a fault, or its mending (monotonic clock, ns)."""
    spans = ((HOLE_S, AT_ONCE_MS), (AT_ALL_S, AT_ALL_MS))
    return any(watch.longest(begin, begin + int(seconds * SECOND)) >= ms for seconds, ms in spans)
