"""The value of a ``durableClient`` binding: the JSON text that the SDK's client is made from.

Written as the Durable Functions extension writes it, key by key
(``Bindings/BindingHelper.cs`` and ``HttpApiHandler.cs`` of azure-functions-durable-extension),
but for one thing: ``managementUrls`` carry no ``code``, so that they open nothing wherever they
end up. The worker writes a code of its own into each link that the SDK makes of them, signed with
the key that ``requiredQueryStringParameters`` carries; the app's own code is trusted with it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from urllib.parse import quote_plus

import msgspec

MANAGEMENT_PATH = "/runtime/webhooks/durabletask"
DEFAULT_CONNECTION_NAME = "Storage"
DEFAULT_RPC_BASE_URL = "http://127.0.0.1:17071/durabletask/"
PLACEHOLDER_ID = "INSTANCEID"

_MAX_ORIGINS = 64
_UNRESERVED_BY_NET = "!*()"


class ClientBinding:
    """Writes the binding text for the origin by which a caller reached the host.

    The texts of the latest origins are kept, since a host is mostly called by one name.
    ``system_key`` returns the key in force, ``None`` while the hub asks for none.
    """

    def __init__(
        self,
        hub_name: str,
        system_key: Callable[[], str | None],
        *,
        connection_name: str = DEFAULT_CONNECTION_NAME,
        rpc_base_url: str = DEFAULT_RPC_BASE_URL,
    ) -> None:
        self._hub_name = hub_name
        self._connection_name = connection_name
        self._rpc_base_url = rpc_base_url
        self._max_message_bytes: int | None = None
        self._only_origin: str | None = None
        self._system_key = system_key
        self._written_key: str | None = None
        self._texts: OrderedDict[str, str] = OrderedDict()

    def point_at(self, rpc_address: str, max_message_bytes: int, origin: str) -> None:
        """From now on, name the address of a gRPC door, and how large a message may be there.

        Clients that speak gRPC put a caller's origin into links by themselves. They are kept for
        each text that they are made from, so there is one, of ``origin``, whatever callers say.
        """
        self._rpc_base_url = rpc_address
        self._max_message_bytes = max_message_bytes
        self._only_origin = origin
        self._texts.clear()

    def text(self, origin: str) -> str:
        """Return the binding for ``origin``, which is scheme and authority without a slash."""
        origin = self._only_origin or origin
        system_key = self._system_key()
        if system_key != self._written_key:
            self._written_key = system_key
            self._texts.clear()
        text = self._texts.get(origin)
        if text is None:
            code = f"code={url_encoded(system_key)}" if system_key else ""
            text = msgspec.json.encode(self._value(origin, code)).decode()
            self._texts[origin] = text
            if len(self._texts) > _MAX_ORIGINS:
                self._texts.popitem(last=False)
        return text

    def _value(self, origin: str, code: str) -> dict[str, object]:
        base = f"{origin}{MANAGEMENT_PATH}"
        value: dict[str, object] = {
            "taskHubName": self._hub_name,
            "connectionName": None,
            "creationUrls": _creation_urls(base, code),
            "managementUrls": self._management_urls(base),
            "baseUrl": base,
            "requiredQueryStringParameters": code,
            "rpcBaseUrl": self._rpc_base_url,
            "httpBaseUrl": None,
        }
        if self._max_message_bytes is not None:
            value["maxGrpcMessageSizeInBytes"] = self._max_message_bytes
        return value

    def _management_urls(self, base: str) -> dict[str, str]:
        one = f"{base}/instances/{PLACEHOLDER_ID}"
        common = (
            f"taskHub={url_encoded(self._hub_name)}&connection={url_encoded(self._connection_name)}"
        )
        reason = "reason={text}"
        return {
            "id": PLACEHOLDER_ID,
            "statusQueryGetUri": f"{one}?{common}",
            "sendEventPostUri": f"{one}/raiseEvent/{{eventName}}?{common}",
            "terminatePostUri": f"{one}/terminate?{reason}&{common}",
            "rewindPostUri": f"{one}/rewind?{reason}&{common}",
            "purgeHistoryDeleteUri": f"{one}?{common}",
            "restartPostUri": f"{one}/restart?{common}",
            "suspendPostUri": f"{one}/suspend?{reason}&{common}",
            "resumePostUri": f"{one}/resume?{reason}&{common}",
        }


def _creation_urls(base: str, code: str) -> dict[str, str]:
    post = f"{base}/orchestrators/{{functionName}}[/{{instanceId}}]"
    wait = "timeout={timeoutInSeconds}&pollingInterval={intervalInSeconds}"
    return {
        "createNewInstancePostUri": _with_query(post, code),
        "createAndWaitOnNewInstancePostUri": _with_query(post, wait, code),
    }


def url_encoded(text: str) -> str:
    """Encode as .NET's ``WebUtility.UrlEncode`` does."""
    return quote_plus(text, safe=_UNRESERVED_BY_NET).replace("~", "%7E")


def _with_query(url: str, *parts: str) -> str:
    query = "&".join(part for part in parts if part)
    return f"{url}?{query}" if query else url
