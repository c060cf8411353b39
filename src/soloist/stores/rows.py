"""Rows and values: how domain values stand in the tables, and the columns they stand in."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from soloist.core.events import (
    EntityRequested,
    ExecutionTerminated,
    InboxEvent,
    TaskAddress,
    decode_inbox_event,
)
from soloist.core.extras import Extras
from soloist.core.failures import FailureDetails
from soloist.core.instances import AccessKey, HostRecord, InboxMessage, InstanceRecord
from soloist.core.status import RuntimeStatus
from soloist.core.work import lacks_in
from soloist.stores.times import from_micros, to_micros

Row = tuple[Any, ...]

PARENT = "i.parent_instance_id, i.parent_generation, i.parent_execution_id, i.parent_task_id"

RECORD_COLUMNS = (
    "i.generation, i.instance_id, e.execution_id, i.name, i.version, e.status, i.input,"
    " e.output, e.custom_status, e.failure, i.created_at, e.updated_at, e.history_length,"
    f" {PARENT}, i.extras"
)
"""What :func:`record_of` reads of an instance ``i`` and its execution ``e``."""

RECORD = (
    f"SELECT {RECORD_COLUMNS}, e.epoch, e.owner, e.due_at"
    " FROM instances AS i JOIN executions AS e ON e.generation = i.generation"
)
"""Selects what :func:`record_of` reads, and behind it the epoch, the owner and the due time."""

EPOCH, OWNER, DUE_AT = 18, 19, 20

TARGET = (
    f"SELECT e.generation, e.execution_id, e.status, e.owner, {PARENT}"
    " FROM instances AS i JOIN executions AS e ON e.generation = i.generation"
)
"""Selects what :func:`target_of` reads."""

_encoder = msgspec.json.Encoder()
_failure_decoder = msgspec.json.Decoder(FailureDetails)
_extras_decoder = msgspec.json.Decoder(Extras)


class Target(msgspec.Struct, frozen=True, gc=False):
    """What one must know of an instance to send it something."""

    generation: int
    execution_id: str
    status: RuntimeStatus
    owner: int | None
    parent: TaskAddress | None = None


def record_of(row: Row) -> InstanceRecord:
    """Return the record in a row of :data:`RECORD`."""
    return InstanceRecord(
        generation=row[0],
        instance_id=row[1],
        execution_id=row[2],
        name=row[3],
        version=row[4],
        status=RuntimeStatus(row[5]),
        input=row[6],
        output=row[7],
        custom_status=row[8],
        failure=failure_of(row[9]),
        created_at=from_micros(row[10]),
        updated_at=from_micros(row[11]),
        history_length=row[12],
        parent=parent_of(row[13:17]),
        extras=extras_of(row[17]),
    )


def target_of(row: Row) -> Target:
    """Return the target in a row of :data:`TARGET`."""
    return Target(row[0], row[1], RuntimeStatus(row[2]), row[3], parent_of(row[4:8]))


def parent_of(columns: Row) -> TaskAddress | None:
    """Return the parent in four columns."""
    return None if columns[0] is None else TaskAddress(*columns)


def parent_columns(parent: TaskAddress | None) -> Row:
    """Return the four columns of a parent."""
    if parent is None:
        return (None, None, None, None)
    return (parent.instance_id, parent.generation, parent.execution_id, parent.task_id)


def micros_or_none(at: datetime | None) -> int | None:
    """Return a time, if there is one, as it stands in a column."""
    return None if at is None else to_micros(at)


def time_or_none(micros: int | None) -> datetime | None:
    """Return the time in a column, if there is one."""
    return None if micros is None else from_micros(micros)


def failure_of(text: str | None) -> FailureDetails | None:
    """Return the failure in JSON text."""
    return None if text is None else _failure_decoder.decode(text)


def failure_text(failure: FailureDetails | None) -> str | None:
    """Return a failure as JSON text."""
    return None if failure is None else _encoder.encode(failure).decode()


def extras_of(text: str | None) -> Extras | None:
    """Return the extras in JSON text."""
    return None if text is None else _extras_decoder.decode(text)


def extras_text(extras: Extras | None) -> str | None:
    """Return extras as JSON text."""
    return None if extras is None else _encoder.encode(extras).decode()


def begins_at(extras: Extras | None, now: int) -> int:
    """Return when an instance that is inserted now is due."""
    if extras is None or extras.start_at is None:
        return now
    return max(now, to_micros(extras.start_at))


def terminates(event: InboxEvent) -> bool:
    """Whether the event, once it waits in an inbox, means that the instance is as good as over."""
    return isinstance(event, ExecutionTerminated)


def due_at_of(event: InboxEvent) -> int | None:
    """Return when a message is due, ``None`` for at once."""
    return micros_or_none(event.due_at) if isinstance(event, EntityRequested) else None


def message_of(row: Row) -> InboxMessage:
    """Return the message in a row of (message_id, event)."""
    return InboxMessage(row[0], decode_inbox_event(row[1]))


def host_of(row: Row) -> HostRecord:
    """Return the host in a row of its record's fields, in their order."""
    return HostRecord(
        host_id=row[0],
        name=row[1],
        address=row[2],
        version=row[3],
        app_version=row[4],
        process_id=row[5],
        machine=row[6],
        joined_at=from_micros(row[7]),
        renewed_at=from_micros(row[8]),
        is_live=bool(row[9]),
        held=row[10],
        lacks=lacks_in(row[11]),
    )


def key_of(row: Row) -> AccessKey:
    """Return the key in a row of (scope, name, value, created_at)."""
    return AccessKey(row[0], row[1], row[2], from_micros(row[3]))
