"""Routes: every path and verb of the Durable Functions HTTP API reference, as one table.

The document of the API (``openapi``) is made from it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec

from soloist.webapi.entity_operations import Parameters
from soloist.webapi.exchange import Request, Response, json_response
from soloist.webapi.openapi import Endpoint, document
from soloist.webapi.operations import Operations

Handler = Callable[[Operations, Request, Parameters], Awaitable[Response]]


class Route(msgspec.Struct, frozen=True):
    """One verb on one path. ``operation`` is its name in the API's document."""

    method: str
    path: str
    operation: str
    handler: Handler
    segments: tuple[str, ...]


class Match(msgspec.Struct, frozen=True):
    """The route of a request and the values of its placeholders."""

    route: Route
    parameters: dict[str, str]


async def _describe(_operations: Operations, request: Request, _parameters: Parameters) -> Response:
    endpoints = (Endpoint(each.method, each.path, each.operation) for each in ROUTES)
    return json_response(200, document(endpoints, request.base_url))


def _route(method: str, path: str, operation: str, handler: Handler) -> Route:
    segments = (each if each.startswith("{") else each.lower() for each in path.split("/"))
    return Route(method, path, operation, handler, tuple(segments))


_INSTANCE = "instances/{instanceId}"
_ENTITIES = "entities/{entityName}"
_ENTITY = "entities/{entityName}/{entityKey}"

ROUTES = (
    _route("POST", "orchestrators/{functionName}", "start", Operations.start),
    _route("POST", "orchestrators/{functionName}/{instanceId}", "startAs", Operations.start),
    _route("GET", "instances", "listInstances", Operations.list),
    _route("DELETE", "instances", "purgeInstances", Operations.purge_many),
    _route("GET", _INSTANCE, "getStatus", Operations.status),
    _route("DELETE", _INSTANCE, "purgeInstance", Operations.purge),
    _route("POST", f"{_INSTANCE}/raiseEvent/{{eventName}}", "raiseEvent", Operations.raise_event),
    _route("POST", f"{_INSTANCE}/terminate", "terminate", Operations.terminate),
    _route("POST", f"{_INSTANCE}/suspend", "suspend", Operations.suspend),
    _route("POST", f"{_INSTANCE}/resume", "resume", Operations.resume),
    _route("POST", f"{_INSTANCE}/rewind", "rewind", Operations.rewind),
    _route("POST", f"{_INSTANCE}/restart", "restart", Operations.restart),
    _route("GET", "entities", "listEntities", Operations.list_entities),
    _route("GET", _ENTITIES, "listEntitiesOfName", Operations.list_entities),
    _route("POST", _ENTITIES, "signalEntityWithoutKey", Operations.signal_entity),
    _route("DELETE", _ENTITIES, "deleteEntityWithoutKey", Operations.delete_entity),
    _route("GET", _ENTITY, "readEntity", Operations.read_entity),
    _route("POST", _ENTITY, "signalEntity", Operations.signal_entity),
    _route("DELETE", _ENTITY, "deleteEntity", Operations.delete_entity),
    _route("POST", "makeprimary", "makePrimary", Operations.make_primary),
    _route("GET", "openapi.json", "describe", _describe),
)


def find_route(method: str, segments: tuple[str, ...]) -> Match | None:
    """Return the route that serves a request, ``None`` for an unknown path or verb.

    Fixed segments are compared without case. No placeholder takes an empty value.
    """
    for route in ROUTES:
        if route.method == method and len(route.segments) == len(segments):
            parameters = _fill(route.segments, segments)
            if parameters is not None:
                return Match(route, parameters)
    return None


def _fill(path: tuple[str, ...], segments: tuple[str, ...]) -> dict[str, str] | None:
    parameters: dict[str, str] = {}
    for expected, segment in zip(path, segments, strict=True):
        if expected.startswith("{"):
            if not segment:
                return None
            parameters[expected[1:-1]] = segment
        elif expected != segment.lower():
            return None
    return parameters
