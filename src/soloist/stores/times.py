"""Times as databases keep them: whole microseconds since 1970, UTC."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECONDS_PER_DAY = 86_400
MICROSECONDS_PER_SECOND = 1_000_000


def to_micros(at: datetime) -> int:
    """Return an aware time in microseconds; integers only, so that nothing is rounded."""
    span = at - _EPOCH
    seconds = span.days * _SECONDS_PER_DAY + span.seconds
    return seconds * MICROSECONDS_PER_SECOND + span.microseconds


def from_micros(micros: int) -> datetime:
    """Return the aware UTC time of :func:`to_micros`."""
    return _EPOCH + timedelta(microseconds=micros)
