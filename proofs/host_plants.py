"""Bugs to plant in a host, by name: a proof that does not find them proves nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from soloist.core.policy import StartDecision, StartPolicy, decide_start
from soloist.stores.postgres import PostgresStore
from soloist.stores.sqlite import SqliteStore

PLANTS: dict[str, Callable[[], None]] = {}


def plant(setting: Callable[[], None]) -> Callable[[], None]:
    """Enter a bug under its name."""
    PLANTS[setting.__name__] = setting
    return setting


@plant
def check_then_insert() -> None:
    """A start looks first and inserts in a second transaction, without looking again."""
    for store in (SqliteStore, PostgresStore):
        _decide_before(store)


def _decide_before(store: Any) -> None:
    start = store.start

    async def hasty(self: Any, request: Any, host_id: int | None) -> Any:
        found = await self.read(request.instance_id)
        decision = decide_start(
            request.policy,
            existing=None if found is None else found.status,
            same_function=found is not None and found.name == request.name,
        )
        if decision in (StartDecision.CREATE, StartDecision.REPLACE):
            request = msgspec.structs.replace(request, policy=StartPolicy.REPLACE)
        return await start(self, request, host_id)

    store.start = hasty
