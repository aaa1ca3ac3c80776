"""BFD against the real daemons (RFC 5880 to 5883): FRR's bfdd and BIRD, IPv4 and IPv6, one hop and several, SHA1."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.lab.bfd_rig import NEEDS_ROOT

pytestmark = [pytest.mark.lab, NEEDS_ROOT]

REPOSITORY = Path(__file__).resolve().parents[2]
US, ROUTER = f"bfdn{os.getpid()}", f"bfdr{os.getpid()}"
OURS, THEIRS = ("10.7.0.1", "fd07::1"), ("10.7.0.2", "fd07::2")
LOOPBACK = ("10.7.1.1", "10.7.1.2")
BUDGET_S = 20.0

FRR = """
bfd
 peer 10.7.0.1 local-address 10.7.0.2 interface veth
  detect-multiplier 3
  receive-interval 50
  transmit-interval 50
 !
 peer fd07::1 local-address fd07::2 interface veth
  detect-multiplier 3
  receive-interval 50
  transmit-interval 50
 !
 peer 10.7.1.1 multihop local-address 10.7.1.2
  detect-multiplier 3
  receive-interval 50
  transmit-interval 50
 !
!
"""

BIRD = """
router id 10.7.0.2;
protocol device { }
protocol direct { ipv4; ipv6; }
protocol bfd {
    interface "veth" {
        interval 50 ms; multiplier 3;
        authentication meticulous keyed sha1;
        password "secret" { id 1; };
    };
    multihop { interval 50 ms; multiplier 3; };
    neighbor 10.7.0.1 dev "veth" local 10.7.0.2;
    neighbor fd07::1 dev "veth" local fd07::2;
    neighbor 10.7.1.1 local 10.7.1.2 multihop yes;
}
"""


def run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def until(what: Callable[[], bool], budget_s: float = BUDGET_S) -> bool:
    end = time.monotonic() + budget_s
    while time.monotonic() < end:
        if what():
            return True
        time.sleep(0.02)
    return what()


@pytest.fixture
def wire() -> Iterator[None]:
    """Two namespaces, one link, a loopback address on each side."""
    try:
        for name in (US, ROUTER):
            run("ip", "netns", "add", name)
        run("ip", "-n", US, "link", "add", "veth", "type", "veth", "peer", "name", "veth", "netns", ROUTER)
        for name, mine, far, via in ((US, OURS, LOOPBACK, THEIRS), (ROUTER, THEIRS, LOOPBACK[::-1], OURS)):
            run("ip", "-n", name, "link", "set", "lo", "up")
            run("ip", "-n", name, "addr", "add", f"{mine[0]}/24", "dev", "veth")
            run("ip", "-n", name, "addr", "add", f"{mine[1]}/64", "dev", "veth", "nodad")
            run("ip", "-n", name, "addr", "add", f"{far[0]}/32", "dev", "lo")
            run("ip", "-n", name, "link", "set", "veth", "up")
            run("ip", "-n", name, "route", "add", f"{far[1]}/32", "via", via[0])
        yield
    finally:
        for name in (US, ROUTER):
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)


class Node:
    """Our side. ``states``: newest state and diagnostic by address."""

    def __init__(self, *peers: str) -> None:
        command = ["ip", "netns", "exec", US, sys.executable, "-m", "tests.lab.bfd_node", *peers]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=REPOSITORY)
        self.states: dict[str, tuple[str, str]] = {}
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            address, state, why = json.loads(line)
            self.states[address] = (state, why)

    def say(self, word: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(word.encode() + b"\n")
        self.process.stdin.flush()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self._reader.join()

    def up(self, *addresses: str) -> bool:
        return all(self.states.get(a, ("", ""))[0] == "UP" for a in addresses)


class Frr:
    """zebra and bfdd, in a directory that their user may enter."""

    def __init__(self, _directory: Path) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="bfd-", dir="/run"))
        config = self.home / "bfdd.conf"
        config.write_text(FRR)
        (self.home / "zebra.conf").write_text("")
        for path in (self.home, *self.home.iterdir()):
            shutil.chown(path, "frr", "frr")
        zserv = self.home / "zserv.api"
        self.zebra = self._start("zebra", zserv)
        assert until(zserv.exists)
        self.process = self._start("bfdd", zserv, "--bfdctl", str(self.home / "bfdd.sock"))

    def _start(self, daemon: str, zserv: Path, *more: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            ["ip", "netns", "exec", ROUTER, f"/usr/lib/frr/{daemon}", "-f", str(self.home / f"{daemon}.conf"), "-i",
             str(self.home / f"{daemon}.pid"), "--vty_socket", str(self.home), "-z", str(zserv), "-u", "frr", "-g",
             "frr", "-A", "127.0.0.1", "-P", "0", *more],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def stop(self) -> None:
        for process in (self.process, self.zebra):
            process.send_signal(signal.SIGCONT)
            process.terminate()
            process.wait()
        shutil.rmtree(self.home)

    def states(self) -> dict[str, str]:
        found = subprocess.run(
            ["vtysh", "--vty_socket", str(self.home), "-d", "bfdd", "-c", "show bfd peers json"],
            check=False, capture_output=True, text=True,
        )  # fmt: skip
        peers = json.loads(found.stdout) if found.returncode == 0 and found.stdout.strip() else []
        return {p["peer"]: str(p["status"]).upper() for p in peers}

    def peers(self) -> list[str]:
        return [
            f"{THEIRS[0]},{OURS[0]},50,3,255",
            f"{THEIRS[1]},{OURS[1]},50,3,255",
            f"{LOOPBACK[1]},{LOOPBACK[0]},50,3,250",
        ]


class Bird:
    """BIRD with nothing but BFD; the sessions of one hop are signed."""

    def __init__(self, directory: Path) -> None:
        config = directory / "bird.conf"
        config.write_text(BIRD)
        self.control = directory / "bird.ctl"
        self.process = subprocess.Popen(
            ["ip", "netns", "exec", ROUTER, "bird", "-f", "-c", str(config), "-s", str(self.control)],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def stop(self) -> None:
        self.process.send_signal(signal.SIGCONT)
        self.process.terminate()
        self.process.wait()

    def states(self) -> dict[str, str]:
        found = subprocess.run(
            ["birdc", "-s", str(self.control), "show", "bfd", "sessions"], check=False, capture_output=True, text=True
        )
        rows = [line.split() for line in found.stdout.splitlines() if line[:1].isdigit() or line.startswith("fd07")]
        return {row[0]: row[2].upper() for row in rows if len(row) > 2}

    def peers(self) -> list[str]:
        signed = [f"{THEIRS[0]},{OURS[0]},50,3,255,secret", f"{THEIRS[1]},{OURS[1]},50,3,255,secret"]
        return [*signed, f"{LOOPBACK[1]},{LOOPBACK[0]},50,3,64"]  # over several hops BIRD sends the kernel's own TTL


@pytest.mark.parametrize("daemon", [Frr, Bird])
@pytest.mark.usefixtures("wire")
def test_sessions_come_up_and_each_side_sees_the_other_go(daemon: type[Frr] | type[Bird], tmp_path: Path) -> None:
    router = daemon(tmp_path)
    node = Node(*router.peers())
    theirs, mine = (*THEIRS, LOOPBACK[1]), (*OURS, LOOPBACK[0])
    try:
        assert until(lambda: node.up(*theirs)), node.states
        assert until(lambda: all(router.states().get(a) == "UP" for a in mine)), router.states()
        node.say("down")  # §6.8.16: AdminDown takes their side down, and is no lost session
        assert until(lambda: not any(router.states().get(a) == "UP" for a in mine)), router.states()
        node.say("up")
        assert until(lambda: node.up(*theirs)), node.states
        os.kill(router.process.pid, signal.SIGSTOP)
        assert until(lambda: all(node.states[a] == ("DOWN", "DETECTION_TIME_EXPIRED") for a in theirs)), node.states
        os.kill(router.process.pid, signal.SIGCONT)
        assert until(lambda: node.up(*theirs)), node.states
        node.kill()
        assert until(lambda: not any(router.states().get(a) == "UP" for a in mine)), router.states()
    finally:
        node.kill()
        router.stop()
