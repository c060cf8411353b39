"""The session table: what is held, what is asked for again, and who pays for the history."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator
from typing import Any

import azure.durable_functions as df
from azure.durable_functions.models.history import HistoryEventType

from soloist_worker.app import App
from soloist_worker.functions import read_function
from soloist_worker.sessions import SessionTable
from tests.worker.hosting import CODEC, Event, completed, event, recorded, started, turn_of

Code = Generator[Any, Any, Any]


def table_of(function: Callable[[Any], Any]) -> SessionTable:
    """Return the table of an app with this one orchestrator."""
    app = df.DFApp()
    app.orchestration_trigger(context_name="context")(function)
    functions = [read_function(each, ".") for each in app.get_functions()]
    return SessionTable(App(functions, CODEC, ()))


class Caller:
    """Feeds one execution to a table as an engine does."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self.name = function.__name__
        self.table = table_of(function)
        self.history: list[Event] = []
        self.past: list[Event] | None = []
        self.position = 0
        self.questions = 0

    def turn(self, events: list[Event]) -> list[dict[str, Any]]:
        """Run one episode, giving the past when it is asked for."""
        answer = self._ask(events)
        if answer["kind"] == "history_missing":
            self.past, self.position = list(self.history), len(self.history)
            answer = self._ask(events)
        self.past = None
        self.position += len(events)
        actions: list[dict[str, Any]] = answer["result"]["actions"]
        self.history += [*events, *recorded(actions)]
        return actions

    def _ask(self, events: list[Event]) -> dict[str, Any]:
        self.questions += 1
        return self.table.run(
            {
                "call": self.questions,
                "generation": 1,
                "execution_id": "e",
                "instance_id": "i",
                "name": self.name,
                "position": self.position,
                "events": events,
                "past": self.past,
            }
        )


def plain_code(context: Any) -> Code:
    yield context.call_activity("A")
    yield context.call_activity("B")


def test_a_session_that_is_held_is_fed_without_its_past() -> None:
    caller = Caller(plain_code)
    caller.turn(started())
    caller.turn(turn_of(completed(0)))
    assert caller.questions == 2


def test_a_session_that_was_forgotten_is_made_again_from_its_past() -> None:
    caller = Caller(plain_code)
    caller.turn(started())
    caller.table.forget(1)
    (action,) = caller.turn(turn_of(completed(0)))
    assert action["name"] == "B"
    assert caller.questions == 3


def kinds(context: Any) -> list[str]:
    return [HistoryEventType(each.event_type).name for each in context.histories]


def reads_at_once(context: Any) -> Code:
    first = kinds(context)
    yield context.call_activity("A", 5)
    return [first, [[each.Name, each.Input] for each in context.histories if each.event_id == 0]]


def test_the_history_can_be_read_from_the_first_turn() -> None:
    caller = Caller(reads_at_once)
    (action,) = caller.turn(started())
    assert action["name"] == "A"
    assert caller.questions == 1, "nothing more than the first turn is needed for it"
    (end,) = caller.turn(turn_of(completed(0)))
    seen, calls = json.loads(end["result"])
    assert seen == [
        "ORCHESTRATOR_STARTED",
        "EXECUTION_STARTED",
        "TASK_SCHEDULED",
        "ORCHESTRATOR_COMPLETED",
        "ORCHESTRATOR_STARTED",
        "TASK_COMPLETED",
    ], "all that has happened is seen from the start, as under the SDK"
    assert calls == [["A", "5"]]


def test_the_history_can_be_read_late() -> None:
    def reads_late(context: Any) -> Code:
        yield context.call_activity("A")
        yield context.call_activity("B")
        try:
            return [[each.event_type, each.is_played] for each in context.histories]
        except BaseException:
            return "caught"

    caller = Caller(reads_late)
    caller.turn(started())
    caller.turn(turn_of(completed(0)))
    assert caller.questions == 2, "who does not read it pays nothing"
    (end,) = caller.turn(turn_of(completed(1)))
    played = [True] * 8
    assert json.loads(end["result"]) == [
        [kind, is_played]
        for kind, is_played in zip(
            [12, 0, 4, 13, 12, 5, 4, 13, 12, 5], [*played, False, False], strict=True
        )
    ]
    assert caller.questions == 4


def test_each_kind_of_event_has_its_number_and_its_fields() -> None:
    def reads_all(context: Any) -> Code:
        entity = df.EntityId("E", "k")
        context.signal_entity(entity, "add", 1)
        answer = yield context.call_entity(entity, "get")
        try:
            yield context.call_sub_orchestrator("S", None, "child")
        except Exception as error:
            text = str(error)
        timer = context.create_timer(context.current_utc_datetime)
        yield timer
        found = {each.event_type: each for each in context.histories}
        failed = found[9]
        assert text == f"{failed.Reason} \n {failed.Details}"
        sent, got = json.loads(found[14].Input), json.loads(found[15].Input)
        assert sent["id"] == found[15].Name
        assert found[0].ParentInstance is None
        return [answer, got, found[7].InstanceId, found[11].TimerId, found[20].Reason]

    caller = Caller(reads_all)
    failure = {"message": "bad", "error_type": "ValueError", "stack_trace": ""}
    caller.turn(started())
    caller.turn(turn_of(event("EntityOperationCompleted", task_id=1, result="7")))
    caller.turn(turn_of(event("SubOrchestrationInstanceFailed", task_id=2, failure=failure)))
    suspended = event("ExecutionSuspended", reason="why")
    caller.turn(turn_of(suspended, event("ExecutionResumed", reason="on")))
    fired = event("TimerFired", task_id=3, fire_at="2030-01-01T00:00:00Z")
    (end,) = caller.turn(turn_of(fired))
    assert end["failure"] is None, end["failure"]
    assert json.loads(end["result"]) == [7, {"result": "7"}, "child", 3, "on"]


def test_an_orchestrator_that_is_not_there_is_named() -> None:
    caller = Caller(plain_code)
    caller.name = "Lost"
    (end,) = caller.turn(started())
    assert "The function 'Lost' doesn't exist" in end["failure"]["message"]
