"""The command line on a hub in memory."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import pytest
from click.testing import CliRunner, Result

from soloist.cli import hub as hub_of_the_command_line
from soloist.cli import main
from soloist.client import Client
from soloist.contracts.clock import SystemClock
from soloist.core.events import InboxEvent
from soloist.core.failures import FailureDetails
from soloist.core.instances import AccessKey, InstanceRecord
from soloist.core.outcomes import Outcome
from soloist.core.status import RuntimeStatus
from soloist.stores import MemoryState, MemoryStore

T = TypeVar("T")


class Terminal:
    """Types commands; all of them open the same hub."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, app_dir: Path) -> None:
        self._state = MemoryState()
        self._app_dir = app_dir
        self._state.hub("Hub")
        monkeypatch.setattr(hub_of_the_command_line, "store_at", lambda *_, **__: self.store())

    def store(self) -> MemoryStore:
        """Return a store on the hub, not opened yet."""
        clock = SystemClock()
        return MemoryStore(self._state, task_hub="Hub", clock=clock, lease_seconds=30)

    def type(self, *arguments: str, stdin: str = "") -> Result:
        """Run a command."""
        hub = ("--store", "memory:", "--app", str(self._app_dir), "--task-hub", "Hub")
        return CliRunner().invoke(main, [*arguments, *hub], input=stdin)

    def on_store(self, work: Any) -> Any:
        """Do something on the hub itself, with a store and a client of it."""

        async def run() -> Any:
            store = self.store()
            await store.open()
            done: Coroutine[Any, Any, Any] = work(store, Client(store, SystemClock()))
            return await done

        return asyncio.run(run())

    def held_keys(self) -> dict[tuple[str, str], str]:
        """Return the hub's keys."""

        async def read(store: MemoryStore, _client: Client) -> tuple[AccessKey, ...]:
            return await store.keys()

        return {(key.scope, key.name): key.value for key in self.on_store(read)}

    def settle(
        self,
        instance_id: str,
        status: RuntimeStatus,
        output: str | None = None,
        failure: FailureDetails | None = None,
    ) -> InstanceRecord:
        """Bring an instance, or an entity, into a status and a state, as a host would."""

        async def commit(store: MemoryStore, client: Client) -> InstanceRecord:
            host_id = await store.join("test")
            leases = (await store.lease(host_id, 100)).leases
            lease = next(each for each in leases if each.record.instance_id == instance_id)
            record = lease.record
            outcome = Outcome(
                generation=record.generation,
                execution_id=record.execution_id,
                epoch=lease.epoch,
                history_length=record.history_length,
                at=record.created_at,
                events=(),
                consumed=tuple(message.message_id for message in lease.messages),
                status=status,
                custom_status=None,
                output=output,
                failure=failure,
                due_at=None,
            )
            assert await store.commit(outcome) is not None
            await store.leave(host_id)
            found = await store.read(instance_id)
            assert found is not None
            return found

        record: InstanceRecord = self.on_store(commit)
        return record

    def inbox(self, instance_id: str) -> tuple[InboxEvent, ...]:
        """Return what waits for an instance."""

        async def read(store: MemoryStore, _client: Client) -> tuple[InboxEvent, ...]:
            record = await store.read(instance_id)
            assert record is not None
            return tuple(each.event for each in await store.inbox(record.generation, 0))

        events: tuple[InboxEvent, ...] = self.on_store(read)
        return events

    def ids(self) -> set[str]:
        """Return the ids of all instances."""
        lines = self.type("instances", "list", "--json").stdout.splitlines()
        return {json.loads(line)["instance_id"] for line in lines}


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Terminal:
    """A terminal beside an empty hub."""
    return Terminal(monkeypatch, tmp_path)
