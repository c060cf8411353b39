"""Killed at any point of a commit, a hub holds all of a write or nothing of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from soloist.core.status import RuntimeStatus
from tests.contract.world import World, mail_of, present

ROOT = Path(__file__).resolve().parents[2]

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


SENDS = """
import asyncio, sys
from pathlib import Path
from tests.contract.world import World, task_of
from soloist.core.messages import SendRequest, TerminateChild
from soloist.core.status import RuntimeStatus

async def main():
    world = World("sqlite", Path(sys.argv[1]).parent)
    store = await world.opened()
    host_id, parent, child = await world.family(store)
    print("family", flush=True)
    step = world.step(
        child,
        status=RuntimeStatus.COMPLETED,
        outgoing=(
            world.child(child, 0, "grandchild"),
            world.answer(task_of(parent)),
            SendRequest("@counter@k", world.requested()),
            TerminateChild("child", task_of(parent), world.termination()),
        ),
    )
    await store.commit(step, host_id)
    print("sent", flush=True)

asyncio.run(main())
"""

REWINDS = """
import asyncio, sys
from pathlib import Path
from tests.contract.world import World
from soloist.core.status import RuntimeStatus

async def main():
    world = World("sqlite", Path(sys.argv[1]).parent)
    store = await world.opened()
    host_id, parent, child = await world.family(store)
    failed = RuntimeStatus.FAILED
    await store.commit(world.step(child, status=failed))
    open_child = (world.created(0, "child"),)
    await store.commit(world.step(parent, events=open_child))
    await store.commit(world.step(parent, 1, status=failed))
    print("failed", flush=True)
    await store.rewind("x", None, world.now(), host_id)

asyncio.run(main())
"""


COMMITS_ON_THE_LOOP = """
from soloist.stores.sqlite import writer
writer.QUICK_COMMITS = 0
"""


def told_before_the_kill(
    path: Path, failpoint: str, script: str = WRITES, *, is_quick: bool = False
) -> list[str]:
    """Run a script until the kill; return what was acknowledged. ``is_quick`` lets the writer take
    the disk for quick from the first commit on; the scripts are too short for it to find out."""
    ended = subprocess.run(
        [sys.executable, "-c", COMMITS_ON_THE_LOOP * is_quick + script, str(path)],
        cwd=ROOT,
        env={**os.environ, "SOLOIST_FAILPOINT": failpoint},
        stdout=subprocess.PIPE,
        text=True,
        check=False,
        timeout=60,
    )
    assert ended.returncode == -signal.SIGKILL
    return ended.stdout.split()


@pytest.mark.parametrize("is_quick", [False, True])
@pytest.mark.parametrize("number", [1, 2, 3])
@pytest.mark.parametrize(
    ("point", "is_durable"),
    [("commit.before", False), ("commit.written", False), ("commit.durable", True)],
)
async def test_a_start_is_whole_or_absent(
    world: World, point: str, is_durable: bool, number: int, is_quick: bool
) -> None:
    acknowledged = told_before_the_kill(world.path, f"{point}:{number + 1}", is_quick=is_quick)
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


@pytest.mark.parametrize(
    ("point", "is_durable"),
    [
        # The first message ever sent starts the child; the next ones are those of its end.
        *[(f"commit.sending:{number}", False) for number in range(2, 6)],
        ("commit.before:5", False),
        ("commit.written:5", False),
        ("commit.durable:5", True),
    ],
)
async def test_a_step_and_all_that_it_sends_are_whole_or_absent(
    world: World, point: str, is_durable: bool
) -> None:
    assert told_before_the_kill(world.path, point, SENDS) == ["family"]
    store = await world.opened()
    parent, child = await present(store), await present(store, "child")
    others = [await store.read("grandchild"), await store.read("@counter@k")]
    assert len(await mail_of(store, parent.generation)) == is_durable
    assert [each is not None for each in others] == [is_durable, is_durable]
    assert child.status is (RuntimeStatus.COMPLETED if is_durable else RuntimeStatus.PENDING)
    grant = await store.lease(await store.join("next"), 9)
    assert len(grant.leases) == (3 if is_durable else 1)


@pytest.mark.parametrize("number", [1, 2])
async def test_a_kill_amid_a_rewind_leaves_all_of_it_failed(world: World, number: int) -> None:
    assert told_before_the_kill(world.path, f"rewind.revived:{number}", REWINDS) == ["failed"]
    store = await world.opened()
    for name in ("x", "child"):
        record = await present(store, name)
        assert record.status is RuntimeStatus.FAILED
        assert await mail_of(store, record.generation) == []
    receipt = await store.rewind("x", None, world.now(), await store.join("next"))
    assert [each.record.instance_id for each in receipt.leases] == ["x", "child"]
