"""Operations: what each call of the management API does.

Durable Functions HTTP API reference; a handler reads a request, speaks to the client and says
what is to be answered. Errors pass through to ``faults``.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from soloist.client import Client
from soloist.core.ids import check_instance_id
from soloist.core.instances import (
    DEFAULT_PAGE_SIZE,
    MAX_PAGE_SIZE,
    InstanceQuery,
    InstanceRecord,
    StartReceipt,
)
from soloist.core.policy import StartDecision, StartPolicy
from soloist.core.status import RuntimeStatus
from soloist.errors import (
    InstanceExists,
    InstanceFinished,
    InstanceNotFound,
    InvalidRequest,
)
from soloist.webapi import faults
from soloist.webapi.exchange import Request, Response, json_response
from soloist.webapi.json_text import body_text
from soloist.webapi.links import Links
from soloist.webapi.query import Query
from soloist.webapi.reports import history_report, output_of, status_report

DEFAULT_MAX_WAIT_SECONDS = 230.0
"""The longest a start waits for its instance, as long as Azure's front end holds a request."""

MAX_ADDRESSED_ID_LENGTH = 256
"""No task hub can be set to longer ids, so nothing longer needs to be looked for."""

CONTINUATION_HEADER = "x-ms-continuation-token"

_START_RETRY_SECONDS = 10
_STATUS_RETRY_SECONDS = 5
_JSON_MEDIA_TYPE = "application/json"

Parameters = Mapping[str, str]
"""The values of a route's placeholders."""


class StartOptions(msgspec.Struct, frozen=True):
    """What the query of a start says: ``wait_seconds`` is ``None`` when nobody waits."""

    version: str | None
    policy: StartPolicy | None
    wait_seconds: float | None


class Operations:
    """The operations of one task hub."""

    def __init__(
        self, client: Client, links: Links, max_wait_seconds: float = DEFAULT_MAX_WAIT_SECONDS
    ) -> None:
        self._client = client
        self._links = links
        self._max_wait_seconds = max_wait_seconds

    async def start(self, request: Request, parameters: Parameters) -> Response:
        """Start an orchestration; with ``timeout``, wait for its end that long."""
        options = start_options(request.query)
        instance_id = parameters.get("instance_id")
        try:
            receipt = await self._client.start(
                parameters["function_name"],
                instance_id,
                input=body_text(request.body),
                version=options.version,
                policy=options.policy,
            )
        except InstanceExists as error:
            uri = self._links.status_uri(request.base_url, error.instance_id)
            return faults.conflict(error, uri)
        if options.wait_seconds is not None:
            record = await self._ended(receipt, min(options.wait_seconds, self._max_wait_seconds))
            if record is not None:
                return _final(record)
        return self._check_status(request, receipt)

    async def _ended(self, receipt: StartReceipt, seconds: float) -> InstanceRecord | None:
        try:
            record = await self._client.wait(receipt.record.instance_id, seconds)
        except InstanceNotFound:  # purged behind our back: the start succeeded all the same
            return None
        is_ours = record.generation == receipt.record.generation
        return record if is_ours and record.status.is_terminal else None

    def _check_status(self, request: Request, receipt: StartReceipt) -> Response:
        links = self._links.check_status(
            request.base_url, receipt.record.instance_id, request.access
        )
        headers = {
            "Location": links["statusQueryGetUri"],
            "Retry-After": str(_START_RETRY_SECONDS),
        }
        status = 200 if receipt.decision is StartDecision.RETURN else 202
        return json_response(status, links, headers)

    async def status(self, request: Request, parameters: Parameters) -> Response:
        """Report on one instance."""
        query = request.query
        record = await self._client.status(_known_id(parameters))
        shows_input = query.truth("showInput", default=True)
        history = None
        if query.truth("showHistory", default=False):
            history = history_report(
                await self._client.history(record),
                show_input=shows_input,
                show_output=query.truth("showHistoryOutput", default=False),
            )
        report = status_report(record, show_input=shows_input, history=history)
        if not record.status.is_terminal:
            headers = {"Location": request.url, "Retry-After": str(_STATUS_RETRY_SECONDS)}
            return json_response(202, report, headers)
        is_error = record.status is RuntimeStatus.FAILED and query.truth(
            "returnInternalServerErrorOnFailure", default=False
        )
        return json_response(500 if is_error else 200, report)

    async def list(self, request: Request, _parameters: Parameters) -> Response:
        """Report on one page of instances."""
        query = request.query
        page_size = query.integer("top", default=DEFAULT_PAGE_SIZE)
        if page_size < 1:
            raise InvalidRequest(f"'top' must be between 1 and {MAX_PAGE_SIZE}.")
        page = await self._client.list(
            InstanceQuery(
                instance_id_prefix=query.text("instanceIdPrefix") or "",
                statuses=query.statuses("runtimeStatus"),
                created_from=query.instant("createdTimeFrom"),
                created_to=query.instant("createdTimeTo"),
                # A page may always be shorter than asked for: the token leads on.
                page_size=min(page_size, MAX_PAGE_SIZE),
                token=request.headers.get(CONTINUATION_HEADER) or None,
            )
        )
        shows_input = query.truth("showInput", default=True)
        reports = [status_report(each, show_input=shows_input) for each in page.records]
        return json_response(200, reports, {CONTINUATION_HEADER: page.token or ""})

    async def raise_event(self, request: Request, parameters: Parameters) -> Response:
        """Raise an external event for one instance."""
        instance_id = _known_id(parameters)
        # Durable Functions looks at the instance before it looks at what is sent.
        record = await self._client.status(instance_id)
        if record.status.is_terminal:
            raise InstanceFinished(instance_id, record.status.value)
        _check_media_type(request)
        payload = body_text(request.body)
        await self._client.raise_event(
            instance_id, parameters["event_name"], "null" if payload is None else payload
        )
        return Response(202)

    async def terminate(self, request: Request, parameters: Parameters) -> Response:
        """Ask for the end of one instance."""
        await self._client.terminate(_known_id(parameters), request.query.text("reason"))
        return Response(202)

    async def purge(self, _request: Request, parameters: Parameters) -> Response:
        """Remove one finished instance."""
        await self._client.purge(_known_id(parameters))
        return json_response(200, {"instancesDeleted": 1})


def start_options(query: Query) -> StartOptions:
    """Read the query of a start; everything is checked before anything is created.

    Raises:
        InvalidRequest: a value contradicts another or is none of those allowed.
    """
    wait_seconds = query.seconds("timeout")
    polling_seconds = query.seconds("pollingInterval")
    if wait_seconds is not None:
        if wait_seconds < 0:
            raise InvalidRequest("'timeout' must not be negative.")
        if polling_seconds is not None and polling_seconds > wait_seconds:
            raise InvalidRequest(
                f"Total timeout {wait_seconds:g} should be bigger than retry timeout"
                f" {polling_seconds:g}"
            )
    return StartOptions(query.text("version"), _policy(query.text("ifExists")), wait_seconds)


def _policy(text: str | None) -> StartPolicy | None:
    if text is None:
        return None
    try:
        return StartPolicy(text.lower())
    except ValueError:
        allowed = ", ".join(StartPolicy)
        raise InvalidRequest(f"'ifExists' must be one of {allowed}; it is {text!r}.") from None


def _final(record: InstanceRecord) -> Response:
    if record.status is RuntimeStatus.COMPLETED:
        return json_response(200, output_of(record))
    return json_response(200, status_report(record, show_input=True))


def _known_id(parameters: Parameters) -> str:
    """Return the id that is asked for; one that no instance can have is not looked up."""
    instance_id = parameters["instance_id"]
    try:
        return check_instance_id(instance_id, MAX_ADDRESSED_ID_LENGTH)
    except InvalidRequest:
        raise InstanceNotFound(instance_id) from None


def _check_media_type(request: Request) -> None:
    content_type = request.headers.get("content-type", "")
    media_type = content_type.split(";", 1)[0].strip().lower()
    if media_type != _JSON_MEDIA_TYPE and (media_type or request.body):
        raise InvalidRequest("Only application/json request content is supported")
