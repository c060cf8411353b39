"""Web frameworks: ASGI and WSGI apps wrapped by the SDK's own function apps."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.worker.apps import InProcessHost, ProcessHost, activity, http, load, write_app

ASGI = """\
import pathlib
import azure.functions as func

events = []


async def framework(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            events.append(message["type"])
            if message["type"] == "lifespan.shutdown":
                pathlib.Path(__file__).with_name("ended").touch()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    message = await receive()
    headers = [(b"content-type", b"text/plain"), (b"x-path", scope["path"].encode())]
    await send({"type": "http.response.start", "status": 201, "headers": headers})
    await send({"type": "http.response.body", "body": message["body"][::-1]})


app = func.AsgiFunctionApp(framework, http_auth_level=func.AuthLevel.ANONYMOUS)


@app.activity_trigger(input_name="x")
def what_happened(x):
    return events
"""
WSGI = """\
import azure.functions as func


def framework(environ, start_response):
    body = environ["wsgi.input"].read()
    headers = [("Content-Type", "text/plain"), ("X-Path", environ["PATH_INFO"])]
    start_response("201 Created", headers)
    return [body[::-1]]


app = func.WsgiFunctionApp(framework, http_auth_level=func.AuthLevel.ANONYMOUS)
"""


def request() -> dict[str, Any]:
    """Return a request to the one function that serves every path."""
    return http(
        1,
        "http_app_func",
        b"olleh",
        method="POST",
        url="http://host/api/items/5?n=1",
        route_params={"route": "api/items/5"},
    )


@pytest.mark.parametrize("open_host", [ProcessHost, InProcessHost])
@pytest.mark.parametrize("source", [ASGI, WSGI])
def test_a_wrapped_framework_answers_every_path(
    tmp_path: Path, source: str, open_host: Callable[[], Any]
) -> None:
    with open_host() as host:
        loaded = host.ask(load(write_app(tmp_path, "", head=source)))
        assert loaded["kind"] == "loaded", loaded
        found = {each["name"]: each for each in loaded["functions"]}["http_app_func"]
        assert (found["trigger"], found["route"]) == ("httpTrigger", "/{*route}")
        assert {"GET", "POST", "DELETE"} <= set(found["methods"])
        done = host.ask(request())
        assert (done["status"], base64.b64decode(done["body"])) == (201, b"hello")
        assert ["x-path", "/api/items/5"] in [[k.lower(), v] for k, v in done["headers"]]


def test_an_asgi_app_begins_once_and_ends_with_its_worker(tmp_path: Path) -> None:
    with ProcessHost() as host:
        host.ask(load(write_app(tmp_path, "", head=ASGI)))
        host.ask(request())
        host.ask(request())
        happened = json.loads(host.ask(activity(2, "what_happened"))["result"])
        assert happened == ["lifespan.startup"]
        host.post({"kind": "stop"})
        assert host.frame() is None
        assert host.wait() == 0
    assert (tmp_path / "ended").exists()
