"""Workers: how they come for work, and bring it back.

Each method is an RPC of ``TaskHubSidecarService``, under its name there. An answer is acknowledged
as soon as it is taken: a host that dies before it is committed has the work done again.
"""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
from durabletask.internal import orchestrator_service_pb2 as pb

from soloist.core.work import WorkKind
from soloist.rpc.board import Board, TokenOver, TokenUnknown
from soloist.rpc.errors import end
from soloist.rpc.streams import Stream
from soloist.rpc.work import Work

PING_SECONDS = 20.0
"""So often a worker is told that the host is there still; SDKs reconnect after two minutes without
a word."""

_PING = pb.WorkItem(healthPing=pb.HealthPing())


class WorkerCalls:
    """The half of the service that workers use."""

    def __init__(self, board: Board, ping_seconds: float = PING_SECONDS) -> None:
        self._board = board
        self._ping_seconds = ping_seconds
        self._streams: set[Stream] = set()
        self._is_closed = False

    async def GetWorkItems(self, request: pb.GetWorkItemsRequest, context: Any) -> None:
        """Send a worker what it is to do, until either side ends the stream."""
        if self._is_closed:
            await end(context, grpc.StatusCode.UNAVAILABLE, "The host is stopping.")
        stream = Stream(request, context.peer())
        self._streams.add(stream)
        pings = asyncio.create_task(self._keep_pinging(stream))
        try:
            # A worker knows by the first word that it is connected, whether there is work or not.
            await context.write(_PING)
            self._board.join(stream)
            while (item := await stream.outgoing.get()) is not None:
                await context.write(item)
        finally:
            pings.cancel()
            self._streams.discard(stream)
            self._board.leave(stream)

    async def _keep_pinging(self, stream: Stream) -> None:
        while True:
            await asyncio.sleep(self._ping_seconds)
            if stream.outgoing.empty():
                stream.outgoing.put_nowait(_PING)

    def close(self) -> None:
        """End every stream; workers come back when a host is there again."""
        self._is_closed = True
        for stream in self._streams:
            stream.outgoing.put_nowait(None)

    async def CompleteOrchestratorTask(
        self, request: pb.OrchestratorResponse, context: Any
    ) -> pb.CompleteTaskResponse:
        """Take what an orchestrator asked for; large answers come in pieces."""
        token = request.completionToken
        work = await self._held(token, WorkKind.ORCHESTRATION, request.instanceId, context)
        if request.requiresHistory:
            self._board.again(token)
        elif request.isPartial:
            work.parts.extend(request.actions)
        else:
            if work.parts:
                last = list(request.actions)
                del request.actions[:]
                request.actions.extend([*work.parts, *last])
            self._board.answer(token, request)
        return pb.CompleteTaskResponse()

    async def CompleteActivityTask(
        self, request: pb.ActivityResponse, context: Any
    ) -> pb.CompleteTaskResponse:
        """Take an activity's result."""
        token = request.completionToken
        await self._held(token, WorkKind.ACTIVITY, request.instanceId, context)
        self._board.answer(token, request)
        return pb.CompleteTaskResponse()

    async def CompleteEntityTask(
        self, request: pb.EntityBatchResult, context: Any
    ) -> pb.CompleteTaskResponse:
        """Take what became of an entity."""
        token = request.completionToken
        await self._held(token, WorkKind.ENTITY, "", context)
        if request.requiresState:
            self._board.again(token)
        else:
            self._board.answer(token, request)
        return pb.CompleteTaskResponse()

    async def AbandonTaskOrchestratorWorkItem(
        self, request: pb.AbandonOrchestrationTaskRequest, context: Any
    ) -> pb.AbandonOrchestrationTaskResponse:
        """Take a turn back that its worker does not want to run."""
        await self._abandon(request.completionToken, WorkKind.ORCHESTRATION, context)
        return pb.AbandonOrchestrationTaskResponse()

    async def AbandonTaskActivityWorkItem(
        self, request: pb.AbandonActivityTaskRequest, context: Any
    ) -> pb.AbandonActivityTaskResponse:
        """Take an activity back that its worker does not want to run."""
        await self._abandon(request.completionToken, WorkKind.ACTIVITY, context)
        return pb.AbandonActivityTaskResponse()

    async def AbandonTaskEntityWorkItem(
        self, request: pb.AbandonEntityTaskRequest, context: Any
    ) -> pb.AbandonEntityTaskResponse:
        """Take an entity back that its worker does not want to run."""
        await self._abandon(request.completionToken, WorkKind.ENTITY, context)
        return pb.AbandonEntityTaskResponse()

    async def _abandon(self, token: str, kind: WorkKind, context: Any) -> None:
        await self._held(token, kind, "", context)
        self._board.refuse(token)

    async def _held(self, token: str, kind: WorkKind, instance_id: str, context: Any) -> Work:
        """Return the work of a token, or end the call with why there is none."""
        if not token:
            await end(
                context, grpc.StatusCode.INVALID_ARGUMENT, "The answer names no completion token."
            )
        try:
            work = self._board.held(token)
        except TokenOver:
            await end(
                context,
                grpc.StatusCode.FAILED_PRECONDITION,
                f"Nothing is done with this answer: the work of completion token '{token}' was"
                " answered before, or was given to another worker.",
            )
        except TokenUnknown:
            await end(
                context,
                grpc.StatusCode.NOT_FOUND,
                f"This host has handed out no work under completion token '{token}'. Work of an"
                " earlier host is handed out again.",
            )
        if work.kind is not kind or instance_id not in ("", work.instance_id):
            await end(
                context,
                grpc.StatusCode.INVALID_ARGUMENT,
                f"Completion token '{token}' is for {work.kind} work of instance"
                f" '{work.instance_id}'.",
            )
        return work
