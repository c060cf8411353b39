"""The oracle: the SDK's own replay, given a history as a careful host would write it.

The SDK does not take an external event away once a wait has got it, so the host must hand it one
event for one open wait, and run it again before the next.

In the SDK one action stands for a whole sequence of retries; the host makes the attempts and the
pauses, and the SDK counts their ids. After the last attempt it waits for one more timer, of no
length. Soloist has no such timer, so the ids of the two differ: ours are the keys here, and what
Soloist must ask for, ids and all, is foretold in ``asked``.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any, NamedTuple

from azure.durable_functions import Orchestrator

from soloist_worker.reasons import HTTP_ACTIVITY, reason
from soloist_worker.replay import parse_time

Event = dict[str, Any]
_LABEL = "\n\n$OutOfProcData$:"
_CONTAINERS = (11, 12)
_CALLS = {0: "ScheduleTask", 1: "ScheduleTask", 8: "ScheduleTask"}
_CHILDREN = {2: "ScheduleSubOrchestration", 3: "ScheduleSubOrchestration"}
_ENTITIES = {7: "CallEntity", 9: "SignalEntity"}


class _Retry:
    """A sequence of attempts."""

    def __init__(self, options: dict[str, int]) -> None:
        self.pause = timedelta(milliseconds=options["firstRetryIntervalInMilliseconds"])
        self.max_attempts = options["maxNumberOfAttempts"]
        self.attempts = 1


class _Thing(NamedTuple):
    """Something that has an id: ``sdk_id`` in the SDK, and what Soloist should ask for."""

    sdk_id: int
    action: Event
    retry: _Retry | None = None
    call: Event | None = None
    """What a pause between attempts is for."""


class Oracle:
    """The SDK's view of one execution, episode by episode."""

    def __init__(self, function: Callable[..., Any], instance_id: str, text: str | None) -> None:
        self._handle = Orchestrator.create(function)
        self._instance_id = instance_id
        self._parent_id: str | None = None
        self._input = text
        self._history: list[Event] = []
        self._served: set[int] = set()
        self._known_actions = 0
        self._next_sdk_id = 0
        self._things: list[_Thing] = []
        self._unrecorded: list[_Thing] = []
        self._is_suspended = False
        self._held_back: list[Event] = []
        self.kept: list[Event] = []
        self.actions: list[Event] = []
        self.is_done = False
        self.error: str | None = None
        self.is_labelled = True
        self.output: Any = None
        self.custom_status: Any = None

    @property
    def is_over(self) -> bool:
        """Whether the code has ended."""
        return self.is_done or self.error is not None

    @property
    def asked(self) -> list[Event]:
        """What Soloist should have asked for so far; its place is its id."""
        return [each.action for each in self._things]

    def turn(self, events: list[Event]) -> None:
        """Feed one episode's events, in our own form; they are held back while suspended."""
        for event in events:
            kind = event["type"]
            if kind == "ExecutionSuspended":
                self._is_suspended = True
            elif kind == "ExecutionResumed":
                self._is_suspended = False
                held_back, self._held_back = self._held_back, []
                for each in held_back:
                    self._feed(each)
            elif self._is_suspended and kind != "OrchestratorStarted" and not self.is_over:
                self._held_back.append(event)
            else:
                self._feed(event)
        if any(event["type"] == "OrchestratorStarted" for event in events):
            self._record()

    def is_cancelled(self, task_id: int) -> bool:
        """Whether the code cancelled this timer."""
        leaf = self._things[task_id].action.get("leaf")
        return leaf is not None and bool(self.actions[leaf]["isCanceled"])

    def _feed(self, event: Event) -> None:
        if event["type"] == "EventRaised":
            self.kept.append(event)
        elif not self.is_over:
            self._history.append(self._translate(event))
            self._mind_retries(event)
        if len(self._history) < 2 or self.is_over:
            return
        self._run()
        while self._serve():
            self._run()

    def _serve(self) -> bool:
        """Write down the oldest kept event for which a wait is open; the newest wait gets it."""
        if self.is_over:
            return False
        for event in self.kept:
            folded = event["name"].casefold()
            for index in reversed(range(len(self.actions))):
                action = self.actions[index]
                name = action.get("externalEventName")
                if name is None or index in self._served or name.casefold() != folded:
                    continue
                self._served.add(index)
                self.kept.remove(event)
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
            "parentInstanceId": self._parent_id,
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
        for index in range(self._known_actions, len(self.actions)):
            self._note(index, self.actions[index])
        self._known_actions = len(self.actions)

    # Ids.

    def _note(self, index: int, leaf: Event) -> None:
        """Give an id to a new action, if it takes one."""
        kind = leaf["actionType"]
        if kind in (4, 6):
            return
        options = leaf.get("retryOptions")
        self._add(_expected(kind, leaf, index), options and _Retry(options))

    def _add(self, action: Event, retry: _Retry | None = None, call: Event | None = None) -> None:
        thing = _Thing(self._next_sdk_id, action, retry, call)
        self._next_sdk_id += 1
        self._things.append(thing)
        self._unrecorded.append(thing)

    def _mind_retries(self, event: Event) -> None:
        """Make the pauses and the attempts that an event calls for, as the extension does."""
        thing = self._things[event["task_id"]] if "task_id" in event else None
        if thing is None or thing.retry is None:
            return
        retry = thing.retry
        if thing.call is not None:
            retry.attempts += 1
            self._add(thing.call, retry)
        elif not event["type"].endswith("Failed"):
            return
        elif retry.attempts < retry.max_attempts:
            fire_at = self._clock() + retry.pause
            self._add({"type": "CreateTimer", "fire_at": fire_at}, retry, thing.action)
        else:
            timer_id, at = self._next_sdk_id, event["at"]
            self._next_sdk_id += 1
            self._history.append(_event(10, at, timer_id, FireAt=at))
            self._history.append(_event(11, at, TimerId=timer_id, FireAt=at))

    def _clock(self) -> Any:
        return max(
            parse_time(each["Timestamp"]) for each in self._history if each["EventType"] == 12
        )

    # Writing the history.

    def _record(self) -> None:
        """End the episode as a host does: with what was newly asked for."""
        at = self._history[-1]["Timestamp"]
        for thing in self._unrecorded:
            self._history.append(_recorded(thing.sdk_id, thing.action, at))
        self._unrecorded = []
        self._history.append(_event(13, at))

    def _translate(self, event: Event) -> Event:
        kind, at = event["type"], event["at"]
        if kind == "OrchestratorStarted":
            return _event(12, at)
        if kind == "ExecutionStarted":
            self._parent_id = event.get("parent_instance_id")
            name, version = event["name"], event.get("version")
            return _event(0, at, Name=name, Version=version, Input=self._input)
        if kind == "ExecutionRewound":
            return _event(21, at)
        thing = self._things[event["task_id"]]
        if kind == "TimerFired":
            return _event(11, at, TimerId=thing.sdk_id, FireAt=event["fire_at"])
        if kind == "EntityOperationCompleted":
            return _answer(thing, at, {"result": event.get("result") or "null"})
        if kind == "EntityOperationFailed":
            text = json.dumps(event["failure"]["message"])
            return _answer(thing, at, {"result": text, "exceptionType": "Error"})
        number = 5 if kind.startswith("Task") else 8
        fields = {"TaskScheduledId": thing.sdk_id}
        if kind.endswith("Completed"):
            return _event(number, at, Result=event.get("result"), **fields)
        why, details = reason(thing.action, event["failure"])
        return _event(number + 1, at, Reason=why, Details=details, **fields)


def _expected(kind: int, leaf: Event, index: int) -> Event:
    """Return the action by which Soloist asks for the same."""
    if kind in _ENTITIES:
        return {
            "type": _ENTITIES[kind],
            "entity_id": leaf["instanceId"],
            "operation": leaf["operation"],
            "input": leaf["input"],
        }
    if kind in _CHILDREN:
        return {
            "type": _CHILDREN[kind],
            "name": leaf["functionName"],
            "input": json.dumps(leaf["input"]),
            "instance_id": leaf["instanceId"],
            "version": leaf["version"],
        }
    if kind == 8:
        text = json.dumps(leaf["httpRequest"])
        return {"type": "ScheduleTask", "name": HTTP_ACTIVITY, "input": text}
    if kind in _CALLS:
        return {"type": _CALLS[kind], "name": leaf["functionName"], "input": leaf["input"]}
    return {"type": "CreateTimer", "fire_at": parse_time(leaf["fireAt"]), "leaf": index}


def _recorded(sdk_id: int, action: Event, at: str) -> Event:
    kind = action["type"]
    if kind in ("CallEntity", "SignalEntity"):
        text = json.dumps({"op": action["operation"], "id": f"call-{sdk_id}"})
        return _event(14, at, sdk_id, InstanceId=action["entity_id"], Name="op", Input=text)
    if kind == "CreateTimer":
        return _event(10, at, sdk_id, FireAt=at)
    number = 4 if kind == "ScheduleTask" else 7
    return _event(number, at, sdk_id, Name=action["name"], Input=action["input"])


def _answer(thing: _Thing, at: str, content: Event) -> Event:
    return _event(15, at, Name=f"call-{thing.sdk_id}", Input=json.dumps(content))


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
