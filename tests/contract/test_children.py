"""Sub-orchestrations: how they begin, whom they answer, and how they end with their parents."""

from __future__ import annotations

import msgspec
import pytest

from soloist.core.events import ExecutionTerminated, SubOrchestrationInstanceFailed
from soloist.core.instances import CommitReceipt
from soloist.core.messages import TerminateChild
from soloist.core.outcomes import NextExecution
from soloist.core.policy import StartPolicy
from soloist.core.status import RuntimeStatus
from tests.contract.world import World, everything, mail_of, present, task_of


async def test_a_child_begins_in_the_step_that_starts_it_and_knows_its_parent(
    world: World,
) -> None:
    store = await world.opened()
    host_id = await store.join("host")
    parent = (await store.start(world.request(), host_id)).lease
    assert parent is not None
    receipt = await store.commit(world.sends(parent, world.child(parent, 3)), host_id)
    child = await present(store, "child")
    assert child.parent == task_of(parent, 3)
    assert (child.name, child.input, child.status) == ("Child", '"in"', RuntimeStatus.PENDING)
    assert receipt is not None
    assert [(each.record, each.messages) for each in receipt.leases] == [(child, ())]
    assert (receipt.mail, receipt.replaced, receipt.waits) == ((), (), False)
    assert await store.commit(world.step(receipt.leases[0]))


@pytest.mark.parametrize("claims", ["nobody", "a host that is gone"])
async def test_without_a_live_host_a_child_waits(world: World, claims: str) -> None:
    store = await world.opened()
    parent = await world.held(store)
    host_id = None if claims == "nobody" else 999
    receipt = await store.commit(world.sends(parent, world.child(parent)), host_id)
    assert receipt == CommitReceipt(waits=True)
    assert (await store.backlog()).due == 1


async def test_children_of_one_step_begin_in_its_order(world: World) -> None:
    store = await world.opened()
    host_id = await store.join("host")
    parent = (await store.start(world.request(), host_id)).lease
    assert parent is not None
    children = [world.child(parent, number, f"child-{number}") for number in range(30)]
    receipt = await store.commit(world.sends(parent, *children), host_id)
    assert receipt is not None
    assert [each.record.instance_id for each in receipt.leases] == [
        f"child-{number}" for number in range(30)
    ]
    generations = [each.record.generation for each in receipt.leases]
    assert generations == sorted(generations)


async def test_a_stale_step_starts_and_tells_nobody(world: World) -> None:
    store = await world.opened()
    host_id, parent, child = await world.family(store)
    before = await everything(store)
    outgoing = (world.child(parent, 1, "other"), world.answer(task_of(parent)))
    assert await store.commit(world.sends(child, *outgoing, length=7), host_id) is None
    assert await everything(store) == before


async def test_a_child_whose_id_is_taken_is_refused_and_its_parent_learns_of_it(
    world: World,
) -> None:
    store = await world.opened()
    host_id = await store.join("host")
    await store.start(world.request("child"), None)
    parent = (await store.start(world.request(), host_id)).lease
    assert parent is not None
    receipt = await store.commit(
        world.sends(parent, world.child(parent, 5), world.child(parent, 6, "free")), host_id
    )
    assert receipt is not None
    assert receipt.mail == (parent.record.generation,)
    assert [each.record.instance_id for each in receipt.leases] == ["free"]
    (refusal,) = await mail_of(store, parent.record.generation)
    assert isinstance(refusal, SubOrchestrationInstanceFailed)
    assert refusal.task_id == 5
    assert "already exists" in refusal.failure.message
    assert (await present(store, "child")).parent is None


async def test_a_child_replaces_a_finished_instance_and_the_receipt_names_it(
    world: World,
) -> None:
    store = await world.opened()
    old = await world.in_status(store, RuntimeStatus.COMPLETED, "child")
    host_id = await store.join("host")
    parent = (await store.start(world.request(), host_id)).lease
    assert parent is not None
    receipt = await store.commit(world.sends(parent, world.child(parent)), host_id)
    assert receipt is not None
    assert receipt.replaced == (old.record.generation,)
    assert (await present(store, "child")).generation > old.record.generation


async def test_an_end_answers_the_parent_that_its_host_holds(world: World) -> None:
    store = await world.opened()
    host_id, parent, child = await world.family(store)
    answer = world.answer(task_of(parent), '"done"')
    end = world.sends(child, answer, status=RuntimeStatus.COMPLETED)
    receipt = await store.commit(end, host_id)
    assert receipt == CommitReceipt(mail=(parent.record.generation,))
    assert await mail_of(store, parent.record.generation) == [answer.event]


async def test_an_end_leases_the_parent_that_nobody_holds(world: World) -> None:
    store = await world.opened()
    host_id, parent, child = await world.family(store)
    await store.commit(world.step(parent, events=(), due_at=None, releases=True))
    answer = world.answer(task_of(parent))
    receipt = await store.commit(world.sends(child, answer), host_id)
    assert receipt is not None
    (lease,) = receipt.leases
    assert lease.epoch > parent.epoch
    assert [each.event for each in lease.messages] == [answer.event]
    assert lease.record == await present(store)
    assert (receipt.mail, receipt.waits) == ((), False)


async def test_a_step_that_releases_and_answers_itself_is_leased_again(world: World) -> None:
    store = await world.opened()
    host_id = await store.join("host")
    lease = (await store.start(world.request(), host_id)).lease
    assert lease is not None
    outcome = world.sends(lease, world.answer(task_of(lease)), releases=True)
    receipt = await store.commit(outcome, host_id)
    assert receipt is not None
    assert [each.record.generation for each in receipt.leases] == [lease.record.generation]
    assert not await store.commit(world.step(lease))


@pytest.mark.parametrize("why", ["continued", "over", "replaced", "purged"])
async def test_a_late_answer_is_dropped(world: World, why: str) -> None:
    store = await world.opened()
    host_id, parent, child = await world.family(store)
    if why == "continued":
        await store.commit(world.step(parent, next_execution=NextExecution("second", None)))
    else:
        await store.commit(world.step(parent, events=(), status=RuntimeStatus.COMPLETED))
    if why == "replaced":
        await store.start(world.request(), None)
    if why == "purged":
        await store.purge("x")
    receipt = await store.commit(world.sends(child, world.answer(task_of(parent))), host_id)
    assert receipt == CommitReceipt()
    record = await store.read("x")
    assert record is None or await mail_of(store, record.generation) == []
    assert await mail_of(store, parent.record.generation) == []


async def test_a_termination_reaches_a_child_that_is_still_that_parents(world: World) -> None:
    store = await world.opened()
    host_id, parent, child = await world.family(store)
    event = world.termination("enough")
    ends = TerminateChild("child", task_of(parent), event)
    assert await store.commit(world.sends(parent, ends), host_id) == CommitReceipt(
        mail=(child.record.generation,)
    )
    assert await mail_of(store, child.record.generation) == [event]


async def test_a_termination_of_what_is_not_that_parents_child_is_dropped(world: World) -> None:
    store = await world.opened()
    host_id, parent, child = await world.family(store)
    await store.start(world.request("stranger"), None)
    event = world.termination()
    ends = [
        TerminateChild("child", task_of(parent, 1), event),
        TerminateChild("stranger", task_of(parent), event),
        TerminateChild("nobody", task_of(parent), event),
    ]
    before = (await everything(store))[1:]
    assert await store.commit(world.sends(parent, *ends), host_id) == CommitReceipt()
    assert (await everything(store))[1:] == before
    await store.commit(world.step(child, status=RuntimeStatus.FAILED))
    own = TerminateChild("child", task_of(parent), event)
    assert await store.commit(world.sends(parent, own), host_id) == CommitReceipt()
    assert await mail_of(store, child.record.generation) == []


async def test_replacing_a_parent_ends_its_live_children_only(world: World) -> None:
    store = await world.opened()
    host_id, parent, child = await world.family(store)
    more = [world.child(parent, 1, "over"), world.child(parent, 2, "waits")]
    receipt = await store.commit(world.sends(parent, *more), host_id)
    assert receipt is not None
    over, waits = receipt.leases
    await store.commit(world.step(over, status=RuntimeStatus.COMPLETED))
    await store.release(waits.record.generation, waits.epoch)
    replaced = await store.start(world.request(policy=StartPolicy.REPLACE), host_id)
    assert replaced.replaced == parent.record.generation
    assert replaced.mail == (child.record.generation, waits.record.generation)
    for generation in replaced.mail:
        (event,) = await mail_of(store, generation)
        assert isinstance(event, ExecutionTerminated)
        assert event.is_recursive
    assert await mail_of(store, over.record.generation) == []
    assert [each.record.instance_id for each in (await store.lease(host_id, 9)).leases] == ["waits"]


async def test_replacing_a_finished_parent_leaves_its_children_alone(world: World) -> None:
    store = await world.opened()
    _, parent, child = await world.family(store)
    await store.commit(world.step(parent, events=(), status=RuntimeStatus.COMPLETED))
    assert (await store.start(world.request(), None)).mail == ()
    assert await mail_of(store, child.record.generation) == []


async def test_replacing_a_child_tells_the_parent_that_waits_for_it(world: World) -> None:
    store = await world.opened()
    _, parent, child = await world.family(store)
    receipt = await store.start(world.request("child", policy=StartPolicy.REPLACE), None)
    assert (receipt.replaced, receipt.mail) == (
        child.record.generation,
        (parent.record.generation,),
    )
    (event,) = await mail_of(store, parent.record.generation)
    assert isinstance(event, SubOrchestrationInstanceFailed)
    assert "replaced" in event.failure.message
    assert (await present(store, "child")).parent is None


async def test_a_child_replaced_in_its_own_step_is_named_by_no_receipt_but_as_replaced(
    world: World,
) -> None:
    store = await world.opened()
    host_id = await store.join("host")
    parent = (await store.start(world.request(), host_id)).lease
    assert parent is not None
    first, second = world.child(parent, 0), world.child(parent, 1)
    again = msgspec.structs.replace(second.request, policy=StartPolicy.REPLACE)
    outcome = world.sends(parent, first, msgspec.structs.replace(second, request=again))
    receipt = await store.commit(outcome, host_id)
    assert receipt is not None
    child = await present(store, "child")
    assert [each.record for each in receipt.leases] == [child]
    assert receipt.mail == (parent.record.generation,)
    assert len(receipt.replaced) == 1
    assert receipt.replaced[0] < child.generation


async def test_a_start_keeps_the_parent_it_was_given(world: World) -> None:
    store = await world.opened()
    parent = await world.held(store)
    receipt = await store.start(world.request("child", parent=task_of(parent, 4)), None)
    assert receipt.record.parent == task_of(parent, 4)
    assert await present(store, "child") == receipt.record
