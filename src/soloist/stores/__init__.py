"""Stores: where everything durable lives, chosen by a URL."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from soloist.contracts.clock import Clock
from soloist.contracts.store import Store
from soloist.errors import SettingsError
from soloist.stores.memory import MemoryStore
from soloist.stores.memory_state import MemoryState
from soloist.stores.sqlite import SqliteStore

__all__ = [
    "DEFAULT_LEASE_SECONDS",
    "MemoryState",
    "MemoryStore",
    "SqliteStore",
    "shown_url",
    "store_at",
]

DEFAULT_LEASE_SECONDS = 30.0

_MEMORY = "memory:"
_SQLITE = "sqlite:///"
_POSTGRES = ("postgresql:", "postgres:")


def store_at(
    url: str, *, task_hub: str, clock: Clock, lease_seconds: float = DEFAULT_LEASE_SECONDS
) -> Store:
    """Return the store of a task hub, not opened yet.

    ``url`` is ``sqlite:///relative.db``, ``sqlite:////absolute.db``, a plain path,
    ``postgresql://user@host/database`` (whose clock is the database's, not ``clock``), or
    ``memory:`` for a hub that ends with the process.

    Raises:
        SettingsError: the URL names no store of this version.
    """
    if url.lower().startswith(_POSTGRES):
        return _postgres(url, task_hub, lease_seconds)
    if url == _MEMORY:
        return MemoryStore(
            MemoryState(), task_hub=task_hub, clock=clock, lease_seconds=lease_seconds
        )
    return SqliteStore(_path_in(url), task_hub=task_hub, clock=clock, lease_seconds=lease_seconds)


def shown_url(url: str) -> str:
    """Return a store URL for people, without its password."""
    if not url.lower().startswith(_POSTGRES):
        return url
    parts = urlsplit(url)
    user, _, place = parts.netloc.rpartition("@")
    name = user.split(":", 1)[0]
    return (
        f"{parts.scheme}://{name}@{place}{parts.path}"
        if name
        else f"{parts.scheme}://{place}{parts.path}"
    )


def _postgres(url: str, task_hub: str, lease_seconds: float) -> Store:
    try:
        from soloist.stores.postgres import PostgresStore  # only where it is installed
    except ImportError as error:
        raise SettingsError(
            f"A hub in PostgreSQL needs the package psycopg ({error}). Install it with"
            " soloist[postgres]."
        ) from error
    return PostgresStore(url, task_hub=task_hub, lease_seconds=lease_seconds)


def _path_in(url: str) -> Path:
    path = unquote(url.removeprefix(_SQLITE)) if url.startswith(_SQLITE) else url
    if not path or "://" in path or path.startswith(("sqlite:", _MEMORY)) or "\x00" in path:
        raise SettingsError(
            f"The store URL {url!r} is not understood. Use sqlite:///relative.db,"
            " sqlite:////absolute.db, a plain path, postgresql://user@host/database, or memory:."
        )
    return Path(path)
