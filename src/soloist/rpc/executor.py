"""Executors of the protocol: what the engine asks becomes work in the protocol's words.

The work is done somewhere: by workers that connect to the gRPC door, or by an app whose SDK speaks
the protocol. Neither keeps anything between two turns: each turn is given the whole history. So
that it need not be read and translated for each, the host keeps the history of its hot sessions in
the protocol's words, adding what each turn makes of it.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import msgspec
from durabletask.internal import orchestrator_service_pb2 as pb
from google.protobuf.duration_pb2 import Duration

from soloist.contracts.executor import (
    ActivityCall,
    ActivityResult,
    EntityBatch,
    EntityResult,
    Episode,
    HistoryNeeded,
    OperationResult,
    TimerCall,
)
from soloist.core.actions import Action, CompleteExecution, ContinueAsNew, EpisodeResult
from soloist.core.events import ExecutionStarted
from soloist.core.failures import FailureDetails
from soloist.core.messages import Execution, event_of
from soloist.core.work import WorkKind
from soloist.errors import InvalidRequest, WorkerLost
from soloist.rpc.actions import core_actions
from soloist.rpc.board import Board
from soloist.rpc.entities import batch_message, result_of
from soloist.rpc.histories import HistoryWriter
from soloist.rpc.protobuf import failure_of, tags_of, text, text_in, trace_context
from soloist.rpc.work import Work, WorkFailed, Workplace

STREAMED_HISTORY_BYTES = 1024 * 1024
"""A longer past is not sent with the work to workers that can fetch it."""

_NO_REORDERING = pb.OrchestratorEntityParameters(entityMessageReorderWindow=Duration())


class _Past:
    """What one execution's workers have seen so far."""

    def __init__(self, instance_id: str, execution_id: str) -> None:
        self.execution_id = execution_id
        self.writer = HistoryWriter(instance_id, is_for_replay=True)
        self.events: list[pb.HistoryEvent] = []
        self.position = 0
        self.version: str | None = None
        self.trace: pb.OrchestrationTraceContext | None = None
        self.home: int | None = None
        self._size_bytes = 0
        self._measured = 0

    @property
    def size_bytes(self) -> int:
        """How large it is; asked for only where it matters."""
        self._size_bytes += sum(each.ByteSize() for each in self.events[self._measured :])
        self._measured = len(self.events)
        return self._size_bytes


class ProtocolExecutor:
    """``contracts.executor.Executor`` over a place where work is done."""

    def __init__(self, place: Workplace, *, default_version: str | None = None) -> None:
        self._place = place
        self._default_version = default_version
        self._pasts: dict[int, _Past] = {}
        self._in_turn: dict[str, _Past] = {}

    async def run_episode(self, episode: Episode) -> EpisodeResult:
        """See ``contracts.executor``."""
        past = self._past_of(episode)
        events = past.writer.all(episode.events)
        for event in episode.events:
            if isinstance(event, ExecutionStarted):
                past.version = event.version
        work = self._turn(episode, past, events)
        self._in_turn[episode.instance_id] = past
        try:
            answer: pb.OrchestratorResponse = await self._place.done(work)
        except WorkerLost:
            self._pasts.pop(episode.generation, None)
            raise
        except WorkFailed as error:
            self._pasts.pop(episode.generation, None)
            return _ended(_unfinished(error.details))
        finally:
            self._in_turn.pop(episode.instance_id, None)
        try:
            actions = core_actions(answer.actions)
        except InvalidRequest as error:
            return _ended(FailureDetails(str(error)))
        past.events += events
        past.events += self._recorded(episode, past, actions)
        past.home = work.home
        past.position = episode.position + len(episode.events)
        if answer.HasField("orchestrationTraceContext"):
            past.trace = answer.orchestrationTraceContext
        return EpisodeResult(actions, text_in(answer, "customStatus"))

    def _past_of(self, episode: Episode) -> _Past:
        if episode.past is not None:
            past = _Past(episode.instance_id, episode.execution_id)
            for event in episode.past:
                if isinstance(event, ExecutionStarted):
                    past.version = event.version
            past.events += past.writer.all(episode.past)
            self._pasts[episode.generation] = past
            return past
        held = self._pasts.get(episode.generation)
        if (
            held is None
            or held.execution_id != episode.execution_id
            or held.position != episode.position
        ):
            raise HistoryNeeded
        return held

    def _turn(self, episode: Episode, past: _Past, events: list[pb.HistoryEvent]) -> Work:
        def write(capabilities: frozenset[int], _is_recent: bool) -> pb.WorkItem:
            streams = pb.WORKER_CAPABILITY_HISTORY_STREAMING in capabilities
            is_streamed = streams and past.size_bytes > STREAMED_HISTORY_BYTES
            request = pb.OrchestratorRequest(
                instanceId=episode.instance_id,
                executionId=text(episode.execution_id),
                pastEvents=() if is_streamed else past.events,
                newEvents=events,
                entityParameters=_NO_REORDERING,
                requiresHistoryStreaming=is_streamed,
                orchestrationTraceContext=past.trace,
            )
            return pb.WorkItem(orchestratorRequest=request)

        kind = WorkKind.ORCHESTRATION
        return Work(kind, episode.name, past.version, episode.instance_id, write, home=past.home)

    def _recorded(
        self, episode: Episode, past: _Past, actions: tuple[Action, ...]
    ) -> list[pb.HistoryEvent]:
        """Return what the engine is about to record; only the times may differ a little, and no
        SDK looks at those."""
        execution = Execution(
            instance_id=episode.instance_id,
            generation=episode.generation,
            execution_id=episode.execution_id,
            name=episode.name,
            default_version=self._default_version,
        )
        now = datetime.now(UTC)
        return past.writer.all(
            event_of(action, now, execution)
            for action in actions
            if not isinstance(action, CompleteExecution | ContinueAsNew)
        )

    def past_events(self, instance_id: str) -> list[pb.HistoryEvent] | None:
        """Return the past of the turn that is under way, ``None`` when there is none."""
        past = self._in_turn.get(instance_id)
        return None if past is None else past.events

    async def run_activity(self, call: ActivityCall) -> ActivityResult:
        """See ``contracts.executor``."""
        extras = call.extras
        version = None if extras is None else extras.version

        def write(_capabilities: frozenset[int], _is_recent: bool) -> pb.WorkItem:
            request = pb.ActivityRequest(
                name=call.name,
                version=text(version),
                input=text(call.input),
                orchestrationInstance=pb.OrchestrationInstance(instanceId=call.instance_id),
                taskId=call.task_id,
                parentTraceContext=trace_context(extras),
                tags=tags_of(extras),
            )
            return pb.WorkItem(activityRequest=request)

        work = Work(WorkKind.ACTIVITY, call.name, version, call.instance_id, write)
        try:
            answer: pb.ActivityResponse = await self._place.done(work)
        except WorkFailed as error:
            return ActivityResult(failure=error.details)
        if answer.HasField("failureDetails"):
            return ActivityResult(failure=failure_of(answer.failureDetails))
        return ActivityResult(text_in(answer, "result"))

    async def run_entity(self, batch: EntityBatch) -> EntityResult:
        """See ``contracts.executor``. A worker may do the first operations of a batch only; the
        others are offered again."""
        results: tuple[OperationResult, ...] = ()
        sent: tuple[object, ...] = ()
        rest = batch
        while True:
            done = await self._run_some(rest)
            results += done.results
            sent += done.sent
            if len(results) == len(batch.operations):
                return msgspec.structs.replace(done, results=results, sent=sent)
            if not done.results:
                failed = OperationResult(failure=FailureDetails("The worker ran no operation."))
                missing = len(batch.operations) - len(results)
                return msgspec.structs.replace(
                    done, results=results + (failed,) * missing, state=rest.state, sent=sent
                )
            remaining = batch.operations[len(results) :]
            rest = msgspec.structs.replace(batch, state=done.state, operations=remaining)

    async def _run_some(self, batch: EntityBatch) -> EntityResult:
        def write(_capabilities: frozenset[int], is_recent: bool) -> pb.WorkItem:
            return batch_message(batch, is_current=is_recent)

        work = Work(WorkKind.ENTITY, batch.name, None, f"@{batch.name}@{batch.key}", write)
        try:
            answer: pb.EntityBatchResult = await self._place.done(work)
        except WorkFailed as error:
            failed = OperationResult(failure=error.details)
            return EntityResult(results=(failed,) * len(batch.operations), state=batch.state)
        return result_of(answer, batch)

    async def run_timer(self, call: TimerCall) -> FailureDetails | None:
        """Timer triggers are an app's; workers of the protocol have none."""
        return FailureDetails(f"The protocol has no timer triggers: {call.function}.")

    def forget(self, generation: int) -> None:
        """See ``contracts.executor``."""
        self._pasts.pop(generation, None)


class RpcExecutor(ProtocolExecutor):
    """``contracts.executor.Executor`` over the connected workers."""

    def __init__(self, board: Board, *, default_version: str | None = None) -> None:
        super().__init__(board, default_version=default_version)
        self.board = board

    def absence(
        self, kind: WorkKind, name: str, version: str | None
    ) -> asyncio.Future[None] | None:
        """See ``contracts.executor.Absence``."""
        return self.board.absence(kind, name, version)


def _unfinished(details: FailureDetails) -> FailureDetails:
    return msgspec.structs.replace(
        details, message=f"The turn could not be finished: {details.message}"
    )


def _ended(failure: FailureDetails) -> EpisodeResult:
    return EpisodeResult((CompleteExecution(failure=failure, abandons_open_work=True),))
