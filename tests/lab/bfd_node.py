"""BFD as the speaker would run it, alone in a process: one JSON line per change of state, until stdin ends.

Arguments: one ``address,local address,interval in ms,multiplier,least TTL[,key]`` per session; a key means meticulous
SHA1.
"""

from __future__ import annotations

import json
import os
import select
import sys
import time

from l3ha.base.time import MS, SECOND
from l3ha.core.bfd import BfdChanged, BfdEffect, BfdKey, BfdPeer, SendBfd
from l3ha.core.bfd_table import Bfd
from l3ha.drivers.bfd import BfdPorts
from l3ha.wire.bfd import METICULOUS_SHA1


def peer(text: str) -> BfdPeer:
    address, local, interval, multiplier, ttl, *key = text.split(",")
    secret = BfdKey(METICULOUS_SHA1, 1, key[0].encode()) if key else None
    return BfdPeer(address, local, int(interval) * MS, int(multiplier), int(ttl), secret)


def main() -> None:
    peers = [peer(text) for text in sys.argv[1:]]
    ports = BfdPorts(peers)
    machine = Bfd(peers, os.urandom, now())

    def do(effects: list[BfdEffect]) -> None:
        for e in effects:
            match e:
                case SendBfd(address, data):
                    ports.send(address, data)
                case BfdChanged(address, state, why):
                    print(json.dumps([address, state.name, why.name]), flush=True)

    while True:
        deadline = machine.next_deadline()
        wait = None if deadline is None else max(0, deadline - now()) / SECOND
        ready, _, _ = select.select([0, *ports.filenos()], [], [], wait)
        if 0 in ready:
            word = os.read(0, 100)
            if not word:
                return
            for session in machine.sessions.values():
                do(session.admin(up=word.strip() == b"up", now=now()))
        for d in ports.read():
            do(machine.receive(d.source, d.data, d.ttl, now()))
        do(machine.tick(now()))


def now() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


if __name__ == "__main__":
    main()
