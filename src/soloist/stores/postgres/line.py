"""A line to the database: one connection at a time, made anew when it has gone."""

from __future__ import annotations

import asyncio

import psycopg

from soloist.stores.postgres.batch import UNKNOWN_PROCESS, ServerProcess, Speaker
from soloist.stores.postgres.connection import (
    ANSWER_SECONDS,
    BACKEND_START,
    Address,
    Connection,
    close,
    connect,
    in_time,
)

_PLANS = "; ".join(
    (
        "SET enable_seqscan = off",
        "SET enable_hashjoin = off",
        "SET enable_mergejoin = off",
        "SET plan_cache_mode = force_generic_plan",
    )
)
"""The prepared statements find a bounded number of rows by their keys, whatever the tables hold, so
a plan by index need be made only once; left to itself the server plans anew with each call. It may
be made in an empty hub, so a statement must leave no other way than by the key: not by a join that
could as well begin with the whole table."""

_PROCESS = f"SELECT pid, {BACKEND_START} FROM pg_stat_activity WHERE pid = pg_backend_pid()"

_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.05, 1.0


class Line:
    """One connection, used by one task at a time. While the database is away, whoever asks is
    told so at once, and the line is tried again less and less often."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._connection: Connection | None = None
        self._speaker: Speaker | None = None
        self._pause_seconds = _FIRST_PAUSE_SECONDS
        self._next_try_at = 0.0
        self._last_error: psycopg.Error | None = None

    @property
    def is_up(self) -> bool:
        """Whether there is a connection, as far as anybody knows."""
        return self._connection is not None and not self._connection.closed

    @property
    def has_ended(self) -> bool:
        """Whether the server is known to have closed the connection while nothing was asked."""
        return self._speaker is not None and self._speaker.has_ended

    async def connection(self) -> Connection:
        """Return the connection, made anew when it has gone.

        Raises:
            psycopg.Error: the database does not answer.
        """
        if self._connection is not None and not self._connection.closed:
            return self._connection
        loop = asyncio.get_running_loop()
        if self._last_error is not None and loop.time() < self._next_try_at:
            raise psycopg.OperationalError(str(self._last_error))
        try:
            self._connection = await connect(self._address)
        except psycopg.Error as error:
            self._last_error = error
            self._pause_seconds = min(2 * self._pause_seconds, _LONGEST_PAUSE_SECONDS)
            self._next_try_at = loop.time() + self._pause_seconds
            raise
        self._last_error = None
        self._pause_seconds = _FIRST_PAUSE_SECONDS
        return self._connection

    async def speaker(self) -> Speaker:
        """Return who speaks in batches over the connection, likewise. One that has ended is not
        used: what is said over it might have been heard, and nobody would know."""
        if self.has_ended:
            await self.drop()
        connection = await self.connection()
        if self._speaker is None or self._speaker.connection is not connection:
            is_pooled = self._address.is_pooled
            process = UNKNOWN_PROCESS if is_pooled else await self._prepare(connection)
            self._speaker = Speaker(connection, prepares=not is_pooled, process=process)
        return self._speaker

    async def _prepare(self, connection: Connection) -> ServerProcess:
        """Hold the plans, and return which process of the server is at the other end; what it told
        when the connection was made may have been a pooler's word."""
        try:
            await in_time(connection.execute(_PLANS, prepare=False), ANSWER_SECONDS)
            found = await in_time(connection.execute(_PROCESS), ANSWER_SECONDS)
            row = await found.fetchone()
        except BaseException:
            await self.drop()  # it may be in the middle of an answer
            raise
        assert row is not None, "a server sees its own process"
        return ServerProcess(*row)

    async def pause(self) -> None:
        """Wait until it is worth while to try again."""
        await asyncio.sleep(self._pause_seconds)

    async def drop(self) -> None:
        """Give the connection up."""
        connection, self._connection = self._connection, None
        self._speaker = None
        if connection is not None:
            await close(connection)


def is_lost(connection: Connection, error: psycopg.Error) -> bool:
    """Whether an error means that no answer came, rather than that the answer was no.

    A server that shuts down says so and ends the transaction, unless it was past its commit.
    """
    return (
        connection.closed
        or connection.broken
        or error.sqlstate is None
        or error.sqlstate.startswith(_CONNECTION_ENDS)
    )


# The last: a statement that ought to be prepared is not, so the connection is not as we believe.
_CONNECTION_ENDS = ("08", "57P", "26000")
