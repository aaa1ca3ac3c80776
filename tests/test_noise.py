"""Noise revision 34: published vectors, and what must fail."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from l3ha.wire.noise import KK, KKPSK0, Handshake, NoiseError, Pattern, _Symmetric, exchange, public_key

VECTORS = Path(__file__).resolve().parents[2] / "shared" / "vectors" / "noise.json"
PATTERNS = {
    p.name: p
    for p in (
        KK,
        KKPSK0,
        Pattern("NNpsk0", False, False, (("psk", "e"), ("e", "ee"))),
        Pattern("KKpsk2", True, True, (("e", "es", "ss"), ("e", "ee", "se", "psk"))),
        Pattern("IKpsk2", False, True, (("e", "es", "s", "ss"), ("e", "ee", "se", "psk"))),
    )
}
A, B = bytes(range(32)), bytes(range(1, 33))
EA, EB = bytes(range(2, 34)), bytes(range(3, 35))
PSK = b"p" * 32


def vectors() -> list[dict[str, Any]]:
    return json.loads(VECTORS.read_text())["vectors"] if VECTORS.exists() else []


def side(vector: dict[str, Any], who: str, pattern: Pattern) -> Handshake:
    def key(name: str) -> bytes | None:
        return bytes.fromhex(vector[f"{who}_{name}"]) if f"{who}_{name}" in vector else None

    psks = vector.get(f"{who}_psks") or [None]
    return Handshake(
        pattern,
        initiator=who == "init",
        prologue=key("prologue") or b"",
        ephemeral=key("ephemeral") or b"",
        static=key("static"),
        remote_static=key("remote_static"),
        psk=bytes.fromhex(psks[0]) if psks[0] else None,
    )


@pytest.mark.skipif(not VECTORS.exists(), reason="vector file is not here")
@pytest.mark.parametrize("number", range(len(vectors())))
def test_published_vector(number: int) -> None:
    vector = vectors()[number]
    pattern = PATTERNS[vector["protocol_name"].split("_")[1]]
    ends = [side(vector, "init", pattern), side(vector, "resp", pattern)]
    messages = [(bytes.fromhex(m["payload"]), bytes.fromhex(m["ciphertext"])) for m in vector["messages"]]
    for step, (payload, ciphertext) in enumerate(messages[:2]):
        assert ends[step].write(payload) == ciphertext
        assert ends[1 - step].read(ciphertext) == payload
    assert ends[0].hash == ends[1].hash
    if "handshake_hash" in vector:
        assert ends[0].hash.hex() == vector["handshake_hash"]
    splits = [end.split() for end in ends]
    for step, (payload, ciphertext) in enumerate(messages[2:]):
        writer, nonce = step % 2, step // 2
        assert splits[writer][0].seal(nonce, b"", payload) == ciphertext
        assert splits[1 - writer][1].open(nonce, b"", ciphertext) == payload


def pair(**changes: bytes) -> tuple[Handshake, Handshake]:
    """An initiator, and a responder that differs in ``changes``."""
    given_ = {"prologue": b"x", "static": B, "remote_static": public_key(A), "psk": PSK} | changes
    initiator = Handshake(
        KKPSK0,
        initiator=True,
        prologue=b"x",
        ephemeral=EA,
        static=A,
        remote_static=public_key(B),
        psk=PSK,
    )
    responder = Handshake(
        KKPSK0,
        initiator=False,
        prologue=given_["prologue"],
        ephemeral=EB,
        static=given_["static"],
        remote_static=given_["remote_static"],
        psk=given_["psk"],
    )
    return initiator, responder


def test_own_frozen_vector() -> None:
    """The very suite of the link, without any file: first message 48 bytes, second 48, one transcript."""
    initiator, responder = pair()
    first = initiator.write()
    responder.read(first)
    second = responder.write()
    initiator.read(second)
    assert first.hex() == (
        "ab9f2628c325c141e9fb2430f106850f62930bc3f0b12df39a9b84a49c7c1d12e8ef2fa46076d66af7dc613a28da32ad"
    )
    assert second.hex() == (
        "909705b0e7d1817db56cdcb89ba2fabad3e9a01b2c23bc73e3ec9d9a2ff9b8270a319e59bbcaa35295e54cd56ebdb624"
    )
    assert initiator.hash == responder.hash and initiator.finished and responder.finished
    assert initiator.split()[0].seal(7, b"h", b"hello") == bytes.fromhex("8e7e07c2023e84461a5a3fe1ef8c3b6af48ed8b487")
    assert responder.split()[1].open(7, b"h", initiator.split()[0].seal(7, b"h", b"hello")) == b"hello"


def test_only_one_side_is_known_beforehand() -> None:
    """NK: the pre-message is the responder's key, whoever looks at it."""
    nk = Pattern("NK", False, True, (("e", "es"), ("e", "ee")))
    initiator = Handshake(nk, initiator=True, prologue=b"", ephemeral=EA, remote_static=public_key(B))
    responder = Handshake(nk, initiator=False, prologue=b"", ephemeral=EB, static=B)
    assert responder.read(initiator.write(b"hello")) == b"hello"
    assert initiator.read(responder.write(b"there")) == b"there"
    assert initiator.hash == responder.hash
    with pytest.raises(NoiseError):
        Handshake(nk, initiator=True, prologue=b"", ephemeral=EA, static=A)


def test_no_nonce_is_used_twice_with_one_key() -> None:
    """Our patterns mix a key into every message; one that does not shall be as safe (section 5.1)."""
    writer = _Symmetric(b"a name that is longer than any hash of ours")
    writer.mix_key(b"k" * 32)
    reader, silent = writer.copy(), writer.copy()
    first, second = writer.seal(b"word"), writer.seal(b"word")
    assert [reader.open(first), reader.open(second)] == [b"word", b"word"]
    silent.open(first)
    assert silent.cipher is not None and silent.cipher.open(1, silent.hash, second) == b"word"


def test_rfc7748_section_6_1() -> None:
    alice = bytes.fromhex("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a")
    bob = bytes.fromhex("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb")
    shared = "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742"
    assert public_key(alice).hex() == "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a"
    assert exchange(alice, public_key(bob)).hex() == exchange(bob, public_key(alice)).hex() == shared


@pytest.mark.parametrize(
    "changes",
    [
        {"prologue": b"y"},
        {"psk": b"q" * 32},
        {"static": EB},
        {"remote_static": public_key(EB)},
    ],
    ids=["prologue", "psk", "own key", "peer's key"],
)
def test_what_differs_does_not_open(changes: dict[str, bytes]) -> None:
    initiator, responder = pair(**changes)
    with pytest.raises(NoiseError):
        responder.read(initiator.write())


@pytest.mark.parametrize(
    "point",
    [
        bytes(32),
        (1).to_bytes(32, "little"),
        (2**255 - 19).to_bytes(32, "little"),
        (2**255 - 20).to_bytes(32, "little"),
        bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
    ],
)
def test_low_order_points_are_refused(point: bytes) -> None:
    with pytest.raises(NoiseError):
        exchange(A, point)
    _, responder = pair()
    with pytest.raises(NoiseError):
        responder.read(point + bytes(16))


def test_missing_and_short_keys_are_refused() -> None:
    with pytest.raises(NoiseError):
        Handshake(KK, initiator=True, prologue=b"", ephemeral=EA, static=None, remote_static=public_key(B))
    with pytest.raises(NoiseError):
        exchange(A, b"short")
    initiator, responder = pair()
    assert not initiator.finished
    with pytest.raises(NoiseError, match="not finished"):
        initiator.split()
    with pytest.raises(NoiseError, match="too short"):
        responder.read(bytes(31))
    with pytest.raises(NoiseError, match="bad seal"):
        responder.read(initiator.write()[:32])


@settings(max_examples=60)
@given(st.binary(max_size=80))
def test_forged_answer_does_not_spoil_the_true_one(forged: bytes) -> None:
    initiator, responder = pair()
    responder.read(initiator.write())
    answer = responder.write()
    for bad in (forged, answer[:-1], answer[:40] + bytes((answer[40] ^ 1,)) + answer[41:]):
        with pytest.raises(NoiseError):
            initiator.read(bad)
    assert initiator.read(answer) == b""
    assert initiator.hash == responder.hash


@settings(max_examples=30)
@given(st.integers(0, 47), st.integers(0, 7))
def test_every_bit_of_the_first_message_counts(byte: int, bit: int) -> None:
    """Bit 255 of a public key is ignored by X25519 itself; the transcript hash still notices it."""
    initiator, responder = pair()
    message = bytearray(initiator.write())
    message[byte] ^= 1 << bit
    with pytest.raises(NoiseError):
        responder.read(bytes(message))
