"""An app under test: a whole host in this process, in a time that the test moves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx

from soloist.app import Host, HostOptions, open_host
from soloist.client import Client
from soloist.testing.clock import JumpClock

ORIGIN = "http://localhost:7071"
STORE_URL = "memory:"
PATIENCE_SECONDS = 30.0
"""How long the app's code may run at a stretch, in real time, before a test gives up."""

LEASE_SECONDS = 400 * 86_400.0
"""The host has no neighbours, so its leases need no renewing: a jump need not stop for that."""

MAX_STEPS_AT_ONCE = 10_000
"""So often the clock may be due again at one and the same moment."""


class AppUnderTest:
    """A running app. ``http`` calls its functions and the management API, ``client`` its hub.

    Made by :func:`app_under_test`.
    """

    def __init__(
        self, host: Host, clock: JumpClock, http: httpx.AsyncClient, patience_seconds: float
    ) -> None:
        self.host = host
        self.clock = clock
        self.http = http
        self._patience_seconds = patience_seconds

    @property
    def client(self) -> Client:
        """Every verb of the hub: start, status, raise an event, terminate and so on."""
        return self.host.client

    async def settle(self) -> None:
        """Return when nothing happens any more: what waits, waits for the clock or for the test.

        Raises:
            TimeoutError: the app was still at work after ``patience_seconds`` of real time.
        """
        loop = asyncio.get_running_loop()
        give_up_at = loop.time() + self._patience_seconds
        await self.clock.settle()
        while self.host.in_flight:
            if not await self.host.drain(max(0.0, give_up_at - loop.time())):
                raise TimeoutError(
                    f"The app is still at work after {self._patience_seconds:g} s of real time: its"
                    " code goes on without end, or waits for what does not go by the clock of the"
                    " test (time.sleep, a lock, a socket)."
                )
            await self.clock.settle()

    async def jump(self, time: timedelta | float) -> None:
        """Let so much time pass, in seconds if it is a number: everything that falls due on the
        way happens at its own time, with all that it sets off, and then the next.

        Raises:
            TimeoutError: as :meth:`settle`, or time cannot pass because something is due for ever.
        """
        seconds = time.total_seconds() if isinstance(time, timedelta) else time
        end_at = self.clock.now() + timedelta(seconds=seconds)
        steps = 0
        await self.settle()
        while (next_at := self.clock.next_alarm_at()) is not None and next_at <= end_at:
            steps = steps + 1 if next_at <= self.clock.now() else 0
            if steps > MAX_STEPS_AT_ONCE:
                raise TimeoutError(f"At {next_at} something is due again and again, without end.")
            self._advance_to(next_at)
            await self.settle()
        self._advance_to(end_at)

    def _advance_to(self, when: datetime) -> None:
        self.clock.advance(max(0.0, (when - self.clock.now()).total_seconds()))

    async def close(self) -> None:
        """End the host; what the app's code still does is not waited for beyond its patience."""
        closing = asyncio.create_task(self.host.close())
        await asyncio.wait((closing,), timeout=self._patience_seconds)
        if not closing.done():
            self.clock.advance(LEASE_SECONDS)  # by which the host's own patience is over
        await closing


@asynccontextmanager
async def app_under_test(
    app_dir: Path | str,
    *,
    clock: JumpClock | None = None,
    patience_seconds: float = PATIENCE_SECONDS,
    **options: Any,
) -> AsyncIterator[AppUnderTest]:
    """Run the app in ``app_dir`` inside this process until the block ends, its hub in memory.

    ``options`` are those of ``soloist.app.HostOptions``.

    Raises:
        SettingsError: an option or a file of the app is wrong.
        AppLoadFailed: the app cannot be loaded or hosted.
    """
    clock = JumpClock() if clock is None else clock
    given = {"store_url": STORE_URL, "in_process": True, "lease_seconds": LEASE_SECONDS, **options}
    host = await open_host(HostOptions(app_dir=Path(app_dir), clock=clock, **given), ORIGIN)
    transport = httpx.ASGITransport(app=host.web)
    async with httpx.AsyncClient(transport=transport, base_url=ORIGIN) as http:
        app = AppUnderTest(host, clock, http, patience_seconds)
        try:
            yield app
        finally:
            await app.close()
