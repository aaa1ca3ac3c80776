"""What BFD's fate is tied to: the real speaker under ExaBGP, FRR's bfdd as the router's side.

ExaBGP or speaker gone: BFD is gone, and the router sees it at once. Agent gone, lease run out: BFD stays.
"""

from __future__ import annotations

import os
import signal
from dataclasses import replace

import pytest

from l3ha.base.names import Level
from l3ha.base.time import MS
from l3ha.wire.bfd import State
from l3ha.wire.wish import BfdWish, NeighborWish
from tests.lab.bfd_rig import NEEDS_ROOT, UP_S, Agent, Bfdd
from tests.lab.speaker_rig import NODE, ROUTER, FakeAgent, Rig, expected, neighbor_wishes, until

pytestmark = [pytest.mark.lab, pytest.mark.timeout(120), NEEDS_ROOT]

ROUTES = {"198.51.100.1/32": (Level.HIGH, 5), "2001:db8:1::/48": (Level.HIGH, 5)}
LOWERED = dict.fromkeys(ROUTES, (Level.LOW, 0))
DOWN_S = 3.0
"""Detection is 0.15 s; the rest is for vtysh and a busy machine."""


def wishes() -> tuple[NeighborWish, ...]:
    return tuple(
        replace(n, bfd=BfdWish(NODE[n.name], "e0", 50 * MS, 3, 255, None, 0, "")) for n in neighbor_wishes(ROUTES)
    )


def ours(agent: FakeAgent) -> dict[str, int]:
    return {s.address: s.state for s in agent.report.bfd} if agent.report else {}


def test_bfd_ends_with_speaker_and_exabgp_and_outlasts_the_agent(rig: Rig, router: Bfdd) -> None:
    agent = FakeAgent(rig.run_dir)
    agent.tell(wishes())
    everything = dict.fromkeys(ROUTER.values(), int(State.UP))
    until(lambda: ours(agent) == everything and router.all("up"), UP_S, lambda: f"{agent.report} {router.states()}")
    until(lambda: agent.confirmed() and rig.table() == expected(ROUTES), UP_S, rig.log)

    agent.die()
    until(lambda: rig.table() == expected(LOWERED), UP_S, "the lease did not run out")
    assert router.all("up"), "the agent's end is not the speaker's"
    agent = FakeAgent(rig.run_dir)
    until(lambda: ours(agent) == everything, UP_S, "the speaker did not come back to the agent")
    assert agent.report is not None and all(s.flaps == 0 and s.detection == 150 * MS for s in agent.report.bfd)
    agent.tell(wishes())

    before = router.falls()
    assert rig.kill_speaker()
    until(
        lambda: (now := router.falls()).keys() == before.keys() and all(now[a] > before[a] for a in now),
        DOWN_S,
        lambda: f"after the speaker's death: {before} {router.falls()}",
    )
    until(lambda: ours(agent) == everything and router.all("up"), UP_S, lambda: f"{agent.report} {router.states()}")

    assert rig.exabgp is not None
    os.kill(rig.exabgp.pid, signal.SIGKILL)
    until(lambda: router.all("down"), DOWN_S, lambda: f"after ExaBGP's death: {router.states()}")
    until(lambda: bool(agent.goodbyes), DOWN_S, "the speaker did not say goodbye")
    agent.die()


def test_the_agent_hears_at_once_that_a_router_is_gone(rig: Rig, router: Bfdd) -> None:
    agent = FakeAgent(rig.run_dir)
    agent.tell(wishes())
    until(lambda: set(ours(agent).values()) == {int(State.UP)}, UP_S, rig.log)
    router.freeze()
    taken = until(lambda: set(ours(agent).values()) == {int(State.DOWN)}, DOWN_S, lambda: str(agent.report))
    router.thaw()
    assert 0.05 < taken < DOWN_S
    until(lambda: router.all("up"), UP_S, lambda: str(router.states()))
    agent.die()


def test_from_the_file_to_show_bfd(rig: Rig, router: Bfdd) -> None:
    """One file asks for it, the agent wishes it, the speaker speaks it, the agent counts it and shows it."""
    agent = Agent(rig, '{ interval = "50ms", interface = "e0" }')
    try:
        until(lambda: agent.states() == [("UP", True)] * 2 and router.all("up"), UP_S, agent.log)
        # just up, the router still says the slow interval of a session that is not (RFC 5880 section 6.8.3)
        until(lambda: [s["detection"] for s in agent.show("bfd")[1]["bfd"]] == [150 * MS] * 2, UP_S, agent.log)
        assert agent.show("bfd")[0] == 0
        _, shown = agent.show("monitor")
        (monitor,) = shown["srgs"][0]["monitors"]
        assert (monitor["kind"], monitor["up"]) == ("bfd", True)
        router.freeze()
        until(lambda: agent.states() == [("DOWN", False)] * 2, UP_S, agent.log)
        code, shown = agent.show("bfd")
        assert code == 1 and {s["diagnostic"] for s in shown["bfd"]} == {"detection time expired"}
        assert all(n["up"] for n in agent.show("bgp")[1]["neighbors"]), "BGP has not noticed yet"
        assert agent.show("monitor")[1]["srgs"][0]["monitors"][0]["up"] is False
        router.thaw()
        until(lambda: agent.states() == [("UP", True)] * 2, UP_S, agent.log)
    finally:
        agent.end()
