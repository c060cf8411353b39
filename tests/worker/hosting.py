"""Hosting: what a host does around a session, as small as it can be."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from soloist_worker.classic import ClassicSurface
from soloist_worker.codec import find_codec
from soloist_worker.replay import Session

Event = dict[str, Any]
Action = dict[str, Any]

CODEC = find_codec()
INSTANCE = "instance-1"
AT = "2030-01-01T00:00:00.000000Z"


def at_second(second: float) -> str:
    """Return a time of the first minute, as the host writes it."""
    return f"2030-01-01T00:00:{second:09.6f}Z"


def new_session(function: Callable[..., Any]) -> Session:
    """Return a fresh session for an orchestrator function."""
    return Session(ClassicSurface(function, "orchestrate", CODEC), INSTANCE, "execution-1")


def started(text: str | None = None, at: str = AT, **fields: Any) -> list[Event]:
    """Return the events that begin the first episode."""
    event = {"type": "ExecutionStarted", "at": at, "name": "orchestrate", "execution_id": "e"}
    return [{"type": "OrchestratorStarted", "at": at}, {**event, "input": text, **fields}]


def turn_of(*arrivals: Event, at: str = AT) -> list[Event]:
    """Return one later episode's events."""
    return [{"type": "OrchestratorStarted", "at": at}, *arrivals]


def completed(task_id: int, text: str | None = "null", at: str = AT) -> Event:
    """An activity returned."""
    return {"type": "TaskCompleted", "at": at, "task_id": task_id, "result": text}


def failed(task_id: int, message: str = "bad", error_type: str = "ValueError") -> Event:
    """An activity raised."""
    failure = {"message": message, "error_type": error_type, "stack_trace": "Traceback ..."}
    return {"type": "TaskFailed", "at": AT, "task_id": task_id, "failure": failure}


def fired(task_id: int, at: str = AT) -> Event:
    """A timer's time came."""
    return {"type": "TimerFired", "at": at, "task_id": task_id, "fire_at": at}


def raised(name: str, text: str | None = None, at: str = AT) -> Event:
    """Somebody raised an event."""
    return {"type": "EventRaised", "at": at, "name": name, "input": text}


def event(kind: str, **fields: Any) -> Event:
    """Return an event of any kind."""
    return {"type": kind, "at": AT, **fields}


_RECORDED = {
    "ScheduleTask": "TaskScheduled",
    "CreateTimer": "TimerCreated",
    "CancelTimer": "TimerCancelled",
    "ScheduleSubOrchestration": "SubOrchestrationInstanceCreated",
    "CallEntity": "EntityOperationCalled",
    "SignalEntity": "EntityOperationSignaled",
}


def recorded(actions: list[Action]) -> list[Event]:
    """Return what a host appends to the history for new actions."""
    return [
        {**action, "type": _RECORDED[action["type"]], "at": AT}
        for action in actions
        if action["type"] in _RECORDED
    ]


class Story:
    """Runs a function live, and keeps the history that a host would keep."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.session = new_session(function)
        self.history: list[Event] = []
        self.actions: list[Action] = []

    def turn(self, events: list[Event]) -> dict[str, Any]:
        """Feed an episode; return its result."""
        result = self.session.turn(events)
        self.history += [*events, *recorded(result["actions"])]
        self.actions += result["actions"]
        return result

    def again(self, events: list[Event]) -> dict[str, Any]:
        """Do the same in a fresh session that is first given the whole past."""
        session = new_session(self.function)
        session.replay(self.history)
        return session.turn(events)
