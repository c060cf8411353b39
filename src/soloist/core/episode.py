"""Episodes: what one turn of an orchestrator adds to its history.

A turn has two halves with the user's code between them. :func:`open_turn` says which events the
code is fed; :func:`close_turn` takes what the code asked for and says what is to be recorded and
what goes out to other instances.

An execution ends only when nothing that it began is still open, as on Azure: its code may have
returned while an activity runs or a timer ticks. Until then the end is *pending*, unless the code
said that it abandons what is open, as SDKs of the gRPC protocol do.

A suspended instance records what arrives, but its code sees none of it, and it does not end,
until it is resumed.
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
    EpisodeResult,
)
from soloist.core.events import (
    Arrival,
    EventRaised,
    ExecutionCompleted,
    ExecutionResumed,
    ExecutionSuspended,
    ExecutionTerminated,
    HistoryEvent,
    OrchestratorStarted,
)
from soloist.core.failures import FailureDetails
from soloist.core.messages import (
    Execution,
    Outgoing,
    answer_parent,
    record_action,
    release_locks,
    terminate_children,
)
from soloist.core.payloads import exceeds, limit_text
from soloist.core.state import OrchestrationState
from soloist.core.status import RuntimeStatus

End: TypeAlias = CompleteExecution | ContinueAsNew

_ENDS = (CompleteExecution, ContinueAsNew)
_SUSPENSIONS = (ExecutionSuspended, ExecutionResumed)


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

    ``events`` is everything to append, ``outgoing`` what other instances get. ``end`` is how the
    code ended, if it has; ``is_over`` says that the execution is over too. ``status``, ``output``
    and ``failure`` are the instance's from now on.
    """

    events: tuple[HistoryEvent, ...]
    status: RuntimeStatus
    output: str | None = None
    failure: FailureDetails | None = None
    end: End | None = None
    is_over: bool = False
    outgoing: tuple[Outgoing, ...] = ()


def open_turn(
    state: OrchestrationState, arrivals: Iterable[Arrival], end: End | None, now: datetime
) -> Turn:
    """Choose what enters the history and whether the orchestrator's code must run.

    Arrivals that may no longer enter (law 4, law 8) are left out. A termination cuts the rest
    off. Code that has ended (``end``) is not run again.
    """
    admitted, reaches_code = _admit(state, arrivals)
    is_terminated = bool(admitted) and isinstance(admitted[-1], ExecutionTerminated)
    if not reaches_code or is_terminated or end is not None:
        return Turn(tuple(admitted), needs_code=False)
    clock = now if state.clock_at is None else max(now, state.clock_at)
    return Turn((OrchestratorStarted(clock), *admitted), needs_code=True)


def _admit(state: OrchestrationState, arrivals: Iterable[Arrival]) -> tuple[list[Arrival], bool]:
    """Return what may enter, and whether any of it is for the code to see now."""
    admitted: list[Arrival] = []
    ended: set[int] = set()
    is_suspended = state.is_suspended
    reaches_code = False
    for arrival in arrivals:
        task_id: int | None = getattr(arrival, "task_id", None)
        if not state.accepts(arrival) or task_id in ended:
            continue
        if task_id is not None:
            ended.add(task_id)
        if isinstance(arrival, _SUSPENSIONS):
            suspends = isinstance(arrival, ExecutionSuspended)
            if suspends is is_suspended:
                continue  # suspending twice means nothing
            is_suspended = suspends
            reaches_code |= not suspends
        else:
            reaches_code |= not is_suspended
        admitted.append(arrival)
        if isinstance(arrival, ExecutionTerminated):
            break
    return admitted, reaches_code


def close_turn(
    state: OrchestrationState,
    turn: Turn,
    result: EpisodeResult,
    end: End | None,
    now: datetime,
    limits: Limits,
    execution: Execution,
) -> Conclusion:
    """Say what to record, and bring ``state`` up to it.

    ``result`` is empty when no code ran; ``end`` is how the code ended in an earlier turn.

    Raises:
        HistoryCorrupt: the actions break a law; the executor is at fault.
    """
    if turn.events and isinstance(turn.events[-1], ExecutionTerminated):
        return _terminate(state, turn, turn.events[-1], now, execution)
    events = list(turn.events)
    state.extend(events)
    outgoing: list[Outgoing] = []
    objection = _objection(result.actions, limits)
    end = _carry_late_events(end, turn.events)
    if objection is not None:
        end = CompleteExecution(failure=objection)
    else:
        for action in result.actions:
            if isinstance(action, _ENDS):
                end = action
            elif not (isinstance(action, CancelTimer) and _has_fired(state, action)):
                outgoing += record_action(state, events, action, now, execution)
    if state.is_suspended or end is None or _must_wait(state, end):
        status = RuntimeStatus.SUSPENDED if state.is_suspended else RuntimeStatus.RUNNING
        return Conclusion(events=tuple(events), status=status, end=end, outgoing=tuple(outgoing))
    return _finish(state, events, outgoing, end, now, execution)


def _must_wait(state: OrchestrationState, end: End) -> bool:
    return state.has_open_work and not end.abandons_open_work


def _has_fired(state: OrchestrationState, action: CancelTimer) -> bool:
    """Whether the timer fired in the same turn, before the code could cancel it."""
    return action.task_id not in state.open_timers


def _terminate(
    state: OrchestrationState,
    turn: Turn,
    terminated: ExecutionTerminated,
    now: datetime,
    execution: Execution,
) -> Conclusion:
    state.extend(turn.events[:-1])
    outgoing = terminate_children(state, terminated, now, execution)
    outgoing += release_locks(state, now)
    state.apply(terminated)
    reason = terminated.reason
    outgoing += answer_parent(execution, RuntimeStatus.TERMINATED, reason, None, now)
    return Conclusion(
        events=turn.events,
        status=RuntimeStatus.TERMINATED,
        output=reason,
        is_over=True,
        outgoing=outgoing,
    )


def _carry_late_events(end: End | None, events: tuple[HistoryEvent, ...]) -> End | None:
    """Events that reach code which has asked to continue as new belong to the next execution."""
    if not isinstance(end, ContinueAsNew):
        return end
    late = tuple(
        CarriedEvent(event.name, event.input) for event in events if isinstance(event, EventRaised)
    )
    return msgspec.structs.replace(end, carried=end.carried + late) if late else end


def _finish(
    state: OrchestrationState,
    events: list[HistoryEvent],
    outgoing: list[Outgoing],
    end: End,
    now: datetime,
    execution: Execution,
) -> Conclusion:
    outgoing += release_locks(state, now)
    if isinstance(end, ContinueAsNew):
        return Conclusion(
            events=tuple(events),
            status=RuntimeStatus.RUNNING,
            end=end,
            is_over=True,
            outgoing=tuple(outgoing),
        )
    status = RuntimeStatus.COMPLETED if end.failure is None else RuntimeStatus.FAILED
    completed = ExecutionCompleted(now, status, end.result, end.failure)
    state.apply(completed)
    events.append(completed)
    answer = answer_parent(execution, status, end.result, end.failure, now)
    return Conclusion(
        events=tuple(events),
        status=status,
        output=end.result,
        failure=end.failure,
        end=end,
        is_over=True,
        outgoing=(*outgoing, *answer),
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
                f"A payload of {type(action).__name__} exceeds"
                f" {limit_text(limits.max_payload_bytes)}."
            )
    return None
