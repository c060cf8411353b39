"""Values in the protocol's words: times, texts that may be absent, failures, statuses, extras."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from durabletask.internal import orchestrator_service_pb2 as pb
from google.protobuf import json_format, struct_pb2
from google.protobuf.timestamp_pb2 import Timestamp
from google.protobuf.wrappers_pb2 import StringValue

from soloist.core.extras import Extras, extras_or_none
from soloist.core.failures import FailureDetails
from soloist.core.status import RuntimeStatus
from soloist.errors import InvalidRequest

STATUSES = {
    RuntimeStatus.PENDING: pb.ORCHESTRATION_STATUS_PENDING,
    RuntimeStatus.RUNNING: pb.ORCHESTRATION_STATUS_RUNNING,
    RuntimeStatus.SUSPENDED: pb.ORCHESTRATION_STATUS_SUSPENDED,
    RuntimeStatus.CONTINUED_AS_NEW: pb.ORCHESTRATION_STATUS_CONTINUED_AS_NEW,
    RuntimeStatus.COMPLETED: pb.ORCHESTRATION_STATUS_COMPLETED,
    RuntimeStatus.FAILED: pb.ORCHESTRATION_STATUS_FAILED,
    RuntimeStatus.TERMINATED: pb.ORCHESTRATION_STATUS_TERMINATED,
    RuntimeStatus.CANCELED: pb.ORCHESTRATION_STATUS_CANCELED,
}
_BY_NUMBER = {int(number): status for status, number in STATUSES.items()}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_MILLION = 1_000_000
_MAX_FAILURE_DEPTH = 20


def timestamp(at: datetime) -> Timestamp:
    """Return an aware time as the protocol's."""
    seconds, micros = divmod((at - _EPOCH) // _MICROSECOND, _MILLION)
    return Timestamp(seconds=seconds, nanos=micros * 1000)


def moment(at: Timestamp) -> datetime:
    """Return the protocol's time as an aware one.

    Raises:
        InvalidRequest: it lies outside the calendar.
    """
    try:
        return _EPOCH + timedelta(seconds=at.seconds, microseconds=at.nanos // 1000)
    except OverflowError:
        raise InvalidRequest(f"{at.seconds} s is no point in time.") from None


def moment_in(message: Any, field: str) -> datetime | None:
    """Return the time in a message's field, ``None`` where it is absent."""
    return moment(getattr(message, field)) if message.HasField(field) else None


def text(value: str | None) -> StringValue | None:
    """Return a text as the protocol writes one that may be absent."""
    return None if value is None else StringValue(value=value)


def text_in(message: Any, field: str) -> str | None:
    """Return the text in a message's field, ``None`` where it is absent."""
    if not message.HasField(field):
        return None
    value: str = getattr(message, field).value
    return value


def status_of(number: int) -> RuntimeStatus:
    """Return the status of that number.

    Raises:
        InvalidRequest: there is none.
    """
    status = _BY_NUMBER.get(number)
    if status is None:
        raise InvalidRequest(f"There is no orchestration status {number}.")
    return status


def failure_message(failure: FailureDetails) -> pb.TaskFailureDetails:
    """Return a failure in the protocol's words."""
    message = pb.TaskFailureDetails(
        errorType=failure.error_type,
        errorMessage=failure.message,
        stackTrace=text(failure.stack_trace or None),
        innerFailure=None if failure.inner is None else failure_message(failure.inner),
        isNonRetriable=failure.is_non_retriable,
    )
    if failure.properties is not None:
        properties = json_format.Parse(failure.properties, struct_pb2.Struct())
        for name, value in properties.fields.items():
            message.properties[name].CopyFrom(value)
    return message


def failure_of(message: pb.TaskFailureDetails, depth: int = 0) -> FailureDetails:
    """Return the failure in a message; causes nested too deep are left out."""
    has_inner = message.HasField("innerFailure") and depth < _MAX_FAILURE_DEPTH
    properties = None
    if message.properties:
        fields = struct_pb2.Struct(fields=dict(message.properties))
        properties = json_format.MessageToJson(fields, indent=None)
    return FailureDetails(
        message.errorMessage,
        message.errorType,
        message.stackTrace.value,
        failure_of(message.innerFailure, depth + 1) if has_inner else None,
        message.isNonRetriable,
        properties,
    )


def extras_of(
    message: Any, *, version: str | None = None, start_at: datetime | None = None
) -> Extras | None:
    """Return the tags and the place in a trace that a message carries."""
    parent, span, state = None, None, None
    if message.HasField("parentTraceContext"):
        context = message.parentTraceContext
        parent, span = context.traceParent or None, context.spanID or None
        state = text_in(context, "traceState")
    tags = dict(getattr(message, "tags", ()))
    return extras_or_none(Extras(tags, version, parent, span, state, start_at))


def trace_context(extras: Extras | None) -> pb.TraceContext | None:
    """Return the place in a trace, ``None`` where nothing is traced."""
    if extras is None or extras.trace_parent is None:
        return None
    return pb.TraceContext(
        traceParent=extras.trace_parent,
        spanID=extras.trace_span or "",
        traceState=text(extras.trace_state),
    )


def tags_of(extras: Extras | None) -> dict[str, str] | None:
    """Return the tags, ``None`` where there are none."""
    return None if extras is None else extras.tags or None
