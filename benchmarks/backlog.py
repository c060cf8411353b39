"""A hub full of waiting instances beside an empty one: what each costs whoever is not waiting.

Half of the instances wait for a timer, half for an event: they are rows and nothing else. Run:
``python3 tasks.py bench backlog [--instances N] [--postgres]``.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import count

from benchmarks.hub import APP, Stopwatch, run, run_to_end, store_to_measure
from benchmarks.program import quantile
from benchmarks.waiting import fill, resident_mib
from soloist.app import Host, HostOptions, open_host
from soloist.core.instances import InstanceQuery
from soloist.telemetry import configure_logging

INSTANCES = 1_000_000
ROUNDS = 5
CALLS = 200
IDLE_SECONDS = 20.0
ALLOWED = 1.5

_numbers = count()


async def measure() -> None:
    """Measure and print."""
    configure_logging("error")
    instances = INSTANCES
    if "--instances" in sys.argv:
        instances = int(sys.argv[sys.argv.index("--instances") + 1])
    async with opened(0) as empty, opened(instances) as full:
        for host in (empty, full):
            await _sample(host, _start)
        print(
            f"{'median of ' + str(ROUNDS) + ' rounds, p50 in ms':<40}{'empty':>10}{instances:>12,}"
        )
        for name, call in _CALLS.items():
            found: dict[Host, list[float]] = {empty: [], full: []}
            for _ in range(ROUNDS):
                for host, medians in found.items():
                    medians.append(await _sample(host, call))
            _show(name, statistics.median(found[empty]), statistics.median(found[full]))
    for kind, number in (("empty", 0), (f"{instances:,} waiting", instances)):
        before = resident_mib()
        async with opened(number) as host:
            await _sample(host, _start)
            busy = time.process_time()
            await asyncio.sleep(IDLE_SECONDS)
            share = (time.process_time() - busy) / IDLE_SECONDS
            print(
                f"{kind}: memory {before:.0f} -> {resident_mib():.0f} MiB; idle, the host takes"
                f" {share:.2%} of a core"
            )


def _show(name: str, empty: float, full: float) -> None:
    verdict = "" if full / empty <= ALLOWED else f"  more than {ALLOWED} x"
    print(f"{name:<40}{empty:>10.2f}{full:>12.2f}   {full / empty:.2f} x{verdict}")


@asynccontextmanager
async def opened(instances: int) -> AsyncIterator[Host]:
    """Run a host on a hub with that many waiting instances."""
    with store_to_measure() as url:
        await (await open_host(HostOptions(app_dir=APP, store_url=url))).close()
        fill(url, instances)
        host = await open_host(HostOptions(app_dir=APP, store_url=url))
        try:
            yield host
        finally:
            await host.close()


async def _sample(host: Host, call: Callable[[Host], Awaitable[object]]) -> float:
    """Return the median of some calls, in milliseconds."""
    milliseconds = []
    for _ in range(CALLS):
        watch = Stopwatch()
        await call(host)
        milliseconds.append(watch.seconds * 1000)
    return quantile(milliseconds, 0.5)


async def _start(host: Host) -> None:
    await host.client.start("Hello", f"start-{next(_numbers)}")


async def _hello(host: Host) -> None:
    await run_to_end(host, "Hello", f"hello-{next(_numbers)}")


async def _read(host: Host) -> None:
    await host.client.list(InstanceQuery(page_size=1, instance_id_prefix="start-"))


_PAGE = InstanceQuery(page_size=100)
_BY_PREFIX = InstanceQuery(page_size=10, instance_id_prefix="start-1")


async def _list(host: Host) -> None:
    await host.client.list(_PAGE)


async def _list_prefix(host: Host) -> None:
    await host.client.list(_BY_PREFIX)


_CALLS: dict[str, Callable[[Host], Awaitable[object]]] = {
    "a durable start": _start,
    "a hello sequence alone": _hello,
    "one instance by prefix": _read,
    "the first page of 100": _list,
    "a page of 10 by prefix": _list_prefix,
}


if __name__ == "__main__":
    run(measure)
