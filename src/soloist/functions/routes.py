"""The route table: which HTTP function answers a method and a path."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from urllib.parse import unquote

import msgspec

from soloist.errors import AppLoadFailed, InvalidRequest
from soloist.functions.templates import Template, TemplateError, parse_template

ALL_METHODS = ("GET", "POST", "DELETE", "HEAD", "PATCH", "PUT", "OPTIONS")
RESERVED = ("admin", "runtime")
MAX_PATH_SEGMENTS = 500


class Route(msgspec.Struct, frozen=True):
    """One HTTP function's claim. ``methods`` are upper-case."""

    function: str
    template: Template
    methods: frozenset[str]


class RouteMatch(msgspec.Struct, frozen=True):
    """The function that answers, and the values of its route's parameters."""

    function: str
    params: dict[str, str]


class RouteTable:
    """Routes in the order of ASP.NET: the more specific first, segment by segment.

    A path whose routes all refuse its method is not found, as on Azure (404, never 405).
    """

    def __init__(self, routes: Iterable[Route]) -> None:
        ordered = sorted(routes, key=lambda route: route.template.precedence)
        _refuse_conflicts(ordered)
        self._literal: dict[tuple[str, ...], list[Route]] = {}
        self._others: list[Route] = []
        for route in ordered:
            literals = [segment.literal for segment in route.template.segments]
            if None in literals:
                self._others.append(route)
            else:
                key = tuple(literal.casefold() for literal in literals if literal is not None)
                self._literal.setdefault(key, []).append(route)

    def claims(self, *segments: str) -> bool:
        """Whether a route names exactly that path, without parameters."""
        return tuple(each.casefold() for each in segments) in self._literal

    def match(self, method: str, raw_path: str) -> RouteMatch | None:
        """Return who answers ``raw_path`` (still percent-encoded), ``None`` if nobody does.

        Raises:
            InvalidRequest: the path is not UTF-8.
        """
        path = split_path(raw_path)
        if len(path) > MAX_PATH_SEGMENTS:
            return None
        # A route of literals only is more specific than any other that fits the same path.
        for route in self._literal.get(tuple(part.casefold() for part in path), ()):
            if method in route.methods:
                return RouteMatch(route.function, {})
        for route in self._others:
            if method in route.methods:
                params = route.template.match(path)
                if params is not None:
                    return RouteMatch(route.function, params)
        return None


def make_route(function: str, prefix: str, route: str | None, methods: Sequence[str]) -> Route:
    """Return a function's route below ``prefix``; without one it is the function's name.

    Raises:
        AppLoadFailed: the template is wrong, or lies where the host itself answers.
    """
    text = function if route is None else route
    try:
        template = parse_template("/".join(part for part in (prefix, text.strip("/")) if part))
    except TemplateError as error:
        raise AppLoadFailed(
            f"Function '{function}': the route '{text}' is wrong: {error}."
        ) from error
    first = template.segments[0].literal if template.segments else None
    if first is not None and first.casefold() in RESERVED:
        raise AppLoadFailed(
            f"Function '{function}': the route '{text}' lies under '/{first}', where the host"
            " itself answers."
        )
    allowed = frozenset(method.upper() for method in methods) or frozenset(ALL_METHODS)
    return Route(function, template, allowed)


def split_path(raw_path: str) -> list[str]:
    """Return the decoded segments of a path; slashes at its ends do not count, and an encoded
    slash does not separate.

    Raises:
        InvalidRequest: it is not UTF-8, so that an id in it would become another.
    """
    trimmed = raw_path.removeprefix("/").removesuffix("/")
    if not trimmed:
        return []
    parts = trimmed.split("/")
    if "%" not in trimmed:
        return parts
    try:
        return [unquote(part, errors="strict") for part in parts]
    except UnicodeDecodeError as error:
        raise InvalidRequest("The path is not valid UTF-8.") from error


def _refuse_conflicts(routes: Sequence[Route]) -> None:
    seen: dict[tuple[object, ...], list[Route]] = {}
    for route in routes:
        others = seen.setdefault(route.template.shape, [])
        for other in others:
            shared = sorted(route.methods & other.methods)
            if shared:
                raise AppLoadFailed(
                    f"Functions '{other.function}' and '{route.function}' both answer"
                    f" {', '.join(shared)} /{route.template.text.strip('/')}; give one of them"
                    " another route or other methods."
                )
        others.append(route)
