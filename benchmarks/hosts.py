"""One, two and three hosts on one PostgreSQL: throughput, and what follows when one is killed.

Hello sequences (three activities) are started over HTTP at the hosts in turn. Then one of three
hosts is killed under load; its instances must move again within a lease and one poll, and each
must end once. Run: ``python3 tasks.py bench hosts``.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack, contextmanager
from itertools import count
from typing import Any

import psycopg

from benchmarks.callers import Caller
from benchmarks.hub import APP, Stopwatch, measured_server, run, show
from proofs.hosts import HostProcess
from soloist.engine import EngineSettings
from soloist.webapi import BASE_PATH

REPETITIONS = 3
INSTANCES = 1_500
OUTSTANDING = 150
CALLERS_A_HOST = 4
LEASE_SECONDS = 5.0
LONG_INSTANCES = 60
LONG_STEPS = 400

_STATES = (
    "SELECT i.instance_id, e.status, e.history_length, e.owner FROM soloist.instances AS i"
    " JOIN soloist.executions AS e USING (generation) WHERE i.instance_id LIKE %s"
)
_numbers = count()


async def measure() -> None:
    """Measure and print."""
    with measured_server() as server:
        rates: dict[int, list[float]] = {1: [], 2: [], 3: []}
        for _ in range(REPETITIONS):
            for hosts, found in rates.items():
                with running(server.create_database(), hosts) as (url, processes):
                    await _throughput(url, processes, INSTANCES // 5)
                    found.append(await _throughput(url, processes, INSTANCES))
        for hosts, found in rates.items():
            show(f"hello sequences over HTTP, {hosts} host(s)", found, "/s")
        one = statistics.median(rates[1])
        for hosts in (2, 3):
            print(f"{hosts} hosts / 1 host: {statistics.median(rates[hosts]) / one:.2f}")
        delays = []
        for _ in range(REPETITIONS):
            with running(server.create_database(), 3) as (url, processes):
                delays.append(await _moves_again(url, processes))
        allowed = LEASE_SECONDS + EngineSettings().poll_seconds
        show("killed host: its last instance moves after", delays, "s")
        print(
            f"lease + one poll: {allowed:g} s; {'kept' if max(delays) <= allowed else 'NOT KEPT'}"
        )


@contextmanager
def running(url: str, hosts: int) -> Iterator[tuple[str, Sequence[HostProcess]]]:
    """Run hosts on a database."""
    with ExitStack() as opened:
        processes = []
        for _ in range(hosts):
            host = HostProcess(
                APP,
                url,
                *("--lease-seconds", str(LEASE_SECONDS), "--log-level", "error"),
                *("--drain-seconds", "0"),
            )
            opened.callback(_end, host)
            processes.append(host)
        yield url, processes


def _end(host: HostProcess) -> None:
    if host.is_running:
        host.kill()


async def _throughput(url: str, hosts: Sequence[HostProcess], instances: int) -> float:
    """Return sequences per second, from the first start to the last end."""
    group = f"many{next(_numbers)}-"
    room = asyncio.Semaphore(OUTSTANDING)
    watch = Stopwatch()
    async with asyncio.TaskGroup() as tasks:
        done = tasks.create_task(_watch_ends(url, group, instances, room))
        share = instances // (len(hosts) * CALLERS_A_HOST)
        rest = instances - share * len(hosts) * CALLERS_A_HOST
        for place, host in enumerate([*hosts] * CALLERS_A_HOST):
            number = share + (rest if place == 0 else 0)
            tasks.create_task(_start_many(host, f"{group}{place}-", number, room))
    assert done.result() == instances
    return instances / watch.seconds


async def _start_many(
    host: HostProcess, group: str, instances: int, room: asyncio.Semaphore
) -> None:
    async with Caller(host.origin) as caller:
        for number in range(instances):
            await room.acquire()
            await _start(caller, "Hello", f"{group}{number}")


async def _start(caller: Caller, function: str, instance_id: str, body: bytes = b"") -> None:
    status, text = await caller.ask(
        "POST", f"{BASE_PATH}/orchestrators/{function}/{instance_id}", body
    )
    assert status == 202, (status, text)


async def _watch_ends(url: str, group: str, instances: int, room: asyncio.Semaphore) -> int:
    """Let go of room as instances end; return how many did once all have."""
    ended = 0
    ask = (
        "SELECT count(*) FROM soloist.instances AS i JOIN soloist.executions AS e"
        " USING (generation) WHERE e.status = 'Completed' AND i.instance_id >= %s"
        " AND i.instance_id < %s"
    )
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        while ended < instances:
            found = await (await connection.execute(ask, (group, f"{group}~"))).fetchone()
            assert found is not None
            for _ in range(found[0] - ended):
                room.release()
            ended = found[0]
            await asyncio.sleep(0.02)
    return ended


async def _moves_again(url: str, hosts: Sequence[HostProcess]) -> float:
    """Kill a host under load; return the seconds until the last of its instances has moved."""
    group = f"long{next(_numbers)}-"
    async with AsyncExitStack() as opened:
        callers = [await opened.enter_async_context(Caller(host.origin)) for host in hosts]
        for number in range(LONG_INSTANCES):
            caller = callers[number % len(callers)]
            await _start(caller, "Steps", f"{group}{number}", str(LONG_STEPS).encode())
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        owners = {state[3] for state in await _states(connection, group)} - {None}
        while len(owners) < len(hosts):
            await asyncio.sleep(0.05)
            owners = {state[3] for state in await _states(connection, group)} - {None}
        hosts[0].kill()
        killed_at = time.perf_counter()
        # Whose it was: the owner whose instances no longer move.
        first = await _states(connection, group)
        await asyncio.sleep(1.0)
        later = {each[0]: each for each in await _states(connection, group)}
        held = {
            each[0]: later[each[0]][2]
            for each in first
            if each[3] is not None and all(later[o[0]][2] == o[2] for o in first if o[3] == each[3])
        }
        assert held, "the killed host held something"
        moved_at = killed_at
        while held:
            await asyncio.sleep(0.01)
            for name, _, length, _ in await _states(connection, group):
                if name in held and length > held[name]:
                    del held[name]
                    moved_at = time.perf_counter()
        while any(each[1] != "Completed" for each in await _states(connection, group)):  # noqa: ASYNC110  # another process ends them
            await asyncio.sleep(0.1)
        await _check_histories(connection, group)
    return moved_at - killed_at


async def _states(
    connection: psycopg.AsyncConnection[Any], group: str
) -> list[tuple[str, str, int, int | None]]:
    return await (await connection.execute(_STATES, (f"{group}%",))).fetchall()


async def _check_histories(connection: psycopg.AsyncConnection[Any], group: str) -> None:
    """Each instance ended once, with one completion for each of its activities."""
    rows = await connection.execute(
        "SELECT i.instance_id, string_agg(h.events, '' ORDER BY h.sequence)"
        " FROM soloist.instances AS i JOIN soloist.history AS h USING (generation)"
        " WHERE i.instance_id LIKE %s GROUP BY 1",
        (f"{group}%",),
    )
    found = await rows.fetchall()
    assert len(found) == LONG_INSTANCES, len(found)
    for name, events in found:
        assert events.count('"TaskCompleted"') == LONG_STEPS, name
        assert events.count('"ExecutionCompleted"') == 1, name


if __name__ == "__main__":
    run(measure)
