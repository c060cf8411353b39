"""Entity locks: which critical section has an entity for itself.

A section locks its entities one after another, in an order that is the same for everybody, so that
no two sections wait for each other in a circle. The request travels: each entity that is granted
passes it on to the next, and the last one answers the orchestration.
"""

from __future__ import annotations

from datetime import datetime

import msgspec

from soloist.core.events import EntityLockGranted, LockRequested, TaskAddress
from soloist.core.messages import Reply, SendRequest
from soloist.errors import HistoryCorrupt


class EntityLock(msgspec.Struct, frozen=True):
    """The critical section that holds an entity, and the lock task of its orchestration."""

    section_id: str
    owner: TaskAddress

    def admits(self, caller: TaskAddress | None) -> bool:
        """Whether a call comes from the section; signals never do."""
        return (
            caller is not None
            and caller.generation == self.owner.generation
            and caller.execution_id == self.owner.execution_id
        )


_decoder = msgspec.json.Decoder(EntityLock)


def lock_in(text: str | None) -> EntityLock | None:
    """Return the lock in the JSON text that an entity is kept with.

    Raises:
        HistoryCorrupt: it is none.
    """
    if text is None:
        return None
    try:
        return _decoder.decode(text)
    except msgspec.MsgspecError as error:
        raise HistoryCorrupt(f"The lock of an entity cannot be read: {error}.") from error


def lock_text(lock: EntityLock | None) -> str | None:
    """Return a lock as JSON text."""
    return None if lock is None else msgspec.json.encode(lock).decode()


def pass_on(request: LockRequested, now: datetime) -> SendRequest | Reply:
    """Return what an entity sends once it is granted: the request to the next, or the answer."""
    following = request.position + 1
    if following < len(request.lock_set):
        event = LockRequested(now, request.section_id, request.lock_set, following, request.caller)
        return SendRequest(request.lock_set[following], event)
    granted = EntityLockGranted(now, request.caller.task_id, request.section_id)
    return Reply(request.caller, granted)
