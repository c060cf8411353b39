"""Paths, verbs, keys, hosts and mishaps at the HTTP door."""

from __future__ import annotations

from typing import Any

import pytest
import structlog
from starlette.applications import Starlette
from starlette.routing import Mount

from soloist.errors import (
    HistoryCorrupt,
    HubInUse,
    Overloaded,
    SoloistError,
    StoreUnavailable,
    WorkerLost,
)
from soloist.webapi import BASE_PATH, Access

ROOT = "http://hub.example:7071"


@pytest.mark.parametrize(
    "path",
    ["", "nothing", "instances/one/dance", "instances/one/raiseEvent", "orchestrators",
     "instances/one/raiseEvent/a/b", "orchestrators/Job/a/b", "instances//terminate"],
)  # fmt: skip
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "PUT", "HEAD", "OPTIONS"])
def test_an_unknown_path_or_verb_is_an_empty_404(hub: Any, method: str, path: str) -> None:
    answer = hub.send(method, path)
    assert (answer.status_code, answer.content) == (404, b"")


def test_a_known_path_with_another_verb_is_an_empty_404(hub: Any) -> None:
    for method, path in (
        ("GET", "orchestrators/Job"),
        ("POST", "instances/one"),
        ("PUT", "instances"),
    ):
        assert hub.send(method, path).status_code == 404


def test_the_base_path_is_compared_without_case(hub: Any) -> None:
    assert hub.send_raw("GET", f"{ROOT}/Runtime/WebHooks/DurableTask/Instances/").status_code == 200


def test_other_paths_of_the_application_are_left_alone(hub: Any) -> None:
    hub.access = Access.NONE
    assert hub.send_raw("GET", f"{ROOT}/runtime/webhooks/durabletaskling").status_code == 404
    assert hub.asked == []


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "instances"), ("GET", "nothing/at/all"), ("POST", "orchestrators/Job"), ("GET", ""),
     ("DELETE", "instances/one"), ("GET", "openapi.json"), ("PATCH", "%FF"), ("POST", "instances/one/rewind")],
)  # fmt: skip
def test_without_the_key_every_path_is_an_empty_401(hub: Any, method: str, path: str) -> None:
    hub.access = Access.NONE
    for url in (f"{ROOT}{BASE_PATH}/{path}", f"{ROOT}{BASE_PATH}{path and '/' + path}"):
        answer = hub.send_raw(method, url)
        assert (answer.status_code, answer.content) == (401, b"")


def test_the_judge_sees_headers_and_query_by_lower_case_names(hub: Any) -> None:
    hub.send("GET", "instances?Code=a%2Bb&code=second", headers={"X-Functions-Key": "c"})
    asked = hub.asked[-1]
    assert asked.headers["x-functions-key"] == "c"
    assert asked.query["code"] == "a+b"


def test_a_caller_who_was_let_in_by_a_link_is_given_no_stronger_one(hub: Any) -> None:
    hub.access = Access.SCOPED
    body = hub.send("POST", "orchestrators/Job/one").json()
    assert [name for name, url in body.items() if "code=" in url] == ["statusQueryGetUri"]


@pytest.mark.parametrize("query", ["taskHub=TESTHUB", "taskhub=", "connection=Elsewhere"])
def test_requests_for_this_hub_are_served(hub: Any, query: str) -> None:
    assert hub.send("GET", f"instances?{query}").status_code == 200


@pytest.mark.parametrize("path", ["instances", "instances/one/rewind"])
def test_requests_for_another_hub_are_not_served(hub: Any, path: str) -> None:
    method = "GET" if path == "instances" else "POST"
    answer = hub.send(method, f"{path}?taskHub=Elsewhere")
    assert (answer.status_code, answer.content) == (404, b"")


def test_a_path_that_is_not_utf_8_is_refused(hub: Any) -> None:
    answer = hub.send("GET", "instances/%FF%FE")
    assert answer.status_code == 400
    assert "UTF-8" in answer.json()["Message"]


def test_links_name_the_host_that_was_called(hub: Any) -> None:
    body = hub.send("POST", "orchestrators/Job/one", headers={"Host": "other.example"}).json()
    assert body["statusQueryGetUri"].startswith(f"http://other.example{BASE_PATH}/instances/one?")


def test_a_host_that_cannot_stand_in_a_url_is_not_repeated(hub: Any) -> None:
    headers = {"Host": 'evil"/><x'}
    body = hub.send("POST", "orchestrators/Job/one", headers=headers).json()
    assert body["statusQueryGetUri"].startswith(f"{ROOT}{BASE_PATH}/")


def test_a_forwarded_host_counts_only_when_it_is_trusted(hub: Any, open_hub: Any) -> None:
    headers = {"X-Forwarded-Host": "public.example, inner", "X-Forwarded-Proto": "HTTPS"}
    for each, origin in ((hub, ROOT), (open_hub, "https://public.example")):
        body = each.send("POST", "orchestrators/Job/one", headers=headers).json()
        assert body["statusQueryGetUri"].startswith(f"{origin}{BASE_PATH}/")


def test_a_forwarded_host_needs_its_scheme(open_hub: Any) -> None:
    host = {"X-Forwarded-Host": "p.example"}
    for headers in (host, {**host, "X-Forwarded-Proto": "javascript"}):
        body = open_hub.send(
            "POST", "orchestrators/Job/one?ifExists=replace", headers=headers
        ).json()
        assert body["statusQueryGetUri"].startswith(ROOT)


def test_without_keys_links_carry_no_code(open_hub: Any) -> None:
    body = open_hub.send("POST", "orchestrators/Job/one").json()
    assert body["statusQueryGetUri"].endswith("/instances/one?taskHub=TestHub&connection=Storage")


def test_the_application_can_be_mounted_elsewhere(hub: Any) -> None:
    hub.app = Starlette(routes=[Mount("/inner", app=hub.door)])
    hub.start("one")
    assert hub.send_raw("GET", f"{ROOT}/inner/instances/one").status_code == 202
    assert hub.send_raw("GET", f"{ROOT}/inner{BASE_PATH}/instances/one").status_code == 202


def test_a_caller_who_hangs_up_while_sending_gets_no_answer_and_starts_nothing(hub: Any) -> None:
    sent: list[Any] = []
    messages = iter([{"type": "http.request", "body": b"{", "more_body": True},
                     {"type": "http.disconnect"}])  # fmt: skip
    scope = {"type": "http", "method": "POST", "path": f"{BASE_PATH}/orchestrators/Job/one",
             "headers": [], "query_string": b"", "scheme": "http"}  # fmt: skip

    async def receive() -> Any:
        return next(messages)

    async def send(message: Any) -> None:
        sent.append(message)

    hub.run(hub.door(scope, receive, send))
    assert sent == []
    assert hub.send("GET", "instances/one").status_code == 404


def failing(hub: Any, error: Exception) -> None:
    async def query(_query: Any) -> Any:
        raise error

    hub.store.query = query


@pytest.mark.parametrize(
    ("error", "status", "retry_after"),
    [
        (Overloaded("The hub is full."), 429, "1"),
        (StoreUnavailable("The database is locked."), 503, "1"),
        (WorkerLost("The worker died."), 503, "1"),
        (HubInUse("Another host runs this hub."), 409, None),
        (HistoryCorrupt("The history of one has a gap."), 500, None),
        (SoloistError("Something else."), 500, None),
    ],
)
def test_an_error_is_answered_by_its_kind(
    hub: Any, error: SoloistError, status: int, retry_after: str | None
) -> None:
    failing(hub, error)
    with structlog.testing.capture_logs() as logs:
        answer = hub.send("GET", "instances")
    assert answer.status_code == status
    assert answer.headers.get("retry-after") == retry_after
    assert answer.json()["ExceptionMessage"] == str(error)
    assert len(logs) == (1 if status == 500 else 0)


def test_an_unforeseen_error_is_logged_and_told_without_its_inside(hub: Any) -> None:
    failing(hub, RuntimeError("the secret inside"))
    with structlog.testing.capture_logs() as logs:
        answer = hub.send("GET", "instances")
    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert logs[0]["error_id"] in answer.json()["Message"]


def test_a_body_announced_as_too_large_is_not_read_at_all(hub: Any) -> None:
    sent: list[Any] = []
    scope = {
        "type": "http",
        "method": "POST",
        "path": f"{BASE_PATH}/orchestrators/Job/one",
        "headers": [(b"content-length", b"5000")],
        "query_string": b"",
    }

    async def receive() -> Any:
        raise AssertionError("the body was read")

    async def send(message: Any) -> None:
        sent.append(message)

    hub.run(hub.door(scope, receive, send))
    assert sent[0]["status"] == 413
