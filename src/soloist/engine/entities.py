"""Entities: one entity while this host works on it.

Operations wait in the entity's inbox in the order of their arrival. Those that are due are taken
together as one batch: the worker runs them one after another, and one commit makes the new state
durable, uses the messages up and sends the answers. A crash before that commit runs the batch
again; after it, never.

A critical section (``lock_entities``) has an entity for itself from the moment that its request has
come to the head of the line until it is given free: meanwhile only its own calls are run, whatever
stands before them. Who holds the entity is kept where other instances keep their custom status.
"""

from __future__ import annotations

from collections import deque
from datetime import datetime
from heapq import heappop, heappush
from uuid import uuid4

from soloist.contracts.executor import (
    EntityBatch,
    EntityOperation,
    EntityResult,
    EntitySignal,
    OperationResult,
)
from soloist.core.entity_locks import EntityLock, lock_in, lock_text, pass_on
from soloist.core.events import (
    Completion,
    EntityOperationCompleted,
    EntityOperationFailed,
    EntityRequested,
    LockMail,
    LockReleased,
    LockRequested,
    TaskAddress,
)
from soloist.core.failures import FailureDetails
from soloist.core.ids import check_entity_id, check_instance_id, parse_entity_id
from soloist.core.instances import InboxMessage, Lease, StartRequest
from soloist.core.messages import Outgoing, Reply, SendRequest, StartChild
from soloist.core.outcomes import Outcome
from soloist.core.payloads import exceeds, limit_text
from soloist.core.status import RuntimeStatus
from soloist.core.work import WorkKind
from soloist.engine.held import Held, HeldEnd, Tools
from soloist.errors import AppError, InvalidRequest, WorkerAbsent, WorkerLost
from soloist.telemetry import logger

_log = logger(__name__)

Request = tuple[int, EntityRequested]
"""An operation with the number of its message."""

Waiting = tuple[int, EntityRequested | LockMail]
"""Whatever stands in line, with the number of its message."""


class EntitySession(Held):
    """One leased entity at work."""

    def __init__(self, lease: Lease, tools: Tools) -> None:
        super().__init__(lease, tools)
        self._id = parse_entity_id(self.instance_id)
        self._state = lease.record.output
        self._lock = lock_in(lease.record.custom_status)
        self._ready: deque[Waiting] = deque()
        self._later: list[tuple[datetime, int, EntityRequested]] = []

    async def _work(self) -> HeldEnd:
        while True:
            batch = await self._next_batch()
            if self.is_closed:
                return HeldEnd.STALE
            if not batch:
                return await self._give_back()
            result = await self._run(batch)
            if result is None or not await self._commit(batch, result):
                return HeldEnd.STALE
            if self._state is None and self._lock is None:
                # The row is gone, unless a message came just before: then it is due.
                return await self._give_back()

    async def _next_batch(self) -> list[Request]:
        """Wait for operations that are due; none when the entity is to be given back."""
        while not self.is_closed and not self._must_release:
            self._awake.clear()
            if self._mailbox.has_mail:
                await self._mailbox.read()
            self._sort_mail()
            if not await self._settle_lock():
                self.abandon()
                break
            is_absent = self._absence(WorkKind.ENTITY, self._id.name, None) is not None
            batch = [] if is_absent else self._take_due()
            if batch:
                return batch
            self._wake_at(None if is_absent else self._next_operation_at())
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
            assert isinstance(event, EntityRequested | LockMail), "an entity's inbox"
            if isinstance(event, EntityRequested) and event.due_at is not None:
                heappush(self._later, (event.due_at, message.message_id, event))
            else:
                self._ready.append((message.message_id, event))

    def _take_due(self) -> list[Request]:
        now = self._tools.clock.now()
        while self._later and self._later[0][0] <= now:
            _, later_id, later = heappop(self._later)
            self._ready.append((later_id, later))
        batch: list[Request] = []
        kept: list[Waiting] = []
        while self._ready and len(batch) < self._tools.settings.max_entity_batch:
            waiting = self._ready.popleft()
            message_id, event = waiting
            if not isinstance(event, EntityRequested):
                kept.append(waiting)
                if self._lock is None:
                    break  # what came after a request for the lock is run after it
            elif self._lock is None or self._lock.admits(event.caller):
                batch.append((message_id, event))
            else:
                kept.append(waiting)
        self._ready.extendleft(reversed(kept))
        return batch

    async def _settle_lock(self) -> bool:
        """Free the entity and give it to the next section as the line says; ``False`` when there
        is nothing left to hold, or the lease turned out to be lost."""
        while True:
            released = [each for each in self._ready if isinstance(each[1], LockReleased)]
            lock, outgoing = self._lock, []
            consumed = [message_id for message_id, _ in released]
            gone = {event.section_id for _, event in released if isinstance(event, LockReleased)}
            if lock is not None and lock.section_id in gone:
                lock = None
            for number, mail in self._ready:
                if isinstance(mail, LockRequested) and mail.section_id in gone:
                    consumed.append(number)
            first = next((each for each in self._ready if each[0] not in consumed), None)
            if lock is None and first is not None and isinstance(first[1], LockRequested):
                lock = EntityLock(first[1].section_id, first[1].caller)
                outgoing.append(pass_on(first[1], self._tools.clock.now()))
                consumed.append(first[0])
            if not consumed:
                return True
            self._lock = lock
            self._ready = deque(each for each in self._ready if each[0] not in consumed)
            if not await self._commit_step(tuple(consumed), self._state, tuple(outgoing)):
                return False
            if self._state is None and lock is None and not self._ready:
                return False  # the row is gone, unless a message came just before: then it is due

    async def _run(self, batch: list[Request]) -> EntityResult | None:
        """Run a batch in a worker, again and again while workers die under it; ``None`` when the
        entity is to be given back and nobody has run it."""
        losses = 0
        call = EntityBatch(
            name=self._id.name,
            key=self._id.key,
            state=self._state,
            operations=tuple(
                EntityOperation(
                    event.operation,
                    event.input,
                    event.caller is None,
                    event.request_id or str(message_id),
                    event.caller,
                )
                for message_id, event in batch
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
                if not await self._can_be_run():
                    return None
            except AppError as error:
                return self._all_failed(batch, str(error))
            else:
                return self._bounded(batch, result)

    async def _can_be_run(self) -> bool:
        """Wait until somebody knows the function; ``False`` when the entity must go before."""
        while True:
            self._awake.clear()
            if self._absence(WorkKind.ENTITY, self._id.name, None) is None:
                return True
            if self.is_closed or self._must_release:
                return False
            self._tools.on_rest(self)
            await self._awake.wait()
            self._tools.on_wake(self)

    def _bounded(self, batch: list[Request], result: EntityResult) -> EntityResult:
        if result.state is not None and self._is_too_large(result.state):
            text = (
                f"The state of entity '{self.instance_id}' would exceed {self._limit_text()};"
                " it stays as it was."
            )
            return self._all_failed(batch, text)
        return result

    def _all_failed(self, batch: list[Request], text: str) -> EntityResult:
        failed = OperationResult(failure=FailureDetails(text))
        return EntityResult(results=(failed,) * len(batch), state=self._state)

    async def _commit(self, batch: list[Request], result: EntityResult) -> bool:
        outgoing: list[Outgoing] = []
        for (_, event), each in zip(batch, result.results, strict=True):
            if event.caller is not None:
                outgoing.append(Reply(event.caller, self._answer(event.caller, each)))
            elif each.failure is not None:
                self._tell_of_failure(event, each.failure)
        outgoing += self._sent(result)
        consumed = tuple(message_id for message_id, _ in batch)
        return await self._commit_step(consumed, result.state, tuple(outgoing))

    async def _commit_step(
        self, consumed: tuple[int, ...], state: str | None, outgoing: tuple[Outgoing, ...]
    ) -> bool:
        receipt = await self._tools.store.commit(
            Outcome(
                generation=self.generation,
                execution_id="",
                epoch=self.epoch,
                history_length=0,
                at=self._tools.clock.now(),
                events=(),
                consumed=consumed,
                status=RuntimeStatus.RUNNING,
                custom_status=lock_text(self._lock),
                output=state,
                failure=None,
                due_at=self._next_due_at(),
                outgoing=outgoing,
                vanishes=state is None and self._lock is None,
            ),
            self._tools.claim(),
        )
        if receipt is None:
            _log.info("stale commit refused", instance_id=self.instance_id)
            return False
        self._state = state
        self._tools.on_commit(receipt)
        return True

    def _sent(self, result: EntityResult) -> list[Outgoing]:
        """Return what operations asked of others; what none can be is told in the log."""
        now = self._tools.clock.now()
        outgoing: list[Outgoing] = []
        for each in result.sent:
            try:
                if each.input is not None and self._is_too_large(each.input):
                    raise InvalidRequest(f"The input exceeds {self._limit_text()}.")
                if isinstance(each, EntitySignal):
                    event = EntityRequested(
                        now,
                        each.operation,
                        each.input,
                        due_at=each.due_at,
                        request_id=each.request_id,
                    )
                    outgoing.append(SendRequest(str(check_entity_id(each.entity_id)), event))
                    continue
                request = StartRequest(
                    instance_id=check_instance_id(each.instance_id or uuid4().hex),
                    execution_id=uuid4().hex,
                    name=each.name,
                    at=now,
                    input=each.input,
                    version=each.version,
                    extras=each.extras,
                )
                outgoing.append(StartChild(request))
            except InvalidRequest as error:
                _log.error(
                    "an entity asked for what cannot be",
                    entity_id=self.instance_id,
                    reason=str(error),
                )
        return outgoing

    def _answer(self, caller: TaskAddress, result: OperationResult) -> Completion:
        now = self._tools.clock.now()
        failure = result.failure
        if result.result is not None and self._is_too_large(result.result):
            failure = FailureDetails(f"Its result exceeds {self._limit_text()}.")
        if failure is not None:
            return EntityOperationFailed(now, caller.task_id, failure)
        return EntityOperationCompleted(now, caller.task_id, result.result)

    def _is_too_large(self, payload: str) -> bool:
        return exceeds(payload, self._tools.settings.limits.max_payload_bytes)

    def _limit_text(self) -> str:
        return limit_text(self._tools.settings.limits.max_payload_bytes)

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
        return self._next_operation_at()

    def _next_operation_at(self) -> datetime | None:
        """Return the time for which the next operation was put off."""
        return self._later[0][0] if self._later else None
