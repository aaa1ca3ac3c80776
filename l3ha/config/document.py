"""The file as a document: every sound section as a model, every fault of the others with its line.

Sections stand alone, so a fault in one does not hide the faults of another: a relation is checked when the sections
that it joins are sound.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from l3ha.base.errors import Fault
from l3ha.base.limits import MAX_SRGS
from l3ha.base.text import printable
from l3ha.config.fields import check_name, shown
from l3ha.config.lines import KeyPath, Lines
from l3ha.config.model import Cluster, Group, Icl, Node, NodeGroup, Section, Speaker, Timing

MAX_FILE = 1 << 20
"""Bytes of a configuration file."""

SECTIONS = ("cluster", "icl", "timers", "speaker", "node", "srg")

_Model = TypeVar("_Model", bound=Section)


@dataclass(slots=True)
class Document:
    """What was read. A section that is None, or a node or group that is absent though its name is known, is faulty."""

    file: str
    lines: Lines = field(default_factory=lambda: Lines(""))
    cluster: Cluster | None = None
    icl: Icl | None = None
    timers: Timing | None = None
    speaker: Speaker | None = None
    nodes: dict[str, Node] = field(default_factory=dict)
    groups: dict[int, Group] = field(default_factory=dict)
    node_group: NodeGroup | None = None
    names: tuple[str, ...] = ()
    """Names of all nodes in the file, faulty ones too."""
    faults: list[Fault] = field(default_factory=list)

    @property
    def directory(self) -> Path:
        """Where relative file names start."""
        return Path(self.file).absolute().parent

    def tables(self) -> tuple[Cluster, Icl, Timing, Speaker, NodeGroup]:
        """The tables that a file has once; a document without faults has them all."""
        assert self.cluster and self.icl and self.timers and self.speaker and self.node_group
        return self.cluster, self.icl, self.timers, self.speaker, self.node_group

    def fault(self, key: KeyPath, text: str) -> Fault:
        """A fault at a key that stands in the file, or at the table that lacks it."""
        return Fault(self.file, self.lines.of(key), _dotted(key), printable(text))


def read(path: str | Path) -> Document:
    """Read a file. Never raises for what stands in it: see ``Document.faults``."""
    file = str(path)
    try:
        with Path(path).open("rb") as stream:
            data = stream.read(MAX_FILE + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not the name of a file"
        return Document(file, faults=[Fault(file, 0, "", f"cannot be read: {reason}")])
    return parse(data, file)


def parse(data: bytes, file: str) -> Document:
    """Like ``read``, from bytes; ``file`` is for messages and relative names."""
    document = Document(file)
    if len(data) > MAX_FILE:
        document.faults.append(Fault(file, 0, "", f"is larger than {MAX_FILE >> 20} MiB"))
        return document
    try:
        text = data.decode().replace("\r\n", "\n")
        content = tomllib.loads(text)
        document.lines = Lines(text)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        document.faults.append(Fault(file, line, "", "is not UTF-8 text"))
    except RecursionError:
        document.faults.append(Fault(file, 0, "", "is nested too deeply"))
    except ValueError as error:  # TOMLDecodeError, and numbers that Python refuses to convert
        document.faults.append(_syntax(file, text, error))
    else:
        _sections(document, content)
    return document


def suggestion(word: str, known: Iterable[str]) -> str:
    """``; did you mean "x"?`` or nothing."""
    near = difflib.get_close_matches(word, list(known), 1)
    return f'; did you mean "{near[0]}"?' if near else ""


def _syntax(file: str, text: str, error: ValueError) -> Fault:
    what = str(error)
    if (found := re.search(r" \(at line (\d+), column (\d+)\)$", what)) is not None:
        return Fault(file, int(found[1]), "", f"TOML syntax: {what[: found.start()]} (column {found[2]})")
    line = text.count("\n") + 1 if "end of document" in what else 0
    return Fault(file, line, "", f"TOML syntax: {what}")


def _sections(document: Document, content: Mapping[str, Any]) -> None:
    for key in content.keys() - set(SECTIONS):
        text = f"is not a known section, those are {', '.join(SECTIONS)}{suggestion(key, SECTIONS)}"
        document.faults.append(document.fault((key,), text))
    document.cluster = _section(document, ("cluster",), Cluster, content.get("cluster"))
    document.icl = _section(document, ("icl",), Icl, content.get("icl", {}))
    document.timers = _section(document, ("timers",), Timing, content.get("timers", {}))
    document.speaker = _section(document, ("speaker",), Speaker, content.get("speaker", {}))
    _nodes(document, _table(document, "node", content))
    _groups(document, _table(document, "srg", content))


def _table(document: Document, key: str, content: Mapping[str, Any]) -> dict[str, Any]:
    value = content.get(key, {})
    if isinstance(value, dict):
        return value
    document.faults.append(document.fault((key,), f"is {shown(value)}, must be tables such as [{key}.{_EXAMPLE[key]}]"))
    return {}


_EXAMPLE = {"node": "n1", "srg": "1"}


def _nodes(document: Document, table: Mapping[str, Any]) -> None:
    document.names = tuple(table)
    if not table and not document.lines.of(("node",)):
        document.faults.append(document.fault(("node",), "is missing; write a table [node.NAME] for every node"))
    for name, value in table.items():
        try:
            check_name(name)
        except ValueError as error:
            document.faults.append(document.fault(("node", name), str(error)))
        if (node := _section(document, ("node", name), Node, value)) is not None:
            document.nodes[name] = node


def _groups(document: Document, table: Mapping[str, Any]) -> None:
    document.node_group = _section(document, ("srg", "0"), NodeGroup, table.get("0", {}))
    for name, value in table.items():
        if name not in _GROUP_NAMES:
            text = f"is not the number of a group; write 1 to {MAX_SRGS}, or 0 for the node itself"
            document.faults.append(document.fault(("srg", name), text))
        elif name != "0" and (group := _section(document, ("srg", name), Group, value)) is not None:
            document.groups[int(name)] = group


_GROUP_NAMES = frozenset(map(str, range(MAX_SRGS + 1)))


def _section(document: Document, at: KeyPath, model: type[_Model], value: object) -> _Model | None:
    if value is None:
        document.faults.append(document.fault(at, "is missing"))
        return None
    try:
        return model.model_validate(value)
    except ValidationError as error:
        document.faults += (_explain(document, at, model, detail) for detail in error.errors(include_url=False))
        return None


def _explain(document: Document, at: KeyPath, model: type[BaseModel], error: ErrorDetails) -> Fault:
    place = tuple(part for part in error["loc"] if part != "[key]")
    key = (*at, *place)
    kind, context = error["type"], error.get("ctx", {})
    value = shown(error["input"])
    if kind == "missing":
        return document.fault(key, f"is missing{_meaning(model, place)}")
    if kind == "extra_forbidden":
        known = model_at(model, place[:-1]).model_fields
        word = str(place[-1])
        text = suggestion(word, known) or f"; known here: {', '.join(known)}"
        return document.fault(key, "is not a known key" + text)
    text = _TEXTS.get(kind, error["msg"])
    if kind == "value_error":
        text = str(context["error"])
    return document.fault(
        document.lines.written(key) or key, text.format_map({"value": value, **context}) if kind in _TEXTS else text
    )


_TEXTS = {
    "string_type": "is {value}, must be text in quotes",
    "int_type": "is {value}, must be a whole number without quotes",
    "int_parsing_size": "is {value}, which is too great",
    "bool_type": "is {value}, must be true or false",
    "list_type": 'is {value}, must be a list, such as ["…", "…"]',
    "dict_type": "is {value}, must be a table",
    "model_type": "is {value}, must be a table",
    "literal_error": "is {value}, must be {expected}",
    "too_short": "must have at least {min_length} entries",
    "too_long": "must have at most {max_length} entries",
}


def _meaning(model: type[BaseModel], place: KeyPath) -> str:
    field_ = model_at(model, place[:-1]).model_fields.get(str(place[-1]))
    return f" ({field_.description.rstrip('.')})" if field_ is not None and field_.description else ""


def model_at(model: type[BaseModel], place: KeyPath) -> type[BaseModel]:
    """The model of the table at a place below another; the last known one where the place leaves the models."""
    inside = False
    for part in place:
        if inside:
            inside = False
            continue
        info = model.model_fields.get(str(part))
        inner = None if info is None else table_of(info.annotation)
        if info is None or inner is None:
            return model
        inside = get_origin(info.annotation) in (list, dict)
        model = inner
    return model


def table_of(annotation: Any) -> type[BaseModel] | None:
    """The model inside an annotation such as ``dict[Name, Neighbor]`` or ``Probe | None``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in get_args(annotation) if (found := table_of(part)) is not None), None)


def _dotted(key: KeyPath) -> str:
    return ".".join(printable(str(part)[:80]) for part in key)
