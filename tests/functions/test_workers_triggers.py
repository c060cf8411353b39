"""The worker pool runs entities and timer functions, and passes on who blocks."""

from __future__ import annotations

import asyncio
import io
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from soloist.contracts.executor import (
    EntityBatch,
    EntityOperation,
    OperationResult,
    TimerCall,
)
from soloist.core.actions import CompleteExecution
from soloist.errors import WorkerLost
from soloist.functions.binding import ClientBinding
from soloist.functions.workers import WorkerPool
from soloist.telemetry import configure_logging
from soloist.wire import Load
from tests.functions.hosting import (
    AT_ONCE,
    Opener,
    activity,
    first_episode,
    in_process,
    processes,
    write_app,
)

LINKS = pytest.mark.parametrize("links", [processes, in_process])
BINDING = ClientBinding("Hub", lambda: "key").text("http://localhost")
APP = """
import os, signal
import azure.functions as func
import azure.durable_functions as df

app = df.DFApp(http_auth_level=func.AuthLevel.ANONYMOUS)
seen = []

@app.entity_trigger(context_name="context")
def Counter(context):
    if context.operation_name == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if context.operation_name == "fail":
        raise ValueError("bad")
    context.set_state(context.get_state(lambda: 0) + context.get_input())
    context.set_result(context.get_state())

@app.timer_trigger(schedule="0 */5 * * * *", arg_name="timer", run_on_startup=True)
def every_five(timer: func.TimerRequest) -> None:
    seen.append([timer.past_due, timer.schedule_status["Next"]])

@app.schedule(schedule="0 0 3 * * *", arg_name="timer", use_monitor=False)
@app.durable_client_input(client_name="client")
async def nightly(timer: func.TimerRequest, client) -> None:
    await client.start_new("Blocks", "nightly")

@app.activity_trigger(input_name="n")
def what_was_seen(n: int):
    return seen

@app.orchestration_trigger(context_name="context")
def Blocks(context):
    with open("pipe", "w"):  # opened once somebody reads
        return "through"
"""


@asynccontextmanager
async def pool_over(links: Opener, app_dir: Path) -> AsyncIterator[WorkerPool]:
    """Run a pool over the app; leaving the block ends its worker."""
    write_app(app_dir, APP)
    load = Load(str(app_dir), "function_app.py", 4, BINDING, slow_turn_seconds=0.02)
    pool = WorkerPool(links(app_dir), load, limits=AT_ONCE)
    await pool.start()
    try:
        yield pool
    finally:
        await pool.close()


def batch(*operations: tuple[str, str | None], state: str | None = None) -> EntityBatch:
    """Return operations for a counter."""
    return EntityBatch(
        name="counter",
        key="k",
        state=state,
        operations=tuple(EntityOperation(name, text, False) for name, text in operations),
    )


def firing(function: str) -> TimerCall:
    """Return the first firing of a timer function."""
    return TimerCall(
        function=function,
        is_past_due=True,
        last_at=None,
        next_at=datetime(2030, 1, 1, 0, 5, tzinfo=UTC),
        updated_at=None,
    )


@LINKS
def test_an_entity_runs_its_operations_over_its_state(links: Opener, tmp_path: Path) -> None:
    async def run() -> None:
        async with pool_over(links, tmp_path) as pool:
            result = await pool.run_entity(batch(("add", "5"), ("fail", None), ("add", '"1"')))
            first, second, third = result.results
            assert (first, third, result.state) == (
                OperationResult("5"),
                OperationResult("6"),
                "6",
            )
            assert second.failure is not None
            assert (second.failure.error_type, second.failure.message) == ("ValueError", "bad")

    asyncio.run(run())


def test_an_entity_whose_worker_dies_may_be_run_again(tmp_path: Path) -> None:
    async def run() -> None:
        async with pool_over(processes, tmp_path) as pool:
            with pytest.raises(WorkerLost):
                await pool.run_entity(batch(("die", None)))
            result = await pool.run_entity(batch(("add", "5")))
            assert result.state == "5"

    asyncio.run(run())


@LINKS
def test_a_timer_function_is_described_and_run(links: Opener, tmp_path: Path) -> None:
    async def run() -> None:
        async with pool_over(links, tmp_path) as pool:
            found = {each.name: each for each in pool.functions}
            assert found["every_five"].schedule == "0 */5 * * * *"
            assert found["every_five"].runs_on_startup
            assert found["every_five"].is_monitored is None
            assert found["nightly"].is_monitored is False
            assert await pool.run_timer(firing("every_five")) is None
            seen = await pool.run_activity(activity("what_was_seen"))
            assert seen.result == '[[true, "2030-01-01T00:05:00+00:00"]]'
            failure = await pool.run_timer(firing("nobody"))
            assert failure is not None
            assert "no timer function 'nobody'" in failure.message

    asyncio.run(run())


@LINKS
def test_a_timer_functions_client_is_answered(links: Opener, tmp_path: Path) -> None:
    asked: list[tuple[str, str]] = []

    async def management(method: str, target: str, data: str | None) -> tuple[int, str | None]:
        asked.append((method, target))
        return 202, '{"id": "nightly"}'

    async def run() -> None:
        async with pool_over(links, tmp_path) as pool:
            pool.answer_clients(management)
            assert await pool.run_timer(firing("nightly")) is None

    asyncio.run(run())
    assert asked == [("POST", "orchestrators/Blocks/nightly")]


class _Ear(io.StringIO):
    """A log that tells when a text is written to it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.heard = asyncio.Event()
        self._text = text

    def write(self, text: str) -> int:
        if self._text in text:
            self.heard.set()
        return super().write(text)


@pytest.mark.usefixtures("log")
def test_an_orchestrator_that_blocks_is_named_in_the_log(tmp_path: Path) -> None:
    ear = _Ear("blocks its worker")
    configure_logging(stream=ear)
    os.mkfifo(tmp_path / "pipe")

    async def run() -> None:
        async with pool_over(processes, tmp_path) as pool:
            turn = asyncio.create_task(pool.run_episode(first_episode(name="Blocks")))
            await asyncio.wait_for(ear.heard.wait(), 20)
            with await asyncio.to_thread((tmp_path / "pipe").open):
                result = await turn
            assert result.actions == (CompleteExecution('"through"'),)

    asyncio.run(run())
    line = APP.splitlines().index('    with open("pipe", "w"):  # opened once somebody reads') + 1
    assert f"function_app.py:{line} in Blocks" in ear.getvalue()
    assert "orchestrator=Blocks" in ear.getvalue()
