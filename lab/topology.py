"""The picture as data, and its network namespaces.

    hosta --- R1 ---+--- n1 ---+--- R2 --- hostb          n1 --icl-- n2
                    +--- n2 ---+

An interface is named after what is at its other end; the dedicated link between the nodes is ``icl``. Addresses and
static routes are in ``nodes/NAME/net.sh``, which containerlab runs too.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from lab.command import LabError, run

LAB_DIR = Path(__file__).resolve().parent
NODES_DIR = LAB_DIR / "nodes"
REPOSITORY = LAB_DIR.parent

HOSTS = ("hosta", "hostb")
ROUTERS = ("r1", "r2")
NODES = ("n1", "n2")
MACHINES = HOSTS + ROUTERS + NODES


class End(NamedTuple):
    """One end of a cable."""

    machine: str
    interface: str


LINKS: tuple[tuple[End, End], ...] = (
    (End("hosta", "r1"), End("r1", "hosta")),
    (End("hostb", "r2"), End("r2", "hostb")),
    (End("r1", "n1"), End("n1", "r1")),
    (End("r1", "n2"), End("n2", "r1")),
    (End("r2", "n1"), End("n1", "r2")),
    (End("r2", "n2"), End("n2", "r2")),
    (End("n1", "icl"), End("n2", "icl")),
)

GATEWAYS = {
    "100.64.11.2": "n1",
    "100.64.12.2": "n2",
    "100.64.21.2": "n1",
    "100.64.22.2": "n2",
    "fd00:11::2": "n1",
    "fd00:12::2": "n2",
    "fd00:21::2": "n1",
    "fd00:22::2": "n2",
}
"""Whose address a router's next hop is."""

HOST_ADDRESS = {"hosta": "10.1.0.10", "hostb": "10.2.0.10"}
BEYOND = {"r1": ("10.2.0.0/16", "fd00:2::/48"), "r2": ("10.1.0.0/16", "fd00:1::/48")}
"""What each router must learn from the active node to reach the other side, and which host is there."""

_QUIET = "net.ipv6.conf.default.accept_dad=0", "net.ipv6.conf.all.accept_dad=0"
"""Duplicate address detection would hold back every IPv6 address for a second or two."""


def namespace(tag: str, machine: str) -> str:
    """Name of a machine's network namespace."""
    return f"l3ha-{tag}-{machine}"


def inside(tag: str, machine: str, *argv: str) -> list[str]:
    """The command line that runs ``argv`` in a machine's namespace."""
    return ["ip", "netns", "exec", namespace(tag, machine), *argv]


def existing(tag: str) -> list[str]:
    """Namespaces of this lab that exist."""
    wanted = {namespace(tag, machine) for machine in MACHINES}
    return sorted(wanted & {line.split()[0] for line in run(["ip", "netns", "list"]).splitlines() if line.strip()})


def build(tag: str) -> None:
    """Create the machines and cables, then let each ``net.sh`` do the addresses."""
    if os.geteuid() != 0:
        raise LabError("the lab needs root: it makes network namespaces")
    for machine in MACHINES:
        run(["ip", "netns", "add", namespace(tag, machine)])
        run(inside(tag, machine, "sysctl", "-qw", *_QUIET))
    for left, right in LINKS:
        one, other = namespace(tag, left.machine), namespace(tag, right.machine)
        veth = ["type", "veth", "peer", "name", right.interface, "netns", other]
        run(["ip", "-n", one, "link", "add", left.interface, *veth])
    for machine in MACHINES:
        configure(tag, machine)


def configure(tag: str, machine: str) -> None:
    """Bring links up and restore addresses and routes; safe to repeat."""
    run(inside(tag, machine, "sh", str(NODES_DIR / machine / "net.sh")))


def set_links(tag: str, *ends: End, up: bool) -> None:
    """Pull or plug these ends of cables at once; the other ends lose or gain their carrier.

    At once: whoever notices the first must not keep the hand from the others. So they are pulled side by side, with a
    higher priority than any agent has, where that is permitted.
    """
    state = "up" if up else "down"
    words = [f"ip -n {namespace(tag, end.machine)} link set {end.interface} {state}" for end in ends]
    begin = "".join(f'{command} & hands="$hands $!"; ' for command in words)
    urgent = "chrt --fifo --pid 30 $$ 2>/dev/null; "
    run(["sh", "-c", f'{urgent}{begin}for hand in $hands; do wait "$hand" || exit; done'])


def far_end(machine: str, interface: str) -> End:
    """What is at the other end of a cable."""
    for left, right in LINKS:
        if left == (machine, interface):
            return right
        if right == (machine, interface):
            return left
    raise LabError(f"{machine} has no interface {interface}")


def processes(tag: str, *machines: str) -> list[int]:
    """Everything that runs in the lab's namespaces, or in these machines' only: their names are unique, all is ours."""
    found: list[int] = []
    for name in [namespace(tag, machine) for machine in machines] or existing(tag):
        found += [int(word) for word in run(["ip", "netns", "pids", name]).split()]
    return found


def remove(tag: str) -> None:
    """Delete the namespaces; the cables go with them."""
    for name in existing(tag):
        run(["ip", "netns", "delete", name])
