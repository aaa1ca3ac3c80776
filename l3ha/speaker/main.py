"""The speaker process: ExaBGP on stdin/stdout, the agent behind its unix socket, a pure machine between them.

It always drains ExaBGP (which writes blockingly, so an unread pipe stops BGP), never waits for the agent, and ends only
when ExaBGP closes the pipe. BFD comes before everything else: its packets are read and its timers served first in every
turn, and again between any two lines of the others. Standard library only: it must start fast, even while the rest is
being upgraded.
"""

from __future__ import annotations

import os
import select
import selectors
import time
import traceback
from pathlib import Path

from l3ha.base.time import MS, SECOND, Duration, Instant
from l3ha.core.bfd import BfdEffect, SendBfd
from l3ha.core.bfd_sessions import BfdTrouble, UseBfd
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
from l3ha.drivers import realtime
from l3ha.drivers.bfd import BfdPorts
from l3ha.speaker.agent import AgentLink
from l3ha.speaker.lines import Closed, LineReader, Overflow, Writer

STATE_NAME = "speaker.json"

YOUNG: Duration = 60 * SECOND
LINGER: Duration = 20 * SECOND
"""A fault of ours ends this process, and ExaBGP starts a new one; but the sixth death within 64 s ends ExaBGP. So a
process that fails before it is ``YOUNG`` goes on draining ExaBGP for ``LINGER`` before it ends."""

BFD_RETRY: Duration = 200 * MS
"""How often a socket that could not be had is tried again: the port may still be our forerunner's."""

BFD_DRAIN = 8
"""Reads in a row before a deadline is judged; what still comes then is a flood."""

_STDERR_ATOMIC = 4096
"""PIPE_BUF: as much as a pipe that polls as writable takes without blocking (pipe(7))."""


def run(run_dir: str | os.PathLike[str]) -> int:
    """Be the speaker until ExaBGP goes away. Returns the process's exit code: 0, or 1 after a fault of our own."""
    if os.isatty(0):
        log("this is the process that ExaBGP runs; started by hand it would take the real one's place")
        return 2
    born = boottime()
    shell = Shell(Path(run_dir), born)
    try:
        shell.run()
        return 0
    except Exception:
        log(traceback.format_exc())
        if boottime() - born < YOUNG:
            shell.linger(boottime() + LINGER)
        return 1


def boottime() -> Instant:
    """CLOCK_BOOTTIME: never steps, counts suspend."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


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

    def __init__(self, run_dir: Path, now: Instant) -> None:
        self._state = run_dir / STATE_NAME
        self._cannot_save = False
        self._agent = AgentLink(run_dir, log, now)
        self._stdin = LineReader(0)
        self._stdout = Writer(1)
        self._selector = selectors.DefaultSelector()
        self._watched: dict[int, int] = {}
        self._lines: frozenset[int] = frozenset()
        """Of those, the descriptors of ExaBGP and the agent."""
        self._speaker = Speaker(_random(7), _random(4), self._saved(), now, os.urandom)
        self._deadline = self._speaker.next_deadline()
        self._bfd = self._speaker.bfd.machine
        self._bfd_deadline: Instant | None = None
        self._bfd_retry: Instant | None = None
        self._bfd_faults: dict[str, str] = {}
        """As the speaker was told them."""
        self._ports = BfdPorts()
        self._punctual = False

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
        while boottime() < until:
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
        ready = {key.fd for key, _ in self._selector.select(self._timeout())}
        self._serve_bfd()
        now = boottime()
        due = self._deadline is not None and self._deadline <= now
        if due or not ready.isdisjoint(self._lines):
            self._serve_agent()
            self._serve_exabgp()
            if self._deadline is not None and self._deadline <= boottime():
                self._feed(Tick())
        if self._agent.next_try is not None and self._agent.next_try <= now and self._agent.connect(now):
            self._feed(AgentUp())

    def _timeout(self) -> float | None:
        times = (self._deadline, self._agent.next_try, self._bfd_deadline, self._bfd_retry)
        first = min((t for t in times if t is not None), default=None)
        return None if first is None else max(0.0, (first - boottime()) / SECOND)

    def _watch(self) -> None:
        """Poll what can speak, and for writing only where something waits."""
        wanted = {0: selectors.EVENT_READ}
        if self._stdout.pending:
            wanted[1] = selectors.EVENT_WRITE
        agent = self._agent.descriptor
        if agent is not None:
            wanted[agent] = selectors.EVENT_READ | (selectors.EVENT_WRITE if self._agent.pending else 0)
        lines = wanted.keys()
        wanted |= dict.fromkeys(self._ports.filenos(), selectors.EVENT_READ)
        if wanted != self._watched:
            self._selector.close()
            self._selector = selectors.DefaultSelector()
            for descriptor, events in wanted.items():
                self._selector.register(descriptor, events)
            self._watched, self._lines = wanted, frozenset(lines)

    def _serve_exabgp(self) -> None:
        self._stdout.flush()
        try:
            lines = self._stdin.read()
        except Overflow:
            log("ExaBGP sends a line without end; it is ignored")
            return
        for line in lines:
            self._feed(ExabgpLine(line))
            self._bfd_if_due()

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
            self._bfd_if_due()

    def _hang_up(self) -> None:
        if self._agent.descriptor is not None:
            self._agent.close(boottime())
            self._watched = {}  # the next connection may get the same descriptor
            self._feed(AgentDown())

    # --- BFD --------------------------------------------------------------------------------------------------------

    def _serve_bfd(self) -> None:
        """Hear what has come; serve deadlines once the sockets are dry, at an instant read before that was seen."""
        if not self._bfd.sessions:
            return
        for _ in range(BFD_DRAIN):
            now, heard = boottime(), False
            for d in self._ports.read():
                heard = True
                self._bfd_do(self._bfd.receive(d.source, d.data, d.ttl, now))
            self._bfd_deadline = self._bfd.next_deadline()
            if not heard or self._bfd_deadline is None or self._bfd_deadline > now:
                break
        if self._bfd_deadline is not None and self._bfd_deadline <= now:
            self._bfd_do(self._bfd.tick(now))
            self._bfd_deadline = self._bfd.next_deadline()
        if self._bfd_retry is not None and self._bfd_retry <= now:
            self._ports.retry()
            self._watched = {}  # a socket may have got the descriptor of another
        self._bfd_trouble(now)

    def _bfd_if_due(self) -> None:
        if self._bfd_deadline is not None and self._bfd_deadline <= boottime():
            self._serve_bfd()

    def _bfd_do(self, effects: list[BfdEffect]) -> None:
        for effect in effects:
            if isinstance(effect, SendBfd):
                self._ports.send(effect.address, effect.data)
            else:
                self._feed(effect)

    def _bfd_trouble(self, now: Instant) -> None:
        """Tell of faults that are new or over, and when to try again."""
        faults = self._ports.faults
        self._bfd_retry = now + BFD_RETRY if faults and (self._bfd_retry or 0) <= now else self._bfd_retry
        if not faults:
            self._bfd_retry = None
        if faults != self._bfd_faults:
            told, self._bfd_faults = self._bfd_faults, dict(faults)
            for address in told.keys() | faults.keys():
                if told.get(address) != self._bfd_faults.get(address):
                    self._feed(BfdTrouble(address, self._bfd_faults.get(address)))

    def _use_bfd(self, effect: UseBfd) -> None:
        self._ports.use(effect.peers)
        self._watched = {}  # a socket may have got the descriptor of another
        self._bfd_deadline = self._bfd.next_deadline()
        self._bfd_trouble(boottime())
        if effect.peers and not self._punctual:
            self._punctual = True
            realtime.freeze()
            if (reason := realtime.become_realtime()) is not None:
                log(f"real-time scheduling is not granted ({reason}): a busy machine will take BFD sessions down")

    # --- effects ------------------------------------------------------------------------------------------------------

    def _feed(self, event: SpeakerEvent) -> None:
        for effect in self._speaker.step(event, boottime()):
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
                    self._ports.send(address, data)
                case UseBfd():
                    self._use_bfd(effect)
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
