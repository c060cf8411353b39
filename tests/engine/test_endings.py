"""What whoever waits is told of an end: the same as the store holds."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from soloist.client import Client
from soloist.contracts.store import Store
from soloist.core.actions import Action, CompleteExecution, ContinueAsNew, ScheduleTask
from soloist.core.events import HistoryEvent
from soloist.core.extras import Extras
from soloist.core.failures import FailureDetails
from soloist.core.instances import InstanceRecord
from soloist.core.policy import StartPolicy
from soloist.core.status import RuntimeStatus
from soloist.core.versions import VersionRule
from soloist.engine import EngineSettings
from soloist.stores import store_at
from tests.engine.hub import Hub
from tests.engine.scripts import raised, results, started

SETTINGS = EngineSettings(versions=VersionRule(version="2.0"))


def ends_as_told(history: Sequence[HistoryEvent]) -> list[Action]:
    """Run an activity, wait for an event, and end in the way that it names."""
    actions: list[Action] = [ScheduleTask(0, "A", "1")]
    events = raised(history)
    if not results(history) or not events:
        return actions
    match events[0].name:
        case "complete":
            return [*actions, CompleteExecution('"ended"')]
        case "fail":
            return [*actions, CompleteExecution(failure=FailureDetails("bad", "ValueError"))]
    return [*actions, ContinueAsNew('"again"', version="2.0")]


def ends_in_its_second_execution(history: Sequence[HistoryEvent]) -> list[Action]:
    first = started(history)
    if first.input == '"again"':
        return [CompleteExecution(first.version)]
    return ends_as_told(history)


@pytest.fixture(params=["memory", "sqlite"])
def hub(request: pytest.FixtureRequest, tmp_path: Path) -> Hub:
    """A hub whose store is kept in memory or in a file."""
    hub = Hub({"Ends": ends_in_its_second_execution})
    if request.param == "sqlite":
        hub.store = stored_at(tmp_path / "hub.db", hub)
    return hub


def stored_at(path: Path, hub: Hub) -> Store:
    return store_at(str(path), task_hub="Hub", clock=hub.clock)


@contextmanager
def reading_nothing(hub: Hub) -> Iterator[None]:
    """Let no instance be read meanwhile."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hub.store, "read", None)
        yield


async def is_waited_for(hub: Hub, client: Client) -> asyncio.Task[InstanceRecord]:
    extras = Extras(tags={"a": "b"})
    await client.start("Ends", "x", input='"first"', version="1.0", extras=extras)
    waiting = asyncio.create_task(client.wait("x", 60))
    await hub.clock.jump(1.0, step_seconds=0.5)  # it ends at another time than it began
    return waiting


@pytest.mark.parametrize("way", ["complete", "fail", "continue"])
def test_whoever_waits_is_told_what_the_store_holds(hub: Hub, way: str) -> None:
    async def scenario() -> None:
        async with hub.host(SETTINGS) as (_, client):
            waiting = await is_waited_for(hub, client)
            with reading_nothing(hub):
                await client.raise_event("x", way, None)
                told = await asyncio.wait_for(waiting, 20)
            held = await client.status("x")
            assert told == held
            assert held.status.is_terminal

    asyncio.run(scenario())


def test_whoever_waits_is_told_of_a_termination_as_the_store_holds_it(hub: Hub) -> None:
    async def scenario() -> None:
        async with hub.host(SETTINGS) as (_, client):
            waiting = await is_waited_for(hub, client)
            with reading_nothing(hub):
                await client.terminate("x", "enough")
                told = await asyncio.wait_for(waiting, 20)
            assert told == await client.status("x")
            assert told.status is RuntimeStatus.TERMINATED
            assert told.output == "enough"

    asyncio.run(scenario())


def test_whoever_waits_for_an_instance_that_is_replaced_waits_for_the_next(hub: Hub) -> None:
    async def scenario() -> None:
        async with hub.host(SETTINGS) as (_, client):
            waiting = await is_waited_for(hub, client)
            second = await client.start("Ends", "x", policy=StartPolicy.REPLACE)
            await hub.clock.settle()
            await client.raise_event("x", "complete", None)
            told = await asyncio.wait_for(waiting, 20)
            assert told == await client.status("x")
            assert told.generation == second.record.generation

    asyncio.run(scenario())


def test_waiting_ends_when_its_time_is_over(hub: Hub) -> None:
    async def scenario() -> None:
        async with hub.host(SETTINGS) as (_, client):
            waiting = await is_waited_for(hub, client)
            await hub.clock.jump(58.0, step_seconds=0.5)
            assert not waiting.done()
            await hub.clock.jump(2.0, step_seconds=0.5)
            assert (await asyncio.wait_for(waiting, 20)).status is RuntimeStatus.RUNNING

    asyncio.run(scenario())


def test_whoever_begins_to_wait_while_the_end_is_committed_looks_for_itself() -> None:
    async def scenario() -> None:
        hub = Hub({"Ends": ends_in_its_second_execution})
        async with hub.host(SETTINGS) as (engine, client):
            waiting = await is_waited_for(hub, client)
            answered, commit = asyncio.Event(), hub.store.commit

            async def commit_and_answer_late(*step: Any) -> Any:
                receipt = await commit(*step)
                await answered.wait()
                return receipt

            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(hub.store, "commit", commit_and_answer_late)
                try:
                    await client.raise_event("x", "complete", None)
                    await hub.clock.settle()
                    assert (await client.status("x")).status is RuntimeStatus.COMPLETED
                    assert not waiting.done()
                    assert engine.end_of("x") is None
                finally:
                    answered.set()
                await asyncio.wait_for(waiting, 20)

    asyncio.run(scenario())


def test_what_has_ended_is_gone_without_a_search_for_cycles() -> None:
    async def scenario() -> None:
        hub = Hub({"Ends": ends_in_its_second_execution})
        async with hub.host(SETTINGS) as (engine, client):
            waiting = await is_waited_for(hub, client)
            (session,) = engine._sessions.values()
            watched = weakref.ref(session)
            del session
            gc.disable()
            try:
                await client.raise_event("x", "continue", None)
                await asyncio.wait_for(waiting, 20)
                await hub.clock.settle()
                assert watched() is None
            finally:
                gc.enable()

    asyncio.run(scenario())
