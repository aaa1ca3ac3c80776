"""What the agent answers on its control socket: status, history, and requests to the engine."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from l3ha.agent.history import History
from l3ha.agent.log import Log
from l3ha.base.names import Intent, NodeId, SrgId
from l3ha.base.settings import Settings
from l3ha.control.protocol import (
    Clear,
    ErrorCode,
    Events,
    Failover,
    Maintenance,
    ProtocolError,
    Request,
    Restart,
    Show,
    answer_result,
    encode_error,
    encode_result,
    events_result,
    no_such_srg,
    show_result,
)
from l3ha.core.events import (
    Answer,
    ClearStatistics,
    Event,
    RequestFailover,
    RequestMaintenance,
    RequestStop,
)
from l3ha.core.status import Status
from l3ha.drivers.control_socket import Reply

MANY_ROUTES = 500
"""Routes that are written down in the loop; more in a thread."""

MAX_WAITING = 64
"""Requests that the engine has not answered; older ones are forgotten (it answers at once, unless it has a fault)."""


class Control:
    """See the module. ``settings`` is replaced on reload."""

    def __init__(
        self,
        settings: Settings,
        status: Callable[[], Status],
        feed: Callable[[Event], None],
        history: History,
        log: Log,
    ) -> None:
        self.settings = settings
        self.stopping = False
        self._status = status
        self._feed = feed
        self._history = history
        self._log = log
        self._number = 0
        self._waiting: dict[int, tuple[int, Reply]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def handle(self, request: Request, reply: Reply) -> None:
        """Answer, now or when the engine does. A fault in making an answer costs the answer, not the agent."""
        try:
            self._handle(request, reply)
        except ProtocolError as error:
            reply(encode_error(ProtocolError(error.code, error.message, request.id)))
        except Exception as error:
            self._broken(request, error, reply)

    def answered(self, answer: Answer) -> None:
        """The engine has decided on a request."""
        waiting = self._waiting.pop(answer.request, None)
        if waiting is not None:
            request_id, reply = waiting
            reply(encode_result(request_id, answer_result(answer.accepted, answer.text, answer.checks)))

    def stop(self, intent: Intent, grace: int) -> bool:
        """Ask the engine for a clean end; False if one is under way."""
        if self.stopping:
            return False
        self.stopping = True
        self._feed(RequestStop(intent, grace))
        return True

    def _handle(self, request: Request, reply: Reply) -> None:
        match request.call:
            case Show() as show:
                self._show(request, show, reply)
            case Events(limit, srg):
                self._known(srg)
                reply(encode_result(request.id, events_result(self._history.newest(limit, srg))))
            case Failover(srg, to):
                number = self._wait(request.id, reply)
                self._feed(RequestFailover(number, SrgId(srg), self._node(to)))
            case Maintenance(on):
                self._feed(RequestMaintenance(self._wait(request.id, reply), on))
            case Restart(grace):
                if not self.stop(Intent.RESTARTING, grace):
                    raise ProtocolError(ErrorCode.BUSY, "the agent is ending already")
                reply(encode_result(request.id, answer_result(True, "the agent ends for a restart")))
            case Clear():
                self._feed(ClearStatistics())
                reply(encode_result(request.id, {}))

    def _show(self, request: Request, show: Show, reply: Reply) -> None:
        """Thousands of routes take longer to write down (9 us each, measured) than the loop may stand still."""
        status = self._status()
        if sum(len(group.prefixes) for group in status.routes) <= MANY_ROUTES:
            reply(encode_result(request.id, show_result(status, show)))
            return
        task = asyncio.get_running_loop().create_task(self._show_many(request, show, status, reply))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _show_many(self, request: Request, show: Show, status: Status, reply: Reply) -> None:
        try:
            line = await asyncio.to_thread(lambda: encode_result(request.id, show_result(status, show)))
        except ProtocolError as error:
            reply(encode_error(ProtocolError(error.code, error.message, request.id)))
        except Exception as error:
            self._broken(request, error, reply)
        else:
            reply(line)

    def _broken(self, request: Request, error: Exception, reply: Reply) -> None:
        self._log.crash("a control request could not be answered", error)
        fault = ProtocolError(ErrorCode.INTERNAL, f"{type(error).__name__}; see the agent's log", request.id)
        reply(encode_error(fault))

    def _wait(self, request_id: int, reply: Reply) -> int:
        self._number += 1
        self._waiting[self._number] = (request_id, reply)
        while len(self._waiting) > MAX_WAITING:
            del self._waiting[next(iter(self._waiting))]
        return self._number

    def _known(self, srg: int | None) -> None:
        configured = [int(s.id) for s in self.settings.srgs]
        if srg and srg not in configured:
            raise ProtocolError(ErrorCode.NO_SUCH_SRG, no_such_srg(srg, configured))

    def _node(self, to: str | int | None) -> NodeId | None:
        nodes = {self.settings.name: self.settings.id} | {p.name: p.id for p in self.settings.peers}
        if to is None:
            return None
        for name, node in nodes.items():
            if to in (name, node) or to == str(node):
                return node
        raise ProtocolError(ErrorCode.NO_SUCH_NODE, f"no node {to}; there are {', '.join(nodes)}")
