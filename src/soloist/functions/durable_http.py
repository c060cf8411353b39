"""Durable HTTP: the built-in activity behind ``call_http``.

One call is one task of the orchestration, however long it takes: a response of 202 that says where
to look is followed up in here, until it is another. The call is kept by its ``TaskScheduled``
alone, so a host that takes it over makes the request again from the start.

Every status is a result; only what yields no response fails. The texts of failures and logs name
no query and no header, for secrets stand there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Final

import httpx
import msgspec

from soloist.contracts.clock import Clock
from soloist.contracts.executor import ActivityCall, ActivityResult
from soloist.core.failures import FailureDetails
from soloist.functions.responses import CONNECTION_HEADERS, is_header

DEFAULT_REQUEST_TIMEOUT_SECONDS = 100.0
MAX_REDIRECTS = 20
MAX_CONNECTIONS = 1_000
MIN_WAIT_SECONDS = 1.0
MAX_WAIT_SECONDS = 86_400.0

_ACCEPTED = 202
_DEFAULT_CONTENT_TYPE = "text/plain"
_METHODS: Final = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE"})
_SPELLINGS: Final = {
    name.lower(): name
    for name in (
        "Accept-Ranges",
        "Age",
        "Allow",
        "Cache-Control",
        "Connection",
        "Content-Disposition",
        "Content-Encoding",
        "Content-Language",
        "Content-Length",
        "Content-Location",
        "Content-MD5",
        "Content-Range",
        "Content-Type",
        "Date",
        "ETag",
        "Expires",
        "Last-Modified",
        "Link",
        "Location",
        "Operation-Location",
        "Pragma",
        "Retry-After",
        "Server",
        "Set-Cookie",
        "Strict-Transport-Security",
        "Transfer-Encoding",
        "Vary",
        "Via",
        "Warning",
        "WWW-Authenticate",
    )
}
"""Names that apps look up as Azure spells them, however a server does."""


class _Request(msgspec.Struct, frozen=True, rename="camel"):
    method: str
    uri: str
    content: str | None = None
    headers: dict[str, str | int | float | list[str] | None] | None = None
    token_source: dict[str, object] | None = None
    asynchronous_pattern_enabled: bool = True


class _Response(msgspec.Struct, frozen=True):
    status: int
    url: httpx.URL
    headers: httpx.Headers
    content: str


class _CallFailed(Exception):
    """The call cannot be made or has no response; the text is a full sentence."""


class DurableHttp:
    """Makes the HTTP calls of orchestrations.

    Waits between polls go by ``clock``; ``default_sleep_seconds`` is theirs where a response
    does not say. One exchange, its redirects included, may take ``request_timeout_seconds`` of
    real time and bring a body of ``max_payload_bytes``.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        default_sleep_seconds: float,
        max_payload_bytes: int,
        request_timeout_seconds: float = DEFAULT_REQUEST_TIMEOUT_SECONDS,
    ) -> None:
        self._clock = clock
        self._default_sleep_seconds = default_sleep_seconds
        self._max_payload_bytes = max_payload_bytes
        self._request_timeout_seconds = request_timeout_seconds
        self._client: httpx.AsyncClient | None = None
        self._exchanges: set[asyncio.Future[None]] = set()

    @property
    def in_flight(self) -> int:
        """How many requests wait for their response; a call between two polls has none."""
        return len(self._exchanges)

    async def drain(self, timeout_seconds: float) -> bool:
        """Wait until every request has its response; ``False`` when some had none in time."""
        if self._exchanges:
            await asyncio.wait(self._exchanges, timeout=timeout_seconds)
        return not self._exchanges

    async def run(self, call: ActivityCall) -> ActivityResult:
        """Make the call that ``call.input`` describes, and follow it up until it is done."""
        try:
            request = _parsed(call.input)
            response = await self._exchange(_first_request(self._opened(), request))
            while request.asynchronous_pattern_enabled and _is_pending(response):
                await self._clock.sleep(self._wait_seconds(response))
                response = await self._exchange(_poll(self._opened(), request, response))
        except _CallFailed as error:
            return ActivityResult(failure=FailureDetails(str(error)))
        return ActivityResult(result=_result(response))

    async def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            await self._client.aclose()

    def _opened(self) -> httpx.AsyncClient:
        """Return the client, made when it is first needed: reading the certificates takes time."""
        if self._client is None:
            self._client = httpx.AsyncClient(
                headers={"Accept-Encoding": "identity", "User-Agent": "soloist"},
                # Calls have nothing to do with each other.
                cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
                follow_redirects=True,
                max_redirects=MAX_REDIRECTS,
                timeout=None,  # noqa: S113  # an exchange as a whole has one
                limits=httpx.Limits(max_connections=MAX_CONNECTIONS, max_keepalive_connections=20),
            )
        return self._client

    async def _exchange(self, request: httpx.Request) -> _Response:
        ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._exchanges.add(ended)
        try:
            return await self._answered(request)
        finally:
            self._exchanges.discard(ended)
            ended.set_result(None)

    async def _answered(self, request: httpx.Request) -> _Response:
        try:
            async with asyncio.timeout(self._request_timeout_seconds):
                response = await self._opened().send(request, stream=True)
                try:
                    return await self._read(response)
                finally:
                    await response.aclose()
        except TimeoutError:
            reason = f"there was no response within {self._request_timeout_seconds:g} s"
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            reason = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        raise _CallFailed(f"The HTTP request {_named(request)} failed: {reason}.")

    async def _read(self, response: httpx.Response) -> _Response:
        body = bytearray()
        async for chunk in response.aiter_bytes():
            body += chunk
            if len(body) > self._max_payload_bytes:
                raise _CallFailed(
                    f"The response to {_named(response.request)} is larger than"
                    f" {self._max_payload_bytes} bytes (option --max-payload-bytes)."
                )
        content = _decoded(bytes(body), response.charset_encoding)
        return _Response(response.status_code, response.url, response.headers, content)

    def _wait_seconds(self, response: _Response) -> float:
        asked = _retry_after_seconds(response.headers.get("retry-after"), self._clock.now())
        seconds = self._default_sleep_seconds if asked is None else asked
        return min(max(seconds, MIN_WAIT_SECONDS), MAX_WAIT_SECONDS)


def _parsed(text: str | None) -> _Request:
    try:
        request = msgspec.json.decode(text or "null", type=_Request)
    except msgspec.MsgspecError as error:
        raise _CallFailed(f"The HTTP call is malformed: {error}.") from error
    if request.token_source is not None:
        raise _CallFailed(
            "The HTTP call asks for a token of a managed identity, which only Azure has. Get a"
            " token in an activity and pass it in the header 'Authorization'."
        )
    if request.method.upper() not in _METHODS:
        raise _CallFailed(f"The HTTP call's method '{request.method}' is not known.")
    return request


def _first_request(client: httpx.AsyncClient, request: _Request) -> httpx.Request:
    headers = _sendable_headers(request)
    if request.content is None:
        headers = [(name, value) for name, value in headers if name.lower() != "content-type"]
        return client.build_request(request.method.upper(), _url(request.uri), headers=headers)
    if not any(name.lower() == "content-type" for name, _ in headers):
        headers.append(("Content-Type", _DEFAULT_CONTENT_TYPE))
    body = request.content.encode("utf-8", "replace")
    return client.build_request(
        request.method.upper(), _url(request.uri), headers=headers, content=body
    )


def _poll(client: httpx.AsyncClient, request: _Request, last: _Response) -> httpx.Request:
    """Return the next question about a call that is under way elsewhere; the key of the function
    that was called first is no business of what answers now."""
    headers = [
        (name, value)
        for name, value in _sendable_headers(request)
        if name.lower() not in ("content-type", "x-functions-key")
    ]
    url = _url(last.headers["location"], last.url)
    return client.build_request("GET", url, headers=headers)


def _url(text: str, base: httpx.URL | None = None) -> httpx.URL:
    try:
        url = httpx.URL(text) if base is None else base.join(text)
    except httpx.InvalidURL as error:
        raise _CallFailed(f"The HTTP call's address is not a URL: {error}.") from error
    if url.scheme not in ("http", "https") or not url.host:
        raise _CallFailed(
            "The HTTP call's address must begin with http:// or https:// and a host;"
            f" its scheme is '{url.scheme}' and its host '{url.host}'."
        )
    return url


def _sendable_headers(request: _Request) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for name, value in (request.headers or {}).items():
        if value is None or name.lower() in CONNECTION_HEADERS:
            continue
        for each in value if isinstance(value, list) else [str(value)]:
            if not is_header(name, each):
                raise _CallFailed(f"The HTTP call's header '{name}' cannot be sent.")
            found.append((name, each))
    return found


def _is_pending(response: _Response) -> bool:
    return response.status == _ACCEPTED and "location" in response.headers


def _retry_after_seconds(text: str | None, now: datetime) -> float | None:
    """Read seconds or a date; ``None`` for what is neither."""
    text = (text or "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:18])
    try:
        when = parsedate_to_datetime(text)
    except ValueError:
        return None
    return ((when if when.tzinfo else when.replace(tzinfo=UTC)) - now).total_seconds()


def _decoded(body: bytes, charset: str | None) -> str:
    try:
        return body.decode(charset or "utf-8", "replace")
    except LookupError:
        return body.decode("utf-8", "replace")


def _result(response: _Response) -> str:
    """Return the JSON text that the orchestration gets."""
    pairs: Iterable[tuple[str, str]] = (
        (name.decode("latin-1"), value.decode("latin-1")) for name, value in response.headers.raw
    )
    if "content-encoding" in response.headers:  # the content has been decoded
        told = ("content-encoding", "content-length")
        pairs = [(name, value) for name, value in pairs if name.lower() not in told]
    values: dict[str, list[str]] = {}
    spellings: dict[str, str] = {}
    for name, value in pairs:
        spelling = spellings.setdefault(name.lower(), _SPELLINGS.get(name.lower(), name))
        values.setdefault(spelling, []).append(value)
    headers = {name: found[0] if len(found) == 1 else found for name, found in values.items()}
    result = {"statusCode": response.status, "headers": headers, "content": response.content}
    return msgspec.json.encode(result).decode()


def _named(request: httpx.Request) -> str:
    """Return a request's name without what may be secret in it."""
    url = request.url.copy_with(query=None, fragment=None, userinfo=b"")
    return f"{request.method} {url}"
