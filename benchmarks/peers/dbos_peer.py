"""DBOS: the same workloads as its documentation writes them.

What it says about throughput is followed: workflows are started by ``start_workflow`` in the very
process that runs them, steps are plain functions, tracing is off, and a fan-out is awaited with
``asyncio.gather``. Pool and threads are left as they are: larger ones were measured to be slower
on two cores. Run: ``python -m benchmarks.peers.dbos_peer URL [wal]``; ``wal`` puts its SQLite file
in WAL, which DBOS does not do.
"""

from __future__ import annotations

import asyncio
import sqlite3
import sys
import time
from contextlib import closing
from functools import partial
from typing import Any

from dbos import DBOS, DBOSClient, EnqueueOptions

from benchmarks.program import keep_outstanding, latencies, pace, repeat, serve, thread_rate

_CALLERS = 4
_ended: list[float] = []


@DBOS.step()
def say_hello(city: str) -> str:
    """Greet."""
    return f"Hello {city}!"


@DBOS.step()
async def say_hello_beside_others(city: str) -> str:
    """Greet, while others do."""
    return f"Hello {city}!"


@DBOS.workflow()
def hello_sequence() -> list[str]:
    """Three steps, one after another."""
    return [say_hello(city) for city in ("Tokyo", "Seattle", "London")]


@DBOS.workflow()
def many_steps(count: int) -> int:
    """As many steps, one after another."""
    _ended.clear()
    for number in range(count):
        say_hello(str(number))
        _ended.append(time.perf_counter())
    return count


@DBOS.workflow()
async def fan_out(count: int) -> int:
    """As many steps, all at once."""
    steps = (say_hello_beside_others(str(number)) for number in range(count))
    return len(await asyncio.gather(*steps))


def hello(*, outstanding: int, seconds: float) -> dict[str, float]:
    """Hello sequences, so many outstanding."""

    def caller(deadline: float) -> int:
        share = outstanding // _CALLERS
        return keep_outstanding(deadline, share, _start, lambda handle: handle.get_result())

    return thread_rate(_CALLERS, seconds, caller)


def later(url: str, *, callers: int, seconds: float) -> dict[str, float]:
    """Durable starts in a queue that nobody serves."""
    client = DBOSClient(system_database_url=url)
    place: EnqueueOptions = {"queue_name": "later", "workflow_name": hello_sequence.__name__}
    return thread_rate(
        callers, seconds, lambda deadline: repeat(deadline, lambda: client.enqueue(place))
    )


def starts(*, callers: int, seconds: float) -> dict[str, float]:
    """Durable starts; the workflows run beside them."""
    return thread_rate(callers, seconds, lambda deadline: repeat(deadline, _start))


def _start() -> Any:
    return DBOS.start_workflow(hello_sequence)


def fan(*, activities: int) -> dict[str, float]:
    """One workflow with many steps at once."""
    began = time.perf_counter()
    asyncio.run(fan_out(activities))
    seconds = time.perf_counter() - began
    return {"per_second": activities / seconds, "seconds": seconds}


def steps(*, steps: int, window: int, points: int = 0) -> dict[str, Any]:
    """One workflow with many steps, one after another."""
    many_steps(steps)
    return pace(_ended, window, points)


def main(url: str, *, in_wal: bool) -> None:
    """Serve the workloads on a system database."""
    if in_wal:
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as file:
            file.execute("PRAGMA journal_mode = WAL")
    DBOS(
        config={
            "name": "benchmark",
            "system_database_url": url,
            "log_level": "ERROR",
            "enable_otlp": False,
        }
    )
    DBOS.launch()
    serve(
        {
            "alone": lambda calls: latencies(calls, hello_sequence),
            "hello": hello,
            "fan": fan,
            "steps": steps,
            "curve": steps,
            "later": partial(later, url),
            "starts": starts,
        }
    )


if __name__ == "__main__":
    main(sys.argv[1], in_wal="wal" in sys.argv)
