"""Executors: what runs the user's code for the engine.

An executor may be a process, a thread or a stream to a remote worker. It may lose what it holds
at any moment; it says so, and nothing is lost but time.
"""

from __future__ import annotations

from typing import Protocol

import msgspec

from soloist.core.actions import EpisodeResult
from soloist.core.events import HistoryEvent
from soloist.core.failures import FailureDetails


class HistoryNeeded(Exception):
    """The executor does not hold the session; call again with the whole past."""


class Episode(msgspec.Struct, frozen=True, kw_only=True):
    """One turn of one orchestrator.

    ``past`` is the history before ``events``, or ``None`` when the executor should still hold the
    session, having been fed ``position`` events so far.
    """

    generation: int
    execution_id: str
    instance_id: str
    name: str
    position: int
    events: tuple[HistoryEvent, ...]
    past: tuple[HistoryEvent, ...] | None


class ActivityCall(msgspec.Struct, frozen=True, kw_only=True):
    """One run of one activity. ``generation`` is the fencing token of its instance."""

    generation: int
    instance_id: str
    task_id: int
    name: str
    input: str | None


class ActivityResult(msgspec.Struct, frozen=True):
    """What an activity came to: a result, or a failure when ``failure`` is not ``None``."""

    result: str | None = None
    failure: FailureDetails | None = None


class Executor(Protocol):
    """Runs orchestrators and activities. Many calls may be under way at once, but at most one
    episode for one generation."""

    async def run_episode(self, episode: Episode) -> EpisodeResult:
        """Feed events to the orchestrator and return what it newly asked for.

        Only actions not implied by ``past`` are returned; but once the code has ended, its
        ``CompleteExecution`` or ``ContinueAsNew`` is returned from every further episode. A
        user's exception is a result, never raised here.

        Raises:
            HistoryNeeded: ``past`` was ``None`` and the session is not held at ``position``.
            WorkerLost: the process died; the episode may be run again.
            WorkerAbsent: there is no process; the same, and nothing has run.
        """

    async def run_activity(self, call: ActivityCall) -> ActivityResult:
        """Run an activity. A user's exception, or an unknown name, is a result.

        Raises:
            WorkerLost: the process died; the activity may have run, and may be run again.
        """

    def forget(self, generation: int) -> None:
        """Drop the session of ``generation`` if it is held; never fails and never waits."""
