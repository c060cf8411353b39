"""Histories: an execution's history in the words of the Durable Functions extension.

There each event is an object with a number for its type. A call of an entity and its answer are
an ``EventSent`` and an ``EventRaised`` that share an id.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from soloist_worker.reasons import reason
from soloist_worker.replay import Event, History

Fields = dict[str, Any]

ORCHESTRATOR_STARTED = 12
ORCHESTRATOR_COMPLETED = 13


def sdk_history(history: History, instance_id: str) -> list[Any]:
    """Return the history as ``HistoryEvent`` objects of the app's own SDK."""
    from azure.durable_functions.models.history import HistoryEvent

    translator = Translator(instance_id)
    found: list[Any] = []
    last_at = ""
    for is_played, events in ((True, history.past), (False, history.events)):
        for event in events:
            fields = translator.translate(event)
            if fields is None:
                continue
            if fields["EventType"] == ORCHESTRATOR_STARTED and found:
                closing = raw_event(ORCHESTRATOR_COMPLETED, last_at)
                found.append(HistoryEvent(**{**closing, "IsPlayed": True}))
            found.append(HistoryEvent(**{**fields, "IsPlayed": is_played}))
            last_at = event["at"]
    return found


def raw_event(kind: int, at: str, event_id: int = -1, **fields: Any) -> Fields:
    """Return what every event has, and fields of this one."""
    common = {"EventType": kind, "EventId": event_id, "IsPlayed": False, "Timestamp": at}
    return {**common, **fields}


class Translator:
    """Translates the events of one execution, in their order."""

    def __init__(self, instance_id: str) -> None:
        self._instance_id = instance_id
        self._execution_id = ""
        self._recorded: dict[int, Event] = {}

    def translate(self, event: Event) -> Fields | None:
        """Return the event's fields, ``None`` when Azure knows nothing like it."""
        write = _WRITERS.get(event["type"])
        return None if write is None else write(self, event)

    def _started(self, event: Event) -> Fields:
        self._execution_id = event["execution_id"]
        parent = event.get("parent_instance_id")
        own = {"InstanceId": self._instance_id, "ExecutionId": self._execution_id}
        return raw_event(
            0,
            event["at"],
            Name=event["name"],
            Version=event.get("version"),
            Input=event.get("input"),
            OrchestrationInstance=own,
            ParentInstance=parent and {"OrchestrationInstance": {"InstanceId": parent}},
            Tags=None,
        )

    def _episode(self, event: Event) -> Fields:
        return raw_event(ORCHESTRATOR_STARTED, event["at"])

    def _control(self, event: Event) -> Fields:
        kind = {"ExecutionSuspended": 19, "ExecutionResumed": 20}.get(event["type"], 21)
        return raw_event(kind, event["at"], Reason=event.get("reason"))

    def _call(self, event: Event) -> Fields:
        self._recorded[event["task_id"]] = event
        fields = {each: event.get(each.lower()) for each in ("Name", "Input", "Version")}
        if event["type"] == "TaskScheduled":
            return raw_event(4, event["at"], event["task_id"], **fields)
        return raw_event(
            7, event["at"], event["task_id"], InstanceId=event["instance_id"], **fields
        )

    def _completed(self, event: Event) -> Fields:
        kind = 5 if event["type"] == "TaskCompleted" else 8
        return raw_event(
            kind, event["at"], TaskScheduledId=event["task_id"], Result=event.get("result")
        )

    def _failed(self, event: Event) -> Fields:
        why, details = reason(self._recorded[event["task_id"]], event["failure"])
        kind = 6 if event["type"] == "TaskFailed" else 9
        return raw_event(
            kind, event["at"], TaskScheduledId=event["task_id"], Reason=why, Details=details
        )

    def _timer_created(self, event: Event) -> Fields:
        return raw_event(10, event["at"], event["task_id"], FireAt=event["fire_at"])

    def _timer_fired(self, event: Event) -> Fields:
        return raw_event(11, event["at"], TimerId=event["task_id"], FireAt=event["fire_at"])

    def _raised(self, event: Event) -> Fields:
        return raw_event(15, event["at"], Name=event["name"], Input=event.get("input"))

    def _entity_asked(self, event: Event) -> Fields:
        task_id = event["task_id"]
        self._recorded[task_id] = event
        message = {
            "op": event["operation"],
            "signal": event["type"] == "EntityOperationSignaled",
            "input": event.get("input"),
            "id": self._call_id(task_id),
        }
        return raw_event(
            14,
            event["at"],
            task_id,
            InstanceId=event["entity_id"],
            Name="op",
            Input=json.dumps(message),
        )

    def _entity_answered(self, event: Event) -> Fields:
        if event["type"] == "EntityOperationCompleted":
            answer = {"result": event.get("result") or "null"}
        else:
            text = json.dumps(event["failure"]["message"])
            answer = {"result": text, "exceptionType": "Error"}
        name = self._call_id(event["task_id"])
        return raw_event(15, event["at"], Name=name, Input=json.dumps(answer))

    def _call_id(self, task_id: int) -> str:
        return f"{self._execution_id}:{task_id}"


_WRITERS: dict[str, Callable[[Translator, Event], Fields]] = {
    "OrchestratorStarted": Translator._episode,
    "ExecutionStarted": Translator._started,
    "ExecutionSuspended": Translator._control,
    "ExecutionResumed": Translator._control,
    "ExecutionRewound": Translator._control,
    "TaskScheduled": Translator._call,
    "TaskCompleted": Translator._completed,
    "TaskFailed": Translator._failed,
    "SubOrchestrationInstanceCreated": Translator._call,
    "SubOrchestrationInstanceCompleted": Translator._completed,
    "SubOrchestrationInstanceFailed": Translator._failed,
    "TimerCreated": Translator._timer_created,
    "TimerFired": Translator._timer_fired,
    "EventRaised": Translator._raised,
    "EntityOperationCalled": Translator._entity_asked,
    "EntityOperationSignaled": Translator._entity_asked,
    "EntityOperationCompleted": Translator._entity_answered,
    "EntityOperationFailed": Translator._entity_answered,
}
