"""Access keys: who may call what.

As on Azure: the master key opens everything; a host key every function of level ``function``; a
function's own key that function; a system key only the webhook it is named after. Levels match
exactly or not at all, so that a system key opens no function. Names have no case.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable, Mapping
from datetime import datetime
from enum import StrEnum
from typing import Protocol

import msgspec

from soloist.core.instances import AccessKey
from soloist.errors import InvalidRequest

MASTER = "master"
HOST = "host"
SYSTEM = "system"
MASTER_KEY_NAME = "_master"
DEFAULT_KEY_NAME = "default"
DURABLE_KEY_NAME = "durabletask_extension"
LASTING_KEYS = ((MASTER, MASTER_KEY_NAME), (HOST, DEFAULT_KEY_NAME), (SYSTEM, DURABLE_KEY_NAME))
"""The keys that every hub has: they can be rotated, never removed."""
KEY_HEADER = "x-functions-key"
KEY_FIELD = "code"

MIN_VALUE_LENGTH = 16
MAX_VALUE_LENGTH = 1024

_KEY_BYTES = 40
_FUNCTION_PREFIX = "function:"
_FUNCTION_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,126}")
_KEY_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,126}")
_VALUE = re.compile(r"[!-+\--~]*")  # what a header and a query can both carry: no comma, no space


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


class Admission(Protocol):
    """What a door asks: a ring, or a cabinet that holds the newest one."""

    def admits(self, level: str, owner: str, presented: str | None) -> bool:
        """Whether ``presented`` opens a door; see :meth:`KeyRing.admits`."""


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
        if not presented or len(presented) > MAX_VALUE_LENGTH:
            return False
        offered = presented.encode("utf-8", "surrogatepass")
        place = _place(function_scope(owner) if level == AccessLevel.FUNCTION else SYSTEM, owner)
        is_admitted = False
        for key in self.keys:
            if _opens(key, level, place):
                is_equal = secrets.compare_digest(key.value.encode(), offered)
                is_admitted = is_admitted or is_equal
        return is_admitted

    def admits_management(self, presented: str | None) -> bool:
        """Whether ``presented`` opens the durable management API."""
        return self.admits(AccessLevel.SYSTEM, DURABLE_KEY_NAME, presented)

    def value(self, scope: str, name: str) -> str | None:
        """Return the value of one key, ``None`` when there is none of that scope and name."""
        key = self.find(scope, name)
        return None if key is None else key.value

    def find(self, scope: str, name: str) -> AccessKey | None:
        """Return the key of that scope and name, however their case is spelled."""
        for key in self.keys:
            if _place(key.scope, key.name) == _place(scope, name):
                return key
        return None


OPEN_RING = KeyRing(is_enforced=False)
"""Asks nobody for a key."""


async def ensure_keys(store: KeyStore, now: datetime, functions: Iterable[str] = ()) -> KeyRing:
    """Return the hub's keys, first drawing those that are missing: the master key, the host's
    ``default``, the durable webhook's and, for each of the ``functions``, a ``default`` of its
    own. Hosts that do so at once agree on one of each.

    Raises:
        StoreUnavailable: from the store.
    """
    keys = list(await store.keys())
    present = {_place(key.scope, key.name) for key in keys}
    wanted = [*LASTING_KEYS, *((function_scope(name), DEFAULT_KEY_NAME) for name in functions)]
    for scope, name in wanted:
        if _place(scope, name) not in present:
            keys.append(await store.put_key(AccessKey(scope, name, new_key_value(), now)))
    return KeyRing(tuple(keys))


def checked_scope(text: str) -> str:
    """Return the scope that ``text`` means.

    Raises:
        InvalidRequest: it means none; the text says which there are.
    """
    scope = text.lower()
    if scope in (MASTER, HOST, SYSTEM):
        return scope
    name = text[len(_FUNCTION_PREFIX) :]
    if scope.startswith(_FUNCTION_PREFIX) and _FUNCTION_NAME.fullmatch(name):
        return function_scope(name)
    raise InvalidRequest(
        f"{text[:120]!r} is no scope of keys. Say master, host, system or function:NAME, where"
        " NAME is an HTTP function of the app."
    )


def checked_name(scope: str, name: str) -> str:
    """Return ``name``, if a key of that scope can have it.

    Raises:
        InvalidRequest: with the rule that is broken.
    """
    if scope == MASTER:
        if name.lower() != MASTER_KEY_NAME:
            raise InvalidRequest(f"There is one master key, and its name is {MASTER_KEY_NAME}.")
        return MASTER_KEY_NAME
    if not _KEY_NAME.fullmatch(name):
        raise InvalidRequest(
            f"{name[:120]!r} cannot name a key: a name is a letter or a digit, then at most 126"
            " letters, digits, '_', '.' and '-'."
        )
    return name


def checked_value(value: str) -> str:
    """Return ``value``, if it can be presented and is not easily guessed. What it is stays out of
    the error.

    Raises:
        InvalidRequest: with the rule that is broken.
    """
    if not MIN_VALUE_LENGTH <= len(value) <= MAX_VALUE_LENGTH:
        raise InvalidRequest(
            f"A key has {MIN_VALUE_LENGTH} to {MAX_VALUE_LENGTH} characters; this one has"
            f" {len(value)}. Leave the value out to have one drawn."
        )
    if not _VALUE.fullmatch(value):
        raise InvalidRequest(
            "A key has printable ASCII characters only, no spaces and no commas, since headers"
            " carry it. Leave the value out to have one drawn."
        )
    return value


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
    return f"{_FUNCTION_PREFIX}{function}"


def _place(scope: str, name: str) -> tuple[str, str]:
    return scope.casefold(), name.casefold()


def _opens(key: AccessKey, level: str, place: tuple[str, str]) -> bool:
    if key.scope == MASTER:
        return True
    if level == AccessLevel.FUNCTION:
        return key.scope == HOST or key.scope.casefold() == place[0]
    if level == AccessLevel.SYSTEM:
        return _place(key.scope, key.name) == place
    return False
