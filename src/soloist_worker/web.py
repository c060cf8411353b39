"""HTTP functions: building the request that the app sees, reading the response that it returns."""

from __future__ import annotations

import base64
from typing import Any

from soloist_worker.app import App
from soloist_worker.calls import Call
from soloist_worker.failures import failure, failure_of
from soloist_worker.frames import Message
from soloist_worker.functions import RETURN, Function
from soloist_worker.refusals import refusal_of

_TEXT = "text/plain; charset=utf-8"


def find(app: App, message: Message) -> Function | str:
    """Return the HTTP function, or why there is none."""
    name = message["function"]
    function = app.functions.get(name)
    if function is None or function.trigger != "httpTrigger":
        return f"The app has no HTTP function '{name}'."
    return function


def prepare(call: Call) -> dict[str, Any]:
    """Return the keyword arguments for one run. A request brings a client binding of its own,
    which holds the origin that its caller used."""
    message = call.message
    return call.function.arguments(_request(message), message["client_binding"])


def done(call: Call, returned: Any, arguments: dict[str, Any]) -> Message:
    """Return the answer that carries the response.

    Raises:
        TypeError: what the function returned is no response.
    """
    function = call.function
    response = returned
    outputs = [
        each["name"]
        for each in function.bindings
        if each["type"] == "http" and each["direction"] != "in"
    ]
    if returned is None and outputs and outputs[0] != RETURN:
        response = arguments[outputs[0]].get()
    status, headers, body = _parts(function, response)
    return {
        "kind": "http_done",
        "call": call.message["call"],
        "status": status,
        "headers": headers,
        "body": base64.b64encode(body).decode("ascii"),
    }


def failed(message: Message, error: BaseException) -> Message:
    """Return the answer for an exception that escaped."""
    return {
        "kind": "http_failed",
        "call": message["call"],
        "failure": failure_of(error),
        "refusal": refusal_of(error),
    }


def refused(message: Message, text: str) -> Message:
    """Return the answer when it is not the function that speaks."""
    return {
        "kind": "http_failed",
        "call": message["call"],
        "failure": failure(text),
        "refusal": None,
    }


def _request(message: Message) -> Any:
    from azure.functions import http  # in the user's environment

    headers: dict[str, str] = {}
    for name, value in message["headers"]:
        key = name.lower()
        headers[key] = f"{headers[key]},{value}" if key in headers else value
    return http.HttpRequest(
        method=message["method"],
        url=message["url"],
        headers=headers,
        params=message["params"],
        route_params=message["route_params"],
        body_type="bytes",
        body=base64.b64decode(message["body"]),
    )


def _parts(function: Function, response: Any) -> tuple[int, list[tuple[str, str]], bytes]:
    if isinstance(response, str):
        return 200, [("Content-Type", _TEXT)], response.encode("utf-8", "replace")
    if not (hasattr(response, "status_code") and hasattr(response, "get_body")):
        raise TypeError(
            f"The HTTP function '{function.name}' returned a value of type"
            f" {type(response).__name__}; return an azure.functions.HttpResponse or a string."
        )
    headers = [(str(name), str(value)) for name, value in response.headers.items()]
    if not any(name.lower() == "content-type" for name, _ in headers):
        kind = response.mimetype
        if kind.startswith("text/"):
            kind += f"; charset={response.charset}"
        headers.append(("Content-Type", kind))
    return int(response.status_code), headers, response.get_body() or b""
