"""The engine on the reference store, with time that jumps."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta

import pytest

from soloist.core.actions import (
    Action,
    CancelTimer,
    CompleteExecution,
    ContinueAsNew,
    CreateTimer,
    ScheduleTask,
)
from soloist.core.events import HistoryEvent, OrchestratorStarted
from soloist.core.failures import FailureDetails
from soloist.core.policy import StartPolicy
from soloist.core.status import RuntimeStatus
from soloist.engine import EngineSettings
from soloist.errors import InstanceExists, Overloaded
from tests.engine.hub import Hub
from tests.engine.scripts import ScriptExecutor, chain, fired, raised, results, started


def waits_for_event(history: Sequence[HistoryEvent]) -> list[Action]:
    events = raised(history)
    return [CompleteExecution(events[0].input)] if events else []


def sleeps_an_hour(history: Sequence[HistoryEvent]) -> list[Action]:
    first = next(event for event in history if isinstance(event, OrchestratorStarted))
    actions: list[Action] = [CreateTimer(0, first.at + timedelta(hours=1))]
    return [*actions, CompleteExecution('"awake"')] if fired(history) else actions


def counts_to_five(history: Sequence[HistoryEvent]) -> list[Action]:
    number = int(started(history).input or 0)
    actions: list[Action] = [ScheduleTask(0, "A", str(number))]
    if not results(history):
        return actions
    following = ContinueAsNew(str(number + 1)) if number < 5 else CompleteExecution(str(number))
    return [*actions, following]


def races_a_timer(history: Sequence[HistoryEvent]) -> list[Action]:
    first = next(event for event in history if isinstance(event, OrchestratorStarted))
    actions: list[Action] = [
        ScheduleTask(0, "A", "1"),
        CreateTimer(1, first.at + timedelta(days=1)),
    ]
    return [*actions, CancelTimer(1), CompleteExecution("1")] if results(history) else actions


def test_a_chain_of_activities_completes_without_any_time_passing() -> None:
    async def scenario() -> None:
        hub = Hub({"Chain": chain(3)})
        async with hub.host() as (_, client):
            receipt = await client.start("Chain", "one")
            assert receipt.lease is not None, "the accepting host holds a new instance at once"
            await hub.clock.settle()
            record = await client.status("one")
            assert (record.status, record.output) == (RuntimeStatus.COMPLETED, '"0,1,2"')
            assert hub.executor.replays == 0
            assert set(hub.executor.activity_runs.values()) == {1}

    asyncio.run(scenario())


def test_a_timer_wakes_its_instance_when_its_time_has_come_and_not_before() -> None:
    async def scenario() -> None:
        hub = Hub({"Sleep": sleeps_an_hour})
        async with hub.host() as (_, client):
            await client.start("Sleep", "one")
            await hub.clock.jump(3599, step_seconds=60)
            assert (await client.status("one")).status is RuntimeStatus.RUNNING
            await hub.clock.jump(2)
            assert (await client.status("one")).output == '"awake"'

    asyncio.run(scenario())


def test_a_resting_instance_costs_a_row_and_not_memory_and_still_wakes() -> None:
    async def scenario() -> None:
        hub = Hub({"Wait": waits_for_event})
        async with hub.host(EngineSettings(session_idle_seconds=5)) as (_, client):
            await client.start("Wait", "one")
            await hub.clock.jump(10)
            assert (await hub.store.backlog()).held == 0
            await client.raise_event("one", "E", '"x"')
            await hub.clock.settle()
            assert (await client.status("one")).output == '"x"'
            assert hub.executor.replays == 1

    asyncio.run(scenario())


def test_an_event_delivered_by_another_process_is_found_by_polling() -> None:
    async def scenario() -> None:
        hub = Hub({"Wait": waits_for_event})
        async with hub.host() as (_, client):
            await client.start("Wait", "one")
            await hub.clock.settle()
            elsewhere = hub.new_store()
            await elsewhere.open()
            await type(client)(elsewhere, hub.clock).raise_event("one", "E", "1")
            await hub.clock.jump(1)
            assert (await client.status("one")).output == "1"

    asyncio.run(scenario())


def test_an_instance_started_by_another_process_is_found_by_polling() -> None:
    async def scenario() -> None:
        hub = Hub({"Chain": chain(2)})
        async with hub.host() as (_, client):
            elsewhere = hub.new_store()
            await elsewhere.open()
            await type(client)(elsewhere, hub.clock).start("Chain", "one")
            assert (await client.status("one")).status is RuntimeStatus.PENDING
            await hub.clock.jump(1)
            assert (await client.status("one")).status is RuntimeStatus.COMPLETED

    asyncio.run(scenario())


def test_continue_as_new_goes_on_under_the_same_id_with_a_fresh_history() -> None:
    async def scenario() -> None:
        hub = Hub({"Count": counts_to_five})
        async with hub.host() as (_, client):
            first = await client.start("Count", "one", input="0")
            await hub.clock.settle()
            record = await client.status("one")
            assert (record.status, record.output) == (RuntimeStatus.COMPLETED, "5")
            assert record.generation == first.record.generation
            assert record.execution_id != first.record.execution_id
            assert record.history_length < 10

    asyncio.run(scenario())


def test_a_cancelled_timer_does_not_hold_the_end_up() -> None:
    async def scenario() -> None:
        hub = Hub({"Race": races_a_timer})
        async with hub.host() as (_, client):
            await client.start("Race", "one")
            await hub.clock.settle()
            assert (await client.status("one")).status is RuntimeStatus.COMPLETED

    asyncio.run(scenario())


def test_fifty_starts_at_once_make_one_instance_and_its_code_runs_once() -> None:
    async def scenario() -> None:
        hub = Hub({"Chain": chain(1)})
        async with hub.host() as (_, client):
            starts = [client.start("Chain", "one", input=str(caller)) for caller in range(50)]
            answers = await asyncio.gather(*starts, return_exceptions=True)
            won = [answer for answer in answers if not isinstance(answer, BaseException)]
            lost = [answer for answer in answers if isinstance(answer, InstanceExists)]
            assert (len(won), len(lost)) == (1, 49)
            await hub.clock.settle()
            record = await client.status("one")
            assert record.input == won[0].record.input
            assert hub.executor.activity_runs["one", 0] == 1

    asyncio.run(scenario())


def test_a_replaced_run_can_never_commit_again() -> None:
    async def scenario() -> None:
        hub = Hub({"Chain": chain(1), "Wait": waits_for_event})
        async with hub.host() as (_, client):
            hub.executor.held = asyncio.Event()
            await client.start("Chain", "one")
            await hub.clock.settle()
            old_activity, hub.executor.held = hub.executor.held, None
            await client.start("Wait", "one", policy=StartPolicy.REPLACE)
            old_activity.set()
            await hub.clock.settle()
            record = await client.status("one")
            assert (record.name, record.status) == ("Wait", RuntimeStatus.RUNNING)
            await client.raise_event("one", "E", "1")
            await hub.clock.settle()
            assert (await client.status("one")).output == "1"

    asyncio.run(scenario())


def test_termination_ends_an_instance_whatever_it_waits_for() -> None:
    async def scenario() -> None:
        hub = Hub({"Sleep": sleeps_an_hour})
        async with hub.host() as (_, client):
            await client.start("Sleep", "one")
            await hub.clock.settle()
            await client.terminate("one", "enough")
            await hub.clock.settle()
            record = await client.status("one")
            assert (record.status, record.output) == (RuntimeStatus.TERMINATED, "enough")

    asyncio.run(scenario())


def test_a_lost_worker_costs_a_replay_and_nothing_else() -> None:
    async def scenario() -> None:
        hub = Hub({"Wait": waits_for_event})
        async with hub.host() as (_, client):
            await client.start("Wait", "one")
            await hub.clock.settle()
            hub.executor.lose_everything()
            await client.raise_event("one", "E", "1")
            await hub.clock.settle()
            assert (await client.status("one")).status is RuntimeStatus.COMPLETED
            assert hub.executor.replays == 1

    asyncio.run(scenario())


def test_a_stopped_host_leaves_everything_to_the_next_one() -> None:
    async def scenario() -> None:
        hub = Hub({"Chain": chain(3)})
        hub.executor.held = asyncio.Event()
        async with hub.host() as (_, client):
            await client.start("Chain", "one")
            await hub.clock.settle()
        hub.executor = ScriptExecutor(hub.scripts)
        async with hub.host() as (_, client):
            record = await hub.finished(client, "one")
            assert record.status is RuntimeStatus.COMPLETED

    asyncio.run(scenario())


def test_more_instances_than_sessions_are_all_completed_in_turn() -> None:
    async def scenario() -> None:
        hub = Hub({"Chain": chain(2), "Wait": waits_for_event})
        async with hub.host(EngineSettings(max_sessions=3)) as (_, client):
            for number in range(20):
                await client.start("Wait", f"waiting-{number}")
                await client.start("Chain", f"working-{number}")
            await hub.clock.jump(30)
            for number in range(20):
                status = (await client.status(f"working-{number}")).status
                assert status is RuntimeStatus.COMPLETED
                status = (await client.status(f"waiting-{number}")).status
                assert status is RuntimeStatus.RUNNING

    asyncio.run(scenario())


def test_a_full_line_refuses_a_start_instead_of_letting_it_wait() -> None:
    async def scenario() -> None:
        hub = Hub({"Chain": chain(1)})
        hub.executor.held = asyncio.Event()
        async with hub.host(EngineSettings(max_sessions=1, max_due_instances=2)) as (_, client):
            for number in range(3):
                await client.start("Chain", str(number))
            await hub.clock.jump(1)
            with pytest.raises(Overloaded, match="max_due_instances"):
                await client.start("Chain", "one too many")
            hub.executor.held.set()
            await hub.clock.jump(5)
            await client.start("Chain", "now there is room")

    asyncio.run(scenario())


def test_an_orchestration_that_fails_is_told_in_the_log(
    capsys: pytest.CaptureFixture[str],
) -> None:
    failure = FailureDetails("no such city", "ValueError", "File app.py, line 7")

    async def scenario() -> None:
        hub = Hub({"Fails": lambda _: [CompleteExecution(failure=failure)]})
        async with hub.host() as (_, client):
            await client.start("Fails", "lost")
            await hub.finished(client, "lost")

    asyncio.run(scenario())
    told = capsys.readouterr().out
    parts = ("an orchestration failed", "Fails", "lost", "no such city", "line 7")
    assert all(each in told for each in parts), told


def test_a_failing_activity_reaches_the_history_as_a_failure() -> None:
    def script(history: Sequence[HistoryEvent]) -> list[Action]:
        failed = any(type(event).__name__ == "TaskFailed" for event in history)
        actions: list[Action] = [ScheduleTask(0, "Bad")]
        return [*actions, CompleteExecution('"caught"')] if failed else actions

    async def scenario() -> None:
        hub = Hub({"Catch": script})
        async with hub.host() as (_, client):
            await client.start("Catch", "one")
            await hub.clock.settle()
            assert (await client.status("one")).output == '"caught"'

    asyncio.run(scenario())


def test_who_waits_for_an_instance_is_told_when_it_ends_without_any_time_passing() -> None:
    async def scenario() -> None:
        hub = Hub({"Wait": waits_for_event})
        async with hub.host() as (_, client):
            await client.start("Wait", "one")
            waiting = [asyncio.create_task(client.wait("one", 3600)) for _ in range(3)]
            await hub.clock.settle()
            assert not any(each.done() for each in waiting)
            await client.raise_event("one", "E", "7")
            await hub.clock.settle()
            assert [(await each).output for each in waiting] == ["7"] * 3

    asyncio.run(scenario())


def test_waiting_ends_when_the_time_is_over_also_for_an_instance_that_is_held() -> None:
    async def scenario() -> None:
        hub = Hub({"Wait": waits_for_event})
        async with hub.host() as (_, client):
            await client.start("Wait", "one")
            waiting = asyncio.create_task(client.wait("one", 60))
            await hub.clock.jump(58, step_seconds=0.5)
            assert not waiting.done()
            await hub.clock.jump(3, step_seconds=0.5)
            assert (await waiting).status is RuntimeStatus.RUNNING

    asyncio.run(scenario())
