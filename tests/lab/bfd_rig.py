"""FRR's bfdd on either side of the speaker's rig, and the real agent beside it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from tests.lab.speaker_rig import NODE, ROUTER, Rig, until

NEEDS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root")
UP_S = 15.0

_PEER = """\
 peer {peer} local-address {local} interface e0
  detect-multiplier 3
  receive-interval 50
  transmit-interval 50
 !
"""


class Bfdd:
    """zebra and bfdd in a namespace of the rig: ``r``, the router's, or ``n``, the node's."""

    def __init__(self, side: str = "r") -> None:
        self._tag = f"l3ha-spk{os.getpid()}-{side}"
        ours, theirs = (ROUTER, NODE) if side == "r" else (NODE, ROUTER)
        self.home = Path(tempfile.mkdtemp(prefix="bfd-", dir="/run"))
        peers = "".join(_PEER.format(peer=theirs[name], local=ours[name]) for name in NODE)
        (self.home / "bfdd.conf").write_text(f"bfd\n{peers}!\n")
        (self.home / "zebra.conf").write_text("")
        for path in (self.home, *self.home.iterdir()):
            shutil.chown(path, "frr", "frr")
        self._processes = [self._start("zebra")]
        until((self.home / "zserv.api").exists, 10, "zebra did not start")
        self._processes.append(self._start_bfdd())

    def _start_bfdd(self) -> subprocess.Popen[bytes]:
        return self._start("bfdd", "--bfdctl", str(self.home / "bfdd.sock"))

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

    def kill(self) -> None:
        """It is gone, its socket stays behind."""
        self._processes[-1].kill()
        self._processes[-1].wait()

    def start(self) -> None:
        """Again, after ``kill``."""
        self._processes[-1] = self._start_bfdd()

    def _peers(self, what: str) -> list[dict[str, Any]]:
        argv = ["vtysh", "--vty_socket", str(self.home), "-d", "bfdd", "-c", f"show bfd {what} json"]
        found = subprocess.run(argv, check=False, capture_output=True, text=True)
        peers: list[dict[str, Any]] = json.loads(found.stdout) if found.returncode == 0 and found.stdout.strip() else []
        return peers

    def states(self) -> dict[str, str]:
        """By the other end's address."""
        return {p["peer"]: p["status"] for p in self._peers("peers")}

    def falls(self) -> dict[str, int]:
        """How often each session went down, by the other end's address: a state may be over before one looks."""
        return {p["peer"]: p["session-down"] for p in self._peers("peers counters")}

    def all(self, state: str) -> bool:
        return [*self.states().values()] == [state] * len(NODE)


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
bfd = {bfd}
[node.n1.neighbor.r2]
address = "10.0.2.1"
local_address = "10.0.2.2"
asn = 65020
bfd = {bfd}
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

    def __init__(self, rig: Rig, bfd: str) -> None:
        self._rig = rig
        key = rig.directory / "n1.key"
        public_key = self._l3ha("keygen", "--out", str(key)).stdout.strip()
        self._file = rig.directory / "l3ha.toml"
        self._file.write_text(_FILE.format(public_key=public_key, bfd=bfd))
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
