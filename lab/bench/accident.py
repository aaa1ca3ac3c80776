"""The faults of the benchmark: those of the lab where they speak of the network only, and those done to a contender."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

from lab.bench.contender import PREFERRED, Contender
from lab.command import LabError, run
from lab.faults import by_name as lab_fault
from lab.observe import other
from lab.topology import NODES, ROUTERS, End, far_end, inside, namespace

_FILTER = """\
table inet l3ha_bench {{
    chain input {{
        type filter hook input priority -300; policy accept;
        {match} drop
    }}
}}
"""
_CLOSE = "qdisc replace dev {interface} root pfifo limit 0\n"
_OPEN = "qdisc delete dev {interface} root\n"
_URGENT = 50
"""Before l3ha's 11."""

Act: TypeAlias = Callable[[Contender], None]
"""Something done to a contender whose n1 is active."""


@dataclass(frozen=True, slots=True)
class Accident:
    """One fault of the benchmark, always against n1."""

    name: str
    title: str
    apply: Act
    mend: Act | None
    """None: it passes by itself, or the pair is brought home without being measured."""
    lasts_s: float = 0
    """How long traffic must flow before the fault is over, if this is more than the contender's own ``reaction_s``."""
    mending: str | None = None
    """Title of the mending, where it is a row of its own."""
    silences: bool = False
    """Whether n1 is silenced: what it then claims reaches nobody and makes it no second active."""


@contextlib.contextmanager
def _at_once() -> Iterator[None]:
    """Cables do not wait for a processor: what is done by several processes must not be stretched by those that it is
    done to, of which some are more urgent than others. For this thread and the processes that it starts."""
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(_URGENT))
    try:
        yield
    finally:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


def _network(name: str, title: str) -> Accident:
    fault = lab_fault(name)
    heal = fault.heal
    assert heal is not None

    def apply(lab: Contender) -> None:
        with _at_once():
            fault.apply(lab, PREFERRED)

    return Accident(name, title, apply, lambda lab: heal(lab, PREFERRED))


def _signal(number: signal.Signals) -> Act:
    return lambda lab: lab.signal_agent(PREFERRED, number)


def _cables() -> dict[str, list[str]]:
    """Both ends of every cable of n1: interfaces by machine, its own first."""
    own = [End(PREFERRED, interface) for interface in (*ROUTERS, "icl")]
    found: dict[str, list[str]] = {PREFERRED: [end.interface for end in own]}
    for far in (far_end(*end) for end in own):
        found.setdefault(far.machine, []).append(far.interface)
    return found


def _queues(lab: Contender, command: str) -> None:
    """One ``tc`` for each machine: all cables of the node change within a millisecond."""
    for machine, interfaces in _cables().items():
        batch = "".join(command.format(interface=interface) for interface in interfaces)
        run(["tc", "-n", namespace(lab.tag, machine), "-batch", "-"], stdin=batch)


def _die(lab: Contender) -> None:
    """Both ends of every cable of n1 send into a queue of length 0: nothing passes, not even ARP; carriers stay.

    The lab's own fault leaves ARP alone, as a hung kernel does; here a living process would go on claiming a virtual
    address by gratuitous ARP, which no dead node does.
    """
    with _at_once():
        _queues(lab, _CLOSE)


def _revive(lab: Contender) -> None:
    _queues(lab, _OPEN)


def _move(to: str) -> Act:
    """An operator's move is over when both routers follow; one that they do not follow is a failed run."""

    def act(lab: Contender) -> None:
        lab.move(to)
        followed = {"routers": dict.fromkeys(ROUTERS, to)}
        lab.until(
            lambda: {"routers": {router: lab.carrier(router) for router in ROUTERS}},
            followed,
            within_s=30,
            what=f"the routers' move to {to}",
        )

    return act


def _filter(lab: Contender) -> None:
    for node in NODES:
        run(inside(lab.tag, node, "nft", "-f", "-"), stdin=_FILTER.format(match=lab.heartbeats))


def _pass(lab: Contender) -> None:
    for node in NODES:
        run(inside(lab.tag, node, "nft", "delete", "table", "inet", "l3ha_bench"))


ACCIDENTS: tuple[Accident, ...] = (
    Accident(
        "silent-death",
        "silent death of the active node",
        _die,
        _revive,
        mending="return of the dead node",
        silences=True,
    ),
    _network("carrier-loss", "carrier loss, both uplinks of the active node"),
    _network("one-uplink", "one uplink of the active node"),
    Accident("agent-kill", "deciding process killed (-9), restarted", _signal(signal.SIGKILL), None),
    Accident(
        "agent-freeze", "deciding process frozen 6 s, thawed", _signal(signal.SIGSTOP), _signal(signal.SIGCONT), 6
    ),
    Accident(
        "planned-move",
        "planned move",
        _move(other(PREFERRED)),
        _move(PREFERRED),
        mending="planned move back",
    ),
    _network("icl-cut", "link between the nodes cut"),
    Accident("heartbeats-lost", "what the nodes say to each other is filtered everywhere", _filter, _pass),
)
"""In the order of the table. A frozen process is thawed after its ``lasts_s``."""


def by_name(name: str) -> Accident:
    """One fault. Raises ``LabError`` that lists all names."""
    for accident in ACCIDENTS:
        if accident.name == name:
            return accident
    raise LabError(f"no fault {name}; there are {', '.join(each.name for each in ACCIDENTS)}")
