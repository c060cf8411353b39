"""One host at a time: the lock, its holder's name, and that it vanishes with its process."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from soloist.errors import HubInUse
from tests.contract.world import World, present

HOST = """
import asyncio, sys
from pathlib import Path
from soloist.core.instances import StartRequest
from soloist.stores import SqliteStore
from soloist.testing.clock import JumpClock

async def main():
    clock = JumpClock()
    store = SqliteStore(Path(sys.argv[1]), task_hub="hub", clock=clock, lease_seconds=30.0)
    await store.open()
    host_id = await store.join("the other one")
    request = StartRequest(instance_id="theirs", execution_id="e", name="f", at=clock.now())
    await store.start(request, host_id)
    print("joined", flush=True)
    sys.stdin.read()

asyncio.run(main())
"""


@contextmanager
def other_host(path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that hosts the hub and holds an instance, until it is killed."""
    with subprocess.Popen(
        [sys.executable, "-c", HOST, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "joined\n"
            yield process
        finally:
            process.kill()


async def test_a_second_host_is_told_who_is_the_first(world: World) -> None:
    with other_host(world.path) as process:
        store = await world.opened()
        with pytest.raises(HubInUse) as caught:
            await store.join("me")
        told = str(caught.value)
        assert "the other one" in told
        assert f"process {process.pid}" in told
        assert "since 2026-01-01T00:00:00" in told
        assert str(world.path) in told


async def test_clients_work_beside_another_process_that_hosts(world: World) -> None:
    with other_host(world.path):
        store = await world.opened()
        await store.start(world.request(), None)
        receipt = await store.deliver("theirs", world.raised(), None)
        assert (await store.backlog()).held == 1
        assert len(await store.inbox(receipt.generation, 0)) == 1


async def test_a_killed_host_frees_the_hub_at_once_with_all_it_held(world: World) -> None:
    with other_host(world.path) as process:
        store = await world.opened()
        os.kill(process.pid, signal.SIGKILL)
        await asyncio.to_thread(process.wait)
        host_id = await store.join("me")
        grant = await store.lease(host_id, 10)
    assert [each.record.instance_id for each in grant.leases] == ["theirs"]
    assert await store.commit(world.step(grant.leases[0]))


async def test_two_stores_of_one_process_exclude_each_other_too(world: World) -> None:
    first, second = await world.opened(), await world.opened()
    host_id = await first.join("first")
    with pytest.raises(HubInUse, match="'first'"):
        await second.join("second")
    assert await first.renew(host_id)
    await first.close()
    await second.join("second")


async def test_hubs_of_one_file_are_hosted_apart(world: World) -> None:
    one, two = await world.opened("one"), await world.opened("two")
    await one.join("host of one")
    await two.join("host of two")


async def test_after_a_restart_the_former_self_holds_nothing(world: World) -> None:
    store = await world.opened()
    old = await world.held(store)
    await store.close()
    store = await world.opened()
    grant = await store.lease(await store.join("again"), 10)
    assert [each.record for each in grant.leases] == [await present(store)]
    assert not await store.commit(world.step(old))
