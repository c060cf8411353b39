"""A worker in its host's process: the same answers, without a socket."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.worker.apps import (
    BINDING,
    HEAD,
    InProcessHost,
    activity,
    episode,
    http,
    load,
    write_app,
)
from tests.worker.hosting import completed, turn_of

APP = """
    import json
    import asyncio
    import threading


    @app.orchestration_trigger(context_name="context")
    def hello(context):
        yield context.call_activity("echo", 1)
        return (yield context.call_activity("echo", 2))


    @app.activity_trigger(input_name="x")
    def echo(x):
        return x


    @app.activity_trigger(input_name="x")
    async def later(x, context):
        await asyncio.sleep(0)
        return [x, context.function_name, len(context.invocation_id), context.fencing_token]


    @app.activity_trigger(input_name="x")
    def bad(x):
        raise ValueError("bad")


    @app.activity_trigger(input_name="x")
    def unserializable(x):
        return {1}


    @app.route(route="request")
    def request(req: func.HttpRequest) -> func.HttpResponse:
        body = {
            "method": req.method,
            "url": req.url,
            "params": dict(req.params),
            "route": dict(req.route_params),
            "header": req.headers.get("X-Two"),
            "json": req.get_json(),
        }
        return func.HttpResponse(json.dumps(body), status_code=201, mimetype="application/json")


    @app.route(route="text")
    async def text(req):
        return "grüß"


    @app.route(route="cookies")
    def cookies(req):
        response = func.HttpResponse("x")
        response.headers.add("Set-Cookie", "a=1")
        response.headers.add("Set-Cookie", "b=2")
        return response


    @app.route(route="out", binding_arg_name="res")
    def out(req, res: func.Out[func.HttpResponse]):
        res.set(func.HttpResponse("set", status_code=202))


    @app.route(route="nothing")
    def nothing(req):
        return None


    @app.route(route="table")
    def table(req):
        return {}


    @app.route(route="start")
    @app.durable_client_input(client_name="client")
    async def start(req, client):
        return await client.start_new("hello", "my-id", {"a": 1})


    @app.route(route="careful")
    @app.durable_client_input(client_name="client")
    async def careful(req, client):
        try:
            await client.start_new("hello", "my-id")
        except Exception as error:
            raise RuntimeError("of my own") from error


    @app.route(route="status")
    @app.durable_client_input(client_name="client")
    async def status(req, client):
        status = await client.get_status("missing")
        await client.purge_instance_history("missing")
        return str(bool(status)) + str(status.runtime_status)


    @app.route(route="threaded")
    def threaded(req, client: str):
        async def ask():
            rich = df.DurableOrchestrationClient(client)
            await rich.raise_event("i", "go", {"a": 1})
        asyncio.run(ask())
        return "done"

    threaded._function.add_binding(df.decorators.metadata.DurableClient(name="client"))
"""


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InProcessHost]:
    folder = write_app(
        tmp_path_factory.mktemp("app"), APP, HEAD + "import azure.durable_functions.decorators\n"
    )
    with InProcessHost() as host:
        loaded = host.ask(load(folder))
        assert loaded["kind"] == "loaded", loaded
        yield host


def body_of(message: dict[str, Any]) -> bytes:
    """Return a response's body."""
    assert message["kind"] == "http_done", message
    return base64.b64decode(message["body"])


def test_the_callers_folder_is_left_alone(host: InProcessHost) -> None:
    assert not (Path.cwd() / "function_app.py").exists()


def test_an_orchestrator_is_fed_and_then_found_again(host: InProcessHost) -> None:
    host.ask(episode(1, "hello", generation=11))
    events = turn_of(completed(0, "1"))
    second = host.ask(episode(2, "hello", generation=11, position=2, events=events))
    assert second["result"]["actions"][0]["task_id"] == 1
    last = turn_of(completed(1, "2"))
    third = host.ask(episode(3, "hello", generation=11, position=4, events=last))
    assert third["result"]["actions"][0]["result"] == "2"


def test_a_forgotten_session_is_missing(host: InProcessHost) -> None:
    host.ask(episode(1, "hello", generation=12))
    events = turn_of(completed(0, "1"))
    asked = episode(2, "hello", generation=12, position=2, events=events)
    answer = host.ask({"kind": "forget", "generation": 12}, asked)
    assert answer == {"kind": "history_missing", "call": 2}


def test_another_execution_is_another_session(host: InProcessHost) -> None:
    host.ask(episode(1, "hello", generation=13))
    events = turn_of(completed(0, "1"))
    other = episode(2, "hello", generation=13, execution_id="e2", position=2, events=events)
    assert host.ask(other)["kind"] == "history_missing"


def test_a_session_fed_twice_is_rebuilt_from_the_past(host: InProcessHost) -> None:
    first = host.ask(episode(1, "hello", generation=14))
    again = host.ask(episode(2, "hello", generation=14, past=[]))
    assert first["result"] == again["result"]


def test_an_unknown_orchestrator_fails_its_instance(host: InProcessHost) -> None:
    (end,) = host.ask(episode(1, "nobody"))["result"]["actions"]
    assert "'nobody' doesn't exist" in end["failure"]["message"]
    assert "'hello'" in end["failure"]["message"]


@pytest.mark.parametrize(
    ("text", "result"),
    [('{"a": 1}', '{"a": 1}'), (None, "null"), ("not json", '"not json"'), ('"é"', '"\\u00e9"')],
)
def test_an_activitys_input_is_decoded_and_its_result_encoded(
    host: InProcessHost, text: str | None, result: str
) -> None:
    assert host.ask(activity(1, "ECHO", text))["result"] == result


def test_an_asynchronous_activity_gets_its_context(host: InProcessHost) -> None:
    assert host.ask(activity(1, "later", "5"))["result"] == '[5, "later", 36, 7]'


def test_a_failing_activity_tells_its_type_and_the_users_frames(host: InProcessHost) -> None:
    failure = host.ask(activity(1, "bad"))["failure"]
    assert (failure["message"], failure["error_type"]) == ("bad", "ValueError")
    assert "function_app.py" in failure["stack_trace"]
    assert "soloist_worker" not in failure["stack_trace"]


def test_a_result_that_json_cannot_carry_is_a_failure(host: InProcessHost) -> None:
    failure = host.ask(activity(1, "unserializable"))["failure"]
    assert "not JSON serializable" in failure["message"]


def test_an_unknown_activity_is_a_failure_of_the_worker(host: InProcessHost) -> None:
    failure = host.ask(activity(1, "nobody"))["failure"]
    assert "'nobody' doesn't exist" in failure["message"]
    assert failure["error_type"] == ""


def test_a_request_arrives_as_the_caller_sent_it(host: InProcessHost) -> None:
    message = http(
        1,
        "request",
        b'{"a": 1}',
        method="POST",
        url="http://host/api/request?n=5",
        headers=[["x-two", "a"], ["X-Two", "b"]],
        params={"n": "5"},
        route_params={"id": "7"},
    )
    done = host.ask(message)
    assert (done["status"], done["headers"]) == (201, [("Content-Type", "application/json")])
    assert json.loads(body_of(done)) == {
        "method": "POST",
        "url": "http://host/api/request?n=5",
        "params": {"n": "5"},
        "route": {"id": "7"},
        "header": "a,b",
        "json": {"a": 1},
    }


def test_text_is_a_response(host: InProcessHost) -> None:
    done = host.ask(http(1, "text"))
    assert body_of(done).decode() == "grüß"
    assert done["headers"] == [("Content-Type", "text/plain; charset=utf-8")]


def test_repeated_headers_stay_apart(host: InProcessHost) -> None:
    headers = host.ask(http(1, "cookies"))["headers"]
    assert [value for name, value in headers if name == "Set-Cookie"] == ["a=1", "b=2"]


def test_an_output_parameter_carries_the_response(host: InProcessHost) -> None:
    done = host.ask(http(1, "out"))
    assert (done["status"], body_of(done)) == (202, b"set")


@pytest.mark.parametrize(("function", "kind"), [("nothing", "NoneType"), ("table", "dict")])
def test_what_is_no_response_is_a_failure(host: InProcessHost, function: str, kind: str) -> None:
    failed = host.ask(http(1, function))
    assert failed["kind"] == "http_failed"
    assert f"returned a value of type {kind}" in failed["failure"]["message"]


def test_a_client_reaches_the_host_with_what_the_sdk_would_send(host: InProcessHost) -> None:
    called = host.ask(http(1, "start"))
    assert called | {"call": 0} == {
        "kind": "client_call",
        "call": 0,
        "method": "POST",
        "target": "orchestrators/hello/my-id",
        "data": '"{\\"a\\": 1}"',
    }
    reply = {"kind": "client_reply", "call": called["call"], "status": 202, "body": '{"id": "x"}'}
    assert body_of(host.ask(reply)) == b"x"


def conflict(host: InProcessHost, function: str) -> dict[str, Any]:
    called = host.ask(http(1, function))
    body = '{"Message": "An instance with ID \'my-id\' already exists."}'
    return host.ask({"kind": "client_reply", "call": called["call"], "status": 409, "body": body})


def test_a_conflict_that_escapes_is_told_to_the_host(host: InProcessHost) -> None:
    failed = conflict(host, "start")
    assert failed["kind"] == "http_failed"
    text = "An instance with ID 'my-id' already exists."
    assert failed["refusal"] == {"status": 409, "text": text}
    assert "already exists" in failed["failure"]["message"]


def test_a_conflict_that_the_app_answers_itself_is_the_apps(host: InProcessHost) -> None:
    failed = conflict(host, "careful")
    assert failed["refusal"] is None
    assert failed["failure"]["message"] == "of my own"


def test_an_unknown_instance_has_no_status_and_nothing_to_purge(host: InProcessHost) -> None:
    asked = host.ask(http(1, "status"))
    assert (asked["method"], asked["data"]) == ("GET", None)
    reply = {"kind": "client_reply", "call": asked["call"], "status": 404, "body": None}
    purge = host.ask(reply)
    assert (purge["method"], purge["target"]) == ("DELETE", "instances/missing")
    assert body_of(host.ask({**reply, "call": purge["call"]})) == b"FalseNone"


def test_a_client_works_on_a_loop_of_the_users_own(host: InProcessHost) -> None:
    called = host.ask(http(1, "threaded"))
    assert called["target"] == "instances/i/raiseEvent/go"
    assert called["data"] == '"{\\"a\\": 1}"'
    reply = {"kind": "client_reply", "call": called["call"], "status": 202, "body": None}
    assert body_of(host.ask(reply)) == b"done"


def test_a_closed_worker_leaves_no_threads_but_the_blocked(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    here = Path.cwd()
    with InProcessHost() as host:
        host.ask(
            load(write_app(tmp_path, APP, HEAD + "import azure.durable_functions.decorators\n"))
        )
        host.ask(activity(1, "later"))
        host.ask(activity(2, "echo"))
    assert Path.cwd() == here
    left = [each for each in threading.enumerate() if each not in before]
    for thread in left:
        thread.join(5)
    assert not [each for each in left if each.is_alive()]


def test_sessions_are_bounded_and_the_longest_unused_leaves(tmp_path: Path) -> None:
    body = """
        @app.orchestration_trigger(context_name="context")
        def hello(context):
            yield context.call_activity("a")
    """
    with InProcessHost(max_sessions=2) as host:
        host.ask(load(write_app(tmp_path, body)))
        for generation in (1, 2, 3):
            host.ask(episode(generation, "hello", generation=generation))
        kinds = []
        for generation in (1, 2, 3):
            asked = episode(9, "hello", generation=generation, position=2, events=turn_of())
            kinds.append(host.ask(asked)["kind"])
        assert kinds == ["history_missing", "episode_done", "episode_done"]


def test_an_app_that_cannot_be_loaded_says_why(tmp_path: Path) -> None:
    with InProcessHost() as host:
        failed = host.ask(load(write_app(tmp_path, "1 / 0\n")))
        assert failed["kind"] == "load_failed"
        assert "ZeroDivisionError" in failed["message"]
        assert "1 / 0" in failed["traceback"]
        assert (
            host.ask(activity(1, "x"))["failure"]["message"] == "No app is loaded in this worker."
        )


def test_the_binding_is_json() -> None:
    assert json.loads(BINDING)["rpcBaseUrl"] == "soloist://host/"
