"""A virtual router: routes of its sessions, a preference, a tie-break of its own, and whom it answers."""

from __future__ import annotations

from dataclasses import dataclass

from l3ha.base.names import Level
from l3ha.base.settings import Profile
from l3ha.sim.setting import FLOATING, PREFERENCES


@dataclass(frozen=True, slots=True)
class Route:
    """One route as a router holds it. ``value``: local preference or MED, ``since``: order of arrival."""

    value: int
    generation: str
    since: int


def level(profile: Profile, value: int) -> Level:
    """The level that a preference value means (protocol §4)."""
    p = PREFERENCES[profile]
    if value in (p.low, p.medium):
        return Level.LOW if value == p.low else Level.MEDIUM
    return Level.HIGH


class Router:
    """See the module. It lives in the world's control plane; links and faults are the world's business."""

    def __init__(self, name: str, profile: Profile, tie_break: str) -> None:
        self.name = name
        self.profile = profile
        self.tie_break = tie_break
        self.routes: dict[int, dict[str, Route]] = {1: {}, 2: {}}
        self._arrivals = 0

    def learn(self, node: int, prefix: str, value: int | None, generation: str) -> None:
        """An UPDATE: announce (``value``) or withdraw (None)."""
        self._arrivals += 1
        if value is None:
            self.routes[node].pop(prefix, None)
            return
        old = self.routes[node].get(prefix)
        self.routes[node][prefix] = Route(value, generation, old.since if old else self._arrivals)

    def forget(self, node: int) -> None:
        """The session ended."""
        self.routes[node].clear()

    def best(self, prefix: str = f"{FLOATING}/32") -> int | None:
        """The node that draws the traffic of a prefix; None without a route."""
        held = [(n, r[prefix]) for n, r in self.routes.items() if prefix in r]
        return max(held, key=self._rank)[0] if held else None

    def _rank(self, item: tuple[int, Route]) -> tuple[int, int]:
        node, route = item
        value = route.value if self.profile is Profile.LOCAL_PREFERENCE else -route.value
        tie = {"low": -node, "high": node, "oldest": -route.since}[self.tie_break]
        return (value, tie)
