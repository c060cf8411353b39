"""Timer functions: what the host learns of them, and what they are given."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.worker.apps import (
    BINDING,
    InProcessHost,
    ProcessHost,
    activity,
    load,
    timer,
    write_app,
)

APP = """
    import asyncio
    import threading

    seen = []


    @app.timer_trigger(schedule="0 */5 * * * *", arg_name="mytimer", run_on_startup=True)
    @app.retry(strategy="fixed_delay", max_retry_count="3", delay_interval="00:00:01")
    def every_five(mytimer: func.TimerRequest, context: func.Context) -> None:
        name = threading.current_thread().name
        seen.append(
            [
                mytimer.past_due,
                mytimer.schedule_status,
                mytimer.schedule,
                context.function_name,
                name,
            ]
        )


    @app.schedule(schedule="%CRON%", arg_name="timer", use_monitor=False)
    @app.durable_client_input(client_name="client")
    async def starter(timer, client):
        await client.start_new("hello", "nightly")


    @app.timer_trigger(schedule="0 0 * * * *", arg_name="timer")
    async def answers(timer):
        await asyncio.sleep(0)
        return 1


    @app.timer_trigger(schedule="0 0 * * * *", arg_name="timer")
    def fails(timer):
        raise LookupError("late")


    @app.activity_trigger(input_name="x")
    def what_was_seen(x):
        return seen.pop()


    @app.activity_trigger(input_name="x")
    @app.durable_client_input(client_name="client")
    async def begin(x, client):
        return await client.start_new("hello", x)


    @app.orchestration_trigger(context_name="context")
    def hello(context):
        return "hello"
"""


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InProcessHost]:
    folder = write_app(tmp_path_factory.mktemp("app"), APP)
    with InProcessHost() as host:
        loaded = host.ask(load(folder, client_binding=BINDING))
        assert loaded["kind"] == "loaded", loaded
        yield host


def test_a_schedule_is_described_as_it_was_written(tmp_path: Path) -> None:
    with ProcessHost() as host:
        loaded = host.ask(load(write_app(tmp_path, APP)))
    found = {each["name"]: each for each in loaded["functions"]}
    keys = ("trigger", "schedule", "runs_on_startup", "is_monitored", "durable_name")
    assert [found["every_five"][key] for key in keys] == [
        "timerTrigger",
        "0 */5 * * * *",
        True,
        None,
        None,
    ]
    assert [found["starter"][key] for key in keys] == ["timerTrigger", "%CRON%", False, False, None]


def test_a_timer_function_is_given_its_past_and_its_future(host: InProcessHost) -> None:
    first = host.ask(timer(1, "every_five"))
    assert first == {"kind": "timer_done", "call": 1, "failure": None}
    seen = read(host)
    assert seen[:4] == [
        False,
        {
            "Last": "0001-01-01T00:00:00",
            "Next": "2030-01-01T00:05:00+00:00",
            "LastUpdated": "0001-01-01T00:00:00",
        },
        {"AdjustForDST": True},
        "every_five",
    ]
    assert seen[4].startswith("soloist-function")
    at = "2030-01-01T00:00:00.500000Z"
    host.ask(timer(2, "every_five", is_past_due=True, last_at=at, updated_at=at))
    past_due, status, *_ = read(host)
    assert past_due is True
    assert status["Last"] == status["LastUpdated"] == "2030-01-01T00:00:00.500000+00:00"


def read(host: InProcessHost) -> Any:
    """Return what the timer function noted last."""
    return json.loads(host.ask(activity(9, "what_was_seen"))["result"])


def test_a_durable_client_works_before_any_request_came(host: InProcessHost) -> None:
    called = host.ask(timer(1, "starter"))
    assert (called["kind"], called["target"]) == ("client_call", "orchestrators/hello/nightly")
    reply = {"kind": "client_reply", "call": called["call"], "status": 202, "body": '{"id": "x"}'}
    assert host.ask(reply) == {"kind": "timer_done", "call": 1, "failure": None}
    called = host.ask(activity(2, "begin", '"by-activity"'))
    assert called["target"] == "orchestrators/hello/by-activity"
    assert host.ask({**reply, "call": called["call"]})["result"] == '"x"'


def test_a_client_without_a_binding_says_what_is_missing(tmp_path: Path) -> None:
    with InProcessHost() as host:
        host.ask(load(write_app(tmp_path, APP)))
        failure = host.ask(timer(1, "starter"))["failure"]
        assert "takes a durable client, which the host has not described" in failure["message"]


def test_a_returned_value_that_nobody_takes_is_a_failure(host: InProcessHost) -> None:
    failure = host.ask(timer(1, "answers"))["failure"]
    assert failure["error_type"] == "RuntimeError"
    assert "'answers' returned a value of type int" in failure["message"]


def test_an_exception_is_told_with_its_type_and_trace(host: InProcessHost) -> None:
    failure = host.ask(timer(1, "fails"))["failure"]
    assert (failure["error_type"], failure["message"]) == ("LookupError", "late")
    assert 'raise LookupError("late")' in failure["stack_trace"]
    assert "soloist_worker" not in failure["stack_trace"]


@pytest.mark.parametrize("name", ["nobody", "hello"])
def test_what_is_no_timer_function_is_refused(host: InProcessHost, name: str) -> None:
    failure = host.ask(timer(1, name))["failure"]
    assert failure["message"] == f"The app has no timer function '{name}'."
