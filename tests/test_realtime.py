"""Real-time manners, each in a process of its own: what is asked for is what the kernel says it has."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from l3ha.drivers import realtime

TELL = """
import os, resource, sys
from l3ha.drivers import realtime
print(realtime.lock_memory() or "locked")
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmLck")))
print(realtime.become_realtime() or "real-time")
print(realtime.become_realtime(realtime.URGENT) or "real-time", os.sched_getparam(0).sched_priority)
print(os.sched_getscheduler(0) == os.SCHED_RR | os.SCHED_RESET_ON_FORK, resource.getrlimit(resource.RLIMIT_RTTIME)[0])
print(sys.getswitchinterval() == realtime.HAND_OVER_S)
"""
LIMITED = """
import os, resource
from l3ha.drivers import realtime
room = resource.getrlimit(resource.RLIMIT_MEMLOCK)[1]
room = 64 << 20 if room == resource.RLIM_INFINITY else min(room, 64 << 20)
resource.setrlimit(resource.RLIMIT_MEMLOCK, (room, room))
os.setuid(65534)
print(realtime.lock_memory() in (None, "Cannot allocate memory"))
print(len(bytearray(2 * room)) // room)
"""
REFUSED = """
import os, resource
from l3ha.drivers import realtime
resource.setrlimit(resource.RLIMIT_MEMLOCK, (0, 0))
os.setuid(65534)
print(realtime.lock_memory())
"""

HALF_GRANTED = """
import os
from l3ha.drivers import realtime
kernel = os.sched_setscheduler

def refuse(pid, policy, wanted):
    if wanted.sched_priority > realtime.PRIORITY:
        raise PermissionError(1, "Operation not permitted")
    kernel(pid, policy, wanted)

os.sched_setscheduler = refuse  # as with LimitRTPRIO=10; the limit itself not everybody may set
print(realtime.become_realtime(realtime.URGENT) or "real-time", os.sched_getparam(0).sched_priority)
"""


def say(script: str) -> list[str]:
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return done.stdout.split("\n")


def test_memory_and_schedule_or_the_reason() -> None:
    lock, size, schedule, urgent, granted, handed_over, _ = say(TELL)
    assert (lock == "locked") == (int(size) > 0), (lock, size)
    assert (schedule == "real-time") == (granted == "True 2000000"), (schedule, granted)
    assert schedule != "real-time" or urgent == f"real-time {realtime.URGENT}"
    assert handed_over == "True"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody whom the kernel refuses")
def test_a_refusal_is_a_reason() -> None:
    (reason, _) = say(REFUSED)
    assert reason in ("Cannot allocate memory", "Operation not permitted")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody who has a limit")
def test_beyond_the_limit_memory_is_had_though_not_locked() -> None:
    assert say(LIMITED) == ["True", "2", ""]


def test_the_speaker_is_locked_and_real_time_where_this_is_granted(tmp_path: Path) -> None:
    lock, _, _, schedule, *_ = say(TELL)
    argv = [sys.executable, "-m", "l3ha", "speaker", "--run-dir", str(tmp_path)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as speaker:
        assert speaker.stdin is not None and speaker.stdout is not None
        assert speaker.stdout.readline()  # its first question to ExaBGP
        status = Path(f"/proc/{speaker.pid}/status").read_text()
        locked = re.search(r"^VmLck:\s+(\d+)", status, re.MULTILINE)
        assert locked is not None and (int(locked[1]) > 0) == (lock == "locked")
        real_time = os.sched_getscheduler(speaker.pid) == os.SCHED_RR | os.SCHED_RESET_ON_FORK
        assert real_time == schedule.startswith("real-time")
        speaker.stdin.close()
    assert speaker.returncode == 0


def test_where_only_the_lower_priority_is_granted_it_has_to_do() -> None:
    told = say(HALF_GRANTED)[0]
    schedule = say(TELL)[2]
    assert told == (f"real-time {realtime.PRIORITY}" if schedule == "real-time" else f"{schedule} 0")
