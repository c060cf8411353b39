"""What is added to every response: CORS, and headers that the app's files ask for."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.types import Message, Receive, Scope, Send

from soloist.functions.headers import ResponseHeaders, web_middleware
from soloist.functions.hostjson import HostJson
from soloist.functions.localsettings import LocalSettings, parse_local_settings

PAGE = "https://page.example"


async def say(_request: Request) -> Response:
    return Response("said", headers={"X-Own": "mine"})


async def refuse(scope: Scope, receive: Receive, send: Send) -> None:
    await Response(status_code=401)(scope, receive, send)


def app_with(
    host_json: HostJson | None = None, local_settings: LocalSettings | None = None
) -> Starlette:
    """Return an application inside of what the files ask for."""
    return Starlette(
        routes=[Route("/say", say), Mount("/", refuse)],
        middleware=web_middleware(host_json or HostJson(), local_settings or LocalSettings()),
    )


def ask(app: Starlette, method: str, url: str, **headers: str) -> httpx.Response:
    """Send one request."""

    async def run() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app)) as client:
            return await client.request(method, url, headers=headers)

    return asyncio.run(run())


def cors(origins: str, *, credentials: bool = False) -> LocalSettings:
    """Return the settings of a file."""
    flag = "true" if credentials else "false"
    return parse_local_settings(f'{{"Host": {{"CORS": "{origins}", "CORSCredentials": {flag}}}}}')


def test_without_a_wish_nothing_is_put_in_the_way() -> None:
    assert web_middleware(HostJson(), LocalSettings()) == []


@pytest.mark.parametrize(
    ("origins", "allowed"),
    [
        ("*", "*"),
        (f"http://other.example, {PAGE}", PAGE),
        ("HTTPS://Page.example/", PAGE),
        ("http://other.example", None),
    ],
)
def test_pages_of_the_origins_listed_may_read_responses(origins: str, allowed: str | None) -> None:
    app = app_with(local_settings=cors(origins))
    response = ask(app, "GET", "http://host/say", origin=PAGE)
    assert response.text == "said"
    assert response.headers.get("access-control-allow-origin") == allowed


def test_pages_may_ask_with_credentials_only_when_told_so() -> None:
    def allowed(*, credentials: bool) -> object:
        app = app_with(local_settings=cors(PAGE, credentials=credentials))
        response = ask(app, "GET", "http://host/say", origin=PAGE)
        return response.headers.get("access-control-allow-credentials")

    assert (allowed(credentials=True), allowed(credentials=False)) == ("true", None)


def test_a_browsers_question_is_answered_before_keys_are_asked_for() -> None:
    response = ask(
        app_with(local_settings=cors(PAGE)),
        "OPTIONS",
        "http://host/guarded",
        **{
            "origin": PAGE,
            "access-control-request-method": "DELETE",
            "access-control-request-headers": "x-functions-key",
        },
    )
    assert response.status_code == 200
    assert "DELETE" in response.headers["access-control-allow-methods"]
    assert response.headers["access-control-allow-headers"] == "x-functions-key"
    assert ask(app_with(local_settings=cors(PAGE)), "GET", "http://host/x").status_code == 401


def test_headers_of_the_app_are_added_where_a_response_has_none_of_its_own() -> None:
    app = app_with(HostJson(custom_headers=(("x-own", "theirs"), ("x-frame-options", "DENY"))))
    said, refused = ask(app, "GET", "http://host/say"), ask(app, "GET", "http://host/x")
    assert (said.headers["x-own"], said.headers["x-frame-options"]) == ("mine", "DENY")
    assert (refused.status_code, refused.headers["x-own"]) == (401, "theirs")


@pytest.mark.parametrize(
    ("url", "value"),
    [
        ("https://host/say", "max-age=5"),
        ("https://host:8443/say", "max-age=5"),
        ("http://host/say", None),
        ("https://localhost/say", None),
        ("https://127.0.0.1:7071/say", None),
        ("https://[::1]/say", None),
        ("https://[::1]:7071/say", None),
    ],
)
def test_transport_security_is_asked_for_over_https_and_not_under_a_local_name(
    url: str, value: str | None
) -> None:
    response = ask(app_with(HostJson(hsts="max-age=5")), "GET", url)
    assert response.headers.get("strict-transport-security") == value


def test_what_is_no_request_passes_through() -> None:
    seen: list[str] = []

    async def inner(scope: Scope, _receive: Receive, _send: Send) -> None:
        seen.append(scope["type"])

    async def receive() -> Message:
        return {"type": "lifespan.startup"}

    async def send(_message: Message) -> None:
        raise AssertionError("nothing is sent")

    asyncio.run(ResponseHeaders(inner)({"type": "lifespan"}, receive, send))
    assert seen == ["lifespan"]
