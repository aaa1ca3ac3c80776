"""Every decoder of ``tests/fuzz/table.py``: its corpus, mutations of it, and inputs as long as can reach it.

The same checks run under a coverage-guided fuzzer with ``make fuzz``.
"""

from __future__ import annotations

import time
import tracemalloc

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.table import CORPUS, DECODERS, Decoder

SLOWEST_S = 2.0
"""Seconds of the processor for an input of any length; the slowest takes 0.4 on a small machine."""

ROOM_BYTES = 8 << 20
"""Memory for an input beside 32 times its length."""

each = pytest.mark.parametrize("decoder", DECODERS, ids=lambda d: d.name)


def inputs(decoder: Decoder) -> list[bytes]:
    return [file.read_bytes() for file in sorted(decoder.corpus.iterdir())]


def in_time(decoder: Decoder, data: bytes) -> None:
    """The check, by the processor's time: the machine may have other work."""
    started = time.process_time()
    decoder.check(data)
    assert time.process_time() - started < SLOWEST_S, data[:60]


def test_every_decoder_has_a_corpus_and_every_corpus_a_decoder() -> None:
    assert {d.corpus for d in DECODERS} == {path for group in CORPUS.iterdir() for path in group.iterdir()}
    assert len({d.name for d in DECODERS}) == len(DECODERS)
    for decoder in DECODERS:
        sizes = [len(data) for data in inputs(decoder)]
        assert 5 <= len(sizes) <= 40 and max(sizes) <= 1 << 14, decoder.name


@each
def test_corpus(decoder: Decoder) -> None:
    for data in inputs(decoder):
        decoder.check(data)


edits = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 4), st.binary(max_size=4)), min_size=1, max_size=4)


@each
def test_mutations(decoder: Decoder) -> None:
    """Bytes replaced, lost and put in, and the head of one input before the tail of another."""
    corpus = inputs(decoder)

    @settings(
        max_examples=decoder.examples,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.sampled_from(corpus), st.sampled_from(corpus), st.booleans(), edits)
    def mutated(one: bytes, other: bytes, spliced: bool, changes: list[tuple[float, int, bytes]]) -> None:
        data = one[: len(one) // 2] + other[len(other) // 2 :] if spliced else one
        for where, lost, new in changes:
            at = int(where * len(data))
            data = data[:at] + new + data[at + lost :]
        in_time(decoder, data)

    mutated()


@each
def test_long_inputs(decoder: Decoder) -> None:
    """As long as the limits let through: neither slow nor large."""
    decoder.check(b"")
    size = decoder.longest
    for piece in (b"\0", b"\xff", b"[", b'{"a":', b"9", b'"a', b"\n", *inputs(decoder)[:2]):
        data = (piece * (size // max(1, len(piece)) + 1))[:size]
        in_time(decoder, data)
    tracemalloc.start()
    decoder.check(b"\n" * size)
    decoder.check(b"9" * size)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 32 * size + ROOM_BYTES
