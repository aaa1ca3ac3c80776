"""A lab: its directory, its services, what one can ask its nodes.

Everything is named by a tag, so several labs can live side by side: namespaces ``l3ha-TAG-…``, directory
``/run/l3ha-lab/TAG`` with ``lab.json``, the cluster file with fresh keys, one folder per machine, ``services`` (see
``lab.keeper``) and ``log``.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from l3ha.base.time import MS
from l3ha.control.client import ControlError, ask
from l3ha.control.protocol import Show
from lab import keeper, routers, topology
from lab.command import LabError, run
from lab.keeper import Service
from lab.kernel import Kernel
from lab.routers import RouterKind
from lab.topology import HOST_ADDRESS, HOSTS, NODES, NODES_DIR, REPOSITORY, ROUTERS, inside
from lab.traffic import Flow, Meter

BASE = Path("/run/l3ha-lab")
DEFAULT_TAG = "lab"
EXABGP_ENV = {
    "exabgp_log_level": "WARNING",
    "exabgp_reactor_speed": "0.1",
    "exabgp_daemon_user": "root",
    "exabgp_daemon_drop": "false",
    "exabgp_api_cli": "false",
}
"""The reactor's tick of 1 ms and few log lines: single changes leave ExaBGP in 2-3 ms."""

_PATIENCE = 300 * MS
"""For an agent's answer, which takes milliseconds: a frozen agent must not hold up the whole picture."""


class Lab:
    """One lab, running or not. As a context manager it is up inside and gone after, whatever happens."""

    packets_per_ms = 1
    """Traffic, each way."""

    def __init__(
        self,
        tag: str,
        kind: RouterKind = RouterKind.FRR,
        *,
        traffic: bool = True,
        owner: int | None = None,
        logs: Path | None = None,
    ) -> None:
        """``logs``: a directory that gets a copy of all logs when the lab goes down."""
        self.tag = tag
        self.kind = kind
        self.directory = BASE / tag
        self.services = self.directory / "services"
        self._traffic = traffic
        self._owner = os.getpid() if owner is None else owner
        self._logs = logs
        self._kernels: dict[tuple[str, int], Kernel] = {}

    @classmethod
    def load(cls, tag: str) -> Lab:
        """A lab that somebody else brought up."""
        try:
            state = json.loads((BASE / tag / "lab.json").read_text())
        except FileNotFoundError:
            there = ", ".join(sorted(path.parent.name for path in BASE.glob("*/lab.json"))) or "none"
            raise LabError(f"no lab {tag} runs (running: {there}); start one with: python -m lab up") from None
        return cls(tag, RouterKind(state["router"]), traffic=state["traffic"], owner=0)

    def __enter__(self) -> Self:
        self.up()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.down()

    # --- life --------------------------------------------------------------------------------------------------

    def up(self) -> None:
        """Build everything and start it; on any failure remove what was built."""
        if self.directory.exists() or topology.existing(self.tag):
            raise LabError(f"lab {self.tag} exists already; remove it with: python -m lab down --tag {self.tag}")
        try:
            self._build()
        except BaseException:
            self.down()
            raise

    def _build(self) -> None:
        for part in ("services", "log"):
            (self.directory / part).mkdir(parents=True)
        state = {"tag": self.tag, "router": self.kind, "traffic": self._traffic}
        (self.directory / "lab.json").write_text(json.dumps(state))
        topology.build(self.tag)
        self.prepare()
        planned = [service for router in ROUTERS for service in self.router_services(router)]
        planned += [service for node in NODES for service in self.node_services(node)]
        planned += [service for host in HOSTS if self._traffic for service in self._host(host)]
        for service in planned:
            keeper.install(self.services, service)
        argv = [sys.executable, "-m", "lab.keeper", str(self.services), str(self._owner)]
        with (self.directory / "log" / "keeper.log").open("ab") as log:
            child = subprocess.Popen(
                argv, env=self._environment(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        (self.directory / "keeper.pid").write_text(str(child.pid))

    def down(self) -> None:
        """End every process of the lab, then remove namespaces and files. Safe at any time, also half-built."""
        with _uninterrupted():
            self._end_keeper()
            for kernel in self._kernels.values():
                kernel.close()
            for sig in (signal.SIGTERM, signal.SIGKILL):
                for pid in topology.processes(self.tag):
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, sig)
                if _gone(lambda: not topology.processes(self.tag), 2):
                    break
            topology.remove(self.tag)
            if self._logs is not None and self.directory.exists():
                shutil.copytree(self.directory / "log", self._logs, dirs_exist_ok=True)
            shutil.rmtree(self.directory, ignore_errors=True)

    def _end_keeper(self) -> None:
        with contextlib.suppress(FileNotFoundError, ValueError, ProcessLookupError):
            pid = int((self.directory / "keeper.pid").read_text())
            if pid == os.getpid() or str(self.services) not in Path(f"/proc/{pid}/cmdline").read_text():
                return
            os.kill(pid, signal.SIGTERM)
            _gone(lambda: _ended(pid), 8)

    # --- services ----------------------------------------------------------------------------------------------

    def _environment(self) -> dict[str, str]:
        return {**os.environ, "PYTHONPATH": str(REPOSITORY)}

    def node_environment(self, node: str) -> dict[str, str]:
        """What makes ``l3ha`` commands speak with this node's agent."""
        home = self.directory / node
        return {
            "PYTHONPATH": str(REPOSITORY),
            "PATH": f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}",
            "L3HA_CONFIG": str(self.directory / "l3ha.toml"),
            "L3HA_NODE": node,
            "L3HA_RUN_DIR": str(home),
            "L3HA_STATE_DIR": str(home / "state"),
        }

    def service(self, name: str, machine: str, argv: list[str], **more: Any) -> Service:
        """A service of a machine that runs in its namespace and logs under its name."""
        return Service(name, inside(self.tag, machine, *argv), str(self.directory / "log" / f"{name}.log"), **more)

    def prepare(self) -> None:
        """Write what the nodes' services need, once the machines are there. The lab's own pair: the cluster file."""
        write_cluster_file(self.directory)

    def router_services(self, router: str) -> list[Service]:
        """What runs on a router."""
        return routers.services(self.tag, self.directory, router, self.kind)

    def node_services(self, node: str) -> list[Service]:
        """What runs on a node: ExaBGP and the agent."""
        home = self.directory / node
        (home / "state").mkdir(parents=True)
        (home / "exabgp.conf").write_text(self.cli(node, "render", "exabgp"))
        env = self.node_environment(node)
        exabgp = [str(Path(sys.executable).parent / "exabgp"), str(home / "exabgp.conf")]
        agent = [sys.executable, "-m", "l3ha", "agent"]
        return [
            self.service(f"exabgp-{node}", node, exabgp, env={**env, **EXABGP_ENV}),
            self.service(f"agent-{node}", node, agent, env=env),
        ]

    def _host(self, host: str) -> list[Service]:
        other = next(name for name in HOSTS if name != host)
        env = {"PYTHONPATH": str(REPOSITORY)}
        module = [sys.executable, "-m", "lab.traffic"]
        received = str(self.directory / f"{host}.packets")
        return [
            self.service(f"receive-{host}", host, [*module, "receive", received], env=env),
            self.service(
                f"send-{host}", host, [*module, "send", HOST_ADDRESS[other], str(self.packets_per_ms)], env=env
            ),
        ]

    # --- questions ---------------------------------------------------------------------------------------------

    def meter(self) -> Meter:
        """The traffic's meter."""
        return Meter(Flow(self.directory / "hostb.packets"), Flow(self.directory / "hosta.packets"))

    def pid(self, service: str) -> int:
        """The process of a service that runs now."""
        found = keeper.running(self.services, service)
        if found is None:
            raise LabError(f"{service} does not run; see {self.directory / 'log' / service}.log")
        return found.pid

    def starts(self, service: str) -> int:
        """How often the service was started; 0 while it is not running."""
        found = keeper.running(self.services, service)
        return found.starts if found else 0

    def cli(self, node: str, *words: str) -> str:
        """What ``l3ha WORDS`` prints on a node."""
        return run([sys.executable, "-m", "l3ha", *words], env={**os.environ, **self.node_environment(node)})

    def status(self, node: str) -> dict[str, Any] | None:
        """What ``l3ha show srg --json`` prints; None while the agent does not answer."""
        try:
            return ask(self.directory / node, Show("srg"), _PATIENCE)
        except ControlError:
            return None

    def paths(self, router: str, prefix: str) -> list[routers.BgpPath]:
        """The router's BGP paths for a prefix."""
        return routers.bgp_paths(self.directory, router, self.kind, prefix)

    def kernel(self, machine: str, family: int = 4) -> Kernel:
        """What answers questions about a machine's addresses, neighbors and routes."""
        return self._kernels.setdefault((machine, family), Kernel(self.tag, machine, family))

    def next_hops(self, router: str, prefix: str) -> tuple[str, ...]:
        """The nodes through which the router's kernel sends traffic for this very prefix; () where it has no route."""
        family = 6 if ":" in prefix else 4
        return routers.next_hops(self.kernel(router, family).ask(f"route show {prefix}"))


def write_cluster_file(directory: Path) -> None:
    """Make the nodes' keys and ``l3ha.toml`` with their public halves: secrets are never in the tree."""
    text = (NODES_DIR / "l3ha.toml").read_text()
    for node in NODES:
        public = run([sys.executable, "-m", "l3ha", "keygen", "--out", str(directory / f"{node}.key")]).strip()
        text = text.replace(f"@{node}-public-key@", public)
    (directory / "l3ha.toml").write_text(text)


def _ended(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def _gone(done: Callable[[], bool], within_s: float) -> bool:
    deadline = time.monotonic() + within_s
    while not done():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


@contextlib.contextmanager
def _uninterrupted() -> Any:
    """A second Ctrl-C must not leave half a lab behind."""
    try:
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    except ValueError:  # not the main thread: there is no Ctrl-C to fear
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
