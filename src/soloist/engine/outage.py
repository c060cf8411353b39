"""The store's outages, as the log tells them: a host tries again every second, which is no news."""

from __future__ import annotations

from datetime import datetime, timedelta

from soloist.contracts.clock import Clock
from soloist.errors import SoloistError
from soloist.telemetry import logger

REMIND_SECONDS = 30.0

_log = logger(__name__)


class Outage:
    """One line when the store is away, one every half minute while it stays so, one when it is
    back. A store that comes and goes more often than that is not told of each time."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._since: datetime | None = None
        self._silent_until: datetime | None = None
        self._is_told = False

    def met(self, error: SoloistError, instance_id: str | None = None) -> None:
        """Hear that the store did not do something, for an instance or for all."""
        now = self._clock.now()
        since, self._since = self._since, self._since or now
        if self._silent_until is not None and now < self._silent_until:
            return
        self._silent_until = now + timedelta(seconds=REMIND_SECONDS)
        self._is_told = True
        lasted = None if since is None else f"{(now - since).total_seconds():.0f}"
        _log.warning(
            "store unavailable", reason=str(error), instance_id=instance_id, for_seconds=lasted
        )

    def over(self) -> None:
        """Hear that the store does its work."""
        since, self._since = self._since, None
        if self._is_told and since is not None:
            self._is_told = False
            lasted = (self._clock.now() - since).total_seconds()
            _log.warning("store available again", after_seconds=f"{lasted:.0f}")
