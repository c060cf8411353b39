"""The management API as durable clients in the worker reach it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from soloist.core.status import RuntimeStatus


def started(hub: Any, instance_id: str) -> None:
    status, body = hub.ask("POST", f"orchestrators/Job/{instance_id}", None)
    assert status == 202, body


def test_a_start_stores_the_body_as_it_was_given(hub: Any) -> None:
    data = json.dumps(json.dumps({"a": 1}))
    status, body = hub.ask("POST", "orchestrators/Job/one?version=1%2E2+3", data)
    assert status == 202
    assert json.loads(body)["id"] == "one"
    record = hub.run(hub.client.status("one"))
    assert (record.input, record.version) == (data, "1.2+3")


def test_links_begin_with_the_configured_origin(hub: Any) -> None:
    _, body = hub.ask("POST", "orchestrators/Job/one", None)
    uri = json.loads(body)["statusQueryGetUri"]
    assert uri.startswith("http://hub.example:7071/runtime/webhooks/durabletask/instances/one?")


@pytest.mark.parametrize("instance_id", ["50%", "a+b", "a b", "%41", "é", "a=b", "a&b", "a:1"])
def test_ids_are_taken_raw(hub: Any, instance_id: str) -> None:
    started(hub, instance_id)
    status, body = hub.ask("GET", f"instances/{instance_id}", None)
    assert status == 202
    assert json.loads(body)["instanceId"] == instance_id


def test_prefixes_and_names_are_taken_raw(hub: Any) -> None:
    started(hub, "100% a")
    status, body = hub.ask("GET", "instances/?instanceIdPrefix=100% ", None)
    assert status == 200
    assert len(json.loads(body)) == 1
    started(hub, "%41")
    _, body = hub.ask("GET", "instances/?instanceIdPrefix=%41", None)
    assert [each["instanceId"] for each in json.loads(body)] == ["%41"]
    assert hub.ask("POST", "instances/100% a/raiseEvent/50%+x", "1") == (202, None)


def test_the_reason_is_unquoted(hub: Any) -> None:
    started(hub, "one")
    assert hub.ask("POST", "instances/one/terminate?reason=a%26b%20%3F%2B+", None) == (202, None)
    record = hub.run(hub.client.status("one"))
    message = hub.run(hub.store.inbox(record.generation, 0))[0]
    assert message.event.reason == "a&b ?++"


def test_nothing_found_is_404_without_a_body(hub: Any) -> None:
    assert hub.ask("GET", "instances/nobody") == (404, None)
    assert hub.ask("DELETE", "instances/nobody") == (404, None)
    assert hub.ask("GET", "elsewhere") == (404, None)
    assert hub.ask("PATCH", "instances/one") == (404, None)
    assert hub.ask("GET", "instances/?taskHub=Other") == (404, None)


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("POST", "orchestrators/Job/a/b"),
        ("GET", "instances/a/b"),
        ("GET", "instances/a/b?showHistory=True"),
        ("DELETE", "instances/a/b"),
        ("POST", "instances/a/b/terminate?reason=x"),
        ("POST", "instances/a/raiseEvent/b/c"),
        ("POST", "instances//terminate?reason=x"),
        ("POST", "orchestrators/Job/a?b"),
        ("POST", "orchestrators/Job/a?ifExists=replace"),
        ("POST", "orchestrators/Job/a?b=c?version=1"),
        ("POST", "orchestrators/Job/a?version=1?version=2"),
        ("GET", "instances/?instanceIdPrefix=a&b"),
        ("POST", "orchestrators/Job/a#b"),
        ("POST", "orchestrators/Job/@a"),
        ("POST", "orchestrators/Job/a\udc80"),
    ],
)
def test_what_cannot_be_addressed_is_a_clear_400(hub: Any, method: str, target: str) -> None:
    status, body = hub.ask(method, target, None)
    assert status == 400
    assert json.loads(body)["ExceptionMessage"]


@pytest.mark.parametrize(
    ("method", "target", "what"),
    [
        ("POST", "orchestrators/Job/a/b", "The instance ID contains '/' and {}: 'a/b'."),
        ("POST", "orchestrators/Job/a?b", "The instance ID contains '?' and {}: 'a?b'."),
        ("POST", "orchestrators/Job/a?b?version=1", "The instance ID contains '?' and {}: 'a?b'."),
        ("GET", "instances/a?b", "The instance ID contains '?' and {}: 'a?b'."),
        ("GET", "instances/a?b?showInput=True", "The instance ID contains '?' and {}: 'a?b'."),
        ("POST", "instances/a?b/terminate?reason=x", "The instance ID contains '?' and {}: 'a?b'."),
        ("POST", "instances/a/b/raiseEvent/c", "The instance ID contains '/' and {}: 'a/b'."),
        ("POST", "instances/a/raiseEvent/b/c", "The event's name contains '/' and {}: 'b/c'."),
        ("GET", "entities/counter/a/b", "The entity's key contains '/' and {}: 'a/b'."),
        ("POST", "instances//terminate?reason=x", "The instance ID is empty."),
        (
            "GET",
            "instances/?instanceIdPrefix=a&b",
            "An ID, a name or a prefix is empty or contains '/', '?' or '&' and {}.",
        ),
    ],
)
def test_what_cannot_be_addressed_is_named_whole(
    hub: Any, method: str, target: str, what: str
) -> None:
    status, body = hub.ask(method, target, None)
    assert status == 400
    assert json.loads(body)["ExceptionMessage"] == what.format("cannot be addressed")


def test_an_id_that_looks_like_a_query_reaches_nobody_elses_instance(hub: Any) -> None:
    started(hub, "a")
    hub.commit("a", RuntimeStatus.COMPLETED)
    for method in ("GET", "DELETE"):
        assert hub.ask(method, "instances/a?x=y", None)[0] == 400
    assert hub.ask("GET", "instances/a", None)[0] == 200


@pytest.mark.parametrize("value", [float("nan"), "NaN", "\ud800", "", None, 1e300, [[[]]], '"'])
def test_what_the_sdk_writes_is_stored_as_the_sdk_wrapped_it(hub: Any, value: object) -> None:
    data = json.dumps(json.dumps(value))
    assert hub.ask("POST", "orchestrators/Job/one", data)[0] == 202
    assert hub.run(hub.client.status("one")).input == data


def test_data_that_is_no_text_is_a_clear_400(hub: Any) -> None:
    status, body = hub.ask("POST", "orchestrators/Job/one", '"\ud800"')
    assert status == 400
    assert "surrogate" in json.loads(body)["Message"]


def test_too_much_data_is_413(hub: Any) -> None:
    status, body = hub.ask("POST", "orchestrators/Job/one", '"' + "é" * 4000 + '"')
    assert status == 413
    assert "8002 bytes" in json.loads(body)["ExceptionMessage"]


def test_too_much_data_is_413_even_where_data_is_ignored(hub: Any) -> None:
    started(hub, "one")
    assert hub.ask("POST", "instances/one/terminate?reason=x", "1" * 5000)[0] == 413
