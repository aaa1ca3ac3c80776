"""Liveness over the inter-chassis link: paths, contact, and what a heartbeat must be to change a fact (S7)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from l3ha.base.names import Intent, NodeId, NodeState
from l3ha.base.time import MS, SECOND, Instant
from l3ha.core.events import Datagram, Note, Send
from l3ha.core.icl import IclPeer
from l3ha.wire.codec import encode
from l3ha.wire.heartbeat import Heartbeat
from l3ha.wire.seal import Drop
from tests.world import TIMERS, address, entropy, settings

T_DET, T_H = TIMERS.detection, TIMERS.heartbeat
T0: Instant = 1_000 * SECOND


def words(node: int, incarnation: int = 7, **changes: object) -> Heartbeat:
    beat = Heartbeat(
        cluster="test",
        node=NodeId(node),
        incarnation=incarnation,
        path="",
        sequence=0,
        echo=0,
        echo_age=0,
        digest=bytes(8),
        sections=(("cluster", bytes(4)),),
        software="1",
        state=NodeState.ONLINE,
        intent=Intent.RUNNING,
        grace=0,
        reach=("r1",),
        srgs=(),
    )
    return replace(beat, **changes)  # type: ignore[arg-type]


class Link:
    """Two ends of the ICL with a wire that delays, cuts and keeps copies."""

    def __init__(self) -> None:
        self.now = T0
        self.ends = {n: self.end(n) for n in (1, 2)}
        self.words = {1: words(1), 2: words(2)}
        self.cut: set[tuple[int, str]] = set()
        """(sender, path)."""
        self.delay: dict[int, int] = {1: MS, 2: MS}
        self.flying: list[tuple[Instant, int, Datagram]] = []
        self.log: list[tuple[int, Datagram]] = []
        self.notes: list[Note] = []

    def end(self, node: int, seed: str = "") -> IclPeer:
        s = settings(node)
        return IclPeer(s, s.peers[0], entropy(f"{node}{seed}"), self.now)

    def send(self, sender: int, sends: Iterable[Send]) -> None:
        for s in sends:
            d = Datagram(s.path, address(sender, s.path), 255 if s.path == "icl" else 254, s.data)
            self.log.append((3 - sender, d))
            if (sender, s.path) not in self.cut:
                self.flying.append((self.now + self.delay[sender], 3 - sender, d))

    def deliver(self, to: int, d: Datagram) -> None:
        sends, notes, _ = self.ends[to].receive(d, self.now)
        self.notes += notes
        self.send(to, sends)

    def run(self, duration: int) -> None:
        end = self.now + duration
        while self.now < end:
            for n, e in self.ends.items():
                self.send(n, e.tick(self.now))
                if (self.now - T0) % T_H == 0:
                    self.send(n, e.beats(self.words[n], self.now))
            due = [f for f in self.flying if f[0] <= self.now]
            self.flying = [f for f in self.flying if f[0] > self.now]
            for _, to, d in due:
                self.deliver(to, d)
            for e in self.ends.values():
                self.notes += e.expire(self.now)
            self.now += MS

    def up(self, node: int) -> set[str]:
        return {n for n, p in self.ends[node].paths.items() if p.up}

    def drops(self, node: int) -> dict[Drop, int]:
        return dict(self.ends[node].session.drops)


ALL = {"icl", "r1", "r2"}


def link() -> Link:
    x = Link()
    x.run(500 * MS)
    assert x.up(1) == x.up(2) == ALL and x.ends[1].contact and x.ends[2].contact
    return x


def test_contact_within_a_few_heartbeats() -> None:
    x = Link()
    x.run(250 * MS)
    assert x.ends[1].contact and x.ends[2].contact


def test_a_path_falls_t_det_after_its_last_word_and_contact_with_the_last_path() -> None:
    x = link()
    x.cut = {(2, "icl")}
    x.run(T_DET + 2 * T_H)
    assert x.up(1) == {"r1", "r2"} and x.ends[1].contact
    x.cut = {(2, p) for p in ALL}
    while x.ends[1].contact:
        x.run(MS)
    last = max(p.heard or 0 for p in x.ends[1].paths.values())
    assert T_DET <= x.now - last <= T_DET + 2 * MS
    assert not x.ends[1].heard(x.now)


def test_hearing_one_way_is_heard_but_not_contact() -> None:
    """n1 hears n2, n2 hears nothing: echoes grow old, so both know that the path is broken."""
    x = link()
    x.cut = {(1, p) for p in ALL}
    x.run(2 * T_DET + 2 * T_H)
    assert not x.ends[1].contact and not x.ends[2].contact
    assert x.ends[1].heard(x.now) and not x.ends[2].heard(x.now)


def test_constant_delay_beyond_half_of_t_det_each_way_reads_as_down() -> None:
    x = link()
    x.delay = {1: T_DET // 2 + T_H, 2: T_DET // 2 + T_H}
    x.run(4 * SECOND)
    assert not x.ends[1].contact and x.ends[1].heard(x.now)


def test_replayed_datagrams_change_nothing() -> None:
    x = link()
    copies = [d for to, d in x.log if to == 1][-60:]
    x.run(1 * MS)
    before = x.ends[1].beat
    for d in copies:
        x.deliver(1, d)
    assert x.ends[1].beat == before
    assert x.drops(1)[Drop.REPLAYED] >= 12


def test_a_path_that_only_replays_is_down() -> None:
    x = link()
    copies = [d for to, d in x.log if to == 1 and d.path == "icl"]
    x.cut = {(2, p) for p in ALL}
    for _ in range(20):
        x.run(T_H)
        for d in copies:
            x.deliver(1, d)
    assert not x.ends[1].contact and not x.ends[1].heard(x.now)


def test_ttl_is_demanded_on_one_hop_only() -> None:
    x = link()
    d = next(d for to, d in x.log if to == 1 and d.path == "icl")
    x.deliver(1, replace(d, ttl=254))
    assert x.drops(1)[Drop.WRONG_TTL] == 1
    assert Drop.WRONG_TTL not in x.drops(2), "witness paths arrive with less"


def inject(x: Link, path: str, beat: Heartbeat) -> None:
    """An authentic heartbeat of n2 with chosen content."""
    data = x.ends[2].session.seal(encode(beat), x.now)
    assert data is not None
    x.deliver(1, Datagram(path, address(2, path), 255 if path == "icl" else 254, data))


def test_authentic_nonsense_is_counted_by_reason() -> None:
    x = link()
    newest = x.ends[1].paths["icl"].newest
    good = replace(words(2), path="icl", sequence=newest + 1000)
    inject(x, "icl", replace(good, cluster="other"))
    inject(x, "icl", replace(good, node=NodeId(1)))
    inject(x, "r1", good)
    inject(x, "icl", replace(good, sequence=newest))
    inject(x, "icl", replace(good, incarnation=6))
    found = x.drops(1)
    for reason in (Drop.WRONG_CLUSTER, Drop.WRONG_NODE, Drop.WRONG_PATH, Drop.STALE, Drop.OLD_INCARNATION):
        assert found[reason] == 1, reason
    data = x.ends[2].session.seal(b"\x7f\x00\x00", x.now)
    assert data is not None
    x.deliver(1, Datagram("icl", address(2, "icl"), 255, data))
    assert x.drops(1)[Drop.BAD_HEARTBEAT] == 1


def test_facts_come_from_the_newest_words_over_all_paths() -> None:
    x = link()
    top = max(p.newest for p in x.ends[1].paths.values())
    inject(x, "r1", replace(words(2), path="r1", sequence=top + 10, reach=("r1", "r2")))
    inject(x, "icl", replace(words(2), path="icl", sequence=top + 5, reach=()))
    beat = x.ends[1].beat
    assert beat is not None and beat.reach == ("r1", "r2"), "a slow path cannot bring back an older fact"


def test_a_restart_keeps_contact_and_replaces_the_facts() -> None:
    x = link()
    x.ends[2] = x.end(2, "again")
    x.words[2] = words(2, incarnation=8, state=NodeState.HOLD)
    x.run(T_DET - T_H)
    beat = x.ends[1].beat
    assert x.ends[1].contact and beat is not None and (beat.incarnation, beat.state) == (8, NodeState.HOLD)
    assert any("has restarted" in n.text for n in x.notes)


def test_a_clean_restart_is_waited_for() -> None:
    x = link()
    x.words[2] = words(2, intent=Intent.RESTARTING, grace=2 * SECOND)
    x.run(2 * T_H)
    x.cut = {(2, p) for p in ALL}
    x.run(T_DET + 2 * SECOND - 2 * T_H)
    assert x.ends[1].contact
    x.run(4 * T_H)
    assert not x.ends[1].contact


def test_witnesses_are_the_routers_of_paths_that_were_up_at_the_end() -> None:
    x = link()
    x.cut = {(2, "r2")}
    x.run(3 * SECOND)
    x.cut = {(2, p) for p in ALL}
    x.run(SECOND)
    assert x.ends[1].witnesses == {"r1"}


def test_another_configuration_is_named_section_by_section() -> None:
    x = link()
    x.words[2] = words(2, digest=b"x" * 8, sections=(("cluster", b"abcd"), ("srg.1", b"abcd")))
    x.run(2 * T_H)
    assert x.ends[1].differs() == ("cluster", "srg.1")
    alarms = [n for n in x.notes if n.alarm and "differs in cluster, srg.1" in n.text]
    assert len(alarms) == 1, "said once"
    x.words[2] = words(2)
    x.run(2 * T_H)
    assert any("same configuration again" in n.text for n in x.notes)


def test_pause_counts_silence_afresh() -> None:
    x = link()
    x.ends[1].pause(x.now)
    assert not x.ends[1].contact and x.up(1) == set()
    assert x.ends[1].heard(x.now), "we cannot tell: not silent before T_det has passed awake"
    assert x.ends[1].witnesses == {"r1", "r2"}
    assert not x.ends[1].heard(x.now + T_DET)
    x.run(3 * T_H)
    assert x.ends[1].contact


def test_datagrams_of_another_cluster_are_never_opened() -> None:
    x = link()
    s = replace(settings(2), cluster="other")
    stranger = IclPeer(s, s.peers[0], entropy("stranger"), x.now)
    before = x.ends[1].beat
    for send in stranger.tick(x.now):
        x.deliver(1, Datagram(send.path, address(2, send.path), 255 if send.path == "icl" else 254, send.data))
    assert x.ends[1].beat == before
    assert x.drops(1)[Drop.BAD_HANDSHAKE] >= 1
