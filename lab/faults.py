"""What can go wrong: each fault breaks something at the active node (or at a router) and can mend it again."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from lab import keeper, topology
from lab.bounds import FROZEN_S, LEASE_OVER_S, SETTLED_S, TAKEOVER_MS
from lab.command import LabError, run
from lab.observe import Picture, other, pair, restarted, serving
from lab.routers import RouterKind
from lab.topology import NODES, ROUTERS, far_end, inside
from lab.world import Lab

Act: TypeAlias = Callable[[Lab, str], None]
"""Something done to a lab in which this node is the active one."""

_TABLE = "l3ha_fault"
_HOOK = "type filter hook {hook} priority -300; policy {policy};"
_HEARTBEATS = 7411


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault. ``expect`` says what must be seen while it lasts (or after, where it passes by itself)."""

    name: str
    title: str
    apply: Act
    expect: Callable[[str], tuple[Picture, ...]]
    """Pictures of which one must come, given the node that was active before."""
    limit_ms: float
    """Longest hole allowed in the traffic; 0: not one packet may be lost."""
    heal: Act | None = None
    """None: it passes by itself."""
    within_s: float = 10
    steady_s: float = 1.0
    """How long the picture must hold: longer than any reaction to the fault would take to show."""


# --- silence -------------------------------------------------------------------------------------------------------


def _nft(lab: Lab, node: str, script: str) -> None:
    run(inside(lab.tag, node, "nft", "-f", "-"), stdin=script)


def _die(lab: Lab, active: str) -> None:
    """Drop everything at the first and last hook; carrier stays, and so does ARP, as with a hung kernel."""
    chains = "\n".join(
        f"chain {hook} {{ {_HOOK.format(hook=hook, policy='drop')}\n}}" for hook in ("prerouting", "output")
    )
    _nft(lab, active, f"table inet {_TABLE} {{\n{chains}\n}}\n")


def _filter_heartbeats(lab: Lab, _active: str) -> None:
    for node in NODES:
        chains = "\n".join(
            f"chain {hook} {{ {_HOOK.format(hook=hook, policy='accept')}\nudp dport {_HEARTBEATS} drop\n}}"
            for hook in ("prerouting", "output")
        )
        _nft(lab, node, f"table inet {_TABLE} {{\n{chains}\n}}\n")


def _revive(lab: Lab, active: str) -> None:
    _nft(lab, active, f"delete table inet {_TABLE}\n")


def _pass_heartbeats(lab: Lab, _active: str) -> None:
    for node in NODES:
        _revive(lab, node)


# --- links ---------------------------------------------------------------------------------------------------------


def _cut(*interfaces: str) -> Act:
    """Pull these cables of the active node at their far ends: it sees the carrier go."""

    def apply(lab: Lab, active: str) -> None:
        topology.set_links(lab.tag, *(far_end(active, interface) for interface in interfaces), up=False)

    return apply


def _plug(*interfaces: str) -> Act:
    """Put them back, with the addresses and routes that the kernel dropped."""

    def heal(lab: Lab, active: str) -> None:
        ends = [far_end(active, interface) for interface in interfaces]
        topology.set_links(lab.tag, *ends, up=True)
        for machine in {active, *(end.machine for end in ends)}:
            topology.configure(lab.tag, machine)

    return heal


# --- processes -----------------------------------------------------------------------------------------------------


def _kill(*services: str) -> Act:
    """Kill -9 services of the active node (or a router's, by their full names); the keeper starts them again."""

    def apply(lab: Lab, active: str) -> None:
        names = [service if "-" in service else f"{service}-{active}" for service in services]
        starts = {name: lab.starts(name) for name in names}
        for name in names:
            os.kill(lab.pid(name), signal.SIGKILL)
        for name in names:
            restarted(lab, name, starts[name])

    return apply


def _lose_agent(lab: Lab, active: str) -> None:
    name = f"agent-{active}"
    keeper.switch(lab.services, name, on=False)
    os.kill(lab.pid(name), signal.SIGKILL)


def _regain_agent(lab: Lab, active: str) -> None:
    keeper.switch(lab.services, f"agent-{active}", on=True)


def _freeze(lab: Lab, active: str) -> None:
    os.kill(lab.pid(f"agent-{active}"), signal.SIGSTOP)


def _thaw(lab: Lab, active: str) -> None:
    os.kill(lab.pid(f"agent-{active}"), signal.SIGCONT)


def _everything(lab: Lab, node: str, number: signal.Signals) -> None:
    for pid in (lab.pid(f"agent-{node}"), speaker_pid(lab, node), lab.pid(f"exabgp-{node}")):
        os.kill(pid, number)


def _stop_world(lab: Lab, active: str) -> None:
    """Agent, speaker and ExaBGP stand still; the kernel goes on forwarding."""
    _everything(lab, active, signal.SIGSTOP)


def _continue_world(lab: Lab, active: str) -> None:
    _everything(lab, active, signal.SIGCONT)


def _all(*acts: Act) -> Act:
    def apply(lab: Lab, active: str) -> None:
        for act in acts:
            act(lab, active)

    return apply


def speaker_pid(lab: Lab, node: str) -> int:
    """The process that ExaBGP started."""
    exabgp = lab.pid(f"exabgp-{node}")
    children = Path(f"/proc/{exabgp}/task/{exabgp}/children").read_text().split()
    for child in map(int, children):
        if "speaker" in Path(f"/proc/{child}/cmdline").read_text():
            return child
    raise LabError(f"ExaBGP on {node} runs no speaker; see {lab.directory / 'log'}")


def _kill_speaker(lab: Lab, active: str) -> None:
    os.kill(speaker_pid(lab, active), signal.SIGKILL)


def _restart_agent(lab: Lab, active: str) -> None:
    starts = lab.starts(f"agent-{active}")
    lab.cli(active, "request", "restart")
    restarted(lab, f"agent-{active}", starts)


def _restart_router(lab: Lab, active: str) -> None:
    daemons = ("bird-r1",) if lab.kind is RouterKind.BIRD else ("zebra-r1", "bgpd-r1")
    _kill(*daemons)(lab, active)


def _planned_move(lab: Lab, active: str) -> None:
    lab.cli(active, "request", "failover", "srg", "1", "--wait")


# --- what follows --------------------------------------------------------------------------------------------------


def _taken_over(active: str) -> tuple[Picture, ...]:
    """As long as the heir is not confirmed by its probe, a returning node of higher priority would win the duel."""
    heir = other(active)
    return ({**serving(heir), heir: {"state": "ACTIVE", "confirmed": True}},)


def _moved_and(state: str) -> Callable[[str], tuple[Picture, ...]]:
    return lambda active: ({**serving(other(active)), active: {"state": state}},)


def _moved_whole(active: str) -> tuple[Picture, ...]:
    return (pair(other(active)),)


def _stayed(active: str) -> tuple[Picture, ...]:
    return (pair(active),)


def _either(active: str) -> tuple[Picture, ...]:
    return (pair(other(active)), pair(active))


FAULTS: tuple[Fault, ...] = (
    Fault("silent-death", "silent death: links up, everything dropped", _die, _taken_over, TAKEOVER_MS, _revive),
    Fault(
        "carrier-loss",
        "carrier loss: both uplinks of the active node",
        _cut(*ROUTERS),
        _moved_and("INELIGIBLE"),
        300,
        _plug(*ROUTERS),
    ),
    Fault("one-uplink", "one uplink of the active node", _cut("r1"), _moved_and("INELIGIBLE"), 300, _plug("r1")),
    Fault("agent-kill", "agent killed (-9), restarted", _kill("agent"), _either, 0, within_s=SETTLED_S),
    Fault(
        "agent-loss",
        "agent killed (-9), not restarted",
        _lose_agent,
        _taken_over,
        0,
        _regain_agent,
        steady_s=LEASE_OVER_S,
    ),
    Fault("agent-freeze", "agent frozen, thawed", _freeze, _taken_over, 0, _thaw, steady_s=FROZEN_S),
    Fault(
        "node-freeze",
        "agent, speaker and ExaBGP frozen, thawed",
        _stop_world,
        _taken_over,
        0,
        _continue_world,
        steady_s=FROZEN_S,
    ),
    Fault("agent-restart", "agent restarted by request", _restart_agent, _stayed, 0, within_s=SETTLED_S),
    Fault(
        "speaker-kill", "speaker killed (-9), restarted", _kill_speaker, _either, 0, within_s=SETTLED_S, steady_s=2.0
    ),
    Fault("exabgp-kill", "ExaBGP killed (-9), restarted", _kill("exabgp"), _either, 0, within_s=SETTLED_S),
    Fault("icl-cut", "dedicated ICL link cut", _cut("icl"), _stayed, 0, _plug("icl"), steady_s=2.0),
    Fault(
        "icl-cut-agent-kill",
        "dedicated ICL link cut and agent killed (-9), restarted",
        _all(_cut("icl"), _kill("agent")),
        _either,
        0,
        _plug("icl"),
        within_s=SETTLED_S,
    ),
    Fault(
        "heartbeats-filtered",
        "all heartbeats filtered, on every path",
        _filter_heartbeats,
        _moved_and("BACKUP"),
        0,
        _pass_heartbeats,
        steady_s=3.0,
    ),
    Fault(
        "router-restart", "R1's daemons killed (-9), restarted", _restart_router, _either, 10_000, within_s=SETTLED_S
    ),
    Fault("planned-move", "planned move", _planned_move, _moved_whole, 0),
)
"""In the order of the table."""


def by_name(name: str) -> Fault:
    """One fault. Raises ``LabError`` that lists all names."""
    for fault in FAULTS:
        if fault.name == name:
            return fault
    raise LabError(f"no fault {name}; there are {', '.join(fault.name for fault in FAULTS)}")
