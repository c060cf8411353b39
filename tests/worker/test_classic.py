"""The classic context: names, texts and encodings as apps for Azure expect them."""

from __future__ import annotations

import inspect
import json
from collections.abc import Generator
from datetime import UTC, datetime
from typing import Any

import azure.durable_functions as df
import pytest
from azure.durable_functions.models.Task import TaskState

from soloist_worker.classic import DurableOrchestrationContext, input_text
from tests.worker.hosting import AT, Story, completed, failed, started, turn_of

Code = Generator[Any, Any, Any]


@pytest.mark.parametrize(
    ("stored", "sent"),
    [
        (None, None),
        ("null", None),
        ('{"a": 1}', '{"a": 1}'),
        ("5", "5"),
        ('"abc"', '"abc"'),
        ('"\\"abc\\""', '"abc"'),
        ('"{\\"a\\": 1}"', '{"a": 1}'),
        ("not json", '"not json"'),
    ],
)
def test_input_is_found_under_one_or_two_encodings(stored: str | None, sent: str | None) -> None:
    assert input_text(stored) == sent


def public_names(thing: Any) -> set[str]:
    return {each for each in dir(thing) if not each.startswith("_")}


def test_every_public_name_of_the_sdks_context_is_there() -> None:
    theirs = public_names(df.DurableOrchestrationContext)
    assert theirs - public_names(DurableOrchestrationContext) == set()


def test_what_can_be_called_takes_the_same_arguments_as_in_the_sdk() -> None:
    for name in sorted(public_names(df.DurableOrchestrationContext)):
        theirs = getattr(df.DurableOrchestrationContext, name)
        if not inspect.isroutine(theirs):
            continue
        ours = getattr(DurableOrchestrationContext, name)
        extra = {"signal_time"} if name == "signal_entity" else set()
        assert arguments_of(ours, extra) == arguments_of(theirs, set()), name


def arguments_of(routine: Any, without: set[str]) -> list[tuple[str, Any]]:
    parameters = inspect.signature(routine).parameters.values()
    return [(each.name, each.default) for each in parameters if each.name not in without]


def test_a_context_made_from_json_is_the_sdks_own() -> None:
    event = {"EventType": 12, "EventId": -1, "IsPlayed": False, "Timestamp": AT}
    fields = {"history": [event], "instanceId": "x", "isReplaying": False}
    text = json.dumps({**fields, "parentInstanceId": None, "input": "5"})
    made = DurableOrchestrationContext.from_json(text)
    assert isinstance(made, df.DurableOrchestrationContext)
    assert made.get_input() == 5


def test_the_clock_can_be_set_as_under_the_sdk() -> None:
    later = datetime(2031, 1, 1, tzinfo=UTC)

    def code(context: Any) -> Any:
        context.current_utc_datetime = later
        return str(context.current_utc_datetime)

    (end,) = Story(code).turn(started())["actions"]
    assert json.loads(end["result"]) == "2031-01-01 00:00:00+00:00"


def test_a_sub_orchestration_knows_its_parent() -> None:
    def code(context: Any) -> Any:
        return context.parent_instance_id

    (end,) = Story(code).turn(started(parent_instance_id="p-1"))["actions"]
    assert json.loads(end["result"]) == "p-1"
    (end,) = Story(code).turn(started())["actions"]
    assert end["result"] is None


def failing(context: Any) -> Code:
    try:
        yield context.call_activity("A")
    except Exception as error:  # the only class there is
        return [type(error).__name__, str(error)]


def test_a_failed_activity_can_be_taken_apart_as_people_do() -> None:
    story = Story(failing)
    story.turn(started())
    (end,) = story.turn(turn_of(failed(0, "bad")))["actions"]
    kind, text = json.loads(end["result"])
    assert kind == "Exception"
    reason, details = text.split("\n")
    assert reason == "Activity function 'A' failed:  ValueError: bad "
    parsed = json.loads(details)
    assert parsed["Message"].split(":", 1)[1].lstrip() == "bad"
    assert parsed["ClassName"] == "System.Exception"
    assert parsed["InnerException"] is None
    assert parsed["StackTraceString"] == "Traceback ..."


def test_when_the_host_speaks_there_is_no_error_type() -> None:
    story = Story(failing)
    story.turn(started())
    (end,) = story.turn(turn_of(failed(0, "It is gone.", "")))["actions"]
    text = json.loads(end["result"])[1]
    assert text.startswith("Activity function 'A' failed: It is gone. \n ")


def test_states_are_the_sdks_own() -> None:
    def code(context: Any) -> Code:
        task = context.call_activity("A")
        before = task.state is TaskState.RUNNING
        yield task
        return [before, task.state is TaskState.SUCCEEDED, task.id, task.result, task.is_completed]

    story = Story(code)
    story.turn(started())
    (end,) = story.turn(turn_of(completed(0, "5")))["actions"]
    assert json.loads(end["result"]) == [True, True, 0, 5, True]


def test_a_decorated_activity_is_called_by_its_python_name() -> None:
    def mine(x: int) -> int:
        return x

    declared = df.Blueprint().activity_trigger(input_name="x", activity="Other")(mine)

    def code(context: Any) -> Code:
        yield context.call_activity(declared, 1)

    (action,) = Story(code).turn(started())["actions"]
    assert action["name"] == "mine"


def test_only_an_activity_can_be_called_as_one() -> None:
    def other(context: Any) -> None: ...

    declared = df.Blueprint().orchestration_trigger(context_name="context")(other)

    def code(context: Any) -> Code:
        yield context.call_activity(declared)

    (end,) = Story(code).turn(started())["actions"]
    assert "'other'" in end["failure"]["message"]
    assert "orchestrationTrigger" in end["failure"]["message"]


def test_a_plain_function_cannot_be_called_as_an_activity() -> None:
    def code(context: Any) -> Code:
        yield context.call_activity(print)

    (end,) = Story(code).turn(started())["actions"]
    assert "activity_trigger" in end["failure"]["message"]
