"""Rewinds: failed instances run again, with the failed sub-orchestrations they rest on."""

from __future__ import annotations

from datetime import datetime

from soloist.core.events import (
    HistoryEvent,
    SubOrchestrationInstanceCreated,
    TaskAddress,
    encode_events,
)
from soloist.core.ids import is_entity_id
from soloist.core.instances import CommitReceipt
from soloist.core.messages import Reply, SendRequest, asks_already, call_of, child_of
from soloist.core.rewind import Rewinding, rewound
from soloist.core.status import RuntimeStatus
from soloist.errors import InstanceNotFailed, InstanceNotFound
from soloist.failpoints import reach
from soloist.stores.postgres.commits import send
from soloist.stores.postgres.inboxes import put
from soloist.stores.postgres.moved import Moved
from soloist.stores.postgres.view import Row, View
from soloist.stores.times import to_micros


def rewind(
    view: View, instance_id: str, reason: str | None, at: datetime, host_id: int | None
) -> CommitReceipt:
    """Take back the failure of an instance and of what it rests on.

    Raises:
        InstanceNotFound: no such orchestration.
        InstanceNotFailed: it is not Failed.
    """
    moved = Moved(view, host_id)
    failed = None if is_entity_id(instance_id) else view.find(instance_id)
    if failed is None:
        raise InstanceNotFound(instance_id)
    if failed.status is not RuntimeStatus.FAILED:
        raise InstanceNotFailed(instance_id, failed.status.value)
    _rewind(failed, reason, at, moved)
    return moved.settle()


def _need_children(rewinding: Rewinding, view: View) -> None:
    view.need("ids", [each.instance_id for each in rewinding.children])
    found = (view.find(each.instance_id) for each in rewinding.children)
    failed = [
        row.generation
        for row in found
        if row is not None and row.status is RuntimeStatus.FAILED and not row.is_new
    ]
    view.need("histories", failed)


def _rewind(failed: Row, reason: str | None, at: datetime, moved: Moved) -> None:
    before = moved.view.history(failed)
    rewinding = rewound(before, reason, at)
    _rewrite(failed, rewinding.history)
    failed.status = RuntimeStatus.RUNNING
    failed.output = failed.failure = None
    failed.updated_at = to_micros(at)
    failed.due_at = moved.view.now
    failed.steps = True
    moved.view.changes += 1
    for event in rewinding.mail:
        put(failed, event, moved)
    reach("rewind.revived")

    def task(task_id: int) -> TaskAddress:
        return TaskAddress(failed.instance_id, failed.generation, failed.execution_id, task_id)

    _need_children(rewinding, moved.view)
    for child in rewinding.children:
        _rewind_child(child, task(child.task_id), reason, at, moved)
    for call in rewinding.calls:
        _call_again(call_of(call, at, task(call.task_id)), moved)


def _call_again(message: SendRequest | Reply, moved: Moved) -> None:
    """Send a call of an entity once more, unless it waits there still."""
    if isinstance(message, SendRequest) and message.caller is not None:
        entity = moved.view.find(message.entity_id)
        waiting = () if entity is None else moved.view.messages(entity)
        if asks_already(waiting, message.caller):
            return
    send(message, moved)


def _rewind_child(
    created: SubOrchestrationInstanceCreated,
    parent: TaskAddress,
    reason: str | None,
    at: datetime,
    moved: Moved,
) -> None:
    """Rewind a failed child; one that is gone, or is not ours any more, is started again."""
    child = moved.view.find(created.instance_id)
    if child is not None and child.parent == parent and child.status is RuntimeStatus.FAILED:
        _rewind(child, reason, at, moved)
    else:
        send(child_of(created, at, parent), moved)


def _rewrite(row: Row, kept: tuple[HistoryEvent, ...]) -> None:
    """Put what is kept in the place of the history."""
    row.cut_from = 0
    row.history_length = len(kept)
    if kept:
        row.appended.append((0, encode_events(kept)))
