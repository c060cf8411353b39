"""News: how a process tells the others of a hub that there is something to do.

Every piece of news may be lost and nothing but time is lost with it: whoever misses it finds the
work at the next poll. It is told with the commit, and only when others have something to do.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

import psycopg

from soloist.stores.postgres.arrays import Texts
from soloist.stores.postgres.batch import Batch
from soloist.stores.postgres.connection import Address, Connection, close, connect
from soloist.stores.postgres.view import View

WORK = "work"
"""What is told when something is due that no host holds; otherwise the id of a host with mail."""

_PAUSE_SECONDS = 1.0


def channel_of(hub_id: int) -> str:
    """Return the name under which a hub's processes speak to each other."""
    return f"soloist_{hub_id}"


def send_news(batch: Batch, view: View) -> None:
    """Tell the others what the transaction leaves for them."""
    news = [str(host_id) for host_id in sorted(view.mailed)]
    if view.leaves_work:
        news.append(WORK)
    if news:
        batch.add(
            "SELECT pg_notify(%s, n) FROM unnest(%s) AS n", (channel_of(view.hub_id), Texts(news))
        )


class Listener:
    """Hears the news over a connection of its own, as long as it is open."""

    def __init__(self, address: Address, hub_id: int) -> None:
        self._address = address
        self._channel = channel_of(hub_id)
        self._listening: asyncio.Task[None] | None = None

    def open(self, heard: Callable[[str], None]) -> None:
        """Call ``heard`` with every piece of news from now on."""
        if self._listening is None:
            self._listening = asyncio.create_task(self._listen(heard))

    async def close(self) -> None:
        """Hear no more."""
        listening, self._listening = self._listening, None
        if listening is not None:
            listening.cancel()
            with suppress(asyncio.CancelledError):
                await listening

    async def _listen(self, heard: Callable[[str], None]) -> None:
        while True:
            connection: Connection | None = None
            try:
                connection = await connect(self._address)
                await connection.execute(f"LISTEN {self._channel}")
                async for each in connection.notifies():
                    heard(each.payload)
            except psycopg.Error:
                pass  # the writer says what is wrong; until it is mended, polling does it
            finally:
                if connection is not None:
                    await close(connection)
            await asyncio.sleep(_PAUSE_SECONDS)
