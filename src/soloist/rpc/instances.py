"""Instances in the protocol's words: what is known of one, and filters over many."""

from __future__ import annotations

from typing import Any

from durabletask.internal import orchestrator_service_pb2 as pb

from soloist.core.entity_locks import lock_in
from soloist.core.instances import (
    DEFAULT_PAGE_SIZE,
    MAX_PAGE_SIZE,
    InstanceQuery,
    InstanceRecord,
)
from soloist.core.status import TERMINAL_STATUSES, RuntimeStatus
from soloist.rpc.protobuf import (
    STATUSES,
    failure_message,
    moment_in,
    status_of,
    tags_of,
    text,
    text_in,
    timestamp,
)


def state_message(record: InstanceRecord, *, has_payloads: bool) -> pb.OrchestrationState:
    """Return what is known of an instance."""
    start_at = None if record.extras is None else record.extras.start_at
    parent = record.parent
    return pb.OrchestrationState(
        instanceId=record.instance_id,
        name=record.name,
        version=text(record.version),
        orchestrationStatus=STATUSES[record.status],
        scheduledStartTimestamp=None if start_at is None else timestamp(start_at),
        createdTimestamp=timestamp(record.created_at),
        lastUpdatedTimestamp=timestamp(record.updated_at),
        input=text(record.input) if has_payloads else None,
        output=text(record.output) if has_payloads else None,
        customStatus=text(record.custom_status) if has_payloads else None,
        failureDetails=None if record.failure is None else failure_message(record.failure),
        executionId=text(record.execution_id),
        completedTimestamp=timestamp(record.updated_at) if record.status.is_terminal else None,
        parentInstanceId=None if parent is None else text(parent.instance_id),
        tags=tags_of(record.extras),
    )


def entity_message(record: InstanceRecord, *, has_state: bool) -> pb.EntityMetadata:
    """Return what is known of an entity."""
    lock = lock_in(record.custom_status)
    return pb.EntityMetadata(
        instanceId=record.instance_id,
        lastModifiedTime=timestamp(record.updated_at),
        lockedBy=None if lock is None else text(lock.owner.instance_id),
        serializedState=text(record.output) if has_state else None,
    )


def page_size(asked: int) -> int:
    """Return how many are on a page: what was asked for, within the bounds; 0 asks for nothing."""
    return min(asked, MAX_PAGE_SIZE) if asked > 0 else DEFAULT_PAGE_SIZE


def statuses_of(numbers: Any) -> frozenset[RuntimeStatus]:
    """Return a filter's statuses."""
    return frozenset(status_of(int(number)) for number in numbers)


def instance_query(query: pb.InstanceQuery) -> InstanceQuery:
    """Return the filter of ``QueryInstances``."""
    return InstanceQuery(
        instance_id_prefix=query.instanceIdPrefix.value,
        statuses=statuses_of(query.runtimeStatus),
        created_from=moment_in(query, "createdTimeFrom"),
        created_to=moment_in(query, "createdTimeTo"),
        page_size=page_size(query.maxInstanceCount),
        token=text_in(query, "continuationToken") or None,
    )


def finished_query(request: pb.ListInstanceIdsRequest) -> InstanceQuery | None:
    """Return the filter of ``ListInstanceIds``, which knows finished instances only; ``None`` when
    nothing can match. An instance was last updated when it ended."""
    asked = statuses_of(request.runtimeStatus)
    statuses = (asked or TERMINAL_STATUSES) & TERMINAL_STATUSES
    if not statuses:
        return None
    return InstanceQuery(
        statuses=statuses,
        updated_from=moment_in(request, "completedTimeFrom"),
        updated_to=moment_in(request, "completedTimeTo"),
        page_size=page_size(request.pageSize),
        token=text_in(request, "lastInstanceKey") or None,
    )


def purge_query(wanted: pb.PurgeInstanceFilter) -> InstanceQuery | None:
    """Return the filter of a purge; ``None`` when it names live statuses only."""
    asked = statuses_of(wanted.runtimeStatus)
    statuses = (asked or TERMINAL_STATUSES) & TERMINAL_STATUSES
    if not statuses:
        return None
    return InstanceQuery(
        statuses=statuses,
        created_from=moment_in(wanted, "createdTimeFrom"),
        created_to=moment_in(wanted, "createdTimeTo"),
    )


def entity_query(query: pb.EntityQuery) -> InstanceQuery:
    """Return the filter of ``QueryEntities``."""
    prefix = query.instanceIdStartsWith.value
    if not prefix.startswith("@"):
        prefix = f"@{prefix}"
    name, mark, key = prefix[1:].partition("@")
    return InstanceQuery(
        instance_id_prefix=f"@{name.lower()}{mark}{key}",
        updated_from=moment_in(query, "lastModifiedFrom"),
        updated_to=moment_in(query, "lastModifiedTo"),
        page_size=page_size(query.pageSize.value),
        token=text_in(query, "continuationToken") or None,
    )
