"""NCRONTAB: when a timer trigger fires.

A schedule has six fields (second, minute, hour, day, month, day of the week) or five, the second
then being 0. Fields mean what they mean to NCrontab, the library behind Azure's timers: a range
that runs backwards is turned round (``FRI-MON`` is Monday to Friday), a value with a step runs to
the field's end (``10/20`` is 10, 30, 50), any beginning of an English name will do, and a day must
fit *both* day fields. A schedule may also be a duration (``00:30:00``): every that long.

Where a time zone's clock is changed:

* Set back, an hour comes twice. A schedule that names its times (no ``*``, ``-`` or ``/`` in
  second, minute and hour) fires in the first pass only; any other goes on firing, as on Azure.
* Set forward, an hour is missing. What would have fired in it fires once, at the moment of the
  change; a schedule for every hour just goes on, as its next time is never far.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Final

import msgspec

from soloist.errors import InvalidRequest

MAX_TEXT_CHARACTERS: Final = 1_000

_TICK = timedelta(microseconds=1)
_SECOND = timedelta(seconds=1)
_EVE = timedelta(days=2)
_MAX_STEPS = 1_000
_MAX_YEARS_AHEAD = 41  # 29 February on a given weekday comes back within 40 years
_DAYS_OF_MONTHS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_NUMBER = re.compile(r"[0-9]{1,9}", re.ASCII)
_DURATION = re.compile(
    r"(?:([0-9]{1,7})\.)?([0-9]{1,7}):([0-9]{1,2})(?::([0-9]{1,2})(\.[0-9]{1,7})?)?", re.ASCII
)
_EXPECTED = (
    "It must have six fields ('second minute hour day month day-of-week'), five without the"
    " second, or be a duration like '00:30:00'"
)


class _Field(msgspec.Struct, frozen=True):
    name: str
    lowest: int
    highest: int
    names: tuple[str, ...] = ()


_FIELDS: Final = (
    _Field("second", 0, 59),
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day", 1, 31),
    _Field(
        "month",
        1,
        12,
        (
            "january",
            "february",
            "march",
            "april",
            "may",
            "june",
            "july",
            "august",
            "september",
            "october",
            "november",
            "december",
        ),
    ),
    _Field(
        "day-of-week",
        0,
        6,
        ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"),
    ),
)


class Interval(msgspec.Struct, frozen=True):
    """Every so many seconds."""

    seconds: float


class Calendar(msgspec.Struct, frozen=True, kw_only=True):
    """The values that each field admits, in order; weekdays count from Sunday, which is 0.

    ``repeats`` says that an hour which comes twice counts twice.
    """

    seconds: tuple[int, ...]
    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: frozenset[int]
    months: tuple[int, ...]
    weekdays: frozenset[int]
    repeats: bool

    @property
    def is_hourly(self) -> bool:
        """Whether it fires in every hour of a day on which it fires."""
        return len(self.hours) == 24  # hours of a day


class Schedule(msgspec.Struct, frozen=True):
    """When a timer fires. Made by :meth:`parse`."""

    text: str
    rule: Interval | Calendar

    @classmethod
    def parse(cls, text: str) -> Schedule:
        """Read a schedule.

        Raises:
            InvalidRequest: it is malformed, or no date fits it; the text names the field and what
                it allows.
        """
        if len(text) > MAX_TEXT_CHARACTERS:
            raise InvalidRequest(
                f"A schedule may have {MAX_TEXT_CHARACTERS} characters; this one has {len(text)}."
            )
        duration = _DURATION.fullmatch(text.strip())
        return cls(text, _interval(text, duration) if duration else _calendar(text))

    def next_after(self, at: datetime, zone: tzinfo = UTC) -> datetime | None:
        """Return the first time after ``at`` at which it fires, in UTC; ``None`` when that lies
        beyond the year 9999.

        ``at`` is aware. The fields are held against the clock of ``zone``; see the module for
        what happens when that is changed.
        """
        try:
            start = at.astimezone(UTC).replace(tzinfo=None)
            if isinstance(self.rule, Interval):
                found: datetime | None = start + timedelta(seconds=self.rule.seconds)
            else:
                found = _next_instant(self.rule, start, zone)
        except OverflowError:
            return None
        return None if found is None else found.replace(tzinfo=UTC)


# Reading.


def _interval(text: str, match: re.Match[str]) -> Interval:
    days, hours, minutes, seconds, fraction = match.groups()
    first, second, third = int(hours), int(minutes), int(seconds or 0)
    if days is None and seconds is not None and first >= 24:  # not an hour
        days, first, second, third = hours, second, third, 0  # .NET reads days:hours:minutes
    if first > 23 or second > 59 or third > 59:  # of a day, an hour, a minute
        raise InvalidRequest(f"The schedule '{text}' is not a duration like 'days.hh:mm:ss'.")
    whole = ((int(days or 0) * 24 + first) * 60 + second) * 60 + third
    total = whole + float(fraction or 0)
    if total < 1:
        raise InvalidRequest(f"The schedule '{text}' is too short; it must be one second or more.")
    return Interval(total)


def _calendar(text: str) -> Calendar:
    parts = text.split()
    if len(parts) == len(_FIELDS) - 1:
        parts.insert(0, "0")
    if len(parts) != len(_FIELDS):
        raise InvalidRequest(f"The schedule '{text}' has {len(parts)} fields. {_EXPECTED}.")
    values = [
        tuple(sorted(_values(text, field, part)))
        for field, part in zip(_FIELDS, parts, strict=True)
    ]
    seconds, minutes, hours, days, months, weekdays = values
    if all(days[0] > _DAYS_OF_MONTHS[month - 1] for month in months):
        raise InvalidRequest(
            f"The schedule '{text}' never fires: no such month has a day {days[0]}."
        )
    return Calendar(
        seconds=seconds,
        minutes=minutes,
        hours=hours,
        days=frozenset(days),
        months=months,
        weekdays=frozenset(weekdays),
        repeats=any(mark in part for part in parts[:3] for mark in "*-/"),
    )


def _values(text: str, field: _Field, part: str) -> set[int]:
    found: set[int] = set()
    for piece in part.split(","):
        span, slash, step = piece.partition("/")
        if slash and not _NUMBER.fullmatch(step):
            raise _wrong(text, field, f"'{piece}' has a step that is not a number")
        first, last = _bounds(text, field, span, is_open=bool(slash))
        found.update(range(first, last + 1, max(1, int(step or 1))))
    return found


def _bounds(text: str, field: _Field, span: str, *, is_open: bool) -> tuple[int, int]:
    if span == "*":
        return field.lowest, field.highest
    first, dash, last = span.partition("-")
    low = _value(text, field, first)
    if dash:
        high = _value(text, field, last)
        return min(low, high), max(low, high)
    return low, field.highest if is_open else low


def _value(text: str, field: _Field, word: str) -> int:
    if _NUMBER.fullmatch(word):
        value = int(word)
        if field.lowest <= value <= field.highest:
            return value
        raise _wrong(text, field, f"{value} is out of bounds")
    for offset, name in enumerate(field.names):
        if word and name.startswith(word.lower()):
            return field.lowest + offset
    raise _wrong(text, field, f"'{word}' is not a value" if word else "a value is missing")


def _wrong(text: str, field: _Field, why: str) -> InvalidRequest:
    allowed = f"numbers from {field.lowest} to {field.highest}"
    if field.names:
        names = f"{field.names[0][:3].upper()} to {field.names[-1][:3].upper()}"
        allowed = f"{allowed} and names from {names}"
    return InvalidRequest(
        f"The schedule '{text}' is wrong in its field '{field.name}': {why}. Allowed are {allowed},"
        " '*', lists 'a,b', ranges 'a-b' and steps 'a-b/n'."
    )


# Finding the next time. Times without a zone are UTC ("instants") or the zone's ("local").


def _next_instant(calendar: Calendar, start: datetime, zone: tzinfo) -> datetime | None:
    """Follow the zone's offset; where it changes, go on from the change under the new one."""
    instant, floor = start, _floor(calendar, start, zone)
    for _ in range(_MAX_STEPS):
        offset = _offset(instant, zone)
        local = _next_local(calendar, floor)
        if local is None:
            return None
        found = local - offset
        if found - _EVE > instant:
            # Far away: go near, so that at most one change of the clock lies between.
            instant = found - _EVE
            floor = _floor(calendar, instant, zone)
            continue
        if _offset(found, zone) == offset:
            return found
        change = _change_between(instant, found, zone)
        later = _offset(change, zone)
        if change + offset <= local < change + later and not calendar.is_hourly:
            return change
        instant = change
        floor = change + (later if calendar.repeats else max(offset, later)) - _TICK
    return None


def _floor(calendar: Calendar, instant: datetime, zone: tzinfo) -> datetime:
    """Return the local time after which to search; past a repeated hour that does not count."""
    aware = instant.replace(tzinfo=UTC).astimezone(zone)
    local = aware.replace(tzinfo=None, fold=0)
    if not aware.fold or calendar.repeats:
        return local
    first_pass = aware.replace(fold=0).utcoffset() or timedelta()
    set_back = first_pass - _offset(instant, zone)
    if set_back <= timedelta():
        return local
    change = _change_between(instant - set_back, instant, zone)
    return max(local, change + first_pass - _TICK)


def _offset(instant: datetime, zone: tzinfo) -> timedelta:
    return instant.replace(tzinfo=UTC).astimezone(zone).utcoffset() or timedelta()


def _change_between(before: datetime, after: datetime, zone: tzinfo) -> datetime:
    """Return the second at which the offset becomes that of ``after``."""
    low, high = before.replace(microsecond=0), after
    later = _offset(after, zone)
    while high - low > _SECOND:
        middle = low + timedelta(seconds=(high - low) // _SECOND // 2)
        if _offset(middle, zone) == later:
            high = middle
        else:
            low = middle
    return high


def _next_local(calendar: Calendar, after: datetime) -> datetime | None:
    start = after.replace(microsecond=0) + _SECOND
    if _fits(calendar, start.date()):
        time = _time_from(calendar, (start.hour, start.minute, start.second))
        if time is not None:
            return start.replace(hour=time[0], minute=time[1], second=time[2])
    day = _next_date(calendar, start.date())
    if day is None:
        return None
    first = (calendar.hours[0], calendar.minutes[0], calendar.seconds[0])
    return datetime(day.year, day.month, day.day, *first)  # noqa: DTZ001  # local, see above


def _time_from(calendar: Calendar, now: tuple[int, int, int]) -> tuple[int, int, int] | None:
    """Return the first time of day at or after ``now``."""
    hour, minute, second = now
    hours, minutes, seconds = calendar.hours, calendar.minutes, calendar.seconds
    if hour in hours:
        if minute in minutes and second <= seconds[-1]:
            return hour, minute, seconds[bisect_left(seconds, second)]
        if minute < minutes[-1]:
            return hour, minutes[bisect_left(minutes, minute + 1)], seconds[0]
    index = bisect_left(hours, hour + 1)
    return (hours[index], minutes[0], seconds[0]) if index < len(hours) else None


def _next_date(calendar: Calendar, after: date) -> date | None:
    last_year = min(after.year + _MAX_YEARS_AHEAD, date.max.year)
    for year in range(after.year, last_year + 1):
        for month in calendar.months:
            if (year, month) < (after.year, after.month):
                continue
            for number in range(1, _DAYS_OF_MONTHS[month - 1] + 1):
                day = _date(year, month, number)
                if day is not None and day > after and _fits(calendar, day):
                    return day
    return None


def _date(year: int, month: int, day: int) -> date | None:
    is_leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    return date(year, month, day) if is_leap or (month, day) != (2, 29) else None


def _fits(calendar: Calendar, day: date) -> bool:
    return (
        day.month in calendar.months
        and day.day in calendar.days
        and day.isoweekday() % 7 in calendar.weekdays
    )
