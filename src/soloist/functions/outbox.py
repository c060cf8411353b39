"""The outbox of a link: what is posted in one turn of the event loop leaves as one batch."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from soloist.wire import HostMessage


class Outbox:
    """Gathers messages until the event loop has run what is ready, then ships them together.

    One frame for many messages is what makes a worker process affordable: the cost of a system
    call is shared by everything that was ready.
    """

    __slots__ = ("_loop", "_messages", "_ship")

    def __init__(
        self, loop: asyncio.AbstractEventLoop, ship: Callable[[list[HostMessage]], None]
    ) -> None:
        self._loop = loop
        self._ship = ship
        self._messages: list[HostMessage] = []

    def post(self, message: HostMessage) -> None:
        """Add a message to the batch of this turn."""
        if not self._messages:
            self._loop.call_soon(self.flush)
        self._messages.append(message)

    def flush(self) -> None:
        """Ship what is gathered now."""
        if self._messages:
            messages, self._messages = self._messages, []
            self._ship(messages)
