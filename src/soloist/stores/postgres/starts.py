"""Starts: one rule for every door, and what a replacement does to others."""

from __future__ import annotations

from datetime import datetime

from soloist.core.ids import is_entity_id
from soloist.core.instances import StartReceipt, StartRequest
from soloist.core.messages import (
    Reply,
    parent_replaced,
    purged_entity,
    refused_child,
    replaced_child,
)
from soloist.core.policy import StartDecision, decide_start
from soloist.core.status import RuntimeStatus
from soloist.errors import InstanceExists, InstanceUnfinished
from soloist.failpoints import reach
from soloist.stores.postgres.inboxes import put, reply
from soloist.stores.postgres.moved import Moved
from soloist.stores.postgres.view import Row, View
from soloist.stores.postgres.wanted import Wanted
from soloist.stores.rows import begins_at, extras_text
from soloist.stores.times import from_micros, to_micros


def want(request: StartRequest, host_id: int | None, wanted: Wanted) -> None:
    """Name the rows that a start needs to see."""
    wanted.ids.add(request.instance_id)
    wanted.starts.add(request.instance_id)
    wanted.generations_drawn += 1
    wanted.host(host_id)


def start(view: View, request: StartRequest, host_id: int | None) -> StartReceipt:
    """Check, decide, replace and insert.

    Raises:
        InstanceExists: the policy refuses.
    """
    moved = Moved(view, None)
    owner = view.live(host_id)
    decision, row, replaced = _start(request, moved)
    lease = None
    record = row.record
    if decision is not StartDecision.RETURN and owner is not None and moved.is_due(row):
        lease = view.lease(row, owner)
    others = (each for each in moved.due if each != row.generation)
    view.leaves_work |= any(moved.is_due(each) for each in moved.due.values())
    return StartReceipt(
        decision=decision,
        record=record,
        lease=lease,
        replaced=replaced,
        mail=(*moved.mail, *others),
    )


def start_child(request: StartRequest, moved: Moved) -> None:
    """Start a sub-orchestration; when it is refused, its parent learns of it."""
    try:
        _, _, replaced = _start(request, moved)
    except InstanceExists as refusal:
        if request.parent is not None:
            refused = refused_child(refusal, request.parent.task_id, request.at)
            reply(Reply(request.parent, refused), moved)
        return
    if replaced is not None:
        moved.replaced.append(replaced)


def _start(request: StartRequest, moved: Moved) -> tuple[StartDecision, Row, int | None]:
    view = moved.view
    existing = view.find(request.instance_id)
    decision = _decide(view, request, existing)
    if existing is not None:
        if decision is StartDecision.RETURN:
            return decision, existing, None
        if decision is StartDecision.CONFLICT:
            raise InstanceExists(
                existing.instance_id,
                existing.status.value,
                from_micros(existing.created_at).isoformat(),
            )
        _replace(existing, request.at, moved)
        reach("start.replacing")
    row = _insert(request, moved)
    return decision, row, None if existing is None else existing.generation


def _decide(view: View, request: StartRequest, existing: Row | None) -> StartDecision:
    if existing is None:
        return decide_start(request.policy, existing=None, same_function=False)
    status = existing.status
    if not status.is_terminal and view.awaits_termination(existing):
        status = RuntimeStatus.TERMINATED
    return decide_start(
        request.policy,
        existing=status,
        same_function=existing.name == request.name,
        replaceable=request.replaceable,
    )


def _replace(existing: Row, at: datetime, moved: Moved) -> None:
    """Remove an instance; a live one's children end, and whoever waits for it learns of it."""
    view, is_live = moved.view, not existing.status.is_terminal
    children = view.children_of(existing) if is_live else []
    view.remove(existing)
    moved.forget(existing)
    if not is_live:
        return
    if existing.parent is not None:
        reply(replaced_child(existing.parent, at), moved)
    for child in children:
        if not child.status.is_terminal:
            put(child, parent_replaced(at), moved)


def _insert(request: StartRequest, moved: Moved) -> Row:
    view = moved.view
    row = new_row(request, view.draw_generation(), begins_at(request.extras, view.now))
    view.insert(row)
    moved.touch(row)
    return row


def new_row(request: StartRequest, generation: int, due_at: int) -> Row:
    """Return an instance that nobody holds."""
    at = to_micros(request.at)
    return Row(
        generation,
        request.instance_id,
        request.name,
        request.version,
        at,
        request.execution_id,
        RuntimeStatus.PENDING,
        request.parent,
        due_at=due_at,
        updated_at=at,
        input=request.input,
        extras=extras_text(request.extras),
        is_new=True,
    )


def purge(view: View, instance_id: str, generation: int | None) -> RuntimeStatus | None:
    """Remove a finished instance, or an entity; return the status it had. Who waits for the
    entity is told.

    Raises:
        InstanceUnfinished: it has not ended.
    """
    row = view.find(instance_id)
    if row is None or generation not in (None, row.generation):
        return None
    if not (row.status.is_terminal or is_entity_id(instance_id)):
        raise InstanceUnfinished(instance_id, row.status.value)
    waiting = view.messages(row) if is_entity_id(instance_id) else ()
    replies = purged_entity(waiting, from_micros(view.now))
    view.need("generations", [each.to.generation for each in replies])
    view.remove(row)
    moved = Moved(view, None)
    for message in replies:
        reply(message, moved)
    for told in moved.settle().mail:
        holder = view.get(told)
        if holder is not None:
            view.announce(holder)
    return row.status
