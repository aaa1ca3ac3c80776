"""Limits on everything that could otherwise grow. Each is a number, a unit and the reason."""

from __future__ import annotations

MAX_DATAGRAM = 1400
"""Bytes of one ICL datagram: fits a 1500-byte link with room for a tunnel header."""

MAX_NODES = 2
"""Nodes of one cluster; the wire format has room for ids 1..10."""

MAX_NODE_ID = 10
MAX_SRGS = 20
"""Groups per cluster, as in Junos (1..20); SRG 0 is the node itself."""

MAX_PATHS = 8
"""ICL paths between two nodes."""

MAX_NAME = 32
"""Characters of a node, path, neighbor, arbiter or monitor name."""

MAX_HEARD_TERM = 1 << 31
"""Greatest term that is believed, whoever tells it: a peer, the speaker, the disk. Real ones grow by one, or by a
thousand, and stay far below; nonsense must not use up the numbers that a heartbeat has room for (32 bits)."""

MAX_ROUTES = 10_000
"""Routes of all groups together, and so of one neighbor: written once, they fit a line even as IPv6 host routes. More
belong behind an aggregate: ExaBGP 5 needs 3 s for so many at each neighbor."""

PREFIXES_PER_COMMAND = 50
"""ExaBGP's reactor works in slices of 50, so a larger command gains nothing and delays the first UPDATE."""

FORGOTTEN_PER_SECOND = 2000
"""Routes that ExaBGP 5 forgets in bulk, doing nothing else meanwhile: measured 2 000 beside busy routers, 5 000 alone.
It must not take longer than half a BGP hold time."""

MAX_LINE = 1 << 20
"""Bytes of one line on a local socket (control, speaker)."""

MAX_EVENTS = 1000
"""Notes that the agent remembers for ``show events``."""

DATAGRAMS_PER_TURN = 64
"""Datagrams read from one socket before timers are looked at again: a flood cannot starve the heartbeat."""
