"""A task hub in memory behind the management API, with a host that runs it under a jumping clock."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from typing import Any

import httpx
from starlette.applications import Starlette

from soloist.client import Client
from soloist.contracts.executor import (
    ActivityCall,
    ActivityResult,
    EntityBatch,
    EntityResult,
    OperationResult,
)
from soloist.core.actions import (
    Action,
    CallEntity,
    CompleteExecution,
    CreateTimer,
    ScheduleSubOrchestration,
    ScheduleTask,
    SignalEntity,
)
from soloist.core.events import (
    EntityOperationCompleted,
    HistoryEvent,
    SubOrchestrationInstanceCompleted,
    SubOrchestrationInstanceFailed,
    TaskCompleted,
    TaskFailed,
)
from soloist.core.failures import FailureDetails
from soloist.core.instances import InstanceRecord
from soloist.engine import Engine
from soloist.stores import MemoryState, MemoryStore
from soloist.testing import JumpClock
from soloist.webapi import (
    BASE_PATH,
    Access,
    Links,
    LocalDoor,
    Management,
    ManagementApp,
    ManagementRoute,
)
from tests.engine.scripts import ScriptExecutor, raised, started

ORIGIN = "http://hub.example:7071"
MAX_BODY_BYTES = 4096
MAX_WAIT_SECONDS = 2.0


def echo(history: Sequence[HistoryEvent]) -> list[Action]:
    """Return the input."""
    return [CompleteExecution(started(history).input)]


def wait(history: Sequence[HistoryEvent]) -> list[Action]:
    """Wait for one event and return what it brings."""
    return [CompleteExecution(each.input) for each in raised(history)[:1]]


def fragile(history: Sequence[HistoryEvent]) -> list[Action]:
    """Call the activity ``Fragile`` and fail with it."""
    actions: list[Action] = [ScheduleTask(0, "Fragile", "1")]
    for event in history:
        if isinstance(event, TaskCompleted):
            actions.append(CompleteExecution('"mended"'))
        elif isinstance(event, TaskFailed):
            actions.append(CompleteExecution(failure=event.failure))
    return actions


def parent(history: Sequence[HistoryEvent]) -> list[Action]:
    """Do everything at once: a child, a call, two signals and a timer; end when the child does."""
    now = started(history).at
    actions: list[Action] = [
        ScheduleSubOrchestration(
            0, "Wait", '"for it"', f"child of {started(history).execution_id}"
        ),
        CallEntity(1, "@counter@called", "add", "5"),
        SignalEntity(2, "@counter@signalled", "add", "1"),
        SignalEntity(3, "@counter@signalled", "add", "2", due_at=now.replace(year=now.year + 1)),
        CreateTimer(4, now),
    ]
    answers = [each.result for each in history if isinstance(each, EntityOperationCompleted)]
    for event in history:
        if isinstance(event, SubOrchestrationInstanceFailed):
            actions.append(CompleteExecution(failure=event.failure))
        elif isinstance(event, SubOrchestrationInstanceCompleted):
            actions.append(CompleteExecution(json.dumps([event.result, *answers])))
    return actions


class Worker(ScriptExecutor):
    """Runs the scripts above; the entity ``counter`` keeps what was sent last, or a sum."""

    def __init__(self) -> None:
        super().__init__({"Echo": echo, "Wait": wait, "Fragile": fragile, "Parent": parent})
        self.is_mended = False

    async def run_activity(self, call: ActivityCall) -> ActivityResult:
        """Fail until somebody has mended it."""
        await asyncio.sleep(0)
        if not self.is_mended:
            return ActivityResult(failure=FailureDetails("broken", "ValueError", "the stack"))
        return ActivityResult(call.input)

    async def run_entity(self, batch: EntityBatch) -> EntityResult:
        """``add`` adds a number, ``delete`` ends it, ``fail`` fails, all else keeps its input."""
        await asyncio.sleep(0)
        state = batch.state
        results: list[OperationResult] = []
        for operation in batch.operations:
            value = None if operation.input is None else json.loads(operation.input)
            if operation.name == "fail":
                results.append(OperationResult(failure=FailureDetails("bad", "ValueError")))
                continue
            if operation.name == "delete":
                state = None
            elif operation.name == "add" and isinstance(value, int):
                old = json.loads(state or "0")
                state = str((old if isinstance(old, int) else 0) + value)
            else:
                state = operation.input or "null"
            results.append(OperationResult(state))
        return EntityResult(results=tuple(results), state=state)


class Names:
    """Functions of one kind."""

    def __init__(self, *names: str) -> None:
        self._spelling = {name.lower(): name for name in names}

    def resolve(self, name: str) -> str | None:
        """Compare without case."""
        return self._spelling.get(name.lower())

    def names(self) -> tuple[str, ...]:
        """Return all."""
        return tuple(self._spelling.values())


class LiveHub:
    """Everything from a caller to the engine."""

    def __init__(self) -> None:
        self._runner = asyncio.Runner()
        self.run = self._runner.run
        self.clock = JumpClock()
        self.worker = Worker()
        self.store = MemoryStore(
            MemoryState(), task_hub="TestHub", clock=self.clock, lease_seconds=30
        )
        self.run(self._open())

    async def _open(self) -> None:
        await self.store.open()
        self._engine = Engine(self.store, self.clock, self.worker)
        self.client = Client(
            self.store,
            self.clock,
            wakeups=self._engine,
            orchestrators=Names("Echo", "Wait", "Fragile", "Parent"),
            entities=Names("Counter"),
            max_payload_bytes=MAX_BODY_BYTES,
        )
        management = Management(
            self.client,
            Links(task_hub="TestHub", system_key=lambda: "k/1"),
            max_body_bytes=MAX_BODY_BYTES,
            max_wait_seconds=MAX_WAIT_SECONDS,
        )
        door = ManagementApp(management, authorise=lambda _asked: Access.FULL)
        self.local = LocalDoor(management, origin=ORIGIN)
        self.app = Starlette(routes=[ManagementRoute(door)])
        await self._engine.start()

    def close(self) -> None:
        """Stop the host and the event loop."""
        self.happen(self._engine.stop)
        self._runner.close()

    def send(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Send a request to ``path`` below the API's base, and let what it sets off happen."""
        return self.send_raw(method, f"{ORIGIN}{BASE_PATH}/{path}", **options)

    def send_raw(self, method: str, url: str, **options: Any) -> httpx.Response:
        """Send a request, and let what it sets off happen."""

        async def exchange() -> httpx.Response:
            transport = httpx.ASGITransport(app=self.app)
            async with httpx.AsyncClient(transport=transport) as caller:
                return await caller.request(method, url, **options)

        answer: httpx.Response = self.happen(exchange)
        return answer

    def ask(self, method: str, target: str, data: str | None = None) -> tuple[int, Any]:
        """Call as a durable client does; return the body as the SDK reads it."""

        async def exchange() -> tuple[int, str | None]:
            return await self.local.management(method, target, data)

        status, body = self.happen(exchange)
        return status, None if body is None else json.loads(body)

    def status(self, instance_id: str) -> InstanceRecord:
        """Return what is known of an instance."""
        return self.run(self.client.status(instance_id))

    def pass_time(self, seconds: float) -> None:
        """Let time pass, in steps in which the host can renew its leases."""
        self.run(self.clock.jump(seconds, step_seconds=5.0))

    def happen(self, call: Callable[[], Any]) -> Any:
        """Await something, and let what it sets off happen."""
        return self.run(self._let(call))

    async def _let(self, happen: Callable[[], Any]) -> Any:
        task = asyncio.ensure_future(happen())
        while not task.done():
            await self.clock.settle()
            if not task.done():
                self.clock.advance(0.25)
        await self.clock.settle()
        return task.result()
