"""The benchmark's figures, tables and pictures, from plain data; nothing is measured here."""

import threading
import time
import tomllib
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.bench import accident, contenders, moves, plot, seen, table, tap
from lab.bench.l3ha import L3ha, L3haBfd, L3haFast
from lab.bench.load import Load
from lab.bench.record import MANY, Figures, Footprint, Measure, Phase, Record, Results, cell
from lab.bench.trial import Turns
from lab.command import LabError
from lab.holes import Watch
from lab.routers import RouterKind
from lab.stream import Felt
from lab.topology import NODES_DIR
from lab.traffic import Outage, Outages


def record(
    contender: str, fault: str, *gaps: float, mending: Phase | None = None, failure: str | None = None
) -> Record:
    phase = Phase((gaps[0], gaps[1]), (int(gaps[0]), int(gaps[1])), 7) if gaps else None
    return Record("frr", contender, fault, 1, phase, mending, failure)


def results(*records: Record) -> Results:
    return Results(tuple(records))


# --- figures ---------------------------------------------------------------------------------------------------------


def test_figures_of_both_directions_and_the_worse_one() -> None:
    found = cell([record("l3ha", "silent-death", 500, 540), record("l3ha", "silent-death", 520, 510)])
    assert (found.a_to_b, found.b_to_a) == (Figures(2, 510, 520), Figures(2, 525, 540))
    assert found.worst == Figures(2, 530, 540)
    assert found.lost == Figures(2, 1035, 1040)
    assert found.two_actives == Figures(2, 7, 7)


def test_a_failed_run_is_counted_and_gives_no_figures() -> None:
    found = cell([record("l3ha", "silent-death", failure="it did not heal"), record("l3ha", "silent-death", 5, 6)])
    assert found.failures == ("it did not heal",)
    assert found.worst == Figures(1, 6, 6)


def test_nothing_measured_is_no_zero() -> None:
    assert cell([]).worst is None
    assert cell([record("l3ha", "silent-death", 1, 1)], mending=True).worst is None


@given(st.lists(st.floats(0, 1e6), min_size=1))
def test_median_never_exceeds_maximum(values: list[float]) -> None:
    found = Figures.of(values)
    assert found is not None
    assert min(values) <= found.median <= found.maximum == max(values)


@pytest.mark.parametrize(
    ("figures", "text"), [((5, 0, 0), "0"), ((5, 0, 3), "0 / 3"), ((5, 533.4, 559.5), "533 / 560"), ((1, 80, 80), "80")]
)
def test_figures_as_text(figures: tuple[int, float, float], text: str) -> None:
    assert str(Figures(*figures)) == text


def test_one_in_a_hundred_is_told_of_many_runs_only() -> None:
    few, many = Figures.of(range(MANY - 1)), Figures.of(range(101))
    assert few is not None and few.p99 is None
    assert many == Figures(101, 50, 100, 99)
    assert "| x | 50 ms | 99 ms | 100 ms | 101 |  |" in table.measures([Measure("A", "x", "ms", tuple(range(101)))])


def test_the_first_datagram_that_says_more_is_the_news(tmp_path: Path) -> None:
    path = tmp_path / "seen"
    path.write_text(
        "1 heard a 200\n2 heard b 201\n3 link 1\n4 heard a 211\n5 heard a 200\n9 link 0\n11 heard a 200\n"
        "12 heard b 201\n13 heard b 212\n14 heard a 211\n15 hea"
    )
    assert seen.news(seen.datagrams(path), 10) == seen.Heard(13, "b", 212)
    assert seen.news(seen.datagrams(path), 4) == seen.Heard(4, "a", 211)
    assert seen.news(seen.datagrams(path), 15) is None
    assert seen.links(path) == [seen.Link(3, True), seen.Link(9, False)]


def test_the_tap_passes_on_and_its_delay_is_told() -> None:
    found = tap.delays(5)
    assert len(found) == 5 and all(delay > 0 for delay in found)


def test_saved_results_are_read_back(tmp_path: Path) -> None:
    healed = Phase((0.0, 1.5), (0, 1), 0, back=False)
    saved = Results(
        (record("l3ha", "silent-death", 1.5, 2, mending=healed), record("exabgp", "one-uplink", failure="no")),
        (Footprint("frr", "l3ha", 1, "agent", 1.5, 40_000),),
        (Measure("Decision latency", "carrier loss", "ms", (1.0, 2.0)),),
    )
    saved.save(tmp_path / "deep" / "results.json")
    assert Results.load(tmp_path / "deep" / "results.json") == saved
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["results.json"]


def test_what_is_measured_again_replaces_what_was_and_the_rest_stays() -> None:
    old = results(
        record("l3ha", "silent-death", 9, 9),
        record("l3ha", "one-uplink", 8, 8),
        record("frr-bfd", "silent-death", 7, 7),
    )
    new = results(record("l3ha", "silent-death", 1, 1), record("l3ha", "silent-death", 2, 2))
    found = old.updated(new)
    assert [(r.contender, r.fault, r.phase.gap_ms[0]) for r in found.records if r.phase] == [
        ("l3ha", "one-uplink", 8),
        ("frr-bfd", "silent-death", 7),
        ("l3ha", "silent-death", 1),
        ("l3ha", "silent-death", 2),
    ]
    assert "1 to 2 runs of each" in table.readme(found, {})
    watched = Results(
        (), (Footprint("frr", "l3ha", 1, "agent", 1, 1), Footprint("frr", "frr-bfd", 1, "bgpd", 1, 1)), ()
    )
    again = watched.updated(Results((), (Footprint("frr", "l3ha", 1, "agent", 2, 2),), ()))
    assert [(f.contender, f.cpu_percent) for f in again.footprints] == [("frr-bfd", 1), ("l3ha", 2)]
    measured = Results(measures=(Measure("A", "x", "ms", (1,)), Measure("B", "y", "ms", (2,))))
    assert [m.what for m in measured.updated(Results(measures=(Measure("A", "z", "ms", (3,)),))).measures] == ["y", "z"]


# --- table -----------------------------------------------------------------------------------------------------------


def lines_of(text: str) -> dict[str, list[str]]:
    """The matrix by the title of its lines."""
    cells = [[word.strip() for word in line.strip("|").split("|")] for line in text.splitlines() if line[0] == "|"]
    return {words[0]: words[1:] for words in cells}


def test_matrix_keeps_the_order_of_contenders_whatever_order_they_ran_in() -> None:
    found = results(record("bird-bfd", "silent-death", 200, 190), record("l3ha", "silent-death", 500, 540))
    head, _, *_ = table.matrix(found, "frr").splitlines()
    assert head == "| FRR routers | l3ha | BIRD + BFD |"
    assert lines_of(table.matrix(found, "frr"))["silent death of the active node"] == ["540", "200"]


def test_a_mending_of_its_own_is_a_line_of_its_own() -> None:
    found = results(record("l3ha", "silent-death", 500, 540, mending=Phase((3, 0), (2, 0), 0)))
    assert lines_of(table.matrix(found, "frr"))["return of the dead node"] == ["3"]


def test_what_a_contender_cannot_have_is_a_dash_with_its_reason() -> None:
    found = results(record("keepalived", "silent-death", 3400, 3500), record("l3ha", "icl-cut", 0, 0))
    assert lines_of(table.matrix(found, "frr"))["link between the nodes cut"] == ["0", "–"]
    reason = contenders.by_name("keepalived").absent["icl-cut"]
    assert f"{reason} (keepalived)" in table.readme(found, {})


def test_failures_and_runs_that_never_recovered_are_shown() -> None:
    stuck = Record("frr", "exabgp", "silent-death", 1, Phase((90_000, 90_000), (9, 9), 0, back=False))
    failed = record("exabgp", "silent-death", failure="a healthy pair did not come\nexpected\nseen")
    found = results(stuck, failed)
    shown = lines_of(table.matrix(found, "frr"))["silent death of the active node"]
    assert shown == ["90000 (1× until mended) (1 failed)"]
    assert "run 1: a healthy pair did not come\n" in table.report(found, {})


def test_report_names_setup_process_and_measure() -> None:
    found = Results(
        (record("keepalived", "planned-move", 0, 0),),
        (Footprint("frr", "keepalived", 1, "keepalived", 0.04, 4 * 1024),),
        (Measure("Bulk", "1000 routes", "ms", (400.0, 300.0)), Measure("Bulk", "10 000 routes", "ms", (), "refused")),
    )
    text = table.report(found, {"frr": "benchmark-frr.svg"})
    assert contenders.by_name("keepalived").setup in text
    assert "| keepalived | keepalived | 0.0 | 4 |" in text
    assert "| 1000 routes | 350 ms | – | 400 ms | 2 |  |" in text
    assert "| 10 000 routes | – | – | – | 0 | refused |" in text
    assert "](benchmark-frr.svg)" in text


# --- picture ---------------------------------------------------------------------------------------------------------

SVG = "{http://www.w3.org/2000/svg}"


def bars(text: str) -> list[float]:
    root = ET.fromstring(text)
    return [float(one.get("width", "0")) for one in root.iter(f"{SVG}rect") if one.get("class") != "page"]


def test_longer_holes_are_longer_bars_and_none_is_a_ring() -> None:
    found = results(
        record("l3ha", "silent-death", 500, 540),
        record("keepalived", "silent-death", 3400, 3500),
        record("frr-bfd", "silent-death", 0, 0),
    )
    text = plot.draw(found, "frr")
    one, two = bars(text)
    assert 0 < one < two
    rings = list(ET.fromstring(text).iter(f"{SVG}circle"))
    assert [ring.get("class") for ring in rings] == ["zero other"]


def test_titles_cannot_break_the_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(plot._TITLES, "l3ha", "<l3ha> & co")
    text = plot.draw(results(record("l3ha", "silent-death", 5, 5)), "frr")
    assert "<l3ha> & co" in [node.text for node in ET.fromstring(text).iter(f"{SVG}text")]


@given(st.lists(st.floats(0, 1e7), min_size=1, max_size=4))
def test_everything_lies_on_the_page(gaps: list[float]) -> None:
    found = results(*(record("keepalived", "silent-death", gap, gap) for gap in gaps))
    root = ET.fromstring(plot.draw(found, "frr"))
    width = float(root.get("width", "0"))
    assert all(float(one.get("x2", "0")) <= width for one in root.iter(f"{SVG}line"))


# --- configurations --------------------------------------------------------------------------------------------------


def test_each_variant_of_l3ha_is_what_it_says() -> None:
    """The lab's own file changes; a replacement that no longer finds its place would measure something else."""
    text = (NODES_DIR / "l3ha.toml").read_text()
    assert L3ha("none").cluster_file(text) == text
    fast, bfd = (tomllib.loads(one("none").cluster_file(text)) for one in (L3haFast, L3haBfd))
    for found in (fast, bfd):
        assert (found["icl"]["interval"], found["icl"]["multiplier"]) == ("50ms", 3)
        assert found["srg"]["1"]["probe"]["interval"] == "50ms"
    sessions = [neighbor for node in bfd["node"].values() for neighbor in node["neighbor"].values()]
    assert [one["bfd"] for one in sessions] == 4 * [{"interval": "50ms", "multiplier": 3}]


# --- labs side by side -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("early", [False, True])
def test_a_turn_ends_with_its_block_or_a_while_after_it_was_passed_on(early: bool) -> None:
    turns = Turns()
    order: list[str] = []
    yours = threading.Event()

    def other() -> None:
        with turns.one(0):
            order.append("yours")
            yours.set()

    thread = threading.Thread(target=other)
    with turns.one(0) as pass_on:
        thread.start()
        if early:
            pass_on()
            assert yours.wait(10)
        order.append("mine")
    thread.join(10)
    assert order == (["yours", "mine"] if early else ["mine", "yours"])
    with pytest.raises(LabError), turns.one(0):
        raise LabError("it broke")
    with turns.one(0):
        pass


# --- planned moves in a row -------------------------------------------------------------------------------------------


VOID = "; void before it, because the machine stood still:"


class Machine(Watch):
    """One that stood still as told, try by try."""

    def __init__(self, *stood_ms: float) -> None:
        super().__init__(20, {})
        self.stood = iter(stood_ms)

    def longest(self, begin: int, end: int) -> float:
        assert begin < end
        return next(self.stood)


def series(monkeypatch: pytest.MonkeyPatch, stood_ms: list[float], *tries: str | tuple[int, int]) -> list[Measure]:
    """What comes of tries that fail, or lose so many packets and send so many TCP segments again."""
    left = iter(tries)

    def row(*words: object) -> moves.Row:
        progress = words[-1]
        assert isinstance(progress, moves.Progress)
        one = next(left)
        progress.begun = 0 if one == "no lab" else time.monotonic_ns()
        if isinstance(one, str):
            raise LabError(one)
        felt = Felt(1_000_000, one[1], 5.0, None)
        return moves.Row((70.0, 80.0), Outages(Outage(1.0, one[0], 100, 0), Outage(1.0, 0, 100, 0)), (felt, felt))

    monkeypatch.setattr(moves, "run_row", row)
    found = moves.series("t", RouterKind.BIRD, Load(), 2, Machine(*stood_ms), lambda _line: None)
    assert next(left, None) is None, "not one try too few"
    return found


@pytest.mark.parametrize(
    ("stood_ms", "tries", "lost", "remark"),
    [
        ([0], [(0, 0)], (0.0, 0.0), "2 moves"),
        ([500], [(0, 0)], (0.0, 0.0), "2 moves"),
        ([49], [(3, 0)], (3.0, 0.0), "2 moves"),
        ([50, 0], [(3, 0), (0, 0)], (0.0, 0.0), f"2 moves{VOID} 3 packets and 0 segments"),
        ([50, 0], [(0, 1), (0, 0)], (0.0, 0.0), f"2 moves{VOID} 0 packets and 2 segments"),
        ([99, 0], ["no proof", (2, 0)], (2.0, 0.0), f"2 moves{VOID} no proof"),
        (
            [99, 99, 99],
            [(9, 0), (8, 0), (7, 0)],
            (7.0, 0.0),
            f"2 moves{VOID} 9 packets and 0 segments, 8 packets and 0 segments",
        ),
    ],
)
def test_a_series_that_lost_something_is_void_only_if_the_machine_stood_still(
    monkeypatch: pytest.MonkeyPatch,
    stood_ms: list[float],
    tries: list[str | tuple[int, int]],
    lost: tuple[float, float],
    remark: str,
) -> None:
    proofs, packets, _ = series(monkeypatch, stood_ms, *tries)
    assert (proofs.values, proofs.note) == ((70.0, 80.0), remark)
    assert packets.values == lost


def test_a_series_that_failed_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    (only,) = series(monkeypatch, [0], "not verified in time\nand more")
    assert (only.values, only.note) == ((), "not verified in time")


def test_a_lab_that_does_not_come_up_is_no_void_series(monkeypatch: pytest.MonkeyPatch) -> None:
    (only,) = series(monkeypatch, [], "no lab")
    assert (only.values, only.note) == ((), "no lab")


# --- names -----------------------------------------------------------------------------------------------------------


def test_names_are_unique_and_unknown_ones_are_listed() -> None:
    names = [contender.name for contender in contenders.CONTENDERS]
    faults = [one.name for one in accident.ACCIDENTS]
    assert len(set(names)) == len(names)
    assert len(set(faults)) == len(faults)
    assert all(set(contender.absent) <= set(faults) for contender in contenders.CONTENDERS)
    with pytest.raises(LabError, match="keepalived"):
        contenders.by_name("corosync")
    with pytest.raises(LabError, match="silent-death"):
        accident.by_name("meteorite")
