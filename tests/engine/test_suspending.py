"""Suspended instances record what happens and show it to their code when they are resumed."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta

from soloist.core.actions import Action, CompleteExecution, CreateTimer, ScheduleTask
from soloist.core.events import (
    ExecutionResumed,
    ExecutionSuspended,
    ExecutionTerminated,
    HistoryEvent,
    OrchestratorStarted,
    TaskCompleted,
)
from soloist.core.status import RuntimeStatus
from tests.engine.hub import Hub
from tests.engine.scripts import chain, fired, raised, results


def waits_twice(history: Sequence[HistoryEvent]) -> list[Action]:
    events = raised(history)
    actions: list[Action] = [ScheduleTask(0, "A", events[0].input)] if events else []
    done = results(history)
    return [*actions, CompleteExecution(done[0])] if done else actions


def sleeps(history: Sequence[HistoryEvent]) -> list[Action]:
    first = next(event for event in history if isinstance(event, OrchestratorStarted))
    actions: list[Action] = [CreateTimer(0, first.at + timedelta(minutes=1))]
    return [*actions, CompleteExecution("1")] if fired(history) else actions


SCRIPTS = {"Chain": chain(2), "Waits": waits_twice, "Sleeps": sleeps}


def test_a_suspended_instance_sees_nothing_until_it_is_resumed() -> None:
    async def scenario() -> None:
        hub = Hub(SCRIPTS)
        async with hub.host() as (engine, client):
            await client.start("Waits", "one")
            await hub.clock.settle()
            await hub.tell(engine, "one", ExecutionSuspended(hub.clock.now(), "wait"))
            assert (await client.status("one")).status is RuntimeStatus.SUSPENDED
            await client.raise_event("one", "E", "7")
            await hub.clock.jump(5)
            assert (await client.status("one")).status is RuntimeStatus.SUSPENDED
            assert not hub.executor.activity_runs
            await hub.tell(engine, "one", ExecutionResumed(hub.clock.now()))
            assert (await hub.finished(client, "one")).output == "7"
            assert hub.executor.replays == 0

    asyncio.run(scenario())


def test_what_happens_while_suspended_outlives_the_host() -> None:
    async def scenario() -> None:
        hub = Hub(SCRIPTS)
        async with hub.host() as (engine, client):
            await client.start("Waits", "one")
            await hub.clock.settle()
            await hub.tell(engine, "one", ExecutionSuspended(hub.clock.now(), "wait"))
            await client.raise_event("one", "E", "7")
            await hub.clock.settle()
        hub.executor.lose_everything()
        async with hub.host(store=hub.new_store()) as (engine, client):
            await hub.clock.jump(5)
            assert (await client.status("one")).status is RuntimeStatus.SUSPENDED
            await hub.tell(engine, "one", ExecutionResumed(hub.clock.now()))
            assert (await hub.finished(client, "one")).output == "7"

    asyncio.run(scenario())


def test_an_activity_that_ends_meanwhile_is_recorded_once() -> None:
    async def scenario() -> None:
        hub = Hub(SCRIPTS)
        hub.executor.held = asyncio.Event()
        async with hub.host() as (engine, client):
            await client.start("Chain", "one")
            await hub.clock.settle()
            await hub.tell(engine, "one", ExecutionSuspended(hub.clock.now(), None))
            hub.executor.held.set()
            await hub.clock.settle()
            history = await hub.history(client, "one")
            assert sum(isinstance(event, TaskCompleted) for event in history) == 1
            assert (await client.status("one")).status is RuntimeStatus.SUSPENDED
            await hub.tell(engine, "one", ExecutionResumed(hub.clock.now()))
            assert (await hub.finished(client, "one")).output == '"0,1"'
            assert set(hub.executor.activity_runs.values()) == {1}

    asyncio.run(scenario())


def test_a_timer_that_fires_meanwhile_is_seen_after_the_resume() -> None:
    async def scenario() -> None:
        hub = Hub(SCRIPTS)
        async with hub.host() as (engine, client):
            await client.start("Sleeps", "one")
            await hub.clock.settle()
            await hub.tell(engine, "one", ExecutionSuspended(hub.clock.now(), None))
            await hub.clock.jump(300, step_seconds=10)
            assert (await client.status("one")).status is RuntimeStatus.SUSPENDED
            await hub.tell(engine, "one", ExecutionResumed(hub.clock.now()))
            assert (await hub.finished(client, "one")).output == "1"

    asyncio.run(scenario())


def test_suspending_and_resuming_twice_means_nothing() -> None:
    async def scenario() -> None:
        hub = Hub(SCRIPTS)
        async with hub.host() as (engine, client):
            await client.start("Waits", "one")
            await hub.clock.settle()
            length = (await client.status("one")).history_length
            await hub.tell(engine, "one", ExecutionResumed(hub.clock.now()))
            assert (await client.status("one")).history_length == length
            for _ in range(2):
                await hub.tell(engine, "one", ExecutionSuspended(hub.clock.now(), None))
            assert (await client.status("one")).history_length == length + 1

    asyncio.run(scenario())


def test_a_suspended_instance_can_be_terminated() -> None:
    async def scenario() -> None:
        hub = Hub(SCRIPTS)
        async with hub.host() as (engine, client):
            await client.start("Waits", "one")
            await hub.clock.settle()
            await hub.tell(engine, "one", ExecutionSuspended(hub.clock.now(), None))
            await hub.tell(engine, "one", ExecutionTerminated(hub.clock.now(), "enough"))
            record = await client.status("one")
            assert (record.status, record.output) == (RuntimeStatus.TERMINATED, "enough")

    asyncio.run(scenario())


def test_an_instance_whose_code_has_returned_ends_only_when_it_is_resumed() -> None:
    def returns_at_once(history: Sequence[HistoryEvent]) -> list[Action]:
        return [ScheduleTask(0, "A", "1"), CompleteExecution("2")]

    async def scenario() -> None:
        hub = Hub({"Returns": returns_at_once})
        hub.executor.held = asyncio.Event()
        async with hub.host() as (engine, client):
            await client.start("Returns", "one")
            await hub.clock.settle()
            await hub.tell(engine, "one", ExecutionSuspended(hub.clock.now(), None))
            hub.executor.held.set()
            await hub.clock.settle()
            assert (await client.status("one")).status is RuntimeStatus.SUSPENDED
            await hub.tell(engine, "one", ExecutionResumed(hub.clock.now()))
            assert (await hub.finished(client, "one")).output == "2"

    asyncio.run(scenario())
