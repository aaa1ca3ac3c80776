"""SRG 0 and the node (protocol §7)."""

from __future__ import annotations

from dataclasses import replace

from l3ha.base.names import Level, NodeState
from l3ha.base.settings import Monitor, MonitorKind, NodeGroup
from l3ha.base.time import SECOND, Instant
from l3ha.core.events import Note, SetFailureRoute, SetInterfaces
from l3ha.core.node import NodeFacts, NodeMachine
from tests.world import TIMERS

T0: Instant = 1_000 * SECOND
GOOD = NodeFacts(
    speaker=True, sessions_up=True, contact=True, reach=True, failed_weight=0, occupied=False, judged=True, alone=False
)
GROUP = NodeGroup(
    routes=("198.51.100.1/32",),
    monitors=(Monitor("core", MonitorKind.INTERFACE, "eth0", None, 100, 1, 1, SECOND),),
    threshold=100,
    shutdown_on_failure=("eth2",),
    failure_route="192.0.2.1/32",
)


def online() -> NodeMachine:
    node = NodeMachine(GROUP, TIMERS, T0 - 60 * SECOND)
    node.step(GOOD, T0 - SECOND)
    assert node.state is NodeState.ONLINE and node.level is Level.MEDIUM
    return node


def test_hold_until_the_gates_open() -> None:
    node = NodeMachine(GROUP, TIMERS, T0)
    node.step(GOOD._replace(sessions_up=False), T0 + 1)
    assert node.state is NodeState.HOLD and node.level is Level.LOW and node.fit
    node.step(GOOD._replace(sessions_up=False), T0 + TIMERS.boot)
    assert node.state is NodeState.ONLINE, "T_boot does not wait for a dead router for ever"


def test_isolated_by_monitors_shuts_and_signals() -> None:
    node = online()
    effects = node.step(GOOD._replace(failed_weight=100), T0)
    assert node.state is NodeState.ISOLATED and node.level is Level.LOW and not node.fit
    assert SetInterfaces(("eth2",), False) in effects and SetFailureRoute("192.0.2.1/32", True) in effects
    effects = node.step(GOOD, T0 + 1)
    assert SetInterfaces(("eth2",), True) in effects and SetFailureRoute("192.0.2.1/32", False) in effects
    assert node.state is NodeState.ISOLATED, "not before T_recover"
    node.step(GOOD, T0 + 1 + TIMERS.recover)
    assert node.state is NodeState.HOLD
    node.step(GOOD, T0 + 2 + TIMERS.recover)
    assert node.state is NodeState.ONLINE


def test_isolated_without_contact_and_reach() -> None:
    node = online()
    alone = GOOD._replace(contact=False, reach=False)
    node.step(alone, T0)
    node.step(alone, T0 + TIMERS.settle - 1)
    assert node.state is NodeState.ONLINE
    effects = node.step(alone, T0 + TIMERS.settle)
    assert node.state is NodeState.ISOLATED
    assert not any(isinstance(e, SetInterfaces) for e in effects), "shutting interfaces would keep it isolated"
    node.step(alone._replace(contact=True), T0 + 2 * TIMERS.settle)
    assert node.state is NodeState.HOLD


def test_one_of_contact_and_reach_is_enough() -> None:
    for facts in (GOOD._replace(contact=False), GOOD._replace(reach=False)):
        node = online()
        node.step(facts, T0)
        node.step(facts, T0 + 60 * SECOND)
        assert node.state is NodeState.ONLINE


def test_maintenance_waits_for_the_groups() -> None:
    node = online()
    node.request_maintenance(True, T0)
    busy = GOOD._replace(occupied=True)
    node.step(busy, T0 + 1)
    assert node.state is NodeState.ONLINE
    node.step(GOOD, T0 + 2)
    assert node.state is NodeState.OFFLINE and not node.fit
    node.request_maintenance(False, T0 + 3)
    node.step(GOOD, T0 + 3)
    assert node.state is NodeState.HOLD

    node = online()
    node.request_maintenance(True, T0)
    node.step(busy._replace(alone=True), T0 + 1)
    assert node.state is NodeState.OFFLINE, "nobody to move to: the operator's word counts"


def test_maintenance_is_given_up_when_a_group_cannot_move() -> None:
    """The peer died meanwhile: going OFFLINE would leave nobody serving."""
    node = online()
    node.request_maintenance(True, T0)
    busy = GOOD._replace(occupied=True)
    node.step(busy, T0 + TIMERS.grant + TIMERS.drain + TIMERS.verify - 1)
    assert node.maintenance
    (note,) = node.step(busy, T0 + TIMERS.grant + TIMERS.drain + TIMERS.verify)
    assert node.state is NodeState.ONLINE and not node.maintenance
    assert isinstance(note, Note) and note.alarm and "given up" in note.text


def test_failure_actions_of_an_earlier_process_are_taken_back() -> None:
    node = NodeMachine(GROUP, TIMERS, T0)
    assert node.step(GOOD._replace(judged=False, sessions_up=False), T0 + 1) == []
    effects = node.step(GOOD._replace(sessions_up=False), T0 + 2)
    assert effects == [SetInterfaces(("eth2",), True), SetFailureRoute("192.0.2.1/32", False)]
    assert node.step(GOOD._replace(sessions_up=False), T0 + 3) == [], "once"


def test_a_reload_takes_back_actions_that_are_no_longer_asked_for() -> None:
    node = online()
    node.step(GOOD._replace(failed_weight=100), T0)
    undone = node.reconfigure(replace(GROUP, shutdown_on_failure=(), failure_route=None), TIMERS)
    assert undone == [SetInterfaces(("eth2",), True), SetFailureRoute("192.0.2.1/32", False)]


def test_the_next_look_is_when_something_may_fit() -> None:
    node = NodeMachine(GROUP, TIMERS, T0)
    assert (node.since, node.deadline(T0)) == (T0, T0 + TIMERS.settle)
    node.step(GOOD, T0 + 1)
    assert node.deadline(T0 + 1) == T0 + 1 + TIMERS.recover, "clean since then"
    node.step(GOOD._replace(contact=False, reach=False), T0 + 4 * SECOND)
    assert node.deadline(T0 + 4 * SECOND) == T0 + 4 * SECOND + TIMERS.settle
    node.step(GOOD._replace(contact=False, reach=False), T0 + 4 * SECOND + TIMERS.settle)
    assert node.state is NodeState.ISOLATED and node.deadline(T0 + TIMERS.boot) is None


def test_only_what_takes_the_node_out_of_service_is_an_alarm() -> None:
    node = online()
    down = node.step(GOOD._replace(failed_weight=100), T0)
    back = node.step(GOOD, T0 + SECOND) + node.step(GOOD, T0 + SECOND + TIMERS.recover)
    alarms = [e.alarm for e in down + back if isinstance(e, Note)]
    assert alarms == [True, False]


def test_a_node_that_never_met_anybody_is_not_isolated_before_t_boot() -> None:
    node = NodeMachine(GROUP, TIMERS, T0)
    nobody = GOOD._replace(contact=False, reach=False, sessions_up=False)
    node.step(nobody, T0 + TIMERS.boot - 1)
    node.step(nobody, T0 + TIMERS.boot - 1 + TIMERS.settle)
    assert node.state is NodeState.ONLINE
    node.step(nobody, T0 + TIMERS.boot - 1 + 2 * TIMERS.settle)
    assert node.state is NodeState.ISOLATED
