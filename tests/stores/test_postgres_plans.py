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


async def use_everything(world: World, store: PostgresStore) -> None:
    """Call every verb that is called while a hub works."""
    host_id = await store.join("host")
    receipt = await store.start(world.request(), host_id)
    assert receipt.lease is not None
    first = world.step(receipt.lease)
    await store.commit(first, host_id)
    await store.deliver("x", world.raised(), host_id)
    message = SendRequest("@counter@k", world.requested())
    await store.commit(world.sends(receipt.lease, message, length=1), host_id)
    end = world.step(receipt.lease, length=1, status=RuntimeStatus.FAILED)
    await store.commit(end, host_id)
    await store.rewind("x", "again", world.now(), host_id)
    await store.release(receipt.record.generation, receipt.lease.epoch)
    await store.lease(host_id, 10)
    await store.renew(host_id)
    await store.read("x")
    await store.hold(receipt.record.generation)
    await store.history(receipt.record.generation)
    await store.inbox(receipt.record.generation, 0)
    await store.query(InstanceQuery())
    await store.query(InstanceQuery(instance_id_prefix="full77"))
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
