"""A hub under a clock moved by hand, and short words for what tests do to it."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec

from soloist.contracts.store import Store
from soloist.core.events import (
    EntityRequested,
    EventRaised,
    ExecutionTerminated,
    HistoryEvent,
    InboxEvent,
    OrchestratorStarted,
    SubOrchestrationInstanceCompleted,
    SubOrchestrationInstanceCreated,
    TaskAddress,
)
from soloist.core.instances import InstanceQuery, InstanceRecord, Lease, StartReceipt, StartRequest
from soloist.core.messages import Outgoing, Reply, StartChild, child_request
from soloist.core.outcomes import Outcome
from soloist.core.status import RuntimeStatus
from soloist.stores import MemoryState, MemoryStore, SqliteStore
from soloist.stores.postgres import PostgresStore
from soloist.testing.clock import JumpClock
from tests.contract.databases import CLOCK, DatabaseClock

LEASE_SECONDS = 30.0


class World:
    """One database, the stores that were opened on it, and the time."""

    def __init__(self, kind: str, folder: Path, url: str = "") -> None:
        self.kind = kind
        self.clock = DatabaseClock(url) if kind == "postgres" else JumpClock()
        self.url = url
        self._state = MemoryState()
        self.path = folder / "hub.db"
        self._opened: list[Store] = []

    async def opened(self, task_hub: str = "hub") -> Store:
        """Open a store as one more process would."""
        store = self.unopened(task_hub)
        await store.open()
        self._opened.append(store)
        return store

    def unopened(self, task_hub: str = "hub") -> Store:
        """Return a store as one more process would make it."""
        if self.kind == "memory":
            return MemoryStore(
                self._state, task_hub=task_hub, clock=self.clock, lease_seconds=LEASE_SECONDS
            )
        if self.kind == "postgres":
            return PostgresStore(
                self.url, task_hub=task_hub, lease_seconds=LEASE_SECONDS, time=CLOCK
            )
        return SqliteStore(
            self.path, task_hub=task_hub, clock=self.clock, lease_seconds=LEASE_SECONDS
        )

    @property
    def first(self) -> Store:
        """The store that was opened first."""
        return self._opened[0]

    async def close(self) -> None:
        """Close every store."""
        for store in self._opened:
            await store.close()
        if isinstance(self.clock, DatabaseClock):
            self.clock.close()

    def now(self) -> datetime:
        """The time that every store sees."""
        return self.clock.now()

    def after(self, seconds: float) -> datetime:
        """A time to come."""
        return self.clock.now() + timedelta(seconds=seconds)

    def request(self, instance_id: str = "x", **changes: Any) -> StartRequest:
        """A start of ``Greet`` now, under the default policy."""
        request = StartRequest(
            instance_id=instance_id, execution_id=uuid4().hex, name="Greet", at=self.now()
        )
        return msgspec.structs.replace(request, **changes)

    async def held(self, store: Store, instance_id: str = "x", **changes: Any) -> Lease:
        """Start an instance on a new host of this store; return its lease."""
        receipt = await store.start(
            self.request(instance_id, **changes), await store.join("holder")
        )
        assert receipt.lease is not None
        return receipt.lease

    async def in_status(
        self, store: Store, status: RuntimeStatus, instance_id: str = "x", **changes: Any
    ) -> StartReceipt:
        """Start an instance and bring it to a status."""
        host_id = await store.join("maker")
        receipt = await store.start(self.request(instance_id, **changes), host_id)
        if status is not RuntimeStatus.PENDING:
            assert receipt.lease is not None
            assert await store.commit(self.step(receipt.lease, status=status))
        return receipt

    def step(self, lease: Lease, length: int = 0, **changes: Any) -> Outcome:
        """An outcome that appends one event and keeps the instance running."""
        outcome = Outcome(
            generation=lease.record.generation,
            execution_id=lease.record.execution_id,
            epoch=lease.epoch,
            history_length=length,
            at=self.now(),
            events=(self.mark(),),
            consumed=(),
            status=RuntimeStatus.RUNNING,
            custom_status=None,
            output=None,
            failure=None,
            due_at=None,
        )
        return msgspec.structs.replace(outcome, **changes)

    def mark(self) -> HistoryEvent:
        """Some event."""
        return OrchestratorStarted(self.now())

    def raised(self, name: str = "go", input: str | None = None) -> EventRaised:  # noqa: A002
        """An external event raised now."""
        return EventRaised(self.now(), name, input)

    def termination(self, reason: str | None = None) -> ExecutionTerminated:
        """A termination asked for now."""
        return ExecutionTerminated(self.now(), reason)

    async def family(self, store: Store, host: int | None = None) -> tuple[int, Lease, Lease]:
        """Let ``x`` start the sub-orchestration ``child``; return the host and both leases."""
        host_id = await store.join("holder") if host is None else host
        parent = (await store.start(self.request(), host_id)).lease
        assert parent is not None
        receipt = await store.commit(self.sends(parent, self.child(parent)), host_id)
        assert receipt is not None
        return host_id, parent, receipt.leases[0]

    def sends(self, lease: Lease, *outgoing: Outgoing, **changes: Any) -> Outcome:
        """A step without events that sends something."""
        return self.step(lease, events=(), outgoing=outgoing, **changes)

    def child(self, parent: Lease, task_id: int = 0, instance_id: str = "child") -> StartChild:
        """A start of a sub-orchestration."""
        created = self.created(task_id, instance_id)
        return StartChild(child_request(created, self.now(), task_of(parent, task_id)))

    def created(self, task_id: int, instance_id: str) -> SubOrchestrationInstanceCreated:
        """The event of a sub-orchestration that is open."""
        return SubOrchestrationInstanceCreated(self.now(), task_id, instance_id, "Child", '"in"')

    def answer(self, task: TaskAddress, result: str = "1") -> Reply:
        """An answer to a task that waits for a sub-orchestration."""
        event = SubOrchestrationInstanceCompleted(self.now(), task.task_id, result)
        return Reply(task, event)

    def requested(self, operation: str = "add", **changes: Any) -> EntityRequested:
        """A request for an entity, made now."""
        request = EntityRequested(self.now(), operation)
        return msgspec.structs.replace(request, **changes)


async def present(store: Store, instance_id: str = "x") -> InstanceRecord:
    """Read an instance that must be there."""
    record = await store.read(instance_id)
    assert record is not None
    return record


def task_of(lease: Lease, task_id: int = 0) -> TaskAddress:
    """The address of a task of a leased instance."""
    record = lease.record
    return TaskAddress(record.instance_id, record.generation, record.execution_id, task_id)


async def mail_of(store: Store, generation: int) -> list[InboxEvent]:
    """The events that wait in an inbox."""
    return [message.event for message in await store.inbox(generation, 0)]


async def everything(store: Store) -> list[Any]:
    """All that a hub shows, to prove that nothing changed."""
    records = [
        record
        for prefix in ("", "@")
        for record in (await store.query(InstanceQuery(instance_id_prefix=prefix))).records
    ]
    return [
        *[
            (
                record,
                await store.history(record.generation),
                await store.inbox(record.generation, 0),
            )
            for record in records
        ],
        await store.backlog(),
        await store.keys(),
    ]
