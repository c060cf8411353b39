"""One orchestration of many sequential activities: the cost of a step must not grow.

Times are those that the history itself recorded. Run: ``python3 tasks.py bench steps``.
"""

from __future__ import annotations

import os
import statistics
import subprocess

from benchmarks.hub import measured_host, run, run_to_end, show
from soloist.app import Host
from soloist.core.events import TaskCompleted

REPETITIONS = 3
STEPS = 5_000
WINDOW = 500


async def measure() -> None:
    """Measure and print."""
    rates, ratios = [], []
    async with measured_host() as host:
        await run_to_end(host, "Steps", "warm", "200")
        before = _memory_mib(host)
        for number in range(REPETITIONS):
            first, last, rate = await _one(host, f"steps-{number}")
            rates.append(rate)
            ratios.append(last / first)
        after = _memory_mib(host)
    show(f"sequential activities ({STEPS} in one instance)", rates, "steps/s")
    show(f"time of the last {WINDOW} / first {WINDOW} steps", ratios, "x")
    print(f"host memory before and after, MiB           {before[0]:.0f} -> {after[0]:.0f}")
    print(f"worker memory before and after, MiB         {before[1]:.0f} -> {after[1]:.0f}")
    print(f"median ratio {statistics.median(ratios):.2f}; at most 1.20 is asked for")


async def _one(host: Host, instance_id: str) -> tuple[float, float, float]:
    record = await run_to_end(host, "Steps", instance_id, str(STEPS))
    history = await host.client.history(record)
    ended = [event.at for event in history if isinstance(event, TaskCompleted)]
    assert len(ended) == STEPS
    first = (ended[WINDOW] - ended[0]).total_seconds()
    last = (ended[-1] - ended[-1 - WINDOW]).total_seconds()
    return first, last, STEPS / (ended[-1] - ended[0]).total_seconds()


def _memory_mib(host: Host) -> tuple[float, float]:
    pids = [os.getpid(), *host.workers.pids]
    sizes = [_resident_mib(pid) for pid in pids]
    return sizes[0], sum(sizes[1:])


def _resident_mib(pid: int) -> float:
    answer = subprocess.run(
        ["ps", "-o", "rss=", "-p", str(pid)], capture_output=True, text=True, check=True
    )
    return int(answer.stdout) / 1024


if __name__ == "__main__":
    run(measure)
