"""Suspension: what arrives meanwhile is held back, live and in the past alike."""

from __future__ import annotations

import json
from collections.abc import Generator
from datetime import timedelta
from typing import Any

import pytest

from soloist.core.actions import CompleteExecution
from soloist.core.events import (
    Arrival,
    EventRaised,
    ExecutionResumed,
    ExecutionSuspended,
    TaskCompleted,
    TimerCancelled,
    TimerFired,
)
from tests.worker.hosting import (
    Event,
    Story,
    at_second,
    completed,
    event,
    new_session,
    raised,
    started,
    turn_of,
)
from tests.worker.programs import EPOCH
from tests.worker.smallhost import SmallHost, as_read

Code = Generator[Any, Any, Any]
SUSPENDED = event("ExecutionSuspended", reason="lunch")
RESUMED = event("ExecutionResumed")


def code(context: Any) -> Code:
    first = yield context.call_activity("A")
    second = yield context.wait_for_external_event("go")
    return [first, second, str(context.current_utc_datetime)]


def test_what_arrives_while_suspended_is_seen_after_the_resumption() -> None:
    story = Story(code)
    story.turn(started())
    meanwhile = [SUSPENDED, raised("go", "2"), completed(0, "1")]
    events = [*meanwhile, *turn_of(RESUMED, at=at_second(9))]
    again = story.again(events)
    result = story.turn(events)
    assert again == result
    (end,) = result["actions"]
    assert json.loads(end["result"]) == [1, 2, "2030-01-01 00:00:09+00:00"]


def test_suspended_in_the_past_is_as_suspended_live() -> None:
    past: list[Event] = [
        *started(),
        event("TaskScheduled", task_id=0, name="A", input="null"),
        SUSPENDED,
        completed(0, "1"),
        *turn_of(RESUMED),
        raised("go", "2"),
    ]
    session = new_session(code)
    session.replay(past)
    (end,) = session.turn(turn_of())["actions"]
    assert json.loads(end["result"])[:2] == [1, 2]


def test_a_past_that_ends_suspended_goes_on_live() -> None:
    flags: list[bool] = []

    def watching(context: Any) -> Code:
        yield context.call_activity("A")
        flags.append(context.is_replaying)

    story = Story(watching)
    story.turn(started())
    story.history += [SUSPENDED, completed(0)]
    (end,) = story.again(turn_of(RESUMED))["actions"]
    assert end["type"] == "CompleteExecution"
    assert flags == [False], "the code sees it for the first time"


def test_events_before_the_suspension_of_the_same_turn_are_seen() -> None:
    story = Story(code)
    story.turn(started())
    result = story.turn(turn_of(completed(0), SUSPENDED, raised("go")))
    assert result["actions"] == []
    (end,) = story.turn(turn_of(RESUMED))["actions"]
    assert end["type"] == "CompleteExecution"


def test_code_that_has_continued_as_new_carries_what_came_while_suspended() -> None:
    def continuing(context: Any) -> Code:
        yield context.call_activity("A")
        context.continue_as_new(1)

    story = Story(continuing)
    story.turn(started())
    (end,) = story.turn(turn_of(completed(0), SUSPENDED, raised("go", "2")))["actions"]
    assert end["carried"] == [{"name": "go", "input": "2"}]


def test_a_rewind_is_nothing_to_the_code() -> None:
    story = Story(code)
    story.turn(started())
    assert story.turn(turn_of(event("ExecutionRewound")))["actions"] == []


GO = EventRaised(EPOCH, "go")
FIRED = TimerFired(EPOCH, 0, EPOCH)
SUSPEND = ExecutionSuspended(EPOCH)
RESUME = ExecutionResumed(EPOCH)


def racing(context: Any) -> Code:
    timer = context.create_timer(context.current_utc_datetime + timedelta(seconds=5))
    yield context.task_any([context.wait_for_external_event("go"), timer])
    timer.cancel()
    seen = timer.is_completed
    yield context.call_activity("A")
    return [seen, timer.is_completed, timer.is_cancelled]


@pytest.mark.parametrize(
    "batches",
    [
        [[GO, FIRED]],
        [[GO, SUSPEND, FIRED], [RESUME]],
        [[GO, SUSPEND, FIRED, RESUME]],
        [[SUSPEND, GO, FIRED], [RESUME]],
        [[SUSPEND], [GO], [FIRED], [RESUME]],
        [[SUSPEND, GO], [FIRED, RESUME, SUSPEND], [RESUME]],
    ],
)
def test_a_timer_that_fires_in_the_turn_of_its_cancellation_has_fired_suspended_or_not(
    batches: list[list[Arrival]],
) -> None:
    host = SmallHost(lambda: new_session(racing))
    last: list[Arrival] = [TaskCompleted(EPOCH, 1)]
    for arrivals in [host.start(None, EPOCH), *batches, last]:
        host.turn(arrivals, EPOCH)
    assert host.end == CompleteExecution("[false, true, true]")
    assert not any(isinstance(each, TimerCancelled) for each in host.history)


def test_a_timer_that_was_cancelled_in_an_earlier_turn_does_not_fire_on_resumption() -> None:
    host = SmallHost(lambda: new_session(racing))
    batches: list[list[Arrival]] = [[GO, SUSPEND], [FIRED], [RESUME], [TaskCompleted(EPOCH, 1)]]
    for arrivals in [host.start(None, EPOCH), *batches]:
        host.turn(list(arrivals), EPOCH)
    assert host.end == CompleteExecution("[false, false, true]")
    assert not any(isinstance(each, TimerFired) for each in host.history)


@pytest.mark.parametrize("batch", [[GO, FIRED], [GO, SUSPEND, FIRED]])
def test_code_that_ended_as_its_cancelled_timer_fired_ends_alike_on_another_host(
    batch: list[Arrival],
) -> None:
    def leaving(context: Any) -> Code:
        timer = context.create_timer(context.current_utc_datetime + timedelta(seconds=5))
        slow = context.call_activity("A")
        yield context.task_any([context.wait_for_external_event("go"), timer, slow])
        timer.cancel()
        return "done"

    host = SmallHost(lambda: new_session(leaving))
    host.turn(host.start(None, EPOCH), EPOCH)
    host.turn(batch, EPOCH)
    assert not host.conclusion.is_over, "the activity is still open"
    session = new_session(leaving)
    session.replay(as_read(host.history))
    (end,) = session.turn([])["actions"]
    assert end == {"type": "CompleteExecution", "result": '"done"', "failure": None}
