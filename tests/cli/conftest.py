"""The command line on a hub in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import pytest
from click.testing import CliRunner, Result

from soloist.cli import hub as hub_of_the_command_line
from soloist.cli import main
from soloist.client import Client
from soloist.contracts.clock import SystemClock
from soloist.core.instances import AccessKey
from soloist.stores import MemoryState, MemoryStore

T = TypeVar("T")


class Terminal:
    """Types commands; all of them open the same hub."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, app_dir: Path) -> None:
        self._state = MemoryState()
        self._app_dir = app_dir
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


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Terminal:
    """A terminal beside an empty hub."""
    return Terminal(monkeypatch, tmp_path)
