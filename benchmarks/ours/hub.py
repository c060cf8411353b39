"""Soloist through the client of a host in this process, with the app in its worker process.

Run: ``python -m benchmarks.ours.hub STORE_URL``.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

from benchmarks.hub import APP, run, run_to_end
from benchmarks.program import latencies_async, pace, rate, serve_async
from benchmarks.waiting import resident_mib
from soloist.app import Host, HostOptions, open_host
from soloist.core.events import TaskCompleted
from soloist.core.extras import Extras
from soloist.errors import InstanceExists
from soloist.telemetry import configure_logging

_PATIENCE_SECONDS = 120.0
_EVENTS_A_STEP = 3
_HOT = "hot"
_WARM_UP = 20
_TIMES = 3
_FILL = "import sys; from benchmarks.waiting import fill; fill(sys.argv[1], int(sys.argv[2]))"
_numbers = count()


class Workloads:
    """What is measured, on one host that is opened when it is first needed."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._options = HostOptions(app_dir=APP, store_url=url)
        self._open: Host | None = None

    async def alone(self, *, calls: int) -> dict[str, float]:
        """Hello sequences, one at a time."""
        host = await self._host()
        return await latencies_async(calls, lambda: run_to_end(host, "Hello", _new_id()))

    async def hello(self, *, outstanding: int, seconds: float) -> dict[str, float]:
        """Hello sequences, so many outstanding."""
        host = await self._host()
        return await rate(outstanding, seconds, lambda _: run_to_end(host, "Hello", _new_id()))

    async def fan(self, *, activities: int) -> dict[str, float]:
        """One orchestration with many activities at once."""
        host = await self._host()
        began = time.perf_counter()
        await run_to_end(host, "FanOut", _new_id(), json.dumps(activities))
        seconds = time.perf_counter() - began
        return {"per_second": activities / seconds, "seconds": seconds}

    async def wide(self, *, activities: Sequence[int]) -> dict[str, Any]:
        """Fan-outs of several sizes: what the last costs for one of the first."""
        curve = []
        for number in activities:
            taken = [(await self.fan(activities=number))["seconds"] for _ in range(_TIMES)]
            curve.append([number, statistics.median(taken)])
        return {"cost_ratio": curve[-1][1] / curve[0][1], "curve": curve}

    async def steps(self, *, steps: int, window: int, points: int = 0) -> dict[str, Any]:
        """One orchestration with many activities, one after another, by the times it recorded."""
        host = await self._host()
        record = await run_to_end(host, "Steps", _new_id(), json.dumps(steps))
        history = await host.client.history(record)
        ended = [event.at.timestamp() for event in history if isinstance(event, TaskCompleted)]
        assert len(ended) == steps
        return pace(ended, window, points)

    async def replay(self, *, events: int) -> dict[str, float]:
        """An instance with a long history on a host that has never seen it: event to end."""
        host = await self._host()
        instance_id = _new_id()
        steps = events // _EVENTS_A_STEP
        await host.client.start("StepsThenWait", instance_id, input=json.dumps(steps))
        record = await host.client.status(instance_id)
        while record.history_length < steps * _EVENTS_A_STEP:
            await asyncio.sleep(0.05)
            record = await host.client.status(instance_id)
        await self.close()
        host = await self._host()
        began = time.perf_counter()
        await host.client.raise_event(instance_id, "go", None)
        await host.client.wait(instance_id, _PATIENCE_SECONDS)
        return {"seconds": time.perf_counter() - began, "events": record.history_length}

    async def later(self, *, callers: int, seconds: float) -> dict[str, float]:
        """Durable starts of instances that begin tomorrow."""
        host = await self._host()
        tomorrow = Extras(start_at=datetime.now(UTC) + timedelta(days=1))
        return await rate(
            callers, seconds, lambda _: host.client.start("Hello", _new_id(), extras=tomorrow)
        )

    async def starts(self, *, callers: int, seconds: float) -> dict[str, float]:
        """Durable starts; the instances run beside them."""
        host = await self._host()
        return await rate(callers, seconds, lambda _: host.client.start("Hello", _new_id()))

    async def hot(self, *, callers: int, seconds: float) -> dict[str, float]:
        """Starts of one id that is taken: each is refused."""
        host = await self._host()
        await host.client.start("Wait", _HOT)

        async def once(_: int) -> None:
            try:
                await host.client.start("Wait", _HOT)
            except InstanceExists:
                return
            raise AssertionError("a second instance of one id")

        return await rate(callers, seconds, once)

    async def backlog(self, *, instances: int, calls: int, idle_seconds: float) -> dict[str, float]:
        """A hub with waiting instances: a sequence alone, memory, and what idling costs."""
        assert self._open is None, "a backlog is asked for first"
        await (await open_host(self._options)).close()
        # Elsewhere, so that the memory which filling takes is not the host's.
        filling = await asyncio.create_subprocess_exec(
            sys.executable, "-c", _FILL, self._url, str(instances)
        )
        assert await filling.wait() == 0, "the hub was not filled"
        await self._host()
        await self.alone(calls=_WARM_UP)
        figures = await self.alone(calls=calls)
        busy = time.process_time()
        await asyncio.sleep(idle_seconds)
        figures["idle_share"] = (time.process_time() - busy) / idle_seconds
        return {**figures, "memory_mib": resident_mib()}

    async def close(self) -> None:
        """Close the host if it is open."""
        if self._open is not None:
            host, self._open = self._open, None
            await host.close()

    async def _host(self) -> Host:
        if self._open is None:
            self._open = await open_host(self._options)
            await run_to_end(self._open, "Hello", _new_id())
        return self._open


def _new_id() -> str:
    return f"instance-{next(_numbers)}"


async def measure() -> None:
    """Serve the workloads."""
    configure_logging("error")
    measured = Workloads(sys.argv[1])
    try:
        await serve_async(
            {
                "alone": measured.alone,
                "hello": measured.hello,
                "fan": measured.fan,
                "wide": measured.wide,
                "steps": measured.steps,
                "curve": measured.steps,
                "replay": measured.replay,
                "later": measured.later,
                "starts": measured.starts,
                "hot": measured.hot,
                "backlog": measured.backlog,
            }
        )
    finally:
        await measured.close()


if __name__ == "__main__":
    run(measure)
