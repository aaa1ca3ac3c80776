"""The clock of agent and speaker, by itself because the speaker must start fast."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

from l3ha.base.time import Instant

boottime_ns: Callable[[], Instant] = partial(time.clock_gettime_ns, time.CLOCK_BOOTTIME)
"""Now, on CLOCK_BOOTTIME: never steps, and counts the time that the machine was suspended."""
