"""The key cabinet: a running host keeps up with its keys."""

from __future__ import annotations

import asyncio
import io

import pytest

from soloist.core.instances import AccessKey
from soloist.errors import StoreUnavailable
from soloist.functions.cabinet import DEFAULT_REFRESH_SECONDS, KeyCabinet
from soloist.functions.keys import DURABLE_KEY_NAME, KeyRing, ensure_keys
from soloist.stores import MemoryState, MemoryStore
from soloist.testing import JumpClock


class Moody(MemoryStore):
    """A store whose database is sometimes away."""

    is_away = False
    asked = 0

    async def keys(self) -> tuple[AccessKey, ...]:
        """Return every access key, or say that nobody answers."""
        self.asked += 1
        if self.is_away:
            raise StoreUnavailable("The database is locked.")
        return await super().keys()


async def opened(clock: JumpClock) -> tuple[Moody, KeyCabinet]:
    store = Moody(MemoryState(), task_hub="Hub", clock=clock, lease_seconds=30)
    await store.open()
    cabinet = KeyCabinet(await ensure_keys(store, clock.now()))
    await cabinet.draw(store, clock, ("Hello",))
    cabinet.keep_up(store, clock)
    return store, cabinet


async def rotate(store: Moody, clock: JumpClock, scope: str, name: str, value: str) -> None:
    await store.put_key(AccessKey(scope, name, value, clock.now()), replaces=True)


def test_a_rotated_key_counts_within_seconds_and_the_old_one_no_more() -> None:
    async def scenario() -> None:
        clock = JumpClock()
        store, cabinet = await opened(clock)
        old = cabinet.ring.value("function:Hello", "default")
        await rotate(store, clock, "function:Hello", "default", "new")
        assert cabinet.admits("function", "Hello", old)
        await clock.jump(DEFAULT_REFRESH_SECONDS)
        assert cabinet.admits("function", "Hello", "new")
        assert not cabinet.admits("function", "Hello", old)
        await cabinet.close()

    asyncio.run(scenario())


def test_the_system_key_is_always_the_newest() -> None:
    async def scenario() -> None:
        clock = JumpClock()
        store, cabinet = await opened(clock)
        assert cabinet.system_key() == cabinet.ring.value("system", DURABLE_KEY_NAME)
        await rotate(store, clock, "system", DURABLE_KEY_NAME, "new")
        await clock.jump(DEFAULT_REFRESH_SECONDS)
        assert cabinet.system_key() == "new"
        assert cabinet.admits_management("new")
        await cabinet.close()

    asyncio.run(scenario())


def test_while_the_store_is_away_the_last_keys_stay_in_force(log: io.StringIO) -> None:
    async def scenario() -> None:
        clock = JumpClock()
        store, cabinet = await opened(clock)
        value = cabinet.ring.value("host", "default")
        store.is_away = True
        await clock.jump(3 * DEFAULT_REFRESH_SECONDS)
        assert store.asked >= 3
        assert cabinet.admits("function", "Hello", value)
        store.is_away = False
        await rotate(store, clock, "host", "default", "new")
        await clock.jump(DEFAULT_REFRESH_SECONDS)
        assert cabinet.admits("function", "Hello", "new")
        await cabinet.close()
        assert value is not None
        assert value not in log.getvalue()

    asyncio.run(scenario())
    assert log.getvalue().count("Access keys cannot be read") == 1


def test_a_closed_cabinet_reads_no_more() -> None:
    async def scenario() -> None:
        clock = JumpClock()
        store, cabinet = await opened(clock)
        await cabinet.close()
        await cabinet.close()
        asked = store.asked
        await clock.jump(5 * DEFAULT_REFRESH_SECONDS)
        assert store.asked == asked

    asyncio.run(scenario())


@pytest.mark.parametrize("presented", [None, "anything"])
def test_where_no_keys_are_asked_for_none_are_read_and_links_carry_none(
    presented: str | None,
) -> None:
    async def scenario() -> None:
        clock = JumpClock()
        store = Moody(MemoryState(), task_hub="Hub", clock=clock, lease_seconds=30)
        await store.open()
        cabinet = KeyCabinet()
        await cabinet.draw(store, clock, ("Hello",))
        cabinet.keep_up(store, clock)
        await clock.jump(2 * DEFAULT_REFRESH_SECONDS)
        assert store.asked == 0
        assert await store.keys() == ()
        assert not cabinet.is_enforced
        assert cabinet.system_key() is None
        assert cabinet.admits("admin", "Hello", presented)
        await cabinet.close()

    asyncio.run(scenario())


def test_a_ring_without_the_system_key_signs_nothing() -> None:
    assert KeyCabinet(KeyRing()).system_key() is None
