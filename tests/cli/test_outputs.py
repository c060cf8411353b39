"""What is printed to where nothing can be written."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from soloist.contracts.clock import SystemClock
from soloist.stores import store_at

FULL = Path("/dev/full")


@pytest.mark.skipif(not FULL.exists(), reason="only Linux has such a device")
@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("arguments", [("instances", "list"), ("--help",)])
def test_a_full_disk_is_told_in_one_sentence(
    tmp_path: Path, arguments: tuple[str, ...], unbuffered: str
) -> None:
    store = tmp_path / "hub.db"
    asyncio.run(_make(store))
    place = ("--store", str(store)) if arguments[0] == "instances" else ()
    with FULL.open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "soloist", *arguments, *place],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr == "Error: The output cannot be written: No space left on device.\n"


async def _make(path: Path) -> None:
    store = store_at(str(path), task_hub="Hub", clock=SystemClock())
    await store.open()
    await store.close()
