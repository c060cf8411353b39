"""History reports: a history as the Durable Functions HTTP API reference shows it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import assert_never

from soloist.core.events import (
    EntityLockGranted,
    EntityLockRequested,
    EntityOperationCalled,
    EntityOperationCompleted,
    EntityOperationFailed,
    EntityOperationSignaled,
    EntityUnlockSent,
    EventRaised,
    EventSent,
    ExecutionCompleted,
    ExecutionResumed,
    ExecutionRewound,
    ExecutionStarted,
    ExecutionSuspended,
    ExecutionTerminated,
    HistoryEvent,
    OrchestratorStarted,
    SubOrchestrationInstanceCompleted,
    SubOrchestrationInstanceCreated,
    SubOrchestrationInstanceFailed,
    TaskCompleted,
    TaskFailed,
    TaskScheduled,
    TimerCancelled,
    TimerCreated,
    TimerFired,
)
from soloist.core.failures import FailureDetails
from soloist.webapi.json_text import stored_json, write_json
from soloist.webapi.reports import Entry, exact, orchestrator_failure

_Scheduled = TaskScheduled | SubOrchestrationInstanceCreated
_Sent = EntityOperationCalled | EntityOperationSignaled
_Answered = EntityOperationCompleted | EntityOperationFailed
_Locking = EntityLockRequested | EntityLockGranted | EntityUnlockSent
_Hidden = OrchestratorStarted | TimerCancelled | _Locking
"""Durable Functions does not show the first and does not have the others."""

_SHOWN_AS = {
    EntityOperationCalled: "EventSent",
    EntityOperationSignaled: "EventSent",
    EntityOperationCompleted: "EventRaised",
    EntityOperationFailed: "EventRaised",
}
"""On Azure an entity is spoken to by events; ours show as those."""

_OPERATION = "op"


def history_report(
    history: Iterable[HistoryEvent], *, show_input: bool, show_output: bool
) -> list[Entry]:
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
        self.entries: dict[int, Entry] = {}
        self._shows_input = show_input
        self._shows_output = show_output
        self._place = 0
        self._name = ""
        self._open: dict[int, tuple[int, _Scheduled]] = {}

    def add(self, event: HistoryEvent) -> None:
        self._place += 1
        if isinstance(event, _Hidden):
            return
        name = _SHOWN_AS.get(type(event), type(event).__name__)
        entry: Entry = {"EventType": name, "Timestamp": exact(event.at)}
        match event:
            case ExecutionStarted():
                self._started(entry, event)
            case ExecutionCompleted():
                self._completed(entry, event)
            case ExecutionTerminated(reason=reason):
                self._write_input(entry, reason)
            case ExecutionSuspended() | ExecutionResumed() | ExecutionRewound():
                entry["Reason"] = event.reason
            case TimerCreated(fire_at=fire_at) | TimerFired(fire_at=fire_at):
                entry["FireAt"] = exact(fire_at)
            case EventSent():
                entry["InstanceId"] = event.instance_id
                entry["Name"] = event.name
                self._write_input(entry, event.input)
            case EventRaised():
                entry["Name"] = event.name
                self._write_input(entry, event.input)
            case TaskScheduled() | SubOrchestrationInstanceCreated():
                self._scheduled(entry, event)
            case TaskCompleted() | SubOrchestrationInstanceCompleted():
                self._returned(entry, event)
            case TaskFailed():
                self._task_failed(entry, event)
            case SubOrchestrationInstanceFailed():
                self._child_failed(entry, event)
            case EntityOperationCalled() | EntityOperationSignaled():
                self._sent(entry, event)
            case EntityOperationCompleted() | EntityOperationFailed():
                self._answered(entry, event)
            case _:
                assert_never(event)
        self.entries[self._place] = entry

    def _write_input(self, entry: Entry, text: str | None) -> None:
        if self._shows_input:
            entry["Input"] = text

    def _started(self, entry: Entry, event: ExecutionStarted) -> None:
        self._name = event.name
        entry["FunctionName"] = event.name
        self._write_input(entry, event.input)

    def _completed(self, entry: Entry, event: ExecutionCompleted) -> None:
        entry["OrchestrationStatus"] = event.status.value
        if self._shows_output:
            entry["Result"] = (
                stored_json(event.result)
                if event.failure is None
                else orchestrator_failure(self._name, event.failure)
            )

    def _scheduled(self, entry: Entry, event: _Scheduled) -> None:
        entry["Name"] = event.name
        if isinstance(event, SubOrchestrationInstanceCreated):
            entry["InstanceId"] = event.instance_id
        self._write_input(entry, event.input)
        self._open[event.task_id] = (self._place, event)

    def _returned(
        self, entry: Entry, event: TaskCompleted | SubOrchestrationInstanceCompleted
    ) -> None:
        self._merge(entry, event.task_id)
        if self._shows_output:
            entry["Result"] = stored_json(event.result)

    def _task_failed(self, entry: Entry, event: TaskFailed) -> None:
        name = self._merge(entry, event.task_id)
        entry["Reason"] = f"Activity function '{name}' failed: {_outcry(event.failure)}"
        entry["Details"] = _details(event.failure)

    def _child_failed(self, entry: Entry, event: SubOrchestrationInstanceFailed) -> None:
        name, failure = self._merge(entry, event.task_id), event.failure
        # Without a type nobody's code raised, and the message is the whole reason.
        is_raised = bool(failure.error_type)
        entry["Reason"] = orchestrator_failure(name, failure) if is_raised else failure.message
        entry["Details"] = f"Message: {failure.message}, StackTrace: {failure.stack_trace}"

    def _merge(self, entry: Entry, task_id: int) -> str:
        """Let an end take the place of its beginning; return the name of what has ended."""
        place, scheduled = self._open.pop(task_id, (0, None))
        if scheduled is None:
            return ""
        del self.entries[place]
        entry["ScheduledTime"] = exact(scheduled.at)
        entry["FunctionName"] = scheduled.name
        if isinstance(scheduled, SubOrchestrationInstanceCreated):
            entry["InstanceId"] = scheduled.instance_id
        self._write_input(entry, scheduled.input)
        return scheduled.name

    def _sent(self, entry: Entry, event: _Sent) -> None:
        is_signal = isinstance(event, EntityOperationSignaled)
        due_at = event.due_at if isinstance(event, EntityOperationSignaled) else None
        entry["InstanceId"] = event.entity_id
        entry["Name"] = _OPERATION if due_at is None else f"{_OPERATION}@{exact(due_at)}"
        request = {
            "op": event.operation,
            "signal": is_signal,
            "input": event.input,
            "id": str(event.task_id),
        }
        self._write_input(entry, write_json(request).decode())

    def _answered(self, entry: Entry, event: _Answered) -> None:
        entry["Name"] = str(event.task_id)
        answer: dict[str, str | None]
        if isinstance(event, EntityOperationCompleted):
            answer = {"result": event.result}
        else:
            message = write_json(event.failure.message).decode()
            answer = {"result": message, "exceptionType": "Error"}
        self._write_input(entry, write_json(answer).decode())


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
