"""The store in an SQLite file."""

from soloist.stores.sqlite.store import SqliteStore

__all__ = ["SqliteStore"]
