"""A hub file that is removed or replaced under its host: nothing is acknowledged into it."""

from __future__ import annotations

import os
import sys
from functools import partial

import pytest
import structlog

from soloist.core.instances import StartRequest
from soloist.errors import HubInUse, StoreGone
from soloist.stores import SqliteStore
from soloist.stores.sqlite import starts
from tests.contract.world import World, present

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="an open file cannot be removed")


async def sqlite_store(world: World) -> SqliteStore:
    store = await world.opened()
    assert isinstance(store, SqliteStore)
    return store


def remove_all(world: World) -> None:
    """Remove the file with all that lies beside it."""
    for each in world.path.parent.glob("hub.db*"):
        each.unlink()


async def test_a_removed_file_takes_nothing_any_more_and_the_log_says_so_once(
    world: World,
) -> None:
    store = await sqlite_store(world)
    lease = await world.held(store)
    host_id = (await store.hosts())[0].host_id
    world.path.unlink()
    calls = (
        lambda: store.renew(host_id),
        lambda: store.start(world.request("y"), host_id),
        lambda: store.commit(world.step(lease)),
        lambda: store.lease(host_id, 1),
        lambda: store.durability(),
        lambda: store.read("x"),
        lambda: store.hosts(),
    )
    with structlog.testing.capture_logs() as logs:
        for call in calls:
            with pytest.raises(StoreGone, match=r"hub\.db was removed or replaced under the host"):
                await call()
    assert [(line["log_level"], line["event"]) for line in logs] == [
        ("error", "the task hub file is gone")
    ]


async def test_readiness_alone_finds_that_the_file_is_gone(world: World) -> None:
    store = await sqlite_store(world)
    await store.durability()
    world.path.rename(world.path.with_name("moved.db"))
    with pytest.raises(StoreGone):
        await store.durability()


async def test_a_file_that_was_gone_stays_gone_when_it_is_put_back(world: World) -> None:
    # Meanwhile another host may have run a hub in its place.
    store = await sqlite_store(world)
    moved = world.path.with_name("moved.db")
    world.path.rename(moved)
    with pytest.raises(StoreGone):
        await store.durability()
    moved.rename(world.path)
    with pytest.raises(StoreGone):
        await store.start(world.request(), None)


async def test_a_file_that_goes_while_a_group_is_written_is_not_acknowledged(world: World) -> None:
    store = await sqlite_store(world)

    def start_and_remove(connection: object, *, request: StartRequest) -> object:
        start = partial(starts.start, hub_id=store._hub_id, now=0, host_id=None)
        receipt = start(connection, request=request)  # type: ignore[arg-type]  # it is one
        os.unlink(world.path)  # noqa: PTH108  # as a person would
        return receipt

    with pytest.raises(StoreGone):
        await store._submit(partial(start_and_remove, request=world.request()))


async def test_an_id_runs_once_though_the_file_was_replaced(world: World) -> None:
    first = await sqlite_store(world)
    host_id = await first.join("first")
    remove_all(world)
    second = await sqlite_store(world)
    other = await second.join("second")
    assert (await second.start(world.request(), other)).lease is not None
    with pytest.raises(StoreGone):
        await first.start(world.request(), host_id)


async def test_a_host_whose_file_was_replaced_leaves_the_new_one_alone_when_it_ends(
    world: World,
) -> None:
    first = await sqlite_store(world)
    await world.held(first)
    remove_all(world)
    second = await sqlite_store(world)
    await world.held(second, "theirs")
    await first.close()
    assert {each.name for each in world.path.parent.iterdir()} >= {"hub.db", "hub.db-wal"}
    third = await sqlite_store(world)
    assert (await present(third, "theirs")).generation == 1
    with pytest.raises(HubInUse):
        await third.join("third")


async def test_a_removed_folder_is_a_removed_file(world: World) -> None:
    folder = world.path.parent / "deeper"
    world.path = folder / "hub.db"
    store = await sqlite_store(world)
    folder.rename(folder.with_name("elsewhere"))
    with pytest.raises(StoreGone):
        await store.start(world.request(), None)
