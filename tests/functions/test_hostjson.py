"""host.json: what is used, what is remarked upon, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from soloist.core.policy import StartPolicy
from soloist.core.versions import FailureStrategy, MatchStrategy
from soloist.errors import SettingsError
from soloist.functions.hostjson import HostJson, parse_host_json, read_host_json

PREFIX = "AzureFunctionsJobHost__extensions__"


def durable(**settings: object) -> str:
    """Return a file with settings of durableTask."""
    return json.dumps({"version": "2.0", "extensions": {"durableTask": settings}})


def test_an_empty_file_means_the_defaults() -> None:
    assert parse_host_json('{"version": "2.0"}', {}) == HostJson()


def test_every_used_setting_is_read() -> None:
    text = """{
        "version": "2.0",
        "functionTimeout": "1.00:05:30",
        "logging": {"logLevel": {"default": "Debug"}},
        "extensions": {
            "http": {
                "routePrefix": "/v1/app/",
                "maxConcurrentRequests": 7,
                "maxOutstandingRequests": "8",
                "customHeaders": {"X-Frame-Options": "DENY", "x.y": "z"},
                "hsts": {"isEnabled": true, "maxAge": "10", "preload": true}
            },
            "durableTask": {
                "hubName": "MyHub",
                "defaultVersion": "1.2",
                "versionMatchStrategy": "strict",
                "versionFailureStrategy": "Fail",
                "localRpcEndpointEnabled": false,
                "maxConcurrentActivityFunctions": 3,
                "maxConcurrentOrchestratorFunctions": "4",
                "maxConcurrentEntityFunctions": 5,
                "maxEntityOperationBatchSize": 50,
                "maxOrchestrationActions": 6,
                "overridableExistingInstanceStates": "AnyState",
                "storageProvider": {"connectionName": "Mine"},
                "httpSettings": {
                    "useForwardedHost": true,
                    "defaultAsyncRequestSleepTimeMilliseconds": 1500
                },
                "useGracefulShutdown": "True"
            }
        }
    }"""
    assert parse_host_json(text, {}) == HostJson(
        route_prefix="v1/app",
        hub_name="MyHub",
        hub_name_source="host.json",
        default_version="1.2",
        version_match=MatchStrategy.STRICT,
        version_failure=FailureStrategy.FAIL,
        max_concurrent_activity_functions=3,
        max_concurrent_orchestrator_functions=4,
        max_concurrent_entity_functions=5,
        max_entity_operation_batch_size=50,
        max_orchestration_actions=6,
        start_policy=StartPolicy.REPLACE,
        use_forwarded_host=True,
        use_graceful_shutdown=True,
        function_timeout_seconds=86400 + 330.0,
        async_request_sleep_seconds=1.5,
        max_concurrent_requests=7,
        max_outstanding_requests=8,
        custom_headers=(("x-frame-options", "DENY"), ("x.y", "z")),
        hsts="max-age=864000; preload",
        log_level="debug",
        connection_name="Mine",
    )


def test_the_environment_outranks_the_file_whatever_the_letter_case() -> None:
    found = parse_host_json(
        durable(hubName="FromFile", maxConcurrentActivityFunctions=1),
        {
            f"{PREFIX}DurableTask__HUBNAME": "FromEnvironment",
            f"{PREFIX}durableTask__maxConcurrentActivityFunctions": "7",
            f"{PREFIX}http__routePrefix": "",
        },
    )
    assert found.hub_name == "FromEnvironment"
    assert found.hub_name_source == f"environment variable {PREFIX}DurableTask__HUBNAME"
    assert found.max_concurrent_activity_functions == 7
    assert found.route_prefix == ""


def test_a_hub_name_may_come_from_an_app_setting() -> None:
    assert parse_host_json(durable(hubName="%Hub%Name"), {"HUB": "My"}).hub_name == "MyName"


def test_a_hub_name_from_a_missing_app_setting_is_refused_by_its_name() -> None:
    with pytest.raises(SettingsError, match="app setting 'Hub', which is not set"):
        parse_host_json(durable(hubName="%Hub%"), {})


@pytest.mark.parametrize(
    ("site", "hub"), [("my-app", "myapp"), ("9-lives", "TestHubName"), ("", "TestHubName")]
)
def test_without_a_hub_name_the_site_gives_it(site: str, hub: str) -> None:
    found = parse_host_json('{"version": "2.0"}', {"WEBSITE_SITE_NAME": site})
    assert found.hub_name == hub
    named = "environment variable WEBSITE_SITE_NAME"
    assert found.hub_name_source == (None if hub == "TestHubName" else named)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("", "is empty"),
        (" ", "is empty"),
        ("a/b", "contains '/'"),
        ("hub\n", r"the control character U\+000A"),
        ("\ud800", r"the lone surrogate U\+D800"),
        ("x" * 101, "has 101 characters, and at most 100 are allowed"),
    ],
)
def test_a_malformed_hub_name_is_refused(name: str, why: str) -> None:
    with pytest.raises(SettingsError, match=why):
        parse_host_json(durable(hubName=name), {})


@pytest.mark.parametrize("name", ["ab", "1abc", "my-hub", "x" * 100])
def test_a_hub_name_need_not_be_one_of_azure_storage(name: str) -> None:
    assert parse_host_json(durable(hubName=name), {}).hub_name == name


@pytest.mark.parametrize(
    ("setting", "value", "expected"),
    [
        ("maxConcurrentActivityFunctions", "many", "a whole number"),
        ("maxConcurrentActivityFunctions", 0, "a whole number"),
        ("maxConcurrentActivityFunctions", True, "a whole number"),
        ("maxConcurrentActivityFunctions", 1.5, "a whole number"),
        ("maxConcurrentActivityFunctions", 2**40, "a whole number"),
        ("useGracefulShutdown", 1, "true or false"),
        ("defaultVersion", 1, "text"),
        ("overridableExistingInstanceStates", "Some", '"NonRunningStates" or "AnyState"'),
        ("versionMatchStrategy", "Newest", '"None", "Strict" or "CurrentOrOlder"'),
        ("versionFailureStrategy", 1, "text"),
        ("httpSettings", {"defaultAsyncRequestSleepTimeMilliseconds": -5}, "a whole number"),
        ("hubName", ["x"], "text"),
    ],
)
def test_a_wrong_value_names_the_file_the_setting_and_what_is_expected(
    setting: str, value: object, expected: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        parse_host_json(durable(**{setting: value}), {})
    assert "host.json" in str(caught.value)
    assert f"extensions.durableTask.{setting}" in str(caught.value)
    assert expected in str(caught.value)


def test_a_wrong_override_names_its_variable() -> None:
    variable = f"{PREFIX}durableTask__useGracefulShutdown"
    with pytest.raises(SettingsError, match=f"environment variable {variable}"):
        parse_host_json("{}", {variable: "perhaps"})


@pytest.mark.parametrize("section", ["extensions", "logging"])
def test_a_section_that_is_none_is_refused(section: str) -> None:
    with pytest.raises(SettingsError, match=f"{section} is 5, but must be an object"):
        parse_host_json(json.dumps({"version": "2.0", section: 5}), {})


@pytest.mark.parametrize("value", ["00:00:00", "5 minutes", "25", 5, "00:61:00"])
def test_a_malformed_timeout_is_refused(value: object) -> None:
    with pytest.raises(SettingsError, match="functionTimeout"):
        parse_host_json(json.dumps({"functionTimeout": value}), {})


@pytest.mark.parametrize("value", [-1, "-1"])
def test_a_timeout_of_minus_one_is_none(value: object) -> None:
    found = parse_host_json(json.dumps({"functionTimeout": value}), {})
    assert found.function_timeout_seconds is None


def http(**settings: object) -> str:
    """Return a file with settings of http."""
    return json.dumps({"version": "2.0", "extensions": {"http": settings}})


def test_requests_without_limit_are_left_to_the_host() -> None:
    found = parse_host_json(http(maxConcurrentRequests=-1, maxOutstandingRequests="-1"), {})
    assert found == HostJson()


@pytest.mark.parametrize(
    ("hsts", "value"),
    [
        ({"isEnabled": False, "maxAge": "10"}, None),
        ({"maxAge": "10"}, None),
        ({"isEnabled": True}, "max-age=2592000"),
        ({"isEnabled": True, "maxAge": 1}, "max-age=86400"),
        ({"isEnabled": "true", "maxAge": "1.00:00:01"}, "max-age=86401"),
        ({"isEnabled": True, "includeSubDomains": True}, "max-age=2592000; includeSubDomains"),
    ],
)
def test_strict_transport_security_is_spelt_out(hsts: dict[str, object], value: str | None) -> None:
    found = parse_host_json(http(hsts=hsts), {})
    assert (found.hsts, found.warnings) == (value, ())


@pytest.mark.parametrize(
    "headers", [{"X Y": "z"}, {"X": "a\r\nB: c"}, {"X": 5}, {"Content-Length": "5"}, {"X": "ü"}]
)
def test_a_header_that_cannot_be_sent_is_refused(headers: dict[str, object]) -> None:
    with pytest.raises(SettingsError, match=r"extensions\.http\.customHeaders\."):
        parse_host_json(http(customHeaders=headers), {})


def test_log_levels_are_translated() -> None:
    def level(name: str) -> str | None:
        text = json.dumps({"version": "2.0", "logging": {"logLevel": {"default": name}}})
        return parse_host_json(text, {}).log_level

    assert [level(name) for name in ("Trace", "information", "Critical")] == [
        "debug",
        "info",
        "error",
    ]
    with pytest.raises(SettingsError, match='"Critical" or "None"'):
        level("Chatty")


@pytest.mark.parametrize(
    ("settings", "remark"),
    [
        ({"storageProvider": {"type": "mssql"}}, "Soloist's own store is used"),
        ({"tracing": {"traceReplayEvents": True}}, "has no effect"),
        ({"notifications": {"eventGrid": {"topicEndpoint": "x"}}}, "Event Grid"),
        ({"hubname2": 1}, "extensions.durableTask.hubname2 is not a known setting"),
    ],
)
def test_what_is_not_done_is_remarked_upon(settings: dict[str, object], remark: str) -> None:
    (warning,) = parse_host_json(durable(**settings), {}).warnings
    assert remark in warning


def test_what_merely_tunes_azure_is_accepted_in_silence() -> None:
    text = json.dumps(
        {
            "version": "2.0",
            "extensionBundle": {"id": "x", "version": "[4.*, 5.0.0)"},
            "logging": {"applicationInsights": {"samplingSettings": {"isEnabled": True}}},
            "retry": {},
            "watchDirectories": ["x"],
            "extensions": {
                "queues": {"batchSize": 1},
                "http": {"dynamicThrottlesEnabled": True},
                "durableTask": {
                    "extendedSessionsEnabled": False,
                    "storageProvider": {"partitionCount": 4},
                },
            },
        }
    )
    assert parse_host_json(text, {}).warnings == ()


def test_an_unknown_version_is_remarked_upon() -> None:
    assert parse_host_json('{"version": "1.0"}', {}).warnings == (
        'host.json: version should be "2.0".',
    )
    assert parse_host_json("{}", {}).warnings == ('host.json: "version": "2.0" is missing.',)


@pytest.mark.parametrize(
    ("text", "place", "advice"),
    [
        ('{\n  // a remark\n  "version": "2.0"\n}', "line 2", "remove the comment"),
        ('{\n  "version": "2.0" // a remark\n}', "line 2", "remove the comment"),
        ('{\n  "version": /* why */ "2.0"\n}', "line 2", "remove the comment"),
        ('/* all\n of it */ {"version": "2.0"}', "line 1", "remove the comment"),
        ('{"version": "2.0"} // a remark', "line 1", "remove the comment"),
        ('{\n  "version": "2.0",\n}', "line ", "remove the"),
        ('{"a": [1,]}', "line 1", "remove the"),
        ('{"version"}', "line 1", "not valid JSON"),
        ("", "line 1", "not valid JSON"),
    ],
)
def test_what_strict_readers_refuse_is_pointed_out_by_line(
    text: str, place: str, advice: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        parse_host_json(text, {})
    assert f"host.json, {place}" in str(caught.value)
    assert advice in str(caught.value)


@pytest.mark.parametrize("text", ["[]", "5", "null"])
def test_the_file_must_hold_an_object(text: str) -> None:
    with pytest.raises(SettingsError, match="one JSON object"):
        parse_host_json(text, {})


def test_a_byte_order_mark_is_explained(tmp_path: Path) -> None:
    (tmp_path / "host.json").write_text('{"version": "2.0"}', encoding="utf-8-sig")
    with pytest.raises(SettingsError, match="byte order mark"):
        read_host_json(tmp_path, {})


def test_a_file_that_is_not_text_is_explained(tmp_path: Path) -> None:
    (tmp_path / "host.json").write_bytes(b"\xff\xfe{")
    with pytest.raises(SettingsError, match="not UTF-8"):
        read_host_json(tmp_path, {})


def test_nesting_without_end_is_refused() -> None:
    with pytest.raises(SettingsError, match="nested too deeply"):
        parse_host_json('{"a":' * 100_000, {})


def test_without_a_file_the_defaults_hold_and_are_announced(tmp_path: Path) -> None:
    found = read_host_json(tmp_path, {f"{PREFIX}http__routePrefix": "v2"})
    assert found.route_prefix == "v2"
    assert "does not exist" in found.warnings[0]
