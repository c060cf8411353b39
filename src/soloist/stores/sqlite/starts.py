"""Starts in SQL: one rule for every door, and what a replacement does to others."""

from __future__ import annotations

import sqlite3
from datetime import datetime

from soloist.core.ids import is_entity_id
from soloist.core.instances import InstanceRecord, Lease, StartReceipt, StartRequest
from soloist.core.messages import (
    Reply,
    parent_replaced,
    purged_entity,
    refused_child,
    replaced_child,
)
from soloist.core.policy import StartDecision, decide_start
from soloist.core.status import RuntimeStatus
from soloist.errors import InstanceExists, InstanceUnfinished
from soloist.failpoints import reach
from soloist.stores.rows import (
    RECORD,
    TARGET,
    begins_at,
    extras_text,
    parent_columns,
    record_of,
    target_of,
)
from soloist.stores.sqlite.inboxes import put, reply
from soloist.stores.sqlite.leases import live
from soloist.stores.sqlite.moved import FIRST_EPOCH, Moved
from soloist.stores.sqlite.reads import messages_after
from soloist.stores.times import from_micros, to_micros

_RECORD_BY_ID = f"{RECORD} WHERE i.hub_id = ? AND i.instance_id = ?"
_AWAITS_TERMINATION = "SELECT 1 FROM inbox WHERE generation = ? AND terminates LIMIT 1"
_CHILDREN = f"{TARGET} WHERE i.parent_generation = ? ORDER BY i.generation"

# An insert that meets a conflict would use up a generation.
_INSERT_INSTANCE = (
    "INSERT INTO instances (hub_id, instance_id, name, version, created_at, input,"
    " parent_instance_id, parent_generation, parent_execution_id, parent_task_id, extras)"
    " SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11 WHERE NOT EXISTS"
    " (SELECT 1 FROM instances WHERE hub_id = ?1 AND instance_id = ?2)"
)
_INSERT_EXECUTION = (
    "INSERT INTO executions (generation, hub_id, execution_id, status, owner, epoch, due_at,"
    " updated_at, history_length) VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0)"
)
_FIND_STATUS = (
    "SELECT e.generation, e.status FROM instances AS i JOIN executions AS e"
    " ON e.generation = i.generation WHERE i.hub_id = ? AND i.instance_id = ?"
)
_DELETE_ALL = tuple(
    f"DELETE FROM {table} WHERE generation = ?"
    for table in ("inbox", "history", "executions", "instances")
)


def start(
    connection: sqlite3.Connection,
    hub_id: int,
    now: int,
    request: StartRequest,
    host_id: int | None,
) -> StartReceipt:
    """Check, decide, replace and insert.

    Raises:
        InstanceExists: the policy refuses.
    """
    moved = Moved(connection, hub_id, now, None)
    owner = live(connection, hub_id, now, host_id)
    if begins_at(request.extras, now) > now:
        owner = None
    decision, record, replaced = _start(request, owner, moved)
    is_leased = owner is not None and decision is not StartDecision.RETURN
    return StartReceipt(
        decision=decision,
        record=record,
        lease=Lease(record=record, epoch=FIRST_EPOCH) if is_leased else None,
        replaced=replaced,
        mail=(*moved.mail, *moved.due),
    )


def start_child(request: StartRequest, moved: Moved) -> None:
    """Start a sub-orchestration; when it is refused, its parent learns of it."""
    is_due = begins_at(request.extras, moved.now) <= moved.now
    try:
        owner = moved.host_id if is_due else None
        decision, record, replaced = _start(request, owner, moved)
    except InstanceExists as refusal:
        if request.parent is not None:
            refused = refused_child(refusal, request.parent.task_id, request.at)
            reply(Reply(request.parent, refused), moved)
        return
    if is_due and decision is not StartDecision.RETURN:
        moved.was_born(record)
    elif decision is not StartDecision.RETURN:
        moved.touch(record.generation, None)
    if replaced is not None:
        moved.replaced.append(replaced)


def _start(
    request: StartRequest, owner: int | None, moved: Moved
) -> tuple[StartDecision, InstanceRecord, int | None]:
    record = _insert(request, owner, moved)
    if record is not None:  # most ids are free: that is found out by taking them
        return StartDecision.CREATE, record, None
    key = (moved.hub_id, request.instance_id)
    existing = record_of(moved.connection.execute(_RECORD_BY_ID, key).fetchone())
    decision = _decide(moved.connection, request, existing)
    if decision is StartDecision.RETURN:
        return decision, existing, None
    if decision is StartDecision.CONFLICT:
        raise InstanceExists(
            existing.instance_id, existing.status.value, existing.created_at.isoformat()
        )
    _replace(existing, request.at, moved)
    reach("start.replacing")
    record = _insert(request, owner, moved)
    assert record is not None, "the id is free now"
    return decision, record, existing.generation


def _decide(
    connection: sqlite3.Connection, request: StartRequest, existing: InstanceRecord
) -> StartDecision:
    status = existing.status
    if not status.is_terminal:
        waits = connection.execute(_AWAITS_TERMINATION, (existing.generation,)).fetchone()
        status = RuntimeStatus.TERMINATED if waits else status
    return decide_start(
        request.policy,
        existing=status,
        same_function=existing.name == request.name,
        replaceable=request.replaceable,
    )


def _replace(existing: InstanceRecord, at: datetime, moved: Moved) -> None:
    """Remove an instance; a live one's children end, and whoever waits for it learns of it."""
    delete(moved.connection, existing.generation)
    moved.forget(existing.generation)
    if existing.status.is_terminal:
        return
    if existing.parent is not None:
        reply(replaced_child(existing.parent, at), moved)
    for row in moved.connection.execute(_CHILDREN, (existing.generation,)).fetchall():
        child = target_of(row)
        if not child.status.is_terminal:
            put(child, parent_replaced(at), moved)


def _insert(request: StartRequest, owner: int | None, moved: Moved) -> InstanceRecord | None:
    """Insert an instance unless its id is taken."""
    at, status = to_micros(request.at), RuntimeStatus.PENDING
    facts = (request.instance_id, request.name, request.version, at, request.input)
    inserted = moved.connection.execute(
        _INSERT_INSTANCE,
        (moved.hub_id, *facts, *parent_columns(request.parent), extras_text(request.extras)),
    )
    if not inserted.rowcount:
        return None
    generation = inserted.lastrowid
    assert generation is not None, "an insert has a row id"
    epoch = 0 if owner is None else FIRST_EPOCH
    due_at = begins_at(request.extras, moved.now)
    execution = (request.execution_id, status.value, owner, epoch, due_at, at)
    moved.connection.execute(_INSERT_EXECUTION, (generation, moved.hub_id, *execution))
    return InstanceRecord(
        generation=generation,
        instance_id=request.instance_id,
        execution_id=request.execution_id,
        name=request.name,
        version=request.version,
        status=status,
        input=request.input,
        output=None,
        custom_status=None,
        failure=None,
        created_at=request.at,
        updated_at=request.at,
        history_length=0,
        parent=request.parent,
        extras=request.extras,
    )


def purge(
    connection: sqlite3.Connection,
    hub_id: int,
    now: int,
    instance_id: str,
    generation: int | None,
) -> RuntimeStatus | None:
    """Remove a finished instance, or an entity; return the status it had. Who waits for the
    entity is told.

    Raises:
        InstanceUnfinished: it has not ended.
    """
    row = connection.execute(_FIND_STATUS, (hub_id, instance_id)).fetchone()
    if row is None or generation not in (None, row[0]):
        return None
    status = RuntimeStatus(row[1])
    if not (status.is_terminal or is_entity_id(instance_id)):
        raise InstanceUnfinished(instance_id, status.value)
    waiting = messages_after(connection, row[0], 0) if is_entity_id(instance_id) else ()
    delete(connection, row[0])
    moved = Moved(connection, hub_id, now, None)
    for message in purged_entity(waiting, from_micros(now)):
        reply(message, moved)
    return status


def delete(connection: sqlite3.Connection, generation: int) -> None:
    """Remove an instance with all that belongs to it."""
    for statement in _DELETE_ALL:
        connection.execute(statement, (generation,))
