"""Outcomes: all that one step of an instance commits, whole or not at all."""

from __future__ import annotations

from datetime import datetime

import msgspec

from soloist.core.actions import CarriedEvent
from soloist.core.events import HistoryEvent
from soloist.core.failures import FailureDetails
from soloist.core.instances import InstanceRecord
from soloist.core.messages import Outgoing
from soloist.core.status import RuntimeStatus


class NextExecution(msgspec.Struct, frozen=True):
    """What continue-as-new puts in the place of the execution that ends.

    ``carried`` enters the instance's inbox ahead of all that waits there or arrives later. Where
    something is carried, messages that wait are numbered anew behind it, and answers for the
    execution that ends are removed: whoever holds the instance must read its inbox again from the
    start. ``version`` is the instance's from now on, ``None`` when it stays as it is.
    """

    execution_id: str
    input: str | None
    carried: tuple[CarriedEvent, ...] = ()
    version: str | None = None


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """One commit of one instance.

    It counts only if the instance still has ``generation``, ``execution_id``, ``epoch`` and a
    history of exactly ``history_length`` events; else nothing of it is done.

    ``events`` are appended. ``consumed`` are inbox messages that are now in the history, or were
    refused for good. ``due_at`` is when somebody must look at the instance should no host hold
    it, ``None`` when only a message can move it. ``releases`` gives the lease back. A terminal
    ``status`` always does, and empties the inbox. With ``next_execution`` the history starts
    anew and ``events`` are dropped. ``outgoing`` is carried out in order. ``vanishes`` is for
    entities: with nothing left in the inbox the row is removed, otherwise it stays as it is said
    here.
    """

    generation: int
    execution_id: str
    epoch: int
    history_length: int
    at: datetime
    events: tuple[HistoryEvent, ...]
    consumed: tuple[int, ...]
    status: RuntimeStatus
    custom_status: str | None
    output: str | None
    failure: FailureDetails | None
    due_at: datetime | None
    releases: bool = False
    next_execution: NextExecution | None = None
    outgoing: tuple[Outgoing, ...] = ()
    vanishes: bool = False


def record_after(record: InstanceRecord, outcome: Outcome) -> InstanceRecord:
    """Return what a store holds of an instance once an outcome of it is committed."""
    following = outcome.next_execution
    if following is None:
        return msgspec.structs.replace(
            record,
            status=outcome.status,
            custom_status=outcome.custom_status,
            output=outcome.output,
            failure=outcome.failure,
            updated_at=outcome.at,
            history_length=outcome.history_length + len(outcome.events),
        )
    return msgspec.structs.replace(
        record,
        execution_id=following.execution_id,
        status=RuntimeStatus.RUNNING,
        input=following.input,
        version=record.version if following.version is None else following.version,
        custom_status=outcome.custom_status,
        output=None,
        failure=None,
        updated_at=outcome.at,
        history_length=0,
    )
