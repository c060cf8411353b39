"""History events: everything that can have happened to an orchestration.

The names are those of the Durable Task protocol. ``TimerCancelled`` is Soloist's own: the
protocol keeps a cancelled timer only in the orchestrator's memory, but an instance must know
after a restart that it no longer waits. The protocol's ``OrchestratorCompleted`` is left out: an
episode ends where the next ``OrchestratorStarted`` or the history's end stands. ``at`` is aware UTC with microsecond precision, because
replayed code derives its clock and its identifiers from it.

Payloads (``input``, ``result``) are opaque text to everything but the SDK that wrote them.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

import msgspec

from soloist.core.failures import FailureDetails
from soloist.core.status import RuntimeStatus
from soloist.errors import HistoryCorrupt

CODEC_VERSION = 1
"""Stored beside every encoded history row, so that a later format can tell an older one."""


class _Event(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="type", tag=True, gc=False):
    at: datetime


class OrchestratorStarted(_Event, frozen=True):
    """An episode began; ``at`` is what its code sees as the current time."""


class ExecutionStarted(_Event, frozen=True):
    """The first event of an execution."""

    name: str
    execution_id: str
    input: str | None = None
    version: str | None = None


class ExecutionCompleted(_Event, frozen=True):
    """The last event of an execution that ended by itself."""

    status: RuntimeStatus
    result: str | None = None
    failure: FailureDetails | None = None


class ExecutionTerminated(_Event, frozen=True):
    """Somebody ended the instance from outside; ``reason`` is plain text."""

    reason: str | None = None


class TaskScheduled(_Event, frozen=True):
    """The orchestrator called an activity."""

    task_id: int
    name: str
    input: str | None = None


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


HistoryEvent = (
    OrchestratorStarted
    | ExecutionStarted
    | ExecutionCompleted
    | ExecutionTerminated
    | TaskScheduled
    | TaskCompleted
    | TaskFailed
    | TimerCreated
    | TimerFired
    | TimerCancelled
    | EventRaised
)

InboxEvent = EventRaised | ExecutionTerminated
"""What may arrive from outside and wait in an instance's inbox."""

Arrival = (
    ExecutionStarted | TaskCompleted | TaskFailed | TimerFired | EventRaised | ExecutionTerminated
)
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
