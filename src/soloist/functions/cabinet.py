"""The key cabinet: the keys in force on a running host, read again every few seconds.

So a key that was rotated, added or removed counts within ``DEFAULT_REFRESH_SECONDS``, and nobody
restarts anything. While the store does not answer, the keys known last stay in force.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable

from soloist.contracts.clock import Clock
from soloist.functions.keys import (
    DURABLE_KEY_NAME,
    OPEN_RING,
    SYSTEM,
    KeyRing,
    KeyStore,
    ensure_keys,
)
from soloist.telemetry import logger

DEFAULT_REFRESH_SECONDS = 5.0

_log = logger(__name__)


class KeyCabinet:
    """Holds the newest :class:`KeyRing` and answers for it.

    ``on_rotation`` is called when the system key has become another.
    """

    def __init__(self, ring: KeyRing = OPEN_RING) -> None:
        self.on_rotation: Callable[[], None] = lambda: None
        self._reading: asyncio.Task[None] | None = None
        self._system_key: str | None = None
        self._hold(ring)

    @property
    def is_enforced(self) -> bool:
        """Whether callers are asked for keys at all."""
        return self.ring.is_enforced

    def admits(self, level: str, owner: str, presented: str | None) -> bool:
        """Whether ``presented`` opens a door; see :meth:`KeyRing.admits`."""
        return self.ring.admits(level, owner, presented)

    def admits_management(self, presented: str | None) -> bool:
        """Whether ``presented`` opens the whole durable management API."""
        return self.ring.admits_management(presented)

    def system_key(self) -> str | None:
        """Return the durable webhook's key, ``None`` while no keys are asked for."""
        return self._system_key

    async def draw(self, store: KeyStore, clock: Clock, functions: Iterable[str]) -> None:
        """Take the hub's keys into force, drawing those that are missing, also of functions that
        have none yet; none where no keys are asked for.

        Raises:
            StoreUnavailable: from the store.
        """
        if self.is_enforced:
            self._exchange(await ensure_keys(store, clock.now(), functions))

    def keep_up(
        self, store: KeyStore, clock: Clock, refresh_seconds: float = DEFAULT_REFRESH_SECONDS
    ) -> None:
        """Read the keys again every ``refresh_seconds`` until :meth:`close`; where no keys are
        asked for there is nothing to read."""
        if self.is_enforced and self._reading is None:
            reading = self._read_again_and_again(store, clock, refresh_seconds)
            self._reading = asyncio.create_task(reading, name="soloist keys")

    async def close(self) -> None:
        """Read no more; closing twice does nothing."""
        reading, self._reading = self._reading, None
        if reading is not None:
            reading.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await reading

    async def _read_again_and_again(self, store: KeyStore, clock: Clock, seconds: float) -> None:
        is_stale = False
        while True:
            await clock.sleep(seconds)
            try:
                self._exchange(KeyRing(await store.keys()))
            except Exception as error:  # noqa: BLE001  # a removed key must not stay valid unnoticed
                if not is_stale:  # said once, not every few seconds
                    _log.warning("Access keys cannot be read; the last known count", why=str(error))
                is_stale = True
            else:
                is_stale = False

    def _exchange(self, ring: KeyRing) -> None:
        before = self._system_key
        self._hold(ring)
        if self._system_key != before:
            self.on_rotation()

    def _hold(self, ring: KeyRing) -> None:
        self.ring = ring
        is_asked_for = ring.is_enforced
        self._system_key = ring.value(SYSTEM, DURABLE_KEY_NAME) if is_asked_for else None
