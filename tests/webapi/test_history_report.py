"""Histories in the form in which Durable Functions shows them."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

from soloist.core.events import (
    EventRaised,
    ExecutionCompleted,
    ExecutionStarted,
    ExecutionTerminated,
    HistoryEvent,
    OrchestratorStarted,
    TaskCompleted,
    TaskFailed,
    TaskScheduled,
    TimerCancelled,
    TimerCreated,
    TimerFired,
)
from soloist.core.failures import FailureDetails
from soloist.core.status import RuntimeStatus
from soloist.webapi.history_reports import history_report
from soloist.webapi.json_text import write_json

AT = datetime(2026, 1, 5, 9, 30, 1, 765_400, tzinfo=UTC)
LATER = AT + timedelta(seconds=1)
STARTED = ExecutionStarted(AT, "Job", "e1", '{"a": 1}', "1.0")


def shown(
    *events: HistoryEvent, show_input: bool = True, show_output: bool = True
) -> list[dict[str, object]]:
    report = history_report(events, show_input=show_input, show_output=show_output)
    decoded: list[dict[str, object]] = json.loads(write_json(report))
    return decoded


def test_the_start_names_the_function_and_its_raw_input() -> None:
    assert shown(OrchestratorStarted(AT), STARTED) == [
        {
            "EventType": "ExecutionStarted",
            "Timestamp": "2026-01-05T09:30:01.7654Z",
            "FunctionName": "Job",
            "Input": '{"a": 1}',
        }
    ]


def test_a_completed_task_takes_in_its_scheduling() -> None:
    events = (TaskScheduled(AT, 0, "Price", '"x"'), TaskCompleted(LATER, 0, "[4, 2]"))
    assert shown(*events) == [
        {
            "EventType": "TaskCompleted",
            "Timestamp": "2026-01-05T09:30:02.7654Z",
            "ScheduledTime": "2026-01-05T09:30:01.7654Z",
            "FunctionName": "Price",
            "Input": '"x"',
            "Result": [4, 2],
        }
    ]


def test_without_output_results_are_left_out_and_without_input_inputs_are() -> None:
    events = (
        STARTED,
        TaskScheduled(AT, 0, "Price", "1"),
        TaskCompleted(LATER, 0, "2"),
        EventRaised(LATER, "Go", "3"),
        ExecutionCompleted(LATER, RuntimeStatus.COMPLETED, "4"),
    )
    assert not [each for each in shown(*events, show_output=False) if "Result" in each]
    assert not [each for each in shown(*events, show_input=False) if "Input" in each]


def test_an_unfinished_task_stays_as_it_was_scheduled() -> None:
    assert shown(TaskScheduled(AT, 0, "Price", "1")) == [
        {
            "EventType": "TaskScheduled",
            "Timestamp": "2026-01-05T09:30:01.7654Z",
            "Name": "Price",
            "Input": "1",
        }
    ]


def test_a_failed_task_is_worded_like_the_functions_host_does() -> None:
    failure = FailureDetails("bad\nworse", "ValueError", "Traceback…")
    events = (TaskScheduled(AT, 0, "A"), TaskFailed(LATER, 0, failure))
    entry = shown(*events)[0]
    assert entry["Reason"] == "Activity function 'A' failed:  ValueError: bad\nworse"
    details = str(entry["Details"])
    assert "\n" not in details
    assert json.loads(details) == {
        "ClassName": "System.Exception",
        "Message": " ValueError: bad\nworse",
        "InnerException": None,
        "StackTraceString": "Traceback…",
    }


def test_a_failure_of_the_host_itself_has_no_type() -> None:
    events = (TaskScheduled(AT, 0, "A"), TaskFailed(LATER, 0, FailureDetails("No such function.")))
    assert shown(*events)[0]["Reason"] == "Activity function 'A' failed: No such function."


def test_timers_show_when_they_fire_and_cancelling_is_hidden() -> None:
    events = (
        TimerCreated(AT, 0, LATER),
        TimerCreated(AT, 1, LATER),
        TimerCancelled(AT, 1),
        TimerFired(LATER, 0, LATER),
    )
    entries = shown(*events)
    assert [each["EventType"] for each in entries] == ["TimerCreated", "TimerCreated", "TimerFired"]
    assert {str(each["FireAt"]) for each in entries} == {"2026-01-05T09:30:02.7654Z"}
    assert all(set(each) == {"EventType", "Timestamp", "FireAt"} for each in entries)


def test_the_end_shows_status_and_result() -> None:
    assert shown(ExecutionCompleted(AT, RuntimeStatus.COMPLETED, '"done"'))[0] == {
        "EventType": "ExecutionCompleted",
        "Timestamp": "2026-01-05T09:30:01.7654Z",
        "OrchestrationStatus": "Completed",
        "Result": "done",
    }
    failed = ExecutionCompleted(AT, RuntimeStatus.FAILED, None, FailureDetails("no", "OSError"))
    assert shown(STARTED, failed)[1]["Result"] == "Orchestrator function 'Job' failed: no"


def test_events_and_terminations_stay_as_they_are() -> None:
    entries = shown(EventRaised(AT, "Go", '{"a":1}'), ExecutionTerminated(AT, "enough"))
    assert entries[0]["Name"] == "Go"
    assert entries[0]["Input"] == '{"a":1}'
    assert entries[1]["Input"] == "enough"


def test_entries_keep_the_order_of_the_history() -> None:
    events = (
        STARTED,
        TaskScheduled(AT, 0, "A"),
        TaskScheduled(AT, 1, "B"),
        TaskCompleted(AT, 1),
        EventRaised(AT, "Go"),
        TaskCompleted(AT, 0),
    )
    names = [each.get("FunctionName", each.get("Name")) for each in shown(*events)]
    assert names == ["Job", "B", "Go", "A"]
