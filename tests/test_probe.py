"""The activeness probe: echoes, knowledge of arbiters, verdicts and their counts (protocol §2)."""

from __future__ import annotations

from l3ha.base.names import NodeId, Verdict
from l3ha.base.settings import EchoTarget
from l3ha.base.time import MS, SECOND, Instant
from l3ha.core.echo import Echo, EchoResult
from l3ha.core.events import SendEcho
from l3ha.core.probe import Probe
from tests.world import echo_reply, entropy, settings

SRG = settings(1).srgs[0]
R1, R2 = SRG.arbiters
T0: Instant = 1_000 * SECOND
NODE = NodeId(1)


class Bench:
    """A probe with its echoes; a script says which targets answer."""

    def __init__(self) -> None:
        self.now = T0
        self.entropy = entropy("probe")
        targets = [t for a in SRG.arbiters for t in (a.floating, a.own)]
        self.echoes = {t: Echo(t, NODE, 0x4C01, T0) for t in targets}
        self.probe = Probe(SRG, T0)

    def tick(self, *answering: EchoTarget, times: int = 1, active: bool = False, spare: bool = False) -> Verdict:
        for _ in range(times):
            for target, echo in self.echoes.items():
                request = echo.tick(self.now, self.entropy, spare=spare)
                assert request is not None or spare
                if request is not None and target in answering:
                    echo.receive(echo_reply(request.identifier, request.sequence, request.payload), self.now + MS)
            self.probe.sample(self.now, self.echoes, active=active)
            self.now += SRG.probe_interval
        return self.probe.verdict


def test_no_arbiter_known_says_nothing() -> None:
    """A router that drops the floating source never becomes known: its silence says nothing."""
    bench = Bench()
    assert bench.tick(R1.own, R2.own, times=5) is Verdict.UNKNOWN


def test_win_counts_in_a_row() -> None:
    bench = Bench()
    bench.tick(R1.own, R1.floating, times=1)
    assert bench.probe.times(Verdict.WIN) == 0, "a sample counts when it is closed"
    bench.tick(R1.own, R1.floating, times=2)
    assert bench.probe.times(Verdict.WIN) == 2
    bench.tick(R1.own, times=2)
    assert bench.probe.times(Verdict.WIN) == 0 and bench.probe.times(Verdict.LOSE) >= 1


def test_the_first_known_arbiter_decides() -> None:
    bench = Bench()
    everything = (R1.own, R1.floating, R2.own, R2.floating)
    bench.tick(*everything, times=3)
    assert bench.tick(R1.own, R2.own, R2.floating, times=2) is Verdict.PART
    assert bench.tick(R1.own, R2.own, times=2) is Verdict.LOSE
    assert bench.tick(R1.own, R1.floating, R2.own, times=2) is Verdict.WIN


def test_for_an_active_node_any_arbiter_wins() -> None:
    bench = Bench()
    bench.tick(R1.own, R1.floating, R2.own, R2.floating, times=3)
    assert bench.tick(R1.own, R2.own, R2.floating, times=2, active=True) is Verdict.WIN


def test_an_arbiter_that_does_not_answer_us_does_not_judge_us() -> None:
    bench = Bench()
    bench.tick(R1.own, R1.floating, R2.own, R2.floating, times=3)
    assert bench.tick(R2.own, R2.floating, times=2) is Verdict.WIN, "r1 is dead: r2 is the first known one"
    assert bench.tick(times=2) is Verdict.UNKNOWN


def test_a_process_that_resumes_recalls_whom_it_knew() -> None:
    bench = Bench()
    bench.probe.told(frozenset({R1.name, "no arbiter any more"}))
    assert bench.probe.trusted == {R1.name} and not bench.probe.answered
    assert bench.tick(R1.own, R2.own, times=3) is Verdict.LOSE, "r1's silence says something"


def test_counts_restart_and_stand_still_after_an_announcement() -> None:
    bench = Bench()
    bench.tick(R1.own, R1.floating, times=4)
    bench.probe.restart()
    assert bench.probe.times(Verdict.WIN) == 0
    bench.probe.announced(bench.now, 500 * MS)
    bench.tick(R1.own, R1.floating, times=5)
    assert bench.probe.times(Verdict.WIN) == 0
    bench.tick(R1.own, R1.floating, times=2)
    assert bench.probe.times(Verdict.WIN) == 2


def test_nothing_is_counted_at_first_nor_at_an_announcement() -> None:
    bench = Bench()
    assert (bench.probe.verdict, bench.probe.times(Verdict.UNKNOWN), bench.probe.times(Verdict.WIN)) == (
        Verdict.UNKNOWN, 0, 0
    )  # fmt: skip
    bench.tick(R1.own, R1.floating, times=4)
    bench.probe.announced(bench.now, 500 * MS)
    assert bench.probe.times(Verdict.WIN) == 0


def test_counting_ends_its_pause_when_the_routers_have_settled() -> None:
    bench = Bench()
    bench.tick(R1.own, R1.floating, times=4)
    bench.probe.announced(bench.now, 200 * MS)
    counts = []
    for _ in range(4):
        bench.tick(R1.own, R1.floating)
        counts.append(bench.probe.times(Verdict.WIN))
    assert counts == [0, 0, 1, 2]


def test_a_verdict_is_counted_once_per_interval_on_a_grid() -> None:
    probe = Probe(SRG, T0)
    echoes = Bench().echoes
    seen = []
    for after in (99, 100, 199, 203, 299, 300, 950, 999, 1000):
        probe.sample(T0 + after * MS, echoes, active=False)
        seen.append((after, probe.count))
    assert seen == [(99, 0), (100, 1), (199, 1), (203, 2), (299, 2), (300, 3), (950, 4), (999, 4), (1000, 5)]


# --- one echo stream ------------------------------------------------------------------------------------------


def request(echo: Echo, now: Instant) -> SendEcho:
    sent = echo.tick(now, entropy(str(now)))
    assert sent is not None
    return sent


def test_echo_cadence_does_not_depend_on_answers() -> None:
    echo = Echo(R1.own, NODE, 0x4C01, T0)
    request(echo, T0)
    assert echo.tick(T0 + 99 * MS, entropy("x")) is None
    request(echo, T0 + 103 * MS)
    assert echo.next == T0 + 200 * MS, "an absolute grid: lateness does not add up"
    request(echo, T0 + 950 * MS)
    assert echo.next == T0 + 1000 * MS, "no burst after a stall"


def test_echo_accepts_only_the_answer_it_waits_for() -> None:
    echo = Echo(R1.own, NODE, 0x4C01, T0)
    first = request(echo, T0)
    second = request(echo, T0 + 100 * MS)
    late = echo_reply(first.identifier, first.sequence, first.payload)
    assert not echo.receive(late, T0 + 101 * MS)
    other_node = echo_reply(0x4C02, 1, second.payload)
    assert not echo.receive(other_node, T0 + 101 * MS)
    assert not echo.receive(b"", T0 + 101 * MS)
    assert echo.result is EchoResult.SILENT
    answer = echo_reply(second.identifier, second.sequence, second.payload)
    assert echo.receive(answer, T0 + 103 * MS)
    assert not echo.receive(answer, T0 + 104 * MS)
    assert (echo.result, echo.rtt, echo.answered) == (EchoResult.ANSWERED, 3 * MS, 1)
    assert echo.drops == {"late or forged": 1, "foreign": 1, "short": 1, "duplicate": 1}


def test_asked_again_every_request_of_the_sample_may_be_answered() -> None:
    """A router whose answer takes longer than the pause between two requests answers all the same."""
    echo = Echo(R1.own, NODE, 0x4C01, T0)
    take = entropy("again")
    requests = [request(echo, T0), *(echo.again(T0 + n * 20 * MS, take) for n in (1, 2))]
    assert [r.sequence for r in requests] == [1, 2, 3] and echo.next == T0 + 100 * MS
    assert all(r.awaited for r in requests), "nothing is known yet, and whoever asks again waits for it"
    answers = [echo_reply(r.identifier, r.sequence, r.payload) for r in requests]
    assert echo.receive(answers[1], T0 + 45 * MS)
    assert (echo.result, echo.answered_sent, echo.rtt) == (EchoResult.ANSWERED, T0 + 20 * MS, 25 * MS)
    assert echo.receive(answers[0], T0 + 46 * MS), "late, and sent before the one that is answered"
    assert echo.answered_sent == T0 + 20 * MS
    assert not echo.receive(answers[1], T0 + 47 * MS)
    echo.failed("Network is unreachable")
    assert echo.result is EchoResult.ANSWERED, "what was answered stays so, although a repetition cannot be sent"
    assert not request(echo, T0 + 100 * MS).awaited, "one more answer is no news"
    assert echo.closed is EchoResult.ANSWERED
    assert not echo.receive(answers[2], T0 + 101 * MS)
    assert echo.drops == {"duplicate": 1, "late or forged": 1}


def test_could_not_send_is_not_silence() -> None:
    echo = Echo(R1.own, NODE, 0x4C01, T0)
    request(echo, T0)
    echo.failed("Network is unreachable")
    assert echo.result is EchoResult.CANNOT_SEND and echo.error == "Network is unreachable"
    request(echo, T0 + 100 * MS)
    assert echo.closed is EchoResult.CANNOT_SEND


def test_after_a_pause_nothing_is_known() -> None:
    echo = Echo(R1.own, NODE, 0x4C01, T0)
    sent = request(echo, T0)
    echo.forget(T0 + SECOND)
    assert not echo.receive(echo_reply(sent.identifier, sent.sequence, sent.payload), T0 + SECOND)
    assert echo.result is EchoResult.PENDING


def test_a_new_stream_knows_nothing_and_counts_from_one() -> None:
    echo = Echo(R1.own, NODE, 0x4C01, T0)
    assert (echo.result, echo.closed, echo.sent) == (EchoResult.PENDING, EchoResult.PENDING, 0)
    assert [request(echo, T0 + n * 100 * MS).sequence for n in range(3)] == [1, 2, 3]
    echo.sent = 0xFFFF
    assert request(echo, T0 + 400 * MS).sequence == 0, "16 bits on the wire"
    echo.sent = 0x10000
    assert request(echo, T0 + 500 * MS).sequence == 1


def test_the_first_request_closes_no_sample_and_forgetting_opens_a_new_one() -> None:
    echo = Echo(R1.own, NODE, 0x4C01, T0)
    request(echo, T0)
    assert echo.closed is EchoResult.PENDING
    request(echo, T0 + 100 * MS)
    assert echo.closed is EchoResult.SILENT
    echo.failed("no route")
    echo.forget(T0 + 150 * MS)
    assert (echo.closed, echo.result, echo.next) == (EchoResult.PENDING, EchoResult.PENDING, T0 + 150 * MS)


# --- what another echo proves -----------------------------------------------------------------------------------------


class Beside:
    """The own address beside the floating one; sample by sample, who answers."""

    def __init__(self) -> None:
        self.now = T0
        self.floating, self.own = Echo(R1.floating, NODE, 0x4C01, T0), Echo(R1.own, NODE, 0x4C01, T0)
        self.own.beside = (self.floating,)

    def sample(self, answering: str, *, spare: bool = True) -> tuple[bool, EchoResult]:
        """Whether the own address was asked, and what became of its sample before."""
        asked = False
        for name, echo in (("floating", self.floating), ("own", self.own)):
            sent = echo.tick(self.now, entropy(str(self.now)), spare=spare)
            if sent is not None and name in answering.split():
                assert echo.receive(echo_reply(sent.identifier, sent.sequence, sent.payload), self.now + MS)
            asked = sent is not None
        self.now += 100 * MS
        return asked, self.own.closed


def test_what_both_have_answered_the_floating_address_answers_for_both() -> None:
    bench = Beside()
    assert bench.sample("floating own") == (True, EchoResult.PENDING)
    assert [bench.sample("floating") for _ in range(3)] == 3 * [(False, EchoResult.ANSWERED)]
    assert bench.own.sent == 1 and bench.own.next == bench.floating.next


def test_where_the_floating_address_is_silent_the_own_one_is_asked() -> None:
    bench = Beside()
    bench.sample("floating own")
    assert bench.sample("own") == (False, EchoResult.ANSWERED)
    assert bench.sample("own") == (True, EchoResult.PENDING), "nothing is known of the sample in which nobody answered"
    assert bench.sample("own") == (True, EchoResult.ANSWERED)
    assert bench.sample("floating") == (True, EchoResult.ANSWERED), "not by what was asked before"
    assert bench.sample("floating") == (True, EchoResult.SILENT), "asked, and silent"


def test_a_verdict_stands_while_nobody_knows_whether_the_arbiter_answers() -> None:
    """In contact, too, UNKNOWN would say something: a move away from here would not wait for its proof."""
    bench = Bench()
    bench.echoes[R1.own].beside = (bench.echoes[R1.floating],)
    seen = []
    both, floating, own = (R1.floating, R1.own), (R1.floating,), (R1.own,)
    for answering in (both, both, floating, floating, (), own, own, own):
        verdict = bench.tick(*answering, active=True, spare=True)
        seen.append((str(verdict), bench.probe.count))
    assert seen[2:] == [("WIN", 2), ("WIN", 3), ("WIN", 4), ("WIN", 4), ("LOSE", 1), ("LOSE", 2)]


def test_an_own_address_that_is_not_answered_is_asked_for_ever() -> None:
    bench = Beside()
    assert [bench.sample("floating")[0] for _ in range(5)] == 5 * [True]
    assert bench.own.closed is EchoResult.SILENT


def test_nobody_is_spared_where_the_caller_does_not_permit_it() -> None:
    bench = Beside()
    assert [bench.sample("floating own", spare=False)[0] for _ in range(3)] == 3 * [True]
    bench.sample("floating own")
    assert bench.own.spared
    assert bench.sample("floating own", spare=False) == (True, EchoResult.ANSWERED)


def test_nobody_is_spared_whom_nobody_stands_beside() -> None:
    bench = Beside()
    bench.own.beside = ()
    assert [bench.sample("floating own")[0] for _ in range(3)] == 3 * [True]


def test_after_a_pause_the_own_address_is_asked_too() -> None:
    bench = Beside()
    for _ in range(3):
        bench.sample("floating own")
    for echo in (bench.floating, bench.own):
        echo.forget(bench.now)
    assert not bench.own.spared and bench.sample("floating own")[0]
