"""Operations: what each call of the management API does.

Durable Functions HTTP API reference; a handler reads a request, speaks to the client and says
what is to be answered. Errors pass through to ``faults``.
"""

from __future__ import annotations

import msgspec

from soloist.client import Client
from soloist.core.ids import check_instance_id, is_entity_id
from soloist.core.instances import InstanceQuery, InstanceRecord, StartReceipt
from soloist.core.payloads import size_bytes
from soloist.core.policy import StartDecision, StartPolicy
from soloist.core.status import RuntimeStatus
from soloist.errors import (
    InstanceExists,
    InstanceFinished,
    InstanceNotFound,
    InvalidRequest,
)
from soloist.telemetry import logger
from soloist.webapi import faults
from soloist.webapi.entity_operations import (
    CONTINUATION_HEADER,
    JSON_MEDIA_TYPE,
    EntityOperations,
    Parameters,
    media_type,
    page_size,
)
from soloist.webapi.exchange import Request, Response, json_response
from soloist.webapi.history_reports import history_report
from soloist.webapi.json_text import body_text
from soloist.webapi.links import Links
from soloist.webapi.query import Query, unreadable
from soloist.webapi.reports import output_of, status_report

DEFAULT_MAX_WAIT_SECONDS = 230.0
"""The longest a start waits for its instance, as long as Azure's front end holds a request."""

MAX_ADDRESSED_ID_LENGTH = 256
"""No task hub can be set to longer ids, so nothing longer needs to be looked for."""

MAX_LOCAL_LISTING = 10_000
"""How many instances a durable client of the app gets at most: it cannot ask for a next page."""

MAX_LOCAL_LISTING_BYTES = 32 * 1024 * 1024
"""How many bytes of payloads these may hold before the listing is cut off."""

_START_RETRY_SECONDS = 10
_STATUS_RETRY_SECONDS = 5
_NO_SUCH_INSTANCE = "InstanceId does not match a valid orchestration instance."
_RESTARTED_BESIDE_A_LIVE_ONE = "A non-terminal instance with this instance ID already exists."
_NO_BEGINNING = "Please provide value for 'createdTimeFrom' parameter."

_log = logger(__name__)


class StartOptions(msgspec.Struct, frozen=True):
    """What the query of a start says: ``wait_seconds`` is ``None`` when nobody waits."""

    version: str | None
    policy: StartPolicy | None
    wait_seconds: float | None


class Operations(EntityOperations):
    """The operations of one task hub."""

    def __init__(
        self, client: Client, links: Links, max_wait_seconds: float = DEFAULT_MAX_WAIT_SECONDS
    ) -> None:
        super().__init__(client)
        self._links = links
        self._max_wait_seconds = max_wait_seconds

    async def start(self, request: Request, parameters: Parameters) -> Response:
        """Start an orchestration; with ``timeout``, wait for its end that long."""
        options = start_options(request.query)
        instance_id = parameters.get("instanceId")
        try:
            receipt = await self._client.start(
                parameters["functionName"],
                instance_id,
                input=body_text(request.body),
                version=options.version,
                policy=options.policy,
            )
        except InstanceExists as error:
            uri = self._links.status_uri(request.base_url, error.instance_id)
            return faults.conflict(error, uri)
        return await self._started(request, receipt, options)

    async def restart(self, request: Request, parameters: Parameters) -> Response:
        """Start the function of an instance again with its input, under a new id or the same."""
        options = start_options(request.query)
        is_new = request.query.truth("restartWithNewInstanceId", default=True)
        try:
            receipt = await self._client.restart(_known_id(parameters), with_new_id=is_new)
        except InstanceNotFound:
            # The client of the Python SDK understands a 404 only, the original answers 400.
            return faults.invalid(_NO_SUCH_INSTANCE, 404 if request.is_local else 400)
        except InstanceExists as error:
            uri = self._links.status_uri(request.base_url, error.instance_id)
            is_live = not RuntimeStatus(error.status).is_terminal
            return faults.conflict(error, uri, _RESTARTED_BESIDE_A_LIVE_ONE if is_live else None)
        if request.is_local:  # the SDK hands the body on as it is and promises an id
            return json_response(202, receipt.record.instance_id)
        return await self._started(request, receipt, options)

    async def _started(
        self, request: Request, receipt: StartReceipt, options: StartOptions
    ) -> Response:
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
        shows_input = query.truth("showInput", default=True)
        shows_history = query.truth("showHistory", default=False)
        shows_output = query.truth("showHistoryOutput", default=False)
        tells_failure = query.truth("returnInternalServerErrorOnFailure", default=False)
        record = await self._client.status(_known_id(parameters))
        history = None
        if shows_history:
            history = history_report(
                await self._client.history(record), show_input=shows_input, show_output=shows_output
            )
        report = status_report(record, show_input=shows_input, history=history)
        if not record.status.is_terminal:
            headers = {"Location": request.url, "Retry-After": str(_STATUS_RETRY_SECONDS)}
            return json_response(202, report, headers)
        is_error = tells_failure and record.status is RuntimeStatus.FAILED
        return json_response(500 if is_error else 200, report)

    async def list(self, request: Request, _parameters: Parameters) -> Response:
        """Report on one page of instances; a durable client of the app gets them all."""
        query = request.query
        shows_input = query.truth("showInput", default=True)
        listing = InstanceQuery(
            instance_id_prefix=query.text("instanceIdPrefix") or "",
            names=query.texts("name"),
            statuses=query.statuses("runtimeStatus"),
            created_from=query.instant("createdTimeFrom"),
            created_to=query.instant("createdTimeTo"),
            page_size=page_size(query),
            token=request.headers.get(CONTINUATION_HEADER) or None,
        )
        if request.is_local and query.text("top") is None:
            records, token = await self._everything(listing), None
        else:
            page = await self._client.list(listing)
            records, token = page.records, page.token
        reports = [status_report(each, show_input=shows_input) for each in records]
        return json_response(200, reports, {CONTINUATION_HEADER: token or ""})

    async def _everything(self, query: InstanceQuery) -> tuple[InstanceRecord, ...]:
        records: list[InstanceRecord] = []
        room_bytes = MAX_LOCAL_LISTING_BYTES
        while True:
            page = await self._client.list(query)
            records += page.records
            room_bytes -= sum(map(_payload_bytes, page.records))
            if page.token is None:
                return tuple(records)
            if len(records) >= MAX_LOCAL_LISTING or room_bytes <= 0:
                _log.warning(
                    "a durable client's listing was cut off: narrow it by time, status or prefix",
                    instances=len(records),
                )
                return tuple(records[:MAX_LOCAL_LISTING])
            query = msgspec.structs.replace(query, token=page.token)

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
            instance_id, parameters["eventName"], "null" if payload is None else payload
        )
        return Response(202)

    async def terminate(self, request: Request, parameters: Parameters) -> Response:
        """Ask for the end of one instance and, unless told otherwise, of its children."""
        query = request.query
        is_recursive = query.truth("recursive", default=True)
        await self._client.terminate(
            _known_id(parameters), query.text("reason"), is_recursive=is_recursive
        )
        return Response(202)

    async def suspend(self, request: Request, parameters: Parameters) -> Response:
        """Pause one instance."""
        await self._client.suspend(_known_id(parameters), request.query.text("reason"))
        return Response(202)

    async def resume(self, request: Request, parameters: Parameters) -> Response:
        """Let one instance go on."""
        await self._client.resume(_known_id(parameters), request.query.text("reason"))
        return Response(202)

    async def rewind(self, request: Request, parameters: Parameters) -> Response:
        """Take back the failure of one instance."""
        await self._client.rewind(_known_id(parameters), request.query.text("reason"))
        return Response(202)

    async def purge(self, _request: Request, parameters: Parameters) -> Response:
        """Remove one finished instance, or one entity."""
        await self._client.purge(_known_id(parameters))
        return json_response(200, {"instancesDeleted": 1})

    async def purge_many(self, request: Request, _parameters: Parameters) -> Response:
        """Remove the finished instances that were created in a span of time."""
        query = request.query
        created_from = query.instant("createdTimeFrom")
        if created_from is None:
            return json_response(400, _NO_BEGINNING)
        gone = await self._client.purge_many(
            InstanceQuery(
                instance_id_prefix=query.text("instanceIdPrefix") or "",
                names=query.texts("name"),
                statuses=query.statuses("runtimeStatus"),
                created_from=created_from,
                created_to=query.instant("createdTimeTo"),
            )
        )
        return json_response(200, {"instancesDeleted": gone}) if gone else faults.NOT_FOUND

    async def make_primary(self, _request: Request, _parameters: Parameters) -> Response:
        """Do nothing: the host that runs the hub is its primary one."""
        return Response(200)


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
        raise unreadable("ifExists", text, f"one of {', '.join(StartPolicy)}") from None


def _final(record: InstanceRecord) -> Response:
    if record.status is RuntimeStatus.COMPLETED:
        return json_response(200, output_of(record))
    return json_response(200, status_report(record, show_input=True))


def _payload_bytes(record: InstanceRecord) -> int:
    payloads = (record.input, record.output, record.custom_status)
    return sum(size_bytes(each) for each in payloads if each is not None)


def _known_id(parameters: Parameters) -> str:
    """Return the id that is asked for; one that no instance can have is not looked up."""
    instance_id = parameters["instanceId"]
    if is_entity_id(instance_id):
        return instance_id  # the client knows what can be done with entities
    try:
        return check_instance_id(instance_id, MAX_ADDRESSED_ID_LENGTH)
    except InvalidRequest:
        raise InstanceNotFound(instance_id) from None


def _check_media_type(request: Request) -> None:
    found = media_type(request)
    if found != JSON_MEDIA_TYPE and (found or request.body):
        raise InvalidRequest("Only application/json request content is supported")
