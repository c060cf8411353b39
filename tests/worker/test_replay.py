"""Sessions: what the code asks for, what it gets, and what happens when it changes its mind."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from azure.durable_functions import EntityId

from tests.worker.hosting import (
    Event,
    Story,
    at_second,
    completed,
    failed,
    fired,
    new_session,
    raised,
    recorded,
    started,
    turn_of,
)

Code = Generator[Any, Any, Any]
PREFIX = "Non-Deterministic workflow detected: "


def the_end(result: dict[str, Any]) -> dict[str, Any]:
    """Return the last action, which ends the execution."""
    end: dict[str, Any] = result["actions"][-1]
    assert "task_id" not in end
    return end


def failure_of(result: dict[str, Any]) -> str:
    """Return the message with which the execution failed."""
    message: str = the_end(result)["failure"]["message"]
    return message


def output_of(result: dict[str, Any]) -> Any:
    """Return the execution's output, decoded."""
    end = the_end(result)
    assert end["failure"] is None
    return json.loads(end["result"])


def fan_out(context: Any) -> Code:
    first = yield context.call_activity("A", 1)
    rest = yield context.task_all([context.call_activity("B", first) for _ in range(2)])
    return rest


def test_ids_rise_in_the_order_in_which_tasks_are_first_yielded() -> None:
    story = Story(fan_out)
    story.turn(started())
    result = story.turn(turn_of(completed(0, "7")))
    assert result["actions"] == [
        {"type": "ScheduleTask", "task_id": 1, "name": "B", "input": "7"},
        {"type": "ScheduleTask", "task_id": 2, "name": "B", "input": "7"},
    ]
    assert output_of(story.turn(turn_of(completed(2, '"y"'), completed(1, '"x"')))) == ["x", "y"]


def test_a_task_that_is_never_yielded_is_never_asked_for() -> None:
    def code(context: Any) -> Code:
        context.call_activity("A")
        yield context.call_activity("B")

    result = Story(code).turn(started())
    assert [each["name"] for each in result["actions"]] == ["B"]


def test_a_child_yielded_on_its_own_before_its_compound_is_asked_for_once() -> None:
    def code(context: Any) -> Code:
        one, two = context.call_activity("A"), context.call_activity("B")
        both = context.task_all([one, two])
        yield one
        return (yield both)

    story = Story(code)
    story.turn(started())
    result = story.turn(turn_of(completed(0, "1")))
    assert [each["name"] for each in result["actions"]] == ["B"]
    assert output_of(story.turn(turn_of(completed(1, "2")))) == [1, 2]


def test_a_task_may_be_in_two_compounds() -> None:
    def code(context: Any) -> Code:
        one, two, three = (context.call_activity(name) for name in "ABC")
        first = context.task_any([one, two])
        context.task_any([one, three])
        winner = yield first
        return [winner is one, winner.result]

    story = Story(code)
    story.turn(started())
    assert output_of(story.turn(turn_of(completed(0, "5")))) == [True, 5]


def test_a_failed_task_all_stays_failed_when_its_other_tasks_end() -> None:
    def code(context: Any) -> Code:
        inner = context.task_all([context.call_activity("A"), context.call_activity("B")])
        outer = context.task_any([inner, context.call_activity("C")])
        yield outer
        yield context.call_activity("D")
        return inner.state.name

    story = Story(code)
    story.turn(started())
    story.turn(turn_of(failed(0)))
    story.turn(turn_of(completed(1)))
    assert output_of(story.turn(turn_of(completed(3)))) == "FAILED"


def test_code_that_has_ended_says_so_in_every_further_turn() -> None:
    def code(context: Any) -> Code:
        yield context.task_any([context.call_activity("A"), context.call_activity("B")])
        return "over"

    story = Story(code)
    story.turn(started())
    first = story.turn(turn_of(completed(0)))
    assert output_of(first) == "over"
    assert story.turn(turn_of(completed(1))) == first


def test_actions_of_a_failing_turn_come_before_its_end() -> None:
    def code(context: Any) -> Code:
        timer = context.create_timer(context.current_utc_datetime)
        yield context.task_any([context.call_activity("A"), timer])
        timer.cancel()
        raise ValueError

    story = Story(code)
    story.turn(started())
    result = story.turn(turn_of(completed(0)))
    assert result["actions"][0] == {"type": "CancelTimer", "task_id": 1}
    assert failure_of(result) == "<class 'ValueError'>"
    trace = the_end(result)["failure"]["stack_trace"]
    assert "soloist_worker" not in trace
    assert "raise ValueError" in trace


def test_a_timer_that_fires_in_the_turn_that_cancels_it_has_fired() -> None:
    def code(context: Any) -> Code:
        timer = context.create_timer(context.current_utc_datetime)
        yield context.task_any([context.call_activity("A"), timer])
        timer.cancel()
        yield context.call_activity("B")
        return timer.is_completed

    story = Story(code)
    story.turn(started())
    result = story.turn(turn_of(completed(0), fired(1)))
    assert [each["type"] for each in result["actions"]] == ["ScheduleTask"]
    events = turn_of(completed(2))
    assert story.again(events) == story.turn(events)


def test_a_completed_timer_cannot_be_cancelled() -> None:
    def code(context: Any) -> Code:
        timer = context.create_timer(context.current_utc_datetime + timedelta(seconds=1))
        yield timer
        timer.cancel()

    story = Story(code)
    story.turn(started())
    assert failure_of(story.turn(turn_of(fired(0)))) == "Cannot cancel a completed task."


@pytest.mark.parametrize(
    ("fire_at", "expected"),
    [
        (datetime(2030, 1, 1, 12, tzinfo=None), "2030-01-01T12:00:00+00:00"),
        (datetime(2030, 1, 1, 12, tzinfo=UTC), "2030-01-01T12:00:00+00:00"),
        (
            datetime(2030, 1, 1, 12, tzinfo=timezone(timedelta(hours=2))),
            "2030-01-01T10:00:00+00:00",
        ),
    ],
)
def test_a_timer_fires_at_the_moment_that_the_code_means(fire_at: datetime, expected: str) -> None:
    def code(context: Any) -> Code:
        yield context.create_timer(fire_at)

    (action,) = Story(code).turn(started())["actions"]
    assert action["fire_at"] == expected


def waits_twice(context: Any) -> Code:
    first = yield context.wait_for_external_event("Go")
    second = yield context.wait_for_external_event("go")
    return [first, second]


def test_events_that_come_early_are_kept_in_order() -> None:
    events = [*started(), raised("GO", "1"), raised("other", "9"), raised("go", "2")]
    assert output_of(Story(waits_twice).turn(events)) == [1, 2]


def test_an_abandoned_wait_does_not_take_the_event_of_a_newer_one() -> None:
    def code(context: Any) -> Code:
        for _ in range(2):
            wait = context.wait_for_external_event("approve")
            timer = context.create_timer(context.current_utc_datetime)
            winner = yield context.task_any([wait, timer])
            if winner is wait:
                return wait.result

    story = Story(code)
    story.turn(started())
    story.turn(turn_of(fired(0)))
    assert output_of(story.turn(turn_of(raised("Approve", '"yes"')))) == "yes"


def test_continue_as_new_carries_every_event_that_nobody_waited_for() -> None:
    def code(context: Any) -> Code:
        yield context.wait_for_external_event("go")
        yield context.call_activity("A")
        context.continue_as_new({"round": 2})

    story = Story(code)
    story.turn(started())
    story.turn(turn_of(raised("b", "1"), raised("go"), raised("a")))
    end = the_end(story.turn(turn_of(completed(0), raised("Go", "3"))))
    carried = [
        {"name": "b", "input": "1"},
        {"name": "a", "input": None},
        {"name": "Go", "input": "3"},
    ]
    assert end == {"type": "ContinueAsNew", "input": '"{\\"round\\": 2}"', "carried": carried}
    late = the_end(story.turn(turn_of(raised("late"))))
    assert late["carried"] == [*carried, {"name": "late", "input": None}]


def test_nothing_is_asked_for_after_continue_as_new() -> None:
    def code(context: Any) -> Code:
        context.continue_as_new(1)
        yield context.call_activity("A")

    (end,) = Story(code).turn(started())["actions"]
    assert end["type"] == "ContinueAsNew"


def test_a_plain_function_returns_at_once() -> None:
    def code(context: Any) -> Any:
        return {"input": context.get_input(), "version": context.version}

    result = Story(code).turn(started('{"a": 1}', version="1.2"))
    assert output_of(result) == {"input": {"a": 1}, "version": "1.2"}


def test_yielding_something_else_is_refused_with_its_place() -> None:
    def code(context: Any) -> Code:
        yield 5

    message = failure_of(Story(code).turn(started()))
    assert "type int at test_replay.py:" in message


def test_an_output_that_json_cannot_carry_fails_the_instance() -> None:
    def code(context: Any) -> Code:
        yield context.call_activity("A")
        return {1}

    story = Story(code)
    story.turn(started())
    message = failure_of(story.turn(turn_of(completed(0))))
    assert message == "Object of type set is not JSON serializable"


def test_custom_status_tells_never_set_from_set_to_nothing() -> None:
    def code(context: Any) -> Code:
        yield context.call_activity("A")
        context.set_custom_status({"done": 1})
        yield context.call_activity("B")
        context.set_custom_status("")

    story = Story(code)
    turns = [story.turn(started()), *(story.turn(turn_of(completed(each))) for each in (0, 1))]
    assert [each["custom_status"] for each in turns] == [None, '{"done": 1}', "null"]


def test_the_clock_never_goes_back() -> None:
    def code(context: Any) -> Code:
        first = str(context.current_utc_datetime)
        yield context.call_activity("A")
        return [first, str(context.current_utc_datetime)]

    story = Story(code)
    story.turn(started(at=at_second(5)))
    result = story.turn(turn_of(completed(0), at=at_second(3)))
    assert output_of(result) == ["2030-01-01 00:00:05+00:00"] * 2


def test_replayed_code_knows_that_it_is_replaying() -> None:
    flags: list[bool] = []

    def code(context: Any) -> Code:
        flags.append(context.is_replaying)
        yield context.call_activity("A")
        flags.append(context.is_replaying)
        yield context.call_activity("B")

    story = Story(code)
    story.turn(started())
    assert flags == [False]
    flags.clear()
    story.again(turn_of(completed(0)))
    assert flags == [True, False]


def test_a_long_wait_beside_many_timers_costs_the_same_every_time() -> None:
    sizes: list[int] = []

    def code(context: Any) -> Code:
        stop = context.wait_for_external_event("stop")
        while not stop.is_completed:
            timer = context.create_timer(context.current_utc_datetime)
            yield context.task_any([stop, timer])
            sizes.append(len(stop._parents))

    story = Story(code)
    story.turn(started())
    for task_id in range(50):
        story.turn(turn_of(fired(task_id)))
    assert set(sizes) == {0}


# Determinism.


def history_of(function: Callable[..., Any], *turns: list[Event]) -> list[Event]:
    """Return the history that a function leaves behind."""
    story = Story(function)
    for events in turns:
        story.turn(events)
    return story.history


def replayed(function: Callable[..., Any], history: list[Event], events: list[Event]) -> Any:
    """Return the result of a turn of ``function`` after somebody else's history."""
    session = new_session(function)
    session.replay(history)
    return session.turn(events)


def calls(name: str) -> Callable[[Any], Code]:
    def code(context: Any) -> Code:
        yield context.call_activity(name)
        yield context.call_activity("Last")

    return code


def test_another_activity_than_recorded_is_named_with_its_place() -> None:
    history = history_of(calls("Old"), started())
    message = failure_of(replayed(calls("New"), history, turn_of(completed(0))))
    assert message.startswith(
        PREFIX + "the history records activity 'Old' with task id 0, but the code asked for"
        " activity 'New' with task id 0 at test_replay.py:"
    )
    assert message.endswith("in code.")


def test_a_recorded_name_may_differ_in_case() -> None:
    history = history_of(calls("say"), started())
    result = replayed(calls("SAY"), history, turn_of(completed(0)))
    assert result["actions"][0]["name"] == "Last"


def test_a_timer_where_an_activity_was_recorded_is_a_deviation() -> None:
    def code(context: Any) -> Code:
        yield context.create_timer(context.current_utc_datetime)

    history = history_of(calls("Old"), started())
    message = failure_of(replayed(code, history, turn_of(completed(0))))
    assert "activity 'Old' with task id 0" in message
    assert "a timer with task id 0" in message


def test_code_that_asks_for_less_than_recorded_is_a_deviation() -> None:
    def code(context: Any) -> Code:
        yield context.wait_for_external_event("go")

    history = history_of(calls("Old"), started())
    message = failure_of(replayed(code, history, turn_of(completed(0))))
    assert message.startswith(PREFIX)
    assert "asked for nothing more in that episode; it stands at test_replay.py:" in message


def test_code_that_asks_for_more_than_recorded_is_a_deviation() -> None:
    def code(context: Any) -> Code:
        yield context.task_all([context.call_activity("Old"), context.call_activity("More")])

    history = history_of(calls("Old"), started())
    message = failure_of(replayed(code, history, turn_of(completed(0))))
    assert "records nothing more in that episode, but the code asked for activity 'More'" in message


def test_the_users_own_exception_is_told_with_the_deviation() -> None:
    def code(context: Any) -> Code:
        if context.is_replaying:
            raise KeyError("lost")
        yield context.call_activity("Old")

    history = history_of(calls("Old"), started())
    result = replayed(code, history, turn_of(completed(0)))
    assert failure_of(result).endswith("The code raised KeyError: 'lost'")
    assert "KeyError" in the_end(result)["failure"]["stack_trace"]


def test_new_actions_of_the_live_episode_are_no_deviation() -> None:
    history = history_of(calls("Old"), started())
    result = replayed(calls("Old"), history, turn_of(completed(0)))
    assert recorded(result["actions"])[0]["name"] == "Last"


def test_the_past_may_hold_arrivals_after_the_codes_end() -> None:
    def code(context: Any) -> Code:
        yield context.task_any([context.call_activity("A"), context.call_activity("B")])
        context.continue_as_new(None)

    history = history_of(code, started(), turn_of(completed(0)))
    history.append(raised("late", "1"))
    end = the_end(replayed(code, history, turn_of(completed(1))))
    assert end["carried"] == [{"name": "late", "input": "1"}]


def to_entities(context: Any) -> Code:
    context.signal_entity(EntityId("A", "k"), "add")
    yield context.call_entity(EntityId("A", "k"), "get")


def to_a_child(context: Any) -> Code:
    yield context.call_sub_orchestrator("Child")


@pytest.mark.parametrize(
    ("before", "change", "sentence"),
    [
        (to_a_child, {"name": "Other"}, "sub-orchestration 'Other' with task id 0"),
        (to_entities, {"operation": "x"}, "a signal 'x' to entity '@a@k' with task id 0"),
        (to_entities, {"entity_id": "@b@k"}, "a signal 'add' to entity '@b@k' with task id 0"),
        (to_a_child, {"type": "TaskScheduled"}, "activity 'Child' with task id 0"),
        (to_a_child, {"task_id": 7}, "sub-orchestration 'Child' with task id 7"),
    ],
)
def test_every_kind_of_deviation_is_named(
    before: Callable[[Any], Code], change: dict[str, Any], sentence: str
) -> None:
    history = history_of(before, started())
    history[2] = {**history[2], **change}
    message = failure_of(replayed(before, history, turn_of(raised("x"))))
    assert message.startswith(f"{PREFIX}the history records {sentence}, but the code asked for ")
    assert "with task id 0 at test_replay.py:" in message


def test_a_call_of_another_operation_is_a_deviation() -> None:
    history = history_of(to_entities, started())
    history[3] = {**history[3], "operation": "set"}
    message = failure_of(replayed(to_entities, history, turn_of(raised("x"))))
    assert "records a call of 'set' of entity '@a@k' with task id 1" in message
    assert "asked for a call of 'get' of entity '@a@k' with task id 1" in message


def test_a_childs_recorded_name_may_differ_in_case() -> None:
    history = history_of(to_a_child, started())
    history[2] = {**history[2], "name": "CHILD", "instance_id": "made-up"}
    assert replayed(to_a_child, history, turn_of(raised("x")))["actions"] == []


def test_a_completion_that_comes_twice_counts_once() -> None:
    story = Story(fan_out)
    story.turn(started())
    result = story.turn(turn_of(completed(0, "7"), completed(0, "8")))
    assert [each["input"] for each in result["actions"]] == ["7", "7"]


def test_the_first_continue_as_new_counts() -> None:
    def code(context: Any) -> Code:
        context.continue_as_new(1)
        context.continue_as_new(2)
        yield context.call_activity("A")

    assert the_end(Story(code).turn(started()))["input"] == '"1"'


def test_an_exception_after_continue_as_new_fails_the_instance() -> None:
    def code(context: Any) -> Any:
        context.continue_as_new(1)
        raise ValueError("no")

    assert failure_of(Story(code).turn(started())) == "no"
