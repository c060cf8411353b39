"""The readers: a few lines of their own, so that a long listing delays no commit."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import psycopg

from soloist.errors import InvalidRequest, StoreUnavailable
from soloist.stores.postgres.connection import (
    ANSWER_SECONDS,
    NOT_STORABLE,
    Address,
    Connection,
    in_time,
    unavailable,
)
from soloist.stores.postgres.line import Line, is_lost

READERS = 3
MAX_WAITING_READS = 1_000

T = TypeVar("T")


class Readers:
    """Runs reads, each in a transaction of its own."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._lines = [Line(address) for _ in range(READERS)]
        self._free: asyncio.LifoQueue[Line] = asyncio.LifoQueue()
        self._waiting = 0
        self._is_open = False

    def open(self) -> None:
        """Be ready; a connection is made when it is first needed."""
        self._is_open = True
        for line in self._lines:
            self._free.put_nowait(line)

    async def close(self) -> None:
        """Finish what is being read and close the connections."""
        if self._is_open:
            self._is_open = False
            for _ in self._lines:
                await (await self._free.get()).drop()

    async def run(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """Return what ``work`` reads.

        Raises:
            StoreUnavailable: the store is not open, or the database does not answer.
        """
        if not self._is_open:
            raise StoreUnavailable(f"The {self._address.shown} is not open.")
        if self._waiting >= MAX_WAITING_READS:
            raise StoreUnavailable(f"{self._waiting} reads wait for the {self._address.shown}.")
        self._waiting += 1
        try:
            line = await self._free.get()
        finally:
            self._waiting -= 1
        try:
            return await self._read(line, work)
        except psycopg.Error as error:
            if isinstance(error, NOT_STORABLE):
                raise InvalidRequest(f"The database cannot hold this: {error}.") from error
            raise unavailable(self._address, error) from error
        finally:
            self._free.put_nowait(line)

    async def _read(self, line: Line, work: Callable[[Connection], Awaitable[T]]) -> T:
        """Read; over a connection that had gone long before, once more over a new one."""
        while True:
            was_up = line.is_up
            connection = await line.connection()
            try:
                return await in_time(work(connection), ANSWER_SECONDS)
            except asyncio.CancelledError:
                await line.drop()  # it may be in the middle of an answer
                raise
            except psycopg.Error as error:
                if not is_lost(connection, error):
                    raise
                await line.drop()
                if not was_up:
                    raise
