"""Actions: what an orchestrator asked for in the protocol's words, as core actions."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from durabletask.internal import orchestrator_service_pb2 as pb

from soloist.core.actions import (
    Action,
    CallEntity,
    CarriedEvent,
    CompleteExecution,
    ContinueAsNew,
    CreateTimer,
    LockEntities,
    ScheduleSubOrchestration,
    ScheduleTask,
    SendEvent,
    SignalEntity,
    UnlockEntity,
)
from soloist.core.failures import FailureDetails
from soloist.errors import InvalidRequest
from soloist.rpc.protobuf import extras_of, failure_of, moment, moment_in, text_in


def core_actions(messages: Iterable[pb.OrchestratorAction]) -> tuple[Action, ...]:
    """Return the actions of a turn; whatever the order of the messages, the end comes last.

    Raises:
        InvalidRequest: one of them is none that Soloist knows.
    """
    actions = [_action(message) for message in messages]
    ends = [each for each in actions if isinstance(each, CompleteExecution | ContinueAsNew)]
    others = [each for each in actions if not isinstance(each, CompleteExecution | ContinueAsNew)]
    return (*others, *ends[:1])


def _action(message: pb.OrchestratorAction) -> Action:
    kind = message.WhichOneof("orchestratorActionType")
    read = _READERS.get(kind or "")
    if read is None:
        raise InvalidRequest(
            f"The orchestrator asked for {kind or 'an action of no kind'}, which Soloist does not"
            " carry out."
        )
    return read(message)


def _schedule_task(message: pb.OrchestratorAction) -> Action:
    task = message.scheduleTask
    extras = extras_of(task, version=text_in(task, "version"))
    return ScheduleTask(message.id, task.name, text_in(task, "input"), extras)


def _create_child(message: pb.OrchestratorAction) -> Action:
    child = message.createSubOrchestration
    return ScheduleSubOrchestration(
        message.id,
        child.name,
        text_in(child, "input"),
        child.instanceId or None,
        text_in(child, "version"),
        extras_of(child),
    )


def _create_timer(message: pb.OrchestratorAction) -> Action:
    return CreateTimer(message.id, moment(message.createTimer.fireAt))


def _send_event(message: pb.OrchestratorAction) -> Action:
    sent = message.sendEvent
    return SendEvent(message.id, sent.instance.instanceId, sent.name, text_in(sent, "data"))


def _send_entity_message(message: pb.OrchestratorAction) -> Action:
    sent = message.sendEntityMessage
    match sent.WhichOneof("EntityMessageType"):
        case "entityOperationCalled":
            call = sent.entityOperationCalled
            return CallEntity(
                message.id,
                call.targetInstanceId.value,
                call.operation,
                text_in(call, "input"),
                call.requestId,
            )
        case "entityOperationSignaled":
            signal = sent.entityOperationSignaled
            return SignalEntity(
                message.id,
                signal.targetInstanceId.value,
                signal.operation,
                text_in(signal, "input"),
                moment_in(signal, "scheduledTime"),
                signal.requestId,
            )
        case "entityLockRequested":
            lock = sent.entityLockRequested
            return LockEntities(message.id, lock.criticalSectionId, tuple(lock.lockSet))
        case "entityUnlockSent":
            unlock = sent.entityUnlockSent
            return UnlockEntity(message.id, unlock.criticalSectionId, unlock.targetInstanceId.value)
    raise InvalidRequest("The orchestrator sent an entity a message of no kind.")


def _complete(message: pb.OrchestratorAction) -> Action:
    complete = message.completeOrchestration
    status = complete.orchestrationStatus
    result = text_in(complete, "result")
    if status == pb.ORCHESTRATION_STATUS_CONTINUED_AS_NEW:
        carried = tuple(
            CarriedEvent(each.eventRaised.name, text_in(each.eventRaised, "input"))
            for each in complete.carryoverEvents
            if each.HasField("eventRaised")
        )
        version = text_in(complete, "newVersion")
        return ContinueAsNew(result, carried, version, abandons_open_work=True)
    if status == pb.ORCHESTRATION_STATUS_COMPLETED:
        return CompleteExecution(result, abandons_open_work=True)
    if complete.HasField("failureDetails"):
        failure = failure_of(complete.failureDetails)
    else:
        name = pb.OrchestrationStatus.Name(status)
        failure = FailureDetails(text_in(complete, "details") or result or f"It ended as {name}.")
    return CompleteExecution(failure=failure, abandons_open_work=True)


_READERS: dict[str, Callable[[Any], Action]] = {
    "scheduleTask": _schedule_task,
    "createSubOrchestration": _create_child,
    "createTimer": _create_timer,
    "sendEvent": _send_event,
    "sendEntityMessage": _send_entity_message,
    "completeOrchestration": _complete,
}
