"""Which task hubs there are, asked without making one."""

from __future__ import annotations

from tests.contract.world import World


async def test_where_nothing_is_there_is_no_hub_and_asking_makes_none(world: World) -> None:
    store = world.unopened("asked")
    assert await store.hubs() == ()
    assert await store.hubs() == ()
    assert not world.path.exists()
    await world.opened("made")
    assert await store.hubs() == ("made",)


async def test_hubs_are_named_in_the_order_in_which_they_were_made(world: World) -> None:
    for task_hub in ("zebra", "apple", "Zebra", "apple"):
        await world.opened(task_hub)
    assert await world.first.hubs() == ("zebra", "apple", "Zebra")
    assert await world.unopened("other").hubs() == ("zebra", "apple", "Zebra")


async def test_a_store_that_was_never_opened_can_be_closed_and_makes_no_hub(world: World) -> None:
    store = world.unopened("asked")
    await store.close()
    assert await store.hubs() == ()
    assert not world.path.exists()
