"""l3ha under load: many routes, many groups, many BGP sessions. How fast everything moves, and what it costs.

The active node dies silently; the clock runs until the last route has moved in the kernels of both routers. The first
one tells detection and decision apart from the bulk. Nodes take turns, so no run waits for a move back.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from l3ha.base.time import SECOND
from l3ha.config import bounds
from lab.bench.campaign import BROKEN
from lab.bench.footprint import measure as footprint
from lab.bench.l3ha import L3ha
from lab.bench.record import Measure
from lab.command import LabError, run
from lab.faults import by_name as lab_fault
from lab.keeper import Service
from lab.observe import other, pair, picture, until
from lab.routers import RouterKind
from lab.topology import BEYOND, GATEWAYS, NODES, ROUTERS, namespace

BULK, SCALE = "Bulk speed of l3ha", "Scale of l3ha"
_PATIENCE_S = 30.0
_POLL_S = 0.005
_LINK_NET = {"n1": 110, "n2": 130}
"""Third byte of the networks of further sessions, on the link to R1."""


@dataclass(frozen=True, slots=True)
class Load:
    """How many routes beside the lab's six, how many groups, and how many BGP sessions of each node."""

    routes: int = 0
    groups: int = 1
    sessions: int = 2

    def prefixes(self, router: str) -> frozenset[str]:
        """What must move at a router, in the kernel's words."""
        further = {f"198.18.{number >> 8}.{number & 255}" for number in range(self.routes)}
        groups = {f"198.19.{group}.0/24" for group in range(2, self.groups + 1)}
        return frozenset(further | groups | {BEYOND[router][0]})

    def __str__(self) -> str:
        routes = self.routes + 6 + 2 * (self.groups - 1)
        return f"{routes} routes, {self.groups} groups, {self.sessions} sessions per node"


LOADS: dict[str, tuple[Load, ...]] = {
    BULK: tuple(Load(routes=count) for count in (1, 94, 994, 9994)),
    SCALE: (
        *(Load(groups=count) for count in (5, 10, 20, 100)),
        *(Load(routes=94, sessions=count) for count in (4, 8, 10)),
    ),
}

_GROUP = """
[srg.{group}]
priority = {{ n1 = 200, n2 = 100 }}
floating = ["100.64.254.{group}/32"]
routes = ["100.64.254.{group}/32", "198.19.{group}.0/24"]
probe = {{ arbiters = ["r1", "r2"], interval = "100ms", up = 2, down = 3 }}
"""
_SESSION = """
[node.{node}.neighbor.r1-{number}]
address = "100.64.{net}.1"
local_address = "100.64.{net}.2"
asn = 65010
router = "r1"
hold_time = 90
next_hop = "{next_hop}"
"""
_ROUTER = """\
router bgp 65010
 neighbor 100.64.{net}.2 peer-group NODES
!
"""


class Loaded(L3ha):
    """l3ha with a load."""

    kinds: ClassVar[tuple[RouterKind, ...]] = (RouterKind.FRR,)
    amount: Load

    def cluster_file(self, text: str) -> str:
        further = "".join(f'    "198.18.{number >> 8}.{number & 255}/32",\n' for number in range(self.amount.routes))
        text = text.replace("routes = [\n", f"routes = [\n{further}", 1)
        text += "".join(_GROUP.format(group=group) for group in range(2, self.amount.groups + 1))
        text += "".join(_SESSION.format(**one) for one in _sessions(self.amount))
        return text + _clock(self.amount)

    def prepare(self) -> None:
        super().prepare()
        for node in NODES:
            for group in range(2, self.amount.groups + 1):
                self._address(node, f"100.64.254.{group}/32", "lo")
        for one in _sessions(self.amount):
            self._address(one["node"], f"100.64.{one['net']}.2/30", "r1")
            self._address("r1", f"100.64.{one['net']}.1/30", one["node"])

    def _address(self, machine: str, address: str, interface: str) -> None:
        run(["ip", "-n", namespace(self.tag, machine), "address", "add", address, "dev", interface])

    def router_services(self, router: str) -> list[Service]:
        found = super().router_services(router)
        if router == "r1":
            with (self.directory / router / "frr.conf").open("a") as file:
                file.write("".join(_ROUTER.format(**one) for one in _sessions(self.amount)))
        return found

    def shares(self, node: str) -> list[float]:
        """Which part of the routes goes through a node, per router."""
        found = []
        for router in ROUTERS:
            lines = run(["ip", "-4", "-n", namespace(self.tag, router), "route", "show"]).splitlines()
            hops = {words[0]: words[words.index("via") + 1] for words in map(str.split, lines) if "via" in words}
            wanted = self.amount.prefixes(router)
            found.append(sum(GATEWAYS.get(hops.get(prefix, "")) == node for prefix in wanted) / len(wanted))
        return found

    def ready(self) -> str:
        """Wait until one node is active for every group and has all routes; which one."""
        routers = dict.fromkeys([*ROUTERS, *(f"r1-{number}" for number in range(2, self.amount.sessions))], True)
        wants = []
        for node in NODES:
            want = pair(node)
            for each in NODES:
                want[each] = {**want[each], "routers": routers}
            wants.append({**want, "groups": {node: ["ACTIVE"], other(node): ["BACKUP"]}, "shares": {node: [1, 1]}})
        found = until(self._look, *wants, within_s=90, steady_s=1, what=f"{self.amount}")
        return NODES[wants.index(dict(found))]

    def _look(self) -> dict[str, Any]:
        seen = picture(self)
        states = {node: self.status(node) or {"srgs": []} for node in NODES}
        seen["groups"] = {node: sorted({srg["state"] for srg in states[node]["srgs"]}) for node in NODES}
        seen["shares"] = {node: self.shares(node) for node in NODES}
        return seen


_LEAST_S = 2
"""T_verify's default, the longest of them."""


def _clock(load: Load) -> str:
    """Timers as ``l3ha check`` asks for them where the defaults are too short for so many routes, with a reserve of
    half: two nodes and two routers share the machine. None is shorter than by default."""
    needed = bounds.telling((load.routes + 6) * load.sessions)
    if needed <= SECOND // 2:
        return ""
    seconds = max(_LEAST_S, -(-3 * needed // (2 * SECOND)))
    return "\n[timers]\n" + "".join(f'{name} = "{seconds}s"\n' for name in ("bgp", "drain", "verify", "settle"))


def _sessions(load: Load) -> Iterator[dict[str, Any]]:
    gateways = {node: address for address, node in GATEWAYS.items() if address.startswith("100.64.1")}
    for number in range(2, load.sessions):
        for node in NODES:
            net = _LINK_NET[node] + number
            yield {"node": node, "number": number, "net": net, "next_hop": gateways[node]}


def measure(tag: str, runs: int, seconds: float, say: Callable[[str], None]) -> list[Measure]:
    """Every load: the move of everything ``runs`` times, and the footprint over ``seconds``."""
    return [
        one
        for subject, loads in LOADS.items()
        for load in loads
        for one in _load(tag, subject, load, runs, seconds, say)
    ]


def _load(
    tag: str, subject: str, load: Load, runs: int, seconds: float, say: Callable[[str], None]
) -> Iterator[Measure]:
    kind = type("LoadedSo", (Loaded,), {"amount": load})
    first: list[float] = []
    last: list[float] = []
    used: dict[str, tuple[float, int]] = {}
    try:
        with kind(tag, RouterKind.FRR, traffic=False) as lab:
            lab.ready()
            used = footprint(lab, seconds)
            for _ in range(runs):
                moved = move(lab)
                first.append(moved.first_ms)
                last.append(moved.last_ms)
                say(f"{load}: first route after {moved.first_ms:.0f} ms, last after {moved.last_ms:.0f} ms")
    except BROKEN as error:
        say(f"{load}: {error}")
        yield Measure(subject, str(load), "ms", tuple(last), reason(str(error)))
        return
    yield Measure(subject, f"{load}: silent death to the first route moved", "ms", tuple(first))
    yield Measure(subject, f"{load}: silent death to the last route moved", "ms", tuple(last))
    for part, (cpu, memory) in used.items():
        yield Measure(subject, f"{load}: CPU of {part}", "%", (cpu,), f"{memory / 1024:.0f} MB")


def reason(words: str) -> str:
    """The line that says most, for a cell of a table."""
    lines = words.splitlines()
    said = next((line for line in lines if ".toml" in line), lines[0])
    return re.sub(r".*\.toml(:\d+)?: ", "refused: ", said).replace("|", "/")


@dataclass(frozen=True, slots=True)
class Moved:
    """Milliseconds: from the silent death of the active node to the first and to the last route at the other one, and
    from the other one's decision to the last route."""

    first_ms: float
    last_ms: float
    from_decision_ms: float


def move(lab: Loaded) -> Moved:
    """Kill the active node silently, wait for the other one to have all routes, and bring it back.

    Its processes stand still meanwhile: those of a dead machine would not lower thousands of routes beside the heir's.
    """
    death, stillness = lab_fault("silent-death"), lab_fault("node-freeze")
    assert death.heal is not None
    assert stillness.heal is not None
    active = lab.ready()
    begin = time.monotonic()
    death.apply(lab, active)
    stillness.apply(lab, active)
    first: float | None = None
    try:
        while True:
            shares = lab.shares(other(active))
            now = time.monotonic() - begin
            if any(shares) and first is None:
                first = now
            if first is not None and min(shares) == 1:
                return Moved(first * 1000, now * 1000, _active_for(lab, other(active)))
            if now > _PATIENCE_S:
                raise LabError(f"{lab.amount}: not everything moved within {_PATIENCE_S:g} s: {shares}")
            time.sleep(_POLL_S)
    finally:
        death.heal(lab, active)
        stillness.heal(lab, active)


def _active_for(lab: Loaded, node: str) -> float:
    """Milliseconds since a node decided to be active."""
    status = lab.status(node)
    if status is None or status["srgs"][0]["state"] != "ACTIVE":
        raise LabError(f"{node} has all routes and does not say that it is active")
    return float(status["srgs"][0]["since"]) / 1e6
