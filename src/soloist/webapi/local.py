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
        except InvalidRequest as error:
            response = faults.refusal(error)
        else:
            if _is_torn(request):
                response = faults.invalid(_tear(target))
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
        raise InvalidRequest(f"The instance ID contains '?' and cannot be addressed: {query!r}.")
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
        if not separator:  # the client writes name=value only: an id or a name was cut in two
            raise InvalidRequest(
                f"An ID, a name or a prefix contains '?' or '&' and cannot be addressed: {field!r}."
            )
        fields.append((name, unquote(value) if name in _QUOTED_BY_THE_CLIENT else value))
    return fields


def _is_torn(request: Request) -> bool:
    """Whether the path has a shape which the client makes only of an id or a name with ``/``."""
    is_ours = request.segments[0].lower() in _NOUNS and request.method in _VERBS
    return is_ours and find_route(request.method, request.segments) is None


def _tear(target: str) -> str:
    path = target.partition("?")[0]
    return f"An ID or a name is empty or contains '/', which cannot be addressed: {path!r}."


def _text(response: Response) -> str | None:
    return response.body.decode() if response.body else None
