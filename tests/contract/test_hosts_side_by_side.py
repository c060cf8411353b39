"""Takeover between live hosts, in the stores that admit several."""

from __future__ import annotations

import pytest

from tests.contract.world import LEASE_SECONDS, World


@pytest.fixture
def shared(world: World) -> World:
    if world.kind == "sqlite":
        pytest.skip("a hub in a file has one host at a time")
    return world


async def test_instances_of_a_dead_host_are_taken_over_with_their_messages(
    shared: World,
) -> None:
    dead, alive = await shared.opened(), await shared.opened()
    dead_id, alive_id = await dead.join("dead"), await alive.join("alive")
    receipt = await dead.start(shared.request(), dead_id)
    assert receipt.lease is not None
    await dead.deliver("x", shared.raised(), None)
    shared.clock.advance(LEASE_SECONDS / 2)
    assert await alive.renew(alive_id)
    assert (await alive.lease(alive_id, 10)).leases == ()
    shared.clock.advance(LEASE_SECONDS / 2)
    grant = await alive.lease(alive_id, 10)
    assert [len(each.messages) for each in grant.leases] == [1]
    assert not await dead.commit(shared.step(receipt.lease))
    assert not await dead.renew(dead_id)
