"""Sub-orchestrations: parents, children and what passes between them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta

import pytest

from soloist.core.actions import (
    Action,
    CompleteExecution,
    CreateTimer,
    ScheduleSubOrchestration,
    ScheduleTask,
)
from soloist.core.events import (
    ExecutionTerminated,
    HistoryEvent,
    OrchestratorStarted,
    SubOrchestrationInstanceCompleted,
    SubOrchestrationInstanceCreated,
    SubOrchestrationInstanceFailed,
)
from soloist.core.failures import FailureDetails
from soloist.core.instances import InstanceQuery
from soloist.core.policy import StartPolicy
from soloist.core.status import RuntimeStatus
from tests.engine.hub import Hub
from tests.engine.scripts import chain, fired, raised, results, started


def waits(history: Sequence[HistoryEvent]) -> list[Action]:
    events = raised(history)
    return [CompleteExecution(events[0].input)] if events else []


def fails(history: Sequence[HistoryEvent]) -> list[Action]:
    return [CompleteExecution(failure=FailureDetails("no luck", "ValueError", "trace"))]


def sleeps(history: Sequence[HistoryEvent]) -> list[Action]:
    first = next(event for event in history if isinstance(event, OrchestratorStarted))
    actions: list[Action] = [CreateTimer(0, first.at + timedelta(hours=1))]
    return [*actions, CompleteExecution("1")] if fired(history) else actions


def calls(name: str, instance_id: str | None = None, version: str | None = None):  # type: ignore[no-untyped-def]  # a script
    def script(history: Sequence[HistoryEvent]) -> list[Action]:
        actions: list[Action] = [
            ScheduleSubOrchestration(0, name, started(history).input, instance_id, version)
        ]
        for event in history:
            if isinstance(event, SubOrchestrationInstanceCompleted):
                return [*actions, CompleteExecution(event.result)]
            if isinstance(event, SubOrchestrationInstanceFailed):
                return [*actions, CompleteExecution(failure=event.failure)]
        return actions

    return script


def fans_out(history: Sequence[HistoryEvent]) -> list[Action]:
    actions: list[Action] = [
        ScheduleSubOrchestration(number, "Chain", str(number)) for number in range(20)
    ]
    done = [each for each in history if isinstance(each, SubOrchestrationInstanceCompleted)]
    return [*actions, CompleteExecution(str(len(done)))] if len(done) == 20 else actions


SCRIPTS = {
    "Chain": chain(2),
    "Waits": waits,
    "Fails": fails,
    "Sleeps": sleeps,
    "FansOut": fans_out,
    "Calls": calls("Chain"),
    "CallsWaits": calls("Waits", "child"),
    "CallsFails": calls("Fails", "child"),
    "CallsItself": calls("CallsItself", "self"),
    "CallsBadId": calls("Chain", "@no"),
    "CallsDeep": calls("Calls"),
    "CallsSleeps": calls("Sleeps", "child"),
    "CallsParentOfSleeps": calls("CallsSleeps", "middle"),
}


def test_a_parent_waits_for_its_child_and_gets_its_result() -> None:
    async def scenario() -> None:
        hub = Hub(SCRIPTS)
        async with hub.host() as (_, client):
            await client.start("CallsDeep", "one", input='"x"')
            await hub.clock.settle()
            record = await client.status("one")
            assert (record.status, record.output) == (RuntimeStatus.COMPLETED, '"0,1"')
            assert hub.executor.replays == 0, "nothing was loaded again"
            history = await hub.history(client, "one")
            created = next(e for e in history if isinstance(e, SubOrchestrationInstanceCreated))
            assert created.instance_id == f"{record.execution_id}:0"
            child = await client.status(created.instance_id)
            assert child.parent is not None and child.parent.instance_id == "one"
            assert child.input == '"x"'

    asyncio.run(scenario())


def test_twenty_children_run_side_by_side() -> None:
    async def scenario() -> None:
        hub = Hub(SCRIPTS)
        async with hub.host() as (_, client):
            await client.start("FansOut", "one")
            record = await hub.finished(client, "one")
            assert record.output == "20"
            assert len((await client.list(InstanceQuery())).records) == 21

    asyncio.run(scenario())


def test_the_failure_of_a_child_reaches_its_parent_with_its_type() -> None:
    async def scenario() -> None:
        hub = Hub(SCRIPTS)
        async with hub.host() as (_, client):
            await client.start("CallsFails", "one")
            record = await hub.finished(client, "one")
            assert record.failure == FailureDetails("no luck", "ValueError", "trace")

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("name", "instance_id", "reason"),
    [
        ("CallsItself", "self", "An Orchestration instance with the status"),
        ("CallsBadId", "one", "begins with '@'"),
    ],
)
def test_a_child_that_cannot_be_started_fails_its_task_at_once(
    name: str, instance_id: str, reason: str
) -> None:
    async def scenario() -> None:
        hub = Hub(SCRIPTS)
        async with hub.host() as (_, client):
            await client.start(name, instance_id)
            record = await hub.finished(client, instance_id)
            assert record.failure is not None and reason in record.failure.message

    asyncio.run(scenario())


def test_a_child_whose_id_is_taken_by_a_live_instance_fails_and_by_a_finished_one_runs() -> None:
    async def scenario() -> None:
        hub = Hub(SCRIPTS)
        async with hub.host() as (_, client):
            await client.start("Waits", "child")
            await client.start("CallsWaits", "one")
            failed = await hub.finished(client, "one")
            assert failed.failure is not None
            assert "already exists" in failed.failure.message
            await client.raise_event("child", "E", "1")
            await hub.clock.settle()
            await client.start("CallsWaits", "one")
            await hub.clock.settle()
            await client.raise_event("child", "E", "2")
            assert (await hub.finished(client, "one")).output == "2"

    asyncio.run(scenario())


def test_a_termination_ends_the_whole_tree_below() -> None:
    async def scenario() -> None:
        hub = Hub(SCRIPTS)
        async with hub.host() as (engine, client):
            await client.start("CallsParentOfSleeps", "one")
            await hub.clock.settle()
            await hub.tell(engine, "one", ExecutionTerminated(hub.clock.now(), "enough"))
            for instance_id in ("one", "middle", "child"):
                record = await hub.finished(client, instance_id)
                assert (record.status, record.output) == (RuntimeStatus.TERMINATED, "enough")

    asyncio.run(scenario())


def test_a_termination_that_is_not_recursive_leaves_the_children_alone() -> None:
    async def scenario() -> None:
        hub = Hub(SCRIPTS)
        async with hub.host() as (engine, client):
            await client.start("CallsSleeps", "one")
            await hub.clock.settle()
            ended = ExecutionTerminated(hub.clock.now(), "enough", is_recursive=False)
            await hub.tell(engine, "one", ended)
            assert (await client.status("one")).status is RuntimeStatus.TERMINATED
            assert (await client.status("child")).status is RuntimeStatus.RUNNING
            assert (await hub.finished(client, "child", hours=2)).output == "1"

    asyncio.run(scenario())


def test_the_parent_of_a_terminated_child_learns_the_reason() -> None:
    async def scenario() -> None:
        hub = Hub(SCRIPTS)
        async with hub.host() as (engine, client):
            await client.start("CallsSleeps", "one")
            await hub.clock.settle()
            await hub.tell(engine, "child", ExecutionTerminated(hub.clock.now(), "enough"))
            record = await hub.finished(client, "one")
            assert record.failure == FailureDetails("enough")

    asyncio.run(scenario())


def test_replacing_a_parent_ends_its_children_and_replacing_a_child_tells_its_parent() -> None:
    async def scenario() -> None:
        hub = Hub(SCRIPTS)
        async with hub.host() as (_, client):
            await client.start("CallsParentOfSleeps", "one")
            await hub.clock.settle()
            await client.start("Waits", "middle", policy=StartPolicy.REPLACE)
            parent = await hub.finished(client, "one")
            assert parent.failure is not None and "replaced" in parent.failure.message
            assert (await hub.finished(client, "child")).status is RuntimeStatus.TERMINATED
            assert (await client.status("middle")).status is RuntimeStatus.RUNNING

    asyncio.run(scenario())


def test_children_outlive_the_host_that_started_them() -> None:
    async def scenario() -> None:
        hub = Hub(SCRIPTS)
        async with hub.host() as (_, client):
            await client.start("CallsParentOfSleeps", "one")
            await hub.clock.settle()
        hub.executor.lose_everything()
        async with hub.host(store=hub.new_store()) as (_, client):
            assert (await hub.finished(client, "one", hours=2)).output == "1"

    asyncio.run(scenario())


def test_a_child_gets_the_default_version_unless_it_is_given_one() -> None:
    async def scenario() -> None:
        from soloist.core.versions import VersionRule
        from soloist.engine import EngineSettings

        scripts = {**SCRIPTS, "CallsOld": calls("Chain", "old", "1.0")}
        hub = Hub(scripts)
        settings = EngineSettings(versions=VersionRule(version="2.0"))
        async with hub.host(settings) as (_, client):
            await client.start("CallsWaits", "one")
            await client.start("CallsOld", "two")
            await hub.clock.settle()
            assert (await client.status("child")).version == "2.0"
            assert (await client.status("old")).version == "1.0"

    asyncio.run(scenario())


def test_results_of_activities_are_not_confused_with_those_of_children() -> None:
    def mixed(history: Sequence[HistoryEvent]) -> list[Action]:
        actions: list[Action] = [
            ScheduleTask(0, "A", '"a"'),
            ScheduleSubOrchestration(1, "Chain", '"c"'),
            ScheduleTask(2, "A", '"b"'),
        ]
        done = [e for e in history if isinstance(e, SubOrchestrationInstanceCompleted)]
        if len(results(history)) < 2 or not done:
            return actions
        return [*actions, CompleteExecution(done[0].result)]

    async def scenario() -> None:
        hub = Hub({**SCRIPTS, "Mixed": mixed})
        async with hub.host() as (_, client):
            await client.start("Mixed", "one")
            assert (await hub.finished(client, "one")).output == '"0,1"'

    asyncio.run(scenario())
