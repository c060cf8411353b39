"""The local door: the management API for durable clients inside the app's own functions.

The client of ``azure-functions-durable`` pastes ids and names raw into its URLs and quotes only
``version`` and, but for a rewind, ``reason``; what it sends is read by the same rule, so that ``50%`` and ``a+b``
are ids like any other.
"""

from __future__ import annotations

import re
from urllib.parse import unquote

from soloist.errors import InvalidRequest
from soloist.webapi import faults
from soloist.webapi.exchange import Request, Response
from soloist.webapi.links import BASE_PATH
from soloist.webapi.management import Management
from soloist.webapi.query import Query
from soloist.webapi.routes import find_route

_QUOTED_BY_THE_CLIENT = frozenset({"version", "reason"})
_WRITTEN_BY_THE_CLIENT = _QUOTED_BY_THE_CLIENT | {
    "connection",
    "connectionName",
    "createdTimeFrom",
    "createdTimeTo",
    "instanceIdPrefix",
    "op",
    "restartWithNewInstanceId",
    "runtimeStatus",
    "showHistory",
    "showHistoryOutput",
    "showInput",
    "taskHub",
}
_NOUNS = frozenset({"orchestrators", "instances", "entities"})
_START_QUERY = re.compile(r"(?:version=[^?&=]*)?")
_HEADERS = {"content-type": "application/json"}
_VERBS = frozenset({"GET", "POST", "DELETE"})

# Where free text is pasted in raw, what the client puts around it says where the text ends.
_RAW_QUERIES = {
    "rewind": re.compile(
        r"reason=(?P<text>.*?)(?P<rest>(?:&taskHub=[^&]*)?(?:&connection=[^&]*)?)", re.DOTALL
    ),
    "entities": re.compile(
        r"(?P<rest>(?:taskHub=[^&]*&)?(?:connectionName=[^&]*&)?)op=(?P<text>.*)", re.DOTALL
    ),
}

_CUT = "An ID, a name or a prefix is empty or contains '/', '?' or '&' and cannot be addressed."

# What the client pastes, and what may stand behind it; the first that shows a fault is named.
_STEERING = "terminate|suspend|resume|rewind|restart"
_QUERY = r"(?:\?[a-zA-Z]+=[^?]*)?"
_PASTED = [
    (what, re.compile(pattern, re.DOTALL | re.IGNORECASE))
    for what, pattern in (
        ("The instance ID", r"orchestrators/[^/?]+/(?P<name>.*?)(?:\?version=[^?&=]*)?"),
        ("The event's name", rf"instances/[^/?]+/raiseEvent/(?P<name>.*?){_QUERY}"),
        ("The instance ID", rf"instances/(?P<name>.*?)/raiseEvent/[^/?]+{_QUERY}"),
        ("The instance ID", rf"instances/(?P<name>.*?)/(?:{_STEERING}){_QUERY}"),
        ("The instance ID", rf"instances/(?P<name>(?!\?).+?){_QUERY}"),
        ("The entity's key", rf"entities/[^/?]+/(?P<name>.*?){_QUERY}"),
    )
]


class _Torn(InvalidRequest):
    """An id or a name has cut the call where it was pasted in."""


class LocalDoor:
    """Answers durable clients without HTTP; ``origin`` is what their links begin with."""

    def __init__(self, management: Management, *, origin: str) -> None:
        self._management = management
        self._base_url = origin.rstrip("/") + BASE_PATH

    async def management(
        self, method: str, target: str, data: str | None
    ) -> tuple[int, str | None]:
        """Return the status and the JSON body (``None``: no body) of one call.

        ``target`` is what the client appended to its base URL; ``data`` is the body as it would
        have been sent, ``None`` for an empty one.
        """
        try:
            request = self._request(method, target, data)
        except _Torn as torn:
            response = faults.invalid(_tear(target) or str(torn))
        except InvalidRequest as error:
            response = faults.refusal(error)
        else:
            response = await self._management.answer(request)
        return response.status, _text(response)

    def _request(self, method: str, target: str, data: str | None) -> Request:
        path, _, query = target.partition("?")
        segments = tuple(path.rstrip("/").split("/"))
        try:
            target.encode()
            body = b"" if data is None else data.encode()
        except UnicodeEncodeError:
            raise InvalidRequest("The call holds a lone surrogate, which is not text.") from None
        if _is_torn(method.upper(), segments):
            raise _Torn(_CUT)
        return Request(
            method=method.upper(),
            segments=segments,
            base_url=self._base_url,
            url=f"{self._base_url}/{target}",
            query=Query(_query_fields(segments, query)),
            headers=_HEADERS,
            body=body,
            is_local=True,
        )


def _query_fields(segments: tuple[str, ...], query: str) -> list[tuple[str, str]]:
    if segments[0].lower() == "orchestrators" and not _START_QUERY.fullmatch(query):
        raise _Torn(_CUT)
    for place, name in ((-1, "rewind"), (0, "entities")):
        match = _RAW_QUERIES[name].fullmatch(query)
        if segments[place].lower() == name and match is not None:
            field = ("reason" if name == "rewind" else "op", match["text"])
            return [field, *_fields(match["rest"].strip("&"))]
    return _fields(query)


def _fields(query: str) -> list[tuple[str, str]]:
    fields = []
    for field in query.split("&") if query else ():
        name, separator, value = field.partition("=")
        if not separator or name not in _WRITTEN_BY_THE_CLIENT:  # an id or a name was cut in two
            raise _Torn(_CUT)
        fields.append((name, unquote(value) if name in _QUOTED_BY_THE_CLIENT else value))
    return fields


def _is_torn(method: str, segments: tuple[str, ...]) -> bool:
    """Whether the path has a shape which the client makes only of an id or a name with ``/``."""
    is_ours = segments[0].lower() in _NOUNS and method in _VERBS
    return is_ours and find_route(method, segments) is None


def _tear(target: str) -> str | None:
    """Return what is wrong with the name for which a call cannot be understood, if one can tell."""
    for what, pattern in _PASTED:
        match = pattern.fullmatch(target)
        if match is not None:
            name = match["name"]
            found = next((each for each in "/?" if each in name), None)
            if found is not None:
                return f"{what} contains {found!r} and cannot be addressed: {name[:120]!r}."
            if not name:
                return f"{what} is empty."
    return None


def _text(response: Response) -> str | None:
    return response.body.decode() if response.body else None
