"""The writer: gathers operations into groups, and has them committed.

Rules of this file: while one transaction is under way, operations gather; then they all go into
the next one. When many have gathered already, they go into a second transaction beside it, so that
neither the database nor this process waits for the other. Nobody hears of a result before the
commit that holds it. When a group fails through one of its operations, all are run again, one a
transaction.

Side by side run only plain steps, and starts of ids that may be free: none of them looks at what
the other transaction writes (of two starts of one id the later waits, and is run again, alone).
What sees rows runs alone, so that of everything it sees the owner has been told; and so does an
operation that is a transaction of its own, so that what it skips because it is locked is held by
others.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from itertools import islice
from typing import Any, TypeVar

import psycopg

from soloist.core.instances import CommitReceipt, StartReceipt
from soloist.errors import Overloaded, StoreUnavailable
from soloist.stores.postgres.commits import EncodedOutcome
from soloist.stores.postgres.committer import Committer, told_of
from soloist.stores.postgres.connection import Address, Connection, is_trouble
from soloist.stores.postgres.creations import Creation
from soloist.stores.postgres.load import Loader
from soloist.stores.postgres.operations import (
    Change,
    Operation,
    Solo,
    Start,
    Step,
    see_rows,
)
from soloist.stores.postgres.view import View
from soloist.stores.postgres.wanted import Wanted

MAX_WAITING_OPERATIONS = 10_000
MAX_GROUP_OPERATIONS = 500
MAX_GROUP_BYTES = 16 * 1024 * 1024
"""How much of payloads one transaction takes; one operation may be larger and then goes alone."""

COMMITTERS = 2
WORTH_A_SECOND = 16
"""How many operations must wait, before some go into a transaction beside one that is under way;
when it is fewer, a transaction more costs more than it gains."""

T = TypeVar("T")


class Writer:
    """Runs operations in groups. Belongs to one event loop.

    ``orphaned`` is told of results whose caller has gone away. ``home`` returns the host of this
    process. ``lost_track`` is set when the database may hold leases for this process of which
    nobody here knows.
    """

    def __init__(
        self,
        address: Address,
        orphaned: Callable[[Any], None],
        home: Callable[[], int | None],
        max_waiting: int = MAX_WAITING_OPERATIONS,
    ) -> None:
        self._address = address
        self._orphaned = orphaned
        self._home = home
        self._max_waiting = max_waiting
        self._waiting: deque[Operation] = deque()
        self._suspects: deque[Operation] = deque()
        self._committers: tuple[Committer, ...] = ()
        self._turning: list[asyncio.Task[None]] = []
        self._wake = asyncio.Event()
        self._under_way = 0
        self._is_alone = False
        self._is_open = False
        self.lost_track = False

    @property
    def transactions(self) -> int:
        """How many commits there were since it was opened."""
        return sum(each.transactions for each in self._committers)

    def open(self, hub_id: int, time: str) -> None:
        """Begin to work on a database that is prepared."""
        loader = Loader(hub_id, time, self._address.is_pooled)
        self._committers = tuple(
            Committer(self._address, hub_id, loader, self._home, self._lose_track)
            for _ in range(COMMITTERS)
        )
        self._is_open = True
        self._turning = [asyncio.create_task(self._turn(each)) for each in self._committers]

    async def close(self) -> None:
        """Finish what was asked for and close the connections."""
        if not self._is_open:
            return
        self._is_open = False
        self._wake.set()
        first, *others = self._turning
        await first  # then nothing waits any more, nor is anything under way
        for each in others:
            each.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        for committer in self._committers:
            await committer.close()

    def change(
        self, want: Callable[[Wanted], None], run: Callable[[View], T], payload_bytes: int = 0
    ) -> asyncio.Future[T]:
        """Queue an operation on rows; the future is done when its commit is durable.

        ``payload_bytes`` is about how much it writes beside a few columns.

        Raises:
            Overloaded: too many operations wait already.
            StoreUnavailable: the store is not open.
        """
        return self._submit(Change(want, run, payload_bytes, self._future()))

    def start(self, creation: Creation) -> asyncio.Future[StartReceipt]:
        """Queue a start, likewise."""
        sees_rows = self._address.is_pooled
        return self._submit(Start(creation, self._future(), sees_rows=sees_rows))

    def step(self, step: EncodedOutcome) -> asyncio.Future[CommitReceipt | None]:
        """Queue a plain step, likewise."""
        return self._submit(Step(step, self._future()))

    def solo(self, run: Callable[[Connection], Awaitable[T]]) -> asyncio.Future[T]:
        """Queue an operation that makes its own transaction, likewise."""
        return self._submit(Solo(run, self._future()))

    def first(self, run: Callable[[Connection], Awaitable[T]]) -> asyncio.Future[T]:
        """Queue such an operation ahead of all that waits, however much that is."""
        future = self._future(is_bounded=False)
        self._waiting.appendleft(Solo(run, future))
        self._wake.set()
        return future

    def _future(self, *, is_bounded: bool = True) -> asyncio.Future[Any]:
        if not self._is_open:
            raise StoreUnavailable(f"The {self._address.shown} is not open.")
        if is_bounded and len(self._waiting) >= self._max_waiting:
            raise Overloaded(
                f"{self._max_waiting} writes to the task hub wait for the database already."
                " Try again later."
            )
        return asyncio.get_running_loop().create_future()

    def _submit(self, operation: Operation) -> asyncio.Future[Any]:
        self._waiting.append(operation)
        self._wake.set()
        return operation.future

    async def _turn(self, committer: Committer) -> None:
        """Let a committer run group after group until the store is closed and nothing waits."""
        while True:
            if self._may_begin(committer):
                is_beside = self._under_way > 0
                if is_beside and not committer.is_up:
                    await committer.connect()  # what waits is for the first meanwhile
                    continue
                group = self._next_group(is_beside=is_beside)
                self._is_alone = sees_rows = see_rows(group)
                self._under_way += 1
                await self._run(committer, group, sees_rows=sees_rows)
                self._under_way -= 1
                self._wake.set()  # what could not be begun beside it
                continue
            if not self._is_open and not self._under_way:
                return
            self._wake.clear()
            await self._wake.wait()

    def _may_begin(self, committer: Committer) -> bool:
        """Whether a group waits that it may run now, beside what is under way. What begins with
        nothing beside it goes to the first, whose connection is in use anyway; so the first must
        not be busy with connecting when its turn comes."""
        if not self._under_way:
            is_first = committer is self._committers[0]
            return is_first and bool(self._suspects or self._waiting)
        if self._is_alone or self._suspects or len(self._waiting) < WORTH_A_SECOND:
            return False
        if any(each.sees_rows for each in islice(self._waiting, WORTH_A_SECOND)):
            return False
        return committer is not self._committers[0] or committer.is_up

    def _next_group(self, *, is_beside: bool) -> list[Operation]:
        """Take what goes into one transaction."""
        if self._suspects:
            return [self._suspects.popleft()]
        group: list[Operation] = []
        stepping: set[int] = set()
        starting: set[str] = set()
        room = MAX_GROUP_BYTES
        while self._waiting and len(group) < MAX_GROUP_OPERATIONS:
            operation = self._waiting[0]
            if isinstance(operation, Solo):
                return group or [self._waiting.popleft()]
            if is_beside and operation.sees_rows:
                break
            room -= operation.payload_bytes
            if group and room < 0:
                break
            if isinstance(operation, Step):
                generation = operation.step.outcome.generation
                if generation in stepping:
                    break
                stepping.add(generation)
            if is_beside and isinstance(operation, Start):
                if operation.instance_id in starting:
                    break
                starting.add(operation.instance_id)
            group.append(self._waiting.popleft())
        return group

    async def _run(self, committer: Committer, group: list[Operation], *, sees_rows: bool) -> None:
        """Run a group to its end, and tell everyone what came of it."""
        try:
            error = await committer.commit(group, sees_rows=sees_rows)
        except Exception as caught:  # noqa: BLE001  # it belongs to whoever asked
            if len(group) > 1 and not _is_nobodys_fault(caught):
                self._suspects.extend(group)  # one is guilty: from here on each for itself
                return
            error = told_of(self._address, caught) if isinstance(caught, psycopg.Error) else caught
        again: list[Operation] = []
        for operation in group:
            if error is None and _must_run_again(operation):
                again.append(operation)
            else:
                _tell(operation, error or operation.error, self._orphaned)
        self._waiting.extendleft(reversed(again))

    def _lose_track(self) -> None:
        self.lost_track = True


def _is_nobodys_fault(error: Exception) -> bool:
    """Whether the database is in trouble, rather than one of the operations."""
    return isinstance(error, psycopg.Error) and is_trouble(error)


def _must_run_again(operation: Operation) -> bool:
    """Whether nothing is known yet but that an id is taken."""
    return isinstance(operation, Start) and operation.result is None and operation.error is None


def _tell(
    operation: Operation, error: BaseException | None, orphaned: Callable[[Any], None]
) -> None:
    future = operation.future
    if future.done():  # its caller was cancelled meanwhile
        if error is None:
            orphaned(operation.result)
    elif error is None:
        future.set_result(operation.result)
    else:
        future.set_exception(error)
