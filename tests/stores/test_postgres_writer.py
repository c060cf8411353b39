"""The writer of the PostgreSQL store: groups, bad networks, and callers who go away."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

import psycopg
import pytest

from proofs.postgres import PostgresServer, primary_and_standby
from proofs.proxy import Proxy
from soloist.core.instances import StartReceipt, StartRequest
from soloist.core.outcomes import NextExecution
from soloist.core.status import RuntimeStatus
from soloist.errors import InstanceExists, InvalidRequest, Overloaded, StoreUnavailable
from soloist.stores.postgres import DATABASE_TIME, PostgresStore
from soloist.stores.postgres import committer as committer_module
from soloist.stores.postgres.batch import Speaker
from soloist.stores.postgres.creations import end_process
from soloist.stores.postgres.writer import WORTH_A_SECOND
from tests.contract.databases import CLOCK
from tests.contract.world import LEASE_SECONDS, World, present
from tests.stores.waiting import until_a_lock_is_waited_for


async def postgres_store(world: World) -> PostgresStore:
    store = await world.opened()
    assert isinstance(store, PostgresStore)
    return store


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """A server of our own, which may be stopped."""
    with PostgresServer() as server:
        yield server


@pytest.fixture
def far(server: PostgresServer) -> Iterator[tuple[Proxy, PostgresStore]]:
    """A store behind a network that can be made bad."""
    with Proxy(server.port) as proxy:
        url = proxy.url_for(server.create_database())
        yield (
            proxy,
            PostgresStore(url, task_hub="hub", lease_seconds=LEASE_SECONDS, time=DATABASE_TIME),
        )


async def test_writes_at_once_share_one_transaction(postgres: World) -> None:
    store = await postgres_store(postgres)
    before = store.transactions
    starts = [store.start(postgres.request(str(number)), None) for number in range(200)]
    await asyncio.gather(*starts)
    assert store.transactions == before + 1


END_IDLE = (
    "SELECT pg_terminate_backend(pid, 20000) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
    " AND datname = current_database() AND state = 'idle'"
)


async def held_up(world: World, store: PostgresStore) -> tuple[Any, asyncio.Future[Any]]:
    """Let a step wait in its transaction for a lock; return who holds it, and the step."""
    lease = await world.held(store)
    foreign = psycopg.connect(world.url)
    foreign.execute("SELECT 1 FROM soloist.executions FOR UPDATE")
    step = asyncio.ensure_future(store.commit(world.step(lease)))
    await until_a_lock_is_waited_for(world.url)
    return foreign, step


def many_starts(
    world: World, store: PostgresStore, prefix: str = "x"
) -> list[asyncio.Task[StartReceipt]]:
    """Begin so many starts that they are worth a second transaction."""
    return [
        asyncio.ensure_future(store.start(world.request(f"{prefix}{number}"), None))
        for number in range(WORTH_A_SECOND)
    ]


def refusing_connections(monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """Let no store make a connection any more; the event is set when one has tried."""
    refused = asyncio.Event()

    async def refuse(_address: object) -> NoReturn:
        refused.set()
        raise psycopg.OperationalError("no connection to spare")

    monkeypatch.setattr("soloist.stores.postgres.line.connect", refuse)
    return refused


async def until_done_what_waits_for_nobody(store: PostgresStore) -> None:
    """Read so often that a write would have been done meanwhile which waits for nobody."""
    for _ in range(50):
        await store.read("x")


async def test_many_writes_do_not_wait_for_a_transaction_that_is_held_up(postgres: World) -> None:
    store = await postgres_store(postgres)
    foreign, write = await held_up(postgres, store)
    with foreign:
        await asyncio.wait_for(asyncio.gather(*many_starts(postgres, store)), 10)
        assert not write.done()
    await write


async def test_what_sees_rows_runs_beside_no_other_transaction_of_its_host(
    postgres: World,
) -> None:
    store = await postgres_store(postgres)
    foreign, write = await held_up(postgres, store)
    told: list[str] = []
    with foreign:
        purge = asyncio.ensure_future(store.purge("nobody"))  # it waits for no lock
        starts = many_starts(postgres, store)
        write.add_done_callback(lambda _: told.append("step"))
        purge.add_done_callback(lambda _: told.append("purge"))
        starts[0].add_done_callback(lambda _: told.append("start"))
        await until_done_what_waits_for_nobody(store)
        assert told == []
    await asyncio.gather(write, purge, *starts)
    assert told[0] == "step"


async def test_nothing_runs_beside_what_sees_rows(postgres: World) -> None:
    store = await postgres_store(postgres)
    await store.start(postgres.request("x"), None)
    with psycopg.connect(postgres.url) as foreign:
        foreign.execute("SELECT 1 FROM soloist.executions FOR UPDATE")
        mail = asyncio.ensure_future(store.deliver("x", postgres.raised(), None))
        await until_a_lock_is_waited_for(postgres.url)
        starts = many_starts(postgres, store)
        await until_done_what_waits_for_nobody(store)
        assert not any(each.done() for each in starts)
    await asyncio.gather(mail, *starts)


async def test_starts_of_one_id_do_not_share_a_second_transaction(postgres: World) -> None:
    store = await postgres_store(postgres)
    foreign, write = await held_up(postgres, store)
    with foreign:
        starts = many_starts(postgres, store)
        twice = [asyncio.ensure_future(store.start(postgres.request("y"), None)) for _ in "ab"]
        await asyncio.wait_for(asyncio.gather(*starts, twice[0]), 10)
        await until_done_what_waits_for_nobody(store)
        assert not twice[1].done() and not write.done()
    await write
    with pytest.raises(InstanceExists):
        await twice[1]


async def test_a_lease_runs_beside_no_other_transaction_of_its_host(postgres: World) -> None:
    store = await postgres_store(postgres)
    foreign, write = await held_up(postgres, store)
    host_id = store._host_id
    assert host_id is not None
    with foreign:
        lease = asyncio.ensure_future(store.lease(host_id, 10))
        starts = many_starts(postgres, store)
        await until_done_what_waits_for_nobody(store)
        assert not lease.done() and not any(each.done() for each in starts)
    await asyncio.gather(write, lease, *starts)


async def test_what_a_second_connection_could_not_take_waits_for_the_first(
    postgres: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = await postgres_store(postgres)
    foreign, write = await held_up(postgres, store)
    refused = refusing_connections(monkeypatch)
    with foreign:
        starts = many_starts(postgres, store)
        await refused.wait()
        assert not any(each.done() for each in starts)
    await asyncio.gather(write, *starts)


async def test_a_second_connection_that_the_server_ended_takes_nothing(
    postgres: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = await postgres_store(postgres)
    foreign, write = await held_up(postgres, store)
    with foreign:
        await asyncio.gather(*many_starts(postgres, store))
        foreign.execute(END_IDLE)
        refused = refusing_connections(monkeypatch)
        starts = many_starts(postgres, store, "y")
        await refused.wait()
        assert not any(each.done() for each in starts)
    await asyncio.gather(write, *starts)


async def test_a_store_that_closes_finishes_what_waits_behind_a_transaction(
    postgres: World,
) -> None:
    store = await postgres_store(postgres)
    foreign, write = await held_up(postgres, store)
    with foreign:
        start = asyncio.ensure_future(store.start(postgres.request("y"), None))
        await store.read("x")
        closing = asyncio.ensure_future(store.close())
        await asyncio.sleep(0)
        assert not closing.done()
    await closing
    assert write.done() and (await start).record.instance_id == "y"


async def test_a_refusal_does_not_disturb_the_rest_of_its_group(postgres: World) -> None:
    store = await postgres_store(postgres)
    answers = await asyncio.gather(
        *[store.start(postgres.request(each), None) for each in "abac"], return_exceptions=True
    )
    assert [isinstance(answer, InstanceExists) for answer in answers] == [False, False, True, False]
    assert (await present(store, "c")).instance_id == "c"


async def test_starts_of_free_and_of_taken_ids_go_together(postgres: World) -> None:
    store = await postgres_store(postgres)
    finished = await postgres.in_status(store, RuntimeStatus.COMPLETED, "done")
    await store.start(postgres.request("live"), None)
    new, live, done, kept = await asyncio.gather(
        store.start(postgres.request("new"), None),
        store.start(postgres.request("live"), None),
        store.start(postgres.request("done"), None),
        store.start(postgres.request("kept"), None),
        return_exceptions=True,
    )
    assert isinstance(new, StartReceipt) and isinstance(kept, StartReceipt)
    assert isinstance(live, InstanceExists)
    assert isinstance(done, StartReceipt)
    assert done.replaced == finished.record.generation
    assert (await present(store, "done")).generation == done.record.generation


async def test_a_start_of_a_free_id_waits_for_nobody_who_removes_another(postgres: World) -> None:
    store = await postgres_store(postgres)
    await store.start(postgres.request("z"), None)
    with psycopg.connect(postgres.url) as foreign:
        foreign.execute("DELETE FROM soloist.executions")
        foreign.execute("DELETE FROM soloist.instances")
        taken = asyncio.ensure_future(store.start(postgres.request("z"), None))
        await asyncio.wait_for(store.start(postgres.request("b"), None), 3)
        await until_a_lock_is_waited_for(postgres.url)
        assert not taken.done()
        foreign.commit()
    assert (await taken).record.instance_id == "z"


async def test_steps_and_starts_of_free_ids_are_one_round_trip(
    postgres: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = await postgres_store(postgres)
    host_id = await store.join("host")
    lease = (await store.start(postgres.request(), host_id)).lease
    assert lease is not None
    trips: list[int] = []

    async def run(speaker: Speaker, statements: Sequence[Any]) -> None:
        trips.append(len(statements))
        await original(speaker, statements)

    original = Speaker.run
    monkeypatch.setattr(Speaker, "run", run)
    step, start = await asyncio.gather(
        store.commit(postgres.step(lease)), store.start(postgres.request("y"), host_id)
    )
    assert step is not None
    assert start.lease is not None
    assert len(trips) == 1


async def test_a_name_that_no_database_takes_fails_alone(postgres: World) -> None:
    store = await postgres_store(postgres)
    answers = await asyncio.gather(
        store.start(postgres.request("a"), None),
        store.start(postgres.request("b", name="no\x00name"), None),
        store.start(postgres.request("c"), None),
        return_exceptions=True,
    )
    assert [type(answer) for answer in answers] == [StartReceipt, InvalidRequest, StartReceipt]
    assert await store.read("b") is None


async def test_of_starts_of_one_id_by_many_stores_one_is_created(postgres: World) -> None:
    stores = [await postgres.opened() for _ in range(6)]
    for round_number in range(20):
        answers = await asyncio.gather(
            *[store.start(postgres.request(f"x{round_number}"), None) for store in stores * 3],
            return_exceptions=True,
        )
        assert sum(isinstance(answer, StartReceipt) for answer in answers) == 1
        assert {type(answer) for answer in answers} == {StartReceipt, InstanceExists}


async def test_messages_of_many_stores_are_numbered_without_a_gap(postgres: World) -> None:
    stores = [await postgres.opened() for _ in range(6)]
    await stores[0].start(postgres.request(), None)
    receipts = await asyncio.gather(
        *[store.deliver("x", postgres.raised(), None) for store in stores * 20]
    )
    assert sorted(each.message_id for each in receipts) == list(range(1, 121))


async def test_too_many_waiting_writes_are_refused_and_change_nothing(postgres: World) -> None:
    await postgres.opened()
    store = PostgresStore(
        postgres.url,
        task_hub="hub",
        lease_seconds=LEASE_SECONDS,
        time=CLOCK,
        max_waiting_operations=2,
    )
    await store.open()
    answers = await asyncio.gather(
        *[store.start(postgres.request(str(number)), None) for number in range(4)],
        return_exceptions=True,
    )
    await store.close()
    assert sum(isinstance(answer, Overloaded) for answer in answers) == 2
    assert (await postgres.first.backlog()).due == 2


async def test_what_a_caller_who_went_away_was_granted_is_given_back(postgres: World) -> None:
    store = await postgres_store(postgres)
    host_id = await store.join("host")
    caller = asyncio.create_task(store.start(postgres.request(), host_id))
    await asyncio.sleep(0)
    caller.cancel()
    await store.release(0, 0)  # two more groups: that of the start, and that of its return
    await store.release(0, 0)
    await store.release(0, 0)
    backlog = await store.backlog()
    assert (backlog.due, backlog.held) == (1, 0)


async def test_a_commit_whose_answer_is_lost_is_looked_up(
    far: tuple[Proxy, PostgresStore],
) -> None:
    proxy, store = far
    await store.open()
    proxy.lose_answers(1)
    receipt = await store.start(_request(store, "x"), None)
    assert (await present(store)).generation == receipt.record.generation
    with pytest.raises(InstanceExists):
        await store.start(_request(store, "x"), None)
    assert proxy.seen.lost_answers == 1
    await store.close()


async def test_the_answers_to_starts_and_to_a_step_are_lost_at_once(
    far: tuple[Proxy, PostgresStore], postgres: World
) -> None:
    proxy, store = far
    await store.open()
    host_id = await store.join("host")
    held = (await store.start(_request(store, "held"), host_id)).lease
    await store.start(_request(store, "taken"), None)
    assert held is not None
    proxy.lose_answers(1)
    step, new, taken = await asyncio.gather(
        store.commit(postgres.step(held)),
        store.start(_request(store, "new"), host_id),
        store.start(_request(store, "taken", execution_id="other"), None),
        return_exceptions=True,
    )
    assert isinstance(step, StoreUnavailable)
    assert isinstance(new, StartReceipt) and new.lease is not None
    assert await store.commit(postgres.step(new.lease)) is not None
    assert isinstance(taken, StoreUnavailable)  # it may be ours, and have gone on since
    await store.close()


async def test_a_start_whose_instance_has_gone_on_since_is_not_taken_for_undone(
    far: tuple[Proxy, PostgresStore], postgres: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy, store = far
    await store.open()
    other = PostgresStore(
        store._address.conninfo, task_hub="hub", lease_seconds=LEASE_SECONDS, time=DATABASE_TIME
    )
    other._address = store._address
    await other.open()

    async def go_on(*arguments: Any) -> bool:
        (lease,) = (await other.lease(await other.join("other"), 10)).leases
        following = NextExecution("following", None)
        assert await other.commit(postgres.step(lease, next_execution=following))
        return await original(*arguments)

    original = end_process
    monkeypatch.setattr("soloist.stores.postgres.committer.end_process", go_on)
    proxy.lose_answers(1)
    with pytest.raises(StoreUnavailable, match="unknown"):
        await store.start(_request(store, "x"), None)
    await other.close()
    await store.close()


async def test_a_process_of_the_server_that_may_still_commit_is_ended(
    far: tuple[Proxy, PostgresStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(committer_module, "ANSWER_SECONDS", 0.5)
    _, store = far
    await store.open()
    await store.start(_request(store, "x"), None)
    host_id = await store.join("host")
    with psycopg.connect(store._address.conninfo) as foreign:  # it holds the insert up
        foreign.execute(
            "INSERT INTO soloist.instances (generation, hub_id, instance_id, name, created_at)"
            " SELECT 1000, hub_id, 'y', 'Greet', 0 FROM soloist.hubs"
        )
        with pytest.raises(StoreUnavailable):
            await store.start(_request(store, "y"), host_id)
        foreign.rollback()
    assert (await store.backlog()).held == 0
    assert await store.renew(host_id)
    assert await store.read("y") is None
    await store.close()


async def test_behind_a_pooler_a_lost_start_is_looked_up_by_its_transaction(
    server: PostgresServer,
) -> None:
    with Proxy(server.port) as proxy:
        url = proxy.url_for(server.create_database()) + "?pooled=true"
        store = PostgresStore(url, task_hub="hub", lease_seconds=LEASE_SECONDS, time=DATABASE_TIME)
        await store.open()
        host_id = await store.join("host")
        proxy.lose_commits(1)
        receipt = await store.start(_request(store, "x"), host_id)
        assert receipt.lease is not None
        assert proxy.seen.lost_commits == 1
        assert await store.renew(host_id)
        await store.close()


async def test_a_commit_that_never_arrived_changed_nothing(
    far: tuple[Proxy, PostgresStore],
) -> None:
    proxy, store = far
    await store.open()
    proxy.lose_commits(1)
    with pytest.raises(StoreUnavailable):
        await store.start(_request(store, "x"), None)
    assert await store.read("x") is None
    assert (await store.start(_request(store, "x"), None)).record.instance_id == "x"
    await store.close()


async def test_leases_of_which_nobody_knows_are_given_up_with_the_host(
    far: tuple[Proxy, PostgresStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(committer_module, "RESOLVE_SECONDS", 0.0)
    proxy, store = far
    await store.open()
    host_id = await store.join("host")
    proxy.lose_answers(1)
    with pytest.raises(StoreUnavailable, match="unknown"):
        await store.start(_request(store, "x"), host_id)
    assert not await store.renew(host_id)
    again = await store.join("host")
    assert [lease.record.instance_id for lease in (await store.lease(again, 10)).leases] == ["x"]
    await store.close()


async def test_a_half_open_connection_is_given_up(
    far: tuple[Proxy, PostgresStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(committer_module, "ANSWER_SECONDS", 0.5)
    proxy, store = far
    await store.open()
    await store.start(_request(store, "x"), None)
    proxy.half_open()
    waiting = asyncio.create_task(store.start(_request(store, "y"), None))
    await asyncio.wait({waiting}, timeout=0.7)
    proxy.be_fair()
    await asyncio.wait({waiting}, timeout=20)
    if waiting.exception() is not None:
        assert isinstance(waiting.exception(), StoreUnavailable)
    assert (await _until_it_works(store, "z")).record.instance_id == "z"
    await store.close()


async def test_a_commit_that_no_synchronous_standby_has_is_not_acknowledged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(committer_module, "ANSWER_SECONDS", 1.0)
    monkeypatch.setattr(committer_module, "RESOLVE_SECONDS", 6.0)
    with primary_and_standby() as (primary, standby):
        store = PostgresStore(
            primary.create_database(), task_hub="hub", lease_seconds=LEASE_SECONDS
        )
        await store.open()
        standby.stop()
        starting = asyncio.create_task(store.start(_request(store, "x"), None))
        waiting = "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
        while not await asyncio.to_thread(primary.execute, waiting):  # noqa: ASYNC110  # far away
            await asyncio.sleep(0.01)
        primary.kill()
        await asyncio.to_thread(primary.start)
        with pytest.raises(StoreUnavailable, match="unknown"):
            await starting
        assert await store.read("x") is not None  # so far it is there, and only so far
        standby.start()
        assert isinstance(await _until_it_works(store, "y"), StartReceipt)
        await store.close()


async def test_a_store_goes_on_when_the_server_is_back(server: PostgresServer) -> None:
    store = PostgresStore(server.create_database(), task_hub="hub", lease_seconds=LEASE_SECONDS)
    await store.open()
    await store.start(_request(store, "x"), None)
    server.stop()
    for verb in (store.read("x"), store.start(_request(store, "y"), None)):
        with pytest.raises(StoreUnavailable, match="does not answer"):
            await verb
    server.start()
    await _until_it_works(store, "z")
    assert (await present(store)).status is RuntimeStatus.PENDING
    await store.close()


async def _until_it_works(store: PostgresStore, instance_id: str) -> StartReceipt:
    while True:
        try:
            return await store.start(_request(store, instance_id), None)
        except StoreUnavailable:
            await asyncio.sleep(0.05)


def _request(store: PostgresStore, instance_id: str, execution_id: str = "e") -> StartRequest:
    return StartRequest(
        instance_id=instance_id, execution_id=execution_id, name="Greet", at=store.clock.now()
    )
