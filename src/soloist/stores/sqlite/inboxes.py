"""Inboxes in SQL: messages on their way to instances, and the entities that they bring into being."""

from __future__ import annotations

import sqlite3
from datetime import datetime

from soloist.core.events import InboxEvent, encode_inbox_event
from soloist.core.ids import is_entity_id, parse_entity_id, timer_function
from soloist.core.instances import DeliverReceipt, InstanceRecord, Lease
from soloist.core.messages import PassEvent, Reply, SendRequest, TerminateChild
from soloist.core.status import RuntimeStatus
from soloist.errors import InstanceFinished, InstanceNotFound
from soloist.stores.rows import (
    DUE_AT,
    EPOCH,
    OWNER,
    RECORD,
    TARGET,
    Target,
    due_at_of,
    record_of,
    target_of,
    terminates,
)
from soloist.stores.sqlite.leases import lease_one, live
from soloist.stores.sqlite.moved import Moved
from soloist.stores.times import to_micros

_RECORD_BY_ID = f"{RECORD} WHERE i.hub_id = ? AND i.instance_id = ?"
_TARGET_BY_ID = f"{TARGET} WHERE i.hub_id = ? AND i.instance_id = ?"
_TARGET_BY_GENERATION = f"{TARGET} WHERE i.generation = ?"

_INSERT_ENTITY = "INSERT INTO instances (hub_id, instance_id, name, created_at) VALUES (?, ?, ?, ?)"
_INSERT_ENTITY_EXECUTION = (
    "INSERT INTO executions (generation, hub_id, execution_id, status, epoch, updated_at,"
    " history_length) VALUES (?, ?, '', ?, 0, ?, 0)"
)
_INSERT_MESSAGE = "INSERT INTO inbox (generation, terminates, due_at, event) VALUES (?, ?, ?, ?)"
_MAKE_DUE = "UPDATE executions SET due_at = min(coalesce(due_at, ?1), ?1) WHERE generation = ?2"


def deliver(
    connection: sqlite3.Connection,
    hub_id: int,
    now: int,
    instance_id: str,
    event: InboxEvent,
    host_id: int | None,
) -> DeliverReceipt:
    """Put a message into an inbox; an instance that no host holds becomes due, or is leased.

    Raises:
        InstanceNotFound, InstanceFinished: nobody can receive it.
    """
    key = (hub_id, instance_id)
    row = connection.execute(_RECORD_BY_ID, key).fetchone()
    if row is None:
        if not is_entity_id(instance_id):
            raise InstanceNotFound(instance_id)
        new_entity(connection, hub_id, instance_id, event.at)
        row = connection.execute(_RECORD_BY_ID, key).fetchone()
    record = record_of(row)
    if record.status.is_terminal:
        raise InstanceFinished(instance_id, record.status.value)
    due_at = due_at_of(event)
    message_id = insert_message(connection, record.generation, event, due_at)
    lease = None
    if row[OWNER] is None:
        due_at = now if due_at is None else due_at
        connection.execute(_MAKE_DUE, (due_at, record.generation))
        if due_at <= now or (row[DUE_AT] is not None and row[DUE_AT] <= now):
            lease = _lease_to(connection, hub_id, now, host_id, record, row[EPOCH])
    return DeliverReceipt(generation=record.generation, message_id=message_id, lease=lease)


def _lease_to(
    connection: sqlite3.Connection,
    hub_id: int,
    now: int,
    host_id: int | None,
    record: InstanceRecord,
    epoch: int,
) -> Lease | None:
    owner = live(connection, hub_id, now, host_id)
    return None if owner is None else lease_one(connection, record, epoch, owner)


def reply(message: Reply, moved: Moved) -> None:
    """Answer a task, unless its execution is not the live one any more."""
    row = moved.connection.execute(_TARGET_BY_GENERATION, (message.to.generation,)).fetchone()
    if row is None:
        return
    waiting = target_of(row)
    if waiting.execution_id == message.to.execution_id and not waiting.status.is_terminal:
        put(waiting, message.event, moved)


def request(message: SendRequest, moved: Moved) -> None:
    """Put a request into the inbox of an entity, which comes into being when it is not there."""
    entity = find(message.entity_id, moved)
    if entity is None:
        generation = new_entity(moved.connection, moved.hub_id, message.entity_id, message.event.at)
        entity = Target(generation, "", RuntimeStatus.RUNNING, None)
    put(entity, message.event, moved)


def terminate(message: TerminateChild, moved: Moved) -> None:
    """End a sub-orchestration if it is live and still that parent's."""
    child = find(message.instance_id, moved)
    if child is not None and child.parent == message.parent and not child.status.is_terminal:
        put(child, message.event, moved)


def pass_event(message: PassEvent, moved: Moved) -> None:
    """Put an event into the inbox of another orchestration, if one of that id is live."""
    if is_entity_id(message.instance_id):
        return
    target = find(message.instance_id, moved)
    if target is not None and not target.status.is_terminal:
        put(target, message.event, moved)


def find(instance_id: str, moved: Moved) -> Target | None:
    """Return an instance to which something may be sent."""
    row = moved.connection.execute(_TARGET_BY_ID, (moved.hub_id, instance_id)).fetchone()
    return None if row is None else target_of(row)


def put(target: Target, event: InboxEvent, moved: Moved) -> None:
    """Put a message into an inbox; an instance that no host holds becomes due."""
    due_at = due_at_of(event)
    insert_message(moved.connection, target.generation, event, due_at)
    if target.owner is None:
        at = moved.now if due_at is None else due_at
        moved.connection.execute(_MAKE_DUE, (at, target.generation))
    moved.touch(target.generation, target.owner)


def insert_message(
    connection: sqlite3.Connection, generation: int, event: InboxEvent, due_at: int | None
) -> int:
    """Number an event in the order of arrival; return its message id."""
    message_id = connection.execute(
        _INSERT_MESSAGE, (generation, terminates(event), due_at, encode_inbox_event(event))
    ).lastrowid
    assert message_id is not None, "an insert has a row id"
    return message_id


def entity_name(instance_id: str) -> str:
    """Return the function that an entity stands for.

    Raises:
        InvalidRequest: no entity can have that id.
    """
    timer = timer_function(instance_id)
    return parse_entity_id(instance_id).name if timer is None else timer


def new_entity(
    connection: sqlite3.Connection, hub_id: int, instance_id: str, created_at: datetime
) -> int:
    """Insert an entity that nobody holds; return its generation.

    Raises:
        InvalidRequest: no entity can have that id.
    """
    name, at = entity_name(instance_id), to_micros(created_at)
    generation = connection.execute(_INSERT_ENTITY, (hub_id, instance_id, name, at)).lastrowid
    assert generation is not None, "an insert has a row id"
    status = RuntimeStatus.RUNNING.value
    connection.execute(_INSERT_ENTITY_EXECUTION, (generation, hub_id, status, at))
    return generation
