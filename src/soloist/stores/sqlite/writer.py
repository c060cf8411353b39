"""The writer: one thread that owns the writing connection and commits in groups.

Rules of this file: while one transaction is being synced, operations gather; then they all go
into the next one. Nobody hears of a result before the commit that holds it. An operation that
refuses (a domain error) has written nothing by then, so its neighbours stay; anything else that
goes wrong rolls the group back, and its operations are run again, one a transaction.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from soloist.errors import Overloaded, SoloistError, StoreUnavailable
from soloist.failpoints import reach
from soloist.stores.sqlite.connection import unavailable

MAX_WAITING_OPERATIONS = 10_000
MAX_GROUP_OPERATIONS = 1_000

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]


class _NotBegun(Exception):  # noqa: N818  # a reason to give up on the whole group
    """The transaction could not begin, so that no operation is to blame."""

    def __init__(self, reason: sqlite3.Error) -> None:
        super().__init__(str(reason))
        self.reason = reason


class _Operation:
    """One write: what to do, and after its commit what came of it."""

    __slots__ = ("error", "future", "result", "work")

    def __init__(self, work: Work[Any], future: asyncio.Future[Any]) -> None:
        self.work = work
        self.future = future
        self.result: Any = None
        self.error: BaseException | None = None


class Writer:
    """Runs operations in groups on its own thread. Belongs to one event loop.

    ``transactions`` counts the commits that reached the disk. ``orphaned`` is told, on the event
    loop, of results whose caller has gone away.
    """

    def __init__(
        self,
        path: Path,
        connect: Callable[[], sqlite3.Connection],
        orphaned: Callable[[Any], None],
        max_waiting: int = MAX_WAITING_OPERATIONS,
    ) -> None:
        self.transactions = 0
        self._path = path
        self._connect = connect
        self._orphaned = orphaned
        self._max_waiting = max_waiting
        self._waiting = 0
        self._queue: SimpleQueue[_Operation | None] = SimpleQueue()
        self._loop = asyncio.get_running_loop()
        self._is_open = False
        self._ended = self._loop.create_future()

    async def open(self) -> None:
        """Start the thread and let it connect.

        Raises:
            HubTooNew, StoreUnavailable: as ``connect`` does.
        """
        connected: asyncio.Future[None] = self._loop.create_future()
        # A daemon: a process that forgets to close must still be able to end.
        threading.Thread(
            target=self._run, args=(connected,), name="soloist-writer", daemon=True
        ).start()
        await connected
        self._is_open = True

    async def close(self) -> None:
        """Finish what is queued and close the connection."""
        if self._is_open:
            self._is_open = False
            self._queue.put(None)
            await self._ended

    def submit(self, work: Work[T]) -> asyncio.Future[T]:
        """Queue an operation; the future is done when its commit has reached the disk.

        Raises:
            Overloaded: too many operations wait already.
            StoreUnavailable: the store is not open.
        """
        if not self._is_open:
            raise StoreUnavailable(f"The task hub file {self._path} is not open.")
        if self._waiting >= self._max_waiting:
            raise Overloaded(
                f"More than {self._max_waiting} writes to the task hub wait for the disk."
                " Try again later."
            )
        self._waiting += 1
        future: asyncio.Future[T] = self._loop.create_future()
        self._queue.put(_Operation(work, future))
        return future

    def _run(self, connected: asyncio.Future[None]) -> None:
        try:
            connection = self._connect()
        except BaseException as error:  # noqa: BLE001  # it belongs to whoever called open
            self._loop.call_soon_threadsafe(_fail, connected, error)
            return
        self._loop.call_soon_threadsafe(_succeed, connected)
        try:
            while group := self._next_group():
                self._run_group(connection, group)
                self._loop.call_soon_threadsafe(self._tell, group)
        finally:
            connection.close()
            self._loop.call_soon_threadsafe(_succeed, self._ended)

    def _next_group(self) -> list[_Operation]:
        """Wait for an operation and take all that are there; empty at the end."""
        group: list[_Operation] = []
        operation = self._queue.get()
        try:
            while operation is not None:
                group.append(operation)
                if len(group) == MAX_GROUP_OPERATIONS:
                    return group
                operation = self._queue.get_nowait()
        except Empty:
            return group
        if group:
            self._queue.put(None)  # the end was called for: come back for it
        return group

    def _run_group(self, connection: sqlite3.Connection, group: list[_Operation]) -> None:
        try:
            self._commit(connection, group)
        except _NotBegun as error:
            _give_to_all(group, self._told(error.reason))
        except BaseException as error:  # noqa: BLE001  # it belongs to whoever asked
            if len(group) == 1:
                _give_to_all(group, self._told(error))
                return
            # One of them is guilty: alone, each answers for itself.
            for operation in group:
                self._run_group(connection, [operation])

    def _commit(self, connection: sqlite3.Connection, group: list[_Operation]) -> None:
        reach("commit.before")
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.Error as error:
            raise _NotBegun(error) from error
        try:
            changes = connection.total_changes
            for operation in group:
                _run_one(connection, operation)
            if connection.total_changes == changes:
                connection.execute("ROLLBACK")  # nothing was written, so nothing need be synced
                return
            reach("commit.written")
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:  # SQLite itself rolls back after some errors
                connection.execute("ROLLBACK")
            raise
        self.transactions += 1
        reach("commit.durable")

    def _told(self, error: BaseException) -> BaseException:
        if not isinstance(error, sqlite3.Error):
            return error
        told = unavailable(self._path, error)
        told.__cause__ = error
        return told

    def _tell(self, group: list[_Operation]) -> None:
        self._waiting -= len(group)
        for operation in group:
            future = operation.future
            if future.done():
                if operation.error is None:
                    self._orphaned(operation.result)
            elif operation.error is not None:
                future.set_exception(operation.error)
            else:
                future.set_result(operation.result)


def _run_one(connection: sqlite3.Connection, operation: _Operation) -> None:
    operation.error = None
    try:
        operation.result = operation.work(connection)
    except SoloistError as refusal:
        operation.error = refusal


def _give_to_all(group: list[_Operation], error: BaseException) -> None:
    for operation in group:
        operation.error = error


def _succeed(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _fail(future: asyncio.Future[None], error: BaseException) -> None:
    if not future.done():
        future.set_exception(error)
