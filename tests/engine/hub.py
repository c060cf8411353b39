"""A hub in memory under a jumping clock, for tests of the engine."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

from soloist.client import Client
from soloist.contracts.executor import Absence, nobody_is_absent
from soloist.contracts.store import Store
from soloist.core.events import HistoryEvent, InboxEvent
from soloist.core.instances import InstanceRecord
from soloist.core.timers import TimerTrigger
from soloist.core.work import Lacks
from soloist.engine import Engine, EngineSettings
from soloist.stores import MemoryState, MemoryStore
from soloist.testing import JumpClock
from tests.engine.scripts import Script, ScriptExecutor

LEASE_SECONDS = 30.0


class Hub:
    """One store, one clock, and hosts that come and go."""

    def __init__(self, scripts: dict[str, Script], state: MemoryState | None = None) -> None:
        self.clock = JumpClock()
        self.state = state or MemoryState()
        self.scripts = scripts
        self.executor = ScriptExecutor(scripts)
        self.store: Store = self.new_store()

    def new_store(self) -> Store:
        """Return one more connection to the hub."""
        return MemoryStore(
            self.state, task_hub="Hub", clock=self.clock, lease_seconds=LEASE_SECONDS
        )

    @asynccontextmanager
    async def host(
        self,
        settings: EngineSettings | None = None,
        store: Store | None = None,
        timers: Mapping[str, TimerTrigger] | None = None,
        absence: Absence = nobody_is_absent,
        lacks: Callable[[], Lacks | None] = lambda: None,
    ) -> AsyncIterator[tuple[Engine, Client]]:
        """Run a host; leaving the block stops it politely."""
        store = store or self.store
        await store.open()
        engine = Engine(
            store,
            self.clock,
            self.executor,
            settings,
            timers=timers,
            absence=absence,
            lacks=lacks,
        )
        await engine.start()
        try:
            yield engine, Client(store, self.clock, wakeups=engine)
        finally:
            await engine.stop()

    async def tell(self, engine: Engine, instance_id: str, event: InboxEvent) -> None:
        """Deliver a message as a client does."""
        receipt = await self.store.deliver(instance_id, event, engine.claimant())
        if receipt.lease is not None:
            engine.granted(receipt.lease)
        else:
            engine.mail(receipt.generation)
        await self.clock.settle()

    async def history(self, client: Client, instance_id: str) -> tuple[HistoryEvent, ...]:
        """Return the history of an instance."""
        return await client.history(await client.status(instance_id))

    async def finished(self, client: Client, instance_id: str, hours: float = 1) -> InstanceRecord:
        """Let time pass until the instance has ended, at most ``hours``; faster after a minute,
        though never so fast that a host would miss its renewals."""
        waited = 0.0
        while True:
            await self.clock.settle()
            record = await client.status(instance_id)
            if record.status.is_terminal or waited >= hours * 3600:
                return record
            seconds = 1.0 if waited < 60 else LEASE_SECONDS / 6
            await self.clock.jump(seconds, step_seconds=seconds / 2)
            waited += seconds
