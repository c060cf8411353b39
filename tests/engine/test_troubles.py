"""When something else goes wrong: nothing is stuck, nothing fails that need not."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Any

import pytest
import structlog

from soloist.client import Client
from soloist.contracts.executor import ActivityCall, ActivityResult, Episode
from soloist.core.actions import (
    Action,
    CompleteExecution,
    CreateTimer,
    EpisodeResult,
    ScheduleTask,
)
from soloist.core.events import (
    HistoryEvent,
    OrchestratorStarted,
    TaskCompleted,
    TaskFailed,
    TimerFired,
)
from soloist.core.instances import StartRequest
from soloist.core.policy import StartPolicy
from soloist.core.status import RuntimeStatus
from soloist.engine import DrainProgress, Engine, EngineSettings
from soloist.errors import AppError, Overloaded, StoreUnavailable, WorkerAbsent, WorkerLost
from tests.engine.hub import Hub
from tests.engine.scripts import Script, ScriptExecutor, chain, raised, results

HOUR = 3600


def pair(history: Sequence[HistoryEvent]) -> list[Action]:
    actions: list[Action] = [ScheduleTask(number, "A", str(number)) for number in range(2)]
    return [*actions, CompleteExecution('"x"')] if len(results(history)) == 2 else actions


def waits(history: Sequence[HistoryEvent]) -> list[Action]:
    events = raised(history)
    return [CompleteExecution(events[0].input)] if events else []


def breaks_a_law(_history: Sequence[HistoryEvent]) -> list[Action]:
    return [ScheduleTask(0, "A"), ScheduleTask(0, "A")]


class FickleStore:
    """A store whose verbs can be made to fail once, to wait, or to answer something else."""

    def __init__(self, store: object) -> None:
        self._store = store
        self.errors: dict[str, list[Exception]] = {}
        self.gates: dict[str, asyncio.Event] = {}
        self.answers: dict[str, list[object]] = {}

    def __getattr__(self, name: str) -> Any:
        verb: Callable[..., Awaitable[object]] = getattr(self._store, name)

        if not inspect.iscoroutinefunction(verb):
            return verb

        async def call(*arguments: object, **named: object) -> object:
            if name in self.gates:
                await self.gates[name].wait()
            if self.errors.get(name):
                raise self.errors[name].pop(0)
            if self.answers.get(name):
                return self.answers[name].pop(0)
            return await verb(*arguments, **named)

        return call


class Trouble:
    """A hub behind a fickle store, with a host."""

    def __init__(self, scripts: dict[str, Script], settings: EngineSettings | None = None) -> None:
        self.hub = Hub(scripts)
        self.store: Any = FickleStore(self.hub.store)
        self.engine = Engine(self.store, self.hub.clock, self.hub.executor, settings)
        self.client = Client(self.store, self.hub.clock, wakeups=self.engine)

    async def begin(self) -> Trouble:
        """Start the host."""
        await self.store.open()
        await self.engine.start()
        return self

    async def status(self, instance_id: str) -> RuntimeStatus:
        """Return an instance's status."""
        return (await self.client.status(instance_id)).status

    async def history(self, instance_id: str) -> tuple[HistoryEvent, ...]:
        """Return an instance's history."""
        return await self.client.history(await self.client.status(instance_id))


def test_a_result_that_arrives_while_the_host_stops_is_kept() -> None:
    gates = {0: asyncio.Event(), 1: asyncio.Event()}

    class Gated(ScriptExecutor):
        async def run_activity(self, call: ActivityCall) -> ActivityResult:
            await gates[call.task_id].wait()
            return ActivityResult(call.input)

    async def scenario() -> None:
        trouble = Trouble({"Pair": pair})
        trouble.engine = Engine(trouble.store, trouble.hub.clock, Gated({"Pair": pair}))
        trouble.client = Client(trouble.store, trouble.hub.clock, wakeups=trouble.engine)
        await trouble.begin()
        await trouble.client.start("Pair", "one")
        await trouble.hub.clock.settle()
        stopping = asyncio.create_task(trouble.engine.stop(30))
        await trouble.hub.clock.settle()
        gate = trouble.store.gates["commit"] = asyncio.Event()
        gates[0].set()
        await trouble.hub.clock.settle()
        gates[1].set()
        await trouble.hub.clock.settle()
        gate.set()
        await trouble.hub.clock.jump(2)
        await stopping
        assert len(results(await trouble.history("one"))) == 2

    asyncio.run(scenario())


@pytest.mark.parametrize("error", [Overloaded("The line is full."), StoreUnavailable("Full.")])
@pytest.mark.parametrize("verbs", [("commit",), ("commit", "release")])
def test_a_store_that_refuses_for_a_while_leaves_nothing_stuck(
    error: Exception, verbs: tuple[str, ...]
) -> None:
    async def scenario() -> None:
        trouble = await Trouble({"Chain": chain(2)}).begin()
        for verb in verbs:
            trouble.store.errors[verb] = [error]
        await trouble.client.start("Chain", "one")
        await trouble.hub.clock.jump(10)
        assert await trouble.status("one") is RuntimeStatus.COMPLETED
        await trouble.engine.stop()

    asyncio.run(scenario())


def test_an_executor_that_breaks_a_law_fails_the_instance_even_if_the_store_fails_first() -> None:
    async def scenario() -> None:
        trouble = await Trouble({"Bad": breaks_a_law}).begin()
        trouble.store.errors["commit"] = [StoreUnavailable("Full.")]
        await trouble.client.start("Bad", "one")
        await trouble.hub.clock.jump(10)
        record = await trouble.client.status("one")
        assert record.status is RuntimeStatus.FAILED
        assert record.failure is not None
        assert "task id 0 again" in record.failure.message
        await trouble.engine.stop()

    asyncio.run(scenario())


def test_work_that_cannot_be_sent_to_a_worker_fails_instead_of_being_tried_for_ever() -> None:
    class Narrow(ScriptExecutor):
        async def run_episode(self, episode: Episode) -> EpisodeResult:
            raise AppError("The call is too large.")

    async def scenario() -> None:
        hub = Hub({})
        hub.executor = Narrow({})
        async with hub.host() as (_, client):
            await client.start("Any", "one")
            await hub.clock.settle()
            record = await client.status("one")
            assert record.status is RuntimeStatus.FAILED
            assert record.failure is not None
            assert record.failure.message == "The call is too large."

    asyncio.run(scenario())


def test_a_machine_that_slept_keeps_its_leases_and_repeats_nothing() -> None:
    async def scenario() -> None:
        trouble = await Trouble({"Chain": chain(1), "Wait": waits}).begin()
        held = trouble.hub.executor.held = asyncio.Event()
        await trouble.client.start("Chain", "working")
        await trouble.client.start("Wait", "waiting")
        await trouble.hub.clock.settle()
        trouble.hub.clock.advance(HOUR)
        await trouble.hub.clock.jump(10)
        held.set()
        await trouble.client.raise_event("waiting", "E", "1")
        await trouble.hub.clock.jump(1)
        assert await trouble.status("working") is RuntimeStatus.COMPLETED
        assert await trouble.status("waiting") is RuntimeStatus.COMPLETED
        assert trouble.hub.executor.activity_runs == {("working", 0): 1}
        await trouble.engine.stop()

    asyncio.run(scenario())


def test_a_host_that_was_taken_over_drops_its_sessions_and_starts_afresh() -> None:
    async def scenario() -> None:
        trouble = await Trouble({"Wait": waits}).begin()
        await trouble.client.start("Wait", "one")
        await trouble.hub.clock.settle()
        other = trouble.hub.new_store()
        await other.open()
        other_host = await other.join("other")
        trouble.hub.clock.advance(29)
        await other.renew(other_host)
        trouble.store.answers["renew"] = [False]
        await trouble.hub.clock.jump(40)
        await trouble.client.raise_event("one", "E", "1")
        await trouble.hub.clock.jump(40)
        assert await trouble.status("one") is RuntimeStatus.COMPLETED
        await trouble.engine.stop()

    asyncio.run(scenario())


def test_a_takeover_is_told_with_the_host_that_is_gone_and_what_it_held() -> None:
    async def scenario() -> None:
        hub = Hub({"Wait": waits})
        dead = hub.new_store()
        await dead.open()
        dead_host = await dead.join("dead")
        async with hub.host() as (_, client):
            for name in ("one", "two"):
                started_at = hub.clock.now()
                await dead.start(
                    StartRequest(instance_id=name, execution_id=name, name="Wait", at=started_at),
                    dead_host,
                )
            with structlog.testing.capture_logs() as logs:
                await hub.clock.jump(60)
            assert (await client.status("two")).status is RuntimeStatus.RUNNING
        (line,) = [each for each in logs if "is gone" in each["event"]]
        assert line == {
            "event": "a host is gone; what it held is taken over",
            "log_level": "warning",
            "room": "engine.engine",
            "host": "dead",
            "host_id": dead_host,
            "instances": 2,
        }

    asyncio.run(scenario())


def test_stopping_does_not_wait_for_instances_in_back_off() -> None:
    class Broken(ScriptExecutor):
        async def run_episode(self, episode: Episode) -> EpisodeResult:
            raise RuntimeError("A fault of ours.")

    async def scenario() -> None:
        hub = Hub({})
        engine = Engine(hub.store, hub.clock, Broken({}))
        await hub.store.open()
        await engine.start()
        await Client(hub.store, hub.clock, wakeups=engine).start("Any", "one")
        await hub.clock.jump(70, step_seconds=1)
        stopping = asyncio.create_task(engine.stop(30))
        await hub.clock.settle()
        assert stopping.done()

    asyncio.run(scenario())


def test_a_replaced_run_runs_no_more_code() -> None:
    turns = []

    def sleeper(history: Sequence[HistoryEvent]) -> list[Action]:
        turns.append(len(history))
        first = next(event for event in history if isinstance(event, OrchestratorStarted))
        timer: list[Action] = [CreateTimer(0, first.at + timedelta(seconds=10))]
        fired = any(isinstance(event, TimerFired) for event in history)
        return [*timer, ScheduleTask(1, "A")] if fired else timer

    async def scenario() -> None:
        hub = Hub({"Sleep": sleeper, "Wait": waits})
        async with hub.host() as (_, client):
            await client.start("Sleep", "one")
            await hub.clock.settle()
            await client.start("Wait", "one", policy=StartPolicy.REPLACE)
            await hub.clock.jump(15)
            assert turns == [2]

    asyncio.run(scenario())


def test_starts_that_were_promised_more_room_than_there_is_are_run_all_the_same() -> None:
    async def scenario() -> None:
        trouble = await Trouble({"Chain": chain(1)}, EngineSettings(max_sessions=3)).begin()
        gate = trouble.store.gates["start"] = asyncio.Event()
        starts = [
            asyncio.create_task(trouble.client.start("Chain", str(number))) for number in range(50)
        ]
        await trouble.hub.clock.settle()
        gate.set()
        await asyncio.gather(*starts)
        await trouble.hub.clock.jump(30)
        for number in range(50):
            assert await trouble.status(str(number)) is RuntimeStatus.COMPLETED
        await trouble.engine.stop()

    asyncio.run(scenario())


def test_an_activity_that_kills_its_worker_fails_alone() -> None:
    def calls_poison(history: Sequence[HistoryEvent]) -> list[Action]:
        ended = any(isinstance(event, TaskFailed | TaskCompleted) for event in history)
        actions: list[Action] = [ScheduleTask(0, "Poison")]
        return [*actions, CompleteExecution(None)] if ended else actions

    class Shared(ScriptExecutor):
        """One process: whoever dies takes along what is under way."""

        under_way: set[asyncio.Future[None]]

        async def run_activity(self, call: ActivityCall) -> ActivityResult:
            mine: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self.under_way.add(mine)
            if call.name == "Poison":
                hub.clock.call_at(hub.clock.now() + timedelta(seconds=1), self.die)
            else:
                hub.clock.call_at(hub.clock.now() + timedelta(seconds=5), lambda: self.finish(mine))
            await mine
            return ActivityResult('"ok"')

        @staticmethod
        def finish(mine: asyncio.Future[None]) -> None:
            if not mine.done():
                mine.set_result(None)

        def die(self) -> None:
            dying, self.under_way = self.under_way, set()
            for future in dying:
                if not future.done():
                    future.set_exception(WorkerLost("It was killed."))

    scripts: dict[str, Script] = {"CallsPoison": calls_poison, "Slow": chain(1)}
    hub = Hub(scripts)

    async def scenario() -> None:
        shared = Shared(scripts)
        shared.under_way = set()
        hub.executor = shared
        async with hub.host() as (_, client):
            for number in range(3):
                await client.start("Slow", str(number))
            await client.start("CallsPoison", "poison")
            with structlog.testing.capture_logs() as logs:
                await hub.clock.jump(120)
            for number in range(3):
                history = await hub.store.history((await client.status(str(number))).generation)
                assert not any(isinstance(event, TaskFailed) for event in history)
                assert (await client.status(str(number))).status is RuntimeStatus.COMPLETED
            history = await hub.store.history((await client.status("poison")).generation)
            assert any(isinstance(event, TaskFailed) for event in history)
        told = [
            (line["log_level"], line["deaths"]) for line in logs if line.get("activity") == "Poison"
        ]
        assert told == [("info", 1), *(("warning", number) for number in (2, 3, 4)), ("error", 5)]
        assert [line["instance_id"] for line in logs if line["log_level"] == "error"] == ["poison"]

    asyncio.run(scenario())


def test_a_stop_names_the_activities_that_it_does_not_wait_for() -> None:
    async def scenario() -> None:
        trouble = await Trouble({"Chain": chain(1)}).begin()
        trouble.hub.executor.held = asyncio.Event()
        for number in range(7):
            await trouble.client.start("Chain", f"i{number}")
        await trouble.hub.clock.settle()
        with structlog.testing.capture_logs() as logs:
            stopping = asyncio.create_task(trouble.engine.stop(30))
            await trouble.hub.clock.jump(40)
            await stopping
        (told,) = [line["activities"] for line in logs if "abandoned" in line["event"]]
        names = told.removesuffix(" and 2 more").split(", ")
        assert [name.split(" ", 1)[1] for name in names] == [
            f"(instance i{number})" for number in range(5)
        ]

    asyncio.run(scenario())


def test_a_stop_that_fails_half_way_leaves_no_session_alive() -> None:
    def report(_progress: DrainProgress) -> None:
        raise BrokenPipeError

    async def scenario() -> None:
        trouble = await Trouble({"Chain": chain(1)}).begin()
        trouble.hub.executor.held = asyncio.Event()
        await trouble.client.start("Chain", "one")
        await trouble.hub.clock.settle()
        with pytest.raises(BrokenPipeError):
            await trouble.engine.stop(30, report)
        assert await trouble.status("one") is RuntimeStatus.RUNNING
        assert (await trouble.hub.store.backlog()).held == 0

    asyncio.run(scenario())


def test_a_commit_refused_although_the_lease_is_ours_is_repeated_from_what_is_stored() -> None:
    async def scenario() -> None:
        trouble = await Trouble({"Chain": chain(1)}).begin()
        trouble.store.answers["commit"] = [False]
        await trouble.client.start("Chain", "one")
        await trouble.hub.clock.jump(1)
        assert await trouble.status("one") is RuntimeStatus.COMPLETED
        await trouble.engine.stop()

    asyncio.run(scenario())


def test_a_host_that_stops_without_draining_begins_no_activity_any_more() -> None:
    def three(history: Sequence[HistoryEvent]) -> list[Action]:
        actions: list[Action] = [ScheduleTask(number, "A") for number in range(3)]
        return [*actions, CompleteExecution(None)] if len(results(history)) == 3 else actions

    async def scenario() -> None:
        settings = EngineSettings(max_concurrent_activities=1)
        trouble = await Trouble({"Three": three}, settings).begin()
        clock, executor = trouble.hub.clock, trouble.hub.executor
        first = executor.held = asyncio.Event()
        await trouble.client.start("Three", "one")
        await clock.settle()
        second = executor.held = asyncio.Event()
        commits = trouble.store.gates["commit"] = asyncio.Event()
        first.set()
        await clock.settle()
        stopping = asyncio.create_task(trouble.engine.stop())
        await clock.settle()
        second.set()
        await clock.settle()
        commits.set()
        await clock.jump(2)
        await stopping
        assert executor.activity_runs == {("one", 0): 1, ("one", 1): 1}
        assert await trouble.status("one") is RuntimeStatus.RUNNING

    asyncio.run(scenario())


def test_a_host_whose_workers_are_absent_again_and_again_still_stops() -> None:
    class Deserted(ScriptExecutor):
        calls = 0

        async def run_activity(self, call: ActivityCall) -> ActivityResult:
            self.calls += 1
            assert self.calls < 1_000, "it is asked without pause"
            raise WorkerAbsent(f"Nobody is there for {call.name}.")

    async def scenario() -> None:
        hub = Hub({"Chain": chain(1)})
        executor = Deserted({"Chain": chain(1)})
        engine = Engine(hub.store, hub.clock, executor)
        client = Client(hub.store, hub.clock, wakeups=engine)
        await hub.store.open()
        await engine.start()
        await client.start("Chain", "one")
        await hub.clock.jump(5, step_seconds=0.1)
        assert 10 < executor.calls < 100
        stopping = asyncio.create_task(engine.stop(HOUR))
        await hub.clock.jump(2, step_seconds=0.1)
        assert stopping.done()
        assert (await client.status("one")).status is RuntimeStatus.RUNNING

    asyncio.run(scenario())
