"""Mail for what this very process holds: if its receipt tells nobody, the next look does."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from soloist.core.instances import StartReceipt
from soloist.core.messages import SendRequest
from soloist.stores.postgres import PostgresStore
from tests.contract.world import World, task_of

COUNTER = "@counter@a"


async def test_a_purge_tells_of_its_answers_to_what_this_host_holds(postgres: World) -> None:
    store = await postgres.opened()
    host_id = await store.join("host")
    caller = (await store.start(postgres.request(), host_id)).lease
    assert caller is not None
    call = SendRequest(COUNTER, postgres.requested(caller=task_of(caller)))
    assert await store.commit(postgres.sends(caller, call))
    await store.purge(COUNTER)
    assert (await store.lease(host_id, 10)).mail == (caller.record.generation,)


async def test_a_message_whose_sender_went_away_is_told_of(postgres: World) -> None:
    store = await postgres.opened()
    host_id = await store.join("host")
    held = (await store.start(postgres.request(), host_id)).lease
    assert held is not None
    sender = asyncio.create_task(store.deliver("x", postgres.raised(), host_id))
    await asyncio.sleep(0)
    sender.cancel()
    await store.release(0, 0)  # two more groups: that of the message, and whatever follows it
    await store.release(0, 0)
    assert len(await store.inbox(held.record.generation, 0)) == 1
    assert (await store.lease(host_id, 10)).mail == (held.record.generation,)


async def test_what_was_granted_to_a_caller_who_went_away_at_the_last_moment_is_given_back(
    postgres: World,
) -> None:
    store = await postgres.opened()
    assert isinstance(store, PostgresStore)
    host_id = await store.join("host")
    start = store._writer.start  # the moment is between two turns of the loop
    caller: asyncio.Task[StartReceipt]

    def start_and_go(*arguments: Any) -> asyncio.Future[Any]:
        future = start(*arguments)
        future.add_done_callback(lambda _: caller.cancel())
        return future

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store._writer, "start", start_and_go)
        caller = asyncio.create_task(store.start(postgres.request(), host_id))
        await asyncio.wait({caller})
    assert caller.cancelled()
    for _ in range(3):
        await store.release(0, 0)
    backlog = await store.backlog()
    assert (backlog.due, backlog.held) == (1, 0)
