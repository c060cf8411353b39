"""Entity operations: what the calls of the management API below ``/entities`` do."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from soloist.client import Client, Entity, EntityQuery
from soloist.core.instances import DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE
from soloist.errors import InvalidRequest
from soloist.webapi.exchange import Request, Response, json_response
from soloist.webapi.json_text import body_text, stored_json
from soloist.webapi.query import Query, unreadable
from soloist.webapi.reports import exact

CONTINUATION_HEADER = "x-ms-continuation-token"
JSON_MEDIA_TYPE = "application/json"
EMPTY_KEY = "$"
"""Stands for the empty key where an entity's state is read: no segment of a path is empty."""

_DELETE = "delete"

Parameters = Mapping[str, str]
"""The values of a route's placeholders."""


class EntityOperations:
    """The operations on entities of one task hub."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def read_entity(self, _request: Request, parameters: Parameters) -> Response:
        """Answer with the state of one entity."""
        key = parameters["entityKey"]
        entity = await self._client.read_entity(
            parameters["entityName"], "" if key == EMPTY_KEY else key
        )
        return json_response(200, stored_json(entity.state))

    async def signal_entity(self, request: Request, parameters: Parameters) -> Response:
        """Ask one entity for an operation, now or at a given time."""
        query = request.query
        await self._client.signal(
            parameters["entityName"],
            parameters.get("entityKey", ""),
            query.text("op") or "",
            _operation_input(request),
            query.instant("signalTime"),
        )
        return Response(202)

    async def delete_entity(self, _request: Request, parameters: Parameters) -> Response:
        """Ask one entity for the operation ``delete``."""
        name, key = parameters["entityName"], parameters.get("entityKey", "")
        await self._client.signal(name, key, _DELETE)
        return Response(202)

    async def list_entities(self, request: Request, parameters: Parameters) -> Response:
        """Report on one page of entities."""
        query = request.query
        shows_state = query.truth("fetchState", default=False)
        page = await self._client.list_entities(
            EntityQuery(
                name=parameters.get("entityName", ""),
                operated_from=query.instant("lastOperationTimeFrom"),
                operated_to=query.instant("lastOperationTimeTo"),
                page_size=page_size(query),
                token=request.headers.get(CONTINUATION_HEADER) or None,
            )
        )
        reports = [_report(each, shows_state=shows_state) for each in page.entities]
        return json_response(200, reports, {CONTINUATION_HEADER: page.token or ""})


def page_size(query: Query) -> int:
    """Return how many items a page is to have.

    Raises:
        InvalidRequest: none at all.
    """
    size = query.integer("top", default=DEFAULT_PAGE_SIZE)
    if size < 1:
        raise unreadable("top", str(size), f"between 1 and {MAX_PAGE_SIZE}")
    return min(size, MAX_PAGE_SIZE)  # a page may always be shorter: the token leads on


def media_type(request: Request) -> str:
    """Return the media type of a request without its parameters, in lower case."""
    return request.headers.get("content-type", "").split(";", 1)[0].strip().lower()


def _operation_input(request: Request) -> str | None:
    """Return an operation's input as JSON text; what is not JSON by its media type is a string."""
    if media_type(request) == JSON_MEDIA_TYPE or not request.body:
        return body_text(request.body, "Could not parse JSON content")
    try:
        return msgspec.json.encode(request.body.decode()).decode()
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"The body is not UTF-8 (byte {error.start}).") from error


def _report(entity: Entity, *, shows_state: bool) -> dict[str, object]:
    return {
        "entityId": {"name": entity.id.name, "key": entity.id.key},
        "lastOperationTime": exact(entity.last_operation_at),
        "state": stored_json(entity.state) if shows_state else None,
    }
