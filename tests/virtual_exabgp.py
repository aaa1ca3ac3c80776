"""ExaBGP and the routers behind it in virtual time, with the habits that the speaker's rules exist for.

- changes of a neighbor wait in buckets keyed by attribute set; buckets are sent in the order in which they were made,
  and a set that is used again keeps its old place;
- an announcement equal to what was announced last is dropped as known;
- while a session is down its queue keeps growing; the routes that it should hold are queued again when it comes up;
- the first batch of a session leaves withdrawals out;
- a session that shall be ended ends in its next turn and is opened again in the one after;
- what is forgotten is withdrawn where the session is up;
- a reload drops what was queued; a change for a neighbor that is not configured is refused;
- commands are carried out in order, each answered once at most, late or never, and to whoever is the helper then.

Every public method that takes time is a *turn* of some part: commands, BGP. What ExaBGP writes lies in ``output``.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field

Attributes = tuple[tuple[str, str], ...]

_COMMAND = re.compile(r"neighbor (\S+) (announce|withdraw) attributes (.*) nlri (.*)")
_ENDING = re.compile(r"neighbor (\S+) (teardown 4|clear adj-rib out)")
_KEY_VALUE = re.compile(r"(\S+) (\[[^]]*\]|\S+)")


@dataclass(frozen=True)
class Change:
    """``announce`` False withdraws."""

    announce: bool
    attributes: Attributes


@dataclass
class Session:
    """One neighbor: ExaBGP's side, and the router's table."""

    up: bool = False
    first: bool = True
    torn: bool = False
    reopens: bool = False
    buckets: dict[Attributes, dict[str, Change]] = field(default_factory=dict)
    newest: dict[str, Change] = field(default_factory=dict)
    seen: dict[str, Attributes] = field(default_factory=dict)
    router: dict[str, Attributes] = field(default_factory=dict)

    def change(self, prefix: str, change: Change) -> None:
        if change.announce and self.seen.get(prefix) == change.attributes:
            return
        before = self.newest.get(prefix)
        if not change.announce and before is not None:
            self.buckets[before.attributes].pop(prefix, None)
        self.buckets.setdefault(change.attributes, {})[prefix] = change
        self.newest[prefix] = change
        if change.announce:
            self.seen[prefix] = change.attributes
        else:
            self.seen.pop(prefix, None)

    def start(self) -> None:
        self.up = self.first = True
        self.reopens = False
        for prefix, attributes in self.seen.items():
            self.buckets.setdefault(attributes, {})[prefix] = self.newest[prefix] = Change(True, attributes)

    def stop(self) -> None:
        self.up = self.torn = False
        self.router.clear()

    def forget(self) -> None:
        """All that was announced is withdrawn; as with every withdrawal, the first batch of a session leaves it out."""
        for prefix, attributes in list(self.seen.items()):
            self.change(prefix, Change(False, attributes))

    def forget_queue(self) -> None:
        self.buckets, self.newest = {}, {}

    def send(self) -> None:
        """One batch: everything queued, bucket by bucket."""
        if not self.up or not self.buckets:
            return
        for changes in self.buckets.values():
            for prefix, change in changes.items():
                if change.announce:
                    self.router[prefix] = change.attributes
                elif not self.first:
                    self.router.pop(prefix, None)
        self.forget_queue()
        self.first = False


class VirtualExabgp:
    """See the module."""

    def __init__(self, addresses: list[str], *, lists_all: bool = True) -> None:
        self.sessions = {address: Session() for address in addresses}
        self.output: list[bytes] = []
        self.commands: list[str] = []
        """Every command ever written to it."""
        self.refuse: list[bool] = []
        """For the next announcements and withdrawals, in order: refuse it?"""
        self.forget: list[bool] = []
        """For the next commands that are carried out, in order: lose the answer?"""
        self._lists_all = lists_all
        self._waiting: list[str] = []

    # --- the helper's side ------------------------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        assert data.endswith(b"\n") and data.count(b"\n") == 1
        line = data[:-1].decode("ascii")
        self.commands.append(line)
        if line == "version":
            self._say("exabgp 5.0.15", "done")
        else:
            self._waiting.append(line)

    def new_helper(self) -> None:
        """The helper died: what was said to it is lost; what it had commanded is done, and its successor is told so."""
        self.output.clear()

    @property
    def busy(self) -> bool:
        """Something is still to be done."""
        return bool(
            self._waiting
            or self.output
            or any(s.reopens or (s.up and (s.buckets or s.torn)) for s in self.sessions.values())
        )

    # --- turns --------------------------------------------------------------------------------------------------------

    def carry_out(self) -> None:
        """One command."""
        if not self._waiting:
            return
        line = self._waiting.pop(0)
        answer = self._do(line)
        if not (self.forget and self.forget.pop(0)):
            self._say(answer)

    def bgp(self, address: str) -> None:
        """One batch of UPDATEs, or the end that was asked for."""
        session = self.sessions[address]
        if session.torn:
            self.go_down(address)
            session.reopens = True
        elif session.reopens:
            self.come_up(address)
        session.send()

    def come_up(self, address: str) -> None:
        session = self.sessions[address]
        if not session.up:
            session.start()
            self._event(address, "state", {"state": "up"})
            session.send()  # the first batch is made in the same turn as the event, if anything is queued

    def go_down(self, address: str) -> None:
        session = self.sessions[address]
        if session.up:
            session.stop()
            self._event(address, "state", {"state": "down", "reason": "peer reset"})

    def reload(self) -> None:
        for address, session in self.sessions.items():
            session.forget_queue()
            self._event(address, "signal", {"code": "10", "name": "SIGUSR1"})

    # --- inside -------------------------------------------------------------------------------------------------------

    def _do(self, line: str) -> str:
        if line == "show neighbor summary":
            self._say("Peer            AS        up/down state       |     #sent     #recvd")
            for address, s in self.sessions.items():
                if s.up or self._lists_all:
                    state = "0:00:07 established" if s.up else "   down idle       "
                    self._say(f"{address:<15} 65001   {state}           2          0")
            return "done"
        if line == "show adj-rib out":
            for address, s in self.sessions.items():
                for prefix, attributes in s.seen.items():
                    family = "ipv6" if ":" in prefix else "ipv4"
                    self._say(f"{address} {family} unicast {prefix} next-hop {dict(attributes)['next-hop']}")
            return "done"
        return self._end(*found.groups()) if (found := _ENDING.fullmatch(line)) else self._change(line)

    def _end(self, address: str, verb: str) -> str:
        if address not in self.sessions or (self.refuse and self.refuse.pop(0)):
            return "error"
        session = self.sessions[address]
        if verb == "teardown 4":
            session.torn = session.up
        else:
            session.forget()
        return "done"

    def _change(self, line: str) -> str:
        found = _COMMAND.fullmatch(line)
        if found is None or found[1] not in self.sessions or (self.refuse and self.refuse.pop(0)):
            return "error"
        attributes = tuple((m[1], m[2]) for m in _KEY_VALUE.finditer(found[3]))
        for prefix in found[4].split():
            self.sessions[found[1]].change(prefix, Change(found[2] == "announce", attributes))
        return "done"

    def _event(self, address: str, kind: str, what: dict[str, str]) -> None:
        neighbor = {"address": {"local": "10.0.1.2", "peer": address}, "asn": {"local": 65001, "peer": 65001}}
        self._say(json.dumps({"exabgp": "5.0.0", "type": kind, "neighbor": {**neighbor, **what}}))

    def _say(self, *lines: str) -> None:
        self.output += [line.encode() for line in lines]
