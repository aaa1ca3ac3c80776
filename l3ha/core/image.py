"""The whole state of an engine as JSON, and back: what a segment of a journal begins with.

Only plain data and the classes of the modules below are written and made again, by name, without running any code of
theirs; whatever else lies in a file is refused. That is why this is no pickle. Objects keep their identity: what two
machines share is shared again.

    scalar   itself                     [tag, …]  everything else
    ["B", hex] bytes   ["I", hex] great int   ["E", class, name] enum   ["K", hex] key of a cipher   ["N"] the entropy
    ["T", …] tuple   ["L", …] list   ["S", …] set   ["F", …] frozenset (both in order)   ["Q", maxlen, …] deque
    ["D"|"O"|"C"|"M", key, value, …] dict, OrderedDict, Counter, read-only mapping
    ["X", class, {attribute: value}] object   ["Y", class, …] named tuple
    ["R", n] the n-th object, named tuple or container that may change, again
"""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator
from enum import Enum
from types import MappingProxyType
from typing import Any, TypeAlias

from l3ha.base import names, settings
from l3ha.core import (
    echo,
    engine,
    events,
    facts,
    foresight,
    group,
    icl,
    keys,
    lateness,
    monitor,
    move,
    node,
    nudge,
    probe,
    routes,
    session,
    srg,
    stop,
)
from l3ha.core.engine import Engine
from l3ha.wire import heartbeat, noise, seal, wish

Entropy: TypeAlias = Callable[[int], bytes]

_MODULES = (
    *(names, settings, heartbeat, noise, seal, wish),
    *(echo, engine, events, facts, foresight, group, icl, keys, lateness, monitor),
    *(move, node, nudge, probe, routes, session, srg, stop),
)
_CLASSES: dict[str, type] = {
    f"{module.__name__.removeprefix('l3ha.')}.{thing.__qualname__}": thing
    for module in _MODULES
    for thing in vars(module).values()
    if isinstance(thing, type) and thing.__module__ == module.__name__
}
_NAMES = {thing: name for name, thing in _CLASSES.items()}
_SLOTS = {
    thing: tuple(name for base in thing.__mro__ for name in vars(base).get("__slots__", ()) if name.isidentifier())
    for thing in _NAMES
}

MAX_NESTED = 8
"""Named tuples within each other; facts of peers within facts are two. Deep ones would end the interpreter, whose hash
of tuples has no limit of its own."""

_UNMADE = object()
"""In the place of a named tuple whose parts are still read."""

_PLAIN = frozenset({type(None), bool, str, float})
_SEQUENCES: dict[str, type] = {"T": tuple, "L": list, "S": set, "F": frozenset, "Q": deque}
_MAPPINGS: dict[str, type] = {"D": dict, "O": OrderedDict, "C": Counter, "M": MappingProxyType}
_TAGS = {kind: tag for tag, kind in (_SEQUENCES | _MAPPINGS).items()}
_SMALL = 1 << 62


class UnknownKindError(Exception):
    """The engine holds something that this module cannot write."""


class BadImageError(ValueError):
    """This is no image, or not one of this program."""


def write(value: object) -> Any:
    """A value without an engine: settings, terms, an event. Raises ``UnknownKindError``."""
    return _Writer(None).value(value)


def read(image: Any) -> Any:
    """Inverse of ``write``. Raises ``BadImageError``."""
    return _refused(lambda: _Reader(None).value(image))


def write_engine(core: Engine, entropy: Entropy) -> Any:
    """An engine between two steps; ``entropy`` is what it draws from. Raises ``UnknownKindError``."""
    writer = _Writer(entropy)
    return {name: writer.value(value) for name, value in vars(core).items()}


def read_engine(image: Any, entropy: Entropy, core: type[Engine] = Engine) -> Engine:
    """Inverse of ``write_engine``, drawing from another source. Raises ``BadImageError``."""
    made = core.__new__(core)
    _refused(lambda: _Reader(entropy).fill(made, image))
    return made


def _refused(work: Callable[[], Any]) -> Any:
    try:
        return work()
    except BadImageError:
        raise
    except (LookupError, TypeError, ValueError, ArithmeticError, AttributeError, RecursionError) as error:
        raise BadImageError(f"{type(error).__name__}: {error}") from None


def _ordered(parts: list[Any]) -> list[Any]:
    """Sets of text have another order in every process; their image has one."""
    return sorted(parts, key=repr)


def _attributes(thing: object) -> Iterator[tuple[str, object]]:
    for name in _SLOTS[type(thing)]:
        if hasattr(thing, name):
            yield name, getattr(thing, name)
    yield from getattr(thing, "__dict__", {}).items()


class _Writer:
    """One image."""

    def __init__(self, entropy: Entropy | None) -> None:
        self._entropy = entropy
        self._numbers: dict[int, int] = {}

    def value(self, value: Any) -> Any:
        kind = type(value)
        if kind in _PLAIN:
            return value
        if kind is int:
            return value if -_SMALL < value < _SMALL else ["I", hex(value)]
        if kind is bytes:
            return ["B", value.hex()]
        tag = _TAGS.get(kind)
        if tag == "T":
            return [tag, *self._all(value)]
        if tag == "F":
            return [tag, *_ordered(self._all(value))]
        if isinstance(value, Enum):
            return ["E", self._name(kind), value.name]
        if kind is noise.Cipher:
            return ["K", value.key.hex()]
        if self._entropy is not None and value == self._entropy:
            return ["N"]
        number = self._numbers.get(id(value))
        if number is not None:
            return ["R", number]
        self._numbers[id(value)] = len(self._numbers)
        if tag is None and isinstance(value, tuple):
            return ["Y", self._name(kind), *self._all(value)]
        if tag is None:
            return ["X", self._name(kind), {name: self.value(v) for name, v in _attributes(value)}]
        if tag in _MAPPINGS:
            return [tag, *self._all(part for item in value.items() for part in item)]
        parts = self._all(value)
        if tag == "S":
            return [tag, *_ordered(parts)]
        return [tag, value.maxlen, *parts] if tag == "Q" else [tag, *parts]

    def _all(self, values: Iterable[Any]) -> list[Any]:
        return [v if type(v) is str else self.value(v) for v in values]

    def _name(self, kind: type) -> str:
        name = _NAMES.get(kind)
        if name is None:
            raise UnknownKindError(f"{kind.__module__}.{kind.__qualname__}")
        return name


class _Reader:
    """One image, backwards."""

    def __init__(self, entropy: Entropy | None) -> None:
        self._entropy = entropy
        self._numbered: list[Any] = []
        self._depth: dict[int, int] = {}
        """Of the named tuples, by identity."""

    def value(self, image: Any) -> Any:
        if not isinstance(image, list):
            if isinstance(image, dict):
                raise BadImageError("an object without a class")
            return image
        match image:
            case ["B", str(text)]:
                return bytes.fromhex(text)
            case ["I", str(text)]:
                return int(text, 16)
            case ["K", str(text)]:
                return noise.Cipher(bytes.fromhex(text))
            case ["N"] if self._entropy is not None:
                return self._entropy
            case ["R", int(number)] if number >= 0:
                if self._numbered[number] is _UNMADE:
                    raise BadImageError("a named tuple within itself")
                return self._numbered[number]
            case ["E", str(name), str(member)]:
                known: Any = self._class(name, Enum)
                return known[member]
            case ["X", str(name), dict(attributes)]:
                thing: Any = object.__new__(self._class(name, object))
                self._numbered.append(thing)
                self.fill(thing, attributes)
                return thing
            case ["Y", str(name), *parts]:
                return self._named(name, parts)
            case ["T", *parts]:
                return tuple(self._all(parts))
            case ["F", *parts]:
                return frozenset(self._all(parts))
            case [str(tag), *parts] if tag in _SEQUENCES or tag in _MAPPINGS:
                return self._container(tag, parts)
        raise BadImageError(f"an unknown mark: {str(image[:1])[:40]}")

    def fill(self, thing: object, attributes: dict[str, Any]) -> None:
        for name, value in attributes.items():
            if name.startswith("__") or not name.isidentifier():
                raise BadImageError(f"an attribute {name[:40]!r}")
            object.__setattr__(thing, name, self.value(value))

    def _named(self, name: str, parts: list[Any]) -> Any:
        """It is numbered before its parts, as it was written, and made after them."""
        kind: Any = self._class(name, tuple)
        if len(parts) != len(kind._fields):
            raise BadImageError(f"{len(parts)} fields of {name}")
        number = len(self._numbered)
        self._numbered.append(_UNMADE)
        self._numbered[number] = made = tuple.__new__(kind, self._all(parts))
        self._depth[id(made)] = depth = 1 + max(map(self._nested, made), default=0)
        if depth > MAX_NESTED:
            raise BadImageError(f"{depth} named tuples within each other")
        return made

    def _nested(self, value: Any) -> int:
        if type(value) is tuple:
            return max(map(self._nested, value), default=0)
        return self._depth.get(id(value), 0)

    def _all(self, parts: Iterable[Any]) -> Iterator[Any]:
        return map(self.value, parts)

    def _container(self, tag: str, parts: list[Any]) -> Any:
        """It is numbered before its parts, which may refer to it."""
        made: Any
        if tag == "Q":
            made = deque(maxlen=parts[0])
            parts = parts[1:]
        else:
            made = {} if tag == "M" else (_SEQUENCES | _MAPPINGS)[tag]()
        shown = MappingProxyType(made) if tag == "M" else made
        self._numbered.append(shown)
        if tag in _MAPPINGS:
            for at in range(0, len(parts), 2):
                key = self.value(parts[at])
                made[key] = self.value(parts[at + 1])
        elif tag == "S":
            made.update(self._all(parts))
        else:
            made.extend(self._all(parts))
        return shown

    def _class(self, name: str, base: type) -> type:
        found = _CLASSES.get(name)
        if found is None or not issubclass(found, base) or (base is object and issubclass(found, Enum)):
            raise BadImageError(f"an unknown class {name[:80]!r}")
        return found
