"""Liveness over the inter-chassis link: paths, contact, and what a heartbeat must be to change a fact (S7)."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import replace

import pytest

from l3ha.base.names import Intent, NodeId, NodeState, SrgId, SrgState, Term, Verdict
from l3ha.base.time import MS, SECOND, Instant
from l3ha.core import icl
from l3ha.core.events import Datagram, Note, Send
from l3ha.core.icl import IclPeer
from l3ha.wire.codec import encode, numbers_of
from l3ha.wire.heartbeat import Heartbeat, SrgFacts
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
    return beat._replace(**changes)  # type: ignore[arg-type]


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
        self.mute = False

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
                if not self.mute and (self.now - T0) % T_H == 0:
                    self.send(n, e.beats(self.words[n], self.now, every=True))
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
    x.deliver(1, d._replace(ttl=254))
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
    good = words(2)._replace(path="icl", sequence=newest + 1000)
    inject(x, "icl", good._replace(cluster="other"))
    inject(x, "icl", good._replace(node=NodeId(1)))
    inject(x, "r1", good)
    inject(x, "icl", good._replace(sequence=newest))
    inject(x, "icl", good._replace(incarnation=6))
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
    inject(x, "r1", words(2)._replace(path="r1", sequence=top + 10, reach=("r1", "r2")))
    inject(x, "icl", words(2)._replace(path="icl", sequence=top + 5, reach=()))
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


# --- what nobody else sees ------------------------------------------------------------------------------------------


def keyed() -> Link:
    """A session on both sides, and not a word yet."""
    x = Link()
    x.mute = True
    x.run(20 * MS)
    assert x.ends[1].session.established and x.ends[2].session.established
    return x


def test_nothing_is_known_at_first() -> None:
    end = Link().ends[1]
    assert not end.contact and not end.heard(T0) and not end.heard_ever and not end.news
    assert end.expire(T0) == [] and end.differs() == () and end.witnesses == frozenset()
    assert not any(p.up or p.received or p.sent or p.rtt for p in end.paths.values())
    assert end.age(T0) > 1_000_000 * SECOND


def test_the_very_first_word_counts() -> None:
    x = keyed()
    end = x.ends[1]
    before = end.paths["icl"].received
    inject(x, "icl", words(2)._replace(path="icl", sequence=1))
    assert end.beat is not None and end.heard_ever and end.heard(x.now) and end.paths["icl"].received == before + 1
    assert [n.text for n in x.notes] == ["first words of n2: l3ha 1, node ONLINE"]
    assert not end.contact and end.age(x.now) > 1_000_000 * SECOND, "it echoes nothing of ours"


def test_a_session_just_confirmed_is_news_and_wants_our_words_now() -> None:
    x = Link()
    answers, _, _ = x.ends[2].receive(arriving(x, 1, x.ends[1].tick(T0))[0], T0)
    sends, notes, eager = x.ends[1].receive(arriving(x, 2, answers)[0], T0)
    assert eager and x.ends[1].news and notes == [] and len(sends) == 3
    again = x.ends[2].receive(arriving(x, 1, sends)[0], T0)
    assert again == ([], [], True) and x.ends[2].news


def arriving(x: Link, sender: int, sends: Iterable[Send]) -> list[Datagram]:
    return [Datagram(s.path, address(sender, s.path), 255 if s.path == "icl" else 254, s.data) for s in sends]


def test_news_is_what_a_decision_may_depend_on() -> None:
    x = link()
    end, told = x.ends[1], []
    for _ in range(2):
        inject(x, "icl", words(2)._replace(path="icl", sequence=1000 + len(told)))
        told.append(end.news)
    inject(x, "icl", words(2)._replace(path="icl", sequence=2000, reach=()))
    assert (told[-1], end.news) == (False, True), "what only repeats is none"
    x.cut = {(1, p) for p in ALL}
    x.run(3 * T_DET)
    assert not end.contact and end.heard(x.now)
    x.cut = set()
    while not end.contact:
        assert not end.news
        x.run(MS)
    assert end.news, "a path that proved itself is news though the words are the same"


def test_a_peer_is_asked_anew_after_half_of_t_det_of_silence() -> None:
    x = link()
    end = x.ends[1]
    heard = x.now - MS
    inject(x, "icl", words(2)._replace(path="icl", sequence=5000))
    heard = x.now
    assert end.tick(heard + T_DET // 2) == []
    assert len(end.tick(heard + T_DET // 2 + 1)) == 3, "on every path"


def test_the_round_trip_leaves_out_how_long_the_peer_waited() -> None:
    x = link()
    x.delay = {1: 2 * MS, 2: 5 * MS}
    x.run(3 * T_H)
    assert [p.rtt for p in x.ends[1].paths.values()] == [7 * MS] * 3
    x.cut = {(2, "icl")}
    x.run(T_DET + 2 * T_H)
    assert x.ends[1].paths["icl"].rtt is None


def test_a_restarting_peer_gets_five_seconds_at_most() -> None:
    x = link()
    x.words[2] = words(2, intent=Intent.RESTARTING, grace=60 * SECOND)
    x.run(2 * T_H)
    last = max(p.heard or 0 for p in x.ends[1].paths.values())
    until = {p.until for p in x.ends[1].paths.values()}
    assert max(until) == last + T_DET + 5 * SECOND
    assert x.ends[1].heard(last + T_DET + 5 * SECOND - 1) and not x.ends[1].heard(last + T_DET + 5 * SECOND)
    x.words[2] = words(2, grace=60 * SECOND)
    x.run(2 * T_H)
    last = max(p.heard or 0 for p in x.ends[1].paths.values())
    assert max(p.until for p in x.ends[1].paths.values()) == last + T_DET, "a grace of a peer that runs says nothing"


def test_another_configuration_without_a_section_that_tells() -> None:
    x = link()
    x.words[2] = words(2, digest=b"x" * 8, sections=())
    x.run(2 * T_H)
    assert x.ends[1].differs() == ("a section with too long a name to be told",)
    x.words[2] = words(2, digest=bytes(8), sections=(("cluster", b"abcd"),))
    x.run(2 * T_H)
    assert x.ends[1].differs() == (), "the digest alone says whether"


def test_unreadable_words_are_told_once_each() -> None:
    x = link()
    x.notes.clear()
    for version in (0x7E, 0x7F, 0x7E):
        data = x.ends[2].session.seal(bytes((version, 0, 0)), x.now)
        assert data is not None
        x.deliver(1, Datagram("icl", address(2, "icl"), 255, data))
    assert len(x.notes) == 2 and all(n.alarm and "cannot read the heartbeat of n2" in n.text for n in x.notes)
    assert x.drops(1)[Drop.BAD_HEARTBEAT] == 3


def test_what_is_told_of_paths_and_contact() -> None:
    x = link()
    up = [f"path {p} to {n} is up" for n in ("n1", "n2") for p in ALL]
    assert sorted(n.text for n in x.notes if "path" in n.text) == sorted(up)
    assert sorted(n.text for n in x.notes if "contact" in n.text) == ["in contact with n1", "in contact with n2"]
    assert x.ends[1].contact_since is not None and x.ends[1].contact_since > T0
    x.notes.clear()
    x.cut = {(2, p) for p in ALL}
    before = x.now
    while x.ends[1].contact:
        x.run(MS)
    mine = [(n.text, n.alarm) for n in x.notes if "n2" in n.text]
    assert sorted(mine) == [("contact with n2 lost", True)] + [(f"path {p} to n2 is down", True) for p in sorted(ALL)]
    assert x.ends[1].contact_since is None and (x.ends[1].lost_at or 0) > before
    assert all(p.since == x.ends[1].lost_at for p in x.ends[1].paths.values())


def test_counters_go_back_to_zero() -> None:
    x = link()
    x.ends[1].drop(Drop.WRONG_SOURCE)
    assert all(p.sent and p.received for p in x.ends[1].paths.values())
    x.ends[1].clear()
    assert not any(p.sent or p.received for p in x.ends[1].paths.values()) and x.drops(1) == {}


def test_the_next_look_is_when_a_path_or_the_silence_is_judged() -> None:
    x = link()
    end = x.ends[1]
    ends = [p.until for p in end.paths.values()]
    assert end.falls == min(ends)
    end.expire(max(ends))
    assert not end.contact and end.next_deadline(max(ends) - 1) == max(ends), "heard: that ends too"


def test_an_echo_of_a_sequence_that_is_long_forgotten_proves_nothing() -> None:
    x = link()
    old = next(iter(x.ends[1].paths["icl"].times))
    for _ in range(300):
        x.ends[1].beats(x.words[1], x.now, every=True)
    assert all(len(p.times) == 256 for p in x.ends[1].paths.values())
    until = x.ends[1].paths["icl"].until
    inject(x, "icl", words(2)._replace(path="icl", sequence=9000, echo=old))
    assert x.ends[1].paths["icl"].until == until and x.ends[1].paths["icl"].heard == x.now


def test_an_echo_is_fresh_for_less_than_t_det() -> None:
    x = link()
    path = x.ends[1].paths["icl"]
    x.ends[1].beats(x.words[1], x.now, every=True)
    sent = max(path.times)
    x.now += T_DET
    until = path.until
    inject(x, "icl", words(2)._replace(path="icl", sequence=9000, echo=sent))
    assert path.until == until, "exactly T_det old: no more"
    assert x.ends[1].age(x.now) == T_DET
    x.now -= 1
    inject(x, "icl", words(2)._replace(path="icl", sequence=9001, echo=sent))
    assert path.until == x.now + T_DET


def test_words_are_numbered_and_counted_one_by_one() -> None:
    x = keyed()
    x.ends[1].beats(x.words[1], x.now, every=True)
    paths = x.ends[1].paths.values()
    assert [list(p.times) for p in paths] == [[1], [2], [3]] and [p.sent for p in paths] == [1, 1, 1]
    assert Link().ends[1].beats(x.words[1], T0, every=True) == [], "nobody can read them without a session"


def test_our_words_are_wanted_at_once_by_a_peer_that_has_just_come_into_contact() -> None:
    x = link()
    x.cut = {(1, p) for p in ALL}
    x.run(3 * T_DET)
    end, seen = x.ends[1], []
    x.ends[1].beats(x.words[1], x.now, every=True)
    for n, (name, path) in enumerate(end.paths.items()):
        beat = words(2)._replace(path=name, sequence=9000 + n, echo=max(path.times))
        data = x.ends[2].session.seal(encode(beat), x.now)
        assert data is not None
        seen.append(end.receive(Datagram(name, address(2, name), 255, data), x.now)[2])
    assert seen == [True, False, False]
    assert end.receive(Datagram("icl", address(2, "icl"), 254, b"x"), x.now) == ([], [], False)
    assert end.receive(Datagram("icl", address(2, "icl"), 255, b"x"), x.now) == ([], [], False)


def test_after_a_sleep_nothing_sent_before_it_proves_a_path() -> None:
    x = link()
    end = x.ends[1]
    end.beats(x.words[1], x.now, every=True)
    before = max(end.paths["icl"].times)
    now = x.now + T_DET // 2 + MS
    end.pause(now)
    assert len(end.tick(now)) == 3, "the peer may have gone on without us: a new session at once"
    assert end.heard(now + T_DET - 1) and not end.heard(now + T_DET)
    x.now = now
    inject(x, "icl", words(2)._replace(path="icl", sequence=9000, echo=before))
    assert not end.contact and end.heard(now)


def test_silence_is_counted_from_the_end_of_a_sleep() -> None:
    x = link()
    now = x.now + 60 * SECOND
    x.ends[1].pause(now)
    assert x.ends[1].next_deadline(now) == now
    x.ends[1].tick(now)
    deadline = x.ends[1].next_deadline(now + T_DET - 1)
    assert deadline is not None and now < deadline <= now + T_DET


def test_new_timers_are_used() -> None:
    end = link().ends[1]
    s = end.settings
    end.reconfigure(replace(s, timers=replace(s.timers, multiplier=9)))
    assert end.detection == 9 * T_H


def test_a_new_end_wants_to_send_at_once_and_none_is_due_for_ever() -> None:
    x = Link()
    assert x.ends[1].next_deadline(T0) == T0
    x = link()
    end = x.ends[1]
    last = max(p.until for p in end.paths.values())
    end.expire(last)
    assert not end.heard(last) and end.next_deadline(last) != last


def test_the_first_word_after_silence_is_news_though_it_says_the_same() -> None:
    x = link()
    x.cut = {(2, p) for p in ALL}
    x.run(2 * T_DET)
    assert not x.ends[1].heard(x.now)
    told = []
    for n in range(2):
        inject(x, "icl", words(2)._replace(path="icl", sequence=9000 + n))
        told.append(x.ends[1].news)
    assert told == [True, False]


def test_no_round_trip_is_negative() -> None:
    x = link()
    x.ends[1].beats(x.words[1], x.now, every=True)
    sent = max(x.ends[1].paths["icl"].times)
    x.now += MS
    inject(x, "icl", words(2)._replace(path="icl", sequence=9000, echo=sent, echo_age=SECOND))
    assert x.ends[1].paths["icl"].rtt == 0


def test_of_two_words_with_one_number_the_first_stands() -> None:
    x = link()
    inject(x, "icl", words(2)._replace(path="icl", sequence=9000))
    inject(x, "r1", words(2)._replace(path="r1", sequence=9000, reach=()))
    beat = x.ends[1].beat
    assert beat is not None and beat.reach == ("r1",)


def test_a_new_process_of_the_peer_counts_from_one_again_on_every_path() -> None:
    x = link()
    x.ends[2] = x.end(2, "again")
    x.words[2] = words(2, incarnation=8)
    x.mute = True
    x.run(100 * MS)
    for path, number in (("r1", 2), ("r2", 3), ("icl", 1)):
        inject(x, path, words(2)._replace(incarnation=8, path=path, sequence=number))
    assert Drop.STALE not in x.drops(1) and [p.newest for p in x.ends[1].paths.values()] == [1, 2, 3]


def test_a_witness_that_fell_t_det_before_the_end_is_one_and_no_later() -> None:
    for late, expected in ((0, {"r1", "r2"}), (1, set())):
        x = link()
        end = x.ends[1]
        fell = max(end.paths["r1"].until, end.paths["r2"].until)
        x.now = fell - 1
        end.beats(x.words[1], x.now, every=True)
        inject(x, "icl", words(2)._replace(path="icl", sequence=9000, echo=max(end.paths["icl"].times)))
        end.expire(fell)
        assert x.up(1) == {"icl"}
        end.expire(fell + T_DET + late)
        assert not end.contact and end.witnesses == expected


def test_a_peer_that_makes_up_versions_does_not_fill_the_log() -> None:
    x = link()
    x.notes.clear()
    for version in range(100, 120):
        data = x.ends[2].session.seal(bytes((version, 0, 0)), x.now)
        assert data is not None
        x.deliver(1, Datagram("icl", address(2, "icl"), 255, data))
    assert len(x.notes) == 9 and x.drops(1)[Drop.BAD_HEARTBEAT] == 20


# --- the paths take turns ---------------------------------------------------------------------------------------------

FAST = replace(TIMERS, heartbeat=60 * MS, multiplier=3)


def fast(*paths: str) -> Link:
    """Both ends at 60 ms x 3, on these paths."""
    x = link()
    for n, end in x.ends.items():
        end.reconfigure(replace(settings(n), timers=FAST))
        end.paths = {name: end.paths[name] for name in paths}
    return x


def rounds(x: Link, count: int, interval: int = FAST.heartbeat) -> None:
    """Both ends speak when they are due, until this many intervals are over."""
    x.mute = True
    for _ in range(count * interval // MS):
        for n, end in x.ends.items():
            if x.now >= end.due:
                x.send(n, end.beats(x.words[n], x.now, every=False))
        x.run(MS)


def silence(x: Link) -> int:
    """From the last word of node 2, which is cut off now, to the end of contact."""
    x.cut = {(2, p) for p in ALL}
    x.run(2 * MS)
    end = x.ends[1]
    while end.contact:
        assert end.falls >= x.now, "it is judged in time"
        rounds(x, 1, MS)
    return (end.lost_at or 0) - max(p.heard or 0 for p in end.paths.values())


def test_paths_take_turns_where_the_interval_is_short() -> None:
    x = fast(*ALL)
    rounds(x, 2)
    x.log.clear()
    rounds(x, 10)
    sent = [d.path for to, d in x.log if to == 1]
    assert {p: sent.count(p) for p in ALL} == dict.fromkeys(ALL, 10)
    dues = sorted(p.due % FAST.heartbeat for p in x.ends[2].paths.values())
    assert dues == [0, 20 * MS, 40 * MS]
    x = link()
    rounds(x, 10)
    assert len({p.due for p in x.ends[2].paths.values()}) == 1, "at 100 ms and more they speak together"


@pytest.mark.parametrize(("paths", "expected"), [(("icl", "r1", "r2"), 140), (("icl", "r1"), 150), (("icl",), 180)])
def test_silence_is_certain_when_every_path_missed_two_and_one_missed_three(
    paths: tuple[str, ...], expected: int
) -> None:
    x = fast(*paths)
    rounds(x, 4)
    assert silence(x) == expected * MS


def test_words_on_all_paths_at_once_move_nothing_forward() -> None:
    x = fast(*ALL)
    rounds(x, 4)
    x.send(2, x.ends[2].beats(x.words[2], x.now, every=True))
    x.run(2 * MS)
    assert silence(x) == 3 * FAST.heartbeat


def test_a_path_that_is_silent_itself_brings_nothing_forward() -> None:
    x = fast(*ALL)
    rounds(x, 4)
    x.cut = {(2, "r1"), (2, "r2")}
    rounds(x, 2)
    assert silence(x) == 3 * FAST.heartbeat, "r1 and r2 missed a turn before icl did"


def test_one_lost_round_of_all_paths_is_survived_and_so_are_two() -> None:
    for lost in (1, 2):
        x = fast(*ALL)
        rounds(x, 4)
        x.cut = {(2, p) for p in ALL}
        rounds(x, lost)
        x.cut.clear()
        rounds(x, 4)
        assert x.ends[1].contact and x.up(1) == ALL and not any("lost" in n.text for n in x.notes)


def test_a_grace_lengthens_the_patience_of_all_paths_together() -> None:
    x = fast(*ALL)
    x.words[2] = words(2, intent=Intent.RESTARTING, grace=2 * SECOND)
    rounds(x, 4)
    assert silence(x) == 140 * MS + 2 * SECOND


@pytest.mark.parametrize(("interval", "multiplier", "lost"), [(100, 3, 2), (100, 5, 4), (60, 3, 2)])
def test_paths_that_speak_together_and_one_of_them_early_survive_the_same_losses(
    interval: int, multiplier: int, lost: int
) -> None:
    """One path is cut for good just before the other brings its word 2 ms early: that word proves nothing of a turn."""
    x = link()
    for n, end in x.ends.items():
        end.reconfigure(replace(settings(n), timers=replace(TIMERS, heartbeat=interval * MS, multiplier=multiplier)))
        end.paths = {name: end.paths[name] for name in ("icl", "r1")}
    x.mute = True
    x.notes.clear()

    def together(wait: int, *arriving: str) -> None:
        x.run(wait * MS)
        for n, end in x.ends.items():
            sends = end.beats(x.words[n], x.now, every=True)
            x.send(n, [s for s in sends if n == 1 or s.path in arriving])

    for _ in range(6):
        together(interval, "icl", "r1")
    together(interval - 2, "r1")
    for _ in range(lost):
        together(interval)
    for _ in range(3):
        together(interval, "r1")
    assert x.ends[1].contact and not any("lost" in n.text for n in x.notes)


def test_a_path_that_proves_nothing_brings_nothing_forward() -> None:
    x = fast("icl", "r1")
    x.cut = {(1, "icl")}
    rounds(x, 6)
    end = x.ends[1]
    assert x.up(1) == {"r1"} and end.paths["icl"].heard is not None
    word = end.paths["r1"].heard
    while end.paths["r1"].heard == word:
        rounds(x, 1, MS)
    x.cut.add((2, "r1"))
    rounds(x, 2)
    x.cut.discard((2, "r1"))
    rounds(x, 4)
    assert end.contact and not any("contact" in n.text and "lost" in n.text for n in x.notes)


def seen(end: IclPeer, now: Instant) -> tuple[object, ...]:
    """All that anybody asks of a peer."""
    beat = end.beat and end.beat._replace(path="", sequence=0, echo=0, echo_age=0)
    paths = [(p.up, p.since, p.until, p.alone, p.heard, p.proved, p.newest, p.rtt) for p in end.paths.values()]
    times = (end.ends, end.falls, end.silence(now), end.heard(now), end.age(now), end.next_deadline(now))
    return beat, paths, times, end.contact, end.news, end.differs(), dict(end.session.drops)


@pytest.mark.parametrize("seed", range(40))
def test_what_is_not_read_again_would_have_said_nothing_new(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Words in any order, late, repeated, of several paths and processes: as if every single one were decoded."""
    chance = random.Random(seed)
    ends, skipped = [], 0
    for read_all in (False, True):
        x = link()
        x.flying = []
        ends.append((x, read_all))
    group = SrgFacts(
        *(SrgId(1), SrgState.BACKUP, False, Term(1), Term(2), None, None, None, 0),
        *(True, True, False, False, Verdict.WIN, True, 100, bytes(4)),
    )
    say = [
        *({}, {"reach": ("r1", "r2")}, {"digest": b"12345678", "sections": (("srg.1", b"1234"),)}, {"srgs": (group,)}),
        *({"srgs": (group._replace(grant=Term(3), grant_to=NodeId(1), grant_left=SECOND),)}, {"software": "2"}),
        *({"incarnation": 9}, {"intent": Intent.RESTARTING, "grace": SECOND}, {"cluster": "other"}),
    ]
    newest = max(p.newest for p in ends[0][0].ends[1].paths.values())
    now, saying = ends[0][0].now, 0
    copies: list[tuple[str, bytes]] = []
    for _ in range(120):
        now += chance.choice((1, 10, 30, 100)) * MS
        saying = chance.randrange(len(say)) if chance.random() < 0.15 else saying
        newest += 1
        path = chance.choice(sorted(ALL))
        beat = words(2)._replace(path=path, sequence=newest - chance.choice((0, 0, 0, 0, 1, 2, 5)), **say[saying])
        beat = beat._replace(echo=chance.randint(1, 60), echo_age=chance.randint(0, 9) * MS)
        copies.append((path, encode(beat)))
        if chance.random() < 0.2:
            copies.append(copies[chance.randrange(len(copies))])
        digest = chance.choice((None,) * 40 + (bytes(8), b"87654321"))
        while copies:
            path, plain = copies.pop(0) if chance.random() < 0.8 else copies.pop()
            outcomes = []
            for x, read_all in ends:
                x.now, end = now, x.ends[1]
                if digest is not None:
                    end.reconfigure(replace(end.settings, digest=digest, sections=(("cluster", digest[:4]),)))
                sealed = x.ends[2].session.seal(plain, now)
                assert sealed is not None
                with monkeypatch.context() as m:
                    if read_all:
                        m.setattr(icl, "numbers_of", lambda *_: None)
                    else:
                        skipped += numbers_of(plain, end.paths[path].said) is not None
                    ttl = 255 if path == "icl" else 254
                    notes = end.receive(Datagram(path, address(2, path), ttl, sealed), now)[1]
                outcomes.append((notes, seen(end, now), end.expire(now)))
            assert outcomes[0] == outcomes[1]
            if chance.random() < 0.5:
                break
        copies = copies[-3:]
    assert skipped > 5


def test_words_that_were_not_read_again_tell_of_a_newer_session_all_the_same() -> None:
    x = link()
    for _ in range(2):
        x.ends[1].session.restart(x.now)
        x.run(500 * MS)
    newest, earlier, *_ = x.ends[2].session._confirmed
    assert newest.created > earlier.created
    forged = words(2, incarnation=6)._replace(path="icl", sequence=1)
    sealed = earlier.seal(encode(forged))
    x.deliver(1, Datagram("icl", address(2, "icl"), 255, sealed))
    assert x.drops(1)[Drop.OLD_INCARNATION] == 1


def test_words_that_come_late_do_not_change_the_age_of_newer_ones() -> None:
    x = link()
    end = x.ends[1]
    top = max(p.newest for p in end.paths.values())
    first, *_, last = end.paths["r1"].times
    for path, sequence, echo in (("icl", top + 10, max(end.paths["icl"].times)), ("r1", top + 5, first)):
        inject(x, path, words(2)._replace(path=path, sequence=sequence, echo=echo))
        assert end.age(x.now) == x.now - end.paths["icl"].times[max(end.paths["icl"].times)]
    inject(x, "r1", words(2)._replace(path="r1", sequence=top + 7, echo=last))
    inject(x, "icl", words(2)._replace(path="icl", sequence=top + 9))
    assert x.drops(1)[Drop.STALE] == 1
    inject(x, "icl", words(2)._replace(path="icl", sequence=top + 11))
    assert end.age(x.now) > 500 * SECOND, "an echo of nothing: their age is unknown"


def test_words_that_promise_are_news_each_time() -> None:
    """The first copy may come on a path that proves no age, so that only the second one is believed."""
    x = link()
    group = SrgFacts(
        *(SrgId(1), SrgState.BACKUP, False, Term(1), Term(2), None, Term(2), NodeId(1), SECOND),
        *(True, True, False, False, Verdict.WIN, True, 100, bytes(4)),
    )
    for sequence, path in ((9000, "r1"), (9001, "icl")):
        inject(x, path, words(2)._replace(path=path, sequence=sequence, srgs=(group,)))
        assert x.ends[1].news
    inject(x, "icl", words(2)._replace(path="icl", sequence=9002, srgs=()))
    inject(x, "r1", words(2)._replace(path="r1", sequence=9003, srgs=()))
    assert not x.ends[1].news
