"""The hub itself: who runs it and what it promises."""

from __future__ import annotations

from soloist.client.instances import InstanceVerbs
from soloist.core.instances import Durability, HostRecord


class HubVerbs(InstanceVerbs):
    """What can be asked about the whole hub."""

    async def hosts(self) -> tuple[HostRecord, ...]:
        """Return every host of the hub, also those that are gone until all is taken from them."""
        return await self._store.hosts()

    async def durability(self) -> Durability:
        """Return what is promised about an acknowledged commit; it needs a working database."""
        return await self._store.durability()
