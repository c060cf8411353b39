"""Inboxes: messages on their way to instances, and the entities that they bring into being."""

from __future__ import annotations

from datetime import datetime

from soloist.core.events import InboxEvent
from soloist.core.ids import is_entity_id, parse_entity_id, timer_function
from soloist.core.instances import DeliverReceipt
from soloist.core.messages import PassEvent, Reply, SendRequest, TerminateChild
from soloist.core.status import RuntimeStatus
from soloist.errors import InstanceFinished, InstanceNotFound
from soloist.stores.postgres.moved import Moved
from soloist.stores.postgres.view import Row, View
from soloist.stores.rows import due_at_of
from soloist.stores.times import to_micros


def deliver(view: View, instance_id: str, event: InboxEvent, host_id: int | None) -> DeliverReceipt:
    """Put a message into an inbox; an instance that no host holds becomes due, or is leased.

    Raises:
        InstanceNotFound, InstanceFinished: nobody can receive it.
    """
    row = view.find(instance_id)
    if row is None:
        if not is_entity_id(instance_id):
            raise InstanceNotFound(instance_id)
        row = new_entity(view, instance_id, event.at)
    if row.status.is_terminal:
        raise InstanceFinished(instance_id, row.status.value)
    moved = Moved(view, host_id)
    message_id = put(row, event, moved)
    leases = moved.settle().leases
    return DeliverReceipt(
        generation=row.generation, message_id=message_id, lease=leases[0] if leases else None
    )


def reply(message: Reply, moved: Moved) -> None:
    """Answer a task, unless its execution is not the live one any more."""
    waiting = moved.view.get(message.to.generation)
    if waiting is None or waiting.status.is_terminal:
        return
    if waiting.execution_id == message.to.execution_id:
        put(waiting, message.event, moved)


def request(message: SendRequest, moved: Moved) -> None:
    """Put a request into the inbox of an entity, which comes into being when it is not there."""
    entity = moved.view.find(message.entity_id)
    if entity is None:
        entity = new_entity(moved.view, message.entity_id, message.event.at)
    put(entity, message.event, moved)


def terminate(message: TerminateChild, moved: Moved) -> None:
    """End a sub-orchestration if it is live and still that parent's."""
    child = moved.view.find(message.instance_id)
    if child is not None and child.parent == message.parent and not child.status.is_terminal:
        put(child, message.event, moved)


def pass_event(message: PassEvent, moved: Moved) -> None:
    """Put an event into the inbox of another orchestration, if one of that id is live."""
    if is_entity_id(message.instance_id):
        return
    target = moved.view.find(message.instance_id)
    if target is not None and not target.status.is_terminal:
        put(target, message.event, moved)


def put(row: Row, event: InboxEvent, moved: Moved) -> int:
    """Put a message into an inbox; an instance that no host holds becomes due."""
    message_id = moved.view.put(row, event)
    if row.owner is None:
        due_at = due_at_of(event)
        row.make_due(moved.view.now if due_at is None else due_at)
    moved.touch(row)
    return message_id


def entity_name(instance_id: str) -> str:
    """Return the function that an entity stands for.

    Raises:
        InvalidRequest: no entity can have that id.
    """
    timer = timer_function(instance_id)
    return parse_entity_id(instance_id).name if timer is None else timer


def new_entity(view: View, instance_id: str, created_at: datetime) -> Row:
    """Insert an entity that nobody holds.

    Raises:
        InvalidRequest: no entity can have that id.
    """
    name, at = entity_name(instance_id), to_micros(created_at)
    row = Row(
        view.draw_generation(),
        instance_id,
        name,
        None,
        at,
        "",
        RuntimeStatus.RUNNING,
        updated_at=at,
        is_new=True,
    )
    view.insert(row)
    return row
