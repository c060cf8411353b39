"""The client desk: where the durable clients inside the workers reach the management API."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

import msgspec

from soloist.telemetry import logger
from soloist.wire import ClientCall, ClientReply

_log = logger(__name__)

DEFAULT_MAX_RUNNING = 256
DEFAULT_MAX_WAITING = 10_000

Management = Callable[[str, str, str | None], Awaitable[tuple[int, str | None]]]
"""The management API: method, target (path and query, raw) and JSON body to status and body."""

Reply = Callable[[ClientReply], None]


class ClientDesk:
    """Answers client calls, ``max_running`` at a time; beyond ``max_waiting`` more it refuses.

    Every call gets exactly one reply, whatever the management API does.
    """

    def __init__(
        self,
        *,
        max_running: int = DEFAULT_MAX_RUNNING,
        max_waiting: int = DEFAULT_MAX_WAITING,
    ) -> None:
        self.management: Management | None = None
        self._max_running = max_running
        self._max_waiting = max_waiting
        self._waiting: deque[tuple[ClientCall, Reply]] = deque()
        self._running: set[asyncio.Task[None]] = set()

    def accept(self, call: ClientCall, reply: Reply) -> None:
        """Take a call; ``reply`` is called later with the answer."""
        if len(self._running) < self._max_running:
            self._begin(call, reply)
        elif len(self._waiting) < self._max_waiting:
            self._waiting.append((call, reply))
        else:
            text = "Too many durable client calls are waiting; try again later."
            reply(ClientReply(call.call, 429, problem(text, text)))

    async def close(self) -> None:
        """Give up what waits and cancel what runs."""
        self._waiting.clear()
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    def _begin(self, call: ClientCall, reply: Reply) -> None:
        task = asyncio.create_task(self._answer(call, reply))
        self._running.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if self._waiting:
            self._begin(*self._waiting.popleft())

    async def _answer(self, call: ClientCall, reply: Reply) -> None:
        if self.management is None:
            text = "The host is still starting; durable clients are not served yet."
            reply(ClientReply(call.call, 503, problem(text, text)))
            return
        try:
            status, body = await self.management(call.method, call.target, call.data)
        except Exception as error:  # noqa: BLE001  # a client must not wait for ever
            _log.exception("The management API failed", method=call.method, target=call.target)
            message = "Something went wrong while processing your request."
            status, body = 500, problem(message, str(error), type(error).__name__)
        reply(ClientReply(call.call, status, body))


def problem(message: str, explanation: str, error_type: str = "System.Exception") -> str:
    """Return the "Full" error body that the SDK's client expects."""
    body = {
        "Message": message,
        "ExceptionMessage": explanation,
        "ExceptionType": error_type,
        "StackTrace": "",
    }
    return msgspec.json.encode(body).decode()
