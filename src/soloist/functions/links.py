"""Links: one worker within reach, whatever lies between.

A link carries messages in order and tells when its end is gone. All of a link happens on the
event loop that opened it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from soloist.wire import HostMessage, WorkerMessage


class Link(Protocol):
    """The road to one worker."""

    @property
    def pid(self) -> int | None:
        """The worker's process id, ``None`` when it is not a process of its own."""

    def send(self, message: HostMessage) -> None:
        """Post a message; it leaves with all others posted in this turn of the event loop.

        Never fails and never waits; on a link that is gone it does nothing.
        """

    async def close(self) -> None:
        """Let the worker finish and see it gone: ask, then terminate, then kill. Closing twice
        does nothing. The receiver is told nothing more."""


class Receiver(Protocol):
    """Whoever holds a link."""

    def received(self, messages: Sequence[WorkerMessage]) -> None:
        """Messages came, in the order in which the worker sent them."""

    def unsendable(self, message: HostMessage, error: Exception) -> None:
        """A posted message cannot be written (too large, not valid text); others went out."""

    def lost(self, reason: str) -> None:
        """The worker is gone; said once, after its last messages. ``reason`` completes the
        sentence "the worker …"."""


OpenLink = Callable[[Receiver], Awaitable[Link]]
"""Starts a worker and returns the road to it; raises ``AppLoadFailed`` when none can be started."""
