"""Durable HTTP, against a real server on a port of this machine."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import io
import json
import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from typing import Any

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from soloist.contracts.executor import ActivityCall, ActivityResult
from soloist.core.actions import HTTP_ACTIVITY
from soloist.functions.durable_http import DurableHttp
from soloist.testing.clock import JumpClock

METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"]
MAX_BYTES = 100_000
Seen = list[dict[str, Any]]


class HurriedClock(JumpClock):
    """A clock that jumps whenever somebody waits, and remembers how far."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.advance(seconds)


class Server(uvicorn.Server):
    """A server that leaves signals to pytest."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


def job(*answers: Callable[[Request], Response]) -> Callable[[Request], Awaitable[Response]]:
    """Return an endpoint that gives one answer after the other, the last for ever."""
    left = list(answers)

    async def endpoint(request: Request) -> Response:
        answer = left.pop(0) if len(left) > 1 else left[0]
        return answer(request)

    return endpoint


def accepted(location: str, **headers: str) -> Callable[[Request], Response]:
    """Return the answer that says where to look."""
    sent = {
        "Location": location,
        **{name.replace("_", "-"): text for name, text in headers.items()},
    }
    return lambda _request: Response(status_code=202, headers=sent)


def finished(_request: Request) -> Response:
    """Return the answer that ends a job."""
    return PlainTextResponse("finished")


async def echo(request: Request) -> Response:
    body = (await request.body()).decode()
    seen = {"method": request.method, "headers": request.headers.items(), "body": body}
    return Response(json.dumps(seen), media_type="application/json")


async def headers(_request: Request) -> Response:
    response = Response("ok", headers={"etag": "e", "x-lower": "1", "X-Upper": "2"})
    response.set_cookie("a", "1")
    response.set_cookie("b", "2")
    return response


async def packed(_request: Request) -> Response:
    return Response(gzip.compress(b"x" * 50), headers={"Content-Encoding": "gzip"})


async def charset(_request: Request) -> Response:
    return Response("é".encode("latin-1"), headers={"Content-Type": "text/plain; charset=latin-1"})


async def odd_charset(_request: Request) -> Response:
    return Response("é".encode(), headers={"Content-Type": "text/plain; charset=klingon"})


async def endless(_request: Request) -> Response:
    async def body() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 10_000
            await asyncio.sleep(0)  # let it be seen that nobody reads any more

    return StreamingResponse(body())


async def status(request: Request) -> Response:
    return Response("why", status_code=int(request.path_params["code"]))


async def around(_request: Request) -> Response:
    return RedirectResponse("/around")


async def elsewhere(request: Request) -> Response:
    return RedirectResponse(request.query_params["to"], status_code=307)


ROUTES = [
    Route("/echo", echo, methods=METHODS),
    Route("/headers", headers),
    Route("/packed", packed),
    Route("/charset", charset),
    Route("/odd-charset", odd_charset),
    Route("/endless", endless),
    Route("/status/{code}", status),
    Route("/around", around),
    Route("/elsewhere", elsewhere, methods=METHODS),
]


async def called(
    content: dict[str, Any] | str | None,
    *routes: Route,
    clock: JumpClock | None = None,
    seen: Seen | None = None,
    **options: Any,
) -> ActivityResult:
    """Make one call of an orchestration; ``http://host`` in it is the server's address."""
    app = Starlette(routes=[*routes, *ROUTES])

    async def watched(scope: Any, receive: Any, send: Any) -> None:
        if seen is not None:
            names = [(name.decode(), value.decode()) for name, value in scope["headers"]]
            seen.append({"path": scope["path"], "method": scope["method"], **dict(names)})
        await app(scope, receive, send)

    config = uvicorn.Config(watched, lifespan="off", log_config=None, ws="none")
    server = Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        origin = f"http://127.0.0.1:{listener.getsockname()[1]}"
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        http = DurableHttp(
            clock or HurriedClock(),
            **{"default_sleep_seconds": 30.0, "max_payload_bytes": MAX_BYTES, **options},
        )
        text = content if isinstance(content, str | None) else json.dumps(content)
        call = ActivityCall(
            generation=1,
            instance_id="i",
            task_id=0,
            name=HTTP_ACTIVITY,
            input=text and text.replace("http://host", origin),
        )
        try:
            return await http.run(call)
        finally:
            await http.close()
            server.should_exit = True
            await serving


async def answered(content: dict[str, Any], *routes: Route, **options: Any) -> dict[str, Any]:
    """Make one call and return its result."""
    result = await called(content, *routes, **options)
    assert result.failure is None
    assert result.result is not None
    found: dict[str, Any] = json.loads(result.result)
    return found


async def refused(content: dict[str, Any] | str | None, *routes: Route, **options: Any) -> str:
    """Make one call and return why it failed."""
    result = await called(content, *routes, **options)
    assert result.result is None
    assert result.failure is not None
    assert result.failure.error_type == ""
    return result.failure.message


def get(path: str, **fields: Any) -> dict[str, Any]:
    """Return the call of a path."""
    return {"method": "GET", "uri": f"http://host{path}", **fields}


async def test_a_request_goes_out_as_the_orchestration_wrote_it() -> None:
    result = await answered(
        {
            "method": "post",
            "uri": "http://host/echo",
            "content": '"ü"',
            "headers": {"X-One": "1", "Content-Type": "application/json", "X-Two": ["a", "b"]},
        }
    )
    assert result["statusCode"] == 200
    echoed = json.loads(result["content"])
    assert (echoed["method"], echoed["body"]) == ("POST", '"ü"')
    sent = [tuple(each) for each in echoed["headers"]]
    for header in [("x-one", "1"), ("content-type", "application/json"), ("x-two", "a")]:
        assert header in sent
    assert ("x-two", "b") in sent


async def test_content_is_plain_text_unless_a_header_says_otherwise() -> None:
    result = await answered({"method": "PUT", "uri": "http://host/echo", "content": "hello"})
    assert dict(json.loads(result["content"])["headers"])["content-type"] == "text/plain"


async def test_without_content_there_is_no_type_and_no_length_of_it() -> None:
    asked = get("/echo", headers={"Content-Type": "application/json", "Content-Length": "5"})
    sent = dict(json.loads((await answered(asked))["content"])["headers"])
    assert not {"content-type", "content-length"} & sent.keys()


async def test_numbers_may_be_headers_and_nothing_is_none() -> None:
    asked = get("/echo", headers={"X-Number": 5, "X-None": None})
    sent = dict(json.loads((await answered(asked))["content"])["headers"])
    assert sent["x-number"] == "5"
    assert "x-none" not in sent


@pytest.mark.parametrize("code", [204, 304, 404, 429, 500, 503])
async def test_every_status_is_a_result(code: int) -> None:
    assert (await answered(get(f"/status/{code}")))["statusCode"] == code


async def test_headers_come_back_spelt_as_on_azure_and_repeated_ones_as_a_list() -> None:
    found = (await answered(get("/headers")))["headers"]
    assert (found["ETag"], found["x-lower"], found["Content-Length"]) == ("e", "1", "2")
    assert [each.split(";")[0] for each in found["Set-Cookie"]] == ["a=1", "b=2"]


async def test_packed_content_is_unpacked_and_says_so() -> None:
    result = await answered(get("/packed", headers={"Accept-Encoding": "gzip"}))
    assert result["content"] == "x" * 50
    assert not {"Content-Encoding", "Content-Length"} & result["headers"].keys()


@pytest.mark.parametrize("path", ["/charset", "/odd-charset"])
async def test_content_is_read_in_its_charset_or_in_utf_8(path: str) -> None:
    assert (await answered(get(path)))["content"] == "é"


async def test_no_cookie_is_carried_from_one_request_to_the_next() -> None:
    def bake(_request: Request) -> Response:
        response = accepted("/job")(_request)
        response.set_cookie("session", "1")
        return response

    seen: Seen = []
    await answered(get("/job"), Route("/job", job(bake, finished)), seen=seen)
    assert [each["path"] for each in seen] == ["/job", "/job"]
    assert not any("cookie" in each for each in seen)


# Following up.


async def test_a_202_is_followed_up_until_it_is_done() -> None:
    clock, seen = HurriedClock(), Seen()
    result = await answered(
        {
            "method": "POST",
            "uri": "http://host/start",
            "content": "{}",
            "headers": {
                "X-Functions-Key": "secret",
                "Authorization": "Bearer t",
                "Content-Type": "application/json",
            },
        },
        Route("/start", job(accepted("/job/1", Retry_After="7")), methods=["POST"]),
        Route("/job/1", job(accepted("/job/1"), accepted("/job/2"), finished)),
        Route("/job/2", job(finished)),
        clock=clock,
        seen=seen,
        default_sleep_seconds=12.0,
    )
    assert (result["statusCode"], result["content"]) == (200, "finished")
    assert clock.waits == [7.0, 12.0, 12.0]
    assert [each["path"] for each in seen] == ["/start", "/job/1", "/job/1", "/job/2"]
    assert [each["method"] for each in seen] == ["POST", "GET", "GET", "GET"]
    assert [each.get("x-functions-key") for each in seen] == ["secret", None, None, None]
    assert {each["authorization"] for each in seen} == {"Bearer t"}
    assert "content-type" not in seen[1]


async def test_a_call_may_take_days() -> None:
    clock = HurriedClock()
    steps = [accepted("/job", Retry_After="86000") for _ in range(20)]
    result = await answered(get("/job"), Route("/job", job(*steps, finished)), clock=clock)
    assert result["content"] == "finished"
    assert sum(clock.waits) == 20 * 86_000


@pytest.mark.parametrize(
    ("retry_after", "seconds"),
    [
        ("Thu, 01 Jan 2026 00:05:00 GMT", 300.0),
        ("Wed, 31 Dec 2025 00:00:00 GMT", 1.0),
        ("0", 1.0),
        ("9" * 30, 86_400.0),
        ("soon", 30.0),
        ("-5", 30.0),
        ("", 30.0),
    ],
)
async def test_retry_after_is_seconds_or_a_date_within_bounds(
    retry_after: str, seconds: float
) -> None:
    clock = HurriedClock()
    route = Route("/job", job(accepted("/job", Retry_After=retry_after), finished))
    await answered(get("/job"), route, clock=clock)
    assert clock.waits == [seconds]


async def test_a_202_without_a_place_to_look_is_a_result() -> None:
    assert (await answered(get("/status/202")))["statusCode"] == 202


async def test_a_202_is_a_result_when_nobody_wants_it_followed_up() -> None:
    asked = get("/job", asynchronousPatternEnabled=False)
    result = await answered(asked, Route("/job", job(accepted("/job"))))
    assert (result["statusCode"], result["headers"]["Location"]) == (202, "/job")


async def test_a_failure_on_the_way_is_the_result() -> None:
    result = await answered(
        get("/job"),
        Route("/job", job(accepted("/status/500"))),
    )
    assert (result["statusCode"], result["content"]) == (500, "why")


async def test_a_redirect_is_followed_and_relative_places_are_read_from_its_end() -> None:
    seen: Seen = []
    result = await answered(
        get("/elsewhere?to=/deep/job"),
        Route("/deep/job", job(accepted("next"))),
        Route("/deep/next", job(finished)),
        seen=seen,
    )
    assert result["content"] == "finished"
    assert [each["path"] for each in seen] == ["/elsewhere", "/deep/job", "/deep/next"]


# What fails.


async def test_redirects_in_a_circle_fail() -> None:
    message = await refused(get("/around"))
    assert "failed: TooManyRedirects" in message


async def test_a_place_that_is_no_web_address_fails() -> None:
    route = Route("/job", job(accepted("ftp://files.example/x")))
    assert "http:// or https://" in await refused(get("/job"), route)
    assert "failed: UnsupportedProtocol" in await refused(get("/elsewhere?to=ftp://x.example/"))


async def test_a_server_that_is_not_there_fails_without_telling_secrets() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    address = f"http://user:pass@127.0.0.1:{port}/a?code=secret#part"
    message = await refused({"method": "GET", "uri": address})
    assert message.startswith(
        f"The HTTP request GET http://127.0.0.1:{port}/a failed: ConnectError"
    )
    assert "secret" not in message and "pass" not in message


async def test_a_server_that_does_not_answer_in_time_fails() -> None:
    message = await refused(get("/echo"), request_timeout_seconds=0.0)
    assert message.endswith("/echo failed: there was no response within 0 s.")


async def test_a_response_beyond_the_bound_fails_while_it_is_read() -> None:
    message = await refused(get("/endless"))
    assert f"larger than {MAX_BYTES} bytes (option --max-payload-bytes)" in message


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        (None, "malformed"),
        ("{", "malformed"),
        ({"uri": "http://host/"}, "missing required field `method`"),
        ({"method": "GET"}, "missing required field `uri`"),
        (get("/", content={"a": 1}), "malformed"),
        ({"method": "BREW", "uri": "http://host/"}, "method 'BREW' is not known"),
        ({"method": "GET", "uri": "/relative"}, "must begin with http:// or https://"),
        ({"method": "GET", "uri": "file:///etc/passwd"}, "must begin with http:// or https://"),
        ({"method": "GET", "uri": "http://"}, "must begin with http:// or https://"),
        ({"method": "GET", "uri": "http://[::x]/"}, "not a URL"),
        (get("/", headers={"X": "a\r\nY: b"}), "header 'X' cannot be sent"),
        (get("/", headers={"X Y": "a"}), "header 'X Y' cannot be sent"),
        (
            get("/", tokenSource={"resource": "https://x", "kind": "AzureManagedIdentity"}),
            "managed identity, which only Azure has",
        ),
    ],
)
async def test_a_call_that_cannot_be_made_says_why(
    asked: dict[str, Any] | str | None, reason: str
) -> None:
    seen: Seen = []
    assert reason in await refused(asked, seen=seen)
    assert seen == []


async def test_addresses_that_are_called_are_not_logged(log: io.StringIO) -> None:
    await answered(get("/echo?token=secret"))
    logging.getLogger("another").info("something else is")
    lines = [each for each in log.getvalue().splitlines() if "logger=uvicorn" not in each]
    assert [each for each in lines if "something else" in each]
    assert not [each for each in lines if "secret" in each]
