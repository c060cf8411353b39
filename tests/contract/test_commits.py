"""Commits: one step, whole or not at all, and only under the live lease."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from soloist.core.actions import CarriedEvent
from soloist.core.events import ExecutionCompleted, TaskCompleted, TaskScheduled
from soloist.core.failures import FailureDetails
from soloist.core.instances import Backlog
from soloist.core.outcomes import NextExecution
from soloist.core.status import TERMINAL_STATUSES, RuntimeStatus
from soloist.errors import InstanceFinished
from tests.contract.world import World, everything, present


async def test_a_step_appends_its_events_and_shows_its_status(world: World) -> None:
    store = await world.opened()
    lease = await world.held(store, input="1")
    world.clock.advance(1.000001)
    events = (world.mark(), TaskScheduled(world.now(), 0, "Say", '"hi"'))
    assert await store.commit(world.step(lease, events=events, custom_status='"half"'))
    more = (TaskCompleted(world.now(), 0, '"ho"'), world.mark())
    assert await store.commit(world.step(lease, length=2, events=more, custom_status='"all"'))
    assert await store.history(lease.record.generation) == events + more
    assert await present(store) == msgspec.structs.replace(
        lease.record,
        status=RuntimeStatus.RUNNING,
        custom_status='"all"',
        updated_at=world.now(),
        history_length=4,
    )


async def test_a_step_without_events_leaves_the_history_as_it_is(world: World) -> None:
    store = await world.opened()
    lease = await world.held(store)
    assert await store.commit(world.step(lease, events=()))
    assert await store.commit(world.step(lease))
    assert (await present(store)).history_length == 1


@pytest.mark.parametrize("status", sorted(TERMINAL_STATUSES))
async def test_an_end_gives_the_lease_back_and_empties_the_inbox(
    world: World, status: RuntimeStatus
) -> None:
    store = await world.opened()
    lease = await world.held(store)
    await store.deliver("x", world.raised(), None)
    failure = FailureDetails("no", "ValueError", "trace")
    events = (ExecutionCompleted(world.now(), status, '"out"', failure),)
    end = world.step(
        lease,
        status=status,
        events=events,
        output='"out"',
        failure=failure,
        due_at=world.after(-5),
    )
    assert await store.commit(end)
    record = await present(store)
    assert (record.status, record.output, record.failure) == (status, '"out"', failure)
    assert await store.history(record.generation) == events
    assert await store.inbox(record.generation, 0) == ()
    assert await store.backlog() == Backlog(due=0, held=0, oldest_due_at=None)
    assert not await store.commit(world.step(lease, length=1))
    with pytest.raises(InstanceFinished, match=status.value):
        await store.deliver("x", world.raised(), None)
    assert (await present(store)) == record


@pytest.mark.parametrize(
    "stale",
    [
        {"generation": 999},
        {"execution_id": "another"},
        {"epoch": 0},
        {"epoch": 2},
        {"history_length": 0},
        {"history_length": 2},
    ],
    ids=str,
)
@pytest.mark.parametrize("kind", ["step", "release", "end", "next"])
async def test_a_stale_commit_changes_nothing(
    world: World, stale: dict[str, Any], kind: str
) -> None:
    store = await world.opened()
    lease = await world.held(store, input="1")
    await store.commit(world.step(lease))
    receipt = await store.deliver("x", world.raised(), None)
    before = await everything(store)
    kinds: dict[str, dict[str, Any]] = {
        "step": {},
        "release": {"releases": True},
        "end": {"status": RuntimeStatus.COMPLETED, "output": "1"},
        "next": {"next_execution": NextExecution("new", "2", (CarriedEvent("c"),))},
    }
    outcome = world.step(lease, length=1, consumed=(receipt.message_id,), **kinds[kind])
    assert not await store.commit(msgspec.structs.replace(outcome, **stale))
    assert await everything(store) == before
    assert await store.commit(outcome)


async def test_the_same_step_is_committed_once(world: World) -> None:
    store = await world.opened()
    lease = await world.held(store)
    outcome = world.step(lease)
    assert await store.commit(outcome)
    assert not await store.commit(outcome)
    assert (await present(store)).history_length == 1


async def test_a_commit_consumes_its_own_messages_only(world: World) -> None:
    store = await world.opened()
    lease = await world.held(store, "x")
    await store.start(world.request("y"), None)
    ids = [(await store.deliver("x", world.raised(str(n)), None)).message_id for n in range(3)]
    other = await store.deliver("y", world.raised(), None)
    consumed = (ids[0], ids[2], other.message_id, 999)
    assert await store.commit(world.step(lease, consumed=consumed))
    assert [each.message_id for each in await store.inbox(lease.record.generation, 0)] == [ids[1]]
    assert len(await store.inbox(other.generation, 0)) == 1


async def test_a_released_lease_commits_no_more(world: World) -> None:
    store = await world.opened()
    lease = await world.held(store)
    await store.release(lease.record.generation, lease.epoch)
    before = await everything(store)
    assert not await store.commit(world.step(lease))
    assert await everything(store) == before


async def test_a_commit_that_releases_makes_the_instance_due_when_it_said(world: World) -> None:
    store = await world.opened()
    lease = await world.held(store)
    assert await store.commit(world.step(lease, due_at=world.after(60), releases=True))
    assert not await store.commit(world.step(lease, length=1))
    host_id = await store.join("next")
    grant = await store.lease(host_id, 1)
    assert (grant.leases, grant.next_due_at) == ((), world.after(60))


async def test_a_commit_that_releases_beside_a_new_message_is_due_at_once(world: World) -> None:
    store = await world.opened()
    lease = await world.held(store)
    seen = await store.deliver("x", world.raised("seen"), None)
    await store.deliver("x", world.raised("unseen"), None)
    outcome = world.step(lease, consumed=(seen.message_id,), due_at=None, releases=True)
    assert await store.commit(outcome)
    assert (await store.backlog()).due == 1
    grant = await store.lease(await store.join("next"), 1)
    assert [each.event for each in grant.leases[0].messages] == [world.raised("unseen")]


async def test_continue_as_new_begins_an_execution_of_the_same_generation(world: World) -> None:
    store = await world.opened()
    lease = await world.held(store, input="1", version="7")
    await store.commit(world.step(lease, output="partial", failure=FailureDetails("f")))
    world.clock.advance(5)
    following = NextExecution("second", "2")
    outcome = world.step(lease, length=1, next_execution=following, custom_status='"again"')
    assert await store.commit(outcome)
    assert await present(store) == msgspec.structs.replace(
        lease.record,
        execution_id="second",
        status=RuntimeStatus.RUNNING,
        input="2",
        custom_status='"again"',
        updated_at=world.now(),
    )
    assert await store.history(lease.record.generation) == ()
    assert not await store.commit(world.step(lease, length=0))
    assert await store.commit(world.step(lease, execution_id="second", events=(world.mark(),)))
    assert len(await store.history(lease.record.generation)) == 1


async def test_carried_events_stand_ahead_of_all_that_waits_or_arrives(world: World) -> None:
    store = await world.opened()
    lease = await world.held(store)
    generation = lease.record.generation
    seen = await store.deliver("x", world.raised("seen"), None)
    await store.deliver("x", world.raised("waits"), None)
    world.clock.advance(1)
    following = NextExecution("second", None, (CarriedEvent("c1", "1"), CarriedEvent("c2")))
    assert await store.commit(
        world.step(lease, consumed=(seen.message_id,), next_execution=following)
    )
    await store.deliver("x", world.raised("later"), None)
    messages = await store.inbox(generation, 0)
    assert [message.event.name for message in messages] == ["c1", "c2", "waits", "later"]  # type: ignore[union-attr]
    assert messages[0].event == world.raised("c1", "1")
    ids = [message.message_id for message in messages]
    assert ids == sorted(set(ids))
    assert await store.inbox(generation, ids[1]) == messages[2:]


async def test_a_continued_instance_is_due_at_once_should_its_host_go(world: World) -> None:
    store = await world.opened()
    lease = await world.held(store)
    outcome = world.step(lease, due_at=None, next_execution=NextExecution("second", None))
    assert await store.commit(outcome)
    grant = await store.lease(await store.join("next"), 10)
    assert [each.record.execution_id for each in grant.leases] == ["second"]


async def test_a_termination_that_waits_survives_continue_as_new(world: World) -> None:
    store = await world.opened()
    lease = await world.held(store)
    await store.deliver("x", world.termination("stop"), None)
    following = NextExecution("second", None, (CarriedEvent("c"),))
    assert await store.commit(world.step(lease, next_execution=following, releases=True))
    receipt = await store.start(world.request(), None)
    assert receipt.replaced == lease.record.generation
