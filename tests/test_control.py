"""The control protocol: whatever bytes come in, a value or a ProtocolError goes on."""

from __future__ import annotations

import json
import os
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from l3ha.base.limits import MAX_EVENTS, MAX_SRGS
from l3ha.base.time import MS
from l3ha.control import client, protocol
from l3ha.control.protocol import (
    Call,
    Clear,
    ErrorCode,
    Events,
    Failover,
    Failure,
    Maintenance,
    ProtocolError,
    Restart,
    Result,
    Show,
)
from l3ha.core import status
from l3ha.core.events import Check, Note, NoteKind
from tests.test_cli_cases import ACTIVE, answering, serving

SRGS = st.integers(1, MAX_SRGS)
CALLS: st.SearchStrategy[Call] = st.one_of(
    st.builds(Show, st.sampled_from(protocol.SHOW_WHAT), st.none() | st.integers(0, MAX_SRGS)),
    st.builds(Events, st.integers(1, MAX_EVENTS), st.none() | SRGS),
    st.builds(Failover, SRGS, st.none() | st.integers(1, 10) | st.text(min_size=1, max_size=32)),
    st.builds(Maintenance, st.booleans()),
    st.builds(Restart, st.integers(1, protocol.MAX_GRACE)),
    st.just(Clear()),
)
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
KEYS = st.sampled_from(
    ["id", "method", "params", "what", "srg", "verb", "to", "on", "grace", "limit", "result", "error"]
)
VALUES = JSON | st.sampled_from(["show", "events", "request", "clear", "srg", "failover", "maintenance", "restart"])
MESSAGES = st.dictionaries(KEYS, VALUES | st.dictionaries(KEYS, VALUES, max_size=5), max_size=5)


@given(st.integers(0, 1 << 53), CALLS)
def test_every_call_survives_the_wire(number: int, call: Call) -> None:
    line = protocol.encode_request(number, call)
    assert line.endswith(b"\n") and line.count(b"\n") == 1
    assert protocol.decode_request(line) == protocol.Request(number, call)


@given(st.binary(max_size=200) | MESSAGES.map(lambda m: json.dumps(m).encode()))
def test_any_bytes_are_a_value_or_a_protocol_error(line: bytes) -> None:
    for decode in (protocol.decode_request, protocol.decode_response):
        try:
            decode(line)
        except ProtocolError as error:
            assert error.message and protocol.encode_error(error).endswith(b"\n")


@pytest.mark.parametrize(
    "line",
    [
        b"[" * 60_000,
        b'{"id": ' + b"9" * 5000 + b"}",
        b'{"id": NaN}',
        b"\xff\xfe",
        b"",
        b"null",
        b'{"id": true, "method": "show"}',
    ],
    ids=["brackets", "digits", "nan", "not-utf8", "empty", "null", "bool-id"],
)
def test_hostile_lines(line: bytes) -> None:
    with pytest.raises(ProtocolError) as caught:
        protocol.decode_request(line)
    assert caught.value.code is ErrorCode.BAD_REQUEST


@pytest.mark.parametrize(
    ("method", "params", "code", "says"),
    [
        ("fly", {}, ErrorCode.UNKNOWN_METHOD, "show, events, request, clear"),
        ("show", {"what": "moon"}, ErrorCode.BAD_PARAMS, "what is not one of"),
        ("show", {"what": "srg", "srg": 21}, ErrorCode.BAD_PARAMS, "0..20"),
        ("events", {"limit": 0}, ErrorCode.BAD_PARAMS, "1..1000"),
        ("request", {"verb": "failover"}, ErrorCode.BAD_PARAMS, "srg is missing"),
        ("request", {"verb": "failover", "srg": 0}, ErrorCode.BAD_PARAMS, "1..20"),
        ("request", {"verb": "failover", "srg": 1, "to": True}, ErrorCode.BAD_PARAMS, "name of a node"),
        ("request", {"verb": "maintenance", "on": 1}, ErrorCode.BAD_PARAMS, "true or false"),
        ("request", {"verb": "restart", "grace": protocol.MAX_GRACE + 1}, ErrorCode.BAD_PARAMS, "5s"),
        ("clear", {}, ErrorCode.BAD_PARAMS, "statistics"),
        ("show", [], ErrorCode.BAD_REQUEST, "params"),
    ],
)
def test_bad_calls_say_what_would_be_right(method: str, params: object, code: ErrorCode, says: str) -> None:
    line = json.dumps({"id": 7, "method": method, "params": params}).encode()
    with pytest.raises(ProtocolError, match=says.replace(".", r"\.")) as caught:
        protocol.decode_request(line)
    assert (caught.value.code, caught.value.id) == (code, 7)


def test_limits_hold_at_the_byte() -> None:
    head = b'{"id": 1, "method": "clear", "params": {"what": "statistics"}}'
    fits = head + b" " * (protocol.MAX_REQUEST - len(head) - 1) + b"\n"
    assert protocol.decode_request(fits).call == Clear()
    with pytest.raises(ProtocolError) as caught:
        protocol.decode_request(b" " + fits)
    assert caught.value.code is ErrorCode.TOO_LARGE
    with pytest.raises(ProtocolError) as caught:
        protocol.encode_result(3, {"x": "y" * protocol.MAX_RESPONSE})
    assert (caught.value.code, caught.value.id) == (ErrorCode.TOO_LARGE, 3)


def test_responses() -> None:
    assert protocol.decode_response(protocol.encode_result(1, {"a": 1})) == Result(1, {"a": 1})
    error = ProtocolError(ErrorCode.BUSY, "later", 4)
    assert protocol.decode_response(protocol.encode_error(error)) == Failure(4, "busy", "later")
    anonymous = ProtocolError(ErrorCode.BAD_REQUEST, "what?")
    assert protocol.decode_response(protocol.encode_error(anonymous)) == Failure(None, "bad_request", "what?")


def test_only_reading_is_for_everybody() -> None:
    reading: list[Call] = [Show(), Events()]
    changing: list[Call] = [Failover(1), Maintenance(True), Restart(), Clear()]
    assert not any(map(protocol.changes, reading)) and all(map(protocol.changes, changing))


def test_show_result_is_json_with_the_wanted_sections() -> None:
    assert protocol.SCHEMA == status.SCHEMA
    for what in protocol.SHOW_WHAT:
        answer = protocol.show_result(ACTIVE, Show(what))
        assert answer["schema"] == 1 and json.loads(json.dumps(answer)) == answer
    everything = protocol.show_result(ACTIVE, Show("all"))
    assert set(everything) == {"schema", *status.Status.__slots__}
    assert everything["srgs"][0]["probe"]["arbiters"][1]["name"] == "r2"


def test_show_result_of_one_group() -> None:
    assert [g["id"] for g in protocol.show_result(ACTIVE, Show("srg", 1))["srgs"]] == [1]
    assert protocol.show_result(ACTIVE, Show("srg", 0))["srgs"] == []
    with pytest.raises(ProtocolError, match=r"no such SRG is configured: 5 \(configured: 1\)"):
        protocol.show_result(ACTIVE, Show("srg", 5))


def test_mapping_proxies_become_objects() -> None:
    frozen = replace(ACTIVE, peers=(replace(ACTIVE.peers[0], drops=MappingProxyType({"replay": 1})),))
    assert protocol.show_result(frozen, Show("peer"))["peers"][0]["drops"] == {"replay": 1}


def test_event_and_answer_results() -> None:
    note = Note(NoteKind.TRANSITION, "HOLD -> ACTIVE", None, "elect", (("term", 3),), alarm=True)
    entry = protocol.event_result(note, 5, 7)
    assert entry == {
        "at": 5, "age": 7, "kind": "transition", "srg": None, "rule": "elect", "text": "HOLD -> ACTIVE",
        "fields": {"term": 3}, "alarm": True,
    }  # fmt: skip
    assert protocol.events_result([entry]) == {"schema": 1, "events": [entry]}
    answer = protocol.answer_result(False, "refused", (Check("contact", False, "n2: none"),))
    assert answer["checks"] == [{"name": "contact", "ok": False, "detail": "n2: none"}]


# --- client ---------------------------------------------------------------------------------------------------------


def test_client_gets_the_answer(tmp_path: Path) -> None:
    with serving(tmp_path, answering(ACTIVE)) as seen:
        assert client.ask(tmp_path, Show("node"))["node"]["name"] == "n1"
    assert protocol.decode_request(seen[0]).call == Show("node")


def test_client_says_who_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(client.NotRunning, match="no agent runs here"):
        client.ask(tmp_path, Show())
    with serving(tmp_path, answering(ACTIVE)):
        pass
    with pytest.raises(client.NotRunning, match="has died"):
        client.ask(tmp_path, Show())
    with pytest.raises(client.NotRunning, match="shorter --run-dir"):
        client.ask(tmp_path / ("x" * 120), Show())


@pytest.mark.parametrize(
    ("reply", "error", "says"),
    [
        (b"", client.NoAnswer, "hung up"),
        (b'{"id": 1', client.NoAnswer, "hung up"),
        (b"hello\n", client.BadAnswer, "not JSON"),
        (b'{"id": 2, "result": {}}\n', client.BadAnswer, "another question"),
        (b'{"id": 1, "result": {"schema": 9}}\n', client.BadAnswer, "schema 9"),
        (b'{"id": 1, "result": []}\n', client.BadAnswer, "not of this protocol"),
        (
            b'{"id": 1, "error": {"code": "denied", "message": "only root"}}\n',
            client.Refused,
            "only root; run it as root",
        ),
        (b'{"id": 1, "error": {"code": "no_such_srg", "message": "no such SRG"}}\n', client.Refused, "no such SRG"),
    ],
)
def test_client_maps_bad_answers(tmp_path: Path, reply: bytes, error: type[Exception], says: str) -> None:
    with serving(tmp_path, lambda _: reply), pytest.raises(error, match=says):
        client.ask(tmp_path, Show())


@given(st.binary(max_size=100) | MESSAGES.map(lambda m: json.dumps(m).encode()))
def test_client_raises_nothing_else(tmp_path_factory: pytest.TempPathFactory, reply: bytes) -> None:
    run_dir = tmp_path_factory.mktemp("c")
    with serving(run_dir, lambda _: reply + b"\n"):
        try:
            assert isinstance(client.ask(run_dir, Show()), dict)
        except client.ControlError as error:
            assert str(error)


def test_client_gives_up_on_a_silent_agent(tmp_path: Path) -> None:
    begin = time.monotonic()
    with serving(tmp_path, lambda _: None), pytest.raises(client.NoAnswer, match="within 150ms"):
        client.ask(tmp_path, Show(), timeout=150 * MS)
    assert 0.1 < time.monotonic() - begin < 2


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_client_without_permission() -> None:
    with tempfile.TemporaryDirectory(prefix="l3ha-") as name, serving(Path(name), answering(ACTIVE)):
        Path(name).chmod(0o755)
        (Path(name) / protocol.SOCKET_NAME).chmod(0o600)
        os.seteuid(65534)
        try:
            with pytest.raises(client.Denied, match="permission denied"):
                client.ask(Path(name), Show())
        finally:
            os.seteuid(0)
