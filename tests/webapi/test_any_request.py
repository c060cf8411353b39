"""Whatever is asked, the answer is no breakdown, and its body is JSON."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote, quote_from_bytes

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from soloist.core.status import RuntimeStatus

METHODS = st.sampled_from(["GET", "POST", "DELETE"])
WORDS = [
    "instances", "orchestrators", "entities", "Job", "one", "two", "raiseEvent", "terminate",
    "rewind", "makeprimary", "", "..", "@x", "a/b", "%", "+", "\x00", "é", "counter", "@counter@a",
    "@@timer@x", "suspend", "restart", "openapi.json",
]  # fmt: skip
SEGMENT = st.one_of(st.sampled_from(WORDS), st.text(max_size=20))
NAMES = st.sampled_from(
    ["showHistory", "showInput", "showHistoryOutput", "createdTimeFrom", "createdTimeTo", "top",
     "runtimeStatus", "instanceIdPrefix", "timeout", "pollingInterval", "ifExists", "version",
     "reason", "taskHub", "x", "name", "recursive", "signalTime", "op", "fetchState",
     "lastOperationTimeFrom", "restartWithNewInstanceId"]
)  # fmt: skip
VALUES = st.one_of(
    st.sampled_from(["true", "1", "-1", "1e9", "TestHub", "2024-01-01", "0001-01-01T00:00+23:59",
                     "replace", "return", "never", "Running", "9999-12-31T23:59:59-23:00"]),
    st.text(max_size=20),
)  # fmt: skip
BODIES = st.one_of(
    st.binary(max_size=50),
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
        max_leaves=8,
    ).map(lambda value: json.dumps(value).encode()),
)
PATHS = st.one_of(
    st.lists(SEGMENT, min_size=1, max_size=5),
    st.tuples(
        st.just("instances"), SEGMENT, st.sampled_from(["terminate", "restart", "rewind"])
    ).map(list),
    st.tuples(st.just("entities"), st.just("counter"), SEGMENT).map(list),
    st.tuples(st.just("orchestrators"), st.just("Job"), SEGMENT).map(list),
    st.tuples(st.just("instances"), SEGMENT).map(list),
)
HEADERS = st.fixed_dictionaries(
    {},
    optional={
        "content-type": st.sampled_from(["application/json", "text/plain", "", ";"]),
        "x-ms-continuation-token": st.text(
            st.characters(min_codepoint=33, max_codepoint=126), max_size=30
        ),
        "x-forwarded-host": st.sampled_from(["a", "a b", "[::1]:80"]),
    },
)
EXAMPLES = settings(
    max_examples=300,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@pytest.fixture
def busy(hub: Any) -> Any:
    """A hub with a running and an ended instance."""
    hub.start("one", text="NaN")
    hub.start("two")
    hub.commit("two", RuntimeStatus.COMPLETED, output="[1")
    return hub


@given(METHODS, PATHS, st.lists(st.tuples(NAMES, VALUES), max_size=4), BODIES, HEADERS)
@EXAMPLES
def test_over_http(
    busy: Any,
    method: str,
    path: list[str],
    query: list[tuple[str, str]],
    body: bytes,
    headers: dict[str, str],
) -> None:
    fields = "&".join(f"{n}={quote_from_bytes(v.encode(errors='replace'))}" for n, v in query)
    target = "/".join(quote(each, safe="").replace(".", "%2E") for each in path)
    answer = busy.send(method, f"{target}?{fields}", content=body, headers=headers)
    assert answer.status_code < 500
    if answer.content:
        json.loads(answer.content, parse_constant=lambda name: pytest.fail(name))


@given(
    METHODS, st.lists(SEGMENT | st.text(max_size=9), max_size=5), st.text(), st.text() | st.none()
)
@EXAMPLES
def test_through_the_local_door(
    busy: Any, method: str, path: list[str], query: str, data: str | None
) -> None:
    status, body = busy.ask(method, "/".join(path) + (f"?{query}" if query else ""), data)
    assert status < 500
    if body is not None:
        json.loads(body, parse_constant=lambda name: pytest.fail(name))


@given(st.text(min_size=1, max_size=100))
@EXAMPLES
def test_every_id_that_can_be_started_can_be_followed_and_purged(hub: Any, text: str) -> None:
    escaped = quote(text.encode(errors="replace"), safe="").replace(".", "%2E")
    started = hub.send("POST", f"orchestrators/Job/{escaped}?ifExists=replace")
    assert started.status_code in (202, 400)
    if started.status_code == 202:
        instance_id = started.json()["id"]
        status = hub.send_raw("GET", started.headers["location"])
        assert status.json()["instanceId"] == instance_id
        hub.commit(instance_id, RuntimeStatus.COMPLETED)
        purged = hub.send_raw("DELETE", started.json()["purgeHistoryDeleteUri"])
        assert purged.json() == {"instancesDeleted": 1}
