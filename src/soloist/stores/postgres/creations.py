"""Creations: the starts of ids that nobody has, which are most of them.

One statement inserts all of a group and says which it did; so they need not see rows first. What
it leaves out, because the id is taken, is decided with the row in sight, as every start could be.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from soloist.core.instances import Lease, StartReceipt, StartRequest
from soloist.core.policy import StartDecision
from soloist.core.status import RuntimeStatus
from soloist.stores.postgres.arrays import Bigints, Texts
from soloist.stores.postgres.batch import Answer, Batch, ServerProcess
from soloist.stores.postgres.connection import BACKEND_START, Connection
from soloist.stores.postgres.moved import FIRST_EPOCH
from soloist.stores.postgres.news import WORK, channel_of
from soloist.stores.postgres.payloads import to_column
from soloist.stores.postgres.starts import new_row
from soloist.stores.rows import begins_at, extras_text, parent_columns
from soloist.stores.times import to_micros

_PARENT = ("parent_instance_id", "parent_generation", "parent_execution_id", "parent_task_id")
_PARENT_KINDS = (Texts, Bigints, Texts, Bigints)
_FACTS = f"instance_id, name, version, created_at, input, extras, {', '.join(_PARENT)}"

# Run it when the hosts and the drawing of generations are guarded, so that each stays as it is and
# a generation is greater than all that its id had before. In the order of the ids, so that two
# hosts that insert the same ids do not wait for each other; and an id that is seen to be taken is not
# inserted, so that none waits for another's deletion, which is in no order.
#
# Its plan is made once, often in an empty hub, where reading all instances seems as cheap as looking
# for one. So what is looked for is a subquery of one id, and an array: joins would be planned as
# reading the whole hub for each group, and as comparing all new rows with all.
_CREATE = (
    "WITH t AS MATERIALIZED (SELECT {time} AS now),"
    " n AS MATERIALIZED (SELECT u.*, nextval('soloist.generations') AS generation,"
    " CASE WHEN u.due_at <= t.now THEN h.host_id END AS owner, greatest(u.due_at, t.now) AS begins"
    " FROM t CROSS JOIN unnest(%(ids)s, %(names)s, %(versions)s, %(created)s, %(inputs)s,"
    f" %(extras)s, {', '.join(f'%({each})s' for each in _PARENT)}, %(executions)s, %(due)s,"
    f" %(hosts)s) AS u ({_FACTS}, execution_id, due_at, host_id)"
    " LEFT JOIN soloist.hosts AS h ON h.host_id = u.host_id AND h.hub_id = %(hub_id)s"
    " AND h.expires_at > t.now WHERE (SELECT taken.generation FROM soloist.instances AS taken"
    " WHERE taken.hub_id = %(hub_id)s AND taken.instance_id = u.instance_id) IS NULL),"
    f" i AS (INSERT INTO soloist.instances (generation, hub_id, {_FACTS})"
    f' SELECT generation, %(hub_id)s, {_FACTS} FROM n ORDER BY instance_id COLLATE "C"'
    " ON CONFLICT (hub_id, instance_id) DO NOTHING RETURNING generation),"
    " e AS (INSERT INTO soloist.executions (generation, hub_id, execution_id, status, owner, epoch,"
    " due_at, updated_at, history_length, last_message_id, mail)"
    " SELECT n.generation, %(hub_id)s, n.execution_id, %(pending)s, n.owner,"
    f" CASE WHEN n.owner IS NULL THEN 0 ELSE {FIRST_EPOCH} END, n.begins, n.created_at, 0, 0, false"
    " FROM n WHERE n.generation = ANY(ARRAY(SELECT generation FROM i)))"
    " SELECT n.instance_id, n.generation, n.owner,"
    " CASE WHEN n.owner IS NULL AND n.begins <= t.now THEN pg_notify(%(channel)s, %(news)s) END"
    " FROM n CROSS JOIN t WHERE n.generation = ANY(ARRAY(SELECT generation FROM i))"
)

# What became of them, should the answer be lost: an execution's id is drawn for one start alone,
# but the instance goes on under others.
_FIND = (
    f"SELECT i.instance_id, i.generation, CASE WHEN e.epoch = {FIRST_EPOCH} THEN e.owner END,"
    " e.execution_id = u.execution_id FROM unnest(%s, %s) AS u (instance_id, execution_id)"
    " JOIN soloist.instances AS i ON i.hub_id = %s AND i.instance_id = u.instance_id"
    " JOIN soloist.executions AS e ON e.generation = i.generation"
)
_END = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = %s"
    f" AND {BACKEND_START} = %s"
)


class Creation(msgspec.Struct, frozen=True, gc=False):
    """A start, and for which host it may lease the instance."""

    request: StartRequest
    host_id: int | None


class Created:
    """Which of some starts created their instance."""

    def __init__(self, rows: Sequence[tuple[Any, ...]]) -> None:
        self._rows = {row[0]: row for row in rows}

    def __bool__(self) -> bool:
        return bool(self._rows)

    def receipt(self, creation: Creation) -> StartReceipt | None:
        """Return a start's receipt, ``None`` when its id was taken."""
        request = creation.request
        row = self._rows.get(request.instance_id)
        if row is None:
            return None
        _, generation, owner, *_ = row
        record = new_row(request, generation, due_at=0).record
        lease = None
        if owner is not None and owner == creation.host_id:
            lease = Lease(record=record, epoch=FIRST_EPOCH, messages=())
        return StartReceipt(decision=StartDecision.CREATE, record=record, lease=lease)


class Found(NamedTuple):
    """What a lost transaction ``created``, and which of its ids are ``taken`` by whomever."""

    created: Created
    taken: frozenset[str]


def creating(time: str) -> str:
    """Return the statement of :func:`create_all`; ``time`` is the SQL expression of the time."""
    return _CREATE.format(time=time)


def create_all(batch: Batch, creations: Sequence[Creation], *, hub_id: int, sql: str) -> Answer:
    """Add the starts, of different ids; the answer is for :class:`Created`."""
    requests = [each.request for each in creations]
    parents = zip(*(parent_columns(each.parent) for each in requests), strict=True)
    return batch.add(
        sql,
        {
            "hub_id": hub_id,
            "ids": Texts([each.instance_id for each in requests]),
            "names": Texts([each.name for each in requests]),
            "versions": Texts([each.version for each in requests]),
            "created": Bigints([to_micros(each.at) for each in requests]),
            "inputs": Texts([to_column(each.input) for each in requests]),
            "extras": Texts([extras_text(each.extras) for each in requests]),
            **{
                name: kind(column)
                for name, kind, column in zip(_PARENT, _PARENT_KINDS, parents, strict=True)
            },
            "executions": Texts([each.execution_id for each in requests]),
            "due": Bigints([begins_at(each.extras, 0) for each in requests]),
            "hosts": Bigints([each.host_id for each in creations]),
            "pending": RuntimeStatus.PENDING.value,
            "channel": channel_of(hub_id),
            "news": WORK,
        },
    )


async def end_process(connection: Connection, process: ServerProcess) -> bool:
    """End a server's process; return whether it was there still, and may be for a moment."""
    found = await connection.execute(_END, process)
    return bool(await found.fetchall())


async def find_created(
    connection: Connection, creations: Sequence[Creation], *, hub_id: int
) -> Found:
    """Look for what a lost transaction created, once nobody is at it any more."""
    requests = [each.request for each in creations]
    ids = Texts([each.instance_id for each in requests])
    executions = Texts([each.execution_id for each in requests])
    rows = await (await connection.execute(_FIND, (ids, executions, hub_id))).fetchall()
    return Found(Created([row for row in rows if row[3]]), frozenset(row[0] for row in rows))
