"""Orchestrators as pure functions of their history, and the executor that runs them.

A script looks at everything that happened and returns everything it asks for, from the first
action on; what the history holds already is left out of the answer.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence

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
from soloist.core.actions import (
    Action,
    CompleteExecution,
    ContinueAsNew,
    EpisodeResult,
    ScheduleTask,
)
from soloist.core.events import (
    EventRaised,
    ExecutionResumed,
    ExecutionStarted,
    ExecutionSuspended,
    HistoryEvent,
    TaskCompleted,
    TimerFired,
)
from soloist.core.failures import FailureDetails

Script = Callable[[Sequence[HistoryEvent]], list[Action]]
_ENDS = (CompleteExecution, ContinueAsNew)


def results(history: Sequence[HistoryEvent]) -> list[str | None]:
    """Return what the activities returned so far, in order."""
    return [event.result for event in history if isinstance(event, TaskCompleted)]


def started(history: Sequence[HistoryEvent]) -> ExecutionStarted:
    """Return the start of the execution."""
    return next(event for event in history if isinstance(event, ExecutionStarted))


def raised(history: Sequence[HistoryEvent]) -> list[EventRaised]:
    """Return the external events so far."""
    return [event for event in history if isinstance(event, EventRaised)]


def fired(history: Sequence[HistoryEvent]) -> int:
    """Return how many timers have fired."""
    return sum(isinstance(event, TimerFired) for event in history)


def chain(steps: int) -> Script:
    """Return a script that calls activity ``A`` that many times, one after another."""

    def script(history: Sequence[HistoryEvent]) -> list[Action]:
        done = results(history)
        actions: list[Action] = [
            ScheduleTask(number, "A", str(number)) for number in range(min(len(done) + 1, steps))
        ]
        if len(done) == steps:
            actions.append(CompleteExecution(f'"{",".join(map(str, done))}"'))
        return actions

    return script


class ScriptExecutor:
    """Runs scripts; holds sessions as a worker does, and loses them when told."""

    def __init__(self, scripts: dict[str, Script]) -> None:
        self._scripts = scripts
        self._sessions: dict[int, tuple[str, list[HistoryEvent], int]] = {}
        self.activity_runs: Counter[tuple[str, int]] = Counter()
        self.entity_runs: Counter[str] = Counter()
        self.firings: list[TimerCall] = []
        self.replays = 0
        self.held: asyncio.Event | None = None

    async def run_episode(self, episode: Episode) -> EpisodeResult:
        """Ask the script, and answer with what is new."""
        if episode.past is not None:
            self.replays += bool(episode.past)
            recorded = _asked(self._scripts[episode.name], episode.past) if episode.past else 0
            self._sessions[episode.generation] = (
                episode.execution_id,
                list(episode.past),
                recorded,
            )
        session = self._sessions.get(episode.generation)
        if session is None or session[0] != episode.execution_id:
            raise HistoryNeeded
        execution_id, seen, recorded = session
        seen.extend(episode.events)
        await asyncio.sleep(0)
        actions = self._scripts[episode.name](seen)
        asked = sum(not isinstance(action, _ENDS) for action in actions)
        self._sessions[episode.generation] = (execution_id, seen, asked)
        return EpisodeResult(tuple(actions[recorded:]), custom_status=None)

    async def run_activity(self, call: ActivityCall) -> ActivityResult:
        """Return the input, or fail when the activity is called ``Bad``."""
        self.activity_runs[call.instance_id, call.task_id] += 1
        if self.held is not None:
            await self.held.wait()
        await asyncio.sleep(0)
        if call.name == "Bad":
            return ActivityResult(failure=FailureDetails("bad", "ValueError"))
        return ActivityResult(call.input)

    async def run_entity(self, batch: EntityBatch) -> EntityResult:
        """Keep a number: ``add`` adds the input and answers with the sum, ``reset`` makes the
        entity go away, ``fail`` fails."""
        self.entity_runs[f"@{batch.name}@{batch.key}"] += len(batch.operations)
        await asyncio.sleep(0)
        state = batch.state
        results = []
        for operation in batch.operations:
            failure = None
            if operation.name == "add":
                state = str(int(state or 0) + int(operation.input or 0))
            elif operation.name == "reset":
                state = None
            else:
                failure = FailureDetails("bad", "ValueError")
            results.append(OperationResult(None if failure else state, failure))
        return EntityResult(results=tuple(results), state=state)

    async def run_timer(self, call: TimerCall) -> FailureDetails | None:
        """Write the call down."""
        self.firings.append(call)
        await asyncio.sleep(0)
        return None

    def forget(self, generation: int) -> None:
        """Drop a session."""
        self._sessions.pop(generation, None)

    def lose_everything(self) -> None:
        """Forget every session, as a worker does that died."""
        self._sessions.clear()


def _asked(script: Script, past: Sequence[HistoryEvent]) -> int:
    """Return how much the code had asked for; it saw nothing since it was suspended."""
    seen: Sequence[HistoryEvent] = past
    for place, event in enumerate(past):
        if isinstance(event, ExecutionSuspended):
            seen = past[:place]
        elif isinstance(event, ExecutionResumed):
            seen = past
    return sum(not isinstance(action, _ENDS) for action in script(seen)) if seen else 0
