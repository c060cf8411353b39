"""History events: everything that can have happened to an orchestration.

The names are those of the Durable Task protocol. ``TimerCancelled`` is Soloist's own: the
protocol keeps a cancelled timer only in the orchestrator's memory, but an instance must know
after a restart that it no longer waits. The protocol's ``OrchestratorCompleted`` is left out: an
episode ends where the next ``OrchestratorStarted`` or the history's end stands. ``at`` is aware
UTC with microsecond precision, because replayed code derives its clock and its identifiers from
it.

Payloads (``input``, ``result``) are opaque text to everything but the SDK that wrote them.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

import msgspec

from soloist.core.extras import Extras
from soloist.core.failures import FailureDetails
from soloist.core.status import RuntimeStatus
from soloist.errors import HistoryCorrupt

CODEC_VERSION = 1
"""Stored beside every encoded history row, so that a later format can tell an older one."""


class _Event(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="type", tag=True, gc=False):
    at: datetime


class OrchestratorStarted(_Event, frozen=True):
    """An episode began; ``at`` is what its code sees as the current time."""


class TaskAddress(msgspec.Struct, frozen=True, gc=False):
    """A task of one execution: where an answer goes, and how that answer is told from a late one.

    ``generation`` and ``execution_id`` say which execution waits; an answer to any other is
    dropped.
    """

    instance_id: str
    generation: int
    execution_id: str
    task_id: int


class ExecutionStarted(_Event, frozen=True):
    """The first event of an execution. ``parent_instance_id`` is set in a sub-orchestration."""

    name: str
    execution_id: str
    input: str | None = None
    version: str | None = None
    parent_instance_id: str | None = None
    extras: Extras | None = None


class ExecutionCompleted(_Event, frozen=True):
    """The last event of an execution that ended by itself."""

    status: RuntimeStatus
    result: str | None = None
    failure: FailureDetails | None = None


class ExecutionTerminated(_Event, frozen=True):
    """Somebody ended the instance from outside; ``reason`` is plain text.

    With ``is_recursive`` its open sub-orchestrations end as well.
    """

    reason: str | None = None
    is_recursive: bool = True


class ExecutionSuspended(_Event, frozen=True):
    """Somebody paused the instance: until it is resumed its code sees nothing more."""

    reason: str | None = None


class ExecutionResumed(_Event, frozen=True):
    """Somebody let the instance go on; its code now sees what happened meanwhile."""

    reason: str | None = None


class ExecutionRewound(_Event, frozen=True):
    """Somebody undid the failure of the instance; what had failed is done again."""

    reason: str | None = None


class TaskScheduled(_Event, frozen=True):
    """The orchestrator called an activity."""

    task_id: int
    name: str
    input: str | None = None
    extras: Extras | None = None


class TaskCompleted(_Event, frozen=True):
    """An activity returned."""

    task_id: int
    result: str | None = None


class TaskFailed(_Event, frozen=True):
    """An activity raised, or could not be run."""

    task_id: int
    failure: FailureDetails


class TimerCreated(_Event, frozen=True):
    """The orchestrator created a durable timer."""

    task_id: int
    fire_at: datetime


class TimerFired(_Event, frozen=True):
    """A durable timer's time came."""

    task_id: int
    fire_at: datetime


class TimerCancelled(_Event, frozen=True):
    """The orchestrator cancelled a durable timer before it fired."""

    task_id: int


class EventRaised(_Event, frozen=True):
    """Somebody raised an external event; ``at`` is when it was accepted."""

    name: str
    input: str | None = None


class SubOrchestrationInstanceCreated(_Event, frozen=True):
    """The orchestrator started another one and waits for its end."""

    task_id: int
    instance_id: str
    name: str
    input: str | None = None
    version: str | None = None
    extras: Extras | None = None


class SubOrchestrationInstanceCompleted(_Event, frozen=True):
    """A sub-orchestration returned."""

    task_id: int
    result: str | None = None


class SubOrchestrationInstanceFailed(_Event, frozen=True):
    """A sub-orchestration failed, was terminated or could not be started.

    ``failure.error_type`` is empty unless its code raised; ``message`` is then the whole reason.
    """

    task_id: int
    failure: FailureDetails


class EntityOperationCalled(_Event, frozen=True):
    """The orchestrator called an entity (``@name@key``) and waits for its answer."""

    task_id: int
    entity_id: str
    operation: str
    input: str | None = None
    request_id: str | None = None


class EntityOperationSignaled(_Event, frozen=True):
    """The orchestrator signalled an entity, at once or for ``due_at``; there is no answer."""

    task_id: int
    entity_id: str
    operation: str
    input: str | None = None
    due_at: datetime | None = None
    request_id: str | None = None


class EntityOperationCompleted(_Event, frozen=True):
    """An entity answered."""

    task_id: int
    result: str | None = None


class EntityOperationFailed(_Event, frozen=True):
    """An entity's operation raised, or there is no such entity function."""

    task_id: int
    failure: FailureDetails


class EntityLockRequested(_Event, frozen=True):
    """The orchestrator waits until the entities of ``lock_set`` belong to it alone."""

    task_id: int
    section_id: str
    lock_set: tuple[str, ...]


class EntityLockGranted(_Event, frozen=True):
    """All entities of a critical section belong to the execution."""

    task_id: int
    section_id: str


class EntityUnlockSent(_Event, frozen=True):
    """The orchestrator gave one entity of a critical section free."""

    task_id: int
    section_id: str
    entity_id: str


class EventSent(_Event, frozen=True):
    """The orchestrator raised an event for another instance; there is no answer."""

    task_id: int
    instance_id: str
    name: str
    input: str | None = None


class EntityRequested(_Event, frozen=True):
    """An operation that waits in an entity's inbox; it never enters a history.

    ``caller`` is where the answer goes, ``None`` for a signal. It is not run before ``due_at``.
    """

    operation: str
    input: str | None = None
    caller: TaskAddress | None = None
    due_at: datetime | None = None
    request_id: str | None = None


class LockRequested(_Event, frozen=True):
    """A critical section that waits for an entity. Once the entity at ``position`` of the set is
    the caller's, the request goes on to the next one."""

    section_id: str
    lock_set: tuple[str, ...]
    position: int
    caller: TaskAddress


class LockReleased(_Event, frozen=True):
    """A critical section that needs an entity no more, whether it was granted yet or not."""

    section_id: str


class TimerDeclared(_Event, frozen=True):
    """A host came up whose app has this timer trigger; it waits in the inbox of the timer's
    entity."""

    runs_on_startup: bool = False


HistoryEvent = (
    OrchestratorStarted
    | ExecutionStarted
    | ExecutionCompleted
    | ExecutionTerminated
    | ExecutionSuspended
    | ExecutionResumed
    | ExecutionRewound
    | TaskScheduled
    | TaskCompleted
    | TaskFailed
    | TimerCreated
    | TimerFired
    | TimerCancelled
    | EventRaised
    | SubOrchestrationInstanceCreated
    | SubOrchestrationInstanceCompleted
    | SubOrchestrationInstanceFailed
    | EntityOperationCalled
    | EntityOperationSignaled
    | EntityOperationCompleted
    | EntityOperationFailed
    | EntityLockRequested
    | EntityLockGranted
    | EntityUnlockSent
    | EventSent
)

Completion = (
    TaskCompleted
    | TaskFailed
    | SubOrchestrationInstanceCompleted
    | SubOrchestrationInstanceFailed
    | EntityOperationCompleted
    | EntityOperationFailed
    | EntityLockGranted
)
"""What ends something that the orchestrator began elsewhere."""

Control = ExecutionTerminated | ExecutionSuspended | ExecutionResumed | ExecutionRewound
"""What people do to an instance from outside."""

Mail = EventRaised | Control | Completion
"""What may wait in the inbox of an orchestration."""

LockMail = LockRequested | LockReleased
"""What critical sections say to an entity."""

EntityMail = EntityRequested | LockMail | TimerDeclared
"""What may wait in the inbox of an entity."""

InboxEvent = Mail | EntityMail
"""What may arrive from outside and wait in an inbox."""

Arrival = ExecutionStarted | TimerFired | Mail
"""What makes an orchestrator take a turn."""

_encoder = msgspec.json.Encoder()
_history_decoder = msgspec.json.Decoder(tuple[HistoryEvent, ...])
_inbox_decoder = msgspec.json.Decoder(InboxEvent)


def encode_events(events: Iterable[HistoryEvent]) -> str:
    """Return events as one JSON array."""
    return _encoder.encode(tuple(events)).decode()


def decode_events(text: str) -> tuple[HistoryEvent, ...]:
    """Return the events of one JSON array written by :func:`encode_events`."""
    try:
        return _history_decoder.decode(text)
    except msgspec.MsgspecError as error:
        raise HistoryCorrupt(f"A history row cannot be read: {error}.") from error


def encode_inbox_event(event: InboxEvent) -> str:
    """Return one inbox event as a JSON object."""
    return _encoder.encode(event).decode()


def decode_inbox_event(text: str) -> InboxEvent:
    """Return the event written by :func:`encode_inbox_event`."""
    try:
        event: InboxEvent = _inbox_decoder.decode(text)
    except msgspec.MsgspecError as error:
        raise HistoryCorrupt(f"An inbox row cannot be read: {error}.") from error
    return event
