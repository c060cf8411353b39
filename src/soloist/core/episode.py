"""Episodes: what one turn of an orchestrator adds to its history.

A turn has two halves with the user's code between them. :func:`open_turn` says which events the
code is fed; :func:`close_turn` takes what the code asked for and says what is to be recorded.

An execution ends only when nothing that it began is still open, as on Azure: its code may have
returned while an activity runs or a timer ticks. Until then the end is *pending*.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import TypeAlias

import msgspec

from soloist.core.actions import (
    Action,
    CancelTimer,
    CarriedEvent,
    CompleteExecution,
    ContinueAsNew,
    CreateTimer,
    EpisodeResult,
    ScheduleTask,
)
from soloist.core.events import (
    Arrival,
    EventRaised,
    ExecutionCompleted,
    ExecutionTerminated,
    HistoryEvent,
    OrchestratorStarted,
    TaskScheduled,
    TimerCancelled,
    TimerCreated,
)
from soloist.core.failures import FailureDetails
from soloist.core.payloads import exceeds
from soloist.core.state import OrchestrationState
from soloist.core.status import RuntimeStatus
from soloist.errors import HistoryCorrupt

End: TypeAlias = CompleteExecution | ContinueAsNew


class Limits(msgspec.Struct, frozen=True):
    """What one orchestration may ask for; beyond it the instance fails with the reason."""

    max_actions: int = 100_000
    max_payload_bytes: int = 4 * 1024 * 1024


class Turn(msgspec.Struct, frozen=True):
    """One turn's first half: ``events`` enter the history, and the code sees them unless
    ``needs_code`` is false."""

    events: tuple[HistoryEvent, ...]
    needs_code: bool


class Conclusion(msgspec.Struct, frozen=True, kw_only=True):
    """One turn's second half.

    ``events`` is everything to append. ``end`` is how the code ended, if it has; ``is_over`` says
    that the execution is over too. ``status``, ``output`` and ``failure`` are the instance's from
    now on.
    """

    events: tuple[HistoryEvent, ...]
    status: RuntimeStatus
    output: str | None = None
    failure: FailureDetails | None = None
    end: End | None = None
    is_over: bool = False


def open_turn(
    state: OrchestrationState, arrivals: Iterable[Arrival], end: End | None, now: datetime
) -> Turn:
    """Choose what enters the history and whether the orchestrator's code must run.

    Arrivals that may no longer enter (law 4, law 8) are left out. A termination cuts the rest
    off. Code that has ended (``end``) is not run again.
    """
    admitted = _admit(state, arrivals)
    if not admitted:
        return Turn((), needs_code=False)
    if isinstance(admitted[-1], ExecutionTerminated) or end is not None:
        return Turn(tuple(admitted), needs_code=False)
    clock = now if state.clock_at is None else max(now, state.clock_at)
    return Turn((OrchestratorStarted(clock), *admitted), needs_code=True)


def _admit(state: OrchestrationState, arrivals: Iterable[Arrival]) -> list[Arrival]:
    admitted: list[Arrival] = []
    ended: set[int] = set()
    for arrival in arrivals:
        task_id: int | None = getattr(arrival, "task_id", None)
        if not state.accepts(arrival) or task_id in ended:
            continue
        if task_id is not None:
            ended.add(task_id)
        admitted.append(arrival)
        if isinstance(arrival, ExecutionTerminated):
            break
    return admitted


def close_turn(
    state: OrchestrationState,
    turn: Turn,
    result: EpisodeResult,
    end: End | None,
    now: datetime,
    limits: Limits,
) -> Conclusion:
    """Say what to record, and bring ``state`` up to it.

    ``result`` is empty when no code ran; ``end`` is how the code ended in an earlier turn.

    Raises:
        HistoryCorrupt: the actions break a law; the executor is at fault.
    """
    if turn.events and isinstance(turn.events[-1], ExecutionTerminated):
        state.extend(turn.events)
        reason = turn.events[-1].reason
        return Conclusion(
            events=turn.events, status=RuntimeStatus.TERMINATED, output=reason, is_over=True
        )
    events = list(turn.events)
    state.extend(events)
    objection = _objection(result.actions, limits)
    end = _carry_late_events(end, turn.events)
    if objection is not None:
        end = CompleteExecution(failure=objection)
    else:
        for action in result.actions:
            if isinstance(action, CompleteExecution | ContinueAsNew):
                end = action
            else:
                _record(state, events, action, now)
    if end is None or state.has_open_work:
        return Conclusion(events=tuple(events), status=RuntimeStatus.RUNNING, end=end)
    return _finish(state, events, end, now)


def _record(
    state: OrchestrationState, events: list[HistoryEvent], action: Action, now: datetime
) -> None:
    if isinstance(action, CancelTimer) and action.task_id not in state.open_timers:
        return  # it fired in the same turn, before the code could cancel it
    event = _event_for(action, now)
    state.apply(event)
    events.append(event)


def _event_for(action: Action, now: datetime) -> HistoryEvent:
    match action:
        case ScheduleTask():
            return TaskScheduled(now, action.task_id, action.name, action.input)
        case CreateTimer():
            return TimerCreated(now, action.task_id, action.fire_at)
        case CancelTimer():
            return TimerCancelled(now, action.task_id)
    raise HistoryCorrupt(f"{type(action).__name__} cannot be recorded as an event.")


def _carry_late_events(end: End | None, events: tuple[HistoryEvent, ...]) -> End | None:
    """Events that reach code which has asked to continue as new belong to the next execution."""
    if not isinstance(end, ContinueAsNew):
        return end
    late = tuple(
        CarriedEvent(event.name, event.input) for event in events if isinstance(event, EventRaised)
    )
    return ContinueAsNew(end.input, end.carried + late) if late else end


def _finish(
    state: OrchestrationState, events: list[HistoryEvent], end: End, now: datetime
) -> Conclusion:
    if isinstance(end, ContinueAsNew):
        return Conclusion(events=tuple(events), status=RuntimeStatus.RUNNING, end=end, is_over=True)
    status = RuntimeStatus.COMPLETED if end.failure is None else RuntimeStatus.FAILED
    completed = ExecutionCompleted(now, status, end.result, end.failure)
    state.apply(completed)
    events.append(completed)
    return Conclusion(
        events=tuple(events),
        status=status,
        output=end.result,
        failure=end.failure,
        end=end,
        is_over=True,
    )


def _objection(actions: tuple[Action, ...], limits: Limits) -> FailureDetails | None:
    for action in actions:
        task_id = getattr(action, "task_id", -1)
        if task_id >= limits.max_actions:
            return FailureDetails(
                f"The orchestration asked for more than {limits.max_actions} actions"
                " (host.json extensions.durableTask.maxOrchestrationActions)."
            )
        payload = getattr(action, "input", None) or getattr(action, "result", None)
        if payload is not None and exceeds(payload, limits.max_payload_bytes):
            return FailureDetails(
                f"A payload of {type(action).__name__} exceeds the limit of"
                f" {limits.max_payload_bytes} bytes (setting max_payload_bytes)."
            )
    return None
