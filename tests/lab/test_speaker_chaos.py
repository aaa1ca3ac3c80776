"""The real thing: ExaBGP 5.0 and 4.2, FRR, and everything that may happen; then the router holds the wish.

``L3HA_CHAOS_ROUNDS`` sets the rounds against 5.0 (4.2 gets a quarter). ``L3HA_EXABGP42`` names the binary of 4.2.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from l3ha.base.names import LeaseEnd, Level
from l3ha.base.time import SECOND
from lab.bounds import INSTALLED_S, LEASE_OVER_S, SPEAKER_S, seconds
from tests.lab.speaker_rig import PAUSE, ROUTER, FakeAgent, Rig, Routes, expected, neighbor_wishes, until, value

pytestmark = [pytest.mark.lab, pytest.mark.timeout(400)]

ROUNDS = int(os.environ.get("L3HA_CHAOS_ROUNDS", "50"))
POOL = (
    *(f"198.51.100.{i}/32" for i in range(20)),
    *(f"203.0.{i}.0/24" for i in range(55)),
    *(f"2001:db8:{i}::/48" for i in range(1, 6)),
)
FEW = {"198.51.100.1/32": (Level.HIGH, 5), "203.0.1.0/24": (Level.HIGH, 5), "2001:db8:1::/48": (Level.HIGH, 5)}
LOWERED: Routes = dict.fromkeys(FEW, (Level.LOW, 0))


def _binary(version: str) -> str:
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root")
    if version == "5.0":
        return str(Path(sys.executable).parent / "exabgp")
    found = os.environ.get("L3HA_EXABGP42", "")
    if not shutil.which(found):
        pytest.skip("L3HA_EXABGP42 names no ExaBGP 4.2")
    return found


@pytest.fixture(params=["5.0", "4.2"])
def rig(request: pytest.FixtureRequest) -> Iterator[Rig]:
    """4.2 waits longer before each reconnect, up to a minute, unless the router connects."""
    with Rig(_binary(request.param), passive=request.param == "4.2") as built:
        yield built


@pytest.fixture
def agent(rig: Rig) -> Iterator[FakeAgent]:
    fake = FakeAgent(rig.run_dir)
    yield fake
    fake.die()


def settled(rig: Rig, agent: FakeAgent, routes: Routes, within_s: float = SPEAKER_S) -> float:
    """Until the speaker says so and the router, asked twice, agrees; seconds."""
    wanted = expected(routes)

    def right() -> bool:
        return agent.confirmed() and rig.table() == wanted and agent.confirmed() and rig.table() == wanted

    def difference() -> str:
        table = rig.table()
        wrong = {
            k: (table.get(k), wanted.get(k)) for k in table.keys() | wanted.keys() if table.get(k) != wanted.get(k)
        }
        return f"(router, wish): {wrong}\nreport: {agent.report}\n{rig.log()}"

    return until(right, within_s, difference)


class Chaos:
    """One run of random disturbances. The seed is printed when a test fails."""

    def __init__(self, rig: Rig, agent: FakeAgent, seed: int) -> None:
        self.rig, self.agent = rig, agent
        self.random = random.Random(seed)
        self.term = 0
        self.routes: Routes = {}
        self.done: dict[str, int] = {}

    def round(self) -> None:
        """Up to a dozen disturbances within half a second."""
        acts = [self.level, self.prefixes, self.reset, self.kill, self.reload, self.disconnect]
        for _ in range(self.random.randint(3, 12)):
            act = self.random.choices(acts, [10, 4, 2, 1, 1, 1])[0]
            self.done[act.__name__] = self.done.get(act.__name__, 0) + 1
            act()
            time.sleep(self.random.random() * PAUSE)  # not to wait for anything: to hit another moment each time

    def level(self) -> None:
        level = self.random.choice(list(Level))
        self.term += level is Level.HIGH
        chosen = (level, self.term if level is Level.HIGH else 0)
        part = self.random.random() < 0.3
        self.routes = {p: old if part and self.random.random() < 0.5 else chosen for p, old in self.routes.items()}
        drop = [name for name in ROUTER if self.random.random() < 0.2]
        self.agent.tell(neighbor_wishes(self.routes, drop))

    def prefixes(self) -> None:
        chosen = self.random.sample(POOL, self.random.choice([0, 1, 5, 30, len(POOL)]))
        self.routes = {p: self.routes.get(p, (Level.MEDIUM, 0)) for p in chosen}
        self.agent.tell(neighbor_wishes(self.routes))

    def reset(self) -> None:
        self.rig.reset(self.random.choice(list(ROUTER)))

    def kill(self) -> None:
        self.rig.kill_speaker()

    def reload(self) -> None:
        self.rig.reload()

    def disconnect(self) -> None:
        self.agent.disconnect()


def test_after_chaos_the_router_holds_the_wish(rig: Rig, agent: FakeAgent) -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    agent.tell(neighbor_wishes(FEW))
    settled(rig, agent, FEW)
    chaos = Chaos(rig, agent, seed)
    chaos.routes = dict(FEW)
    took = []
    assert agent.report is not None
    for number in range(max(1, ROUNDS // 4) if agent.report.exabgp.startswith("4.2") else ROUNDS):
        print(f"round {number}")
        chaos.round()
        took.append(settled(rig, agent, chaos.routes))
    print(f"{len(took)} rounds, 0 wrong, slowest {max(took):.2f} s, {sum(took):.1f} s in all, {chaos.done}")
    end = time.monotonic() + 2
    until(lambda: time.monotonic() > end or rig.table() != expected(chaos.routes), 5, "")
    assert rig.table() == expected(chaos.routes), "a late change"


@pytest.mark.parametrize("end", [LeaseEnd.LOWER, LeaseEnd.WITHDRAW])
def test_a_dead_agent_is_lowered_within_the_lease(rig: Rig, end: LeaseEnd) -> None:
    agent = FakeAgent(rig.run_dir, SECOND, end)
    agent.tell(neighbor_wishes(FEW))
    settled(rig, agent, FEW)
    agent.die()
    left = expected(LOWERED) if end is LeaseEnd.LOWER else {}
    until(lambda: rig.table() == left, seconds(SECOND) + INSTALLED_S, rig.log)
    again = FakeAgent(rig.run_dir, id_=8)
    again.tell(neighbor_wishes(FEW))
    settled(rig, again, FEW)
    again.die()


def test_a_new_speaker_of_a_dead_agent_lowers_too(rig: Rig) -> None:
    agent = FakeAgent(rig.run_dir, SECOND)
    agent.tell(neighbor_wishes(FEW))
    settled(rig, agent, FEW)
    agent.die()
    assert rig.kill_speaker()
    until(lambda: rig.table() == expected(LOWERED), seconds(2 * SECOND) + 2 * INSTALLED_S, rig.log)


def test_a_frozen_agent_does_not_hold_up_bgp(rig: Rig) -> None:
    """It neither reads nor renews: routes go LOW, and the sessions outlive the hold time (5 s)."""
    agent = FakeAgent(rig.run_dir)
    agent.tell(neighbor_wishes(FEW))
    settled(rig, agent, FEW)
    agent.reading = agent.renewing = False
    for _ in range(5):
        rig.reset("r2")
    until(lambda: rig.table() == expected(LOWERED), LEASE_OVER_S, rig.log)
    end = time.monotonic() + 6
    until(lambda: time.monotonic() > end or rig.table() != expected(LOWERED), 8, "")
    assert rig.table() == expected(LOWERED)
    agent.reading = agent.renewing = True
    settled(rig, agent, FEW)
    agent.die()


def test_exabgp_restarts_and_the_routes_come_back(rig: Rig, agent: FakeAgent) -> None:
    agent.tell(neighbor_wishes(FEW))
    settled(rig, agent, FEW)
    assert rig.exabgp is not None
    rig.exabgp.send_signal(signal.SIGKILL)
    until(lambda: agent.goodbyes, 2, "no goodbye")
    until(lambda: rig.table() == {}, 5, rig.log)
    rig.stop_exabgp()
    agent.report = None
    moved: Routes = {"203.0.7.0/24": (Level.HIGH, 6)}
    agent.tell(neighbor_wishes(moved))
    rig.start_exabgp()
    settled(rig, agent, moved)


def test_one_change_is_quick(rig: Rig, agent: FakeAgent) -> None:
    """Wish written -> confirmed by both neighbors: tens of milliseconds for a few prefixes."""
    agent.tell(neighbor_wishes(FEW))
    settled(rig, agent, FEW)
    took = []
    for number in range(20):
        start = time.monotonic()
        agent.tell(neighbor_wishes(dict.fromkeys(FEW, (Level.HIGH, 10 + number))))
        while not agent.confirmed():
            assert time.monotonic() - start < 5
            time.sleep(0.0005)
        took.append(time.monotonic() - start)
    took.sort()
    print(f"median {1000 * took[10]:.1f} ms, slowest {1000 * took[-1]:.1f} ms")
    assert took[10] < 0.1
    assert value("r1", Level.HIGH, 29) in rig.table().values()
