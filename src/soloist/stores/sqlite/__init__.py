"""The store in an SQLite file.

``store`` has the verbs. What each does in SQL stands by noun: ``starts``, ``inboxes``, ``leases``,
``commits``, ``rewinds`` and ``keys`` write, inside a transaction of ``writer``; ``reads`` only read,
beside it. ``moved`` gathers what one transaction does to other instances.

Rules of those files: a function that refuses raises before it has written anything. Statements are
constants, so that SQLite compiles each once. Times are microseconds.
"""

from soloist.stores.sqlite.store import SqliteStore

__all__ = ["SqliteStore"]
