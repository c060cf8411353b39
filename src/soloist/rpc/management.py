"""Management: what clients ask of instances, entities and the hub over gRPC.

Each method is an RPC of ``TaskHubSidecarService``, under its name there. Errors pass through to
``service``, which ends the call with the right status.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import grpc
import msgspec
from durabletask.internal import orchestrator_service_pb2 as pb
from google.protobuf.empty_pb2 import Empty
from google.protobuf.wrappers_pb2 import BoolValue

from soloist.client import Client
from soloist.contracts.clock import Clock
from soloist.core.ids import is_entity_id, parse_entity_id
from soloist.core.instances import InstanceQuery, InstanceRecord
from soloist.core.status import RuntimeStatus
from soloist.errors import InstanceFinished, InstanceNotFound, InvalidRequest
from soloist.rpc.errors import end
from soloist.rpc.executor import RpcExecutor
from soloist.rpc.histories import HistoryWriter
from soloist.rpc.instances import (
    entity_message,
    entity_query,
    finished_query,
    instance_query,
    purge_query,
    state_message,
    statuses_of,
)
from soloist.rpc.protobuf import extras_of, moment_in, text, text_in
from soloist.rpc.purges import Purge

DEFAULT_WAIT_SECONDS = 60.0 * 60
"""How long a caller without a deadline of its own waits at most for an instance."""

CHUNK_EVENTS = 100
CHUNK_BYTES = 1024 * 1024
_ONE_HUB = (
    "A Soloist process serves one task hub and makes it when it starts; start another process with"
    " --task-hub for another hub, or remove the hub's store to remove the hub."
)


class ManagementCalls:
    """The half of the service that clients use."""

    def __init__(
        self, client: Client, clock: Clock, executor: RpcExecutor | None, *, task_hub: str
    ) -> None:
        self._client = client
        self._clock = clock
        self._executor = executor
        self._task_hub = task_hub

    async def Hello(self, _request: Empty, _context: Any) -> Empty:
        """Answer, so that a client knows that somebody is here."""
        return Empty()

    # -- instances ------------------------------------------------------------------------------

    async def StartInstance(
        self, request: pb.CreateInstanceRequest, _context: Any
    ) -> pb.CreateInstanceResponse:
        """Start an orchestration, by the rule of every start."""
        replaceable = None
        if request.HasField("orchestrationIdReusePolicy"):
            replaceable = statuses_of(request.orchestrationIdReusePolicy.replaceableStatus)
        receipt = await self._client.start(
            request.name,
            request.instanceId or None,
            input=text_in(request, "input"),
            version=text_in(request, "version"),
            replaceable=replaceable,
            extras=extras_of(request, start_at=moment_in(request, "scheduledStartTimestamp")),
        )
        return pb.CreateInstanceResponse(instanceId=receipt.record.instance_id)

    async def GetInstance(
        self, request: pb.GetInstanceRequest, _context: Any
    ) -> pb.GetInstanceResponse:
        """Say what is known of an instance."""
        return _found(await self._find(request.instanceId), request)

    async def WaitForInstanceStart(
        self, request: pb.GetInstanceRequest, context: Any
    ) -> pb.GetInstanceResponse:
        """Wait until an instance is not Pending any more."""
        try:
            record = await self._client.wait_begun(request.instanceId, _patience(context))
        except InstanceNotFound:
            return pb.GetInstanceResponse(exists=False)
        if record.status is RuntimeStatus.PENDING:
            await _too_long(context, record)
        return _found(record, request)

    async def WaitForInstanceCompletion(
        self, request: pb.GetInstanceRequest, context: Any
    ) -> pb.GetInstanceResponse:
        """Wait until an instance has ended."""
        try:
            record = await self._client.wait(request.instanceId, _patience(context))
        except InstanceNotFound:
            return pb.GetInstanceResponse(exists=False)
        if not record.status.is_terminal:
            await _too_long(context, record)
        return _found(record, request)

    async def RaiseEvent(
        self, request: pb.RaiseEventRequest, _context: Any
    ) -> pb.RaiseEventResponse:
        """Raise an external event for an instance."""
        await self._client.raise_event(request.instanceId, request.name, text_in(request, "input"))
        return pb.RaiseEventResponse()

    async def TerminateInstance(
        self, request: pb.TerminateRequest, _context: Any
    ) -> pb.TerminateResponse:
        """Ask for an instance's end; one that has ended is left as it is."""
        with suppress(InstanceFinished):
            await self._client.terminate(
                request.instanceId, text_in(request, "output"), is_recursive=request.recursive
            )
        return pb.TerminateResponse()

    async def SuspendInstance(
        self, request: pb.SuspendRequest, _context: Any
    ) -> pb.SuspendResponse:
        """Pause an instance."""
        await self._client.suspend(request.instanceId, text_in(request, "reason"))
        return pb.SuspendResponse()

    async def ResumeInstance(self, request: pb.ResumeRequest, _context: Any) -> pb.ResumeResponse:
        """Let an instance go on."""
        await self._client.resume(request.instanceId, text_in(request, "reason"))
        return pb.ResumeResponse()

    async def RewindInstance(
        self, request: pb.RewindInstanceRequest, _context: Any
    ) -> pb.RewindInstanceResponse:
        """Take back the failure of an instance."""
        await self._client.rewind(request.instanceId, text_in(request, "reason"))
        return pb.RewindInstanceResponse()

    async def RestartInstance(
        self, request: pb.RestartInstanceRequest, _context: Any
    ) -> pb.RestartInstanceResponse:
        """Start a finished instance's function again, with its input, version and tags."""
        record = await self._client.status(request.instanceId)
        if not record.status.is_terminal:
            await end(
                _context,
                grpc.StatusCode.FAILED_PRECONDITION,
                f"Instance '{record.instance_id}' is {record.status}; only a finished one can be"
                " restarted. Terminate it first.",
            )
        extras = record.extras
        if extras is not None:
            extras = msgspec.structs.replace(extras, start_at=None)
        receipt = await self._client.start(
            record.name,
            None if request.restartWithNewInstanceId else record.instance_id,
            input=record.input,
            version=record.version,
            extras=extras,
        )
        return pb.RestartInstanceResponse(instanceId=receipt.record.instance_id)

    async def QueryInstances(
        self, request: pb.QueryInstancesRequest, _context: Any
    ) -> pb.QueryInstancesResponse:
        """Return a page of instances."""
        query = instance_query(request.query)
        hubs = [each.value.lower() for each in request.query.taskHubNames]
        is_elsewhere = bool(hubs) and self._task_hub.lower() not in hubs
        if is_elsewhere or is_entity_id(query.instance_id_prefix):
            return pb.QueryInstancesResponse()
        page = await self._client.list(query)
        has_payloads = request.query.fetchInputsAndOutputs
        states = [state_message(each, has_payloads=has_payloads) for each in page.records]
        return pb.QueryInstancesResponse(
            orchestrationState=states, continuationToken=text(page.token)
        )

    async def ListInstanceIds(
        self, request: pb.ListInstanceIdsRequest, _context: Any
    ) -> pb.ListInstanceIdsResponse:
        """Return a page of the ids of finished instances."""
        query = finished_query(request)
        if query is None:
            return pb.ListInstanceIdsResponse()
        page = await self._client.list(query)
        return pb.ListInstanceIdsResponse(
            instanceIds=[each.instance_id for each in page.records],
            lastInstanceKey=text(page.token),
        )

    async def PurgeInstances(
        self, request: pb.PurgeInstancesRequest, _context: Any
    ) -> pb.PurgeInstancesResponse:
        """Remove finished instances; what is live, or is not there, is not counted."""
        wanted = request.purgeInstanceFilter
        seconds = wanted.timeout.ToTimedelta().total_seconds()
        purge = Purge(
            self._client,
            self._clock,
            is_recursive=request.recursive,
            seconds=seconds if wanted.HasField("timeout") else None,
        )
        match request.WhichOneof("request"):
            case "instanceId":
                await purge.one(request.instanceId)
            case "instanceBatch":
                for instance_id in request.instanceBatch.instanceIds:
                    await purge.one(instance_id)
            case "purgeInstanceFilter":
                query = purge_query(wanted)
                if query is not None:
                    await purge.many(query)
            case _:
                raise InvalidRequest("Say what is to be purged: an instance, several or a filter.")
        return pb.PurgeInstancesResponse(
            deletedInstanceCount=purge.count, isComplete=BoolValue(value=purge.is_complete)
        )

    async def StreamInstanceHistory(
        self, request: pb.StreamInstanceHistoryRequest, _context: Any
    ) -> AsyncIterator[pb.HistoryChunk]:
        """Send the history of an instance, or the past of a turn to the worker that takes it."""
        past = None
        if request.forWorkItemProcessing and self._executor is not None:
            past = self._executor.past_events(request.instanceId)
        if past is None:
            record = await self._client.status(request.instanceId)
            execution_id = text_in(request, "executionId")
            if execution_id and execution_id != record.execution_id:
                raise InstanceNotFound(f"{request.instanceId} (execution {execution_id})")
            history = await self._client.history(record)
            past = HistoryWriter(record.instance_id, is_for_replay=False).all(history)
        for chunk in _chunks(past):
            yield chunk

    async def SkipGracefulOrchestrationTerminations(
        self, request: pb.SkipGracefulOrchestrationTerminationsRequest, _context: Any
    ) -> pb.SkipGracefulOrchestrationTerminationsResponse:
        """End instances at once. Every termination here needs no turn of the orchestrator's code,
        so this is one; ids of entities cannot be ended."""
        left = []
        for instance_id in request.instanceBatch.instanceIds:
            try:
                await self._client.terminate(instance_id, text_in(request, "reason"))
            except (InstanceNotFound, InstanceFinished):
                continue
            except InvalidRequest:
                left.append(instance_id)
        return pb.SkipGracefulOrchestrationTerminationsResponse(unterminatedInstanceIds=left)

    # -- entities -------------------------------------------------------------------------------

    async def SignalEntity(
        self, request: pb.SignalEntityRequest, _context: Any
    ) -> pb.SignalEntityResponse:
        """Ask an entity for an operation."""
        entity = parse_entity_id(request.instanceId)
        await self._client.signal(
            entity.name,
            entity.key,
            request.name,
            text_in(request, "input"),
            moment_in(request, "scheduledTime"),
        )
        return pb.SignalEntityResponse()

    async def GetEntity(self, request: pb.GetEntityRequest, _context: Any) -> pb.GetEntityResponse:
        """Say what is known of an entity."""
        parse_entity_id(request.instanceId)
        record = await self._find(request.instanceId)
        if record is None or (record.output is None and record.custom_status is None):
            return pb.GetEntityResponse(exists=False)
        entity = entity_message(record, has_state=request.includeState)
        return pb.GetEntityResponse(exists=True, entity=entity)

    async def QueryEntities(
        self, request: pb.QueryEntitiesRequest, _context: Any
    ) -> pb.QueryEntitiesResponse:
        """Return a page of entities; without ``includeTransient`` of those that have a state."""
        wanted = request.query
        page = await self._client.list(entity_query(wanted))
        entities = [
            entity_message(each, has_state=wanted.includeState)
            for each in page.records
            if wanted.includeTransient or each.output is not None
        ]
        return pb.QueryEntitiesResponse(entities=entities, continuationToken=text(page.token))

    async def CleanEntityStorage(
        self, request: pb.CleanEntityStorageRequest, _context: Any
    ) -> pb.CleanEntityStorageResponse:
        """Free entities whose critical section is gone. Empty entities need no removing: one
        without a state, a lock or mail is gone with its last operation."""
        query = InstanceQuery(
            instance_id_prefix="@", token=text_in(request, "continuationToken") or None
        )
        page = await self._client.list(query)
        freed = 0
        if request.releaseOrphanedLocks:
            freed = sum([await self._client.free_entity(each) for each in page.records])
        return pb.CleanEntityStorageResponse(
            continuationToken=text(page.token), orphanedLocksReleased=freed
        )

    # -- the hub --------------------------------------------------------------------------------

    async def CreateTaskHub(
        self, request: pb.CreateTaskHubRequest, context: Any
    ) -> pb.CreateTaskHubResponse:
        """The hub is there already; it is not emptied over the network."""
        if request.recreateIfExists:
            await end(context, grpc.StatusCode.UNIMPLEMENTED, _ONE_HUB)
        return pb.CreateTaskHubResponse()

    async def DeleteTaskHub(
        self, _request: pb.DeleteTaskHubRequest, context: Any
    ) -> pb.DeleteTaskHubResponse:
        """A hub is not removed over the network."""
        await end(context, grpc.StatusCode.UNIMPLEMENTED, _ONE_HUB)

    async def _find(self, instance_id: str) -> InstanceRecord | None:
        try:
            return await self._client.status(instance_id)
        except InstanceNotFound:
            return None


def _found(record: InstanceRecord | None, request: pb.GetInstanceRequest) -> pb.GetInstanceResponse:
    if record is None or is_entity_id(record.instance_id):
        return pb.GetInstanceResponse(exists=False)
    state = state_message(record, has_payloads=request.getInputsAndOutputs)
    return pb.GetInstanceResponse(exists=True, orchestrationState=state)


def _patience(context: Any) -> float:
    """Return how long a caller waits."""
    remaining = context.time_remaining()
    return DEFAULT_WAIT_SECONDS if remaining is None else float(remaining)


async def _too_long(context: Any, record: InstanceRecord) -> None:
    text = f"Instance '{record.instance_id}' is still {record.status}."
    await end(context, grpc.StatusCode.DEADLINE_EXCEEDED, text)


def _chunks(events: list[pb.HistoryEvent]) -> list[pb.HistoryChunk]:
    """Return a history in pieces that every client can receive."""
    chunks: list[pb.HistoryChunk] = []
    piece: list[pb.HistoryEvent] = []
    size = 0
    for event in events:
        event_bytes = event.ByteSize()
        if piece and (len(piece) == CHUNK_EVENTS or size + event_bytes > CHUNK_BYTES):
            chunks.append(pb.HistoryChunk(events=piece))
            piece, size = [], 0
        piece.append(event)
        size += event_bytes
    if piece:
        chunks.append(pb.HistoryChunk(events=piece))
    return chunks
