"""Entities: instances that a message brings into being, and messages that are due later."""

from __future__ import annotations

import asyncio

import pytest

from soloist.core.actions import CarriedEvent
from soloist.core.events import EntityOperationFailed, EntityRequested
from soloist.core.instances import CommitReceipt, InstanceQuery, Lease, LeaseGrant
from soloist.core.messages import SendRequest
from soloist.core.outcomes import NextExecution
from soloist.core.status import RuntimeStatus
from soloist.errors import InstanceNotFound, InvalidRequest
from tests.contract.world import LEASE_SECONDS, World, mail_of, present, task_of

COUNTER = "@counter@Key"


async def test_a_message_brings_an_entity_into_being(world: World) -> None:
    store = await world.opened()
    host_id = await store.join("host")
    receipt = await store.deliver(COUNTER, world.requested(), host_id)
    record = await present(store, COUNTER)
    assert (record.name, record.execution_id, record.version) == ("counter", "", None)
    assert (record.status, record.input, record.output) == (RuntimeStatus.RUNNING, None, None)
    assert record.created_at == record.updated_at == world.now()
    assert receipt.generation == record.generation
    assert receipt.lease is not None
    assert receipt.lease.record == record
    assert [each.event for each in receipt.lease.messages] == [world.requested()]


async def test_a_timers_entity_is_named_after_its_function(world: World) -> None:
    store = await world.opened()
    await store.deliver("@@timer@Every_Minute", world.requested(), None)
    assert (await present(store, "@@timer@Every_Minute")).name == "Every_Minute"


async def test_a_malformed_entity_id_brings_nothing_into_being(world: World) -> None:
    store = await world.opened()
    with pytest.raises(InvalidRequest, match="form"):
        await store.deliver("@nothing", world.requested(), None)
    with pytest.raises(InstanceNotFound):
        await store.deliver("counter", world.requested(), None)
    assert (await store.query(InstanceQuery(instance_id_prefix="@"))).records == ()


async def test_a_step_brings_an_entity_into_being_and_leases_it(world: World) -> None:
    store = await world.opened()
    host_id = await store.join("host")
    caller = (await store.start(world.request(), host_id)).lease
    assert caller is not None
    requests = [
        world.requested(str(number), caller=task_of(caller, number)) for number in range(20)
    ]
    sends = [SendRequest(COUNTER, each) for each in requests]
    receipt = await store.commit(world.sends(caller, *sends), host_id)
    assert receipt is not None
    (lease,) = receipt.leases
    assert [each.event for each in lease.messages] == requests
    assert (lease.record, receipt.mail) == (await present(store, COUNTER), ())
    more = SendRequest(COUNTER, world.requested("more"))
    assert await store.commit(world.sends(caller, more), host_id) == CommitReceipt(
        mail=(lease.record.generation,)
    )


async def test_messages_of_one_sender_keep_their_order(world: World) -> None:
    store = await world.opened()
    sender = await world.held(store)
    steps = [
        world.sends(
            sender,
            *[SendRequest(COUNTER, world.requested(f"{step}.{each}")) for each in range(3)],
        )
        for step in range(10)
    ]
    await asyncio.gather(*[store.commit(each) for each in steps])
    mail = await mail_of(store, (await present(store, COUNTER)).generation)
    assert [each.operation for each in mail if isinstance(each, EntityRequested)] == [
        f"{step}.{each}" for step in range(10) for each in range(3)
    ]


async def held_entity(world: World) -> tuple[int, Lease]:
    store = await world.opened()
    host_id = await store.join("host")
    lease = (await store.deliver(COUNTER, world.requested(), host_id)).lease
    assert lease is not None
    return host_id, lease


async def test_an_entity_vanishes_when_nothing_waits_for_it(world: World) -> None:
    host_id, lease = await held_entity(world)
    store = world.first
    consumed = (lease.messages[0].message_id,)
    gone = world.sends(lease, consumed=consumed, vanishes=True)
    assert await store.commit(gone, host_id) == CommitReceipt()
    assert await store.read(COUNTER) is None
    assert await store.inbox(lease.record.generation, 0) == ()
    assert not await store.commit(world.sends(lease))
    again = await store.deliver(COUNTER, world.requested(), None)
    assert again.generation > lease.record.generation


async def test_an_entity_that_a_message_reached_first_stays(world: World) -> None:
    host_id, lease = await held_entity(world)
    store = world.first
    consumed = (lease.messages[0].message_id,)
    gone = world.sends(lease, consumed=consumed, vanishes=True, output="null", releases=True)
    receipt, _ = await asyncio.gather(
        store.deliver(COUNTER, world.requested("late"), None), store.commit(gone, host_id)
    )
    assert receipt.generation == lease.record.generation
    assert (await present(store, COUNTER)).output == "null"
    assert [each.event for each in await store.inbox(receipt.generation, 0)] == [
        world.requested("late")
    ]
    assert (await store.backlog()).due == 1


async def test_a_message_behind_the_vanishing_finds_a_new_entity(world: World) -> None:
    host_id, lease = await held_entity(world)
    store = world.first
    consumed = (lease.messages[0].message_id,)
    gone = world.sends(lease, consumed=consumed, vanishes=True)
    _, receipt = await asyncio.gather(
        store.commit(gone, host_id), store.deliver(COUNTER, world.requested("late"), host_id)
    )
    assert receipt.generation > lease.record.generation
    assert receipt.lease is not None
    assert receipt.lease.epoch == 1


async def test_an_entity_that_signals_itself_while_it_vanishes_begins_anew(world: World) -> None:
    host_id, lease = await held_entity(world)
    store = world.first
    consumed = (lease.messages[0].message_id,)
    itself = SendRequest(COUNTER, world.requested("again"))
    gone = world.sends(lease, itself, consumed=consumed, vanishes=True)
    receipt = await store.commit(gone, host_id)
    assert receipt is not None
    assert [each.record.generation > lease.record.generation for each in receipt.leases] == [True]


async def test_a_message_for_later_makes_due_when_its_time_comes(world: World) -> None:
    store = await world.opened()
    host_id = await store.join("host")
    due_at = world.after(10)
    receipt = await store.deliver(COUNTER, world.requested(due_at=due_at), host_id)
    assert receipt.lease is None
    assert await store.lease(host_id, 9) == LeaseGrant(next_due_at=due_at)
    world.clock.advance(10)
    (lease,) = (await store.lease(host_id, 9)).leases
    assert [each.message_id for each in lease.messages] == [receipt.message_id]


async def test_a_step_that_sends_for_later_says_that_something_waits(world: World) -> None:
    store = await world.opened()
    host_id = await store.join("host")
    sender = (await store.start(world.request(), host_id)).lease
    assert sender is not None
    later = SendRequest(COUNTER, world.requested(due_at=world.after(10)))
    receipt = await store.commit(world.sends(sender, later), host_id)
    assert receipt == CommitReceipt(waits=True)
    assert (await store.lease(host_id, 9)).next_due_at == world.after(10)


async def test_a_message_at_once_comes_before_one_for_later(world: World) -> None:
    store = await world.opened()
    host_id = await store.join("host")
    await store.deliver(COUNTER, world.requested("later", due_at=world.after(10)), host_id)
    receipt = await store.deliver(COUNTER, world.requested("now"), host_id)
    assert receipt.lease is not None
    assert len(receipt.lease.messages) == 2


async def test_a_late_message_for_later_leases_what_was_due_before(world: World) -> None:
    store = await world.opened()
    await store.deliver(COUNTER, world.requested(), None)
    host_id = await store.join("host")
    later = world.requested(due_at=world.after(10))
    assert (await store.deliver(COUNTER, later, host_id)).lease is not None


@pytest.mark.parametrize("lets_go", ["release", "leave", "takeover", "commit"])
async def test_an_entity_let_go_is_due_when_its_first_message_is(
    world: World, lets_go: str
) -> None:
    host_id, lease = await held_entity(world)
    store = world.first
    for seconds in (50, 40, 60):
        await store.deliver(COUNTER, world.requested(due_at=world.after(seconds)), host_id)
    consumed = (lease.messages[0].message_id,)
    due_at = world.after(40)
    outcome = world.sends(lease, consumed=consumed, releases=lets_go == "commit")
    assert await store.commit(outcome)
    if lets_go == "release":
        await store.release(lease.record.generation, lease.epoch)
    elif lets_go == "leave":
        await store.leave(host_id)
    elif lets_go == "takeover":
        world.clock.advance(LEASE_SECONDS)
    grant = await store.lease(await store.join("next"), 9)
    assert grant == LeaseGrant(next_due_at=due_at)


async def test_an_entity_let_go_beside_a_message_at_once_is_due(world: World) -> None:
    host_id, lease = await held_entity(world)
    store = world.first
    await store.deliver(COUNTER, world.requested(due_at=world.after(40)), host_id)
    await store.release(lease.record.generation, lease.epoch)
    assert len((await store.lease(host_id, 9)).leases) == 1


async def test_a_release_for_later_holds_back_what_is_due(world: World) -> None:
    host_id, lease = await held_entity(world)
    store = world.first
    await store.release(lease.record.generation, lease.epoch, world.after(5))
    assert await store.lease(host_id, 9) == LeaseGrant(next_due_at=world.after(5))
    world.clock.advance(5)
    assert len((await store.lease(host_id, 9)).leases) == 1


async def test_a_release_for_later_brings_nothing_forward_and_makes_nothing_due(
    world: World,
) -> None:
    store = await world.opened()
    host_id = await store.join("host")
    for name, due_at in (("timed", world.after(60)), ("waits", None)):
        lease = (await store.start(world.request(name), host_id)).lease
        assert lease is not None
        await store.commit(world.step(lease, due_at=due_at))
        await store.release(lease.record.generation, lease.epoch, world.after(5))
    assert await store.lease(host_id, 9) == LeaseGrant(next_due_at=world.after(60))


async def test_an_entity_can_be_purged_at_any_time(world: World) -> None:
    _, lease = await held_entity(world)
    store = world.first
    assert await store.purge(COUNTER) is RuntimeStatus.RUNNING
    assert await store.read(COUNTER) is None
    assert not await store.commit(world.sends(lease))


async def test_purging_an_entity_answers_everybody_who_waits_for_it(world: World) -> None:
    store = await world.opened()
    caller = await world.held(store)
    calls = [world.requested(str(each), caller=task_of(caller, each)) for each in range(3)]
    sends = [SendRequest(COUNTER, each) for each in (*calls, world.requested("signal"))]
    assert await store.commit(world.sends(caller, *sends))
    assert await store.purge(COUNTER) is RuntimeStatus.RUNNING
    assert await store.read(COUNTER) is None
    answers = await mail_of(store, caller.record.generation)
    assert [type(each) for each in answers] == [EntityOperationFailed] * 3
    assert [getattr(each, "task_id", None) for each in answers] == [0, 1, 2]


@pytest.mark.parametrize("carries", [False, True])
async def test_an_answer_that_waits_does_not_outlive_its_execution(
    world: World, carries: bool
) -> None:
    store = await world.opened()
    host_id = await store.join("host")
    caller = (await store.start(world.request(), host_id)).lease
    other = (await store.start(world.request("other"), host_id)).lease
    assert caller is not None and other is not None
    assert await store.commit(world.sends(other, world.answer(task_of(caller))))
    await store.deliver("x", world.raised("kept"), None)
    carried = (CarriedEvent("carried"),) if carries else ()
    following = NextExecution("next", None, carried)
    assert await store.commit(world.step(caller, events=(), next_execution=following))
    names = [getattr(each, "name", each) for each in await mail_of(store, caller.record.generation)]
    assert names == (["carried", "kept"] if carries else ["kept"])
