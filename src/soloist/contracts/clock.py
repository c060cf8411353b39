"""The clock: everything that waits for a time asks it, so that tests can let time jump."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Protocol


class Alarm(Protocol):
    """A call that has been put off."""

    def cancel(self) -> None:
        """Forget the call; cancelling twice or after it happened does nothing."""


class Clock(Protocol):
    """Time as this host sees it. Leases are never judged by it where the store has its own."""

    def now(self) -> datetime:
        """Return the current time, aware UTC, never earlier than a previous answer."""

    def call_at(self, when: datetime, call: Callable[[], object]) -> Alarm:
        """Arrange ``call`` on the event loop at ``when``; a past time means very soon."""

    async def sleep(self, seconds: float) -> None:
        """Return after that many seconds of this clock."""


class SystemClock:
    """The machine's clock on the running event loop; it stands still rather than go back."""

    def __init__(self) -> None:
        self._latest = datetime.now(UTC)

    def now(self) -> datetime:
        """Return the current time, or the latest answer if the machine's clock was set back."""
        now = datetime.now(UTC)
        if now > self._latest:
            self._latest = now
        return self._latest

    def call_at(self, when: datetime, call: Callable[[], object]) -> Alarm:
        """Arrange ``call`` on the running loop."""
        delay_seconds = (when - self.now()).total_seconds()
        return asyncio.get_running_loop().call_later(max(0.0, delay_seconds), call)

    async def sleep(self, seconds: float) -> None:
        """Return after that many seconds."""
        await asyncio.sleep(seconds)
