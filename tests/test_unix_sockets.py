"""The speaker's socket and the control socket, on the real kernel, in a directory."""

from __future__ import annotations

import asyncio
import json
import os
import pwd
import socket
import stat
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from l3ha.base.time import MS, SECOND
from l3ha.control.protocol import MAX_REQUEST, Maintenance, Request, Show, encode_request, encode_result
from l3ha.core.events import Event, SpeakerDown, SpeakerLine, SpeakerUp
from l3ha.drivers import unix
from l3ha.drivers.control_socket import MAX_CLIENTS, ControlSocket, Reply
from l3ha.drivers.inbox import Inbox
from l3ha.drivers.speaker_socket import MAX_BUFFER, SOCKET_NAME, SpeakerSocket
from tests.driver_rig import BUDGET_S, Reports, read, until


@given(chunks=st.lists(st.text(alphabet="ab\n", max_size=9).map(str.encode), max_size=9))
def test_lines_are_cut_the_same_wherever_the_chunks_end(chunks: list[bytes]) -> None:
    lines = unix.Lines(1000)
    found = [line for chunk in chunks for line in lines.feed(chunk)]
    *whole, rest = b"".join(chunks).split(b"\n")
    assert found == whole
    assert lines.partial == bool(rest)


def test_a_socket_of_a_dead_agent_is_replaced_but_nothing_else_is(tmp_path: Path) -> None:
    unix.listen(tmp_path / "s", 1).close()
    replaced = unix.listen(tmp_path / "s", 1)
    assert stat.S_IMODE((tmp_path / "s").stat().st_mode) == 0o660
    replaced.close()
    (tmp_path / "file").write_text("mine")
    with pytest.raises(unix.SocketError, match="in the way"):
        unix.listen(tmp_path / "file", 1)
    with pytest.raises(unix.SocketError, match="shorter"):
        unix.listen(tmp_path / ("x" * 120), 1)


def connect(path: Path) -> socket.socket:
    s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    s.settimeout(BUDGET_S)
    s.connect(str(path))
    return s


class Speaking:
    """A speaker socket whose events are read by hand."""

    def __init__(self, run_dir: Path) -> None:
        self.path = run_dir / SOCKET_NAME
        self.inbox = Inbox()
        self.reports = Reports()
        self.socket = SpeakerSocket(run_dir, self.inbox, asyncio.get_running_loop(), self.reports)

    def read(self, count: int) -> list[Event | None]:
        return [read(self.inbox) for _ in range(count)]

    def close(self) -> None:
        self.socket.close()
        assert not self.path.exists()
        self.inbox.close()


def with_speaker(run_dir: Path, scene: Callable[[Speaking], Awaitable[None]]) -> None:
    async def main() -> None:
        speaking = Speaking(run_dir)
        try:
            await scene(speaking)
        finally:
            speaking.close()

    asyncio.run(main())


def test_the_speaker_comes_speaks_listens_and_goes(tmp_path: Path) -> None:
    async def scene(s: Speaking) -> None:
        assert s.socket.send(b"nobody hears this\n") is None
        client = connect(s.path)
        client.sendall(b"one\ntwo\nthr")
        assert s.read(3) == [SpeakerUp(), SpeakerLine(b"one"), SpeakerLine(b"two")]
        client.sendall(b"ee\n")
        assert s.read(1) == [SpeakerLine(b"three")]
        assert s.socket.send(b"wish\n") is None
        assert client.recv(100) == b"wish\n"
        client.sendall(b"last")
        client.close()
        assert s.read(1) == [SpeakerDown()], "a line without its end is no line"

    with_speaker(tmp_path, scene)


def test_a_newer_speaker_replaces_the_older(tmp_path: Path) -> None:
    async def scene(s: Speaking) -> None:
        old = connect(s.path)
        assert s.read(1) == [SpeakerUp()]
        new = connect(s.path)
        assert s.read(2) == [SpeakerDown(), SpeakerUp()]
        assert old.recv(1) == b""
        s.socket.send(b"wish\n")
        assert new.recv(100) == b"wish\n"
        new.sendall(b"report\n")
        assert s.read(1) == [SpeakerLine(b"report")]
        old.close()
        new.close()
        assert s.read(1) == [SpeakerDown()]

    with_speaker(tmp_path, scene)


def test_a_slow_speaker_gets_all_and_one_that_never_reads_is_dropped(tmp_path: Path) -> None:
    async def scene(s: Speaking) -> None:
        client = connect(s.path)
        assert s.read(1) == [SpeakerUp()]
        line = b"w" * 300_000 + b"\n"
        for _ in range(5):
            assert s.socket.send(line) is None
        client.setblocking(False)
        received = 0
        while received < 5 * len(line):
            try:
                received += len(client.recv(1 << 20))
            except BlockingIOError:
                await asyncio.sleep(0)
        outcome: Event | None = None
        for _ in range(2 * MAX_BUFFER // len(line)):
            outcome = outcome or s.socket.send(line)
        assert outcome == SpeakerDown()
        assert "does not read" in s.reports.texts
        client.close()

    with_speaker(tmp_path, scene)


def test_an_endless_line_ends_the_connection(tmp_path: Path) -> None:
    async def scene(s: Speaking) -> None:
        client = connect(s.path)
        client.setblocking(False)
        assert s.read(1) == [SpeakerUp()]
        event: Event | None = None
        for _ in range(1000):
            if event is not None:
                break
            try:
                client.send(b"x" * 65536)
            except BlockingIOError:
                event = read(s.inbox, 0.01)
        assert event == SpeakerDown()
        client.close()

    with_speaker(tmp_path, scene)


def admit(path: Path) -> None:
    """Everybody may pass to the socket, however deep the directory is that was made for the owner alone."""
    path.chmod(0o777)
    path.parent.chmod(0o777)
    for part in path.parents:
        if not part.stat().st_mode & stat.S_IXOTH:
            part.chmod(0o755)


def as_user(uid: int, path: Path, line: bytes) -> bytes:
    """What another user gets as an answer (empty: hung up)."""
    code = (
        "import os,socket,sys; os.setgid(int(sys.argv[1])); os.setuid(int(sys.argv[1]));"
        "s=socket.socket(socket.AF_UNIX); s.settimeout(5); s.connect(sys.argv[2]);"
        "\ntry: s.sendall(sys.argv[3].encode()); sys.stdout.buffer.write(s.recv(65536))"
        "\nexcept (ConnectionResetError, BrokenPipeError): pass"
    )
    words = ("/usr/bin/env", "python3", "-c", code, str(uid), str(path), line.decode())
    return subprocess.run(words, check=True, capture_output=True).stdout


@pytest.mark.skipif(os.geteuid() != 0, reason="needs to become another user")
def test_a_stranger_cannot_be_the_speaker_even_if_the_mode_admits_him(tmp_path: Path) -> None:
    nobody = pwd.getpwnam("nobody").pw_uid

    async def scene(s: Speaking) -> None:
        admit(s.path)
        asking = asyncio.create_task(asyncio.to_thread(as_user, nobody, s.path, b"report\n"))
        await until(lambda: (read(s.inbox, 0.01), s.reports.texts)[1], lambda: "no refusal")
        assert await asking == b""
        assert f"uid {nobody}" in s.reports.texts

    with_speaker(tmp_path, scene)


class Asking:
    """A control socket with a handler that answers at once, or keeps the reply for later."""

    def __init__(self, run_dir: Path, idle: int) -> None:
        self.path = run_dir / "agent.sock"
        self.requests: list[Request] = []
        self.kept: list[Reply] = []
        self.later = False
        self.size = 1
        self.socket = ControlSocket(run_dir, self.handle, idle)

    def handle(self, request: Request, reply: Reply) -> None:
        self.requests.append(request)
        if self.later:
            self.kept.append(reply)
        else:
            reply(encode_result(request.id, {"text": "x" * self.size}))


def with_control(run_dir: Path, scene: Callable[[Asking], Awaitable[None]], idle: int = 5 * SECOND) -> None:
    async def main() -> None:
        asking = Asking(run_dir, idle)
        await asking.socket.open()
        try:
            await scene(asking)
        finally:
            asking.socket.close()
        assert not asking.path.exists()

    asyncio.run(main())


async def say(path: Path, data: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_unix_connection(str(path), limit=1 << 25)
    writer.write(data)
    return reader, writer


async def answer(reader: asyncio.StreamReader) -> dict[str, object]:
    line = await asyncio.wait_for(reader.readline(), BUDGET_S)
    assert line.endswith(b"\n"), "hung up"
    decoded: dict[str, object] = json.loads(line)
    return decoded


def code_of(response: dict[str, object]) -> str:
    error = response["error"]
    assert isinstance(error, dict)
    return str(error["code"])


def test_questions_are_answered_in_order(tmp_path: Path) -> None:
    async def scene(a: Asking) -> None:
        questions = b"".join(encode_request(n, Show("srg", n)) for n in range(1, 6))
        reader, writer = await say(a.path, questions[:77])
        writer.write(questions[77:])
        assert [(await answer(reader))["id"] for _ in range(5)] == [1, 2, 3, 4, 5]
        assert [r.call for r in a.requests] == [Show("srg", n) for n in range(1, 6)]
        writer.close()

    with_control(tmp_path, scene)


def test_a_later_answer_reaches_its_client_and_a_late_one_nobody(tmp_path: Path) -> None:
    async def scene(a: Asking) -> None:
        a.later = True
        reader, writer = await say(a.path, encode_request(7, Maintenance(True)) + encode_request(8, Show()))
        await until(lambda: a.kept, lambda: a.requests)
        assert len(a.requests) == 1, "one at a time"
        a.kept[0](encode_result(7, {}))
        assert await answer(reader) == {"id": 7, "result": {}}
        a.kept[0](encode_result(7, {"again": True}))
        await until(lambda: len(a.kept) == 2, lambda: a.requests)
        writer.close()
        await until(lambda: not a.socket.clients, lambda: a.socket.clients)
        a.kept[1](encode_result(8, {}))

    with_control(tmp_path, scene)


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b"\xff\xfe\n", "bad_request"),
        (b"[" * 60_000 + b"\n", "bad_request"),
        (b"{}\n", "bad_request"),
        (b"\n", "bad_request"),
        (b'{"id":1,"method":"reboot"}\n', "unknown_method"),
        (b'{"id":1,"method":"show","params":{"what":"keys"}}\n', "bad_params"),
        (b" " * (MAX_REQUEST + 1), "too_large"),
        (b" " * (MAX_REQUEST + 1) + b"\n", "too_large"),
    ],
)
def test_nonsense_is_an_error_and_reaches_no_handler(tmp_path: Path, line: bytes, code: str) -> None:
    async def scene(a: Asking) -> None:
        reader, writer = await say(a.path, line)
        assert code_of(await answer(reader)) == code
        assert not a.requests
        writer.close()

    with_control(tmp_path, scene)


@given(data=st.binary(min_size=1, max_size=300))
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_any_bytes_get_an_error_line_and_the_next_client_is_served(tmp_path: Path, data: bytes) -> None:
    async def scene(a: Asking) -> None:
        _, bad = await say(a.path, data + b"\n")
        reader, good = await say(a.path, encode_request(1, Show()))
        assert (await answer(reader))["id"] == 1
        bad.close()
        good.close()

    with_control(tmp_path, scene)


def test_half_a_line_and_silence_and_a_client_that_does_not_read_are_cut_off(tmp_path: Path) -> None:
    async def scene(a: Asking) -> None:
        half, w1 = await say(a.path, b'{"id":')
        silent, w2 = await say(a.path, b"")
        assert await asyncio.wait_for(half.read(), BUDGET_S) == b""
        assert await asyncio.wait_for(silent.read(), BUDGET_S) == b""
        a.size = 4 << 20
        deaf = connect(a.path)
        deaf.sendall(encode_request(1, Show()) * 3)
        await until(lambda: a.requests, lambda: "not asked")
        await until(lambda: not a.socket.clients, lambda: a.socket.clients)
        assert len(a.requests) == 1, "no further answer is made for one who does not take them"
        deaf.close()
        w1.close()
        w2.close()

    with_control(tmp_path, scene, idle=100 * MS)


def test_one_client_too_many_is_told_so(tmp_path: Path) -> None:
    async def scene(a: Asking) -> None:
        others = [await say(a.path, b"") for _ in range(MAX_CLIENTS)]
        await until(lambda: len(a.socket.clients) == MAX_CLIENTS, lambda: a.socket.clients)
        reader, writer = await say(a.path, encode_request(1, Show()))
        assert code_of(await answer(reader)) == "busy"
        others[0][1].close()
        await until(lambda: len(a.socket.clients) < MAX_CLIENTS, lambda: a.socket.clients)
        reader, again = await say(a.path, encode_request(1, Show()))
        assert (await answer(reader))["id"] == 1
        for w in (writer, again, *(w for _, w in others)):
            w.close()

    with_control(tmp_path, scene)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs to become another user")
def test_who_is_admitted_may_read_but_only_root_and_the_owner_may_change(tmp_path: Path) -> None:
    nobody = pwd.getpwnam("nobody").pw_uid

    async def scene(a: Asking) -> None:
        admit(a.path)
        seen = await asyncio.to_thread(as_user, nobody, a.path, encode_request(1, Show()))
        assert json.loads(seen)["id"] == 1
        refused = await asyncio.to_thread(as_user, nobody, a.path, encode_request(2, Maintenance(True)))
        assert code_of(json.loads(refused)) == "denied"
        reader, writer = await say(a.path, encode_request(3, Maintenance(True)))
        assert (await answer(reader))["id"] == 3
        assert [r.call for r in a.requests] == [Show(), Maintenance(True)]
        writer.close()

    with_control(tmp_path, scene)
