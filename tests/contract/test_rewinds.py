"""Rewind: a failed instance runs again, with the failed sub-orchestrations that it rests on."""

from __future__ import annotations

import pytest

from soloist.core.events import (
    EntityOperationCalled,
    ExecutionCompleted,
    ExecutionRewound,
    ExecutionStarted,
    HistoryEvent,
    SubOrchestrationInstanceFailed,
    TaskCompleted,
    TaskFailed,
    TaskScheduled,
)
from soloist.core.failures import FailureDetails
from soloist.core.instances import Lease
from soloist.core.status import RuntimeStatus
from soloist.errors import InstanceNotFailed, InstanceNotFound
from tests.contract.world import World, everything, mail_of, present, task_of

FAILED = RuntimeStatus.FAILED
NO = FailureDetails("no", "ValueError")


def first_turn(world: World, *asked: HistoryEvent) -> tuple[HistoryEvent, ...]:
    return (world.mark(), ExecutionStarted(world.now(), "Greet", "e"), *asked)


def last_turn(world: World, *heard: HistoryEvent) -> tuple[HistoryEvent, ...]:
    return (world.mark(), *heard, ExecutionCompleted(world.now(), FAILED, None, NO))


async def fails(
    world: World, lease: Lease, asked: tuple[HistoryEvent, ...], *heard: HistoryEvent
) -> tuple[HistoryEvent, ...]:
    """Let an instance run one turn and fail in its second; return its first turn's history."""
    first, last = first_turn(world, *asked), last_turn(world, *heard)
    assert await world.first.commit(world.step(lease, events=first))
    end = world.step(
        lease, len(first), events=last, status=FAILED, failure=NO, custom_status='"far"'
    )
    assert await world.first.commit(end)
    return first


async def test_a_rewound_instance_runs_again_from_before_its_last_turn(world: World) -> None:
    store = await world.opened()
    host_id = await store.join("host")
    lease = (await store.start(world.request(), host_id)).lease
    assert lease is not None
    tasks = (TaskScheduled(world.now(), 0, "Good"), TaskScheduled(world.now(), 1, "Bad"))
    good = TaskCompleted(world.now(), 0, "1")
    kept = await fails(world, lease, tasks, good, TaskFailed(world.now(), 1, NO))
    world.clock.advance(3)
    receipt = await store.rewind("x", "mended", world.now(), host_id)
    record = await present(store)
    assert (record.status, record.output, record.failure) == (RuntimeStatus.RUNNING, None, None)
    assert (record.history_length, record.updated_at) == (len(kept), world.now())
    assert (record.generation, record.custom_status) == (lease.record.generation, '"far"')
    assert await store.history(record.generation) == kept
    (again,) = receipt.leases
    assert again.epoch > lease.epoch
    assert [each.event for each in again.messages] == [
        ExecutionRewound(world.now(), "mended"),
        good,
    ]
    assert (receipt.mail, receipt.waits) == ((), False)
    assert await store.commit(world.step(again, len(kept)))
    assert len(await store.history(record.generation)) == len(kept) + 1


async def test_a_rewind_keeps_what_of_a_commit_stands_before_the_cut(world: World) -> None:
    store = await world.opened()
    lease = await world.held(store)
    kept = first_turn(world, TaskScheduled(world.now(), 0, "Bad"))
    events = kept + last_turn(world, TaskFailed(world.now(), 0, NO))
    assert await store.commit(world.step(lease, events=events, status=FAILED))
    receipt = await store.rewind("x", None, world.now(), None)
    assert (receipt.leases, receipt.waits) == ((), True)
    assert await store.history(lease.record.generation) == kept
    assert (await store.backlog()).due == 1


async def test_failed_children_are_rewound_at_every_depth(world: World) -> None:
    store = await world.opened()
    host_id = await store.join("host")
    leases = []
    lease = (await store.start(world.request("level-0"), host_id)).lease
    for depth in range(1, 6):
        assert lease is not None
        leases.append(lease)
        started = await store.commit(
            world.sends(lease, world.child(lease, 0, f"level-{depth}")), host_id
        )
        assert started is not None
        lease = started.leases[0]
    assert lease is not None
    await fails(world, lease, (TaskScheduled(world.now(), 0, "Bad"),))
    for depth, each in reversed(list(enumerate(leases))):
        failed = SubOrchestrationInstanceFailed(world.now(), 0, NO)
        await fails(world, each, (world.created(0, f"level-{depth + 1}"),), failed)
    receipt = await store.rewind("level-0", "r", world.now(), host_id)
    again = [f"level-{depth}" for depth in range(6)]
    assert [each.record.instance_id for each in receipt.leases] == again
    assert all(each.record.status is RuntimeStatus.RUNNING for each in receipt.leases)
    assert [len(each.messages) for each in receipt.leases] == [1] * 6
    generations = {each.record.generation for each in (*leases, lease)}
    assert {each.record.generation for each in receipt.leases} == generations


@pytest.mark.parametrize("why", ["purged", "of another parent", "completed"])
async def test_a_child_that_cannot_be_rewound_is_started_again(world: World, why: str) -> None:
    store = await world.opened()
    host_id, parent, child = await world.family(store)
    over = RuntimeStatus.COMPLETED if why == "completed" else FAILED
    await store.commit(world.step(child, status=over))
    if why == "purged":
        await store.purge("child")
    elif why == "of another parent":
        other = (await store.start(world.request("child"), host_id)).lease
        assert other is not None
        await store.commit(world.step(other, status=FAILED))
    failed = SubOrchestrationInstanceFailed(world.now(), 0, NO)
    await fails(world, parent, (world.created(0, "child"),), failed)
    receipt = await store.rewind("x", None, world.now(), host_id)
    again = await present(store, "child")
    assert (again.parent, again.status) == (task_of(parent), RuntimeStatus.PENDING)
    assert again.generation > child.record.generation
    assert [each.record.instance_id for each in receipt.leases] == ["x", "child"]
    assert len(receipt.replaced) == (0 if why == "purged" else 1)


async def test_a_child_whose_id_is_taken_meanwhile_fails_its_parent_again(world: World) -> None:
    store = await world.opened()
    host_id, parent, child = await world.family(store)
    await store.commit(world.step(child, status=FAILED))
    await store.start(world.request("child"), None)
    failed = SubOrchestrationInstanceFailed(world.now(), 0, NO)
    await fails(world, parent, (world.created(0, "child"),), failed)
    receipt = await store.rewind("x", None, world.now(), host_id)
    (again,) = receipt.leases
    rewound, refused = [each.event for each in again.messages]
    assert isinstance(rewound, ExecutionRewound)
    assert isinstance(refused, SubOrchestrationInstanceFailed)


async def test_an_unanswered_call_is_sent_again(world: World) -> None:
    store = await world.opened()
    host_id = await store.join("host")
    lease = (await store.start(world.request(), host_id)).lease
    assert lease is not None
    call = EntityOperationCalled(world.now(), 2, "@counter@k", "add", "1")
    await fails(world, lease, (call,))
    world.clock.advance(1)
    receipt = await store.rewind("x", None, world.now(), host_id)
    assert [each.record.instance_id for each in receipt.leases] == ["x", "@counter@k"]
    assert await mail_of(store, (await present(store, "@counter@k")).generation) == [
        world.requested("add", input="1", caller=task_of(lease, 2))
    ]


@pytest.mark.parametrize("status", [each for each in RuntimeStatus if each is not FAILED])
async def test_only_what_failed_can_be_rewound(world: World, status: RuntimeStatus) -> None:
    store = await world.opened()
    await world.in_status(store, status)
    before = await everything(store)
    with pytest.raises(InstanceNotFailed, match=status.value):
        await store.rewind("x", None, world.now(), None)
    assert await everything(store) == before


async def test_a_rewind_finds_orchestrations_only(world: World) -> None:
    store = await world.opened()
    await store.deliver("@counter@k", world.requested(), None)
    for name in ("nobody", "@counter@k", "@counter@nobody"):
        with pytest.raises(InstanceNotFound):
            await store.rewind(name, None, world.now(), None)
