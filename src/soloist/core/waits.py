"""Waits: what a live instance waits for, as far as its hub knows.

Law 10: every live instance has an owner, a due time or something stated that it waits for. What it
waits for is read off what is durable: its history, its inbox, who holds it, and what the hosts say
they have no worker for. A history does not hold the external events that code waits for; so an
instance of which nothing else is known waits for one, or its code does something that is not seen.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import TypeAlias

import msgspec

from soloist.core.entity_locks import EntityLock, lock_in
from soloist.core.events import (
    Completion,
    EntityRequested,
    ExecutionTerminated,
    HistoryEvent,
    InboxEvent,
    LockRequested,
)
from soloist.core.ids import is_entity_id
from soloist.core.instances import Hold, HostRecord, InboxMessage, InstanceRecord
from soloist.core.state import OrchestrationState
from soloist.core.work import WorkKind

MAX_WAITS = 20
"""How many things are named that one instance waits for."""


class _Wait(msgspec.Struct, frozen=True, kw_only=True, tag_field="type"):
    pass


class TurnWait(_Wait, frozen=True, tag="turn"):
    """Something is there for the instance to take in: its start if it ``is_first``, ``messages``,
    timers that fell due, or a host is to look at it."""

    since: datetime
    is_first: bool = False
    messages: int = 0
    timers: int = 0


class StartWait(_Wait, frozen=True, tag="start"):
    """It begins later."""

    at: datetime


class ResumptionWait(_Wait, frozen=True, tag="resumption"):
    """It is suspended."""

    since: datetime
    reason: str | None


class WorkerWait(_Wait, frozen=True, tag="worker"):
    """A host that may run it has no worker that knows a function which it needs."""

    host_id: int
    kind: WorkKind
    name: str
    version: str | None


class ActivityWait(_Wait, frozen=True, tag="activity"):
    """An activity has not ended."""

    task_id: int
    name: str
    version: str | None
    since: datetime


class TimerWait(_Wait, frozen=True, tag="timer"):
    """A durable timer has not fired."""

    task_id: int
    fire_at: datetime
    since: datetime


class ChildWait(_Wait, frozen=True, tag="subOrchestration"):
    """A sub-orchestration has not ended."""

    task_id: int
    name: str
    instance_id: str
    since: datetime


class CallWait(_Wait, frozen=True, tag="entity"):
    """An entity has not answered."""

    task_id: int
    entity_id: str
    operation: str
    since: datetime


class LockWait(_Wait, frozen=True, tag="lock"):
    """The entities of a critical section are not all its own yet."""

    task_id: int
    entity_ids: tuple[str, ...]
    since: datetime


class EventWait(_Wait, frozen=True, tag="event"):
    """Nothing that it began is open: an external event, or its own code."""

    since: datetime


class SectionWait(_Wait, frozen=True, tag="section"):
    """An entity belongs to the critical section of an orchestration."""

    instance_id: str


class OperationWait(_Wait, frozen=True, tag="operation"):
    """An entity has nothing to do, before ``due_at`` if something is due by then."""

    due_at: datetime | None


TaskWait: TypeAlias = ActivityWait | TimerWait | ChildWait | CallWait | LockWait
Wait: TypeAlias = (
    TurnWait
    | StartWait
    | ResumptionWait
    | WorkerWait
    | TaskWait
    | EventWait
    | SectionWait
    | OperationWait
)


class Waits(msgspec.Struct, frozen=True):
    """What an instance waits for: nothing once it has ended, else at least one thing. ``more``
    counts those beyond :data:`MAX_WAITS`."""

    named: tuple[Wait, ...] = ()
    more: int = 0


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """What a store tells of one instance at one moment ``now`` of its clock."""

    record: InstanceRecord
    history: tuple[HistoryEvent, ...]
    inbox: tuple[InboxMessage, ...]
    hold: Hold
    hosts: tuple[HostRecord, ...]
    now: datetime


def waits_of(seen: Seen) -> Waits:
    """Return what an instance waits for: first what is its own, then workers, then its tasks."""
    if seen.record.status.is_terminal:
        return Waits()
    if is_entity_id(seen.record.instance_id):
        found = _waits_of_entity(seen)
    else:
        found = _waits_of_orchestration(seen)
    return Waits(tuple(found[:MAX_WAITS]), max(0, len(found) - MAX_WAITS))


def _waits_of_orchestration(seen: Seen) -> list[Wait]:
    record = seen.record
    state = OrchestrationState(seen.history)
    begins_at = _begins_at(seen)
    turn = _turn_of(seen, state, begins_at)
    tasks = _tasks(seen, state)
    needed = {
        (WorkKind.ACTIVITY, task.name, task.version)
        for task in tasks
        if isinstance(task, ActivityWait)
    }
    if turn is not None:
        needed.add((WorkKind.ORCHESTRATION, record.name, record.version))
    found: list[Wait] = [] if turn is None else [turn]
    if begins_at is not None:
        found.append(StartWait(at=begins_at))
    suspension = state.suspension
    if suspension is not None:
        found.append(ResumptionWait(since=suspension.at, reason=suspension.reason))
    found += [*_workers(seen, needed), *tasks]
    return found or [EventWait(since=record.updated_at)]


def _begins_at(seen: Seen) -> datetime | None:
    """Return when the instance begins, if that is yet to come."""
    extras = seen.record.extras
    if extras is None or extras.start_at is None or seen.history or extras.start_at <= seen.now:
        return None
    return extras.start_at


def _turn_of(seen: Seen, state: OrchestrationState, begins_at: datetime | None) -> TurnWait | None:
    """Return what there is to take in. Before its time an instance takes in its end only."""
    record, now = seen.record, seen.now
    if begins_at is not None and not any(
        isinstance(each.event, ExecutionTerminated) for each in seen.inbox
    ):
        return None
    is_first = not seen.history
    fired = [each.fire_at for each in state.open_timers.values() if each.fire_at <= now]
    began = [*fired, *(each.event.at for each in seen.inbox)]
    if is_first:
        start_at = None if record.extras is None else record.extras.start_at
        began.append(record.updated_at if start_at is None else max(record.updated_at, start_at))
    due_at = seen.hold.due_at
    if seen.hold.host_id is None and due_at is not None and due_at <= now:
        began.append(due_at)
    if not began:
        return None
    return TurnWait(
        since=min(began), is_first=is_first, messages=len(seen.inbox), timers=len(fired)
    )


def _tasks(seen: Seen, state: OrchestrationState) -> list[TaskWait]:
    """Return what was begun and has not ended, in the order in which it was begun."""
    answered = {each.event.task_id for each in seen.inbox if isinstance(each.event, Completion)}
    found: list[TaskWait] = []
    for task in state.open_tasks.values():
        version = None if task.extras is None else task.extras.version
        found.append(
            ActivityWait(task_id=task.task_id, name=task.name, version=version, since=task.at)
        )
    for timer in state.open_timers.values():
        if timer.fire_at > seen.now:
            found.append(TimerWait(task_id=timer.task_id, fire_at=timer.fire_at, since=timer.at))
    for child in state.open_children.values():
        found.append(
            ChildWait(
                task_id=child.task_id,
                name=child.name,
                instance_id=child.instance_id,
                since=child.at,
            )
        )
    for call in state.open_calls.values():
        found.append(
            CallWait(
                task_id=call.task_id,
                entity_id=call.entity_id,
                operation=call.operation,
                since=call.at,
            )
        )
    for lock in state.open_locks.values():
        found.append(LockWait(task_id=lock.task_id, entity_ids=lock.lock_set, since=lock.at))
    found.sort(key=lambda each: each.task_id)
    return [each for each in found if each.task_id not in answered]


def _workers(seen: Seen, needed: set[tuple[WorkKind, str, str | None]]) -> Iterator[WorkerWait]:
    """Return which hosts that may run the instance lack what it needs: its holder, else all."""
    holder = seen.hold.host_id
    for host in seen.hosts:
        if not host.is_live or host.lacks is None or holder not in (None, host.host_id):
            continue
        for each in host.lacks.functions:
            if (each.kind, each.name, each.version) in needed:
                yield WorkerWait(
                    host_id=host.host_id, kind=each.kind, name=each.name, version=each.version
                )


def _waits_of_entity(seen: Seen) -> list[Wait]:
    lock = lock_in(seen.record.custom_status)
    events = [message.event for message in seen.inbox]
    ready = [each for each in events if _is_ready(each, lock, seen.now)]
    found: list[Wait] = []
    if ready:
        found.append(TurnWait(since=min(_ready_at(each) for each in ready), messages=len(ready)))
        found += _workers(seen, {(WorkKind.ENTITY, seen.record.name, None)})
    if lock is not None:
        found.append(SectionWait(instance_id=lock.owner.instance_id))
    later = [
        each.due_at
        for each in events
        if isinstance(each, EntityRequested) and each.due_at is not None and each.due_at > seen.now
    ]
    if later or not found:
        found.append(OperationWait(due_at=min(later, default=seen.hold.due_at)))
    return found


def _ready_at(event: InboxEvent) -> datetime:
    due_at = event.due_at if isinstance(event, EntityRequested) else None
    return event.at if due_at is None else max(event.at, due_at)


def _is_ready(event: InboxEvent, lock: EntityLock | None, now: datetime) -> bool:
    """Whether an entity may take a message in: it is due, and no critical section is before it."""
    if isinstance(event, LockRequested):
        return lock is None
    if not isinstance(event, EntityRequested):
        return True
    is_due = event.due_at is None or event.due_at <= now
    return is_due and (lock is None or lock.admits(event.caller))
