"""Absurd on PostgreSQL: the same workloads as its documentation writes them.

One client works through one connection, so more throughput means more worker processes; four of
them with asynchronous tasks did most on two cores. Workers look for tasks every 10 ms instead of
every 250, which speeds up whoever waits; how often a caller looks for a result is Absurd's own.
Run: ``python -m benchmarks.peers.absurd_peer URL``; with ``work`` it is a worker.
"""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

import absurdctl
import psycopg
from absurd_sdk import Absurd, AsyncAbsurd

from benchmarks.program import keep_outstanding, latencies, pace, repeat, serve, thread_rate

_QUEUE, _LATER = "default", "later"
_WORKERS = 4
_TASKS_A_WORKER = 25
_POLL_SECONDS = 0.01
_CALLERS = 4


async def _greet() -> str:
    return "Hello!"


async def hello_sequence(_: object, context: Any) -> list[str]:
    """Three steps, one after another."""
    return [await context.step(city, _greet) for city in ("Tokyo", "Seattle", "London")]


async def many_steps(count: int, context: Any) -> list[float]:
    """As many steps, one after another; when each ended."""
    ended = []
    for _ in range(count):
        await context.step("hello", _greet)
        ended.append(time.perf_counter())
    return ended


async def fan_out(count: int, context: Any) -> int:
    """As many steps, all at once."""
    return len(await asyncio.gather(*(context.step("hello", _greet) for _ in range(count))))


async def work(url: str) -> None:
    """Run tasks until killed."""
    app = AsyncAbsurd(url)
    for task in (hello_sequence, many_steps, fan_out):
        app.register_task(task.__name__)(task)
    await app.start_worker(concurrency=_TASKS_A_WORKER, poll_interval=_POLL_SECONDS)


class Caller:
    """A client with its connection."""

    def __init__(self, url: str, queue: str = _QUEUE) -> None:
        self._app = Absurd(url, queue_name=queue)
        self._queue = queue

    def start(self, task: str = "hello_sequence", params: object = None) -> str:
        """Start a task; return its id."""
        spawned = self._app.spawn(task, params, queue=self._queue)
        return str(spawned["task_id"])

    def finish(self, task_id: str) -> Any:
        """Wait for its result."""
        snapshot = self._app.await_task_result(task_id)
        if snapshot.state != "completed":
            raise RuntimeError(f"{task_id}: {snapshot}")
        return snapshot.result

    def run(self, task: str = "hello_sequence", params: object = None) -> Any:
        """Start a task and wait for its result."""
        return self.finish(self.start(task, params))


class Workloads:
    """What is measured."""

    def __init__(self, url: str, workers: Sequence[subprocess.Popen[bytes]]) -> None:
        self._url = url
        self._workers = workers
        self._caller = Caller(url)

    def alone(self, *, calls: int) -> dict[str, float]:
        """Hello sequences, one at a time."""
        return latencies(calls, self._caller.run)

    def hello(self, *, outstanding: int, seconds: float) -> dict[str, float]:
        """Hello sequences, so many outstanding."""

        def caller(deadline: float) -> int:
            client = Caller(self._url)
            share = outstanding // _CALLERS
            return keep_outstanding(deadline, share, client.start, client.finish)

        return thread_rate(_CALLERS, seconds, caller)

    def later(self, *, callers: int, seconds: float) -> dict[str, float]:
        """Durable starts in a queue that nobody serves, while the workers are kept from looking."""
        for worker in self._workers:
            worker.send_signal(signal.SIGSTOP)
        try:
            return self._starts(callers, seconds, _LATER)
        finally:
            for worker in self._workers:
                worker.send_signal(signal.SIGCONT)

    def starts(self, *, callers: int, seconds: float) -> dict[str, float]:
        """Durable starts; the tasks run beside them."""
        return self._starts(callers, seconds, _QUEUE)

    def _starts(self, callers: int, seconds: float, queue: str) -> dict[str, float]:
        def caller(deadline: float) -> int:
            return repeat(deadline, Caller(self._url, queue).start)

        return thread_rate(callers, seconds, caller)

    def fan(self, *, activities: int) -> dict[str, float]:
        """One task with many steps at once."""
        began = time.perf_counter()
        self._caller.run("fan_out", activities)
        seconds = time.perf_counter() - began
        return {"per_second": activities / seconds, "seconds": seconds}

    def steps(self, *, steps: int, window: int, points: int = 0) -> dict[str, Any]:
        """One task with many steps, one after another."""
        return pace(self._caller.run("many_steps", steps), window, points)


def main(url: str) -> None:
    """Make the schema and the queue, start the workers, and serve the workloads."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(absurdctl.BUNDLED_SCHEMA_SQL)
    for queue in (_QUEUE, _LATER):
        Absurd(url).create_queue(queue)
    workers = [
        subprocess.Popen([sys.executable, "-m", "benchmarks.peers.absurd_peer", url, "work"])
        for _ in range(_WORKERS)
    ]
    measured = Workloads(url, workers)
    try:
        serve(
            {
                "alone": measured.alone,
                "hello": measured.hello,
                "fan": measured.fan,
                "steps": measured.steps,
                "curve": measured.steps,
                "later": measured.later,
                "starts": measured.starts,
            }
        )
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()


if __name__ == "__main__":
    if "work" in sys.argv:
        asyncio.run(work(sys.argv[1]))
    else:
        main(sys.argv[1])
