"""Messages: what one step of an instance does to others, in its own transaction.

The store carries them out in order and judges each by itself: one that comes too late (the
execution that waited is gone) is dropped and disturbs nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from hashlib import blake2b

import msgspec

from soloist.core.actions import (
    Action,
    CallEntity,
    CancelTimer,
    CreateTimer,
    LockEntities,
    ScheduleSubOrchestration,
    ScheduleTask,
    SendEvent,
    SignalEntity,
    UnlockEntity,
)
from soloist.core.events import (
    Completion,
    EntityLockRequested,
    EntityOperationCalled,
    EntityOperationFailed,
    EntityOperationSignaled,
    EntityRequested,
    EntityUnlockSent,
    EventRaised,
    EventSent,
    ExecutionTerminated,
    HistoryEvent,
    InboxEvent,
    LockMail,
    LockReleased,
    LockRequested,
    SubOrchestrationInstanceCompleted,
    SubOrchestrationInstanceCreated,
    SubOrchestrationInstanceFailed,
    TaskAddress,
    TaskScheduled,
    TimerCancelled,
    TimerCreated,
)
from soloist.core.failures import FailureDetails
from soloist.core.ids import (
    MAX_INSTANCE_ID_LENGTH,
    check_entity_id,
    check_instance_id,
    folded_entity_id,
)
from soloist.core.instances import InboxMessage, StartRequest
from soloist.core.state import OrchestrationState
from soloist.core.status import RuntimeStatus
from soloist.errors import HistoryCorrupt, InstanceExists, InvalidRequest

_ID_BYTES = 16


class StartChild(msgspec.Struct, frozen=True, gc=False):
    """Start a sub-orchestration, by the rule of every start.

    When it is refused, :func:`refused_child` goes to the inbox of ``request.parent``; without a
    parent nobody waits, and nobody is told.
    """

    request: StartRequest


class Reply(msgspec.Struct, frozen=True, gc=False):
    """An answer for a task; dropped when its execution is not the live one of its instance."""

    to: TaskAddress
    event: Completion


class SendRequest(msgspec.Struct, frozen=True, gc=False):
    """A request for an entity, which comes into being when it is not there."""

    entity_id: str
    event: EntityRequested | LockMail

    @property
    def caller(self) -> TaskAddress | None:
        """The task that waits for the answer of an operation."""
        return self.event.caller if isinstance(self.event, EntityRequested) else None


class PassEvent(msgspec.Struct, frozen=True, gc=False):
    """An external event for another orchestration; dropped when none of that id is live."""

    instance_id: str
    event: EventRaised


class TerminateChild(msgspec.Struct, frozen=True, gc=False):
    """The end of a sub-orchestration, if it is live and still the child of ``parent``."""

    instance_id: str
    parent: TaskAddress
    event: ExecutionTerminated


Outgoing = StartChild | Reply | SendRequest | TerminateChild | PassEvent


class Execution(msgspec.Struct, frozen=True, kw_only=True):
    """Who takes a turn: what of an execution stays the same in all its turns.

    ``default_version`` is given to sub-orchestrations that ask for none.
    """

    instance_id: str
    generation: int
    execution_id: str
    name: str
    parent: TaskAddress | None = None
    default_version: str | None = None
    max_instance_id_length: int = MAX_INSTANCE_ID_LENGTH

    def task(self, task_id: int) -> TaskAddress:
        """Return the address of one of its tasks."""
        return TaskAddress(self.instance_id, self.generation, self.execution_id, task_id)


def record_action(
    state: OrchestrationState,
    events: list[HistoryEvent],
    action: Action,
    now: datetime,
    execution: Execution,
) -> tuple[Outgoing, ...]:
    """Record what the code asked for; return what that sends to other instances.

    Raises:
        HistoryCorrupt: the action cannot follow what was recorded before.
    """
    event = event_of(action, now, execution)
    state.apply(event)
    events.append(event)
    match event:
        case SubOrchestrationInstanceCreated():
            address = execution.task(event.task_id)
            return (child_of(event, now, address, execution.max_instance_id_length),)
        case EntityOperationCalled():
            return (call_of(event, now, execution.task(event.task_id)),)
        case EntityOperationSignaled():
            return _signal_of(event, now)
        case EntityLockRequested():
            return _lock_of(event, now, execution.task(event.task_id))
        case EntityUnlockSent():
            return (SendRequest(event.entity_id, LockReleased(now, event.section_id)),)
        case EventSent():
            return (PassEvent(event.instance_id, EventRaised(now, event.name, event.input)),)
    return ()


def event_of(action: Action, now: datetime, execution: Execution) -> HistoryEvent:
    """Return the event that records an action.

    Raises:
        HistoryCorrupt: it is an end, which is recorded otherwise.
    """
    match action:
        case ScheduleTask():
            return TaskScheduled(now, action.task_id, action.name, action.input, action.extras)
        case CreateTimer():
            return TimerCreated(now, action.task_id, action.fire_at)
        case CancelTimer():
            return TimerCancelled(now, action.task_id)
        case ScheduleSubOrchestration():
            return SubOrchestrationInstanceCreated(
                now,
                action.task_id,
                action.instance_id or f"{execution.execution_id}:{action.task_id}",
                action.name,
                action.input,
                execution.default_version if action.version is None else action.version,
                action.extras,
            )
        case SendEvent():
            return EventSent(now, action.task_id, action.instance_id, action.name, action.input)
    return _entity_event_of(action, now)


def _entity_event_of(action: Action, now: datetime) -> HistoryEvent:
    match action:
        case CallEntity():
            return EntityOperationCalled(
                now,
                action.task_id,
                action.entity_id,
                action.operation,
                action.input,
                action.request_id,
            )
        case SignalEntity():
            return EntityOperationSignaled(
                now,
                action.task_id,
                action.entity_id,
                action.operation,
                action.input,
                action.due_at,
                action.request_id,
            )
        case LockEntities():
            lock_set = tuple(map(folded_entity_id, action.lock_set))
            return EntityLockRequested(now, action.task_id, action.section_id, lock_set)
        case UnlockEntity():
            entity_id = folded_entity_id(action.entity_id)
            return EntityUnlockSent(now, action.task_id, action.section_id, entity_id)
    raise HistoryCorrupt(f"{type(action).__name__} cannot be recorded as an event.")


def child_of(
    event: SubOrchestrationInstanceCreated,
    now: datetime,
    parent: TaskAddress,
    max_instance_id_length: int = MAX_INSTANCE_ID_LENGTH,
) -> StartChild | Reply:
    """Return what a recorded sub-orchestration sends: its start, or the failure of an id that no
    instance can have."""
    try:
        check_instance_id(event.instance_id, max_instance_id_length)
    except InvalidRequest as error:
        failure = FailureDetails(str(error))
        return Reply(parent, SubOrchestrationInstanceFailed(now, event.task_id, failure))
    return StartChild(child_request(event, now, parent))


def child_request(
    event: SubOrchestrationInstanceCreated, now: datetime, parent: TaskAddress
) -> StartRequest:
    """Return the start of a sub-orchestration; the same task always draws the same ids."""
    seed = f"{parent.execution_id}:{parent.task_id}".encode()
    return StartRequest(
        instance_id=event.instance_id,
        execution_id=blake2b(seed, digest_size=_ID_BYTES).hexdigest(),
        name=event.name,
        at=now,
        input=event.input,
        version=event.version,
        parent=parent,
        extras=event.extras,
    )


def refused_child(refusal: InstanceExists, task_id: int, now: datetime) -> Completion:
    """Return what a parent learns when the id of its sub-orchestration is taken."""
    return SubOrchestrationInstanceFailed(now, task_id, FailureDetails(str(refusal)))


def replaced_child(parent: TaskAddress, now: datetime) -> Reply:
    """Return what a parent learns when somebody else's start replaced its sub-orchestration."""
    failure = FailureDetails("The sub-orchestration was replaced by another start of its ID.")
    return Reply(parent, SubOrchestrationInstanceFailed(now, parent.task_id, failure))


def parent_replaced(now: datetime) -> ExecutionTerminated:
    """Return what ends the sub-orchestrations of an instance that was replaced."""
    return ExecutionTerminated(now, "The instance that started it was replaced.")


def call_of(
    event: EntityOperationCalled, now: datetime, caller: TaskAddress
) -> SendRequest | Reply:
    """Return what a recorded call of an entity sends: its request, or the failure of an id that no
    entity can have."""
    try:
        entity_id = str(check_entity_id(event.entity_id))
    except InvalidRequest as error:
        failure = FailureDetails(str(error))
        return Reply(caller, EntityOperationFailed(now, event.task_id, failure))
    request = EntityRequested(
        now, event.operation, event.input, caller, request_id=event.request_id
    )
    return SendRequest(entity_id, request)


def asks_already(messages: Iterable[InboxMessage], caller: TaskAddress) -> bool:
    """Whether a call of this task waits in an entity's inbox."""
    return any(
        isinstance(message.event, EntityRequested) and message.event.caller == caller
        for message in messages
    )


def purged_entity(messages: Iterable[InboxMessage], now: datetime) -> tuple[Reply, ...]:
    """Return what those learn who wait for an entity that is purged."""
    failure = FailureDetails("The entity was purged before it answered.")
    callers = [
        message.event.caller
        for message in messages
        if isinstance(message.event, EntityRequested) and message.event.caller is not None
    ]
    return tuple(
        Reply(caller, EntityOperationFailed(now, caller.task_id, failure)) for caller in callers
    )


def outlives_execution(event: InboxEvent) -> bool:
    """Whether a waiting message is for the instance rather than for the execution that ends now:
    an entity's answer is not."""
    return not isinstance(event, Completion)


def _signal_of(event: EntityOperationSignaled, now: datetime) -> tuple[SendRequest, ...]:
    try:
        entity_id = str(check_entity_id(event.entity_id))
    except InvalidRequest:  # nobody waits for an answer, and nobody can have that id
        return ()
    request = EntityRequested(
        now, event.operation, event.input, due_at=event.due_at, request_id=event.request_id
    )
    return (SendRequest(entity_id, request),)


def _lock_of(
    event: EntityLockRequested, now: datetime, caller: TaskAddress
) -> tuple[SendRequest, ...]:
    """Return what asks the first entity of a set; it passes the request on."""
    if not event.lock_set:
        return ()
    request = LockRequested(now, event.section_id, event.lock_set, 0, caller)
    return (SendRequest(event.lock_set[0], request),)


def release_locks(state: OrchestrationState, now: datetime) -> tuple[SendRequest, ...]:
    """Return what gives free all entities that an execution holds or waits for as it ends."""
    return tuple(
        SendRequest(entity_id, LockReleased(now, section_id))
        for section_id, lock_set in state.open_sections.items()
        for entity_id in sorted(lock_set)
    )


def terminate_children(
    state: OrchestrationState,
    terminated: ExecutionTerminated,
    now: datetime,
    execution: Execution,
) -> tuple[Outgoing, ...]:
    """Return the ends of the sub-orchestrations that a terminated instance still waits for."""
    if not terminated.is_recursive:
        return ()
    event = ExecutionTerminated(now, terminated.reason)
    return tuple(
        TerminateChild(child.instance_id, execution.task(child.task_id), event)
        for child in state.open_children.values()
    )


def answer_parent(
    execution: Execution,
    status: RuntimeStatus,
    result: str | None,
    failure: FailureDetails | None,
    now: datetime,
) -> tuple[Outgoing, ...]:
    """Return what the task that waits for this execution's end learns of it, if there is one."""
    parent = execution.parent
    if parent is None:
        return ()
    event: Completion
    if status is RuntimeStatus.COMPLETED:
        event = SubOrchestrationInstanceCompleted(now, parent.task_id, result)
    else:
        failure = failure or FailureDetails(result or "The sub-orchestration was terminated.")
        event = SubOrchestrationInstanceFailed(now, parent.task_id, failure)
    return (Reply(parent, event),)
