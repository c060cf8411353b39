"""Entities: one entity while this host works on it.

Operations wait in the entity's inbox in the order of their arrival. Those that are due are taken
together as one batch: the worker runs them one after another, and one commit makes the new state
durable, uses the messages up and sends the answers. A crash before that commit runs the batch
again; after it, never.
"""

from __future__ import annotations

from collections import deque
from datetime import datetime
from heapq import heappop, heappush

from soloist.contracts.executor import (
    EntityBatch,
    EntityOperation,
    EntityResult,
    OperationResult,
)
from soloist.core.events import (
    Completion,
    EntityOperationCompleted,
    EntityOperationFailed,
    EntityRequested,
    TaskAddress,
)
from soloist.core.failures import FailureDetails
from soloist.core.ids import parse_entity_id
from soloist.core.instances import InboxMessage, Lease
from soloist.core.messages import Reply
from soloist.core.outcomes import Outcome
from soloist.core.payloads import exceeds
from soloist.core.status import RuntimeStatus
from soloist.engine.held import Held, HeldEnd, Tools
from soloist.errors import AppError, WorkerAbsent, WorkerLost
from soloist.telemetry import logger

_log = logger(__name__)

Request = tuple[int, EntityRequested]
"""An operation with the number of its message."""


class EntitySession(Held):
    """One leased entity at work."""

    def __init__(self, lease: Lease, tools: Tools) -> None:
        super().__init__(lease, tools)
        self._id = parse_entity_id(self.instance_id)
        self._state = lease.record.output
        self._ready: deque[Request] = deque()
        self._later: list[tuple[datetime, int, EntityRequested]] = []

    async def _work(self) -> HeldEnd:
        while True:
            batch = await self._next_batch()
            if self.is_closed:
                return HeldEnd.STALE
            if not batch:
                return await self._give_back()
            result = await self._run(batch)
            if not await self._commit(batch, result):
                return HeldEnd.STALE
            if self._state is None:
                # The row is gone, unless a message came just before: then it is due.
                return await self._give_back()

    async def _next_batch(self) -> list[Request]:
        """Wait for operations that are due; none when the entity is to be given back."""
        while not self.is_closed and not self._must_release:
            self._awake.clear()
            await self._mailbox.read()
            self._sort_mail()
            batch = self._take_due()
            if batch:
                return batch
            self._wake_at(self._next_due_at())
            self._tools.on_rest(self)
            await self._awake.wait()
            self._tools.on_wake(self)
        return []

    def _sort_mail(self) -> None:
        """Put what came into the line, or aside until it is due."""
        inbox = self._mailbox.messages
        while inbox:
            message: InboxMessage = inbox.popleft()
            event = message.event
            assert isinstance(event, EntityRequested), "an entity's inbox holds nothing else"
            if event.due_at is None:
                self._ready.append((message.message_id, event))
            else:
                heappush(self._later, (event.due_at, message.message_id, event))

    def _take_due(self) -> list[Request]:
        now = self._tools.clock.now()
        while self._later and self._later[0][0] <= now:
            _, message_id, event = heappop(self._later)
            self._ready.append((message_id, event))
        room = min(len(self._ready), self._tools.settings.max_entity_batch)
        return [self._ready.popleft() for _ in range(room)]

    async def _run(self, batch: list[Request]) -> EntityResult:
        """Run a batch in a worker, again and again while workers die under it."""
        losses = 0
        call = EntityBatch(
            name=self._id.name,
            key=self._id.key,
            state=self._state,
            operations=tuple(
                EntityOperation(event.operation, event.input, event.caller is None)
                for _, event in batch
            ),
        )
        while True:
            try:
                async with self._tools.batches:
                    result = await self._tools.executor.run_entity(call)
            except WorkerLost as error:
                losses += not isinstance(error, WorkerAbsent)
                if self.is_closed:
                    raise
                if losses >= self._tools.settings.max_worker_losses:
                    text = f"The worker process was lost {losses} times while it ran. {error}"
                    return self._all_failed(batch, text)
            except AppError as error:
                return self._all_failed(batch, str(error))
            else:
                return self._bounded(batch, result)

    def _bounded(self, batch: list[Request], result: EntityResult) -> EntityResult:
        limit = self._tools.settings.limits.max_payload_bytes
        if result.state is not None and exceeds(result.state, limit):
            text = (
                f"The state of entity '{self.instance_id}' would exceed the limit of {limit} bytes"
                " (setting max_payload_bytes); it stays as it was."
            )
            return self._all_failed(batch, text)
        return result

    def _all_failed(self, batch: list[Request], text: str) -> EntityResult:
        failed = OperationResult(failure=FailureDetails(text))
        return EntityResult(results=(failed,) * len(batch), state=self._state)

    async def _commit(self, batch: list[Request], result: EntityResult) -> bool:
        now = self._tools.clock.now()
        replies = []
        for (_, event), each in zip(batch, result.results, strict=True):
            if event.caller is not None:
                replies.append(Reply(event.caller, self._answer(event.caller, each)))
            elif each.failure is not None:
                self._tell_of_failure(event, each.failure)
        receipt = await self._tools.store.commit(
            Outcome(
                generation=self.generation,
                execution_id="",
                epoch=self.epoch,
                history_length=0,
                at=now,
                events=(),
                consumed=tuple(message_id for message_id, _ in batch),
                status=RuntimeStatus.RUNNING,
                custom_status=None,
                output=result.state,
                failure=None,
                due_at=self._next_due_at(),
                outgoing=tuple(replies),
                vanishes=result.state is None,
            ),
            self._tools.claim(),
        )
        if receipt is None:
            _log.info("stale commit refused", instance_id=self.instance_id)
            return False
        self._state = result.state
        self._tools.on_commit(receipt)
        return True

    def _answer(self, caller: TaskAddress, result: OperationResult) -> Completion:
        now = self._tools.clock.now()
        if result.failure is not None:
            return EntityOperationFailed(now, caller.task_id, result.failure)
        return EntityOperationCompleted(now, caller.task_id, result.result)

    def _tell_of_failure(self, event: EntityRequested, failure: FailureDetails) -> None:
        """Nobody waits for a signal's result, so the log must tell of its failure."""
        _log.error(
            "a signalled operation failed",
            entity_id=self.instance_id,
            operation=event.operation,
            reason=failure.message,
            exception=failure.stack_trace or None,
        )

    def _next_due_at(self) -> datetime | None:
        """Return when the next operation that this session knows of is due."""
        if self._ready:
            return self._tools.clock.now()
        return self._later[0][0] if self._later else None
