"""Two engines on a fake wire: the stories of protocol §5 and §6, as golden transcripts.

``L3HA_REWRITE=1 pytest tests/test_pair.py`` rewrites them; a change of behaviour is then a readable diff.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from l3ha.base.names import Intent, SrgId
from l3ha.base.settings import Bfd, FrrBfd
from l3ha.base.time import MS, SECOND
from l3ha.core.events import Answer, RequestFailover, RequestStop, SendEcho
from l3ha.wire.bfd import State
from l3ha.wire.wish import BfdReport
from tests.test_routes import SESSION
from tests.world import FLOATING, TIMERS, Node, World

GOLDEN = Path(__file__).parent / "transcripts"


def golden(name: str, world: World) -> None:
    path = GOLDEN / f"{name}.txt"
    text = world.transcript()
    if os.environ.get("L3HA_REWRITE"):
        path.write_text(text)
    assert text == path.read_text()


def steady() -> World:
    """Both nodes up, n1 ACTIVE and confirmed, n2 BACKUP, everything settled."""
    world = World()
    world.both()
    world.until(lambda: world.states() == ("ACTIVE", "BACKUP"), 5 * SECOND)
    world.run(15 * SECOND)
    assert world.states() == ("ACTIVE", "BACKUP")
    assert world.best() == (1, 1)
    world.say(0, "--- steady ---")
    return world


def quiet(world: World) -> None:
    """Nothing more happens, for a long time."""
    before = len(world.notes)
    world.run(40 * SECOND)
    assert [n for _, _, n in world.notes[before:]] == []


def test_transcript_boot() -> None:
    world = steady()
    assert "elect" in world.rules(1) and "follow" in world.rules(2)
    quiet(world)
    golden("boot", world)


def test_transcript_silent_death_and_return() -> None:
    world = steady()
    world.silence(1)
    took = world.until(lambda: world.state(2).startswith("ACTIVE"), SECOND)
    assert took <= 502 * MS, "T_det after its last word the peer is replaced"
    assert world.rules(2)[-1] == "silence"
    took = world.until(lambda: world.best() == (2, 2), SECOND)
    assert took <= 70 * MS, "the routers follow although they still hold the dead node's HIGH"
    world.until(lambda: world.state(2) == "ACTIVE", 5 * SECOND)
    world.expire_hold(1)
    world.run(5 * SECOND)
    world.boot(1)
    world.until(lambda: world.states() == ("BACKUP", "ACTIVE"), 5 * SECOND)
    world.run(20 * SECOND)
    assert world.states() == ("BACKUP", "ACTIVE")
    assert world.best() == (2, 2)
    quiet(world)
    golden("silent-death", world)


class Asking(World):
    """Keeps what each node asks from the floating address."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[int, int, bool]] = []
        self.both()
        self.until(lambda: self.states() == ("ACTIVE", "BACKUP"), 5 * SECOND)

    def _echo(self, n: Node, e: SendEcho) -> None:
        if e.target.source == FLOATING:
            self.asked.append((self.now, n.id, e.awaited))
        super()._echo(n, e)


def test_only_an_answer_that_would_be_news_is_awaited() -> None:
    """The active node's echoes go on being answered, the backup's silent; a takeover waits for its proof."""
    world = Asking()
    world.run(5 * SECOND)
    world.asked.clear()
    world.run(SECOND)
    assert {(n, awaited) for _, n, awaited in world.asked} == {(1, False), (2, True)}
    world.bgp_delay = SECOND
    world.silence(1)
    world.asked.clear()
    world.until(lambda: world.state(2).startswith("ACTIVE"), SECOND)
    world.run(SECOND // 2)
    assert all(awaited for _, _, awaited in world.asked)
    world.run(5 * SECOND)
    world.asked.clear()
    world.run(SECOND)
    assert {(n, awaited) for _, n, awaited in world.asked} == {(2, False)}


def test_a_takeover_asks_for_its_proof_more_often_and_not_for_ever() -> None:
    world = Asking()
    world.run(15 * SECOND)
    world.bgp_delay = 60 * SECOND  # no router follows
    world.silence(1)
    world.until(lambda: world.state(2).startswith("ACTIVE"), SECOND)
    began = world.now
    world.run(6 * SECOND)
    end = began + TIMERS.verify
    during = [t for t, n, _ in world.asked if n == 2 and began < t <= end]
    after = [t for t, n, _ in world.asked if n == 2 and end + 100 * MS < t <= end + 3 * SECOND]
    assert 60 * len(world.routers) < len(during) <= 120 * len(world.routers), "every 20 ms, beside the samples"
    assert len(after) <= 30 * len(world.routers), "every 100 ms"


def test_transcript_icl_cut() -> None:
    world = steady()
    world.cut.add("icl")
    world.run(20 * SECOND)
    assert world.states() == ("ACTIVE", "BACKUP"), "a cut ICL alone changes nothing"
    world.cut.clear()
    world.run(20 * SECOND)
    quiet(world)
    golden("icl-cut", world)


def test_transcript_all_heartbeats_filtered() -> None:
    """Silence moves the group once, and never again (why there is an heir)."""
    world = steady()
    world.cut.update({"icl", "r1", "r2"})
    # the filter eats the heartbeats only; routers go on to answer
    world.run(60 * SECOND)
    assert world.states() == ("BACKUP", "ACTIVE")
    assert world.rules(1)[-1] == "outranked"
    assert world.best() == (2, 2)
    moves = len(world.notes)
    world.run(100 * SECOND)
    assert len([n for _, _, n in world.notes[moves:] if n.kind == "transition"]) == 0
    world.cut.clear()
    world.run(30 * SECOND)
    assert world.states() == ("BACKUP", "ACTIVE")
    quiet(world)
    golden("all-filtered", world)


def test_transcript_resumed_while_outranked() -> None:
    """The agent that resumes remembers its arbiters, so it learns that routers follow the peer: nobody else tells."""
    world = steady()
    world.cut.update({"icl", "r1", "r2"})
    world.kill_agent(1)
    world.until(lambda: world.best() == (2, 2), SECOND)
    world.boot(1)
    world.until(lambda: world.states() == ("BACKUP", "ACTIVE"), 5 * SECOND)
    assert world.rules(1)[-1] == "outranked" and "resume" in world.rules(1)
    quiet(world)
    golden("resumed-while-outranked", world)


def test_transcript_both_active() -> None:
    """Two actives that meet: the confirmed one wins and announces again; the other covers it, then yields."""
    world = steady()
    world.cut.update({"icl", "r1", "r2"})
    world.until(lambda: world.state(2).startswith("ACTIVE"), 2 * SECOND)
    world.at(95 * MS, world.cut.clear)  # just before heartbeats of both are due: each hears the other as ACTIVE
    world.run(95 * MS)
    assert world.state(1).startswith("ACTIVE")
    world.until(lambda: sorted(world.states()) == ["ACTIVE", "BACKUP"], 2 * SECOND)
    assert "duel" in world.rules(1) + world.rules(2)
    world.run(20 * SECOND)
    assert sorted(world.states()) == ["ACTIVE", "BACKUP"]
    active = world.states().index("ACTIVE") + 1
    assert world.best() == (active, active)
    assert world.term(active) > world.term(3 - active)
    quiet(world)
    golden("both-active", world)


def test_transcript_planned_move() -> None:
    world = steady()
    effects = world.feed(1, RequestFailover(1, SrgId(1), None))
    answer = next(e for e in effects if isinstance(e, Answer))
    assert answer.accepted, answer
    took = world.until(lambda: world.state(2) == "ACTIVE", SECOND)
    assert took <= 10 * MS
    covered = True
    while world.best() != (2, 2):
        world.run(1 * MS)
        covered = covered and None not in world.best()
    assert covered, "at no moment do routers lack a HIGH route (S10)"
    world.until(lambda: world.states() == ("BACKUP", "ACTIVE"), 2 * SECOND)
    world.run(5 * SECOND)
    texts = [n.text for _, who, n in world.notes if who == 1 and n.kind == "move"]
    assert any("the planned move is complete" in t for t in texts), texts
    quiet(world)
    golden("planned-move", world)


def test_transcript_pause() -> None:
    """The active node sleeps for ten detection times and wakes beside a new active one: it distrusts itself first."""
    world = steady()
    world.freeze(1)
    world.until(lambda: world.state(2).startswith("ACTIVE"), SECOND)
    world.run(5 * SECOND)
    world.thaw(1)
    assert world.rules(1)[-1] == "pause" or world.states()[0] != "ACTIVE"
    assert world.state(1) == "ACTIVE?"
    world.until(lambda: world.states() == ("BACKUP", "ACTIVE"), 2 * SECOND)
    world.run(20 * SECOND)
    assert world.states() == ("BACKUP", "ACTIVE")
    quiet(world)
    golden("pause", world)


def test_transcript_the_active_node_dies_while_its_backup_sleeps() -> None:
    world = steady()
    world.freeze(2)
    world.run(100 * MS)
    world.silence(1)
    world.run(700 * MS)
    world.thaw(2)
    took = world.until(lambda: world.state(2).startswith("ACTIVE"), 2 * SECOND)
    assert took <= 700 * MS
    golden("dies-while-backup-sleeps", world)


@pytest.mark.parametrize(
    ("bfd", "session", "taken"),
    [
        (Bfd(50 * MS, 3, 255, None, None, True), SESSION, True),
        (FrrBfd("/run/frr", 100 * MS, None, None), SESSION, False),
        (Bfd(50 * MS, 3, 255, None, None), SESSION, False),
        (Bfd(50 * MS, 3, 255, None, None, True), replace(SESSION, state=State.DOWN), False),
        (Bfd(50 * MS, 3, 255, None, None, True), replace(SESSION, detection=301 * MS), False),
    ],
    ids=["own", "frr", "not configured", "down", "too slow"],
)
def test_where_routers_answer_no_echoes_bfd_may_be_the_witness(
    bfd: Bfd | FrrBfd, session: BfdReport, taken: bool
) -> None:
    world = World()
    two = world.nodes[2].settings
    world.nodes[2].settings = replace(two, neighbors=tuple(replace(n, bfd=bfd) for n in two.neighbors))
    world.bfd[2] = tuple(replace(session, address=n.address) for n in two.neighbors)
    world.both()
    world.until(lambda: world.states() == ("ACTIVE", "BACKUP"), 5 * SECOND)
    world.run(5 * SECOND)
    for router in world.routers.values():
        router.mute = True
    world.run(5 * SECOND)
    assert world.states() == ("ACTIVE", "BACKUP"), "in contact nobody minds"
    world.silence(1)
    world.run(502 * MS)
    assert world.state(2).startswith("ACTIVE") is taken
    assert (world.rules(2)[-1] == "silence") is taken


def test_transcript_monitor_failure() -> None:
    """An uplink fails: LOW at once, and the grant travels in the same heartbeat."""
    world = steady()
    world.uplink(1, False)
    assert world.state(1) == "INELIGIBLE"
    took = world.until(lambda: world.state(2) == "ACTIVE", SECOND)
    assert took <= 5 * MS
    world.run(2 * SECOND)
    world.uplink(1, True)
    world.run(20 * SECOND)
    assert world.states() == ("BACKUP", "ACTIVE")
    quiet(world)
    golden("monitor-failure", world)


def test_transcript_agent_restart_keeps_the_role() -> None:
    world = steady()
    world.feed(1, RequestStop(Intent.RESTARTING, 5 * SECOND))
    world.run(100 * MS)
    assert not world.nodes[1].alive
    world.run(1500 * MS)
    world.boot(1)
    world.until(lambda: world.state(1) == "ACTIVE", SECOND)
    assert "resume" in world.rules(1) and "reclaim" in world.rules(1)
    assert world.rules(2).count("silence") == 0
    world.run(10 * SECOND)
    assert world.states() == ("ACTIVE", "BACKUP")
    assert world.best() == (1, 1)
    quiet(world)
    golden("agent-restart", world)


def test_transcript_agent_killed_and_back() -> None:
    """kill -9 of the active agent: the peer takes over; the old HIGH is fenced by the term; the lease ends it."""
    world = steady()
    world.kill_agent(1)
    world.until(lambda: world.best() == (2, 2), SECOND)
    world.run(5 * SECOND)
    world.boot(1)
    world.run(20 * SECOND)
    assert world.states() == ("BACKUP", "ACTIVE")
    quiet(world)
    golden("agent-killed", world)


def test_transcript_clean_stop() -> None:
    """A node that leaves for good hands over first and withdraws."""
    world = steady()
    world.feed(1, RequestStop(Intent.LEAVING, 0))
    while world.nodes[1].alive:
        assert None not in world.best()
        world.run(1 * MS)
    assert world.state(2) == "ACTIVE"
    world.run(1 * SECOND)
    assert all(1 not in r.routes for r in world.routers.values()), "withdrawn"
    assert world.best() == (2, 2)
    world.run(20 * SECOND)
    assert world.state(2) == "ACTIVE"
    golden("clean-stop", world)


def test_transcript_speaker_lost() -> None:
    """ExaBGP dies under the active node: the group goes to the peer at once."""
    world = steady()
    world.lose_speaker(1)
    took = world.until(lambda: world.best() == (2, 2) and world.state(2) == "ACTIVE", SECOND)
    assert took <= 100 * MS
    golden("exabgp-killed", world)


def test_transcript_lone_node() -> None:
    """One node boots alone: after T_boot it settles, the routers pick it, its probe wins."""
    world = World()
    world.boot(2)
    world.until(lambda: world.state(2) == "ACTIVE", 15 * SECOND)
    assert world.term(2) >= 1000, "no peer was ever heard: the stride protects against a lost disk"
    golden("lone-node", world)
