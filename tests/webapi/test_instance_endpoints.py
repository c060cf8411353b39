"""Raising events for an instance, terminating and purging it over HTTP."""

from __future__ import annotations

from typing import Any

import pytest

from soloist.core.events import EventRaised, ExecutionTerminated
from soloist.core.status import RuntimeStatus

ENDED = [
    RuntimeStatus.COMPLETED,
    RuntimeStatus.FAILED,
    RuntimeStatus.TERMINATED,
    RuntimeStatus.CANCELED,
]
JSON = {"content-type": "application/json; charset=utf-8"}


def inbox(hub: Any, instance_id: str) -> list[Any]:
    record = hub.run(hub.client.status(instance_id))
    return [each.event for each in hub.run(hub.store.inbox(record.generation, 0))]


@pytest.mark.parametrize(
    ("options", "stored"),
    [
        ({"content": '{"a" : 1}', "headers": JSON}, '{"a" : 1}'),
        ({"headers": JSON}, "null"),
        ({}, "null"),
        ({"content": "1", "headers": {"Content-Type": "Application/JSON"}}, "1"),
    ],
)
def test_an_event_is_kept_with_the_raw_text(hub: Any, options: Any, stored: str) -> None:
    hub.start("one")
    answer = hub.send("POST", "instances/one/raiseevent/Go%20on", **options)
    assert (answer.status_code, answer.content) == (202, b"")
    assert inbox(hub, "one") == [EventRaised(hub.clock.now(), "Go on", stored)]


@pytest.mark.parametrize("headers", [{"content-type": "text/plain"}, {}])
def test_an_event_of_another_media_type_is_refused(hub: Any, headers: Any) -> None:
    hub.start("one")
    answer = hub.send("POST", "instances/one/raiseEvent/Go", content="1", headers=headers)
    assert answer.status_code == 400
    assert answer.json()["Message"] == "Only application/json request content is supported"
    assert inbox(hub, "one") == []


def test_an_event_that_is_not_json_is_refused(hub: Any) -> None:
    hub.start("one")
    answer = hub.send("POST", "instances/one/raiseEvent/Go", content="{", headers=JSON)
    assert answer.status_code == 400
    assert answer.json()["Message"].startswith("Invalid JSON content")


def test_an_event_name_has_a_bound(hub: Any) -> None:
    hub.start("one")
    assert hub.send("POST", f"instances/one/raiseEvent/{'x' * 201}").status_code == 400


@pytest.mark.parametrize("operation", ["raiseEvent/Go", "terminate"])
def test_nobody_unknown_can_be_reached(hub: Any, operation: str) -> None:
    answer = hub.send("POST", f"instances/nobody/{operation}", content="{")
    assert (answer.status_code, answer.content) == (404, b"")


@pytest.mark.parametrize("status", ENDED)
@pytest.mark.parametrize("operation", ["raiseEvent/Go", "terminate"])
def test_who_has_ended_is_gone(hub: Any, status: RuntimeStatus, operation: str) -> None:
    hub.start("one")
    hub.commit("one", status)
    answer = hub.send("POST", f"instances/one/{operation}", content="{")
    assert (answer.status_code, answer.content) == (410, b"")


@pytest.mark.parametrize(
    ("query", "reason"),
    [("?reason=no+more%2C+%C3%A9", "no more, é"), ("", None), ("?Reason=", "")],
)
def test_a_termination_carries_its_reason(hub: Any, query: str, reason: str | None) -> None:
    hub.start("one")
    answer = hub.send("POST", f"instances/one/Terminate{query}", content="ignored")
    assert (answer.status_code, answer.content) == (202, b"")
    assert inbox(hub, "one") == [ExecutionTerminated(hub.clock.now(), reason)]


@pytest.mark.parametrize("status", ENDED)
def test_an_ended_instance_is_purged_once(hub: Any, status: RuntimeStatus) -> None:
    hub.start("one")
    hub.commit("one", status)
    answer = hub.send("DELETE", "instances/one/")
    assert (answer.status_code, answer.text) == (200, '{"instancesDeleted":1}')
    again = hub.send("DELETE", "instances/one")
    assert (again.status_code, again.content) == (404, b"")


def test_a_live_instance_is_not_purged(hub: Any) -> None:
    hub.start("one")
    answer = hub.send("DELETE", "instances/one")
    assert answer.status_code == 412
    assert answer.json() == (
        "Only orchestrations in a terminal state can be purged, but the orchestration with"
        " instance ID one has status Pending"
    )
    assert hub.send("GET", "instances/one").status_code == 202
