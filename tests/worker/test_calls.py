"""Calls of other orchestrators, entities and HTTP endpoints, as apps for Azure write them."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator
from datetime import datetime, timedelta, timezone
from typing import Any

import azure.durable_functions as df
import pytest
from azure.durable_functions import EntityId
from azure.durable_functions.models.actions.CallHttpAction import CallHttpAction
from azure.durable_functions.models.DurableHttpRequest import DurableHttpRequest
from azure.durable_functions.models.TokenSource import ManagedIdentityTokenSource

from soloist_worker.classic import input_text
from tests.worker.hosting import Story, completed, event, failed, started, turn_of

Code = Generator[Any, Any, Any]
COUNTER = EntityId("Counter", "Main")


def yields(make: Callable[[Any], Any]) -> Callable[[Any], Code]:
    """Return an orchestrator that yields one task and returns its result, or its error's text."""

    def code(context: Any) -> Code:
        try:
            return (yield make(context))
        except Exception as error:
            return [type(error).__name__, str(error)]

    return code


def asked(make: Callable[[Any], Any]) -> dict[str, Any]:
    """Return the one action by which something is asked for."""
    (action,) = Story(yields(make)).turn(started())["actions"]
    return dict(action)


def output(make: Callable[[Any], Any], arrival: Any) -> Any:
    """Return what the code sees of an answer; a new session sees the same."""
    story = Story(yields(make))
    story.turn(started())
    events = turn_of(arrival)
    again = story.again(events)
    result = story.turn(events)
    assert again == result
    text = result["actions"][-1]["result"]
    return None if text is None else json.loads(text)


def refusal(make: Callable[[Any], Any]) -> str:
    """Return the text with which the code is refused what it asks for."""
    kind, text = json.loads(Story(yields(make)).turn(started())["actions"][-1]["result"])
    return f"{kind}: {text}"


# Sub-orchestrations.


def test_a_sub_orchestration_is_asked_for_with_all_that_the_code_said() -> None:
    action = asked(lambda context: context.call_sub_orchestrator("S", "5", "child", "2.0"))
    text = action.pop("input")
    assert action == {
        "type": "ScheduleSubOrchestration",
        "task_id": 0,
        "name": "S",
        "instance_id": "child",
        "version": "2.0",
    }
    assert input_text(text) == '"5"', "a child finds its input as it was given"


def test_a_decorated_orchestrator_is_called_by_its_python_name() -> None:
    def mine(context: Any) -> int:
        return 1

    declared = df.Blueprint().orchestration_trigger(context_name="context")(mine)
    assert asked(lambda context: context.call_sub_orchestrator(declared))["name"] == "mine"
    text = refusal(lambda context: context.call_activity(declared))
    assert "'orchestrationTrigger' but must have an activityTrigger" in text


def test_the_result_of_a_sub_orchestration_is_decoded() -> None:
    done = event("SubOrchestrationInstanceCompleted", task_id=0, result='{"a": 1}')
    assert output(lambda context: context.call_sub_orchestrator("S"), done) == {"a": 1}


def child_failed(message: str, error_type: str) -> Any:
    failure = {"message": message, "error_type": error_type, "stack_trace": "Traceback ..."}
    return event("SubOrchestrationInstanceFailed", task_id=0, failure=failure)


def test_a_failed_sub_orchestration_is_told_by_name() -> None:
    kind, text = output(
        lambda context: context.call_sub_orchestrator("S"), child_failed("bad", "ValueError")
    )
    assert kind == "Exception"
    assert text == (
        "Orchestrator function 'S' failed: bad \n Message: bad, StackTrace: Traceback ..."
    )


def test_a_sub_orchestration_that_did_not_fail_by_itself_gives_the_bare_reason() -> None:
    _, text = output(
        lambda context: context.call_sub_orchestrator("S"), child_failed("No longer needed.", "")
    )
    assert text.split("\n")[0] == "No longer needed. "


@pytest.mark.parametrize("method", ["call_activity", "call_sub_orchestrator"])
def test_a_call_without_a_name_is_refused(method: str) -> None:
    text = refusal(lambda context: getattr(context, method)(""))
    assert text == "ValueError: function_name cannot be empty"


# Entities.


def test_an_entity_is_called_by_its_folded_name_and_its_key() -> None:
    action = asked(lambda context: context.call_entity(COUNTER, "add", {"n": 1}))
    assert action == {
        "type": "CallEntity",
        "task_id": 0,
        "entity_id": "@counter@Main",
        "operation": "add",
        "input": '{"n": 1}',
    }
    assert action["entity_id"] == EntityId.get_scheduler_id(COUNTER)


def test_an_entitys_answer_is_the_result_of_the_call() -> None:
    for text, value in ((None, None), ("null", None), ("[5]", [5])):
        done = event("EntityOperationCompleted", task_id=0, result=text)
        assert output(lambda context: context.call_entity(COUNTER, "get"), done) == value


def test_a_failed_operation_is_raised_with_its_bare_text() -> None:
    failure = {"message": "cannot", "error_type": "ValueError", "stack_trace": ""}
    done = event("EntityOperationFailed", task_id=0, failure=failure)
    call = output(lambda context: context.call_entity(COUNTER, "get"), done)
    assert call == ["Exception", "cannot"]


def test_an_entity_without_an_id_is_refused() -> None:
    text = refusal(lambda context: context.call_entity(None, "get"))
    assert text == "ValueError: entity_id cannot be empty"


def test_a_signal_is_sent_when_it_is_made() -> None:
    def code(context: Any) -> Code:
        context.signal_entity(COUNTER, "add", 1)
        yield context.call_activity("A")

    signal, call = Story(code).turn(started())["actions"]
    assert signal == {
        "type": "SignalEntity",
        "task_id": 0,
        "entity_id": "@counter@Main",
        "operation": "add",
        "input": "1",
    }
    assert call["task_id"] == 1


def test_whoever_yields_a_signal_goes_on_at_once() -> None:
    def code(context: Any) -> Code:
        first = yield context.signal_entity(COUNTER, "add")
        both = yield context.task_all([context.signal_entity(COUNTER, "add")])
        return [first, both]

    signals = Story(code).turn(started())["actions"]
    assert [each["type"] for each in signals[:-1]] == ["SignalEntity"] * 2
    assert json.loads(signals[-1]["result"]) == [None, [None]]


def test_a_signal_can_wait_for_its_time() -> None:
    when = datetime(2030, 1, 1, 12, tzinfo=timezone(timedelta(hours=2)))
    action, _ = Story(
        yields(lambda context: context.signal_entity(COUNTER, "add", signal_time=when))
    ).turn(started())["actions"]
    assert action["due_at"] == "2030-01-01T10:00:00+00:00"


# HTTP.


@pytest.mark.parametrize(
    ("content", "is_raw", "sent"),
    [
        (None, False, None),
        ("x", False, '"x"'),
        ("x", True, "x"),
        ({"a": 1}, False, '{"a": 1}'),
    ],
)
def test_a_request_is_asked_for_as_the_sdk_writes_it(
    content: Any, is_raw: bool, sent: str | None
) -> None:
    source = ManagedIdentityTokenSource("https://127.0.0.1/")
    headers = {"X-One": "1"}
    action = asked(
        lambda context: context.call_http("POST", "http://x/", content, headers, source, is_raw)
    )
    request = DurableHttpRequest("POST", "http://x/", sent, headers, source)
    assert action["name"] == "BuiltIn::HttpActivity"
    assert json.loads(action["input"]) == CallHttpAction(request).to_json()["httpRequest"]


def test_raw_content_must_be_a_string() -> None:
    text = refusal(lambda context: context.call_http("GET", "http://x/", {}, is_raw_str=True))
    assert text.startswith("TypeError: call_http was given is_raw_str but content of type dict")


def test_an_answer_is_a_dictionary() -> None:
    answer = {"statusCode": 404, "headers": {}, "content": "gone"}
    done = completed(0, json.dumps(answer))
    assert output(lambda context: context.call_http("GET", "http://x/"), done) == answer


def test_a_request_that_could_not_be_made_fails_without_naming_a_function() -> None:
    _, text = output(
        lambda context: context.call_http("GET", "http://x/"), failed(0, "No route.", "")
    )
    assert text.split("\n")[0] == "No route. "
