"""The store: everything durable, in domain values.

Promises that hold for every verb:

* It happens whole or not at all, and has reached the disk when it returns.
* Verbs on one hub are serialisable; verbs may be merged into one physical transaction, but one
  that is refused changes nothing and disturbs no other.
* ``StoreUnavailable`` means that nothing was changed, except from ``commit``, where a caller must
  read the instance again before it believes so, and where its text says that it is unknown.
* Leases are timed by the store's clock, and instances leased to a host that is gone are due.
* An entity (``core.ids``) is an instance that a message brings into being.

Tests: ``tests/contract``; every store passes the same suite.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Protocol

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
    LeaseGrant,
    StartReceipt,
    StartRequest,
)
from soloist.core.outcomes import Outcome
from soloist.core.status import RuntimeStatus
from soloist.core.work import Lacks


class Store(Protocol):
    """One task hub."""

    @property
    def clock(self) -> Clock:
        """The time of this hub, the same for all its hosts once it is open."""

    async def hubs(self) -> tuple[str, ...]:
        """Return the names of the task hubs that lie where this one does, or would, in the order
        in which they were made. It may be asked before the store is open, and makes nothing.

        Raises:
            StoreUnavailable: what is there cannot be read; the text says why and what to do.
        """

    async def open(self) -> None:
        """Connect, creating the hub or upgrading its schema where needed.

        Raises:
            HubTooNew: a newer Soloist wrote the hub.
            StoreUnavailable: it cannot be opened; the text says why and what to do.
        """

    async def close(self) -> None:
        """Finish what is under way and let go; closing twice, or what is not open, does nothing."""

    async def join(
        self, name: str, *, address: str = "", version: str = "", app_version: str | None = None
    ) -> int:
        """Enter this process as a host and return its host id, never used before.

        The rest tells people who it is (``core.instances.HostRecord``). An embedded store admits one host at a time and
        considers every earlier one gone.

        Raises:
            HubInUse: another host runs this hub; the text names it.
        """

    async def renew(self, host_id: int, lacks: Lacks | None = None) -> bool:
        """Prolong all leases of the host, also late while nobody took them over; ``False`` when it was already considered gone.

        What it ``lacks`` is kept in its record in the place of what it told before. A host is gone from the moment its leases expire, taken over or not; it must join again.
        """

    async def leave(self, host_id: int) -> None:
        """Give back every lease of the host and forget it."""

    async def hosts(self) -> tuple[HostRecord, ...]:
        """Return every host of the hub, also those that are gone until all is taken from them."""

    def on_news(self, call: Callable[[], None]) -> None:
        """Have ``call`` made, on the event loop, when another process leaves work or mail that a
        host of this store could look for. News may be lost, and some stores have none."""

    async def start(self, request: StartRequest, host_id: int | None) -> StartReceipt:
        """Start an instance: check, decide, replace and insert as one step.

        Of concurrent starts of one id exactly one is created. The instance in the way is judged
        by ``core.policy``; a termination that waits in its inbox counts as done. Replacing
        removes the old instance's history, inbox and lease: no commit under its generation
        succeeds any more. When a live one is replaced, its sub-orchestrations are terminated and
        the task that waits for it fails (``core.messages.replaced_child``). With ``host_id`` the
        new instance is leased to that host.

        Raises:
            InstanceExists: the policy refuses; nothing was changed.
        """

    async def deliver(
        self, instance_id: str, event: InboxEvent, host_id: int | None
    ) -> DeliverReceipt:
        """Put a message into an instance's inbox and make the instance due, though not before
        the message itself is due (``EntityRequested.due_at``).

        An entity that is not there comes into being. With ``host_id``, an instance that is due
        and that no host holds is leased to that host.

        Raises:
            InstanceNotFound: no such orchestration.
            InstanceFinished: it takes no more events.
        """

    async def lease(
        self, host_id: int, limit: int, leaves: frozenset[str] = frozenset()
    ) -> LeaseGrant:
        """Lease up to ``limit`` due instances to the host, the longest due first.

        Instances of hosts whose leases expired are due as after a release; the grant names those
        hosts, but not the ones that this store entered before. Also tells of mail and of the next time, which is past when more is due than ``limit``. A host that is gone is
        granted nothing. Instances of the versions that the host ``leaves`` to others, "" for those
        of none, do not exist for it.
        """

    async def release(self, generation: int, epoch: int, retry_at: datetime | None = None) -> None:
        """Give a lease back; the instance is due when the first message in its inbox is (most
        are at once) or as its last commit said, whichever is earlier, but not before ``retry_at``.
        A stale epoch does nothing."""

    async def commit(self, outcome: Outcome, host_id: int | None = None) -> CommitReceipt | None:
        """Commit one step with all that it does to other instances; ``None`` means that it was
        stale and nothing was changed.

        Each outgoing message is judged by itself: one that comes too late is dropped, a refused
        sub-orchestration tells its parent. With ``host_id``, instances that became due by it and
        that no host holds are leased to that host.

        Raises:
            StoreUnavailable: it is unknown whether the step was committed.
        """

    async def inbox(self, generation: int, after: int) -> tuple[InboxMessage, ...]:
        """Return the messages of an instance with an id greater than ``after``, in order."""

    async def hold(self, generation: int) -> Hold | None:
        """Return who holds an instance and when it is due, ``None`` when it is gone."""

    async def history(self, generation: int) -> tuple[HistoryEvent, ...]:
        """Return the history of the current execution, empty before its first episode."""

    async def read(self, instance_id: str) -> InstanceRecord | None:
        """Return one instance, ``None`` when there is none."""

    async def query(self, query: InstanceQuery) -> InstancePage:
        """Return one page of instances, in the order of their starts.

        Raises:
            InvalidRequest: the token is not one of ours, or the page size is out of bounds.
        """

    async def purge(self, instance_id: str, generation: int | None = None) -> RuntimeStatus | None:
        """Remove a finished instance, or an entity, with all that belongs to it; return the
        status it had, or ``None`` when there is no such instance (of that ``generation``). Tasks
        that wait for an answer of the entity fail (``core.messages.purged_entity``).

        Raises:
            InstanceUnfinished: it is an orchestration that is not finished; nothing was changed.
        """

    async def rewind(
        self, instance_id: str, reason: str | None, at: datetime, host_id: int | None
    ) -> CommitReceipt:
        """Take back the failure of an instance as ``core.rewind`` says, and of the failed
        sub-orchestrations that it rests on; they are Running and due again.

        Raises:
            InstanceNotFound: no such orchestration.
            InstanceNotFailed: it is not Failed; nothing was changed.
        """

    async def durability(self) -> Durability:
        """Return what is promised about an acknowledged commit."""

    async def backlog(self) -> Backlog:
        """Count what is due and what is held."""

    async def keys(self) -> tuple[AccessKey, ...]:
        """Return every access key of the hub."""

    async def put_key(self, key: AccessKey, *, replaces: bool = False) -> AccessKey:
        """Store a key; unless it ``replaces`` one of that scope and name, the one that is there
        stays. Return the one that is there now."""

    async def drop_key(self, scope: str, name: str) -> bool:
        """Remove a key; ``False`` when there is none of that scope and name."""
