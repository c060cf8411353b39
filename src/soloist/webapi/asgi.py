"""The HTTP door: the management API as an ASGI application.

Paths below ``/runtime/webhooks/durabletask``; Durable Functions HTTP API reference.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import parse_qsl, quote, unquote_to_bytes

from starlette.requests import ClientDisconnect
from starlette.routing import BaseRoute, Match
from starlette.types import Message, Receive, Scope, Send

from soloist.errors import InvalidRequest, PayloadTooLarge
from soloist.webapi import faults
from soloist.webapi.access import Access, AccessRequest, Authorise
from soloist.webapi.exchange import Request, Response
from soloist.webapi.links import BASE_PATH
from soloist.webapi.management import Management
from soloist.webapi.query import Query
from soloist.webapi.routes import find_route

MAX_QUERY_FIELDS = 200

_AUTHORITY = re.compile(r"[A-Za-z0-9._~\-]+(:[0-9]{1,5})?|\[[0-9A-Fa-f:.]+\](:[0-9]{1,5})?")
_SCHEMES = ("http", "https")
_PREFIX = tuple(BASE_PATH.strip("/").split("/"))
_INSTANCES = "instances"  # what follows it in a path is an instance's id
_OUR_OWN_NAME = "localhost"


class ManagementApp:
    """Serves the management API under its own path, or wherever it is mounted.

    ``authorise`` is asked about every path, known or not. ``trusts_forwarded_host`` is
    host.json's ``httpSettings.useForwardedHost``: links are then written for the host that a
    proxy names.
    """

    def __init__(
        self,
        management: Management,
        *,
        authorise: Authorise,
        trusts_forwarded_host: bool = False,
    ) -> None:
        self._management = management
        self._authorise = authorise
        self._trusts_forwarded_host = trusts_forwarded_host

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request."""
        assert scope["type"] == "http", "the management API speaks HTTP only"
        try:
            response = await self._respond(scope, receive)
        except ClientDisconnect:
            return
        await _send(response, send)

    async def _respond(self, scope: Scope, receive: Receive) -> Response:
        headers = _headers(scope)
        fields = _query_fields(scope)
        query = Query(fields or ())
        segments = _segments(scope)
        access = self._authorise(_asked(scope["method"], segments, headers, query))
        if access is Access.NONE:
            return faults.UNAUTHORISED
        if segments is None:
            return faults.invalid("The path is not valid UTF-8.")
        if fields is None:
            return faults.invalid("The query is not valid UTF-8.")
        try:
            body = await self._body(scope["method"], headers, receive)
        except InvalidRequest as error:
            return faults.refusal(error)
        origin = self._origin(scope, headers)
        return await self._management.answer(
            Request(
                method=scope["method"],
                segments=segments,
                base_url=origin + BASE_PATH,
                url=origin + _target(scope),
                query=query,
                headers=headers,
                body=body,
                access=access,
            )
        )

    async def _body(self, method: str, headers: Mapping[str, str], receive: Receive) -> bytes:
        if method != "POST":
            return b""
        limit = self._management.max_body_bytes
        announced = headers.get("content-length", "")
        if announced.isdecimal() and int(announced) > limit:
            raise PayloadTooLarge("The request's body", int(announced), limit)
        chunks: list[bytes] = []
        size_bytes = 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            chunks.append(message.get("body", b""))
            size_bytes += len(chunks[-1])
            if size_bytes > limit:
                raise PayloadTooLarge("The request's body, as far as read,", size_bytes, limit)
            if not message.get("more_body", False):
                return b"".join(chunks)

    def _origin(self, scope: Scope, headers: Mapping[str, str]) -> str:
        """Return scheme and authority as the caller knows them."""
        if self._trusts_forwarded_host:
            host = _first_hop(headers.get("x-forwarded-host", ""))
            scheme = _first_hop(headers.get("x-forwarded-proto", "")).lower()
            if _AUTHORITY.fullmatch(host) and scheme in _SCHEMES:
                return f"{scheme}://{host}"
        host = headers.get("host", "")
        if not _AUTHORITY.fullmatch(host):  # a header that cannot stand in a URL
            host = _server_name(scope)
        return f"{scope.get('scheme', 'http')}://{host}"


class ManagementRoute(BaseRoute):
    """The place of a :class:`ManagementApp` among a Starlette application's routes.

    Unlike a ``Mount`` it compares the path without case, as the Functions host does, and takes
    the base path itself too, so that no path under it escapes authorisation.
    """

    def __init__(self, app: ManagementApp) -> None:
        self.app = app

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Take every HTTP request at or below the base path."""
        if scope["type"] == "http" and _starts_with_prefix(_own_path(scope).strip("/").split("/")):
            return Match.FULL, {}
        return Match.NONE, {}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request."""
        await self.app(scope, receive, send)


def _headers(scope: Scope) -> dict[str, str]:
    headers: dict[str, str] = {}
    for name, value in scope["headers"]:
        headers.setdefault(name.decode("latin-1").lower(), value.decode("latin-1"))
    return headers


def _query_fields(scope: Scope) -> list[tuple[str, str]] | None:
    """Return the decoded names and values of the query, ``None`` when it is not UTF-8."""
    try:
        text = scope.get("query_string", b"").decode()
        fields = text.split("&", MAX_QUERY_FIELDS)[:MAX_QUERY_FIELDS]
        return parse_qsl("&".join(fields), keep_blank_values=True, errors="strict")
    except UnicodeDecodeError:
        return None


def _asked(
    method: str, segments: tuple[str, ...] | None, headers: Mapping[str, str], query: Query
) -> AccessRequest:
    match = None if segments is None else find_route(method, segments)
    if segments is None or match is None:
        return AccessRequest(headers, query.first_values())
    is_instances = len(segments) > 1 and segments[0].lower() == _INSTANCES
    instance_id = segments[1] if is_instances else None
    return AccessRequest(headers, query.first_values(), match.route.operation, instance_id)


def _segments(scope: Scope) -> tuple[str, ...] | None:
    """Return the decoded segments below the base path, ``None`` when it is not UTF-8."""
    raw = _own_path(scope).strip("/").split("/")
    if _starts_with_prefix(raw):
        raw = raw[len(_PREFIX) :]
    below = "/".join(raw).strip("/")
    try:
        return tuple(unquote_to_bytes(each).decode() for each in below.split("/"))
    except UnicodeDecodeError:
        return None


def _own_path(scope: Scope) -> str:
    """Return the path as it was sent, without what the server or a mount put before it."""
    path = _raw_path(scope)
    root = quote(scope.get("root_path", ""))
    is_below = bool(root) and (path + "/").lower().startswith(root.rstrip("/").lower() + "/")
    return path[len(root.rstrip("/")) :] if is_below else path


def _raw_path(scope: Scope) -> str:
    raw: bytes | None = scope.get("raw_path")
    return quote(scope["path"]) if raw is None else raw.split(b"?", 1)[0].decode("latin-1")


def _starts_with_prefix(segments: list[str]) -> bool:
    return tuple(each.lower() for each in segments[: len(_PREFIX)]) == _PREFIX


def _target(scope: Scope) -> str:
    query = scope.get("query_string", b"").decode("latin-1")
    return f"{_raw_path(scope)}?{query}" if query else _raw_path(scope)


def _first_hop(header: str) -> str:
    return header.split(",", 1)[0].strip()


def _server_name(scope: Scope) -> str:
    name, port = scope.get("server") or (_OUR_OWN_NAME, None)
    return f"{name}:{port}" if port else str(name)


async def _send(response: Response, send: Send) -> None:
    headers = [
        (name.lower().encode("latin-1"), value.encode("latin-1"))
        for name, value in response.headers.items()
    ]
    headers.append((b"content-length", str(len(response.body)).encode()))
    start: Message = {
        "type": "http.response.start",
        "status": response.status,
        "headers": headers,
    }
    await send(start)
    await send({"type": "http.response.body", "body": response.body})
