"""Scheduled tasks of the SDK: schedules that are kept as entities."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from durabletask.client import OrchestrationQuery
from durabletask.scheduled import ScheduleCreationOptions, ScheduledTaskClient, ScheduleStatus

from proofs.hubs import HubProcess
from tests.rpc.sdk import new_client, until, worker


def tick(_: Any, given: Any) -> Any:
    return given


@pytest.fixture(scope="module", autouse=True)
def _worker(sqlite_hub: HubProcess) -> Iterator[None]:
    with worker(
        sqlite_hub.address,
        orchestrators=(tick,),
        prepare=lambda made: made.configure_scheduled_tasks(),
    ):
        yield


def test_a_schedule_starts_orchestrations_until_it_is_paused_or_removed(
    sqlite_hub: HubProcess,
) -> None:
    client = new_client(sqlite_hub.address)
    schedules = ScheduledTaskClient(client)
    name = uuid4().hex
    before = datetime.now(UTC)
    schedule = schedules.create_schedule(
        ScheduleCreationOptions(
            schedule_id=name,
            orchestration_name="tick",
            interval=timedelta(seconds=1),
            orchestration_input="x",
        )
    )

    def ticks() -> int:
        query = OrchestrationQuery(created_time_from=before)
        found = client.get_all_orchestration_states(query)
        return sum(each.name == "tick" for each in found)

    until(lambda: ticks() >= 2)
    schedule.pause()
    assert schedule.describe().status is ScheduleStatus.PAUSED
    schedule.resume()
    assert schedule.describe().status is ScheduleStatus.ACTIVE
    assert name in {each.schedule_id for each in schedules.list_schedules()}
    schedule.delete()
    until(lambda: schedules.get_schedule(name) is None)
    client.close()
