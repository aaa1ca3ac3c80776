"""The inter-chassis link to one peer: paths, liveness, contact, the peer's newest words (protocol §2, §3).

A path is up while, within T_det, a datagram of the present session arrived on it *and* echoed a sequence number that we
had sent on it less than T_det before. So delayed or replayed traffic and one-way paths are down. Contact: some path is
up. Heard: some valid datagram within T_det, echo or not.

Where T_h is short the paths take turns, spread evenly over it. So the silence of all of them is certain before the path
that spoke last is down by itself (``IclPeer._ahead``). With T_det = 3 T_h, every path missed twice and one thrice:

    sent | a   b   c | a   b   c | .   .   . | .   .   . | .
                               ^ last word     contact is lost ^

    datagram -> source, TTL -> session (seal, replay) -> heartbeat -> node, path -> incarnation -> sequence -> facts
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from l3ha.base.names import Intent
from l3ha.base.settings import Path, Peer, Settings
from l3ha.base.time import MS, NEVER, SECOND, Duration, Instant, after
from l3ha.core.events import Datagram, Note, NoteKind, Send
from l3ha.core.session import Handshake, Opened, Session
from l3ha.wire.codec import Numbers, decode, encode, numbers_of, renumbered
from l3ha.wire.heartbeat import Heartbeat
from l3ha.wire.seal import Drop, Dropped

MAX_GRACE: Duration = 5 * SECOND
"""A restarting peer cannot ask for more patience than this (protocol §6)."""

SENT_REMEMBERED = 256
"""Own sequence numbers remembered per path, to judge echoes by."""

TURNS_BELOW: Duration = 100 * MS
"""Paths take turns where T_h is shorter: up to T_h is won, and the loop wakes twice as often."""

LONG_AGO: Instant = -(1 << 62)


@dataclass
class PathState:
    """One way to the peer."""

    path: Path
    up: bool = False
    since: Instant | None = None
    until: Instant = LONG_AGO
    """When it is down, unless it is heard again."""
    alone: Instant = LONG_AGO
    """When it is, if by then no other path was heard either."""
    heard: Instant | None = None
    proved: Instant | None = None
    """When it last brought a fresh echo."""
    newest: int = 0
    """Newest sequence of the peer's present incarnation heard here."""
    rtt: Duration | None = None
    due: Instant = LONG_AGO
    """When its next heartbeat is due."""
    sent: int = 0
    received: int = 0
    fell: Instant = LONG_AGO
    """When it was last known to be up."""
    times: OrderedDict[int, Instant] = field(default_factory=OrderedDict)
    words: Heartbeat | None = None
    """Our own, as they were said last."""
    saying: bytes = b""
    """The same, encoded."""
    said: bytes = b""
    """The last heartbeat that came here, if it says what ``IclPeer.beat`` says: what repeats it need not be read."""


class IclPeer:
    """Everything about one peer that comes over the ICL."""

    def __init__(self, settings: Settings, peer: Peer, entropy: Callable[[int], bytes], now: Instant) -> None:
        self.peer = peer
        self.settings = settings
        self.session = Session(
            settings.cluster, settings.id, peer.id, settings.private_key, peer.public_key, settings.psk, entropy, now
        )
        self.paths = {p.name: PathState(p) for p in peer.paths}
        self.beat: Heartbeat | None = None
        self.contact = False
        self.contact_since: Instant | None = None
        self.lost_at: Instant | None = None
        self.heard_ever = False
        self.news = False
        """Whether the last datagram said or proved anything that a decision may depend on. Most only repeat what is
        known, which costs a small part of a decision."""
        self.witnesses: frozenset[str] = frozenset()
        """Routers of the witness paths that were up at the end of the last contact."""
        self.due: Instant = LONG_AGO
        """When the next heartbeat is due on some path."""
        self.ends: Instant = LONG_AGO
        """When contact is lost unless something is heard: all paths together have been silent for too long."""
        self.falls: Instant = LONG_AGO
        """When a path is down, or all are, unless something is heard; only while in contact."""
        self._sequence = 0
        self._newest = -1
        """Newest sequence of the peer's present incarnation."""
        self._ordinal = -1
        self._heard_until: Instant = LONG_AGO
        self._heard_at: Instant = now
        self._echoed_at: Instant = LONG_AGO
        """When we had sent what the newest heartbeat echoes."""
        self._told_versions: set[str] = set()
        self._alarmed: tuple[str, ...] | None = None

    # --- facts ------------------------------------------------------------------------------------------------

    @property
    def detection(self) -> Duration:
        """T_det."""
        return self.settings.timers.detection

    def silence(self, now: Instant) -> Duration:
        """How long nothing was heard."""
        return now - self._heard_at

    def heard(self, now: Instant) -> bool:
        """Some valid datagram a moment ago (or we slept within T_det, and cannot tell)."""
        return now < self._heard_until

    def age(self, now: Instant) -> Duration:
        """Upper bound of the age of the peer's newest words."""
        return now - self._echoed_at

    def differs(self) -> tuple[str, ...]:
        """Configuration sections that are not the same on both nodes."""
        if self.beat is None or self.beat.digest == self.settings.digest:
            return ()
        if not self.beat.sections:
            return ("a section with too long a name to be told",)
        mine, theirs = dict(self.settings.sections), dict(self.beat.sections)
        return tuple(sorted(k for k in mine.keys() | theirs.keys() if mine.get(k) != theirs.get(k)))

    # --- doors ------------------------------------------------------------------------------------------------

    def receive(self, d: Datagram, now: Instant) -> tuple[list[Send], list[Note], bool]:
        """One datagram: answers to send (handshake), what to tell, and whether the peer waits for our words now."""
        self.news = False
        path = self.paths[d.path]
        if path.path.one_hop and d.ttl is not None and d.ttl != 255:
            self.drop(Drop.WRONG_TTL)
            return [], [], False
        match self.session.receive(d.data, now):
            case Opened(plaintext, ordinal):
                path.received += 1
                if plaintext:
                    had = self.contact
                    notes = self._read(path, plaintext, ordinal, now)
                    self.news = self.news or bool(notes)
                    return [], notes, self.contact and not had
                self.news = True
                return [], [], True
            case Handshake(replies, established):
                self.news = True
                return [s for reply in replies for s in self._everywhere(reply)], [], established
            case Dropped():
                pass  # the session has counted it
        return [], [], False

    def tick(self, now: Instant) -> list[Send]:
        """Handshake datagrams that are due, on every path; with each heartbeat somebody asks for them."""
        if now - self._heard_at > self.detection // 2:
            self.session.kick(now)
        return [s for data in self.session.tick(now) for s in self._everywhere(data)]

    def beats(self, template: Heartbeat, now: Instant, *, every: bool) -> list[Send]:
        """The node's words on each path that is due, or on every one; nothing without a session.

        Each path has its own sequence, echo and turn.
        """
        out: list[Send] = []
        interval = self.settings.timers.heartbeat
        turn = interval // len(self.paths) if interval < TURNS_BELOW else 0
        for place, (name, path) in enumerate(self.paths.items()):
            if not every and now < path.due:
                continue
            path.due = after(now, interval, place * turn)
            self._sequence += 1
            age = 0 if path.heard is None else now - path.heard
            if path.words is not template:
                path.words, path.saying = template, encode(template._replace(path=name))
            data = self.session.seal(renumbered(path.saying, Numbers(self._sequence, path.newest, age)), now)
            if data is None:
                continue
            path.times[self._sequence] = now
            if len(path.times) > SENT_REMEMBERED:
                path.times.popitem(last=False)
            path.sent += 1
            out.append(Send(name, path.path.remote, data))
        self.due = min([p.due for p in self.paths.values()])
        return out

    def expire(self, now: Instant) -> list[Note]:
        """Judge silence. The shell has read every socket dry before."""
        notes: list[Note] = []
        for path in self.paths.values():
            if path.up and now >= path.until:
                notes.append(self._path_down(path, now))
        if self.contact and now >= self.ends:
            notes += [self._path_down(p, now) for p in self.paths.values() if p.up]
            self._lose(now)
            notes.append(Note(NoteKind.PEER, f"contact with {self.peer.name} lost", alarm=True))
        return notes

    def pause(self, now: Instant) -> None:
        """We slept: no path is up until it proves itself, and the peer's silence is counted from now."""
        for path in self.paths.values():
            if path.up:
                self._path_down(path, now)
            path.times.clear()
        if self.contact:
            self._lose(now)
        self._heard_until = now + self.detection
        self._heard_at = now
        self.session.restart(now)

    def reconfigure(self, settings: Settings) -> None:
        """New timers; paths and keys cannot change while running."""
        self.settings = settings
        self._read_all()

    def clear(self) -> None:
        """Counters back to zero."""
        self.session.clear()
        for path in self.paths.values():
            path.sent = path.received = 0

    def next_deadline(self, now: Instant) -> Instant | None:
        """When the session wants to send, or the peer counts as unheard; not when contact ends (``falls``)."""
        times = [self.session.next_deadline(), None if self.contact or now >= self._heard_until else self._heard_until]
        return min((t for t in times if t is not None), default=None)

    def drop(self, reason: Drop) -> None:
        """Count a datagram that the session never saw, or that it opened in vain."""
        self.session.drops[reason] += 1

    # --- parts ------------------------------------------------------------------------------------------------

    def _read(self, path: PathState, plaintext: bytes, ordinal: int, now: Instant) -> list[Note]:
        if self.beat is not None and (numbers := numbers_of(plaintext, path.said)) is not None:
            self._ordinal = max(self._ordinal, ordinal)
            if numbers.sequence > path.newest:
                return self._hear(path, self.beat, numbers, now)
            self.drop(Drop.STALE)
            return []
        beat = decode(plaintext)
        if not isinstance(beat, Heartbeat):
            return self._unreadable(str(beat))
        reason = self._refuse(beat, path, ordinal)
        if reason is not None:
            self.drop(reason)
            return []
        notes = self._incarnation(beat, ordinal)
        newest = self._newest
        notes += self._hear(path, beat, Numbers(beat.sequence, beat.echo, beat.echo_age), now)
        if beat.sequence > newest:
            notes += self._learn(path, beat, plaintext)
        return notes

    def _hear(self, path: PathState, beat: Heartbeat, numbers: Numbers, now: Instant) -> list[Note]:
        """What it proves that these words came here now."""
        notes: list[Note] = []
        self.news = not self.heard(now)
        path.newest = numbers.sequence
        path.heard = self._heard_at = now
        self.heard_ever = True
        patience = self.detection + (min(beat.grace, MAX_GRACE) if beat.intent is Intent.RESTARTING else 0)
        turns = self.settings.timers.heartbeat < TURNS_BELOW
        ahead = self._ahead(now, [p.heard for p in self.paths.values()]) if turns else 0
        self._heard_until = max(self._heard_until, now + patience - ahead)
        sent = path.times.get(numbers.echo)
        fresh = sent is not None and now - sent < self.detection
        if fresh and sent is not None:
            path.rtt = max(0, now - sent - numbers.echo_age)
            path.until, path.proved = now + patience, now
            path.alone = path.until - (self._ahead(now, [p.proved for p in self.paths.values()]) if turns else 0)
            notes = self._path_up(path, now)
            self._reckon()
        if numbers.sequence > self._newest:
            self._newest = numbers.sequence
            self._echoed_at = sent if sent is not None else LONG_AGO
        return notes

    def _learn(self, path: PathState, beat: Heartbeat, plaintext: bytes) -> list[Note]:
        """The newest words, which may say anything."""
        promises = any(g.grant is not None for g in beat.srgs)  # how old they are counts, too
        self.news = self.news or promises or self.beat is None or _decisive(beat) != _decisive(self.beat)
        if self.beat is None or promises or _sayings(beat) != _sayings(self.beat):
            self._read_all()
        path.said = b"" if promises else plaintext
        self.beat = beat
        return self._compare()

    def _read_all(self) -> None:
        """What comes next is to be read, though it says on its path what the last one said."""
        for path in self.paths.values():
            path.said = b""

    def _ahead(self, now: Instant, last: list[Instant | None]) -> Duration:
        """How much less than T_det after this datagram the peer's silence is certain; less than T_h.

        T_det is up for the path that was heard first in this round: it has missed ``multiplier`` heartbeats then, and
        every other path one less, as many as a single path may miss in any case. A path whose word is older than the
        turns are apart, by half a turn, is not of this round: it is silent itself, or all speak at once and it is a
        little late.
        """
        interval, halves = self.settings.timers.heartbeat, 2 * len(self.paths)
        limit = interval * (halves - 1) // halves
        return max((now - at for at in last if at is not None and now - at <= limit), default=0)

    def _refuse(self, beat: Heartbeat, path: PathState, ordinal: int) -> Drop | None:
        if beat.cluster != self.settings.cluster:
            return Drop.WRONG_CLUSTER
        if beat.node != self.peer.id:
            return Drop.WRONG_NODE
        if beat.path != path.path.name:
            return Drop.WRONG_PATH
        if self.beat is not None and beat.incarnation != self.beat.incarnation:
            return Drop.OLD_INCARNATION if ordinal <= self._ordinal else None
        return Drop.STALE if beat.sequence <= path.newest else None

    def _incarnation(self, beat: Heartbeat, ordinal: int) -> list[Note]:
        self._ordinal = max(self._ordinal, ordinal)
        old = self.beat
        if old is not None and old.incarnation == beat.incarnation:
            return []
        self._newest = -1
        for p in self.paths.values():
            p.newest = 0
        if old is None:
            return [Note(NoteKind.PEER, f"first words of {self.peer.name}: l3ha {beat.software}, node {beat.state}")]
        return [Note(NoteKind.PEER, f"{self.peer.name} has restarted: l3ha {beat.software}, node {beat.state}")]

    def _path_up(self, path: PathState, now: Instant) -> list[Note]:
        if path.up:
            return []
        path.up, path.since = True, now
        notes = [Note(NoteKind.PATH, f"path {path.path.name} to {self.peer.name} is up")]
        if not self.contact:
            self.contact, self.contact_since = True, now
            notes.append(Note(NoteKind.PEER, f"in contact with {self.peer.name}"))
        return notes

    def _path_down(self, path: PathState, now: Instant) -> Note:
        path.up, path.since, path.fell, path.rtt = False, now, now, None
        self._reckon()
        return Note(NoteKind.PATH, f"path {path.path.name} to {self.peer.name} is down", alarm=True)

    def _reckon(self) -> None:
        """A path was heard, or is down: what follows for all of them, which is asked for far more often."""
        ends, falls = LONG_AGO, NEVER
        for p in self.paths.values():
            if p.up:
                ends, falls = max(ends, p.alone), min(falls, p.until)
        self.ends, self.falls = ends, min(ends, falls)

    def _lose(self, now: Instant) -> None:
        self.contact, self.contact_since, self.lost_at = False, None, now
        recent = (p for p in self.paths.values() if p.path.router and now - p.fell <= self.detection)
        self.witnesses = frozenset(p.path.router for p in recent if p.path.router)

    def _compare(self) -> list[Note]:
        differs = self.differs()
        if differs == self._alarmed or (not differs and self._alarmed is None):
            return []
        self._alarmed = differs or None
        if not differs:
            return [Note(NoteKind.CONFIG, f"{self.peer.name} runs the same configuration again")]
        return [
            Note(
                NoteKind.CONFIG,
                f"{self.peer.name} runs another configuration; it differs in {', '.join(differs)}",
                alarm=True,
            )
        ]

    def _unreadable(self, why: str) -> list[Note]:
        self.drop(Drop.BAD_HEARTBEAT)
        if why in self._told_versions or len(self._told_versions) > 8:
            return []
        self._told_versions.add(why)
        return [Note(NoteKind.PEER, f"cannot read the heartbeat of {self.peer.name}: {why}", alarm=True)]

    def _everywhere(self, data: bytes) -> list[Send]:
        return [Send(name, p.path.remote, data) for name, p in self.paths.items()]


def _decisive(beat: Heartbeat) -> tuple[object, ...]:
    """What a receiver decides on. A promise counts down in it, so every word of one that lives is news."""
    return (beat.incarnation, beat.state, beat.intent, beat.grace, beat.reach, beat.srgs, beat.known)


def _sayings(beat: Heartbeat) -> tuple[object, ...]:
    """All that it says, apart from its numbers."""
    return (_decisive(beat), beat.digest, beat.sections, beat.software)
