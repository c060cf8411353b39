"""A clock that stands still until it is told to jump."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import count

_SETTLING_ROUNDS = 200
START_AT = datetime(2026, 1, 1, tzinfo=UTC)


class JumpAlarm:
    """A call that waits for the clock to reach its time."""

    __slots__ = ("call", "is_cancelled", "when")

    def __init__(self, when: datetime, call: Callable[[], object]) -> None:
        self.when = when
        self.call = call
        self.is_cancelled = False

    def cancel(self) -> None:
        """Forget the call."""
        self.is_cancelled = True


class JumpClock:
    """``contracts.clock.Clock`` for tests: hours pass in no time, and only on demand."""

    def __init__(self, start_at: datetime = START_AT) -> None:
        self._now = start_at
        self._alarms: list[tuple[datetime, int, JumpAlarm]] = []
        self._numbers = count()

    def now(self) -> datetime:
        """Return the time to which the clock was last moved."""
        return self._now

    def call_at(self, when: datetime, call: Callable[[], object]) -> JumpAlarm:
        """Arrange ``call`` for the jump that reaches ``when``; a past time is reached by any."""
        alarm = JumpAlarm(when, call)
        heapq.heappush(self._alarms, (when, next(self._numbers), alarm))
        return alarm

    async def sleep(self, seconds: float) -> None:
        """Return once the clock was moved that far; no sleep at all is one turn of the loop."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        alarm = self.call_at(self._now + timedelta(seconds=seconds), lambda: _finish(done))
        try:
            await done
        finally:
            alarm.cancel()

    def next_alarm_at(self) -> datetime | None:
        """Return when the next call is due, ``None`` when none is arranged."""
        while self._alarms and self._alarms[0][2].is_cancelled:
            heapq.heappop(self._alarms)
        return self._alarms[0][0] if self._alarms else None

    def advance(self, seconds: float) -> None:
        """Move on, making every call that falls due on the way at its own time."""
        target = self._now + timedelta(seconds=seconds)
        while (when := self.next_alarm_at()) is not None and when <= target:
            alarm = heapq.heappop(self._alarms)[2]
            self._now = max(self._now, when)
            alarm.call()
        self._now = target

    async def jump(self, seconds: float = 0.0, step_seconds: float = 0.25) -> None:
        """Move on in steps, letting everything that a step set off run before the next."""
        await self.settle()
        remaining = seconds
        while remaining > 0:
            self.advance(min(step_seconds, remaining))
            remaining -= step_seconds
            await self.settle()

    async def settle(self) -> None:
        """Let the loop run until whatever is ready has run."""
        for _ in range(_SETTLING_ROUNDS):
            await asyncio.sleep(0)


def _finish(done: asyncio.Future[None]) -> None:
    if not done.done():
        done.set_result(None)
