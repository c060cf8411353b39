"""What goes in and what comes out: a request and its response, free of any transport."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import msgspec

from soloist.webapi.access import Access
from soloist.webapi.json_text import write_json
from soloist.webapi.query import Query

JSON_CONTENT_TYPE = "application/json; charset=utf-8"

_NO_HEADERS: Mapping[str, str] = MappingProxyType({})


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """One call of the management API.

    ``segments`` are the decoded parts of the path below the API's base. ``base_url`` is how the
    caller reaches that base, ``url`` what it asked for, unchanged. Header names are lower-case.
    ``is_local`` says that a durable client of the app's own functions asks.
    ``access`` is how far the caller was let in.
    """

    method: str
    segments: tuple[str, ...]
    base_url: str
    url: str
    query: Query = msgspec.field(default_factory=Query)
    headers: Mapping[str, str] = _NO_HEADERS
    body: bytes = b""
    is_local: bool = False
    access: Access = Access.FULL


class Response(msgspec.Struct, frozen=True):
    """The answer. A body, when there is one, is JSON."""

    status: int
    headers: Mapping[str, str] = _NO_HEADERS
    body: bytes = b""


def json_response(status: int, value: object, headers: Mapping[str, str] = _NO_HEADERS) -> Response:
    """Return a response whose body is ``value`` as compact JSON, nulls written."""
    return Response(status, {"Content-Type": JSON_CONTENT_TYPE, **headers}, body=write_json(value))
