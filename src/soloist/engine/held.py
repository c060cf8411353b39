"""What the engine holds: leased instances, whatever kind they are, and what they work with."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from datetime import datetime, timedelta
from enum import Enum

import msgspec

from soloist.contracts.clock import Alarm, Clock
from soloist.contracts.executor import Absence, Executor
from soloist.contracts.store import Store
from soloist.core.instances import CommitReceipt, InboxMessage, InstanceRecord, Lease
from soloist.core.work import WorkKind
from soloist.engine.activities import ActivityPool
from soloist.engine.settings import EngineSettings


class HeldEnd(Enum):
    """Why an instance is held no more."""

    OVER = "the instance has ended"
    RELEASED = "it was given back"
    STALE = "somebody else holds the instance"
    FAILED = "something went wrong; the lease must be given back"


class Tools(msgspec.Struct, frozen=True):
    """What everything that is held by one engine works with.

    ``episodes`` bounds the turns under way and ``batches`` the entities at work. ``on_rest`` is
    told when there is nothing to do and ``on_wake`` when there is again. ``claim`` says for which
    host a commit may lease what it sets in motion, ``on_commit`` what it did set in motion.
    ``absence`` says what cannot be run now.
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
    absence: Absence


class Mailbox:
    """The waiting messages of one leased instance, as far as they were read."""

    def __init__(self, lease: Lease, store: Store) -> None:
        self.messages: deque[InboxMessage] = deque(lease.messages)
        self.has_mail = False
        self._store = store
        self._generation = lease.record.generation
        self._last_message_id = lease.messages[-1].message_id if lease.messages else 0

    @property
    def has_messages(self) -> bool:
        """Whether messages wait, as far as is known."""
        return self.has_mail or bool(self.messages)

    async def read(self) -> None:
        """Fetch what was delivered since the last time."""
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


class Held:
    """One leased instance at work: what wakes it, and how it is told to stop.

    ``is_ending`` says that the commit which ends it is under way or done, ``ended_as`` what that
    commit made of it; others may have rewound or replaced it since.
    """

    def __init__(self, lease: Lease, tools: Tools) -> None:
        self.generation = lease.record.generation
        self.epoch = lease.epoch
        self.instance_id = lease.record.instance_id
        self.is_closed = False
        self.is_ending = False
        self.ended_as: InstanceRecord | None = None
        self._tools = tools
        self._mailbox = Mailbox(lease, tools.store)
        self._awake = asyncio.Event()
        self._alarm: Alarm | None = None
        self._must_release = False
        self._lacks_worker = False
        self._awaited: asyncio.Future[None] | None = None

    def check_mail(self) -> None:
        """Look into the inbox: a message was delivered."""
        self._mailbox.has_mail = True
        self._awake.set()

    def release(self) -> None:
        """Give the instance back once what is under way, if anything, is committed."""
        self._must_release = True
        self._awake.set()

    def abandon(self) -> None:
        """Stop as soon as may be: the lease is known to be lost."""
        self.is_closed = True
        self._awake.set()

    async def run(self) -> HeldEnd:
        """Work until the instance has ended or is held no more."""
        try:
            return await self._work()
        finally:
            self.is_closed = True
            self._wake_at(None)
            if self._awaited is not None:
                self._awaited.cancel()

    async def _work(self) -> HeldEnd:
        raise NotImplementedError

    async def _give_back(self) -> HeldEnd:
        await self._tools.store.release(self.generation, self.epoch, self._retry_at())
        return HeldEnd.RELEASED

    def _retry_at(self) -> datetime | None:
        """Return before when nobody need take the instance up again: one that lacks a worker is
        given back so that other hosts, or other instances, have their chance first."""
        if not self._lacks_worker:
            return None
        pause = self._tools.settings.absence_retry_seconds
        return self._tools.clock.now() + timedelta(seconds=pause)

    def _absence(
        self, kind: WorkKind, name: str, version: str | None
    ) -> asyncio.Future[None] | None:
        """Return what to wait for when nobody can run the function; it wakes this instance."""
        absence = self._tools.absence(kind, name, version)
        self._lacks_worker = absence is not None
        if self._awaited is not None:
            self._awaited.cancel()
        self._awaited = absence
        if absence is not None:
            absence.add_done_callback(self._on_presence)
        return absence

    def _on_presence(self, absence: asyncio.Future[None]) -> None:
        if not absence.cancelled():
            self._awake.set()

    def _wake_at(self, when: datetime | None) -> None:
        """Arrange to wake at a time, instead of any arranged before; ``None``: at none."""
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        if when is not None:
            self._alarm = self._tools.clock.call_at(when, self._awake.set)
