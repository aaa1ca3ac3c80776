"""ExaBGP without l3ha: the same prefixes, written by a plain script, in one line per neighbor or in slices of 50.

What l3ha adds to the way of 10 000 routes is seen only beside ExaBGP's own bulk path, on the same machine in the same
run. n1 announces everything with MED 200, n2 with MED 300; the clock runs from n2's first command with MED 100 until
the last route has moved in the kernels of both routers. In l3ha's own runs n1 dies silently, and the clock runs from
n2's decision, which is a few milliseconds before its first command. The ways take turns.

``python -m lab.bench.plain DIRECTORY`` is the script that ExaBGP runs: it does what the FIFO ``orders`` says, one line
``MED SLICE`` each, and writes into ``began`` when it began.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from lab.bench.campaign import BROKEN
from lab.bench.healthcheck import ASN, LINK, NEIGHBOR
from lab.bench.load import Load, Loaded, move, reason
from lab.bench.record import Measure
from lab.command import LabError
from lab.keeper import Service
from lab.observe import until
from lab.routers import RouterKind
from lab.topology import NODES, ROUTERS
from lab.world import EXABGP_ENV

_SLICE = 50
_OURS = "l3ha, decision"
SUBJECT = "Bulk speed of l3ha beside ExaBGP's own"
WAYS = {
    "plain ExaBGP, one line per neighbor: first command": 1_000_000,
    "plain ExaBGP, 50 per command: first command": _SLICE,
}
"""How the script feeds ExaBGP: prefixes of one command. The next one waits for the answer."""

_LOAD = Load(routes=9994)
_PATIENCE_S = 60.0
_POLL_S = 0.005


class Plain(Loaded):
    """Both nodes run ExaBGP and the script; nobody decides anything."""

    kinds = tuple(RouterKind)
    amount = _LOAD

    def node_services(self, node: str) -> list[Service]:
        home = self.directory / node
        home.mkdir()
        os.mkfifo(home / "orders")
        told = {f"{LINK[node, r]}.1": [f"{LINK[node, r]}.2", *sorted(self.amount.prefixes(r))] for r in ROUTERS}
        (home / "routes.json").write_text(json.dumps(told))
        script = f"{sys.executable} -m lab.bench.plain {home}"
        text = f"process check {{\n    run {script};\n    encoder json;\n}}\n"
        for r in ROUTERS:
            router_id = f"{LINK[node, 'r1']}.2"
            one = NEIGHBOR.format(net=LINK[node, r], router_id=router_id, asn=ASN[r], hold="hold-time 90;")
            text += one.replace("api {", "api {\n        neighbor-changes;")
        (home / "exabgp.conf").write_text(text)
        argv = [str(Path(sys.executable).parent / "exabgp"), str(home / "exabgp.conf")]
        return [self.service(f"exabgp-{node}", node, argv, env={**self.node_environment(node), **EXABGP_ENV})]

    def order(self, node: str, med: int, size: int) -> None:
        """Have the script of a node announce everything so."""
        with (self.directory / node / "orders").open("w") as orders:
            orders.write(f"{med} {size}\n")

    def await_share(self, node: str, share: float, steady_s: float = 0) -> None:
        """Wait until this part of the routes goes through a node, at both routers."""
        want = {"shares": [share] * len(ROUTERS)}
        until(lambda: {"shares": self.shares(node)}, want, within_s=_PATIENCE_S, steady_s=steady_s, what="the routes")

    def moved(self, size: int) -> float:
        """Milliseconds from the first command to the last route of a move to n2; everything is moved back after."""
        preferred, other = NODES
        began = self.directory / other / "began"
        began.unlink(missing_ok=True)
        self.order(other, 100, size)
        deadline = time.monotonic() + _PATIENCE_S
        while min(self.shares(other)) < 1:
            if time.monotonic() > deadline:
                raise LabError(f"{self.amount}: not everything moved within {_PATIENCE_S:g} s")
            time.sleep(_POLL_S)
        took = time.monotonic() - int(began.read_text()) / 1e9
        self.order(other, 300, size)
        self.await_share(preferred, 1, steady_s=1)
        return took * 1000


class Deciding(Loaded):
    """l3ha with as many routes."""

    kinds = tuple(RouterKind)
    amount = _LOAD


def measure(tag: str, runs: int, _seconds: float, say: Callable[[str], None]) -> list[Measure]:
    """Every kind of router: l3ha and every plain way by turns, ``runs`` times."""
    return [one for kind in RouterKind for one in _by_turns(tag, kind, runs, say)]


def _by_turns(tag: str, kind: RouterKind, runs: int, say: Callable[[str], None]) -> Iterator[Measure]:
    """Two labs, of which one rests, so that what the machine itself does meets every way alike."""
    took: dict[str, list[float]] = {way: [] for way in (_OURS, *WAYS)}
    note = ""

    def tell(way: str, value: float) -> None:
        took[way].append(value)
        say(f"{kind.upper()} routers, {way}: {value:.0f} ms")

    try:
        with Deciding(f"{tag}l", kind, traffic=False) as ours, Plain(f"{tag}p", kind, traffic=False) as plain:
            plain.order(NODES[0], 200, _SLICE)
            plain.await_share(NODES[0], 1, steady_s=1)
            plain.order(NODES[1], 300, _SLICE)
            plain.await_share(NODES[0], 1, steady_s=8)
            for _ in range(runs):
                tell(_OURS, move(ours).from_decision_ms)
                ours.ready()  # the node that came back has told its routes again
                for way, size in WAYS.items():
                    tell(way, plain.moved(size))
    except BROKEN as error:
        note = reason(str(error))
        say(f"{kind.upper()} routers: {error}")
    for way, values in took.items():
        yield Measure(SUBJECT, f"{kind.upper()} routers, {_LOAD}: {way} to the last route", "ms", tuple(values), note)


def speak(home: Path) -> None:
    """Carry out orders until ExaBGP closes the pipe."""
    told: dict[str, list[str]] = json.loads((home / "routes.json").read_text())
    ups: set[str] = set()
    while len(ups) < len(told):
        event = json.loads(sys.stdin.readline())
        if event.get("type") == "state" and event["neighbor"].get("state") == "up":
            ups.add(event["neighbor"]["address"]["peer"])
    while True:
        with (home / "orders").open() as orders:
            words = orders.read().split()
        for med, size in zip(words[::2], words[1::2], strict=True):
            (home / "began").write_text(str(time.monotonic_ns()))
            for neighbor, (hop, *prefixes) in told.items():
                for start in range(0, len(prefixes), int(size)):
                    part = prefixes[start : start + int(size)]
                    routes = " ".join(prefix if "/" in prefix else f"{prefix}/32" for prefix in part)
                    print(f"neighbor {neighbor} announce attributes next-hop {hop} med {med} nlri {routes}", flush=True)
                    _await_answer()


def _await_answer() -> None:
    while True:
        line = sys.stdin.readline()
        if not line:
            sys.exit()
        if line.strip() in ("done", "error"):
            return


if __name__ == "__main__":
    speak(Path(sys.argv[1]))
