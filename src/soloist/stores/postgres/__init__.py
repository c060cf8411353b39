"""The store in PostgreSQL.

``store`` has the verbs and sends them to ``writer``, which commits them in groups over a ``line``.
A group is one transaction: ``load`` locks and reads what its operations have ``wanted``, they work
on the ``view`` of it (``starts``, ``inboxes``, ``commits``, ``rewinds``; ``moved`` is what one of
them moves elsewhere), and ``flush`` writes what became of it. ``leases`` and ``keys`` speak SQL
themselves, and so do the ``reads``, over lines of their own (``readers``). ``news`` wakes other
hosts; ``clock`` is the database's; ``replicas`` tells what a failover would lose.
"""

from soloist.stores.postgres.connection import DATABASE_TIME
from soloist.stores.postgres.store import PostgresStore

__all__ = ["DATABASE_TIME", "PostgresStore"]
