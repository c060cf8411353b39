"""The gRPC door of an app's host: one hub, every door, and functions that the app does not have."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from durabletask.client import OrchestrationStatus, TaskHubGrpcClient

from proofs.hosts import HostProcess
from tests.rpc.sdk import new_client, outcome, until, worker

APP = Path(__file__).parents[1] / "e2e" / "app"


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HostProcess]:
    """The app of the end-to-end tests with its gRPC door open."""
    made = HostProcess(APP, tmp_path_factory.mktemp("hub") / "hub.db", "--grpc-port", "0")
    yield made
    made.stop()


@pytest.fixture(scope="module")
def address(host: HostProcess) -> str:
    """Where the door is."""
    found = re.search(r"Durable Task gRPC: (\S+) \(", "".join(host.output))
    assert found is not None
    return found[1]


@pytest.fixture(scope="module")
def client(address: str) -> Iterator[TaskHubGrpcClient]:
    """The SDK's client of the hub."""
    made = new_client(address)
    yield made
    made.close()


def triple(_: Any, number: int) -> int:
    return number * 3


def foreign(context: Any, number: int) -> Any:
    """Runs in the SDK's worker, calls its own activity and an orchestrator of the app."""
    tripled = yield context.call_activity(triple, input=number)
    counted = yield context.call_sub_orchestrator("Count", input=4)
    return [tripled, counted]


def waits(context: Any, _: Any) -> Any:
    return (yield context.wait_for_external_event("go"))


def test_an_orchestrator_of_the_app_is_started_over_grpc(
    client: TaskHubGrpcClient, host: HostProcess
) -> None:
    name = client.schedule_new_orchestration("count", input=3, instance_id=uuid4().hex)
    state = outcome(client, name)
    assert (state.name, state.runtime_status) == ("Count", OrchestrationStatus.COMPLETED)
    status = httpx.get(f"{host.management}/instances/{name}").json()
    assert (status["runtimeStatus"], status["name"]) == ("Completed", "Count")
    assert len(client.get_orchestration_history(name)) > 3


def test_functions_that_the_app_lacks_are_run_by_workers_and_seen_over_http(
    client: TaskHubGrpcClient, address: str, host: HostProcess
) -> None:
    with worker(address, orchestrators=(foreign, waits), activities=(triple,)):
        name = client.schedule_new_orchestration(foreign, input=7)
        state = outcome(client, name)
        assert state.runtime_status is OrchestrationStatus.COMPLETED, state.failure_details
        assert state.get_output() == [21, 5]
        url = f"{host.management}/instances/{name}?showHistory=true&showHistoryOutput=true"
        status = httpx.get(url).json()
        assert status["output"] == state.get_output()
        # Every door leads to the same instance, and obeys the same rule.
        started = httpx.post(f"{host.management}/orchestrators/waits/{name}-2", json=None)
        assert started.status_code == 202
        until(lambda: client.get_orchestration_state(f"{name}-2"))
        again = httpx.post(f"{host.management}/orchestrators/waits/{name}-2", json=None)
        assert again.status_code == 409
        event = f"{host.management}/instances/{name}-2/raiseEvent/go"
        assert httpx.post(event, json={"over": "http"}).status_code == 202
        assert outcome(client, f"{name}-2").get_output() == {"over": "http"}


def test_a_function_that_nobody_has_is_refused_over_http_and_waits_over_grpc(
    client: TaskHubGrpcClient, host: HostProcess
) -> None:
    refused = httpx.post(f"{host.management}/orchestrators/nobodys", json=None)
    assert refused.status_code == 400
    name = client.schedule_new_orchestration("nobodys")
    until(lambda: "function=nobodys" in "".join(host.output))
    client.terminate_orchestration(name)
    assert outcome(client, name).runtime_status is OrchestrationStatus.TERMINATED


def test_a_host_with_a_door_stops_in_order(tmp_path: Path) -> None:
    host = HostProcess(APP, tmp_path / "hub.db", "--grpc-port", "0")
    host.signal(signal.SIGINT)
    assert host.wait() == 0
