"""Situations that an engineer may meet at 3 a.m., as whole statuses; and a control server that answers with them."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from l3ha.base.time import HOUR, MINUTE, MS, SECOND, US
from l3ha.control import protocol
from l3ha.core.status import (
    ArbiterStatus,
    BfdStatus,
    LatenessStatus,
    MonitorStatus,
    NeighborStatus,
    NodeStatus,
    PathStatus,
    PeerStatus,
    ProbeStatus,
    RouteStatus,
    SpeakerStatus,
    SrgPeerStatus,
    SrgStatus,
    Status,
)

ROUTES = ("100.64.255.1/32", "10.1.0.0/16", "10.2.0.0/16")


def _path(name: str, local: str, remote: str, router: str | None, up: bool = True) -> PathStatus:
    since, heard = (2 * HOUR + 5 * MINUTE, 43 * MS) if up else (3 * SECOND + 200 * MS, 3 * SECOND + 700 * MS)
    return PathStatus(name, local, remote, router, up, since, heard, 412 * US, 76_012, 75_980)


PATHS = (
    _path("icl", "100.64.0.1", "100.64.0.2", None),
    _path("r1", "100.64.11.2", "100.64.12.2", "r1"),
    _path("r2", "100.64.21.2", "100.64.22.2", "r2"),
)
NODE = NodeStatus(
    cluster="edge",
    name="n1",
    id=1,
    state="ONLINE",
    rule="gates open",
    since=2 * HOUR + 6 * MINUTE,
    failure_events=(),
    maintenance=False,
    software="0.1.0",
    digest="9f3a6c1b2d4e5f60",
    incarnation="5e0b1c2d3f4a5b6c",
    intent="running",
    routes=(),
    uptime=2 * HOUR + 6 * MINUTE,
    pauses=0,
    lateness=LatenessStatus(864_000, 131 * US, 1024 * US, 2048 * US, 3_400 * US),
)
PEER = PeerStatus(
    id=2,
    name="n2",
    contact=True,
    since=2 * HOUR + 5 * MINUTE,
    encrypted=True,
    session_age=41 * MINUTE + 3 * SECOND,
    interval=100 * MS,
    multiplier=5,
    state="ONLINE",
    intent="running",
    incarnation="0a1b2c3d4e5f6071",
    software="0.1.0",
    digest="9f3a6c1b2d4e5f60",
    differs=(),
    reach=("r1", "r2"),
    paths=PATHS,
    sent=228_036,
    received=227_940,
    drops={"replay": 2, "wrong key": 0},
)


def _arbiter(name: str, own: str, router: str, floating: str = "ANSWERED") -> ArbiterStatus:
    rtt = 310 * US if floating == "ANSWERED" else None
    return ArbiterStatus(
        name=name,
        own_source=own,
        floating_source="100.64.255.1",
        destination=router,
        own="ANSWERED",
        floating=floating,
        known=True,
        own_rtt=295 * US,
        floating_rtt=rtt,
        sent=151_200,
        answered=151_198,
        drops={"wrong source": 1},
        error=None,
    )


PROBE = ProbeStatus(
    "WIN",
    1432,
    100 * MS,
    2,
    3,
    (_arbiter("r1", "100.64.11.2", "100.64.11.1"), _arbiter("r2", "100.64.21.2", "100.64.21.1")),
)
LOST = replace(
    PROBE,
    verdict="LOSE",
    arbiters=(
        _arbiter("r1", "100.64.11.2", "100.64.11.1", "SILENT"),
        _arbiter("r2", "100.64.21.2", "100.64.21.1", "SILENT"),
    ),
)
MONITORS = (
    MonitorStatus(1, "uplink-r1", "interface", "eth1", 100, True, 2 * HOUR, 1, 1, "carrier up"),
    MonitorStatus(1, "session-r1", "bgp", "r1", 50, True, 2 * HOUR, 1, 1, "session up"),
    MonitorStatus(1, "internet", "ip", "198.51.100.7", 50, True, 2 * HOUR, 2, 3, "answered"),
)
SRG = SrgStatus(
    id=1,
    description="internet edge",
    state="ACTIVE",
    confirmed=True,
    since=2 * HOUR + 5 * MINUTE,
    rule="granted",
    reason="n2 granted term 12: elected at boot, own priority is higher; term 12",
    rule_age=2 * HOUR + 5 * MINUTE,
    priority=200,
    preempt=False,
    level="HIGH",
    term=12,
    seen=12,
    claim=None,
    grant=None,
    heir=False,
    eligible=True,
    ready=True,
    verified=True,
    failure_events=(),
    weight_failed=0,
    threshold=100,
    floating=("100.64.255.1/32",),
    routes=ROUTES,
    move=None,
    probe=PROBE,
    monitors=MONITORS,
    peers=(SrgPeerStatus(2, "n2", "BACKUP", False, 11, True, True, False, 100),),
)
NEIGHBORS = (
    NeighborStatus("r1", "r1", "100.64.11.1", 65001, "med", True, 2 * HOUR, True, None),
    NeighborStatus("r2", "r2", "100.64.21.1", 65002, "med", True, 2 * HOUR, True, None),
)
SPEAKER = SpeakerStatus(True, "5.0.15", 2 * SECOND, True, "lower", 7, True)


def _routes(level: str, term: int) -> tuple[RouteStatus, ...]:
    return tuple(RouteStatus(name, 1, tuple(ROUTES), level, term, "med 99998800", True) for name in ("r1", "r2"))


BFD_UP = BfdStatus(
    neighbor="r1",
    address="100.64.11.1",
    local_address="100.64.11.2",
    source="l3ha",
    multihop=False,
    authenticated=True,
    state="UP",
    remote_state="UP",
    diagnostic="NONE",
    remote_diagnostic="NONE",
    since=2 * HOUR,
    interval=100 * MS,
    required_rx=100 * MS,
    remote_tx=50 * MS,
    remote_rx=100 * MS,
    multiplier=3,
    remote_multiplier=4,
    detection=400 * MS,
    witness=None,
    counted=True,
    sent=82_000,
    received=81_998,
    drops={"ttl": 2},
    flaps=1,
    error=None,
)
BFD_CUT = replace(
    BFD_UP,
    neighbor="r2",
    address="100.64.21.1",
    local_address="100.64.21.2",
    authenticated=False,
    state="DOWN",
    remote_state="UP",
    diagnostic="detection time expired",
    since=3 * SECOND,
    counted=False,
    error="cannot send: Network is unreachable",
)
ACTIVE = Status(NODE, (PEER,), (SRG,), (), NEIGHBORS, _routes("HIGH", 12), SPEAKER, (BFD_UP,))

BACKUP = replace(
    ACTIVE,
    srgs=(
        replace(
            SRG,
            state="BACKUP",
            confirmed=False,
            rule="follow",
            reason="n2 is ACTIVE with term 12",
            level="MEDIUM",
            term=9,
            probe=LOST,
            verified=False,
            peers=(SrgPeerStatus(2, "n2", "ACTIVE", True, 12, True, True, True, 100),),
        ),
    ),
)

INELIGIBLE = replace(
    ACTIVE,
    srgs=(
        replace(
            BACKUP.srgs[0],
            state="INELIGIBLE",
            rule="failed",
            reason="interface monitor uplink-r1: eth1 has no carrier",
            since=3 * SECOND + 200 * MS,
            rule_age=3 * SECOND + 200 * MS,
            level="LOW",
            term=12,
            seen=13,
            eligible=False,
            ready=False,
            failure_events=("IF",),
            weight_failed=100,
            grant="13 to n2 for 480ms",
            monitors=(replace(MONITORS[0], up=False, since=3 * SECOND + 200 * MS, reason="no carrier"), *MONITORS[1:]),
            peers=(SrgPeerStatus(2, "n2", "ACTIVE", True, 13, True, True, False, 100),),
        ),
    ),
    neighbors=(
        replace(NEIGHBORS[0], up=False, confirmed=False, since=3 * SECOND, error="hold timer expired"),
        NEIGHBORS[1],
    ),
    bfd=(BFD_UP, BFD_CUT),
)

ICL_DOWN = replace(
    ACTIVE, peers=(replace(PEER, paths=(_path("icl", "100.64.0.1", "100.64.0.2", None, False), *PATHS[1:])),)
)

PEER_LOST = replace(
    ACTIVE,
    peers=(
        replace(
            PEER,
            contact=False,
            since=3 * SECOND + 200 * MS,
            paths=tuple(_path(p.name, p.local, p.remote, p.router, False) for p in PATHS),
        ),
    ),
    srgs=(
        replace(
            SRG,
            confirmed=False,
            term=13,
            seen=13,
            since=3 * SECOND + 200 * MS,
            rule_age=3 * SECOND + 200 * MS,
            rule="silence",
            reason="n2 is silent on all paths for 500 ms while r1, which a path runs through, answers us; term 13",
            peers=(SrgPeerStatus(2, "n2", "ACTIVE", True, 12, True, True, True, 100),),
        ),
    ),
)

NEVER_HEARD = replace(
    ACTIVE,
    peers=(
        replace(
            PEER,
            contact=False,
            since=None,
            encrypted=False,
            session_age=None,
            state=None,
            intent=None,
            incarnation=None,
            software=None,
            digest=None,
            reach=(),
            received=0,
            drops={"handshake": 12},
            paths=tuple(replace(p, up=False, since=None, heard=None, rtt=None, received=0) for p in PATHS),
        ),
    ),
    srgs=(
        replace(
            SRG,
            state="HOLD",
            confirmed=False,
            rule="boot",
            reason="the process has started",
            since=4 * SECOND,
            rule_age=4 * SECOND,
            level="LOW",
            term=0,
            seen=0,
            verified=False,
            ready=False,
            probe=replace(LOST, verdict="UNKNOWN", arbiters=tuple(replace(a, known=False) for a in LOST.arbiters)),
            peers=(SrgPeerStatus(2, "n2", None, False, 0, None, None, False, None),),
        ),
    ),
)

NO_SPEAKER = replace(
    ACTIVE,
    speaker=SpeakerStatus(False, None, 2 * SECOND, False, "lower", 7, False),
    neighbors=tuple(replace(n, up=False, since=4 * SECOND, confirmed=False) for n in NEIGHBORS),
    srgs=(
        replace(
            INELIGIBLE.srgs[0],
            failure_events=("CP",),
            reason="the speaker is gone for 1 s",
            monitors=MONITORS,
            weight_failed=0,
        ),
    ),
)

CASES = {
    "active": ACTIVE,
    "backup": BACKUP,
    "ineligible": INELIGIBLE,
    "icl_down": ICL_DOWN,
    "peer_lost": PEER_LOST,
    "never_heard": NEVER_HEARD,
    "no_speaker": NO_SPEAKER,
}

EVENTS: list[dict[str, Any]] = [
    {
        "at": 1_763_705_602_123_000_000,
        "age": 4 * MINUTE + 12 * SECOND,
        "kind": "transition",
        "srg": 1,
        "rule": "elect",
        "text": "HOLD -> ACTIVE: n2 granted term 12",
        "fields": {"term": 12},
        "alarm": False,
    },
    {
        "at": 1_763_705_854_456_000_000,
        "age": 320 * MS,
        "kind": "path",
        "srg": None,
        "rule": None,
        "text": "path icl to n2 is down: nothing came back for 500 ms, while the paths r1 and r2 stay up",
        "fields": {},
        "alarm": True,
    },
]

Answerer = Callable[[bytes], bytes | None]
"""A request line -> what is sent back before hanging up; None: hold the connection open and stay silent."""


def answering(status: Status) -> Answerer:
    """What the agent does with ``show`` and ``events``, on a fixed status."""

    def answer(line: bytes) -> bytes:
        try:
            request = protocol.decode_request(line)
            match request.call:
                case protocol.Show() as show:
                    return protocol.encode_result(request.id, protocol.show_result(status, show))
                case protocol.Events(limit, srg):
                    wanted = [e for e in EVENTS if srg in (None, e["srg"])]
                    return protocol.encode_result(request.id, protocol.events_result(wanted[-limit:]))
                case _:
                    return protocol.encode_result(request.id, {})
        except protocol.ProtocolError as error:
            return protocol.encode_error(error)

    return answer


@contextlib.contextmanager
def serving(run_dir: Path, answer: Answerer) -> Iterator[list[bytes]]:
    """A control server in a thread; yields the request lines that came."""
    seen: list[bytes] = []
    held: list[socket.socket] = []
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(run_dir / protocol.SOCKET_NAME))
    listener.listen(8)

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            line = connection.makefile("rb").readline()
            if not line:
                connection.close()
                return
            seen.append(line)
            reply = answer(line)
            if reply is None:
                held.append(connection)
                continue
            with contextlib.suppress(OSError):
                connection.sendall(reply)
            connection.close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as end:
            end.connect(str(run_dir / protocol.SOCKET_NAME))  # an empty line ends the thread
        thread.join(5)
        listener.close()
        for connection in held:
            connection.close()
