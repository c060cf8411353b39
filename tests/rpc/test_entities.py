"""Entities of the SDK: as classes and as functions, called, signalled, locked, listed, removed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from durabletask import task
from durabletask.client import EntityQuery, OrchestrationStatus, TaskHubGrpcClient
from durabletask.entities import DurableEntity, EntityInstanceId
from durabletask.internal import orchestrator_service_pb2 as pb

from proofs.hubs import HubProcess
from tests.rpc.sdk import outcome, until, worker


class Counter(DurableEntity):
    """A number that is added to."""

    def add(self, by: int) -> int:
        value = int(self.get_state(int, 0)) + by
        self.set_state(value)
        return value

    def get(self) -> int:
        return int(self.get_state(int, 0))

    def spoil(self) -> None:
        self.set_state(-1)
        raise ValueError("spoilt")

    def forward(self, key: str) -> None:
        self.signal_entity(EntityInstanceId("Counter", key), "add", 10)

    def begin(self, instance_id: str) -> None:
        self.schedule_new_orchestration("plain", 5, instance_id=instance_id)

    def clear(self) -> None:
        self.set_state(None)


def account(context: Any, amount: int) -> Any:
    """The balance, as a function entity."""
    balance = context.get_state(int, 0)
    if context.operation == "deposit":
        balance += amount
        context.set_state(balance)
    return balance


def plain(_: Any, given: Any) -> Any:
    return given


def adds(context: Any, key: str) -> Any:
    entity = EntityInstanceId("Counter", key)
    yield context.call_entity(entity, "add", 2)
    context.signal_entity(entity, "add", 3)
    return (yield context.call_entity(entity, "get"))


def deposits(context: Any, key: str) -> Any:
    return (yield context.call_entity(EntityInstanceId("account", key), "deposit", 40))


def catches(context: Any, key: str) -> Any:
    entity = EntityInstanceId("Counter", key)
    yield context.call_entity(entity, "add", 1)
    try:
        yield context.call_entity(entity, "spoil")
    except task.TaskFailedError as error:
        return [str(error), (yield context.call_entity(entity, "get"))]
    return "no failure"


def transfers(context: Any, keys: list[str]) -> Any:
    """Reads, waits and writes two counters, as nobody else may meanwhile."""
    entities = [EntityInstanceId("Counter", key) for key in keys]
    with (yield context.lock_entities(entities)):
        first = yield context.call_entity(entities[0], "get")
        yield context.create_timer(timedelta(milliseconds=30))
        yield context.call_entity(entities[0], "add", 1)
        second = yield context.call_entity(entities[1], "add", 1)
    return [first, second]


def fails_inside(context: Any, key: str) -> Any:
    with (yield context.lock_entities([EntityInstanceId("Counter", key)])):
        raise ValueError("inside")


def hangs_inside(context: Any, key: str) -> Any:
    with (yield context.lock_entities([EntityInstanceId("Counter", key)])):
        yield context.wait_for_external_event("never")


def stranger(context: Any, key: str) -> Any:
    return (yield context.call_entity(EntityInstanceId("Nobody", key), "x"))


ORCHESTRATORS = (plain, adds, deposits, catches, transfers, fails_inside, hangs_inside, stranger)


@pytest.fixture(scope="module", autouse=True)
def _worker(hub: HubProcess) -> Iterator[None]:
    with worker(hub.address, orchestrators=ORCHESTRATORS, entities=(Counter, account)):
        yield


def result(client: TaskHubGrpcClient, orchestrator: Any, given: Any) -> Any:
    """Run an orchestration to its good end; return its output."""
    state = outcome(client, client.schedule_new_orchestration(orchestrator, input=given))
    assert state.runtime_status is OrchestrationStatus.COMPLETED, state.failure_details
    return state.get_output()


def state_of(client: TaskHubGrpcClient, key: str, name: str = "Counter") -> Any:
    """Return an entity's state, ``None`` when it does not exist."""
    found = client.get_entity(EntityInstanceId(name, key))
    return None if found is None else found.get_typed_state(int)


def test_an_entity_is_called_and_signalled_in_order(client: TaskHubGrpcClient) -> None:
    assert result(client, adds, uuid4().hex) == 5


def test_a_function_is_an_entity_too(client: TaskHubGrpcClient) -> None:
    key = uuid4().hex
    assert result(client, deposits, key) == 40
    assert result(client, deposits, key) == 80


def test_a_client_signals_an_entity_and_reads_it(client: TaskHubGrpcClient) -> None:
    key = uuid4().hex
    entity = EntityInstanceId("Counter", key)
    for _ in range(20):
        client.signal_entity(entity, "add", 1)
    until(lambda: state_of(client, key) == 20)
    found = client.get_entity(entity)
    assert found is not None
    assert (str(found.id), found.includes_state) == (f"@counter@{key}", True)
    assert client.get_entity(EntityInstanceId("Counter", "nobody")) is None


def test_a_signal_may_be_for_later(client: TaskHubGrpcClient) -> None:
    key = uuid4().hex
    due_at = datetime.now(UTC) + timedelta(seconds=0.5)
    client.signal_entity(EntityInstanceId("Counter", key), "add", 1, due_at)
    assert state_of(client, key) is None
    until(lambda: state_of(client, key) == 1)
    assert datetime.now(UTC) >= due_at


def test_a_failed_operation_leaves_the_state_and_tells_its_caller(
    client: TaskHubGrpcClient,
) -> None:
    text, value = result(client, catches, uuid4().hex)
    assert "spoilt" in text
    assert value == 1


def test_an_entity_signals_another_and_starts_an_orchestration(client: TaskHubGrpcClient) -> None:
    key, other, instance_id = uuid4().hex, uuid4().hex, uuid4().hex
    client.signal_entity(EntityInstanceId("Counter", key), "forward", other)
    until(lambda: state_of(client, other) == 10)
    client.signal_entity(EntityInstanceId("Counter", key), "begin", instance_id)
    until(lambda: client.get_orchestration_state(instance_id))
    assert outcome(client, instance_id).get_output() == 5


def test_critical_sections_do_not_overlap(client: TaskHubGrpcClient) -> None:
    keys = [uuid4().hex, uuid4().hex]
    ids = [
        client.schedule_new_orchestration(transfers, input=keys if turn % 2 else keys[::-1])
        for turn in range(6)
    ]
    outputs = [outcome(client, each) for each in ids]
    assert all(each.runtime_status is OrchestrationStatus.COMPLETED for each in outputs)
    assert [state_of(client, key) for key in keys] == [6, 6]
    assert sorted(each.get_output()[0] for each in outputs) == [0, 1, 2, 3, 4, 5]
    assert all(first + 1 == second for first, second in (each.get_output() for each in outputs))


def test_a_section_that_fails_gives_its_entities_free(client: TaskHubGrpcClient) -> None:
    key = uuid4().hex
    state = outcome(client, client.schedule_new_orchestration(fails_inside, input=key))
    assert state.runtime_status is OrchestrationStatus.FAILED
    assert result(client, adds, key) == 5


def locker_of(client: TaskHubGrpcClient, key: str) -> str:
    """Return the orchestration that has an entity for itself; the SDK takes it for an entity."""
    found = client.get_entity(EntityInstanceId("Counter", key))
    return "" if found is None else found._locked_by


def test_a_section_that_is_terminated_gives_its_entities_free(client: TaskHubGrpcClient) -> None:
    key = uuid4().hex
    instance_id = client.schedule_new_orchestration(hangs_inside, input=key)
    until(lambda: locker_of(client, key) == instance_id)
    client.terminate_orchestration(instance_id)
    outcome(client, instance_id)
    assert result(client, adds, key) == 5


def test_a_lock_whose_owner_is_gone_is_released_on_demand(client: TaskHubGrpcClient) -> None:
    key = uuid4().hex
    name = client.schedule_new_orchestration(hangs_inside, input=key)
    until(lambda: locker_of(client, key) == name)
    anything = pb.OrchestrationIdReusePolicy(replaceableStatus=[pb.ORCHESTRATION_STATUS_RUNNING])
    client.schedule_new_orchestration(plain, input=1, instance_id=name, reuse_id_policy=anything)
    assert outcome(client, name).get_output() == 1
    assert locker_of(client, key) == name
    assert client.clean_entity_storage().orphaned_locks_released == 1
    assert result(client, adds, key) == 5


def test_an_entity_that_no_worker_has_fails_its_caller(client: TaskHubGrpcClient) -> None:
    state = outcome(client, client.schedule_new_orchestration(stranger, input="x"))
    assert state.runtime_status is OrchestrationStatus.FAILED
    assert state.failure_details is not None
    assert "nobody" in state.failure_details.message.lower()


def test_entities_are_listed_page_by_page(client: TaskHubGrpcClient) -> None:
    prefix = uuid4().hex
    for number in range(5):
        client.signal_entity(EntityInstanceId("Counter", f"{prefix}-{number}"), "add", number + 1)
    until(lambda: state_of(client, f"{prefix}-4") == 5)
    query = EntityQuery(instance_id_starts_with=f"@counter@{prefix}", page_size=2)
    found = until(lambda: (each := client.get_all_entities(query)) and len(each) == 5 and each)
    assert [each.get_typed_state(int) for each in found] == [1, 2, 3, 4, 5]
    query = EntityQuery(instance_id_starts_with=f"@counter@{prefix}", include_state=False)
    assert all(each.get_state() is None for each in client.get_all_entities(query))


def test_an_entity_without_a_state_is_gone(client: TaskHubGrpcClient) -> None:
    key = uuid4().hex
    client.signal_entity(EntityInstanceId("Counter", key), "add", 1)
    until(lambda: state_of(client, key) == 1)
    client.signal_entity(EntityInstanceId("Counter", key), "clear")
    until(lambda: client.get_entity(EntityInstanceId("Counter", key)) is None)
