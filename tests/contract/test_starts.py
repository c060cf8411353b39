"""Starts: check, decide, replace and insert are one step."""

from __future__ import annotations

import asyncio

import pytest

from soloist.core.extras import Extras
from soloist.core.instances import StartReceipt
from soloist.core.messages import PassEvent, StartChild
from soloist.core.outcomes import NextExecution
from soloist.core.policy import StartDecision, StartPolicy
from soloist.core.status import RuntimeStatus
from soloist.errors import InstanceExists
from tests.contract.world import World, everything, mail_of, present

CREATE, REPLACE, RETURN, CONFLICT = (
    StartDecision.CREATE,
    StartDecision.REPLACE,
    StartDecision.RETURN,
    StartDecision.CONFLICT,
)
COLUMNS = (StartPolicy.FAIL, StartPolicy.REPLACE, StartPolicy.NEVER, StartPolicy.RETURN)
LIVE = (CONFLICT, REPLACE, CONFLICT, RETURN)
OVER = (REPLACE, REPLACE, CONFLICT, REPLACE)
TABLE = {
    RuntimeStatus.PENDING: LIVE,
    RuntimeStatus.RUNNING: LIVE,
    RuntimeStatus.CONTINUED_AS_NEW: LIVE,
    RuntimeStatus.SUSPENDED: LIVE,
    RuntimeStatus.COMPLETED: OVER,
    RuntimeStatus.FAILED: OVER,
    RuntimeStatus.TERMINATED: OVER,
    RuntimeStatus.CANCELED: OVER,
}
CELLS = [
    (status, policy, decision)
    for status, row in TABLE.items()
    for policy, decision in zip(COLUMNS, row, strict=True)
]


def test_the_table_names_every_status() -> None:
    assert set(TABLE) == set(RuntimeStatus)
    assert set(COLUMNS) == set(StartPolicy)


@pytest.mark.parametrize("policy", COLUMNS)
async def test_an_absent_id_is_created_under_every_policy(
    world: World, policy: StartPolicy
) -> None:
    store = await world.opened()
    receipt = await store.start(world.request(policy=policy, input='"in"', version="2"), None)
    assert receipt.decision is CREATE
    assert receipt.replaced is None
    assert receipt.lease is None
    record = await present(store)
    assert record == receipt.record
    assert (record.status, record.history_length) == (RuntimeStatus.PENDING, 0)
    assert (record.input, record.version, record.name) == ('"in"', "2", "Greet")
    assert record.created_at == record.updated_at == world.now()


@pytest.mark.parametrize(("status", "policy", "decision"), CELLS)
async def test_a_taken_id_is_judged_by_the_table(
    world: World, status: RuntimeStatus, policy: StartPolicy, decision: StartDecision
) -> None:
    store = await world.opened()
    old = await world.in_status(store, status, input="1")
    before = await everything(store)
    world.clock.advance(1)
    request = world.request(policy=policy, input="2")
    if decision is CONFLICT:
        with pytest.raises(InstanceExists, match=f"with the status {status.value} ") as caught:
            await store.start(request, None)
        assert caught.value.instance_id == "x"
        assert caught.value.status == status.value
        assert caught.value.created_at == old.record.created_at.isoformat()
    else:
        receipt = await store.start(request, None)
        assert receipt.decision is decision
    if decision is REPLACE:
        await _is_new(world, receipt, old)
        assert await store.history(old.record.generation) == ()
        assert await store.history(receipt.record.generation) == ()
    else:
        after = await everything(store)
        assert after[0] == before[0]
    if decision is RETURN:
        assert receipt.record == await present(store)
        assert receipt.lease is None


async def _is_new(world: World, receipt: StartReceipt, old: StartReceipt) -> None:
    assert receipt.replaced == old.record.generation
    assert receipt.record.generation > old.record.generation
    assert receipt.record.execution_id != old.record.execution_id
    assert receipt.record.status is RuntimeStatus.PENDING
    assert (receipt.record.input, receipt.record.output) == ("2", None)
    assert receipt.record.created_at == world.now()


@pytest.mark.parametrize(("policy", "decision"), list(zip(COLUMNS, OVER, strict=True)))
@pytest.mark.parametrize("status", [RuntimeStatus.PENDING, RuntimeStatus.RUNNING])
async def test_a_termination_that_waits_in_the_inbox_counts_as_done(
    world: World, status: RuntimeStatus, policy: StartPolicy, decision: StartDecision
) -> None:
    store = await world.opened()
    old = await world.in_status(store, status)
    await store.deliver("x", world.raised(), None)
    await store.deliver("x", world.termination("enough"), None)
    await store.deliver("x", world.raised(), None)
    request = world.request(policy=policy, input="2")
    if decision is CONFLICT:
        with pytest.raises(InstanceExists):
            await store.start(request, None)
        return
    receipt = await store.start(request, None)
    assert receipt.decision is decision
    await _is_new(world, receipt, old)
    assert await store.inbox(receipt.record.generation, 0) == ()


async def test_an_instance_of_another_function_is_not_returned(world: World) -> None:
    store = await world.opened()
    await store.start(world.request(), None)
    with pytest.raises(InstanceExists):
        await store.start(world.request(name="Other", policy=StartPolicy.RETURN), None)


async def test_of_fifty_concurrent_starts_one_is_created_and_its_input_stored(
    world: World,
) -> None:
    stores = [await world.opened(), await world.opened()]
    requests = [world.request(input=str(number)) for number in range(50)]
    answers = await asyncio.gather(
        *[stores[number % 2].start(request, None) for number, request in enumerate(requests)],
        return_exceptions=True,
    )
    created = [answer for answer in answers if isinstance(answer, StartReceipt)]
    refused = [answer for answer in answers if isinstance(answer, InstanceExists)]
    assert (len(created), len(refused)) == (1, 49)
    assert await present(stores[0]) == created[0].record == await present(stores[1])


async def test_of_fifty_concurrent_create_or_gets_all_meet_the_same_instance(
    world: World,
) -> None:
    store = await world.opened()
    requests = [world.request(policy=StartPolicy.RETURN) for _ in range(50)]
    receipts = await asyncio.gather(*[store.start(request, None) for request in requests])
    assert sum(receipt.decision is CREATE for receipt in receipts) == 1
    assert {receipt.record.generation for receipt in receipts} == {1}


async def test_a_replaced_instance_takes_its_history_inbox_and_lease_with_it(
    world: World,
) -> None:
    store = await world.opened()
    lease = await world.held(store)
    assert await store.commit(world.step(lease))
    await store.deliver("x", world.raised(), None)
    receipt = await store.start(world.request(policy=StartPolicy.REPLACE), None)
    assert await store.history(lease.record.generation) == ()
    assert await store.inbox(lease.record.generation, 0) == ()
    assert await store.inbox(receipt.record.generation, 0) == ()
    assert not await store.commit(world.step(lease, length=1))
    await store.release(lease.record.generation, lease.epoch)
    assert await present(store) == receipt.record


async def test_a_start_leases_to_a_live_host_only(world: World) -> None:
    store = await world.opened()
    host_id = await store.join("host")
    receipt = await store.start(world.request("a"), host_id)
    assert receipt.lease is not None
    assert (receipt.lease.record, receipt.lease.messages) == (receipt.record, ())
    assert (await store.start(world.request("b"), host_id + 1)).lease is None
    world.clock.advance(31)
    assert (await store.start(world.request("c"), host_id)).lease is None


async def test_a_host_of_another_hub_is_given_nothing(world: World) -> None:
    here, there = await world.opened("here"), await world.opened("there")
    stranger = await there.join("host")
    assert (await here.start(world.request(), stranger)).lease is None
    assert (await here.deliver("x", world.raised(), stranger)).lease is None
    assert (await here.lease(stranger, 10)).leases == ()


async def test_ids_differ_by_case_and_by_any_character(world: World) -> None:
    store = await world.opened()
    ids = ["A", "a", "é", "e\u0301", "a b", "a%", "'; DROP TABLE instances; --", "🎻"]
    for instance_id in ids:
        await store.start(world.request(instance_id, input=instance_id), None)
    assert [(await present(store, each)).input for each in ids] == ids


async def test_payloads_are_opaque_text(world: World) -> None:
    store = await world.opened()
    texts = ["", "null", "{not json", "a\x00b", "\u2028\U0001f3bb", "x" * 100_000]
    for number, text in enumerate(texts):
        await store.start(world.request(str(number), input=text), None)
    assert [(await present(store, str(each))).input for each in range(len(texts))] == texts


async def test_a_start_may_name_the_statuses_that_it_replaces(world: World) -> None:
    store = await world.opened()
    for status in RuntimeStatus:
        if status is RuntimeStatus.CONTINUED_AS_NEW:
            continue
        await world.in_status(store, status, str(status))
        others = frozenset(RuntimeStatus) - {status}
        with pytest.raises(InstanceExists):
            await store.start(world.request(str(status), replaceable=others), None)
        only = world.request(str(status), replaceable=frozenset({status}))
        assert (await store.start(only, None)).decision is REPLACE


async def test_tags_and_traces_are_kept(world: World) -> None:
    store = await world.opened()
    extras = Extras(tags={"team": "blü", "\x00": ""}, trace_parent="00-1", trace_state="s")
    receipt = await store.start(world.request(extras=extras), None)
    assert receipt.record.extras == extras
    assert (await present(store)).extras == extras
    host_id = await store.join("host")
    (lease,) = (await store.lease(host_id, 1)).leases
    assert lease.record.extras == extras


async def test_a_start_for_later_is_leased_to_nobody_before(world: World) -> None:
    store = await world.opened()
    host_id = await store.join("host")
    extras = Extras(start_at=world.after(10))
    receipt = await store.start(world.request(extras=extras), host_id)
    assert receipt.lease is None
    grant = await store.lease(host_id, 1)
    assert (grant.leases, grant.next_due_at) == ((), world.after(10))
    world.clock.advance(10)
    (lease,) = (await store.lease(host_id, 1)).leases
    assert lease.record == receipt.record


async def test_a_step_may_start_an_instance_that_nobody_waits_for(world: World) -> None:
    store = await world.opened()
    host_id = await store.join("host")
    lease = (await store.start(world.request(), host_id)).lease
    assert lease is not None
    now = StartChild(world.request("now"))
    later = StartChild(world.request("later", extras=Extras(start_at=world.after(5))))
    taken = StartChild(world.request("x"))
    receipt = await store.commit(world.sends(lease, now, later, taken), host_id)
    assert receipt is not None
    assert [each.record.instance_id for each in receipt.leases] == ["now"]
    assert (await present(store, "later")).parent is None
    assert await store.inbox(lease.record.generation, 0) == ()


async def test_continue_as_new_may_change_the_version(world: World) -> None:
    store = await world.opened()
    lease = await world.held(store, version="1")
    step = world.step(lease, events=(), next_execution=NextExecution("e2", None, version="2"))
    assert await store.commit(step) is not None
    assert (await present(store)).version == "2"
    again = world.step(
        lease, events=(), execution_id="e2", next_execution=NextExecution("e3", None)
    )
    assert await store.commit(again) is not None
    assert (await present(store)).version == "2"


async def test_an_event_is_passed_on_to_a_live_orchestration_only(world: World) -> None:
    store = await world.opened()
    over = await world.in_status(store, RuntimeStatus.COMPLETED, "over")
    host_id = await store.join("host")
    lease = (await store.start(world.request(), host_id)).lease
    assert lease is not None
    target = (await store.start(world.request("live"), None)).record
    event = world.raised("passed", "1")
    sent = [PassEvent(each, event) for each in ("live", "over", "nobody", "@e@1")]
    receipt = await store.commit(world.sends(lease, *sent), host_id)
    assert receipt is not None
    assert [each.record.instance_id for each in receipt.leases] == ["live"]
    assert await mail_of(store, target.generation) == [event]
    assert await store.inbox(over.record.generation, 0) == ()
    assert await store.read("@e@1") is None
