"""Orchestrations of the SDK: what its documentation promises, against a served hub."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from durabletask.client import OrchestrationStatus, TaskHubGrpcClient

from proofs.hubs import HubProcess
from tests.rpc.sdk import outcome, worker


def hello(_: Any, name: str) -> str:
    return f"Hello {name}!"


def sequence(context: Any, names: list[str]) -> Any:
    greetings = []
    for name in names:
        greetings.append((yield context.call_activity(hello, input=name)))
    return greetings


@pytest.fixture(scope="module", autouse=True)
def _worker(hub: HubProcess) -> Iterator[None]:
    with worker(hub.address, orchestrators=(sequence,), activities=(hello,)):
        yield


def test_activities_are_called_one_after_another(client: TaskHubGrpcClient) -> None:
    instance_id = client.schedule_new_orchestration(sequence, input=["Tokyo", "London"])
    state = outcome(client, instance_id)
    assert state.runtime_status is OrchestrationStatus.COMPLETED
    assert state.get_output() == ["Hello Tokyo!", "Hello London!"]
