"""The writes: what each verb does inside a transaction, in SQL.

Rules of this file: a function that refuses raises before it has written anything. Statements are
constants, so that SQLite compiles each once. Times are microseconds.
"""

from __future__ import annotations

import sqlite3
from typing import Any

import msgspec

from soloist.core.events import (
    CODEC_VERSION,
    EventRaised,
    InboxEvent,
    encode_events,
    encode_inbox_event,
)
from soloist.core.instances import (
    AccessKey,
    DeliverReceipt,
    InstanceRecord,
    Lease,
    LeaseGrant,
    StartReceipt,
    StartRequest,
)
from soloist.core.outcomes import NextExecution, Outcome
from soloist.core.policy import StartDecision, decide_start
from soloist.core.status import RuntimeStatus
from soloist.errors import (
    InstanceExists,
    InstanceFinished,
    InstanceNotFound,
    InstanceUnfinished,
)
from soloist.failpoints import reach
from soloist.stores.sqlite.reads import messages_after, next_due_at
from soloist.stores.sqlite.rows import (
    EPOCH,
    OWNER,
    RECORD,
    failure_text,
    key_of,
    record_of,
    terminates,
)
from soloist.stores.times import to_micros

MAX_TAKEOVERS = 1_000
"""How many instances of hosts that are gone one ``lease`` takes from them."""

_RECORD_BY_ID = f"{RECORD} WHERE i.hub_id = ? AND i.instance_id = ?"
_RECORD_BY_GENERATION = f"{RECORD} WHERE i.generation = ?"

_AWAITS_TERMINATION = "SELECT 1 FROM inbox WHERE generation = ? AND terminates LIMIT 1"

_INSERT_INSTANCE = (
    "INSERT INTO instances (hub_id, instance_id, name, version, created_at, input)"
    " VALUES (?, ?, ?, ?, ?, ?)"
)
_INSERT_EXECUTION = (
    "INSERT INTO executions (generation, hub_id, execution_id, status, owner, epoch, due_at,"
    " updated_at, history_length) VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0)"
)
_INSERT_MESSAGE = "INSERT INTO inbox (generation, terminates, event) VALUES (?, ?, ?)"
_INSERT_HISTORY = "INSERT INTO history (generation, sequence, codec, events) VALUES (?, ?, ?, ?)"
_DELETE_MESSAGE = "DELETE FROM inbox WHERE message_id = ? AND generation = ?"
_DELETE_INBOX = "DELETE FROM inbox WHERE generation = ?"
_DELETE_HISTORY = "DELETE FROM history WHERE generation = ?"
_DELETE_ALL = (
    _DELETE_INBOX,
    _DELETE_HISTORY,
    "DELETE FROM executions WHERE generation = ?",
    "DELETE FROM instances WHERE generation = ?",
)

_IS_LIVE = "SELECT 1 FROM hosts WHERE host_id = ? AND hub_id = ? AND expires_at > ?"

_LEASE = "UPDATE executions SET owner = ?, epoch = epoch + 1 WHERE generation = ?"
_DUE = (
    f"{RECORD} WHERE e.hub_id = ? AND e.owner IS NULL AND e.due_at IS NOT NULL AND e.due_at <= ?"
    " ORDER BY e.due_at, e.generation LIMIT ?"
)
_MAKE_DUE = "UPDATE executions SET due_at = min(coalesce(due_at, ?1), ?1) WHERE generation = ?2"

# Waiting messages make an instance due at once when its holder lets go.
_LET_GO = (
    "UPDATE executions SET owner = NULL, due_at = CASE"
    " WHEN EXISTS (SELECT 1 FROM inbox WHERE inbox.generation = executions.generation)"
    " THEN min(coalesce(due_at, ?1), ?1) ELSE due_at END"
)
_RELEASE = f"{_LET_GO} WHERE generation = ?2 AND epoch = ?3 AND owner IS NOT NULL"
_TAKE_ALL = f"{_LET_GO} WHERE owner = ?2"
_TAKE_SOME = (
    f"{_LET_GO} WHERE generation IN (SELECT generation FROM executions WHERE owner = ?2 LIMIT ?3)"
)

# The fence: one row or none. What is not owned is nobody's to commit to.
_FENCE = (
    " WHERE generation = ? AND execution_id = ? AND epoch = ? AND history_length = ?"
    " AND owner IS NOT NULL"
)
_STEP = (
    "UPDATE executions SET status = ?, due_at = ?, updated_at = ?, history_length = ?,"
    f" custom_status = ?, output = ?, failure = ?{_FENCE}"
)
_FINISH = (
    "UPDATE executions SET status = ?, due_at = ?, updated_at = ?, history_length = ?,"
    f" custom_status = ?, output = ?, failure = ?, owner = NULL{_FENCE}"
)
_CONTINUE = (
    "UPDATE executions SET execution_id = ?, status = ?, due_at = ?, updated_at = ?,"
    f" history_length = 0, custom_status = ?, output = NULL, failure = NULL{_FENCE}"
)

_MAIL = (
    "SELECT DISTINCT e.generation FROM inbox AS m CROSS JOIN executions AS e"
    " ON e.generation = m.generation WHERE m.message_id > ? AND e.owner = ? ORDER BY e.generation"
)
_LAST_MESSAGE_ID = "SELECT seq FROM sqlite_sequence WHERE name = 'inbox'"


class EncodedOutcome(msgspec.Struct, frozen=True, gc=False):
    """An outcome with its events as text, so that the writer need not encode."""

    outcome: Outcome
    events: str
    at: int
    due_at: int | None


def encode(outcome: Outcome) -> EncodedOutcome:
    """Encode what a commit will store; what cannot be encoded fails here, before the queue."""
    has_history = outcome.next_execution is None and outcome.events
    return EncodedOutcome(
        outcome,
        encode_events(outcome.events) if has_history else "",
        to_micros(outcome.at),
        None if outcome.due_at is None else to_micros(outcome.due_at),
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
    row = connection.execute(_RECORD_BY_ID, (hub_id, request.instance_id)).fetchone()
    existing = None if row is None else record_of(row)
    decision = _decide(connection, request, existing)
    if existing is not None:
        if decision is StartDecision.RETURN:
            return StartReceipt(decision=decision, record=existing)
        if decision is StartDecision.CONFLICT:
            raise InstanceExists(
                existing.instance_id, existing.status.value, existing.created_at.isoformat()
            )
        _delete(connection, existing.generation)
        reach("start.replacing")
    owner = _live(connection, hub_id, now, host_id)
    record = _insert(connection, hub_id, now, request, owner)
    return StartReceipt(
        decision=decision,
        record=record,
        lease=None if owner is None else Lease(record=record, epoch=1),
        replaced=None if existing is None else existing.generation,
    )


def _decide(
    connection: sqlite3.Connection, request: StartRequest, existing: InstanceRecord | None
) -> StartDecision:
    if existing is None:
        return decide_start(request.policy, existing=None, same_function=False)
    status = existing.status
    if not status.is_terminal:
        waits = connection.execute(_AWAITS_TERMINATION, (existing.generation,)).fetchone()
        status = RuntimeStatus.TERMINATED if waits else status
    return decide_start(
        request.policy, existing=status, same_function=existing.name == request.name
    )


def _insert(
    connection: sqlite3.Connection, hub_id: int, now: int, request: StartRequest, owner: int | None
) -> InstanceRecord:
    at = to_micros(request.at)
    generation = connection.execute(
        _INSERT_INSTANCE,
        (hub_id, request.instance_id, request.name, request.version, at, request.input),
    ).lastrowid
    assert generation is not None, "an insert has a row id"
    status = RuntimeStatus.PENDING
    epoch = 0 if owner is None else 1
    connection.execute(
        _INSERT_EXECUTION,
        (generation, hub_id, request.execution_id, status.value, owner, epoch, now, at),
    )
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
    )


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
    row = connection.execute(_RECORD_BY_ID, (hub_id, instance_id)).fetchone()
    if row is None:
        raise InstanceNotFound(instance_id)
    record = record_of(row)
    if record.status.is_terminal:
        raise InstanceFinished(instance_id, record.status.value)
    generation = record.generation
    message_id = _insert_message(connection, generation, event)
    lease = None
    if row[OWNER] is None:
        connection.execute(_MAKE_DUE, (now, generation))
        owner = _live(connection, hub_id, now, host_id)
        if owner is not None:
            lease = _lease(connection, record, row[EPOCH], owner)
    return DeliverReceipt(generation=generation, message_id=message_id, lease=lease)


def lease(
    connection: sqlite3.Connection, hub_id: int, now: int, host_id: int, limit: int, mail_after: int
) -> tuple[LeaseGrant, int]:
    """Lease due instances; return the grant and the id of the last message it accounts for."""
    if _live(connection, hub_id, now, host_id) is None:
        return LeaseGrant(next_due_at=next_due_at(connection, hub_id)), mail_after
    _take_over(connection, hub_id, now)
    mail = connection.execute(_MAIL, (mail_after, host_id)).fetchall()
    rows = connection.execute(_DUE, (hub_id, now, limit)).fetchall()
    grant = LeaseGrant(
        leases=tuple(_lease(connection, record_of(row), row[EPOCH], host_id) for row in rows),
        mail=tuple(row[0] for row in mail),
        next_due_at=next_due_at(connection, hub_id),
    )
    return grant, last_message_id(connection)


def release(connection: sqlite3.Connection, now: int, generation: int, epoch: int) -> None:
    """Give a lease back; a stale epoch does nothing."""
    connection.execute(_RELEASE, (now, generation, epoch))


def commit(connection: sqlite3.Connection, now: int, step: EncodedOutcome) -> bool:
    """Commit one step; ``False`` when it was stale."""
    outcome = step.outcome
    if outcome.next_execution is not None:
        return _continue_as_new(connection, now, step, outcome.next_execution)
    is_over = outcome.status.is_terminal
    changed = connection.execute(
        _FINISH if is_over else _STEP,
        (
            outcome.status.value,
            None if is_over else step.due_at,
            step.at,
            outcome.history_length + len(outcome.events),
            outcome.custom_status,
            outcome.output,
            failure_text(outcome.failure),
            outcome.generation,
            outcome.execution_id,
            outcome.epoch,
            outcome.history_length,
        ),
    ).rowcount
    if not changed:
        return False
    if step.events:
        connection.execute(
            _INSERT_HISTORY,
            (outcome.generation, outcome.history_length, CODEC_VERSION, step.events),
        )
    if is_over:
        connection.execute(_DELETE_INBOX, (outcome.generation,))
        return True
    _consume(connection, outcome)
    if outcome.releases:
        release(connection, now, outcome.generation, outcome.epoch)
    return True


def _continue_as_new(
    connection: sqlite3.Connection, now: int, step: EncodedOutcome, following: NextExecution
) -> bool:
    outcome = step.outcome
    generation = outcome.generation
    changed = connection.execute(
        _CONTINUE,
        (
            following.execution_id,
            RuntimeStatus.RUNNING.value,
            now,
            step.at,
            outcome.custom_status,
            generation,
            outcome.execution_id,
            outcome.epoch,
            outcome.history_length,
        ),
    ).rowcount
    if not changed:
        return False
    connection.execute(_DELETE_HISTORY, (generation,))
    connection.execute(
        "UPDATE instances SET input = ? WHERE generation = ?", (following.input, generation)
    )
    _consume(connection, outcome)
    if following.carried:
        # Carried events come first: what waited already is numbered anew behind them.
        waiting = messages_after(connection, generation, 0)
        connection.execute(_DELETE_INBOX, (generation,))
        for event in following.carried:
            _insert_message(
                connection, generation, EventRaised(outcome.at, event.name, event.input)
            )
        for message in waiting:
            _insert_message(connection, generation, message.event)
    if outcome.releases:
        release(connection, now, generation, outcome.epoch)
    return True


def join(
    connection: sqlite3.Connection,
    hub_id: int,
    now: int,
    expires_at: int,
    name: str,
    process_id: int,
    machine: str,
) -> int:
    """Enter a host; every earlier one is gone, for the caller holds the host lock."""
    for (host_id,) in connection.execute(
        "SELECT host_id FROM hosts WHERE hub_id = ?", (hub_id,)
    ).fetchall():
        leave(connection, now, host_id)
    host = connection.execute(
        "INSERT INTO hosts (hub_id, name, process_id, machine, joined_at, expires_at)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        (hub_id, name, process_id, machine, now, expires_at),
    )
    assert host.lastrowid is not None, "an insert has a row id"
    return host.lastrowid


def renew(connection: sqlite3.Connection, hub_id: int, expires_at: int, host_id: int) -> bool:
    """Prolong a host's leases, late or not; ``False`` when they were taken over."""
    changed = connection.execute(
        "UPDATE hosts SET expires_at = ? WHERE host_id = ? AND hub_id = ?",
        (expires_at, host_id, hub_id),
    ).rowcount
    return changed > 0


def leave(connection: sqlite3.Connection, now: int, host_id: int) -> None:
    """Take everything from a host and forget it."""
    connection.execute(_TAKE_ALL, (now, host_id))
    connection.execute("DELETE FROM hosts WHERE host_id = ?", (host_id,))


def purge(connection: sqlite3.Connection, hub_id: int, instance_id: str) -> RuntimeStatus | None:
    """Remove a finished instance; return the status it had.

    Raises:
        InstanceUnfinished: it has not ended.
    """
    row = connection.execute(
        "SELECT e.generation, e.status FROM instances AS i JOIN executions AS e"
        " ON e.generation = i.generation WHERE i.hub_id = ? AND i.instance_id = ?",
        (hub_id, instance_id),
    ).fetchone()
    if row is None:
        return None
    status = RuntimeStatus(row[1])
    if not status.is_terminal:
        raise InstanceUnfinished(instance_id, status.value)
    _delete(connection, row[0])
    return status


def put_key(connection: sqlite3.Connection, hub_id: int, key: AccessKey) -> AccessKey:
    """Store a key unless one of that scope and name is there; return the one that is there."""
    connection.execute(
        "INSERT INTO access_keys (hub_id, scope, name, value, created_at) VALUES (?, ?, ?, ?, ?)"
        " ON CONFLICT DO NOTHING",
        (hub_id, key.scope, key.name, key.value, to_micros(key.created_at)),
    )
    row = connection.execute(
        "SELECT scope, name, value, created_at FROM access_keys"
        " WHERE hub_id = ? AND scope = ? AND name = ?",
        (hub_id, key.scope, key.name),
    ).fetchone()
    return key_of(row)


def last_message_id(connection: sqlite3.Connection) -> int:
    """Return the greatest message id that was ever given out."""
    row = connection.execute(_LAST_MESSAGE_ID).fetchone()
    return 0 if row is None else int(row[0])


def _live(connection: sqlite3.Connection, hub_id: int, now: int, host_id: int | None) -> int | None:
    """Return the host id if it is a live host of the hub."""
    if host_id is None:
        return None
    return host_id if connection.execute(_IS_LIVE, (host_id, hub_id, now)).fetchone() else None


def _lease(connection: sqlite3.Connection, record: InstanceRecord, epoch: int, owner: int) -> Lease:
    connection.execute(_LEASE, (owner, record.generation))
    messages = messages_after(connection, record.generation, 0)
    return Lease(record=record, epoch=epoch + 1, messages=messages)


def _take_over(connection: sqlite3.Connection, hub_id: int, now: int) -> None:
    """Take instances from hosts whose leases expired; the last one taken, the host is forgotten."""
    room = MAX_TAKEOVERS
    for (host_id,) in connection.execute(
        "SELECT host_id FROM hosts WHERE hub_id = ? AND expires_at <= ?", (hub_id, now)
    ).fetchall():
        room -= connection.execute(_TAKE_SOME, (now, host_id, room)).rowcount
        if room == 0:
            return
        connection.execute("DELETE FROM hosts WHERE host_id = ?", (host_id,))


def _insert_message(connection: sqlite3.Connection, generation: int, event: InboxEvent) -> int:
    parameters: tuple[Any, ...] = (generation, terminates(event), encode_inbox_event(event))
    message_id = connection.execute(_INSERT_MESSAGE, parameters).lastrowid
    assert message_id is not None, "an insert has a row id"
    return message_id


def _consume(connection: sqlite3.Connection, outcome: Outcome) -> None:
    for message_id in outcome.consumed:
        connection.execute(_DELETE_MESSAGE, (message_id, outcome.generation))


def _delete(connection: sqlite3.Connection, generation: int) -> None:
    for statement in _DELETE_ALL:
        connection.execute(statement, (generation,))
