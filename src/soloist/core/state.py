"""An orchestration's state: the fold of its history.

Rules of this file: the state changes only by :meth:`OrchestrationState.apply`, one event at a
time, and an event that breaks a law (an unknown task completed, a finished execution continued)
raises instead of being absorbed. Folding costs the same for every event, however long the
history.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, TypeAlias

from soloist.core.events import (
    Arrival,
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
from soloist.errors import HistoryCorrupt


class OrchestrationState:
    """What an execution has begun and what it still waits for. Owned by one session."""

    __slots__ = (
        "clock_at",
        "is_finished",
        "length",
        "next_task_id",
        "open_calls",
        "open_children",
        "open_locks",
        "open_sections",
        "open_tasks",
        "open_timers",
        "started",
        "suspension",
    )

    def __init__(self, history: Iterable[HistoryEvent] = ()) -> None:
        self.started: ExecutionStarted | None = None
        self.open_tasks: dict[int, TaskScheduled] = {}
        self.open_timers: dict[int, TimerCreated] = {}
        self.open_children: dict[int, SubOrchestrationInstanceCreated] = {}
        self.open_calls: dict[int, EntityOperationCalled] = {}
        self.open_locks: dict[int, EntityLockRequested] = {}
        self.open_sections: dict[str, set[str]] = {}
        self.next_task_id = 0
        self.length = 0
        self.clock_at: datetime | None = None
        self.is_finished = False
        self.suspension: ExecutionSuspended | None = None
        self.extend(history)

    @property
    def is_suspended(self) -> bool:
        """Whether the code is shown nothing for now."""
        return self.suspension is not None

    @property
    def has_open_work(self) -> bool:
        """Whether anything was begun that keeps the execution from ending, as on Azure: an
        entity's answer and an external event do not."""
        return bool(self.open_tasks or self.open_timers or self.open_children)

    def waits_only_for(self, task_id: int) -> bool:
        """Whether that activity is all that was begun and has not ended, and its completion is for
        the code to see at once. An external event may still come."""
        if task_id not in self.open_tasks or len(self.open_tasks) > 1 or self.is_suspended:
            return False
        return not (self.open_timers or self.open_children or self.open_calls or self.open_locks)

    def extend(self, events: Iterable[HistoryEvent]) -> None:
        """Apply events in order."""
        for event in events:
            self.apply(event)

    def apply(self, event: HistoryEvent) -> None:
        """Take in one more event of the history.

        Raises:
            HistoryCorrupt: the event cannot follow what came before it.
        """
        if self.is_finished:
            raise HistoryCorrupt(f"{_name(event)} follows the end of the execution.")
        fold = _FOLDS.get(type(event))
        if fold is not None:
            fold(self, event)
        self.length += 1

    def accepts(self, arrival: Arrival) -> bool:
        """Whether the arrival may still enter the history: nothing completes twice."""
        if self.is_finished:
            return False
        match arrival:
            case TaskCompleted() | TaskFailed():
                return arrival.task_id in self.open_tasks
            case TimerFired():
                return arrival.task_id in self.open_timers
            case SubOrchestrationInstanceCompleted() | SubOrchestrationInstanceFailed():
                return arrival.task_id in self.open_children
            case EntityOperationCompleted() | EntityOperationFailed():
                return arrival.task_id in self.open_calls
            case EntityLockGranted():
                return arrival.task_id in self.open_locks
            case ExecutionStarted():
                return self.started is None
        return True

    def next_timer_at(self) -> datetime | None:
        """Return when the earliest open timer fires."""
        if not self.open_timers:
            return None
        return min(timer.fire_at for timer in self.open_timers.values())

    def _take_task_id(
        self,
        event: TaskScheduled
        | TimerCreated
        | SubOrchestrationInstanceCreated
        | EntityOperationCalled
        | EntityOperationSignaled
        | EntityLockRequested
        | EntityUnlockSent
        | EventSent,
    ) -> None:
        """Count a task id as used. An SDK may retry under the id of what failed, so one that was
        used before is refused only while it is open."""
        if event.task_id < self.next_task_id and self._is_open(event.task_id):
            raise HistoryCorrupt(f"{_name(event)} uses task id {event.task_id} again.")
        self.next_task_id = max(self.next_task_id, event.task_id + 1)

    def _is_open(self, task_id: int) -> bool:
        return (
            task_id in self.open_tasks
            or task_id in self.open_timers
            or task_id in self.open_children
            or task_id in self.open_calls
            or task_id in self.open_locks
        )

    def _on_orchestrator_started(self, event: OrchestratorStarted) -> None:
        self.clock_at = event.at

    def _on_execution_started(self, event: ExecutionStarted) -> None:
        if self.started is not None:
            raise HistoryCorrupt("ExecutionStarted stands in the history twice.")
        self.started = event

    def _on_execution_ended(self, _event: HistoryEvent) -> None:
        self.is_finished = True
        self.open_tasks.clear()
        self.open_timers.clear()
        self.open_children.clear()
        self.open_calls.clear()
        self.open_locks.clear()
        self.open_sections.clear()

    def _on_suspended(self, event: ExecutionSuspended) -> None:
        self.suspension = event

    def _on_resumed(self, _event: ExecutionResumed) -> None:
        self.suspension = None

    def _on_task_scheduled(self, event: TaskScheduled) -> None:
        self._take_task_id(event)
        self.open_tasks[event.task_id] = event

    def _on_task_ended(self, event: TaskCompleted | TaskFailed) -> None:
        if self.open_tasks.pop(event.task_id, None) is None:
            raise HistoryCorrupt(f"{_name(event)} for task {event.task_id}, which is not open.")

    def _on_timer_created(self, event: TimerCreated) -> None:
        self._take_task_id(event)
        self.open_timers[event.task_id] = event

    def _on_timer_ended(self, event: TimerFired | TimerCancelled) -> None:
        if self.open_timers.pop(event.task_id, None) is None:
            raise HistoryCorrupt(f"{_name(event)} for timer {event.task_id}, which is not open.")

    def _on_child_created(self, event: SubOrchestrationInstanceCreated) -> None:
        self._take_task_id(event)
        self.open_children[event.task_id] = event

    def _on_child_ended(
        self, event: SubOrchestrationInstanceCompleted | SubOrchestrationInstanceFailed
    ) -> None:
        if self.open_children.pop(event.task_id, None) is None:
            raise HistoryCorrupt(
                f"{_name(event)} for sub-orchestration {event.task_id}, which is not open."
            )

    def _on_entity_called(self, event: EntityOperationCalled) -> None:
        self._take_task_id(event)
        self.open_calls[event.task_id] = event

    def _on_entity_answered(self, event: EntityOperationCompleted | EntityOperationFailed) -> None:
        if self.open_calls.pop(event.task_id, None) is None:
            raise HistoryCorrupt(
                f"{_name(event)} for entity call {event.task_id}, which is not open."
            )

    def _on_lock_requested(self, event: EntityLockRequested) -> None:
        self._take_task_id(event)
        self.open_locks[event.task_id] = event
        self.open_sections[event.section_id] = set(event.lock_set)

    def _on_lock_granted(self, event: EntityLockGranted) -> None:
        if self.open_locks.pop(event.task_id, None) is None:
            raise HistoryCorrupt(f"{_name(event)} for lock {event.task_id}, which is not open.")

    def _on_unlock_sent(self, event: EntityUnlockSent) -> None:
        self._take_task_id(event)
        locked = self.open_sections.get(event.section_id, set())
        locked.discard(event.entity_id)
        if not locked:
            self.open_sections.pop(event.section_id, None)


def _name(event: HistoryEvent) -> str:
    return type(event).__name__


_Fold: TypeAlias = Callable[[OrchestrationState, Any], None]
# Any: each fold is filed under the one event type that it takes.
_FOLDS: dict[type, _Fold] = {
    OrchestratorStarted: OrchestrationState._on_orchestrator_started,
    ExecutionStarted: OrchestrationState._on_execution_started,
    ExecutionCompleted: OrchestrationState._on_execution_ended,
    ExecutionTerminated: OrchestrationState._on_execution_ended,
    TaskScheduled: OrchestrationState._on_task_scheduled,
    TaskCompleted: OrchestrationState._on_task_ended,
    TaskFailed: OrchestrationState._on_task_ended,
    TimerCreated: OrchestrationState._on_timer_created,
    TimerFired: OrchestrationState._on_timer_ended,
    TimerCancelled: OrchestrationState._on_timer_ended,
    ExecutionSuspended: OrchestrationState._on_suspended,
    ExecutionResumed: OrchestrationState._on_resumed,
    SubOrchestrationInstanceCreated: OrchestrationState._on_child_created,
    SubOrchestrationInstanceCompleted: OrchestrationState._on_child_ended,
    SubOrchestrationInstanceFailed: OrchestrationState._on_child_ended,
    EntityOperationCalled: OrchestrationState._on_entity_called,
    EntityOperationSignaled: OrchestrationState._take_task_id,
    EntityOperationCompleted: OrchestrationState._on_entity_answered,
    EntityOperationFailed: OrchestrationState._on_entity_answered,
    EntityLockRequested: OrchestrationState._on_lock_requested,
    EntityLockGranted: OrchestrationState._on_lock_granted,
    EntityUnlockSent: OrchestrationState._on_unlock_sent,
    EventSent: OrchestrationState._take_task_id,
}
assert not {EventRaised, ExecutionRewound} & _FOLDS.keys(), "these change nothing but the length"
