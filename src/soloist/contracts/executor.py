"""Executors: what runs the user's code for the engine.

An executor may be a process, a thread or a stream to a remote worker. It may lose what it holds
at any moment; it says so, and nothing is lost but time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import Protocol, TypeAlias

import msgspec

from soloist.core.actions import EpisodeResult
from soloist.core.events import HistoryEvent, TaskAddress
from soloist.core.extras import Extras
from soloist.core.failures import FailureDetails
from soloist.core.work import WorkKind


class HistoryNeeded(Exception):
    """The executor does not hold the session; call again with the whole past."""


class Episode(msgspec.Struct, frozen=True, kw_only=True):
    """One turn of one orchestrator.

    ``past`` is the history before ``events``, or ``None`` when the executor should still hold the
    session, having been fed ``position`` events so far.
    """

    generation: int
    execution_id: str
    instance_id: str
    name: str
    position: int
    events: tuple[HistoryEvent, ...]
    past: tuple[HistoryEvent, ...] | None


class Feed(msgspec.Struct, frozen=True, gc=False):
    """Where an orchestrator stands that waits for one activity and for nothing else.

    ``name`` is the orchestrator's; its session was fed ``position`` events, as in an ``Episode``.
    ``at`` is when the activity is begun.
    """

    name: str
    execution_id: str
    position: int
    at: datetime


class FedTurn(msgspec.Struct, frozen=True, gc=False):
    """A turn that was taken where the activity ended: what the code asked for when it was fed
    ``OrchestratorStarted`` and the activity's ``TaskCompleted``, both of the time ``at``."""

    at: datetime
    result: EpisodeResult


class ActivityCall(msgspec.Struct, frozen=True, kw_only=True):
    """One run of one activity. ``generation`` is the fencing token of its instance.

    With ``feeds`` the executor may at once feed a result to the orchestrator that waits for it.
    """

    generation: int
    instance_id: str
    task_id: int
    name: str
    input: str | None
    extras: Extras | None = None
    feeds: Feed | None = None


class ActivityResult(msgspec.Struct, frozen=True):
    """What an activity came to: a result, or a failure when ``failure`` is not ``None``.

    ``turn`` is the turn that the result caused, if it was fed to its orchestrator.
    """

    result: str | None = None
    failure: FailureDetails | None = None
    turn: FedTurn | None = None


class EntityOperation(msgspec.Struct, frozen=True):
    """One operation for an entity; ``input`` is the JSON text that its caller sent.

    ``request_id`` is its caller's own name for it, if it has one, ``caller`` who waits.
    """

    name: str
    input: str | None
    is_signal: bool
    request_id: str | None = None
    caller: TaskAddress | None = None


class EntityBatch(msgspec.Struct, frozen=True, kw_only=True):
    """Operations for one entity, to be run one after another.

    ``state`` is the entity's state as JSON text, ``None`` when it does not exist.
    """

    name: str
    key: str
    state: str | None
    operations: tuple[EntityOperation, ...]


class EntitySignal(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag=True):
    """What an entity asks of another one (``@name@key``), not before ``due_at``."""

    entity_id: str
    operation: str
    input: str | None = None
    due_at: datetime | None = None
    request_id: str | None = None


class EntityStart(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag=True):
    """An orchestration that an entity starts; without ``instance_id`` one is drawn."""

    name: str
    instance_id: str | None = None
    input: str | None = None
    version: str | None = None
    extras: Extras | None = None


class OperationResult(msgspec.Struct, frozen=True):
    """What one operation came to: JSON text, or a failure when ``failure`` is not ``None``."""

    result: str | None = None
    failure: FailureDetails | None = None


class EntityResult(msgspec.Struct, frozen=True, kw_only=True):
    """One result for each operation, the state after the last one (``None``: it does not exist),
    and what the operations asked of others."""

    results: tuple[OperationResult, ...]
    state: str | None
    sent: tuple[EntitySignal | EntityStart, ...] = ()


class TimerCall(msgspec.Struct, frozen=True, kw_only=True):
    """One firing of a timer trigger.

    ``last_at`` is when it last fired (``None``: never), ``next_at`` the occurrence that fires
    now, or on startup the next one, ``updated_at`` when that was written down.
    """

    function: str
    is_past_due: bool
    last_at: datetime | None
    next_at: datetime | None
    updated_at: datetime | None


Absence: TypeAlias = Callable[[WorkKind, str, str | None], asyncio.Future[None] | None]
"""Says whether a function of a name and a version can be run at all now. ``None``: it can; else
a future that is done once that may have changed. Whoever waits may cancel it."""


def nobody_is_absent(
    _kind: WorkKind, _name: str, _version: str | None
) -> asyncio.Future[None] | None:
    """Everything can be run: the ``Absence`` of an executor that has all functions."""
    return None


class Executor(Protocol):
    """Runs orchestrators, activities, entities and timer functions. Many calls may be under way
    at once, but at most one episode for one generation and one batch for one entity."""

    async def run_episode(self, episode: Episode) -> EpisodeResult:
        """Feed events to the orchestrator and return what it newly asked for.

        Only actions not implied by ``past`` are returned; but once the code has ended, its
        ``CompleteExecution`` or ``ContinueAsNew`` is returned from every further episode. A
        user's exception is a result, never raised here.

        Raises:
            HistoryNeeded: ``past`` was ``None`` and the session is not held at ``position``.
            WorkerLost: the process died; the episode may be run again.
            WorkerAbsent: there is no process; the same, and nothing has run.
        """

    async def run_activity(self, call: ActivityCall) -> ActivityResult:
        """Run an activity. A user's exception, or an unknown name, is a result.

        An executor that holds the session which the call ``feeds``, in that execution and at that
        position, may run the turn too; the session has then been fed, whether the turn is used or
        not. Any other ignores it.

        Raises:
            WorkerLost: the process died; the activity may have run, and may be run again.
        """

    async def run_entity(self, batch: EntityBatch) -> EntityResult:
        """Run operations of an entity. A user's exception, or an unknown entity name, is the
        result of the operations that it concerns.

        Raises:
            WorkerLost: the process died; nothing is kept of it, and it may be run again.
        """

    async def run_timer(self, call: TimerCall) -> FailureDetails | None:
        """Run a timer function; return why it failed, ``None`` when it did not.

        Raises:
            WorkerLost: the process died; the function may have run.
        """

    def forget(self, generation: int) -> None:
        """Drop the session of ``generation`` if it is held; never fails and never waits."""
