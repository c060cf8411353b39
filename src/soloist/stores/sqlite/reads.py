"""The reads: what is asked of a hub without changing it, in SQL."""

from __future__ import annotations

import sqlite3

from soloist.core.events import HistoryEvent, decode_events
from soloist.core.ids import ENTITY_MARK
from soloist.core.instances import (
    Backlog,
    Hold,
    InboxMessage,
    InstancePage,
    InstanceQuery,
    InstanceRecord,
)
from soloist.stores.paging import end_of_prefix, fold_case, start_of, token_after
from soloist.stores.rows import RECORD, message_of, record_of, time_or_none
from soloist.stores.times import from_micros, to_micros

_HOLD = "SELECT owner, due_at FROM executions WHERE generation = ?"


def read(connection: sqlite3.Connection, hub_id: int, instance_id: str) -> InstanceRecord | None:
    """Return one instance."""
    row = connection.execute(
        f"{RECORD} WHERE i.hub_id = ? AND i.instance_id = ?", (hub_id, instance_id)
    ).fetchone()
    return None if row is None else record_of(row)


def query(connection: sqlite3.Connection, hub_id: int, wanted: InstanceQuery) -> InstancePage:
    """Return one page of instances, in the order of their starts.

    Raises:
        InvalidRequest: the token or the page size is wrong.
    """
    # The plus keeps the planner off the index of ids, so that a page is read in the order of
    # starts and ends where it is full.
    conditions = ["+i.hub_id = ?", "i.generation > ?"]
    values: list[object] = [hub_id, start_of(wanted)]
    _narrow_by_id(conditions, values, hub_id, wanted.instance_id_prefix)
    if wanted.names:
        conditions.append(f"lower(i.name) IN ({_places(len(wanted.names))})")
        values += [fold_case(name) for name in wanted.names]
    if wanted.statuses:
        conditions.append(f"e.status IN ({_places(len(wanted.statuses))})")
        values += sorted(status.value for status in wanted.statuses)
    for condition, at in (
        ("i.created_at >= ?", wanted.created_from),
        ("i.created_at <= ?", wanted.created_to),
        ("e.updated_at >= ?", wanted.updated_from),
        ("e.updated_at <= ?", wanted.updated_to),
    ):
        if at is not None:
            conditions.append(condition)
            values.append(to_micros(at))
    rows = connection.execute(
        f"{RECORD} WHERE {' AND '.join(conditions)} ORDER BY i.generation LIMIT ?",
        (*values, wanted.page_size + 1),
    ).fetchall()
    page = tuple(record_of(row) for row in rows[: wanted.page_size])
    has_more = len(rows) > wanted.page_size
    return InstancePage(page, token_after(page[-1].generation) if has_more else None)


def _narrow_by_id(conditions: list[str], values: list[object], hub_id: int, prefix: str) -> None:
    """Add what the ids of a listing must be: without a prefix, entities are left out.

    Ids are found as a range of their index. Not LIKE, which would overlook case and read
    wildcards.
    """
    if not prefix:
        conditions.append("substr(i.instance_id, 1, 1) <> ?")
        values.append(ENTITY_MARK)
        return
    bounds, end = ["instance_id >= ?"], end_of_prefix(prefix)
    found: list[object] = [hub_id, prefix]
    if end is not None:
        bounds.append("instance_id < ?")
        found.append(end)
    conditions.append(
        "i.generation IN (SELECT generation FROM instances WHERE hub_id = ? AND"
        f" {' AND '.join(bounds)})"
    )
    values += found


def hold(connection: sqlite3.Connection, generation: int) -> Hold | None:
    """Return who holds an instance and when it is due."""
    row = connection.execute(_HOLD, (generation,)).fetchone()
    return None if row is None else Hold(row[0], time_or_none(row[1]))


def history(connection: sqlite3.Connection, generation: int) -> tuple[HistoryEvent, ...]:
    """Return the history of the current execution."""
    rows = connection.execute(
        "SELECT events FROM history WHERE generation = ? ORDER BY sequence", (generation,)
    )
    return tuple(event for row in rows for event in decode_events(row[0]))


def messages_after(
    connection: sqlite3.Connection, generation: int, after: int
) -> tuple[InboxMessage, ...]:
    """Return an instance's waiting messages with a greater id than ``after``, in order."""
    rows = connection.execute(
        "SELECT message_id, event FROM inbox WHERE generation = ? AND message_id > ?"
        " ORDER BY message_id",
        (generation, after),
    )
    return tuple(message_of(row) for row in rows)


def backlog(connection: sqlite3.Connection, hub_id: int, now: int) -> Backlog:
    """Count what is due and what is held."""
    due, oldest = connection.execute(
        "SELECT count(*), min(due_at) FROM executions"
        " WHERE hub_id = ? AND owner IS NULL AND due_at IS NOT NULL AND due_at <= ?",
        (hub_id, now),
    ).fetchone()
    held = connection.execute(
        "SELECT count(*) FROM hosts AS h JOIN executions AS e ON e.owner = h.host_id"
        " WHERE h.hub_id = ?",
        (hub_id,),
    ).fetchone()[0]
    oldest_due_at = None if oldest is None else from_micros(oldest)
    return Backlog(due=due, held=held, oldest_due_at=oldest_due_at)


def _places(count: int) -> str:
    return ", ".join("?" * count)
