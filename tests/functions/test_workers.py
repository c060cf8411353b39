"""The worker pool over real workers, as processes and inside this process."""

from __future__ import annotations

import asyncio
import io
from pathlib import Path

import msgspec
import pytest

from soloist.contracts.executor import HistoryNeeded
from soloist.core.actions import CompleteExecution, ScheduleTask
from soloist.core.events import OrchestratorStarted, TaskCompleted, TaskScheduled
from soloist.errors import AppLoadFailed
from soloist.functions.binding import ClientBinding
from soloist.functions.clientdesk import ClientDesk
from soloist.functions.inprocess import InProcessLink
from soloist.functions.links import Link, Receiver
from soloist.functions.processes import process_links
from soloist.functions.workers import WorkerPool
from soloist.wire import HostMessage, HttpDone, HttpFailed, Load, Refusal
from tests.functions.hosting import (
    APP,
    AT,
    AT_ONCE,
    Opener,
    activity,
    first_episode,
    http_call,
    in_process,
    is_alive,
    later_episode,
    pool_over,
    processes,
    write_app,
)

LINKS = pytest.mark.parametrize("links", [processes, in_process])
BINDING = ClientBinding("Hub", lambda: "key").text("http://localhost")


@LINKS
def test_an_activity_runs_and_its_result_comes_back(links: Opener, tmp_path: Path) -> None:
    async def run() -> None:
        app = write_app(tmp_path)
        async with pool_over(links(app), app) as pool:
            result = await pool.run_activity(activity("double", "21"))
            assert (result.result, result.failure) == ("42", None)

    asyncio.run(run())


@LINKS
def test_an_unknown_activity_is_a_failure_that_names_the_known_ones(
    links: Opener, tmp_path: Path
) -> None:
    async def run() -> None:
        app = write_app(tmp_path)
        async with pool_over(links(app), app) as pool:
            result = await pool.run_activity(activity("Triple"))
            assert result.failure is not None
            assert "'Triple' doesn't exist" in result.failure.message
            assert "'double'" in result.failure.message

    asyncio.run(run())


@LINKS
def test_an_orchestrator_is_fed_turn_by_turn(links: Opener, tmp_path: Path) -> None:
    async def run() -> None:
        app = write_app(tmp_path)
        async with pool_over(links(app), app) as pool:
            first = await pool.run_episode(first_episode())
            assert first.actions == (ScheduleTask(0, "double", "1"),)
            answered = (OrchestratorStarted(AT), TaskCompleted(AT, 0, "2"))
            second = await pool.run_episode(later_episode(1, 2, answered, past=None))
            assert second.actions == (ScheduleTask(1, "double", "2"),)
            answered = (OrchestratorStarted(AT), TaskCompleted(AT, 1, "4"))
            last = await pool.run_episode(later_episode(1, 4, answered, past=None))
            assert last.actions == (CompleteExecution("4"),)

    asyncio.run(run())


@LINKS
def test_a_forgotten_session_needs_its_history(links: Opener, tmp_path: Path) -> None:
    async def run() -> None:
        app = write_app(tmp_path)
        async with pool_over(links(app), app) as pool:
            await pool.run_episode(first_episode())
            pool.forget(1)
            answered = (OrchestratorStarted(AT), TaskCompleted(AT, 0, "2"))
            with pytest.raises(HistoryNeeded):
                await pool.run_episode(later_episode(1, 2, answered, past=None))
            past = (*first_episode().events, TaskScheduled(AT, 0, "double", "1"))
            again = await pool.run_episode(later_episode(1, 2, answered, past=past))
            assert again.actions == (ScheduleTask(1, "double", "2"),)

    asyncio.run(run())


@LINKS
def test_a_durable_client_in_user_code_is_answered_by_the_management_api(
    links: Opener, tmp_path: Path
) -> None:
    asked: list[tuple[str, str, str | None]] = []

    async def management(method: str, target: str, data: str | None) -> tuple[int, str | None]:
        asked.append((method, target, data))
        return 404, None

    async def run() -> None:
        app = write_app(tmp_path)
        async with pool_over(links(app), app) as pool:
            pool.answer_clients(management)
            done = await pool.run_http(http_call("ask", BINDING, id="missing"))
            assert isinstance(done, HttpDone)
            assert done.status == 200

    asyncio.run(run())
    assert [(method, target) for method, target, _ in asked] == [("GET", "instances/missing")]


@LINKS
def test_a_refused_start_that_escapes_names_its_instance(links: Opener, tmp_path: Path) -> None:
    async def management(method: str, target: str, data: str | None) -> tuple[int, str | None]:
        return 409, '{"Message": "exists", "ExceptionMessage": "exists"}'

    async def run() -> None:
        app = write_app(tmp_path)
        async with pool_over(links(app), app) as pool:
            pool.answer_clients(management)
            failed = await pool.run_http(http_call("start", BINDING, id="x"))
            assert isinstance(failed, HttpFailed)
            assert failed.refusal == Refusal(409, "An instance with ID 'x' already exists.")

    asyncio.run(run())


@LINKS
@pytest.mark.parametrize(("status", "told"), [(400, 400), (413, 413), (429, 503), (503, 503)])
def test_what_the_client_was_refused_is_told_where_it_escapes(
    links: Opener, status: int, told: int, tmp_path: Path
) -> None:
    async def management(method: str, target: str, data: str | None) -> tuple[int, str | None]:
        return status, '{"Message": "why not", "ExceptionMessage": "why not"}'

    async def run() -> None:
        app = write_app(tmp_path)
        async with pool_over(links(app), app) as pool:
            pool.answer_clients(management)
            failed = await pool.run_http(http_call("start", BINDING, id="x"))
            assert isinstance(failed, HttpFailed)
            assert failed.refusal == Refusal(told, "why not")

    asyncio.run(run())


@LINKS
def test_a_management_api_that_fails_is_a_500_for_the_client(
    links: Opener, tmp_path: Path, log: io.StringIO
) -> None:
    async def management(method: str, target: str, data: str | None) -> tuple[int, str | None]:
        raise ZeroDivisionError("no luck")

    async def run() -> None:
        app = write_app(tmp_path)
        async with pool_over(links(app), app) as pool:
            pool.answer_clients(management)
            failed = await pool.run_http(http_call("start", BINDING, id="x"))
            assert isinstance(failed, HttpFailed)
            assert failed.refusal is None
            assert "no luck" in failed.failure.message

    asyncio.run(run())
    assert "ZeroDivisionError: no luck" in log.getvalue()


@LINKS
def test_an_app_that_cannot_be_imported_stops_the_start_with_its_traceback(
    links: Opener, tmp_path: Path
) -> None:
    async def run() -> None:
        app = write_app(tmp_path, "import azure.functions\nraise RuntimeError('half written')\n")
        with pytest.raises(AppLoadFailed, match="half written") as caught:
            async with pool_over(links(app), app):
                pass
        assert "line 2" in caught.value.traceback

    asyncio.run(run())


def test_an_app_that_exits_while_it_is_imported_stops_the_start(tmp_path: Path) -> None:
    async def run() -> None:
        app = write_app(tmp_path, "import os\nos._exit(3)\n")
        with pytest.raises(AppLoadFailed, match="exited with code 3 as it loaded the app"):
            async with pool_over(processes(app), app):
                pass

    asyncio.run(run())


def test_an_app_that_is_never_imported_stops_the_start_within_a_bound(tmp_path: Path) -> None:
    async def run() -> None:
        app = write_app(tmp_path, "import threading\nthreading.Event().wait()\n")
        limits = msgspec.structs.replace(AT_ONCE, load_seconds=0.5)
        with pytest.raises(AppLoadFailed, match=r"within 0\.5 s"):
            async with pool_over(processes(app, ask_seconds=0.05), app, limits=limits):
                pass

    asyncio.run(run())


def test_every_worker_must_describe_the_same_functions(tmp_path: Path) -> None:
    source = """
import azure.functions as func, os
app = func.FunctionApp()
@app.function_name(f"f{os.getpid()}")
@app.route(route="x")
def f(req): return "x"
"""

    async def run() -> None:
        app = write_app(tmp_path, source)
        with pytest.raises(AppLoadFailed, match="different functions each time"):
            async with pool_over(processes(app), app, count=2):
                pass

    asyncio.run(run())


def test_an_interpreter_that_cannot_run_stops_the_start(tmp_path: Path) -> None:
    async def run() -> None:
        app = write_app(tmp_path)
        with pytest.raises(AppLoadFailed, match="cannot be started with"):
            async with pool_over(process_links(str(tmp_path / "python"), {}), app):
                pass

    asyncio.run(run())


def test_activities_go_to_the_least_busy_worker(tmp_path: Path) -> None:
    async def run() -> None:
        app = write_app(tmp_path)
        async with pool_over(processes(app), app, count=2) as pool:
            both = await asyncio.gather(
                pool.run_activity(activity("pid")), pool.run_activity(activity("pid"))
            )
            assert {int(each.result or 0) for each in both} == set(pool.pids)

    asyncio.run(run())


def test_instances_are_spread_over_workers_and_stay_where_they_are(tmp_path: Path) -> None:
    async def run() -> None:
        app = write_app(tmp_path)
        async with pool_over(processes(app), app, count=2) as pool:
            generations = (1, 2, 3, 4)
            await asyncio.gather(*(pool.run_episode(first_episode(g)) for g in generations))
            answered = (OrchestratorStarted(AT), TaskCompleted(AT, 0, "2"))
            for generation in generations:
                episode = later_episode(generation, 2, answered, past=None)
                assert (await pool.run_episode(episode)).actions

    asyncio.run(run())


def test_the_app_sees_the_environment_it_was_given(tmp_path: Path) -> None:
    async def run() -> None:
        app = write_app(tmp_path)
        async with pool_over(processes(app, {"GREETING": "hello"}), app) as pool:
            greeting = await pool.run_activity(activity("environment", '"GREETING"'))
            root = await pool.run_activity(activity("environment", '"AzureWebJobsScriptRoot"'))
            assert greeting.result == '"hello"'
            assert root.result == f'"{app}"'

    asyncio.run(run())


def test_text_that_cannot_be_sent_fails_its_own_call_only(tmp_path: Path) -> None:
    async def run() -> None:
        app = write_app(tmp_path)
        async with pool_over(processes(app), app) as pool:
            bad, good = await asyncio.gather(
                pool.run_activity(activity("double", '"\ud800"')),
                pool.run_activity(activity("double", "1")),
            )
            assert bad.failure is not None
            assert "cannot be sent" in bad.failure.message
            assert good.result == "2"

    asyncio.run(run())


def test_closing_ends_every_worker_process(tmp_path: Path) -> None:
    async def run() -> tuple[int, ...]:
        app = write_app(tmp_path)
        async with pool_over(processes(app), app, count=2) as pool:
            return pool.pids

    pids = asyncio.run(run())
    assert len(pids) == 2
    assert not any(is_alive(pid) for pid in pids)


def test_client_calls_beyond_the_bound_are_refused_at_once(tmp_path: Path) -> None:
    async def run() -> None:
        app = write_app(tmp_path)
        release = asyncio.Event()

        async def management(method: str, target: str, data: str | None) -> tuple[int, str | None]:
            await release.wait()
            return 404, None

        desk = ClientDesk(max_running=1, max_waiting=0)
        async with pool_over(processes(app), app, desk=desk) as pool:
            pool.answer_clients(management)
            calls = [
                asyncio.create_task(pool.run_http(http_call("ask", BINDING, id=str(number))))
                for number in range(2)
            ]
            done, _ = await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
            (refused,) = (task.result() for task in done)
            assert isinstance(refused, HttpFailed)
            assert "429" in refused.failure.message
            release.set()
            await asyncio.wait(calls)

    asyncio.run(run())


def test_a_binding_that_changes_while_a_worker_loads_reaches_that_worker(tmp_path: Path) -> None:
    app = write_app(
        tmp_path,
        APP
        + """
@app.activity_trigger(input_name="n")
@app.durable_client_input(client_name="client")
async def bound(n: str, client) -> str:
    return client.create_http_management_payload("one")["statusQueryGetUri"]
""",
    )
    changed = BINDING.replace("localhost", "elsewhere")

    async def run() -> None:
        class Interrupted(InProcessLink):
            def send(self, message: HostMessage) -> None:
                super().send(message)
                if isinstance(message, Load):
                    pool.rebind(changed)

        async def open_link(receiver: Receiver) -> Link:
            return Interrupted(receiver)

        pool = WorkerPool(open_link, Load(str(app), "function_app.py", 4, BINDING))
        await pool.start()
        try:
            done = await pool.run_activity(activity("bound"))
            assert done.result is not None
            assert "//elsewhere/" in done.result
        finally:
            await pool.close()

    asyncio.run(run())
