"""What every contestant is: a program that is asked for workloads on its standard input.

A request is a line of JSON that names a workload and its sizes; the answer is a line of figures.
The measuring is done here, inside of the program, so that asking costs nothing that is measured.
Only the standard library, because peers run it in environments of their own.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

READY = "ready"
ERROR = "error"

Figures = Mapping[str, Any]
Workload = Callable[..., Figures]
AsyncWorkload = Callable[..., Awaitable[Figures]]


def serve(workloads: Mapping[str, Workload]) -> None:
    """Answer requests until standard input ends."""
    answers = _answers()
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = workloads[request.pop("workload")](**request)
        except Exception:  # noqa: BLE001  # whoever asked is told
            answer = {ERROR: traceback.format_exc()}
        print(json.dumps(answer), file=answers, flush=True)


async def serve_async(workloads: Mapping[str, AsyncWorkload]) -> None:
    """Answer requests until standard input ends; the workloads share this loop."""
    answers = _answers()
    while line := await asyncio.to_thread(sys.stdin.readline):
        request = json.loads(line)
        try:
            answer = await workloads[request.pop("workload")](**request)
        except Exception:  # noqa: BLE001  # whoever asked is told
            answer = {ERROR: traceback.format_exc()}
        print(json.dumps(answer), file=answers, flush=True)


def _answers() -> Any:
    """Say that requests are taken; what anyone else prints goes to standard error from now on."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    print(READY, file=answers, flush=True)
    return answers


async def rate(
    callers: int, seconds: float, once: Callable[[int], Awaitable[object]]
) -> dict[str, float]:
    """Let callers repeat ``once`` for some seconds and end what they began: how many a second."""
    done = 0
    began = time.perf_counter()

    async def caller(place: int) -> None:
        nonlocal done
        while time.perf_counter() - began < seconds:
            await once(place)
            done += 1

    await asyncio.gather(*(caller(place) for place in range(callers)))
    return {"per_second": done / (time.perf_counter() - began)}


def thread_rate(callers: int, seconds: float, caller: Callable[[float], int]) -> dict[str, float]:
    """Let threads work until a deadline; each returns how often it did what is counted."""
    counts: list[int] = []
    began = time.perf_counter()
    threads = [
        threading.Thread(target=lambda: counts.append(caller(began + seconds)))
        for _ in range(callers)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    elapsed = time.perf_counter() - began
    if len(counts) != callers:
        raise RuntimeError("A caller failed; its traceback is on standard error.")
    return {"per_second": sum(counts) / elapsed}


def repeat(deadline: float, once: Callable[[], object]) -> int:
    """Do something again and again until a deadline; return how often."""
    done = 0
    while time.perf_counter() < deadline:
        once()
        done += 1
    return done


def keep_outstanding(
    deadline: float,
    outstanding: int,
    start: Callable[[], Any],
    finish: Callable[[Any], object],
) -> int:
    """Keep so many begun until a deadline, always waiting for the oldest; return how many ended."""
    begun: deque[Any] = deque()
    done = 0
    while time.perf_counter() < deadline:
        if len(begun) == outstanding:
            finish(begun.popleft())
            done += 1
        begun.append(start())
    while begun:
        finish(begun.popleft())
        done += 1
    return done


def latencies(calls: int, once: Callable[[], object]) -> dict[str, float]:
    """Do something again and again: the median and the 99th percentile of its milliseconds."""
    taken = []
    for _ in range(calls):
        began = time.perf_counter()
        once()
        taken.append((time.perf_counter() - began) * 1000)
    return percentiles(taken)


async def latencies_async(calls: int, once: Callable[[], Awaitable[object]]) -> dict[str, float]:
    """Do something again and again: the median and the 99th percentile of its milliseconds."""
    taken = []
    for _ in range(calls):
        began = time.perf_counter()
        await once()
        taken.append((time.perf_counter() - began) * 1000)
    return percentiles(taken)


def percentiles(milliseconds: Sequence[float]) -> dict[str, float]:
    """Return the median and the 99th percentile."""
    return {"p50_ms": quantile(milliseconds, 0.5), "p99_ms": quantile(milliseconds, 0.99)}


def quantile(values: Sequence[float], share: float) -> float:
    """Return the value below which ``share`` of the values lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def pace(ended: Sequence[float], window: int, points: int = 0) -> dict[str, Any]:
    """What the moments, in seconds, at which steps ended say of their cost.

    ``points`` asks for a curve as well: after how many steps how many seconds had passed.
    """
    first, last = ended[window] - ended[0], ended[-1] - ended[-1 - window]
    figures: dict[str, Any] = {
        "per_second": (len(ended) - 1) / (ended[-1] - ended[0]),
        "last_over_first": last / first,
    }
    if points:
        stride = max(1, len(ended) // points)
        figures["curve"] = [
            [place + 1, round(ended[place] - ended[0], 4)]
            for place in range(stride - 1, len(ended), stride)
        ]
    return figures
