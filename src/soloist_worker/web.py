"""HTTP functions: building the request that the app sees, reading the response that it returns."""

from __future__ import annotations

import base64
from typing import Any

from soloist_worker.client import conflict_id_of
from soloist_worker.failures import failure, failure_of
from soloist_worker.frames import Message
from soloist_worker.functions import RETURN, Function

_TEXT = "text/plain; charset=utf-8"


def run(function: Function, message: Message) -> Message:
    """Run a synchronous function here and now; whatever it raises is an answer."""
    call: int = message["call"]
    try:
        arguments = function.arguments(_request(message), message["client_binding"])
        return _done(call, function, function.call(**arguments), arguments)
    except BaseException as error:
        return failed(call, error)


async def run_async(function: Function, message: Message) -> Message:
    """Run an asynchronous function; whatever it raises is an answer."""
    call: int = message["call"]
    try:
        arguments = function.arguments(_request(message), message["client_binding"])
        return _done(call, function, await function.call(**arguments), arguments)
    except BaseException as error:
        return failed(call, error)


def failed(call: int, error: BaseException) -> Message:
    """Return the answer for an exception that escaped."""
    return {
        "kind": "http_failed",
        "call": call,
        "failure": failure_of(error),
        "conflict_id": conflict_id_of(error),
    }


def refused(call: int, text: str) -> Message:
    """Return the answer when it is not the function that speaks."""
    return {"kind": "http_failed", "call": call, "failure": failure(text), "conflict_id": None}


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


def _done(call: int, function: Function, returned: Any, arguments: dict[str, Any]) -> Message:
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
        "call": call,
        "status": status,
        "headers": headers,
        "body": base64.b64encode(body).decode("ascii"),
    }


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
