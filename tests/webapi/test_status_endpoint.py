"""Asking for one instance over HTTP."""

from __future__ import annotations

import json
from typing import Any

import pytest

from soloist.core.failures import FailureDetails
from soloist.core.status import RuntimeStatus


def test_an_unknown_instance_is_an_empty_404(hub: Any) -> None:
    answer = hub.send("GET", "instances/nobody")
    assert (answer.status_code, answer.content) == (404, b"")


def test_a_live_instance_is_202_and_tells_to_ask_again(hub: Any) -> None:
    hub.start("one", text='{"n" : 1}')
    for status in (None, RuntimeStatus.RUNNING, RuntimeStatus.SUSPENDED):
        if status is not None:
            hub.commit("one", status)
        answer = hub.send("GET", "instances/one?CODE=k&showInput=TRUE")
        assert answer.status_code == 202
        assert answer.headers["retry-after"] == "5"
        assert answer.headers["location"] == str(answer.request.url)


def test_the_status_has_its_keys_in_order_and_writes_nulls(hub: Any) -> None:
    hub.start("one", text='{"n" : 1}')
    assert hub.send("GET", "instances/one").text == (
        '{"name":"Job","instanceId":"one","runtimeStatus":"Pending","input":{"n":1},'
        '"customStatus":null,"output":null,"createdTime":"2026-01-01T00:00:00Z",'
        '"lastUpdatedTime":"2026-01-01T00:00:00Z"}'
    )


def test_times_have_whole_seconds(hub: Any) -> None:
    hub.clock.advance(0.75)
    hub.start("one")
    assert hub.send("GET", "instances/one").json()["createdTime"] == "2026-01-01T00:00:00Z"


@pytest.mark.parametrize(
    ("stored", "shown"),
    [
        (None, None),
        ("null", None),
        ('"text"', "text"),
        ('"{\\"a\\": 1}"', '{"a": 1}'),
        ("plain", "plain"),
        ("NaN", "NaN"),
        ("", ""),
        ("[1, 2", "[1, 2"),
        ("[" * 5000, "[" * 5000),
        ("[" * 5000 + "]" * 5000, "[" * 5000 + "]" * 5000),
        ("é", "é"),
        ("half \udc80", "half ?"),
    ],
)
def test_stored_text_is_shown_as_json_or_as_it_is(hub: Any, stored: Any, shown: Any) -> None:
    hub.start("one")
    hub.commit("one", RuntimeStatus.COMPLETED, output=stored, custom_status=stored)
    answer = hub.send("GET", "instances/one")
    assert answer.status_code == 200
    assert answer.json()["output"] == shown
    assert answer.json()["customStatus"] == shown


def test_numbers_keep_their_digits(hub: Any) -> None:
    hub.start("one", text="[1.00, 12345678901234567890.5e-3, -0]")
    assert '"input":[1.00,12345678901234567890.5e-3,-0]' in hub.send("GET", "instances/one").text


def test_the_input_is_shown_unless_that_is_declined(hub: Any) -> None:
    hub.start("one", text="5")
    assert hub.send("GET", "instances/one?showInput=").json()["input"] == 5
    assert hub.send("GET", "instances/one?showinput=False").json()["input"] is None


def test_a_failure_is_200_or_500_as_the_caller_wishes(hub: Any) -> None:
    hub.start("one")
    hub.commit("one", RuntimeStatus.FAILED, failure=FailureDetails("it broke", "ValueError"))
    answer = hub.send("GET", "instances/one")
    assert answer.status_code == 200
    assert answer.json()["output"] == "Orchestrator function 'Job' failed: it broke"
    strict = hub.send("GET", "instances/one?returnInternalServerErrorOnFailure=true")
    assert strict.status_code == 500
    assert strict.json() == answer.json()


@pytest.mark.parametrize("reason", [None, "enough", "123", '{"not": "json"}', ""])
def test_a_termination_shows_its_reason_as_plain_text(hub: Any, reason: str | None) -> None:
    hub.start("one")
    hub.commit("one", RuntimeStatus.TERMINATED, output=reason)
    answer = hub.send("GET", "instances/one?returnInternalServerErrorOnFailure=true")
    assert answer.status_code == 200
    assert answer.json()["output"] == reason


def test_the_history_is_shown_only_on_request(hub: Any) -> None:
    hub.start("one")
    assert "historyEvents" not in hub.send("GET", "instances/one").json()
    assert hub.send("GET", "instances/one?showHistory=true").json()["historyEvents"] == []
    hub.commit("one", RuntimeStatus.COMPLETED, output="1")
    events = hub.send("GET", "instances/one?showHistory=True").json()["historyEvents"]
    assert [each["EventType"] for each in events] == ["ExecutionStarted", "ExecutionCompleted"]


def test_every_status_is_compact_json(hub: Any) -> None:
    hub.start("one", text='{"a": [1, {"b": "x y"}]}')
    text = hub.send("GET", "instances/one?showHistory=true").text
    assert text == json.dumps(json.loads(text), separators=(",", ":"))


def test_there_is_no_output_before_the_end(hub: Any) -> None:
    hub.start("one")
    hub.commit("one", RuntimeStatus.RUNNING, output="1", failure=FailureDetails("not yet"))
    assert hub.send("GET", "instances/one").json()["output"] is None


@pytest.mark.parametrize("instance_id", ["@@timer@f", "@e", "a%00b", "a%2Fb", "x" * 257])
def test_an_id_that_no_instance_can_have_is_not_looked_up(hub: Any, instance_id: str) -> None:
    async def read(_instance_id: str) -> Any:
        raise AssertionError("the store was asked")

    hub.store.read = hub.store.purge = read
    for method in ("GET", "DELETE"):
        answer = hub.send(method, f"instances/{instance_id}")
        assert (answer.status_code, answer.content) == (404, b"")
