"""The v1 programming model: apps of folders with a ``function.json`` run as they are."""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import azure.durable_functions  # noqa: F401  # first here: in a v1 folder its import warns
import pytest

from soloist_worker.app import App, AppUnusable, load_app, unload_app
from tests.worker.apps import (
    BINDING,
    HEAD,
    InProcessHost,
    ProcessHost,
    activity,
    entity,
    episode,
    http,
    load,
    timer,
)

Bindings = list[dict[str, Any]]

STARTER = """
import azure.functions as func
import azure.durable_functions as df
from __app__.shared_code import names
from shared_code.names import GREETING

async def main(req: func.HttpRequest, starter: str) -> func.HttpResponse:
    client = df.DurableOrchestrationClient(starter)
    instance_id = await client.start_new(req.route_params["functionName"], None, GREETING)
    return client.create_check_status_response(req, instance_id)
"""
ORCHESTRATOR = """
import azure.durable_functions as df

def orchestrate(context):
    return (yield context.call_activity("Hello", "Tokyo"))

main = df.Orchestrator.create(orchestrate)
"""
ENTITY = """
import azure.durable_functions as df

def count(context):
    context.set_state(context.get_state(lambda: 0) + context.get_input())
    context.set_result(context.get_state())

main = df.Entity.create(count)
"""
HTTP_OUT = {"type": "http", "direction": "out", "name": "$return"}


def add(folder: Path, name: str, code: str, *bindings: dict[str, Any], **settings: Any) -> None:
    """Write one function's folder."""
    (folder / name).mkdir(parents=True)
    (folder / name / settings.get("scriptFile", "__init__.py")).write_text(code)
    content = {"bindings": list(bindings), **settings}
    (folder / name / "function.json").write_text(json.dumps(content))


def trigger(kind: str, name: str = "context", **settings: Any) -> dict[str, Any]:
    """Return a trigger's binding."""
    return {"type": kind, "direction": "in", "name": name, **settings}


def write_v1_app(folder: Path) -> Path:
    """Write an app like those of the first tutorials; return its folder."""
    (folder / "host.json").write_text('{"version": "2.0"}')
    (folder / "shared_code").mkdir()
    (folder / "shared_code" / "names.py").write_text("GREETING = 'Hello'\n")
    request = trigger(
        "httpTrigger",
        "req",
        authLevel="anonymous",
        route="orchestrators/{functionName}",
        methods=["post", "get"],
    )
    client = {"type": "orchestrationClient", "direction": "in", "name": "starter"}
    add(folder, "DurableFunctionsHttpStart", STARTER, request, HTTP_OUT, client)
    add(folder, "Orchestrator", ORCHESTRATOR, trigger("orchestrationTrigger"))
    hello = "def greet(name: str) -> str:\n    return f'Hello {name}!'\n"
    add(
        folder,
        "Hello",
        hello,
        trigger("activityTrigger", "name"),
        scriptFile="say.py",
        entryPoint="greet",
    )
    add(folder, "Counter", ENTITY, trigger("entityTrigger"))
    code = "import azure.functions as func\ndef main(mytimer: func.TimerRequest) -> None: ...\n"
    every = trigger("timerTrigger", "mytimer", schedule="0 */5 * * * *", runOnStartup=True)
    add(folder, "Every", code, every)
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    unload_app(str(tmp_path))


def loaded(folder: Path) -> App:
    """Load an app as a guest."""
    return load_app(str(folder), "function_app.py", owns_process=False)


def described(app: App, name: str) -> dict[str, Any]:
    """Return the description of one function."""
    (found,) = [each for each in app.describe()["functions"] if each["name"] == name]
    return dict(found)


def test_an_app_of_folders_runs_in_a_process_of_its_own(tmp_path: Path) -> None:
    with ProcessHost() as host:
        answer = host.ask(load(write_v1_app(tmp_path), client_binding=BINDING))
        assert answer["kind"] == "loaded", answer
        assert answer["warnings"] == []
        assert [each["name"] for each in answer["functions"]] == [
            "Counter",
            "DurableFunctionsHttpStart",
            "Every",
            "Hello",
            "Orchestrator",
        ]
        (action,) = host.ask(episode(1, "orchestrator"))["result"]["actions"]
        assert (action["name"], action["input"]) == ("Hello", '"Tokyo"')
        assert host.ask(activity(2, "Hello", '"Tokyo"'))["result"] == '"Hello Tokyo!"'
        result = host.ask(entity(3, "counter", ("add", "5")))["result"]
        assert (result["state"], result["results"][0]["result"]) == ("5", "5")
        assert host.ask(timer(4, "Every"))["failure"] is None
        name = "DurableFunctionsHttpStart"
        route_params = {"functionName": "Orchestrator"}
        called = host.ask(http(5, name, route_params=route_params))
        assert called["target"] == "orchestrators/Orchestrator"
        reply = {"kind": "client_reply", "call": called["call"], "status": 202}
        done = host.ask({**reply, "body": '{"id": "abc"}'})
        assert done["status"] == 202
        assert json.loads(base64.b64decode(done["body"]))["id"] == "abc"


def test_a_guest_leaves_no_module_behind(folder: Path) -> None:
    with InProcessHost() as host:
        host.ask(load(write_v1_app(folder)))
        assert host.ask(activity(2, "hello", '"x"'))["result"] == '"Hello x!"'
    names = [each for each in sys.modules if each.split(".")[0] in ("__app__", "shared_code")]
    assert names == []


def test_function_json_is_described_as_decorators_are(folder: Path) -> None:
    app = loaded(write_v1_app(folder))
    assert described(app, "DurableFunctionsHttpStart") == {
        "name": "DurableFunctionsHttpStart",
        "trigger": "httpTrigger",
        "bindings": [
            {"type": "httpTrigger", "name": "req", "direction": "in"},
            {"type": "http", "name": "$return", "direction": "out"},
            {"type": "durableClient", "name": "starter", "direction": "in"},
        ],
        "durable_name": None,
        "alias": None,
        "route": "orchestrators/{functionName}",
        "methods": ["POST", "GET"],
        "auth_level": "anonymous",
        "disabled": False,
        "schedule": None,
        "runs_on_startup": False,
        "is_monitored": None,
    }
    every = described(app, "Every")
    assert (every["schedule"], every["runs_on_startup"]) == ("0 */5 * * * *", True)


def test_an_auth_level_that_is_not_given_asks_for_a_function_key(folder: Path) -> None:
    add(folder, "Ask", "def main(req): ...\n", trigger("httpTrigger", "req"), HTTP_OUT)
    found = described(loaded(folder), "Ask")
    assert (found["auth_level"], found["route"], found["methods"]) == ("function", None, [])


def test_another_durable_name_is_given_in_the_binding(folder: Path) -> None:
    code = "def main(name): return 1\n"
    add(folder, "Hello", code, trigger("activityTrigger", "name", activity="Greet"))
    app = loaded(folder)
    assert app.activity("greet") is app.activity("hello") is not None
    assert described(app, "Hello")["durable_name"] == "Greet"


@pytest.mark.parametrize(
    ("disabled", "is_disabled"),
    [(True, True), (False, False), ("true", True), ("SWITCHED_OFF", True), ("UNSET", False)],
)
def test_a_function_may_be_disabled_in_its_file(
    folder: Path, monkeypatch: pytest.MonkeyPatch, disabled: Any, is_disabled: bool
) -> None:
    monkeypatch.setenv("SWITCHED_OFF", "1")
    code = "def main(name): return 1\n"
    add(folder, "Hello", code, trigger("activityTrigger", "name"), disabled=disabled)
    app = loaded(folder)
    assert described(app, "Hello")["disabled"] is is_disabled
    assert (app.activity("Hello") is None) is is_disabled


def test_a_script_of_decorators_wins_with_a_warning(folder: Path) -> None:
    (write_v1_app(folder) / "function_app.py").write_text(
        HEAD + "@app.activity_trigger(input_name='x')\ndef only(x): ...\n"
    )
    app = loaded(folder)
    assert list(app.functions) == ["only"]
    assert "Folders with a function.json are ignored" in app.warnings[0]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", "is not JSON"),
        ("[]", "has no list of bindings"),
        ('{"bindings": [1]}', "has no list of bindings"),
        ('{"bindings": []}', "'Bad' has 0 triggers"),
        (json.dumps({"bindings": [trigger("httpTrigger"), trigger("timerTrigger")]}), "2 triggers"),
        (json.dumps({"bindings": [trigger("x")], "scriptFile": "no.py"}), "names the script 'no"),
        (json.dumps({"bindings": [trigger("activityTrigger", "x")]}), "no function 'main'"),
        (
            json.dumps({"bindings": [trigger("activityTrigger", "x")], "entryPoint": "other"}),
            "has a parameter 'y' that no binding fills",
        ),
        (
            json.dumps({"bindings": [trigger("entityTrigger")], "entryPoint": "other"}),
            "make it with df.Entity.create",
        ),
    ],
)
def test_a_folder_that_describes_no_function_is_refused(
    folder: Path, content: str, reason: str
) -> None:
    add(folder, "Bad", "def other(y): ...\n")
    (folder / "Bad" / "function.json").write_text(content)
    with pytest.raises(AppUnusable, match=reason):
        loaded(folder)


def test_a_script_that_cannot_be_imported_shows_its_line(folder: Path) -> None:
    add(folder, "Bad", "import json\n1 / 0\n", trigger("activityTrigger", "x"))
    with pytest.raises(AppUnusable, match="ZeroDivisionError") as caught:
        loaded(folder)
    assert "1 / 0" in caught.value.trace
    assert "importlib" not in caught.value.trace


def test_a_slow_orchestrator_is_named_by_its_folder(tmp_path: Path) -> None:
    code = (
        "import azure.durable_functions as df\n"
        "def orchestrate(context):\n"
        "    while True: pass\n"
        "main = df.Orchestrator.create(orchestrate)\n"
    )
    add(tmp_path, "Stuck", code, trigger("orchestrationTrigger"))
    with ProcessHost() as host:
        host.ask(load(tmp_path, slow_turn_seconds=0.02))
        slow = host.ask(episode(1, "Stuck"))
        assert slow["place"] == "Stuck/__init__.py:3 in orchestrate"
        host.process.kill()
