"""HTTP requests as the Functions host hands them to a function."""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterable
from urllib.parse import parse_qsl

import msgspec
from starlette.types import Receive, Scope

from soloist.errors import InvalidRequest, PayloadTooLarge
from soloist.functions.keys import presented_key

MAX_QUERY_FIELDS = 1000

_HOST = re.compile(
    r"[A-Za-z0-9._~-]{1,255}(?::[0-9]{1,5})?|\[[0-9A-Fa-f:.]{2,45}\](?::[0-9]{1,5})?"
)
_NOT_ASCII = re.compile(rb"[^\x00-\x7f]")
_SCHEMES = ("http", "https")
_LENGTH_DIGITS = 18  # more are not a length, however they are meant


class ClientGone(Exception):
    """The caller closed the connection before its request was whole."""


class RequestHead(msgspec.Struct, frozen=True, kw_only=True):
    """All of a request but its body.

    ``path`` is still percent-encoded. Header names are lower-case and each stands once, repeated
    ones joined. ``params`` hold the query without empty values, as Azure passes it on.
    ``presented_key`` is a credential: never log it, nor ``url``.
    """

    method: str
    path: str
    origin: str
    url: str
    headers: dict[str, str]
    params: dict[str, str]
    presented_key: str | None


def read_head(scope: Scope, *, is_forwarded: bool = False) -> RequestHead:
    """Read what an ASGI ``scope`` says. With ``is_forwarded`` the proxy's ``X-Forwarded-Host``
    and ``X-Forwarded-Proto`` are believed when both are there.

    Raises:
        InvalidRequest: the host's name or the query is malformed.
    """
    headers = _joined_headers(scope["headers"])
    raw_path: bytes = scope.get("raw_path") or scope["path"].encode()
    path = _NOT_ASCII.sub(lambda found: b"%%%02X" % ord(found[0]), raw_path).decode("ascii")
    query = scope["query_string"].decode("latin-1")
    origin = _origin(scope, headers, is_forwarded=is_forwarded)
    pairs = _query_pairs(query)
    return RequestHead(
        method=scope["method"].upper(),
        path=path,
        origin=origin,
        url=f"{origin}{path}?{query}" if query else f"{origin}{path}",
        headers=headers,
        params=_joined_params(pairs),
        presented_key=presented_key(headers, {key.lower(): value for key, value in pairs[::-1]}),
    )


async def read_body(scope: Scope, receive: Receive, max_bytes: int) -> str:
    """Read the whole body and return it in Base64.

    Raises:
        PayloadTooLarge: it is longer than ``max_bytes``; declared lengths are refused unread.
        ClientGone: the caller left.
    """
    declared = next((value for name, value in scope["headers"] if name == b"content-length"), b"")
    if declared.isdigit() and int(declared[:_LENGTH_DIGITS]) > max_bytes:
        raise PayloadTooLarge("The request's body", int(declared[:_LENGTH_DIGITS]), max_bytes)
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > max_bytes:
            raise PayloadTooLarge("The request's body", size, max_bytes)
        chunks.append(chunk)
        if not message.get("more_body", False):
            break
    body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
    return binascii.b2a_base64(body, newline=False).decode() if body else ""


def _joined_headers(raw: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for raw_name, raw_value in raw:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        if name in headers:
            separator = "; " if name == "cookie" else ","
            headers[name] = f"{headers[name]}{separator}{value}"
        else:
            headers[name] = value
    return headers


def _query_pairs(query: str) -> list[tuple[str, str]]:
    if not query:
        return []
    try:
        return parse_qsl(query, max_num_fields=MAX_QUERY_FIELDS)
    except ValueError:
        raise InvalidRequest(f"The query has more than {MAX_QUERY_FIELDS} fields.") from None


def _joined_params(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Join the values of repeated names with commas; names differ by more than case."""
    params: dict[str, str] = {}
    spelling: dict[str, str] = {}
    for name, value in pairs:
        known = spelling.setdefault(name.lower(), name)
        params[known] = f"{params[known]},{value}" if known in params else value
    return params


def _origin(scope: Scope, headers: dict[str, str], *, is_forwarded: bool) -> str:
    scheme, host = scope.get("scheme", "http"), headers.get("host", "")
    if is_forwarded and "x-forwarded-host" in headers and "x-forwarded-proto" in headers:
        host = headers["x-forwarded-host"].split(",", 1)[0].strip()
        scheme = headers["x-forwarded-proto"].split(",", 1)[0].strip().lower()
    if not host and scope.get("server"):
        name, port = scope["server"]
        host = f"{name}:{port}" if port else str(name)
    # It ends up in links that others follow.
    if scheme not in _SCHEMES or _HOST.fullmatch(host) is None:
        raise InvalidRequest("The request's host name or scheme is malformed.")
    return f"{scheme}://{host}"
