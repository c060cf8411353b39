"""A function that no connected worker knows: what people see of it, and that it goes away."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from durabletask.client import TaskHubGrpcClient

from proofs.hubs import HubProcess
from soloist.cli import main
from tests.contract.databases import new_database
from tests.rpc.sdk import new_client, outcome, until, worker


@pytest.fixture(params=["sqlite", "postgres"])
def hub(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[HubProcess]:
    """A hub that renews its leases four times a second."""
    if request.param == "sqlite":
        yield from _served(tmp_path / "hub.db")
    else:
        with new_database(request.getfixturevalue("postgres_url")) as url:
            yield from _served(url)


def _served(store: Path | str) -> Iterator[HubProcess]:
    made = HubProcess(store, "--lease-seconds", "1")
    try:
        yield made
    finally:
        made.stop()


@pytest.fixture
def client(hub: HubProcess) -> Iterator[TaskHubGrpcClient]:
    made = new_client(hub.address)
    yield made
    made.close()


def typed(hub: HubProcess, *arguments: str) -> str:
    """Return what a command says."""
    place = (
        "--store",
        str(hub.store),
        "--task-hub",
        "default",
        "--app",
        str(Path(__file__).parent),
    )
    result = CliRunner().invoke(main, [*arguments, *place])
    assert result.exit_code == 0, result.output
    return result.stdout


def waits(hub: HubProcess, instance_id: str) -> list[dict[str, Any]]:
    """Return what an instance waits for."""
    shown = json.loads(typed(hub, "instances", "show", instance_id, "--json"))
    found: list[dict[str, Any]] = shown["waitsFor"]
    return found


def lacked(hub: HubProcess) -> dict[str, Any]:
    """Return what the hub's host says that it lacks."""
    host = json.loads(typed(hub, "hosts", "--json"))
    found: dict[str, Any] = host["lacks"] or {}
    return found


def charge(_: Any, __: Any) -> int:
    return 7


def order(context: Any, _: Any) -> Any:
    return (yield context.call_activity("charge"))


def calls_counter(context: Any, _: Any) -> Any:
    from durabletask.entities import EntityInstanceId

    return (yield context.call_entity(EntityInstanceId("counter", "a"), "add", 1))


def only_known(made: Any) -> None:
    made.use_work_item_filters()


def test_an_activity_that_no_worker_knows_is_named_until_one_comes(
    hub: HubProcess, client: TaskHubGrpcClient
) -> None:
    with worker(hub.address, orchestrators=(order,), prepare=only_known):
        name = client.schedule_new_orchestration(order)
        until(lambda: "worker" in {each["type"] for each in waits(hub, name)})
        needed, task = waits(hub, name)
        assert (needed["kind"], needed["name"]) == ("activity", "charge")
        assert (task["type"], task["name"], task["task_id"]) == ("activity", "charge", 1)
        text = typed(hub, "instances", "show", name)
        assert "waits for       activity 'charge' (task 1), since 20" in text
        number = needed["host_id"]
        assert f"a worker: no worker of host {number} knows activity 'charge'" in text
        assert f"held by         host {number} (grpc://127.0.0.1" in text
        assert lacked(hub) == {
            "workers": 1,
            "functions": [{"kind": "activity", "name": "charge"}],
            "more": 0,
        }
        said = next(line for line in hub.text.splitlines() if "function=charge" in line)
        assert "start one that does, or terminate the instance" in said
        assert f"instance_id={name}" in said
        assert "kind=activity" in said
        assert "no worker knows activity 'charge'" in typed(hub, "hosts")
        with worker(hub.address, activities=(charge,), prepare=only_known):
            assert outcome(client, name).get_output() == 7
            until(lambda: lacked(hub) == {"workers": 2, "functions": [], "more": 0})
    shown = json.loads(typed(hub, "instances", "show", name, "--json"))
    assert (shown["waitsFor"], shown["heldBy"]) == ([], None)
    assert "waits for" not in typed(hub, "instances", "show", name)


def test_an_orchestrator_that_no_worker_knows_is_named(
    hub: HubProcess, client: TaskHubGrpcClient
) -> None:
    name = client.schedule_new_orchestration("late", version="2.0")
    until(lambda: "worker" in {each["type"] for each in waits(hub, name)})
    text = typed(hub, "instances", "show", name)
    assert "its turn (it has not begun), since 20" in text
    assert "knows orchestrator 'late' of version '2.0'" in text
    assert lacked(hub)["workers"] == 0
    client.terminate_orchestration(name)
    until(lambda: not lacked(hub)["functions"])


def test_an_entity_that_no_worker_knows_is_named_where_it_is_shown(
    hub: HubProcess, client: TaskHubGrpcClient
) -> None:
    with worker(hub.address, orchestrators=(calls_counter,), prepare=only_known):
        name = client.schedule_new_orchestration(calls_counter)
        until(lambda: lacked(hub).get("functions"))
        assert "entity '@counter@a' to answer 'add'" in typed(hub, "instances", "show", name)
        text = typed(hub, "instances", "show", "@counter@a")
        assert "its turn (1 unread message)" in text
        assert "knows entity 'counter'" in text
        client.terminate_orchestration(name)


def test_a_worker_that_leaves_is_counted_no_more(
    hub: HubProcess, client: TaskHubGrpcClient
) -> None:
    with worker(hub.address, orchestrators=(order,), prepare=only_known):
        until(lambda: lacked(hub).get("workers") == 1)
    until(lambda: lacked(hub)["workers"] == 0)
    name = client.schedule_new_orchestration(order)
    until(lambda: lacked(hub)["functions"])
    client.terminate_orchestration(name)
