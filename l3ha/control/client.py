"""The CLI's end of the control socket: blocking, standard library only, one question at a time.

Every way in which the agent may fail to answer is one of four errors, each with a text that says what to do:
``NotRunning`` and ``NoAnswer`` (not reachable), ``Denied`` (credentials), ``BadAnswer`` (not this protocol).
``Refused`` is different: the agent did answer, with an error of its own.
"""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path
from typing import Any

from l3ha.base.time import SECOND, Duration, format_duration
from l3ha.control.protocol import (
    MAX_RESPONSE,
    SCHEMA,
    SOCKET_NAME,
    Call,
    ErrorCode,
    Failure,
    ProtocolError,
    decode_response,
    encode_request,
)

TIMEOUT: Duration = 2 * SECOND
"""For the whole exchange. The agent answers in milliseconds; one that needs longer is as good as gone."""

_CHUNK = 1 << 16
_PATH_LIMIT = 107
"""Bytes of a unix socket's path (unix(7): sun_path, less the final NUL)."""


class ControlError(Exception):
    """The agent could not be asked, or gave no usable answer. ``str()`` is one line that says what to do."""


class NotRunning(ControlError):
    """Nobody listens on the socket."""


class NoAnswer(ControlError):
    """The agent took the question and stayed silent, or hung up."""


class Denied(ControlError):
    """The caller may not open the socket."""


class BadAnswer(ControlError):
    """What came back is not of this protocol or of another schema."""


class Refused(ControlError):
    """The agent answered with an error; ``code`` is one of ``ErrorCode``."""

    def __init__(self, code: str, message: str) -> None:
        self.code = code
        super().__init__(message)


def ask(run_dir: Path, call: Call, timeout: Duration = TIMEOUT) -> dict[str, Any]:
    """Ask the agent whose run directory this is, and return the result. Raises ``ControlError`` and nothing else."""
    path = run_dir / SOCKET_NAME
    if len(os.fsencode(path)) > _PATH_LIMIT:
        raise NotRunning(f"{path}: longer than {_PATH_LIMIT} bytes, no socket can be there; choose a shorter --run-dir")
    line = _exchange(path, encode_request(1, call), timeout)
    try:
        response = decode_response(line)
    except ProtocolError as error:
        raise BadAnswer(f"{path}: the answer is not of this protocol ({error.message}); {_VERSIONS}") from None
    if isinstance(response, Failure):
        raise Refused(response.code, _refusal(response))
    if response.id != 1:
        raise BadAnswer(f"{path}: the answer is to another question; {_VERSIONS}")
    if response.result.get("schema", SCHEMA) != SCHEMA:
        raise BadAnswer(f"{path}: the agent speaks schema {response.result['schema']!r}, not {SCHEMA}; {_VERSIONS}")
    return response.result


_VERSIONS = "compare the versions of this l3ha and of the running agent"


def _refusal(failure: Failure) -> str:
    if failure.code == ErrorCode.DENIED:
        return f"permission denied: {failure.message}; run it as root or as the agent's user"
    return failure.message or failure.code or "refused without a reason"


def _exchange(path: Path, question: bytes, timeout: Duration) -> bytes:
    deadline = time.monotonic_ns() + timeout
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(timeout / SECOND)
            connection.connect(os.fspath(path))
            connection.sendall(question)
            return _read_line(connection, path, deadline)
    except (FileNotFoundError, NotADirectoryError):
        raise NotRunning(
            f"{path}: no agent runs here; start it (systemctl start l3ha-agent) or name its --run-dir"
        ) from None
    except ConnectionRefusedError:
        raise NotRunning(f"{path}: the agent has died; look at its log (journalctl -u l3ha) and start it") from None
    except PermissionError:
        raise Denied(f"{path}: permission denied; run it as root or as a member of the socket's group") from None
    except (
        TimeoutError,
        BlockingIOError,
    ):  # a full backlog refuses a unix connection with EAGAIN when it is not waited for
        raise NoAnswer(f"{path}: no answer within {format_duration(timeout)}; the agent hangs, see its log") from None
    except OSError as error:
        raise NoAnswer(f"{path}: {error.strerror or error}; look at the agent's log (journalctl -u l3ha)") from None


def _read_line(connection: socket.socket, path: Path, deadline: int) -> bytes:
    received = bytearray()
    while b"\n" not in received[-_CHUNK:]:
        left = deadline - time.monotonic_ns()
        if left <= 0:
            raise TimeoutError
        connection.settimeout(left / SECOND)
        chunk = connection.recv(_CHUNK)
        if not chunk:
            raise NoAnswer(f"{path}: the agent hung up without an answer; look at its log (journalctl -u l3ha)")
        received += chunk
        if len(received) > MAX_RESPONSE:
            raise BadAnswer(f"{path}: the answer is longer than {MAX_RESPONSE} bytes; {_VERSIONS}")
    return bytes(received).partition(b"\n")[0]
