"""The catalogue: what an app may consist of, and by which names it is found."""

from __future__ import annotations

import sys
import zoneinfo
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from soloist.core.timers import TimerTrigger
from soloist.errors import AppLoadFailed, SettingsError
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
        function("ticking", "timerTrigger", schedule="0 * * * * *"),
        function("counter", "entityTrigger", durable_name="counter"),
        function("fine", "httpTrigger", "http", "durableClient"),
        function("sends", "httpTrigger", "http", "serviceBus"),
    ]
    with pytest.raises(AppLoadFailed) as caught:
        Catalogue(app, {})
    text = str(caught.value)
    assert "function 'queued' uses queueTrigger, blob" in text
    assert "function 'sends' uses serviceBus" in text
    for fine in ("'fine'", "'ticking'", "'counter'"):
        assert fine not in text


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


def test_functions_whose_names_differ_in_case_only_are_refused() -> None:
    with pytest.raises(AppLoadFailed, match="'Tick' and 'tick' differ in letter case only"):
        Catalogue([timer("Tick"), function("tick", "httpTrigger")], {})


def test_entities_are_found_without_regard_to_case() -> None:
    catalogue = Catalogue([function("Counter", "entityTrigger", durable_name="MyCounter")], {})
    assert catalogue.entities.resolve("mycounter") == "MyCounter"
    assert catalogue.entities.resolve("Counter") is None


def timer(
    name: str = "tick", schedule: str | None = "0 */5 * * * *", **fields: object
) -> FunctionDescription:
    """Return a timer function's description."""
    return function(name, "timerTrigger", schedule=schedule, **fields)


def test_a_timer_is_monitored_unless_it_says_otherwise() -> None:
    app = [timer("a"), timer("b", is_monitored=False, runs_on_startup=True), timer("c", "00:00:05")]
    assert Catalogue(app, {}).timers == {
        "a": TimerTrigger(
            schedule="0 */5 * * * *",
            zone="UTC",
            runs_on_startup=False,
            is_monitored=True,
        ),
        "b": TimerTrigger(
            schedule="0 */5 * * * *",
            zone="UTC",
            runs_on_startup=True,
            is_monitored=False,
        ),
        "c": TimerTrigger(
            schedule="00:00:05", zone="UTC", runs_on_startup=False, is_monitored=True
        ),
    }


@pytest.mark.parametrize("schedule", ["%CRON%", "%cron%", "0 %Minutes% * * * *"])
def test_a_schedule_may_come_from_app_settings(schedule: str) -> None:
    catalogue = Catalogue([timer(schedule=schedule)], {"CRON": "0 7 * * * *", "Minutes": "7"})
    assert catalogue.timers["tick"].schedule == "0 7 * * * *"


@pytest.mark.parametrize(
    ("schedule", "reason"),
    [
        ("%CRON%", "'%CRON%' refers to the app setting 'CRON', which is not set"),
        ("0 60 * * * *", "wrong in its field 'minute'"),
        ("%EMPTY%", "has 0 fields"),
        ("", "no schedule"),
        (None, "no schedule"),
    ],
)
def test_a_wrong_schedule_is_refused_with_the_function_and_the_reason(
    schedule: str | None, reason: str
) -> None:
    with pytest.raises(AppLoadFailed, match="'tick'") as caught:
        Catalogue([timer(schedule=schedule)], {"EMPTY": ""})
    assert reason in str(caught.value)


def test_a_disabled_timer_is_not_there_and_its_schedule_is_not_read() -> None:
    catalogue = Catalogue([timer(schedule="?")], {"AzureWebJobs.tick.Disabled": "1"})
    assert catalogue.timers == {}


@pytest.mark.parametrize(
    ("environment", "zone"),
    [
        ({"WEBSITE_TIME_ZONE": "Europe/Berlin", "TZ": "Asia/Tokyo"}, "Europe/Berlin"),
        ({"WEBSITE_TIME_ZONE": "", "TZ": ":Asia/Tokyo"}, "Asia/Tokyo"),
        ({}, "UTC"),
    ],
)
def test_the_time_zone_of_timers_is_a_setting(environment: dict[str, str], zone: str) -> None:
    assert Catalogue([timer()], environment).timers["tick"].zone == zone


@pytest.mark.parametrize("variable", ["WEBSITE_TIME_ZONE", "TZ"])
@pytest.mark.parametrize(
    "zone", ["Eastern Standard Time", "America", "../etc/passwd", "/etc/localtime", "X" * 5000]
)
def test_a_time_zone_by_another_name_is_refused(variable: str, zone: str) -> None:
    with pytest.raises(
        SettingsError, match=f"{variable} is .* like 'America/New_York'; names that"
    ):
        Catalogue([timer()], {variable: zone})


def test_without_timers_nobody_asks_for_the_time_zone() -> None:
    assert Catalogue([], {"TZ": "Eastern Standard Time"}).timers == {}


def test_without_a_database_of_time_zones_the_way_out_is_named() -> None:
    with zoneinfo_without_data(), pytest.raises(SettingsError, match="install the package tzdata"):
        Catalogue([timer()], {"TZ": "Europe/Berlin"})


@contextmanager
def zoneinfo_without_data() -> Iterator[None]:
    """Hide the machine's time zones and the package that holds them."""
    path = zoneinfo.TZPATH
    modules = {name: sys.modules.pop(name) for name in list(sys.modules) if "tzdata" in name}
    zoneinfo.reset_tzpath(())
    zoneinfo.ZoneInfo.clear_cache()
    sys.modules["tzdata"] = None  # type: ignore[assignment]  # importing it fails
    try:
        yield
    finally:
        zoneinfo.reset_tzpath(path)
        del sys.modules["tzdata"]
        sys.modules.update(modules)
