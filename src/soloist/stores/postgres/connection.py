"""Connections: reaching a database and bringing its schema up to date, with errors for people."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from contextlib import suppress
from typing import Any, TypeVar
from urllib.parse import parse_qsl, urlencode

import msgspec
import psycopg
from psycopg import AsyncConnection
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from soloist.errors import HubTooNew, SettingsError, StoreUnavailable
from soloist.stores import migrations
from soloist.stores.postgres.arrays import understand_arrays
from soloist.stores.postgres.refusals import refusal_of
from soloist.stores.urls import check_postgres

Connection = AsyncConnection[tuple[Any, ...]]

OLDEST_POSTGRES = 140_000
ANSWER_SECONDS = 10.0
"""How long one round trip may take before the connection is given up as dead."""

STATEMENT_MILLISECONDS = 8_000
LOCK_MILLISECONDS = 5_000
IDLE_TRANSACTION_MILLISECONDS = 3_000
"""A host that stands still in the middle of a transaction loses it, and with it its locks."""

TRANSACTION_MILLISECONDS = 15_000
"""The same for one that falls silent in the middle of a round trip, when the database waits for the
rest of it and neither a statement runs nor the transaction counts as idle. PostgreSQL 17 and newer;
what older ones notice is a machine that is gone, by the signs of life that a connection gives."""

DATABASE_TIME = "(SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint)"
"""The time that judges leases, in microseconds since 1970. A subquery, so that it is asked once a
statement and an index can be searched for it."""

TIMELINE = "left(pg_walfile_name(pg_current_wal_lsn()), 8)"
"""Which of the database's lives this is: another one begins with each promotion of a standby, and
may give the number of a transaction that it never had to another."""

BACKEND_START = "extract(epoch FROM backend_start)::text"
"""When a server's process began, of ``pg_stat_activity``: with its id it names one for ever."""

_CONNECT_SECONDS = 5
_ALIVE = {
    "connect_timeout": str(_CONNECT_SECONDS),
    "keepalives_idle": "5",
    "keepalives_interval": "2",
    "keepalives_count": "3",
    "application_name": "soloist",
}
# How soon the database gives up a host whose machine is gone, and with it what that one has locked;
# by itself it would wait for hours.
_SIGNS_OF_LIFE = (
    "SET tcp_keepalives_idle = 5",
    "SET tcp_keepalives_interval = 2",
    "SET tcp_keepalives_count = 3",
)
_OURS = {"client_encoding": "UTF8"}
"""Whatever the user's environment says: texts travel as UTF-8 in binary form."""

_POOLED = "pooled"
_MIGRATION_LOCK = 0x501015  # any number that other programs are unlikely to use
_NEWEST = migrations.load(__package__)

NOT_STORABLE = (psycopg.DataError, psycopg.errors.ProgramLimitExceeded)
_TROUBLE = ("08", "25", "53", "57P", "58")

T = TypeVar("T")


class Address(msgspec.Struct, frozen=True):
    """Where a database is.

    ``shown`` is for people and holds no secret. ``is_pooled`` says that a pooler stands between,
    which may give each transaction another connection.
    """

    conninfo: str
    shown: str
    is_pooled: bool


def address_of(url: str) -> Address:
    """Read a URL as libpq does, and beyond it the parameter ``pooled=true``.

    Raises:
        SettingsError: it is not understood, or can be read in more than one way.
    """
    check_postgres(url)
    scheme, _, place = url.partition("://")
    base, _, query = f"{scheme.lower()}://{place}".partition("?")
    parameters = parse_qsl(query, keep_blank_values=True)
    pooled = dict(parameters).get(_POOLED, "false")
    rest = urlencode([each for each in parameters if each[0] != _POOLED])
    try:
        known = conninfo_to_dict(f"{base}?{rest}" if rest else base)
        conninfo = make_conninfo("", **{**_ALIVE, **known, **_OURS})
    except psycopg.Error as error:
        raise SettingsError(
            f"The store URL is not understood: {_without_secrets(error)}. Use"
            " postgresql://user:password@host:port/database."
        ) from None
    if pooled not in ("true", "false"):
        raise SettingsError(f"pooled={pooled} in the store URL is neither true nor false.")
    host = known.get("host") or known.get("hostaddr") or "the local socket"
    port = f":{known['port']}" if known.get("port") else ""
    database = known.get("dbname") or known.get("user") or "(default)"
    return Address(conninfo, f"database '{database}' at {host}{port}", pooled == "true")


def _without_secrets(error: Exception) -> str:
    """Return what is wrong with a URL; libpq quotes parts of it, so nothing of those is kept."""
    text = str(error).strip().splitlines()[0] if str(error) else "it is malformed"
    reason = text.split('"')[0].strip().rstrip(":")
    return reason if " " in reason else "it is malformed"


async def connect(address: Address) -> Connection:
    """Open a connection that commits by itself unless told to begin.

    Raises:
        psycopg.Error: it cannot be opened.
    """
    connection = await in_time(
        AsyncConnection.connect(
            address.conninfo,
            autocommit=True,
            # At once: only a statement's first use is looked at, and forgotten when it failed.
            prepare_threshold=None if address.is_pooled else 0,
        ),
        _CONNECT_SECONDS * 3,
    )
    understand_arrays(connection)
    if not address.is_pooled:
        try:
            settings = "; ".join((*limits("SET"), *_SIGNS_OF_LIFE))
            await in_time(connection.execute(settings, prepare=False), ANSWER_SECONDS)
        except BaseException:
            await close(connection)
            raise
    return connection


def limits(set_it: str) -> tuple[str, ...]:
    """Return the statements that bound how long the server waits for us and for others."""
    return (
        f"{set_it} statement_timeout = {STATEMENT_MILLISECONDS}",
        f"{set_it} lock_timeout = {LOCK_MILLISECONDS}",
        f"{set_it} idle_in_transaction_session_timeout = {IDLE_TRANSACTION_MILLISECONDS}",
        f"SELECT set_config(name, '{TRANSACTION_MILLISECONDS}', {set_it == 'SET LOCAL'})"
        " FROM pg_settings WHERE name = 'transaction_timeout'",
    )


async def in_time(work: Awaitable[T], seconds: float) -> T:
    """Await an answer, but not for ever: a connection may be half open, and then nothing comes.

    Raises:
        psycopg.OperationalError: the time is over. The connection is of no use any more.
    """
    task = asyncio.ensure_future(work)
    try:
        done, _ = await asyncio.wait({task}, timeout=seconds)
    except asyncio.CancelledError:
        task.cancel()
        raise
    if done:
        return task.result()
    task.cancel()
    task.add_done_callback(_forget)
    raise psycopg.OperationalError(f"no answer within {seconds:g} seconds")


def _forget(task: asyncio.Future[Any]) -> None:
    if not task.cancelled():
        task.exception()


async def close(connection: Connection) -> None:
    """Close a connection, however it is."""
    with suppress(psycopg.Error):
        await connection.close()


def unavailable(address: Address, error: psycopg.Error) -> StoreUnavailable:
    """Say in one sentence which database, what happened and what to do."""
    refusal = refusal_of(error)
    if refusal is not None:
        return StoreUnavailable(
            f"The {address.shown} {refusal.what}: {refusal.reason}. {refusal.remedy}"
        )
    lines = str(error).strip().splitlines()
    reason = lines[0].rstrip(".") if lines else type(error).__name__
    what = "does not answer" if is_trouble(error) else "refused an operation"
    return StoreUnavailable(f"The {address.shown} {what}: {reason}.")


def is_trouble(error: psycopg.Error) -> bool:
    """Whether an error says that the database is in trouble, rather than an operation wrong."""
    if isinstance(error, NOT_STORABLE):
        return False
    return error.sqlstate is None or error.sqlstate.startswith(_TROUBLE)


async def prepare(connection: Connection, address: Address) -> None:
    """Create the schema or bring it up to date; hosts of older versions go on beside it.

    Raises:
        HubTooNew: a newer Soloist needs another schema.
        StoreUnavailable: the database cannot hold a hub.
    """
    await _check_server(connection, address)
    version = await _version(connection)
    if version == len(_NEWEST):
        return
    _check_version(version, address)
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock(%s)", (_MIGRATION_LOCK,))
        version = await _version(connection)  # another host may have been faster
        _check_version(version, address)
        if version == 0:
            await connection.execute("CREATE SCHEMA IF NOT EXISTS soloist")
        for migration in _NEWEST[version:]:
            await connection.execute(migration.sql.encode(), prepare=False)
            await connection.execute(
                "INSERT INTO soloist.schema_migrations (version, name, applied_at)"
                f" VALUES (%s, %s, {DATABASE_TIME})",
                (migration.version, migration.name),
            )


async def hub_id_of(connection: Connection, task_hub: str) -> int:
    """Return the number of a task hub, entering it when there is none of that name."""
    find = "SELECT hub_id FROM soloist.hubs WHERE name = %s"
    row = await (await connection.execute(find, (task_hub,))).fetchone()
    if row is None:
        # Another process may do the same at the same moment.
        await connection.execute(
            f"INSERT INTO soloist.hubs (name, created_at) VALUES (%s, {DATABASE_TIME})"
            " ON CONFLICT DO NOTHING",
            (task_hub,),
        )
        row = await (await connection.execute(find, (task_hub,))).fetchone()
    assert row is not None, "it was just entered"
    return int(row[0])


async def hubs_in(connection: Connection) -> tuple[str, ...]:
    """Return the names of the task hubs in a database, which is left as it is."""
    if await _version(connection) == 0:
        return ()
    found = await connection.execute("SELECT name FROM soloist.hubs ORDER BY hub_id")
    return tuple([row[0] async for row in found])


async def _check_server(connection: Connection, address: Address) -> None:
    version = connection.info.server_version
    if version < OLDEST_POSTGRES:
        raise StoreUnavailable(
            f"The {address.shown} is PostgreSQL {version // 10_000}; Soloist needs"
            f" {OLDEST_POSTGRES // 10_000} or newer."
        )
    row = await (await connection.execute("SHOW server_encoding")).fetchone()
    if row is None or row[0] != "UTF8":
        raise StoreUnavailable(
            f"The {address.shown} has the encoding {row and row[0]}; Soloist needs UTF8."
        )


async def _version(connection: Connection) -> int:
    # Not to_regclass, which may remember that there was none before another host made it.
    found = await connection.execute(
        "SELECT 1 FROM pg_catalog.pg_tables"
        " WHERE schemaname = 'soloist' AND tablename = 'schema_migrations'"
    )
    if await found.fetchone() is None:
        return 0
    found = await connection.execute(
        "SELECT coalesce(max(version), 0) FROM soloist.schema_migrations"
    )
    row = await found.fetchone()
    return int(row[0]) if row is not None else 0


def _check_version(version: int, address: Address) -> None:
    if version > len(_NEWEST):
        raise HubTooNew(
            f"The {address.shown} was upgraded by a newer Soloist (schema {version}; this one"
            f" knows {len(_NEWEST)}). Upgrade Soloist, or choose another database."
        )
