"""Schedules: what NCrontab's fields mean, and what happens where the clock is changed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, reject, settings
from hypothesis import strategies as st

from soloist.core.ncrontab import Calendar, Schedule
from soloist.errors import InvalidRequest

BERLIN = ZoneInfo("Europe/Berlin")
NEW_YORK = ZoneInfo("America/New_York")
LORD_HOWE = ZoneInfo("Australia/Lord_Howe")  # changes its clock by half an hour
SANTIAGO = ZoneInfo("America/Santiago")  # changes its clock at midnight
APIA = ZoneInfo("Pacific/Apia")  # left out 30 December 2011

SECOND = timedelta(seconds=1)


def utc(*parts: int) -> datetime:
    """Return a moment."""
    return datetime(*parts, tzinfo=UTC)  # type: ignore[misc,arg-type]  # parts are no zone


def firings(text: str, start: datetime, zone: ZoneInfo | None = None, count: int = 4) -> list[str]:
    """Return the local times of the next firings."""
    schedule = Schedule.parse(text)

    def walk() -> object:
        at = start
        while True:
            found = schedule.next_after(at, zone or UTC)
            assert found is not None
            at = found
            yield at.astimezone(zone or UTC).strftime("%m-%d %H:%M:%S%z")

    return list(islice(walk(), count))  # type: ignore[call-overload]  # a generator of text


def rule(text: str) -> Calendar:
    """Return the fields of a schedule."""
    found = Schedule.parse(text).rule
    assert isinstance(found, Calendar)
    return found


# What the fields mean.


@pytest.mark.parametrize(
    ("text", "after", "expected"),
    [
        ("0 */5 * * * *", utc(2026, 1, 1, 0, 3), utc(2026, 1, 1, 0, 5)),
        ("0 0 * * * *", utc(2026, 1, 1, 0, 0), utc(2026, 1, 1, 1)),
        ("0 0 */2 * * *", utc(2026, 1, 1, 22, 30), utc(2026, 1, 2)),
        ("0 0 9-17 * * *", utc(2026, 1, 1, 17, 0), utc(2026, 1, 2, 9)),
        ("0 30 9 * * *", utc(2026, 1, 31, 10), utc(2026, 2, 1, 9, 30)),
        ("0 30 9 * * 1-5", utc(2026, 1, 2, 10), utc(2026, 1, 5, 9, 30)),
        ("0 30 9 * Jan Mon", utc(2026, 1, 26, 10), utc(2027, 1, 4, 9, 30)),
        ("*/5 * * * * *", utc(2026, 12, 31, 23, 59, 58), utc(2027, 1, 1)),
        ("0 0 0 29 2 *", utc(2026, 1, 1), utc(2028, 2, 29)),
        ("0 0 0 29 2 1", utc(2072, 3, 1), utc(2112, 2, 29)),
        ("0 0 0 31 * *", utc(2026, 1, 31), utc(2026, 3, 31)),
        ("15 * * * *", utc(2026, 1, 1, 0, 15), utc(2026, 1, 1, 1, 15)),
    ],
)
def test_the_next_time_is_the_first_that_fits(
    text: str, after: datetime, expected: datetime
) -> None:
    assert Schedule.parse(text).next_after(after) == expected


def test_a_day_must_fit_both_day_fields() -> None:
    assert Schedule.parse("0 0 0 13 * 5").next_after(utc(2026, 3, 14)) == utc(2026, 11, 13)


def test_five_fields_begin_with_the_minute() -> None:
    assert rule("*/10 * * * *") == rule("0 */10 * * * *")


@pytest.mark.parametrize(
    ("text", "months", "weekdays"),
    [
        ("0 0 0 * JAN SUN", {1}, {0}),
        ("0 0 0 * dec,Mar sat", {3, 12}, {6}),
        ("0 0 0 * january-Mar mon-WED", {1, 2, 3}, {1, 2, 3}),
        ("0 0 0 * J,ma T", {1, 3}, {2}),  # the first name that begins so
        ("0 0 0 * 12-10 FRI-MON", {10, 11, 12}, {1, 2, 3, 4, 5}),  # turned round
        ("0 0 0 * 3/4 0-6/3", {3, 7, 11}, {0, 3, 6}),
        ("0 0 0 * */5 */9", {1, 6, 11}, {0}),
    ],
)
def test_names_ranges_and_steps_are_those_of_ncrontab(
    text: str, months: set[int], weekdays: set[int]
) -> None:
    assert set(rule(text).months) == months
    assert rule(text).weekdays == weekdays


def test_a_step_of_nothing_is_one_and_a_step_after_a_value_runs_to_the_end() -> None:
    assert rule("*/0 50/4 5-9/3 * * *").seconds == tuple(range(60))
    assert rule("*/0 50/4 5-9/3 * * *").minutes == (50, 54, 58)
    assert rule("*/0 50/4 5-9/3 * * *").hours == (5, 8)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "has 0 fields"),
        ("* * * *", "has 4 fields"),
        ("* * * * * * *", "has 7 fields"),
        ("60 * * * * *", "'second': 60 is out of bounds. Allowed are numbers from 0 to 59"),
        ("* 60 * * * *", "'minute'"),
        ("* * 24 * * *", "'hour': 24 is out of bounds. Allowed are numbers from 0 to 23"),
        ("* * * 0 * *", "'day': 0 is out of bounds. Allowed are numbers from 1 to 31"),
        (
            "* * * * 13 *",
            "'month': 13 is out of bounds. Allowed are numbers from 1 to 12 and names",
        ),
        ("* * * * * 7", "'day-of-week': 7 is out of bounds. Allowed are numbers from 0 to 6 and"),
        ("* * * * * 5-7", "'day-of-week'"),
        ("* * * * Foo *", "'Foo' is not a value"),
        ("* * ? * * *", "'\\?' is not a value"),
        ("* * L * * *", "'L' is not a value"),
        ("*/x * * * * *", "step that is not a number"),
        ("*/-1 * * * * *", "step that is not a number"),
        ("1,,2 * * * * *", "a value is missing"),
        ("1- * * * * *", "a value is missing"),
        ("-1 * * * * *", "a value is missing"),
        ("٣ * * * * *", "is not a value"),
        ("0 0 0 30 2 *", "never fires: no such month has a day 30"),
        ("0 0 0 31 4,6,9,11 *", "never fires"),
        ("x" * 1001, "may have 1000 characters"),
        ("00:00:00", "too short"),
        ("00:00:00.5", "too short"),
        ("00:60:00", "not a duration"),
        ("1.24:00:00", "not a duration"),
    ],
)
def test_a_wrong_schedule_is_refused_with_its_field_and_what_that_allows(
    text: str, reason: str
) -> None:
    with pytest.raises(InvalidRequest, match=reason):
        Schedule.parse(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("00:00:01", 1),
        ("00:05", 300),
        ("01:02:03.5", 3723.5),
        ("7.00:00:00", 604800),
        ("24:00:00", 24 * 86400),  # .NET takes what is no hour for days
        ("25:01:02", 25 * 86400 + 3720),
    ],
)
def test_a_duration_means_every_that_long(text: str, seconds: float) -> None:
    at = utc(2026, 3, 29, 0, 59, 59)
    assert Schedule.parse(text).next_after(at, BERLIN) == at + timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["0 0 0 1 1 *", "9999999.00:00:00"])
def test_after_the_last_year_there_is_no_next_time(text: str) -> None:
    assert Schedule.parse(text).next_after(utc(9999, 12, 1)) is None


def test_parts_of_a_second_are_not_lost() -> None:
    schedule = Schedule.parse("* * * * * *")
    assert schedule.next_after(utc(2026, 1, 1, 0, 0, 0, 999_999)) == utc(2026, 1, 1, 0, 0, 1)
    assert schedule.next_after(utc(2026, 1, 1, 0, 0, 1)) == utc(2026, 1, 1, 0, 0, 2)


# Where the clock is changed.


def test_a_named_time_that_comes_twice_fires_once() -> None:
    expected = ["10-24 02:30:00+0200", "10-25 02:30:00+0200", "10-26 02:30:00+0100"]
    assert firings("0 30 2 * * *", utc(2026, 10, 23, 12), BERLIN, 3) == expected
    second_pass = utc(2026, 10, 25, 1, 10)
    assert firings("0 30 2 * * *", second_pass, BERLIN, 1) == ["10-26 02:30:00+0100"]


def test_a_schedule_that_repeats_goes_on_while_an_hour_comes_twice() -> None:
    assert firings("0 */30 * * * *", utc(2026, 11, 1, 5, 0), NEW_YORK, 5) == [
        "11-01 01:30:00-0400",
        "11-01 01:00:00-0500",
        "11-01 01:30:00-0500",
        "11-01 02:00:00-0500",
        "11-01 02:30:00-0500",
    ]


def test_what_falls_into_a_missing_hour_fires_once_when_the_clock_jumps() -> None:
    expected = ["03-28 02:30:00+0100", "03-29 03:00:00+0200", "03-30 02:30:00+0200"]
    assert firings("0 30 2 * * *", utc(2026, 3, 27, 12), BERLIN, 3) == expected
    assert firings("0 0,20,40 2 * * *", utc(2026, 3, 28, 12), BERLIN, 2) == [
        "03-29 03:00:00+0200",
        "03-30 02:00:00+0200",
    ]


def test_an_hourly_schedule_does_without_the_missing_hour() -> None:
    assert firings("0 7 * * * *", utc(2026, 3, 29, 0), BERLIN, 3) == [
        "03-29 01:07:00+0100",
        "03-29 03:07:00+0200",
        "03-29 04:07:00+0200",
    ]


def test_a_missing_midnight_and_a_missing_day_fire_late_rather_than_never() -> None:
    assert firings("0 0 0 * * *", utc(2026, 9, 5, 12), SANTIAGO, 2) == [
        "09-06 01:00:00-0300",
        "09-07 00:00:00-0300",
    ]
    assert firings("0 0 9 30 12 *", utc(2011, 12, 1), APIA, 1) == ["12-31 00:00:00+1400"]


def fires(calendar: Calendar, at: datetime, zone: ZoneInfo) -> bool:
    """Whether a schedule fires at a moment, by the words of the rules."""
    local, before = at.astimezone(zone), (at - SECOND).astimezone(zone)
    naive = local.replace(tzinfo=None, fold=0)
    if fits(calendar, naive) and (calendar.repeats or not local.fold):
        return True
    missing = before.replace(tzinfo=None, fold=0) + SECOND
    if calendar.is_hourly or before.utcoffset() == local.utcoffset():
        return False
    while missing < naive:
        if fits(calendar, missing):
            return True
        missing += SECOND
    return False


def fits(calendar: Calendar, local: datetime) -> bool:
    return (
        local.second in calendar.seconds
        and local.minute in calendar.minutes
        and local.hour in calendar.hours
        and local.day in calendar.days
        and local.month in calendar.months
        and local.isoweekday() % 7 in calendar.weekdays
    )


def field(low: int, high: int) -> st.SearchStrategy[str]:
    """Return any way to write a field."""
    value = st.integers(low, high)
    span = st.tuples(value, value).map(lambda pair: f"{pair[0]}-{pair[1]}")
    stepped = st.tuples(st.one_of(st.just("*"), span, value.map(str)), st.integers(1, high))
    piece = st.one_of(value.map(str), span, stepped.map(lambda pair: f"{pair[0]}/{pair[1]}"))
    return st.one_of(st.just("*"), st.lists(piece, min_size=1, max_size=3).map(",".join))


NIGHTS = [
    (BERLIN, utc(2026, 3, 29, 1)),
    (BERLIN, utc(2026, 10, 25, 1)),
    (NEW_YORK, utc(2026, 3, 8, 7)),
    (NEW_YORK, utc(2026, 11, 1, 6)),
    (LORD_HOWE, utc(2026, 4, 4, 15)),
    (LORD_HOWE, utc(2026, 10, 3, 15, 30)),
    (SANTIAGO, utc(2026, 4, 5, 3)),
    (SANTIAGO, utc(2026, 9, 6, 4)),
    (ZoneInfo("UTC"), utc(2026, 1, 1)),
]


@settings(deadline=None)
@given(
    times=st.tuples(
        st.one_of(st.just("0"), field(0, 59)), field(0, 59), st.one_of(field(0, 3), field(0, 23))
    ),
    night=st.sampled_from(NIGHTS),
    start=st.integers(-7_200, 5_400),
)
@example(times=("0", "30", "23"), night=NIGHTS[6], start=-100)
def test_around_a_change_of_the_clock_the_next_time_is_what_a_search_finds(
    times: tuple[str, str, str], night: tuple[ZoneInfo, datetime], start: int
) -> None:
    zone, change = night
    schedule = Schedule.parse(f"{' '.join(times)} * * *")
    calendar = schedule.rule
    assert isinstance(calendar, Calendar)
    at = change + timedelta(seconds=start)
    found = schedule.next_after(at, zone)
    assert found is not None and found > at
    moment = at + SECOND
    last = min(found, at + timedelta(hours=2))
    while moment < last:
        assert not fires(calendar, moment, zone)
        moment += SECOND
    assert fires(calendar, found, zone)


@settings(deadline=None)
@given(
    days=field(1, 31),
    months=field(1, 12),
    weekdays=field(0, 6),
    day=st.integers(0, 36_500),
    zone=st.sampled_from([BERLIN, NEW_YORK, ZoneInfo("UTC")]),
)
def test_the_next_day_is_what_a_search_finds(
    days: str, months: str, weekdays: str, day: int, zone: ZoneInfo
) -> None:
    try:
        schedule = Schedule.parse(f"0 0 12 {days} {months} {weekdays}")
    except InvalidRequest:
        reject()  # no such date
    calendar = schedule.rule
    assert isinstance(calendar, Calendar)
    start = utc(1990, 1, 1, 7, 30) + timedelta(days=day)
    found = schedule.next_after(start, zone)
    assert found is not None
    noon = start.astimezone(zone).replace(tzinfo=None, hour=12, minute=0)
    while not (fits(calendar, noon) and noon.replace(tzinfo=zone).astimezone(UTC) > start):
        noon += timedelta(days=1)
    assert found == noon.replace(tzinfo=zone)
