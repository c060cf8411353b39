"""Purges at the gRPC door: one instance, several, or what a filter finds, with their children."""

from __future__ import annotations

import msgspec

from soloist.client import Client
from soloist.contracts.clock import Clock
from soloist.core.events import SubOrchestrationInstanceCreated
from soloist.core.ids import is_entity_id
from soloist.core.instances import InstanceQuery, InstanceRecord
from soloist.errors import InstanceNotFound, InstanceUnfinished

MAX_PURGE_DEPTH = 100
"""How far children of children are followed."""

_PAGE_SIZE = 100


class Purge:
    """One call's purge: how many went, and whether all was looked at in time."""

    def __init__(
        self, client: Client, clock: Clock, *, is_recursive: bool, seconds: float | None
    ) -> None:
        self._client = client
        self._clock = clock
        self._is_recursive = is_recursive
        self._until = None if seconds is None else clock.now().timestamp() + seconds
        self.count = 0
        self.is_complete = True

    @property
    def is_out_of_time(self) -> bool:
        """Whether the caller's patience is over."""
        return self._until is not None and self._clock.now().timestamp() >= self._until

    async def one(self, instance_id: str, depth: int = 0) -> None:
        """Remove an instance if it is finished, or an entity; what is not there is no error."""
        try:
            if is_entity_id(instance_id):
                await self._client.purge(instance_id)
                self.count += 1
                return
            record = await self._client.status(instance_id)
            if record.status.is_terminal:
                await self._finished(record, depth)
        except (InstanceNotFound, InstanceUnfinished):
            return

    async def many(self, query: InstanceQuery) -> None:
        """Remove all finished instances that a filter finds, until the time is over."""
        now = self._clock.now()
        created_to = now if query.created_to is None else min(now, query.created_to)
        query = msgspec.structs.replace(query, page_size=_PAGE_SIZE, created_to=created_to)
        while True:
            page = await self._client.list(query)
            for record in page.records:
                if self.is_out_of_time:
                    self.is_complete = False
                    return
                try:
                    await self._finished(record, 0)
                except (InstanceNotFound, InstanceUnfinished):  # gone or rewound meanwhile
                    continue
            if page.token is None:
                return
            query = msgspec.structs.replace(query, token=page.token)

    async def _finished(self, record: InstanceRecord, depth: int) -> None:
        children: list[str] = []
        if self._is_recursive and depth < MAX_PURGE_DEPTH:
            history = await self._client.history(record)
            children = [
                event.instance_id
                for event in history
                if isinstance(event, SubOrchestrationInstanceCreated)
            ]
        await self._client.purge(record.instance_id)
        self.count += 1
        for child in dict.fromkeys(children):
            if await self._is_child(child, record):
                await self.one(child, depth + 1)

    async def _is_child(self, instance_id: str, parent: InstanceRecord) -> bool:
        """Whether an instance of that id is still this parent's, and not somebody else's by now."""
        try:
            found = (await self._client.status(instance_id)).parent
        except InstanceNotFound:
            return False
        return found is not None and found.generation == parent.generation
