"""Access keys in SQL."""

from __future__ import annotations

from soloist.core.instances import AccessKey
from soloist.stores.postgres.connection import Connection
from soloist.stores.rows import key_of
from soloist.stores.times import to_micros

_FIND = "SELECT scope, name, value, created_at FROM soloist.access_keys"
_ONE = "WHERE hub_id = %s AND scope = %s AND name = %s"
_INSERT = (
    "INSERT INTO soloist.access_keys (hub_id, scope, name, value, created_at)"
    " VALUES (%s, %s, %s, %s, %s)"
)
_PUT = f"{_INSERT} ON CONFLICT DO NOTHING"
_REPLACE = (
    f"{_INSERT} ON CONFLICT (hub_id, scope, name)"
    " DO UPDATE SET value = excluded.value, created_at = excluded.created_at"
)


async def keys(connection: Connection, hub_id: int) -> tuple[AccessKey, ...]:
    """Return every access key of the hub."""
    rows = await connection.execute(f"{_FIND} WHERE hub_id = %s ORDER BY scope, name", (hub_id,))
    return tuple(key_of(row) for row in await rows.fetchall())


async def put_key(connection: Connection, hub_id: int, key: AccessKey, replaces: bool) -> AccessKey:
    """Store a key; return the one that is there now."""
    await connection.execute(
        _REPLACE if replaces else _PUT,
        (hub_id, key.scope, key.name, key.value, to_micros(key.created_at)),
    )
    found = await connection.execute(f"{_FIND} {_ONE}", (hub_id, key.scope, key.name))
    row = await found.fetchone()
    assert row is not None, "it was just put there"
    return key_of(row)


async def drop_key(connection: Connection, hub_id: int, scope: str, name: str) -> bool:
    """Remove a key; ``False`` when there is none of that scope and name."""
    dropped = await connection.execute(
        f"DELETE FROM soloist.access_keys {_ONE} RETURNING name", (hub_id, scope, name)
    )
    return await dropped.fetchone() is not None
