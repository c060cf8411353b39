"""Timer triggers: every occurrence fires once, on one host, and what was missed is reported."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

import msgspec

from soloist.contracts.executor import TimerCall
from soloist.core.failures import FailureDetails
from soloist.core.ids import timer_id
from soloist.core.timers import TimerTrigger
from soloist.engine import Engine, EngineSettings
from soloist.errors import WorkerAbsent, WorkerLost
from tests.engine.hub import Hub

EVERY_MINUTE = TimerTrigger(schedule="0 * * * * *")
TICK = {"Tick": EVERY_MINUTE}


def occurrences(hub: Hub) -> list[datetime | None]:
    return [call.next_at for call in hub.executor.firings]


def test_a_timer_fires_at_each_occurrence_and_knows_the_one_before() -> None:
    async def scenario() -> None:
        hub = Hub({})
        began_at = hub.clock.now()
        async with hub.host(timers=TICK):
            await hub.clock.jump(185, step_seconds=1)
        expected = [began_at + timedelta(minutes=number) for number in (1, 2, 3)]
        assert occurrences(hub) == expected
        assert [call.last_at for call in hub.executor.firings] == [None, *expected[:2]]
        assert not any(call.is_past_due for call in hub.executor.firings)

    asyncio.run(scenario())


def test_occurrences_missed_while_no_host_was_up_are_made_good_by_one_past_due_firing() -> None:
    async def scenario() -> None:
        hub = Hub({})
        async with hub.host(timers=TICK):
            await hub.clock.jump(65, step_seconds=1)
        await hub.clock.jump(300, step_seconds=60)
        async with hub.host(store=hub.new_store(), timers=TICK):
            await hub.clock.jump(65, step_seconds=1)
        assert [call.is_past_due for call in hub.executor.firings] == [False, True, False]
        first, missed, following = occurrences(hub)
        assert first is not None and missed is not None and following is not None
        assert missed - first == timedelta(minutes=1)
        assert following - missed == timedelta(minutes=5)

    asyncio.run(scenario())


def test_a_timer_that_is_not_monitored_forgets_what_it_missed() -> None:
    async def scenario() -> None:
        hub = Hub({})
        timers = {"Tick": TimerTrigger(schedule="0 * * * * *", is_monitored=False)}
        async with hub.host(timers=timers):
            await hub.clock.jump(65, step_seconds=1)
        await hub.clock.jump(300, step_seconds=60)
        async with hub.host(store=hub.new_store(), timers=timers):
            await hub.clock.jump(5, step_seconds=1)
            assert len(hub.executor.firings) == 1
            await hub.clock.jump(60, step_seconds=1)
        assert [call.is_past_due for call in hub.executor.firings] == [False, False]

    asyncio.run(scenario())


def test_a_timer_that_runs_on_startup_does_so_once_a_start() -> None:
    async def scenario() -> None:
        hub = Hub({})
        timers = {"Tick": TimerTrigger(schedule="0 0 * * * *", runs_on_startup=True)}
        for starts in (1, 2):
            async with hub.host(store=hub.new_store(), timers=timers):
                await hub.clock.jump(5, step_seconds=1)
                assert len(hub.executor.firings) == starts

    asyncio.run(scenario())


def test_a_timer_never_overlaps_itself_and_one_firing_makes_good_what_passed_meanwhile() -> None:
    async def scenario() -> None:
        hub = Hub({})
        gate = asyncio.Event()
        running = 0

        async def slow(call: TimerCall) -> FailureDetails | None:
            nonlocal running
            running += 1
            assert running == 1
            hub.executor.firings.append(call)
            await gate.wait()
            running -= 1
            return None

        hub.executor.run_timer = slow  # type: ignore[method-assign]  # a function that takes long
        async with hub.host(timers=TICK):
            await hub.clock.jump(200, step_seconds=1)
            assert len(hub.executor.firings) == 1
            gate.set()
            await hub.clock.jump(5, step_seconds=1)
        assert [call.is_past_due for call in hub.executor.firings] == [False, True]

    asyncio.run(scenario())


def test_a_firing_that_a_crash_cut_short_is_repeated_as_past_due() -> None:
    async def scenario() -> None:
        hub = Hub({})
        hangs = asyncio.Event()

        async def hang(call: TimerCall) -> FailureDetails | None:
            hub.executor.firings.append(call)
            await hangs.wait()
            return None

        run_timer = hub.executor.run_timer
        hub.executor.run_timer = hang  # type: ignore[method-assign]  # it never returns
        await hub.store.open()
        engine = Engine(hub.store, hub.clock, hub.executor, timers=TICK)
        await engine.start()
        await hub.clock.jump(60, step_seconds=1)
        stopping = asyncio.create_task(engine.stop())
        await hub.clock.jump(5, step_seconds=1)
        await stopping
        hub.executor.run_timer = run_timer  # type: ignore[method-assign]  # and now it does
        async with hub.host(store=hub.new_store(), timers=TICK):
            await hub.clock.jump(5, step_seconds=1)
        assert [call.is_past_due for call in hub.executor.firings] == [False, True]
        assert len(set(occurrences(hub))) == 1

    asyncio.run(scenario())


def test_of_several_hosts_one_fires() -> None:
    async def scenario() -> None:
        hub = Hub({})
        async with hub.host(timers=TICK), hub.host(store=hub.new_store(), timers=TICK):
            await hub.clock.jump(245, step_seconds=1)
        assert len(hub.executor.firings) == 4
        assert len(set(occurrences(hub))) == 4

    asyncio.run(scenario())


def test_a_failed_or_lost_function_is_not_repeated() -> None:
    async def scenario() -> None:
        hub = Hub({})

        async def lost(call: TimerCall) -> FailureDetails | None:
            hub.executor.firings.append(call)
            if len(hub.executor.firings) == 1:
                raise WorkerLost("It died.")
            return FailureDetails("no luck")

        hub.executor.run_timer = lost  # type: ignore[method-assign]  # a function that fails
        async with hub.host(timers=TICK):
            await hub.clock.jump(185, step_seconds=1)
        assert len(hub.executor.firings) == 3

    asyncio.run(scenario())


def test_a_firing_waits_for_a_worker_when_there_is_none() -> None:
    async def scenario() -> None:
        hub = Hub({})
        run_timer = hub.executor.run_timer
        refusals = 3

        async def absent(call: TimerCall) -> FailureDetails | None:
            nonlocal refusals
            refusals -= 1
            if refusals >= 0:
                raise WorkerAbsent("Nobody is there.")
            return await run_timer(call)

        hub.executor.run_timer = absent  # type: ignore[method-assign]  # workers come late
        async with hub.host(timers=TICK):
            await hub.clock.jump(70, step_seconds=1)
        assert len(hub.executor.firings) == 1

    asyncio.run(scenario())


def test_a_timer_whose_state_cannot_be_read_does_not_stop_the_others() -> None:
    async def scenario() -> None:
        hub = Hub({})
        timers = {"Bad": EVERY_MINUTE, **TICK}
        async with hub.host(timers=timers):
            await hub.clock.jump(5, step_seconds=1)
        bad = hub.state.hub("Hub").instances[timer_id("Bad")]
        bad.record = msgspec.structs.replace(bad.record, output="{not json")
        async with hub.host(store=hub.new_store(), timers=timers):
            await hub.clock.jump(60, step_seconds=1)
        assert [call.function for call in hub.executor.firings] == ["Tick"]

    asyncio.run(scenario())


def test_a_new_schedule_begins_at_once_and_a_timer_that_is_gone_stays_quiet() -> None:
    async def scenario() -> None:
        hub = Hub({})
        async with hub.host(timers=TICK):
            await hub.clock.jump(5, step_seconds=1)
        changed = {"Tick": TimerTrigger(schedule="30 * * * * *")}
        async with hub.host(store=hub.new_store(), timers=changed):
            await hub.clock.jump(30, step_seconds=1)
        assert [at.second for at in occurrences(hub) if at is not None] == [30]
        settings = EngineSettings(reject_seconds=30)
        async with hub.host(settings, store=hub.new_store()):
            await hub.clock.jump(300, step_seconds=10)
            assert (await hub.store.backlog()).held == 0
        assert len(hub.executor.firings) == 1
        record = await hub.store.read(timer_id("Tick"))
        assert record is not None and record.name == "Tick"

    asyncio.run(scenario())
