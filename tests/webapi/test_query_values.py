"""How values of a query are read."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from soloist.core.status import RuntimeStatus
from soloist.errors import InvalidRequest
from soloist.webapi.query import Query, parse_instant

MIN = datetime.min.replace(tzinfo=UTC)
MAX = datetime.max.replace(tzinfo=UTC)
DAY = datetime(2024, 2, 3, tzinfo=UTC)
NOON = datetime(2024, 2, 3, 12, 30, 15, tzinfo=UTC)


def refused(name: str, value: str, read: Callable[[str], object]) -> None:
    """Expect a refusal that tells the name and the value."""
    with pytest.raises(InvalidRequest) as caught:
        read(name)
    assert str(caught.value).startswith(f"'{name}' must be ")
    assert str(caught.value).endswith(f"; it is {value[:100]!r}.")


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2024-02-03", DAY),
        ("2024-2-3", DAY),
        ("2024-02-03T12:30:15Z", NOON),
        ("2024-02-03T12:30:15", NOON),
        ("2024-02-03 12:30:15z", NOON),
        ("2024-02-03T14:30:15+02:00", NOON),
        ("2024-02-03T14:30:15 02:00", NOON),
        ("2024-02-03T07:00:15-0530", NOON),
        ("2024-02-03T12:30:15.1234567Z", NOON.replace(microsecond=123456)),
        ("2024-02-03T12:30:15.5Z", NOON.replace(microsecond=500_000)),
        ("2024-02-03T12:30Z", NOON.replace(second=0)),
        ("1-01-01T00:00:00.000000Z", MIN),
        ("0001-01-01T00:00:00+14:00", MIN),
        ("9999-12-31T23:59:59.999999-01:00", MAX),
        ("02/03/2024", DAY),
        ("02/03/2024 12:30:15", NOON),
        ("Sat, 03 Feb 2024 12:30:15 GMT", NOON),
        ("2024-13-01", None),
        ("2024-02-30", None),
        ("0-01-01", None),
        ("2024-02-03T25:00:00Z", None),
        ("2024-02-03T12:30:15+25:00", None),
        ("٢٠٢٤-02-03", None),
        ("yesterday", None),
        ("12345-01-01", None),
        ("99999999999", None),
    ],
)
def test_points_in_time(text: str, instant: datetime | None) -> None:
    assert parse_instant(text) == instant
    query = Query([("at", f" {text} ")])
    if instant is None:
        refused("at", text, query.instant)
    else:
        assert query.instant("AT") == instant


@pytest.mark.parametrize(
    ("text", "expected"), [("true", True), ("True", True), ("FALSE", False), (" true ", True)]
)
def test_truths(text: str, expected: bool) -> None:
    assert Query([("x", text)]).truth("X", default=not expected) is expected


@pytest.mark.parametrize("text", ["1", "yes", "truely"])
def test_what_is_no_truth_is_refused(text: str) -> None:
    query = Query([("x", text)])
    refused("x", text, lambda name: query.truth(name, default=True))


@pytest.mark.parametrize(("text", "expected"), [("5", 5), (" -5 ", -5), ("+7", 7)])
def test_integers(text: str, expected: int) -> None:
    assert Query([("x", text)]).integer("x", default=100) == expected


@pytest.mark.parametrize("text", ["1_0", "1.5", "9" * 5000, "٣", "many"])
def test_what_is_no_integer_is_refused(text: str) -> None:
    query = Query([("x", text)])
    refused("x", text, lambda name: query.integer(name, default=100))


@pytest.mark.parametrize(
    ("text", "expected"),
    [("5", 5.0), ("0.25", 0.25), (".5", 0.5), ("1e2", 100.0), ("-1", -1.0),
     ("1e9999", float("inf"))],
)  # fmt: skip
def test_seconds(text: str, expected: float | None) -> None:
    assert Query([("x", text)]).seconds("x") == expected


@pytest.mark.parametrize("text", ["inf", "NaN", "1_0", "soon"])
def test_what_is_no_number_of_seconds_is_refused(text: str) -> None:
    refused("x", text, Query([("x", text)]).seconds)


@pytest.mark.parametrize("text", ["", " "])
def test_an_empty_value_is_an_absent_one(text: str) -> None:
    query = Query([("x", text)])
    assert query.truth("x", default=True)
    assert query.integer("x", default=100) == 100
    assert query.seconds("x") is None
    assert query.instant("x") is None
    assert query.statuses("x") == frozenset()


def test_statuses_are_listed_by_commas_and_by_repetition() -> None:
    query = Query([("runtimeStatus", "running, FAILED,"), ("RuntimeStatus", "Pending")])
    expected = {RuntimeStatus.RUNNING, RuntimeStatus.FAILED, RuntimeStatus.PENDING}
    assert query.statuses("runtimestatus") == expected
    assert Query().statuses("runtimeStatus") == frozenset()


def test_a_status_that_is_none_is_refused() -> None:
    refused("x", "Nonsense", Query([("x", "running,Nonsense")]).statuses)
