"""Activities: a bounded number of them at once, first come, first served.

An activity belongs to the holder of its instance's lease. It has no row of its own: the history
says that it was scheduled, so whoever takes the instance over runs it again.

When a worker process dies, nobody can tell which of the activities in it was to blame. All are run
again; one that has seen two processes die is a *suspect*, and suspects run one at a time, so that
the guilty one soon dies alone and the innocent ones complete.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Protocol, cast

import msgspec

from soloist.contracts.clock import Clock
from soloist.contracts.executor import ActivityCall, ActivityResult, Executor, FedTurn, Feed
from soloist.core.events import TaskCompleted, TaskFailed
from soloist.core.failures import FailureDetails
from soloist.core.payloads import exceeds, limit_text
from soloist.errors import WorkerAbsent, WorkerLost
from soloist.telemetry import logger

_log = logger(__name__)

_LOSSES_OF_A_SUSPECT = 2
_MAX_CLOCK_ERROR = timedelta(seconds=1)
_ABSENCE_PAUSE_SECONDS = 0.1


class Caller(Protocol):
    """Whoever waits for an activity."""

    @property
    def is_closed(self) -> bool:
        """Whether the result is of no use any more."""

    def feed(self, task_id: int) -> Feed | None:
        """Say where the code stands, if the activity is all that it waits for."""

    def arrive(self, completion: TaskCompleted | TaskFailed, turn: FedTurn | None) -> None:
        """Take the activity's completion, and the turn that it caused if the code was fed it."""


class _Job(msgspec.Struct, gc=False):
    caller: Caller
    call: ActivityCall
    losses: int = 0


class _Line:
    """Serves whoever joins it, first come, first served, ``width`` at a time."""

    def __init__(self, width: int, serve: Callable[[_Job], Awaitable[None]]) -> None:
        self.waiting: deque[_Job] = deque()
        self._width = width
        self._serve = serve
        self._servers: set[asyncio.Task[None]] = set()

    def join(self, job: _Job) -> None:
        """Stand in line."""
        self.waiting.append(job)
        if len(self._servers) < self._width:
            self._servers.add(asyncio.create_task(self._serve_all()))

    async def close(self) -> None:
        """Serve nobody any more, not even to the end."""
        self.waiting.clear()
        for server in self._servers:
            server.cancel()
        await asyncio.gather(*self._servers, return_exceptions=True)
        self._servers.clear()

    async def _serve_all(self) -> None:
        try:
            while self.waiting:
                await self._serve(self.waiting.popleft())
        finally:
            # Now, not when the loop tells of the end: who joins until then would find no server.
            self._servers.discard(cast("asyncio.Task[None]", asyncio.current_task()))


class ActivityPool:
    """Runs activities for sessions, at most ``concurrency`` at a time.

    The line in front of it is bounded by the sessions and by the actions that each may ask for.
    """

    def __init__(
        self,
        executor: Executor,
        clock: Clock,
        *,
        concurrency: int,
        max_worker_losses: int,
        max_payload_bytes: int,
        suspect_pause_seconds: float = 1.0,
    ) -> None:
        self._executor = executor
        self._clock = clock
        self._max_worker_losses = max_worker_losses
        self._max_payload_bytes = max_payload_bytes
        self._suspect_pause_seconds = suspect_pause_seconds
        self._jobs = _Line(concurrency, self._run_job)
        self._suspects = _Line(1, self._run_job)
        self._running: dict[int, _Job] = {}
        self._is_draining = False
        self._on_idle: Callable[[], None] = lambda: None

    @property
    def running(self) -> int:
        """How many activities run now."""
        return len(self._running)

    def running_names(self) -> list[str]:
        """Name what runs now, with the instances, the longest running first."""
        calls = [job.call for job in self._running.values()]
        return [f"{call.name} (instance {call.instance_id})" for call in calls]

    @property
    def waiting(self) -> int:
        """How many activities stand in line."""
        return len(self._jobs.waiting) + len(self._suspects.waiting)

    def submit(self, caller: Caller, call: ActivityCall) -> None:
        """Put an activity in line."""
        self._jobs.join(_Job(caller, call))

    def stop_taking(self, on_idle: Callable[[], None]) -> None:
        """Begin nothing more; call ``on_idle`` whenever the last running activity has ended."""
        self._is_draining = True
        self._on_idle = on_idle

    async def close(self) -> None:
        """Abandon what is running; it will be run again by whoever holds the instance next."""
        await self._jobs.close()
        await self._suspects.close()

    async def _run_job(self, job: _Job) -> None:
        if job.caller.is_closed or self._is_draining:
            return
        if job.losses >= _LOSSES_OF_A_SUSPECT:
            # Each death takes HTTP calls along that were under way in the same process.
            await self._clock.sleep(self._suspect_pause_seconds * job.losses)
            if self._is_draining:
                return
        self._running[id(job)] = job
        try:
            await self._run(job)
        finally:
            del self._running[id(job)]
            if self._is_draining and not self._running:
                self._on_idle()

    async def _run(self, job: _Job) -> None:
        result: ActivityResult | None
        call = job.call
        # Not twice: should the code kill the worker, it must not be taken for the activity's doing.
        feed = None if job.losses else job.caller.feed(call.task_id)
        if feed is not None:
            call = msgspec.structs.replace(call, feeds=feed)
        try:
            result = await self._executor.run_activity(call)
        except WorkerAbsent:
            if not self._is_draining:  # asked again at once, it might say so again, for ever
                await self._clock.sleep(_ABSENCE_PAUSE_SECONDS)
            self._run_again(job)
            return
        except WorkerLost as error:
            result = self._after_loss(job, error)
        except Exception as error:  # noqa: BLE001  # a fault of ours must not lose the activity
            _log.exception("activity could not be run", activity=job.call.name)
            result = ActivityResult(failure=FailureDetails(f"It could not be run: {error}"))
        else:
            result = self._bounded(result)
            if result.failure is not None:
                _tell_of_failure(call, result.failure)
        if result is not None and not job.caller.is_closed:
            job.caller.arrive(*self._completion(call, result))

    def _after_loss(self, job: _Job, error: WorkerLost) -> ActivityResult | None:
        job.losses += 1
        if job.caller.is_closed:
            return None
        is_given_up = job.losses >= self._max_worker_losses
        # Most that saw one process die were only near; a suspect is worth a warning.
        level = logging.INFO if job.losses < _LOSSES_OF_A_SUSPECT else logging.WARNING
        _log.log(
            logging.ERROR if is_given_up else level,
            "an activity fails: its worker died each time"
            if is_given_up
            else "an activity is tried again: its worker died",
            activity=job.call.name,
            instance_id=job.call.instance_id,
            task_id=job.call.task_id,
            deaths=job.losses,
            fails_at=self._max_worker_losses,
        )
        if not is_given_up:
            self._run_again(job)
            return None
        text = f"The worker process was lost {job.losses} times while it ran. {error}"
        return ActivityResult(failure=FailureDetails(text))

    def _run_again(self, job: _Job) -> None:
        if job.caller.is_closed:
            return
        if job.losses < _LOSSES_OF_A_SUSPECT:
            self._jobs.join(job)
        else:
            self._suspects.join(job)

    def _bounded(self, result: ActivityResult) -> ActivityResult:
        limit = self._max_payload_bytes
        if result.result is None or not exceeds(result.result, limit):
            return result
        text = f"Its result exceeds {limit_text(limit)}."
        return ActivityResult(failure=FailureDetails(text))

    def _completion(
        self, call: ActivityCall, result: ActivityResult
    ) -> tuple[TaskCompleted | TaskFailed, FedTurn | None]:
        """Return what to record, with the turn as long as it fits what is recorded."""
        now, turn = self._clock.now(), result.turn
        if result.failure is not None:
            return TaskFailed(now, call.task_id, result.failure), None
        if turn is None or abs(now - turn.at) > _MAX_CLOCK_ERROR:
            return TaskCompleted(now, call.task_id, result.result), None
        return TaskCompleted(turn.at, call.task_id, result.result), turn


def _tell_of_failure(call: ActivityCall, failure: FailureDetails) -> None:
    _log.warning(
        "an activity failed",
        activity=call.name,
        instance_id=call.instance_id,
        task_id=call.task_id,
        reason=failure.message,
        exception=failure.stack_trace or None,
    )
