"""Commits in SQL: one step of an instance, and what it sends to others."""

from __future__ import annotations

import sqlite3

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
from soloist.stores.rows import due_at_of, failure_text, micros_or_none
from soloist.stores.sqlite import inboxes
from soloist.stores.sqlite.leases import release
from soloist.stores.sqlite.moved import Moved
from soloist.stores.sqlite.reads import messages_after
from soloist.stores.sqlite.starts import delete, start_child
from soloist.stores.times import to_micros

_INSERT_HISTORY = "INSERT INTO history (generation, sequence, codec, events) VALUES (?, ?, ?, ?)"
_DELETE_MESSAGE = "DELETE FROM inbox WHERE message_id = ? AND generation = ?"
_DELETE_INBOX = "DELETE FROM inbox WHERE generation = ?"
_DELETE_HISTORY = "DELETE FROM history WHERE generation = ?"
_HAS_MESSAGES = "SELECT 1 FROM inbox WHERE generation = ? LIMIT 1"

# The fence: one row or none. What is not owned is nobody's to commit to.
_FENCE = (
    " WHERE generation = ? AND execution_id = ? AND epoch = ? AND history_length = ?"
    " AND owner IS NOT NULL"
)
_STEP = (
    "UPDATE executions SET status = ?, due_at = ?, updated_at = ?, history_length = ?,"
    f" custom_status = ?, output = ?, failure = ?{_FENCE}"
)
_FINISH = (
    "UPDATE executions SET status = ?, due_at = ?, updated_at = ?, history_length = ?,"
    f" custom_status = ?, output = ?, failure = ?, owner = NULL{_FENCE}"
)
_CONTINUE = (
    "UPDATE executions SET execution_id = ?, status = ?, due_at = ?, updated_at = ?,"
    f" history_length = 0, custom_status = ?, output = NULL, failure = NULL{_FENCE}"
)
_NEXT_INPUT = "UPDATE instances SET input = ?, version = coalesce(?, version) WHERE generation = ?"

_NOTHING_MOVED = CommitReceipt()


class EncodedOutcome(msgspec.Struct, frozen=True, gc=False):
    """An outcome with its events as text, so that the writer need not encode."""

    outcome: Outcome
    events: str
    at: int
    due_at: int | None


def encode(outcome: Outcome) -> EncodedOutcome:
    """Encode what a commit will store; what cannot be stored fails here, before the queue.

    Raises:
        InvalidRequest: a message goes to an entity whose id none can have.
    """
    has_history = outcome.next_execution is None and outcome.events
    for message in outcome.outgoing:
        if isinstance(message, SendRequest):
            inboxes.entity_name(message.entity_id)
    return EncodedOutcome(
        outcome,
        encode_events(outcome.events) if has_history else "",
        to_micros(outcome.at),
        micros_or_none(outcome.due_at),
    )


def commit(
    connection: sqlite3.Connection,
    hub_id: int,
    now: int,
    step: EncodedOutcome,
    host_id: int | None,
) -> CommitReceipt | None:
    """Commit one step and what it sends; ``None`` when it was stale."""
    outcome = step.outcome
    if outcome.next_execution is not None:
        is_current = _continue_as_new(connection, now, step, outcome.next_execution)
    else:
        is_current = _record_step(connection, now, step)
    if not is_current:
        return None
    if not outcome.outgoing:
        return _NOTHING_MOVED
    moved = Moved(connection, hub_id, now, host_id)
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


def _record_step(connection: sqlite3.Connection, now: int, step: EncodedOutcome) -> bool:
    outcome = step.outcome
    is_over = outcome.status.is_terminal
    changed = connection.execute(
        _FINISH if is_over else _STEP,
        (
            outcome.status.value,
            None if is_over else step.due_at,
            step.at,
            outcome.history_length + len(outcome.events),
            outcome.custom_status,
            outcome.output,
            failure_text(outcome.failure),
            outcome.generation,
            outcome.execution_id,
            outcome.epoch,
            outcome.history_length,
        ),
    ).rowcount
    if not changed:
        return False
    if step.events:
        connection.execute(
            _INSERT_HISTORY,
            (outcome.generation, outcome.history_length, CODEC_VERSION, step.events),
        )
    _settle_inbox(connection, now, outcome)
    return True


def _settle_inbox(connection: sqlite3.Connection, now: int, outcome: Outcome) -> None:
    """Use messages up; what is left decides whether an entity vanishes and when one is due."""
    is_over = outcome.status.is_terminal
    if outcome.vanishes or not is_over:
        _consume(connection, outcome)
    if outcome.vanishes and not connection.execute(_HAS_MESSAGES, (outcome.generation,)).fetchone():
        delete(connection, outcome.generation)
    elif is_over:
        connection.execute(_DELETE_INBOX, (outcome.generation,))
    elif outcome.releases:
        release(connection, now, outcome.generation, outcome.epoch)


def _continue_as_new(
    connection: sqlite3.Connection, now: int, step: EncodedOutcome, following: NextExecution
) -> bool:
    outcome = step.outcome
    generation = outcome.generation
    changed = connection.execute(
        _CONTINUE,
        (
            following.execution_id,
            RuntimeStatus.RUNNING.value,
            now,
            step.at,
            outcome.custom_status,
            generation,
            outcome.execution_id,
            outcome.epoch,
            outcome.history_length,
        ),
    ).rowcount
    if not changed:
        return False
    connection.execute(_DELETE_HISTORY, (generation,))
    connection.execute(_NEXT_INPUT, (following.input, following.version, generation))
    _consume(connection, outcome)
    _drop_answers(connection, generation)
    if following.carried:
        _carry_over(connection, outcome, following)
    if outcome.releases:
        release(connection, now, generation, outcome.epoch)
    return True


def _drop_answers(connection: sqlite3.Connection, generation: int) -> None:
    """Remove what waits for the execution that ends: the next one must not take it for its own."""
    for message in messages_after(connection, generation, 0):
        if not outlives_execution(message.event):
            connection.execute(_DELETE_MESSAGE, (message.message_id, generation))


def _carry_over(connection: sqlite3.Connection, outcome: Outcome, following: NextExecution) -> None:
    """Carried events come first: what waited already is numbered anew behind them."""
    generation = outcome.generation
    waiting = messages_after(connection, generation, 0)
    connection.execute(_DELETE_INBOX, (generation,))
    for each in following.carried:
        event = EventRaised(outcome.at, each.name, each.input)
        inboxes.insert_message(connection, generation, event, None)
    for message in waiting:
        due_at = due_at_of(message.event)
        inboxes.insert_message(connection, generation, message.event, due_at)


def _consume(connection: sqlite3.Connection, outcome: Outcome) -> None:
    for message_id in outcome.consumed:
        connection.execute(_DELETE_MESSAGE, (message_id, outcome.generation))
