"""What the engine holds: leased instances, whatever kind they are, and what they work with."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from enum import Enum
from typing import Protocol

import msgspec

from soloist.contracts.clock import Clock
from soloist.contracts.executor import Executor
from soloist.contracts.store import Store
from soloist.core.instances import CommitReceipt, InboxMessage, Lease
from soloist.engine.activities import ActivityPool
from soloist.engine.settings import EngineSettings


class HeldEnd(Enum):
    """Why an instance is held no more."""

    OVER = "the instance has ended"
    RELEASED = "it was given back"
    STALE = "somebody else holds the instance"
    FAILED = "something went wrong; the lease must be given back"


class Held(Protocol):
    """One leased instance at work."""

    generation: int
    epoch: int
    instance_id: str

    def check_mail(self) -> None:
        """Look into the inbox: a message was delivered."""

    def release(self) -> None:
        """Give the instance back once what is under way, if anything, is committed."""

    def abandon(self) -> None:
        """Stop as soon as may be: the lease is known to be lost."""

    async def run(self) -> HeldEnd:
        """Work until the instance has ended or is held no more."""


class Tools(msgspec.Struct, frozen=True):
    """What everything that is held by one engine works with.

    ``episodes`` bounds the turns under way and ``batches`` the entities at work. ``on_rest`` is
    told when there is nothing to do and ``on_wake`` when there is again. ``claim`` says for which
    host a commit may lease what it sets in motion, ``on_commit`` what it did set in motion.
    """

    store: Store
    clock: Clock
    executor: Executor
    activities: ActivityPool
    http_calls: ActivityPool
    settings: EngineSettings
    episodes: asyncio.Semaphore
    batches: asyncio.Semaphore
    on_rest: Callable[[Held], None]
    on_wake: Callable[[Held], None]
    claim: Callable[[], int | None]
    on_commit: Callable[[CommitReceipt], None]


class Mailbox:
    """The waiting messages of one leased instance, as far as they were read."""

    def __init__(self, lease: Lease, store: Store) -> None:
        self.messages: deque[InboxMessage] = deque(lease.messages)
        self.has_mail = False
        self._store = store
        self._generation = lease.record.generation
        self._last_message_id = lease.messages[-1].message_id if lease.messages else 0

    async def read(self) -> None:
        """Fetch what was delivered since the last time, if anything was."""
        if not self.has_mail:
            return
        self.has_mail = False
        messages = await self._store.inbox(self._generation, self._last_message_id)
        if messages:
            self.messages.extend(messages)
            self._last_message_id = messages[-1].message_id

    def read_afresh(self) -> None:
        """Forget what was read: the waiting messages have new numbers."""
        self.messages.clear()
        self._last_message_id = 0
        self.has_mail = True
