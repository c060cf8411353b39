"""Link codes: what the ``code`` in a management link opens, and nothing beyond.

A code is ``s1.`` and the HMAC-SHA256 of task hub, operation and instance id under a secret that
is derived from the hub's system key. So it says nothing of that key, needs no memory, and ends
when the key is rotated; it has no other expiry, as instances may run for years. Hosts write and
judge codes by this module; workers write them into the links that the SDK's client makes.
"""

from __future__ import annotations

import hashlib
import hmac
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from urllib.parse import quote

LINK_OPERATIONS = {
    "statusQueryGetUri": "getStatus",
    "sendEventPostUri": "raiseEvent",
    "terminatePostUri": "terminate",
    "rewindPostUri": "rewind",
    "purgeHistoryDeleteUri": "purgeInstance",
    "restartPostUri": "restart",
    "suspendPostUri": "suspend",
    "resumePostUri": "resume",
}
"""Every link that carries a code, by its name in Durable Functions' payloads, and the operation
of the management API that the code opens."""

_FORMAT = "s1"
_PURPOSE = b"Soloist management links"
_LENGTH_BYTES = 4
_MAX_CODE_LENGTH = 64
_UNRESERVED_BY_NET = "!*()"
_OPERATIONS = frozenset(LINK_OPERATIONS.values())


def link_secret(system_key: str) -> bytes:
    """Return the secret that signs the links of a hub whose system key this is."""
    return hmac.digest(_bytes(system_key), _PURPOSE, hashlib.sha256)


def link_code(secret: bytes, task_hub: str, operation: str, instance_id: str) -> str:
    """Return the code that opens one operation on one instance. Hub names have no case."""
    message = b"".join(
        len(field).to_bytes(_LENGTH_BYTES, "big") + field
        for field in map(_bytes, (_FORMAT, task_hub.casefold(), operation, instance_id))
    )
    digest = hmac.digest(secret, message, hashlib.sha256)
    return f"{_FORMAT}.{urlsafe_b64encode(digest).decode().rstrip('=')}"


def code_opens(
    secret: bytes, task_hub: str, operation: str, instance_id: str, presented: str
) -> bool:
    """Whether ``presented`` is the code of this operation on this instance. How long that takes
    tells nothing of the right code."""
    if operation not in _OPERATIONS or len(presented) > _MAX_CODE_LENGTH:
        return False
    expected = link_code(secret, task_hub, operation, instance_id)
    return hmac.compare_digest(expected.encode(), _bytes(presented))


def signed_links(
    links: Mapping[str, str], secret: bytes, task_hub: str, instance_id: str
) -> dict[str, str]:
    """Return the links of an instance with a code in each one that takes it."""
    signed = {}
    for name, url in links.items():
        operation = LINK_OPERATIONS.get(name)
        if operation is not None:
            mark = "&" if "?" in url else "?"
            url = f"{url}{mark}code={link_code(secret, task_hub, operation, instance_id)}"
        signed[name] = url
    return signed


def in_path(instance_id: str) -> str:
    """Return an id as it stands in the path of a link: escaped as .NET's ``WebUtility.UrlEncode``
    does, but for the space, since in a path ``+`` means itself to everybody else. It leads any
    client back to the instance."""
    return quote(instance_id, safe=_UNRESERVED_BY_NET).replace("~", "%7E")


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
