"""A worker inside the host's own process: for tests, and for embedding in another application.

The same pool, the same messages; only the socket is missing. What the app's code does to the
process (a crash, a blocked interpreter, a changed working directory) it does to the host.
"""

from __future__ import annotations

import asyncio
from typing import Any, Protocol

import msgspec

from soloist.functions.links import Link, OpenLink, Receiver
from soloist.functions.outbox import Outbox
from soloist.wire import HostMessage, WorkerMessage

_Plain = list[dict[str, Any]]


class _Worker(Protocol):
    def receive(self, messages: _Plain) -> None: ...

    def close(self) -> None: ...


def in_process_links() -> OpenLink:
    """Return a starter of workers that run in this process."""

    async def open_link(receiver: Receiver) -> Link:
        return InProcessLink(receiver)

    return open_link


class InProcessLink:
    """A worker object and the way to it; the worker may answer from any thread."""

    def __init__(self, receiver: Receiver) -> None:
        from soloist_worker.worker import Worker  # the one place where the host imports it

        self._loop = asyncio.get_running_loop()
        self._receiver = receiver
        self._outbox = Outbox(self._loop, self._ship)
        self._is_closed = False
        self._worker: _Worker = Worker(send=self._answered)

    @property
    def pid(self) -> int | None:
        """There is no process of its own."""
        return None

    def send(self, message: HostMessage) -> None:
        """Post a message."""
        self._outbox.post(message)

    async def close(self) -> None:
        """Let the worker go; what it still runs is not waited for."""
        if not self._is_closed:
            self._outbox.flush()
            self._is_closed = True
            await asyncio.to_thread(self._worker.close)

    def _ship(self, messages: list[HostMessage]) -> None:
        if self._is_closed:
            return
        plain: _Plain = []
        for message in messages:
            try:
                # Through text, as between processes: what JSON cannot carry fails here as well.
                plain.append(msgspec.json.decode(msgspec.json.encode(message)))
            except (ValueError, msgspec.MsgspecError) as error:
                self._receiver.unsendable(message, error)
        if plain:
            self._worker.receive(plain)

    def _answered(self, plain: _Plain) -> None:
        if self._is_closed:
            return  # the host's event loop may be gone
        messages = msgspec.convert(plain, list[WorkerMessage])
        self._loop.call_soon_threadsafe(self._deliver, messages)

    def _deliver(self, messages: list[WorkerMessage]) -> None:
        if not self._is_closed:
            self._receiver.received(messages)
