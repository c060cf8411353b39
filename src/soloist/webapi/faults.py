"""Faults: every way in which a call can fail, as an answer.

A body, where there is one, has the four keys of the Functions host's full error body, because
the Python client reads ``ExceptionMessage`` and nothing else. The exception types are those that
callers know from Durable Functions.
"""

from __future__ import annotations

from enum import Enum
from uuid import uuid4

import msgspec

from soloist.errors import InstanceExists, Kind, SoloistError
from soloist.telemetry import logger
from soloist.webapi.exchange import Response, json_response
from soloist.webapi.query import parse_instant
from soloist.webapi.reports import whole_seconds

_log = logger(__name__)

NOT_FOUND = Response(404)
UNAUTHORISED = Response(401)

_ARGUMENT = "System.ArgumentException"
_EXISTS = "DurableTask.Core.Exceptions.OrchestrationAlreadyExistsException"
_FAILURE = "System.Exception"
_RETRY_AFTER_SECONDS = 1


class _Shape(Enum):
    FULL = "the four keys"
    TEXT = "the text as a JSON string"
    EMPTY = "no body"


class _Fault(msgspec.Struct, frozen=True):
    status: int
    exception_type: str
    shape: _Shape = _Shape.FULL
    is_passing: bool = False


_FAULTS = {
    Kind.INVALID: _Fault(400, _ARGUMENT),
    Kind.TOO_LARGE: _Fault(413, _ARGUMENT),
    Kind.NOT_FOUND: _Fault(404, _ARGUMENT, _Shape.EMPTY),
    Kind.CONFLICT: _Fault(409, _EXISTS),
    Kind.GONE: _Fault(410, "System.InvalidOperationException", _Shape.EMPTY),
    Kind.PRECONDITION: _Fault(412, "System.InvalidOperationException", _Shape.TEXT),
    Kind.EXHAUSTED: _Fault(429, _FAILURE, is_passing=True),
    Kind.UNAVAILABLE: _Fault(503, "System.TimeoutException", is_passing=True),
    Kind.INTERNAL: _Fault(500, _FAILURE),
}
assert set(_FAULTS) == set(Kind), "every kind of error has an answer"


def full_body(text: str, exception_type: str) -> dict[str, str]:
    """Return the host's full error body, its keys in the order of the original."""
    return {
        "Message": text,
        "ExceptionMessage": text,
        "ExceptionType": exception_type,
        "StackTrace": "",
    }


def refusal(error: SoloistError) -> Response:
    """Return the answer to a call that ended in ``error``."""
    fault = _FAULTS[error.kind]
    if error.kind is Kind.INTERNAL:
        _log.error("the management API failed", exc_info=error)
    headers = {}
    if fault.is_passing:
        headers["Retry-After"] = str(error.retry_after_seconds or _RETRY_AFTER_SECONDS)
    match fault.shape:
        case _Shape.EMPTY:
            return Response(fault.status, headers)
        case _Shape.TEXT:
            return json_response(fault.status, str(error), headers)
    return json_response(fault.status, full_body(str(error), fault.exception_type), headers)


def conflict(error: InstanceExists, status_uri: str, text: str | None = None) -> Response:
    """Return the answer to a start that met an instance: its state and where to follow it.

    The four keys of every error come first, and their text is that of Durable Functions, because
    programs look for "already exists" in it.
    """
    created_at = parse_instant(error.created_at)
    return json_response(
        _FAULTS[error.kind].status,
        {
            **full_body(str(error) if text is None else text, _EXISTS),
            "instanceId": error.instance_id,
            "runtimeStatus": error.status,
            "createdTime": whole_seconds(created_at) if created_at else error.created_at,
            "statusQueryGetUri": status_uri,
        },
    )


def invalid(text: str, status: int = 400) -> Response:
    """Return the answer to a call that is malformed, or that is refused in so many words."""
    return json_response(status, full_body(text, _ARGUMENT))


def breakdown(error: Exception) -> Response:
    """Log an error that nobody foresaw; the answer tells where to find it and nothing more."""
    error_id = uuid4().hex
    _log.error("the management API failed", error_id=error_id, exc_info=error)
    text = f"Something went wrong while processing your request (error id {error_id})."
    return json_response(500, full_body(text, _FAILURE))
