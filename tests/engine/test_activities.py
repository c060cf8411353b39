"""The activity pool: who is run at once, who waits, and that nobody is left in line."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from soloist.contracts.executor import ActivityCall, ActivityResult, FedTurn, Feed
from soloist.core.events import TaskCompleted, TaskFailed
from soloist.core.failures import FailureDetails
from soloist.engine.activities import ActivityPool
from soloist.errors import WorkerLost
from soloist.testing import JumpClock
from tests.engine.scripts import ScriptExecutor

WIDTH = 2


class Echo(ScriptExecutor):
    """Answers with the input once its gate is open; notes what began."""

    def __init__(self) -> None:
        super().__init__({})
        self.clock = JumpClock()
        self.gate = asyncio.Event()
        self.begun: list[int] = []

    async def run_activity(self, call: ActivityCall) -> ActivityResult:
        """Run an activity."""
        self.begun.append(call.task_id)
        await self.gate.wait()
        return ActivityResult(call.input)


class Caller:
    """Notes what arrives, and then does as it is told."""

    def __init__(self, then: Callable[[], object] = lambda: None) -> None:
        self.is_closed = False
        self.arrived = asyncio.Event()
        self._then = then

    def feed(self, task_id: int) -> Feed | None:
        """Feed nothing."""
        return None

    def arrive(self, completion: TaskCompleted | TaskFailed, turn: FedTurn | None) -> None:
        """Take a completion."""
        self.arrived.set()
        self._then()


@asynccontextmanager
async def opened(echo: Echo) -> AsyncIterator[ActivityPool]:
    """A pool over it."""
    pool = ActivityPool(
        echo, echo.clock, concurrency=WIDTH, max_worker_losses=3, max_payload_bytes=100
    )
    try:
        yield pool
    finally:
        await pool.close()


def call(number: int) -> ActivityCall:
    return ActivityCall(
        generation=1, instance_id="x", task_id=number, name="Echo", input=f'"{number}"'
    )


async def test_so_many_run_at_once_and_the_others_follow_in_their_order() -> None:
    echo = Echo()
    async with opened(echo) as pool:
        callers = [Caller() for _ in range(5)]
        for number, caller in enumerate(callers):
            pool.submit(caller, call(number))
        await echo.clock.settle()
        assert (echo.begun, pool.running, pool.waiting) == ([0, 1], WIDTH, 3)
        echo.gate.set()
        await asyncio.gather(*[caller.arrived.wait() for caller in callers])
        await echo.clock.settle()
        assert (echo.begun, pool.running, pool.waiting) == ([0, 1, 2, 3, 4], 0, 0)


async def test_what_is_submitted_as_the_last_ones_end_is_run() -> None:
    echo = Echo()
    async with opened(echo) as pool:
        last = [Caller() for _ in range(WIDTH)]
        soon = asyncio.get_running_loop().call_soon
        for number in range(WIDTH):
            # The first to be served serves the second as well, for the gate is open; when the loop
            # comes to this, it has ended, and only the loop knows.
            following = (pool.submit, last[number], call(WIDTH + number))
            pool.submit(Caller(lambda following=following: soon(*following)), call(number))  # type: ignore[misc]
        echo.gate.set()
        async with asyncio.timeout(5):
            await asyncio.gather(*[caller.arrived.wait() for caller in last])
        assert len(echo.begun) == 2 * WIDTH


async def test_what_nobody_waits_for_any_more_is_not_begun() -> None:
    echo = Echo()
    async with opened(echo) as pool:
        first, gone, third = Caller(), Caller(), Caller()
        pool.submit(first, call(0))
        pool.submit(Caller(), call(1))
        pool.submit(gone, call(2))
        pool.submit(third, call(3))
        await echo.clock.settle()
        gone.is_closed = True
        echo.gate.set()
        await third.arrived.wait()
        assert echo.begun == [0, 1, 3]


async def test_closing_ends_what_runs_and_begins_nothing() -> None:
    echo = Echo()
    async with opened(echo) as pool:
        for number in range(WIDTH + 1):
            pool.submit(Caller(), call(number))
        await echo.clock.settle()
        await pool.close()
        echo.gate.set()
        await echo.clock.settle()
        assert (echo.begun, pool.running, pool.waiting) == ([0, 1], 0, 0)


async def test_an_activity_that_fails_is_told_in_the_log(
    capsys: pytest.CaptureFixture[str],
) -> None:
    echo, caller = Echo(), Caller()
    failure = FailureDetails("no such city", "ValueError", "File app.py, line 7")

    async def fail(call: ActivityCall) -> ActivityResult:
        return ActivityResult(failure=failure)

    echo.run_activity = fail  # type: ignore[method-assign]  # it fails
    async with opened(echo) as pool:
        pool.submit(caller, call(0))
        await caller.arrived.wait()
    told = capsys.readouterr().out
    assert all(each in told for each in ("an activity failed", "no such city", "line 7")), told


async def test_what_dies_while_nobody_waits_for_it_is_not_said_to_be_tried_again(
    capsys: pytest.CaptureFixture[str],
) -> None:
    echo, caller = Echo(), Caller()

    async def die(call: ActivityCall) -> ActivityResult:
        await echo.gate.wait()
        raise WorkerLost("It died.")

    echo.run_activity = die  # type: ignore[method-assign]  # its worker dies
    async with opened(echo) as pool:
        pool.submit(caller, call(0))
        await echo.clock.settle()
        caller.is_closed = True
        echo.gate.set()
        await echo.clock.settle()
        assert (pool.running, pool.waiting) == (0, 0)
    assert "tried again" not in capsys.readouterr().out
