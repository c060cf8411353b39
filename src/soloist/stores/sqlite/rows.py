"""Rows and values: how domain values stand in the tables, and the columns they stand in."""

from __future__ import annotations

from typing import Any

import msgspec

from soloist.core.events import ExecutionTerminated, InboxEvent, decode_inbox_event
from soloist.core.failures import FailureDetails
from soloist.core.instances import AccessKey, InboxMessage, InstanceRecord
from soloist.core.status import RuntimeStatus
from soloist.stores.times import from_micros

Row = tuple[Any, ...]

RECORD = (
    "SELECT i.generation, i.instance_id, e.execution_id, i.name, i.version, e.status, i.input,"
    " e.output, e.custom_status, e.failure, i.created_at, e.updated_at, e.history_length,"
    " e.epoch, e.owner"
    " FROM instances AS i JOIN executions AS e ON e.generation = i.generation"
)
"""Selects what :func:`record_of` reads, and behind it the epoch and the owner."""

EPOCH, OWNER = 13, 14

_encoder = msgspec.json.Encoder()
_failure_decoder = msgspec.json.Decoder(FailureDetails)


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
        failure=None if row[9] is None else _failure_decoder.decode(row[9]),
        created_at=from_micros(row[10]),
        updated_at=from_micros(row[11]),
        history_length=row[12],
    )


def failure_text(failure: FailureDetails | None) -> str | None:
    """Return a failure as JSON text."""
    return None if failure is None else _encoder.encode(failure).decode()


def terminates(event: InboxEvent) -> bool:
    """Whether the event, once it waits in an inbox, means that the instance is as good as over."""
    return isinstance(event, ExecutionTerminated)


def message_of(row: Row) -> InboxMessage:
    """Return the message in a row of (message_id, event)."""
    return InboxMessage(row[0], decode_inbox_event(row[1]))


def key_of(row: Row) -> AccessKey:
    """Return the key in a row of (scope, name, value, created_at)."""
    return AccessKey(row[0], row[1], row[2], from_micros(row[3]))
