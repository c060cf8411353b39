"""Access keys: who may call what.

As on Azure: the master key opens everything; a host key every function of level ``function``; a
function's own key that function; a system key only the webhook it is named after. Levels match
exactly or not at all, so that a system key opens no function.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Protocol

import msgspec

from soloist.core.instances import AccessKey

MASTER = "master"
HOST = "host"
SYSTEM = "system"
DURABLE_KEY_NAME = "durabletask_extension"
KEY_HEADER = "x-functions-key"
KEY_FIELD = "code"

_KEY_BYTES = 40
_MAX_PRESENTED_LENGTH = 1024


class AccessLevel(StrEnum):
    """What a door asks for."""

    ANONYMOUS = "anonymous"
    FUNCTION = "function"
    ADMIN = "admin"
    SYSTEM = "system"


class KeyStore(Protocol):
    """The two verbs of the store that keys need."""

    async def keys(self) -> tuple[AccessKey, ...]:
        """Return every access key of the hub."""

    async def put_key(self, key: AccessKey, *, replaces: bool = False) -> AccessKey:
        """Store a key; unless it ``replaces`` one of that scope and name, that one stays."""


class KeyRing(msgspec.Struct, frozen=True):
    """All keys of a hub. With ``is_enforced`` false every door is open, for development."""

    keys: tuple[AccessKey, ...] = ()
    is_enforced: bool = True

    def admits(self, level: str, owner: str, presented: str | None) -> bool:
        """Whether ``presented`` opens a door of ``level``. ``owner`` is the function's name, or
        for ``system`` the webhook's key name.

        Every candidate is compared in full, so that the time taken tells nothing of a key.
        """
        if not self.is_enforced or level == AccessLevel.ANONYMOUS:
            return True
        if not presented or len(presented) > _MAX_PRESENTED_LENGTH:
            return False
        offered = presented.encode("utf-8", "surrogatepass")
        is_admitted = False
        for key in self.keys:
            if _opens(key, level, owner):
                is_equal = secrets.compare_digest(key.value.encode(), offered)
                is_admitted = is_admitted or is_equal
        return is_admitted

    def admits_management(self, presented: str | None) -> bool:
        """Whether ``presented`` opens the durable management API."""
        return self.admits(AccessLevel.SYSTEM, DURABLE_KEY_NAME, presented)

    def value(self, scope: str, name: str) -> str | None:
        """Return the value of one key, ``None`` when there is none of that scope and name."""
        for key in self.keys:
            if key.scope == scope and key.name == name:
                return key.value
        return None


async def ensure_keys(store: KeyStore, now: datetime) -> KeyRing:
    """Return the hub's keys, first drawing those that every hub has: the master key, the host's
    ``default`` and the durable webhook's. Hosts that do so at once agree on one of each.

    Raises:
        StoreUnavailable: from the store.
    """
    keys = list(await store.keys())
    present = {(key.scope, key.name) for key in keys}
    for scope, name in ((MASTER, "_master"), (HOST, "default"), (SYSTEM, DURABLE_KEY_NAME)):
        if (scope, name) not in present:
            keys.append(await store.put_key(AccessKey(scope, name, new_key_value(), now)))
    return KeyRing(tuple(keys))


def presented_key(headers: Mapping[str, str], query: Mapping[str, str]) -> str | None:
    """Return the key that a caller shows; a header is believed before ``code`` in the query, and
    a wrong one is not rescued by it. Of a repeated header the first counts. Names are
    lower-case."""
    if KEY_HEADER in headers:
        return headers[KEY_HEADER].split(",", 1)[0].strip() or None
    return query.get(KEY_FIELD)


def new_key_value() -> str:
    """Draw the value of a key."""
    return secrets.token_urlsafe(_KEY_BYTES)


def function_scope(function: str) -> str:
    """Return the scope of keys that open one function."""
    return f"function:{function}"


def _opens(key: AccessKey, level: str, owner: str) -> bool:
    if key.scope == MASTER:
        return True
    if level == AccessLevel.FUNCTION:
        scope = function_scope(owner).casefold()
        return key.scope == HOST or key.scope.casefold() == scope
    if level == AccessLevel.SYSTEM:
        return key.scope == SYSTEM and key.name == owner
    return False
