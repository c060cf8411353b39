"""The database's clock, as a host knows it: machines disagree about the time, a hub must not."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from datetime import datetime, timedelta

from soloist.contracts.clock import Alarm
from soloist.stores.times import from_micros

_DRIFT = 0.001
"""By so many seconds a second what was once measured is trusted less: clocks run unevenly, and
another database may have taken over."""


class DatabaseClock:
    """``contracts.clock.Clock`` in the time of the database.

    Between two answers of the database the machine's monotonic clock counts on, which no setting
    of the date moves. It never goes back.
    """

    def __init__(self) -> None:
        self._base = from_micros(0)
        self._measured_at = time.monotonic()
        self._error_seconds = math.inf
        self._latest = self._base

    def set(self, micros: int, asked_at: float) -> None:
        """Learn the database's time, which it told between ``asked_at`` and now.

        An answer that took long says little, as when this host stood still meanwhile: what was
        learnt from a faster one stays.
        """
        now = time.monotonic()
        error_seconds = (now - asked_at) / 2
        if error_seconds > self._error_seconds + (now - self._measured_at) * _DRIFT:
            return
        self._error_seconds = error_seconds
        self._base = from_micros(micros)
        self._measured_at = (asked_at + now) / 2

    def now(self) -> datetime:
        """Return the current time, never earlier than a previous answer."""
        now = self._base + timedelta(0, time.monotonic() - self._measured_at)
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
