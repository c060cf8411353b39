"""The clock: everything that waits for a time asks it, so that tests can let time jump."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Protocol


class Alarm(Protocol):
    """A call that has been put off."""

    def cancel(self) -> None:
        """Forget the call; cancelling twice or after it happened does nothing."""


class Clock(Protocol):
    """Time as this host sees it. Leases are never judged by it where the store has its own."""

    def now(self) -> datetime:
        """Return the current time, aware UTC, never earlier than a previous answer."""

    def call_at(self, when: datetime, call: Callable[[], None]) -> Alarm:
        """Arrange ``call`` on the event loop at ``when``; a past time means very soon."""

    async def sleep(self, seconds: float) -> None:
        """Return after that many seconds of this clock."""
