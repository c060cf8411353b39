"""The hello sequence: three activities one after another.

With 100 instances outstanding (throughput), one at a time (latency), and the latency of a durable
start alone. Run: ``python3 tasks.py bench hello``.
"""

from __future__ import annotations

import asyncio
from itertools import count

from benchmarks.hub import Stopwatch, measured_host, quantile, run, run_to_end, show
from soloist.app import Host

REPETITIONS = 5
INSTANCES = 3_000
OUTSTANDING = 100
ALONE = 300
STARTS = 2_000
START_CALLERS = 16

_numbers = count()


async def measure() -> None:
    """Measure and print."""
    throughput, p50, p99, starts, start_p50 = [], [], [], [], []
    async with measured_host() as host:
        await _many(host, 300)
        for _ in range(REPETITIONS):
            throughput.append(await _many(host, INSTANCES))
            latencies = await _alone(host)
            p50.append(quantile(latencies, 0.5))
            p99.append(quantile(latencies, 0.99))
            rate, milliseconds = await _starts(host)
            starts.append(rate)
            start_p50.append(milliseconds)
    show(f"hello sequences, {OUTSTANDING} outstanding", throughput, "/s")
    show("hello sequence alone, p50", p50, "ms")
    show("hello sequence alone, p99", p99, "ms")
    show(f"durable starts, {START_CALLERS} callers", starts, "/s")
    show("one start alone, p50", start_p50, "ms")


async def _many(host: Host, instances: int) -> float:
    async def caller() -> None:
        for _ in range(instances // OUTSTANDING):
            await run_to_end(host, "Hello", f"many-{next(_numbers)}")

    watch = Stopwatch()
    await asyncio.gather(*(caller() for _ in range(OUTSTANDING)))
    return instances / watch.seconds


async def _alone(host: Host) -> list[float]:
    milliseconds = []
    for _ in range(ALONE):
        watch = Stopwatch()
        await run_to_end(host, "Hello", f"alone-{next(_numbers)}")
        milliseconds.append(watch.seconds * 1000)
    return milliseconds


async def _starts(host: Host) -> tuple[float, float]:
    """Return starts per second and the p50 of one start; the instances run out of the clock."""
    names: list[str] = []

    async def caller() -> None:
        for _ in range(STARTS // START_CALLERS):
            names.append(f"start-{next(_numbers)}")
            await host.client.start("Hello", names[-1])

    watch = Stopwatch()
    await asyncio.gather(*(caller() for _ in range(START_CALLERS)))
    rate = STARTS / watch.seconds
    for name in names:
        await host.client.wait(name, 60)
    milliseconds = []
    for _ in range(ALONE):
        name = f"start-{next(_numbers)}"
        watch = Stopwatch()
        await host.client.start("Hello", name)
        milliseconds.append(watch.seconds * 1000)
        await host.client.wait(name, 60)
    return rate, quantile(milliseconds, 0.5)


if __name__ == "__main__":
    run(measure)
