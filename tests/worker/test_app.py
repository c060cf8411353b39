"""Loading: what is read from an app, and how an app that cannot work is refused."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from soloist_worker.app import App, AppUnusable, load_app, unload_app
from tests.worker.apps import write_app

PLAIN_HEAD = "import azure.functions as func\nimport azure.durable_functions as df\n"


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    unload_app(str(tmp_path))


def loaded(folder: Path, body: str, **options: Any) -> App:
    """Write and load an app."""
    write_app(folder, body, **options)
    return load_app(str(folder), "function_app.py", owns_process=False)


def refusal(folder: Path, body: str, **options: Any) -> AppUnusable:
    """Return the reason why an app is refused."""
    with pytest.raises(AppUnusable) as caught:
        loaded(folder, body, **options)
    return caught.value


def described(app: App, name: str) -> dict[str, Any]:
    """Return the description of one function."""
    (found,) = [each for each in app.describe()["functions"] if each["name"] == name]
    return dict(found)


def test_an_http_function_is_described_whole(folder: Path) -> None:
    app = loaded(
        folder,
        """
        @app.function_name("begin")
        @app.route(route="items/{id}", methods=["GET", "post"], auth_level="admin")
        @app.durable_client_input(client_name="client")
        async def start(req: func.HttpRequest, client, context: func.Context): ...
        """,
    )
    assert described(app, "begin") == {
        "name": "begin",
        "trigger": "httpTrigger",
        "bindings": [
            {"type": "durableClient", "name": "client", "direction": "in"},
            {"type": "httpTrigger", "name": "req", "direction": "in"},
            {"type": "http", "name": "$return", "direction": "out"},
        ],
        "durable_name": None,
        "alias": None,
        "route": "items/{id}",
        "methods": ["GET", "POST"],
        "auth_level": "admin",
        "disabled": False,
        "schedule": None,
        "runs_on_startup": False,
        "is_monitored": None,
    }


def test_durable_names_and_python_names_both_find_a_function(folder: Path) -> None:
    app = loaded(
        folder,
        """
        @app.activity_trigger(input_name="x", activity="Price")
        def price_of(x): ...

        @app.orchestration_trigger(context_name="ctx", orchestration="Order")
        def run_order(ctx): ...
        """,
    )
    assert described(app, "price_of")["durable_name"] == "Price"
    assert described(app, "price_of")["alias"] == "price_of"
    assert app.activity("PRICE") is app.activity("Price_Of") is not None
    assert [each.name for each in app.orchestrators.values()] == ["Order", "Order"]
    assert set(app.orchestrators) == {"order", "run_order"}
    assert app.activity("order") is None


def test_an_unknown_name_is_answered_with_the_known_ones(folder: Path) -> None:
    app = loaded(folder, '@app.activity_trigger(input_name="x")\ndef b(x): ...\n')
    assert app.unknown("a", "activity") == (
        "The function 'a' doesn't exist, is disabled, or is not an activity function. Additional"
        " info: The following are the known activity functions: 'b'."
    )
    assert app.unknown("a", "orchestrator").endswith("No orchestrator functions are known.")


def test_a_setting_disables_a_function(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AzureWebJobs.b.Disabled", "true")
    monkeypatch.setenv("AzureWebJobs__c__Disabled", "0")
    app = loaded(
        folder,
        """
        @app.activity_trigger(input_name="x")
        def b(x): ...

        @app.activity_trigger(input_name="x")
        def c(x): ...
        """,
    )
    assert (described(app, "b")["disabled"], described(app, "c")["disabled"]) == (True, False)
    assert app.activity("b") is None


def test_a_blueprint_is_part_of_the_app(folder: Path) -> None:
    folder.joinpath("parts.py").write_text(
        "import azure.durable_functions as df\n"
        "parts = df.Blueprint()\n"
        "@parts.activity_trigger(input_name='x')\n"
        "def part(x): ...\n"
    )
    app = loaded(folder, "from parts import parts\napp.register_functions(parts)\n")
    assert app.activity("part") is not None


def test_a_guest_leaves_the_process_as_it_was(folder: Path) -> None:
    before = (list(sys.path), Path.cwd())
    folder.joinpath("helper.py").write_text("value = 1\n")
    loaded(folder, "import helper\n")
    assert Path.cwd() == before[1]
    unload_app(str(folder))
    assert sys.path == before[0]
    assert "helper" not in sys.modules
    assert "function_app" not in sys.modules


def test_an_app_without_functions_is_legal_but_worth_a_word(folder: Path) -> None:
    (folder / "old").mkdir()
    (folder / "old" / "function.json").write_text("{}")
    first, second = loaded(folder, "").warnings
    assert "declares no functions" in first
    assert "function.json" in second


def test_a_missing_script_is_named(folder: Path) -> None:
    with pytest.raises(AppUnusable, match=r"no file missing\.py"):
        load_app(str(folder), "missing.py", owns_process=False)


def test_a_script_without_an_app_is_refused(folder: Path) -> None:
    error = refusal(folder, "", head=PLAIN_HEAD)
    assert error.message.startswith("Could not find top level function app instances")


def test_two_apps_are_refused_by_name(folder: Path) -> None:
    error = refusal(folder, "other = func.FunctionApp()\n")
    assert "has 2 function apps (app, other)" in error.message


def test_a_syntax_error_shows_its_line(folder: Path) -> None:
    error = refusal(folder, "def broken(:\n")
    assert "SyntaxError" in error.message
    assert "def broken(:" in error.trace
    assert "importlib" not in error.trace


def test_an_import_error_shows_only_the_apps_frames(folder: Path) -> None:
    error = refusal(folder, "def fail():\n    raise KeyError('lost')\nfail()\n")
    assert error.message == "function_app.py cannot be imported: KeyError: 'lost'"
    assert error.trace.count("function_app.py") == 2
    assert "soloist_worker" not in error.trace


@pytest.mark.parametrize("name", ["no_such_package", "no_such_package.part"])
def test_a_missing_package_is_to_be_installed_for_the_interpreter_that_is_named(
    folder: Path, name: str
) -> None:
    error = refusal(folder, f"import {name}\n")
    assert error.message == (
        "function_app.py cannot be imported: No module named 'no_such_package'. Install the app's"
        f" requirements for {sys.executable}, which runs it."
    )


@pytest.mark.parametrize(
    "line",
    [
        "import json.no_such_part",
        "import helpers.no_such_part",
        "raise ModuleNotFoundError('lost', name='helpers')",
        "raise ModuleNotFoundError('lost', name='msilib')",
        "raise ModuleNotFoundError('lost')",
    ],
)
def test_nothing_is_to_be_installed_for_what_no_package_brings(folder: Path, line: str) -> None:
    (folder / "helpers").mkdir()
    error = refusal(folder, f"{line}\n")
    assert error.message.startswith("function_app.py cannot be imported: ModuleNotFoundError: ")


def test_a_script_that_exits_is_refused(folder: Path) -> None:
    assert "SystemExit" in refusal(folder, "raise SystemExit(3)\n").message


def test_a_parameter_without_a_binding_is_refused(folder: Path) -> None:
    error = refusal(folder, '@app.activity_trigger(input_name="x")\ndef b(x, more): ...\n')
    assert "function 'b' has a parameter 'more'" in error.message


def test_a_binding_without_a_parameter_is_refused(folder: Path) -> None:
    error = refusal(folder, '@app.activity_trigger(input_name="x")\ndef b(y_of_x=1): ...\n')
    assert "function 'b'" in error.message


def test_a_context_may_have_any_name_when_its_type_tells(folder: Path) -> None:
    app = loaded(
        folder,
        '@app.activity_trigger(input_name="x")\ndef b(x, call: "func.Context"): ...\n',
    )
    function = app.activity("b")
    assert function is not None
    assert function.context_name == "call"


def test_two_durable_names_equal_but_for_case_are_refused(folder: Path) -> None:
    error = refusal(
        folder,
        """
        @app.activity_trigger(input_name="x", activity="Same")
        def b(x): ...

        @app.activity_trigger(input_name="x", activity="same")
        def c(x): ...
        """,
    )
    assert "'b' and 'c' are both 'same'" in error.message


def test_what_the_sdk_refuses_is_told_in_its_words(folder: Path) -> None:
    error = refusal(
        folder,
        """
        @app.activity_trigger(input_name="x")
        def b(x): ...

        @app.activity_trigger(input_name="x")
        def b(x): ...
        """,
    )
    assert "are refused" in error.message
    assert "b" in error.message
