"""Management by the SDK's client: queries, purges, histories, reuse of ids, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import grpc
import pytest
from durabletask import history
from durabletask.client import (
    AsyncTaskHubGrpcClient,
    OrchestrationQuery,
    OrchestrationStatus,
    TaskHubGrpcClient,
)
from durabletask.internal import orchestrator_service_pb2 as pb

from proofs.hubs import HubProcess
from tests.rpc.sdk import outcome, quiet, until, worker

RUNNING = pb.ORCHESTRATION_STATUS_RUNNING
PENDING = pb.ORCHESTRATION_STATUS_PENDING
COMPLETED = pb.ORCHESTRATION_STATUS_COMPLETED
FAILED = pb.ORCHESTRATION_STATUS_FAILED


def echo(_: Any, given: Any) -> Any:
    return given


def plain(context: Any, given: Any) -> Any:
    return (yield context.call_activity(echo, input=given))


def waits(context: Any, _: Any) -> Any:
    return (yield context.wait_for_external_event("go"))


def fails(_: Any, given: Any) -> Any:
    raise ValueError(given)


def parent(context: Any, ids: list[str]) -> Any:
    for instance_id in ids:
        yield context.call_sub_orchestrator(plain, input=1, instance_id=instance_id)


@pytest.fixture(scope="module", autouse=True)
def _worker(hub: HubProcess) -> Iterator[None]:
    with worker(hub.address, orchestrators=(plain, waits, fails, parent), activities=(echo,)):
        yield


def refused(call: Any) -> tuple[grpc.StatusCode, str]:
    """Make a call that must be refused; return the status and its text."""
    with pytest.raises(grpc.RpcError) as refusal:
        call()
    error: Any = refusal.value
    return error.code(), error.details()


def done(client: TaskHubGrpcClient, orchestrator: Any = plain, **options: Any) -> str:
    """Run an instance to its end; return its id."""
    instance_id = client.schedule_new_orchestration(orchestrator, **options)
    outcome(client, instance_id)
    return instance_id


def test_an_id_has_one_running_instance(client: TaskHubGrpcClient) -> None:
    name = uuid4().hex
    client.schedule_new_orchestration(waits, instance_id=name)
    until(lambda: client.get_orchestration_state(name))
    code, text = refused(lambda: client.schedule_new_orchestration(waits, instance_id=name))
    assert code is grpc.StatusCode.ALREADY_EXISTS
    assert name in text
    client.raise_orchestration_event(name, "go", data=1)
    assert outcome(client, name).get_output() == 1


def test_a_finished_instance_is_replaced_by_default(client: TaskHubGrpcClient) -> None:
    name = done(client, instance_id=uuid4().hex, input=1)
    client.schedule_new_orchestration(plain, instance_id=name, input=2)
    until(lambda: outcome(client, name).get_output() == 2)


def test_a_policy_names_what_may_be_replaced(client: TaskHubGrpcClient) -> None:
    name = done(client, instance_id=uuid4().hex, input=1)
    only_failed = pb.OrchestrationIdReusePolicy(replaceableStatus=[FAILED])
    code, text = refused(
        lambda: client.schedule_new_orchestration(
            plain, instance_id=name, input=2, reuse_id_policy=only_failed
        )
    )
    assert code is grpc.StatusCode.ALREADY_EXISTS
    assert "Completed" in text
    completed = pb.OrchestrationIdReusePolicy(replaceableStatus=[COMPLETED])
    client.schedule_new_orchestration(plain, instance_id=name, input=3, reuse_id_policy=completed)
    assert outcome(client, name).get_output() == 3


def test_a_policy_may_name_running_instances_too(client: TaskHubGrpcClient) -> None:
    name = uuid4().hex
    client.schedule_new_orchestration(waits, instance_id=name)
    until(lambda: client.get_orchestration_state(name))
    any_live = pb.OrchestrationIdReusePolicy(replaceableStatus=[RUNNING, PENDING])
    client.schedule_new_orchestration(plain, instance_id=name, input=4, reuse_id_policy=any_live)
    assert outcome(client, name).get_output() == 4


def test_of_many_starts_of_one_id_one_wins(client: TaskHubGrpcClient, hub: HubProcess) -> None:
    from concurrent.futures import ThreadPoolExecutor

    name = uuid4().hex

    def start(_: int) -> bool:
        try:
            client.schedule_new_orchestration(waits, instance_id=name)
        except grpc.RpcError:
            return False
        return True

    with ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(start, range(32))) == 1
    client.terminate_orchestration(name)


def test_instances_are_found_by_prefix_status_and_time(client: TaskHubGrpcClient) -> None:
    prefix = uuid4().hex
    before = datetime.now(UTC)
    for number in range(5):
        done(client, instance_id=f"{prefix}-{number}", input=number)
    failed = done(client, fails, instance_id=f"{prefix}-failed", input="x")

    def ids(**options: Any) -> list[str]:
        query = OrchestrationQuery(instance_id_prefix=prefix, **options)
        return [each.instance_id for each in client.get_all_orchestration_states(query)]

    assert len(ids()) == 6
    assert ids(runtime_status=[OrchestrationStatus.FAILED]) == [failed]
    assert len(ids(max_instance_count=2)) == 6
    assert ids(created_time_to=before) == []
    assert len(ids(created_time_from=before - timedelta(seconds=1))) == 6


def test_a_query_carries_payloads_only_when_asked(client: TaskHubGrpcClient) -> None:
    prefix = uuid4().hex
    done(client, instance_id=f"{prefix}-x", input="in")
    for fetches in (True, False):
        query = OrchestrationQuery(instance_id_prefix=prefix, fetch_inputs_and_outputs=fetches)
        (state,) = client.get_all_orchestration_states(query)
        assert (state.get_input() == "in") is fetches
        assert (state.get_output() == "in") is fetches


def test_ids_of_finished_instances_are_listed_page_by_page(client: TaskHubGrpcClient) -> None:
    before = datetime.now(UTC)
    made = {done(client, input=number) for number in range(5)}
    found: list[str] = []
    token = None
    while True:
        page = client.list_instance_ids(
            completed_time_from=before, page_size=2, continuation_token=token
        )
        assert len(page.items) <= 2
        found += page.items
        token = page.continuation_token
        if token is None:
            break
    assert set(found) >= made
    assert len(found) == len(set(found))
    live = client.list_instance_ids(runtime_status=[OrchestrationStatus.RUNNING])
    assert live.items == []


def test_a_finished_instance_is_purged(client: TaskHubGrpcClient) -> None:
    name = done(client, input=1)
    assert client.purge_orchestration(name).deleted_instance_count == 1
    assert client.get_orchestration_state(name) is None
    assert client.purge_orchestration(name).deleted_instance_count == 0


def test_a_live_instance_is_not_purged(client: TaskHubGrpcClient) -> None:
    name = client.schedule_new_orchestration(waits)
    assert client.purge_orchestration(name).deleted_instance_count == 0
    client.raise_orchestration_event(name, "go", data=1)
    assert outcome(client, name).get_output() == 1


def test_a_purge_takes_the_children_along_or_not(client: TaskHubGrpcClient) -> None:
    children = [uuid4().hex, uuid4().hex]
    first = done(client, parent, input=children)
    assert client.purge_orchestration(first, recursive=True).deleted_instance_count == 3
    assert all(client.get_orchestration_state(each) is None for each in children)
    children = [uuid4().hex]
    second = done(client, parent, input=children)
    assert client.purge_orchestration(second, recursive=False).deleted_instance_count == 1
    assert client.get_orchestration_state(children[0]) is not None


def test_a_purge_by_filter_takes_what_it_finds(client: TaskHubGrpcClient) -> None:
    before = datetime.now(UTC) - timedelta(milliseconds=1)
    names = [done(client, fails, input="x") for _ in range(3)]
    kept = done(client, input=1)
    purged = client.purge_orchestrations_by(
        created_time_from=before, runtime_status=[OrchestrationStatus.FAILED]
    )
    assert purged.deleted_instance_count >= 3
    assert all(client.get_orchestration_state(each) is None for each in names)
    assert client.get_orchestration_state(kept) is not None


def test_a_history_can_be_read(client: TaskHubGrpcClient) -> None:
    name = done(client, input="x")
    events = client.get_orchestration_history(name)
    kinds = [type(event) for event in events]
    assert kinds == [
        history.OrchestratorStartedEvent,
        history.ExecutionStartedEvent,
        history.TaskScheduledEvent,
        history.OrchestratorCompletedEvent,
        history.OrchestratorStartedEvent,
        history.TaskCompletedEvent,
        history.OrchestratorCompletedEvent,
        history.ExecutionCompletedEvent,
    ]
    scheduled, completed = events[2], events[5]
    assert isinstance(scheduled, history.TaskScheduledEvent)
    assert isinstance(completed, history.TaskCompletedEvent)
    assert (scheduled.name, completed.task_scheduled_id) == ("echo", scheduled.event_id)
    assert all(event.timestamp.year >= 2020 for event in events)
    code, _ = refused(lambda: client.get_orchestration_history("nobody"))
    assert code is grpc.StatusCode.NOT_FOUND


def test_what_is_not_there_is_told_so(client: TaskHubGrpcClient) -> None:
    assert client.get_orchestration_state("nobody") is None
    assert client.wait_for_orchestration_completion("nobody", timeout=5) is None
    for call in (
        lambda: client.raise_orchestration_event("nobody", "x"),
        lambda: client.terminate_orchestration("nobody"),
        lambda: client.suspend_orchestration("nobody"),
        lambda: client.resume_orchestration("nobody"),
        lambda: client.rewind_orchestration("nobody"),
        lambda: client.restart_orchestration("nobody"),
    ):
        code, text = refused(call)
        assert code is grpc.StatusCode.NOT_FOUND
        assert "nobody" in text


def test_what_cannot_be_done_now_is_told_so(client: TaskHubGrpcClient) -> None:
    finished = done(client, input=1)
    live = client.schedule_new_orchestration(waits)
    for call in (
        lambda: client.raise_orchestration_event(finished, "go"),
        lambda: client.suspend_orchestration(finished),
        lambda: client.rewind_orchestration(finished),
        lambda: client.restart_orchestration(live),
        lambda: client.rewind_orchestration(live),
    ):
        assert refused(call)[0] is grpc.StatusCode.FAILED_PRECONDITION
    client.terminate_orchestration(finished)  # is over already, and stays as it is
    assert outcome(client, finished).runtime_status is OrchestrationStatus.COMPLETED
    client.terminate_orchestration(live)


def test_malformed_names_are_refused(client: TaskHubGrpcClient) -> None:
    for call in (
        lambda: client.schedule_new_orchestration("", input=1),
        lambda: client.schedule_new_orchestration(plain, instance_id="@counter@x"),
        lambda: client.schedule_new_orchestration(plain, instance_id="a/b"),
        lambda: client.schedule_new_orchestration(plain, instance_id="x" * 101),
        lambda: client.schedule_new_orchestration("n" * 201),
    ):
        assert refused(call)[0] is grpc.StatusCode.INVALID_ARGUMENT


def test_a_wait_ends_with_its_deadline(client: TaskHubGrpcClient) -> None:
    name = client.schedule_new_orchestration(waits)
    with pytest.raises(TimeoutError):
        client.wait_for_orchestration_completion(name, timeout=1)
    client.terminate_orchestration(name)


async def test_the_asynchronous_client_is_served_too(hub: HubProcess) -> None:
    client = AsyncTaskHubGrpcClient(host_address=hub.address, logger=quiet)
    try:
        name = await client.schedule_new_orchestration(plain, input="x", tags={"team": "blue"})
        state = await client.wait_for_orchestration_completion(name, timeout=30)
        assert state is not None and state.get_output() == "x"
    finally:
        await client.close()
