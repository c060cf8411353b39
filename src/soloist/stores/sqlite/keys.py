"""Access keys in SQL."""

from __future__ import annotations

import sqlite3

from soloist.core.instances import AccessKey
from soloist.stores.rows import key_of
from soloist.stores.times import to_micros

_FIND = "SELECT scope, name, value, created_at FROM access_keys"
_ONE = "WHERE hub_id = ? AND scope = ? AND name = ?"
_INSERT = "INSERT INTO access_keys (hub_id, scope, name, value, created_at) VALUES (?, ?, ?, ?, ?)"
_PUT = f"{_INSERT} ON CONFLICT DO NOTHING"
_REPLACE = (
    f"{_INSERT} ON CONFLICT DO UPDATE SET value = excluded.value, created_at = excluded.created_at"
)


def keys(connection: sqlite3.Connection, hub_id: int) -> tuple[AccessKey, ...]:
    """Return every access key of the hub."""
    rows = connection.execute(f"{_FIND} WHERE hub_id = ? ORDER BY scope, name", (hub_id,))
    return tuple(key_of(row) for row in rows)


def put_key(
    connection: sqlite3.Connection, hub_id: int, key: AccessKey, replaces: bool
) -> AccessKey:
    """Store a key; return the one that is there now."""
    connection.execute(
        _REPLACE if replaces else _PUT,
        (hub_id, key.scope, key.name, key.value, to_micros(key.created_at)),
    )
    row = connection.execute(f"{_FIND} {_ONE}", (hub_id, key.scope, key.name)).fetchone()
    return key_of(row)


def drop_key(connection: sqlite3.Connection, hub_id: int, scope: str, name: str) -> bool:
    """Remove a key; ``False`` when there is none of that scope and name."""
    dropped = connection.execute(f"DELETE FROM access_keys {_ONE}", (hub_id, scope, name))
    return dropped.rowcount > 0
