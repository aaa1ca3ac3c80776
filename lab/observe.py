"""What can be seen of a lab, and waiting for it: poll until a picture matches, or show how it differs.

A picture is a nested dict; an expectation is a part of one. No step of the lab waits for time to pass: it waits for a
picture, and where something must *not* happen, for the picture to hold without a break for a while.
"""

from __future__ import annotations

import difflib
import json
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from lab.bounds import MOVED_S, SETTLED_S
from lab.command import LabError
from lab.topology import BEYOND, NODES, ROUTERS
from lab.world import Lab

Picture: TypeAlias = Mapping[str, Any]

_POLL_S = 0.05


def picture(lab: Lab) -> dict[str, Any]:
    """Both nodes as their agents see themselves, both routers as their kernels forward."""
    seen: dict[str, Any] = {node: _node(lab.status(node)) for node in NODES}
    for router in ROUTERS:
        seen[router] = {prefix: list(lab.next_hops(router, prefix)) for prefix in BEYOND[router]}
    return seen


def _node(status: Mapping[str, Any] | None) -> dict[str, Any]:
    if status is None:
        return {"state": "no answer"}
    srg = next(srg for srg in status["srgs"] if srg["id"] == 1)
    return {
        "state": srg["state"],
        "confirmed": srg["confirmed"],
        "level": srg["level"],
        "contact": all(peer["contact"] for peer in status["peers"]),
        "routers": {item["name"]: item["up"] and item["confirmed"] for item in status["neighbors"]},
    }


def other(node: str) -> str:
    """The other node."""
    return NODES[1 - NODES.index(node)]


def serving(active: str) -> dict[str, Any]:
    """One node is active and both routers send their traffic to it, whatever the other one believes."""
    routed: dict[str, Any] = {router: {prefix: [active] for prefix in BEYOND[router]} for router in ROUTERS}
    return {**routed, active: {"state": "ACTIVE"}}


def pair(active: str) -> dict[str, Any]:
    """All is well: one node confirmed active, the other one backup, in contact, all four sessions as wished."""
    well = {"contact": True, "routers": dict.fromkeys(ROUTERS, True)}
    return {
        **serving(active),
        active: {"state": "ACTIVE", "confirmed": True, "level": "HIGH", **well},
        other(active): {"state": "BACKUP", "level": "MEDIUM", **well},
    }


def part(seen: Any, expected: Any) -> Any:
    """That of ``seen`` which ``expected`` speaks about."""
    if isinstance(expected, Mapping) and isinstance(seen, Mapping):
        return {key: part(seen.get(key), value) for key, value in expected.items()}
    return seen


def until(
    look: Callable[[], Picture], *expected: Picture, within_s: float, steady_s: float = 0, what: str = ""
) -> Picture:
    """Wait until one of the expected pictures is there (and stays for ``steady_s``), and return that expectation.

    Raises ``LabError`` with a diff of the last picture against the nearest expectation.
    """
    deadline = time.monotonic() + within_s
    since: float | None = None
    matched: Picture | None = None
    while True:
        seen = look()
        now = time.monotonic()
        found = next((want for want in expected if part(seen, want) == want), None)
        if found is None or found is not matched:
            since, matched = now, found
        if found is not None and since is not None and now - since >= steady_s:
            return found
        if now > deadline and (found is None or now > deadline + steady_s):
            raise LabError(f"{what or 'the picture'} did not come within {within_s:g} s:\n{_diff(seen, expected)}")
        time.sleep(_POLL_S)


def _diff(seen: Picture, expected: tuple[Picture, ...]) -> str:
    diffs = []
    for want in expected:
        left, right = (json.dumps(value, indent=1, sort_keys=True).splitlines() for value in (want, part(seen, want)))
        diffs.append("\n".join(difflib.unified_diff(left, right, "expected", "seen", lineterm="", n=4)))
    return min(diffs, key=len)


def wait_for(lab: Lab, *expected: Picture, within_s: float, steady_s: float = 0, what: str = "") -> Picture:
    """``until`` over the lab's picture; where it does not come, the error tells what the nodes say of it."""
    try:
        return until(lambda: picture(lab), *expected, within_s=within_s, steady_s=steady_s, what=what)
    except LabError as error:
        raise LabError(f"{error}\n{story(lab)}") from None


def story(lab: Lab) -> str:
    """The last events of every node."""
    told = []
    for node in NODES:
        try:
            told.append(f"{node}:\n{lab.cli(node, 'show', 'events', '--limit', '20')}")
        except LabError as error:
            told.append(f"{node}: {error}")
    return "\n".join(told)


def settle(lab: Lab, within_s: float = SETTLED_S, steady_s: float = 0.3) -> str:
    """Wait until all is well with either node active; which one it is."""
    one, two = pair(NODES[0]), pair(NODES[1])
    found = wait_for(lab, one, two, within_s=within_s, steady_s=steady_s, what="a healthy pair")
    return NODES[0] if found is one else NODES[1]


def move_to(lab: Lab, node: str) -> None:
    """Make this node the active one of a healthy pair by a planned move."""
    if settle(lab) != node:
        lab.cli(other(node), "request", "failover", "srg", "1", "--wait")
        wait_for(lab, pair(node), within_s=MOVED_S, steady_s=0.3, what=f"the planned move to {node}")


def restarted(lab: Lab, service: str, starts: int, within_s: float = 10) -> None:
    """Wait until a service runs that was started more than ``starts`` times."""
    again = {"running again": True}
    until(lambda: {"running again": lab.starts(service) > starts}, again, within_s=within_s, what=service)
