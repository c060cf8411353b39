"""``kill -9`` a host at every statement boundary of every verb that writes to PostgreSQL.

A child process runs one verb on a copy of a prepared database and is killed before and after its
first statement, its second and so on, until the verb ends. What is shown after each kill: the
database holds all of the verb or nothing, row for row; what was acknowledged is there; where
nothing was done, the verb can be done again.

So that there is a boundary at each statement, the child sends them one by one instead of in
pipelines and batches.

    python -m proofs.postgres_statements
    python -m proofs.postgres_statements --plant postgres-half-replace
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import time
import traceback
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import psycopg
from psycopg import AsyncConnection, sql

from proofs import plants
from proofs.postgres import PostgresServer
from proofs.report import Finding, conclude, parser_for
from proofs.scenes import LEASE_SECONDS, SCENES, Act, Stage
from proofs.statements import CHILD_SECONDS, MAX_KILLS_A_VERB, NEVER, Ended, Killer, die
from soloist.stores import SqliteStore
from soloist.stores.postgres import PostgresStore
from soloist.stores.postgres.batch import Speaker
from soloist.stores.times import to_micros
from soloist.testing import JumpClock

Dump = dict[str, list[tuple[str, ...]]]

_TOLD = b"told"
_NOW = f"{to_micros(JumpClock().now())}::bigint"
_SECONDS_TO_ROLL_BACK = 10.0
_TABLES = ("instances", "executions", "history", "inbox", "hosts", "access_keys")

# A new process has a new one each time.
_VOLATILE = frozenset({"process_id"})

_ENTER_ANOTHER = (
    "INSERT INTO soloist.hosts (hub_id, name, address, version, process_id, machine, joined_at,"
    " renewed_at, expires_at) SELECT hub_id, 'another', address, version, 0, machine, joined_at,"
    " renewed_at, 9000000000000000000 FROM soloist.hosts RETURNING host_id"
)

# The prepared scenes of SQLite, but for those that look into its file.
_NOT_HERE = frozenset({"lease", "takeover"})


async def takeover(stage: Stage) -> Act:
    """A host asks for work: something is due, and more is held by one whose lease has expired."""
    expired = await stage.store.join("host")
    for instance_id in ("x", "y"):
        await stage.held(expired, instance_id)
    await stage.store.deliver("y", stage.raised(), None)
    await stage.store.start(stage.request("due"), None)
    conninfo = cast(PostgresStore, stage.store)._address.conninfo
    with psycopg.connect(conninfo, autocommit=True) as connection:
        connection.execute("UPDATE soloist.hosts SET expires_at = 0")
        host_id = connection.execute(_ENTER_ANOTHER).fetchall()[0][0]

    async def act(store: SqliteStore) -> None:
        leases = (await store.lease(host_id, 10)).leases
        assert len(leases) == 3, leases

    return act


VERBS = {**{name: SCENES[name] for name in SCENES if name not in _NOT_HERE}, "takeover": takeover}


class Databases:
    """Copies of prepared databases on one server."""

    def __init__(self, server: PostgresServer) -> None:
        self._server = server
        self._copies = 0

    def prepare(self, name: str) -> tuple[str, Act]:
        """Prepare a database for a verb; return its name."""
        template = f"prepared_{name.replace(' ', '_')}"
        url = self._server.create_database(template)

        async def run() -> Act:
            store = PostgresStore(url, task_hub="Proof", lease_seconds=LEASE_SECONDS, time=_NOW)
            await store.open()
            try:
                return await VERBS[name](Stage(cast(SqliteStore, store), JumpClock()))
            finally:
                await store.close()

        return template, asyncio.run(run())

    def copy(self, template: str) -> str:
        """Copy a prepared database; return the copy's URL."""
        self._copies += 1
        name = f"copy_{self._copies}"
        self._await_silence(template)
        with psycopg.connect(self._server.url(), autocommit=True) as connection:
            connection.execute(
                sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(
                    sql.Identifier(name), sql.Identifier(template)
                )
            )
        return self._server.url(name)

    def drop(self, url: str) -> None:
        """Drop a copy."""
        self._server.drop_database(url.rpartition("/")[2])

    def dump(self, url: str) -> Dump:
        """Return every row, once the sessions of whoever was killed are over.

        Numbers that are drawn are replaced by their place in the order.
        """
        self._await_silence(url.rpartition("/")[2])
        with psycopg.connect(url, autocommit=True) as connection:
            tables = {each: _rows(connection, each) for each in _TABLES}
        places = _places(tables)
        return {
            name: sorted(
                tuple(
                    f"{column}={places.get((column, value), repr(value))}"
                    for column, value in row.items()
                )
                for row in rows
            )
            for name, rows in tables.items()
        }

    def _await_silence(self, database: str) -> None:
        deadline = time.monotonic() + _SECONDS_TO_ROLL_BACK
        ask = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s"
        with psycopg.connect(self._server.url(), autocommit=True) as connection:
            while connection.execute(ask, (database,)).fetchall() != [(0,)]:
                assert time.monotonic() < deadline, f"somebody stays connected to {database}"
                time.sleep(0.01)


def _rows(connection: psycopg.Connection[Any], table: str) -> list[dict[str, Any]]:
    cursor = connection.execute(
        sql.SQL("SELECT * FROM {}").format(sql.Identifier("soloist", table))
    )
    assert cursor.description is not None, "a query has columns"
    names = [column.name for column in cursor.description]
    rows = (dict(zip(names, row, strict=True)) for row in cursor)
    return [{name: row[name] for name in names if name not in _VOLATILE} for row in rows]


def _places(tables: dict[str, list[dict[str, Any]]]) -> dict[tuple[str, Any], str]:
    """Return a stable name for each number that a sequence has drawn."""
    generations = sorted({row["generation"] for row in tables["instances"]})
    hosts = sorted({row["host_id"] for row in tables["hosts"]})
    places = {}
    for place, number in enumerate(generations):
        places["generation", number] = places["parent_generation", number] = f"#{place}"
    for place, number in enumerate(hosts):
        places["host_id", number] = places["owner", number] = f"host {place}"
    return places


@asynccontextmanager
async def _one_by_one(_self: Any) -> AsyncIterator[None]:
    yield


def run_child(act: Act, url: str, boundary: int, plant: str | None) -> Ended:
    """Run a verb in a process of its own, to be killed at a boundary or when it has ended."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        signal.alarm(CHILD_SECONDS)
        try:
            _perform(act, url, boundary, plant, writing)
        except BaseException:  # noqa: BLE001  # the parent shall know
            os.write(writing, traceback.format_exc().encode())
        os._exit(1)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        told = pipe.read()
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code == -signal.SIGKILL:
        return Ended(told == _TOLD, "")
    if code == -signal.SIGALRM:
        return Ended(False, f"hung for {CHILD_SECONDS} s")
    return Ended(False, told.decode().strip().rpartition("\n")[2])


def _perform(act: Act, url: str, boundary: int, plant: str | None, writing: int) -> None:
    plants.replace(AsyncConnection, "pipeline", _one_by_one)
    execute: Any = AsyncConnection.execute

    async def counted(self: Any, *arguments: Any, **options: Any) -> Any:
        Killer.reach()
        cursor = await execute(self, *arguments, **options)
        Killer.reach()
        return cursor

    plants.replace(AsyncConnection, "execute", counted)
    together: Any = Speaker.run

    async def apart(self: Any, statements: Any) -> None:
        for each in statements:
            Killer.reach()
            await together(self, [each])
            Killer.reach()

    plants.replace(Speaker, "run", apart)
    plants.apply(plant)

    async def run() -> None:
        store = PostgresStore(url, task_hub="Proof", lease_seconds=LEASE_SECONDS, time=_NOW)
        await store.open()
        Killer.remaining = boundary
        await act(cast(SqliteStore, store))
        os.write(writing, _TOLD)
        die()

    asyncio.run(run())


class Statements:
    """One run of the proof on one server."""

    def __init__(self, databases: Databases, plant: str | None) -> None:
        self._databases = databases
        self._plant = plant
        self.kills: Counter[str] = Counter()
        self.counts: Counter[str] = Counter()
        self.violations: list[str] = []

    def run(self, name: str) -> None:
        """Kill at every boundary of a verb."""
        template, act = self._databases.prepare(name)
        before, after = self._whole(name, template, act)
        if after == before:
            self.violations.append(f"{name}: does nothing")
        for boundary in range(MAX_KILLS_A_VERB):
            url = self._databases.copy(template)
            ended = run_child(act, url, boundary, self._plant)
            where = f"{name}: killed at boundary {boundary}"
            self.kills[name] += 1
            if ended.complaint:
                self.violations.append(f"{where}: {ended.complaint}")
                return
            self._judge(where, act, url, ended, before, after)
            self._databases.drop(url)
            if ended.is_acknowledged:
                return
        self.violations.append(f"{name}: does not end")

    def _whole(self, name: str, template: str, act: Act) -> tuple[Dump, Dump]:
        """Return what the verb finds, and what it leaves behind when it is as it should be."""
        url = self._databases.copy(template)
        before = self._databases.dump(url)
        ended = run_child(act, url, NEVER, None)
        if not ended.is_acknowledged:
            self.violations.append(f"{name}: fails: {ended.complaint}")
        return before, self._databases.dump(url)

    def _judge(
        self, where: str, act: Act, url: str, ended: Ended, before: Dump, after: Dump
    ) -> None:
        found = self._databases.dump(url)
        if found == after:
            self.counts["held all of it"] += 1
        elif found != before:
            changed = [name for name in after if found[name] not in (before[name], after[name])]
            done = [name for name in after if found[name] == after[name] != before[name]]
            self.violations.append(f"{where}: half done: done {done}, neither {changed}")
        elif ended.is_acknowledged:
            self.violations.append(f"{where}: acknowledged and lost")
        else:
            self.counts["held nothing"] += 1
            again = run_child(act, url, NEVER, None)
            if not again.is_acknowledged or self._databases.dump(url) != after:
                self.violations.append(f"{where}: cannot be done again: {again.complaint}")


def prove(names: list[str] | None = None, plant: str | None = None) -> Finding:
    """Run the proof on a server of its own."""
    began = time.monotonic()
    # What the server's machine may lose is proven elsewhere.
    with PostgresServer(settings={"fsync": "off"}) as server:
        statements = Statements(Databases(server), plant)
        for name in names or list(VERBS):
            statements.run(name)
    kills = statements.kills
    return Finding(
        check="postgres_statements",
        did={"verbs": len(kills), "kills": sum(kills.values()), **statements.counts},
        seconds=time.monotonic() - began,
        violations=tuple(statements.violations),
        details=tuple(f"kill -9 in {name:<26}{count:>5}" for name, count in kills.items()),
        plant=plant,
    )


def main() -> None:
    """Run from the command line; exit 1 on a violation."""
    parser = parser_for(__doc__)
    parser.add_argument("--verb", action="append", choices=sorted(VERBS), help="only this one")

    def run(arguments: argparse.Namespace) -> Finding:
        return prove(arguments.verb, arguments.plant)

    conclude(parser, run)


if __name__ == "__main__":
    main()
