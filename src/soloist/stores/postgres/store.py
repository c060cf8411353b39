"""The store in a PostgreSQL database: the verbs of ``contracts.store``, for any number of hosts.

Writes go through one writer that commits in groups; reads go past it. The store's clock is the
database's.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Awaitable, Callable
from datetime import datetime
from functools import partial
from typing import Any, TypeVar

import psycopg

from soloist.core.events import HistoryEvent, InboxEvent
from soloist.core.ids import is_entity_id
from soloist.core.instances import (
    AccessKey,
    Backlog,
    CommitReceipt,
    DeliverReceipt,
    Durability,
    Hold,
    HostRecord,
    InboxMessage,
    InstancePage,
    InstanceQuery,
    InstanceRecord,
    Lease,
    LeaseGrant,
    StartReceipt,
    StartRequest,
)
from soloist.core.outcomes import Outcome
from soloist.core.status import RuntimeStatus
from soloist.core.work import Lacks, lacks_text
from soloist.errors import Overloaded, StoreUnavailable
from soloist.stores.postgres import commits, inboxes, keys, reads, replicas, rewinds, starts
from soloist.stores.postgres.clock import DatabaseClock
from soloist.stores.postgres.connection import (
    DATABASE_TIME,
    Connection,
    address_of,
    hub_id_of,
    hubs_in,
    prepare,
    unavailable,
)
from soloist.stores.postgres.creations import Creation
from soloist.stores.postgres.leases import Forgotten, Leases
from soloist.stores.postgres.line import Line
from soloist.stores.postgres.news import WORK, Listener
from soloist.stores.postgres.readers import Readers
from soloist.stores.postgres.view import View
from soloist.stores.postgres.wanted import Wanted
from soloist.stores.postgres.writer import MAX_WAITING_OPERATIONS, Writer
from soloist.stores.rows import micros_or_none
from soloist.stores.times import MICROSECONDS_PER_SECOND

_RETURN_SECONDS = 1.0

T = TypeVar("T")


class PostgresStore:
    """One task hub in a database. See ``contracts.store`` for every verb's promise.

    ``time`` is the SQL expression of the current time, in microseconds since 1970.
    """

    def __init__(
        self,
        url: str,
        *,
        task_hub: str,
        lease_seconds: float,
        time: str = DATABASE_TIME,
        max_waiting_operations: int = MAX_WAITING_OPERATIONS,
    ) -> None:
        self._address = address_of(url)
        self._task_hub = task_hub
        self._time = time
        self._lease_micros = round(lease_seconds * MICROSECONDS_PER_SECOND)
        self._clock = DatabaseClock()
        self._writer = Writer(
            self._address, self._take_back, lambda: self._host_id, max_waiting_operations
        )
        self._readers = Readers(self._address)
        self._leases = Leases(0, time, self._lease_micros)
        self._listener: Listener | None = None
        self._heard: Callable[[], None] | None = None
        self._host_id: int | None = None
        self._hub_id = 0
        self._is_open = False
        self._returning: set[asyncio.Task[None]] = set()

    @property
    def clock(self) -> DatabaseClock:
        """The database's clock."""
        return self._clock

    @property
    def transactions(self) -> int:
        """How many transactions this store has committed since it was opened."""
        return self._writer.transactions

    async def hubs(self) -> tuple[str, ...]:
        """Name the hubs in the database."""
        return await self._once(hubs_in)

    async def open(self) -> None:
        """Connect, creating the hub or upgrading the schema where needed."""
        if self._is_open:
            return
        await self._once(self._enter)
        self._leases = Leases(self._hub_id, self._time, self._lease_micros)
        self._readers.open()
        self._writer.open(self._hub_id, self._time)
        self._is_open = True

    async def _once(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """Do something over a connection that is made for it."""
        line = Line(self._address)
        try:
            return await work(await line.connection())
        except psycopg.Error as error:
            raise unavailable(self._address, error) from error
        finally:
            await line.drop()

    async def _enter(self, connection: Connection) -> None:
        await prepare(connection, self._address)
        self._hub_id = await hub_id_of(connection, self._task_hub)
        await self._read_clock(connection)

    async def close(self) -> None:
        """Finish what is under way and let go."""
        self._is_open = False
        if self._listener is not None:
            await self._listener.close()
            self._listener = None
        for returning in self._returning:
            returning.cancel()
        await self._writer.close()
        await self._readers.close()

    async def join(
        self, name: str, *, address: str = "", version: str = "", app_version: str | None = None
    ) -> int:
        """Enter as a host; the one that this store entered before is gone."""
        if self._host_id is not None:
            await self.leave(self._host_id)
        self._host_id = await self._writer.first(
            partial(
                self._leases.join,
                name=name,
                address=address,
                version=version,
                app_version=app_version,
                process_id=os.getpid(),
                machine=socket.gethostname(),
            )
        )
        if self._heard is not None and not self._address.is_pooled and self._listener is None:
            self._listener = Listener(self._address, self._hub_id)
            self._listener.open(self._hear)
        return self._host_id

    async def renew(self, host_id: int, lacks: Lacks | None = None) -> bool:
        """Prolong all leases of the host and keep what it lacks; a host that lost track of them
        gives them up."""
        if self._writer.lost_track:
            await self._writer.first(partial(self._leases.leave, host_id=host_id))
            self._writer.lost_track = False
            return False
        asked_at = time.monotonic()
        told = lacks_text(lacks)
        now = await self._writer.first(partial(self._leases.renew, host_id=host_id, lacks=told))
        if now is not None:
            self._clock.set(now, asked_at)
        return now is not None

    async def leave(self, host_id: int) -> None:
        """Give back every lease of the host."""
        await self._writer.first(partial(self._leases.leave, host_id=host_id))
        if host_id == self._host_id:
            self._host_id = None

    def on_news(self, call: Callable[[], None]) -> None:
        """Call when other processes left work or mail for this host."""
        self._heard = call

    async def hosts(self) -> tuple[HostRecord, ...]:
        """Return every host of the hub."""
        return await self._readers.run(self._leases.hosts)

    async def durability(self) -> Durability:
        """Return what is promised about an acknowledged commit."""
        return await self._readers.run(replicas.durability)

    async def start(self, request: StartRequest, host_id: int | None) -> StartReceipt:
        """Check, decide, replace and insert in one transaction."""
        return await self._answer(self._writer.start(Creation(request, host_id)))

    async def deliver(
        self, instance_id: str, event: InboxEvent, host_id: int | None
    ) -> DeliverReceipt:
        """Put a message into the inbox and make the instance due."""

        def want(wanted: Wanted) -> None:
            wanted.ids.add(instance_id)
            wanted.generations_drawn += is_entity_id(instance_id)
            wanted.host(host_id)

        return await self._answer(
            self._writer.change(
                want,
                partial(inboxes.deliver, instance_id=instance_id, event=event, host_id=host_id),
                len(getattr(event, "input", None) or ""),
            )
        )

    async def lease(
        self, host_id: int, limit: int, leaves: frozenset[str] = frozenset()
    ) -> LeaseGrant:
        """Lease due instances, the longest due first."""
        work = partial(self._leases.lease, host_id=host_id, limit=limit, leaves=leaves)
        try:
            return await self._answer(self._writer.solo(work))
        except Forgotten:
            return LeaseGrant()

    async def release(self, generation: int, epoch: int, retry_at: datetime | None = None) -> None:
        """Give a lease back."""
        not_before = micros_or_none(retry_at)

        def want(wanted: Wanted) -> None:
            wanted.generations.add(generation)
            wanted.inboxes.add(generation)

        def run(view: View) -> None:
            row = view.get(generation)
            if row is not None and row.owner is not None and row.epoch == epoch:
                view.release(row, not_before)
                view.leaves_work |= row.due_at is not None and row.due_at <= view.now

        await self._writer.change(want, run)

    async def commit(self, outcome: Outcome, host_id: int | None = None) -> CommitReceipt | None:
        """Commit one step unless it is stale."""
        step = commits.encode(outcome)
        if step.is_plain:
            return await self._writer.step(step)
        return await self._answer(
            self._writer.change(
                partial(commits.want, step, host_id),
                partial(commits.commit, step=step, host_id=host_id),
                step.payload_bytes,
            )
        )

    async def inbox(self, generation: int, after: int) -> tuple[InboxMessage, ...]:
        """Return waiting messages in order."""
        return await self._readers.run(
            partial(reads.messages_after, generation=generation, after=after)
        )

    async def hold(self, generation: int) -> Hold | None:
        """Return who holds an instance and when it is due."""
        return await self._readers.run(partial(reads.hold, generation=generation))

    async def history(self, generation: int) -> tuple[HistoryEvent, ...]:
        """Return the history of the current execution."""
        return await self._readers.run(partial(reads.history, generation=generation))

    async def read(self, instance_id: str) -> InstanceRecord | None:
        """Return one instance."""
        return await self._readers.run(
            partial(reads.read, hub_id=self._hub_id, instance_id=instance_id)
        )

    async def query(self, query: InstanceQuery) -> InstancePage:
        """Return one page of instances."""
        return await self._readers.run(partial(reads.query, hub_id=self._hub_id, wanted=query))

    async def rewind(
        self, instance_id: str, reason: str | None, at: datetime, host_id: int | None
    ) -> CommitReceipt:
        """Take back the failure of an instance and of what it rests on."""

        def want(wanted: Wanted) -> None:
            wanted.ids.add(instance_id)
            wanted.host(host_id)

        return await self._answer(
            self._writer.change(
                want,
                partial(
                    rewinds.rewind, instance_id=instance_id, reason=reason, at=at, host_id=host_id
                ),
            )
        )

    async def purge(self, instance_id: str, generation: int | None = None) -> RuntimeStatus | None:
        """Remove a finished instance, or an entity."""

        def want(wanted: Wanted) -> None:
            wanted.ids.add(instance_id)
            wanted.purges = True

        return await self._writer.change(
            want, partial(starts.purge, instance_id=instance_id, generation=generation)
        )

    async def backlog(self) -> Backlog:
        """Count what is due and what is held."""
        return await self._readers.run(partial(reads.backlog, hub_id=self._hub_id, time=self._time))

    async def keys(self) -> tuple[AccessKey, ...]:
        """Return every access key."""
        return await self._readers.run(partial(keys.keys, hub_id=self._hub_id))

    async def put_key(self, key: AccessKey, *, replaces: bool = False) -> AccessKey:
        """Store a key."""
        return await self._writer.solo(
            partial(keys.put_key, hub_id=self._hub_id, key=key, replaces=replaces)
        )

    async def drop_key(self, scope: str, name: str) -> bool:
        """Remove a key."""
        return await self._writer.solo(
            partial(keys.drop_key, hub_id=self._hub_id, scope=scope, name=name)
        )

    async def _read_clock(self, connection: Connection) -> None:
        asked_at = time.monotonic()
        row = await (await connection.execute(f"SELECT {self._time}")).fetchone()
        assert row is not None, "an expression is one row"
        self._clock.set(row[0], asked_at)

    def _hear(self, news: str) -> None:
        if self._heard is not None and (news == WORK or news == str(self._host_id)):
            self._heard()

    async def _answer(self, granted: asyncio.Future[T]) -> T:
        """Return an answer that may hold leases; a caller who is cancelled just when it comes does
        not learn of them either."""
        try:
            return await granted
        except asyncio.CancelledError:
            if granted.done() and not granted.cancelled() and granted.exception() is None:
                self._take_back(granted.result())
            raise

    def _take_back(self, result: Any) -> None:
        """A caller went away before it could learn of its leases and of the mail it caused: nobody
        works on them, and nobody is told."""
        leases: tuple[Lease, ...] = ()
        mail: tuple[int, ...] = ()
        if isinstance(result, StartReceipt | DeliverReceipt):
            leases = () if result.lease is None else (result.lease,)
            mail = result.mail if isinstance(result, StartReceipt) else (result.generation,)
        elif isinstance(result, LeaseGrant | CommitReceipt):
            leases, mail = result.leases, result.mail
        if leases or mail:
            returning = asyncio.ensure_future(self._return(leases, mail))
            self._returning.add(returning)
            returning.add_done_callback(self._returning.discard)

    async def _return(self, leases: tuple[Lease, ...], mail: tuple[int, ...]) -> None:
        def want(wanted: Wanted) -> None:
            wanted.generations.update(mail)

        def run(view: View) -> None:
            for generation in mail:
                row = view.get(generation)
                if row is not None:
                    view.announce(row)

        while self._is_open:
            try:
                for lease in leases:
                    await self.release(lease.record.generation, lease.epoch)
                await self._writer.change(want, run)
            except (Overloaded, StoreUnavailable):
                await asyncio.sleep(_RETURN_SECONDS)
            else:
                return
