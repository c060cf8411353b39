"""Killed at any point of a commit, a hub holds all of a write or nothing of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.contract.world import World, present

WRITES = """
import asyncio, sys
from pathlib import Path
from soloist.core.instances import StartRequest
from soloist.core.policy import StartPolicy
from soloist.stores import SqliteStore
from soloist.testing.clock import JumpClock

async def main():
    clock = JumpClock()
    store = SqliteStore(Path(sys.argv[1]), task_hub="hub", clock=clock, lease_seconds=30.0)
    await store.open()                                          # the first transaction
    for number in range(3):                                     # the second to the fourth
        request = StartRequest(
            instance_id="x", execution_id=f"e{number}", name="f", at=clock.now(),
            input=str(number), policy=StartPolicy.REPLACE,
        )
        await store.start(request, None)
        print(number, flush=True)

asyncio.run(main())
"""


def told_before_the_kill(path: Path, failpoint: str) -> list[str]:
    """Start and replace an instance until the kill; return what was acknowledged."""
    ended = subprocess.run(
        [sys.executable, "-c", WRITES, str(path)],
        env={**os.environ, "SOLOIST_FAILPOINT": failpoint},
        stdout=subprocess.PIPE,
        text=True,
        check=False,
        timeout=60,
    )
    assert ended.returncode == -signal.SIGKILL
    return ended.stdout.split()


@pytest.mark.parametrize("number", [1, 2, 3])
@pytest.mark.parametrize(
    ("point", "is_durable"),
    [("commit.before", False), ("commit.written", False), ("commit.durable", True)],
)
async def test_a_start_is_whole_or_absent(
    world: World, point: str, is_durable: bool, number: int
) -> None:
    acknowledged = told_before_the_kill(world.path, f"{point}:{number + 1}")
    assert len(acknowledged) == number - 1
    store = await world.opened()
    last = number - 1 if is_durable else number - 2
    if last < 0:
        assert await store.read("x") is None
    else:
        assert (await present(store)).input == str(last)
        assert (await store.backlog()).due == 1
    assert (await store.start(world.request("y"), None)).record.generation == last + 2


async def test_a_kill_between_delete_and_insert_leaves_the_old_instance(world: World) -> None:
    assert told_before_the_kill(world.path, "start.replacing:1") == ["0"]
    store = await world.opened()
    assert (await present(store)).input == "0"
    grant = await store.lease(await store.join("host"), 10)
    assert await store.commit(world.step(grant.leases[0]))
