"""Entities: operations one after another, their effect on the state exactly once."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta

import pytest

from soloist.contracts.executor import (
    EntityBatch,
    EntityResult,
    EntitySignal,
    Episode,
    OperationResult,
)
from soloist.core.actions import (
    Action,
    CallEntity,
    CompleteExecution,
    ContinueAsNew,
    EpisodeResult,
    SignalEntity,
)
from soloist.core.episode import Limits
from soloist.core.events import (
    EntityOperationCompleted,
    EntityOperationFailed,
    EntityRequested,
    EventRaised,
    HistoryEvent,
)
from soloist.core.failures import FailureDetails
from soloist.core.status import RuntimeStatus
from soloist.engine import EngineSettings
from soloist.errors import WorkerLost
from tests.engine.hub import Hub
from tests.engine.scripts import raised, started

COUNTER = "@counter@k"


def signals_then_calls(history: Sequence[HistoryEvent]) -> list[Action]:
    actions: list[Action] = [
        SignalEntity(0, COUNTER, "add", "5"),
        SignalEntity(1, COUNTER, "add", "6"),
        CallEntity(2, COUNTER, "add", "0"),
    ]
    for event in history:
        if isinstance(event, EntityOperationCompleted):
            return [*actions, CompleteExecution(event.result)]
    return actions


def calls(operation: str, entity_id: str = COUNTER):  # type: ignore[no-untyped-def]  # a script
    def script(history: Sequence[HistoryEvent]) -> list[Action]:
        actions: list[Action] = [CallEntity(0, entity_id, operation, "1")]
        for event in history:
            if isinstance(event, EntityOperationCompleted):
                return [*actions, CompleteExecution(event.result)]
            if isinstance(event, EntityOperationFailed):
                return [*actions, CompleteExecution(failure=event.failure)]
        return actions

    return script


SCRIPTS = {
    "SignalsThenCalls": signals_then_calls,
    "Adds": calls("add"),
    "Fails": calls("fail"),
    "BadId": calls("add", "@nobody"),
}


async def signal(hub: Hub, operation: str, text: str, *, in_seconds: float = 0) -> None:
    """Send a signal as a client elsewhere would."""
    now = hub.clock.now()
    due_at = now + timedelta(seconds=in_seconds) if in_seconds else None
    elsewhere = hub.new_store()
    await elsewhere.open()
    await elsewhere.deliver(COUNTER, EntityRequested(now, operation, text, due_at=due_at), None)


async def state(hub: Hub) -> str | None:
    record = await hub.store.read(COUNTER)
    return None if record is None else record.output


def test_operations_of_one_orchestration_run_in_the_order_in_which_it_asked() -> None:
    async def scenario() -> None:
        hub = Hub(SCRIPTS)
        async with hub.host() as (_, client):
            await client.start("SignalsThenCalls", "one")
            assert (await hub.finished(client, "one")).output == "11"
            assert await state(hub) == "11"

    asyncio.run(scenario())


def test_callers_and_signals_of_many_each_count_once() -> None:
    async def scenario() -> None:
        hub = Hub(SCRIPTS)
        async with hub.host() as (_, client):
            for number in range(50):
                await client.start("Adds", f"i{number}")
                await signal(hub, "add", "1")
            for number in range(50):
                assert (await hub.finished(client, f"i{number}")).status is RuntimeStatus.COMPLETED
            await hub.clock.jump(2)
            assert await state(hub) == "100"
            outputs = {(await client.status(f"i{number}")).output for number in range(50)}
            assert len(outputs) == 50, "each call saw a state of its own"

    asyncio.run(scenario())


def test_a_failed_operation_fails_its_caller_and_nobody_else() -> None:
    async def scenario() -> None:
        hub = Hub(SCRIPTS)
        async with hub.host() as (_, client):
            await signal(hub, "add", "3")
            await client.start("Fails", "one")
            record = await hub.finished(client, "one")
            assert record.failure == FailureDetails("bad", "ValueError")
            assert await state(hub) == "3"

    asyncio.run(scenario())


def test_a_call_of_an_impossible_entity_fails_at_once() -> None:
    async def scenario() -> None:
        hub = Hub(SCRIPTS)
        async with hub.host() as (_, client):
            await client.start("BadId", "one")
            record = await hub.finished(client, "one")
            assert record.failure is not None and "@name@key" in record.failure.message

    asyncio.run(scenario())


def test_a_delayed_signal_runs_when_its_time_has_come_also_after_a_restart() -> None:
    async def scenario() -> None:
        hub = Hub(SCRIPTS)
        async with hub.host():
            await signal(hub, "add", "1")
            await signal(hub, "add", "10", in_seconds=100)
            await signal(hub, "add", "100", in_seconds=50)
            await hub.clock.jump(60, step_seconds=1)
            assert await state(hub) == "101"
        async with hub.host(store=hub.new_store()):
            await hub.clock.jump(30, step_seconds=1)
            assert await state(hub) == "101"
            await hub.clock.jump(30, step_seconds=1)
            assert await state(hub) == "111"

    asyncio.run(scenario())


def test_an_entity_without_state_leaves_no_row_behind() -> None:
    async def scenario() -> None:
        hub = Hub(SCRIPTS)
        async with hub.host():
            await signal(hub, "add", "1")
            await hub.clock.jump(1)
            await signal(hub, "reset", "")
            await hub.clock.jump(1)
            assert await hub.store.read(COUNTER) is None
            await signal(hub, "add", "2")
            await hub.clock.jump(1)
            assert await state(hub) == "2"

    asyncio.run(scenario())


def test_a_batch_is_run_again_when_its_worker_dies_and_fails_when_that_never_ends() -> None:
    async def scenario() -> None:
        hub = Hub(SCRIPTS)
        run_entity = hub.executor.run_entity
        deaths = 2

        async def mortal(batch: EntityBatch) -> EntityResult:
            nonlocal deaths
            deaths -= 1
            if deaths >= 0:
                raise WorkerLost("It died.")
            return await run_entity(batch)

        hub.executor.run_entity = mortal  # type: ignore[method-assign]  # a worker that dies
        async with hub.host() as (_, client):
            await client.start("Adds", "one")
            assert (await hub.finished(client, "one")).output == "1"
            deaths = 100
            await client.start("Adds", "two")
            record = await hub.finished(client, "two")
            assert record.failure is not None and "lost 5 times" in record.failure.message
            assert await state(hub) == "1"

    asyncio.run(scenario())


def test_a_state_beyond_the_bound_is_refused_and_the_old_one_stays() -> None:
    async def scenario() -> None:
        hub = Hub(SCRIPTS)
        settings = EngineSettings(limits=Limits(max_payload_bytes=4))
        async with hub.host(settings) as (_, client):
            await signal(hub, "add", "9999")
            await hub.clock.jump(1)
            await client.start("Adds", "one")
            record = await hub.finished(client, "one")
            assert record.failure is not None and "--max-payload-bytes" in record.failure.message
            assert await state(hub) == "9999"

    asyncio.run(scenario())


def test_a_result_beyond_the_bound_fails_its_caller_and_the_state_is_kept() -> None:
    async def scenario() -> None:
        hub = Hub(SCRIPTS)

        async def tell_much(batch: EntityBatch) -> EntityResult:
            return EntityResult(results=(OperationResult('"much"'),), state="1")

        hub.executor.run_entity = tell_much  # type: ignore[method-assign]  # it tells too much
        async with hub.host(EngineSettings(limits=Limits(max_payload_bytes=5))) as (_, client):
            await client.start("Adds", "one")
            record = await hub.finished(client, "one")
            assert record.failure is not None and "result exceeds" in record.failure.message
            assert await state(hub) == "1"

    asyncio.run(scenario())


def test_a_signal_beyond_the_bound_is_not_sent_and_its_neighbour_is(
    capsys: pytest.CaptureFixture[str],
) -> None:
    async def scenario() -> None:
        hub = Hub(SCRIPTS)
        run_entity = hub.executor.run_entity

        async def pass_on(batch: EntityBatch) -> EntityResult:
            if batch.key != "k":
                return await run_entity(batch)
            sent = tuple(
                EntitySignal(entity_id="@counter@other", operation="add", input=text)
                for text in ("7", "123456")
            )
            return EntityResult(results=(OperationResult("1"),), state="1", sent=sent)

        hub.executor.run_entity = pass_on  # type: ignore[method-assign]  # it asks others
        async with hub.host(EngineSettings(limits=Limits(max_payload_bytes=5))):
            await signal(hub, "add", "1")
            await hub.clock.jump(1)
            other = await hub.store.read("@counter@other")
            assert other is not None and other.output == "7"

    asyncio.run(scenario())
    assert "--max-payload-bytes" in capsys.readouterr().out


def test_a_resting_entity_is_given_back_and_taken_up_again() -> None:
    async def scenario() -> None:
        hub = Hub(SCRIPTS)
        async with hub.host():
            await signal(hub, "add", "1")
            await hub.clock.jump(60, step_seconds=1)
            assert (await hub.store.backlog()).held == 0
            await signal(hub, "add", "1")
            await hub.clock.jump(2)
            assert await state(hub) == "2"

    asyncio.run(scenario())


def test_who_waits_for_an_entity_that_is_purged_is_told() -> None:
    async def scenario() -> None:
        hub = Hub(SCRIPTS)
        hangs = asyncio.Event()

        async def hang(batch: EntityBatch) -> EntityResult:
            await hangs.wait()
            raise WorkerLost("It died.")

        hub.executor.run_entity = hang  # type: ignore[method-assign]  # it never answers
        async with hub.host() as (_, client):
            await client.start("Adds", "one")
            await hub.clock.settle()
            await client.purge("@counter@k")
            record = await hub.finished(client, "one")
            assert record.failure is not None and "purged" in record.failure.message
            hangs.set()

    asyncio.run(scenario())


def test_an_answer_for_an_execution_that_has_continued_as_new_is_not_taken_by_the_next() -> None:
    def script(history: Sequence[HistoryEvent]) -> list[Action]:
        if started(history).input == "again":
            actions: list[Action] = [CallEntity(0, "@counter@new", "add", "100")]
            answers = [each for each in history if isinstance(each, EntityOperationCompleted)]
            return [*actions, CompleteExecution(answers[0].result)] if answers else actions
        begun: list[Action] = [CallEntity(0, "@counter@old", "add", "1")]
        return [*begun, ContinueAsNew("again")] if raised(history) else begun

    async def scenario() -> None:
        hub = Hub({"Again": script})
        gates = {"old": asyncio.Event(), "turn": asyncio.Event()}
        run_entity, run_episode = hub.executor.run_entity, hub.executor.run_episode

        async def slow_entity(batch: EntityBatch) -> EntityResult:
            if batch.key == "old":
                await gates["old"].wait()
            return await run_entity(batch)

        async def slow_episode(episode: Episode) -> EpisodeResult:
            if any(isinstance(event, EventRaised) for event in episode.events):
                await gates["turn"].wait()
            return await run_episode(episode)

        hub.executor.run_entity = slow_entity  # type: ignore[method-assign]  # one that is slow
        hub.executor.run_episode = slow_episode  # type: ignore[method-assign]  # the same
        async with hub.host(EngineSettings(max_arrivals_per_turn=1)) as (_, client):
            await client.start("Again", "one")
            await hub.clock.settle()
            await client.raise_event("one", "E", "1")
            await hub.clock.settle()
            gates["old"].set()  # the answer arrives while the code is about to continue as new
            await hub.clock.settle()
            gates["turn"].set()
            assert (await hub.finished(client, "one")).output == "100"

    asyncio.run(scenario())
