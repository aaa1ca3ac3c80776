"""The image of a state: the form of each kind, what is shared stays shared, and what is refused."""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from collections.abc import Callable
from types import MappingProxyType
from typing import Any

import pytest

from l3ha.base.names import Level
from l3ha.base.settings import EchoTarget
from l3ha.core import image
from l3ha.core.echo import Echo
from l3ha.core.events import EchoFailed
from l3ha.core.node import NodeFacts
from l3ha.wire.noise import Cipher

TARGET = EchoTarget("10.0.0.1", "10.0.0.2", 5)
FACTS = NodeFacts(True, True, False, True, 7, False)
FACTS_IMAGE = ["Y", "core.node.NodeFacts", True, True, False, True, 7, False, True, False]
TARGET_IMAGE = ["Y", "base.settings.EchoTarget", "10.0.0.1", "10.0.0.2", 5]


@pytest.mark.parametrize(
    ("value", "written"),
    [
        *((plain, plain) for plain in (None, True, False, 1.5, "text", 0, 2**62 - 1, 1 - 2**62)),
        (2**62, ["I", "0x4000000000000000"]),
        (-(2**62), ["I", "-0x4000000000000000"]),
        (b"\1\xff", ["B", "01ff"]),
        ((1, "a", (2,)), ["T", 1, "a", ["T", 2]]),
        ([1, "a"], ["L", 1, "a"]),
        ({2, 1, 3}, ["S", 1, 2, 3]),
        (frozenset({"b", "a"}), ["F", "a", "b"]),
        (deque([1, 2], 3), ["Q", 3, 1, 2]),
        (deque([1, 2]), ["Q", None, 1, 2]),
        ({"a": 1, "b": b"\0"}, ["D", "a", 1, "b", ["B", "00"]]),
        ({Level.LOW: 1}, ["D", ["E", "base.names.Level", "LOW"], 1]),
        (OrderedDict(b=1, a=2), ["O", "b", 1, "a", 2]),
        (Counter(a=2), ["C", "a", 2]),
        (MappingProxyType({"a": 1}), ["M", "a", 1]),
        (TARGET, TARGET_IMAGE),
        (FACTS, FACTS_IMAGE),
        (EchoFailed(TARGET, "no"), ["X", "core.events.EchoFailed", {"target": TARGET_IMAGE, "error": "no"}]),
    ],
)
def test_each_kind_has_its_form(value: Any, written: Any) -> None:
    assert image.write(value) == written
    back = image.read(written)
    assert back == value and type(back) is type(value)
    if isinstance(value, deque):
        assert back.maxlen == value.maxlen


def test_a_cipher_is_its_key() -> None:
    written = image.write(Cipher(bytes(range(32))))
    assert written == ["K", bytes(range(32)).hex()]
    assert image.read(written).key == bytes(range(32))


def test_what_is_shared_is_shared_again() -> None:
    shared = [1]
    written = image.write([shared, {"a": shared}, shared])
    assert written == ["L", ["L", 1], ["D", "a", ["R", 1]], ["R", 1]]
    first, second, third = image.read(written)
    assert first is third is second["a"]
    proxy = MappingProxyType({"a": 1})
    one, other = image.read(image.write((proxy, proxy)))
    assert one is other
    target, again = image.read(image.write((TARGET, TARGET)))
    assert target is again == TARGET
    facts, known, same = image.read(image.write([FACTS, {"a": FACTS}, FACTS]))
    assert facts is known["a"] is same and facts == FACTS
    alike = image.read(image.write(([1], [1])))
    assert alike[0] is not alike[1], "equal is not the same"


def test_what_holds_itself() -> None:
    for itself in ([], {}):
        if isinstance(itself, list):
            itself.append(itself)
        else:
            itself["x"] = itself
        back = image.read(image.write(itself))
        assert (back[0] if isinstance(back, list) else back["x"]) is back


def test_an_object_with_slots_or_without() -> None:
    """Frozen ones, too; and a part that was never set is not set again."""
    echo = Echo(TARGET, 1, 2, 3)  # type: ignore[arg-type]
    del echo.rtt
    back = image.read(image.write(echo))
    assert vars(back) == vars(echo) and not hasattr(back, "rtt") and back.target == TARGET


@pytest.mark.parametrize("value", [object(), image.write, image.Entropy, 1j, Exception("x"), [object()]])
def test_what_has_no_words(value: object) -> None:
    with pytest.raises(image.UnknownKindError, match=r"\w+\.\w+"):
        image.write(value)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({"a": 1}, "an object without a class"),
        ([], r"an unknown mark: \[\]"),
        (["Z", 1], r"an unknown mark: \['Z'\]"),
        ([1], "an unknown mark"),
        (["N"], "an unknown mark"),
        (["R", -1], "an unknown mark"),
        (["L", 1, ["R", -1]], "an unknown mark"),
        (["R", 0], "IndexError"),
        (["B", "zz"], "ValueError"),
        (["I", "x"], "ValueError"),
        (["E", "base.names.Level", "NONE"], "KeyError"),
        (["E", "base.settings.EchoTarget", "source"], "an unknown class 'base.settings.EchoTarget'"),
        (["X", "base.names.Level", {}], "an unknown class 'base.names.Level'"),
        (["X", "builtins.object", {}], "an unknown class 'builtins.object'"),
        (["X", "base.settings.Arbiter", {"__class__": 1}], "an attribute '__class__'"),
        (["X", "base.settings.Arbiter", {"a b": 1}], "an attribute 'a b'"),
        (["X", "base.settings.Arbiter", {"none_such": 1}], "AttributeError"),
        (["Y", "core.node.NodeFacts", 1], "1 fields of core.node.NodeFacts"),
        (["Y", "base.settings.Arbiter", 1, 2, 3], "an unknown class 'base.settings.Arbiter'"),
        (["X", "core.node.NodeFacts", {}], "TypeError"),
        (["Y", "core.node.NodeFacts", ["R", 0], *range(7)], "a named tuple within itself"),
        (["Y", "core.node.NodeFacts", ["L", ["R", 0]], *range(7)], "a named tuple within itself"),
        (["Q"], "IndexError"),
        (["D", "a"], "IndexError"),
        (["F", ["L"]], "TypeError"),
    ],
)
def test_what_is_no_image_is_refused_with_its_reason(content: object, reason: str) -> None:
    with pytest.raises(image.BadImageError, match=reason):
        image.read(content)


@pytest.mark.parametrize("inner", [lambda n: ["R", n], lambda n: ["T", 1, ["T", ["R", n]]]])
def test_named_tuples_are_no_deeper_than_facts_are(inner: Callable[[int], Any]) -> None:
    """The interpreter's hash of tuples follows them without a limit, until its stack ends."""

    def chain(length: int) -> list[Any]:
        further = (["Y", "core.node.NodeFacts", inner(n), *range(7)] for n in range(1, length))
        return ["L", ["Y", "core.node.NodeFacts", *range(8)], *further, ["S", ["R", length]]]

    assert len(image.read(chain(image.MAX_NESTED))[-1]) == 1
    for length in (image.MAX_NESTED + 1, 200_000):
        with pytest.raises(image.BadImageError, match=f"{image.MAX_NESTED + 1} named tuples within each other"):
            image.read(chain(length))


@pytest.mark.parametrize(
    "content", [["Z" * 999], ["X", "x" * 999, {}], ["X", "base.settings.Arbiter", {"__" + "x" * 999: 1}]]
)
def test_a_reason_is_short(content: object) -> None:
    with pytest.raises(image.BadImageError) as caught:
        image.read(content)
    assert len(str(caught.value)) < 120
