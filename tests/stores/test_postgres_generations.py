"""Generations of one id rise for ever, whatever stands between drawing one and using it."""

from __future__ import annotations

import asyncio

import psycopg

from soloist.core.status import RuntimeStatus
from tests.contract.world import World
from tests.stores.waiting import until_a_lock_is_waited_for


async def test_a_start_that_stood_still_after_drawing_its_generation_draws_a_greater_one(
    postgres: World,
) -> None:
    slow, fast = await postgres.opened(), await postgres.opened()
    host_id = await slow.join("slow")
    with psycopg.connect(postgres.url) as other:
        other.execute("SELECT 1 FROM soloist.hosts WHERE host_id = %s FOR UPDATE", (host_id,))
        starting = asyncio.ensure_future(slow.start(postgres.request(), host_id))
        await until_a_lock_is_waited_for(postgres.url)
        first = await postgres.in_status(fast, RuntimeStatus.COMPLETED)
        other.rollback()
    second = await starting
    assert second.replaced == first.record.generation
    assert second.record.generation > first.record.generation
