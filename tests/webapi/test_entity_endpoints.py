"""Entities over HTTP, on a hub that works."""

from __future__ import annotations

from typing import Any

import pytest

from tests.webapi.live import LiveHub


def set_to(live: LiveHub, key: str, value: Any) -> None:
    assert live.send("POST", f"entities/Counter/{key}?op=set", json=value).status_code == 202


def listed(live: LiveHub, path: str) -> list[tuple[str, str]]:
    answer = live.send("GET", path)
    assert answer.status_code == 200
    return [(each["entityId"]["name"], each["entityId"]["key"]) for each in answer.json()]


def test_a_signal_is_accepted_and_changes_the_state(live: LiveHub) -> None:
    answer = live.send("POST", "entities/Counter/a?op=add", json=5)
    assert (answer.status_code, answer.content) == (202, b"")
    live.send("POST", "Entities/counter/a?OP=add", json=2)
    state = live.send("GET", "entities/COUNTER/a")
    assert (state.status_code, state.json()) == (200, 7)


def test_keys_are_told_apart_by_case_and_may_hold_anything(live: LiveHub) -> None:
    for number, key in enumerate(["a", "A", "a@b", "é %25", "%24x"]):
        set_to(live, key, number)
        assert live.send("GET", f"entities/counter/{key}").json() == number


def test_the_empty_key_is_written_without_one_and_read_as_a_dollar(live: LiveHub) -> None:
    for path in ("entities/counter?op=add", "entities/counter/?op=add"):
        assert live.send("POST", path, json=1).status_code == 202
    assert live.send("GET", "entities/counter/$").json() == 2
    assert live.send("DELETE", "entities/counter").status_code == 202
    assert live.send("GET", "entities/counter/$").status_code == 404


def test_a_body_that_is_not_json_by_its_type_is_a_string(live: LiveHub) -> None:
    live.send("POST", "entities/counter/a?op=set", content='say "é"'.encode(),
              headers={"content-type": "text/plain; charset=utf-8"})  # fmt: skip
    assert live.send("GET", "entities/counter/a").json() == 'say "é"'
    live.send("POST", "entities/counter/a?op=set")
    state = live.send("GET", "entities/counter/a")
    assert (state.status_code, state.content) == (200, b"null")


@pytest.mark.parametrize(
    ("path", "options", "text"),
    [
        ("nobody/a", {}, "The function 'nobody' doesn't exist, is disabled, or is not an entity"),
        ("counter/a", {"content": "{", "headers": {"content-type": "application/json"}},
         "Could not parse JSON content: "),
        ("counter/a", {"content": b"\xff"}, "The body is not UTF-8 (byte 0)."),
        ("counter/a?op=" + "x" * 201, {}, "An operation's name has 0 to 200 characters."),
        ("counter/a?signalTime=soon", {}, "'signalTime' must be a point in time such as"),
        ("counter/a%2Fb", {}, "The entity ID '@counter@a/b' is invalid: it contains '/'."),
        ("counter/" + "x" * 100, {}, "at most 100 are allowed"),
    ],
)  # fmt: skip
def test_a_signal_that_cannot_be_meant_is_refused(
    live: LiveHub, path: str, options: dict[str, Any], text: str
) -> None:
    answer = live.send("POST", f"entities/{path}", **options)
    assert answer.status_code == 400
    assert text in answer.json()["ExceptionMessage"]
    assert listed(live, "entities") == []


def test_too_large_an_input_is_413(live: LiveHub) -> None:
    assert live.send("POST", "entities/counter/a", json="x" * 5000).status_code == 413


def test_an_unknown_entity_function_is_not_deleted_either(live: LiveHub) -> None:
    assert live.send("DELETE", "entities/nobody/a").status_code == 400


def test_a_delayed_signal_waits_for_its_time(live: LiveHub) -> None:
    due_at = "2026-01-01T00:10:00Z"
    assert live.send("POST", f"entities/counter/a?op=add&signalTime={due_at}", json=1).is_success
    assert live.send("GET", "entities/counter/a").status_code == 404
    assert listed(live, "entities") == []
    live.pass_time(601)
    assert live.send("GET", "entities/counter/a").json() == 1


def test_a_deleted_entity_is_gone_and_not_listed(live: LiveHub) -> None:
    set_to(live, "a", 1)
    answer = live.send("DELETE", "entities/counter/a")
    assert (answer.status_code, answer.content) == (202, b"")
    answer = live.send("GET", "entities/counter/a")
    assert (answer.status_code, answer.content) == (404, b"")
    assert listed(live, "entities") == []


def test_nobody_is_read_who_cannot_be_there(live: LiveHub) -> None:
    assert live.send("GET", "entities/nobody/a").status_code == 404
    assert live.send("GET", "entities/counter/a%2Fb").status_code == 400


def test_a_listing_shows_states_only_when_asked(live: LiveHub) -> None:
    set_to(live, "a", {"b": 1})
    item = live.send("GET", "entities").json()[0]
    assert item == {
        "entityId": {"name": "counter", "key": "a"},
        "lastOperationTime": "2026-01-01T00:00:00Z",
        "state": None,
    }
    assert live.send("GET", "entities?fetchState=True").json()[0]["state"] == {"b": 1}


def test_a_listing_is_restricted_by_name_and_by_the_last_operation(live: LiveHub) -> None:
    set_to(live, "a", 1)
    live.pass_time(60)
    set_to(live, "b", 1)
    assert listed(live, "entities/COUNTER") == [("counter", "a"), ("counter", "b")]
    assert listed(live, "entities/other") == []
    late, early = "2026-01-01T00:00:30Z", "2025-12-31"
    assert listed(live, f"entities?lastOperationTimeFrom={late}") == [("counter", "b")]
    assert listed(live, f"entities?lastOperationTimeTo={late}") == [("counter", "a")]
    assert listed(live, f"entities/counter?lastOperationTimeTo={early}") == []


def test_a_listing_comes_in_pages(live: LiveHub) -> None:
    for key in "abcde":
        set_to(live, key, 1)
    seen, token = [], ""
    while True:
        headers = {"x-ms-continuation-token": token}
        page = live.send("GET", "entities?top=2", headers=headers)
        seen += [each["entityId"]["key"] for each in page.json()]
        token = page.headers["x-ms-continuation-token"]
        if not token:
            break
    assert seen == list("abcde")
    assert live.send("GET", "entities?top=0").status_code == 400
    assert live.send("GET", "entities", headers={"x-ms-continuation-token": "?"}).status_code == 400


def test_an_entity_shows_as_the_orchestration_that_it_is_on_azure(live: LiveHub) -> None:
    set_to(live, "a", [1])
    answer = live.send("GET", "instances/@Counter@a?showHistory=true")
    assert answer.status_code == 202
    expected = {
        "name": "@counter",
        "instanceId": "@counter@a",
        "runtimeStatus": "Running",
        "input": {"exists": True, "state": "[1]"},
        "customStatus": {"entityExists": True},
        "output": None,
        "createdTime": "2026-01-01T00:00:00Z",
        "lastUpdatedTime": "2026-01-01T00:00:00Z",
    }
    assert answer.json() == {**expected, "historyEvents": []}
    assert list(answer.json())[:8] == list(expected)
    assert live.send("GET", "instances/@counter@a?showInput=false").json()["input"] is None
    assert live.send("GET", "instances?instanceIdPrefix=@").json() == [expected]
    assert live.send("GET", "instances").json() == []


def test_a_timer_is_nobody(live: LiveHub) -> None:
    from soloist.core.events import EntityRequested
    from soloist.core.ids import timer_id

    later = live.clock.now().replace(year=2030)
    event = EntityRequested(live.clock.now(), "", due_at=later)
    live.run(live.store.deliver(timer_id("tick"), event, None))
    for path in ("instances?instanceIdPrefix=@", "instances?instanceIdPrefix=@@", "entities"):
        assert live.send("GET", path).json() == []
    for method in ("GET", "DELETE"):
        assert live.send(method, "instances/@@timer@tick").status_code == 404
    assert live.run(live.store.read(timer_id("tick"))) is not None


def test_an_entity_is_purged_by_its_id(live: LiveHub) -> None:
    set_to(live, "a", 1)
    answer = live.send("DELETE", "instances/@COUNTER@a")
    assert (answer.status_code, answer.json()) == (200, {"instancesDeleted": 1})
    assert live.send("DELETE", "instances/@counter@a").status_code == 404
    assert live.send("GET", "entities/counter/a").status_code == 404
    live.send("POST", "entities/counter/a?op=add", json=1)
    assert live.send("GET", "entities/counter/a").json() == 1
