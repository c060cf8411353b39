"""Reports: an instance and its history as the Durable Functions HTTP API reference shows them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import assert_never

from soloist.core.events import (
    EventRaised,
    ExecutionCompleted,
    ExecutionStarted,
    ExecutionTerminated,
    HistoryEvent,
    TaskCompleted,
    TaskFailed,
    TaskScheduled,
    TimerCreated,
    TimerFired,
)
from soloist.core.failures import FailureDetails
from soloist.core.instances import InstanceRecord
from soloist.core.status import RuntimeStatus
from soloist.webapi.json_text import stored_json, write_json

_Entry = dict[str, object]
_Shown = (
    ExecutionStarted
    | ExecutionCompleted
    | ExecutionTerminated
    | TaskScheduled
    | TaskCompleted
    | TaskFailed
    | TimerCreated
    | TimerFired
    | EventRaised
)


def whole_seconds(instant: datetime) -> str:
    """Return an instant as ``YYYY-MM-DDTHH:MM:SSZ``."""
    return f"{instant.astimezone(UTC).replace(tzinfo=None).isoformat(timespec='seconds')}Z"


def exact(instant: datetime) -> str:
    """Return an instant with as many digits of a second as it has."""
    text = instant.astimezone(UTC).replace(tzinfo=None).isoformat()
    return f"{text.rstrip('0') if '.' in text else text}Z"


def status_report(
    record: InstanceRecord, *, show_input: bool, history: list[_Entry] | None = None
) -> _Entry:
    """Return the status of an instance, its keys in the order of the original."""
    report: _Entry = {
        "name": record.name,
        "instanceId": record.instance_id,
        "runtimeStatus": record.status.value,
        "input": stored_json(record.input) if show_input else None,
        "customStatus": stored_json(record.custom_status),
        "output": output_of(record),
        "createdTime": whole_seconds(record.created_at),
        "lastUpdatedTime": whole_seconds(record.updated_at),
    }
    if history is not None:
        report["historyEvents"] = history
    return report


def output_of(record: InstanceRecord) -> object:
    """Return what an instance came to: its value, how it failed, or why it was terminated."""
    if not record.status.is_terminal:
        return None
    if record.status is RuntimeStatus.COMPLETED:
        return stored_json(record.output)
    if record.failure is not None:
        return orchestrator_failure(record.name, record.failure)
    return record.output  # a termination's reason is plain text, even when it looks like JSON


def orchestrator_failure(name: str, failure: FailureDetails) -> str:
    """Return the sentence that Durable Functions gives for a failed orchestrator."""
    return f"Orchestrator function '{name}' failed: {failure.message}"


def history_report(
    history: Iterable[HistoryEvent], *, show_input: bool, show_output: bool
) -> list[_Entry]:
    """Return a history in the form of ``historyEvents``.

    A task's scheduling and its end are one entry, in the place of the end.
    """
    report = _HistoryReport(show_input=show_input, show_output=show_output)
    for event in history:
        report.add(event)
    return list(report.entries.values())


class _HistoryReport:
    """The entries so far, by their place in the history."""

    def __init__(self, *, show_input: bool, show_output: bool) -> None:
        self.entries: dict[int, _Entry] = {}
        self._shows_input = show_input
        self._shows_output = show_output
        self._place = 0
        self._name = ""
        self._open: dict[int, tuple[int, TaskScheduled]] = {}

    def add(self, event: HistoryEvent) -> None:
        self._place += 1
        if not isinstance(event, _Shown):
            return  # Durable Functions does not show the one and does not have the other
        entry: _Entry = {"EventType": type(event).__name__, "Timestamp": exact(event.at)}
        self._write(entry, event)
        self.entries[self._place] = entry

    def _write(self, entry: _Entry, event: _Shown) -> None:
        match event:
            case ExecutionStarted():
                self._started(entry, event)
            case ExecutionCompleted():
                self._completed(entry, event)
            case ExecutionTerminated(reason=reason):
                self._write_input(entry, reason)
            case TaskScheduled():
                self._task_scheduled(entry, event)
            case TaskCompleted():
                self._task_completed(entry, event)
            case TaskFailed():
                self._task_failed(entry, event)
            case TimerCreated(fire_at=fire_at) | TimerFired(fire_at=fire_at):
                entry["FireAt"] = exact(fire_at)
            case EventRaised():
                entry["Name"] = event.name
                self._write_input(entry, event.input)
            case _:
                assert_never(event)

    def _write_input(self, entry: _Entry, text: str | None) -> None:
        if self._shows_input:
            entry["Input"] = text

    def _started(self, entry: _Entry, event: ExecutionStarted) -> None:
        self._name = event.name
        entry["FunctionName"] = event.name
        self._write_input(entry, event.input)

    def _completed(self, entry: _Entry, event: ExecutionCompleted) -> None:
        entry["OrchestrationStatus"] = event.status.value
        if self._shows_output:
            entry["Result"] = (
                stored_json(event.result)
                if event.failure is None
                else orchestrator_failure(self._name, event.failure)
            )

    def _task_scheduled(self, entry: _Entry, event: TaskScheduled) -> None:
        entry["Name"] = event.name
        self._write_input(entry, event.input)
        self._open[event.task_id] = (self._place, event)

    def _task_completed(self, entry: _Entry, event: TaskCompleted) -> None:
        self._merge(entry, event.task_id)
        if self._shows_output:
            entry["Result"] = stored_json(event.result)

    def _task_failed(self, entry: _Entry, event: TaskFailed) -> None:
        scheduled = self._merge(entry, event.task_id)
        name = "" if scheduled is None else scheduled.name
        entry["Reason"] = f"Activity function '{name}' failed: {_outcry(event.failure)}"
        entry["Details"] = _details(event.failure)

    def _merge(self, entry: _Entry, task_id: int) -> TaskScheduled | None:
        place, scheduled = self._open.pop(task_id, (0, None))
        if scheduled is not None:
            del self.entries[place]
            entry["ScheduledTime"] = exact(scheduled.at)
            entry["FunctionName"] = scheduled.name
            self._write_input(entry, scheduled.input)
        return scheduled


def _outcry(failure: FailureDetails) -> str:
    # The Functions worker words an exception with a space before its type; programs cut there.
    return f" {failure.error_type}: {failure.message}" if failure.error_type else failure.message


def _details(failure: FailureDetails) -> str:
    """Return the failure as the .NET exception on one line that programs parse."""
    return write_json(
        {
            "ClassName": "System.Exception",
            "Message": _outcry(failure),
            "InnerException": None,
            "StackTraceString": failure.stack_trace,
        }
    ).decode()
