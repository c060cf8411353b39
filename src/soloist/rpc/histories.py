"""Histories: core events in the protocol's words, for workers that replay and for people who read.

The protocol names an entity's call by a request id of the SDK's own, our history by its task id;
whoever translates a history from its beginning knows both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

from durabletask.internal import orchestrator_service_pb2 as pb

from soloist.core import events as e
from soloist.core.status import RuntimeStatus
from soloist.rpc.protobuf import (
    STATUSES,
    failure_message,
    tags_of,
    text,
    timestamp,
    trace_context,
)

NO_TASK = -1


class HistoryWriter:
    """Translates the history of one execution, event after event.

    ``is_for_replay`` leaves out what means something else to an SDK: it answers a rewind by
    rewriting the history, which Soloist has done by then.
    """

    def __init__(self, instance_id: str, *, is_for_replay: bool) -> None:
        self._instance_id = instance_id
        self._is_for_replay = is_for_replay
        self._requests: dict[int, str] = {}

    def all(self, events: Iterable[e.HistoryEvent]) -> list[pb.HistoryEvent]:
        """Return the messages of all events."""
        written: list[pb.HistoryEvent] = []
        for event in events:
            message = self.message(event)
            if message is None:
                continue
            if not self._is_for_replay and written and message.HasField("orchestratorStarted"):
                written.append(_end_of_turn(written[-1]))
            written.append(message)
        if not self._is_for_replay and written:
            last = written[-1]
            is_end = last.HasField("executionCompleted") or last.HasField("executionTerminated")
            written.insert(len(written) - is_end, _end_of_turn(last))
        return written

    def message(self, event: e.HistoryEvent) -> pb.HistoryEvent | None:
        """Return the message of one event, ``None`` when there is nothing to say."""
        write = _WRITERS[type(event)]
        fields: dict[str, Any] = write(self, event)
        if not fields:
            return None
        is_begun = isinstance(event, _BEGUN)
        return pb.HistoryEvent(
            eventId=event.task_id if is_begun else NO_TASK,  # type: ignore[union-attr]  # has one
            timestamp=timestamp(event.at),
            **fields,
        )

    def _execution_started(self, event: e.ExecutionStarted) -> dict[str, Any]:
        parent = None
        if event.parent_instance_id is not None:
            instance = pb.OrchestrationInstance(instanceId=event.parent_instance_id)
            parent = pb.ParentInstanceInfo(orchestrationInstance=instance)
        start_at = None if event.extras is None else event.extras.start_at
        started = pb.ExecutionStartedEvent(
            name=event.name,
            version=text(event.version),
            input=text(event.input),
            orchestrationInstance=pb.OrchestrationInstance(
                instanceId=self._instance_id, executionId=text(event.execution_id)
            ),
            parentInstance=parent,
            scheduledStartTimestamp=None if start_at is None else timestamp(start_at),
            parentTraceContext=trace_context(event.extras),
            tags=tags_of(event.extras),
        )
        return {"executionStarted": started}

    def _execution_completed(self, event: e.ExecutionCompleted) -> dict[str, Any]:
        return {
            "executionCompleted": _completed(event.status, event.result, event.failure),
        }

    def _execution_terminated(self, event: e.ExecutionTerminated) -> dict[str, Any]:
        ended = pb.ExecutionTerminatedEvent(input=text(event.reason), recurse=event.is_recursive)
        return {"executionTerminated": ended}

    def _rewound(self, event: e.ExecutionRewound) -> dict[str, Any]:
        if self._is_for_replay:
            return {"genericEvent": pb.GenericEvent(data=text(event.reason))}
        return {"executionRewound": pb.ExecutionRewoundEvent(reason=text(event.reason))}

    def _task_scheduled(self, event: e.TaskScheduled) -> dict[str, Any]:
        extras = event.extras
        scheduled = pb.TaskScheduledEvent(
            name=event.name,
            version=text(None if extras is None else extras.version),
            input=text(event.input),
            parentTraceContext=trace_context(extras),
            tags=tags_of(extras),
        )
        return {"taskScheduled": scheduled}

    def _child_created(self, event: e.SubOrchestrationInstanceCreated) -> dict[str, Any]:
        created = pb.SubOrchestrationInstanceCreatedEvent(
            instanceId=event.instance_id,
            name=event.name,
            version=text(event.version),
            input=text(event.input),
            parentTraceContext=trace_context(event.extras),
            tags=tags_of(event.extras),
        )
        return {"subOrchestrationInstanceCreated": created}

    def _timer_cancelled(self, event: e.TimerCancelled) -> dict[str, Any]:
        if self._is_for_replay:
            return {}
        data = text(f"Timer {event.task_id} was cancelled.")
        return {"genericEvent": pb.GenericEvent(data=data)}

    def _called(self, event: e.EntityOperationCalled) -> dict[str, Any]:
        request_id = event.request_id or str(event.task_id)
        self._requests[event.task_id] = request_id
        called = pb.EntityOperationCalledEvent(
            requestId=request_id,
            operation=event.operation,
            input=text(event.input),
            parentInstanceId=text(self._instance_id),
            targetInstanceId=text(event.entity_id),
        )
        return {"entityOperationCalled": called}

    def _signaled(self, event: e.EntityOperationSignaled) -> dict[str, Any]:
        signaled = pb.EntityOperationSignaledEvent(
            requestId=event.request_id or str(event.task_id),
            operation=event.operation,
            scheduledTime=None if event.due_at is None else timestamp(event.due_at),
            input=text(event.input),
            targetInstanceId=text(event.entity_id),
        )
        return {"entityOperationSignaled": signaled}

    def _answered(self, event: e.EntityOperationCompleted) -> dict[str, Any]:
        request_id = self._requests.pop(event.task_id, str(event.task_id))
        answer = pb.EntityOperationCompletedEvent(requestId=request_id, output=text(event.result))
        return {"entityOperationCompleted": answer}

    def _operation_failed(self, event: e.EntityOperationFailed) -> dict[str, Any]:
        failed = pb.EntityOperationFailedEvent(
            requestId=self._requests.pop(event.task_id, str(event.task_id)),
            failureDetails=failure_message(event.failure),
        )
        return {"entityOperationFailed": failed}

    def _lock_requested(self, event: e.EntityLockRequested) -> dict[str, Any]:
        requested = pb.EntityLockRequestedEvent(
            criticalSectionId=event.section_id,
            lockSet=event.lock_set,
            parentInstanceId=text(self._instance_id),
        )
        return {"entityLockRequested": requested}

    def _unlock_sent(self, event: e.EntityUnlockSent) -> dict[str, Any]:
        sent = pb.EntityUnlockSentEvent(
            criticalSectionId=event.section_id,
            parentInstanceId=text(self._instance_id),
            targetInstanceId=text(event.entity_id),
        )
        return {"entityUnlockSent": sent}


def _completed(
    status: RuntimeStatus, result: str | None, failure: Any
) -> pb.ExecutionCompletedEvent:
    return pb.ExecutionCompletedEvent(
        orchestrationStatus=STATUSES[status],
        result=text(result),
        failureDetails=None if failure is None else failure_message(failure),
    )


def _end_of_turn(last: pb.HistoryEvent) -> pb.HistoryEvent:
    return pb.HistoryEvent(
        eventId=NO_TASK,
        timestamp=last.timestamp,
        orchestratorCompleted=pb.OrchestratorCompletedEvent(),
    )


def _at(at: datetime) -> Any:
    return timestamp(at)


_BEGUN = (
    e.TaskScheduled,
    e.TimerCreated,
    e.SubOrchestrationInstanceCreated,
    e.EntityOperationCalled,
    e.EntityOperationSignaled,
    e.EntityLockRequested,
    e.EntityUnlockSent,
    e.EventSent,
)
"""What the orchestrator began: the event's id is the task's."""

_Writer = Callable[[HistoryWriter, Any], dict[str, Any]]
# Any: each writer is filed under the one event type that it takes.
_WRITERS: dict[type, _Writer] = {
    e.OrchestratorStarted: lambda _, __: {"orchestratorStarted": pb.OrchestratorStartedEvent()},
    e.ExecutionStarted: HistoryWriter._execution_started,
    e.ExecutionCompleted: HistoryWriter._execution_completed,
    e.ExecutionTerminated: HistoryWriter._execution_terminated,
    e.ExecutionSuspended: lambda _, event: {
        "executionSuspended": pb.ExecutionSuspendedEvent(input=text(event.reason))
    },
    e.ExecutionResumed: lambda _, event: {
        "executionResumed": pb.ExecutionResumedEvent(input=text(event.reason))
    },
    e.ExecutionRewound: HistoryWriter._rewound,
    e.TaskScheduled: HistoryWriter._task_scheduled,
    e.TaskCompleted: lambda _, event: {
        "taskCompleted": pb.TaskCompletedEvent(
            taskScheduledId=event.task_id, result=text(event.result)
        )
    },
    e.TaskFailed: lambda _, event: {
        "taskFailed": pb.TaskFailedEvent(
            taskScheduledId=event.task_id, failureDetails=failure_message(event.failure)
        )
    },
    e.TimerCreated: lambda _, event: {
        "timerCreated": pb.TimerCreatedEvent(fireAt=_at(event.fire_at))
    },
    e.TimerFired: lambda _, event: {
        "timerFired": pb.TimerFiredEvent(fireAt=_at(event.fire_at), timerId=event.task_id)
    },
    e.TimerCancelled: HistoryWriter._timer_cancelled,
    e.EventRaised: lambda _, event: {
        "eventRaised": pb.EventRaisedEvent(name=event.name, input=text(event.input))
    },
    e.EventSent: lambda _, event: {
        "eventSent": pb.EventSentEvent(
            instanceId=event.instance_id, name=event.name, input=text(event.input)
        )
    },
    e.SubOrchestrationInstanceCreated: HistoryWriter._child_created,
    e.SubOrchestrationInstanceCompleted: lambda _, event: {
        "subOrchestrationInstanceCompleted": pb.SubOrchestrationInstanceCompletedEvent(
            taskScheduledId=event.task_id, result=text(event.result)
        )
    },
    e.SubOrchestrationInstanceFailed: lambda _, event: {
        "subOrchestrationInstanceFailed": pb.SubOrchestrationInstanceFailedEvent(
            taskScheduledId=event.task_id, failureDetails=failure_message(event.failure)
        )
    },
    e.EntityOperationCalled: HistoryWriter._called,
    e.EntityOperationSignaled: HistoryWriter._signaled,
    e.EntityOperationCompleted: HistoryWriter._answered,
    e.EntityOperationFailed: HistoryWriter._operation_failed,
    e.EntityLockRequested: HistoryWriter._lock_requested,
    e.EntityLockGranted: lambda _, event: {
        "entityLockGranted": pb.EntityLockGrantedEvent(criticalSectionId=event.section_id)
    },
    e.EntityUnlockSent: HistoryWriter._unlock_sent,
}
