"""What people and files say: control lines of both directions, the configuration, secret files."""

from __future__ import annotations

from l3ha.base.errors import Fault
from l3ha.config import lint, render
from l3ha.config.document import parse
from l3ha.config.fields import decode_key
from l3ha.config.keyfiles import _password
from l3ha.config.load import errors_of, settings_for
from l3ha.control import protocol
from l3ha.control.protocol import Failure, ProtocolError, Result


def control_request(data: bytes) -> None:
    """A request that survives the wire, or a ``ProtocolError`` that does."""
    try:
        request = protocol.decode_request(data)
    except ProtocolError as error:
        _told(error)
        return
    assert protocol.decode_request(protocol.encode_request(request.id, request.call)) == request


def control_response(data: bytes) -> None:
    """A result or a failure, or a ``ProtocolError``."""
    try:
        response = protocol.decode_response(data)
    except ProtocolError as error:
        _told(error)
        return
    match response:
        case Result(number, result):
            assert number >= 0 and isinstance(result, dict)
        case Failure(number, code, message):
            assert (number is None or number >= 0) and isinstance(code, str) and isinstance(message, str)


def _told(error: ProtocolError) -> None:
    assert error.message.isprintable() and len(error.message) < 300
    line = protocol.encode_error(error)
    failure = protocol.decode_response(line)
    assert failure == Failure(error.id, str(error.code), error.message)


def configuration(data: bytes) -> None:
    """Settings and texts for every node, or faults that each fit on a line."""
    document = parse(data, "l3ha.toml")
    faults = errors_of(document)
    for fault in faults:
        _line(fault)
    if faults:
        return
    for fault in lint.warnings(document):
        _line(fault)
    for name in document.names:
        settings = settings_for(document, name)
        assert settings.name == name
        assert render.exabgp(settings, python="python3", run_dir="/run/l3ha").isascii()


def _line(fault: Fault) -> None:
    assert fault.text and str(fault).isprintable() and len(str(fault)) < 2000, fault
    assert fault.line >= 0


def secret(data: bytes) -> None:
    """Text of a key or password file: the secret, or a ``ValueError`` that never quotes it."""
    text = data.decode("ascii", "replace").strip()
    for decode in (decode_key, _password):
        try:
            value = decode(text)
        except ValueError as error:
            assert len(text) < 8 or text not in str(error)
        else:
            assert len(value) in range(1, 81)
