"""The oracle: the SDK's own replay, given a history as a careful host would write it.

The SDK does not take an external event away once a wait has got it, so the host must hand it one
event for one open wait, and run it again before the next.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from azure.durable_functions import Orchestrator

from soloist_worker.reasons import reason

Event = dict[str, Any]
_LABEL = "\n\n$OutOfProcData$:"
_CONTAINERS = (11, 12)


class Oracle:
    """The SDK's view of one execution, episode by episode."""

    def __init__(self, function: Callable[..., Any], instance_id: str, text: str | None) -> None:
        self._handle = Orchestrator.create(function)
        self._instance_id = instance_id
        self._input = text
        self._history: list[Event] = []
        self._kept: list[Event] = []
        self._served: set[int] = set()
        self.actions: list[Event] = []
        self.is_done = False
        self.error: str | None = None
        self.is_labelled = True
        self.output: Any = None
        self.custom_status: Any = None

    def turn(self, events: list[Event]) -> None:
        """Feed one episode's events, in our own form."""
        known = self.actions
        for event in events:
            if event["type"] == "EventRaised":
                self._kept.append(event)
            else:
                self._history.append(self._translate(event))
            if len(self._history) >= 2:
                self._run()
                while self._serve():
                    self._run()
        self._record(known)

    @property
    def leaves(self) -> list[Event]:
        """The actions that take ids, in order."""
        return [each for each in self.actions if each["actionType"] in (0, 5)]

    def _serve(self) -> bool:
        """Write down the oldest kept event for which a wait is open; the newest wait gets it."""
        if self.is_done or self.error is not None:
            return False
        for event in self._kept:
            folded = event["name"].casefold()
            for index in reversed(range(len(self.actions))):
                action = self.actions[index]
                name = action.get("externalEventName")
                if name is None or index in self._served or name.casefold() != folded:
                    continue
                self._served.add(index)
                self._kept.remove(event)
                fields = {"Name": name, "Input": event.get("input")}
                self._history.append(_event(15, event["at"], **fields))
                return True
        return False

    def _run(self) -> None:
        """Run the handle over the history so far."""
        context = {
            "history": self._history,
            "input": self._input,
            "instanceId": self._instance_id,
            "isReplaying": False,
            "parentInstanceId": None,
            "upperSchemaVersion": 1,
            "upperSchemaVersionNew": 2,
        }
        try:
            text = self._handle(json.dumps(context))
        except Exception as error:  # that is how the SDK answers
            text = str(error)
            message, label, tail = text.partition(_LABEL)
            if not label:
                self.error, self.is_labelled = message, False
                return
            text = tail
        state = json.loads(text)
        self.actions = [leaf for action in state["actions"][0] for leaf in _leaves(action)]
        self.error = state.get("error")
        self.is_done = state["isDone"]
        self.output = state.get("output")
        self.custom_status = state.get("customStatus")

    def _record(self, known: list[Event]) -> None:
        """End the episode as a host does: with what the code newly asked for."""
        at = self._history[-1]["Timestamp"]
        count = len([each for each in known if each["actionType"] in (0, 5)])
        for task_id, leaf in enumerate(self.leaves[count:], count):
            if leaf["actionType"] == 0:
                fields = {"Name": leaf["functionName"], "Input": leaf["input"]}
                self._history.append(_event(4, at, task_id, **fields))
            else:
                self._history.append(_event(10, at, task_id, FireAt=leaf["fireAt"]))
        self._history.append(_event(13, at))

    def _translate(self, event: Event) -> Event:
        kind, at = event["type"], event["at"]
        if kind == "OrchestratorStarted":
            return _event(12, at)
        if kind == "ExecutionStarted":
            return _event(0, at, Name=event["name"], Version=None, Input=self._input)
        task_id = event["task_id"]
        if kind == "TaskCompleted":
            return _event(5, at, TaskScheduledId=task_id, Result=event.get("result"))
        if kind == "TimerFired":
            return _event(11, at, TimerId=task_id, FireAt=event["fire_at"])
        call = {"type": "ScheduleTask", "name": self.leaves[task_id]["functionName"]}
        why, details = reason(call, event["failure"])
        return _event(6, at, TaskScheduledId=task_id, Reason=why, Details=details)


def _event(kind: int, at: str, event_id: int = -1, **fields: Any) -> Event:
    return {
        "EventType": kind,
        "EventId": event_id,
        "IsPlayed": False,
        "Timestamp": at,
        **fields,
    }


def _leaves(action: Event) -> list[Event]:
    if action["actionType"] in _CONTAINERS:
        return [leaf for each in action["compoundActions"] for leaf in _leaves(each)]
    return [action]
