"""BFD of FRR's bfdd on the node as our source: a real bfdd on each side, the real speaker and agent between."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.lab.bfd_rig import NEEDS_ROOT, UP_S, Agent, Bfdd
from tests.lab.speaker_rig import Rig, until

pytestmark = [pytest.mark.lab, pytest.mark.timeout(120), NEEDS_ROOT]

SOON_S = 3.0
"""Detection (0.15 s), a poll (0.05 s), the patience with a hung bfdd (1 s); the rest is for a busy machine."""


@pytest.fixture
def node(rig: Rig) -> Iterator[Bfdd]:
    assert rig.exabgp is not None
    daemon = Bfdd("n")
    yield daemon
    daemon.stop()


@pytest.fixture
def agent(rig: Rig, node: Bfdd) -> Iterator[Agent]:
    text = f'{{ source = "frr", poll = "50ms", vty_socket = "{node.home}", interface = "e0" }}'
    process = Agent(rig, text)
    yield process
    process.end()


def monitor(agent: Agent) -> dict[str, Any]:
    (found,) = agent.show("monitor")[1]["srgs"][0]["monitors"]
    return dict(found)


def sessions(agent: Agent) -> list[dict[str, Any]]:
    return list(agent.show("bfd")[1].get("bfd", []))


def events(agent: Agent) -> list[str]:
    return [e["text"] for e in agent.show("events")[1]["events"]]


def test_what_bfdd_knows_is_what_l3ha_knows(rig: Rig, router: Bfdd, node: Bfdd, agent: Agent) -> None:
    everything_up = [("UP", True)] * 2
    until(lambda: agent.states() == everything_up, UP_S, agent.log)
    assert monitor(agent)["up"] is True
    until(lambda: [s["detection"] for s in sessions(agent)] == [150_000_000] * 2, UP_S, agent.log)
    assert {s["source"] for s in sessions(agent)} == {"FRR bfdd"}

    router.freeze()
    until(lambda: agent.states() == [("DOWN", False)] * 2, SOON_S, agent.log)
    assert monitor(agent)["up"] is False
    assert {(s["diagnostic"], s["flaps"]) for s in sessions(agent)} == {("detection time expired", 1)}
    router.thaw()
    until(lambda: agent.states() == everything_up and monitor(agent)["up"], UP_S, agent.log)

    node.freeze()  # bfdd neither answers nor speaks: we cannot tell, the router can
    until(lambda: agent.states() == [("UNKNOWN", True)] * 2, SOON_S, agent.log)
    assert {s["error"] for s in sessions(agent)} == {"no answer for 1s"} and agent.show("bfd")[0] == 1
    assert monitor(agent)["up"] is True and monitor(agent)["reason"] == "cannot tell: no answer for 1s"
    node.thaw()
    until(lambda: agent.states() == everything_up, UP_S, agent.log)

    node.kill()
    until(lambda: agent.states() == [("UNKNOWN", True)] * 2, SOON_S, agent.log)
    until(lambda: "Connection refused" in sessions(agent)[0]["error"], SOON_S, agent.log)
    before = len([e for e in events(agent) if "monitor" in e])
    node.start()
    until(lambda: agent.states() == everything_up, UP_S, agent.log)
    assert len([e for e in events(agent) if "monitor" in e]) == before, "a restart of bfdd moves nothing"
    unknown = [e for e in events(agent) if e.startswith("BFD state of r1 is unknown")]
    assert len(unknown) == 2, f"one event each time: {unknown}"
    assert "Traceback" not in agent.log() and "Traceback" not in rig.log()
