"""Listing instances over HTTP."""

from __future__ import annotations

from typing import Any

import pytest

from soloist.core.status import RuntimeStatus

TOKEN = "x-ms-continuation-token"


def ids(answer: Any) -> list[str]:
    return [each["instanceId"] for each in answer.json()]


def test_an_empty_hub_is_an_empty_list_with_an_empty_token(hub: Any) -> None:
    for path in ("instances", "instances/", "INSTANCES"):
        answer = hub.send("GET", path)
        assert (answer.status_code, answer.text, answer.headers[TOKEN]) == (200, "[]", "")


def test_pages_follow_each_other_to_the_end(hub: Any) -> None:
    for number in range(5):
        hub.start(f"i{number}")
    seen: list[str] = []
    token = ""
    for _ in range(3):
        answer = hub.send("GET", "instances?top=2", headers={TOKEN: token})
        seen += ids(answer)
        token = answer.headers[TOKEN]
    assert seen == ["i0", "i1", "i2", "i3", "i4"]
    assert token == ""


@pytest.mark.parametrize("token", ["nonsense", "g1:1", "é", "ZzE6LTE=", "x" * 1000])
def test_a_malformed_token_is_refused(hub: Any, token: str) -> None:
    answer = hub.send("GET", "instances", headers={TOKEN.encode(): token.encode()})
    assert answer.status_code == 400
    assert "ExceptionMessage" in answer.json()


def test_filters_narrow_the_list(hub: Any) -> None:
    for name in ("a1", "a2", "b1"):
        hub.start(name)
        hub.clock.advance(60)
    hub.commit("a2", RuntimeStatus.COMPLETED)
    assert ids(hub.send("GET", "instances?instanceIdPrefix=a")) == ["a1", "a2"]
    assert ids(hub.send("GET", "instances?runtimeStatus=completed,Canceled")) == ["a2"]
    assert ids(hub.send("GET", "instances?runtimeStatus=Completed&runtimeStatus=Pending")) == [
        "a1", "a2", "b1",
    ]  # fmt: skip
    assert ids(hub.send("GET", "instances?runtimeStatus=Canceled")) == []
    since = "createdTimeFrom=2026-01-01T00:01:00.0000000Z"
    assert ids(hub.send("GET", f"instances?{since}")) == ["a2", "b1"]
    until = "createdTimeTo=2026-01-01T01:01:00+01:00"
    assert ids(hub.send("GET", f"instances?{until}")) == ["a1", "a2"]


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("top=many", "'top' must be a whole number; it is 'many'."),
        ("top=-1", "'top' must be between 1 and 1000; it is '-1'."),
        ("top=5.5", "'top' must be a whole number; it is '5.5'."),
        ("createdTimeFrom=someday", "'createdTimeFrom' must be a point in time such as"),
        ("createdTimeTo=2026-02-30", "it is '2026-02-30'."),
        ("showInput=maybe", "'showInput' must be true or false; it is 'maybe'."),
        (
            "runtimeStatus=Completed,Foo",
            "'runtimeStatus' must be some of Pending, Running, Suspended, ContinuedAsNew,"
            " Completed, Failed, Terminated, Canceled; it is 'Foo'.",
        ),
        ("instanceIdPrefix=%FF", "The query is not valid UTF-8."),
    ],
)
def test_a_filter_that_cannot_be_read_is_refused_by_name(hub: Any, query: str, text: str) -> None:
    answer = hub.send("GET", f"instances?{query}")
    assert answer.status_code == 400
    assert text in answer.json()["Message"]
    assert answer.json()["ExceptionMessage"] == answer.json()["Message"]


@pytest.mark.parametrize(
    "path",
    [
        "instances/nobody?showHistory=x",
        "instances/nobody?showHistoryOutput=1",
        "instances/nobody?returnInternalServerErrorOnFailure=yes",
        "entities?fetchState=all",
        "entities?lastOperationTimeFrom=then",
        "entities/counter?lastOperationTimeTo=then",
    ],
)
def test_so_is_every_other_value_of_a_query(hub: Any, path: str) -> None:
    answer = hub.send("GET", path)
    assert answer.status_code == 400
    name, _, value = path.partition("?")[2].partition("=")
    assert answer.json()["Message"].startswith(f"'{name}' must be ")
    assert answer.json()["Message"].endswith(f"; it is '{value}'.")


def test_empty_values_count_as_absent(hub: Any) -> None:
    hub.start("one", text="5")
    names = ("top", "showInput", "runtimeStatus", "createdTimeFrom", "createdTimeTo", "name")
    answer = hub.send("GET", "instances?" + "&".join(f"{name}=" for name in names))
    assert [each["input"] for each in answer.json()] == [5]


@pytest.mark.parametrize(
    "stamp",
    [
        "2026-01-01T00:00:30.000000Z",  # the Python client
        "2026-01-01T00:00:30.0000000Z",  # .NET's round-trip format
        "2026-01-01T00:00:30.000Z",  # JavaScript's toISOString
        "2026-01-01T00:00:30+00:00",  # Python's isoformat, its "+" unescaped
        "2026-01-01T00:00:30%2B00:00",
        "2026-01-01T00:00:30",
        "2026-01-01%2000:00:30",
    ],
)
def test_points_in_time_are_taken_as_clients_write_them(hub: Any, stamp: str) -> None:
    hub.start("one")
    hub.clock.advance(60)
    hub.start("two")
    assert ids(hub.send("GET", f"instances?createdTimeFrom={stamp}")) == ["two"]
    assert ids(hub.send("GET", f"instances?createdTimeTo={stamp}")) == ["one"]


def test_the_beginning_of_time_as_python_writes_it_excludes_nothing(hub: Any) -> None:
    hub.start("one")
    answer = hub.send("GET", "instances?createdTimeFrom=1-01-01T00:00:00.000000Z")
    assert ids(answer) == ["one"]


def test_the_input_is_shown_unless_that_is_declined(hub: Any) -> None:
    hub.start("one", text="5")
    assert hub.send("GET", "instances").json()[0]["input"] == 5
    assert hub.send("GET", "instances?showInput=false").json()[0]["input"] is None
    assert "historyEvents" not in hub.send("GET", "instances?showHistory=true").json()[0]


def test_page_sizes_have_bounds(hub: Any) -> None:
    for number in range(101):
        hub.start(f"i{number}")
    assert len(hub.send("GET", "instances").json()) == 100
    for many in (1_000_000, 99_999_999_999):
        assert len(hub.send("GET", f"instances?top={many}").json()) == 101
    for top in ("0", "-1"):
        answer = hub.send("GET", f"instances?top={top}")
        assert answer.status_code == 400
        assert "between 1 and 1000" in answer.json()["Message"]
