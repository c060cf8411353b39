"""Rewinds in SQL: failed instances run again, with the failed sub-orchestrations they rest on."""

from __future__ import annotations

import sqlite3
from datetime import datetime

from soloist.core.events import (
    CODEC_VERSION,
    HistoryEvent,
    SubOrchestrationInstanceCreated,
    TaskAddress,
    encode_events,
)
from soloist.core.ids import is_entity_id
from soloist.core.instances import CommitReceipt
from soloist.core.messages import Reply, SendRequest, asks_already, call_of, child_of
from soloist.core.rewind import rewound
from soloist.core.status import RuntimeStatus
from soloist.errors import InstanceNotFailed, InstanceNotFound
from soloist.failpoints import reach
from soloist.stores.rows import Target
from soloist.stores.sqlite import inboxes
from soloist.stores.sqlite.commits import send
from soloist.stores.sqlite.moved import Moved
from soloist.stores.sqlite.reads import history, messages_after
from soloist.stores.times import to_micros

_REVIVE = (
    "UPDATE executions SET status = ?, output = NULL, failure = NULL, updated_at = ?, due_at = ?,"
    " history_length = ? WHERE generation = ?"
)
_ROW_OF_CUT = "SELECT max(sequence) FROM history WHERE generation = ? AND sequence <= ?"
_CUT = "DELETE FROM history WHERE generation = ? AND sequence >= ?"
_INSERT_HISTORY = "INSERT INTO history (generation, sequence, codec, events) VALUES (?, ?, ?, ?)"


def rewind(
    connection: sqlite3.Connection,
    hub_id: int,
    now: int,
    instance_id: str,
    reason: str | None,
    at: datetime,
    host_id: int | None,
) -> CommitReceipt:
    """Take back the failure of an instance and of what it rests on.

    Raises:
        InstanceNotFound: no such orchestration.
        InstanceNotFailed: it is not Failed.
    """
    moved = Moved(connection, hub_id, now, host_id)
    failed = None if is_entity_id(instance_id) else inboxes.find(instance_id, moved)
    if failed is None:
        raise InstanceNotFound(instance_id)
    if failed.status is not RuntimeStatus.FAILED:
        raise InstanceNotFailed(instance_id, failed.status.value)
    _rewind(instance_id, failed, reason, at, moved)
    return moved.settle()


def _rewind(
    instance_id: str, failed: Target, reason: str | None, at: datetime, moved: Moved
) -> None:
    rewinding = rewound(history(moved.connection, failed.generation), reason, at)
    _cut(moved.connection, failed.generation, rewinding.history)
    moved.connection.execute(
        _REVIVE,
        (
            RuntimeStatus.RUNNING.value,
            to_micros(at),
            moved.now,
            len(rewinding.history),
            failed.generation,
        ),
    )
    for event in rewinding.mail:
        inboxes.put(failed, event, moved)
    reach("rewind.revived")

    def task(task_id: int) -> TaskAddress:
        return TaskAddress(instance_id, failed.generation, failed.execution_id, task_id)

    for child in rewinding.children:
        _rewind_child(child, task(child.task_id), reason, at, moved)
    for call in rewinding.calls:
        _call_again(call_of(call, at, task(call.task_id)), moved)


def _call_again(message: SendRequest | Reply, moved: Moved) -> None:
    """Send a call of an entity once more, unless it waits there still."""
    if isinstance(message, SendRequest) and message.caller is not None:
        entity = inboxes.find(message.entity_id, moved)
        if entity is not None and asks_already(
            messages_after(moved.connection, entity.generation, 0), message.caller
        ):
            return
    send(message, moved)


def _rewind_child(
    created: SubOrchestrationInstanceCreated,
    parent: TaskAddress,
    reason: str | None,
    at: datetime,
    moved: Moved,
) -> None:
    """Rewind a failed child; one that is gone, or is not ours any more, is started again."""
    child = inboxes.find(created.instance_id, moved)
    if child is not None and child.parent == parent and child.status is RuntimeStatus.FAILED:
        _rewind(created.instance_id, child, reason, at, moved)
    else:
        send(child_of(created, at, parent), moved)


def _cut(connection: sqlite3.Connection, generation: int, kept: tuple[HistoryEvent, ...]) -> None:
    """Shorten a history; the row in which the cut falls is written anew."""
    (sequence,) = connection.execute(_ROW_OF_CUT, (generation, len(kept))).fetchone()
    if sequence is None:
        return
    connection.execute(_CUT, (generation, sequence))
    rest = kept[sequence:]
    if rest:
        connection.execute(
            _INSERT_HISTORY, (generation, sequence, CODEC_VERSION, encode_events(rest))
        )
