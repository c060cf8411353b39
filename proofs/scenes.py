"""Scenes: hubs prepared up to the moment before one verb, and that verb.

Everything is fixed, times and ids included, so that the same verb on the same hub leaves the same
rows behind.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec

from soloist.core.actions import CarriedEvent
from soloist.core.events import (
    EntityRequested,
    EventRaised,
    ExecutionTerminated,
    OrchestratorStarted,
    SubOrchestrationInstanceCompleted,
    SubOrchestrationInstanceCreated,
    TaskAddress,
)
from soloist.core.instances import AccessKey, Lease, StartRequest
from soloist.core.messages import (
    Outgoing,
    Reply,
    SendRequest,
    StartChild,
    TerminateChild,
    child_request,
)
from soloist.core.outcomes import NextExecution, Outcome
from soloist.core.policy import StartPolicy
from soloist.core.status import RuntimeStatus
from soloist.errors import InstanceExists
from soloist.stores import SqliteStore
from soloist.testing import JumpClock

LEASE_SECONDS = 30.0
ENTITY = "@counter@k"

Act = Callable[[SqliteStore], Awaitable[object]]


class Stage:
    """A store to be prepared, and short words for what is asked of it."""

    def __init__(self, store: SqliteStore, clock: JumpClock) -> None:
        self.store = store
        self.clock = clock

    def request(self, instance_id: str = "x", **changes: Any) -> StartRequest:
        """A start now."""
        request = StartRequest(
            instance_id=instance_id,
            execution_id=f"execution of {instance_id}",
            name="Work",
            at=self.clock.now(),
            input='"in"',
        )
        return msgspec.structs.replace(request, **changes)

    async def held(self, host_id: int, instance_id: str = "x") -> Lease:
        """Start an instance; return its lease."""
        lease = (await self.store.start(self.request(instance_id), host_id)).lease
        assert lease is not None, "a live host is given what it starts"
        return lease

    def step(self, lease: Lease, length: int = 0, **changes: Any) -> Outcome:
        """An outcome that appends one event and keeps the instance running."""
        outcome = Outcome(
            generation=lease.record.generation,
            execution_id=lease.record.execution_id,
            epoch=lease.epoch,
            history_length=length,
            at=self.clock.now(),
            events=(OrchestratorStarted(self.clock.now()),),
            consumed=(),
            status=RuntimeStatus.RUNNING,
            custom_status=None,
            output=None,
            failure=None,
            due_at=None,
        )
        return msgspec.structs.replace(outcome, **changes)

    def created(self, instance_id: str, task_id: int = 0) -> SubOrchestrationInstanceCreated:
        """The event of an open sub-orchestration."""
        return SubOrchestrationInstanceCreated(
            self.clock.now(), task_id, instance_id, "Child", '"in"'
        )

    def child(self, parent: Lease, instance_id: str) -> StartChild:
        """A start of a sub-orchestration."""
        return StartChild(
            child_request(self.created(instance_id), self.clock.now(), task_of(parent))
        )

    async def family(self) -> tuple[int, Lease, Lease]:
        """Let ``x`` start ``child``, and that one ``grandchild``; return host and two leases."""
        host_id = await self.store.join("host")
        parent = await self.held(host_id)
        child = await self._born(host_id, parent, "child")
        await self._born(host_id, child, "grandchild")
        return host_id, parent, child

    async def _born(self, host_id: int, parent: Lease, instance_id: str) -> Lease:
        events = (self.created(instance_id),)
        outgoing: tuple[Outgoing, ...] = (self.child(parent, instance_id),)
        receipt = await self.store.commit(
            self.step(parent, events=events, outgoing=outgoing), host_id
        )
        assert receipt is not None, "the lease is live"
        return receipt.leases[0]

    def raised(self, name: str = "go") -> EventRaised:
        """An external event."""
        return EventRaised(self.clock.now(), name, "1")

    def requested(self) -> SendRequest:
        """A signal to an entity that is not there yet."""
        return SendRequest(ENTITY, EntityRequested(self.clock.now(), "add", "1"))


def task_of(lease: Lease, task_id: int = 0) -> TaskAddress:
    """The address of a task of a leased instance."""
    record = lease.record
    return TaskAddress(record.instance_id, record.generation, record.execution_id, task_id)


Prepare = Callable[[Stage], Awaitable[Act]]
SCENES: dict[str, Prepare] = {}


def scene(prepare: Prepare) -> Prepare:
    """Enter a function that prepares a hub and returns the verb to be run on it."""
    SCENES[prepare.__name__.replace("_", " ").strip()] = prepare
    return prepare


def prepared(prepare: Prepare, path: Path) -> Act:
    """Prepare a hub in a file."""

    async def run() -> Act:
        clock = JumpClock()
        store = SqliteStore(path, task_hub="Proof", clock=clock, lease_seconds=LEASE_SECONDS)
        await store.open()
        try:
            return await prepare(Stage(store, clock))
        finally:
            await store.close()

    return asyncio.run(run())


@scene
async def start(stage: Stage) -> Act:
    """Under an id that is free."""
    host_id = await stage.store.join("host")
    return lambda store: store.start(stage.request(), host_id)


@scene
async def replace(stage: Stage) -> Act:
    """A finished instance gives way."""
    host_id = await stage.store.join("host")
    lease = await stage.held(host_id)
    await stage.store.commit(stage.step(lease, status=RuntimeStatus.COMPLETED))
    request = stage.request(execution_id="another")
    return lambda store: store.start(request, host_id)


@scene
async def replace_live(stage: Stage) -> Act:
    """A live instance gives way; its parent and its child learn of it."""
    host_id, _, _ = await stage.family()
    request = stage.request("child", execution_id="another", policy=StartPolicy.REPLACE)
    return lambda store: store.start(request, host_id)


@scene
async def start_group(stage: Stage) -> Act:
    """Four starts at once, of which one is refused, in one transaction."""
    host_id = await stage.store.join("host")

    async def act(store: SqliteStore) -> None:
        requests = [stage.request(each, execution_id=f"of {each}") for each in "abac"]
        answers = await asyncio.gather(
            *(store.start(each, host_id) for each in requests), return_exceptions=True
        )
        wrong = [each for each in answers if isinstance(each, Exception)]
        assert len(wrong) == 1 and isinstance(wrong[0], InstanceExists), wrong

    return act


@scene
async def commit(stage: Stage) -> Act:
    """A step that uses up a message and stays."""
    host_id = await stage.store.join("host")
    lease = await stage.held(host_id)
    receipt = await stage.store.deliver("x", stage.raised(), host_id)
    step = stage.step(lease, consumed=(receipt.message_id,), due_at=stage.clock.now())
    return lambda store: _current(store.commit(step, host_id))


@scene
async def commit_and_send(stage: Stage) -> Act:
    """An end that answers the parent, starts a child, signals an entity and ends a child."""
    host_id, parent, child = await stage.family()
    now = stage.clock.now()
    answer = SubOrchestrationInstanceCompleted(now, 0, "1")
    end = ExecutionTerminated(now, "enough")
    outgoing = (
        stage.child(child, "another"),
        Reply(task_of(parent), answer),
        stage.requested(),
        TerminateChild("grandchild", task_of(child), end),
    )
    step = stage.step(child, 1, status=RuntimeStatus.COMPLETED, output="1", outgoing=outgoing)
    return lambda store: _current(store.commit(step, host_id))


@scene
async def continue_as_new(stage: Stage) -> Act:
    """The next execution keeps what waits and what is carried."""
    host_id = await stage.store.join("host")
    lease = await stage.held(host_id)
    await stage.store.commit(stage.step(lease))
    await stage.store.deliver("x", stage.raised("waits"), host_id)
    following = NextExecution("the next", '"lap 2"', (CarriedEvent("carried", "1"),))
    step = stage.step(lease, 1, events=(), next_execution=following)
    return lambda store: _current(store.commit(step, host_id))


@scene
async def lease(stage: Stage) -> Act:
    """What is due is leased, and what a host that is gone held is taken over first."""
    host_id = await stage.store.join("host")
    for instance_id in ("x", "y"):
        await stage.held(host_id, instance_id)
    await stage.store.start(stage.request("due"), None)
    with closing(sqlite3.connect(stage.store.path)) as raw, raw:
        gone = raw.execute(
            "INSERT INTO hosts (hub_id, name, process_id, machine, joined_at, expires_at)"
            " SELECT hub_id, 'gone', process_id, machine, joined_at, 0 FROM hosts"
        ).lastrowid
        raw.execute("UPDATE executions SET owner = ? WHERE owner IS NOT NULL", (gone,))

    async def act(store: SqliteStore) -> None:
        leases = (await store.lease(host_id, 10)).leases
        assert len(leases) == 3, leases

    return act


@scene
async def takeover(stage: Stage) -> Act:
    """A host joins; everything that the one before it held is free."""
    _, _, child = await stage.family()
    await stage.store.deliver(child.record.instance_id, stage.raised(), None)
    return lambda store: store.join("the next")


@scene
async def release(stage: Stage) -> Act:
    """A lease is given back while a message waits."""
    host_id = await stage.store.join("host")
    lease = await stage.held(host_id)
    await stage.store.deliver("x", stage.raised(), None)
    return lambda store: store.release(lease.record.generation, lease.epoch)


@scene
async def deliver(stage: Stage) -> Act:
    """To an instance that nobody holds, which is leased with it."""
    host_id = await stage.store.join("host")
    lease = await stage.held(host_id)
    await stage.store.commit(stage.step(lease, releases=True))
    return lambda store: store.deliver("x", stage.raised(), host_id)


@scene
async def deliver_to_new_entity(stage: Stage) -> Act:
    """The entity comes into being with its first message."""
    host_id = await stage.store.join("host")
    return lambda store: store.deliver(ENTITY, stage.requested().event, host_id)


@scene
async def purge(stage: Stage) -> Act:
    """A finished instance with its history."""
    host_id = await stage.store.join("host")
    lease = await stage.held(host_id)
    await stage.store.commit(stage.step(lease, status=RuntimeStatus.COMPLETED))
    return lambda store: _current(store.purge("x"))


@scene
async def purge_entity(stage: Stage) -> Act:
    """Whoever waits for its answer is told."""
    host_id = await stage.store.join("host")
    lease = await stage.held(host_id)
    call = EntityRequested(stage.clock.now(), "get", None, caller=task_of(lease))
    await stage.store.commit(
        stage.step(lease, outgoing=(SendRequest(ENTITY, call),), releases=True), None
    )
    return lambda store: _current(store.purge(ENTITY))


@scene
async def rewind(stage: Stage) -> Act:
    """A failed instance, and the failed child it rests on."""
    host_id, parent, child = await stage.family()
    failed = RuntimeStatus.FAILED
    await stage.store.commit(stage.step(child, 1, status=failed))
    await stage.store.commit(stage.step(parent, 1, status=failed))
    at = stage.clock.now()
    return lambda store: store.rewind("x", "again", at, host_id)


@scene
async def put_key(stage: Stage) -> Act:
    """A key takes the place of another."""
    key = AccessKey("host", "default", "old", stage.clock.now())
    await stage.store.put_key(key)
    return lambda store: store.put_key(msgspec.structs.replace(key, value="new"), replaces=True)


async def _current(verb: Awaitable[object]) -> None:
    assert await verb is not None, "the verb found nothing to do"
