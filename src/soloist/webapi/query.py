"""Query strings: many values under names without case, and how each kind of value is read.

The rules are those of the Durable Functions HTTP API reference as its handler applies them: a
value that cannot be read counts as absent, never as an error.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta, timezone
from email.utils import parsedate_to_datetime

from soloist.core.status import RuntimeStatus

_TRUTHS = {"true": True, "false": False}
_INTEGER = re.compile(r"[+-]?[0-9]{1,10}")
_DECIMAL = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,4})?")
_INSTANT = re.compile(
    r"(?P<year>\d{1,4})-(?P<month>\d{1,2})-(?P<day>\d{1,2})"
    r"(?:[T ](?P<hour>\d{1,2}):(?P<minute>\d{2})(?::(?P<second>\d{2})(?:[.,](?P<fraction>\d+))?)?)?"
    # A bare "+" of an offset has become a space when the caller did not escape it.
    r" ?(?:(?P<zulu>[Zz])|(?P<sign>[+\- ])(?P<away_hours>\d{2}):?(?P<away_minutes>\d{2}))?",
    re.ASCII,
)
_AMERICAN_FORMATS = ("%m/%d/%Y", "%m/%d/%Y %H:%M", "%m/%d/%Y %H:%M:%S", "%m/%d/%Y %I:%M:%S %p")
_STATUSES = {status.value.lower(): status for status in RuntimeStatus}
_EARLIEST = datetime.min.replace(tzinfo=UTC)
_LATEST = datetime.max.replace(tzinfo=UTC)
_MICROSECOND_DIGITS = 6


class Query:
    """The parsed query string of one request; it never changes."""

    __slots__ = ("_values",)

    def __init__(self, pairs: Iterable[tuple[str, str]] = ()) -> None:
        values: dict[str, list[str]] = {}
        for name, value in pairs:
            values.setdefault(name.lower(), []).append(value)
        self._values = values

    def text(self, name: str) -> str | None:
        """Return the first value of ``name``, ``None`` when it is absent."""
        values = self._values.get(name.lower())
        return values[0] if values else None

    def first_values(self) -> dict[str, str]:
        """Return the first value of every name, names in lower case."""
        return {name: values[0] for name, values in self._values.items()}

    def truth(self, name: str, *, default: bool) -> bool:
        """Return a value of ``true`` or ``false`` in any case; all else is the default."""
        text = self.text(name)
        return default if text is None else _TRUTHS.get(text.strip().lower(), default)

    def integer(self, name: str, *, default: int) -> int:
        """Return a decimal integer."""
        text = (self.text(name) or "").strip()
        return int(text) if _INTEGER.fullmatch(text) else default

    def seconds(self, name: str) -> float | None:
        """Return a number of seconds, which may have a fraction."""
        text = (self.text(name) or "").strip()
        return float(text) if _DECIMAL.fullmatch(text) else None

    def instant(self, name: str) -> datetime | None:
        """Return a point in time, aware UTC; a value without an offset is taken as UTC."""
        text = (self.text(name) or "").strip()
        return parse_instant(text) if text else None

    def texts(self, name: str) -> tuple[str, ...]:
        """Return the values listed by commas or repetition, without empty ones."""
        values = ",".join(self._values.get(name.lower(), ())).split(",")
        return tuple(dict.fromkeys(each.strip() for each in values if each.strip()))

    def statuses(self, name: str) -> frozenset[RuntimeStatus]:
        """Return the statuses listed by commas or repetition; unknown names are skipped."""
        names = (each.lower() for each in self.texts(name))
        return frozenset(_STATUSES[each] for each in names if each in _STATUSES)


def parse_instant(text: str) -> datetime | None:
    """Read a date or a time stamp: ISO 8601, RFC 1123 or month/day/year; ``None`` if neither.

    Years of fewer than four digits are what Python's ``strftime`` writes on Linux for
    ``datetime.min``, with which Durable clients say "from the beginning".
    """
    match = _INSTANT.fullmatch(text)
    try:
        return _from_iso(match) if match else _from_words(text)
    except ValueError:
        return None


def _from_iso(match: re.Match[str]) -> datetime:
    fraction = (match["fraction"] or "").ljust(_MICROSECOND_DIGITS, "0")[:_MICROSECOND_DIGITS]
    local = datetime(
        int(match["year"]),
        int(match["month"]),
        int(match["day"]),
        int(match["hour"] or 0),
        int(match["minute"] or 0),
        int(match["second"] or 0),
        int(fraction),
        tzinfo=UTC,
    )
    if match["away_hours"] is None:
        return local
    away = timedelta(hours=int(match["away_hours"]), minutes=int(match["away_minutes"]))
    zone = timezone(-away if match["sign"] == "-" else away)
    return _as_utc(local.replace(tzinfo=zone))


def _from_words(text: str) -> datetime | None:
    for each in _AMERICAN_FORMATS:
        try:
            return datetime.strptime(text, each).replace(tzinfo=UTC)
        except ValueError:
            continue
    stamp = parsedate_to_datetime(text)
    return _as_utc(stamp if stamp.tzinfo else stamp.replace(tzinfo=UTC))


def _as_utc(instant: datetime) -> datetime:
    try:
        return instant.astimezone(UTC)
    except OverflowError:  # the offset leads out of the calendar: its nearest day will do
        return _EARLIEST if instant.year <= 1 else _LATEST
