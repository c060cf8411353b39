"""Links: the URLs by which an instance is managed.

Names, order and form are those of the check-status payload in the Durable Functions HTTP API
reference. With access keys, the ``code`` in a link opens that link's operation on that instance
and nothing else; ``soloist_worker.links`` says how.
"""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import quote_plus

import msgspec

from soloist.webapi.access import Access
from soloist_worker.links import code_opens, in_path, link_secret, signed_links

BASE_PATH = "/runtime/webhooks/durabletask"
DEFAULT_CONNECTION = "Storage"

_SAFE = "!*()"
"""With letters, digits and ``-_.``, what .NET's ``WebUtility.UrlEncode`` leaves alone."""

_STATUS = "statusQueryGetUri"


def no_key() -> None:
    """Return no system key: the hub asks for none."""


class Links(msgspec.Struct, frozen=True, kw_only=True):
    """Writes links for one task hub, and judges the codes in them.

    ``system_key`` returns the key in force, ``None`` while the hub asks for none: links then
    carry no code.
    """

    task_hub: str
    connection: str = DEFAULT_CONNECTION
    system_key: Callable[[], str | None] = no_key

    def status_uri(self, base_url: str, instance_id: str) -> str:
        """Return where the status of an instance is."""
        links = {_STATUS: f"{_instance_url(base_url, instance_id)}?{self._query()}"}
        return self._signed(links, instance_id)[_STATUS]

    def check_status(
        self, base_url: str, instance_id: str, access: Access = Access.FULL
    ) -> dict[str, str]:
        """Return the check-status payload: the eight keys in the order of the original.

        To a caller whose own access is scoped only the link to the status carries a code, or a
        link would give away others.
        """
        instance = _instance_url(base_url, instance_id)
        query = self._query()
        status = f"{instance}?{query}"
        links = {
            "id": instance_id,
            _STATUS: status,
            "sendEventPostUri": f"{instance}/raiseEvent/{{eventName}}?{query}",
            "terminatePostUri": f"{instance}/terminate?reason={{text}}&{query}",
            "purgeHistoryDeleteUri": status,
            "restartPostUri": f"{instance}/restart?{query}",
            "suspendPostUri": f"{instance}/suspend?reason={{text}}&{query}",
            "resumePostUri": f"{instance}/resume?reason={{text}}&{query}",
        }
        if access is not Access.FULL:
            return links | {_STATUS: self.status_uri(base_url, instance_id)}
        return self._signed(links, instance_id)

    def opens(self, operation: str, instance_id: str, code: str) -> bool:
        """Whether ``code`` is that of the link to ``operation`` on this instance."""
        key = self.system_key()
        if key is None:
            return False
        return code_opens(link_secret(key), self.task_hub, operation, instance_id, code)

    def _signed(self, links: dict[str, str], instance_id: str) -> dict[str, str]:
        key = self.system_key()
        if key is None:
            return links
        return signed_links(links, link_secret(key), self.task_hub, instance_id)

    def _query(self) -> str:
        return f"taskHub={_in_query(self.task_hub)}&connection={_in_query(self.connection)}"


def _instance_url(base_url: str, instance_id: str) -> str:
    return f"{base_url}/instances/{in_path(instance_id)}"


def _in_query(text: str) -> str:
    return quote_plus(text, safe=_SAFE).replace("~", "%7E")
