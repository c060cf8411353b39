"""Reaching a database: URLs, schemas, and errors for people."""

from __future__ import annotations

import asyncio

import psycopg
import pytest

from proofs.postgres import primary_and_standby, url_of_either
from soloist.contracts.clock import SystemClock
from soloist.core.work import Lacks
from soloist.errors import HubTooNew, InstanceExists, SettingsError, StoreUnavailable
from soloist.stores import shown_url, store_at
from soloist.stores.postgres import PostgresStore, connection
from soloist.stores.postgres.connection import address_of
from tests.contract.databases import CLOCK
from tests.contract.world import LEASE_SECONDS, World

SECRET = "hunter2"  # a password that must be seen nowhere


def store(url: str, task_hub: str = "hub", time: str = CLOCK) -> PostgresStore:
    return PostgresStore(url, task_hub=task_hub, lease_seconds=LEASE_SECONDS, time=time)


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://me:{SECRET}@[::1/db",
        f"postgresql://me:{SECRET}@host/db?nonsense=1",
        f"postgresql://me:{SECRET}@host/db?pooled=perhaps",
        f"postgresql://me:{SECRET}%zz@host/db",
    ],
)
def test_a_url_that_is_not_understood_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(SettingsError) as refusal:
        store_at(url, task_hub="hub", clock=SystemClock())
    assert SECRET not in str(refusal.value)


def test_an_address_is_shown_without_secrets() -> None:
    url = f"postgresql://me:{SECRET}@a:1,b:2/db?password={SECRET}"
    assert SECRET not in address_of(url).shown
    assert "'db' at a,b:1,2" in address_of(url).shown
    assert shown_url(url) == "postgresql://me@a:1,b:2/db"


def test_a_pooler_is_told_by_the_url_and_not_to_the_server() -> None:
    address = address_of("postgresql://me@host/db?pooled=true&sslmode=require")
    assert address.is_pooled
    assert "pooled" not in address.conninfo
    assert "sslmode=require" in address.conninfo


async def test_a_server_that_is_not_there_is_named_without_its_password() -> None:
    with pytest.raises(StoreUnavailable) as refusal:
        await store(f"postgresql://me:{SECRET}@127.0.0.1:1/db").open()
    assert "'db' at 127.0.0.1:1" in str(refusal.value)
    assert SECRET not in str(refusal.value)


async def test_a_store_that_is_not_open_says_so(postgres: World) -> None:
    closed = store(postgres.url)
    for verb in (closed.read("x"), closed.start(postgres.request(), None)):
        with pytest.raises(StoreUnavailable, match="not open"):
            await verb


async def test_many_hosts_may_make_the_hub_at_once(postgres: World) -> None:
    stores = [store(postgres.url, task_hub=f"hub{number % 2}") for number in range(8)]
    await asyncio.gather(*[each.open() for each in stores])
    with psycopg.connect(postgres.url) as connection:
        names = connection.execute("SELECT name FROM soloist.hubs ORDER BY name").fetchall()
    assert names == [("hub0",), ("hub1",)]
    for each in stores:
        await each.close()


async def test_hubs_of_one_database_see_nothing_of_each_other(postgres: World) -> None:
    one, other = await postgres.opened("one"), await postgres.opened("other")
    await one.start(postgres.request(), None)
    assert await other.read("x") is None
    assert (await other.lease(await other.join("host"), 10)).leases == ()


async def test_a_schema_of_a_newer_soloist_is_refused(postgres: World) -> None:
    await postgres.opened()
    with psycopg.connect(postgres.url) as connection:
        connection.execute("INSERT INTO soloist.schema_migrations VALUES (999, 'future', 0)")
    with pytest.raises(HubTooNew, match="schema 999"):
        await store(postgres.url).open()


async def test_a_host_goes_on_while_the_schema_is_upgraded_under_it(postgres: World) -> None:
    old = await postgres.opened()
    await old.start(postgres.request(), None)
    with psycopg.connect(postgres.url) as connection:
        connection.execute("ALTER TABLE soloist.instances ADD COLUMN later text")
        connection.execute("ALTER TABLE soloist.executions ADD COLUMN later bigint DEFAULT 1")
        connection.execute("ALTER TABLE soloist.inbox ADD COLUMN later text")
        connection.execute("ALTER TABLE soloist.hosts ADD COLUMN later text")
        connection.execute("INSERT INTO soloist.schema_migrations VALUES (999, 'future', 0)")
    host_id = await old.join("old")
    assert await old.renew(host_id)
    grant = await old.lease(host_id, 10)
    assert await old.commit(postgres.step(grant.leases[0]), host_id)
    assert await old.read("x") is not None


async def test_a_host_of_an_older_soloist_is_listed_beside_the_others(postgres: World) -> None:
    store = await postgres.opened()
    with psycopg.connect(postgres.url) as connection:
        connection.execute(
            "INSERT INTO soloist.hosts (hub_id, name, address, version, app_version, process_id,"
            " machine, joined_at, renewed_at, expires_at)"
            " VALUES (1, 'older', '', '', NULL, 1, 'm', 0, 0, 0)"
        )
    host_id = await store.join("newer")
    assert await store.renew(host_id, Lacks(workers=1))
    told = {each.name: each.lacks for each in await store.hosts()}
    assert told == {"older": None, "newer": Lacks(workers=1)}


async def test_a_database_that_is_not_utf8_is_refused(postgres: World) -> None:
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE latin ENCODING LATIN1 LOCALE 'C' TEMPLATE template0")
        try:
            url = postgres.url.rsplit("/", 1)[0] + "/latin"
            with pytest.raises(StoreUnavailable, match="LATIN1; Soloist needs UTF8"):
                await store(url).open()
        finally:
            connection.execute("DROP DATABASE latin WITH (FORCE)")


async def test_everything_works_with_statements_that_no_session_keeps(postgres: World) -> None:
    pooled = store(f"{postgres.url}?pooled=true")
    await pooled.open()
    host_id = await pooled.join("host")
    receipt = await pooled.start(postgres.request(), host_id)
    assert receipt.lease is not None
    assert await pooled.commit(postgres.step(receipt.lease), host_id)
    await pooled.deliver("x", postgres.raised(), None)
    assert len(await pooled.inbox(receipt.record.generation, 0)) == 1
    await pooled.close()


async def test_what_a_host_had_locked_when_it_fell_silent_is_free_again(
    postgres: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "TRANSACTION_MILLISECONDS", 300)
    address = address_of(postgres.url)
    silent, other = await connection.connect(address), await connection.connect(address)
    lock = "SELECT pg_advisory_xact_lock(7)"

    async def fall_silent() -> None:
        async with silent.pipeline():
            await silent.execute("BEGIN")
            await (await silent.execute(lock)).fetchall()  # and of the rest, nothing is sent
            await other.execute(lock)

    with pytest.raises(psycopg.Error):
        await fall_silent()
    await connection.close(silent)
    await connection.close(other)


async def test_news_reach_another_process_at_once(postgres: World) -> None:
    host, client = await postgres.opened(), await postgres.opened()
    heard: asyncio.Queue[None] = asyncio.Queue()
    host.on_news(lambda: heard.put_nowait(None))
    host_id = await host.join("host")
    await _listening(postgres)
    await client.start(postgres.request(), None)
    await asyncio.wait_for(heard.get(), 10)
    assert len((await host.lease(host_id, 10)).leases) == 1
    await client.deliver("x", postgres.raised(), None)
    await asyncio.wait_for(heard.get(), 10)
    assert len((await host.lease(host_id, 10)).mail) == 1


async def _listening(world: World) -> None:
    asked = "SELECT 1 FROM pg_stat_activity WHERE query LIKE 'LISTEN%'"
    with psycopg.connect(world.url, autocommit=True) as connection:
        while not connection.execute(asked).fetchall():  # noqa: ASYNC110  # it is far away
            await asyncio.sleep(0.01)


async def test_a_database_that_forgets_in_a_crash_is_told(postgres: World) -> None:
    found = await (await postgres.opened()).durability()  # the tests' server does not sync
    assert not found.survives_crash
    assert "fsync" in found.text


async def test_what_a_failover_would_lose_is_told() -> None:
    with primary_and_standby() as (primary, standby):
        url = url_of_either(primary, standby)
        safe = store(url, time="0::bigint")
        await safe.open()
        assert (await safe.durability()).survives_failover
        primary.execute("ALTER SYSTEM SET synchronous_standby_names = ''")
        primary.execute("SELECT pg_reload_conf()")
        while (found := await safe.durability()).survives_failover:  # noqa: ASYNC110  # it reloads
            await asyncio.sleep(0.05)
        assert found.survives_crash
        assert "asynchronously" in found.text
        await safe.close()


async def test_an_id_is_one_id_whatever_encoding_a_client_is_told_to_use(
    postgres: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await (await postgres.opened()).start(postgres.request("é"), None)
    monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    with pytest.raises(InstanceExists):
        await (await postgres.opened()).start(postgres.request("é"), None)
