"""Waiting until a store waits."""

from __future__ import annotations

import asyncio

import psycopg

_WAITS = (
    "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    " AND application_name = 'soloist' AND datname = current_database()"
)
_PATIENCE_SECONDS = 4.0


async def until_a_lock_is_waited_for(url: str) -> None:
    """Return when a connection of a store waits for a lock in that database."""
    async with (
        asyncio.timeout(_PATIENCE_SECONDS),
        await psycopg.AsyncConnection.connect(url, autocommit=True) as connection,
    ):
        while True:
            found = await connection.execute(_WAITS)
            if await found.fetchone() is not None:
                return
            await asyncio.sleep(0.01)
