"""A task hub in memory behind the management API; outcomes are committed by hand."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette

from soloist.client import Client
from soloist.core.events import ExecutionCompleted, ExecutionStarted, HistoryEvent
from soloist.core.failures import FailureDetails
from soloist.core.instances import Lease
from soloist.core.outcomes import Outcome
from soloist.core.status import RuntimeStatus
from soloist.stores import MemoryState, MemoryStore
from soloist.testing import JumpClock
from soloist.webapi import (
    BASE_PATH,
    Access,
    AccessRequest,
    Links,
    LocalDoor,
    Management,
    ManagementApp,
    ManagementRoute,
)
from tests.webapi.live import LiveHub

ORIGIN = "http://hub.example:7071"
MAX_BODY_BYTES = 4096


class HastyClock(JumpClock):
    """Whoever sleeps is woken at once, as late as it wished; ``on_sleep`` happens meanwhile."""

    def __init__(self) -> None:
        super().__init__()
        self.on_sleep: list[Coroutine[Any, Any, None]] = []

    async def sleep(self, seconds: float) -> None:
        """Let the time pass."""
        self.advance(seconds)
        for happening in self.on_sleep:
            await happening
        self.on_sleep.clear()


class App:
    """The orchestrators of the app."""

    def resolve(self, name: str) -> str | None:
        """Compare without case."""
        return {"job": "Job", "other": "Other"}.get(name.lower())

    def names(self) -> tuple[str, ...]:
        """Return both."""
        return ("Job", "Other")


class Entities:
    """The entity functions of the app."""

    def resolve(self, name: str) -> str | None:
        """Compare without case."""
        return "Counter" if name.lower() == "counter" else None

    def names(self) -> tuple[str, ...]:
        """Return the only one."""
        return ("Counter",)


class Hub:
    """Everything between a caller and the store."""

    def __init__(
        self, system_key: str | None = "k/1", *, trusts_forwarded_host: bool = False
    ) -> None:
        self._runner = asyncio.Runner()
        self.run = self._runner.run
        self.clock = HastyClock()
        self.store = MemoryStore(
            MemoryState(), task_hub="TestHub", clock=self.clock, lease_seconds=3600
        )
        self.client = Client(
            self.store,
            self.clock,
            orchestrators=App(),
            entities=Entities(),
            max_payload_bytes=MAX_BODY_BYTES,
        )
        self.access = Access.FULL
        self.asked: list[AccessRequest] = []
        self.links = Links(task_hub="TestHub", system_key=lambda: system_key)
        management = Management(self.client, self.links, max_body_bytes=MAX_BODY_BYTES)
        self.door = ManagementApp(
            management, authorise=self._authorise, trusts_forwarded_host=trusts_forwarded_host
        )
        self.local = LocalDoor(management, origin=ORIGIN)
        self.app = Starlette(routes=[ManagementRoute(self.door)])
        self._leases: dict[int, Lease] = {}
        self.run(self.store.open())
        self._host_id = self.run(self.store.join("test"))

    def close(self) -> None:
        """Stop the event loop."""
        self._runner.close()

    def _authorise(self, asked: AccessRequest) -> Access:
        self.asked.append(asked)
        return self.access

    def send(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Send a request to ``path`` below the API's base."""
        return self.send_raw(method, f"{ORIGIN}{BASE_PATH}/{path}", **options)

    def send_raw(self, method: str, url: str, **options: Any) -> httpx.Response:
        """Send a request."""

        async def exchange() -> httpx.Response:
            transport = httpx.ASGITransport(app=self.app)
            async with httpx.AsyncClient(transport=transport) as caller:
                return await caller.request(method, url, **options)

        return self.run(exchange())

    def ask(self, method: str, target: str, data: str | None = None) -> tuple[int, str | None]:
        """Call as a durable client does."""
        return self.run(self.local.management(method, target, data))

    def start(self, instance_id: str = "one", name: str = "Job", text: str | None = None) -> None:
        """Start an instance, which stays Pending."""
        self.run(self.client.start(name, instance_id, input=text))

    def commit(
        self,
        instance_id: str,
        status: RuntimeStatus,
        *events: HistoryEvent,
        output: str | None = None,
        failure: FailureDetails | None = None,
        custom_status: str | None = None,
    ) -> None:
        """Bring an instance into a status, as a host would."""
        self.run(
            self.acommit(
                instance_id,
                status,
                *events,
                output=output,
                failure=failure,
                custom_status=custom_status,
            )
        )

    async def acommit(
        self,
        instance_id: str,
        status: RuntimeStatus,
        *events: HistoryEvent,
        output: str | None = None,
        failure: FailureDetails | None = None,
        custom_status: str | None = None,
    ) -> None:
        """Bring an instance into a status from within the loop."""
        for lease in (await self.store.lease(self._host_id, 1000)).leases:
            self._leases[lease.record.generation] = lease
        record = await self.client.status(instance_id)
        outcome = Outcome(
            generation=record.generation,
            execution_id=record.execution_id,
            epoch=self._leases[record.generation].epoch,
            history_length=record.history_length,
            at=self.clock.now(),
            events=events or self._plain_history(record.name, status),
            consumed=(),
            status=status,
            custom_status=custom_status,
            output=output,
            failure=failure,
            due_at=None,
        )
        assert await self.store.commit(outcome)

    def _plain_history(self, name: str, status: RuntimeStatus) -> tuple[HistoryEvent, ...]:
        started = ExecutionStarted(self.clock.now(), name, "e")
        return (
            (started, ExecutionCompleted(self.clock.now(), status))
            if status.is_terminal
            else (started,)
        )


@pytest.fixture
def hub() -> Iterator[Hub]:
    """A hub whose callers need a key and have it."""
    made = Hub()
    yield made
    made.close()


@pytest.fixture
def open_hub() -> Iterator[Hub]:
    """A hub without keys, behind a proxy that it trusts."""
    made = Hub(system_key=None, trusts_forwarded_host=True)
    yield made
    made.close()


@pytest.fixture
def live() -> Iterator[LiveHub]:
    """A hub that is run by a host."""
    made = LiveHub()
    yield made
    made.close()
