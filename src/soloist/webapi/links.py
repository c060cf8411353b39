"""Links: the URLs by which an instance is managed.

Names, order and form are those of the check-status payload in the Durable Functions HTTP API
reference.
"""

from __future__ import annotations

from urllib.parse import quote, quote_plus

import msgspec

BASE_PATH = "/runtime/webhooks/durabletask"
DEFAULT_CONNECTION = "Storage"

_SAFE = "!*()"
"""With letters, digits and ``-_.``, what .NET's ``WebUtility.UrlEncode`` leaves alone."""


class Links(msgspec.Struct, frozen=True, kw_only=True):
    """Writes links for one task hub.

    ``system_key`` goes into every link as ``code``; ``None`` when the hub asks for no key.
    """

    task_hub: str
    connection: str = DEFAULT_CONNECTION
    system_key: str | None = None

    def status_uri(self, base_url: str, instance_id: str) -> str:
        """Return where the status of an instance is."""
        return f"{_instance_url(base_url, instance_id)}?{self._query()}"

    def check_status(self, base_url: str, instance_id: str) -> dict[str, str]:
        """Return the check-status payload: the eight keys in the order of the original."""
        instance = _instance_url(base_url, instance_id)
        query = self._query()
        status = f"{instance}?{query}"
        return {
            "id": instance_id,
            "statusQueryGetUri": status,
            "sendEventPostUri": f"{instance}/raiseEvent/{{eventName}}?{query}",
            "terminatePostUri": f"{instance}/terminate?reason={{text}}&{query}",
            "purgeHistoryDeleteUri": status,
            "restartPostUri": f"{instance}/restart?{query}",
            "suspendPostUri": f"{instance}/suspend?reason={{text}}&{query}",
            "resumePostUri": f"{instance}/resume?reason={{text}}&{query}",
        }

    def _query(self) -> str:
        query = f"taskHub={_in_query(self.task_hub)}&connection={_in_query(self.connection)}"
        return query if self.system_key is None else f"{query}&code={_in_query(self.system_key)}"


def _instance_url(base_url: str, instance_id: str) -> str:
    # A space is "%20" here, not .NET's "+": in a path "+" means itself to everybody else, so this
    # is the one spelling that leads back to the instance from any client.
    return f"{base_url}/instances/{_as_dotnet(quote(instance_id, safe=_SAFE))}"


def _in_query(text: str) -> str:
    return _as_dotnet(quote_plus(text, safe=_SAFE))


def _as_dotnet(quoted: str) -> str:
    return quoted.replace("~", "%7E")
