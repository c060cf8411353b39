"""The store's outages, as the log tells them: a host tries again every second, which is no news."""

from __future__ import annotations

from datetime import datetime, timedelta

from soloist.contracts.clock import Clock
from soloist.errors import SoloistError
from soloist.telemetry import logger

REMIND_SECONDS = 30.0
MAX_NAMED = 20
"""So many instances are named in that time that the store did not serve, though it is there."""

_log = logger(__name__)


class Outage:
    """One line when the store is away, one every half minute while it stays so, one when it is
    back. A store that comes and goes more often than that is not told of each time."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._since: datetime | None = None
        self._silent_until: datetime | None = None
        self._is_told = False
        self._named = 0
        self._named_until: datetime | None = None

    def put_off(self, instance_id: str, error: SoloistError) -> None:
        """Hear that the store did not serve one instance, which is no news in an outage."""
        if self._since is not None:
            return
        now = self._clock.now()
        if self._named_until is None or now >= self._named_until:
            self._named_until = now + timedelta(seconds=REMIND_SECONDS)
            self._named = 0
        self._named += 1
        if self._named <= MAX_NAMED:
            _log.warning(
                "an instance is put off: the store did not serve it",
                instance_id=instance_id,
                reason=str(error),
            )

    def met(self, error: SoloistError) -> None:
        """Hear that the store did not serve the host."""
        now = self._clock.now()
        since, self._since = self._since, self._since or now
        if self._silent_until is not None and now < self._silent_until:
            return
        self._silent_until = now + timedelta(seconds=REMIND_SECONDS)
        self._is_told = True
        lasted = None if since is None else f"{(now - since).total_seconds():.0f}"
        _log.warning("store unavailable", reason=str(error), for_seconds=lasted)

    def over(self) -> None:
        """Hear that the store does its work."""
        since, self._since = self._since, None
        if self._is_told and since is not None:
            self._is_told = False
            lasted = (self._clock.now() - since).total_seconds()
            _log.warning("store available again", after_seconds=f"{lasted:.0f}")
