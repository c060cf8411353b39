"""Actions: what an orchestrator's code asked for in one episode.

Task ids are allotted by the executor over the whole execution and shared by everything that has
one; the same history always yields the same ids. What has ended may be begun again under its id.
"""

from __future__ import annotations

from datetime import datetime

import msgspec

from soloist.core.extras import Extras
from soloist.core.failures import FailureDetails

HTTP_ACTIVITY = "BuiltIn::HttpActivity"
"""The activity that a durable HTTP call is; the host runs it, not the app."""


class _Action(msgspec.Struct, frozen=True, tag_field="type", tag=True, gc=False):
    pass


class ScheduleTask(_Action, frozen=True):
    """Call an activity."""

    task_id: int
    name: str
    input: str | None = None
    extras: Extras | None = None


class CreateTimer(_Action, frozen=True):
    """Create a durable timer; a time in the past fires at once."""

    task_id: int
    fire_at: datetime


class CancelTimer(_Action, frozen=True):
    """Stop waiting for a durable timer."""

    task_id: int


class ScheduleSubOrchestration(_Action, frozen=True):
    """Start another orchestrator and wait for its end.

    Without ``instance_id`` the id is made from this execution's and the task's; without
    ``version`` the child gets the hub's default version.
    """

    task_id: int
    name: str
    input: str | None = None
    instance_id: str | None = None
    version: str | None = None
    extras: Extras | None = None


class CallEntity(_Action, frozen=True):
    """Run an operation of an entity (``@name@key``) and wait for its answer.

    ``request_id`` is the executor's own name for the call, if it has one.
    """

    task_id: int
    entity_id: str
    operation: str
    input: str | None = None
    request_id: str | None = None


class SignalEntity(_Action, frozen=True):
    """Run an operation of an entity, not before ``due_at``, and do not wait."""

    task_id: int
    entity_id: str
    operation: str
    input: str | None = None
    due_at: datetime | None = None
    request_id: str | None = None


class LockEntities(_Action, frozen=True):
    """Wait until entities belong to this execution alone; ``lock_set`` is in the order in which
    everybody locks. ``section_id`` names the critical section."""

    task_id: int
    section_id: str
    lock_set: tuple[str, ...]


class UnlockEntity(_Action, frozen=True):
    """Give one entity of a critical section free."""

    task_id: int
    section_id: str
    entity_id: str


class SendEvent(_Action, frozen=True):
    """Raise an event for another instance; when there is none that takes it, it is lost."""

    task_id: int
    instance_id: str
    name: str
    input: str | None = None


class CompleteExecution(_Action, frozen=True):
    """The orchestrator returned (``failure`` is ``None``) or raised.

    With ``abandons_open_work`` the execution is over at once: what it began and has not awaited is
    of no interest any more.
    """

    result: str | None = None
    failure: FailureDetails | None = None
    abandons_open_work: bool = False


class CarriedEvent(msgspec.Struct, frozen=True):
    """An external event that nobody waited for, handed to the next execution."""

    name: str
    input: str | None = None


class ContinueAsNew(_Action, frozen=True):
    """End this execution and begin the next one of the same instance, in another ``version`` if
    there is one. ``abandons_open_work`` as for :class:`CompleteExecution`."""

    input: str | None = None
    carried: tuple[CarriedEvent, ...] = ()
    version: str | None = None
    abandons_open_work: bool = False


Action = (
    ScheduleTask
    | CreateTimer
    | CancelTimer
    | ScheduleSubOrchestration
    | CallEntity
    | SignalEntity
    | LockEntities
    | UnlockEntity
    | SendEvent
    | CompleteExecution
    | ContinueAsNew
)


class EpisodeResult(msgspec.Struct, frozen=True):
    """All that one episode produced: its *new* actions and the custom status as it is now.

    ``custom_status`` is JSON text; ``"null"`` says that there is none any more, and ``None`` that
    this execution never set one, so that an earlier execution's stays.
    """

    actions: tuple[Action, ...] = ()
    custom_status: str | None = None
