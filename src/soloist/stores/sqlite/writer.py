"""The writer: commits operations in groups.

Rules of this file: while one transaction is being synced, operations gather; then they all go
into the next one. Nobody hears of a result before the commit that holds it. An operation that
refuses (a domain error) before it has written anything leaves its neighbours as they are; anything
else that goes wrong, such as a damaged row found half-way or a commit that the disk refuses, rolls
the group back, and its operations are run again, one a transaction. Nobody hears of a failure
before what the failed commit left in the log is written over. Nothing is acknowledged once the
file is gone from its path.

Statements run on the event loop, and only what waits for the disk or for another process (BEGIN
when the file is busy, COMMIT) runs on the writer's thread; never both at once. A statement takes
microseconds, but on another thread each of them must win the interpreter's lock from the loop.
Beside a loop that never rests, 22 steps a second were committed that way; this way it varies with
luck from 80 to 30,000, for a commit too must win that lock twice. With
``sys.setswitchinterval(0.0001)`` in the host it was 10,000 to 33,000 in every run.

A commit of one or two operations runs on the loop too, while the disk is quick: beside so few there
is little to overlap it with, and to wake the thread and then the loop takes half as long again. The
first commit that is not quick sends those after it to the thread until a row of them was. So of the
commits that copy 16 MB of log into the file (5 ms where a commit takes 0.2), most hold up the loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue
from time import perf_counter
from typing import Any, TypeVar

from soloist.errors import Overloaded, SoloistError, StoreGone, StoreUnavailable
from soloist.failpoints import reach
from soloist.stores.sqlite.connection import begin, begin_patiently, unavailable
from soloist.stores.sqlite.place import Place

MAX_WAITING_OPERATIONS = 10_000
MAX_GROUP_OPERATIONS = 500
FEW_OPERATIONS = 2
QUICK_SECONDS = 0.0005
QUICK_COMMITS = 4
"""So many quick ones in a row show that the disk is."""

_INTERRUPTED = "The commit was interrupted; whether the hub has it is not known."

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]
Then = Callable[[BaseException | None], None]


class _Operation:
    """One write: what to do, and after its commit what came of it."""

    __slots__ = ("error", "future", "result", "work")

    def __init__(self, work: Work[Any], future: asyncio.Future[Any]) -> None:
        self.work = work
        self.future = future
        self.result: Any = None
        self.error: BaseException | None = None


class Writer:
    """Runs operations in groups. Belongs to one event loop.

    ``transactions`` counts the commits that reached the disk. ``orphaned`` is told of results
    whose caller has gone away.
    """

    def __init__(
        self,
        path: Path,
        place: Place,
        connect: Callable[[], sqlite3.Connection],
        orphaned: Callable[[Any], None],
        max_waiting: int = MAX_WAITING_OPERATIONS,
    ) -> None:
        self.transactions = 0
        self._path = path
        self._place = place
        self._connect = connect
        self._orphaned = orphaned
        self._max_waiting = max_waiting
        self._waiting: deque[_Operation] = deque()
        self._suspects: deque[_Operation] = deque()
        self._is_turning = False
        self._is_open = False
        self._disk = _Disk()
        self._loop = asyncio.get_running_loop()
        self._ended = self._loop.create_future()
        self._jobs: SimpleQueue[tuple[Callable[[], object], Then] | None] = SimpleQueue()
        self._connection: sqlite3.Connection | None = None

    async def open(self) -> None:
        """Start the thread and connect.

        Raises:
            HubTooNew, StoreUnavailable: as ``connect`` does.
        """
        # A daemon: a process that forgets to close must still be able to end.
        threading.Thread(target=self._serve, name="soloist-writer", daemon=True).start()
        connected: asyncio.Future[None] = self._loop.create_future()

        def told(error: BaseException | None) -> None:
            if error is None:
                connected.set_result(None)
            else:
                connected.set_exception(error)

        self._jobs.put((self._connect_here, told))
        try:
            # Shielded, because a connection that is made must also be closed.
            await asyncio.shield(connected)
        except BaseException:
            self._jobs.put(None)
            await self._ended  # the thread must not outlive the loop that it reports to
            raise
        self._is_open = True

    async def close(self) -> None:
        """Finish what was asked for and close the connection."""
        if not self._is_open:
            return
        self._is_open = False
        if not self._is_turning:
            self._jobs.put(None)
        await self._ended

    def submit(self, work: Work[T]) -> asyncio.Future[T]:
        """Queue an operation; the future is done when its commit has reached the disk.

        Raises:
            Overloaded: too many operations wait already.
            StoreUnavailable: the store is not open.
        """
        if not self._is_open:
            raise StoreUnavailable(f"The task hub file {self._path} is not open.")
        if len(self._waiting) >= self._max_waiting:
            raise Overloaded(
                f"{self._max_waiting} writes to the task hub wait for the disk already."
                " Try again later."
            )
        future: asyncio.Future[T] = self._loop.create_future()
        self._waiting.append(_Operation(work, future))
        if not self._is_turning:
            # Soon, not now: whatever the loop has ready may join the group.
            self._is_turning = True
            self._loop.call_soon(self._turn)
        return future

    def _turn(self) -> None:
        """Run the next group, or rest when nothing waits."""
        group = self._next_group()
        if not group:
            self._is_turning = False
            if not self._is_open:
                self._jobs.put(None)
            return
        connection = self._connected()
        reach("commit.before")
        try:
            self._place.check()
            is_begun = begin(connection)
        except (sqlite3.Error, StoreUnavailable) as error:
            self._settle(group, self._told(error))
            return
        if is_begun:
            self._run(group)
            return

        def begun(error: BaseException | None) -> None:
            if error is None:
                self._run(group)
            else:
                self._settle(group, self._told(error))

        self._jobs.put((lambda: begin_patiently(connection), begun))

    def _next_group(self) -> list[_Operation]:
        if self._suspects:
            return [self._suspects.popleft()]
        size = min(len(self._waiting), MAX_GROUP_OPERATIONS)
        return [self._waiting.popleft() for _ in range(size)]

    def _run(self, group: list[_Operation]) -> None:
        """Run a group's operations inside the transaction that has begun, and let it commit."""
        connection = self._connected()
        changes = connection.total_changes
        try:
            for operation in group:
                _run_one(connection, operation)
            if connection.total_changes == changes:
                connection.execute("ROLLBACK")  # nothing was written, so nothing need be synced
                self._settle(group, None)
                return
        except Exception as error:  # noqa: BLE001  # it belongs to whoever asked
            self._undo(group, error)
            return
        reach("commit.written")

        def committed(error: BaseException | None) -> None:
            if error is None:
                self.transactions += 1
                reach("commit.durable")
                self._settle(group, self._lost())
            else:
                self._undo(group, error)

        if len(group) > FEW_OPERATIONS or not self._disk.is_quick:
            self._jobs.put((lambda: self._disk.commit(connection), committed))
            return
        try:
            self._disk.commit(connection)
        except sqlite3.Error as error:
            committed(error)
        except BaseException:  # a signal's, which says nothing of the commit
            _roll_back(connection)
            self._loop.call_soon(self._settle, group, StoreUnavailable(_INTERRUPTED))
            raise
        else:
            committed(None)

    def _undo(self, group: list[_Operation], error: BaseException) -> None:
        """Roll back; one of the group is guilty, so from here on each answers for itself."""
        connection = self._connected()
        _roll_back(connection)
        if len(group) == 1:
            self._settle(group, self._told(error))
        else:
            self._suspects.extend(group)
            self._loop.call_soon(self._turn)

    def _settle(self, group: list[_Operation], error: BaseException | None) -> None:
        """Tell everyone what came of it, and go on once they had a chance to ask for more."""
        for operation in group:
            _tell(operation, error or operation.error, self._orphaned)
        self._loop.call_soon(self._turn)

    def _lost(self) -> StoreUnavailable | None:
        """Return why what was committed is lost all the same."""
        try:
            self._place.check()
        except StoreGone as error:
            return error
        except StoreUnavailable:
            return None  # it is committed, wherever that is
        return None

    def _told(self, error: BaseException) -> BaseException:
        if not isinstance(error, sqlite3.Error):
            return error
        told = unavailable(self._path, error)
        told.__cause__ = error
        return told

    def _connected(self) -> sqlite3.Connection:
        assert self._connection is not None, "opened before it is used"
        return self._connection

    def _connect_here(self) -> None:
        self._connection = self._connect()
        self._place.note()

    def _serve(self) -> None:
        """The thread: do what waits, and report to the loop."""
        while (job := self._jobs.get()) is not None:
            work, then = job
            error: BaseException | None = None
            try:
                work()
            except BaseException as caught:  # noqa: BLE001  # it belongs to whoever asked
                error = caught
            self._loop.call_soon_threadsafe(then, error)
        if self._connection is not None:
            self._connection.close()
        self._loop.call_soon_threadsafe(self._ended.set_result, None)


class _Disk:
    """Commits, and knows by the last few whether the disk is quick. One thread at a time.

    On the writer's thread a commit takes until the thread has the interpreter's lock again.
    """

    def __init__(self) -> None:
        self._quick_in_a_row = 0

    @property
    def is_quick(self) -> bool:
        """Whether the next commit may be expected to be quick."""
        return self._quick_in_a_row >= QUICK_COMMITS

    def commit(self, connection: sqlite3.Connection) -> None:
        """Commit, or leave nothing of it behind."""
        quick_before, self._quick_in_a_row = self._quick_in_a_row, 0
        began = perf_counter()
        _commit(connection)
        if perf_counter() - began <= QUICK_SECONDS:
            self._quick_in_a_row = quick_before + 1


def _commit(connection: sqlite3.Connection) -> None:
    """Commit, or leave nothing of it behind."""
    try:
        connection.execute("COMMIT")
    except sqlite3.Error:
        _roll_back(connection)
        _bury(connection)
        raise


def _roll_back(connection: sqlite3.Connection) -> None:
    """Roll back what SQLite has not rolled back by itself; on a failing disk even that may fail."""
    if connection.in_transaction:
        with contextlib.suppress(sqlite3.Error):
            connection.execute("ROLLBACK")


def _bury(connection: sqlite3.Connection) -> None:
    """Write over what a failed commit left in the log.

    When only the sync failed, the log holds the transaction whole. This process knows better, but
    should it die now, whoever opens the file next would take what was refused for committed. The
    smallest of transactions takes its place; it does no harm if it fails as well or comes to life.
    """
    with contextlib.suppress(sqlite3.Error):
        connection.execute("PRAGMA user_version = 0")


def _run_one(connection: sqlite3.Connection, operation: _Operation) -> None:
    operation.error = None
    changes = connection.total_changes
    try:
        operation.result = operation.work(connection)
    except SoloistError as refusal:
        if connection.total_changes != changes:
            raise
        operation.error = refusal


def _tell(
    operation: _Operation, error: BaseException | None, orphaned: Callable[[Any], None]
) -> None:
    future = operation.future
    if future.done():  # its caller was cancelled meanwhile
        if error is None:
            orphaned(operation.result)
    elif error is None:
        future.set_result(operation.result)
    else:
        future.set_exception(error)
