"""The hub itself: who runs it, what it promises, and what its instances wait for."""

from __future__ import annotations

import msgspec

from soloist.client.instances import InstanceVerbs
from soloist.core.ids import TIMER_PREFIX
from soloist.core.instances import (
    MAX_PAGE_SIZE,
    Durability,
    Hold,
    HostRecord,
    InstanceQuery,
    InstanceRecord,
)
from soloist.core.timers import TimerState, decode_timer
from soloist.core.waits import Seen, Waits, waits_of

_MAX_LOOKS = 5


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """How an instance stands: who holds it, if anybody does, and what it waits for.

    ``holder`` is ``None`` too when the host ``held_by`` was forgotten meanwhile.
    """

    record: InstanceRecord
    held_by: int | None = None
    holder: HostRecord | None = None
    waits: Waits = Waits()


class Timer(msgspec.Struct, frozen=True, kw_only=True):
    """A timer trigger of the app, and what is remembered of it."""

    function: str
    state: TimerState


class HubVerbs(InstanceVerbs):
    """What can be asked about the whole hub."""

    async def hosts(self) -> tuple[HostRecord, ...]:
        """Return every host of the hub, also those that are gone until all is taken from them."""
        return await self._store.hosts()

    async def timers(self) -> tuple[Timer, ...]:
        """Return the timer triggers that hosts of the hub have kept, by name: also one that the app
        has no more."""
        found: list[Timer] = []
        query = InstanceQuery(instance_id_prefix=TIMER_PREFIX, page_size=MAX_PAGE_SIZE)
        while True:
            page = await self._store.query(query)
            found += [
                Timer(function=each.name, state=decode_timer(each.output))
                for each in page.records
                if each.output is not None
            ]
            if page.token is None:
                return tuple(sorted(found, key=lambda timer: timer.function))
            query = msgspec.structs.replace(query, token=page.token)

    async def standing(self, instance_id: str) -> Standing:
        """Return how an instance, or an entity, stands.

        It is read piece by piece, and again when it has changed meanwhile; of one that never
        rests the pieces may be of different moments.

        Raises:
            InstanceNotFound: there is none of that id.
        """
        record = await self.status(instance_id)
        looks = 0
        while not record.status.is_terminal:
            seen = await self._seen(record)
            looks += 1
            again = await self.status(record.instance_id)
            is_same = again.generation == record.generation and not again.status.is_terminal
            if again == record or (is_same and looks >= _MAX_LOOKS):
                return _standing(msgspec.structs.replace(seen, record=again))
            record = again
        return Standing(record=record)

    async def _seen(self, record: InstanceRecord) -> Seen:
        hold = await self._store.hold(record.generation)
        return Seen(
            record=record,
            hold=Hold(None, None) if hold is None else hold,
            inbox=await self._store.inbox(record.generation, 0),
            history=await self._store.history(record.generation),
            hosts=await self._store.hosts(),
            now=self._clock.now(),
        )

    async def durability(self) -> Durability:
        """Return what is promised about an acknowledged commit; it needs a working database."""
        return await self._store.durability()


def _standing(seen: Seen) -> Standing:
    held_by = seen.hold.host_id
    return Standing(
        record=seen.record,
        held_by=held_by,
        holder=next((each for each in seen.hosts if each.host_id == held_by), None),
        waits=waits_of(seen),
    )
