"""Instances that begin later: they cost a host nothing before, and begin when they are due."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from soloist.core.extras import Extras
from soloist.core.status import RuntimeStatus
from soloist.engine import EngineSettings
from tests.engine.hub import Hub
from tests.engine.scripts import chain

POLL_SECONDS = 10.0
SETTINGS = EngineSettings(poll_seconds=POLL_SECONDS)


async def test_a_start_for_tomorrow_lets_no_host_look_for_work(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hub = Hub({"Job": chain(1)})
    looks = 0
    lease = hub.store.lease

    async def counted(*arguments: Any) -> Any:
        nonlocal looks
        looks += 1
        return await lease(*arguments)

    monkeypatch.setattr(hub.store, "lease", counted)
    async with hub.host(SETTINGS) as (_, client):
        await hub.clock.settle()
        tomorrow = Extras(start_at=hub.clock.now() + timedelta(days=1))
        before = looks
        for number in range(20):
            await client.start("Job", f"x{number}", extras=tomorrow)
            await hub.clock.settle()
        assert looks == before
        await hub.clock.jump(POLL_SECONDS, step_seconds=1)
        assert looks == before + 1


@pytest.mark.parametrize("seconds", [-60.0, 0.5, POLL_SECONDS / 2, POLL_SECONDS * 2])
async def test_an_instance_that_begins_later_begins_when_it_is_due(seconds: float) -> None:
    hub = Hub({"Job": chain(1)})
    async with hub.host(SETTINGS) as (_, client):
        await hub.clock.settle()
        start_at = hub.clock.now() + timedelta(seconds=seconds)
        await client.start("Job", "x", extras=Extras(start_at=start_at))
        await hub.clock.jump(max(0.0, seconds - 0.1), step_seconds=0.1)
        assert (await client.status("x")).status.is_terminal is (seconds < 0)
        await hub.clock.jump(0.2, step_seconds=0.1)
        assert (await client.status("x")).status is RuntimeStatus.COMPLETED


async def test_a_start_that_falls_due_while_a_host_looks_for_work_is_not_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hub = Hub({"Job": chain(1)})
    lease = hub.store.lease
    late: list[Any] = []

    async def looked_before(*arguments: Any) -> Any:
        grant = await lease(*arguments)
        if late:
            await late.pop()()
        return grant

    monkeypatch.setattr(hub.store, "lease", looked_before)
    async with hub.host(SETTINGS) as (engine, client):
        await hub.clock.settle()
        soon = Extras(start_at=hub.clock.now() + timedelta(seconds=1))
        late.append(lambda: client.start("Job", "x", extras=soon))
        engine.work_waits()
        await hub.clock.settle()
        await hub.clock.jump(1.1, step_seconds=0.1)
        assert (await client.status("x")).status is RuntimeStatus.COMPLETED
