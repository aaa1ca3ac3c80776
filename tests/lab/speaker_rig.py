"""One ExaBGP with our speaker, and one FRR bgpd that it has two sessions with, each in a namespace of its own.

r1 is iBGP (local preference, IPv4 and IPv6), r2 eBGP (MED, IPv4). ``FakeAgent`` speaks the wish protocol.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Collection
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from l3ha.base.names import LeaseEnd, Level
from l3ha.base.time import MS, SECOND, Duration
from l3ha.wire import wishline
from l3ha.wire.wish import Attributes, Goodbye, NeighborWish, Renew, Report, RouteGroup, Wish

REPOSITORY = Path(__file__).resolve().parents[2]
BGPD = Path("/usr/lib/frr/bgpd")
ROUTER = {"r1": "10.0.1.1", "r2": "10.0.2.1"}
NODE = {"r1": "10.0.1.2", "r2": "10.0.2.2"}
NEXT_HOP6 = "fd00:1::2"

_FRR = """\
frr defaults datacenter
router bgp 65001
 bgp router-id 10.0.1.1
 no bgp ebgp-requires-policy
 no bgp default ipv4-unicast
 neighbor 10.0.1.2 remote-as 65001
 neighbor 10.0.1.2 timers connect 1
 neighbor 10.0.2.2 remote-as 65010
 neighbor 10.0.2.2 local-as 65020 no-prepend replace-as
 neighbor 10.0.2.2 disable-connected-check
 neighbor 10.0.2.2 timers connect 1
 address-family ipv4 unicast
  neighbor 10.0.1.2 activate
  neighbor 10.0.2.2 activate
 exit-address-family
 address-family ipv6 unicast
  neighbor 10.0.1.2 activate
 exit-address-family
"""

_NEIGHBOR = """\
neighbor {router} {{
    router-id 10.0.1.2;
    local-address {node};
    local-as {local_as};
    peer-as {peer_as};
    hold-time 5;
    {transport}
    family {{
        ipv4 unicast;
        {more}
    }}
    api {{
        processes [ l3ha ];
        neighbor-changes;
        signal;
    }}
}}
"""

_EXABGP_ENVIRONMENT = {
    "exabgp_log_level": "WARNING",
    "exabgp_reactor_speed": "0.1",
    "exabgp_daemon_user": "root",
    "exabgp_daemon_drop": "false",
    "exabgp_api_cli": "false",
}

Table = dict[tuple[str, str], int]
"""(neighbor name, prefix) -> local preference at r1, MED at r2."""


def until(observe: Callable[[], Any], within_s: float, what: Callable[[], str] | str) -> float:
    """Poll until it is true; seconds that it took. Fails with ``what`` when the budget is used up."""
    start = time.monotonic()
    while not observe():
        if time.monotonic() - start > within_s:
            raise AssertionError(f"not within {within_s} s: {what if isinstance(what, str) else what()}")
        time.sleep(0.01)
    return time.monotonic() - start


class Rig:
    """See the module. A context manager: nothing of it is left afterwards."""

    def __init__(self, exabgp: str, *, passive: bool) -> None:
        self.exabgp_binary = exabgp
        self._passive = passive
        self._tag = f"l3ha-spk{os.getpid()}"
        self.directory = Path(tempfile.mkdtemp(prefix="l3ha-spk"))
        self.run_dir = self.directory / "run"
        self._bgpd: subprocess.Popen[bytes] | None = None
        self.exabgp: subprocess.Popen[bytes] | None = None
        self.kills: list[float] = []

    def __enter__(self) -> Self:
        try:
            self.directory.chmod(0o755)
            self.run_dir.mkdir()
            self._namespaces()
            self._start_bgpd()
            self.start_exabgp()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop_exabgp()
        _end(self._bgpd)
        for name in ("n", "r"):
            subprocess.run(["ip", "netns", "del", f"{self._tag}-{name}"], check=False, capture_output=True)
        shutil.rmtree(self.directory, ignore_errors=True)

    # --- building -----------------------------------------------------------------------------------------------------

    def _namespaces(self) -> None:
        n, r = f"{self._tag}-n", f"{self._tag}-r"
        for name in (n, r):
            _run("ip", "netns", "add", name)
            _run("ip", "netns", "exec", name, "sysctl", "-qw", "net.ipv6.conf.all.accept_dad=0")
            _run("ip", "-n", name, "link", "set", "lo", "up")
        _run("ip", "-n", n, "link", "add", "e0", "type", "veth", "peer", "name", "e0", "netns", r)
        for name, ours, sixth in ((n, NODE, NEXT_HOP6), (r, ROUTER, "fd00:1::1")):
            for address in ours.values():
                _run("ip", "-n", name, "address", "add", f"{address}/24", "dev", "e0")
            _run("ip", "-n", name, "address", "add", f"{sixth}/64", "dev", "e0", "nodad")
            _run("ip", "-n", name, "link", "set", "e0", "up")

    def _start_bgpd(self) -> None:
        home = self.directory / "frr"
        home.mkdir()
        (home / "bgpd.conf").write_text(_FRR)
        for path in (home, home / "bgpd.conf"):
            shutil.chown(path, "frr", "frr")
        argv = [str(BGPD), "-f", f"{home}/bgpd.conf", "-i", f"{home}/bgpd.pid", "-z", f"{home}/zserv"]
        argv += ["--vty_socket", str(home), "-u", "frr", "-g", "frr", "-A", "127.0.0.1", "-P", "0", "-n"]
        self._bgpd = self._inside("r", argv, "bgpd.log", {})
        until((home / "bgpd.vty").exists, 10, "bgpd did not start")

    def start_exabgp(self) -> None:
        """Start ExaBGP, which starts the speaker."""
        transport = "passive true;\n    listen 179;" if self._passive else ""
        run = f"process l3ha {{\n    run {sys.executable} -m l3ha.speaker {self.run_dir};\n    encoder json;\n}}\n"
        for name, local_as, peer_as, more in (("r1", 65001, 65001, "ipv6 unicast;"), ("r2", 65010, 65020, "")):
            run += _NEIGHBOR.format(
                router=ROUTER[name], node=NODE[name], local_as=local_as, peer_as=peer_as, transport=transport, more=more
            )
        (self.directory / "exabgp.conf").write_text(run)
        self.exabgp = self._inside(
            "n",
            [self.exabgp_binary, str(self.directory / "exabgp.conf")],
            "exabgp.log",
            {**_EXABGP_ENVIRONMENT, "PYTHONPATH": str(REPOSITORY)},
        )

    def stop_exabgp(self) -> None:
        """Kill ExaBGP; the speaker ends by itself."""
        helper = self.speaker_pid() if self.exabgp is not None else None
        _end(self.exabgp, signal.SIGKILL)
        self.exabgp = None
        if helper is not None:
            until(lambda: not Path(f"/proc/{helper}").exists(), 5, "the speaker outlives ExaBGP")

    def _inside(self, name: str, argv: list[str], log: str, env: dict[str, str]) -> subprocess.Popen[bytes]:
        with (self.directory / log).open("ab") as out:
            return subprocess.Popen(
                ["ip", "netns", "exec", f"{self._tag}-{name}", *argv],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env={**os.environ, **env},
            )

    # --- asking and disturbing ----------------------------------------------------------------------------------------

    def vtysh(self, *commands: str) -> str:
        """What FRR answers."""
        argv = ["vtysh", "--vty_socket", str(self.directory / "frr"), "-d", "bgpd"]
        for command in commands:
            argv += ["-c", command]
        return _run(*argv)

    def table(self) -> Table:
        """Every path that the router has from us."""
        names = {node: name for name, node in NODE.items()}
        found: Table = {}
        for family in ("ipv4", "ipv6"):
            for prefix, paths in json.loads(self.vtysh(f"show bgp {family} unicast json")).get("routes", {}).items():
                for path in paths:
                    name = names[path["peerId"]]
                    found[name, prefix] = path["locPrf"] if name == "r1" else path["metric"]
        return found

    def speaker_pid(self) -> int | None:
        """ExaBGP's helper, if it runs."""
        if self.exabgp is None:
            return None
        with contextlib.suppress(OSError):
            children = Path(f"/proc/{self.exabgp.pid}/task/{self.exabgp.pid}/children").read_text().split()
            for child in children:
                if b"l3ha.speaker" in Path(f"/proc/{child}/cmdline").read_bytes():
                    return int(child)
        return None

    def kill_speaker(self) -> bool:
        """kill -9, unless it was done too often: more than five deaths within 64 s end ExaBGP."""
        now = time.monotonic()
        pid = self.speaker_pid()
        if pid is None or len([t for t in self.kills if now - t < 70]) >= 3:
            return False
        self.kills.append(now)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        return True

    def reload(self) -> None:
        """SIGUSR1 to ExaBGP."""
        assert self.exabgp is not None
        self.exabgp.send_signal(signal.SIGUSR1)

    def reset(self, name: str) -> None:
        """The router resets a session."""
        self.vtysh(f"clear bgp {NODE[name]}")

    def log(self) -> str:
        """What ExaBGP and the speaker said last."""
        return (self.directory / "exabgp.log").read_text()[-3000:]


class FakeAgent:
    """Listens as the agent does, tells every speaker that connects the newest wish, and renews its lease."""

    def __init__(
        self, run_dir: Path, lease: Duration = 2 * SECOND, end: LeaseEnd = LeaseEnd.LOWER, id_: int = 7
    ) -> None:
        self.wish: Wish | None = None
        self.report: Report | None = None
        self.goodbyes: list[Goodbye] = []
        self.renewing = True
        self.reading = True
        self._id, self._lease, self._end = id_, lease, end
        self._path = run_dir / "speaker.sock"
        self._path.unlink(missing_ok=True)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(self._path))
        self._listener.listen(4)
        self._connection: socket.socket | None = None
        self._lock = threading.RLock()
        self._alive = True
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def tell(self, neighbors: tuple[NeighborWish, ...]) -> Wish:
        """A new wish."""
        with self._lock:
            number = self.wish.number + 1 if self.wish else 1
            self.wish = Wish(self._id, number, self._lease, self._end, (65001, 1), neighbors)
            self._write(wishline.encode(self.wish))
            return self.wish

    def disconnect(self) -> None:
        """Hang up; the speaker comes back."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def die(self) -> None:
        """As kill -9 leaves it: everything closed, the socket's file still there."""
        self._alive = False
        self._thread.join()
        self.disconnect()
        self._listener.close()

    def confirmed(self) -> bool:
        """Both neighbors hold the newest wish, says the speaker."""
        report, wish = self.report, self.wish
        return (
            report is not None
            and wish is not None
            and (report.agent, report.number) == (wish.agent, wish.number)
            and len(report.neighbors) == len(ROUTER)
            and all(n.up and n.confirmed == wish.number for n in report.neighbors)
        )

    def _serve(self) -> None:
        self._listener.settimeout(0.01)
        rest = b""
        renewed = time.monotonic()
        while self._alive:
            with contextlib.suppress(TimeoutError):
                connection, _ = self._listener.accept()
                connection.settimeout(0.01)
                self.disconnect()
                with self._lock:
                    self._connection, rest = connection, b""
                    if self.wish is not None:
                        self._write(wishline.encode(self.wish))
            if self.reading:
                rest = self._read(rest)
            if self.renewing and self.wish is not None and time.monotonic() - renewed > self._lease / SECOND / 5:
                renewed = time.monotonic()
                self._write(wishline.encode(Renew(self._id, self.wish.number, self._lease)))

    def _read(self, rest: bytes) -> bytes:
        connection = self._connection
        if connection is None:
            return b""
        try:
            data = connection.recv(1 << 16)
        except TimeoutError:
            return rest
        except OSError:
            data = b""
        if not data:
            self.disconnect()
            return b""
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            value = wishline.decode(line)
            assert isinstance(value, Report | Goodbye), value
            if isinstance(value, Report):
                self.report = value
            else:
                self.goodbyes.append(value)
        return rest

    def _write(self, data: bytes) -> None:
        with self._lock, contextlib.suppress(OSError):
            if self._connection is not None:
                self._connection.settimeout(5)
                self._connection.sendall(data)
                self._connection.settimeout(0.01)


Routes = dict[str, tuple[Level, int]]
"""Prefix -> level and term."""


def neighbor_wishes(routes: Routes, drop: Collection[str] = ()) -> tuple[NeighborWish, ...]:
    """The same routes for both neighbors, each in its own profile; IPv6 for r1 only. ``drop``: whose may be ended."""
    lowered = dict.fromkeys(routes, (Level.LOW, 0))
    return tuple(
        NeighborWish(name, ROUTER[name], _groups(name, routes), _groups(name, lowered), drop=name in drop)
        for name in ROUTER
    )


def expected(routes: Routes) -> Table:
    """The router's table under that wish."""
    return {
        (name, prefix): value(name, *levels)
        for name in ROUTER
        for prefix, levels in routes.items()
        if name == "r1" or ":" not in prefix
    }


def value(name: str, level: Level, term: int) -> int:
    """Local preference at r1, MED at r2."""
    return 1000 * level + term + 100 if name == "r1" else 100_000 - 1000 * level - term


def _groups(name: str, routes: Routes) -> tuple[RouteGroup, ...]:
    groups: dict[tuple[Level, int, bool], list[str]] = {}
    for prefix, (level, term) in routes.items():
        if name == "r1" or ":" not in prefix:
            groups.setdefault((level, term, ":" in prefix), []).append(prefix)
    return tuple(
        RouteGroup(1, level, term, _attributes(name, level, term, ipv6=ipv6), tuple(prefixes))
        for (level, term, ipv6), prefixes in groups.items()
    )


def _attributes(name: str, level: Level, term: int, *, ipv6: bool) -> Attributes:
    number = value(name, level, term)
    if name == "r1":
        return Attributes(NEXT_HOP6 if ipv6 else NODE[name], local_preference=number)
    return Attributes(NODE[name], med=number, as_path=(65010,), communities=("65010:100",))


def _run(*argv: str) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 0, f"{argv}: {done.stderr or done.stdout}"
    return done.stdout


def _end(process: subprocess.Popen[bytes] | None, sig: signal.Signals = signal.SIGTERM) -> None:
    if process is None:
        return
    process.send_signal(sig)
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


PAUSE = 30 * MS / SECOND
"""Seconds: longest pause between two disturbances of a chaos round."""
