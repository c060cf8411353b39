"""The second half of a transaction: write what its operations made of the view.

Each table is written by one statement, whatever the number of rows: the columns travel as arrays.
Rows that are changed are locked by now, so their order does not matter; rows that are inserted go
in the order of their ids, so that two hosts that insert the same ids do not wait for each other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from soloist.core.events import CODEC_VERSION
from soloist.stores.postgres.arrays import Bigints, Bools, Texts
from soloist.stores.postgres.batch import Batch
from soloist.stores.postgres.payloads import to_column
from soloist.stores.postgres.view import Row, View
from soloist.stores.rows import parent_columns

_DELETE_ALL = tuple(
    f"DELETE FROM soloist.{table} WHERE generation = ANY(%s)"
    for table in ("inbox", "history", "executions", "instances")
)
_DELETE_INBOXES = "DELETE FROM soloist.inbox WHERE generation = ANY(%s)"
_DELETE_MESSAGES = (
    "DELETE FROM soloist.inbox AS m USING unnest(%s, %s)"
    " AS u (generation, message_id)"
    " WHERE m.generation = u.generation AND m.message_id = u.message_id"
)
_CUT_HISTORIES = (
    "DELETE FROM soloist.history AS h USING unnest(%s, %s)"
    " AS c (generation, sequence)"
    " WHERE h.generation = c.generation AND h.sequence >= c.sequence"
)
_INSERT = (
    "WITH n AS MATERIALIZED (SELECT * FROM unnest(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s,"
    " %s, %s, %s, %s, %s, %s, %s, %s, %s, %s) AS n (generation, instance_id, name, version,"
    " created_at, input, parent_instance_id, parent_generation, parent_execution_id,"
    " parent_task_id, extras,"
    " execution_id, status, owner, epoch, due_at, updated_at, history_length, custom_status, output,"
    " failure, last_message_id)),"
    " i AS (INSERT INTO soloist.instances (generation, hub_id, instance_id, name, version,"
    " created_at, input, parent_instance_id, parent_generation, parent_execution_id,"
    " parent_task_id, extras) SELECT generation, {hub_id}, instance_id, name, version, created_at,"
    " input, parent_instance_id, parent_generation, parent_execution_id, parent_task_id, extras"
    " FROM n)"
    " INSERT INTO soloist.executions (generation, hub_id, execution_id, status, owner, epoch,"
    " due_at, updated_at, history_length, custom_status, output, failure, last_message_id, mail)"
    " SELECT generation, {hub_id}, execution_id, status, owner, epoch, due_at, updated_at,"
    " history_length, custom_status, output, failure, last_message_id, false FROM n"
)
_INSERT_COLUMNS = "btttbttbtbtttbbbbbtttb"
_UPDATE_INPUTS = (
    "UPDATE soloist.instances AS i SET input = c.input, version = c.version"
    " FROM unnest(%s, %s, %s) AS c (generation, input, version)"
    " WHERE i.generation = c.generation"
)
_UPDATE_PLACES = (
    "UPDATE soloist.executions AS e SET owner = c.owner, epoch = c.epoch, due_at = c.due_at,"
    " last_message_id = c.last_message_id, mail = c.mail"
    " FROM unnest(%s, %s, %s, %s, %s,"
    " %s) AS c (generation, owner, epoch, due_at, last_message_id, mail)"
    " WHERE e.generation = c.generation"
)
_UPDATE_STEPS = (
    "UPDATE soloist.executions AS e SET owner = c.owner, epoch = c.epoch, due_at = c.due_at,"
    " last_message_id = c.last_message_id, mail = c.mail, execution_id = c.execution_id,"
    " status = c.status, updated_at = c.updated_at, history_length = c.history_length,"
    " custom_status = c.custom_status, output = c.output, failure = c.failure"
    " FROM unnest(%s, %s, %s, %s, %s,"
    " %s, %s, %s, %s, %s, %s, %s,"
    " %s) AS c (generation, owner, epoch, due_at, last_message_id, mail, execution_id,"
    " status, updated_at, history_length, custom_status, output, failure)"
    " WHERE e.generation = c.generation"
)
_INSERT_HISTORY = (
    "INSERT INTO soloist.history (generation, sequence, codec, events)"
    f" SELECT a.generation, a.sequence, {CODEC_VERSION}, a.events"
    " FROM unnest(%s, %s, %s) AS a (generation, sequence, events)"
)
_INSERT_INBOX = (
    "INSERT INTO soloist.inbox (generation, message_id, terminates, due_at, event)"
    " SELECT * FROM unnest(%s, %s, %s, %s, %s)"
)

_ARRAYS: Mapping[str, Callable[[Sequence[Any]], Any]] = {"b": Bigints, "t": Texts, "x": Bools}


def flush(batch: Batch, view: View) -> None:
    """Add the statements that write the view."""
    kept = [row for row in view.all_rows if not row.is_removed]
    _remove(batch, view.all_rows, kept)
    _insert(batch, view.hub_id, [row for row in kept if row.is_new])
    _update(batch, [row for row in kept if not row.is_new])
    _many(
        batch,
        _INSERT_HISTORY,
        "bbt",
        [(row.generation, sequence, text) for row in kept for sequence, text in row.appended],
    )
    _many(
        batch,
        _INSERT_INBOX,
        "bbxbt",
        [
            (row.generation, each.message_id, each.terminates, each.due_at, each.text)
            for row in kept
            for each in row.arrivals
            if each.message_id not in row.used
        ],
    )


def _remove(batch: Batch, rows: Iterable[Row], kept: list[Row]) -> None:
    removed = [row.generation for row in rows if row.is_removed and not row.is_new]
    if removed:
        for statement in _DELETE_ALL:
            batch.add(statement, (Bigints(removed),))
    old = [row for row in kept if not row.is_new]
    emptied = [row.generation for row in old if row.uses_all]
    if emptied:
        batch.add(_DELETE_INBOXES, (Bigints(emptied),))
    _many(
        batch,
        _DELETE_MESSAGES,
        "bb",
        [
            (row.generation, message_id)
            for row in old
            if not row.uses_all
            for message_id in sorted(row.used)
        ],
    )
    cuts = [(row.generation, row.cut_from) for row in old if row.cut_from is not None]
    _many(batch, _CUT_HISTORIES, "bb", cuts)


def _insert(batch: Batch, hub_id: int, rows: list[Row]) -> None:
    rows.sort(key=lambda row: row.instance_id)
    _many(
        batch,
        _INSERT.format(hub_id=hub_id),
        _INSERT_COLUMNS,
        [
            (
                row.generation,
                row.instance_id,
                row.name,
                row.version,
                row.created_at,
                to_column(row.input),
                *parent_columns(row.parent),
                row.extras,
                row.execution_id,
                row.status.value,
                row.owner,
                row.epoch,
                row.due_at,
                row.updated_at,
                row.history_length,
                to_column(row.custom_status),
                to_column(row.output),
                row.failure,
                row.last_message_id,
            )
            for row in rows
        ],
    )


def _update(batch: Batch, rows: list[Row]) -> None:
    _many(
        batch,
        _UPDATE_INPUTS,
        "btt",
        [(row.generation, to_column(row.input), row.version) for row in rows if row.has_new_input],
    )
    _many(
        batch,
        _UPDATE_PLACES,
        "bbbbbx",
        [_place(row) for row in rows if row.is_changed and not row.steps],
    )
    _many(
        batch,
        _UPDATE_STEPS,
        "bbbbbxttbbttt",
        [
            (
                *_place(row),
                row.execution_id,
                row.status.value,
                row.updated_at,
                row.history_length,
                to_column(row.custom_status),
                to_column(row.output),
                row.failure,
            )
            for row in rows
            if row.steps
        ],
    )


def _place(row: Row) -> tuple[Any, ...]:
    return (row.generation, row.owner, row.epoch, row.due_at, row.last_message_id, row.mail)


def _many(batch: Batch, statement: str, kinds: str, rows: Sequence[tuple[Any, ...]]) -> None:
    """Add a statement over rows, turned into one array for each column of these ``kinds``."""
    if rows:
        columns = zip(*rows, strict=True)
        batch.add(
            statement, [_ARRAYS[kind](column) for kind, column in zip(kinds, columns, strict=True)]
        )
