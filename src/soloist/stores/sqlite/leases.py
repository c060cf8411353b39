"""Leases in SQL: who works on what, and the hosts that may."""

from __future__ import annotations

import sqlite3
from datetime import datetime

from soloist.core.instances import HostRecord, InstanceRecord, Lease, LeaseGrant, TakenOver
from soloist.stores.rows import EPOCH, RECORD, host_of, record_of
from soloist.stores.sqlite.reads import messages_after
from soloist.stores.times import from_micros

MAX_TAKEOVERS = 1_000
"""How many instances of hosts that are gone one ``lease`` takes from them."""

_AT_ANY_TIME = -(2**63)

_IS_LIVE = "SELECT 1 FROM hosts WHERE host_id = ? AND hub_id = ? AND expires_at > ?"

_LEASE = "UPDATE executions SET owner = ?, epoch = epoch + 1 WHERE generation = ?"
_DUE = (
    f"{RECORD} WHERE e.hub_id = ? AND e.owner IS NULL AND e.due_at IS NOT NULL AND e.due_at <= ?"
    " ORDER BY e.due_at, e.generation LIMIT ?"
)
_NEXT_DUE_AT = (
    "SELECT e.due_at FROM executions AS e JOIN instances AS i ON i.generation = e.generation"
    " WHERE e.hub_id = ? AND e.owner IS NULL AND e.due_at IS NOT NULL ORDER BY e.due_at LIMIT 1"
)

# When its holder lets go, an instance is due as its last commit said or when its first message is,
# but not before ?2; NULL, when nothing makes it due, stays NULL.
_LET_GO = (
    "UPDATE executions SET owner = NULL, due_at = max(?2, (SELECT min(at) FROM ("
    "SELECT executions.due_at AS at"
    " UNION ALL SELECT min(m.due_at) FROM inbox AS m"
    " WHERE m.generation = executions.generation AND m.due_at IS NOT NULL"
    " UNION ALL SELECT ?1 WHERE EXISTS (SELECT 1 FROM inbox AS m"
    " WHERE m.generation = executions.generation AND m.due_at IS NULL))))"
)
_RELEASE = f"{_LET_GO} WHERE generation = ?3 AND epoch = ?4 AND owner IS NOT NULL"
_TAKE_ALL = f"{_LET_GO} WHERE owner = ?3"
_TAKE_SOME = (
    f"{_LET_GO} WHERE generation IN (SELECT generation FROM executions WHERE owner = ?3 LIMIT ?4)"
)

_MAIL = (
    "SELECT DISTINCT e.generation FROM inbox AS m CROSS JOIN executions AS e"
    " ON e.generation = m.generation WHERE m.message_id > ? AND e.owner = ? ORDER BY e.generation"
)
_LAST_MESSAGE_ID = "SELECT seq FROM sqlite_sequence WHERE name = 'inbox'"


def lease(
    connection: sqlite3.Connection,
    hub_id: int,
    now: int,
    host_id: int,
    limit: int,
    leaves: frozenset[str],
    mail_after: int,
) -> tuple[LeaseGrant, int]:
    """Lease due instances; return the grant and the id of the last message it accounts for."""
    if live(connection, hub_id, now, host_id) is None:
        return LeaseGrant(), mail_after
    taken_over = _take_over(connection, hub_id, now)
    mail = connection.execute(_MAIL, (mail_after, host_id)).fetchall()
    due, versions = _fitting(_DUE, leaves)
    rows = connection.execute(due, (hub_id, now, *versions, limit)).fetchall()
    grant = LeaseGrant(
        leases=tuple(lease_one(connection, record_of(row), row[EPOCH], host_id) for row in rows),
        mail=tuple(row[0] for row in mail),
        next_due_at=_next_due_at(connection, hub_id, leaves),
        taken_over=taken_over,
    )
    return grant, last_message_id(connection)


def lease_one(
    connection: sqlite3.Connection, record: InstanceRecord, epoch: int, owner: int
) -> Lease:
    """Hand an instance to a host; what an earlier holder commits is stale from now on."""
    connection.execute(_LEASE, (owner, record.generation))
    messages = messages_after(connection, record.generation, 0)
    return Lease(record=record, epoch=epoch + 1, messages=messages)


def release(
    connection: sqlite3.Connection,
    now: int,
    generation: int,
    epoch: int,
    retry_at: int | None = None,
) -> None:
    """Give a lease back; a stale epoch does nothing."""
    not_before = _AT_ANY_TIME if retry_at is None else retry_at
    connection.execute(_RELEASE, (now, not_before, generation, epoch))


def live(connection: sqlite3.Connection, hub_id: int, now: int, host_id: int | None) -> int | None:
    """Return the host id if it is a live host of the hub."""
    if host_id is None:
        return None
    return host_id if connection.execute(_IS_LIVE, (host_id, hub_id, now)).fetchone() else None


def join(
    connection: sqlite3.Connection,
    hub_id: int,
    now: int,
    expires_at: int,
    name: str,
    address: str,
    version: str,
    app_version: str | None,
    process_id: int,
    machine: str,
) -> tuple[int, tuple[TakenOver, ...]]:
    """Enter a host and return its id. Every earlier one is gone, for the caller holds the host
    lock; return these as well."""
    gone = tuple(
        TakenOver(host_id, gone_name, leave(connection, now, host_id))
        for host_id, gone_name in connection.execute(
            "SELECT host_id, name FROM hosts WHERE hub_id = ? ORDER BY host_id", (hub_id,)
        ).fetchall()
    )
    host = connection.execute(
        "INSERT INTO hosts (hub_id, name, address, version, app_version, process_id, machine,"
        " joined_at, renewed_at, expires_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (hub_id, name, address, version, app_version, process_id, machine, now, now, expires_at),
    )
    assert host.lastrowid is not None, "an insert has a row id"
    return host.lastrowid, gone


def renew(
    connection: sqlite3.Connection,
    hub_id: int,
    now: int,
    expires_at: int,
    host_id: int,
    lacks: str | None,
) -> bool:
    """Prolong a host's leases, late or not; ``False`` when they were taken over."""
    changed = connection.execute(
        "UPDATE hosts SET renewed_at = ?, expires_at = ?, lacks = ?"
        " WHERE host_id = ? AND hub_id = ?",
        (now, expires_at, lacks, host_id, hub_id),
    ).rowcount
    return changed > 0


def leave(connection: sqlite3.Connection, now: int, host_id: int) -> int:
    """Take everything from a host and forget it; return how many instances it held."""
    held = connection.execute(_TAKE_ALL, (now, _AT_ANY_TIME, host_id)).rowcount
    connection.execute("DELETE FROM hosts WHERE host_id = ?", (host_id,))
    return held


def hosts(connection: sqlite3.Connection, hub_id: int, now: int) -> tuple[HostRecord, ...]:
    """Return every host of the hub with what it holds."""
    rows = connection.execute(
        "SELECT h.host_id, h.name, h.address, h.version, h.app_version, h.process_id, h.machine,"
        " h.joined_at, h.renewed_at, h.expires_at > ?,"
        " (SELECT count(*) FROM executions AS e WHERE e.owner = h.host_id), h.lacks"
        " FROM hosts AS h WHERE h.hub_id = ? ORDER BY h.host_id",
        (now, hub_id),
    )
    return tuple(host_of(row) for row in rows)


def last_message_id(connection: sqlite3.Connection) -> int:
    """Return the greatest message id that was ever given out."""
    row = connection.execute(_LAST_MESSAGE_ID).fetchone()
    return 0 if row is None else int(row[0])


def _fitting(statement: str, leaves: frozenset[str]) -> tuple[str, tuple[str, ...]]:
    """Return a statement that leaves out some versions, and the values for that."""
    if not leaves:
        return statement, ()
    places = ", ".join("?" * len(leaves))
    fits = f" AND coalesce(i.version, '') NOT IN ({places}) ORDER BY "
    return statement.replace(" ORDER BY ", fits), tuple(sorted(leaves))


def _next_due_at(
    connection: sqlite3.Connection, hub_id: int, leaves: frozenset[str]
) -> datetime | None:
    """Return when the first instance that no host holds is due; past when some wait already."""
    next_due_at, versions = _fitting(_NEXT_DUE_AT, leaves)
    row = connection.execute(next_due_at, (hub_id, *versions)).fetchone()
    return None if row is None else from_micros(row[0])


def _take_over(connection: sqlite3.Connection, hub_id: int, now: int) -> tuple[TakenOver, ...]:
    """Take instances from hosts whose leases expired; the last one taken, the host is forgotten."""
    room = MAX_TAKEOVERS
    found = []
    for host_id, name in connection.execute(
        "SELECT host_id, name FROM hosts WHERE hub_id = ? AND expires_at <= ? ORDER BY host_id",
        (hub_id, now),
    ).fetchall():
        taken = connection.execute(_TAKE_SOME, (now, _AT_ANY_TIME, host_id, room)).rowcount
        found.append(TakenOver(host_id, name, taken))
        room -= taken
        if room == 0:
            break
        connection.execute("DELETE FROM hosts WHERE host_id = ?", (host_id,))
    return tuple(found)
