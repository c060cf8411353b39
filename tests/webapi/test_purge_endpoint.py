"""Purging many instances over HTTP, and the filter by function name."""

from __future__ import annotations

import pytest

from tests.webapi.live import LiveHub

LONG_AGO = "createdTimeFrom=1-01-01T00:00:00.000000Z"


@pytest.fixture
def full(live: LiveHub) -> LiveHub:
    """A hub with two that have ended, one that has failed, one that runs and an entity."""
    for function, instance_id in (("Echo", "a"), ("Echo", "b"), ("Fragile", "c"), ("Wait", "d")):
        live.send("POST", f"orchestrators/{function}/{instance_id}", json=1)
        live.pass_time(60)
    live.send("POST", "entities/counter/x?op=add", json=1)
    return live


def left(live: LiveHub) -> str:
    return "".join(each["instanceId"] for each in live.send("GET", "instances").json())


def test_all_that_has_ended_goes_and_all_that_lives_stays(full: LiveHub) -> None:
    answer = full.send("DELETE", f"instances?{LONG_AGO}")
    assert (answer.status_code, answer.json()) == (200, {"instancesDeleted": 3})
    assert left(full) == "d"
    assert full.send("GET", "entities/counter/x").json() == 1
    again = full.send("DELETE", f"instances?{LONG_AGO}")
    assert (again.status_code, again.content) == (404, b"")


@pytest.mark.parametrize(
    ("query", "remaining"),
    [
        ("createdTimeTo=2026-01-01T00:01:00Z", "cd"),
        ("runtimeStatus=Failed", "abd"),
        ("runtimeStatus=Failed,Running&runtimeStatus=completed", "d"),
        ("name=echo", "cd"),
        ("name=Echo,FRAGILE&name=x", "d"),
        ("instanceIdPrefix=b", "acd"),
    ],
)
def test_a_filter_restricts_what_goes(full: LiveHub, query: str, remaining: str) -> None:
    assert full.send("DELETE", f"instances?{LONG_AGO}&{query}").status_code == 200
    assert left(full) == remaining


@pytest.mark.parametrize("status", ["Running", "Pending,Suspended"])
def test_statuses_that_are_not_final_never_mean_everything(full: LiveHub, status: str) -> None:
    answer = full.send("DELETE", f"instances?{LONG_AGO}&runtimeStatus={status}")
    assert (answer.status_code, answer.content) == (404, b"")
    assert left(full) == "abcd"


@pytest.mark.parametrize(
    "query", ["", "?createdTimeFrom=", "?createdTimeFrom=&createdTimeTo=2030-01-01"]
)
def test_without_a_beginning_nothing_goes(full: LiveHub, query: str) -> None:
    answer = full.send("DELETE", f"instances{query}")
    assert answer.status_code == 400
    assert answer.json() == "Please provide value for 'createdTimeFrom' parameter."
    assert left(full) == "abcd"


@pytest.mark.parametrize(
    "query",
    [
        "createdTimeFrom=yesterday",
        f"{LONG_AGO}&createdTimeTo=tomorrow",
        f"{LONG_AGO}&runtimeStatus=Complete",
        f"{LONG_AGO}&runtimeStatus=Failed,Complete",
        f"{LONG_AGO}&instanceIdPrefix=@counter",
        f"{LONG_AGO}&instanceIdPrefix=%FF",
    ],
)
def test_a_filter_that_cannot_be_applied_removes_nothing(full: LiveHub, query: str) -> None:
    answer = full.send("DELETE", f"instances?{query}")
    assert answer.status_code == 400
    assert answer.json()["ExceptionMessage"]
    assert left(full) == "abcd"


def test_more_than_a_page_goes(live: LiveHub) -> None:
    for number in range(300):
        live.run(live.client.start("Echo", f"i{number}"))
    live.pass_time(1)
    answer = live.send("DELETE", f"instances?{LONG_AGO}")
    assert answer.json() == {"instancesDeleted": 300}
    assert left(live) == ""


def test_a_listing_is_restricted_by_function_names(full: LiveHub) -> None:
    for query, found in (("echo", "ab"), ("Echo,wait", "abd"), ("Echo&Name=Fragile", "abc"),
                         (",", "abcd"), ("nobody", "")):  # fmt: skip
        answer = full.send("GET", f"instances?name={query}")
        assert "".join(each["instanceId"] for each in answer.json()) == found


def test_names_have_a_bound(live: LiveHub) -> None:
    names = ",".join(f"n{number}" for number in range(101))
    assert live.send("GET", f"instances?name={names}").status_code == 400
    assert live.send("POST", "makeprimary").status_code == 200
