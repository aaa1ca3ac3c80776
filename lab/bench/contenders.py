"""All contenders, in the order of the table."""

from __future__ import annotations

from lab.bench.contender import Contender
from lab.bench.daemons import Bird, Frr
from lab.bench.healthcheck import Healthcheck, HealthcheckBfd, HealthcheckFast
from lab.bench.keepalived import Keepalived, KeepalivedFast
from lab.bench.l3ha import L3ha, L3haBfd, L3haFast
from lab.command import LabError

CONTENDERS: tuple[type[Contender], ...] = (
    L3ha,
    L3haFast,
    L3haBfd,
    Keepalived,
    KeepalivedFast,
    Healthcheck,
    HealthcheckFast,
    HealthcheckBfd,
    Frr,
    Bird,
)


def by_name(name: str) -> type[Contender]:
    """One contender. Raises ``LabError`` that lists all names."""
    for contender in CONTENDERS:
        if contender.name == name:
            return contender
    raise LabError(f"no contender {name}; there are {', '.join(each.name for each in CONTENDERS)}")
