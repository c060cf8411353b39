"""Workers that die: killed from outside, ended by the app, or never to come back."""

from __future__ import annotations

import asyncio
import io
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import pytest
import structlog

from soloist.contracts.executor import ActivityResult, HistoryNeeded
from soloist.core.events import OrchestratorStarted, TaskCompleted
from soloist.errors import WorkerLost
from soloist.functions.inflight import described
from soloist.functions.seats import SeatLimits
from soloist.functions.workers import WorkerPool
from soloist.wire import RunActivity, RunEntity
from tests.functions.hosting import (
    AT,
    AT_ONCE,
    activity,
    first_episode,
    http_call,
    is_alive,
    later_episode,
    pool_over,
    processes,
    write_app,
)

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals and pipes of POSIX")


async def blocked(pool: WorkerPool, folder: Path) -> asyncio.Task[object]:
    """Return an activity that runs until its worker is gone, once it is known to run."""
    pipe = folder / "pipe"
    os.mkfifo(pipe)
    call = activity("block", f'"{pipe}"')
    task: asyncio.Task[object] = asyncio.create_task(awaited(pool.run_activity, call))
    await asyncio.to_thread(lambda: pipe.open().close())
    return task


async def awaited(verb: Callable[..., Awaitable[object]], call: object) -> object:
    """Await a verb's answer, as a task wants it."""
    return await verb(call)


def test_a_killed_worker_fails_its_calls_and_is_replaced(tmp_path: Path) -> None:
    async def run() -> None:
        app = write_app(tmp_path)
        async with pool_over(processes(app), app) as pool:
            task = await blocked(pool, tmp_path)
            (pid,) = pool.pids
            os.kill(pid, signal.SIGKILL)
            with pytest.raises(WorkerLost, match="was killed by SIGKILL"):
                await task
            assert (await pool.run_activity(activity("double", "4"))).result == "8"
            assert pool.pids != (pid,)

    asyncio.run(run())


def test_a_worker_that_the_app_ends_says_its_exit_code(tmp_path: Path) -> None:
    async def run() -> None:
        app = write_app(tmp_path)
        async with pool_over(processes(app), app) as pool:
            with pytest.raises(WorkerLost, match="exited with code 9"):
                await pool.run_activity(activity("leave", "9"))

    asyncio.run(run())


def test_the_log_names_what_a_dead_worker_was_running(tmp_path: Path) -> None:
    async def run() -> None:
        app = write_app(tmp_path)
        async with pool_over(processes(app), app) as pool:
            task = await blocked(pool, tmp_path)
            with structlog.testing.capture_logs() as logs:
                with pytest.raises(WorkerLost):
                    await pool.run_activity(activity("leave", "9"))
                with pytest.raises(WorkerLost):
                    await task
                await pool.run_activity(activity("double", "4"))
        (told,) = [each for each in logs if each["event"] == "A worker is replaced"]
        assert told["was_running"] == "block (instance instance), leave (instance instance)"

    asyncio.run(run())


def test_of_many_calls_in_a_dead_worker_the_log_names_five() -> None:
    calls = [RunActivity(number, "A", None, f"i{number}", 0, 1) for number in range(7)]
    five = ", ".join(f"A (instance i{number})" for number in range(5))
    assert described(calls) == f"{five} and 2 more"
    assert described(calls[:5]) == five
    assert described([RunEntity(1, "Counter", "k", None, ())]) == "Counter (instance @Counter@k)"
    assert described([]) is None


def test_an_http_function_that_dies_is_lost_and_not_run_again(tmp_path: Path) -> None:
    async def run() -> None:
        app = write_app(tmp_path)
        async with pool_over(processes(app), app) as pool:
            with pytest.raises(WorkerLost):
                await pool.run_http(http_call("die"))

    asyncio.run(run())


def test_a_replacement_holds_no_sessions(tmp_path: Path) -> None:
    async def run() -> None:
        app = write_app(tmp_path)
        async with pool_over(processes(app), app) as pool:
            await pool.run_episode(first_episode())
            with pytest.raises(WorkerLost):
                await pool.run_activity(activity("leave", "1"))
            answered = (OrchestratorStarted(AT), TaskCompleted(AT, 0, "2"))
            with pytest.raises(HistoryNeeded):
                await pool.run_episode(later_episode(1, 2, answered, past=None))

    asyncio.run(run())


def test_only_the_calls_of_the_dead_worker_are_lost(tmp_path: Path) -> None:
    async def run() -> None:
        app = write_app(tmp_path)
        async with pool_over(processes(app), app, count=2) as pool:
            task = await blocked(pool, tmp_path)
            (idle,) = {
                int((await pool.run_activity(activity("pid"))).result or 0) for _ in range(3)
            }
            (busy,) = set(pool.pids) - {idle}
            os.kill(busy, signal.SIGKILL)
            survivor, lost = await asyncio.gather(
                pool.run_activity(activity("pid")), task, return_exceptions=True
            )
            assert isinstance(lost, WorkerLost)
            assert isinstance(survivor, ActivityResult)
            assert survivor.result == str(idle)

    asyncio.run(run())


def test_a_replacement_that_fails_to_load_is_tried_again(tmp_path: Path, log: io.StringIO) -> None:
    async def run() -> None:
        source = (write_app(tmp_path) / "function_app.py").read_text()
        async with pool_over(processes(tmp_path), tmp_path) as pool:
            # The next worker finds a broken app, and mends it for its successor.
            mend = textwrap.dedent(f"""
                import pathlib
                pathlib.Path({str(tmp_path / "function_app.py")!r}).write_text({source!r})
                raise RuntimeError("broken for now")
            """)
            (tmp_path / "function_app.py").write_text(mend)
            with pytest.raises(WorkerLost):
                await pool.run_activity(activity("leave", "1"))
            assert (await pool.run_activity(activity("double", "4"))).result == "8"

    asyncio.run(run())
    assert "broken for now" in log.getvalue()
    assert "The worker is back" in log.getvalue()


def test_a_crash_loop_is_reported_and_calls_are_lost_within_a_bound(
    tmp_path: Path, log: io.StringIO
) -> None:
    async def run() -> None:
        limits = SeatLimits(wait_seconds=1.5, first_backoff_seconds=0.0, last_backoff_seconds=0.0)
        write_app(tmp_path)
        async with pool_over(processes(tmp_path), tmp_path, limits=limits) as pool:
            (tmp_path / "function_app.py").write_text("import os\nos._exit(1)\n")
            with pytest.raises(WorkerLost):
                await pool.run_activity(activity("leave", "1"))
            with pytest.raises(WorkerLost, match=r"did not come back within 1\.5 s"):
                await pool.run_activity(activity("double"))

    asyncio.run(run())
    assert "Workers keep dying" in log.getvalue()


def test_with_every_worker_down_calls_wait_for_the_first_that_comes_back(tmp_path: Path) -> None:
    async def run() -> None:
        app = write_app(tmp_path)
        async with pool_over(processes(app), app, count=2) as pool:
            lost = await asyncio.gather(
                *(pool.run_activity(activity("leave", "1")) for _ in range(2)),
                return_exceptions=True,
            )
            assert [type(each) for each in lost] == [WorkerLost, WorkerLost]
            assert (await pool.run_activity(activity("double", "4"))).result == "8"

    asyncio.run(run())


def test_a_worker_that_ignores_every_request_to_end_is_killed(tmp_path: Path) -> None:
    source = (
        "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        + (write_app(tmp_path) / "function_app.py").read_text()
    )

    async def run() -> int:
        write_app(tmp_path, source)
        links = processes(tmp_path, ask_seconds=0.05, terminate_seconds=0.05)
        async with pool_over(links, tmp_path) as pool:
            task = await blocked(pool, tmp_path)
            (pid,) = pool.pids
            await pool.close()
            with pytest.raises(WorkerLost, match="The host is stopping"):
                await task
            return pid

    assert not is_alive(asyncio.run(run()))


def test_draining_waits_for_what_runs_and_tells_when_it_was_too_long(tmp_path: Path) -> None:
    async def run() -> None:
        app = write_app(tmp_path)
        async with pool_over(processes(app, ask_seconds=0.05), app) as pool:
            quick = asyncio.create_task(awaited(pool.run_activity, activity("double", "1")))
            await asyncio.sleep(0)
            assert await pool.drain()
            assert quick.done() or await quick
            task = await blocked(pool, tmp_path)
            assert not await pool.drain(0.05)
            await pool.close()
            await asyncio.gather(task, return_exceptions=True)

    asyncio.run(run())


def test_a_closed_pool_refuses_calls(tmp_path: Path) -> None:
    async def run() -> None:
        app = write_app(tmp_path)
        async with pool_over(processes(app), app) as pool:
            await pool.close()
            with pytest.raises(WorkerLost, match="The host is stopping"):
                await pool.run_activity(activity("double"))

    asyncio.run(run())


def test_a_worker_does_not_outlive_a_host_that_is_killed(tmp_path: Path) -> None:
    host = textwrap.dedent("""
        import asyncio, os, sys
        from pathlib import Path
        from tests.functions.hosting import pool_over, processes

        async def main(app):
            async with pool_over(processes(app), app) as pool:
                print(*pool.pids, flush=True)
                await asyncio.Event().wait()

        asyncio.run(main(Path(sys.argv[1])))
    """)
    app = write_app(tmp_path)
    root = Path(__file__).parents[2]
    with subprocess.Popen(
        [sys.executable, "-c", host, str(app)], stdout=subprocess.PIPE, cwd=root, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline().strip().isdigit()
        process.kill()
        # The worker has inherited the pipe as its own output, so that it ends with the worker.
        assert process.stdout.read() == ""


@pytest.mark.parametrize(("deaths", "seconds"), [(1, 0.1), (2, 0.2), (3, 0.4), (100, 15.0)])
def test_replacements_follow_ever_more_slowly_up_to_a_cap(deaths: int, seconds: float) -> None:
    assert SeatLimits().backoff_seconds(deaths) == pytest.approx(seconds)


def test_a_worker_that_lived_long_did_not_die_early(tmp_path: Path) -> None:
    async def run() -> None:
        limits = msgspec.structs.replace(AT_ONCE, healthy_seconds=0.0)
        app = write_app(tmp_path)
        async with pool_over(processes(app), app, limits=limits) as pool:
            for _ in range(3):
                with pytest.raises(WorkerLost):
                    await pool.run_activity(activity("leave", "1"))
            assert (await pool.run_activity(activity("double", "4"))).result == "8"

    asyncio.run(run())
