"""The speaker process: ExaBGP's stdin/stdout on one side, the agent's unix socket on the other, a pure machine between.

It always drains ExaBGP (an unread pipe stops BGP), never waits for the agent, and ends only when ExaBGP closes the
pipe. Standard library only: it must start fast and even while the rest of the installation is being upgraded.
"""

from __future__ import annotations

import os
import secrets
import selectors
import socket
import struct
import sys
import time
from pathlib import Path

from l3ha.base.time import MS, SECOND, Instant
from l3ha.core.speaker import (
    AgentDown,
    AgentLine,
    AgentUp,
    ExabgpGone,
    ExabgpLine,
    Log,
    Save,
    Speaker,
    SpeakerEvent,
    Tick,
    ToAgent,
    ToExabgp,
)
from l3ha.speaker.lines import Closed, LineReader, Overflow, Writer

SOCKET_NAME = "speaker.sock"
STATE_NAME = "speaker.json"
EAGER: int = 10 * SECOND
"""How long an absent agent is tried every 20 ms; then every 100 ms."""


def run(run_dir: str) -> int:
    """Be the speaker until ExaBGP goes away. Returns the process's exit code."""
    return Shell(Path(run_dir)).run()


def now() -> Instant:
    """CLOCK_BOOTTIME: never steps, counts suspend."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


class Shell:
    """Descriptors in, effects out."""

    def __init__(self, run_dir: Path) -> None:
        self._run_dir = run_dir
        self._selector = selectors.DefaultSelector()
        self._exabgp_in = LineReader(sys.stdin.fileno())
        self._exabgp_out = Writer(sys.stdout.fileno())
        self._agent: socket.socket | None = None
        self._agent_in: LineReader | None = None
        self._agent_out: Writer | None = None
        self._absent_since = now()
        self._next_try = now()
        self._told_save = False
        self._speaker = Speaker(secrets.randbits(62), secrets.randbits(32), self._saved(), now())

    def run(self) -> int:
        """The loop: descriptors first, then timers."""
        self._selector.register(sys.stdin.fileno(), selectors.EVENT_READ, "exabgp")
        try:
            self._feed(Tick())
            while True:
                self._turn()
        except (Closed, Overflow):
            self._farewell()
            return 0

    def _turn(self) -> None:
        for key, mask in self._selector.select(self._timeout()):
            if key.data == "exabgp":
                for line in self._exabgp_in.read():
                    self._feed(ExabgpLine(line))
            elif key.data == "exabgp-out":
                self._exabgp_out.flush()
            elif self._agent is not None:
                self._serve_agent(mask)
        if self._agent is None and now() >= self._next_try:
            self._connect()
        deadline = self._speaker.next_deadline()
        if deadline is not None and deadline <= now():
            self._feed(Tick())
        self._watch_writers()

    def _timeout(self) -> float:
        deadline = self._speaker.next_deadline()
        times = [t for t in (deadline, self._next_try if self._agent is None else None) if t is not None]
        return max(0.0, (min(times) - now()) / SECOND) if times else 1.0

    def _feed(self, event: SpeakerEvent) -> None:
        for effect in self._speaker.step(event, now()):
            match effect:
                case ToExabgp(data):
                    self._exabgp_out.write(data)
                case ToAgent(data):
                    self._tell_agent(data)
                case Save(data):
                    self._save(data)
                case Log(text):
                    log(text)

    # --- the agent --------------------------------------------------------------------------------------------------

    def _connect(self) -> None:
        eager = now() - self._absent_since < EAGER
        self._next_try = now() + (20 if eager else 100) * MS
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.connect(str(self._run_dir / SOCKET_NAME))
        except OSError:
            sock.close()
            return
        if not self._trusted(sock):
            log("the process behind the agent's socket is neither root nor the owner of the directory: ignored")
            self._next_try = now() + SECOND
            sock.close()
            return
        self._agent, self._agent_in, self._agent_out = sock, LineReader(sock.fileno()), Writer(sock.fileno())
        self._selector.register(sock, selectors.EVENT_READ, "agent")
        self._feed(AgentUp())

    def _trusted(self, sock: socket.socket) -> bool:
        _, uid, _ = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        return uid in (0, os.getuid(), self._run_dir.stat().st_uid)

    def _serve_agent(self, mask: int) -> None:
        assert self._agent_in is not None and self._agent_out is not None
        try:
            if mask & selectors.EVENT_WRITE:
                self._agent_out.flush()
            lines = self._agent_in.read() if mask & selectors.EVENT_READ else []
        except (Closed, Overflow):
            self._drop_agent()
            return
        for line in lines:
            self._feed(AgentLine(line))

    def _tell_agent(self, data: bytes) -> None:
        if self._agent_out is None:
            return
        try:
            self._agent_out.write(data)
        except (Closed, Overflow):
            self._drop_agent()

    def _drop_agent(self) -> None:
        if self._agent is None:
            return
        self._selector.unregister(self._agent)
        self._agent.close()
        self._agent = self._agent_in = self._agent_out = None
        self._absent_since = self._next_try = now()
        self._feed(AgentDown())

    def _farewell(self) -> None:
        for effect in self._speaker.step(ExabgpGone(), now()):
            if isinstance(effect, ToAgent):
                self._tell_agent(effect.data)

    # --- the rest ---------------------------------------------------------------------------------------------------

    def _watch_writers(self) -> None:
        """Ask for writability only while something waits."""
        if self._agent is not None and self._agent_out is not None:
            events = selectors.EVENT_READ | (selectors.EVENT_WRITE if self._agent_out.pending else 0)
            self._selector.modify(self._agent, events, "agent")
        out = sys.stdout.fileno()
        watched = out in self._selector.get_map()
        if self._exabgp_out.pending and not watched:
            self._selector.register(out, selectors.EVENT_WRITE, "exabgp-out")
        elif watched and not self._exabgp_out.pending:
            self._selector.unregister(out)

    def _saved(self) -> bytes | None:
        try:
            return (self._run_dir / STATE_NAME).read_bytes()
        except OSError:
            return None

    def _save(self, data: bytes) -> None:
        """For a successor of this process; it lives where it dies with the machine, so no fsync."""
        temporary = self._run_dir / f".{STATE_NAME}.{os.getpid()}"
        try:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
            temporary.replace(self._run_dir / STATE_NAME)
        except OSError as error:
            if not self._told_save:
                self._told_save = True
                log(f"cannot keep the wish for a successor: {error}")


def log(text: str) -> None:
    """One line on stderr, which ExaBGP passes on to its own."""
    try:
        sys.stderr.write(f"l3ha speaker: {text}\n")
        sys.stderr.flush()
    except OSError:
        pass  # nobody listens; that must not stop BGP
