"""Stores: where everything durable lives, chosen by a URL."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote

from soloist.contracts.clock import Clock
from soloist.contracts.store import Store
from soloist.errors import SettingsError
from soloist.stores.memory import MemoryStore
from soloist.stores.memory_state import MemoryState
from soloist.stores.sqlite import SqliteStore

__all__ = ["DEFAULT_LEASE_SECONDS", "MemoryState", "MemoryStore", "SqliteStore", "store_at"]

DEFAULT_LEASE_SECONDS = 30.0

_MEMORY = "memory:"
_SQLITE = "sqlite:///"
_POSTGRES = ("postgresql:", "postgres:")


def store_at(
    url: str, *, task_hub: str, clock: Clock, lease_seconds: float = DEFAULT_LEASE_SECONDS
) -> Store:
    """Return the store of a task hub, not opened yet.

    ``url`` is ``sqlite:///relative.db``, ``sqlite:////absolute.db``, a plain path, or ``memory:``
    for a hub that ends with the process.

    Raises:
        SettingsError: the URL names no store of this version.
    """
    if url == _MEMORY:
        return MemoryStore(
            MemoryState(), task_hub=task_hub, clock=clock, lease_seconds=lease_seconds
        )
    return SqliteStore(_path_in(url), task_hub=task_hub, clock=clock, lease_seconds=lease_seconds)


def _path_in(url: str) -> Path:
    if url.lower().startswith(_POSTGRES):
        raise SettingsError(
            "This version of Soloist keeps its data in SQLite only; a PostgreSQL URL cannot be"
            " used yet. Use sqlite:///path/to/hub.db."
        )
    path = unquote(url.removeprefix(_SQLITE)) if url.startswith(_SQLITE) else url
    if not path or "://" in path or path.startswith(("sqlite:", _MEMORY)) or "\x00" in path:
        raise SettingsError(
            f"The store URL {url!r} is not understood. Use sqlite:///relative.db,"
            " sqlite:////absolute.db, a plain path, or memory:."
        )
    return Path(path)
