"""Orchestrations of the SDK: what its documentation promises, against a served hub."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from durabletask import task
from durabletask.client import OrchestrationStatus, TaskHubGrpcClient

from proofs.hubs import HubProcess
from tests.rpc.sdk import outcome, until, worker

calls: Counter[str] = Counter()
"""How often activities were called, by a word that their test chose."""

healed = threading.Event()


def hello(_: Any, name: str) -> str:
    return f"Hello {name}!"


def double(_: Any, number: int) -> int:
    return number * 2


def fail_twice(_: Any, word: str) -> str:
    calls[word] += 1
    if calls[word] <= 2:
        raise ValueError(f"attempt {calls[word]} failed")
    return f"done in {calls[word]}"


def always_fails(_: Any, word: str) -> None:
    calls[word] += 1
    raise RuntimeError(f"{word} cannot be")


def fails_until_healed(_: Any, word: str) -> str:
    calls[word] += 1
    if not healed.is_set():
        raise RuntimeError("not yet")
    return "healed"


def counts(_: Any, word: str) -> int:
    calls[word] += 1
    return calls[word]


def echoes_large(_: Any, text: str) -> str:
    return text * 2


def sequence(context: Any, names: list[str]) -> Any:
    greetings = []
    for name in names:
        greetings.append((yield context.call_activity(hello, input=name)))
    return greetings


def plain(_: Any, given: Any) -> Any:
    return given


def fan_out(context: Any, count: int) -> Any:
    tasks = [context.call_activity(double, input=number) for number in range(count)]
    results = yield task.when_all(tasks)
    return sum(results)


def child(context: Any, number: int) -> Any:
    doubled = yield context.call_activity(double, input=number)
    return {"parent": context.parent_instance_id, "value": doubled}


def parent(context: Any, count: int) -> Any:
    tasks = [context.call_sub_orchestrator(child, input=number) for number in range(count)]
    return (yield task.when_all(tasks))


def named_child(context: Any, instance_id: str) -> Any:
    return (yield context.call_sub_orchestrator(child, input=4, instance_id=instance_id))


def failing_child(context: Any, word: str) -> Any:
    yield context.call_activity(always_fails, input=word)


def parent_of_failure(context: Any, word: str) -> Any:
    try:
        yield context.call_sub_orchestrator(failing_child, input=word)
    except task.TaskFailedError as error:
        return str(error.details.message)
    return "no failure"


def sleeper(context: Any, seconds: float) -> Any:
    before = context.current_utc_datetime
    yield context.create_timer(timedelta(seconds=seconds))
    return (context.current_utc_datetime - before).total_seconds()


def waits(context: Any, name: str) -> Any:
    return (yield context.wait_for_external_event(name))


def waits_for_child(context: Any, name: str) -> Any:
    return (yield context.call_sub_orchestrator(waits, input="x", instance_id=name))


def collects(context: Any, count: int) -> Any:
    found = []
    for _ in range(count):
        found.append((yield context.wait_for_external_event("item")))
    return found


def event_or_timer(context: Any, seconds: float) -> Any:
    event = context.wait_for_external_event("go")
    timer = context.create_timer(timedelta(seconds=seconds))
    winner = yield task.when_any([event, timer])
    return "event" if winner is event else "timer"


def slow_loser(context: Any, word: str) -> Any:
    """Ends while a timer of an hour is still open, and an activity was never awaited."""
    context.create_timer(timedelta(hours=1))
    first = context.call_activity(hello, input=word)
    return (yield first)


def counts_down(context: Any, left: int) -> Any:
    yield context.call_activity(double, input=left)
    context.set_custom_status(f"{left} left")
    if left > 0:
        context.continue_as_new(left - 1)
        return None
    return "lift-off"


def saves_events(context: Any, found: list[int]) -> Any:
    found.append((yield context.wait_for_external_event("number")))
    if len(found) < 3:
        context.continue_as_new(found, save_events=True)
        return None
    return found


def abandons_and_goes_on(context: Any, round_number: int) -> Any:
    """Continues as new while an activity of the same task id is still under way."""
    if round_number == 0:
        context.call_activity(slow_word, input="old")
        yield context.create_timer(timedelta(milliseconds=50))
        context.continue_as_new(1)
        return None
    return (yield context.call_activity(slow_word, input="new"))


def slow_word(_: Any, word: str) -> str:
    if word == "old":
        threading.Event().wait(0.4)
    else:
        threading.Event().wait(0.8)
    return word


def retries(context: Any, word: str) -> Any:
    policy = task.RetryPolicy(
        first_retry_interval=timedelta(milliseconds=20), max_number_of_attempts=3
    )
    return (yield context.call_activity(fail_twice, input=word, retry_policy=policy))


def retries_in_vain(context: Any, word: str) -> Any:
    policy = task.RetryPolicy(
        first_retry_interval=timedelta(milliseconds=20), max_number_of_attempts=3
    )
    return (yield context.call_activity(always_fails, input=word, retry_policy=policy))


def flaky_child(context: Any, word: str) -> Any:
    return (yield context.call_activity(fail_twice, input=word))


def retries_child(context: Any, word: str) -> Any:
    policy = task.RetryPolicy(
        first_retry_interval=timedelta(milliseconds=20), max_number_of_attempts=3
    )
    return (yield context.call_sub_orchestrator(flaky_child, input=word, retry_policy=policy))


def fails(context: Any, word: str) -> Any:
    yield context.call_activity(hello, input=word)
    raise ValueError(f"no {word}")


def heals(context: Any, word: str) -> Any:
    before = yield context.call_activity(counts, input=f"{word}-before")
    healed_text = yield context.call_activity(fails_until_healed, input=word)
    return [before, healed_text]


def status_steps(context: Any, _: Any) -> Any:
    context.set_custom_status({"step": 1})
    yield context.wait_for_external_event("next")
    context.set_custom_status({"step": 2})
    yield context.wait_for_external_event("next")
    return "over"


def sends(context: Any, target: str) -> Any:
    yield context.call_activity(hello, input="x")
    context.send_event(target, "greeting", data={"from": context.instance_id})
    return "sent"


def shows_version(context: Any, _: Any) -> Any:
    yield context.call_activity(hello, input="x")
    return context.version


def goes_to_version_two(context: Any, _: Any) -> Any:
    yield context.call_activity(hello, input="x")
    if context.version == "1.0":
        context.continue_as_new(None, new_version="2.0")
        return None
    return context.version


def large(context: Any, size: int) -> Any:
    return (yield context.call_activity(echoes_large, input="x" * size))


ORCHESTRATORS = (
    sequence,
    plain,
    fan_out,
    child,
    parent,
    named_child,
    failing_child,
    parent_of_failure,
    sleeper,
    waits,
    waits_for_child,
    collects,
    event_or_timer,
    slow_loser,
    counts_down,
    saves_events,
    abandons_and_goes_on,
    retries,
    retries_in_vain,
    flaky_child,
    retries_child,
    fails,
    heals,
    status_steps,
    sends,
    shows_version,
    goes_to_version_two,
    large,
)
ACTIVITIES = (
    hello,
    double,
    fail_twice,
    always_fails,
    fails_until_healed,
    counts,
    echoes_large,
    slow_word,
)


@pytest.fixture(scope="module", autouse=True)
def _worker(hub: HubProcess) -> Iterator[None]:
    with worker(hub.address, orchestrators=ORCHESTRATORS, activities=ACTIVITIES):
        yield


def run(client: TaskHubGrpcClient, orchestrator: Any, given: Any = None, **options: Any) -> Any:
    """Run an orchestration to its good end; return its output."""
    instance_id = client.schedule_new_orchestration(orchestrator, input=given, **options)
    state = outcome(client, instance_id)
    assert state.runtime_status is OrchestrationStatus.COMPLETED, state.failure_details
    return state.get_output()


def test_activities_are_called_one_after_another(client: TaskHubGrpcClient) -> None:
    assert run(client, sequence, ["Tokyo", "London"]) == ["Hello Tokyo!", "Hello London!"]


def test_an_orchestrator_without_a_task_ends_at_once(client: TaskHubGrpcClient) -> None:
    given = {"text": "Zoë ☃ \x00", "number": 1.5, "nothing": None}
    assert run(client, plain, given) == given
    assert run(client, plain) is None


def test_activities_fan_out_and_in(client: TaskHubGrpcClient) -> None:
    assert run(client, fan_out, 100) == 9900


def test_sub_orchestrations_answer_their_parent(client: TaskHubGrpcClient) -> None:
    instance_id = client.schedule_new_orchestration(parent, input=3)
    output = outcome(client, instance_id).get_output()
    assert output == [{"parent": instance_id, "value": value} for value in (0, 2, 4)]


def test_a_sub_orchestration_may_have_an_id_of_its_own(client: TaskHubGrpcClient) -> None:
    name = f"child-{uuid4().hex}"
    assert run(client, named_child, name)["value"] == 8
    state = client.get_orchestration_state(name)
    assert state is not None
    assert state.name == "child"


def test_the_failure_of_a_sub_orchestration_reaches_its_parent(client: TaskHubGrpcClient) -> None:
    word = uuid4().hex
    assert f"{word} cannot be" in run(client, parent_of_failure, word)


def test_a_timer_fires_when_its_time_has_come(client: TaskHubGrpcClient) -> None:
    assert run(client, sleeper, 0.3) >= 0.3


def test_an_event_wakes_who_waits_for_it(client: TaskHubGrpcClient) -> None:
    instance_id = client.schedule_new_orchestration(waits, input="Approval")
    client.raise_orchestration_event(instance_id, "approval", data={"yes": True})
    assert outcome(client, instance_id).get_output() == {"yes": True}


def test_events_that_nobody_awaits_yet_are_kept_in_order(client: TaskHubGrpcClient) -> None:
    instance_id = client.schedule_new_orchestration(collects, input=5)
    for number in range(5):
        client.raise_orchestration_event(instance_id, "item", data=number)
    assert outcome(client, instance_id).get_output() == [0, 1, 2, 3, 4]


def test_an_event_beats_a_timer_and_the_timer_holds_nothing_up(client: TaskHubGrpcClient) -> None:
    instance_id = client.schedule_new_orchestration(event_or_timer, input=3600)
    client.raise_orchestration_event(instance_id, "go")
    assert outcome(client, instance_id).get_output() == "event"
    assert run(client, event_or_timer, 0.1) == "timer"


def test_an_orchestration_ends_whatever_it_has_left_open(client: TaskHubGrpcClient) -> None:
    assert run(client, slow_loser, "x") == "Hello x!"


def test_an_orchestration_continues_as_new(client: TaskHubGrpcClient) -> None:
    instance_id = client.schedule_new_orchestration(counts_down, input=3)
    state = outcome(client, instance_id)
    assert state.get_output() == "lift-off"
    assert state.get_input() == 0
    assert state.get_custom_status() == "0 left"


def test_events_are_saved_over_a_continuation(client: TaskHubGrpcClient) -> None:
    instance_id = client.schedule_new_orchestration(saves_events, input=[])
    for number in range(3):
        client.raise_orchestration_event(instance_id, "number", data=number)
    assert outcome(client, instance_id).get_output() == [0, 1, 2]


def test_what_an_earlier_execution_left_open_does_not_answer_the_next_one(
    client: TaskHubGrpcClient,
) -> None:
    assert run(client, abandons_and_goes_on, 0) == "new"


def test_activities_are_retried_as_their_policy_says(client: TaskHubGrpcClient) -> None:
    word = uuid4().hex
    assert run(client, retries, word) == "done in 3"


def test_retries_end_with_the_last_failure(client: TaskHubGrpcClient) -> None:
    word = uuid4().hex
    instance_id = client.schedule_new_orchestration(retries_in_vain, input=word)
    state = outcome(client, instance_id)
    assert state.runtime_status is OrchestrationStatus.FAILED
    assert calls[word] == 3
    assert state.failure_details is not None
    assert f"{word} cannot be" in state.failure_details.message


def test_sub_orchestrations_are_retried_under_their_id(client: TaskHubGrpcClient) -> None:
    word = uuid4().hex
    assert run(client, retries_child, word) == "done in 3"


def test_a_failure_is_told_with_its_type_its_cause_and_its_traceback(
    client: TaskHubGrpcClient,
) -> None:
    state = outcome(client, client.schedule_new_orchestration(fails, input="bread"))
    assert state.runtime_status is OrchestrationStatus.FAILED
    details = state.failure_details
    assert details is not None
    assert (details.error_type, details.message) == ("builtins.ValueError", "no bread")
    assert details.stack_trace is not None and "fails" in details.stack_trace

    state = outcome(client, client.schedule_new_orchestration(failing_child, input="cake"))
    assert state.failure_details is not None
    inner = state.failure_details.inner_failure
    assert inner is not None
    assert inner.error_type == "builtins.RuntimeError"


def test_a_custom_status_can_be_read_meanwhile(client: TaskHubGrpcClient) -> None:
    instance_id = client.schedule_new_orchestration(status_steps)

    def step() -> Any:
        state = client.get_orchestration_state(instance_id)
        return state and state.get_custom_status()

    until(lambda: step() == {"step": 1})
    client.raise_orchestration_event(instance_id, "next")
    until(lambda: step() == {"step": 2})
    client.raise_orchestration_event(instance_id, "next")
    assert outcome(client, instance_id).get_custom_status() == {"step": 2}


def test_an_orchestration_sends_an_event_to_another(client: TaskHubGrpcClient) -> None:
    target = client.schedule_new_orchestration(waits, input="greeting")
    source = client.schedule_new_orchestration(sends, input=target)
    assert outcome(client, target).get_output() == {"from": source}
    assert outcome(client, source).get_output() == "sent"
    assert run(client, sends, "nobody-of-that-name") == "sent"


def test_an_orchestration_keeps_the_version_that_it_was_started_with(
    client: TaskHubGrpcClient,
) -> None:
    assert run(client, shows_version, version="1.2.3") == "1.2.3"
    assert run(client, shows_version) is None
    assert run(client, goes_to_version_two, version="1.0") == "2.0"


def test_large_payloads_travel(client: TaskHubGrpcClient) -> None:
    assert len(run(client, large, 700_000)) == 1_400_000


def test_tags_and_times_are_kept(client: TaskHubGrpcClient) -> None:
    before = datetime.now(UTC)
    instance_id = client.schedule_new_orchestration(plain, input=1, tags={"team": "blue"})
    outcome(client, instance_id)
    state = client.get_orchestration_state(instance_id)
    assert state is not None
    assert state.created_at.replace(tzinfo=UTC) >= before - timedelta(seconds=1)
    assert state.last_updated_at >= state.created_at


def test_a_start_may_be_for_later(client: TaskHubGrpcClient) -> None:
    start_at = datetime.now(UTC) + timedelta(seconds=1)
    instance_id = client.schedule_new_orchestration(plain, input=1, start_at=start_at)
    state = client.get_orchestration_state(instance_id)
    assert state is not None and state.runtime_status is OrchestrationStatus.PENDING
    outcome(client, instance_id)
    assert datetime.now(UTC) >= start_at


def test_a_start_for_later_can_be_ended_before(client: TaskHubGrpcClient) -> None:
    start_at = datetime.now(UTC) + timedelta(hours=1)
    instance_id = client.schedule_new_orchestration(plain, input=1, start_at=start_at)
    client.terminate_orchestration(instance_id, output="never mind")
    state = outcome(client, instance_id)
    assert state.runtime_status is OrchestrationStatus.TERMINATED
    assert state.get_output() == "never mind"


def test_an_instance_can_be_waited_for_until_it_has_begun(client: TaskHubGrpcClient) -> None:
    instance_id = client.schedule_new_orchestration(waits, input="x")
    state = client.wait_for_orchestration_start(instance_id, timeout=20)
    assert state is not None and state.runtime_status is OrchestrationStatus.RUNNING
    client.terminate_orchestration(instance_id)


def test_a_suspended_instance_goes_on_when_it_is_resumed(client: TaskHubGrpcClient) -> None:
    instance_id = client.schedule_new_orchestration(collects, input=2)
    client.raise_orchestration_event(instance_id, "item", data=1)
    client.suspend_orchestration(instance_id)
    until(lambda: status_of(client, instance_id) is OrchestrationStatus.SUSPENDED)
    client.raise_orchestration_event(instance_id, "item", data=2)
    client.resume_orchestration(instance_id)
    assert outcome(client, instance_id).get_output() == [1, 2]


def test_a_termination_ends_the_children_too(client: TaskHubGrpcClient) -> None:
    name = f"child-{uuid4().hex}"
    instance_id = client.schedule_new_orchestration(waits_for_child, input=name)
    until(lambda: status_of(client, name) is OrchestrationStatus.RUNNING)
    client.terminate_orchestration(instance_id, output={"why": "test"}, recursive=True)
    state = outcome(client, instance_id)
    assert state.runtime_status is OrchestrationStatus.TERMINATED
    assert state.get_output() == {"why": "test"}
    assert outcome(client, name).runtime_status is OrchestrationStatus.TERMINATED


def test_a_termination_may_leave_the_children_alone(client: TaskHubGrpcClient) -> None:
    name = f"child-{uuid4().hex}"
    instance_id = client.schedule_new_orchestration(waits_for_child, input=name)
    until(lambda: status_of(client, name) is OrchestrationStatus.RUNNING)
    client.terminate_orchestration(instance_id, recursive=False)
    outcome(client, instance_id)
    client.raise_orchestration_event(name, "x", data=7)
    assert outcome(client, name).get_output() == 7


def test_a_failed_instance_is_rewound(client: TaskHubGrpcClient) -> None:
    healed.clear()
    word = uuid4().hex
    instance_id = client.schedule_new_orchestration(heals, input=word)
    assert outcome(client, instance_id).runtime_status is OrchestrationStatus.FAILED
    healed.set()
    client.rewind_orchestration(instance_id, reason="mended")
    state = outcome(client, instance_id)
    assert state.runtime_status is OrchestrationStatus.COMPLETED, state.failure_details
    assert state.get_output() == [1, "healed"]
    assert calls[f"{word}-before"] == 1


def test_an_instance_is_restarted(client: TaskHubGrpcClient) -> None:
    first = client.schedule_new_orchestration(sequence, input=["Oslo"])
    outcome(client, first)
    second = client.restart_orchestration(first, restart_with_new_instance_id=True)
    assert second != first
    assert outcome(client, second).get_output() == ["Hello Oslo!"]
    assert client.restart_orchestration(first) == first
    assert outcome(client, first).get_output() == ["Hello Oslo!"]


def status_of(client: TaskHubGrpcClient, instance_id: str) -> OrchestrationStatus | None:
    """Return what an instance is doing."""
    state = client.get_orchestration_state(instance_id)
    return None if state is None else state.runtime_status
