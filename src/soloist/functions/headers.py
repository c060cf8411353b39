"""What host.json and local.settings.json add to every response: CORS and headers of the app's own."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from soloist.functions.hostjson import HostJson
from soloist.functions.localsettings import LocalSettings

_LOCAL_NAMES = ("localhost", "127.0.0.1", "[::1]")


def web_middleware(host_json: HostJson, local_settings: LocalSettings) -> list[Middleware]:
    """Return what belongs around all that a host serves, the management API included; nothing is
    there that the files do not ask for."""
    found: list[Middleware] = []
    if host_json.custom_headers or host_json.hsts:
        found.append(
            Middleware(
                ResponseHeaders,
                headers=host_json.custom_headers,
                transport_security=host_json.hsts,
            )
        )
    if local_settings.cors:
        found.append(
            Middleware(
                CORSMiddleware,
                allow_origins=list(local_settings.cors),
                allow_methods=["*"],
                allow_headers=["*"],
                allow_credentials=local_settings.cors_credentials,
            )
        )
    return found


class ResponseHeaders:
    """An ASGI application that adds headers to the responses of another.

    A response that has such a header already keeps its own. ``Strict-Transport-Security`` is sent
    over HTTPS only, and not by a host that is reached under a local name: browsers would refuse
    everything else on that name for months.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        headers: Sequence[tuple[str, str]] = (),
        transport_security: str | None = None,
    ) -> None:
        self._app = app
        self._headers = tuple(headers)
        self._transport_security = transport_security

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on; its response gets the headers."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        added = list(self._headers)
        if self._transport_security and _is_secure(scope):
            added.append(("strict-transport-security", self._transport_security))

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in added:
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, send_with_headers)


def _is_secure(scope: Scope) -> bool:
    host = next((value for name, value in scope["headers"] if name == b"host"), b"")
    name = host.decode("latin-1").lower()
    if not name.endswith("]"):
        name = name.rpartition(":")[0] or name
    return scope.get("scheme") == "https" and name not in _LOCAL_NAMES
