"""Reading, listing, purging, keys; and that hubs do not see each other."""

from __future__ import annotations

import asyncio
from base64 import urlsafe_b64encode
from datetime import timedelta

import msgspec
import pytest

from soloist.core.instances import MAX_PAGE_SIZE, AccessKey, InstancePage, InstanceQuery
from soloist.core.policy import StartPolicy
from soloist.core.status import TERMINAL_STATUSES, RuntimeStatus
from soloist.errors import InstanceUnfinished, InvalidRequest, StoreUnavailable
from tests.contract.world import World, present


def ids(page: InstancePage) -> list[str]:
    return [record.instance_id for record in page.records]


async def test_what_is_not_there_reads_as_nothing(world: World) -> None:
    store = await world.opened()
    assert await store.read("x") is None
    assert await store.history(1) == ()
    assert await store.inbox(1, 0) == ()
    assert await store.query(InstanceQuery()) == InstancePage((), None)
    assert await store.purge("x") is None


async def test_pages_follow_the_order_of_starts_and_leave_nothing_out(world: World) -> None:
    store = await world.opened()
    names = ["d", "a", "c", "b", "e"]
    for name in names:
        await store.start(world.request(name), None)
    found: list[str] = []
    token: str | None = None
    sizes = []
    while True:
        page = await store.query(InstanceQuery(page_size=2, token=token))
        found += ids(page)
        sizes.append(len(page.records))
        token = page.token
        if token is None:
            break
    assert (found, sizes) == (names, [2, 2, 1])


async def test_a_last_page_that_is_full_has_no_token(world: World) -> None:
    store = await world.opened()
    for name in "ab":
        await store.start(world.request(name), None)
    assert (await store.query(InstanceQuery(page_size=2))).token is None


async def test_a_page_does_not_repeat_or_skip_when_instances_come_and_go(world: World) -> None:
    store = await world.opened()
    for name in "abcd":
        await world.in_status(store, RuntimeStatus.COMPLETED, name)
    page = await store.query(InstanceQuery(page_size=2))
    await store.purge("b")
    await store.purge("c")
    await store.start(world.request("e"), None)
    assert ids(await store.query(InstanceQuery(token=page.token))) == ["d", "e"]


@pytest.mark.parametrize(
    "token",
    ["", "x", "!!", "é", "g1:1", "Zzox", "A" * 1000]
    + [
        urlsafe_b64encode(text).decode()
        for text in (b"g1:", b"g1:-1", b"g1:1.5", b"g2:1", b"g1:" + b"9" * 30, b"1")
    ],
)
async def test_a_foreign_token_is_refused(world: World, token: str) -> None:
    store = await world.opened()
    with pytest.raises(InvalidRequest, match="token"):
        await store.query(InstanceQuery(token=token))


@pytest.mark.parametrize("size", [0, -1, MAX_PAGE_SIZE + 1])
async def test_a_page_size_out_of_bounds_is_refused(world: World, size: int) -> None:
    store = await world.opened()
    with pytest.raises(InvalidRequest, match="page size"):
        await store.query(InstanceQuery(page_size=size))


async def test_filters_narrow_the_listing(world: World) -> None:
    store = await world.opened()
    begin = world.now()
    made = [
        ("order-1", "Greet", RuntimeStatus.PENDING),
        ("order-2", "greet", RuntimeStatus.RUNNING),
        ("ORDER-3", "Other", RuntimeStatus.COMPLETED),
        ("order_4", "Greet", RuntimeStatus.FAILED),
    ]
    for instance_id, name, status in made:
        await world.in_status(store, status, instance_id, name=name)
        world.clock.advance(10)

    async def listed(query: InstanceQuery) -> list[str]:
        return ids(await store.query(query))

    def moment(seconds: float) -> timedelta:
        return timedelta(seconds=seconds)

    assert await listed(InstanceQuery(instance_id_prefix="order-")) == ["order-1", "order-2"]
    assert await listed(InstanceQuery(instance_id_prefix="order_")) == ["order_4"]
    assert await listed(InstanceQuery(instance_id_prefix="%")) == []
    assert await listed(InstanceQuery(names=("GREET",))) == ["order-1", "order-2", "order_4"]
    assert await listed(InstanceQuery(names=("other", "x"))) == ["ORDER-3"]
    over = frozenset({RuntimeStatus.COMPLETED, RuntimeStatus.FAILED})
    assert await listed(InstanceQuery(statuses=over)) == ["ORDER-3", "order_4"]
    assert await listed(InstanceQuery(created_from=begin + moment(10))) == [
        "order-2",
        "ORDER-3",
        "order_4",
    ]
    assert await listed(InstanceQuery(created_to=begin + moment(10))) == ["order-1", "order-2"]
    both = InstanceQuery(instance_id_prefix="order", statuses=over, names=("greet",))
    assert await listed(both) == ["order_4"]


async def test_a_listing_by_the_last_change_takes_both_ends(world: World) -> None:
    store = await world.opened()
    for name in "abc":
        await world.in_status(store, RuntimeStatus.RUNNING, name)
        world.clock.advance(10)
    span = InstanceQuery(updated_from=world.after(-20), updated_to=world.after(-10))
    assert ids(await store.query(span)) == ["b", "c"]
    assert ids(await store.query(InstanceQuery(updated_to=world.after(-20.000001)))) == ["a"]


async def test_entities_are_listed_only_where_they_are_asked_for(world: World) -> None:
    store = await world.opened()
    for name in ("@counter@a", "order", "@counter@b", "@counters@a", "@@timer@t"):
        if name.startswith("@"):
            await store.deliver(name, world.requested(), None)
        else:
            await store.start(world.request(name), None)
    assert ids(await store.query(InstanceQuery())) == ["order"]
    entities = InstanceQuery(instance_id_prefix="@")
    assert ids(await store.query(entities)) == [
        "@counter@a",
        "@counter@b",
        "@counters@a",
        "@@timer@t",
    ]
    one = InstanceQuery(instance_id_prefix="@counter@", page_size=1)
    page = await store.query(one)
    assert ids(page) == ["@counter@a"]
    assert ids(await store.query(msgspec.structs.replace(one, token=page.token))) == ["@counter@b"]


@pytest.mark.parametrize("end", ["z", "\ud7ff", "\ue000", "\uffff", "\U0010ffff"])
async def test_a_prefix_may_end_in_any_character(world: World, end: str) -> None:
    store = await world.opened()
    prefixes = [end, f"a{end}", f"a{end}{end}"]
    for prefix in prefixes:
        await store.start(world.request(f"{prefix}-1"), None)
    await store.start(world.request("other"), None)
    for prefix in prefixes:
        found = ids(await store.query(InstanceQuery(instance_id_prefix=prefix)))
        assert found == [f"{each}-1" for each in prefixes if each.startswith(prefix)]


async def test_a_purge_of_another_generation_removes_nothing(world: World) -> None:
    store = await world.opened()
    receipt = await world.in_status(store, RuntimeStatus.COMPLETED)
    generation = receipt.record.generation
    assert await store.purge("x", generation + 1) is None
    assert (await present(store)).generation == generation
    assert await store.purge("x", generation) is RuntimeStatus.COMPLETED
    await store.start(world.request(), None)
    assert await store.purge("x", generation) is None
    entity = await store.deliver("@counter@k", world.requested(), None)
    assert await store.purge("@counter@k", entity.generation + 1) is None
    assert await store.purge("@counter@k", entity.generation) is RuntimeStatus.RUNNING


@pytest.mark.parametrize("status", list(RuntimeStatus))
async def test_only_what_is_over_can_be_purged(world: World, status: RuntimeStatus) -> None:
    store = await world.opened()
    receipt = await world.in_status(store, status)
    if status not in TERMINAL_STATUSES:
        with pytest.raises(InstanceUnfinished):
            await store.purge("x")
        assert (await present(store)).status is status
        return
    assert await store.purge("x") is status
    assert await store.read("x") is None
    assert await store.history(receipt.record.generation) == ()
    assert await store.purge("x") is None


async def test_a_generation_is_never_used_again(world: World) -> None:
    store = await world.opened()
    seen = []
    for _ in range(3):
        receipt = await world.in_status(store, RuntimeStatus.COMPLETED)
        seen.append(receipt.record.generation)
        await store.purge("x")
    seen.append((await store.start(world.request(), None)).record.generation)
    replaced = await store.start(world.request(policy=StartPolicy.REPLACE), None)
    seen.append(replaced.record.generation)
    elsewhere = await world.opened("other")
    seen.append((await elsewhere.start(world.request(), None)).record.generation)
    assert seen == sorted(set(seen))


async def test_starts_and_purges_of_one_id_take_turns(world: World) -> None:
    store = await world.opened()
    await world.in_status(store, RuntimeStatus.COMPLETED)
    answers = await asyncio.gather(
        *[store.purge("x") for _ in range(5)],
        *[store.start(world.request(), None) for _ in range(5)],
        return_exceptions=True,
    )
    assert answers[:5].count(RuntimeStatus.COMPLETED) == 1
    assert (await present(store)).status is RuntimeStatus.PENDING


async def test_hubs_do_not_see_each_other(world: World) -> None:
    one, two = await world.opened("one"), await world.opened("two")
    await one.start(world.request(input="1"), None)
    await two.start(world.request(input="2"), None)
    await one.put_key(AccessKey("master", "k", "v", world.now()))
    assert [(await present(one)).input, (await present(two)).input] == ["1", "2"]
    assert len((await two.query(InstanceQuery())).records) == 1
    assert await two.keys() == ()
    grant = await two.lease(await two.join("host"), 10)
    assert [each.record.input for each in grant.leases] == ["2"]
    assert (await one.backlog()).due == 1
    assert (await one.backlog()).held == 0
    await one.join("another host, of another hub")


async def test_the_first_key_of_a_name_stays(world: World) -> None:
    store = await world.opened()
    first = AccessKey("function:greet", "default", "first", world.now())
    assert await store.put_key(first) == first
    world.clock.advance(1)
    later = AccessKey("function:greet", "default", "later", world.now())
    assert await store.put_key(later) == first
    master = AccessKey("master", "default", "m", world.now())
    assert await store.put_key(master) == master
    assert await store.keys() == (first, master)


async def test_a_key_can_be_replaced_and_dropped(world: World) -> None:
    store = await world.opened()
    first = AccessKey("host", "k", "first", world.now())
    other = AccessKey("host", "other", "o", world.now())
    for key in (first, other):
        assert await store.put_key(key, replaces=True) == key
    later = AccessKey("host", "k", "later", world.after(1))
    assert await store.put_key(later, replaces=True) == later
    assert await store.keys() == (later, other)
    assert await store.drop_key("host", "k")
    assert not await store.drop_key("host", "k")
    assert not await store.drop_key("master", "other")
    assert await store.keys() == (other,)


async def test_what_one_process_wrote_another_reads(world: World) -> None:
    one, two = await world.opened(), await world.opened()
    receipt = await one.start(world.request(), None)
    assert await present(two) == receipt.record
    await two.deliver("x", world.raised(), None)
    assert len(await one.inbox(receipt.record.generation, 0)) == 1


async def test_a_closed_store_says_so(world: World) -> None:
    store = await world.opened()
    await store.close()
    await store.close()
    with pytest.raises(StoreUnavailable, match="not open"):
        await store.start(world.request(), None)
    with pytest.raises(StoreUnavailable, match="not open"):
        await store.read("x")
