"""What a database that answers, but does not let a host in, is said to have done."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql

from proofs.postgres import PostgresServer
from soloist.errors import StoreUnavailable
from soloist.stores.postgres import PostgresStore

SECRET = "hunter2"  # a password that must be seen nowhere

_ROLES = (
    f"CREATE ROLE me LOGIN PASSWORD '{SECRET}'",
    f"CREATE ROLE asleep NOLOGIN PASSWORD '{SECRET}'",
    "CREATE ROLE crowd LOGIN CONNECTION LIMIT 0",
    "CREATE DATABASE shut",
    "REVOKE CONNECT ON DATABASE shut FROM PUBLIC",
    "CREATE DATABASE theirs",
)
_ADMITTED = (
    "host all postgres,crowd 127.0.0.1/32 trust",
    "host all me,asleep 127.0.0.1/32 scram-sha-256",
)


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """A server that asks for passwords."""
    with PostgresServer(settings={"fsync": "off"}) as server:
        with psycopg.connect(server.url(), autocommit=True) as connection:
            for statement in _ROLES:
                connection.execute(statement.encode())
            row = connection.execute("SHOW hba_file").fetchone()
            assert row is not None
            copy = sql.SQL("COPY (SELECT unnest({}::text[])) TO {}")
            connection.execute(copy.format(sql.Literal(list(_ADMITTED)), sql.Literal(row[0])))
        server.restart()
        yield server


def refusal(server: PostgresServer, user: str, database: str = "postgres") -> str:
    """Open a hub as that user; return why that failed."""
    url = f"postgresql://{user}@{server.address}/{database}"
    store = PostgresStore(url, task_hub="hub", lease_seconds=30)
    with pytest.raises(StoreUnavailable) as refused:
        asyncio.run(store.open())
    with pytest.raises(StoreUnavailable) as also:
        asyncio.run(store.hubs()) if database != "theirs" else asyncio.run(store.open())
    text = str(refused.value)
    assert str(also.value) == text
    assert text.startswith(f"The database '{database}' at {server.address} ")
    assert SECRET not in text
    assert "does not answer" not in text
    return text


def test_a_wrong_password_is_said_to_be_one(server: PostgresServer) -> None:
    for user in ("me:wrong", "me"):
        text = refusal(server, user)
        assert "refused the login" in text
        assert "Check the user and the password" in text


def test_a_user_that_may_not_log_in_is_said_to_be_one(server: PostgresServer) -> None:
    assert "pg_hba.conf" in refusal(server, f"nobody:{SECRET}")
    assert 'role "asleep" is not permitted to log in' in refusal(server, f"asleep:{SECRET}")


def test_a_database_that_does_not_exist_is_to_be_made(server: PostgresServer) -> None:
    assert "is not there" in (text := refusal(server, f"me:{SECRET}", "nowhere"))
    assert "CREATE DATABASE" in text


def test_rights_that_are_missing_are_to_be_granted(server: PostgresServer) -> None:
    for database in ("shut", "theirs"):
        assert "GRANT CONNECT, CREATE ON DATABASE" in refusal(server, f"me:{SECRET}", database)


def test_a_server_that_is_full_is_said_to_be_so(server: PostgresServer) -> None:
    assert "has no connection to spare" in refusal(server, "crowd")


def test_a_hub_of_another_user_is_said_to_need_rights(server: PostgresServer) -> None:
    owned = PostgresStore(server.url("shut"), task_hub="hub", lease_seconds=30)

    async def make() -> None:
        await owned.open()
        await owned.close()

    asyncio.run(make())
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute("GRANT CONNECT ON DATABASE shut TO me")
    text = refusal(server, f"me:{SECRET}", "shut")
    assert "permission denied for schema soloist" in text
    assert "USAGE ON SCHEMA soloist" in text
