"""Versions: which instances a host runs, and what becomes of the others."""

from __future__ import annotations

import asyncio

import pytest

from soloist.core.status import RuntimeStatus
from soloist.core.versions import FailureStrategy, MatchStrategy, VersionRule, compare_versions
from soloist.engine import EngineSettings
from tests.engine.hub import Hub
from tests.engine.scripts import chain


@pytest.mark.parametrize(
    ("one", "other", "order"),
    [
        (None, "", 0),
        (None, "1", -1),
        ("1.2", "1.10", -1),
        ("1.0", "1", 0),
        ("2.0.1", "2.0", 1),
        ("beta", "ALPHA", 1),
        ("Beta", "bETA", 0),
        ("1.0", "beta", -1),
    ],
)
def test_versions_are_ordered_by_their_parts(
    one: str | None, other: str | None, order: int
) -> None:
    assert compare_versions(one, other) == order
    assert compare_versions(other, one) == -order


@pytest.mark.parametrize(
    ("match", "version", "is_run"),
    [
        (MatchStrategy.NONE, "9", True),
        (MatchStrategy.STRICT, "2.0", True),
        (MatchStrategy.STRICT, "1.0", False),
        (MatchStrategy.STRICT, None, False),
        (MatchStrategy.CURRENT_OR_OLDER, "1.0", True),
        (MatchStrategy.CURRENT_OR_OLDER, None, True),
        (MatchStrategy.CURRENT_OR_OLDER, "2.1", False),
    ],
)
def test_a_host_runs_what_its_strategy_admits(
    match: MatchStrategy, version: str | None, is_run: bool
) -> None:
    async def scenario() -> None:
        hub = Hub({"Chain": chain(1)})
        settings = EngineSettings(versions=VersionRule(version="2.0", match=match))
        async with hub.host(settings) as (_, client):
            await client.start("Chain", "one", version=version)
            await hub.clock.jump(2)
            status = (await client.status("one")).status
            assert status is (RuntimeStatus.COMPLETED if is_run else RuntimeStatus.PENDING)
            assert (await hub.store.backlog()).held == 0

    asyncio.run(scenario())


def test_a_rejected_instance_is_run_at_once_by_a_host_of_its_version() -> None:
    async def scenario() -> None:
        hub = Hub({"Chain": chain(1)})
        old = EngineSettings(versions=VersionRule(version="1.0"))
        new = EngineSettings(versions=VersionRule(version="2.0"))
        async with hub.host(old) as (_, client):
            await client.start("Chain", "one", version="2.0")
            await hub.clock.jump(60, step_seconds=1)
            assert (await client.status("one")).status is RuntimeStatus.PENDING
            async with hub.host(new, store=hub.new_store()):
                await hub.clock.jump(1)
                assert (await client.status("one")).status is RuntimeStatus.COMPLETED

    asyncio.run(scenario())


def test_an_instance_of_the_wrong_version_fails_where_the_app_says_so() -> None:
    async def scenario() -> None:
        hub = Hub({"Chain": chain(1)})
        rule = VersionRule(version="1.0", failure=FailureStrategy.FAIL)
        async with hub.host(EngineSettings(versions=rule)) as (_, client):
            await client.start("Chain", "one", version="2.0")
            record = await hub.finished(client, "one")
            assert record.status is RuntimeStatus.FAILED
            assert record.failure is not None
            assert record.failure.error_type == "VersionMismatch"
            assert "2.0" in record.failure.message and "1.0" in record.failure.message

    asyncio.run(scenario())
