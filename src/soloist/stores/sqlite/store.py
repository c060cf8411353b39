"""The store in an SQLite file: the verbs of ``contracts.store``.

Writes go through one writer thread that commits in groups; reads go past it. The store's clock is
the one it is given: a hub in a file lives on one machine.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sqlite3
from collections.abc import Callable
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from soloist.contracts.clock import Clock
from soloist.core.events import HistoryEvent, InboxEvent
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
    TakenOver,
)
from soloist.core.outcomes import Outcome
from soloist.core.status import RuntimeStatus
from soloist.core.work import Lacks, lacks_text
from soloist.errors import HubInUse, Overloaded, StoreUnavailable
from soloist.stores.rows import micros_or_none
from soloist.stores.sqlite import commits, inboxes, keys, leases, reads, rewinds, starts
from soloist.stores.sqlite.connection import hub_id_of, hubs_in, open_writer
from soloist.stores.sqlite.lock import HostLock
from soloist.stores.sqlite.place import Place
from soloist.stores.sqlite.readers import Readers
from soloist.stores.sqlite.writer import MAX_WAITING_OPERATIONS, Work, Writer
from soloist.stores.times import MICROSECONDS_PER_SECOND, from_micros, to_micros

T = TypeVar("T")


class SqliteStore:
    """One task hub in a file. See ``contracts.store`` for every verb's promise."""

    def __init__(
        self,
        path: Path,
        *,
        task_hub: str,
        clock: Clock,
        lease_seconds: float,
        max_waiting_operations: int = MAX_WAITING_OPERATIONS,
    ) -> None:
        self.path = path
        self._task_hub = task_hub
        self._clock = clock
        self._lease_micros = round(lease_seconds * MICROSECONDS_PER_SECOND)
        self._max_waiting_operations = max_waiting_operations
        self._writer: Writer | None = None
        self._place = Place(path)
        self._readers = Readers(path, self._place)
        self._lock: HostLock | None = None
        self._host_id: int | None = None
        self._hub_id = 0
        self._mail_after = 0
        self._taken_over: tuple[TakenOver, ...] = ()

    @property
    def clock(self) -> Clock:
        """The clock it was given."""
        return self._clock

    @property
    def transactions(self) -> int:
        """How many transactions this store has committed since it was opened."""
        return 0 if self._writer is None else self._writer.transactions

    async def hubs(self) -> tuple[str, ...]:
        """Name the hubs in the file."""
        return await asyncio.to_thread(hubs_in, self.path)

    async def open(self) -> None:
        """Connect, creating the file and the hub or upgrading the schema where needed."""
        if self._writer is not None:
            return
        writer = Writer(
            self.path,
            self._place,
            partial(open_writer, self.path, self._now()),
            self._take_back,
            self._max_waiting_operations,
        )
        await writer.open()
        try:
            self._hub_id, self._mail_after = await writer.submit(
                partial(_enter_hub, task_hub=self._task_hub, now=self._now())
            )
            self._readers.open()
            self._place.check()  # the readers have opened the same file
        except BaseException:
            await self._readers.close()
            await writer.close()
            raise
        self._lock = HostLock(self.path, self._hub_id)
        self._writer = writer

    async def close(self) -> None:
        """Finish what is under way and let go, also of the host lock."""
        writer, self._writer = self._writer, None
        if writer is None:
            return
        await writer.close()
        await self._readers.close()
        if self._lock is not None:
            self._lock.give_back()

    async def join(
        self, name: str, *, address: str = "", version: str = "", app_version: str | None = None
    ) -> int:
        """Enter as the hub's host; any earlier one is gone."""
        writer, lock = self._open_writer(), self._open_lock()
        was_held = lock.is_held
        if not lock.take():
            raise HubInUse(await self._readers.run(self._in_use))
        now = self._now()
        work = partial(
            leases.join,
            hub_id=self._hub_id,
            now=now,
            expires_at=now + self._lease_micros,
            name=name,
            address=address,
            version=version,
            app_version=app_version,
            process_id=os.getpid(),
            machine=socket.gethostname(),
        )
        try:
            host_id, gone = await writer.submit(work)
        except BaseException:
            if not was_held:
                lock.give_back()
            raise
        self._taken_over += tuple(each for each in gone if each.host_id != self._host_id)
        self._host_id = host_id
        return host_id

    async def renew(self, host_id: int, lacks: Lacks | None = None) -> bool:
        """Prolong all leases of the host, and keep what it lacks."""
        now = self._now()
        return await self._submit(
            partial(
                leases.renew,
                hub_id=self._hub_id,
                now=now,
                expires_at=now + self._lease_micros,
                host_id=host_id,
                lacks=lacks_text(lacks),
            )
        )

    async def leave(self, host_id: int) -> None:
        """Give back every lease of the host, and the host lock."""
        await self._submit(partial(leases.leave, now=self._now(), host_id=host_id))
        if host_id == self._host_id:
            self._host_id = None
            self._open_lock().give_back()

    async def hosts(self) -> tuple[HostRecord, ...]:
        """Return the hub's host, and one before it that did not leave."""
        return await self._readers.run(partial(leases.hosts, hub_id=self._hub_id, now=self._now()))

    def on_news(self, call: Callable[[], None]) -> None:
        """There is none: a hub in a file has one host."""

    async def start(self, request: StartRequest, host_id: int | None) -> StartReceipt:
        """Check, decide, replace and insert in one transaction."""
        return await self._submit(
            partial(
                starts.start,
                hub_id=self._hub_id,
                now=self._now(),
                request=request,
                host_id=host_id,
            )
        )

    async def deliver(
        self, instance_id: str, event: InboxEvent, host_id: int | None
    ) -> DeliverReceipt:
        """Put a message into the inbox and make the instance due."""
        receipt = await self._submit(
            partial(
                inboxes.deliver,
                hub_id=self._hub_id,
                now=self._now(),
                instance_id=instance_id,
                event=event,
                host_id=host_id,
            )
        )
        # A gap would be a message of another process, of which the next lease must tell.
        if receipt.message_id == self._mail_after + 1:
            self._mail_after = receipt.message_id
        return receipt

    async def lease(
        self, host_id: int, limit: int, leaves: frozenset[str] = frozenset()
    ) -> LeaseGrant:
        """Lease due instances, the longest due first."""
        grant, accounted = await self._submit(
            partial(
                leases.lease,
                hub_id=self._hub_id,
                now=self._now(),
                host_id=host_id,
                limit=limit,
                leaves=leaves,
                mail_after=self._mail_after,
            )
        )
        self._mail_after = max(self._mail_after, accounted)
        if self._taken_over:  # when this host joined, and there was no grant to tell of it
            taken_over, self._taken_over = self._taken_over + grant.taken_over, ()
            grant = msgspec.structs.replace(grant, taken_over=taken_over)
        return grant

    async def release(self, generation: int, epoch: int, retry_at: datetime | None = None) -> None:
        """Give a lease back."""
        await self._submit(
            partial(
                leases.release,
                now=self._now(),
                generation=generation,
                epoch=epoch,
                retry_at=micros_or_none(retry_at),
            )
        )

    async def commit(self, outcome: Outcome, host_id: int | None = None) -> CommitReceipt | None:
        """Commit one step unless it is stale."""
        return await self._submit(
            partial(
                commits.commit,
                hub_id=self._hub_id,
                now=self._now(),
                step=commits.encode(outcome),
                host_id=host_id,
            )
        )

    async def inbox(self, generation: int, after: int) -> tuple[InboxMessage, ...]:
        """Return waiting messages in order."""
        return self._readers.look_up(
            partial(reads.messages_after, generation=generation, after=after)
        )

    async def hold(self, generation: int) -> Hold | None:
        """Return who holds an instance and when it is due."""
        return self._readers.look_up(partial(reads.hold, generation=generation))

    async def history(self, generation: int) -> tuple[HistoryEvent, ...]:
        """Return the history of the current execution."""
        return await self._readers.run(partial(reads.history, generation=generation))

    async def read(self, instance_id: str) -> InstanceRecord | None:
        """Return one instance."""
        return self._readers.look_up(
            partial(reads.read, hub_id=self._hub_id, instance_id=instance_id)
        )

    async def query(self, query: InstanceQuery) -> InstancePage:
        """Return one page of instances."""
        return await self._readers.run(partial(reads.query, hub_id=self._hub_id, wanted=query))

    async def rewind(
        self, instance_id: str, reason: str | None, at: datetime, host_id: int | None
    ) -> CommitReceipt:
        """Take back the failure of an instance and of what it rests on."""
        return await self._submit(
            partial(
                rewinds.rewind,
                hub_id=self._hub_id,
                now=self._now(),
                instance_id=instance_id,
                reason=reason,
                at=at,
                host_id=host_id,
            )
        )

    async def purge(self, instance_id: str, generation: int | None = None) -> RuntimeStatus | None:
        """Remove a finished instance, or an entity."""
        return await self._submit(
            partial(
                starts.purge,
                hub_id=self._hub_id,
                now=self._now(),
                instance_id=instance_id,
                generation=generation,
            )
        )

    async def durability(self) -> Durability:
        """A commit is synced before it is acknowledged, in a file that is still there."""
        self._place.check()
        return Durability(
            True, False, "A commit is on this machine's disk; the hub has no other copy."
        )

    async def backlog(self) -> Backlog:
        """Count what is due and what is held."""
        return await self._readers.run(partial(reads.backlog, hub_id=self._hub_id, now=self._now()))

    async def keys(self) -> tuple[AccessKey, ...]:
        """Return every access key."""
        return await self._readers.run(partial(keys.keys, hub_id=self._hub_id))

    async def put_key(self, key: AccessKey, *, replaces: bool = False) -> AccessKey:
        """Store a key."""
        return await self._submit(
            partial(keys.put_key, hub_id=self._hub_id, key=key, replaces=replaces)
        )

    async def drop_key(self, scope: str, name: str) -> bool:
        """Remove a key."""
        return await self._submit(
            partial(keys.drop_key, hub_id=self._hub_id, scope=scope, name=name)
        )

    async def _submit(self, work: Work[T]) -> T:
        """Have it written; a caller who is cancelled just when the answer comes does not learn of
        leases in it."""
        answer = self._open_writer().submit(work)
        try:
            return await answer
        except asyncio.CancelledError:
            if answer.done() and not answer.cancelled() and answer.exception() is None:
                self._take_back(answer.result())
            raise

    def _now(self) -> int:
        return to_micros(self._clock.now())

    def _open_writer(self) -> Writer:
        if self._writer is None:
            raise StoreUnavailable(f"The task hub file {self.path} is not open.")
        return self._writer

    def _open_lock(self) -> HostLock:
        assert self._lock is not None, "opening makes it"
        return self._lock

    def _in_use(self, connection: sqlite3.Connection) -> str:
        """Name the host that holds the lock; it may be gone again by now."""
        row = connection.execute(
            "SELECT name, process_id, machine, joined_at FROM hosts WHERE hub_id = ?"
            " ORDER BY host_id DESC LIMIT 1",
            (self._hub_id,),
        ).fetchone()
        holder = "another process"
        if row is not None:
            since = from_micros(row[3]).isoformat(timespec="seconds")
            holder = f"host '{row[0]}' (process {row[1]} on {row[2]}, since {since})"
        return (
            f"Task hub '{self._task_hub}' in {self.path} is run by {holder}. A hub in an SQLite"
            " file has one host at a time: stop that one, or choose another file or task hub."
        )

    def _take_back(self, result: Any) -> None:
        """A caller went away before it could learn of its leases: nobody works on them."""
        if isinstance(result, tuple):  # what lease returns
            result = result[0]
        if isinstance(result, StartReceipt | DeliverReceipt):
            orphans: tuple[Lease, ...] = () if result.lease is None else (result.lease,)
        elif isinstance(result, LeaseGrant | CommitReceipt):
            orphans = result.leases
        else:
            return
        for lease in orphans:
            if self._writer is not None:
                release = partial(
                    leases.release,
                    now=self._now(),
                    generation=lease.record.generation,
                    epoch=lease.epoch,
                )
                with contextlib.suppress(Overloaded, StoreUnavailable):
                    self._writer.submit(release).add_done_callback(_ignore)


def _enter_hub(connection: sqlite3.Connection, *, task_hub: str, now: int) -> tuple[int, int]:
    return hub_id_of(connection, task_hub, now), leases.last_message_id(connection)


def _ignore(future: asyncio.Future[None]) -> None:
    """Fetch the error, if any: the lease then stays until this host is gone."""
    if not future.cancelled():
        future.exception()
