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
    assert ids(hub.send("GET", "instances?runtimeStatus=completed,Nonsense")) == ["a2"]
    assert ids(hub.send("GET", "instances?runtimeStatus=Completed&runtimeStatus=Pending")) == [
        "a1", "a2", "b1",
    ]  # fmt: skip
    assert ids(hub.send("GET", "instances?runtimeStatus=Nonsense")) == ["a1", "a2", "b1"]
    since = "createdTimeFrom=2026-01-01T00:01:00.0000000Z"
    assert ids(hub.send("GET", f"instances?{since}")) == ["a2", "b1"]
    until = "createdTimeTo=2026-01-01T01:01:00+01:00"
    assert ids(hub.send("GET", f"instances?{until}")) == ["a1", "a2"]
    assert ids(hub.send("GET", "instances?createdTimeFrom=someday")) == ["a1", "a2", "b1"]


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
    assert len(hub.send("GET", "instances?top=many").json()) == 100
    assert len(hub.send("GET", "instances?top=1000000").json()) == 101
    for top in ("0", "-1"):
        answer = hub.send("GET", f"instances?top={top}")
        assert answer.status_code == 400
        assert "between 1 and 1000" in answer.json()["Message"]
