"""Rewind: a failed instance goes on from before its failure."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from soloist.contracts.executor import ActivityCall, ActivityResult, EntityBatch, EntityResult
from soloist.core.actions import (
    Action,
    CallEntity,
    CompleteExecution,
    ScheduleSubOrchestration,
    ScheduleTask,
)
from soloist.core.events import (
    EntityOperationCompleted,
    ExecutionRewound,
    HistoryEvent,
    SubOrchestrationInstanceCompleted,
    SubOrchestrationInstanceFailed,
    TaskCompleted,
    TaskFailed,
)
from soloist.core.failures import FailureDetails
from soloist.core.status import RuntimeStatus
from soloist.engine import Engine
from soloist.errors import InstanceNotFailed, InstanceNotFound
from tests.engine.hub import Hub
from tests.engine.scripts import Script, results


def three_steps(history: Sequence[HistoryEvent]) -> list[Action]:
    """Call A, then B and C together, and fail with the first failure."""
    done = results(history)
    failures = [event for event in history if isinstance(event, TaskFailed)]
    actions: list[Action] = [ScheduleTask(0, "A", "1")]
    if done:
        actions += [ScheduleTask(1, "B", "2"), ScheduleTask(2, "C", "3")]
    if failures:
        return [*actions, CompleteExecution(failure=failures[0].failure)]
    return [*actions, CompleteExecution(",".join(map(str, done)))] if len(done) == 3 else actions


def parent(history: Sequence[HistoryEvent]) -> list[Action]:
    actions: list[Action] = [ScheduleSubOrchestration(0, "Steps", None, "child")]
    for event in history:
        if isinstance(event, SubOrchestrationInstanceFailed):
            return [*actions, CompleteExecution(failure=event.failure)]
        if isinstance(event, SubOrchestrationInstanceCompleted):
            return [*actions, CompleteExecution(event.result)]
    return actions


SCRIPTS: dict[str, Script] = {"Steps": three_steps, "Parent": parent}


class Flaky(Hub):
    """A hub whose activity B fails until it is mended."""

    def __init__(self) -> None:
        super().__init__(SCRIPTS)
        self.is_mended = False
        run_activity = self.executor.run_activity

        async def flaky(call: ActivityCall) -> ActivityResult:
            result = await run_activity(call)
            if call.name == "B" and not self.is_mended:
                return ActivityResult(failure=FailureDetails("bad", "ValueError"))
            return result

        self.executor.run_activity = flaky  # type: ignore[method-assign]  # it fails at first

    async def rewind(self, engine: Engine, instance_id: str) -> None:
        receipt = await self.store.rewind(
            instance_id, "mended", self.clock.now(), engine.claimant()
        )
        engine._on_commit(receipt)
        await self.clock.settle()


def test_only_what_failed_is_done_again() -> None:
    async def scenario() -> None:
        hub = Flaky()
        async with hub.host() as (engine, client):
            await client.start("Steps", "one")
            assert (await hub.finished(client, "one")).status is RuntimeStatus.FAILED
            hub.is_mended = True
            await hub.rewind(engine, "one")
            record = await hub.finished(client, "one")
            assert record.status is RuntimeStatus.COMPLETED
            assert sorted((record.output or "").split(",")) == ["1", "2", "3"]
            runs = {task_id: count for (_, task_id), count in hub.executor.activity_runs.items()}
            assert runs == {0: 1, 1: 2, 2: 1}
            history = await hub.history(client, "one")
            assert any(isinstance(event, ExecutionRewound) for event in history)
            assert sum(isinstance(event, TaskCompleted) for event in history) == 3
            assert not any(isinstance(event, TaskFailed) for event in history)

    asyncio.run(scenario())


def test_a_failed_child_is_rewound_with_its_parent() -> None:
    async def scenario() -> None:
        hub = Flaky()
        async with hub.host() as (engine, client):
            await client.start("Parent", "one")
            assert (await hub.finished(client, "one")).status is RuntimeStatus.FAILED
            hub.is_mended = True
            await hub.rewind(engine, "one")
            assert (await hub.finished(client, "one")).status is RuntimeStatus.COMPLETED
            assert (await client.status("child")).status is RuntimeStatus.COMPLETED

    asyncio.run(scenario())


def test_a_child_that_was_purged_is_started_again() -> None:
    async def scenario() -> None:
        hub = Flaky()
        async with hub.host() as (engine, client):
            await client.start("Parent", "one")
            assert (await hub.finished(client, "one")).status is RuntimeStatus.FAILED
            await client.purge("child")
            hub.is_mended = True
            await hub.rewind(engine, "one")
            assert (await hub.finished(client, "one")).status is RuntimeStatus.COMPLETED

    asyncio.run(scenario())


def test_an_instance_that_fails_again_can_be_rewound_again() -> None:
    async def scenario() -> None:
        hub = Flaky()
        async with hub.host() as (engine, client):
            await client.start("Steps", "one")
            for _ in range(3):
                assert (await hub.finished(client, "one")).status is RuntimeStatus.FAILED
                await hub.rewind(engine, "one")
            hub.is_mended = True
            assert (await hub.finished(client, "one")).status is RuntimeStatus.FAILED
            await hub.rewind(engine, "one")
            assert (await hub.finished(client, "one")).status is RuntimeStatus.COMPLETED

    asyncio.run(scenario())


def test_only_a_failed_instance_can_be_rewound() -> None:
    async def scenario() -> None:
        hub = Flaky()
        hub.is_mended = True
        async with hub.host() as (engine, client):
            await client.start("Steps", "one")
            await hub.finished(client, "one")
            with pytest.raises(InstanceNotFailed, match="Completed"):
                await hub.rewind(engine, "one")
            with pytest.raises(InstanceNotFound):
                await hub.rewind(engine, "nobody")

    asyncio.run(scenario())


@pytest.mark.parametrize("bad_id", ["@counter@x", "@x", "a/b"])
def test_a_child_that_can_never_be_started_fails_its_parent_again(bad_id: str) -> None:
    def script(history: Sequence[HistoryEvent]) -> list[Action]:
        actions: list[Action] = [ScheduleSubOrchestration(0, "Steps", None, bad_id)]
        for event in history:
            if isinstance(event, SubOrchestrationInstanceFailed):
                return [*actions, CompleteExecution(failure=event.failure)]
        return actions

    async def scenario() -> None:
        hub = Flaky()
        hub.scripts["Bad"] = script
        async with hub.host() as (engine, client):
            await client.start("Bad", "one")
            assert (await hub.finished(client, "one")).status is RuntimeStatus.FAILED
            await hub.rewind(engine, "one")
            assert (await hub.finished(client, "one")).status is RuntimeStatus.FAILED
            assert await hub.store.read(bad_id) is None

    asyncio.run(scenario())


def test_a_call_of_an_entity_that_still_waits_there_is_not_sent_twice() -> None:
    def script(history: Sequence[HistoryEvent]) -> list[Action]:
        actions: list[Action] = [ScheduleTask(0, "B"), CallEntity(1, "@counter@k", "add", "1")]
        if any(isinstance(event, TaskFailed) for event in history):
            return [*actions, CompleteExecution(failure=FailureDetails("bad"))]
        answers = [event for event in history if isinstance(event, EntityOperationCompleted)]
        return [*actions, CompleteExecution(answers[0].result)] if answers else actions

    async def scenario() -> None:
        hub = Flaky()
        hub.scripts["Calls"] = script
        gate = asyncio.Event()
        run_entity = hub.executor.run_entity

        async def slow(batch: EntityBatch) -> EntityResult:
            await gate.wait()
            return await run_entity(batch)

        hub.executor.run_entity = slow  # type: ignore[method-assign]  # an entity that takes long
        async with hub.host() as (engine, client):
            await client.start("Calls", "one")
            assert (await hub.finished(client, "one")).status is RuntimeStatus.FAILED
            hub.is_mended = True
            await hub.rewind(engine, "one")
            gate.set()
            record = await hub.finished(client, "one")
            assert (record.status, record.output) == (RuntimeStatus.COMPLETED, "1")

    asyncio.run(scenario())
