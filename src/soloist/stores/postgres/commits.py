"""Commits: one step of an instance, and what it sends to others.

Most steps touch their own instance alone. Those are *plain*: however many they are, one statement
carries them out, with the fence inside it. The others need to see rows first.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from soloist.core.events import CODEC_VERSION, EventRaised, encode_events
from soloist.core.instances import CommitReceipt
from soloist.core.messages import (
    Outgoing,
    PassEvent,
    Reply,
    SendRequest,
    StartChild,
    TerminateChild,
    outlives_execution,
)
from soloist.core.outcomes import NextExecution, Outcome
from soloist.core.status import RuntimeStatus
from soloist.failpoints import reach
from soloist.stores.postgres import inboxes
from soloist.stores.postgres.arrays import Bigints, Bools, Texts
from soloist.stores.postgres.batch import Answer, Batch
from soloist.stores.postgres.moved import Moved
from soloist.stores.postgres.payloads import to_column
from soloist.stores.postgres.starts import start_child
from soloist.stores.postgres.view import Row, View
from soloist.stores.postgres.wanted import Wanted
from soloist.stores.rows import failure_text, micros_or_none
from soloist.stores.times import to_micros

# The fence: what is not owned, or not as the step believes, is left alone, and nothing else of the
# step is done either. Run it when the rows are locked, so that it sees every message.
_STEPS = (
    "WITH given AS MATERIALIZED (SELECT * FROM unnest(%s, %s, %s,"
    " %s, %s, %s, %s, %s, %s,"
    " %s, %s, %s, %s) AS g (generation, execution_id, epoch,"
    " sequence, length, status, is_over, due_at, at, custom_status, output, failure, events)),"
    " stepped AS (UPDATE soloist.executions AS e SET status = g.status, due_at = g.due_at,"
    " updated_at = g.at, history_length = g.length, custom_status = g.custom_status,"
    " output = g.output, failure = g.failure, mail = e.mail AND NOT g.is_over,"
    " owner = CASE WHEN g.is_over THEN NULL ELSE e.owner END FROM given AS g"
    " WHERE e.generation = g.generation AND e.execution_id = g.execution_id"
    " AND e.epoch = g.epoch AND e.history_length = g.sequence AND e.owner IS NOT NULL"
    " RETURNING e.generation, g.sequence, g.is_over, g.events),"
    " recorded AS (INSERT INTO soloist.history (generation, sequence, codec, events)"
    f" SELECT s.generation, s.sequence, {CODEC_VERSION}, s.events FROM stepped AS s"
    " WHERE s.events <> ''),"
    " emptied AS (DELETE FROM soloist.inbox AS m USING stepped AS s"
    " WHERE s.is_over AND m.generation = s.generation),"
    " used AS (DELETE FROM soloist.inbox AS m"
    " USING unnest(%s, %s) AS u (generation, message_id)"
    " WHERE m.generation = u.generation AND m.message_id = u.message_id AND u.generation"
    " = ANY(ARRAY(SELECT s.generation FROM stepped AS s WHERE NOT s.is_over)))"
    " SELECT generation FROM stepped"
)

NOTHING_MOVED = CommitReceipt()


class EncodedOutcome(msgspec.Struct, frozen=True, gc=False):
    """An outcome with its events as text. ``is_plain`` says that it touches its own instance
    alone."""

    outcome: Outcome
    events: str
    at: int
    due_at: int | None
    is_plain: bool
    payload_bytes: int


def encode(outcome: Outcome) -> EncodedOutcome:
    """Encode what a commit will store; what cannot be stored fails here, before the queue.

    Raises:
        InvalidRequest: a message goes to an entity whose id none can have.
    """
    has_history = outcome.next_execution is None and outcome.events
    for message in outcome.outgoing:
        if isinstance(message, SendRequest):
            inboxes.entity_name(message.entity_id)
    is_over = outcome.status.is_terminal
    events = encode_events(outcome.events) if has_history else ""
    return EncodedOutcome(
        outcome,
        events,
        to_micros(outcome.at),
        None if is_over else micros_or_none(outcome.due_at),
        is_plain=not (
            outcome.outgoing
            or outcome.next_execution is not None
            or outcome.vanishes
            or (outcome.releases and not is_over)
        ),
        payload_bytes=len(events)
        + len(outcome.output or "")
        + len(outcome.custom_status or "")
        + sum(map(_payload_bytes, outcome.outgoing)),
    )


def _payload_bytes(message: Outgoing) -> int:
    match message:
        case StartChild():
            return len(message.request.input or "")
        case SendRequest():
            return len(getattr(message.event, "input", None) or "")
        case Reply():
            return len(getattr(message.event, "result", None) or "")
    return 0


def step_all(batch: Batch, steps: Sequence[EncodedOutcome]) -> Answer:
    """Add the plain steps; the answer names the generations that stepped."""
    outcomes = [step.outcome for step in steps]
    used = [(each.generation, number) for each in outcomes for number in each.consumed]
    return batch.add(
        _STEPS,
        (
            Bigints([each.generation for each in outcomes]),
            Texts([each.execution_id for each in outcomes]),
            Bigints([each.epoch for each in outcomes]),
            Bigints([each.history_length for each in outcomes]),
            Bigints([each.history_length + len(each.events) for each in outcomes]),
            Texts([each.status.value for each in outcomes]),
            Bools([each.status.is_terminal for each in outcomes]),
            Bigints([step.due_at for step in steps]),
            Bigints([step.at for step in steps]),
            Texts([to_column(each.custom_status) for each in outcomes]),
            Texts([to_column(each.output) for each in outcomes]),
            Texts([failure_text(each.failure) for each in outcomes]),
            Texts([step.events for step in steps]),
            Bigints([generation for generation, _ in used]),
            Bigints([message_id for _, message_id in used]),
        ),
    )


def want(step: EncodedOutcome, host_id: int | None, wanted: Wanted) -> None:
    """Name the rows that a step needs to see."""
    outcome = step.outcome
    wanted.host(host_id)
    wanted.generations.add(outcome.generation)
    if outcome.vanishes or outcome.releases or outcome.next_execution is not None:
        wanted.inboxes.add(outcome.generation)
    for message in outcome.outgoing:
        match message:
            case StartChild():
                wanted.ids.add(message.request.instance_id)
                wanted.starts.add(message.request.instance_id)
                wanted.generations_drawn += 1
            case Reply():
                wanted.generations.add(message.to.generation)
            case SendRequest():
                wanted.ids.add(message.entity_id)
                wanted.generations_drawn += 1
            case TerminateChild() | PassEvent():
                wanted.ids.add(message.instance_id)


def commit(view: View, step: EncodedOutcome, host_id: int | None) -> CommitReceipt | None:
    """Commit one step and what it sends; ``None`` when it was stale."""
    outcome = step.outcome
    row = view.get(outcome.generation)
    if row is None or not _is_current(row, outcome):
        return None
    view.use(row, outcome.consumed)
    if outcome.next_execution is not None:
        _continue_as_new(view, row, step, outcome.next_execution)
    else:
        _record_step(view, row, step)
    if not outcome.outgoing:
        return NOTHING_MOVED
    moved = Moved(view, host_id)
    for message in outcome.outgoing:
        reach("commit.sending")
        send(message, moved)
    return moved.settle()


def send(message: Outgoing, moved: Moved) -> None:
    """Carry out one message to another instance."""
    match message:
        case StartChild():
            start_child(message.request, moved)
        case Reply():
            inboxes.reply(message, moved)
        case SendRequest():
            inboxes.request(message, moved)
        case TerminateChild():
            inboxes.terminate(message, moved)
        case PassEvent():
            inboxes.pass_event(message, moved)


def _is_current(row: Row, outcome: Outcome) -> bool:
    """The fence, under the row's lock."""
    return (
        row.owner is not None
        and row.epoch == outcome.epoch
        and row.execution_id == outcome.execution_id
        and row.history_length == outcome.history_length
    )


def _record_step(view: View, row: Row, step: EncodedOutcome) -> None:
    outcome = step.outcome
    row.steps = True
    row.status = outcome.status
    row.due_at = step.due_at
    row.updated_at = step.at
    row.custom_status = outcome.custom_status
    row.output = outcome.output
    row.failure = failure_text(outcome.failure)
    if step.events:
        row.appended.append((row.history_length, step.events))
        row.history_length += len(outcome.events)
    if outcome.vanishes and not view.messages(row):
        view.remove(row)
    elif outcome.status.is_terminal:
        view.use_all(row)
        row.owner = None
        row.mail = False
    elif outcome.releases:
        view.release(row)


def _continue_as_new(view: View, row: Row, step: EncodedOutcome, following: NextExecution) -> None:
    outcome = step.outcome
    row.steps = True
    row.execution_id = following.execution_id
    row.status = RuntimeStatus.RUNNING
    row.due_at = view.now
    row.updated_at = step.at
    row.custom_status = outcome.custom_status
    row.output = row.failure = None
    row.input = following.input
    row.version = row.version if following.version is None else following.version
    row.has_new_input = True
    row.history_length = 0
    row.appended.clear()
    row.cut_from = 0
    waiting = view.messages(row)
    kept = [each for each in waiting if outlives_execution(each.event)]
    if following.carried:
        # Carried events come first: what waited already is numbered anew behind them.
        view.use_all(row)
        for each in following.carried:
            view.put(row, EventRaised(outcome.at, each.name, each.input))
        for message in kept:
            view.put(row, message.event)
    else:
        answers = [each for each in waiting if not outlives_execution(each.event)]
        view.use(row, tuple(each.message_id for each in answers))
    if outcome.releases:
        view.release(row)
