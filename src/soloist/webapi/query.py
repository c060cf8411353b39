"""Query strings: many values under names without case, and how each kind of value is read.

The forms are those that the handler of Durable Functions reads, an empty value counts as absent.
What it cannot read the handler ignores; here it is refused, so that nobody takes everything for
what a misspelt filter found.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta, timezone
from email.utils import parsedate_to_datetime

from soloist.core.status import RuntimeStatus
from soloist.errors import InvalidRequest

_TRUTHS = {"true": True, "false": False}
_INTEGER = re.compile(r"[+-]?[0-9]{1,18}")
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
_MAX_SHOWN_CHARACTERS = 100


class Query:
    """The parsed query string of one request; it never changes.

    Each reader raises :class:`~soloist.errors.InvalidRequest` for a value that it cannot read.
    """

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
        """Return a value of ``true`` or ``false``, in any case."""
        text = self._given(name)
        if text is None:
            return default
        if text.lower() not in _TRUTHS:
            raise unreadable(name, text, "true or false")
        return _TRUTHS[text.lower()]

    def integer(self, name: str, *, default: int) -> int:
        """Return a decimal integer."""
        text = self._given(name)
        if text is None:
            return default
        if not _INTEGER.fullmatch(text):
            raise unreadable(name, text, "a whole number")
        return int(text)

    def seconds(self, name: str) -> float | None:
        """Return a number of seconds, which may have a fraction."""
        text = self._given(name)
        if text is None:
            return None
        if not _DECIMAL.fullmatch(text):
            raise unreadable(name, text, "a number of seconds")
        return float(text)

    def instant(self, name: str) -> datetime | None:
        """Return a point in time, aware UTC; a value without an offset is taken as UTC."""
        text = self._given(name)
        if text is None:
            return None
        instant = parse_instant(text)
        if instant is None:
            raise unreadable(name, text, "a point in time such as 2026-01-31T12:00:00Z")
        return instant

    def texts(self, name: str) -> tuple[str, ...]:
        """Return the values listed by commas or repetition, without empty ones."""
        values = ",".join(self._values.get(name.lower(), ())).split(",")
        return tuple(dict.fromkeys(each.strip() for each in values if each.strip()))

    def statuses(self, name: str) -> frozenset[RuntimeStatus]:
        """Return the statuses listed by commas or repetition, in any case."""
        names = self.texts(name)
        for each in names:
            if each.lower() not in _STATUSES:
                raise unreadable(name, each, f"some of {', '.join(RuntimeStatus)}")
        return frozenset(_STATUSES[each.lower()] for each in names)

    def _given(self, name: str) -> str | None:
        return (self.text(name) or "").strip() or None


def unreadable(name: str, text: str, allowed: str) -> InvalidRequest:
    """Return the refusal of a value."""
    return InvalidRequest(f"'{name}' must be {allowed}; it is {text[:_MAX_SHOWN_CHARACTERS]!r}.")


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
