"""Sessions: one execution's live code, fed with events, giving actions.

Theory of operation. The code is a generator that yields tasks, or a coroutine that awaits them.
Feeding an event completes a task
(or starts the code); the code is then resumed as often as the task that it stands at is complete.
Whatever it asks for meanwhile is collected as actions. Nothing is read twice: the cost of an
event does not grow with what came before it.

The same happens when the past is replayed, except that what the code asks for must be what the
history recorded at the end of each episode; it is matched, not asked for again.

External events are handed to open waits by name, letter case aside. An event that nobody waits
for is kept, and kept events go to later waits, oldest first. Of several open waits of one name
the newest is served first: a wait that lost a race stays open, and must not take the event that
the code asks for now.

While the instance is suspended its events are held back, whether live or in the past, and are fed
in their order once it is resumed.

The history is not kept: a session that needs it is given it, and is not fed a second time.

What the user sees of all this is the surface's: the context object, encodings, exception texts.
"""

from __future__ import annotations

import inspect
import json
import re
from collections import deque
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from typing import Any, NamedTuple, Protocol

from soloist_worker.determinism import PREFIX, RECORDED, Deviation, match, raised_at, stands_at
from soloist_worker.failures import Failure, failure, failure_of, text_of
from soloist_worker.tasks import FAILED, RUNNING, SUCCEEDED, CallTask, EventTask, Task

Event = dict[str, Any]
Action = dict[str, Any]


class Surface(Protocol):
    """The SDK that the user's code believes it talks to."""

    name: str
    states: tuple[Any, ...]
    reads_history: bool
    """Whether its code was seen to read the history."""

    def begin(self, session: Session, started: Event) -> Any:
        """Call the user's function; return what it made to be run, or its result."""

    def loads(self, text: str, expected: type | None) -> Any:
        """Decode a payload."""

    def custom_status(self, status: Any) -> str:
        """Encode the custom status; ``"null"`` when there is none."""

    def task_error(self, task: CallTask, details: Failure) -> Exception:
        """Return what the code sees of a failed call."""


class HistoryUnread(BaseException):
    """The code reads a history that its session was not given; the turn is thrown away.

    It is nothing that an orchestrator's ``except Exception`` should catch.
    """


class History(NamedTuple):
    """All that happened to an execution: before this turn, and in it."""

    past: Sequence[Event]
    events: Sequence[Event]


class Session:
    """One execution. Owned by whoever feeds it; never by two threads at once.

    ``position`` counts the events it was given. After :meth:`turn` the session can be fed again
    at any later time, unless it was given its ``history``. When ``lacks_history`` is true after
    a turn, nothing that the turn returned may be used.
    """

    def __init__(
        self,
        surface: Surface,
        instance_id: str,
        execution_id: str,
        history: History | None = None,
    ) -> None:
        self.surface = surface
        self.instance_id = instance_id
        self.execution_id = execution_id
        self.history = history
        self.lacks_history = False
        self.position = 0
        self.clock_at = datetime.min.replace(tzinfo=timezone.utc)
        self.is_replaying = False
        self.custom_status: Any = None
        self.has_set_status = False
        self.continues_with: str | None = None
        self._status_text: str | None = None
        self._code: Any = None
        self._current = Task(self)
        self._open: dict[int, Task] = {}
        self._next_id = 0
        self._waits: dict[str, list[EventTask]] = {}
        self._kept: dict[str, deque[tuple[int, str, str | None]]] = {}
        self._arrivals = 0
        self._is_suspended = False
        self._held_back: list[Event] = []
        self._ready: list[str] = []
        self._actions: list[Action] = []
        self._places: list[str] = []
        self._cancelled: set[int] = set()
        self._matched = 0
        self._end: Action | None = None

    # Feeding.

    def replay(self, past: Sequence[Event]) -> None:
        """Bring a fresh session to the point where the history ``past`` ends."""
        self.is_replaying = True
        for event in past:
            kind = event["type"]
            if kind in RECORDED:
                self._match(event)
                continue
            if kind == "OrchestratorStarted":
                self._close_replayed()
            self._apply(kind, event)
        self._close_replayed()
        self.is_replaying = False
        self.position = len(past)

    def turn(self, events: Sequence[Event]) -> dict[str, Any]:
        """Feed the events of one episode; return its ``EpisodeResult``."""
        for event in events:
            self._apply(event["type"], event)
        self._close_episode()
        self.position += len(events)
        actions, self._actions = self._actions, []
        if self._end is not None:
            actions.append(self._ending(self._end))
        return {"actions": actions, "custom_status": self._status_text}

    def _apply(self, kind: str, event: Event) -> None:
        handle = _HANDLERS.get(kind)
        if handle is None:
            return
        if self._is_suspended and self._end is None and kind not in _SEEN_WHEN_SUSPENDED:
            if kind == "TimerFired":
                self._take_back_cancel(event["task_id"])
            self._held_back.append(event)
            return
        try:
            handle(self, event)
        except Exception as error:  # a payload that cannot be decoded, as under the SDK
            self._fail(error)

    def _on_orchestrator_started(self, event: Event) -> None:
        at = parse_time(event["at"])
        if at > self.clock_at:
            self.clock_at = at

    def _on_suspended(self, _event: Event) -> None:
        self._is_suspended = True

    def _on_resumed(self, _event: Event) -> None:
        self._is_suspended = False
        held_back, self._held_back = self._held_back, []
        for event in held_back:
            self._apply(event["type"], event)

    def _on_execution_started(self, event: Event) -> None:
        if self._end is not None:
            return
        try:
            code = self.surface.begin(self, event)
        except BaseException as error:
            self._fail(error)
            return
        if inspect.isgenerator(code) or inspect.iscoroutine(code):
            self._code = code
            self._current.complete(SUCCEEDED, None)
            self._advance()
        else:
            self._finish(code)

    def _on_completed(self, event: Event) -> None:
        task = self._open.pop(event["task_id"], None)
        if task is None or self._end is not None:
            return
        text = event.get("result")
        value = None if text is None else self.surface.loads(text, task.expected_type)
        task.complete(SUCCEEDED, value)
        self._advance()

    def _on_failed(self, event: Event) -> None:
        task = self._open.pop(event["task_id"], None)
        if not isinstance(task, CallTask) or self._end is not None:
            return
        task.complete(FAILED, self.surface.task_error(task, event["failure"]))
        self._advance()

    def _on_timer_fired(self, event: Event) -> None:
        task_id = event["task_id"]
        self._take_back_cancel(task_id)
        task = self._open.pop(task_id, None)
        if task is None or self._end is not None:
            return
        task.complete(SUCCEEDED, None)
        self._advance()

    def _take_back_cancel(self, task_id: int) -> None:
        """Of a timer that fired in the very turn in which the code cancelled it: that was too late.

        The host records no such cancellation, so it is taken back when the event comes: also when
        the code will see the event only once it is resumed, or has ended and never will.
        """
        if task_id not in self._cancelled:
            return
        self._cancelled.remove(task_id)
        index = self._actions.index({"type": "CancelTimer", "task_id": task_id})
        del self._actions[index]
        if self.is_replaying:
            del self._places[index]

    def _on_event_raised(self, event: Event) -> None:
        name: str = event["name"]
        folded = name.casefold()
        waits = self._waits.get(folded)
        if waits and self._end is None:
            self._deliver(waits, event.get("input"))
            self._advance()
            return
        kept = self._kept.setdefault(folded, deque())
        kept.append((self._arrivals, name, event.get("input")))
        self._arrivals += 1

    # What tasks and contexts call.

    def take_task_id(self) -> int:
        """Return the next task id."""
        task_id = self._next_id
        self._next_id = task_id + 1
        return task_id

    def open_task(self, task: Task) -> int:
        """Give a task its id, under which its completion will come."""
        task_id = self.take_task_id()
        self._open[task_id] = task
        return task_id

    def open_wait(self, task: EventTask) -> None:
        """Let a task wait for an external event."""
        folded = task.id.casefold()
        self._waits.setdefault(folded, []).append(task)
        if folded in self._kept:
            self._ready.append(folded)

    def emit(self, action: Action) -> None:
        """Ask for something; after ``continue_as_new`` nothing more is asked for."""
        if self.continues_with is not None or self._end is not None:
            return
        self._actions.append(action)
        if self.is_replaying:
            self._places.append(stands_at(self._code))

    def cancel_timer(self, task_id: int) -> None:
        """Ask for a timer's cancellation; also after ``continue_as_new``."""
        if self._end is None:
            self._cancelled.add(task_id)
            self._actions.append({"type": "CancelTimer", "task_id": task_id})
            if self.is_replaying:
                self._places.append(stands_at(self._code))

    def continue_as_new(self, text: str) -> None:
        """Begin the next execution once the code pauses; the first call counts."""
        if self.continues_with is None:
            self.continues_with = text

    # Running the code.

    def _advance(self) -> None:
        """Run the code until it waits for something that has not happened."""
        while self._can_run():
            self._run()
            while self._ready and self._end is None and not self._can_run():
                self._serve_kept()

    def _can_run(self) -> bool:
        return self._end is None and self._current.outcome != RUNNING

    def _run(self) -> None:
        code = self._code
        task: Any = self._current
        while task.outcome != RUNNING:
            try:
                task = code.throw(task.result) if task.outcome == FAILED else code.send(task.result)
            except StopIteration as stop:
                self._finish(stop.value)
                return
            except BaseException as error:
                # Even SystemExit: failing visibly beats losing the worker over and over.
                self._fail(error)
                return
            if not isinstance(task, Task):
                self._fail(TypeError(self._not_a_task(task)))
                return
            if not task.is_scheduled:
                task.schedule()
        self._current = task
        if self.continues_with is not None:
            self._end = {"type": "ContinueAsNew"}

    def _not_a_task(self, value: Any) -> str:
        verb = "awaited" if inspect.iscoroutine(self._code) else "yielded"
        return (
            f"The orchestrator function '{self.surface.name}' {verb} a value of type"
            f" {type(value).__name__} at {stands_at(self._code)}; only tasks made by its"
            f" context can be {verb}."
        )

    def _serve_kept(self) -> None:
        """Hand the oldest kept event for which there is a wait to that wait."""
        kept = self._kept
        ready = [name for name in self._ready if name in kept and self._waits.get(name)]
        self._ready = ready
        if not ready:
            return
        name = min(ready, key=lambda each: kept[each][0][0])
        _, _, text = kept[name].popleft()
        if not kept[name]:
            del kept[name]
        self._deliver(self._waits[name], text)

    def _deliver(self, waits: list[EventTask], text: str | None) -> None:
        task = waits.pop()
        value = None if text is None else self.surface.loads(text, task.expected_type)
        task.complete(SUCCEEDED, value)

    def _finish(self, output: Any) -> None:
        """The code returned."""
        try:
            result = None if output is None else json.dumps(output)
        except Exception as error:
            self._fail(error)
            return
        if self.continues_with is not None:
            self._end = {"type": "ContinueAsNew"}
        else:
            self._end = {"type": "CompleteExecution", "result": result, "failure": None}

    def _fail(self, error: BaseException) -> None:
        """The code raised, or cannot be run any further."""
        message = text_of(error) or str(type(error))
        if isinstance(error, RuntimeError) and _NO_EVENT_LOOP.search(message):
            message = (
                f"The orchestrator function '{self.surface.name}' used asyncio at"
                f" {raised_at(error)}, but an orchestrator has no event loop; only tasks made by"
                f" its context can be awaited. RuntimeError: {message}"
            )
        self._fail_with(failure_of(error, message))

    def _fail_with(self, details: Failure) -> None:
        self._end = {"type": "CompleteExecution", "result": None, "failure": details}

    def _ending(self, end: Action) -> Action:
        if end["type"] != "ContinueAsNew":
            return end
        kept = sorted(each for events in self._kept.values() for each in events)
        carried = [{"name": name, "input": text} for _, name, text in kept]
        return {"type": "ContinueAsNew", "input": self.continues_with, "carried": carried}

    def _close_episode(self) -> None:
        """Forget cancelled timers, and encode the custom status as it is now: the code may have
        changed the object in place.

        ``None`` says that this execution never set one, ``"null"`` that it has none any more.
        """
        for task_id in self._cancelled:
            self._open.pop(task_id, None)
        self._cancelled.clear()
        if self.has_set_status:
            try:
                self._status_text = self.surface.custom_status(self.custom_status)
            except Exception as error:
                self._fail(error)

    # Matching the past.

    def _match(self, recorded: Event) -> None:
        """Hold what the code asked for against the next thing that the history recorded."""
        index = self._matched
        self._matched = index + 1
        asked = self._actions[index] if index < len(self._actions) else None
        if asked is None or not match(asked, recorded):
            place = self._places[index] if asked is not None else stands_at(self._code)
            self._deviate(Deviation(asked, recorded, place))

    def _close_replayed(self) -> None:
        """An episode of the past ends: everything that the code asked for was recorded."""
        self._close_episode()
        if len(self._actions) > self._matched:
            place = self._places[self._matched]
            self._deviate(Deviation(self._actions[self._matched], None, place))
        self._actions = []
        self._places = []
        self._matched = 0

    def _deviate(self, deviation: Deviation) -> None:
        """End with the first deviation, naming the user's own exception if there was one."""
        before = (self._end or {}).get("failure")
        if before is not None and before["message"].startswith(PREFIX):
            return
        text = deviation.describe(before)
        self._fail_with(failure(text, "", before["stack_trace"] if before else ""))


def parse_time(text: str) -> datetime:
    """Return the aware time that the host wrote."""
    if text.endswith("Z"):
        text = text[:-1] + "+00:00"
    return datetime.fromisoformat(text)


_NO_EVENT_LOOP = re.compile(r"no (running|current) event loop")
_SEEN_WHEN_SUSPENDED = frozenset(("OrchestratorStarted", "ExecutionSuspended", "ExecutionResumed"))
_HANDLERS: dict[str, Callable[[Session, Event], None]] = {
    "OrchestratorStarted": Session._on_orchestrator_started,
    "ExecutionStarted": Session._on_execution_started,
    "ExecutionSuspended": Session._on_suspended,
    "ExecutionResumed": Session._on_resumed,
    "TaskCompleted": Session._on_completed,
    "TaskFailed": Session._on_failed,
    "SubOrchestrationInstanceCompleted": Session._on_completed,
    "SubOrchestrationInstanceFailed": Session._on_failed,
    "EntityOperationCompleted": Session._on_completed,
    "EntityOperationFailed": Session._on_failed,
    "TimerFired": Session._on_timer_fired,
    "EventRaised": Session._on_event_raised,
}
