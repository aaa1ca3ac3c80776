"""The meter's arithmetic: what was lost, how long the longest hole was. No network needed."""

import time
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.command import LabError
from lab.outage import Packet, outage
from lab.traffic import _RECORD, Flow, Meter

MS = 1_000_000


def at(*numbers: int) -> list[Packet]:
    """Packets of these numbers from a punctual sender."""
    return [Packet(number, number * MS) for number in numbers]


def test_nothing_lost() -> None:
    found = outage(at(*range(10, 20)))
    assert (found.sent, found.lost, found.gap_ms, found.duplicates) == (10, 0, 0.0, 0)
    assert str(found) == "0 of 10 lost"


def test_one_packet_lost_is_a_hole_of_two_intervals() -> None:
    found = outage(at(1, 2, 4, 5))
    assert (found.sent, found.lost, found.gap_ms) == (5, 1, 2.0)


def test_longest_of_several_holes() -> None:
    found = outage(at(1, 2, 4, 14, 15, 18))
    assert (found.lost, found.gap_ms) == (1 + 9 + 2, 10.0)


def test_late_sender_without_loss_is_no_outage() -> None:
    assert outage([Packet(1, 1 * MS), Packet(2, 90 * MS), Packet(3, 90 * MS)]).gap_ms == 0.0


def test_hole_is_measured_in_sending_time() -> None:
    """Numbers 2..4 left in a burst after a stall: three lost packets are a hole of 50 ms."""
    assert outage([Packet(1, 1 * MS), Packet(5, 51 * MS)]).gap_ms == 50.0


def test_reordered_and_duplicated() -> None:
    found = outage(at(1, 3, 2, 2, 4, 4, 4))
    assert (found.lost, found.duplicates, found.gap_ms) == (0, 3, 0.0)


def test_stragglers_from_before_are_not_part_of_it() -> None:
    found = outage(at(100, 101, 7, 8, 102))
    assert (found.sent, found.lost, found.gap_ms, found.duplicates) == (3, 0, 0.0, 0)


def test_no_packet_is_no_measurement() -> None:
    with pytest.raises(ValueError, match="no beginning"):
        outage([])


@given(st.sets(st.integers(0, 400), min_size=1), st.randoms(use_true_random=False))
def test_lost_and_received_make_sent(numbers: set[int], random: Random) -> None:
    packets = at(*numbers)
    first = packets.pop(packets.index(min(packets)))
    random.shuffle(packets)
    found = outage([first, *packets])
    assert found.lost + len(numbers) == found.sent == max(numbers) - min(numbers) + 1
    assert (found.gap_ms > 0) == (found.lost > 0)
    assert found.gap_ms <= found.lost + 1


def _append(path: Path, packets: list[Packet]) -> None:
    with path.open("ab") as file:
        for packet in packets:
            file.write(_RECORD.pack(*packet))


def _now(*numbers: int) -> list[Packet]:
    return [Packet(number, time.monotonic_ns()) for number in numbers]


def test_meter_counts_only_what_happens_during_the_action(tmp_path: Path) -> None:
    """Holes before the measurement do not count; half a record at the file's end is left for later."""
    one, two = tmp_path / "b", tmp_path / "a"
    meter = Meter(Flow(one), Flow(two))
    begin = time.monotonic_ns()
    for path in (one, two):
        _append(path, [Packet(1, begin - 9), Packet(50, begin - 8), Packet(51, begin + 60_000 * MS)])

    def action() -> None:
        _append(one, [Packet(55, begin + 60_004 * MS), Packet(56, begin + 60_005 * MS)])
        _append(two, [Packet(52, begin + 60_001 * MS)])
        with two.open("ab") as file:
            file.write(b"half")

    found = meter.measure(action)
    assert (found.a_to_b.lost, found.b_to_a.lost, found.lost) == (3, 0, 3)
    assert found.worst_ms == 4.0


def test_meter_says_where_no_traffic_arrives(tmp_path: Path) -> None:
    _append(tmp_path / "hostb", _now(1, 2))
    with pytest.raises(LabError, match="no traffic arrives at hostb"):
        Meter(Flow(tmp_path / "hostb"), Flow(tmp_path / "hosta")).measure(lambda: None, flows_within_s=0.05)
