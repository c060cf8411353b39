"""Functions that nobody can run for now: what needs them waits, and holds nobody else up."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta

from soloist.core.actions import Action, CompleteExecution, CreateTimer
from soloist.core.events import EntityRequested, HistoryEvent
from soloist.core.extras import Extras
from soloist.core.status import RuntimeStatus
from soloist.core.waits import TurnWait, Waits, WorkerWait
from soloist.core.work import Lacks, WorkKind, lacks_of
from soloist.engine import EngineSettings
from tests.engine.hub import Hub
from tests.engine.scripts import chain, fired, started


class Staff:
    """Who is there; ``comes`` brings a function and wakes whoever waits."""

    def __init__(self, *absent: str) -> None:
        self.absent = set(absent)
        self._waiters: list[asyncio.Future[None]] = []

    def absence(
        self, _kind: WorkKind, name: str, _version: str | None
    ) -> asyncio.Future[None] | None:
        if name not in self.absent:
            return None
        self._waiters.append(asyncio.get_running_loop().create_future())
        return self._waiters[-1]

    def comes(self, name: str) -> None:
        self.absent.discard(name)
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)


async def test_an_orchestration_begins_once_somebody_can_run_it() -> None:
    hub, staff = Hub({"Late": chain(2)}), Staff("Late")
    async with hub.host(absence=staff.absence) as (_, client):
        await client.start("Late", "x")
        await hub.clock.jump(10, step_seconds=1)
        assert (await client.status("x")).status is RuntimeStatus.PENDING
        assert hub.executor.activity_runs.total() == 0
        staff.comes("Late")
        assert (await hub.finished(client, "x")).status is RuntimeStatus.COMPLETED


async def test_one_that_nobody_can_run_is_terminated_all_the_same() -> None:
    hub, staff = Hub({}), Staff("Late")
    async with hub.host(absence=staff.absence) as (_, client):
        await client.start("Late", "x")
        await client.terminate("x", "enough")
        record = await hub.finished(client, "x")
        assert (record.status, record.output) == (RuntimeStatus.TERMINATED, "enough")


async def test_those_that_wait_for_a_worker_leave_room_for_others() -> None:
    hub, staff = Hub({"Late": chain(1), "Now": chain(1)}), Staff("Late")
    settings = EngineSettings(max_sessions=4)
    async with hub.host(settings, absence=staff.absence) as (_, client):
        for number in range(20):
            await client.start("Late", f"late-{number}")
        for number in range(20):
            await client.start("Now", f"now-{number}")
        for number in range(20):
            record = await hub.finished(client, f"now-{number}")
            assert record.status is RuntimeStatus.COMPLETED
        staff.comes("Late")
        for number in range(20):
            record = await hub.finished(client, f"late-{number}")
            assert record.status is RuntimeStatus.COMPLETED


async def test_a_host_that_waits_for_a_worker_stops_at_once() -> None:
    hub, staff = Hub({"Late": chain(1)}), Staff("Late")
    async with hub.host(absence=staff.absence) as (engine, client):
        await client.start("Late", "x")
        await hub.clock.settle()
        await asyncio.wait_for(engine.stop(3600), 5)
    async with hub.host() as (_, client):
        assert (await hub.finished(client, "x")).status is RuntimeStatus.COMPLETED


async def test_a_timer_that_falls_due_while_nobody_can_run_its_instance_is_fired_later() -> None:
    hub, staff = Hub({"Sleeper": sleeper}), Staff()
    async with hub.host(absence=staff.absence) as (_, client):
        await client.start("Sleeper", "x")
        await hub.clock.jump(10, step_seconds=1)
        staff.absent.add("Sleeper")
        await hub.clock.jump(70, step_seconds=1)
        assert (await client.status("x")).status is RuntimeStatus.RUNNING
        staff.comes("Sleeper")
        assert (await hub.finished(client, "x")).status is RuntimeStatus.COMPLETED


def sleeper(history: Sequence[HistoryEvent]) -> list[Action]:
    """Sleeps for a minute."""
    fire_at = started(history).at + timedelta(minutes=1)
    actions: list[Action] = [CreateTimer(0, fire_at)]
    if fired(history):
        actions.append(CompleteExecution("null"))
    return actions


async def test_an_entity_waits_for_a_worker_too() -> None:
    hub, staff = Hub({}), Staff("e")
    async with hub.host(absence=staff.absence) as (engine, client):
        await hub.tell(engine, "@e@k", EntityRequested(hub.clock.now(), "add", "3"))
        await hub.clock.jump(5, step_seconds=1)
        assert hub.executor.entity_runs.total() == 0
        staff.comes("e")
        await hub.clock.jump(5, step_seconds=1)
        assert (await client.status("@e@k")).output == "3"


async def test_an_instance_that_begins_later_can_be_sent_events_before() -> None:
    hub = Hub({"Job": chain(1)})
    async with hub.host() as (_, client):
        start_at = hub.clock.now() + timedelta(minutes=5)
        await client.start("Job", "x", extras=Extras(start_at=start_at))
        await client.raise_event("x", "early", "1")
        await hub.clock.jump(290, step_seconds=10)
        assert (await client.status("x")).status is RuntimeStatus.PENDING
        await hub.clock.jump(20, step_seconds=1)
        record = await hub.finished(client, "x")
        assert record.status is RuntimeStatus.COMPLETED
        started, *_ = await client.history(record)
        assert started.at >= start_at


async def test_the_hub_is_told_what_a_host_lacks_with_each_renewal() -> None:
    hub, staff = Hub({"Late": chain(1)}), Staff("Late")

    def lacks() -> Lacks:
        kind = WorkKind.ORCHESTRATION
        return lacks_of(1, [(kind, name, None) for name in staff.absent])

    async with hub.host(absence=staff.absence, lacks=lacks) as (_, client):
        await client.start("Late", "x")
        await hub.clock.jump(6, step_seconds=1)
        (host,) = await client.hosts()
        assert host.lacks == lacks()
        standing = await client.standing("x")
        assert (standing.held_by, standing.holder) == (host.host_id, host)
        assert [type(each) for each in standing.waits.named] == [TurnWait, WorkerWait]
        staff.comes("Late")
        await hub.finished(client, "x")
        await hub.clock.jump(6, step_seconds=1)
        assert [each.lacks for each in await client.hosts()] == [Lacks(workers=1)]
        assert (await client.standing("x")).waits == Waits()
