"""Activities that feed their orchestrator, over real workers: where they go, and what they save."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import pytest

from soloist.app import Host, HostOptions, open_host
from soloist.app.mixed import AppBounds, MixedExecutor
from soloist.contracts.clock import SystemClock
from soloist.contracts.executor import ActivityCall, ActivityResult, Feed
from soloist.core.actions import ScheduleTask
from soloist.core.events import OrchestratorStarted, TaskCompleted
from soloist.core.status import RuntimeStatus
from soloist.functions import workers
from soloist.functions.catalogue import Catalogue
from soloist.functions.durable_http import DurableHttp
from soloist.functions.executor import AppExecutor
from soloist.functions.inflight import Question
from soloist.functions.seats import Seat
from soloist.functions.workers import WorkerPool
from soloist.rpc.board import Board
from soloist.rpc.executor import RpcExecutor
from soloist.wire import RunActivity, RunEpisode
from tests.functions.hosting import (
    AT,
    Opener,
    activity,
    first_episode,
    in_process,
    pool_over,
    processes,
    write_app,
)

LINKS = pytest.mark.parametrize("links", [processes, in_process])
STEPS = 20
SEQUENCE = """
import azure.durable_functions as df

app = df.DFApp()

@app.orchestration_trigger(context_name="context")
def Sequence(context):
    total = 0
    for number in range(context.get_input()):
        total += yield context.call_activity("double", number)
    return total

@app.activity_trigger(input_name="n")
def double(n: int) -> int:
    return n * 2
"""


def feeding(name: str, text: str = "21", generation: int = 1) -> ActivityCall:
    """Return the call of the activity for which a session of ``first_episode`` waits."""
    feeds = Feed("Twice", f"e{generation}", 2, AT)
    return msgspec.structs.replace(activity(name, text, generation), feeds=feeds)


@LINKS
def test_a_result_comes_back_with_the_turn_that_it_caused(links: Opener, tmp_path: Path) -> None:
    async def run() -> None:
        app = write_app(tmp_path)
        async with pool_over(links(app), app) as pool:
            await pool.run_episode(first_episode())
            answer = await pool.run_activity(feeding("double"))
            assert (answer.result, answer.failure) == ("42", None)
            assert answer.turn is not None
            assert answer.turn.at > AT
            (asked,) = answer.turn.result.actions
            assert isinstance(asked, ScheduleTask)
            assert (asked.task_id, asked.input) == (1, "42")

    asyncio.run(run())


def test_an_activity_that_feeds_goes_to_the_worker_that_holds_the_session(tmp_path: Path) -> None:
    async def run() -> None:
        app = write_app(tmp_path)
        async with pool_over(processes(app), app, count=2) as pool:
            for generation in (1, 2, 3, 4):
                await pool.run_episode(first_episode(generation))
                answer = await pool.run_activity(feeding("pid", "1", generation))
                assert answer.result == str(pool.pids[generation % 2])
                assert answer.turn is not None

    asyncio.run(run())


def test_an_activity_rather_goes_elsewhere_than_wait_long_for_its_session(tmp_path: Path) -> None:
    async def run() -> None:
        app = write_app(tmp_path)
        async with pool_over(processes(app), app, count=2) as pool:
            await pool.run_episode(first_episode(1))
            # One more than may be waited for: they end one by one only after the question is put.
            busy = [_ask(pool, 1) for _ in range(workers._MORE_CALLS + 1)]
            answer = await pool.run_activity(feeding("pid", "1", 1))
            assert answer.result == str(pool.pids[0])
            assert answer.turn is None
            await asyncio.gather(*busy)

    asyncio.run(run())


def _ask(pool: WorkerPool, index: int) -> asyncio.Future[object]:
    """Put a question to one certain worker."""
    seat = pool._seats[index]
    question = RunActivity(seat.next_call(), "double", "1", "other", 0, 9)
    return asyncio.ensure_future(seat.ask(question))


@pytest.mark.parametrize(("timeout_seconds", "is_fed"), [(None, True), (600, True), (5, False)])
def test_with_little_time_for_it_an_activity_does_not_wait_for_a_turn(
    tmp_path: Path, timeout_seconds: float | None, is_fed: bool
) -> None:
    async def run() -> ActivityResult:
        app = write_app(tmp_path)
        http = DurableHttp(SystemClock(), default_sleep_seconds=1, max_payload_bytes=1000)
        async with pool_over(in_process(app), app) as pool:
            executor = AppExecutor(pool, http, timeout_seconds=timeout_seconds)
            await executor.run_episode(first_episode())
            answer = await executor.run_activity(feeding("double"))
        await http.close()
        return answer

    answer = asyncio.run(run())
    assert answer.result == "42"
    assert (answer.turn is not None) is is_fed


def test_an_activity_that_waited_for_its_turn_beside_other_workers_feeds_nobody(
    tmp_path: Path,
) -> None:
    async def run() -> None:
        app = write_app(tmp_path)
        http = DurableHttp(SystemClock(), default_sleep_seconds=1, max_payload_bytes=1000)
        bounds = AppBounds(episodes=1, activities=1, entities=1)
        async with pool_over(in_process(app), app) as pool:
            executor = MixedExecutor(
                AppExecutor(pool, http, timeout_seconds=None),
                RpcExecutor(Board()),
                Catalogue(pool.functions, {}),
                bounds,
            )
            await executor.run_episode(first_episode())
            async with bounds.activities:
                late = asyncio.create_task(executor.run_activity(feeding("double")))
                await asyncio.sleep(0)
            assert (await late).turn is None
            assert (await executor.run_activity(feeding("double"))).turn is not None
        await http.close()

    asyncio.run(run())


@pytest.mark.parametrize("in_process", [False, True])
def test_a_sequence_of_activities_takes_one_question_a_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_process: bool
) -> None:
    questions: list[Question] = []
    ask = Seat.ask

    def counted(seat: Seat, question: Question) -> object:
        questions.append(question)
        return ask(seat, question)

    async def run_sequence(host: Host) -> None:
        await host.client.start("Sequence", "one", input=str(STEPS))
        record = await host.client.wait("one", 60)
        assert record.status is RuntimeStatus.COMPLETED
        assert record.output == str(sum(2 * number for number in range(STEPS)))
        history = await host.client.history(record)
        assert sum(isinstance(event, TaskCompleted) for event in history) == STEPS
        began = [event.at for event in history if isinstance(event, OrchestratorStarted)]
        assert began == sorted(began)

    async def run() -> None:
        app = write_app(tmp_path, SEQUENCE)
        options = HostOptions(app_dir=app, store_url="memory:", in_process=in_process)
        host = await open_host(options)
        try:
            await run_sequence(host)
        finally:
            await host.close()

    monkeypatch.setattr(Seat, "ask", counted)
    monkeypatch.setattr("soloist_worker.worker._FEED_SECONDS", 60.0)
    asyncio.run(run())
    assert sum(isinstance(each, RunActivity) for each in questions) == STEPS
    episodes = sum(isinstance(each, RunEpisode) for each in questions)
    # On a busy machine an activity may seem to take long, in a process where that is not mended.
    assert episodes == 1 if in_process else 1 <= episodes <= STEPS // 2
