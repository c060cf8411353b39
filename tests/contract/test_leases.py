"""Leases: who may work on what, until when, and who is next."""

from __future__ import annotations

import asyncio

import pytest

from soloist.contracts.store import Store
from soloist.core.instances import Backlog, Hold, LeaseGrant, TakenOver
from soloist.core.status import RuntimeStatus
from soloist.core.work import LackedFunction, Lacks, WorkKind
from soloist.errors import InstanceFinished, InstanceNotFound
from tests.contract.world import LEASE_SECONDS, World, present


async def test_a_started_instance_is_leased_once(world: World) -> None:
    store = await world.opened()
    record = (await store.start(world.request(), None)).record
    host_id = await store.join("host")
    grant = await store.lease(host_id, 10)
    assert [each.record for each in grant.leases] == [record]
    assert await store.lease(host_id, 10) == LeaseGrant()
    assert await store.commit(world.step(grant.leases[0]))


async def test_the_longest_due_come_first_and_no_more_than_asked_for(world: World) -> None:
    store = await world.opened()
    host_id = await store.join("host")
    for name, wait in (("late", 9), ("early", 3), ("middle", 5), ("not yet", 99)):
        lease = (await store.start(world.request(name), host_id)).lease
        assert lease is not None
        await store.commit(world.step(lease, due_at=world.after(wait), releases=True))
    world.clock.advance(10)
    first = await store.lease(host_id, 2)
    assert [each.record.instance_id for each in first.leases] == ["early", "middle"]
    assert first.next_due_at == world.after(-1)
    second = await store.lease(host_id, 2)
    assert [each.record.instance_id for each in second.leases] == ["late"]
    assert second.next_due_at == world.after(89)


async def test_what_is_due_at_the_same_moment_goes_by_age(world: World) -> None:
    store = await world.opened()
    for name in "cab":
        await store.start(world.request(name), None)
    grant = await store.lease(await store.join("host"), 3)
    assert [each.record.instance_id for each in grant.leases] == ["c", "a", "b"]


async def test_a_lease_of_nothing_tells_of_time_and_mail_only(world: World) -> None:
    store = await world.opened()
    await store.start(world.request(), None)
    grant = await store.lease(await store.join("host"), 0)
    assert grant == LeaseGrant(next_due_at=world.now())


async def test_every_lease_has_a_higher_epoch_and_outdates_the_one_before(world: World) -> None:
    store = await world.opened()
    first = await world.held(store)
    await store.release(first.record.generation, first.epoch)
    second = (await store.lease(await store.join("next"), 1)).leases[0]
    assert second.epoch > first.epoch
    assert not await store.commit(world.step(first))
    assert await store.commit(world.step(second))


async def test_a_release_under_a_stale_epoch_does_nothing(world: World) -> None:
    store = await world.opened()
    lease = await world.held(store)
    await store.release(lease.record.generation, lease.epoch - 1)
    await store.release(lease.record.generation, lease.epoch + 1)
    await store.release(lease.record.generation + 1, lease.epoch)
    assert (await store.backlog()).held == 1


async def test_a_takeover_names_the_host_that_is_gone_and_counts_what_it_held(
    world: World,
) -> None:
    first = await world.opened()
    await world.held(first)
    gone = await host_of(first)
    for name, due_at in (("asleep", world.after(9_999)), ("done", None)):
        held = (await first.start(world.request(name), gone)).lease
        assert held is not None
        status = RuntimeStatus.RUNNING if due_at else RuntimeStatus.COMPLETED
        await first.commit(world.step(held, due_at=due_at, status=status))
    await first.close()
    world.clock.advance(LEASE_SECONDS + 1)
    second = await world.opened()
    host_id = await second.join("next")
    grant = await second.lease(host_id, 0)
    assert grant.taken_over == (TakenOver(gone, "holder", 2),)
    assert (await second.lease(host_id, 0)).taken_over == ()


async def test_a_host_that_left_or_joined_again_is_not_taken_over(world: World) -> None:
    first = await world.opened()
    await world.held(first)
    await first.join("again")
    await first.leave(await host_of(first))
    await first.close()
    world.clock.advance(LEASE_SECONDS + 1)
    second = await world.opened()
    assert (await second.lease(await second.join("next"), 9)).taken_over == ()


async def test_a_released_instance_is_due_as_its_last_commit_said(world: World) -> None:
    store = await world.opened()
    lease = await world.held(store)
    await store.commit(world.step(lease, due_at=world.after(60)))
    await store.release(lease.record.generation, lease.epoch)
    assert await store.backlog() == Backlog(due=0, held=0, oldest_due_at=None)
    world.clock.advance(60)
    assert await store.backlog() == Backlog(due=1, held=0, oldest_due_at=world.now())


async def test_a_released_instance_that_waits_for_a_message_is_not_due(world: World) -> None:
    store = await world.opened()
    lease = await world.held(store)
    await store.commit(world.step(lease, due_at=None))
    await store.release(lease.record.generation, lease.epoch)
    grant = await store.lease(await store.join("next"), 10)
    assert grant == LeaseGrant()


async def test_a_released_instance_with_a_message_is_due_at_once(world: World) -> None:
    store = await world.opened()
    lease = await world.held(store)
    await store.commit(world.step(lease, due_at=world.after(60)))
    await store.deliver("x", world.raised(), None)
    await store.release(lease.record.generation, lease.epoch)
    grant = await store.lease(await store.join("next"), 10)
    assert [each.event for each in grant.leases[0].messages] == [world.raised()]


async def test_a_message_makes_an_instance_due_that_waited(world: World) -> None:
    store = await world.opened()
    lease = await world.held(store)
    await store.commit(world.step(lease, due_at=world.after(60), releases=True))
    receipt = await store.deliver("x", world.raised(), None)
    assert (receipt.generation, receipt.lease) == (lease.record.generation, None)
    assert (await store.backlog()).oldest_due_at == world.now()


async def test_a_message_does_not_put_off_what_is_overdue(world: World) -> None:
    store = await world.opened()
    await store.start(world.request(), None)
    started_at = world.now()
    world.clock.advance(10)
    await store.deliver("x", world.raised(), None)
    assert (await store.backlog()).oldest_due_at == started_at


async def test_a_message_from_a_live_host_leases_the_instance_to_it(world: World) -> None:
    store = await world.opened()
    lease = await world.held(store)
    await store.deliver("x", world.raised("first"), None)
    await store.commit(world.step(lease, releases=True))
    host_id = await store.join("next")
    receipt = await store.deliver("x", world.raised("second"), host_id)
    assert receipt.lease is not None
    assert receipt.lease.epoch > lease.epoch
    assert receipt.lease.record == await present(store)
    assert [each.event for each in receipt.lease.messages] == [
        world.raised("first"),
        world.raised("second"),
    ]
    assert (await store.deliver("x", world.raised(), host_id)).lease is None
    assert await store.commit(world.step(receipt.lease, length=1))


async def test_a_message_finds_nobody_where_nobody_is(world: World) -> None:
    store = await world.opened()
    with pytest.raises(InstanceNotFound):
        await store.deliver("nobody", world.raised(), None)
    await world.in_status(store, RuntimeStatus.COMPLETED)
    with pytest.raises(InstanceFinished):
        await store.deliver("x", world.raised(), None)


async def test_messages_are_read_in_the_order_of_their_arrival(world: World) -> None:
    store = await world.opened()
    lease = await world.held(store)
    events = [world.raised(str(number)) for number in range(20)]
    receipts = await asyncio.gather(*[store.deliver("x", each, None) for each in events])
    messages = await store.inbox(lease.record.generation, 0)
    assert [each.event for each in messages] == events
    assert [each.message_id for each in messages] == [each.message_id for each in receipts]
    assert await store.inbox(lease.record.generation, messages[4].message_id) == messages[5:]
    assert await store.inbox(lease.record.generation + 1, 0) == ()


async def test_mail_from_another_process_is_told_once(world: World) -> None:
    host, client = await world.opened(), await world.opened()
    host_id = await host.join("host")
    receipt = await host.start(world.request("x"), host_id)
    await host.start(world.request("quiet"), host_id)
    assert (await host.lease(host_id, 10)).mail == ()
    await client.deliver("x", world.raised("a"), None)
    await client.deliver("x", world.raised("b"), None)
    assert (await host.lease(host_id, 10)).mail == (receipt.record.generation,)
    assert (await host.lease(host_id, 10)).mail == ()


async def test_mail_from_elsewhere_is_told_although_own_messages_came_after_it(
    world: World,
) -> None:
    host, client = await world.opened(), await world.opened()
    host_id = await host.join("host")
    for name in ("theirs", "ours"):
        await host.start(world.request(name), host_id)
    await host.deliver("ours", world.raised(), None)
    theirs = await client.deliver("theirs", world.raised(), None)
    await host.deliver("ours", world.raised(), None)
    assert theirs.generation in (await host.lease(host_id, 10)).mail


async def test_a_host_that_renews_keeps_its_leases(world: World) -> None:
    store = await world.opened()
    host_id = await store.join("host")
    receipt = await store.start(world.request(), host_id)
    assert receipt.lease is not None
    for _ in range(5):
        world.clock.advance(LEASE_SECONDS - 1)
        assert await store.renew(host_id)
    assert await store.commit(world.step(receipt.lease))


async def test_a_host_that_did_not_renew_in_time_is_gone(world: World) -> None:
    store = await world.opened()
    host_id = await store.join("host")
    await store.start(world.request(), None)
    world.clock.advance(LEASE_SECONDS)
    assert (await store.lease(host_id, 10)).leases == ()


async def test_a_host_that_renews_late_keeps_what_nobody_took_over(world: World) -> None:
    store = await world.opened()
    host_id = await store.join("host")
    receipt = await store.start(world.request(), host_id)
    assert receipt.lease is not None
    world.clock.advance(LEASE_SECONDS * 10)
    assert await store.renew(host_id)
    assert await store.commit(world.step(receipt.lease))


async def test_a_host_that_joins_again_finds_what_it_held_before(world: World) -> None:
    store = await world.opened()
    old = await world.held(store)
    world.clock.advance(LEASE_SECONDS)
    host_id = await store.join("again")
    grant = await store.lease(host_id, 10)
    assert [each.record for each in grant.leases] == [old.record]
    assert not await store.commit(world.step(old))
    assert await store.commit(world.step(grant.leases[0]))


async def test_a_host_that_leaves_gives_everything_back(world: World) -> None:
    store = await world.opened()
    host_id = await store.join("host")
    receipt = await store.start(world.request(), host_id)
    assert receipt.lease is not None
    await store.leave(host_id)
    assert not await store.renew(host_id)
    assert not await store.commit(world.step(receipt.lease))
    assert await store.backlog() == Backlog(due=1, held=0, oldest_due_at=world.now())
    await store.leave(host_id)


async def test_after_one_host_left_another_process_may_join(world: World) -> None:
    first, second = await world.opened(), await world.opened()
    first_id = await first.join("first")
    await first.start(world.request(), first_id)
    await first.leave(first_id)
    second_id = await second.join("second")
    assert second_id > first_id
    assert len((await second.lease(second_id, 10)).leases) == 1


async def test_host_ids_are_never_used_again(world: World) -> None:
    store = await world.opened()
    seen = []
    for _ in range(3):
        seen.append(await store.join("host"))
        await store.leave(seen[-1])
    assert seen == sorted(set(seen))


async def test_backlog_counts_what_is_due_and_what_is_held(world: World) -> None:
    store = await world.opened()
    host_id = await store.join("host")
    await store.start(world.request("held"), host_id)
    await store.start(world.request("first"), None)
    oldest = world.now()
    world.clock.advance(1)
    await store.start(world.request("second"), None)
    assert await store.backlog() == Backlog(due=2, held=1, oldest_due_at=oldest)


async def test_instances_of_versions_that_a_host_leaves_do_not_exist_for_it(world: World) -> None:
    store = await world.opened()
    for instance_id, version in (("a", "1.0"), ("b", None), ("c", "2.0")):
        await store.start(world.request(instance_id, version=version), None)
    host_id = await store.join("host")
    grant = await store.lease(host_id, 10, frozenset({"1.0", ""}))
    assert [each.record.instance_id for each in grant.leases] == ["c"]
    assert grant.next_due_at is None
    grant = await store.lease(host_id, 10, frozenset({""}))
    assert [each.record.instance_id for each in grant.leases] == ["a"]
    assert len((await store.lease(host_id, 10)).leases) == 1


async def test_a_host_tells_what_it_lacks_until_it_tells_otherwise(world: World) -> None:
    store = await world.opened()
    host_id = await store.join("host")
    assert [each.lacks for each in await store.hosts()] == [None]
    functions = (
        LackedFunction(WorkKind.ACTIVITY, "charge\0"),
        LackedFunction(WorkKind.ORCHESTRATION, "\N{SNOWMAN}", "2.0"),
    )
    lacks = Lacks(workers=2, functions=functions, more=3)
    assert await store.renew(host_id, lacks)
    (host,) = await store.hosts()
    assert (host.lacks, host.renewed_at) == (lacks, world.now())
    assert await store.renew(host_id, Lacks(workers=0))
    assert [each.lacks for each in await store.hosts()] == [Lacks(workers=0)]
    assert await store.renew(host_id)
    assert [each.lacks for each in await store.hosts()] == [None]


async def test_a_host_that_joins_again_lacks_nothing_yet(world: World) -> None:
    store = await world.opened()
    await store.renew(await store.join("host"), Lacks(workers=2))
    again = await store.join("again")
    found = {each.host_id: each.lacks for each in await store.hosts()}
    assert found[again] is None


async def test_it_is_told_who_holds_an_instance_and_when_it_is_due(world: World) -> None:
    store = await world.opened()
    host_id = await store.join("host")
    receipt = await store.start(world.request(), None)
    generation = receipt.record.generation
    assert await store.hold(generation) == Hold(None, world.now())
    (lease,) = (await store.lease(host_id, 10)).leases
    held = await store.hold(generation)
    assert held is not None and held.host_id == host_id
    assert await store.commit(world.step(lease, due_at=world.after(60)))
    assert await store.hold(generation) == Hold(host_id, world.after(60))
    await store.release(generation, lease.epoch)
    assert await store.hold(generation) == Hold(None, world.after(60))
    assert await store.hold(generation + 1) is None


async def host_of(store: Store) -> int:
    """The only host of the hub."""
    (record,) = await store.hosts()
    return record.host_id
