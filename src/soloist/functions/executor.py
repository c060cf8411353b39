"""The app's executor: the workers, the built-in HTTP activity, and how long a function may take."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from datetime import timedelta
from typing import Protocol, TypeVar

import msgspec

from soloist.contracts.executor import (
    ActivityCall,
    ActivityResult,
    EntityBatch,
    EntityResult,
    Episode,
    OperationResult,
    TimerCall,
)
from soloist.core.actions import HTTP_ACTIVITY, EpisodeResult
from soloist.core.failures import FailureDetails
from soloist.functions.durable_http import DurableHttp
from soloist.functions.workers import WorkerPool
from soloist.telemetry import logger

_log = logger(__name__)
_FEEDING_SECONDS = 60.0
"""With less time than that an activity feeds no orchestrator: it would be late by a turn, and by
those that the turn must wait for."""

T = TypeVar("T")


class Turns(Protocol):
    """Runs an app's orchestrators and entities; the methods are those of
    ``contracts.executor.Executor``."""

    async def run_episode(self, episode: Episode) -> EpisodeResult:
        """Run one turn of an orchestrator."""

    async def run_entity(self, batch: EntityBatch) -> EntityResult:
        """Run operations of an entity."""

    def forget(self, generation: int) -> None:
        """Drop a session."""


class AppExecutor:
    """``contracts.executor.Executor`` for a hosted app.

    ``turns`` runs orchestrators and entities, by default the workers by our own replay.
    ``timeout_seconds`` is host.json's ``functionTimeout``; ``None`` sets no limit. A function that
    exceeds it has failed; its thread cannot be ended and stays busy until it returns. Turns that
    are fed in a worker have its machine's time; where the hub has another, none ``may_feed``.
    """

    def __init__(
        self,
        workers: WorkerPool,
        http: DurableHttp,
        *,
        timeout_seconds: float | None,
        turns: Turns | None = None,
        may_feed: bool = True,
    ) -> None:
        self._workers = workers
        self._turns = turns or workers
        self._http = http
        self._timeout_seconds = timeout_seconds
        self._may_feed = may_feed and (timeout_seconds or _FEEDING_SECONDS) >= _FEEDING_SECONDS

    async def run_episode(self, episode: Episode) -> EpisodeResult:
        """See ``contracts.executor``."""
        return await self._turns.run_episode(episode)

    async def run_activity(self, call: ActivityCall) -> ActivityResult:
        """See ``contracts.executor``."""
        if call.name == HTTP_ACTIVITY:
            return await self._http.run(call)
        if call.feeds is not None and not self._may_feed:
            call = msgspec.structs.replace(call, feeds=None)
        result = await self._in_time(self._workers.run_activity(call))
        return result or ActivityResult(failure=self._too_slow(call.name))

    async def run_entity(self, batch: EntityBatch) -> EntityResult:
        """See ``contracts.executor``."""
        result = await self._in_time(self._turns.run_entity(batch))
        if result is not None:
            return result
        failed = OperationResult(failure=self._too_slow(batch.name))
        return EntityResult(results=(failed,) * len(batch.operations), state=batch.state)

    async def run_timer(self, call: TimerCall) -> FailureDetails | None:
        """See ``contracts.executor``."""
        try:
            async with asyncio.timeout(self._timeout_seconds):
                return await self._workers.run_timer(call)
        except TimeoutError:
            return self._too_slow(call.function)

    def forget(self, generation: int) -> None:
        """See ``contracts.executor``."""
        self._turns.forget(generation)

    async def _in_time(self, work: Awaitable[T]) -> T | None:
        """Return what ``work`` comes to, ``None`` when it takes too long."""
        if self._timeout_seconds is None:
            return await work
        try:
            async with asyncio.timeout(self._timeout_seconds):
                return await work
        except TimeoutError:
            return None

    def _too_slow(self, name: str) -> FailureDetails:
        limit = timedelta(seconds=self._timeout_seconds or 0)
        _log.error("a function did not end in time", function=name, limit=str(limit))
        return FailureDetails(
            f"Timeout value of {limit} was exceeded by function '{name}' (host.json functionTimeout)."
        )
