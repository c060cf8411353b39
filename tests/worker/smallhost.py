"""A small host: the core's own turns around a session, and nothing else of an engine."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

import msgspec
from msgspec.structs import replace

from soloist.core.actions import CarriedEvent, CompleteExecution, ContinueAsNew, EpisodeResult
from soloist.core.episode import End, Limits, Turn, close_turn, open_turn
from soloist.core.events import (
    Arrival,
    EventRaised,
    ExecutionStarted,
    HistoryEvent,
    encode_events,
)
from soloist.core.messages import Execution
from soloist.core.state import OrchestrationState
from soloist_worker.replay import Session

Event = dict[str, Any]
NewSession = Callable[[], Session]


def as_read(events: Iterable[HistoryEvent]) -> list[Event]:
    """Return events as a worker reads them."""
    found: list[Event] = json.loads(encode_events(events))
    return found


def _untraced(end: End | None) -> End | None:
    """Return an end without its traceback."""
    if not isinstance(end, CompleteExecution) or end.failure is None:
        return end
    return replace(end, failure=replace(end.failure, stack_trace=""))


def _told(answer: Event) -> Event:
    """Return an answer without tracebacks: of two sessions one may run ``async`` code."""
    actions = [
        {**each, "failure": {**each["failure"], "stack_trace": ""}} if each.get("failure") else each
        for each in answer["actions"]
    ]
    return {**answer, "actions": actions}


class SmallHost:
    """Runs one execution after another of one instance.

    Every turn is run twice: by the session that was there, and by a new one that is first given
    the whole past. Code that has ended while something is open is run again from the past alone.
    ``new_session`` makes sessions.
    """

    def __init__(self, new_session: NewSession) -> None:
        self._new_session = new_session
        self._executions = 0
        self._begin()

    def _begin(self) -> None:
        self._executions += 1
        self.state = OrchestrationState()
        self.history: list[HistoryEvent] = []
        self.session = self._new_session()
        self.fresh = self.session
        self.end: End | None = None
        self.asked: list[Event] = []
        self.cancelled: set[int] = set()
        self._unfed: list[HistoryEvent] = []
        self._execution = Execution(
            instance_id="instance-1",
            generation=1,
            execution_id=f"execution-{self._executions}",
            name="orchestrate",
        )

    def start(
        self, text: str | None, now: datetime, carried: Iterable[CarriedEvent] = ()
    ) -> list[Arrival]:
        """Return what begins an execution."""
        started = ExecutionStarted(
            now, "orchestrate", self._execution.execution_id, text, "1.0", "parent-1"
        )
        return [started, *(EventRaised(now, each.name, each.input) for each in carried)]

    def turn(self, arrivals: list[Arrival], now: datetime) -> tuple[list[Event], Event | None]:
        """Take a turn; return what entered the history, and the code's answer if it ran."""
        turn = open_turn(self.state, arrivals, self.end, now)
        answer = self._run(turn) if turn.needs_code else None
        result = EpisodeResult()
        if answer is not None:
            result = msgspec.json.decode(json.dumps(answer), type=EpisodeResult)
            self._note(answer)
        elif self.end is None:
            self._unfed += turn.events
        conclusion = close_turn(self.state, turn, result, self.end, now, Limits(), self._execution)
        self.history += conclusion.events
        self.end = conclusion.end
        self.conclusion = conclusion
        if self.end is not None and not conclusion.is_over:
            self._end_again()
        return as_read(turn.events), answer

    def next_execution(self, now: datetime) -> list[Arrival] | None:
        """Go on to the next execution, if this one is over and asked for one."""
        if not self.conclusion.is_over or not isinstance(self.end, ContinueAsNew):
            return None
        end = self.end
        self._begin()
        return self.start(end.input, now, end.carried)

    @property
    def is_over(self) -> bool:
        """Whether the instance has ended for good."""
        return self.conclusion.is_over and isinstance(self.end, CompleteExecution)

    def _run(self, turn: Turn) -> Event:
        events = as_read(turn.events)
        self.fresh = self._new_session()
        self.fresh.replay(as_read(self.history))
        again = self.fresh.turn(events)
        answer = self.session.turn([*as_read(self._unfed), *events])
        self._unfed = []
        assert _told(again) == _told(answer), "the same history yields the same actions"
        return answer

    def _end_again(self) -> None:
        """A host that takes over code that has ended runs it once more."""
        again = self._new_session()
        again.replay(as_read(self.history))
        result = msgspec.json.decode(json.dumps(again.turn([])), type=EpisodeResult)
        ends = [_untraced(each) for each in result.actions]  # type: ignore[arg-type]
        assert ends == [_untraced(self.end)], "the same history yields the same end"

    def _note(self, answer: Event) -> None:
        for action in answer["actions"]:
            if action["type"] == "CancelTimer":
                self.cancelled.add(action["task_id"])
            elif "task_id" in action:
                assert action["task_id"] == len(self.asked), "ids rise without gaps"
                self.asked.append({k: v for k, v in action.items() if k != "task_id"})
