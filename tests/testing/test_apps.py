"""An app under test: what goes by the clock of the test, and what is waited for in real time."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from soloist.app import HostOptions, open_host
from soloist.errors import InstanceNotFound, SettingsError
from soloist.testing import AppUnderTest, JumpClock, app_under_test
from soloist.webapi import BASE_PATH

DAY = timedelta(days=1)
STARTERS = f"{BASE_PATH}/orchestrators"
CODE = """
import threading
from datetime import datetime, timedelta

import azure.durable_functions as df
import azure.functions as func

app = df.DFApp(http_auth_level=func.AuthLevel.ANONYMOUS)
fired = []
goes_on = threading.Event()

@app.timer_trigger(arg_name="timer", schedule="0 0 3 * * *")
@app.durable_client_input(client_name="client")
async def nightly(timer: func.TimerRequest, client) -> None:
    fired.append(timer.past_due)
    await client.start_new("Waits", f"night{len(fired)}", {"days": 2})

@app.orchestration_trigger(context_name="context")
def Waits(context):
    at = context.current_utc_datetime + timedelta(**context.get_input())
    yield context.create_timer(at)
    return context.current_utc_datetime.isoformat()

@app.orchestration_trigger(context_name="context")
def Retries(context):
    again = df.RetryOptions(3_600_000, 4)
    try:
        yield context.call_activity_with_retry("fails", again, None)
    except Exception:
        return context.current_utc_datetime.isoformat()

@app.activity_trigger(input_name="nothing")
def fails(nothing: str) -> str:
    raise OSError("never")

@app.orchestration_trigger(context_name="context")
def Blocks(context):
    return (yield context.call_activity("block", None))

@app.activity_trigger(input_name="nothing")
def block(nothing: str) -> str:
    goes_on.wait()
    return "went on"

@app.orchestration_trigger(context_name="context")
def Eternal(context):
    context.continue_as_new(None)

@app.orchestration_trigger(context_name="context")
def Calls(context):
    answer = yield context.call_http("GET", context.get_input())
    return [answer["statusCode"], context.current_utc_datetime.isoformat()]

@app.entity_trigger(context_name="context")
def Counter(context):
    context.set_state(context.get_state(lambda: 0) + 1)

@app.orchestration_trigger(context_name="context")
def Signals(context):
    entity = df.EntityId("Counter", "c")
    context.signal_entity(entity, "add")
    yield context.create_timer(context.current_utc_datetime + timedelta(hours=6))
    return (yield context.call_entity(entity, "add"))
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "function_app.py").write_text(CODE)
    (tmp_path / "host.json").write_text('{"version": "2.0"}')
    return tmp_path


async def output(app: AppUnderTest, instance_id: str) -> str | None:
    """Return what an instance came to; it must have completed."""
    record = await app.client.status(instance_id)
    assert record.status == "Completed", record
    return record.output


async def test_a_timer_trigger_fires_at_its_own_time_on_every_day_that_is_jumped_over(
    folder: Path,
) -> None:
    async with app_under_test(folder) as app:
        await app.jump(3 * DAY)
        assert sys.modules["function_app"].fired == [False, False, False]
        assert await output(app, "night1") == '"2026-01-03T03:00:00+00:00"'
        assert (await app.client.status("night2")).status == "Running"
        await app.jump(timedelta(hours=3))
        assert await output(app, "night2") == '"2026-01-04T03:00:00+00:00"'


async def test_everything_happens_at_its_own_time_however_far_a_jump_goes(folder: Path) -> None:
    async with app_under_test(folder) as app:
        for name, days in (("long", 250), ("short", 1)):
            await app.client.start("Waits", name, input=f'{{"days": {days}}}')
        await app.client.start("Retries", "retried")
        await app.jump(249 * DAY.total_seconds())
        assert await output(app, "short") == '"2026-01-02T00:00:00+00:00"'
        assert await output(app, "retried") == '"2026-01-01T03:00:00+00:00"'
        assert (await app.client.status("long")).status == "Running"
        await app.jump(DAY)
        assert await output(app, "long") == '"2026-09-08T00:00:00+00:00"'


async def test_a_jump_stops_for_nothing_but_what_the_app_does(folder: Path) -> None:
    clock = CountingClock()
    async with app_under_test(folder, clock=clock, enforces_keys=True) as app:
        await app.client.start("Waits", "one", input='{"hours": 1}')
        await app.settle()
        clock.advances = 0
        await app.jump(timedelta(hours=2))
        assert clock.advances == 2  # to the timer, and to the end
        assert await output(app, "one") == '"2026-01-01T01:00:00+00:00"'


class CountingClock(JumpClock):
    """A clock that counts how often it is moved."""

    advances = 0

    def advance(self, seconds: float) -> None:
        self.advances += 1
        super().advance(seconds)


async def test_a_wait_for_an_end_goes_by_the_clock_too(folder: Path) -> None:
    async with app_under_test(folder) as app:
        path = f"{STARTERS}/Waits/one?timeout=60"
        waiting = asyncio.create_task(app.http.post(path, json={"hours": 1}))
        await app.jump(59)
        assert not waiting.done()
        await app.jump(1)
        assert (await waiting).status_code == 202
        path = f"{STARTERS}/Waits/two?timeout=60"
        waiting = asyncio.create_task(app.http.post(path, json={"seconds": 30}))
        await app.jump(30)
        assert (await waiting).json() == "2026-01-01T00:01:30+00:00"


async def test_entities_go_by_the_clock(folder: Path) -> None:
    async with app_under_test(folder) as app:
        await app.client.start("Signals", "one")
        await app.settle()
        counter = f"{BASE_PATH}/entities/Counter/c"
        assert (await app.http.get(counter)).json() == 1
        await app.jump(timedelta(hours=6))
        assert (await app.http.get(counter)).json() == 2
        assert (await app.client.status("@counter@c")).created_at == JumpClock().now()


async def test_code_that_runs_is_waited_for_before_time_passes(folder: Path) -> None:
    async with app_under_test(folder) as app:
        await app.client.start("Blocks", "one")
        jump = asyncio.create_task(app.jump(DAY))
        await app.clock.settle()
        assert app.clock.now() == JumpClock().now()
        sys.modules["function_app"].goes_on.set()
        await jump
        assert app.clock.now() == JumpClock().now() + DAY
        assert await output(app, "one") == '"went on"'


async def test_code_that_runs_for_too_long_fails_the_test(folder: Path) -> None:
    async with app_under_test(folder, patience_seconds=0.1) as app:
        await app.client.start("Blocks", "one")
        try:
            with pytest.raises(TimeoutError, match=r"still at work after 0\.1 s"):
                await app.settle()
        finally:
            sys.modules["function_app"].goes_on.set()


async def test_so_does_an_orchestration_that_goes_on_without_a_pause(folder: Path) -> None:
    async with app_under_test(folder, patience_seconds=0.1) as app:
        await app.client.start("Eternal", "one")
        with pytest.raises(TimeoutError, match="goes on without end"):
            await app.jump(DAY)
        await app.client.terminate("one")


async def test_an_http_call_is_real_and_its_polling_goes_by_the_clock(folder: Path) -> None:
    async with app_under_test(folder) as app, slow_service() as url:
        await app.client.start("Calls", "one", input=f'"{url}"')
        await app.jump(59)
        assert (await app.client.status("one")).status == "Running"
        await app.jump(1)
        assert await output(app, "one") == '[200, "2026-01-01T00:01:00+00:00"]'


@asynccontextmanager
async def slow_service() -> AsyncIterator[str]:
    """Serve what is not done when it is first asked for, and says to come back in a minute."""
    answers = [
        b"HTTP/1.1 202 Accepted\r\nlocation: /again\r\nretry-after: 60\r\n",
        b"HTTP/1.1 200 OK\r\n",
    ]

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answers.pop(0) + b"content-length: 0\r\nconnection: close\r\n\r\n")
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"


async def test_each_app_under_test_has_a_hub_and_modules_of_its_own(folder: Path) -> None:
    for _ in range(2):
        async with app_under_test(folder) as app:
            await app.jump(DAY)
            assert sys.modules["function_app"].fired == [False]
            with pytest.raises(InstanceNotFound):
                await app.client.status("one")
            await app.client.start("Waits", "one", input='{"days": 1}')


async def test_options_are_those_of_a_host(folder: Path) -> None:
    clock = JumpClock()
    async with app_under_test(folder, clock=clock, task_hub="Other", enforces_keys=True) as app:
        assert (app.host.task_hub, app.clock) == ("Other", clock)
        answer = await app.http.get(f"{BASE_PATH}/instances")
        assert answer.status_code == httpx.codes.UNAUTHORIZED


async def test_a_hub_in_a_file_takes_a_clock(folder: Path) -> None:
    url = str(folder / "hub.db")
    options = HostOptions(app_dir=folder, store_url=url, in_process=True, clock=JumpClock())
    host = await open_host(options)
    try:
        await host.client.start("Waits", "one", input='{"days": 1}')
        assert (await host.client.status("one")).created_at == JumpClock().now()
    finally:
        await host.close()


async def test_a_hub_in_postgresql_has_a_clock_of_its_own_and_takes_none(folder: Path) -> None:
    url = "postgresql://127.0.0.1:1/hub"
    options = HostOptions(app_dir=folder, store_url=url, in_process=True, clock=JumpClock())
    with pytest.raises(SettingsError, match="goes by the database's clock"):
        await open_host(options)
