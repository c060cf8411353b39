"""Entities: the worker's answers are those of the SDK's own handle, and tell more of failures."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from azure.durable_functions import DurableEntityContext, Entity
from hypothesis import given
from hypothesis import strategies as st

from soloist_worker import entities
from soloist_worker.app import AppUnusable, load_app, unload_app
from soloist_worker.classic import input_text
from soloist_worker.functions import Function
from tests.worker.apps import (
    InProcessHost,
    ProcessHost,
    activity,
    entity,
    episode,
    load,
    write_app,
)

APP = """
    import functools
    import threading

    gate = threading.Event()


    @app.entity_trigger(context_name="context", entity_name="Counter")
    def count(context):
        state = context.get_state(lambda: 0)
        operation = context.operation_name
        if operation == "add":
            context.set_state(state + context.get_input())
        elif operation == "get":
            context.set_result(state)
        elif operation == "del":
            context.destruct_on_exit()
        elif operation == "boom":
            context.set_state(99)
            raise ValueError("bad op")
        elif operation == "who":
            context.set_result([context.entity_name, context.entity_key])
        elif operation == "input":
            context.set_result(context.get_input())
        elif operation == "set":
            context.set_state({1})
        elif operation == "exit":
            raise SystemExit(3)
        elif operation == "wait":
            gate.wait()
        elif operation == "big":
            context.set_state("x" * (34 * 1024 * 1024))


    @app.entity_trigger(context_name="context")
    def idle(context):
        pass


    @app.orchestration_trigger(context_name="context")
    def hello(context):
        return "hello"


    @app.activity_trigger(input_name="x")
    def open_gate(x):
        gate.set()


    def logged(function):
        @functools.wraps(function)
        def call(context):
            return function(context)

        return call


    @app.entity_trigger(context_name="context")
    @logged
    async def asynchronous(context):
        pass
"""
UNFINISHED = """
    @app.entity_trigger(context_name="context")
    {definition}
"""


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InProcessHost]:
    folder = write_app(tmp_path_factory.mktemp("app"), APP)
    with InProcessHost() as host:
        loaded = host.ask(load(folder))
        assert loaded["kind"] == "loaded", loaded
        yield host


def run(
    host: InProcessHost, *operations: tuple[str, str | None], state: str | None = None
) -> tuple[list[Any], str | None]:
    """Run operations of the counter; return results (failures as their messages) and state."""
    result = host.ask(entity(1, "counter", *operations, state=state))["result"]
    told = [
        each["result"] if each["failure"] is None else "! " + each["failure"]["message"]
        for each in result["results"]
    ]
    return told, result["state"]


@pytest.mark.parametrize(
    ("state", "operations", "results", "after"),
    [
        (None, [("add", '"5"'), ("get", None)], ["null", "5"], "5"),
        ("7", [("get", None)], ["7"], "7"),
        ("7", [("boom", None), ("get", None)], ["! bad op", "99"], "99"),
        ("7", [("del", None), ("get", None)], ["null", "0"], "null"),
        ("7", [("del", None)], ["null"], None),
        ("7", [("get", None), ("noop", None)], ["7", "null"], "7"),
        (None, [("noop", None)], ["null"], None),
        ("1", [("add", "2"), ("boom", None), ("add", "1")], ["null", "! bad op", "null"], "100"),
    ],
)
def test_operations_run_one_after_another_over_one_state(
    host: InProcessHost,
    state: str | None,
    operations: list[tuple[str, str | None]],
    results: list[str],
    after: str | None,
) -> None:
    assert run(host, *operations, state=state) == (results, after)


@pytest.mark.parametrize(
    ("sent", "seen"),
    [
        (None, "null"),
        ("null", "null"),
        ('"5"', "5"),
        ("5", "5"),
        ('"text"', '"text"'),
        ('"{\\"a\\": 1}"', '{"a": 1}'),
        ('{"a": 1}', '{"a": 1}'),
        ("[1, null]", "[1, null]"),
        ("not json", '"not json"'),
    ],
)
def test_every_door_sends_an_input_that_the_code_can_read(
    host: InProcessHost, sent: str | None, seen: str
) -> None:
    assert run(host, ("input", sent))[0] == [seen]


def test_a_state_that_no_operation_touches_is_returned_as_it_was(host: InProcessHost) -> None:
    assert run(host, ("who", None), state='{"a":1 }')[0] == ['["counter", "k"]']
    assert host.ask(entity(1, "idle", ("any", None), state='{"a":1 }'))["result"] == {
        "results": [{"result": "null", "failure": None}],
        "state": '{"a":1 }',
    }


def test_a_failure_tells_the_exceptions_type_and_the_users_frames(host: InProcessHost) -> None:
    (result,) = host.ask(entity(1, "counter", ("boom", None)))["result"]["results"]
    failure = result["failure"]
    assert (failure["message"], failure["error_type"]) == ("bad op", "ValueError")
    assert 'raise ValueError("bad op")' in failure["stack_trace"]
    assert "entities.py" not in failure["stack_trace"]
    assert "azure" not in failure["stack_trace"]


def test_a_state_that_json_cannot_carry_fails_its_operation_alone(host: InProcessHost) -> None:
    (first, second, third), state = run(host, ("add", "1"), ("set", None), ("get", None))
    assert "to_json" in second
    assert (first, third, state) == ("null", "1", "1")


def test_an_operation_that_exits_has_failed_and_nothing_else(host: InProcessHost) -> None:
    assert run(host, ("exit", None), ("get", None), state="4") == (["! 3", "4"], "4")


def test_what_is_too_large_to_send_fails_the_batch_and_keeps_the_state(
    host: InProcessHost,
) -> None:
    (first, second), state = run(host, ("add", "1"), ("big", None), state="4")
    assert "nothing is kept" in first
    assert "nothing is kept" in second
    assert state == "4"


def test_an_unknown_entity_fails_every_operation(host: InProcessHost) -> None:
    answer = host.ask(entity(1, "nobody", ("a", None), ("b", None), state="4"))
    first, second = answer["result"]["results"]
    assert first == second
    assert first["failure"]["message"] == (
        "The function 'nobody' doesn't exist, is disabled, or is not an entity function."
        " Additional info: The following are the known entity functions: 'Counter',"
        " 'asynchronous', 'idle'."
    )
    assert first["failure"]["error_type"] == ""
    assert answer["result"]["state"] == "4"


def test_an_entity_is_found_by_its_python_name_in_any_case(host: InProcessHost) -> None:
    result = host.ask(entity(1, "COUNT", ("get", None)))["result"]
    assert result["results"][0]["result"] == "0"


def test_a_coroutine_that_no_decorator_showed_fails_the_operation(host: InProcessHost) -> None:
    result = host.ask(entity(1, "asynchronous", ("get", None)))["result"]
    assert "Make it a plain function" in result["results"][0]["failure"]["message"]


def test_an_entity_that_waits_holds_up_no_orchestrator(tmp_path: Path) -> None:
    with ProcessHost() as host:
        host.ask(load(write_app(tmp_path, APP), threads=2))
        host.post(entity(1, "counter", ("wait", None)))
        assert host.ask(episode(2, "hello"))["kind"] == "episode_done"
        host.post(activity(3, "open_gate"))
        answers: dict[int, Any] = {}
        while len(answers) < 2:
            answers |= {each["call"]: each for each in host.frame() or []}
        assert answers[1]["result"]["results"] == [{"result": "null", "failure": None}]


def test_without_an_app_every_operation_fails() -> None:
    with InProcessHost() as host:
        result = host.ask(entity(1, "counter", ("get", None)))["result"]
        assert result["results"][0]["failure"]["message"] == "No app is loaded in this worker."


@pytest.mark.parametrize(
    "definition",
    [
        "async def broken(context): ...",
        "def broken(context): yield",
        "async def broken(context): yield",
    ],
)
def test_an_entity_function_that_would_never_run_is_refused(
    tmp_path: Path, definition: str
) -> None:
    write_app(tmp_path, UNFINISHED.format(definition=definition))
    with pytest.raises(AppUnusable, match=r"'broken' is declared 'async def' or uses 'yield'"):
        load_app(str(tmp_path), "function_app.py", owns_process=False)
    unload_app(str(tmp_path))


@pytest.mark.parametrize("noun", ["entity", "orchestration"])
def test_a_durable_client_that_azure_would_not_pass_is_refused(tmp_path: Path, noun: str) -> None:
    write_app(
        tmp_path,
        f"""
        @app.{noun}_trigger(context_name="context")
        def broken(context): ...

        broken._function.add_binding(
            df.decorators.metadata.DurableClient(name="client")
        )
        """,
    )
    with pytest.raises(AppUnusable, match="more bindings than its trigger: 'durableClient'"):
        load_app(str(tmp_path), "function_app.py", owns_process=False)
    unload_app(str(tmp_path))


@pytest.mark.parametrize("noun", ["entity", "orchestration"])
def test_a_function_of_another_sdk_is_refused(tmp_path: Path, noun: str) -> None:
    write_app(
        tmp_path,
        f"""
        @app.function_name("broken")
        @app.generic_trigger(arg_name="context", type="{noun}Trigger")
        def broken(context): ...
        """,
        head="import azure.functions as func\napp = func.FunctionApp()\n",
    )
    with pytest.raises(AppUnusable, match=r"'broken' was not declared through"):
        load_app(str(tmp_path), "function_app.py", owns_process=False)
    unload_app(str(tmp_path))


# The SDK's handle, given the same operations as one batch, is the oracle.

VALUES = st.sampled_from([None, 0, 1.5, "text", "7", [1], {"a": [None]}])
STEPS = st.one_of(
    st.tuples(st.just("set_state"), VALUES),
    st.tuples(st.just("get_state"), st.sampled_from([None, 5, [2]])),
    st.tuples(st.just("change_state"), st.none()),
    st.tuples(st.just("set_result"), VALUES),
    st.tuples(st.just("result_of_state"), st.none()),
    st.tuples(st.just("destruct"), st.none()),
    st.tuples(st.just("get_input"), st.none()),
    st.tuples(st.just("raise"), st.sampled_from(["", "bad", "two\nlines"])),
)
PROGRAMS = st.lists(st.lists(STEPS, max_size=5), min_size=1, max_size=6)
INPUTS = st.sampled_from([None, "5", '"5"', '"text"', '{"a": 1}'])
STATES = st.sampled_from([None, "null", "7", '{"a":1 }', "[1]"])


def entity_of(program: list[list[tuple[str, Any]]], seen: list[Any]) -> Callable[[Any], None]:
    """Return an entity function; an operation's name is its number in the program."""

    def operate(context: DurableEntityContext) -> None:
        seen.append((context.entity_name, context.entity_key, context.is_newly_constructed))
        for step, value in program[int(context.operation_name or "")]:
            _take_step(context, step, value, seen)

    return operate


def _take_step(context: DurableEntityContext, step: str, value: Any, seen: list[Any]) -> None:
    if step == "set_state":
        context.set_state(json.loads(json.dumps(value)))
    elif step == "get_state":
        seen.append(json.dumps(context.get_state(lambda: value)))
    elif step == "change_state":
        state = context.get_state()
        if isinstance(state, list):
            state.append(len(state))
    elif step == "set_result":
        context.set_result(value)
    elif step == "result_of_state":
        # A copy: the SDK encodes a batch's results at its end, when a later operation may have
        # changed the state that one of them is.
        context.set_result(copy.deepcopy(context.get_state()))
    elif step == "destruct":
        context.destruct_on_exit()
    elif step == "get_input":
        seen.append(context.get_input())
    else:
        raise LookupError(value)


@given(program=PROGRAMS, state=STATES, sent=INPUTS)
def test_random_operations_come_to_the_same_as_under_the_sdk(
    program: list[list[tuple[str, Any]]], state: str | None, sent: str | None
) -> None:
    ours: list[Any] = []
    theirs: list[Any] = []
    handle = Entity.create(entity_of(program, ours))
    function = cast("Function", SimpleNamespace(name="e", call=handle))
    operations = [(str(number), sent) for number in range(len(program))]
    answer = entities.run(function, entity(1, "Counter", *operations, state=state))["result"]
    text = input_text(sent)
    batch = {
        "self": {"name": "counter", "key": "k"},
        "exists": state is not None,
        "state": state,
        "batch": [
            {"name": name, "input": "null" if text is None else json.dumps(text)}
            for name, _ in operations
        ],
    }
    expected = json.loads(Entity.create(entity_of(program, theirs))(json.dumps(batch)))
    assert ours == theirs
    assert answer["state"] == (expected["entityState"] if expected["entityExists"] else None)
    for steps, result, other in zip(program, answer["results"], expected["results"], strict=True):
        if result["failure"] is not None:
            assert other["isError"]
            assert json.dumps(result["failure"]["message"]) == other["result"]
            assert result["failure"]["error_type"] == "LookupError"
        elif any("result" in step for step, _ in steps):
            assert result["result"] == other["result"]
        else:
            # Here the SDK returns what the operation before it returned.
            assert result["result"] == "null"
