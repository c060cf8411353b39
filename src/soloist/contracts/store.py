"""The store: everything durable, in domain values.

Promises that hold for every verb:

* It happens whole or not at all, and has reached the disk when it returns.
* Verbs on one hub are serialisable; verbs may be merged into one physical transaction, but one
  that is refused changes nothing and disturbs no other.
* ``StoreUnavailable`` means that nothing was changed, except from ``commit``, where a caller must
  read the instance again before it believes so.
* Leases are timed by the store's clock, and instances leased to a host that is gone are due.

Tests: ``tests/contract``; every store passes the same suite.
"""

from __future__ import annotations

from typing import Protocol

from soloist.core.events import HistoryEvent, InboxEvent
from soloist.core.instances import (
    AccessKey,
    Backlog,
    DeliverReceipt,
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


class Store(Protocol):
    """One task hub."""

    async def open(self) -> None:
        """Connect, creating the hub or upgrading its schema where needed.

        Raises:
            HubTooNew: a newer Soloist wrote the hub.
            StoreUnavailable: it cannot be opened; the text says why and what to do.
        """

    async def close(self) -> None:
        """Finish what is under way and let go; closing twice does nothing."""

    async def join(self, name: str) -> int:
        """Enter this process as a host and return its host id, never used before.

        ``name`` tells people who it is. An embedded store admits one host at a time and
        considers every earlier one gone.

        Raises:
            HubInUse: another host runs this hub; the text names it.
        """

    async def renew(self, host_id: int) -> bool:
        """Prolong all leases of the host, also late while nobody took them over; ``False`` when it was already considered gone.

        A host is gone from the moment its leases expire, taken over or not; it must join again.
        """

    async def leave(self, host_id: int) -> None:
        """Give back every lease of the host and forget it."""

    async def start(self, request: StartRequest, host_id: int | None) -> StartReceipt:
        """Start an instance: check, decide, replace and insert as one step.

        Of concurrent starts of one id exactly one is created. The instance in the way is judged
        by ``core.policy``; a termination that waits in its inbox counts as done. Replacing
        removes the old instance's history, inbox and lease: no commit under its generation
        succeeds any more. With ``host_id`` the new instance is leased to that host.

        Raises:
            InstanceExists: the policy refuses; nothing was changed.
        """

    async def deliver(
        self, instance_id: str, event: InboxEvent, host_id: int | None
    ) -> DeliverReceipt:
        """Put a message into an instance's inbox and make the instance due.

        With ``host_id``, an instance that no host holds is leased to that host.

        Raises:
            InstanceNotFound: no such instance.
            InstanceFinished: it takes no more events.
        """

    async def lease(self, host_id: int, limit: int) -> LeaseGrant:
        """Lease up to ``limit`` due instances to the host, the longest due first.

        Instances of hosts whose leases expired are due as after a release. Also tells of mail and
        of the next time, which is past when more is due than ``limit``. A host that is gone is
        granted nothing.
        """

    async def release(self, generation: int, epoch: int) -> None:
        """Give a lease back; the instance is due at once if its inbox is not empty, and as its
        last commit said otherwise. A stale epoch does nothing."""

    async def commit(self, outcome: Outcome) -> bool:
        """Commit one step; ``False`` means that it was stale and nothing was changed.

        Raises:
            StoreUnavailable: it is unknown whether the step was committed.
        """

    async def inbox(self, generation: int, after: int) -> tuple[InboxMessage, ...]:
        """Return the messages of an instance with an id greater than ``after``, in order."""

    async def history(self, generation: int) -> tuple[HistoryEvent, ...]:
        """Return the history of the current execution, empty before its first episode."""

    async def read(self, instance_id: str) -> InstanceRecord | None:
        """Return one instance, ``None`` when there is none."""

    async def query(self, query: InstanceQuery) -> InstancePage:
        """Return one page of instances, in the order of their starts.

        Raises:
            InvalidRequest: the token is not one of ours, or the page size is out of bounds.
        """

    async def purge(self, instance_id: str) -> RuntimeStatus | None:
        """Remove a finished instance with all that belongs to it; return the status it had, or
        ``None`` when there is no such instance.

        Raises:
            InstanceUnfinished: it is not finished; nothing was changed.
        """

    async def backlog(self) -> Backlog:
        """Count what is due and what is held."""

    async def keys(self) -> tuple[AccessKey, ...]:
        """Return every access key of the hub."""

    async def add_key(self, key: AccessKey) -> AccessKey:
        """Store a key unless one of that scope and name is there; return the one that is there."""
