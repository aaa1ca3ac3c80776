"""Writes the terms from a thread of its own: the loop waits for a good disk, and not for a bad one.

A good disk takes a term in a millisecond, and then it is there before a router or the peer hears of it. One that hangs
may cost the loop ``PATIENCE_S`` and no more: a late heartbeat moves the service, and an unsaved term does no harm while
nobody crashes (as with a lost disk, protocol §2). What was not written is tried until it is.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable

from l3ha.base.names import SrgId
from l3ha.core.events import Memory
from l3ha.drivers import realtime
from l3ha.drivers.memory import TermStore

PATIENCE_S = 0.02
"""How long ``save`` waits for the disk: the longest that any effect may hold up the loop."""

TROUBLE_S = 1.0
"""A disk that has not answered for so long is a problem; and so often one that refuses is tried again."""

_END_S = 1.0


class MemoryWriter:
    """See the module. Owns the store from now on."""

    def __init__(self, store: TermStore) -> None:
        self._store = store
        self._change = threading.Condition()
        self._wanted: dict[SrgId, Memory] = {}
        """Not on disk yet."""
        self._since = 0.0
        """Since when the disk owes an answer for them."""
        self._asked = 0
        self._answered = 0
        """The newest request that the disk took or refused."""
        self._refusal: str | None = None
        self._closing = False
        self._owner = threading.get_native_id()
        self._thread = threading.Thread(target=self._run, name="terms", daemon=True)
        self._thread.start()

    def save(self, groups: Iterable[Memory]) -> bool:
        """Have these written; whether they are on disk now. Waits at most ``PATIENCE_S``, never raises."""
        with self._change:
            now = time.monotonic()
            hangs = self._answered < self._asked and now - self._since >= PATIENCE_S
            if not self._wanted:
                self._since = now
            self._wanted |= {m.srg: m for m in groups}
            self._asked += 1
            mine = self._asked
            self._change.notify_all()
            patience = 0 if hangs else PATIENCE_S  # it was waited for already, and did not answer
            return self._change.wait_for(lambda: self._answered >= mine, patience) and not self._wanted

    def problem(self) -> str | None:
        """What is wrong with the disk, if anything is."""
        with self._change:
            if self._refusal is not None:
                return f"cannot write the terms to disk: {self._refusal}"
            if self._wanted and time.monotonic() - self._since >= TROUBLE_S:
                return f"the disk has not taken the terms for {TROUBLE_S:g} s"
            return None

    def close(self) -> None:
        """Write what is left, for at most a second."""
        with self._change:
            self._closing = True
            self._change.notify_all()
        self._thread.join(_END_S)

    def _run(self) -> None:
        while True:
            with self._change:
                self._change.wait_for(lambda: self._wanted or self._closing)
                groups, number = dict(self._wanted), self._asked
            if not groups:
                return
            refusal = self._write(groups)
            with self._change:
                self._refusal = refusal
                if refusal is None:
                    self._since = time.monotonic()
                    self._wanted = {srg: m for srg, m in self._wanted.items() if groups.get(srg) != m}
                self._answered = number
                self._change.notify_all()
                if refusal is not None:
                    if self._closing:
                        return
                    self._change.wait_for(lambda: self._closing or self._asked > self._answered, TROUBLE_S)

    def _write(self, groups: dict[SrgId, Memory]) -> str | None:
        realtime.follow(self._owner)
        try:
            self._store.save(groups.values())
        except OSError as error:
            return error.strerror or str(error)
        return None
