"""Wake-ups: how a host learns at once what it would otherwise find by polling.

They are an optimisation. Every wake-up may be lost and nothing but time is lost with it.
"""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Protocol

from soloist.core.instances import InstanceRecord, Lease


class WakeUps(Protocol):
    """The ear of the host in this process."""

    def claimant(self) -> int | None:
        """Return the host id under which an instance may be leased now.

        ``None`` when the host has no room, is draining, or does not exist in this process.

        Raises:
            Overloaded: the hub's backlog is full; the caller should try again later.
        """

    def granted(self, lease: Lease) -> None:
        """An instance was leased to this host in the transaction that started or woke it."""

    def mail(self, generation: int) -> None:
        """A message was delivered to an instance which this host may hold."""

    def replaced(self, generation: int) -> None:
        """An instance was replaced: whatever this host still does for it is in vain."""

    def work_waits(self, due_at: datetime | None = None) -> None:
        """Something that no host holds is due, or will be at that time."""

    def end_of(self, instance_id: str) -> asyncio.Future[InstanceRecord | None] | None:
        """Return a future that brings an instance as it ended, or nothing once this host lets go
        of it for another reason; ``None`` when it does not hold it or may have ended it already.
        Whoever waits may cancel it, or end it with nothing."""


class NoWakeUps:
    """The ear of a process that runs no host."""

    def claimant(self) -> int | None:
        """Nothing can be leased here."""
        return None

    def granted(self, lease: Lease) -> None:
        """Never happens: no lease is asked for."""

    def mail(self, generation: int) -> None:
        """Whoever holds the instance finds the message by polling."""

    def replaced(self, generation: int) -> None:
        """Whoever holds the instance finds out at its next commit."""

    def work_waits(self, due_at: datetime | None = None) -> None:
        """Whoever has room finds the work by polling."""

    def end_of(self, instance_id: str) -> asyncio.Future[InstanceRecord | None] | None:
        """Nothing is held here."""
        return None
