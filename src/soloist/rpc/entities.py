"""Entities: batches of operations for a worker, in the protocol's old form and in its current one,
and what a worker made of them."""

from __future__ import annotations

from datetime import UTC, datetime

from durabletask.internal import orchestrator_service_pb2 as pb

from soloist.contracts.executor import (
    EntityBatch,
    EntityOperation,
    EntityResult,
    EntitySignal,
    EntityStart,
    OperationResult,
)
from soloist.core.failures import FailureDetails
from soloist.core.ids import EntityId
from soloist.rpc.protobuf import extras_of, failure_of, moment_in, text, text_in, timestamp

Sent = EntitySignal | EntityStart


def batch_message(batch: EntityBatch, *, is_current: bool) -> pb.WorkItem:
    """Return a batch as work; the current form says of each operation who waits for it."""
    entity_id = str(EntityId(batch.name, batch.key))
    if is_current:
        return pb.WorkItem(
            entityRequestV2=pb.EntityRequest(
                instanceId=entity_id,
                entityState=text(batch.state),
                operationRequests=[_event(entity_id, each) for each in batch.operations],
            )
        )
    operations = [
        pb.OperationRequest(
            operation=each.name, requestId=each.request_id or "", input=text(each.input)
        )
        for each in batch.operations
    ]
    return pb.WorkItem(
        entityRequest=pb.EntityBatchRequest(
            instanceId=entity_id, entityState=text(batch.state), operations=operations
        )
    )


def _event(entity_id: str, operation: EntityOperation) -> pb.HistoryEvent:
    at = timestamp(datetime.now(UTC))
    if operation.caller is None:
        signal = pb.EntityOperationSignaledEvent(
            requestId=operation.request_id or "",
            operation=operation.name,
            input=text(operation.input),
            targetInstanceId=text(entity_id),
        )
        return pb.HistoryEvent(eventId=-1, timestamp=at, entityOperationSignaled=signal)
    call = pb.EntityOperationCalledEvent(
        requestId=operation.request_id or "",
        operation=operation.name,
        input=text(operation.input),
        parentInstanceId=text(operation.caller.instance_id),
        parentExecutionId=text(operation.caller.execution_id),
        targetInstanceId=text(entity_id),
    )
    return pb.HistoryEvent(eventId=-1, timestamp=at, entityOperationCalled=call)


def result_of(answer: pb.EntityBatchResult, batch: EntityBatch) -> EntityResult:
    """Return what a worker made of a batch; it may have done only the first operations.

    A failure of the batch as a whole is every operation's, and the state stays.
    """
    if answer.HasField("failureDetails"):
        failed = OperationResult(failure=failure_of(answer.failureDetails))
        return EntityResult(results=(failed,) * len(batch.operations), state=batch.state)
    results = tuple(map(_operation_result, answer.results[: len(batch.operations)]))
    sent = tuple(each for each in map(_sent, answer.actions) if each is not None)
    return EntityResult(results=results, state=text_in(answer, "entityState") or None, sent=sent)


def _operation_result(result: pb.OperationResult) -> OperationResult:
    match result.WhichOneof("resultType"):
        case "success":
            return OperationResult(text_in(result.success, "result") or None)
        case "failure":
            return OperationResult(failure=failure_of(result.failure.failureDetails))
    return OperationResult(
        failure=FailureDetails("The worker gave neither a result nor a failure.")
    )


def _sent(action: pb.OperationAction) -> Sent | None:
    match action.WhichOneof("operationActionType"):
        case "sendSignal":
            signal = action.sendSignal
            return EntitySignal(
                entity_id=signal.instanceId,
                operation=signal.name,
                input=text_in(signal, "input"),
                due_at=moment_in(signal, "scheduledTime"),
            )
        case "startNewOrchestration":
            start = action.startNewOrchestration
            return EntityStart(
                name=start.name,
                instance_id=start.instanceId or None,
                input=text_in(start, "input"),
                version=text_in(start, "version"),
                extras=extras_of(start, start_at=moment_in(start, "scheduledTime")),
            )
    return None
