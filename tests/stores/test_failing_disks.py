"""What a commit that failed leaves behind: nothing, also for whoever opens the file after a kill."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from proofs.faults import ALWAYS, FailingDisk, missing
from tests.contract.world import World, present

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.skipif(missing() is not None, reason=str(missing()))

WRITES = """
import asyncio, os, signal, sys
from pathlib import Path
from proofs.faults import FailingDisk
from soloist.errors import StoreUnavailable
from tests.contract.world import World

async def main():
    disk = FailingDisk.attached(Path(sys.argv[2]))
    world = World("sqlite", Path(sys.argv[1]).parent)
    store = await world.opened()
    await store.start(world.request("before"), None)
    disk.put(sys.argv[3], int(sys.argv[4]))
    answers = await asyncio.gather(
        *(store.start(world.request(each), None) for each in sys.argv[5]), return_exceptions=True
    )
    for answer in answers:
        print(type(answer).__name__, flush=True)
    disk.mend()
    if len(sys.argv) > 6:
        await store.start(world.request("after"), None)
        print("went on", flush=True)
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


def told_before_the_kill(world: World, *arguments: str) -> list[str]:
    """Let starts meet a fault of the disk in a process of their own; return what they were told."""
    disk = FailingDisk(world.path.parent)
    ended = subprocess.run(
        [sys.executable, "-c", WRITES, str(world.path), str(disk.control), *arguments],
        cwd=ROOT,
        env={**os.environ, **disk.environment},
        stdout=subprocess.PIPE,
        text=True,
        check=False,
        timeout=60,
    )
    assert ended.returncode == -signal.SIGKILL
    return ended.stdout.splitlines()


@pytest.mark.parametrize(
    "fault", [("failing_syncs", ALWAYS), ("failing_writes", ALWAYS), ("room", 0), ("room", 6_000)]
)
@pytest.mark.parametrize("names", ["a", "abc"])
async def test_what_a_failing_disk_refused_is_not_there_after_a_kill(
    world: World, fault: tuple[str, int], names: str
) -> None:
    told = told_before_the_kill(world, fault[0], str(fault[1]), names)
    assert told == ["StoreUnavailable"] * len(names)
    store = await world.opened()
    assert [await store.read(each) for each in names] == [None] * len(names)
    assert (await present(store, "before")).generation == 1


@pytest.mark.parametrize("fault", [("failing_syncs", 1), ("failing_writes", 1)])
async def test_a_group_whose_commit_failed_once_is_written_again(
    world: World, fault: tuple[str, int]
) -> None:
    told = told_before_the_kill(world, fault[0], str(fault[1]), "abc", "after")
    assert told == [*["StartReceipt"] * 3, "went on"]
    store = await world.opened()
    for each in ("before", *"abc", "after"):
        await present(store, each)
