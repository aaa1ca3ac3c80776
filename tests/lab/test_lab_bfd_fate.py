"""What BFD's fate is tied to: the real speaker under ExaBGP, FRR's bfdd as the router's side.

ExaBGP or speaker gone: BFD is gone, and the router sees it at once. Agent gone, lease run out: BFD stays.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from l3ha.base.names import Level
from l3ha.base.time import MS
from l3ha.wire.bfd import State
from l3ha.wire.wish import BfdWish, NeighborWish
from tests.lab.speaker_rig import NODE, ROUTER, FakeAgent, Rig, expected, neighbor_wishes, until

pytestmark = [
    pytest.mark.lab,
    pytest.mark.timeout(120),
    pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root"),
]

ROUTES = {"198.51.100.1/32": (Level.HIGH, 5), "2001:db8:1::/48": (Level.HIGH, 5)}
LOWERED = dict.fromkeys(ROUTES, (Level.LOW, 0))
DOWN_S = 3.0
"""Detection is 0.15 s; the rest is for vtysh and a busy machine."""
UP_S = 15.0

_PEER = """\
 peer {node} local-address {router} interface e0
  detect-multiplier 3
  receive-interval 50
  transmit-interval 50
 !
"""


class Bfdd:
    """zebra and bfdd in the router's namespace of the rig."""

    def __init__(self) -> None:
        self._tag = f"l3ha-spk{os.getpid()}-r"
        self.home = Path(tempfile.mkdtemp(prefix="bfd-", dir="/run"))
        peers = "".join(_PEER.format(node=NODE[name], router=ROUTER[name]) for name in NODE)
        (self.home / "bfdd.conf").write_text(f"bfd\n{peers}!\n")
        (self.home / "zebra.conf").write_text("")
        for path in (self.home, *self.home.iterdir()):
            shutil.chown(path, "frr", "frr")
        self._processes = [self._start("zebra")]
        until((self.home / "zserv.api").exists, 10, "zebra did not start")
        self._processes.append(self._start("bfdd", "--bfdctl", str(self.home / "bfdd.sock")))

    def _start(self, daemon: str, *more: str) -> subprocess.Popen[bytes]:
        argv = [f"/usr/lib/frr/{daemon}", "-f", f"{self.home}/{daemon}.conf", "-i", f"{self.home}/{daemon}.pid"]
        argv += ["--vty_socket", str(self.home), "-z", f"{self.home}/zserv.api", "-u", "frr", "-g", "frr"]
        argv += ["-A", "127.0.0.1", "-P", "0", *more]
        quiet = subprocess.DEVNULL
        return subprocess.Popen(["ip", "netns", "exec", self._tag, *argv], stdin=quiet, stdout=quiet, stderr=quiet)

    def stop(self) -> None:
        self.thaw()
        for process in reversed(self._processes):
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        shutil.rmtree(self.home, ignore_errors=True)

    def freeze(self) -> None:
        """It says nothing more, and BGP goes on."""
        self._processes[-1].send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._processes[-1].send_signal(signal.SIGCONT)

    def _peers(self, what: str) -> list[dict[str, Any]]:
        argv = ["vtysh", "--vty_socket", str(self.home), "-d", "bfdd", "-c", f"show bfd {what} json"]
        found = subprocess.run(argv, check=False, capture_output=True, text=True)
        peers: list[dict[str, Any]] = json.loads(found.stdout) if found.returncode == 0 and found.stdout.strip() else []
        return peers

    def states(self) -> dict[str, str]:
        """By the node's address."""
        return {p["peer"]: p["status"] for p in self._peers("peers")}

    def falls(self) -> dict[str, int]:
        """How often each session went down, by the node's address: a state may be over before one looks."""
        return {p["peer"]: p["session-down"] for p in self._peers("peers counters")}

    def all(self, state: str) -> bool:
        return [*self.states().values()] == [state] * len(NODE)


@pytest.fixture
def rig() -> Iterator[Rig]:
    with Rig(str(Path(sys.executable).parent / "exabgp"), passive=False) as built:
        yield built


@pytest.fixture
def bfdd(rig: Rig) -> Iterator[Bfdd]:
    assert rig.exabgp is not None
    daemon = Bfdd()
    yield daemon
    daemon.stop()


def wishes() -> tuple[NeighborWish, ...]:
    return tuple(
        replace(n, bfd=BfdWish(NODE[n.name], "e0", 50 * MS, 3, 255, None, 0, "")) for n in neighbor_wishes(ROUTES)
    )


def ours(agent: FakeAgent) -> dict[str, int]:
    return {s.address: s.state for s in agent.report.bfd} if agent.report else {}


def test_bfd_ends_with_speaker_and_exabgp_and_outlasts_the_agent(rig: Rig, bfdd: Bfdd) -> None:
    agent = FakeAgent(rig.run_dir)
    agent.tell(wishes())
    everything = dict.fromkeys(ROUTER.values(), int(State.UP))
    until(lambda: ours(agent) == everything and bfdd.all("up"), UP_S, lambda: f"{agent.report} {bfdd.states()}")
    until(lambda: agent.confirmed() and rig.table() == expected(ROUTES), UP_S, rig.log)

    agent.die()
    until(lambda: rig.table() == expected(LOWERED), UP_S, "the lease did not run out")
    assert bfdd.all("up"), "the agent's end is not the speaker's"
    agent = FakeAgent(rig.run_dir)
    until(lambda: ours(agent) == everything, UP_S, "the speaker did not come back to the agent")
    assert agent.report is not None and all(s.flaps == 0 and s.detection == 150 * MS for s in agent.report.bfd)
    agent.tell(wishes())

    before = bfdd.falls()
    assert rig.kill_speaker()
    until(
        lambda: (now := bfdd.falls()).keys() == before.keys() and all(now[a] > before[a] for a in now),
        DOWN_S,
        lambda: f"after the speaker's death: {before} {bfdd.falls()}",
    )
    until(lambda: ours(agent) == everything and bfdd.all("up"), UP_S, lambda: f"{agent.report} {bfdd.states()}")

    assert rig.exabgp is not None
    os.kill(rig.exabgp.pid, signal.SIGKILL)
    until(lambda: bfdd.all("down"), DOWN_S, lambda: f"after ExaBGP's death: {bfdd.states()}")
    until(lambda: bool(agent.goodbyes), DOWN_S, "the speaker did not say goodbye")
    agent.die()


def test_the_agent_hears_at_once_that_a_router_is_gone(rig: Rig, bfdd: Bfdd) -> None:
    agent = FakeAgent(rig.run_dir)
    agent.tell(wishes())
    until(lambda: set(ours(agent).values()) == {int(State.UP)}, UP_S, rig.log)
    bfdd.freeze()
    taken = until(lambda: set(ours(agent).values()) == {int(State.DOWN)}, DOWN_S, lambda: str(agent.report))
    bfdd.thaw()
    assert 0.05 < taken < DOWN_S
    until(lambda: bfdd.all("up"), UP_S, lambda: str(bfdd.states()))
    agent.die()


_FILE = """\
[cluster]
name = "edge"
asn = 65001
[node.n1]
id = 1
public_key = "{public_key}"
private_key_file = "n1.key"
[node.n1.neighbor.r1]
address = "10.0.1.1"
local_address = "10.0.1.2"
asn = 65001
bfd = {{ interval = "50ms", interface = "e0" }}
[node.n1.neighbor.r2]
address = "10.0.2.1"
local_address = "10.0.2.2"
asn = 65020
bfd = {{ interval = "50ms", interface = "e0" }}
[srg.1]
priority = {{ n1 = 200 }}
routes = ["198.51.100.1/32"]
[[srg.1.monitor]]
name = "r1-alive"
bfd = "r1"
weight = 50
"""


class Agent:
    """The real one, in the node's namespace of the rig, and what `l3ha show` makes of it."""

    def __init__(self, rig: Rig) -> None:
        self._rig = rig
        key = rig.directory / "n1.key"
        public_key = self._l3ha("keygen", "--out", str(key)).stdout.strip()
        self._file = rig.directory / "l3ha.toml"
        self._file.write_text(_FILE.format(public_key=public_key))
        argv = [*self._command("agent", "-c", str(self._file), "--node", "n1", "--run-dir", str(rig.run_dir))]
        with (rig.directory / "agent.log").open("ab") as out:
            self._process = subprocess.Popen(
                [*argv, "--state-dir", str(rig.directory / "state")], stdin=subprocess.DEVNULL, stdout=out, stderr=out
            )

    def _command(self, *words: str) -> list[str]:
        return ["ip", "netns", "exec", f"l3ha-spk{os.getpid()}-n", sys.executable, "-m", "l3ha", *words]

    def _l3ha(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(self._command(*words), check=False, capture_output=True, text=True, timeout=20)

    def show(self, *words: str) -> tuple[int, dict[str, Any]]:
        done = self._l3ha("show", *words, "--json", "--run-dir", str(self._rig.run_dir))
        return done.returncode, json.loads(done.stdout) if done.returncode < 2 else {}

    def states(self) -> list[tuple[str, bool]]:
        return [(s["state"], s["counted"]) for s in self.show("bfd")[1].get("bfd", [])]

    def log(self) -> str:
        return (self._rig.directory / "agent.log").read_text()[-3000:]

    def end(self) -> None:
        self._process.kill()
        self._process.wait()


def test_from_the_file_to_show_bfd(rig: Rig, bfdd: Bfdd) -> None:
    """One file asks for it, the agent wishes it, the speaker speaks it, the agent counts it and shows it."""
    agent = Agent(rig)
    try:
        until(lambda: agent.states() == [("UP", True)] * 2 and bfdd.all("up"), UP_S, agent.log)
        # just up, the router still says the slow interval of a session that is not (RFC 5880 section 6.8.3)
        until(lambda: [s["detection"] for s in agent.show("bfd")[1]["bfd"]] == [150 * MS] * 2, UP_S, agent.log)
        assert agent.show("bfd")[0] == 0
        _, shown = agent.show("monitor")
        (monitor,) = shown["srgs"][0]["monitors"]
        assert (monitor["kind"], monitor["up"]) == ("bfd", True)
        bfdd.freeze()
        until(lambda: agent.states() == [("DOWN", False)] * 2, UP_S, agent.log)
        code, shown = agent.show("bfd")
        assert code == 1 and {s["diagnostic"] for s in shown["bfd"]} == {"detection time expired"}
        assert all(n["up"] for n in agent.show("bgp")[1]["neighbors"]), "BGP has not noticed yet"
        assert agent.show("monitor")[1]["srgs"][0]["monitors"][0]["up"] is False
        bfdd.thaw()
        until(lambda: agent.states() == [("UP", True)] * 2, UP_S, agent.log)
    finally:
        agent.end()
