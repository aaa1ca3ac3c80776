"""Being on time: real-time scheduling, memory that stays in memory, and no long garbage collections.

Measured under load, normal scheduling is late by up to 120 ms and SCHED_RR by a few; a collection of the oldest
generation over what a start leaves behind takes up to 100 ms.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import resource
import sys
from pathlib import Path

PRIORITY = 10

URGENT = PRIORITY + 1
"""The speaker's: what the agent has just decided waits for nothing else that the agent still does. The agent's, too,
where the speaker may have to compute for long: on a single core heartbeats must not wait for that."""

FUSE_US = 2_000_000
"""CPU time without ever sleeping after which the kernel ends the process (SIGXCPU): a loop gone mad at real-time
priority would take the machine with it."""

HAND_OVER_S = 0.0005
"""The interpreter's own 5 ms are as long as three takeovers; one thread imports for 0.2 s after the start."""

_MCL_CURRENT, _MCL_FUTURE, _MCL_ONFAULT = 1, 2, 4
"""sys/mman.h. ONFAULT: what is never touched is not fetched, so the lock costs no memory."""

_CAP_IPC_LOCK = 14
"""linux/capability.h."""


def freeze() -> None:
    """What exists now is never collected again; collections of young objects get rarer."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(5_000, 20, 100)


def become_realtime(priority: int = PRIORITY) -> str | None:
    """SCHED_RR for this thread, not for children (RESET_ON_FORK); a thread that computes hands the interpreter over to
    it within ``HAND_OVER_S``. Where only ``PRIORITY`` is granted it has to do. The reason if that is not, either."""
    sys.setswitchinterval(HAND_OVER_S)
    reason = None
    for granted in (priority, PRIORITY):
        try:
            _, hard = resource.getrlimit(resource.RLIMIT_RTTIME)
            resource.setrlimit(resource.RLIMIT_RTTIME, (FUSE_US, hard))
            os.sched_setscheduler(0, os.SCHED_RR | os.SCHED_RESET_ON_FORK, os.sched_param(granted))
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
        else:
            return None
    return reason


def follow(thread: int) -> None:
    """Schedule this thread as that one (a native id) is scheduled: who waits for it must not wait for other programs.

    What is not permitted is left as it is.
    """
    with contextlib.suppress(OSError):
        policy = os.sched_getscheduler(thread)
        if policy != os.sched_getscheduler(0):
            os.sched_setscheduler(0, policy, os.sched_getparam(thread))


def lock_memory() -> str | None:
    """Nothing that was used is paged out again (mlockall): a fault would cost a disk's time. The reason if refused.

    Where only so much may be locked, that goes for what exists now: beyond the limit no memory would be had at all.
    """
    _, limit = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    resource.setrlimit(resource.RLIMIT_MEMLOCK, (limit, limit))
    future = _MCL_FUTURE if limit == resource.RLIM_INFINITY or _may_lock_all() else 0
    if ctypes.CDLL(None, use_errno=True).mlockall(_MCL_CURRENT | future | _MCL_ONFAULT) == 0:
        return None
    return os.strerror(ctypes.get_errno())


def _may_lock_all() -> bool:
    """Whether the limit does not bind us (proc_pid_status(5), capabilities(7))."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("CapEff:"):
                return bool(int(line.split()[1], 16) >> _CAP_IPC_LOCK & 1)
    return False
