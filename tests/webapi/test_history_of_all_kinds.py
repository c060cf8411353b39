"""How sub-orchestrations, entities and what people do show in a history."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from soloist.core.events import (
    EntityOperationCalled,
    EntityOperationFailed,
    ExecutionResumed,
    ExecutionRewound,
    ExecutionSuspended,
    SubOrchestrationInstanceCreated,
    SubOrchestrationInstanceFailed,
)
from soloist.core.failures import FailureDetails
from soloist.webapi.history_reports import history_report
from tests.webapi.live import LiveHub

AT = datetime(2026, 1, 1, tzinfo=UTC)

SHOWN = "showHistory=true&showHistoryOutput=true"


def history(live: LiveHub, instance_id: str, query: str = SHOWN) -> list[dict[str, Any]]:
    status = live.send("GET", f"instances/{instance_id}?{query}").json()
    events: list[dict[str, Any]] = status["historyEvents"]
    return events


def of_type(events: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    return [each for each in events if each["EventType"] == name]


def child_of(live: LiveHub, instance_id: str) -> str:
    return f"child of {live.status(instance_id).execution_id}"


def test_an_open_sub_orchestration_shows_how_it_began(live: LiveHub) -> None:
    live.send("POST", "orchestrators/Parent/one")
    (created,) = of_type(history(live, "one"), "SubOrchestrationInstanceCreated")
    del created["Timestamp"]
    assert created == {
        "EventType": "SubOrchestrationInstanceCreated",
        "Name": "Wait",
        "InstanceId": child_of(live, "one"),
        "Input": '"for it"',
    }


def test_a_finished_sub_orchestration_is_one_entry(live: LiveHub) -> None:
    live.send("POST", "orchestrators/Parent/one")
    child = child_of(live, "one")
    live.send("POST", f"instances/{child}/raiseEvent/Go", json={"a": 1})
    events = history(live, "one")
    assert of_type(events, "SubOrchestrationInstanceCreated") == []
    (completed,) = of_type(events, "SubOrchestrationInstanceCompleted")
    assert (completed["FunctionName"], completed["InstanceId"]) == ("Wait", child)
    assert (completed["Result"], completed["Input"]) == ({"a": 1}, '"for it"')
    assert completed["ScheduledTime"] == "2026-01-01T00:00:00Z"
    (brief,) = of_type(
        history(live, "one", "showHistory=true"), "SubOrchestrationInstanceCompleted"
    )
    assert "Result" not in brief


def test_a_terminated_sub_orchestration_gives_its_reason(live: LiveHub) -> None:
    live.send("POST", "orchestrators/Parent/one")
    live.send("POST", f"instances/{child_of(live, 'one')}/terminate?reason=enough")
    (failed,) = of_type(history(live, "one"), "SubOrchestrationInstanceFailed")
    assert failed["Reason"] == "enough"
    assert failed["Details"] == "Message: enough, StackTrace: "


def test_entities_show_as_the_events_that_they_are_on_azure(live: LiveHub) -> None:
    live.send("POST", "orchestrators/Parent/one")
    called, signalled, delayed = of_type(history(live, "one"), "EventSent")
    assert (called["InstanceId"], called["Name"]) == ("@counter@called", "op")
    assert json.loads(called["Input"]) == {"op": "add", "signal": False, "input": "5", "id": "1"}
    assert json.loads(signalled["Input"])["signal"] is True
    assert delayed["Name"] == "op@2027-01-01T00:00:00Z"
    (answer,) = of_type(history(live, "one"), "EventRaised")
    assert answer["Name"] == json.loads(called["Input"])["id"]
    assert json.loads(answer["Input"]) == {"result": "5"}
    hidden = history(live, "one", "showHistory=true&showInput=false")
    assert not any("Input" in each for each in hidden)


def test_a_failed_child_is_worded_as_the_failed_orchestrator_that_it_is() -> None:
    events = (
        SubOrchestrationInstanceCreated(AT, 0, "child", "Child"),
        SubOrchestrationInstanceFailed(AT, 0, FailureDetails("bad", "ValueError", "the stack")),
    )
    (failed,) = history_report(events, show_input=True, show_output=True)
    assert failed["Reason"] == "Orchestrator function 'Child' failed: bad"
    assert failed["Details"] == "Message: bad, StackTrace: the stack"
    assert failed["FunctionName"] == "Child"


def test_a_failed_operation_is_an_answer_with_a_type() -> None:
    events = (
        EntityOperationCalled(AT, 3, "@counter@a", "fail"),
        EntityOperationFailed(AT, 3, FailureDetails('no "way"', "ValueError")),
    )
    _, raised = history_report(events, show_input=True, show_output=True)
    assert raised["EventType"] == "EventRaised"
    answer = json.loads(str(raised["Input"]))
    assert answer == {"result": json.dumps('no "way"'), "exceptionType": "Error"}


def test_what_people_do_shows_its_reason() -> None:
    events = (ExecutionSuspended(AT, "a"), ExecutionResumed(AT), ExecutionRewound(AT, "c"))
    entries = history_report(events, show_input=False, show_output=False)
    assert [(each["EventType"], each["Reason"]) for each in entries] == [
        ("ExecutionSuspended", "a"),
        ("ExecutionResumed", None),
        ("ExecutionRewound", "c"),
    ]
