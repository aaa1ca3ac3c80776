"""The loop that serves the engine first: nobody waits for nothing, and nobody starves the others."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Coroutine, Iterator

import pytest

from l3ha.base.time import MS, NEVER
from l3ha.drivers import first
from l3ha.drivers.boottime import boottime_ns

pytestmark = pytest.mark.timeout(20)


class Seat:
    """A guest on the running loop, and what it was called for. Each byte of ``theirs`` makes its socket readable."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, first.Loop)
        self.loop = loop
        self.theirs, self.ours = socket.socketpair()
        self.ours.setblocking(False)
        self.calls: list[tuple[str, int]] = []
        self.readable: Callable[[], None] = lambda: None
        self.due: Callable[[], None] = lambda: None
        self.guest = first.Guest(self.ours.fileno(), self._readable, self._due)
        self.loop.seat(self.guest)

    def _readable(self) -> None:
        self.calls.append(("readable", boottime_ns()))
        self.readable()

    def _due(self) -> None:
        self.calls.append(("due", boottime_ns()))
        self.due()

    def rest(self) -> None:
        """No deadline any more."""
        self.guest.deadline = NEVER

    def read(self) -> None:
        """Take what made the socket readable."""
        self.ours.recv(1)

    @property
    def kinds(self) -> list[str]:
        return [kind for kind, _ in self.calls]

    def close(self) -> None:
        self.loop.leave(self.guest)
        self.theirs.close()
        self.ours.close()


def seated(scene: Callable[[Seat], Coroutine[None, None, None]]) -> None:
    """Play a scene, without a timer that would wake up whom nobody woke: then it hangs."""

    async def main() -> None:
        seat = Seat()
        try:
            await scene(seat)
        finally:
            seat.close()

    first.run(main())


# --- the guest -------------------------------------------------------------------------------------------------------


def test_a_deadline_is_met_once_and_never_early() -> None:
    async def scene(seat: Seat) -> None:
        seat.due = seat.rest
        seat.guest.deadline = boottime_ns() + 5 * MS
        seat.guest.deadline = at = boottime_ns() + 40 * MS
        await asyncio.sleep(0.08)
        assert seat.kinds == ["due"]
        assert seat.calls[0][1] >= at

    seated(scene)


def test_without_a_deadline_nothing_is_due() -> None:
    async def scene(seat: Seat) -> None:
        seat.guest.deadline = boottime_ns() + 5 * MS
        seat.guest.deadline = NEVER
        await asyncio.sleep(0.03)
        assert not seat.calls

    seated(scene)


@pytest.mark.parametrize("at", [-5, 0, 1])
def test_a_deadline_in_the_past_is_due_until_it_is_moved(at: int) -> None:
    async def scene(seat: Seat) -> None:
        seat.due = lambda: seat.rest() if len(seat.calls) == 3 else None
        seat.guest.deadline = at
        await asyncio.sleep(0.03)
        assert seat.kinds == ["due"] * 3

    seated(scene)


def test_what_is_readable_is_told_until_it_is_read() -> None:
    async def scene(seat: Seat) -> None:
        seat.readable = lambda: seat.read() if len(seat.calls) % 2 == 0 else None
        seat.theirs.send(b"12")
        await asyncio.sleep(0.03)
        assert seat.kinds == ["readable"] * 4

    seated(scene)


def test_who_does_not_listen_hears_what_came_meanwhile_later_and_keeps_its_deadline() -> None:
    async def scene(seat: Seat) -> None:
        seat.readable, seat.due = seat.read, seat.rest
        seat.loop.listen(seat.guest, hear=False)
        seat.loop.listen(seat.guest, hear=False)
        seat.theirs.send(b"1")
        seat.guest.deadline = boottime_ns() + 5 * MS
        await asyncio.sleep(0.03)
        assert seat.kinds == ["due"]
        seat.loop.listen(seat.guest, hear=True)
        await asyncio.sleep(0.03)
        assert seat.kinds == ["due", "readable"]

    seated(scene)


def test_what_is_always_readable_does_not_put_off_the_deadline() -> None:
    async def scene(seat: Seat) -> None:
        seat.due = seat.rest
        seat.theirs.send(b"1")
        seat.guest.deadline = boottime_ns() + 5 * MS
        await asyncio.sleep(0.03)
        assert seat.kinds.count("due") == 1
        assert seat.kinds.count("readable") > 10

    seated(scene)


@pytest.mark.parametrize("present", [True, False], ids=["a guest", "no guest"])
def test_who_waits_sleeps(*, present: bool) -> None:
    async def scene(seat: Seat) -> None:
        if not present:
            seat.loop.leave(seat.guest)
        begin = time.process_time()
        await asyncio.sleep(0.5)
        assert time.process_time() - begin < 0.1

    seated(scene)


@pytest.mark.parametrize("during", ["readable", "due"])
def test_it_may_leave_in_its_own_turn(during: str) -> None:
    async def scene(seat: Seat) -> None:
        setattr(seat, during, lambda: seat.loop.leave(seat.guest))
        seat.theirs.send(b"1" * (during == "readable"))
        seat.guest.deadline = 0
        await asyncio.sleep(0.03)
        assert seat.kinds == [during], "though the deadline is due"
        seat.loop.leave(seat.guest)
        seat.loop.listen(seat.guest, hear=True)
        await asyncio.sleep(0.03)
        assert seat.kinds == [during], "who has left is not called again"

    seated(scene)


def test_another_may_take_the_seat_in_the_same_turn_and_keeps_it() -> None:
    async def scene(seat: Seat) -> None:
        theirs, ours = socket.socketpair()
        heard = asyncio.Event()

        def listen() -> None:
            ours.recv(1)
            heard.set()

        other = first.Guest(ours.fileno(), listen, seat.rest)

        def hand_over() -> None:
            seat.loop.leave(seat.guest)
            seat.loop.seat(other)
            seat.loop.leave(seat.guest)

        seat.readable = hand_over
        seat.theirs.send(b"1")
        theirs.send(b"2")
        await heard.wait()
        assert seat.kinds == ["readable"]
        seat.loop.leave(other)
        theirs.close()
        ours.close()

    seated(scene)


def test_a_guest_whose_socket_was_closed_can_still_leave() -> None:
    async def scene(seat: Seat) -> None:
        seat.ours.close()
        seat.loop.leave(seat.guest)

    seated(scene)


@pytest.mark.parametrize("during", ["readable", "due"])
def test_what_a_turn_raises_ends_the_loop_and_asyncio_comes_to_its_end(during: str) -> None:
    ended = []

    async def scene(seat: Seat) -> None:
        def fault() -> None:
            raise ValueError("ours")

        setattr(seat, during, fault)
        seat.theirs.send(b"1" * (during == "readable"))
        seat.guest.deadline = 0
        try:
            await asyncio.sleep(10)
        finally:
            await asyncio.sleep(0)
            ended.append(True)

    with pytest.raises(ValueError, match="ours"):
        seated(scene)
    assert ended


# --- beside asyncio --------------------------------------------------------------------------------------------------


def test_whoever_waits_for_a_turn_goes_on_at_once() -> None:
    async def scene(seat: Seat) -> None:
        told: asyncio.Future[str] = seat.loop.create_future()

        def tell() -> None:
            seat.read()
            told.set_result("done")

        seat.readable = tell
        seat.theirs.send(b"1")
        assert await told == "done"

    seated(scene)


@pytest.mark.parametrize("during", ["readable", "due"])
def test_a_timer_that_a_turn_has_set_rings_in_time(during: str) -> None:
    async def scene(seat: Seat) -> None:
        rung: list[int] = []

        def call() -> None:
            seat.rest()
            if during == "readable":
                seat.read()
            seat.loop.call_later(0.005, lambda: rung.append(boottime_ns()))

        seat.readable = seat.due = call
        seat.theirs.send(b"1" * (during == "readable"))
        seat.guest.deadline = 0 if during == "due" else NEVER
        begin = boottime_ns()
        await asyncio.sleep(3)
        assert 4 * MS < rung[0] - begin < 2000 * MS

    seated(scene)


def test_a_turn_may_stop_the_loop() -> None:
    loop = first.Loop()
    theirs, ours = socket.socketpair()
    guest = first.Guest(ours.fileno(), lambda: None, loop.stop)
    guest.deadline = 0
    loop.seat(guest)
    loop.run_forever()
    loop.leave(guest)
    loop.close()
    theirs.close()
    ours.close()


def test_a_turn_may_set_a_timer_begin_a_task_and_add_a_reader() -> None:
    async def scene(seat: Seat) -> None:
        rung, begun, heard = asyncio.Event(), asyncio.Event(), asyncio.Event()
        theirs, ours = socket.socketpair()
        tasks = []

        async def begin() -> None:
            begun.set()

        def call() -> None:
            seat.read()
            seat.loop.call_later(0.005, rung.set)
            tasks.append(seat.loop.create_task(begin()))
            seat.loop.add_reader(ours.fileno(), lambda: (ours.recv(1), heard.set()))
            theirs.send(b"1")

        seat.readable = call
        seat.theirs.send(b"1")
        for event in (rung, begun, heard):
            await event.wait()
        seat.loop.remove_reader(ours.fileno())
        theirs.close()
        ours.close()

    seated(scene)


@pytest.fixture(params=["readable", "due", "both"])
def greedy(request: pytest.FixtureRequest) -> Iterator[Callable[[Seat], None]]:
    """Makes a guest that always wants to be served."""

    def make(seat: Seat) -> None:
        if request.param != "due":
            seat.theirs.send(b"1")
        if request.param != "readable":
            seat.guest.deadline = 0

    return make


def test_a_greedy_guest_leaves_asyncio_its_timers_sockets_threads_and_signals(greedy: Callable[[Seat], None]) -> None:
    async def scene(seat: Seat) -> None:
        greedy(seat)
        reader, writer = await asyncio.open_connection(sock=seat_pair[0])
        seat_pair[1].send(b"hello")
        assert await reader.readexactly(5) == b"hello"
        assert await asyncio.to_thread(lambda: 7) == 7
        caught = asyncio.Event()
        seat.loop.add_signal_handler(signal.SIGUSR2, caught.set)
        os.kill(os.getpid(), signal.SIGUSR2)
        await caught.wait()
        seat.loop.remove_signal_handler(signal.SIGUSR2)
        await asyncio.sleep(0.005)
        writer.close()
        assert len(seat.calls) > 10

    seat_pair = socket.socketpair()
    try:
        seated(scene)
    finally:
        seat_pair[1].close()


def test_a_flood_on_a_socket_of_asyncio_leaves_the_guest_its_turns() -> None:
    async def scene(seat: Seat) -> None:
        theirs, ours = socket.socketpair()
        theirs.send(b"never read")
        flood = []
        seat.readable, seat.due = seat.read, seat.rest
        seat.loop.add_reader(ours.fileno(), lambda: flood.append(True))
        seat.theirs.send(b"1")
        seat.guest.deadline = boottime_ns() + 5 * MS
        await asyncio.sleep(0.05)
        seat.loop.remove_reader(ours.fileno())
        assert seat.kinds == ["readable", "due"]
        assert len(flood) > 10
        theirs.close()
        ours.close()

    seated(scene)


def test_a_busy_asyncio_leaves_the_guest_its_turns() -> None:
    async def scene(seat: Seat) -> None:
        seat.readable, seat.due = seat.read, seat.rest
        seat.theirs.send(b"1")
        seat.guest.deadline = boottime_ns() + 5 * MS
        while len(seat.calls) < 2:
            await asyncio.sleep(0)
        assert seat.kinds == ["readable", "due"]

    seated(scene)


def test_another_thread_is_heard_while_the_guest_sleeps() -> None:
    async def scene(seat: Seat) -> None:
        woken = asyncio.Event()
        timer = threading.Timer(0.02, seat.loop.call_soon_threadsafe, [woken.set])
        timer.start()
        await woken.wait()
        timer.join()
        assert not seat.calls

    seated(scene)
