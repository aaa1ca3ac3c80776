"""The speaker process: ExaBGP on stdin/stdout, the agent behind its unix socket, a pure machine between them.

It always drains ExaBGP (which writes blockingly, so an unread pipe stops BGP), never waits for the agent, and ends only
when ExaBGP closes the pipe. BFD comes before everything else: its packets are read and its timers served first in every
turn, and again between any two lines of the others. Standard library only: it must start fast, even while the rest is
being upgraded.
"""

from __future__ import annotations

import os
import select
import time
import traceback
from pathlib import Path

from l3ha.base.time import SECOND, Duration, Instant
from l3ha.core.bfd import SendBfd
from l3ha.core.bfd_frr import UseFrr
from l3ha.core.bfd_sessions import UseBfd
from l3ha.core.speaker import Speaker
from l3ha.core.speaker_events import (
    AgentDown,
    AgentLine,
    AgentUp,
    ExabgpGone,
    ExabgpLine,
    Log,
    Save,
    SpeakerEvent,
    Tick,
    ToAgent,
    ToExabgp,
)
from l3ha.drivers import realtime
from l3ha.drivers.boottime import boottime_ns
from l3ha.speaker.agent import AgentLink
from l3ha.speaker.bfd import BfdLoop
from l3ha.speaker.frr import FrrLoop
from l3ha.speaker.lines import Closed, LineReader, Overflow, Writer

STATE_NAME = "speaker.json"

YOUNG: Duration = 60 * SECOND
LINGER: Duration = 20 * SECOND
"""A fault of ours ends this process, and ExaBGP starts a new one; but the sixth death within 64 s ends ExaBGP. So a
process that fails before it is ``YOUNG`` goes on draining ExaBGP for ``LINGER`` before it ends."""

BREATHE_AFTER = 2000
BREATH_S = 0.0001
"""Lines of ExaBGP and the pause after them: a process at real-time priority that does not sleep for two seconds is
ended by the kernel (RLIMIT_RTTIME), and a list of all routes at all neighbors can be as long."""

_STDERR_ATOMIC = 4096
"""PIPE_BUF: as much as a pipe that polls as writable takes without blocking (pipe(7))."""


def run(run_dir: str | os.PathLike[str]) -> int:
    """Be the speaker until ExaBGP goes away. Returns the process's exit code: 0, or 1 after a fault of our own."""
    if os.isatty(0):
        log("this is the process that ExaBGP runs; started by hand it would take the real one's place")
        return 2
    born = boottime_ns()
    realtime.freeze()
    shell = Shell(Path(run_dir), born, _be_punctual())
    try:
        shell.run()
        return 0
    except Exception:
        log(traceback.format_exc())
        if boottime_ns() - born < YOUNG:
            shell.linger(boottime_ns() + LINGER)
        return 1


def _be_punctual() -> tuple[str, ...]:
    """A takeover waits for this process, and BFD sessions go down with it. What an operator must know of it."""
    slow = realtime.become_realtime(realtime.URGENT)
    loose = realtime.lock_memory()
    warnings = (
        slow and f"real-time scheduling is not granted ({slow}): a busy machine will take BFD sessions down",
        loose and f"memory is not locked ({loose}): a page that must be read from disk may take BFD sessions down",
    )
    return tuple(warning for warning in warnings if warning)


def log(text: str) -> None:
    """Lines on stderr, which ExaBGP passes on to its own. Lost where that would have to wait: BGP must not."""
    data = "".join(f"l3ha speaker: {line}\n" for line in text.splitlines()).encode("utf-8", "replace")
    poll = select.poll()
    try:
        poll.register(2, select.POLLOUT)
        if any(mask & select.POLLOUT for _, mask in poll.poll(0)):
            os.write(2, data[:_STDERR_ATOMIC])
    except OSError:
        pass  # nobody listens; that must not stop BGP


def _random(size: int) -> int:
    """A number of ``size`` bytes; the module ``secrets`` would add 10 ms to every start."""
    return int.from_bytes(os.urandom(size))


class Shell:
    """Descriptors in, effects out."""

    def __init__(self, run_dir: Path, now: Instant, warnings: tuple[str, ...]) -> None:
        self._state = run_dir / STATE_NAME
        self._cannot_save = False
        self._agent = AgentLink(run_dir, log, now)
        self._stdin = LineReader(0)
        self._stdout = Writer(1)
        self._poll = select.epoll()
        self._watched: object = None
        """What the poll was made for."""
        self._lines: frozenset[int] = frozenset()
        """The descriptors of ExaBGP and the agent."""
        self._heard = 0
        """Lines of ExaBGP."""
        self._speaker = Speaker(_random(7), _random(4), self._saved(), now, os.urandom)
        self._deadline = self._speaker.next_deadline()
        self._bfd = BfdLoop(self._speaker.bfd.machine, boottime_ns, self._feed, log, warnings)
        self._frr = FrrLoop(boottime_ns, self._feed)

    def run(self) -> None:
        """Until ExaBGP is gone."""
        try:
            self._feed(Tick())
            while True:
                self._turn()
        except Closed:
            self._feed(ExabgpGone())

    def linger(self, until: Instant) -> None:
        """Only drain ExaBGP."""
        while boottime_ns() < until:
            select.select([0], [], [], 1)
            try:
                self._stdin.read()
            except Overflow:
                pass
            except Closed:
                return

    # --- the loop -----------------------------------------------------------------------------------------------------

    def _turn(self) -> None:
        """Wait; then descriptors before timers, so that a stall of our own does not end a lease that was renewed."""
        self._watch()
        ready = [descriptor for descriptor, _ in self._poll.poll(self._timeout())]
        self._bfd.serve(ready)
        self._frr.serve(ready)
        self._bfd.serve_if_due()
        now = boottime_ns()
        due = self._deadline is not None and self._deadline <= now
        if due or not self._lines.isdisjoint(ready):
            self._serve_agent()
            self._serve_exabgp()
            if self._deadline is not None and self._deadline <= boottime_ns():
                self._feed(Tick())
        if self._agent.next_try is not None and self._agent.next_try <= now and self._agent.connect(now):
            self._feed(AgentUp())

    def _timeout(self) -> float | None:
        times = (self._bfd.deadline, self._frr.deadline, self._deadline, self._agent.next_try)
        first = min([t for t in times if t is not None], default=None)
        return None if first is None else max(0.0, (first - boottime_ns()) / SECOND)

    def _watch(self) -> None:
        """Poll what can speak, and for writing only where something waits."""
        agent = self._agent.descriptor
        asked = self._frr.connections
        state = (self._stdout.pending, agent, self._agent.pending, self._bfd.generation, asked)
        if state == self._watched:
            return
        self._watched = state
        self._poll.close()
        self._poll = select.epoll()
        self._poll.register(0, select.EPOLLIN)
        if self._stdout.pending:
            self._poll.register(1, select.EPOLLOUT)
        if agent is not None:
            self._poll.register(agent, select.EPOLLIN | (select.EPOLLOUT if self._agent.pending else 0))
        for descriptor in (*self._bfd.filenos, *(vty.fileno() for vty in asked)):
            self._poll.register(descriptor, select.EPOLLIN)
        self._lines = frozenset({0, 1} if agent is None else {0, 1, agent})

    def _serve_exabgp(self) -> None:
        self._stdout.flush()
        try:
            lines = self._stdin.read()
        except Overflow:
            log("ExaBGP sends a line without end; it is ignored")
            return
        for line in lines:
            self._feed(ExabgpLine(line))
            self._bfd.serve_if_due()
            self._heard += 1
            if self._heard % BREATHE_AFTER == 0:
                time.sleep(BREATH_S)

    def _serve_agent(self) -> None:
        if self._agent.descriptor is None:
            return
        try:
            self._agent.flush()
            lines = self._agent.read()
        except Closed:
            self._hang_up()
            return
        for line in lines:
            self._feed(AgentLine(line))
            self._bfd.serve_if_due()

    def _hang_up(self) -> None:
        if self._agent.descriptor is not None:
            self._agent.close(boottime_ns())
            self._watched = None  # the next connection may get the same descriptor
            self._feed(AgentDown())

    # --- effects ------------------------------------------------------------------------------------------------------

    def _feed(self, event: SpeakerEvent) -> None:
        for effect in self._speaker.step(event, boottime_ns()):
            match effect:
                case ToExabgp(data):
                    self._stdout.write(data)
                case ToAgent(data):
                    self._tell_agent(data)
                case Save(data):
                    self._save(data)
                case Log(text):
                    log(text)
                case SendBfd(address, data):
                    self._bfd.send(address, data)
                case UseBfd(peers):
                    self._bfd.use(peers)
                case UseFrr(daemons):
                    self._frr.use(daemons)
        self._deadline = self._speaker.next_deadline()

    def _tell_agent(self, data: bytes) -> None:
        try:
            self._agent.write(data)
        except Closed:
            self._hang_up()

    def _saved(self) -> bytes | None:
        try:
            return self._state.read_bytes()
        except OSError:
            return None

    def _save(self, data: bytes) -> None:
        """For a successor of this process; what it describes dies with the machine, so there is no fsync."""
        temporary = self._state.with_name(f".{STATE_NAME}.{os.getpid()}")
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
            with os.fdopen(os.open(temporary, flags, 0o600), "wb") as file:
                file.write(data)
            temporary.replace(self._state)
            self._cannot_save = False
        except OSError as error:
            if not self._cannot_save:
                self._cannot_save = True
                log(f"cannot keep the wish for a successor: {error}")
