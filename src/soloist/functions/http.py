"""The HTTP triggers: an ASGI application that calls the app's HTTP functions."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Protocol

import msgspec
from starlette.types import Receive, Scope, Send

from soloist.errors import AppError, InvalidRequest, PayloadTooLarge, SettingsError, WorkerLost
from soloist.functions.binding import ClientBinding
from soloist.functions.catalogue import Catalogue
from soloist.functions.hostjson import HostJson
from soloist.functions.keys import Admission
from soloist.functions.requests import ClientGone, RequestHead, read_body, read_head
from soloist.functions.responses import Answer, answer_of, plain, send_answer
from soloist.functions.routes import RouteMatch
from soloist.functions.workers import HttpCall
from soloist.telemetry import logger
from soloist.wire import HttpDone, HttpFailed, Refusal

_log = logger(__name__)

DEFAULT_MAX_BODY_BYTES = 100 * 1024 * 1024
BODY_LIMIT_SETTING = "FUNCTIONS_REQUEST_BODY_SIZE_LIMIT"
"""The app setting, Azure's own, that overrides it."""

DEFAULT_TIMEOUT_SECONDS = 230.0
DEFAULT_MAX_OUTSTANDING_REQUESTS = 1000

_MAX_LIMIT_DIGITS = 18
_UNAVAILABLE = 503
_RETRY_SOON = ("retry-after", "1")
_HOME = "Soloist is running. It hosts a Durable Functions app; see its routes for what to call.\n"


class HttpLimits(msgspec.Struct, frozen=True, kw_only=True):
    """The bounds of the HTTP face; the timeout and the body's size are Azure's own.

    Of ``max_outstanding_requests`` at most ``max_concurrent_requests`` run while the others wait;
    more are refused.
    """

    max_body_bytes: int = DEFAULT_MAX_BODY_BYTES
    timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS
    max_outstanding_requests: int = DEFAULT_MAX_OUTSTANDING_REQUESTS
    max_concurrent_requests: int = DEFAULT_MAX_OUTSTANDING_REQUESTS


def http_limits(host_json: HostJson, environment: Mapping[str, str]) -> HttpLimits:
    """Return the bounds that an app's host.json and its app settings ask for.

    Raises:
        SettingsError: the setting for the size of a body is no number of bytes.
    """
    outstanding = host_json.max_outstanding_requests or DEFAULT_MAX_OUTSTANDING_REQUESTS
    return HttpLimits(
        max_body_bytes=_body_limit(environment.get(BODY_LIMIT_SETTING, "").strip()),
        timeout_seconds=host_json.function_timeout_seconds or DEFAULT_TIMEOUT_SECONDS,
        max_outstanding_requests=outstanding,
        max_concurrent_requests=host_json.max_concurrent_requests or outstanding,
    )


def _body_limit(text: str) -> int:
    if not text:
        return DEFAULT_MAX_BODY_BYTES
    if not (text.isascii() and text.isdigit() and len(text) <= _MAX_LIMIT_DIGITS and int(text)):
        raise SettingsError(f"{BODY_LIMIT_SETTING} must be a number of bytes; it is {text!r}.")
    return int(text)


class HttpRunner(Protocol):
    """What runs HTTP functions: the worker pool."""

    async def run_http(self, call: HttpCall) -> HttpDone | HttpFailed:
        """Run an HTTP function; see ``WorkerPool.run_http``."""


class HttpTriggers:
    """The ASGI application; mount it at ``/``, behind everything else the host serves.

    ``keys`` is asked anew for every request.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        runner: HttpRunner,
        keys: Admission,
        binding: ClientBinding,
        *,
        limits: HttpLimits | None = None,
        is_forwarded: bool = False,
    ) -> None:
        self._keys = keys
        self._catalogue = catalogue
        self._runner = runner
        self._binding = binding
        self._limits = limits or HttpLimits()
        self._is_forwarded = is_forwarded
        self._outstanding = 0
        self._turns = asyncio.Semaphore(self._limits.max_concurrent_requests)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; websockets are closed, lifespan belongs to the application."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1000})
            return
        assert scope["type"] == "http", "whoever mounts the triggers keeps the lifespan"
        try:
            answer = await self._answer(scope, receive)
        except ClientGone:
            return
        await send_answer(send, answer, is_head=scope["method"].upper() == "HEAD")

    async def _answer(self, scope: Scope, receive: Receive) -> Answer:
        try:
            head = read_head(scope, is_forwarded=self._is_forwarded)
            match = self._catalogue.routes.match(head.method, head.path)
        except InvalidRequest as error:
            return plain(400, str(error))
        if match is None:
            is_home = head.path in ("", "/") and head.method in ("GET", "HEAD")
            return plain(200, _HOME) if is_home else plain(404)
        function = self._catalogue.http[match.function]
        if not self._keys.admits(function.auth_level, function.name, head.presented_key):
            return plain(401)
        if self._outstanding >= self._limits.max_outstanding_requests:
            return plain(429, "Too many requests are under way; try again later.", _RETRY_SOON)
        self._outstanding += 1
        try:
            body = await read_body(scope, receive, self._limits.max_body_bytes)
            return await self._run(self._call(head, match, body), match.function)
        except PayloadTooLarge as error:
            limit = error.limit_bytes
            _log.info("A request's body is too large", function=match.function, limit_bytes=limit)
            return plain(
                413,
                f"The request's body is larger than {limit} bytes (app setting"
                f" {BODY_LIMIT_SETTING}).",
            )
        finally:
            self._outstanding -= 1

    def _call(self, head: RequestHead, match: RouteMatch, body: str) -> HttpCall:
        return HttpCall(
            function=match.function,
            method=head.method,
            url=head.url,
            headers=tuple(head.headers.items()),
            params=head.params,
            route_params=match.params,
            body=body,
            # Also for functions without a client: the worker lends it to activities that have one.
            client_binding=self._binding.text(head.origin),
        )

    async def _run(self, call: HttpCall, function: str) -> Answer:
        try:
            async with asyncio.timeout(self._limits.timeout_seconds), self._turns:
                outcome = await self._runner.run_http(call)
        except TimeoutError:
            seconds = f"{self._limits.timeout_seconds:g} s"
            _log.error("An HTTP function did not answer in time", function=function, limit=seconds)
            return plain(504, f"The function did not answer within {seconds}; it may still run.")
        except WorkerLost as error:
            _log.error(
                "A worker was lost under an HTTP function", function=function, why=str(error)
            )
            return plain(
                503,
                "The worker was lost before the function answered; the request may have run.",
                _RETRY_SOON,
            )
        except AppError as error:
            _log.error("An HTTP function cannot be called", function=function, why=str(error))
            return plain(500)
        if isinstance(outcome, HttpFailed):
            return _failed(outcome, function)
        try:
            return answer_of(outcome)
        except ValueError as error:
            _log.error("An HTTP response cannot be sent", function=function, why=str(error))
            return plain(500)


def _failed(failed: HttpFailed, function: str) -> Answer:
    """Answer for a function that raised."""
    if failed.refusal is not None:
        return _refused(failed.refusal, function)
    failure = failed.failure
    _log.error(
        "An HTTP function raised",
        function=function,
        error=f"{failure.error_type}: {failure.message}" if failure.error_type else failure.message,
        exception=failure.stack_trace or None,
    )
    return plain(500)


def _refused(refusal: Refusal, function: str) -> Answer:
    """Answer for a refusal of a durable client that escaped: the caller is told what the client
    was, as if it had called the management API. That makes check-then-start code correct under any
    load, and spares functions the checks that the host makes anyway."""
    if refusal.status == _UNAVAILABLE:
        _log.warning("An HTTP function could not be served", function=function, why=refusal.text)
        return plain(503, "The task hub cannot be reached. Try again.", _RETRY_SOON)
    _log.info(
        "An HTTP function's durable client was refused",
        function=function,
        status=refusal.status,
        why=refusal.text,
    )
    return plain(refusal.status, refusal.text)
