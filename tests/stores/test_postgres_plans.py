"""Every hot statement finds its rows by an index, however full the hub is."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, ClassVar

import psycopg
import pytest
from psycopg import AsyncConnection, AsyncCursor

from soloist.core.instances import InstanceQuery
from soloist.core.messages import SendRequest
from soloist.core.status import RuntimeStatus
from soloist.stores.postgres import PostgresStore
from soloist.stores.postgres.arrays import understand_arrays
from soloist.stores.postgres.batch import Answer, Batch, Values
from tests.contract.world import World

INSTANCES = 100_000
MANY = 20_000
END_OTHERS = (
    "SELECT pg_terminate_backend(pid, 20000) FROM pg_stat_activity"
    " WHERE datname = current_database() AND backend_type = 'client backend'"
    " AND pid <> pg_backend_pid()"
)
FULL = """
INSERT INTO soloist.instances (generation, hub_id, instance_id, name, created_at, input)
SELECT n, 1, 'full' || n, 'Greet', 0, '"in"' FROM generate_series(1000000, 1000000 + {count}) AS n;
INSERT INTO soloist.executions (generation, hub_id, execution_id, status, epoch, updated_at,
    history_length, due_at)
SELECT n, 1, 'e', 'Running', 1, 0, 1,
    CASE WHEN n % 2 = 0 THEN 9000000000000000 END
FROM generate_series(1000000, 1000000 + {count}) AS n;
INSERT INTO soloist.history (generation, sequence, codec, events)
SELECT n, 0, 1, '[]' FROM generate_series(1000000, 1000000 + {count}) AS n;
INSERT INTO soloist.inbox (generation, message_id, terminates, event)
SELECT n, 1, false, '{{}}' FROM generate_series(1000000, 1000000 + {count}) AS n;
"""
BIG = {"instances", "executions", "history", "inbox"}
_PLANNED = ("SELECT", "INSERT", "UPDATE", "DELETE", "WITH")


class Recorder(AsyncCursor[Any]):
    """A cursor that writes down what it is asked."""

    asked: ClassVar[dict[str, Any]] = {}

    async def execute(self, query: Any, params: Any = None, **options: Any) -> Any:
        """Write it down and run it."""
        if isinstance(query, str):
            write_down(query, params)
        return await super().execute(query, params, **options)


def write_down(statement: str, values: Any) -> None:
    """Keep a statement that has a plan, and the first values that it came with."""
    if statement.startswith(_PLANNED):
        Recorder.asked.setdefault(statement, values)


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """What stores ask their databases from now on, each statement once with its values."""
    Recorder.asked = {}
    original = AsyncConnection.connect

    async def connect(*arguments: Any, **options: Any) -> Any:
        return await original(*arguments, **options, cursor_factory=Recorder)

    def add(batch: Batch, text: str, values: Values = ()) -> Answer:
        write_down(text, values)
        return original_add(batch, text, values)

    original_add = Batch.add
    monkeypatch.setattr(Batch, "add", add)
    monkeypatch.setattr(AsyncConnection, "connect", connect)
    yield Recorder.asked
    assert Recorder.asked


async def test_no_hot_statement_reads_a_whole_table(
    postgres: World, recorded: dict[str, Any]
) -> None:
    store = await postgres.opened()
    assert isinstance(store, PostgresStore)
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        connection.execute(FULL.format(count=INSTANCES).encode())
        connection.execute("ANALYZE")
        await use_everything(postgres, store)
        await list_instances(store)
        understand_arrays(connection)
        scans = {}
        for statement, values in recorded.items():
            plan = plan_of(connection, statement, values)
            found = sorted(set(whole_tables_in(plan)) & BIG)
            if found:
                scans[statement] = found
    for hot in ("stepped AS", "ON CONFLICT (hub_id", "INSERT INTO soloist.inbox", "FOR UPDATE"):
        assert any(hot in statement for statement in recorded), hot
    assert scans == {}


async def test_plans_that_were_made_in_an_empty_hub_read_little_of_a_full_one(
    postgres: World,
) -> None:
    store = await postgres.opened()
    assert isinstance(store, PostgresStore)
    await use_everything(postgres, store, "first")
    await use_everything(postgres, store, "again")
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        connection.execute(FULL.format(count=MANY).encode())
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        connection.execute("SELECT pg_stat_reset()")
        await use_everything(postgres, store, "x")
        connection.execute(END_OTHERS)  # a server's process tells what it has read when it ends
        assert 0 < rows_read(connection) < MANY / 4


def rows_read(connection: psycopg.Connection[Any]) -> int:
    """Return how many rows were read of the hub's tables, as far as was told."""
    row = connection.execute(
        "SELECT (SELECT sum(idx_tup_read) FROM pg_stat_user_indexes)"
        " + (SELECT sum(seq_tup_read) FROM pg_stat_user_tables)"
    ).fetchone()
    assert row is not None
    return int(row[0])


async def list_instances(store: PostgresStore) -> None:
    """Ask for listings, whose plans are made anew as the statistics of the tables change."""
    await store.query(InstanceQuery())
    await store.query(InstanceQuery(instance_id_prefix="full77"))


async def use_everything(world: World, store: PostgresStore, instance_id: str = "x") -> None:
    """Call every other verb that is called while a hub works."""
    host_id = await store.join("host")
    receipt = await store.start(world.request(instance_id), host_id)
    assert receipt.lease is not None
    first = world.step(receipt.lease)
    await store.commit(first, host_id)
    await store.deliver(instance_id, world.raised(), host_id)
    message = SendRequest("@counter@k", world.requested())
    await store.commit(world.sends(receipt.lease, message, length=1), host_id)
    end = world.step(receipt.lease, length=1, status=RuntimeStatus.FAILED)
    await store.commit(end, host_id)
    await store.rewind(instance_id, "again", world.now(), host_id)
    await store.release(receipt.record.generation, receipt.lease.epoch)
    await store.lease(host_id, 10)
    await store.renew(host_id)
    await store.read(instance_id)
    await store.hold(receipt.record.generation)
    await store.history(receipt.record.generation)
    await store.inbox(receipt.record.generation, 0)
    await store.backlog()
    await store.hosts()
    other = await world.opened()
    await other.join("other")
    world.clock.advance(60)
    await other.lease(await other.join("another"), 10)
    await store.purge("@counter@k")


def plan_of(connection: psycopg.Connection[Any], statement: str, values: Any) -> Any:
    """Return the plan of a statement, as JSON."""
    row = connection.execute(f"EXPLAIN (FORMAT JSON) {statement}", values).fetchone()
    assert row is not None
    return row[0] if isinstance(row[0], list) else json.loads(row[0])


def whole_tables_in(plan: Any) -> Iterator[str]:
    """Yield the tables that a plan reads from end to end."""
    if isinstance(plan, list):
        for each in plan:
            yield from whole_tables_in(each)
    elif isinstance(plan, dict):
        if plan.get("Node Type") == "Seq Scan":
            yield plan["Relation Name"]
        for each in plan.values():
            yield from whole_tables_in(each)
