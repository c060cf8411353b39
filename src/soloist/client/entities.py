"""Entities: the verbs for what is named ``@name@key``."""

from __future__ import annotations

from datetime import datetime

import msgspec

from soloist.client.base import Verbs, resolved
from soloist.client.checks import checked_name
from soloist.core.entity_locks import lock_in
from soloist.core.events import EntityRequested, LockReleased
from soloist.core.ids import (
    ENTITY_MARK,
    EntityId,
    check_entity_id,
    entity_id,
    parse_entity_id,
    timer_function,
)
from soloist.core.instances import DEFAULT_PAGE_SIZE, InstanceQuery, InstanceRecord
from soloist.errors import InstanceNotFound, InvalidRequest

_MAX_EMPTY_PAGES = 20


class Entity(msgspec.Struct, frozen=True, kw_only=True):
    """An entity that exists: its state is JSON text."""

    id: EntityId
    state: str
    created_at: datetime
    last_operation_at: datetime


class EntityQuery(msgspec.Struct, frozen=True, kw_only=True):
    """A filter over the hub's entities; empty fields do not restrict.

    Both ends of the span of last operations belong to it. ``token`` continues an earlier page.
    """

    name: str = ""
    operated_from: datetime | None = None
    operated_to: datetime | None = None
    page_size: int = DEFAULT_PAGE_SIZE
    token: str | None = None


class EntityPage(msgspec.Struct, frozen=True):
    """Entities in the order in which they came into being; ``token`` is ``None`` on the last
    page. A page may be shorter than was asked for."""

    entities: tuple[Entity, ...]
    token: str | None


class EntityVerbs(Verbs):
    """What can be done with entities."""

    async def signal(
        self,
        name: str,
        key: str,
        operation: str,
        input: str | None = None,  # noqa: A002  # the field's word
        due_at: datetime | None = None,
    ) -> None:
        """Ask an entity for an operation, not before ``due_at``; nobody waits for its result.

        Raises:
            InvalidRequest: the name, the key or the operation is malformed.
            PayloadTooLarge: the input is.
            FunctionNotFound: the app has no such entity function.
        """
        found = self._entity_id(resolved(name, "entity", self._entities), key)
        checked_name("An operation's name", operation, may_be_empty=True)
        payload = self._bounded("The operation's input", input)
        event = EntityRequested(self._clock.now(), operation, payload, due_at=due_at)
        await self._deliver(str(found), event)

    async def read_entity(self, name: str, key: str) -> Entity:
        """Return an entity as the last operation left it.

        Raises:
            InvalidRequest: no entity can be called that.
            InstanceNotFound: it does not exist.
        """
        found = self._entity_id(self._spelling(name), key)
        record = await self._store.read(str(found))
        entity = None if record is None else _entity(record)
        if entity is None:
            raise InstanceNotFound(str(found))
        return entity

    async def list_entities(self, query: EntityQuery) -> EntityPage:
        """Return one page of the entities that exist.

        Raises:
            InvalidRequest: the token or the page size is wrong.
        """
        prefix = ENTITY_MARK
        if query.name:
            checked_name("A function name", query.name)
            prefix = f"{ENTITY_MARK}{self._spelling(query.name).lower()}{ENTITY_MARK}"
        token = query.token
        for _ in range(_MAX_EMPTY_PAGES):
            page = await self._store.query(
                InstanceQuery(
                    instance_id_prefix=prefix,
                    updated_from=query.operated_from,
                    updated_to=query.operated_to,
                    page_size=query.page_size,
                    token=token,
                )
            )
            token = page.token
            found = tuple(each for each in map(_entity, page.records) if each is not None)
            if found or token is None:
                return EntityPage(found, token)
        return EntityPage((), token)

    async def free_entity(self, record: InstanceRecord) -> bool:
        """Take an entity from the critical section that holds it if that section's orchestration
        is gone; return whether it was."""
        lock = lock_in(record.custom_status)
        if lock is None:
            return False
        owner = await self._store.read(lock.owner.instance_id)
        is_live = (
            owner is not None
            and owner.generation == lock.owner.generation
            and owner.execution_id == lock.owner.execution_id
            and not owner.status.is_terminal
        )
        if not is_live:
            event = LockReleased(self._clock.now(), lock.section_id)
            await self._deliver(record.instance_id, event)
        return not is_live

    async def purge_entity(self, name: str, key: str) -> None:
        """Remove an entity at once, with all that waits for it.

        Raises:
            InvalidRequest: no entity can be called that.
            InstanceNotFound: there is none.
        """
        await self._purge_entity(str(self._entity_id(self._spelling(name), key)))

    async def _purge_entity(self, instance_id: str) -> None:
        record = await self._store.read(instance_id)
        if record is None or await self._store.purge(instance_id, record.generation) is None:
            raise InstanceNotFound(instance_id)
        self._wakeups.replaced(record.generation)

    def _addressed_entity(self, instance_id: str) -> str:
        """Return the id under which an entity is kept; a timer is none.

        Raises:
            InstanceNotFound: no entity can have it.
        """
        if timer_function(instance_id) is None:
            try:
                return str(check_entity_id(instance_id, self._max_instance_id_length))
            except InvalidRequest:
                pass
        raise InstanceNotFound(instance_id)

    def _entity_id(self, name: str, key: str) -> EntityId:
        return entity_id(name, key, self._max_instance_id_length)

    def _spelling(self, name: str) -> str:
        """Return the name under which an entity is kept, also when its function is gone."""
        found = None if self._entities is None else self._entities.resolve(name)
        return name if found is None else found


def _entity(record: InstanceRecord) -> Entity | None:
    """Return the entity that a record is, ``None`` for a timer or one that does not exist."""
    if record.output is None or timer_function(record.instance_id) is not None:
        return None
    return Entity(
        id=parse_entity_id(record.instance_id),
        state=record.output,
        created_at=record.created_at,
        last_operation_at=record.updated_at,
    )
