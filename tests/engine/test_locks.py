"""Critical sections: entities that belong to one orchestration for a while."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from soloist.core.actions import (
    Action,
    CallEntity,
    CompleteExecution,
    CreateTimer,
    LockEntities,
    UnlockEntity,
)
from soloist.core.events import (
    EntityLockGranted,
    EntityOperationCompleted,
    EntityRequested,
    HistoryEvent,
    OrchestratorStarted,
    TimerFired,
)
from soloist.core.status import RuntimeStatus
from tests.engine.hub import Hub
from tests.engine.scripts import Script, started

ONE, TWO = "@e@1", "@e@2"


def turn_of_grant(history: Sequence[HistoryEvent]) -> datetime | None:
    """Return when the turn began in which the lock was granted."""
    began_at = None
    for event in history:
        if isinstance(event, OrchestratorStarted):
            began_at = event.at
        if isinstance(event, EntityLockGranted):
            return began_at
    return None


def holds(seconds: float, *, unlocks: bool = True) -> Script:
    """Return a script that locks both entities, waits, adds to each and lets them go."""

    def script(history: Sequence[HistoryEvent]) -> list[Action]:
        section = started(history).execution_id
        actions: list[Action] = [LockEntities(0, section, (ONE, TWO))]
        granted_at = turn_of_grant(history)
        if granted_at is None:
            return actions
        actions.append(CreateTimer(1, granted_at + timedelta(seconds=seconds)))
        if not any(isinstance(each, TimerFired) for each in history):
            return actions
        actions += [CallEntity(2, ONE, "add", "1"), CallEntity(3, TWO, "add", "1")]
        done = sum(isinstance(each, EntityOperationCompleted) for each in history)
        if done == 2:
            if unlocks:
                actions += [UnlockEntity(4, section, ONE), UnlockEntity(5, section, TWO)]
            actions.append(CompleteExecution("1"))
        return actions

    return script


def calls(history: Sequence[HistoryEvent]) -> list[Action]:
    actions: list[Action] = [CallEntity(0, ONE, "add", "10")]
    if any(isinstance(each, EntityOperationCompleted) for each in history):
        actions.append(CompleteExecution("1"))
    return actions


SCRIPTS = {"Holds": holds(60), "Forgets": holds(60, unlocks=False), "Calls": calls}


async def test_a_section_has_its_entities_for_itself() -> None:
    hub = Hub(SCRIPTS)
    async with hub.host() as (engine, client):
        await client.start("Holds", "first")
        await hub.clock.settle()
        await client.start("Holds", "second")
        await client.start("Calls", "third")
        await hub.tell(engine, ONE, EntityRequested(hub.clock.now(), "add", "100"))
        await hub.clock.jump(30, step_seconds=1)
        assert hub.executor.entity_runs.total() == 0
        for name in ("first", "second", "third"):
            assert (await hub.finished(client, name)).status is RuntimeStatus.COMPLETED
        ends = [(await client.status(name)).updated_at for name in ("first", "second")]
        assert (ends[1] - ends[0]).total_seconds() >= 60
        await hub.clock.settle()
        assert (await client.status(ONE)).output == "112"
        assert (await client.status(ONE)).custom_status is None


async def test_a_section_outlives_its_host() -> None:
    hub = Hub(SCRIPTS)
    async with hub.host() as (_, client):
        await client.start("Holds", "first")
        await hub.clock.settle()
    async with hub.host() as (_, client):
        await client.start("Calls", "third")
        await hub.clock.jump(30, step_seconds=1)
        assert (await client.status("third")).status is RuntimeStatus.RUNNING
        assert (await hub.finished(client, "first")).status is RuntimeStatus.COMPLETED
        assert (await hub.finished(client, "third")).status is RuntimeStatus.COMPLETED


async def test_a_section_ends_with_its_orchestration() -> None:
    hub = Hub(SCRIPTS)
    async with hub.host() as (_, client):
        await client.start("Forgets", "first")
        await hub.clock.settle()
        await client.start("Holds", "second")
        await client.start("Holds", "third")
        await hub.clock.settle()
        await client.terminate("second")  # while it waits
        assert (await hub.finished(client, "first")).status is RuntimeStatus.COMPLETED
        await hub.clock.jump(5, step_seconds=1)
        await client.terminate("third")  # while it holds
        await hub.finished(client, "third")
        await client.start("Calls", "fourth")
        assert (await hub.finished(client, "fourth")).status is RuntimeStatus.COMPLETED
