"""Routes: every path and verb of the Durable Functions HTTP API reference, as one table."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec

from soloist.webapi.exchange import Request, Response
from soloist.webapi.operations import Operations, Parameters

Handler = Callable[[Operations, Request, Parameters], Awaitable[Response]]


class Route(msgspec.Struct, frozen=True):
    """One verb on one path. ``handler`` is ``None`` where this version has nothing to offer."""

    method: str
    path: tuple[str, ...]
    operation: str
    handler: Handler | None = None


class Match(msgspec.Struct, frozen=True):
    """The route of a request and the values of its placeholders."""

    route: Route
    parameters: dict[str, str]


def _route(method: str, path: str, operation: str, handler: Handler | None = None) -> Route:
    return Route(method, tuple(path.split("/")), operation, handler)


_INSTANCE = "instances/{instance_id}"
_ENTITY = "entities/{entity_name}/{entity_key}"

ROUTES = (
    _route("POST", "orchestrators/{function_name}", "start", Operations.start),
    _route("POST", "orchestrators/{function_name}/{instance_id}", "start", Operations.start),
    _route("GET", "instances", "list", Operations.list),
    _route("DELETE", "instances", "purge many instances"),
    _route("GET", _INSTANCE, "getStatus", Operations.status),
    _route("DELETE", _INSTANCE, "purgeInstance", Operations.purge),
    _route("POST", f"{_INSTANCE}/raiseevent/{{event_name}}", "raiseEvent", Operations.raise_event),
    _route("POST", f"{_INSTANCE}/terminate", "terminate", Operations.terminate),
    _route("POST", f"{_INSTANCE}/suspend", "suspend"),
    _route("POST", f"{_INSTANCE}/resume", "resume"),
    _route("POST", f"{_INSTANCE}/rewind", "rewind"),
    _route("POST", f"{_INSTANCE}/restart", "restart"),
    _route("GET", "entities", "list entities"),
    _route("GET", "entities/{entity_name}", "list entities"),
    _route("GET", _ENTITY, "read entity state"),
    _route("POST", _ENTITY, "signal entity"),
    _route("POST", "entities/{entity_name}", "signal entity"),
    _route("DELETE", _ENTITY, "delete entity"),
    _route("DELETE", "entities/{entity_name}", "delete entity"),
    _route("POST", "makeprimary", "make primary"),
)


def find_route(method: str, segments: tuple[str, ...]) -> Match | None:
    """Return the route that serves a request, ``None`` for an unknown path or verb.

    Fixed segments are compared without case. No placeholder takes an empty value.
    """
    for route in ROUTES:
        if route.method == method and len(route.path) == len(segments):
            parameters = _fill(route.path, segments)
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
