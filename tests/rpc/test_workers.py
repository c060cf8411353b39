"""Workers: who is given what, what becomes of the work of those that vanish, and bad answers.

Where the SDK would be too polite, tests speak the protocol by hand.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import grpc
import pytest
from durabletask.client import OrchestrationStatus, TaskHubGrpcClient
from durabletask.internal import orchestrator_service_pb2 as pb
from durabletask.worker import (
    ActivityWorkItemFilter,
    OrchestrationWorkItemFilter,
    TaskHubGrpcWorker,
    VersionFailureStrategy,
    VersioningOptions,
    VersionMatchStrategy,
    WorkItemFilters,
)
from google.protobuf.wrappers_pb2 import StringValue

from proofs.hubs import HubProcess
from tests.rpc.sdk import PATIENCE_SECONDS, new_client, outcome, stub_of, until, worker

HERE = Path(__file__).parent


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubProcess]:
    """A hub of the test's own: who is connected matters here."""
    made = HubProcess(tmp_path / "hub.db")
    yield made
    made.stop()


class ByHand:
    """A worker that is nothing but the protocol."""

    def __init__(self, address: str, **request: Any) -> None:
        self.channel = grpc.insecure_channel(address)
        self.stub = stub_of(self.channel)
        self.stream = self.stub.GetWorkItems(pb.GetWorkItemsRequest(**request))
        self.next_of("healthPing")

    def next_of(self, kind: str) -> pb.WorkItem:
        """Return the next work, which must be of that kind."""
        while True:
            item: pb.WorkItem = next(self.stream)
            if item.WhichOneof("request") == kind:
                return item
            assert item.HasField("healthPing"), item

    def complete(self, item: pb.WorkItem, *actions: pb.OrchestratorAction) -> None:
        """Answer a turn."""
        self.stub.CompleteOrchestratorTask(response(item, *actions))

    def close(self) -> None:
        """Vanish."""
        self.stream.cancel()
        self.channel.close()


@contextmanager
def by_hand(address: str, **request: Any) -> Iterator[ByHand]:
    """Connect a worker that is nothing but the protocol."""
    made = ByHand(address, **request)
    try:
        yield made
    finally:
        made.close()


def response(item: pb.WorkItem, *actions: pb.OrchestratorAction) -> pb.OrchestratorResponse:
    """Return the answer to a turn."""
    return pb.OrchestratorResponse(
        instanceId=item.orchestratorRequest.instanceId,
        completionToken=item.completionToken,
        actions=actions,
    )


def ends(result: str = "1") -> pb.OrchestratorAction:
    """Return the action that ends an orchestration."""
    return pb.OrchestratorAction(
        id=9,
        completeOrchestration=pb.CompleteOrchestrationAction(
            orchestrationStatus=pb.ORCHESTRATION_STATUS_COMPLETED,
            result=StringValue(value=result),
        ),
    )


def calls(name: str, task_id: int = 1) -> pb.OrchestratorAction:
    """Return the action that calls an activity."""
    return pb.OrchestratorAction(id=task_id, scheduleTask=pb.ScheduleTaskAction(name=name))


def activity_answer(item: pb.WorkItem, result: str = "1") -> pb.ActivityResponse:
    """Return the answer of an activity."""
    request = item.activityRequest
    return pb.ActivityResponse(
        instanceId=request.orchestrationInstance.instanceId,
        taskId=request.taskId,
        result=StringValue(value=result),
        completionToken=item.completionToken,
    )


def refused(call: Any, *arguments: Any) -> tuple[grpc.StatusCode, str]:
    """Make a call that must be refused; return the status and its text."""
    with pytest.raises(grpc.RpcError) as refusal:
        call(*arguments)
    error: Any = refusal.value
    return error.code(), error.details()


def is_reached(client: TaskHubGrpcClient) -> bool:
    """Whether a hub answers; the library waits a while before it tries a lost one again."""
    try:
        client.get_orchestration_state("nobody")
    except grpc.RpcError:
        return False
    return True


def one(_: Any, __: Any) -> int:
    return 1


def calls_one(context: Any, _: Any) -> Any:
    return (yield context.call_activity(one))


def calls_two(context: Any, _: Any) -> Any:
    return (yield context.call_activity("two"))


def two(_: Any, __: Any) -> int:
    return 2


# -- who is given what ----------------------------------------------------------------------------


def test_an_orchestration_that_nobody_can_run_waits_and_the_log_says_so(hub: HubProcess) -> None:
    client = new_client(hub.address)
    name = client.schedule_new_orchestration(calls_one)
    until(lambda: "no connected worker knows its function" in hub.text)
    assert "function=calls_one" in hub.text
    assert "kind=orchestrator" in hub.text
    state = client.get_orchestration_state(name)
    assert state is not None and state.runtime_status is OrchestrationStatus.PENDING
    with worker(hub.address, orchestrators=(calls_one,), activities=(one,)):
        assert outcome(client, name).get_output() == 1
    client.close()


def test_one_that_nobody_can_run_can_be_terminated(hub: HubProcess) -> None:
    client = new_client(hub.address)
    name = client.schedule_new_orchestration(calls_one)
    client.terminate_orchestration(name, output="enough")
    assert outcome(client, name).get_output() == "enough"
    client.close()


def test_workers_get_only_what_they_ask_for(hub: HubProcess) -> None:
    client = new_client(hub.address)

    def only(*names: str) -> Any:
        filters = WorkItemFilters(
            orchestrations=[OrchestrationWorkItemFilter(name) for name in names],
            activities=[ActivityWorkItemFilter(name) for name in names],
        )
        return lambda made: made.use_work_item_filters(filters)

    with (
        worker(
            hub.address,
            orchestrators=(calls_one, calls_two),
            activities=(one,),
            prepare=only("calls_one", "calls_two", "one"),
        ),
        worker(hub.address, activities=(two,), prepare=only("two")),
    ):
        ids = [client.schedule_new_orchestration(each) for each in (calls_one, calls_two) * 5]
        assert [outcome(client, each).get_output() for each in ids] == [1, 2] * 5
    client.close()


def test_a_filter_may_name_versions(hub: HubProcess) -> None:
    client = new_client(hub.address)
    filters = pb.WorkItemFilters(
        orchestrations=[pb.OrchestrationFilter(name="f", versions=["2.0"])]
    )
    with by_hand(hub.address, workItemFilters=filters) as made:
        old = client.schedule_new_orchestration("f", version="1.0")
        new = client.schedule_new_orchestration("f", version="2.0")
        item = made.next_of("orchestratorRequest")
        assert item.orchestratorRequest.instanceId == new
        made.complete(item, ends())
        outcome(client, new)
        state = client.get_orchestration_state(old)
        assert state is not None and state.runtime_status is OrchestrationStatus.PENDING
    client.close()


def test_a_worker_that_rejects_a_version_leaves_it_to_others(hub: HubProcess) -> None:
    client = new_client(hub.address)

    def version(number: str) -> Any:
        options = VersioningOptions(
            version=number,
            match_strategy=VersionMatchStrategy.STRICT,
            failure_strategy=VersionFailureStrategy.REJECT,
        )
        return lambda made: made.use_versioning(options)

    with worker(hub.address, orchestrators=(calls_one,), activities=(one,), prepare=version("1.0")):
        name = client.schedule_new_orchestration(calls_one, version="2.0")
        until(lambda: "handed back by every worker" in hub.text)
        with worker(
            hub.address, orchestrators=(calls_one,), activities=(one,), prepare=version("2.0")
        ):
            assert outcome(client, name).get_output() == 1
    client.close()


def test_a_worker_that_fails_a_version_ends_the_instance(hub: HubProcess) -> None:
    client = new_client(hub.address)
    options = VersioningOptions(
        version="1.0",
        match_strategy=VersionMatchStrategy.CURRENT_OR_OLDER,
        failure_strategy=VersionFailureStrategy.FAIL,
    )
    with worker(
        hub.address, orchestrators=(calls_one,), prepare=lambda made: made.use_versioning(options)
    ):
        state = outcome(client, client.schedule_new_orchestration(calls_one, version="2.0"))
        assert state.failure_details is not None
        assert state.failure_details.error_type == "VersionMismatch"
    client.close()


def test_a_worker_holds_no_more_than_it_said(hub: HubProcess) -> None:
    client = new_client(hub.address)
    with by_hand(
        hub.address,
        maxConcurrentOrchestrationWorkItems=2,
        maxConcurrentActivityWorkItems=1,
    ) as made:
        ids = [client.schedule_new_orchestration("f") for _ in range(3)]
        first = made.next_of("orchestratorRequest")
        second = made.next_of("orchestratorRequest")
        received: list[pb.WorkItem] = []
        reader = threading.Thread(
            target=lambda: received.append(made.next_of("orchestratorRequest"))
        )
        reader.start()
        reader.join(0.3)
        assert not received, "a third turn came although two are the limit"
        made.complete(first, ends())
        reader.join(PATIENCE_SECONDS)
        made.complete(second, ends())
        made.complete(received[0], ends())
        for each in ids:
            outcome(client, each)
    client.close()


def test_a_worker_may_fetch_a_long_history(hub: HubProcess) -> None:
    client = new_client(hub.address)
    with by_hand(hub.address, capabilities=[pb.WORKER_CAPABILITY_HISTORY_STREAMING]) as made:
        name = client.schedule_new_orchestration("f", input="x" * 1_200_000)
        item = made.next_of("orchestratorRequest")
        assert not item.orchestratorRequest.requiresHistoryStreaming
        made.complete(item, calls("a"))
        activity = made.next_of("activityRequest")
        made.stub.CompleteActivityTask(activity_answer(activity))
        item = made.next_of("orchestratorRequest")
        request = item.orchestratorRequest
        assert request.requiresHistoryStreaming
        assert not request.pastEvents
        chunks = made.stub.StreamInstanceHistory(
            pb.StreamInstanceHistoryRequest(instanceId=name, forWorkItemProcessing=True)
        )
        past = [event for chunk in chunks for event in chunk.events]
        assert [event.WhichOneof("eventType") for event in past] == [
            "orchestratorStarted",
            "executionStarted",
            "taskScheduled",
        ]
        made.complete(item, ends())
        outcome(client, name)
    client.close()


def test_an_answer_may_come_in_pieces(hub: HubProcess) -> None:
    client = new_client(hub.address)
    with by_hand(hub.address) as made:
        name = client.schedule_new_orchestration("f")
        item = made.next_of("orchestratorRequest")
        for task_id in (1, 2):
            part = response(item, calls(f"a{task_id}", task_id))
            part.isPartial = True
            made.stub.CompleteOrchestratorTask(part)
        made.stub.CompleteOrchestratorTask(response(item, calls("a3", 3)))
        names = {made.next_of("activityRequest").activityRequest.name for _ in range(3)}
        assert names == {"a1", "a2", "a3"}
        client.terminate_orchestration(name)
    client.close()


def test_both_entity_protocols_are_spoken(hub: HubProcess) -> None:
    client = new_client(hub.address)
    from durabletask.entities import EntityInstanceId

    for kind, said in (
        ("entityRequest", {}),
        ("entityRequestV2", {"capabilities": [pb.WORKER_CAPABILITY_SCHEDULED_TASKS]}),
    ):
        key = uuid4().hex
        with by_hand(hub.address, **said) as made:
            client.signal_entity(EntityInstanceId("e", key), "add", 1)
            item = made.next_of(kind)
            made.stub.CompleteEntityTask(
                pb.EntityBatchResult(
                    completionToken=item.completionToken,
                    entityState=StringValue(value="7"),
                    results=[pb.OperationResult(success=pb.OperationResultSuccess())],
                )
            )

            def state() -> Any:
                found = client.get_entity(EntityInstanceId("e", key))  # noqa: B023
                return found and found.get_typed_state(int)

            until(lambda: state() == 7)
    client.close()


# -- who vanishes ---------------------------------------------------------------------------------

_DOOMED = """
import sys, threading
from durabletask.worker import TaskHubGrpcWorker
def one(_, __):
    print("began", flush=True)
    threading.Event().wait(60)
w = TaskHubGrpcWorker(host_address=sys.argv[1])
w.add_activity(one)
w.use_work_item_filters()
w.start()
print("up", flush=True)
threading.Event().wait(60)
"""


def test_the_activity_of_a_killed_worker_is_run_by_another_and_completed_once(
    hub: HubProcess,
) -> None:
    client = new_client(hub.address)
    doomed = subprocess.Popen(
        [sys.executable, "-c", _DOOMED, hub.address],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert doomed.stdout is not None
    assert doomed.stdout.readline() == "up\n"

    def only_orchestrations(made: TaskHubGrpcWorker) -> None:
        made.use_work_item_filters()

    with worker(hub.address, orchestrators=(calls_one,), prepare=only_orchestrations):
        name = client.schedule_new_orchestration(calls_one)
        assert doomed.stdout.readline() == "began\n"
        with worker(hub.address, activities=(one,), prepare=only_orchestrations):
            doomed.kill()
            doomed.wait()
            doomed.stdout.close()
            assert outcome(client, name).get_output() == 1
    events = client.get_orchestration_history(name)
    assert [type(event).__name__ for event in events].count("TaskCompletedEvent") == 1
    client.close()


def test_the_turn_of_a_vanished_worker_is_given_to_the_next(hub: HubProcess) -> None:
    client = new_client(hub.address)
    name = client.schedule_new_orchestration("f")
    with by_hand(hub.address) as vanishing:
        first = vanishing.next_of("orchestratorRequest")
    with by_hand(hub.address) as made:
        second = made.next_of("orchestratorRequest")
        assert second.completionToken != first.completionToken
        code, text = refused(made.stub.CompleteOrchestratorTask, response(first, ends("1")))
        assert code is grpc.StatusCode.FAILED_PRECONDITION
        assert first.completionToken in text
        made.complete(second, ends("2"))
        assert outcome(client, name).get_output() == 2
    client.close()


def test_a_polite_worker_may_answer_after_it_closed_its_stream(hub: HubProcess) -> None:
    client = new_client(hub.address)
    name = client.schedule_new_orchestration("f")
    with by_hand(hub.address) as made:
        made.complete(made.next_of("orchestratorRequest"), calls("a"))
        activity = made.next_of("activityRequest")
        made.stream.cancel()
        until(lambda: "a worker has gone" in hub.text)
        made.stub.CompleteActivityTask(activity_answer(activity, "7"))
    with by_hand(hub.address) as other:
        item = other.next_of("orchestratorRequest")
        completed = item.orchestratorRequest.newEvents[-1].taskCompleted
        assert completed.result.value == "7"
        other.complete(item, ends())
        outcome(client, name)
    client.close()


def test_a_worker_that_stops_finishes_what_it_has_begun(hub: HubProcess) -> None:
    client = new_client(hub.address)
    begun, go = threading.Event(), threading.Event()

    def slow(_: Any, __: Any) -> int:
        begun.set()
        go.wait(PATIENCE_SECONDS)
        return 5

    def calls_slow(context: Any, _: Any) -> Any:
        return (yield context.call_activity(slow))

    stopping = worker(hub.address, orchestrators=(calls_slow,), activities=(slow,))
    with stopping:
        name = client.schedule_new_orchestration(calls_slow)
        assert begun.wait(PATIENCE_SECONDS)
        timer = threading.Timer(0.2, go.set)
        timer.start()
    with worker(hub.address, orchestrators=(calls_slow,)):
        assert outcome(client, name).get_output() == 5
    timer.join()
    client.close()


def test_a_host_that_is_killed_loses_nothing(tmp_path: Path) -> None:
    hub = HubProcess(tmp_path / "hub.db")
    client = new_client(hub.address)
    with worker(hub.address, orchestrators=(calls_one,), activities=(one,)):
        ids = [client.schedule_new_orchestration(calls_one) for _ in range(20)]
        hub.kill()
        client.close()
        hub = HubProcess(tmp_path / "hub.db", port=hub.port)
        client = new_client(hub.address)
        until(lambda: is_reached(client))
        try:
            assert [outcome(client, each).get_output() for each in ids] == [1] * 20
        finally:
            client.close()
    hub.stop()


def test_a_stop_lets_activities_end_and_unfinished_work_goes_on_later(tmp_path: Path) -> None:
    hub = HubProcess(tmp_path / "hub.db")
    client = new_client(hub.address)
    waiting = client.schedule_new_orchestration("nobody_knows")
    only_f = pb.WorkItemFilters(
        orchestrations=[pb.OrchestrationFilter(name="f")], activities=[pb.ActivityFilter(name="a")]
    )
    with by_hand(hub.address, workItemFilters=only_f) as made:
        name = client.schedule_new_orchestration("f")
        made.complete(made.next_of("orchestratorRequest"), calls("a"))
        activity = made.next_of("activityRequest")
        stopping = threading.Thread(target=hub.stop)
        stopping.start()
        until(lambda: "waiting for 1 running activities" in hub.text)
        made.stub.CompleteActivityTask(activity_answer(activity, "3"))
        made.complete(made.next_of("orchestratorRequest"), ends("3"))
        stopping.join(PATIENCE_SECONDS)
        assert not stopping.is_alive()
    client.close()
    hub = HubProcess(tmp_path / "hub.db")
    client = new_client(hub.address)
    with by_hand(hub.address) as made:
        made.complete(made.next_of("orchestratorRequest"), ends())
        assert outcome(client, waiting).get_output() == 1
    assert outcome(client, name).get_output() == 3
    client.close()
    hub.stop()


def test_a_stop_does_not_wait_for_a_worker_that_knows_an_activity(tmp_path: Path) -> None:
    hub = HubProcess(tmp_path / "hub.db", "--drain-seconds", "3600")
    client = new_client(hub.address)
    only_f = pb.WorkItemFilters(orchestrations=[pb.OrchestrationFilter(name="f")])
    with by_hand(hub.address, workItemFilters=only_f) as made:
        name = client.schedule_new_orchestration("f")
        made.complete(made.next_of("orchestratorRequest"), calls("unknown"))
        until(lambda: "function=unknown" in hub.text)
        assert hub.stop() == 0
    client.close()
    hub = HubProcess(tmp_path / "hub.db")
    client = new_client(hub.address)
    with by_hand(hub.address) as made:
        made.stub.CompleteActivityTask(activity_answer(made.next_of("activityRequest"), "3"))
        made.complete(made.next_of("orchestratorRequest"), ends("3"))
        assert outcome(client, name).get_output() == 3
    client.close()
    hub.stop()


# -- bad answers ----------------------------------------------------------------------------------


def test_an_answer_counts_once(hub: HubProcess) -> None:
    client = new_client(hub.address)
    with by_hand(hub.address) as made:
        name = client.schedule_new_orchestration("f")
        turn = made.next_of("orchestratorRequest")
        made.complete(turn, calls("a"))
        code, _ = refused(made.stub.CompleteOrchestratorTask, response(turn, ends()))
        assert code is grpc.StatusCode.FAILED_PRECONDITION
        activity = made.next_of("activityRequest")
        made.stub.CompleteActivityTask(activity_answer(activity, "1"))
        code, _ = refused(made.stub.CompleteActivityTask, activity_answer(activity, "2"))
        assert code is grpc.StatusCode.FAILED_PRECONDITION
        turn = made.next_of("orchestratorRequest")
        results = [
            each.taskCompleted.result.value
            for each in turn.orchestratorRequest.newEvents
            if each.HasField("taskCompleted")
        ]
        assert results == ["1"]
        made.complete(turn, ends("5"))
        assert outcome(client, name).get_output() == 5
    client.close()


def test_an_answer_without_a_token_of_ours_is_refused(hub: HubProcess) -> None:
    client = new_client(hub.address)
    with by_hand(hub.address) as made:
        name = client.schedule_new_orchestration("f")
        turn = made.next_of("orchestratorRequest")
        nameless = pb.OrchestratorResponse(instanceId=name, actions=[ends()])
        assert refused(made.stub.CompleteOrchestratorTask, nameless)[0] is (
            grpc.StatusCode.INVALID_ARGUMENT
        )
        foreign = pb.OrchestratorResponse(instanceId=name, completionToken="x.1")
        assert refused(made.stub.CompleteOrchestratorTask, foreign)[0] is grpc.StatusCode.NOT_FOUND
        other_kind = pb.ActivityResponse(instanceId=name, completionToken=turn.completionToken)
        assert refused(made.stub.CompleteActivityTask, other_kind)[0] is (
            grpc.StatusCode.INVALID_ARGUMENT
        )
        other_instance = response(turn, ends())
        other_instance.instanceId = "other"
        assert refused(made.stub.CompleteOrchestratorTask, other_instance)[0] is (
            grpc.StatusCode.INVALID_ARGUMENT
        )
        made.complete(turn, ends("6"))
        assert outcome(client, name).get_output() == 6
    client.close()


def test_an_action_that_soloist_does_not_know_fails_the_instance(hub: HubProcess) -> None:
    client = new_client(hub.address)
    with by_hand(hub.address) as made:
        name = client.schedule_new_orchestration("f")
        action = pb.OrchestratorAction(
            id=1, terminateOrchestration=pb.TerminateOrchestrationAction(instanceId="x")
        )
        made.complete(made.next_of("orchestratorRequest"), action)
        details = outcome(client, name).failure_details
        assert details is not None and "terminateOrchestration" in details.message
    client.close()


def test_an_answer_that_is_too_large_fails_its_task_and_nothing_else(hub: HubProcess) -> None:
    client = new_client(hub.address)
    with by_hand(hub.address) as made:
        name = client.schedule_new_orchestration("f")
        made.complete(made.next_of("orchestratorRequest"), calls("a"))
        activity = made.next_of("activityRequest")
        made.stub.CompleteActivityTask(activity_answer(activity, '"' + "x" * 5_000_000 + '"'))
        turn = made.next_of("orchestratorRequest")
        failed = turn.orchestratorRequest.newEvents[-1].taskFailed
        assert "exceeds the limit" in failed.failureDetails.errorMessage
        made.complete(turn, ends())
        assert outcome(client, name).get_output() == 1
    client.close()
