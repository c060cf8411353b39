"""The document of the API, and any request held against it on a hub that works."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

schemathesis = pytest.importorskip("schemathesis")

from schemathesis.checks import not_a_server_error  # noqa: E402
from schemathesis.generation import GenerationMode  # noqa: E402
from schemathesis.specs.openapi.checks import (  # noqa: E402
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from soloist.webapi import BASE_PATH  # noqa: E402
from soloist.webapi.openapi import (  # noqa: E402
    BODIES,
    HEADERS,
    OPERATIONS,
    PARAMETERS,
    RESPONSES,
    SCHEMAS,
)
from soloist.webapi.routes import ROUTES  # noqa: E402
from tests.webapi.live import ORIGIN, LiveHub  # noqa: E402

EXAMPLES = int(os.environ.get("SOLOIST_FUZZ_EXAMPLES", "500"))
"""How many requests are sent; many more than this find rarer things."""

CONFORMANCE = [
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]

# What a caller who knows the hub would write. The ids are started, signalled and purged by the
# requests themselves, so that most requests meet something that is there.
KNOWN = {
    "functionName": ["Echo", "Wait", "Fragile", "Parent", "wait"],
    "instanceId": ["a", "b", "c", "é &", "@counter@a", "@counter@called", "@nobody@a", "@@timer@x"],
    "eventName": ["Go", "stop"],
    "entityName": ["Counter", "counter", "nobody"],
    "entityKey": ["a", "b", "called", "$"],
}
PREPARATIONS = [
    ("POST", "orchestrators/Echo/a?ifExists=return", "[1]"),
    ("POST", "orchestrators/Wait/b", None),
    ("POST", "orchestrators/Fragile/c", None),
    ("POST", "orchestrators/Parent/%C3%A9%20%26?ifExists=replace", None),
    ("POST", "entities/counter/a?op=add", "1"),
    ("POST", "entities/counter/b?op=set", '{"x": []}'),
    ("POST", "entities/counter?op=set", '"of the empty key"'),
    ("POST", "instances/b/raiseEvent/Go", "1"),
    ("POST", "instances/b/suspend", None),
]
"""One of these goes before every request: what is purged and ended comes again."""

USUAL: dict[str, list[Any]] = {
    "taskHub": ["TestHub"],
    "runtimeStatus": [["Running"], ["Failed", "Completed"]],
    "ifExists": ["replace", "return", "never"],
    "createdTimeFrom": ["2020-01-01T00:00:00Z", "1-01-01T00:00:00.000000Z"],
    "createdTimeTo": ["2030-01-01"],
    "showHistory": ["true"],
    "showHistoryOutput": ["true"],
    "returnInternalServerErrorOnFailure": ["true"],
    "timeout": ["0.1", "1"],
    "op": ["add", "fail", "delete", "set"],
    "signalTime": ["2026-01-01T00:00:05Z"],
    "top": ["1", "2", "0"],
    "name": [["Echo"], ["Wait", "fragile"]],
    "instanceIdPrefix": ["@", "a"],
    "restartWithNewInstanceId": ["false"],
    "recursive": ["false"],
    "fetchState": ["true"],
}


@pytest.fixture(scope="module")
def live() -> Iterator[LiveHub]:
    """One hub for all requests, so that they meet what others left."""
    hub = LiveHub()
    yield hub
    hub.close()


@pytest.fixture(scope="module")
def document(live: LiveHub) -> dict[str, Any]:
    """The document as the hub serves it."""
    answer = live.send("GET", "openapi.json")
    assert answer.status_code == 200
    found: dict[str, Any] = answer.json()
    return found


def test_the_document_tells_of_every_route_and_of_nothing_else(document: dict[str, Any]) -> None:
    told = {(method.upper(), path) for path, item in document["paths"].items() for method in item}
    assert told == {(each.method, f"/{each.path}") for each in ROUTES}
    assert {each.operation for each in ROUTES} == set(OPERATIONS)
    assert document["servers"] == [{"url": f"{ORIGIN}{BASE_PATH}"}]


def test_every_named_part_of_the_document_is_used_and_there(document: dict[str, Any]) -> None:
    text = json.dumps(document)
    for kind, names in (
        ("parameters", PARAMETERS),
        ("requestBodies", BODIES),
        ("responses", RESPONSES),
        ("headers", HEADERS),
        ("schemas", SCHEMAS),
    ):
        assert all(f'"#/components/{kind}/{name}"' in text for name in names)
        assert set(document["components"][kind]) == set(names)
    schemathesis.openapi.from_dict(document).validate()


def cases(document: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Return any request that the document allows, and any that it does not quite allow."""
    schema = schemathesis.openapi.from_dict(document)
    # Where no part of the path is free, hardly anything can be wrong: every query value is text.
    strategies = [
        operation.ok().as_strategy(generation_mode=mode)
        for operation in schema.get_all_operations()
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
        if mode is GenerationMode.POSITIVE or operation.ok().label.count("{")
    ]
    return st.one_of(strategies)


@st.composite
def familiar(draw: st.DrawFn, case: Any) -> dict[str, Any]:
    """Return a request as it is sent, most of its names replaced by such as are known here."""
    for name in case.path_parameters or {}:
        if draw(st.integers(0, 9)) > 0:
            case.path_parameters[name] = draw(st.sampled_from(KNOWN[name]))
    query = dict(case.query or {})
    for name in _query_names(case):
        choice = draw(st.integers(0, 9))
        if choice > 5 and name in USUAL:
            query[name] = draw(st.sampled_from(USUAL[name]))
        elif choice > 2 or name == "taskHub":
            query.pop(name, None)
    case.query = query
    sent: dict[str, Any] = case.as_transport_kwargs(base_url=f"{ORIGIN}{BASE_PATH}")
    return sent


def _query_names(case: Any) -> list[str]:
    return [each.name for each in case.operation.query]


def prepare(live: LiveHub, request: tuple[str, str, str | None]) -> None:
    """Bring something into being, or let something happen to it."""
    method, path, body = request
    headers = {"content-type": "application/json"}
    assert live.send(method, path, content=body, headers=headers).status_code < 500


def send(live: LiveHub, kwargs: dict[str, Any]) -> Any:
    """Send what schemathesis would have sent with its own client."""
    options = dict(kwargs)
    method, url = options.pop("method"), options.pop("url")
    options.pop("cookies", None)
    if "data" in options:
        data = options.pop("data")
        options["content"] = data.encode() if isinstance(data, str) else data
    options["headers"] = {
        name: value.encode("latin-1", "replace") if isinstance(value, str) else value
        for name, value in (options.get("headers") or {}).items()
    }
    return live.send_raw(method, url, **options)


def is_wanted(answer: Any) -> bool:
    """Whether a 500 is what the caller asked for: the status of an instance that has failed."""
    return bool(answer.status_code == 500 and answer.json().get("runtimeStatus") == "Failed")


def test_any_request_is_answered_as_the_document_says(
    live: LiveHub, document: dict[str, Any]
) -> None:
    met: Counter[str] = Counter()

    @given(st.data(), cases(document))
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    def hold(data: st.DataObject, case: Any) -> None:
        prepare(live, data.draw(st.sampled_from(PREPARATIONS)))
        kwargs = data.draw(familiar(case))
        answer = send(live, kwargs)
        checks = CONFORMANCE if is_wanted(answer) else [not_a_server_error, *CONFORMANCE]
        case.validate_response(answer, checks=checks)
        met[f"{case.operation.label} {answer.status_code}"] += 1

    hold()
    for line, times in sorted(met.items()):
        print(f"{times:6} {line}")  # pytest shows it with -s, or on failure
    for expected in ("GET /instances/{instanceId} 200", "POST /instances/{instanceId}/restart 202"):
        assert met[expected] > 0, "the requests meet nothing that is there"
