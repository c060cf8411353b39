"""Rewind: taking back the turn that failed an execution, so that what failed is done again.

The history is cut before that turn. What had completed since then and is still asked for comes
again as mail; what had failed since then is open again, and whoever takes the instance up begins
it anew. Failures that the code had dealt with before stay in the history, because the code's later
actions rest on them.

Code that has ended may be run once more by a host that took the instance over while something was
still open; such a turn adds nothing, so the failing one stands before it. What arrives while an
instance is suspended belongs to the turn that its resumption begins.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec

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
    ExecutionResumed,
    ExecutionRewound,
    ExecutionSuspended,
    HistoryEvent,
    Mail,
    OrchestratorStarted,
    SubOrchestrationInstanceCompleted,
    SubOrchestrationInstanceCreated,
    SubOrchestrationInstanceFailed,
    TaskCompleted,
    TaskFailed,
    TaskScheduled,
    TimerCancelled,
    TimerCreated,
)
from soloist.core.state import OrchestrationState

_KEPT = (
    TaskCompleted,
    SubOrchestrationInstanceCompleted,
    EntityOperationCompleted,
    EntityLockGranted,
    EventRaised,
)
_FAILURES = (TaskFailed, SubOrchestrationInstanceFailed, EntityOperationFailed)
_ACTIONS = (
    TaskScheduled,
    TimerCreated,
    TimerCancelled,
    SubOrchestrationInstanceCreated,
    EntityOperationCalled,
    EntityOperationSignaled,
    EntityLockRequested,
    EntityUnlockSent,
    EventSent,
)


class Rewinding(msgspec.Struct, frozen=True):
    """What becomes of a failed execution.

    ``history`` stays, ``mail`` enters the inbox in this order. ``children`` are open again and are
    to be rewound or, where that cannot be, started again; ``calls`` are to be sent again.
    """

    history: tuple[HistoryEvent, ...]
    mail: tuple[Mail, ...]
    children: tuple[SubOrchestrationInstanceCreated, ...]
    calls: tuple[EntityOperationCalled, ...]


def rewound(history: Sequence[HistoryEvent], reason: str | None, now: datetime) -> Rewinding:
    """Say what is to become of a failed execution with this history."""
    cut = _start_of_failing_turn(history)
    kept = tuple(history[:cut])
    state = OrchestrationState(kept)
    mail: list[Mail] = [ExecutionRewound(now, reason)]
    for event in history[cut:]:
        if isinstance(event, _KEPT) and state.accepts(event):
            mail.append(event)
            for open_things in (state.open_children, state.open_calls):
                open_things.pop(getattr(event, "task_id", -1), None)
    return Rewinding(
        history=kept,
        mail=tuple(mail),
        children=tuple(state.open_children.values()),
        calls=tuple(state.open_calls.values()),
    )


def _start_of_failing_turn(history: Sequence[HistoryEvent]) -> int:
    starts = [_turn_start(history, place) for place in _places(history, OrchestratorStarted)]
    end = len(history)
    for start in reversed(starts):
        turn = history[start:end]
        has_acted = any(isinstance(event, _ACTIONS) for event in turn)
        if any(isinstance(event, _FAILURES) for event in turn):
            # Code that went on after a failure had dealt with it.
            return starts[-1] if has_acted and start != starts[-1] else start
        if has_acted:
            break
        end = start
    return starts[-1] if starts else 0


def _turn_start(history: Sequence[HistoryEvent], place: int) -> int:
    """Return where a turn begins that begins to run code at ``place``: what was held back during a
    suspension comes before that."""
    for before in range(place - 1, -1, -1):
        if isinstance(history[before], ExecutionSuspended):
            return before
        if isinstance(history[before], (OrchestratorStarted, ExecutionResumed, *_ACTIONS)):
            break
    return place


def _places(history: Sequence[HistoryEvent], kind: type) -> list[int]:
    return [place for place, event in enumerate(history) if isinstance(event, kind)]
