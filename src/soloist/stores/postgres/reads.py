"""The reads: what is asked of a hub without changing it, in SQL."""

from __future__ import annotations

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
from soloist.stores.postgres.connection import Connection
from soloist.stores.postgres.payloads import record_in
from soloist.stores.rows import RECORD_COLUMNS, message_of, time_or_none
from soloist.stores.times import from_micros, to_micros

_RECORD = (
    f"SELECT {RECORD_COLUMNS} FROM soloist.instances AS i"
    " JOIN soloist.executions AS e ON e.generation = i.generation"
)


async def read(connection: Connection, hub_id: int, instance_id: str) -> InstanceRecord | None:
    """Return one instance."""
    found = await connection.execute(
        f"{_RECORD} WHERE i.hub_id = %s AND i.instance_id = %s", (hub_id, instance_id)
    )
    row = await found.fetchone()
    return None if row is None else record_in(row)


async def query(connection: Connection, hub_id: int, wanted: InstanceQuery) -> InstancePage:
    """Return one page of instances, in the order of their starts.

    Raises:
        InvalidRequest: the token or the page size is wrong.
    """
    conditions = ["i.hub_id = %s", "i.generation > %s"]
    values: list[object] = [hub_id, start_of(wanted)]
    _narrow_by_id(conditions, values, hub_id, wanted.instance_id_prefix)
    if wanted.names:
        conditions.append('lower(i.name COLLATE "C") = ANY(%s::text[])')
        values.append([fold_case(name) for name in wanted.names])
    if wanted.statuses:
        conditions.append("e.status = ANY(%s::text[])")
        values.append(sorted(status.value for status in wanted.statuses))
    for condition, at in (
        ("i.created_at >= %s", wanted.created_from),
        ("i.created_at <= %s", wanted.created_to),
        ("e.updated_at >= %s", wanted.updated_from),
        ("e.updated_at <= %s", wanted.updated_to),
    ):
        if at is not None:
            conditions.append(condition)
            values.append(to_micros(at))
    found = await connection.execute(
        f"{_RECORD} WHERE {' AND '.join(conditions)} ORDER BY i.generation LIMIT %s",
        (*values, wanted.page_size + 1),
    )
    rows = await found.fetchall()
    page = tuple(record_in(row) for row in rows[: wanted.page_size])
    has_more = len(rows) > wanted.page_size
    return InstancePage(page, token_after(page[-1].generation) if has_more else None)


def _narrow_by_id(conditions: list[str], values: list[object], hub_id: int, prefix: str) -> None:
    """Add what the ids of a listing must be: without a prefix, entities are left out.

    Ids are found as a range of their index. Not LIKE, which would read wildcards.
    """
    if not prefix:
        conditions.append("left(i.instance_id, 1) <> %s")
        values.append(ENTITY_MARK)
        return
    bounds, end = ["instance_id >= %s"], end_of_prefix(prefix)
    found: list[object] = [hub_id, prefix]
    if end is not None:
        bounds.append("instance_id < %s")
        found.append(end)
    conditions.append(
        "i.generation IN (SELECT generation FROM soloist.instances WHERE hub_id = %s AND"
        f" {' AND '.join(bounds)})"
    )
    values += found


async def hold(connection: Connection, generation: int) -> Hold | None:
    """Return who holds an instance and when it is due."""
    found = await connection.execute(
        "SELECT owner, due_at FROM soloist.executions WHERE generation = %s", (generation,)
    )
    row = await found.fetchone()
    return None if row is None else Hold(row[0], time_or_none(row[1]))


async def history(connection: Connection, generation: int) -> tuple[HistoryEvent, ...]:
    """Return the history of the current execution."""
    rows = await connection.execute(
        "SELECT events FROM soloist.history WHERE generation = %s ORDER BY sequence",
        (generation,),
    )
    return tuple(event for row in await rows.fetchall() for event in decode_events(row[0]))


async def messages_after(
    connection: Connection, generation: int, after: int
) -> tuple[InboxMessage, ...]:
    """Return an instance's waiting messages with a greater id than ``after``, in order."""
    rows = await connection.execute(
        "SELECT message_id, event FROM soloist.inbox WHERE generation = %s AND message_id > %s"
        " ORDER BY message_id",
        (generation, after),
    )
    return tuple(message_of(row) for row in await rows.fetchall())


async def backlog(connection: Connection, hub_id: int, time: str) -> Backlog:
    """Count what is due and what is held."""
    # The time first: knowing it, the planner sees how little of a full hub is due.
    now = await (await connection.execute(f"SELECT {time}")).fetchone()
    assert now is not None, "a time is one row"
    found = await connection.execute(
        "SELECT count(*), min(due_at) FROM soloist.executions WHERE hub_id = %s"
        " AND owner IS NULL AND due_at IS NOT NULL AND due_at <= %s",
        (hub_id, now[0]),
    )
    row = await found.fetchone()
    assert row is not None, "a count is one row"
    found = await connection.execute(
        "SELECT count(*) FROM soloist.hosts AS h"
        " JOIN soloist.executions AS e ON e.owner = h.host_id WHERE h.hub_id = %s",
        (hub_id,),
    )
    held = await found.fetchone()
    assert held is not None, "a count is one row"
    oldest_due_at = None if row[1] is None else from_micros(row[1])
    return Backlog(due=row[0], held=held[0], oldest_due_at=oldest_due_at)
