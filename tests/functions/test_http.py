"""The HTTP triggers: from a request to a function's call, and from its answer to a response."""

from __future__ import annotations

import asyncio
import base64
import io
import json
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.types import Message, Scope

from soloist.core.failures import FailureDetails
from soloist.core.instances import AccessKey
from soloist.errors import AppError, SettingsError, WorkerLost
from soloist.functions.binding import ClientBinding
from soloist.functions.catalogue import Catalogue
from soloist.functions.hostjson import HostJson
from soloist.functions.http import HttpLimits, HttpTriggers, http_limits
from soloist.functions.keys import KeyRing
from soloist.functions.responses import safe_headers
from soloist.functions.workers import HttpCall
from soloist.wire import FunctionDescription, HttpDone, HttpFailed, Refusal
from tests.functions.hosting import pool_over, processes, write_app

AT = datetime(2030, 1, 1, tzinfo=UTC)
KEYS = KeyRing(
    (AccessKey("master", "_master", "master", AT), AccessKey("host", "default", "host", AT))
)
BINDING = ClientBinding("Hub", lambda: "system")
Outcome = HttpDone | HttpFailed | Exception


def described(
    name: str, route: str, level: str = "anonymous", *methods: str
) -> FunctionDescription:
    """Return an HTTP function's description."""
    return FunctionDescription(
        name=name,
        trigger="httpTrigger",
        bindings=(),
        route=route,
        auth_level=level,
        methods=methods,
    )


class Runner:
    """Answers every call alike, and remembers it."""

    def __init__(self, outcome: Outcome | None = None) -> None:
        self.outcome: Outcome = outcome or done(200, b"")
        self.calls: list[HttpCall] = []

    async def run_http(self, call: HttpCall) -> HttpDone | HttpFailed:
        self.calls.append(call)
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome


def done(status: int, body: bytes = b"", *headers: tuple[str, str]) -> HttpDone:
    """Return a function's answer."""
    return HttpDone(1, status, headers, base64.b64encode(body).decode())


def triggers(runner: Any, **options: Any) -> HttpTriggers:
    """Return the face over a few functions."""
    catalogue = Catalogue(
        [
            described("open", "open/{name?}"),
            described("guarded", "guarded", "function"),
            described("post", "post", "anonymous", "POST"),
        ],
        {"AzureWebJobs.off.Disabled": "true"},
    )
    return HttpTriggers(catalogue, runner, KEYS, BINDING, **options)


def ask(app: Any, method: str, path: str, **options: Any) -> httpx.Response:
    """Send one request."""

    async def run() -> httpx.Response:
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://host:7071") as client:
            return await client.request(method, path, **options)

    return asyncio.run(run())


def asked(method: str, path: str, **options: Any) -> HttpCall:
    """Send one request and return the call that it became."""
    runner = Runner()
    assert ask(triggers(runner), method, path, **options).status_code == 200
    (call,) = runner.calls
    return call


def test_a_request_reaches_its_function_whole() -> None:
    call = asked(
        "POST",
        "/api/open/a%20b?x=1&y=2&x=3&empty=&X=4",
        headers=[("X-One", "1"), ("x-one", "2"), ("cookie", "a=1"), ("cookie", "b=2")],
        content=b"\x00body",
    )
    headers = dict(call.headers)
    assert (call.function, call.method) == ("open", "POST")
    assert call.url == "http://host:7071/api/open/a%20b?x=1&y=2&x=3&empty=&X=4"
    assert call.params == {"x": "1,3,4", "y": "2"}
    assert call.route_params == {"name": "a b"}
    assert (headers["x-one"], headers["cookie"]) == ("1,2", "a=1; b=2")
    assert base64.b64decode(call.body) == b"\x00body"


def test_an_absent_optional_parameter_is_missing() -> None:
    assert asked("GET", "/api/open").route_params == {}


def test_the_client_binding_carries_the_callers_origin() -> None:
    call = asked("GET", "/api/open", headers={"Host": "public.example"})
    assert json.loads(call.client_binding)["baseUrl"].startswith("http://public.example/")


FORWARDED = {"X-Forwarded-Host": "public.example, proxy", "X-Forwarded-Proto": "https"}


@pytest.mark.parametrize(
    ("is_forwarded", "headers", "origin"),
    [
        (True, FORWARDED, "https://public.example"),
        (True, {"X-Forwarded-Host": "public.example"}, "http://host:7071"),
        (False, FORWARDED, "http://host:7071"),
    ],
)
def test_a_proxy_is_believed_only_when_told_so(
    is_forwarded: bool, headers: dict[str, str], origin: str
) -> None:
    runner = Runner()
    ask(triggers(runner, is_forwarded=is_forwarded), "GET", "/api/open", headers=headers)
    assert runner.calls[0].url == f"{origin}/api/open"


@pytest.mark.parametrize("host", ['evil"quote', "a b", "a/b", "a@b", "x" * 300])
def test_a_malformed_host_is_refused(host: str) -> None:
    assert ask(triggers(Runner()), "GET", "/api/open", headers={"Host": host}).status_code == 400


@pytest.mark.parametrize("host", ["[::1]:7071", "localhost", "a-b.c_d:1"])
def test_every_kind_of_host_is_taken(host: str) -> None:
    assert ask(triggers(Runner()), "GET", "/api/open", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/api/missing"), ("GET", "/api/post"), ("POST", "/"), ("GET", "/api/off")],
)
def test_what_nobody_answers_is_not_found_and_empty(method: str, path: str) -> None:
    response = ask(triggers(Runner()), method, path)
    assert (response.status_code, response.content) == (404, b"")


def test_the_root_says_what_runs_here() -> None:
    response = ask(triggers(Runner()), "GET", "/")
    assert response.status_code == 200
    assert "Soloist is running" in response.text


@pytest.mark.parametrize(
    ("query", "headers", "status"),
    [
        ("", {}, 401),
        ("?code=host", {}, 200),
        ("?CODE=master", {}, 200),
        ("?code=wrong", {}, 401),
        ("?code=wrong&code=host", {}, 401),
        ("", {"x-functions-key": "host"}, 200),
        ("?code=host", {"x-functions-key": "wrong"}, 401),
        ("?code=system", {}, 401),
    ],
)
def test_a_guarded_function_needs_a_key(query: str, headers: dict[str, str], status: int) -> None:
    runner = Runner()
    response = ask(triggers(runner), "GET", f"/api/guarded{query}", headers=headers)
    assert response.status_code == status
    assert len(runner.calls) == (status == 200)
    if status == 401:
        assert response.content == b""


def test_a_functions_answer_is_sent_as_it_is() -> None:
    answer = done(
        201, b"\xffx", ("Content-Type", "image/png"), ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")
    )
    response = ask(triggers(Runner(answer)), "GET", "/api/open")
    assert (response.status_code, response.content) == (201, b"\xffx")
    assert response.headers["content-type"] == "image/png"
    assert response.headers.get_list("set-cookie") == ["a=1", "b=2"]
    assert response.headers["content-length"] == "2"


def test_head_gets_the_length_and_no_body() -> None:
    response = ask(triggers(Runner(done(200, b"four"))), "HEAD", "/api/open")
    assert (response.content, response.headers["content-length"]) == (b"", "4")


@pytest.mark.parametrize("status", [204, 304])
def test_an_answer_that_may_have_no_body_has_none(status: int) -> None:
    response = ask(triggers(Runner(done(status, b"x"))), "GET", "/api/open")
    assert response.content == b""
    assert "content-length" not in response.headers


@pytest.mark.parametrize(
    ("name", "value", "sent"),
    [
        ("Location", "http://x/a b?c=d é\r\n%20", b"http://x/a%20b?c=d%20%C3%A9%0D%0A%20"),
        ("X-A", "a\r\nX-B: b\x00c", b"a X-B: b c"),
        ("X-A", "\u00e9", b"\xe9"),
        ("X-A", "\u20ac", b"\xe2\x82\xac"),
    ],
)
def test_header_values_cannot_break_out(name: str, value: str, sent: bytes) -> None:
    assert safe_headers([(name, value)]) == [(name.lower().encode(), sent)]


@pytest.mark.parametrize("name", ["", "a b", "a\r\nb", "é", "Content-Length", "Connection"])
def test_headers_that_are_not_the_functions_to_set_are_dropped(name: str) -> None:
    assert safe_headers([(name, "5")]) == []


def test_a_refused_start_that_escapes_is_a_conflict() -> None:
    refusal = Refusal(409, "An instance with ID 'X' already exists.")
    failed = HttpFailed(1, FailureDetails("exists"), refusal)
    response = ask(triggers(Runner(failed)), "GET", "/api/open")
    assert response.status_code == 409
    assert response.text == "An instance with ID 'X' already exists."
    assert response.headers["content-type"] == "text/plain; charset=utf-8"


@pytest.mark.parametrize("status", [400, 404, 410, 412, 413])
def test_a_refusal_of_the_durable_client_that_escapes_is_told_to_the_caller(
    status: int, log: io.StringIO
) -> None:
    failed = HttpFailed(
        1, FailureDetails("bad", "Exception", "Traceback"), Refusal(status, "No: ü.")
    )
    response = ask(triggers(Runner(failed)), "GET", "/api/open")
    assert (response.status_code, response.text) == (status, "No: ü.")
    assert response.headers["content-type"] == "text/plain; charset=utf-8"
    assert (
        "level=info room=functions.http event=\"An HTTP function's durable client" in log.getvalue()
    )
    assert f"status={status}" in log.getvalue()
    assert "Traceback" not in log.getvalue()


def test_a_hub_that_cannot_be_reached_is_a_503_that_says_when_to_come_back(
    log: io.StringIO,
) -> None:
    failed = HttpFailed(1, FailureDetails("away"), Refusal(503, "The database is away."))
    response = ask(triggers(Runner(failed)), "GET", "/api/open")
    assert (response.status_code, response.headers["retry-after"]) == (503, "1")
    assert response.text == "The task hub cannot be reached. Try again."
    assert "The database is away." in log.getvalue()


@pytest.mark.parametrize("path", ["/api/open/%FF", "/api/open/a%ED%A0%80", "/%FF"])
def test_a_path_that_is_not_utf_8_is_refused(path: str) -> None:
    runner = Runner()
    response = ask(triggers(runner), "GET", path)
    assert (response.status_code, response.text) == (400, "The path is not valid UTF-8.")
    assert runner.calls == []


def test_an_exception_is_an_empty_500_and_stands_in_the_log(log: io.StringIO) -> None:
    failed = HttpFailed(1, FailureDetails("bad", "KeyError", "Traceback ...\nKeyError: bad"))
    response = ask(triggers(Runner(failed)), "GET", "/api/open?code=host")
    assert (response.status_code, response.content) == (500, b"")
    assert 'error="KeyError: bad"' in log.getvalue()
    assert "Traceback ...\nKeyError: bad\n" in log.getvalue()


def test_a_lost_worker_is_a_503_that_says_when_to_come_back(log: io.StringIO) -> None:
    response = ask(triggers(Runner(WorkerLost("killed"))), "GET", "/api/open")
    assert response.status_code == 503
    assert response.headers["retry-after"] == "1"
    assert "may have run" in response.text
    assert "killed" in log.getvalue()


@pytest.mark.parametrize("outcome", [AppError("too large"), done(99), done(600)])
def test_what_cannot_be_called_or_sent_is_an_empty_500(outcome: Outcome, log: io.StringIO) -> None:
    response = ask(triggers(Runner(outcome)), "GET", "/api/open")
    assert (response.status_code, response.content) == (500, b"")
    assert "level=error" in log.getvalue()


def test_a_function_that_does_not_answer_in_time_is_a_504(log: io.StringIO) -> None:
    class Never(Runner):
        async def run_http(self, call: HttpCall) -> HttpDone | HttpFailed:
            await asyncio.Event().wait()
            raise AssertionError

    app = triggers(Never(), limits=HttpLimits(timeout_seconds=0.01))
    response = ask(app, "GET", "/api/open")
    assert response.status_code == 504
    assert "within 0.01 s" in response.text
    assert "did not answer in time" in log.getvalue()


async def in_pieces(*pieces: bytes) -> AsyncIterator[bytes]:
    """Yield a body of undeclared length."""
    for piece in pieces:
        yield piece


@pytest.mark.parametrize("content", [lambda: b"12345", lambda: in_pieces(b"123", b"45")])
def test_a_body_beyond_the_bound_is_refused(content: Callable[[], Any], log: io.StringIO) -> None:
    runner = Runner()
    app = triggers(runner, limits=HttpLimits(max_body_bytes=4))
    response = ask(app, "POST", "/api/open", content=content())
    assert response.status_code == 413
    assert response.text == (
        "The request's body is larger than 4 bytes (app setting FUNCTIONS_REQUEST_BODY_SIZE_LIMIT)."
    )
    assert runner.calls == []


def test_a_body_in_pieces_arrives_whole() -> None:
    assert base64.b64decode(asked("POST", "/api/open", content=in_pieces(b"a", b"b")).body) == b"ab"


def test_a_query_beyond_the_bound_is_refused() -> None:
    query = "&".join(f"a{number}=1" for number in range(1001))
    assert ask(triggers(Runner()), "GET", f"/api/open?{query}").status_code == 400


def test_requests_beyond_the_bound_are_told_to_come_back() -> None:
    async def run() -> None:
        release = asyncio.Event()

        class Slow(Runner):
            async def run_http(self, call: HttpCall) -> HttpDone | HttpFailed:
                await release.wait()
                return await super().run_http(call)

        app = triggers(Slow(), limits=HttpLimits(max_outstanding_requests=1))
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://host") as client:
            requests = [asyncio.create_task(client.get("/api/open")) for _ in range(2)]
            finished, _ = await asyncio.wait(requests, return_when=asyncio.FIRST_COMPLETED)
            (refused,) = finished
            assert refused.result().status_code == 429
            assert refused.result().headers["retry-after"] == "1"
            release.set()
            assert {(await each).status_code for each in requests} == {200, 429}
            assert (await client.get("/api/open")).status_code == 200

    asyncio.run(run())


def test_requests_beyond_those_that_may_run_wait_for_their_turn() -> None:
    async def run() -> None:
        release = asyncio.Event()
        most = running = 0

        class Slow(Runner):
            async def run_http(self, call: HttpCall) -> HttpDone | HttpFailed:
                nonlocal most, running
                running += 1
                most = max(most, running)
                await release.wait()
                running -= 1
                return await super().run_http(call)

        host_json = HostJson(max_outstanding_requests=5, max_concurrent_requests=2)
        app = triggers(Slow(), limits=http_limits(host_json, {}))
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://host") as client:
            requests = [asyncio.create_task(client.get("/api/open")) for _ in range(6)]
            finished, _ = await asyncio.wait(requests, return_when=asyncio.FIRST_COMPLETED)
            assert [each.result().status_code for each in finished] == [429]
            assert running == 2
            release.set()
            statuses = [(await each).status_code for each in requests]
        assert sorted(statuses) == [200] * 5 + [429]
        assert most == 2

    asyncio.run(run())


def test_host_json_bounds_requests_and_otherwise_the_defaults_do() -> None:
    assert http_limits(HostJson(), {}) == HttpLimits()
    limits = http_limits(HostJson(function_timeout_seconds=5.0, max_outstanding_requests=7), {})
    assert limits == HttpLimits(
        timeout_seconds=5.0, max_outstanding_requests=7, max_concurrent_requests=7
    )


def scope_of(kind: str) -> Scope:
    """Return a bare scope."""
    return {
        "type": kind,
        "method": "POST",
        "path": "/api/open",
        "query_string": b"",
        "headers": [(b"host", b"h")],
    }


def test_a_caller_that_leaves_is_not_answered() -> None:
    sent: list[Message] = []
    runner = Runner()

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    asyncio.run(triggers(runner)(scope_of("http"), receive, send))
    assert (sent, runner.calls) == ([], [])


def test_a_websocket_is_closed() -> None:
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "websocket.connect"}

    async def send(message: Message) -> None:
        sent.append(message)

    asyncio.run(triggers(Runner())(scope_of("websocket"), receive, send))
    assert sent == [{"type": "websocket.close", "code": 1000}]


def test_an_app_is_served_by_its_worker(tmp_path: Path, log: io.StringIO) -> None:
    async def management(method: str, target: str, data: str | None) -> tuple[int, str | None]:
        if target == "orchestrators/Twice/new":
            return 202, '{"id": "new"}'
        return 409, '{"Message": "exists", "ExceptionMessage": "exists"}'

    async def run() -> None:
        app = write_app(tmp_path)
        async with pool_over(processes(app), app) as pool:
            pool.answer_clients(management)
            face = HttpTriggers(Catalogue(pool.functions, {}), pool, KEYS, BINDING)
            transport = httpx.ASGITransport(app=face)
            async with httpx.AsyncClient(transport=transport, base_url="http://h:1") as client:
                echo = (await client.post("/api/echo/a/b?x=1", content="hello")).json()
                assert (echo["method"], echo["body"]) == ("POST", "hello")
                assert (echo["route"], echo["params"]) == ({"rest": "a/b"}, {"x": "1"})
                started = await client.post("/api/start/new")
                assert started.status_code == 202
                assert started.headers["location"].startswith("http://h:1/runtime/webhooks/")
                refused = await client.post("/api/start/old")
                assert refused.status_code == 409
                assert refused.text == "An instance with ID 'old' already exists."
                for path in ("raise", "dict"):
                    response = await client.get(f"/api/{path}")
                    assert (response.status_code, response.content) == (500, b"")
                assert (await client.get("/api/guarded")).status_code == 401
                assert (await client.get("/api/guarded?code=host")).text == "open"
                assert (await client.get("/api/die")).status_code == 503
                assert (await client.get("/api/guarded?code=host")).text == "open"

    asyncio.run(run())
    assert "the reason stays in the log" in log.getvalue()


def test_an_app_setting_bounds_bodies() -> None:
    setting = "FUNCTIONS_REQUEST_BODY_SIZE_LIMIT"
    assert http_limits(HostJson(), {setting: " 4 "}).max_body_bytes == 4
    assert http_limits(HostJson(), {setting: ""}) == HttpLimits()
    for text in ("4 MB", "-1", "0", "1e6", "9" * 19):
        with pytest.raises(SettingsError, match=f"{setting} must be a number of bytes"):
            http_limits(HostJson(), {setting: text})
