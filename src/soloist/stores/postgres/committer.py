"""A committer: carries out groups of operations, each in one transaction, over one connection.

An operation that refuses (a domain error) before it has changed anything leaves its neighbours as
they are; anything else that goes wrong undoes the group.

Plain steps, and starts as long as their ids are free, are one round trip; whatever sees rows first
is two. A start whose id turns out to be taken, which costs it a transaction more, is run again in
that way.

When the answer to a COMMIT is lost with the connection, the database is asked what became of that
transaction. One of a single round trip does not know its number: if it has starts, the server's
process that may be at it is ended, they are looked for, and whoever has a step in it is told that
nobody knows.
Behind a pooler that process is not known, and starts see rows first. When the database cannot be
asked for long, ``lost_track`` is called: it may hold leases for this process of which nobody here
knows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from enum import Enum
from functools import partial
from typing import Literal

import psycopg
from psycopg import errors

from soloist.errors import InvalidRequest, SoloistError, StoreUnavailable
from soloist.failpoints import reach
from soloist.stores.postgres.batch import Answer, Batch, ServerProcess, Speaker
from soloist.stores.postgres.commits import NOTHING_MOVED, step_all
from soloist.stores.postgres.connection import (
    ANSWER_SECONDS,
    NOT_STORABLE,
    TIMELINE,
    Address,
    in_time,
    unavailable,
)
from soloist.stores.postgres.creations import Created, Creation, end_process, find_created
from soloist.stores.postgres.flush import flush
from soloist.stores.postgres.line import Line, is_lost
from soloist.stores.postgres.load import Loader, view_of
from soloist.stores.postgres.news import send_news
from soloist.stores.postgres.operations import Change, Operation, Solo, Start, Step
from soloist.stores.postgres.view import View
from soloist.stores.postgres.wanted import Missing, Wanted

MAX_ATTEMPTS = 50
"""How often a group is tried again because others were faster, before its callers are told."""

RESOLVE_SECONDS = 10.0
"""How long the database may be away before it can be asked about a lost commit."""

_HAND_ON = "SELECT pg_logical_emit_message(true, 'soloist', '')"
"""A commit that changes nothing: when it is acknowledged, synchronous standbys have it, and so
everything before. What a primary that crashed finds in its own log they may not have."""

# Others were faster: the same operations decide anew on what they left.
_LOST_RACE = (
    errors.UniqueViolation,
    errors.SerializationFailure,
    errors.DeadlockDetected,
)


class Fate(Enum):
    """What became of a transaction whose COMMIT nobody answered."""

    COMMITTED = "it is done"
    ABORTED = "it is not, and never will be"
    PASSED = "it may have been done, and what it did is gone on from"
    UNDECIDED = "one must ask again"
    ANOTHER_LIFE = "the database that knew is gone"


class _Again(Exception):
    """A row appeared between the locks and the reading."""


class Committer:
    """Commits one group at a time. ``transactions`` counts the commits.

    ``home`` returns the host of this process.
    """

    def __init__(
        self,
        address: Address,
        hub_id: int,
        loader: Loader,
        home: Callable[[], int | None],
        lost_track: Callable[[], None],
    ) -> None:
        self.transactions = 0
        self._address = address
        self._hub_id = hub_id
        self._loader = loader
        self._home = home
        self._lost_track = lost_track
        self._line = Line(address)
        self._is_committing = False
        self._ask_fate: Callable[[], Awaitable[Fate]] | None = None

    @property
    def is_up(self) -> bool:
        """Whether it is connected; to be asked while it rests."""
        return self._line.is_up and not self._line.has_ended

    async def connect(self) -> None:
        """Connect, or wait until it is worth while to try again."""
        try:
            await self._line.speaker()
        except psycopg.Error:
            await self._line.pause()

    async def close(self) -> None:
        """Close the connection."""
        await self._line.drop()

    async def commit(self, group: list[Operation], *, sees_rows: bool) -> BaseException | None:
        """Commit a group, however often others are faster; return what all are told.

        Without ``sees_rows`` there are plain steps in it, and starts of different ids.
        """
        wanted = _wanted_by(group)
        is_fresh = not self._line.is_up
        attempts = 0
        while attempts < MAX_ATTEMPTS:
            attempts += 1
            speaker = await self._line.speaker()
            try:
                reach("commit.before")
                attempt = self._attempt(speaker, group, wanted, sees_rows=sees_rows)
                await in_time(attempt, ANSWER_SECONDS)
            except Missing as missing:
                missing.widen(wanted)
                attempts -= 1  # it has an end of its own: each time more is wanted
                await self._roll_back(speaker)
            except (_Again, *_LOST_RACE):
                await self._roll_back(speaker)
            except psycopg.Error as error:
                if isinstance(error, NOT_STORABLE) or not is_lost(speaker.connection, error):
                    await self._roll_back(speaker)
                    raise
                await self._line.drop()
                if self._is_committing:
                    told = await self._resolve(error)
                    if told is not Fate.ABORTED:
                        return told
                if is_fresh:
                    raise
                is_fresh = True  # it had gone away long before; nothing that was sent counts
            except BaseException:
                await self._roll_back(speaker)
                raise
            else:
                reach("commit.durable")
                return None
        raise StoreUnavailable(
            f"{MAX_ATTEMPTS} times others changed the same instances first. Try again."
        )

    async def _attempt(
        self, speaker: Speaker, group: list[Operation], wanted: Wanted, *, sees_rows: bool
    ) -> None:
        self._is_committing = False
        self._ask_fate = None
        first = group[0]
        if isinstance(first, Solo):
            await self._alone(speaker, first)
            return
        steps = [each for each in group if isinstance(each, Step)]
        changes = [each for each in group if isinstance(each, Change)]
        if sees_rows:
            await self._change(speaker, steps, changes, wanted)
        else:
            await self._step(
                speaker, steps, [each for each in changes if isinstance(each, Start)], wanted
            )

    async def _alone(self, speaker: Speaker, operation: Solo) -> None:
        """Commit an operation that speaks SQL itself."""
        connection = speaker.connection
        async with connection.pipeline():
            for statement in self._loader.opening:
                await connection.execute(statement)
            operation.result = await operation.run(connection)
            number = await connection.execute(
                f"SELECT pg_current_xact_id_if_assigned()::text || '@' || {TIMELINE}"
            )
        row = await number.fetchone()
        if row is not None and row[0] is not None:
            self._ask_fate = partial(self._fate_of, row[0])
        await self._commit(speaker.batch())

    async def _step(
        self, speaker: Speaker, steps: list[Step], creating: list[Start], wanted: Wanted
    ) -> None:
        """Commit plain steps and starts of free ids, in one round trip."""
        batch = speaker.batch()
        self._loader.begin(batch)
        if creating:
            self._loader.ask(wanted, []).guard(batch)
        if steps:
            self._loader.lock(batch, _generations(steps))
            stepped = step_all(batch, [each.step for each in steps])
        if creating:
            created = self._loader.create(batch, _creations(creating))
            self._ask_fate = partial(self._fate_with, creating, steps, speaker.process)
        await self._commit(batch)
        if steps:
            _note_steps(steps, stepped)
        if creating:
            _note_starts(creating, Created(created.rows))

    async def _change(
        self, speaker: Speaker, steps: list[Step], changes: list[Change], wanted: Wanted
    ) -> None:
        """Commit operations that see rows first, and with them plain steps: in two round trips."""
        request = self._loader.ask(wanted, _generations(steps))
        batch = speaker.batch()
        self._loader.begin(batch)
        request.lock(batch)
        stepped = step_all(batch, [each.step for each in steps]) if steps else None
        request.read(batch)
        await batch.run()
        if stepped is not None:
            _note_steps(steps, stepped)
        loaded = request.loaded()
        if loaded is None:
            raise _Again
        view = view_of(loaded, wanted, self._hub_id, self._home())
        for operation in changes:
            _run_one(operation, view)
        if not view.changes and not steps:
            await self._roll_back(speaker)  # nothing to keep, and not to be synced
            return
        self._ask_fate = partial(self._fate_of, loaded.transaction_id)
        batch = speaker.batch()
        flush(batch, view)
        send_news(batch, view)
        await self._commit(batch)

    async def _commit(self, batch: Batch) -> None:
        reach("commit.written")
        batch.add("COMMIT")
        self._is_committing = True
        await batch.run()
        self.transactions += 1

    async def _resolve(self, error: psycopg.Error) -> BaseException | Literal[Fate.ABORTED] | None:
        """Find out what became of a transaction whose COMMIT nobody answered; return what all are
        told, ``None`` when it is done, or ``Fate.ABORTED``."""
        if self._ask_fate is None:
            return told_of(self._address, error)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + RESOLVE_SECONDS
        while loop.time() < deadline:
            try:
                fate = await in_time(self._ask_fate(), ANSWER_SECONDS)
                if fate is Fate.COMMITTED:
                    await in_time(self._hand_on(), ANSWER_SECONDS)
                    return None
            except psycopg.Error:
                await self._line.drop()
                fate = Fate.UNDECIDED
            if fate is Fate.ABORTED:
                return fate
            if fate is Fate.PASSED:
                return self._unknown()
            if fate is Fate.ANOTHER_LIFE:
                break
            await self._line.pause()
        self._lost_track()
        return self._unknown()

    def _unknown(self) -> StoreUnavailable:
        return StoreUnavailable(
            f"The {self._address.shown} went away in the middle of a commit, and it is unknown"
            " whether that was done. Look before you ask again."
        )

    async def _hand_on(self) -> None:
        await (await self._line.connection()).execute(_HAND_ON)

    async def _fate_of(self, transaction_id: str) -> Fate:
        connection = await self._line.connection()
        number, _, timeline = transaction_id.partition("@")
        found = await connection.execute(f"SELECT {TIMELINE}")
        row = await found.fetchone()
        if row is None or row[0] != timeline:
            return Fate.ANOTHER_LIFE  # there, the number may be that of another transaction
        found = await connection.execute("SELECT pg_xact_status(%s::xid8)", (number,))
        row = await found.fetchone()
        match row:
            case ("committed",):
                return Fate.COMMITTED
            case ("in progress",):
                return Fate.UNDECIDED
        return Fate.ABORTED

    async def _fate_with(
        self, creating: list[Start], steps: list[Step], process: ServerProcess
    ) -> Fate:
        """Find out by the starts of a transaction; all others in it are told that nobody knows."""
        connection = await self._line.connection()
        if await end_process(connection, process):
            return Fate.UNDECIDED
        found = await find_created(connection, _creations(creating), hub_id=self._hub_id)
        if not found.created:
            # What is under such an id may be ours still, and have gone on since.
            return Fate.PASSED if found.taken else Fate.ABORTED
        for start in creating:
            start.result = found.created.receipt(start.creation)
            start.error = self._unknown() if start.result is None else None
        for step in steps:
            step.error = self._unknown()
        return Fate.COMMITTED

    async def _roll_back(self, speaker: Speaker) -> None:
        """End a transaction that came to nothing; a connection that cannot is given up."""
        batch = speaker.batch()
        batch.add("ROLLBACK")
        try:
            await in_time(batch.run(), ANSWER_SECONDS)
        except psycopg.Error:
            await self._line.drop()


def told_of(address: Address, error: psycopg.Error) -> SoloistError:
    """Return what is told of a group that failed for what the database said."""
    told: SoloistError
    if isinstance(error, NOT_STORABLE):
        told = InvalidRequest(f"The database cannot hold this: {str(error).splitlines()[0]}.")
    else:
        told = unavailable(address, error)
    told.__cause__ = error
    return told


def _wanted_by(group: list[Operation]) -> Wanted:
    wanted = Wanted()
    for operation in group:
        if isinstance(operation, Change):
            operation.want(wanted)
    return wanted


def _generations(steps: list[Step]) -> list[int]:
    return [each.step.outcome.generation for each in steps]


def _creations(starts: list[Start]) -> list[Creation]:
    return [each.creation for each in starts]


def _note_starts(creating: list[Start], created: Created) -> None:
    for each in creating:
        each.result = created.receipt(each.creation)
        each.sees_rows = each.result is None


def _note_steps(steps: list[Step], stepped: Answer) -> None:
    done = {row[0] for row in stepped.rows}
    for each in steps:
        each.result = NOTHING_MOVED if each.step.outcome.generation in done else None


def _run_one(operation: Change, view: View) -> None:
    operation.error = None
    changes = view.changes
    try:
        operation.result = operation.run(view)
    except SoloistError as refusal:
        if view.changes != changes:
            raise
        operation.error = refusal
