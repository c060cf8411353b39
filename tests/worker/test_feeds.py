"""An activity's result that is fed, in the worker, to the orchestrator that waits for it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from soloist_worker import worker
from soloist_worker.frames import refusal
from tests.worker.apps import InProcessHost, activity, episode, load, write_app
from tests.worker.hosting import completed, started, turn_of

APP = """
    import asyncio
    import contextvars
    import threading
    import time

    whose = contextvars.ContextVar("whose", default="nobody's")
    begun, gate = threading.Event(), threading.Event()


    @app.orchestration_trigger(context_name="context")
    def two(context):
        first = yield context.call_activity("echo", 1)
        context.set_custom_status(context.current_utc_datetime.isoformat())
        return [first, (yield context.call_activity("echo", first))]


    @app.orchestration_trigger(context_name="context")
    def historian(context):
        yield context.call_activity("echo", 1)
        yield context.call_activity("echo", len(context.histories))


    @app.orchestration_trigger(context_name="context")
    def sleeper(context):
        yield context.call_activity("echo", 1)
        time.sleep(0.05)


    @app.orchestration_trigger(context_name="context")
    def aware(context):
        whose.set("mine")
        yield context.call_activity("echo", 1)
        return whose.get()


    @app.orchestration_trigger(context_name="context")
    def blocks(context):
        begun.set()
        gate.wait()


    @app.activity_trigger(input_name="x")
    def echo(x):
        whose.set("the activity's")
        return x


    @app.activity_trigger(input_name="x")
    def echo_beside(x):
        begun.wait()
        return x


    @app.activity_trigger(input_name="x")
    def opens(x):
        gate.set()


    @app.activity_trigger(input_name="x")
    async def later(x):
        await asyncio.sleep(0)
        return x


    @app.activity_trigger(input_name="x")
    def bad(x):
        raise ValueError("bad")
"""
AT = "2030-01-01T00:00:10.000000Z"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_app(tmp_path_factory.mktemp("app"), APP)


@pytest.fixture
def host(folder: Path) -> Iterator[InProcessHost]:
    with InProcessHost() as host:
        assert host.ask(load(folder))["kind"] == "loaded"
        yield host


def feeding(name: str, text: str = "1", orchestrator: str = "two", **place: Any) -> dict[str, Any]:
    """Return a run of an activity that is the first and only task of the session of ``begin``."""
    feeds = {"execution_id": "execution-1", "position": 2, "name": orchestrator, "at": AT, **place}
    return {**activity(2, name, text), "generation": 1, "feeds": feeds}


def begin(host: InProcessHost, orchestrator: str = "two") -> None:
    """Let an orchestrator ask for its first activity."""
    (asked,) = host.ask(episode(1, orchestrator))["result"]["actions"]
    assert asked["name"] == "echo"


@pytest.mark.parametrize("name", ["echo", "later"])
def test_a_result_brings_the_turn_that_it_causes(host: InProcessHost, name: str) -> None:
    begin(host)
    answer = host.ask(feeding(name, "7"))
    assert (answer["kind"], answer["call"], answer["result"]) == ("activity_done", 2, "7")
    (asked,) = answer["turn"]["result"]["actions"]
    assert (asked["task_id"], asked["name"], asked["input"]) == (1, "echo", "7")
    last = episode(3, "two", position=4, events=turn_of(completed(1, "8"), at="2030-01-01T00:01Z"))
    (end,) = host.ask(last)["result"]["actions"]
    assert end["result"] == "[7, 8]"


def test_the_code_sees_the_time_that_has_passed_since_the_host_asked(host: InProcessHost) -> None:
    begin(host)
    turn = host.ask(feeding("echo"))["turn"]
    at = datetime.fromisoformat(turn["at"])
    assert json.loads(turn["result"]["custom_status"]) == turn["at"]
    seconds = (at - datetime.fromisoformat(AT)).total_seconds()
    assert 0 < seconds < 20


@pytest.mark.parametrize("place", [{"position": 3}, {"execution_id": "execution-0"}])
def test_a_session_that_stands_elsewhere_is_left_alone(
    host: InProcessHost, place: dict[str, Any]
) -> None:
    begin(host)
    assert "turn" not in host.ask(feeding("echo", **place))
    after = host.ask(episode(3, "two", position=2, events=turn_of(completed(0, "1"))))
    assert after["kind"] == "episode_done"


def test_a_result_for_nobody_here_is_only_a_result(host: InProcessHost) -> None:
    answer = host.ask(feeding("echo", "7", orchestrator="of another worker"))
    assert answer == {"kind": "activity_done", "call": 2, "result": "7", "failure": None}


def test_a_failure_feeds_nobody(host: InProcessHost) -> None:
    begin(host)
    answer = host.ask(feeding("bad"))
    assert answer["failure"]["message"] == "bad"
    assert "turn" not in answer


def test_an_activity_that_took_long_feeds_nobody(
    host: InProcessHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "_FEED_SECONDS", 0.0)
    begin(host)
    assert "turn" not in host.ask(feeding("echo"))


def test_code_that_reads_the_history_is_given_it_by_the_host(host: InProcessHost) -> None:
    begin(host, "historian")
    assert "turn" not in host.ask(feeding("echo", orchestrator="historian"))
    arrived = turn_of(completed(0, "1"))
    asked = episode(3, "historian", position=2, events=arrived)
    assert host.ask(asked)["kind"] == "history_missing"
    scheduled = {"type": "TaskScheduled", "at": AT, "task_id": 0, "name": "echo", "input": "1"}
    again = host.ask({**asked, "position": 3, "past": [*started(), scheduled]})
    assert again["result"]["actions"][0]["name"] == "echo"


def test_a_fed_turn_that_blocks_is_told_of(folder: Path) -> None:
    with InProcessHost() as host:
        host.ask(load(folder, slow_turn_seconds=0.01))
        begin(host, "sleeper")
        slow = host.ask(feeding("echo", orchestrator="sleeper"))
        assert (slow["kind"], slow["name"]) == ("slow_turn", "sleeper")
        assert slow["place"].endswith(" in sleeper")
        while slow["kind"] == "slow_turn":  # it is told of again while it lasts
            slow = host.next()
        assert slow["turn"]["result"]["actions"][0]["type"] == "CompleteExecution"


def test_a_turn_that_makes_an_answer_too_large_stays_behind() -> None:
    answer = {"kind": "activity_done", "call": 1, "result": "x", "failure": None}
    assert refusal({**answer, "turn": {"at": AT, "result": {}}}, 100) == {**answer, "turn": None}
    refused = refusal(answer, 100)
    assert refused is not None
    assert "larger than 100 bytes" in refused["failure"]["message"]


@pytest.mark.parametrize("name", ["echo", "later"])
def test_the_code_is_in_its_own_context_wherever_it_runs(host: InProcessHost, name: str) -> None:
    begin(host, "aware")
    (end,) = host.ask(feeding(name, orchestrator="aware"))["turn"]["result"]["actions"]
    assert end["result"] == '"mine"'


def test_a_result_waits_while_a_turn_is_under_way(host: InProcessHost) -> None:
    begin(host)
    blocked = episode(8, "blocks", generation=8)
    answers = [host.ask(blocked, feeding("echo_beside"), activity(9, "opens"))]
    answers += [host.next(), host.next()]
    calls = [each["call"] for each in answers]
    assert calls.index(8) < calls.index(2)
    assert "turn" in answers[calls.index(2)]


def test_a_worker_that_closes_waits_for_the_turn_that_another_thread_runs(folder: Path) -> None:
    with InProcessHost() as host:
        host.ask(load(folder, slow_turn_seconds=0.01))
        begin(host, "sleeper")
        assert host.ask(feeding("echo", orchestrator="sleeper"))["kind"] == "slow_turn"
        host.worker.close()
        watchdog = host.worker._watchdog
        assert watchdog is not None and watchdog.turn is None
