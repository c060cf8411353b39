"""Retries: attempts and pauses with ids of their own, and the last failure at once."""

from __future__ import annotations

import json
from collections.abc import Generator
from typing import Any

import pytest
from azure.durable_functions import RetryOptions

from tests.worker.hosting import Story, at_second, completed, event, failed, fired, started, turn_of

Code = Generator[Any, Any, Any]


def retrying(context: Any) -> Code:
    try:
        result = yield context.call_activity_with_retry("A", RetryOptions(1500, 3), 7)
    except Exception as error:
        result = str(error).partition(" \n ")[0]
    yield context.call_activity("After")
    return result


def actions_of(story: Story, *arrivals: Any, at: str = at_second(0)) -> list[dict[str, Any]]:
    """Take a turn, and see that a new session would have said the same."""
    events = turn_of(*arrivals, at=at)
    again = story.again(events)
    result = story.turn(events)
    assert again == result
    actions: list[dict[str, Any]] = result["actions"]
    return actions


def test_a_failed_attempt_is_followed_by_a_pause_and_another_attempt() -> None:
    story = Story(retrying)
    first = story.turn(started())["actions"]
    call = {"type": "ScheduleTask", "name": "A", "input": "7"}
    assert first == [{**call, "task_id": 0}]
    pause = actions_of(story, failed(0), at=at_second(10))
    assert pause == [
        {"type": "CreateTimer", "task_id": 1, "fire_at": "2030-01-01T00:00:11.500000+00:00"}
    ]
    assert actions_of(story, fired(1)) == [{**call, "task_id": 2}]
    (after,) = actions_of(story, completed(2, '"ok"'))
    assert (after["name"], after["task_id"]) == ("After", 3)
    (end,) = actions_of(story, completed(3))
    assert json.loads(end["result"]) == "ok"


def test_the_last_failure_is_raised_at_once() -> None:
    story = Story(retrying)
    story.turn(started())
    for attempt in (0, 2):
        actions_of(story, failed(attempt, f"bad {attempt}"))
        actions_of(story, fired(attempt + 1))
    (after,) = actions_of(story, failed(4, "the last"))
    assert (after["name"], after["task_id"]) == ("After", 5)
    (end,) = actions_of(story, completed(5))
    assert json.loads(end["result"]) == "Activity function 'A' failed:  ValueError: the last"


def test_a_single_attempt_makes_no_pause() -> None:
    def code(context: Any) -> Code:
        yield context.call_activity_with_retry("A", RetryOptions(1, 1))

    story = Story(code)
    story.turn(started())
    (end,) = actions_of(story, failed(0, "bad"))
    assert end["failure"]["message"].startswith("Activity function 'A' failed:  ValueError: bad")


def test_a_sub_orchestration_is_retried_with_the_id_that_was_asked_for() -> None:
    def code(context: Any) -> Code:
        options = RetryOptions(1000, 2)
        return (yield context.call_sub_orchestrator_with_retry("S", options, 1, "c-1", "2.0"))

    story = Story(code)
    (first,) = story.turn(started())["actions"]
    failure = {"message": "bad", "error_type": "ValueError"}
    actions_of(story, event("SubOrchestrationInstanceFailed", task_id=0, failure=failure))
    assert actions_of(story, fired(1)) == [{**first, "task_id": 2}]
    assert (first["instance_id"], first["version"]) == ("c-1", "2.0")


def test_several_retries_run_side_by_side() -> None:
    def code(context: Any) -> Code:
        options = RetryOptions(1000, 2)
        calls = [context.call_activity_with_retry(name, options) for name in "AB"]
        return (yield context.task_all(calls))

    story = Story(code)
    story.turn(started())
    pauses = actions_of(story, failed(1), failed(0))
    assert [each["task_id"] for each in pauses] == [2, 3]
    attempts = actions_of(story, fired(3), fired(2))
    assert [(each["name"], each["task_id"]) for each in attempts] == [("A", 4), ("B", 5)]
    (end,) = actions_of(story, completed(5, '"b"'), completed(4, '"a"'))
    assert json.loads(end["result"]) == ["a", "b"]


def test_a_retry_that_lost_a_race_goes_on_until_the_code_ends() -> None:
    def code(context: Any) -> Code:
        slow = context.call_activity_with_retry("Slow", RetryOptions(1000, 5))
        yield context.task_any([slow, context.call_activity("Fast")])
        yield context.call_activity("Last")

    story = Story(code)
    story.turn(started())
    actions_of(story, completed(1))
    (pause,) = actions_of(story, failed(0))
    assert pause["type"] == "CreateTimer"
    actions_of(story, completed(2))
    (end,) = actions_of(story, fired(3))
    assert end["type"] == "CompleteExecution"


def test_a_task_that_is_retried_is_one_task_to_the_code() -> None:
    def code(context: Any) -> Code:
        task = context.call_activity_with_retry("A", RetryOptions(1000, 2))
        winner = yield context.task_any([task])
        return [winner is task, task.state.name, task.is_completed, task.result]

    story = Story(code)
    story.turn(started())
    actions_of(story, failed(0))
    actions_of(story, fired(1))
    (end,) = actions_of(story, completed(2, "5"))
    assert json.loads(end["result"]) == [True, "SUCCEEDED", True, 5]


@pytest.mark.parametrize("options", [None, 5, {"max": 1}])
def test_other_things_than_retry_options_are_refused(options: Any) -> None:
    def code(context: Any) -> Code:
        yield context.call_activity_with_retry("A", options)

    (end,) = Story(code).turn(started())["actions"]
    assert end["failure"]["message"].startswith("retry_options must be a RetryOptions, not a ")
