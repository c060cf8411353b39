"""An app and workers of the gRPC door side by side: who runs which function, and who may be started.

What the app has is the app's. Everything else is for the workers that connect.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import TYPE_CHECKING

import msgspec

from soloist.client import Functions
from soloist.contracts.executor import (
    ActivityCall,
    ActivityResult,
    EntityBatch,
    EntityResult,
    Episode,
    Executor,
    TimerCall,
)
from soloist.core.actions import HTTP_ACTIVITY, EpisodeResult
from soloist.core.failures import FailureDetails
from soloist.core.work import WorkKind
from soloist.errors import WorkerAbsent
from soloist.functions.catalogue import Catalogue

if TYPE_CHECKING:
    from soloist.rpc.executor import RpcExecutor


class AppBounds:
    """How much of each kind runs in the app's own workers at once."""

    def __init__(self, *, episodes: int, activities: int, entities: int) -> None:
        self.episodes = asyncio.Semaphore(episodes)
        self.activities = asyncio.Semaphore(activities)
        self.entities = asyncio.Semaphore(entities)


class MixedExecutor:
    """``contracts.executor.Executor`` over an app and the connected workers."""

    def __init__(
        self, app: Executor, workers: RpcExecutor, catalogue: Catalogue, bounds: AppBounds
    ) -> None:
        self._app = app
        self._workers = workers
        self._catalogue = catalogue
        self._bounds = bounds
        self._is_draining = False

    async def run_episode(self, episode: Episode) -> EpisodeResult:
        """See ``contracts.executor``."""
        if not self._is_apps(WorkKind.ORCHESTRATION, episode.name):
            return await self._workers.run_episode(episode)
        async with self._bounds.episodes:
            return await self._app.run_episode(episode)

    async def run_activity(self, call: ActivityCall) -> ActivityResult:
        """See ``contracts.executor``."""
        if not self._is_apps(WorkKind.ACTIVITY, call.name):
            return await self._workers.run_activity(call)
        if call.name == HTTP_ACTIVITY:
            return await self._app.run_activity(call)
        if call.feeds is not None and self._bounds.activities.locked():
            call = msgspec.structs.replace(call, feeds=None)  # what it says will be out of date
        async with self._bounds.activities:
            if self._is_draining:
                raise WorkerAbsent("The host is stopping.")
            return await self._app.run_activity(call)

    async def run_entity(self, batch: EntityBatch) -> EntityResult:
        """See ``contracts.executor``."""
        if not self._is_apps(WorkKind.ENTITY, batch.name):
            return await self._workers.run_entity(batch)
        async with self._bounds.entities:
            return await self._app.run_entity(batch)

    async def run_timer(self, call: TimerCall) -> FailureDetails | None:
        """See ``contracts.executor``."""
        return await self._app.run_timer(call)

    def forget(self, generation: int) -> None:
        """See ``contracts.executor``."""
        self._app.forget(generation)
        self._workers.forget(generation)

    def drain(self) -> None:
        """Begin no activity any more that waits for its turn in the app."""
        self._is_draining = True

    def absence(
        self, kind: WorkKind, name: str, version: str | None
    ) -> asyncio.Future[None] | None:
        """See ``contracts.executor.Absence``."""
        return None if self._is_apps(kind, name) else self._workers.absence(kind, name, version)

    def _is_apps(self, kind: WorkKind, name: str) -> bool:
        catalogue = self._catalogue
        if kind is WorkKind.ORCHESTRATION:
            return catalogue.orchestrators.resolve(name) is not None
        if kind is WorkKind.ACTIVITY:
            return name == HTTP_ACTIVITY or catalogue.activities.resolve(name) is not None
        return catalogue.entities.resolve(name) is not None


class MixedFunctions:
    """``client.Functions``: the app's, and those of the connected workers.

    With ``takes_all``, as at the workers' own door, any name will do: its worker may come later.
    """

    def __init__(
        self, apps: Functions, workers: RpcExecutor, kind: WorkKind, *, takes_all: bool
    ) -> None:
        self._apps = apps
        self._workers = workers
        self._kind = kind
        self._takes_all = takes_all

    def resolve(self, name: str) -> str | None:
        """Return the app's spelling of a name, or the name of a function that is not the app's."""
        found = self._apps.resolve(name)
        if found is not None:
            return found
        is_known = self._takes_all or self._workers.board.knows((self._kind, name, None))
        return name if is_known else None

    def names(self) -> Collection[str]:
        """Return the app's names; what workers take is not known name by name."""
        return self._apps.names()
