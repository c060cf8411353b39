"""Stores: where everything durable lives, chosen by a URL."""

from __future__ import annotations

from soloist.contracts.clock import Clock
from soloist.contracts.store import Store
from soloist.errors import SettingsError
from soloist.stores.memory import MemoryStore
from soloist.stores.memory_state import MemoryState
from soloist.stores.sqlite import SqliteStore
from soloist.stores.urls import is_postgres, path_of, shown_url

__all__ = [
    "DEFAULT_LEASE_SECONDS",
    "MemoryState",
    "MemoryStore",
    "SqliteStore",
    "is_postgres",
    "path_of",
    "shown_url",
    "store_at",
]

DEFAULT_LEASE_SECONDS = 30.0


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
    path = path_of(url)
    if path is not None:
        return SqliteStore(path, task_hub=task_hub, clock=clock, lease_seconds=lease_seconds)
    if is_postgres(url):
        return _postgres(url, task_hub, lease_seconds)
    return MemoryStore(MemoryState(), task_hub=task_hub, clock=clock, lease_seconds=lease_seconds)


def _postgres(url: str, task_hub: str, lease_seconds: float) -> Store:
    try:
        from soloist.stores.postgres import PostgresStore  # only where it is installed
    except ImportError as error:
        raise SettingsError(
            f"A hub in PostgreSQL needs the package psycopg ({error}) beside the host: in a clone of"
            " Soloist, pip install '.[postgres]'."
        ) from error
    return PostgresStore(url, task_hub=task_hub, lease_seconds=lease_seconds)
