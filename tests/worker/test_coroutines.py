"""Orchestrators declared ``async def``: they await where others yield."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from azure.durable_functions import RetryOptions

from tests.worker.hosting import (
    Story,
    completed,
    failed,
    fired,
    new_session,
    raised,
    started,
    turn_of,
)


def message_of(code: Callable[[Any], Any]) -> str:
    """Return the message with which the first turn of some code fails."""
    (end,) = Story(code).turn(started())["actions"]
    text: str = end["failure"]["message"]
    return text


EPOCH = datetime(2030, 1, 1, tzinfo=UTC)


async def double(context: Any, number: int) -> int:
    result: int = await context.call_activity("Double", number)
    return result


async def chain(context: Any) -> Any:
    first = await double(context, 1)
    both = await context.task_all([context.call_activity("B"), context.create_timer(EPOCH)])
    try:
        await context.call_activity_with_retry("C", RetryOptions(1, 1))
    except Exception as error:
        return [first, both, str(error).partition(" \n ")[0]]


def test_tasks_of_every_kind_can_be_awaited() -> None:
    story = Story(chain)
    story.turn(started())
    for events in (
        turn_of(completed(0, "2")),
        turn_of(completed(1, '"b"'), fired(2)),
        turn_of(failed(3)),
    ):
        again = story.again(events)
        result = story.turn(events)
        assert again == result
    output = json.loads(result["actions"][-1]["result"])
    assert output == [2, ["b", None], "Activity function 'C' failed:  ValueError: bad"]


def test_the_same_task_can_be_awaited_twice() -> None:
    async def code(context: Any) -> Any:
        task = context.wait_for_external_event("go")
        return [await task, await task]

    story = Story(code)
    story.turn(started())
    (end,) = story.turn(turn_of(raised("go", "1")))["actions"]
    assert json.loads(end["result"]) == [1, 1]


def test_an_exception_that_escapes_is_traced_to_the_line_that_awaited() -> None:
    story = Story(chain)
    story.turn(started())
    (end,) = story.turn(turn_of(failed(0)))["actions"]
    trace = end["failure"]["stack_trace"]
    assert 'await context.call_activity("Double", number)' in trace
    assert "soloist_worker" not in trace


def test_a_coroutine_that_awaits_nothing_returns_at_once() -> None:
    async def code(context: Any) -> int:
        return 5

    (end,) = Story(code).turn(started())["actions"]
    assert end["result"] == "5"


def test_awaiting_what_is_no_task_names_its_type_and_place() -> None:
    async def code(context: Any) -> None:
        await asyncio.sleep(0)

    text = message_of(code)
    assert "'orchestrate' awaited a value of type NoneType at test_coroutines.py:" in text
    assert text.endswith("in code; only tasks made by its context can be awaited.")


def test_awaiting_a_future_names_its_type_and_place() -> None:
    loop = asyncio.new_event_loop()

    async def code(context: Any) -> None:
        await loop.create_future()

    text = message_of(code)
    loop.close()
    assert "awaited a value of type Future at test_coroutines.py:" in text


def test_what_needs_an_event_loop_is_refused_with_its_place() -> None:
    async def code(context: Any) -> None:
        await asyncio.sleep(1)

    text = message_of(code)
    assert "'orchestrate' used asyncio at test_coroutines.py:" in text
    assert "no running event loop" in text


def test_an_async_generator_is_refused_by_name() -> None:
    async def code(context: Any) -> AsyncGenerator[Any, None]:
        yield context.call_activity("A")

    text = message_of(code)
    assert text.startswith("The orchestrator function 'orchestrate' is declared 'async def' and")


@pytest.mark.parametrize("extra", [False, True])
def test_a_deviation_names_the_line_that_awaits(extra: bool) -> None:
    history = Story(chain)
    history.turn(started())

    async def other(context: Any) -> None:
        if extra:
            await context.wait_for_external_event("go")
        await double(context, 1) if extra else await context.call_activity("Other")

    session = new_session(other)
    session.replay(history.history)
    (end,) = session.turn(turn_of(completed(0)))["actions"]
    text = end["failure"]["message"]
    assert text.startswith("Non-Deterministic workflow detected: the history records activity")
    assert "at test_coroutines.py:" in text
    assert text.endswith("in other.")


def test_a_deviation_inside_an_awaited_coroutine_names_the_line_there() -> None:
    async def first(context: Any) -> None:
        await context.call_activity("Old")

    async def other(context: Any) -> None:
        await double(context, 1)

    history = Story(first)
    history.turn(started())
    session = new_session(other)
    session.replay(history.history)
    (end,) = session.turn(turn_of(completed(0)))["actions"]
    assert end["failure"]["message"].endswith("in double.")
