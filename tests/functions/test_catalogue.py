"""The catalogue: what an app may consist of, and by which names it is found."""

from __future__ import annotations

import pytest

from soloist.errors import AppLoadFailed
from soloist.functions.catalogue import Catalogue
from soloist.wire import Binding, FunctionDescription


def function(name: str, trigger: str, *bindings: str, **fields: object) -> FunctionDescription:
    """Return a function's description."""
    described = tuple(Binding(kind, f"b{index}", "in") for index, kind in enumerate(bindings))
    return FunctionDescription(
        name=name,
        trigger=trigger,
        bindings=(Binding(trigger, "t", "in"), *described),
        **fields,  # type: ignore[arg-type]  # each test gives fields of the right type
    )


def orchestrator(name: str, **fields: object) -> FunctionDescription:
    """Return an orchestrator's description."""
    return function(name, "orchestrationTrigger", **{"durable_name": name, **fields})


def test_orchestrators_and_activities_are_found_without_regard_to_case() -> None:
    catalogue = Catalogue(
        [orchestrator("Main"), function("Work", "activityTrigger", durable_name="DoWork")], {}
    )
    assert catalogue.orchestrators.resolve("MAIN") == "Main"
    assert catalogue.orchestrators.resolve("DoWork") is None
    assert catalogue.activities.resolve("dowork") == "DoWork"
    assert list(catalogue.orchestrators.names()) == ["Main"]


def test_a_python_name_finds_a_function_with_another_name() -> None:
    catalogue = Catalogue([orchestrator("f", durable_name="Public", alias="main_py")], {})
    assert catalogue.orchestrators.resolve("Main_Py") == "Public"
    assert list(catalogue.orchestrators.names()) == ["Public"]


def test_an_ambiguous_python_name_finds_nothing() -> None:
    catalogue = Catalogue(
        [orchestrator("a", alias="run"), orchestrator("b", alias="run")],
        {},
    )
    assert catalogue.orchestrators.resolve("run") is None


def test_a_name_outranks_a_python_name() -> None:
    catalogue = Catalogue([orchestrator("run"), orchestrator("b", alias="run")], {})
    assert catalogue.orchestrators.resolve("run") == "run"


def test_two_functions_with_one_name_are_refused() -> None:
    with pytest.raises(AppLoadFailed, match="'a' and 'b' are both called 'SAME'"):
        Catalogue(
            [orchestrator("a", durable_name="Same"), orchestrator("b", durable_name="SAME")], {}
        )


def test_all_unsupported_functions_are_named_in_one_error() -> None:
    app = [
        function("queued", "queueTrigger", "blob"),
        function("ticking", "timerTrigger"),
        function("counter", "entityTrigger"),
        function("fine", "httpTrigger", "http", "durableClient"),
        function("sends", "httpTrigger", "http", "serviceBus"),
    ]
    with pytest.raises(AppLoadFailed) as caught:
        Catalogue(app, {})
    text = str(caught.value)
    assert "function 'queued' uses queueTrigger, blob" in text
    assert "function 'ticking' uses timerTrigger (planned, but not in this version)" in text
    assert "function 'counter' uses entityTrigger (planned" in text
    assert "function 'sends' uses serviceBus" in text
    assert "'fine'" not in text


def test_unsupported_functions_are_left_out_when_told_so() -> None:
    app = [function("queued", "queueTrigger"), function("fine", "httpTrigger", "http")]
    catalogue = Catalogue(app, {}, skip_unsupported=True)
    assert [each.name for each in catalogue.functions] == ["fine"]
    assert catalogue.warnings == ("function 'queued' uses queueTrigger; it is left out.",)


def test_a_function_without_a_trigger_of_its_own_is_refused() -> None:
    with pytest.raises(AppLoadFailed, match="is triggered by durableClient"):
        Catalogue([function("odd", "durableClient")], {})


@pytest.mark.parametrize(
    ("variable", "value", "is_disabled"),
    [
        ("AzureWebJobs.Hello.Disabled", "true", True),
        ("AzureWebJobs__Hello__Disabled", "1", True),
        ("azurewebjobs.hello.disabled", "True", True),
        ("AzureWebJobs.Hello.Disabled", "false", False),
        ("AzureWebJobs.Hell.Disabled", "true", False),
    ],
)
def test_app_settings_disable_functions(variable: str, value: str, is_disabled: bool) -> None:
    catalogue = Catalogue([function("Hello", "httpTrigger", "http")], {variable: value})
    assert (catalogue.routes.match("GET", "/api/Hello") is None) == is_disabled


def test_a_function_that_the_worker_found_disabled_is_not_there() -> None:
    catalogue = Catalogue([orchestrator("Main", disabled=True)], {})
    assert catalogue.orchestrators.resolve("Main") is None


def test_an_access_level_defaults_to_function_and_must_be_known() -> None:
    catalogue = Catalogue(
        [function("a", "httpTrigger"), function("b", "httpTrigger", auth_level="ADMIN")], {}
    )
    assert catalogue.http["a"].auth_level == "function"
    assert catalogue.http["b"].auth_level == "admin"
    with pytest.raises(AppLoadFailed, match="auth level 'vip' is unknown"):
        Catalogue([function("a", "httpTrigger", auth_level="vip")], {})
