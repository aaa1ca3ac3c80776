"""Stories of the documentation, as schedules: each is played on the default stage and told as a readable trace."""

from __future__ import annotations

from dataclasses import dataclass

from l3ha.base.time import MS, SECOND, Duration
from l3ha.sim.case import Case, Ending, alone
from l3ha.sim.faults import Fault, Kind
from l3ha.sim.setting import Variant

DEFAULT = Variant()


@dataclass(frozen=True, slots=True)
class Story:
    """One scenario."""

    text: str
    faults: tuple[Fault, ...]
    phase: Duration
    ending: Ending = Ending.HEAL_ALL
    variant: Variant = DEFAULT


def _at(ms: int, kind: Kind, node: int = 0, place: str = "", value: int = 0, *, until: int | None = None) -> Fault:
    return Fault(ms * MS, None if until is None else until * MS, kind, node, place, value)


STORIES: dict[str, Story] = {
    "boot": Story("Both nodes start at once; nothing else happens.", (), 5 * SECOND),
    "silent-death": Story(
        "The active node loses power without a word; the routers keep its routes until the hold time.",
        (_at(1000, Kind.CRASH, 1),),
        12 * SECOND,
    ),
    "icl-cut": Story(
        "The dedicated link is cut: the witness paths remain.", (_at(1000, Kind.CUT, 0, "icl"),), 8 * SECOND
    ),
    "filtered": Story(
        "A filter eats every heartbeat while both nodes live: one silent takeover, and no second one.",
        (_at(1000, Kind.FILTER),),
        15 * SECOND,
    ),
    "planned-move": Story("The operator moves the group.", (_at(1000, Kind.FAILOVER, 1),), 5 * SECOND),
    "maintenance": Story(
        "The active node goes into maintenance, and comes back.",
        (_at(1000, Kind.MAINTENANCE, 1, until=6000),),
        8 * SECOND,
    ),
    "pause": Story(
        "The active agent is stopped for three seconds and goes on.",
        (_at(1000, Kind.FREEZE, 1, until=4000),),
        6 * SECOND,
    ),
    "agent-killed": Story("kill -9 of the active agent; BGP stays.", (_at(1000, Kind.KILL_AGENT, 1),), 6 * SECOND),
    "agent-restart": Story(
        "The active agent is restarted cleanly.", (_at(1000, Kind.RESTART, 1, until=1600),), 5 * SECOND
    ),
    "clean-stop": Story("The active agent is stopped for good.", (_at(1000, Kind.STOP, 1),), 6 * SECOND),
    "exabgp-killed": Story(
        "ExaBGP of the active node dies.", (_at(1000, Kind.KILL_EXABGP, 1, until=3000),), 8 * SECOND
    ),
    "speaker-killed": Story(
        "The speaker of the active node dies alone.", (_at(1000, Kind.KILL_HELPER, 1, until=1200),), 6 * SECOND
    ),
    "monitor": Story("The active node's uplink fails.", (_at(1000, Kind.MONITOR, 1, until=4000),), 8 * SECOND),
    "router-lost": Story(
        "One of the routers reboots.", (_at(1000, Kind.ROUTER_DOWN, 0, "r1", until=9000),), 12 * SECOND
    ),
    "link-lost": Story("The active node loses one of its links.", (_at(1000, Kind.LINK_DOWN, 1, "r1"),), 8 * SECOND),
    "one-way": Story("One direction of every path is lost.", (_at(1000, Kind.FILTER, value=1),), 10 * SECOND),
    "disk-lost": Story(
        "The active node loses power and comes back with an empty disk.",
        (_at(1000, Kind.CRASH, 1, value=1, until=4000),),
        25 * SECOND,
    ),
    "disk-full": Story(
        "No term can be written on the active node, and its agent is killed.",
        (_at(500, Kind.DISK_FULL, 1), _at(1000, Kind.KILL_AGENT, 1, until=1300)),
        8 * SECOND,
    ),
    "node-frozen": Story(
        "The whole active machine stands still for five seconds: agent, speaker and ExaBGP.",
        (_at(1000, Kind.FREEZE_NODE, 1, until=6000),),
        10 * SECOND,
    ),
    "exabgp-hung": Story(
        "ExaBGP of the active node answers nothing for a while, and the operator moves the group.",
        (_at(1000, Kind.EXABGP_HANG, 1, until=8000), _at(2000, Kind.FAILOVER, 1)),
        12 * SECOND,
    ),
    "exabgp-unreliable": Story(
        "ExaBGP of the heir is slow, refuses commands and loses answers while the active node dies.",
        (
            _at(500, Kind.EXABGP_SLOW, 2, until=9000),
            _at(500, Kind.EXABGP_ERRORS, 2, until=9000),
            _at(500, Kind.EXABGP_MUTE, 2, until=9000),
            _at(1000, Kind.CRASH, 1),
        ),
        12 * SECOND,
    ),
    "noise": Story(
        "The dedicated link loses, doubles, reorders, delays and damages what it carries.",
        (_at(1000, Kind.NOISE, 0, "icl", 8, until=6000),),
        8 * SECOND,
    ),
    "silent-link": Story(
        "A link of the active node loses everything without losing its carrier.",
        (_at(1000, Kind.BLACKHOLE, 1, "r1"),),
        20 * SECOND,
    ),
    "echoes-lost": Story(
        "A router drops most echoes (its own rate limit), then the dedicated link goes, too.",
        (_at(1000, Kind.ECHO_LOSS, 0, "r1", 60, until=9000), _at(2000, Kind.CUT, 0, "icl", until=8000)),
        10 * SECOND,
    ),
    "probe-filtered": Story(
        "Both routers drop the floating source: the probe knows nothing, and the active node dies.",
        (_at(500, Kind.ACL, 0, "r1"), _at(500, Kind.ACL, 0, "r2"), _at(3000, Kind.CRASH, 1)),
        10 * SECOND,
    ),
    "ecmp": Story(
        "A router answers the floating echoes of both nodes while they are in contact.",
        (_at(1000, Kind.ECMP, 0, "r1"),),
        10 * SECOND,
    ),
    "lie": Story(
        "A router answers the floating echoes of the backup node, whatever it prefers.",
        (_at(1000, Kind.LIE, 0, "r1", 2),),
        10 * SECOND,
    ),
    "unheard-and-misled": Story(
        "Accepted ending K2: no heartbeat passes, and a router answers the node that it does not prefer.",
        (_at(1000, Kind.LIE, 0, "r1", 1), _at(2000, Kind.FILTER)),
        10 * SECOND,
        Ending.STEADY,
    ),
    "crossed-links": Story(
        "Accepted ending K1: n1 has only r1, n2 has only r2, and they do not hear each other.",
        (_at(1000, Kind.LINK_DOWN, 1, "r2"), _at(1000, Kind.LINK_DOWN, 2, "r1"), _at(1000, Kind.CUT, 0, "icl")),
        10 * SECOND,
        Ending.STEADY,
    ),
    "nobody-answers": Story(
        "Accepted ending K3: no witness path, no router answers the floating address, and the active node dies.",
        (_at(500, Kind.ACL, 0, "r1"), _at(500, Kind.ACL, 0, "r2"), _at(1000, Kind.CRASH, 1)),
        12 * SECOND,
        Ending.STEADY,
        Variant(witness=False),
    ),
}
"""By name; the names are those of ``l3ha sim --scenario``."""


def case_of(story: Story, seed: int, nodes: int = 2) -> Case:
    """The story as a case."""
    told = Case(seed, story.variant, story.faults, story.phase, story.ending)
    return told if nodes == 2 else alone(told)
