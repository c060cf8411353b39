"""Management: one request in, one response out, whatever happens."""

from __future__ import annotations

from soloist.client import DEFAULT_MAX_PAYLOAD_BYTES, Client
from soloist.errors import PayloadTooLarge, SoloistError
from soloist.webapi import faults
from soloist.webapi.exchange import Request, Response
from soloist.webapi.links import Links
from soloist.webapi.operations import DEFAULT_MAX_WAIT_SECONDS, Operations
from soloist.webapi.routes import find_route


class Management:
    """The management API of one task hub, free of any transport.

    ``max_body_bytes`` should be the client's own bound on payloads; larger bodies need not be
    read. ``max_wait_seconds`` bounds the ``timeout`` of a start.
    """

    def __init__(
        self,
        client: Client,
        links: Links,
        *,
        max_body_bytes: int = DEFAULT_MAX_PAYLOAD_BYTES,
        max_wait_seconds: float = DEFAULT_MAX_WAIT_SECONDS,
    ) -> None:
        self._operations = Operations(client, links, max_wait_seconds)
        self._task_hub = links.task_hub.casefold()
        self.max_body_bytes = max_body_bytes

    async def answer(self, request: Request) -> Response:
        """Answer a request; only cancellation gets out of here."""
        try:
            return await self._answer(request)
        except SoloistError as error:
            return faults.refusal(error)
        except Exception as error:  # noqa: BLE001  # nothing may reach the server as a crash
            return faults.breakdown(error)

    async def _answer(self, request: Request) -> Response:
        match = find_route(request.method, request.segments)
        if match is None or not self._is_ours(request.query.text("taskHub")):
            return faults.NOT_FOUND
        if len(request.body) > self.max_body_bytes:
            what = "The payload" if request.is_local else "The request's body"
            raise PayloadTooLarge(what, len(request.body), self.max_body_bytes)
        return await match.route.handler(self._operations, request, match.parameters)

    def _is_ours(self, task_hub: str | None) -> bool:
        # Azure would open the other hub; to act on this one instead would be worse than nothing.
        return not task_hub or task_hub.casefold() == self._task_hub
