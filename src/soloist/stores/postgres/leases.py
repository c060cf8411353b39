"""Leases in SQL: who works on what, and the hosts that may. Each verb runs in a transaction of its
own, inside a pipeline; what is fetched costs a round trip, what is only sent costs none.

What is locked here is skipped when somebody else has it locked, so that nobody is waited for; the
next look finds it.
"""

from __future__ import annotations

from typing import Any

from soloist.core.instances import HostRecord, InstanceRecord, Lease, LeaseGrant, TakenOver
from soloist.stores.postgres.arrays import Texts
from soloist.stores.postgres.connection import Connection
from soloist.stores.postgres.payloads import record_in
from soloist.stores.rows import RECORD_COLUMNS, Row, host_of, message_of
from soloist.stores.times import from_micros

MAX_TAKEOVERS = 1_000
"""How many instances of hosts that are gone one ``lease`` takes from them."""

MAX_HOSTS_TAKEN_OVER = 20
"""How many such hosts one ``lease`` looks at."""

_RECORD = (
    f"SELECT {RECORD_COLUMNS}, e.epoch FROM soloist.instances AS i"
    " JOIN soloist.executions AS e ON e.generation = i.generation"
    " WHERE e.generation = ANY(%s::bigint[])"
)
_MESSAGES = (
    "SELECT message_id, event, generation FROM soloist.inbox WHERE generation = ANY(%s::bigint[])"
    " ORDER BY generation, message_id"
)
_NEXT_DUE_AT = (
    "SELECT due_at FROM soloist.executions"
    " WHERE hub_id = %(hub_id)s AND owner IS NULL AND due_at IS NOT NULL{fits}"
    " ORDER BY due_at LIMIT 1"
)
_FITS = (
    " AND (SELECT coalesce(i.version, '') FROM soloist.instances AS i"
    " WHERE i.generation = executions.generation) <> ALL(%(leaves)s)"
)
_MAIL = (
    "UPDATE soloist.executions SET mail = false WHERE generation IN (SELECT generation FROM"
    " soloist.executions WHERE owner = %(host_id)s AND mail FOR UPDATE SKIP LOCKED)"
    " RETURNING generation"
)

# When its holder lets go, an instance is due as its last commit said or when its first message is.
# Run it when the rows are locked, so that it sees every message.
_LET_GO = (
    "UPDATE soloist.executions AS e SET owner = NULL, mail = false, due_at = least(e.due_at,"
    " (SELECT min(coalesce(m.due_at, {time})) FROM soloist.inbox AS m"
    " WHERE m.generation = e.generation)) WHERE e.generation = ANY(%s::bigint[])"
)
_HELD = (
    "SELECT generation FROM soloist.executions WHERE owner = %s ORDER BY generation LIMIT %s"
    " FOR UPDATE"
)


class Forgotten(Exception):
    """A host was considered gone while something was being leased to it."""


class Leases:
    """The verbs of one hub's leases."""

    def __init__(self, hub_id: int, time: str, lease_micros: int) -> None:
        self._hub_id = hub_id
        self._lease_micros = lease_micros
        self._time = time
        self._let_go = _LET_GO.format(time=time)
        self._live = (
            "SELECT 1 FROM soloist.hosts WHERE host_id = %(host_id)s AND hub_id = %(hub_id)s"
            f" AND expires_at > {time}"
        )
        self._gone = (
            "SELECT host_id, name FROM soloist.hosts WHERE hub_id = %(hub_id)s"
            f" AND expires_at <= {time} ORDER BY host_id LIMIT {MAX_HOSTS_TAKEN_OVER}"
        )
        self._take = (
            "UPDATE soloist.executions SET owner = %(host_id)s, epoch = epoch + 1, mail = false"
            " WHERE generation IN (SELECT generation FROM soloist.executions"
            " WHERE hub_id = %(hub_id)s AND owner IS NULL AND due_at IS NOT NULL"
            f" AND due_at <= {time} AND EXISTS (SELECT 1 FROM soloist.hosts AS h"
            f" WHERE h.host_id = %(host_id)s AND h.expires_at > {time}){{fits}}"
            " ORDER BY due_at, generation LIMIT %(limit)s FOR UPDATE SKIP LOCKED)"
            " RETURNING generation, due_at"
        )

    async def lease(
        self, connection: Connection, host_id: int, limit: int, leaves: frozenset[str]
    ) -> LeaseGrant:
        """Lease due instances, the longest due first."""
        values = {
            "hub_id": self._hub_id,
            "host_id": host_id,
            "limit": limit,
            "leaves": Texts(sorted(leaves)),
        }
        fits = _FITS if leaves else ""
        next_due_at = _NEXT_DUE_AT.format(fits=fits)
        live = await connection.execute(self._live, values)
        gone = await connection.execute(self._gone, values)
        if await live.fetchone() is None:
            return LeaseGrant()
        room = MAX_TAKEOVERS
        taken_over = []
        for other, name in await gone.fetchall():
            held = await self._take_over(connection, other, room)
            if held is None:
                continue
            taken_over.append(TakenOver(other, name, held))
            room -= held
            if room <= 0:
                break
        mail = await connection.execute(_MAIL, values)
        taken = await connection.execute(self._take.format(fits=fits), values)
        due = await connection.execute(next_due_at, values)
        rows = sorted(await taken.fetchall(), key=lambda row: (row[1], row[0]))
        leases = await self._leases(connection, [row[0] for row in rows])
        if rows:
            await self._stay(connection, host_id)
        return LeaseGrant(
            leases=leases,
            mail=tuple(sorted(row[0] for row in await mail.fetchall())),
            next_due_at=_time_in(await due.fetchone()),
            taken_over=tuple(taken_over),
        )

    async def _stay(self, connection: Connection, host_id: int) -> None:
        """Keep the host from being forgotten before what it was given is committed.

        Raises:
            Forgotten: it was, a moment ago.
        """
        found = await connection.execute(
            "SELECT 1 FROM soloist.hosts WHERE host_id = %s FOR KEY SHARE", (host_id,)
        )
        if await found.fetchone() is None:
            raise Forgotten

    async def _leases(self, connection: Connection, generations: list[int]) -> tuple[Lease, ...]:
        if not generations:
            return ()
        records = await connection.execute(_RECORD, (generations,))
        inboxes = await connection.execute(_MESSAGES, (generations,))
        found: dict[int, tuple[InstanceRecord, int]] = {}
        for row in await records.fetchall():
            found[row[0]] = (record_in(row), row[-1])
        messages: dict[int, list[Row]] = {}
        for row in await inboxes.fetchall():
            messages.setdefault(row[2], []).append(row)
        return tuple(
            Lease(
                record=found[each][0],
                epoch=found[each][1],
                messages=tuple(message_of(row) for row in messages.get(each, ())),
            )
            for each in generations
        )

    async def _take_over(self, connection: Connection, host_id: int, room: int) -> int | None:
        """Take at most ``room`` instances from a host whose lease expired, and forget it with the
        last one; return how many, ``None`` when it was left alone."""
        gone = await connection.execute(
            f"SELECT 1 FROM soloist.hosts WHERE host_id = %s AND expires_at <= {self._time}"
            " FOR UPDATE SKIP LOCKED",
            (host_id,),
        )
        if await gone.fetchone() is None:
            return None  # somebody else is about it, or it is alive again
        held = await connection.execute(f"{_HELD} SKIP LOCKED", (host_id, room))
        generations = [row[0] for row in await held.fetchall()]
        if generations:
            await connection.execute(self._let_go, (generations,))
        if len(generations) < room:
            await connection.execute(
                "DELETE FROM soloist.hosts WHERE host_id = %s"
                " AND NOT EXISTS (SELECT 1 FROM soloist.executions WHERE owner = %s)",
                (host_id, host_id),
            )
        return len(generations)

    async def join(
        self,
        connection: Connection,
        name: str,
        address: str,
        version: str,
        app_version: str | None,
        process_id: int,
        machine: str,
    ) -> int:
        """Enter a host."""
        told = (name, address, version, app_version)
        added = await connection.execute(
            "INSERT INTO soloist.hosts (hub_id, name, address, version, app_version, process_id,"
            " machine, joined_at, renewed_at, expires_at)"
            " SELECT %s, %s, %s, %s, %s, %s, %s, t.now, t.now, t.now + %s"
            f" FROM (SELECT {self._time} AS now) AS t RETURNING host_id",
            (self._hub_id, *told, process_id, machine, self._lease_micros),
        )
        row = await added.fetchone()
        assert row is not None, "an insert returns its row"
        return int(row[0])

    async def renew(self, connection: Connection, host_id: int, lacks: str | None) -> int | None:
        """Prolong a host's leases, late or not; return the time, ``None`` when they were taken
        over."""
        changed = await connection.execute(
            "UPDATE soloist.hosts SET renewed_at = t.now, expires_at = t.now + %s, lacks = %s"
            f" FROM (SELECT {self._time} AS now) AS t WHERE host_id = %s AND hub_id = %s"
            " RETURNING renewed_at",
            (self._lease_micros, lacks, host_id, self._hub_id),
        )
        row = await changed.fetchone()
        return None if row is None else int(row[0])

    async def leave(self, connection: Connection, host_id: int) -> None:
        """Take everything from a host and forget it."""
        await connection.execute(
            "SELECT 1 FROM soloist.hosts WHERE host_id = %s FOR UPDATE", (host_id,)
        )
        while True:
            held = await connection.execute(_HELD, (host_id, MAX_TAKEOVERS))
            generations = [row[0] for row in await held.fetchall()]
            if generations:
                await connection.execute(self._let_go, (generations,))
            if len(generations) < MAX_TAKEOVERS:
                break
        await connection.execute("DELETE FROM soloist.hosts WHERE host_id = %s", (host_id,))

    async def hosts(self, connection: Connection) -> tuple[HostRecord, ...]:
        """Return every host of the hub with what it holds."""
        rows = await connection.execute(
            "SELECT h.host_id, h.name, h.address, h.version, h.app_version, h.process_id,"
            f" h.machine, h.joined_at, h.renewed_at, h.expires_at > {self._time},"
            " (SELECT count(*) FROM soloist.executions AS e WHERE e.owner = h.host_id), h.lacks"
            " FROM soloist.hosts AS h WHERE h.hub_id = %s ORDER BY h.host_id",
            (self._hub_id,),
        )
        return tuple(host_of(row) for row in await rows.fetchall())


def _time_in(row: Row | None) -> Any:
    return None if row is None or row[0] is None else from_micros(row[0])
