"""Prepared statements of the writer's connection, when what stands before them goes wrong."""

from __future__ import annotations

import asyncio

import psycopg
import pytest

from soloist.errors import InstanceNotFound
from soloist.stores.postgres import PostgresStore
from tests.contract.world import World
from tests.stores.waiting import until_a_lock_is_waited_for


async def test_a_race_lost_while_the_commit_is_being_prepared_does_not_stop_the_writer(
    postgres: World,
) -> None:
    store = await postgres.opened()
    assert isinstance(store, PostgresStore)
    with pytest.raises(InstanceNotFound):  # a rollback before anything is prepared
        await store.deliver("nobody", postgres.raised(), None)
    for each in "ab":
        await store.start(postgres.request(each), None)
    # Now COMMIT is about to be prepared, behind an insert that somebody else is faster with.
    with psycopg.connect(postgres.url) as other:
        other.execute(
            "INSERT INTO soloist.instances (generation, hub_id, instance_id, name, created_at)"
            " SELECT 1000, hub_id, 'c', 'Greet', 0 FROM soloist.hubs"
        )
        starting = asyncio.ensure_future(store.start(postgres.request("c"), None))
        await until_a_lock_is_waited_for(postgres.url)
        other.execute(
            "INSERT INTO soloist.executions (generation, hub_id, execution_id, status, epoch,"
            " updated_at, history_length)"
            " SELECT 1000, hub_id, 'e', 'Completed', 0, 0, 0 FROM soloist.hubs"
        )
        other.commit()
    assert (await starting).replaced == 1000
    assert (await store.start(postgres.request("d"), None)).record.instance_id == "d"
